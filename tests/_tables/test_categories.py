"""Tables with columns of categories, and what estimators make of them."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import skae.onnx
from skae import AutoencoderTransformer, VariationalAutoencoder, load
from skae._files.container import read_model, write_model
from skae._tables.categorical_features import find_columns
from skae._tables.categories import Columns, columns_of
from skae.exceptions import ModelFileError
from skae.runtime import load as load_runtime

SHORT = {
    "hidden_layer_sizes": (16,),
    "max_epochs": 5,
    "early_stopping": False,
    "random_state": 0,
}
SIZES = ["S", "M", "L", "XL"]


@pytest.fixture
def frame(mixed_frame):
    return mixed_frame


def in_polars(frame):
    columns = {
        name: column.astype(object).where(column.notna(), None).to_list()
        for name, column in frame.items()
    }
    return pl.DataFrame(columns).with_columns(
        pl.col("color").cast(pl.Categorical), pl.col("size").cast(pl.Enum(SIZES))
    )


def one_hot_by_hand(frame, k=2, **params):
    """The fit that categories stand for, with the groups written into `loss`."""
    numbers, categories = ["age", "income"], ["color", "old", "size"]
    encoder = OneHotEncoder(sparse_output=False).fit(frame[categories].astype(str))
    table = np.c_[frame[numbers], encoder.transform(frame[categories].astype(str))]
    loss = {"squared_error": [0, 1], "cross_entropy": [[2, 3, 4], [5, 6], [7, 8, 9]]}
    return AutoencoderTransformer(k, loss=loss, **params).fit(table), table


def test_columns_of_a_frame(frame):
    columns = find_columns(frame, "from_dtype")
    assert [*columns.is_categorical] == [False, True, False, True, True]
    assert columns.categories == [["blue", "green", "red"], [False, True], SIZES]
    assert columns.n_encoded == 10  # XL was not seen
    assert columns.rank == 7
    assert columns.groups == [[1, 2, 3], [5, 6], [7, 8, 9]]
    assert columns.encoded_names[6:9] == ["old=True", "size=L", "size=M"]
    numbers = frame[["age", "income"]].to_numpy()
    codes = columns.with_codes(frame, numbers, "AE")
    np.testing.assert_array_equal(codes[:, 4], frame["size"].cat.codes)
    table = columns.one_hot(codes)
    np.testing.assert_array_equal(table[:, 8], frame["size"] == "M")
    np.testing.assert_array_equal(columns.most_probable(table), codes)
    np.testing.assert_array_equal(columns.summed(table)[:, [1, 3, 4]], 1.0)
    again = columns.as_frame(codes, frame.assign(color=0.0, old=0.0, size=0.0))
    pd.testing.assert_frame_equal(again, frame)


def test_a_first_category_that_was_not_seen():
    """Missing cells leave the columns beside their group alone."""
    dtype = pd.CategoricalDtype(["unseen", "a", "b"])
    frame = pd.DataFrame(
        {"n": [1.0, 2.0, 3.0], "x": pd.Categorical(["a", "b", None], dtype=dtype)}
    )
    columns = find_columns(frame, "from_dtype")
    table = columns.one_hot(columns.with_codes(frame, frame[["n"]].to_numpy(), "AE"))
    expected = [[1, 1, 0], [2, 0, 1], [3, np.nan, np.nan]]
    np.testing.assert_array_equal(table, expected)


def test_draws_follow_the_probabilities():
    columns = find_columns(pd.DataFrame({"x": pd.Categorical([*"abc"])}), "from_dtype")
    table = np.tile([0.2, 0.5, 0.3], (4000, 1))
    drawn = columns.drawn(table, np.random.RandomState(0))
    np.testing.assert_allclose(
        np.bincount(drawn[:, 0].astype(int)) / 4000, table[0], atol=0.03
    )
    certain = columns.drawn(np.tile([0.0, 1.0, 0.0], (50, 1)), np.random.RandomState(0))
    assert (certain == 1).all()


def test_it_is_the_fit_that_one_writes_by_hand(frame):
    ae = AutoencoderTransformer(2, **SHORT).fit(frame)
    by_hand, table = one_hot_by_hand(frame, standardize=True, **SHORT)
    # The linear starts differ by the scales of the one-hot columns, the losses do not.
    errors = [-ae.score_samples(frame) * 5, -by_hand.score_samples(table) * 10]
    np.testing.assert_allclose(*[e.mean() for e in errors], rtol=0.1)
    assert ae.score(frame) > ae.pca_score_
    assert ae.n_features_in_ == 5
    assert [*ae.feature_names_in_] == [*frame]
    assert ae.components_.shape == (2, 5)
    np.testing.assert_allclose(np.linalg.norm(ae.components_, axis=1), 1.0)
    assert ae.components_at(frame[:3]).shape == (3, 2, 5)
    assert [*ae.is_categorical_] == [False, True, False, True, True]
    assert [*ae.categories_[0]] == ["blue", "green", "red"]


def test_frames_come_back(frame):
    ae = AutoencoderTransformer(3, **SHORT | {"max_epochs": 30}).fit(frame)
    codes = ae.denoise(frame)
    np.testing.assert_array_equal(codes, ae.inverse_transform(ae.transform(frame)))
    ae.set_output(transform="pandas")
    again = ae.denoise(frame.set_index(np.arange(300) + 7))
    assert [*again.index] == [*range(7, 307)]
    pd.testing.assert_series_equal(again.dtypes, frame.dtypes)
    np.testing.assert_array_equal(again["size"].cat.codes, codes[:, 4])
    again = again.reset_index(drop=True)
    assert all(
        (again[name] == frame[name]).mean() > 0.9 for name in ("color", "old", "size")
    )
    ae.set_output(transform="polars")
    of_polars = ae.inverse_transform(ae.transform(frame))
    assert of_polars["size"].to_list() == again["size"].to_list()


@pytest.mark.parametrize("allow_nan", [False, True])
def test_polars_and_pandas_give_the_same_numbers(frame, gapped_frame, allow_nan):
    frame = gapped_frame if allow_nan else frame
    ae = AutoencoderTransformer(2, allow_nan=allow_nan, **SHORT)
    Z = ae.fit_transform(frame)
    score = ae.score_samples(frame)
    other = in_polars(frame)
    np.testing.assert_array_equal(clone(ae).fit_transform(other), Z)
    np.testing.assert_array_equal(ae.score_samples(other), score)
    # Another order of the same categories changes nothing either.
    turned = frame.assign(color=frame["color"].cat.set_categories(["red", "blue", "green"]))
    np.testing.assert_array_equal(ae.score_samples(turned), score)
    np.testing.assert_array_equal(clone(ae).fit_transform(turned), Z)


def test_missing_categories_are_filled(frame, gapped_frame):
    gapped = gapped_frame
    ae = AutoencoderTransformer(3, allow_nan=True, **SHORT | {"max_epochs": 40})
    ae.fit(gapped).set_output(transform="pandas")
    filled = ae.impute(gapped)
    pd.testing.assert_series_equal(filled.dtypes, gapped.dtypes)
    assert not filled.isna().any(axis=None)
    for name in frame:
        is_known = gapped[name].notna()
        assert (filled[name][is_known] == frame[name][is_known]).all()
        if name in ("color", "old", "size"):
            assert (filled[name] == frame[name])[~is_known].mean() > 0.75
    assert np.isfinite(ae.score_samples(gapped)).all()
    with pytest.raises(ValueError, match=r"X contains NaN.\nAutoencoderTransformer takes"):
        AutoencoderTransformer(2).fit(gapped[["age", "color"]].assign(age=1.0))


def test_scores_add_over_columns(frame):
    """The error of each column, divided by that of its best constant."""
    ae = AutoencoderTransformer(2, **SHORT).fit(frame)
    columns, numbers = columns_of(ae), frame[["age", "income"]].to_numpy()
    table = columns.one_hot(columns.with_codes(frame, numbers, "AE"))
    X_hat = ae._inference.decode(ae._inference.encode(table, 2))
    total = np.square((numbers - X_hat[:, [0, 4]]) / numbers.std(axis=0)).sum(axis=1)
    for group in columns.groups:
        shares = table[:, group].mean(axis=0)
        surprise = -np.log((table * X_hat)[:, group].sum(axis=1))
        total += surprise / -(shares @ np.log(shares))
    np.testing.assert_allclose(ae.score_samples(frame), -total / 5, rtol=1e-9)


def test_missing_cells_are_left_out_of_the_score(frame):
    ae = AutoencoderTransformer(2, allow_nan=True, **SHORT).fit(frame)
    gapped = frame.assign(color=pd.Categorical([None] * 300, categories=["red"]))
    scores = ae.score_samples(gapped)
    assert (scores < 0).all()
    np.testing.assert_allclose(scores[:1], ae.score_samples(gapped[:1]))


def test_arrays(frame):
    """Arrays of numbers keep their values, others become codes."""
    values = np.array([3.0, 7.0, 11.0])[frame["color"].cat.codes]
    X = np.c_[frame["age"], values]
    masks = [[1], [False, True], np.array([1])]
    Z = [
        AutoencoderTransformer(2, categorical_features=m, **SHORT).fit_transform(X)
        for m in masks
    ]
    np.testing.assert_array_equal(Z[0], Z[1])
    np.testing.assert_array_equal(Z[0], Z[2])
    ae = AutoencoderTransformer(2, categorical_features=[1], **SHORT).fit(X)
    assert set(np.unique(ae.denoise(X)[:, 1])) <= {3.0, 7.0, 11.0}
    assert ae.fit(X.astype(np.float32)).transform(X.astype(np.float32)).dtype == np.float32
    objects = np.array([[1.0, "a"], [2.0, "b"], [0.5, "a"], [3.0, "b"]], dtype=object)
    assert set(ae.set_params(n_components=1).fit(objects).denoise(objects)[:, 1]) <= {0, 1}
    named = pd.DataFrame({"a": X[:, 0], "b": X[:, 1].astype(int)})
    ae = AutoencoderTransformer(2, categorical_features=["b"], **SHORT).fit(named)
    back = ae.set_output(transform="pandas").denoise(named)
    assert back["b"].dtype == int
    np.testing.assert_array_equal(ae.transform(named), Z[0])
    # Codes are what an array holds if the fit was to a frame.
    with pytest.warns(UserWarning, match="valid feature names"):
        again = ae.transform(np.c_[X[:, 0], np.searchsorted([3, 7, 11], X[:, 1])])
    np.testing.assert_array_equal(again, Z[0])


def test_unknown_categories(frame):
    ae = AutoencoderTransformer(2, **SHORT).fit(frame)
    new = frame.assign(size=pd.Categorical(["XL", "M"] * 150))
    with pytest.raises(ValueError, match=r"unknown categories \['XL'\] in column 'size'"):
        ae.transform(new)
    with pytest.raises(ValueError, match=r"'ignore' .* needs allow_nan=True"):
        clone(ae).set_params(handle_unknown="ignore").fit(frame)
    ae = AutoencoderTransformer(2, handle_unknown="ignore", allow_nan=True, **SHORT).fit(
        frame
    )
    missing = new.assign(size=new["size"].cat.remove_categories("XL"))
    np.testing.assert_array_equal(ae.transform(new), ae.transform(missing))
    ae.set_params(handle_unknown="error")  # it is for the next fit
    np.testing.assert_array_equal(ae.transform(new), ae.transform(missing))


def test_columns_that_do_not_vary(frame):
    constant = frame.assign(color=pd.Categorical(["red"] * 300), old=True)
    ae = AutoencoderTransformer(2, **SHORT).fit(constant).set_output(transform="pandas")
    back = ae.denoise(constant)
    assert (back["color"] == "red").all()
    assert back["old"].all()
    empty = frame.assign(color=pd.Categorical([None] * 300, categories=["red"]))
    ae = AutoencoderTransformer(2, allow_nan=True, **SHORT).fit(empty)
    assert np.isnan(ae.denoise(empty)[:, 1]).all()


@pytest.mark.parametrize("trip", ["pickle", "file"])
def test_copies(gapped_frame, trip, tmp_path):
    gapped = gapped_frame
    ae = AutoencoderTransformer(2, allow_nan=True, **SHORT).fit(gapped)
    path = tmp_path / "model.skae"
    ae.save(path)
    again = pickle.loads(pickle.dumps(ae)) if trip == "pickle" else load(path)
    for method in ("transform", "denoise", "impute", "score_samples"):
        result = getattr(again, method)(gapped)
        np.testing.assert_array_equal(result, getattr(ae, method)(gapped))
    ae.set_output(transform="pandas")
    again.set_output(transform="pandas")
    pd.testing.assert_frame_equal(again.impute(gapped), ae.impute(gapped))
    with pytest.raises(ModelFileError, match=r"categories, which skae\.runtime"):
        load_runtime(path)
    with pytest.raises(NotImplementedError, match="columns of categories"):
        skae.onnx._model(ae)


DAMAGE = {
    "chosen": lambda fields: fields["chosen"].pop(),
    "places": lambda fields: fields["places"][0].__setitem__(0, 99),
    "categories": lambda fields: fields["categories"][1].append("more"),
    "names": lambda fields: fields["names"].pop(),
    "is_categorical": lambda fields: fields["is_categorical"].__setitem__(0, True),
    "width": lambda fields: fields.update(chosen=[c[:1] for c in fields["chosen"]]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files(frame, damage, tmp_path):
    path = tmp_path / "model.skae"
    AutoencoderTransformer(2, **SHORT).fit(frame).save(path)
    name, parameters, fitted = read_model(path)
    DAMAGE[damage](fitted["_columns"])
    write_model(path, name, parameters, fitted)
    with pytest.raises(ModelFileError):
        load(path)


def test_weights_groups_and_targets(frame):
    half = frame[:150]
    weights = np.arange(150) % 3
    ae = AutoencoderTransformer(2, **SHORT)
    weighted = ae.fit(half, sample_weight=weights).transform(half)
    repeated = half.iloc[np.repeat(np.arange(150), weights)]
    np.testing.assert_array_equal(ae.fit(repeated).transform(half), weighted)
    ae.set_params(early_stopping=True).fit(half, groups=np.arange(150) // 5)
    ae.fit(half, X_val=frame[150:])
    assert len(ae.validation_curve_) > 1
    ae.fit(half.assign(color=pd.Categorical(half["color"][::-1])), X_target=half)
    with pytest.raises(ValueError, match=r"Found unknown categories \['red'\]"):
        ae.fit(frame[frame["color"] != "red"], X_val=frame)


def test_warm_start_keeps_the_categories(frame):
    ae = AutoencoderTransformer(2, warm_start=True, **SHORT).fit(frame)
    few = frame[frame["color"] != "red"]
    ae.fit(few.assign(color=few["color"].cat.remove_categories("red")))
    assert [*ae.categories_[0]] == ["blue", "green", "red"]
    with pytest.raises(ValueError, match="Found unknown categories"):
        ae.fit(frame.assign(size=pd.Categorical(["XL"] * 300, categories=SIZES)))
    ae.set_params(warm_start=False).fit(frame[["age", "income"]])
    assert ae.is_categorical_ is None
    assert not hasattr(ae, "categories_")


def test_numbers_alone_are_as_before(frame):
    numbers = frame[["age", "income"]]
    ae = AutoencoderTransformer(1, **SHORT)
    Z = ae.fit_transform(numbers)
    np.testing.assert_array_equal(ae.fit_transform(numbers.to_numpy()), Z)
    plain = frame[["age", "income", "old"]]
    ae.set_params(categorical_features=None)
    np.testing.assert_array_equal(
        ae.fit_transform(plain), ae.fit_transform(plain.astype(float))
    )


def test_other_losses_for_the_numbers(frame):
    ae = AutoencoderTransformer(2, loss="absolute_error", **SHORT).fit(frame)
    assert np.isfinite(ae.score(frame))
    with pytest.raises(ValueError, match=r"takes values in .* feature 0 .'age'. of X"):
        ae.set_params(loss="binary_cross_entropy").fit(frame)


REFUSED = {
    "dict": ({"loss": {"squared_error": [0]}}, "must be in .*got {'squared_error'"),
    "cosine": ({"loss": "cosine"}, "got 'cosine'"),
    "shape": ({"sample_shape": (1, 5)}, "cannot be combined with sample_shape"),
    "module": ({"module": lambda p, k: None}, "cannot be combined with module"),
    "share": ({"n_components": 0.9}, "columns of categories do not have"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(frame, case):
    params, message = REFUSED[case]
    with pytest.raises((TypeError, ValueError), match=message):
        AutoencoderTransformer(**{"n_components": 2} | params).fit(frame)


def test_what_takes_no_categories(frame):
    ae = AutoencoderTransformer(2, **SHORT)
    with pytest.raises(ValueError, match=r"partial_fit .* takes no columns of categories"):
        ae.partial_fit(frame)
    with pytest.raises(ValueError, match=r"partial_fit .* takes no columns of categories"):
        clone(ae).fit(frame).partial_fit(frame)
    with pytest.raises(ValueError, match="get_covariance"):
        clone(ae).fit(frame).get_covariance()
    table = sparse.csr_array(np.eye(5))
    with pytest.raises(TypeError, match=r"categorical_features .* X is a csr_array"):
        AutoencoderTransformer(2, categorical_features=[1]).fit(table)
    objects = frame.assign(color=frame["color"].astype(object))
    with pytest.raises(ValueError, match=r'column .color. .* with astype\("category"\)'):
        ae.fit(objects)
    with pytest.raises(ValueError, match=r"polars\.Categorical"):
        ae.fit(in_polars(frame).with_columns(pl.col("color").cast(pl.String)))
    with pytest.raises(ValueError, match="OneHotEncoder"):
        VariationalAutoencoder(2).fit(frame)


def test_in_a_pipeline_and_with_truncate(frame):
    pipe = make_pipeline(AutoencoderTransformer(2, ordered=True, **SHORT)).fit(frame)
    assert pipe.set_output(transform="pandas").transform(frame).shape == (300, 2)
    smaller = pipe[0].truncate(1)
    assert smaller.components_.shape == (1, 5)
    assert smaller.denoise(frame).dtypes["size"] == frame.dtypes["size"]
    assert len(AutoencoderTransformer(2, **SHORT).fit(frame).diagnose(frame)) >= 0


def test_check_names_what_is_wrong():
    fields = vars(find_columns(pd.DataFrame({"x": pd.Categorical([*"abc"])}), "from_dtype"))
    Columns(**fields).check()
    with pytest.raises(ValueError, match="do not fit together"):
        Columns(**fields | {"kinds": []}).check()
