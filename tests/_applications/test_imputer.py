"""AutoencoderImputer: the conventions of scikit-learn's imputers, fills and draws."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from scipy.stats import t
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.impute.tests import test_common as imputer_checks
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import skae
from skae import AutoencoderImputer, AutoencoderTransformer
from skae._files.container import read_model, write_model
from skae._tables import filler_fit
from skae.exceptions import ModelFileError

TINY = AutoencoderTransformer(
    standardize=True, hidden_layer_sizes=(16,), max_epochs=10, batch_size=64
)


def imputer(random_state=0, **params):
    return AutoencoderImputer(clone(TINY), random_state=random_state, **params)


@pytest.fixture(scope="module")
def rows():
    """Rows near a plane that is bent: complete (400, 6), and a fifth of the cells NaN."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(400, 2))
    X = Z @ rng.normal(size=(2, 6)) + 0.3 * np.abs(Z[:, :1]) + 5
    X += 0.2 * rng.normal(size=X.shape)
    return X, np.where(rng.random(X.shape) < 0.2, np.nan, X)


def test_folds_share_one_choice_of_the_linear_fill(rows, monkeypatch):
    """Those that draws learn from. Networks with other seeds have choices of their own."""
    made, choose = [], filler_fit._choose

    def noted(*args, **params):
        made.append(args)
        return choose(*args, **params)

    monkeypatch.setattr(filler_fit, "_choose", noted)
    imputer(sample_posterior=True).fit(rows[1][:60])
    assert len(made) == 2


@pytest.fixture(scope="module")
def drawing(rows):
    return imputer(sample_posterior=True).fit(rows[1])


# -- scikit-learn's own checks of imputers ---------------------------------------------


def test_missing_values_in_new_rows():
    imputer_checks.test_imputation_missing_value_in_test_array(imputer())


@pytest.mark.parametrize("marker", [np.nan, -1, 0])
def test_indicator(marker):
    imputer_checks.test_imputers_add_indicator(marker, imputer())


@pytest.mark.parametrize("add_indicator", [True, False])
def test_frames_as_scikit_learn_checks_them(add_indicator):
    imputer_checks.test_imputers_pandas_na_integer_array_support(imputer(), add_indicator)
    imputer_checks.test_imputers_feature_names_out_pandas(imputer(), add_indicator)


@pytest.mark.parametrize("keep_empty_features", [True, False])
def test_empty_features_as_scikit_learn_checks_them(keep_empty_features):
    imputer_checks.test_keep_empty_features(imputer(), keep_empty_features)


@pytest.mark.parametrize("missing_value_test", [np.nan, 1])
def test_the_indicator_does_not_depend_on_new_rows(missing_value_test):
    imputer_checks.test_imputation_adds_missing_indicator_if_add_indicator_is_true(
        imputer(), missing_value_test
    )


# -- fills -----------------------------------------------------------------------------


def test_missing_cells_alone_are_filled_and_well(rows):
    X, gapped = rows
    missing = np.isnan(gapped)
    fitted = imputer().fit(gapped[:200])
    for some in (slice(200), slice(200, None)):
        filled = fitted.transform(gapped[some])
        assert np.array_equal(filled[~missing[some]], X[some][~missing[some]])
        mean = SimpleImputer().fit(gapped[:200]).transform(gapped[some])
        error, rival = (np.square(F - X[some]).sum() for F in (filled, mean))
        assert error < 0.5 * rival


def test_a_complete_table_stays_as_it_is(rows):
    X, gapped = rows
    fitted = imputer().fit(X)
    assert np.array_equal(fitted.transform(X), X)
    assert np.isfinite(fitted.transform(gapped)).all()


def test_the_default_estimator(rows):
    fitted = AutoencoderImputer(random_state=0).fit(rows[1][:60])
    assert fitted.estimator is None
    assert fitted.estimator_.standardize
    assert fitted.estimator_.allow_nan
    assert fitted.estimator_.n_components_ in (2, 6)


def test_fills_are_means_over_autoencoders(rows):
    gapped = rows[1][:100]
    far = {"min_value": -np.inf, "max_value": np.inf}
    fitted = imputer(n_estimators=3, **far).fit(gapped)
    assert fitted.estimators_[0] is fitted.estimator_
    assert len({each.random_state for each in fitted.estimators_}) == 3
    expected = np.mean([each.impute(gapped) for each in fitted.estimators_], axis=0)
    np.testing.assert_allclose(fitted.transform(gapped), expected)
    single = imputer(n_estimators=1, **far).fit(gapped)
    np.testing.assert_array_equal(
        single.transform(gapped), fitted.estimator_.impute(gapped)
    )
    own = [imputer(None).set_params(estimator__random_state=5).fit(gapped) for _ in "ab"]
    seeds = [[each.random_state for each in one.estimators_] for one in own]
    assert seeds[0] == seeds[1]
    assert seeds[0][0] == 5 != seeds[0][1]


def test_a_narrow_autoencoder_joins_where_it_was_trained(curved):
    rng = np.random.default_rng(0)
    gapped = np.where(rng.random(curved.shape) < 0.2, np.nan, curved)
    fitted = AutoencoderImputer(random_state=0).fit(gapped)
    wide, narrow = gapped.shape[1], -(-gapped.shape[1] * 3 // 10)
    sizes = [each.n_components_ for each in fitted.estimators_]
    assert sorted(sizes)[-2:] == [wide, wide]
    joined = [each for each in fitted.estimators_ if each.n_components_ == narrow]
    assert len(joined) == len(sizes) - 2 <= 1
    assert all(each.best_epoch_ > 0 or sizes[0] == narrow for each in joined)


def test_fills_stay_within_limits(rows):
    X, gapped = rows
    far = 3 * (X - X.mean(axis=0)) + X.mean(axis=0)
    far = np.where(np.isnan(gapped), np.nan, far)
    fitted = imputer(sample_posterior=True).fit(gapped)
    low, high = np.nanmin(gapped, axis=0), np.nanmax(gapped, axis=0)
    np.testing.assert_array_equal(fitted.min_value_, low)
    np.testing.assert_array_equal(fitted.max_value_, high)
    missing = np.isnan(gapped)
    for filled in (fitted.transform(far), imputer().fit(gapped).transform(far)):
        assert ((filled >= low) & (filled <= high))[missing].all()
        assert np.array_equal(filled[~missing], far[~missing])
    free = imputer(min_value=-np.inf, max_value=np.inf).fit(gapped).transform(far)
    assert (free < low).any()
    assert (free > high).any()
    one = imputer(min_value=4.5, max_value=np.arange(6, 12.0)).fit(gapped).transform(far)
    expected = np.where(missing, np.clip(free, 4.5, np.arange(6, 12.0)), far)
    np.testing.assert_array_equal(one, expected)


def test_rows_of_weight_zero_set_no_limits(rows):
    weights = np.r_[np.ones(200), np.zeros(200)]
    fitted = imputer().fit(rows[1], sample_weight=weights)
    np.testing.assert_array_equal(fitted.max_value_, np.nanmax(rows[1][:200], axis=0))


def test_limits_that_are_refused(rows):
    for params, message in [
        ({"min_value": [0.0, 1.0]}, r"'min_value' .* should be of shape \(6,\)"),
        ({"max_value": "large"}, "The 'max_value' parameter"),
        (
            {"min_value": 3, "max_value": 2},
            r"min_value .* larger than max_value in columns",
        ),
        ({"n_estimators": 0}, "The 'n_estimators' parameter"),
    ]:
        with pytest.raises(ValueError, match=message):
            imputer(**params).fit(rows[1])


@pytest.mark.parametrize("marker", [-1, 999.5, pd.NA])
def test_missing_values(rows, marker):
    gapped = rows[1]
    expected = imputer().fit_transform(gapped)
    if marker is pd.NA:
        X = pd.DataFrame(gapped).astype("Float64")
    else:
        X = np.where(np.isnan(gapped), marker, gapped)
    found = imputer(missing_values=marker).fit_transform(X)
    np.testing.assert_array_equal(found, expected)


def test_nan_is_refused_if_something_else_is_missing(rows):
    with pytest.raises(ValueError, match="Input X contains NaN"):
        imputer(missing_values=-1).fit(rows[1])
    with pytest.raises(ValueError, match="The 'missing_values' parameter"):
        imputer(missing_values="?").fit(rows[1])
    with pytest.raises(ValueError, match="Input X contains infinity"):
        imputer().fit(np.where(np.isnan(rows[1]), np.inf, rows[1]))


def test_empty_and_constant_features(rows):
    gapped = np.column_stack([rows[1], np.full(400, np.nan), np.full(400, 0.1)])
    gapped[::3, 7] = np.nan
    fitted = imputer().fit(gapped)
    assert list(fitted.get_feature_names_out()) == [f"x{j}" for j in (*range(6), 7)]
    np.testing.assert_allclose(fitted.transform(gapped)[:, 6], 0.1, rtol=1e-6)
    kept = imputer(keep_empty_features=True).fit(gapped)
    new = gapped.copy()
    new[0, 6:] = 3.0  # values where the fit had none, and another one than the constant
    filled = kept.transform(new)
    assert np.array_equal(filled[0, 6:], [3, 3])
    assert not filled[1:, 6].any()
    assert np.abs(filled).max() < 100


@pytest.mark.parametrize("keep_empty_features", [True, False])
def test_a_table_without_values(keep_empty_features, tmp_path):
    X = np.full((5, 3), np.nan)
    fitted = imputer(keep_empty_features=keep_empty_features, add_indicator=True).fit(X)
    width = 3 * keep_empty_features
    fitted.save(tmp_path / "empty.skae")
    for found in (fitted, skae.load(tmp_path / "empty.skae")):
        filled = found.transform(X)
        assert filled.shape == (5, width + 3)
        assert not filled[:, :width].any()
        assert filled[:, width:].all()


def test_rows_without_values(rows):
    gapped = np.concatenate([rows[1], np.full((3, 6), np.nan)])
    filled = imputer().fit_transform(gapped)
    assert np.isfinite(filled).all()
    np.testing.assert_allclose(filled[-1], np.nanmean(gapped, axis=0), rtol=0.1)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(rows, library):
    names = [*"abcdef"]
    frame = pd.DataFrame(rows[1], columns=names, index=[f"r{i}" for i in range(400)])
    frame = frame if library == "pandas" else pl.from_pandas(frame)
    fitted = imputer(add_indicator=True).set_output(transform=library).fit(frame)
    assert list(fitted.estimator_.feature_names_in_) == names
    found = fitted.transform(frame[:7])
    assert type(found) is type(frame)
    assert list(found.columns) == [*names, *(f"missingindicator_{n}" for n in names)]
    expected = imputer(add_indicator=True).fit(rows[1]).transform(rows[1][:7])
    assert np.array_equal(np.asarray(found), expected)
    if library == "pandas":
        assert list(found.index) == list(frame.index[:7])


def test_losses_by_name(rows):
    frame = pd.DataFrame(rows[1], columns=[*"abcdef"]).assign(empty=np.nan)
    loss = {"squared_error": [*"abc"], "absolute_error": [*"def"]}
    estimator = clone(TINY).set_params(loss=loss)
    filled = AutoencoderImputer(estimator, random_state=0).fit_transform(frame)
    assert np.isfinite(filled).all()


def test_sparse_and_float32(rows):
    gapped = np.where(np.abs(rows[1]) < 4, 0.0, rows[1])
    expected = imputer().fit_transform(gapped)
    found = imputer().fit_transform(sparse.csr_array(gapped))
    assert np.array_equal(found, expected)
    single = imputer().fit_transform(gapped.astype(np.float32))
    assert single.dtype == np.float32
    assert imputer(add_indicator=True).fit_transform(gapped).dtype == np.float64
    with pytest.raises(ValueError, match="missing_values == 0 and input is sparse"):
        imputer(missing_values=0).fit(sparse.csr_array(rows[0]))


def test_weights_and_groups_reach_the_autoencoder(rows):
    gapped = rows[1][:60]
    weights = np.arange(60) % 3
    one = imputer().fit(gapped, sample_weight=weights)
    other = imputer().fit(np.repeat(gapped, weights, axis=0))
    np.testing.assert_allclose(one.transform(gapped), other.transform(gapped))
    groups = np.repeat(np.arange(20), 3)
    inside = clone(TINY).set_params(allow_nan=True, random_state=0)
    grouped = imputer().fit(gapped, groups=groups).estimator_
    direct = inside.set_params(random_state=grouped.random_state)
    direct.fit(gapped, groups=groups)
    assert direct.validation_curve_ != imputer().fit(gapped).estimator_.validation_curve_
    assert np.array_equal(direct.mean_, grouped.mean_)


def test_before_a_classifier(rows):
    X, gapped = rows
    y = X[:, 0] > np.median(X[:, 0])
    pipe = make_pipeline(imputer(), LogisticRegression())
    search = GridSearchCV(pipe, {"autoencoderimputer__add_indicator": [True, False]}, cv=2)
    assert search.fit(gapped[:200], y[:200]).score(gapped[200:], y[200:]) > 0.8


def test_same_seed_same_bits(rows):
    gapped = rows[1]
    before = np.random.mtrand._rand.get_state()[1].copy()
    one, other = (
        imputer(sample_posterior=True).fit(gapped).transform(gapped) for _ in range(2)
    )
    assert np.array_equal(one, other)
    assert np.array_equal(np.random.mtrand._rand.get_state()[1], before)
    another = imputer(random_state=1, sample_posterior=True).fit_transform(gapped)
    assert not np.array_equal(one, another)
    seeded = imputer(random_state=None).set_params(estimator__random_state=5)
    assert seeded.fit(gapped).estimator_.random_state == 5


# -- draws -----------------------------------------------------------------------------


def test_intervals_of_draws_cover_hidden_cells(rows, drawing):
    X, gapped = rows
    hidden = np.isnan(gapped)
    draws = np.stack([drawing.transform(gapped) for _ in range(20)])
    width = t.ppf(0.975, 19) * np.sqrt(1 + 1 / 20) * draws.std(axis=0, ddof=1)
    covered = np.abs(X - draws.mean(axis=0)) <= width
    assert 0.92 <= covered[hidden].mean() <= 0.98
    assert np.array_equal(
        draws[:, ~hidden], np.broadcast_to(X[~hidden], (20, *X[~hidden].shape))
    )


def test_draws_vary_around_the_expected_value(rows, drawing):
    gapped = rows[1][:50]
    expected = imputer().fit(rows[1]).transform(gapped)
    draws = np.stack([drawing.transform(gapped) for _ in range(200)])
    missing = np.isnan(gapped)
    errors = (draws.mean(axis=0) - expected)[missing]
    deviations = draws.std(axis=0)[missing]
    assert (deviations > 0).all()
    assert (np.abs(errors) < 0.5 * deviations).mean() > 0.95


def test_nothing_is_drawn_unless_the_fit_was_told(rows, drawing):
    fitted = imputer().fit(rows[1])
    later = fitted.transform(rows[1])
    fitted.set_params(sample_posterior=True, add_indicator=True)
    assert np.array_equal(fitted.transform(rows[1]), later)
    assert not hasattr(fitted, "random_state_")


def test_draws_need_rows_to_hold_out():
    X = np.ones((30, 3))
    with pytest.raises(ValueError, match="sample_posterior=True of AutoencoderImputer"):
        imputer(sample_posterior=True).fit(X)
    assert np.array_equal(imputer().fit_transform(X), np.ones((30, 3)))


# -- copies, files and failures --------------------------------------------------------


def test_copies_answer_alike(rows, tmp_path):
    gapped = np.column_stack([rows[1], np.full(400, np.nan)])
    fitted = imputer(sample_posterior=True, add_indicator=True).fit(gapped)
    fitted.save(tmp_path / "imputer.skae")
    again = [pickle.loads(pickle.dumps(fitted)), skae.load(tmp_path / "imputer.skae")]
    for _ in range(2):
        expected = fitted.transform(gapped)
        for copy in again:
            assert np.array_equal(copy.transform(gapped), expected)
    assert list(again[1].get_feature_names_out()) == list(fitted.get_feature_names_out())
    assert vars(again[1]).keys() == vars(fitted).keys()
    assert isinstance(again[1].estimator, AutoencoderTransformer)


def test_files_that_hold_no_imputer(rows, tmp_path):
    with pytest.raises(NotFittedError):
        imputer().save(tmp_path / "none.skae")

    class Mine(AutoencoderImputer):
        pass

    with pytest.raises(TypeError, match="save of Mine takes classes of skae only"):
        Mine(TINY).fit(rows[1]).save(tmp_path / "mine.skae")
    fitted = imputer(missing_values=pd.NA).fit(rows[1])
    fitted.save(tmp_path / "na.skae")
    assert np.isnan(skae.load(tmp_path / "na.skae").missing_values)
    fitted._features_out = np.array([9])
    fitted.save(tmp_path / "wrong.skae")
    with pytest.raises(ModelFileError, match="that do not fit together"):
        skae.load(tmp_path / "wrong.skae")


def test_a_failed_fit_leaves_the_imputer_as_it_was(rows):
    fitted = imputer().fit(rows[1])
    before = fitted.transform(rows[1])
    with pytest.raises(ValueError, match="n_components=5"):
        fitted.set_params(estimator__n_components=5).fit(rows[1][:, :3])
    assert fitted.n_features_in_ == 6
    assert np.array_equal(fitted.transform(rows[1]), before)


def test_parameters_of_a_wrong_kind(rows):
    for params, message in [
        ({"estimator": SimpleImputer()}, "The 'estimator' parameter"),
        ({"sample_posterior": "yes"}, "The 'sample_posterior' parameter"),
    ]:
        with pytest.raises(ValueError, match=message):
            AutoencoderImputer(**params).fit(rows[1])


# -- categories ------------------------------------------------------------------------


def test_categories_are_filled_with_categories(mixed_frame, gapped_frame):
    fitted = AutoencoderImputer(random_state=0).fit(gapped_frame)
    codes = fitted.transform(gapped_frame)
    filled = fitted.set_output(transform="pandas").transform(gapped_frame)
    pd.testing.assert_series_equal(filled.dtypes, gapped_frame.dtypes)
    np.testing.assert_array_equal(filled["size"].cat.codes, codes[:, 4])
    for name, column in gapped_frame.items():
        is_known = column.notna()
        assert (filled[name] == mixed_frame[name])[is_known].all()
        if name in ("color", "old", "size"):
            assert (filled[name] == mixed_frame[name])[~is_known].mean() > 0.75
    alone = fitted.transform(gapped_frame[:1])
    pd.testing.assert_frame_equal(alone[["color", "size"]], filled[:1][["color", "size"]])


def test_categories_are_drawn_by_their_probabilities(gapped_frame):
    """Draws differ where there is doubt, and agree on average with what is likely."""
    drawing = imputer(sample_posterior=True).fit(gapped_frame)
    is_missing = gapped_frame["color"].isna()
    draws = np.stack([drawing.transform(gapped_frame)[:, 1] for _ in range(20)])
    assert (draws[:, ~is_missing] == draws[0, ~is_missing]).all()
    counts = np.stack([(draws[:, is_missing] == code).mean(axis=0) for code in range(3)])
    likely = imputer().fit_transform(gapped_frame)[is_missing, 1]
    agreed = counts[likely.astype(int), np.arange(is_missing.sum())]
    assert 0.6 < agreed.mean() < 1


@pytest.mark.parametrize("keep", [False, True])
def test_empty_categories(gapped_frame, keep):
    empty = pd.Categorical([None] * 300, categories=["some", "others"])
    frame = gapped_frame.assign(nothing=empty)[["nothing", "color", "age"]]
    fitted = imputer(keep_empty_features=keep, add_indicator=True)
    filled = fitted.set_output(transform="pandas").fit_transform(frame)
    assert list(filled) == list(fitted.get_feature_names_out())
    assert ("nothing" in filled) == keep
    assert not filled.isna().any(axis=None)
    assert filled["color"].dtype == frame["color"].dtype
    numbers = imputer().fit_transform(frame[["nothing", "age"]])
    assert numbers.shape == (300, 1)


def test_an_imputer_of_categories_in_a_file(gapped_frame, tmp_path):
    frame = gapped_frame[:60]
    imputer = AutoencoderImputer(sample_posterior=True, add_indicator=True, random_state=0)
    imputer.fit(frame).save(tmp_path / "imputer.skae")
    again = skae.load(tmp_path / "imputer.skae")
    for model in (imputer, again):
        model.set_output(transform="pandas")
    pd.testing.assert_frame_equal(again.transform(frame), imputer.transform(frame))
    name, parameters, fitted = read_model(tmp_path / "imputer.skae")
    fitted["_columns"]["chosen"][0] = fitted["_columns"]["chosen"][0][:1]
    write_model(tmp_path / "damaged.skae", name, parameters, fitted)
    with pytest.raises(ModelFileError, match="columns of categories"):
        skae.load(tmp_path / "damaged.skae")


def test_unknown_and_marked_categories(gapped_frame):
    new = gapped_frame.assign(size=pd.Categorical(["XL"] * 300))
    fitted = imputer().fit(gapped_frame[:100])
    with pytest.raises(ValueError, match=r"unknown categories \['XL'\] in column 'size'"):
        fitted.transform(new)
    ae = clone(TINY).set_params(handle_unknown="ignore")
    fitted = AutoencoderImputer(ae, random_state=0).fit(gapped_frame[:100])
    assert set(fitted.transform(new)[:, 4]) <= {0, 1, 2}
    with pytest.raises(ValueError, match="missing_values=-1 of AutoencoderImputer is for"):
        AutoencoderImputer(missing_values=-1).fit(gapped_frame)


def test_chosen_columns_of_an_array():
    rng = np.random.default_rng(0)
    group = rng.integers(0, 3, 200)
    X = np.c_[np.full(200, np.nan), 10.0 + group, group + 0.1 * rng.normal(size=200)]
    X[::4, 1] = np.nan
    ae = clone(TINY).set_params(categorical_features=[1])
    filled = AutoencoderImputer(ae, random_state=0).fit_transform(X)
    np.testing.assert_array_equal(filled[:, 0], 10 + group)
