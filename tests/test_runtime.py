"""Model files that are answered with NumPy alone, against the estimators they are from."""

import copy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from torch import nn

import skae.runtime
from skae import (
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    AutoencoderTransformer,
    VariationalAutoencoder,
)
from skae._applications import calibration, row_distances
from skae._autoencoders import fitted_attributes
from skae._files import container
from skae._model import density as _density
from skae._model import model as _model
from skae._serving import density, detection, losses, network, reading
from skae.exceptions import ModelFileError
from skae.losses import LOSSES, _counts, _likelihoods, _mixed, _named
from skae.modules import _convolutional, _variational

pytest.importorskip("safetensors")

DATA = Path(__file__).parent / "data"
QUICK = {"early_stopping": False, "max_epochs": 1}
CLOSE = {np.float64: 1e-9, np.float32: 1e-5}


def opened(model, path):
    model.save(path)
    return skae.runtime.load(path)


@pytest.fixture(scope="module")
def small():
    """A fitted estimator of a few numbers."""
    X = np.random.default_rng(0).normal(size=(30, 3))
    return AutoencoderTransformer(2, hidden_layer_sizes=(4,), **QUICK).fit(X)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.skae"


@pytest.fixture(scope="module")
def data(small, tmp_path_factory):
    """The bytes of its file."""
    path = tmp_path_factory.mktemp("small") / "model.skae"
    small.save(path)
    return path.read_bytes()


# -- the same numbers ------------------------------------------------------------------


def check_equal(found, expected, dtype):
    scale = np.abs(expected).max() or 1.0
    np.testing.assert_allclose(found, expected, rtol=0, atol=CLOSE[dtype] * scale)


@pytest.mark.parametrize("dtype", CLOSE)
def test_answers_are_those_of_the_estimator(served, path, dtype):
    ae, X = served
    X = X.astype(dtype)
    model = opened(ae, path)
    Z = ae.transform(X)
    methods = {
        "transform": X,
        "inverse_transform": Z,
        "denoise": X,
        "score_samples": X,
    }
    if not isinstance(ae, VariationalAutoencoder):
        methods["impute"] = X
    for name, argument in methods.items():
        found = getattr(model, name)(argument)
        expected = getattr(ae, name)(argument)
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        check_equal(found, expected, dtype)
    check_equal(model.transform(X[:1]), Z[:1], dtype)


@pytest.mark.parametrize("dtype", CLOSE)
def test_a_detector_answers_as_the_estimator(served_detector, path, dtype):
    detector, X, others = served_detector
    model = opened(detector, path)
    assert (model.offset_, model.n_features_in_) == (detector.offset_, X.shape[1])
    names = "distances", "score_samples", "decision_function", "contributions", "residuals"
    for rows in (X, others, others[:1]):
        rows = rows.astype(dtype)
        for name in names:
            found, expected = getattr(model, name)(rows), getattr(detector, name)(rows)
            assert found.dtype == expected.dtype
            assert np.array_equal(np.isnan(found), np.isnan(expected))
            check_equal(np.nan_to_num(found), np.nan_to_num(expected), dtype)
        assert model.predict(rows).dtype == detector.predict(rows).dtype
        is_apart = np.abs(detector.decision_function(rows)) > 1e-4
        assert (model.predict(rows) == detector.predict(rows))[is_apart].all()
    # Scores of rows of the fit may be equal to those of held-out rows, but for rounding.
    others = others.astype(dtype)
    check_equal(model.p_values(others), detector.p_values(others), dtype)
    assert (model.predict(others) == -1).any()


def test_neighbors_of_rows_far_from_zero(served_tables, path):
    X = served_tables["far"]
    detector = AutoencoderOutlierDetector(AutoencoderTransformer(2, **QUICK)).fit(X)
    found = opened(detector, path).distances(X)
    np.testing.assert_allclose(found, detector.distances(X), rtol=1e-6)


@pytest.mark.parametrize("dtype", CLOSE)
def test_an_imputer_answers_as_the_estimator(served_imputer, path, dtype):
    imputer, X = served_imputer
    model, X = opened(imputer, path), X.astype(dtype)
    for rows in (X, X[:1]):
        found, expected = model.transform(rows), imputer.transform(rows)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        check_equal(found, expected, dtype)
    names = [int(name[1:]) for name in imputer.get_feature_names_out() if name[0] == "x"]
    is_known = ~np.isnan(X[:, names]) & (X[:, names] != imputer.missing_values)
    found = model.transform(X)[:, : len(names)]
    assert np.array_equal(found[is_known], X[:, names][is_known])
    with pytest.raises(ValueError, match=r"infinity|NaN"):
        model.transform(np.where(is_known[:, :1], X, np.inf))


def test_an_imputer_of_a_table_without_values(path):
    X = np.full((4, 2), np.nan)
    model = opened(AutoencoderImputer(keep_empty_features=True).fit(X), path)
    assert repr(model) == "<RuntimeImputer of AutoencoderImputer: 2 features>"
    assert np.array_equal(model.transform(X), np.zeros((4, 2)))


@pytest.mark.parametrize("params", [{}, {"sample_shape": (2, 3)}], ids=str)
def test_the_first_of_ordered_codes(curved, path, params):
    sizes = {"hidden_layer_sizes": (4,)} | QUICK
    ae = AutoencoderTransformer(3, ordered=True, **sizes, **params).fit(curved)
    model, Z = opened(ae, path), ae.transform(curved)
    for k in (1, 2, 3):
        expected = ae.inverse_transform(Z[:, :k])
        check_equal(model.inverse_transform(Z[:, :k]), expected, np.float64)
        smaller = opened(ae.truncate(k), path)
        assert smaller.n_components_ == k
        check_equal(smaller.denoise(curved), expected, np.float64)
    with pytest.raises(ValueError, match="it expects 3 columns"):
        model.inverse_transform(np.zeros((2, 4)))


def test_all_rows_of_many_batches(small, data, path, monkeypatch):
    monkeypatch.setattr(skae.runtime, "BATCH", 21)
    path.write_bytes(data)
    X = np.random.default_rng(1).normal(size=(50, 3))
    model = skae.runtime.load(path)
    for name in ("transform", "denoise", "score_samples"):
        check_equal(getattr(model, name)(X), getattr(small, name)(X), np.float64)
    for kind in (VariationalAutoencoder, AutoencoderOutlierDetector):
        ae = kind(2, **QUICK) if kind is VariationalAutoencoder else kind(small)
        model = opened(ae.fit(X), path)
        check_equal(model.score_samples(X), ae.score_samples(X), np.float64)


def test_files_of_every_format_are_read():
    for version in range(1, container.FORMAT + 1):
        expected = np.load(DATA / f"format_{version}.npz", allow_pickle=False)
        model = skae.runtime.load(DATA / f"format_{version}.skae")
        assert [*model.feature_names_in_] == ["a", "b", "c", "d"]
        pandas = pytest.importorskip("pandas")
        X = pandas.DataFrame(expected["X"], columns=["a", "b", "c", "d"])
        check_equal(model.transform(X), expected["Z"], np.float64)
        check_equal(model.inverse_transform(expected["Z"]), expected["X_hat"], np.float64)
        check_equal(model.score_samples(X), expected["scores"], np.float64)


def test_threads_get_the_same_bits(served_tables, path):
    X = np.concatenate([served_tables["incomplete"]] * 3)
    ae = AutoencoderTransformer(2, allow_nan=True, **QUICK).fit(X[:80])
    model = opened(ae, path)
    expected = model.denoise(X)
    with ThreadPoolExecutor(8) as pool:
        assert all((found == expected).all() for found in pool.map(model.denoise, [X] * 16))


def test_nothing_large_is_imported(data, path):
    path.write_bytes(data)
    program = f"""
import sys
for name in ("torch", "sklearn", "scipy", "skorch", "pandas"):
    sys.modules[name] = None  # an import would fail
import skae.runtime
model = skae.runtime.load({str(path)!r})
X = [[1, 2, 3], [4, 5, 7]]
assert model.inverse_transform(model.transform(X)).shape == (2, 3)
assert model.score_samples(X).shape == (2,)
"""
    root = str(Path(skae.__file__).parents[1])
    program = f"import sys; sys.path.insert(0, {root!r})" + program
    subprocess.run([sys.executable, "-c", program], check=True)


def test_constants_are_those_of_the_package():
    """They are written twice, because the package's own files import torch."""
    ours = [losses.OFFSET, losses.UNIT, losses.LOG_THETA, losses.LOWEST]
    assert ours == [_counts.OFFSET, _counts.UNIT, _counts.LOG_THETA, _counts.LOWEST]
    ours = [losses.LARGEST_COUNT, losses.SHORTEST, losses.SUM_TOLERANCE, losses.UNLIKELY]
    named, mixed = (
        (_named.LARGEST_COUNT, _named.SHORTEST),
        (_mixed.ROUNDING, _mixed.UNLIKELY),
    )
    assert ours == [*named, *mixed]
    assert losses.OF_COLUMNS == _mixed.OF_COLUMNS
    assert {*losses.KINDS} == {*LOSSES}
    for name, kind in losses.KINDS.items():
        loss = LOSSES[name]
        fields = "bounds", "degree", "n_constants", "of_scaled", "can_hold"
        assert all(getattr(kind, f) == getattr(loss, f) for f in fields)
    assert (reading.FAR, reading.EXTREME) == (_model.FAR, _model.EXTREME)
    assert reading.SMALLEST == fitted_attributes.SMALLEST
    assert network.KERNEL == _convolutional.KERNEL
    assert detection.N_NEIGHBORS == row_distances.N_NEIGHBORS
    assert detection.ROUNDING == calibration.ROUNDING
    assert (density.LOGITS, density.FLOOR) == (_variational.LOGITS, _likelihoods.FLOOR)


# -- rows ------------------------------------------------------------------------------


def test_kinds_of_tables(small, data, path):
    path.write_bytes(data)
    model = skae.runtime.load(path)
    assert repr(model) == (
        "<RuntimeModel of AutoencoderTransformer: 3 features, 2 components>"
    )
    X = np.array([[1, 2, 3], [0, 5, 6]])
    expected = small.transform(X)
    rows = [X, X.tolist(), X.astype(object), X.astype(np.int8), sparse.csr_array(X)]
    for table in [*rows, np.asfortranarray(X), sparse.coo_array(X)]:
        check_equal(model.transform(table), expected, np.float64)
    for table in [X[0], X[None], X[:0], X.astype(str), X + 1j, [["a", "b", "c"]]]:
        with pytest.raises(ValueError, match=r"2D array|0 sample|numbers|could not"):
            model.transform(table)
    with pytest.raises(ValueError, match="X has 2 features, but AutoencoderTransformer is"):
        model.transform(X[:, :2])
    with pytest.raises(ValueError, match="it expects 2 columns"):
        model.inverse_transform(X)
    for value, match in [(np.nan, "contains NaN"), (np.inf, "contains infinity")]:
        with pytest.raises(ValueError, match=match):
            model.transform([[1.0, 2.0, value]])
        with pytest.raises(ValueError, match=match):
            model.inverse_transform([[1.0, value]])


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_feature_names(curved, path, library):
    library = pytest.importorskip(library)
    names = [*"abcdef"]
    frame = library.DataFrame(dict(zip(names, curved.T, strict=True)))
    ae = AutoencoderTransformer(2, hidden_layer_sizes=(4,), **QUICK).fit(frame)
    model = opened(ae, path)
    check_equal(model.transform(frame), ae.transform(frame), np.float64)
    for columns in ([*"bacdef"], [*"abcde"], [*"abcdeg"], [*"ghijklmn"]):
        other = library.DataFrame(dict.fromkeys(columns, curved[:, 0]))
        with pytest.raises(ValueError, match="feature names should match") as expected:
            ae.transform(other)
        with pytest.raises(ValueError, match="feature names should match") as found:
            model.transform(other)
        assert str(found.value) == str(expected.value)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.transform(curved)
    without = opened(ae.fit(curved), path)
    with pytest.warns(UserWarning, match="was fitted without feature names"):
        without.transform(frame)


def test_values_that_the_loss_is_not_defined_for(served_tables, path):
    short = {"hidden_layer_sizes": (4,)} | QUICK
    X = served_tables["counts"]
    ae = AutoencoderTransformer(2, loss="poisson", **short).fit(X)
    with pytest.raises(ValueError, match=r"values in \[0, 1e\+13\], but feature 0 of X"):
        opened(ae, path).score_samples(X - 1)
    mixed = {"squared_error": [0, 1, 2], "cross_entropy": [[3, 4, 5]]}
    X = served_tables["mixed"]
    model = opened(AutoencoderTransformer(2, loss=mixed, **short).fit(X), path)
    X = X.copy()
    X[7, 3:] = 0
    with pytest.raises(ValueError, match="row 7 of the columns"):
        model.score_samples(X)


# -- what is refused -------------------------------------------------------------------


class Own(nn.Module):
    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = nn.Linear(n_features, n_components)
        self.decode = nn.Linear(n_components, n_features)


def test_what_needs_torch(curved, path):
    own = AutoencoderTransformer(2, module=Own, **QUICK).fit(curved)
    with pytest.raises(ModelFileError, match=r"Open it with skae\.load and module="):
        opened(own, path)
    short = AutoencoderTransformer(2, hidden_layer_sizes=(4,), **QUICK)
    X = np.where(np.arange(200)[:, None] % 7 == np.arange(6), np.nan, curved)
    draws = AutoencoderImputer(short, sample_posterior=True, random_state=0).fit(X)
    with pytest.raises(ModelFileError, match=r"draws values .* Open it with skae\.load"):
        opened(draws, path)


@pytest.mark.parametrize(
    "kind", [AutoencoderTransformer, AutoencoderOutlierDetector, AutoencoderImputer]
)
def test_columns_of_categories(mixed_frame, path, kind):
    short = AutoencoderTransformer(2, hidden_layer_sizes=(4,), **QUICK)
    ae = short if kind is AutoencoderTransformer else kind(short)
    with pytest.raises(ModelFileError, match=r"categories.*Open it with skae\.load"):
        opened(ae.fit(mixed_frame), path)


def test_scores_of_a_density_in_an_early_file(curved, path):
    ae = VariationalAutoencoder(2, **QUICK).fit(curved)
    model = opened(ae, path)
    name, parameters, fitted = parts(path.read_bytes())
    assert fitted["_points"].shape == (_density.N_DRAWS, 2)
    assert not hasattr(skae.load(path), "_points")
    del fitted["_points"]
    write(path, name, parameters, fitted)
    early = skae.runtime.load(path)
    assert (early.transform(curved) == model.transform(curved)).all()
    with pytest.raises(NotImplementedError, match="save it again"):
        early.score_samples(curved)


def test_damaged_files(data, path):
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(data), 200):
        altered = bytearray(data)
        altered[position] ^= int(rng.integers(1, 256))
        path.write_bytes(altered)
        with pytest.raises(ModelFileError, match=str(path)):
            skae.runtime.load(path)
    for length in np.linspace(0, len(data) - 1, 64).astype(int):
        path.write_bytes(data[:length])
        with pytest.raises(ModelFileError):
            skae.runtime.load(path)
    with pytest.raises(FileNotFoundError):
        skae.runtime.load(path.with_name("absent"))


def parts(data):
    """Class, parameters and fitted attributes."""
    return container.unpack(data)


def write(path, *forged):
    path.write_bytes(container.pack(*forged))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"net_": {}}, "more layers than weights"),
        ({"n_components_": 2**40}, "components_"),
        ({"n_components_": True}, "widths"),
        ({"n_components_": 0}, "widths"),
        ({"n_features_in_": 3.0}, "widths"),
        ({"hidden_layer_sizes_": (10**9,)}, "of shape"),
        ({"hidden_layer_sizes_": (4,) * 10**4}, "more layers than weights"),
        ({"hidden_layer_sizes_": ("4",)}, "widths of layers"),
        ({"mean_": np.array([0.0, np.nan, 0.0])}, "not finite"),
        ({"mean_": 0.0}, "shape"),
        ({"scale_": 0.0}, "not positive"),
        ({"scale_": "1"}, "scale_"),
        ({"scale_": np.ones(2)}, "scale_"),
        ({"_filler": (1, 2)}, "no valid"),
        ({"_has_marks": 1}, "_has_marks"),
        ({"_loss_statistics": None, "feature_names_in_": ["a"]}, "feature names"),
    ],
    ids=lambda change: str(change)[:40],
)
def test_attributes_that_are_not_valid(data, path, change, match):
    name, parameters, fitted = parts(data)
    write(path, name, parameters, fitted | change)
    with pytest.raises(ModelFileError, match=match):
        skae.runtime.load(path)


@pytest.mark.parametrize(
    "change",
    [
        {"activation": "swish"},
        {"activation": ["gelu"]},
        {"normalization": "batch"},
        {"normalization": 1},
        {"loss": "poisson"},
        {"loss": "rmse"},
        {"loss": {"squared_error": [0, 1]}},
        {"loss": {"squared_error": [0, 1, 1, 2]}},
        {"loss": {"squared_error": [0], "cross_entropy": [[1], [2]]}},
        {"ordered": True},
        {"ordered": 0},
        {"init": "random"},
        {"init": "zero"},
        {"dropout": 0.5, "hidden_layer_sizes": 7, "sample_shape": (1, 3)},
        {"sample_shape": (2, 2)},
    ],
    ids=str,
)
def test_parameters_that_are_not_valid(data, path, change):
    name, parameters, fitted = parts(data)
    fitted = fitted | {"_params_of_fit": fitted["_params_of_fit"] | change}
    write(path, name, parameters, fitted)
    with pytest.raises(ModelFileError):
        skae.runtime.load(path)


def test_weights_that_are_not_valid(data, path):
    name, parameters, fitted = parts(data)
    weights, last = fitted["net_"], "decoder.linear.bias"
    for wrong in (np.full(3, np.nan), np.zeros(3), np.zeros(4), [0.0] * 3, 0.0):
        if isinstance(wrong, np.ndarray) and wrong.any():
            wrong = wrong.astype(np.float32)
        fitted["net_"] = weights | {last: wrong}
        write(path, name, parameters, fitted)
        with pytest.raises(ModelFileError, match=last):
            skae.runtime.load(path)
    fitted["net_"] = weights | {"more": np.zeros(3, dtype=np.float32)}
    write(path, name, parameters, fitted)
    with pytest.raises(ModelFileError, match="surplus"):
        skae.runtime.load(path)


@pytest.fixture(scope="module")
def forged(curved, tmp_path_factory):
    """A function that writes a changed file of another estimator."""
    folder, X = tmp_path_factory.mktemp("others"), curved.copy()
    X[::5, 1] = np.nan
    small = {"hidden_layer_sizes": (4,)} | QUICK
    ae = AutoencoderTransformer(2, **small)
    mixture = VariationalAutoencoder(2, prior="mixture", **small)
    files = {}
    for model, table in [
        (mixture, curved),
        (AutoencoderOutlierDetector(ae), curved),
        (AutoencoderImputer(ae), X),
    ]:
        model.fit(table).save(folder / "model.skae")
        files[type(model)] = parts((folder / "model.skae").read_bytes())

    def write_changed(path, kind, change):
        name, parameters, fitted = copy.deepcopy(files[kind])
        write(path, name, parameters, fitted | change)

    return write_changed


@pytest.mark.parametrize(
    ("kind", "change", "match"),
    [
        (VariationalAutoencoder, {"_points": np.zeros((3, 5))}, "_points"),
        (VariationalAutoencoder, {"_points": np.zeros((0, 2))}, "no valid"),
        (VariationalAutoencoder, {"_points": np.full((3, 2), np.nan)}, "_points"),
        (VariationalAutoencoder, {"weights_": np.ones(0)}, "prior"),
        (VariationalAutoencoder, {"weights_": -np.ones(1)}, "prior"),
        (VariationalAutoencoder, {"covariances_": np.zeros((1, 2, 2))}, "prior|no valid"),
        (VariationalAutoencoder, {"_loss_statistics": {}}, "scale"),
        (VariationalAutoencoder, {"_loss_statistics": {"scale": 1.0}}, "scale"),
        (AutoencoderOutlierDetector, {"_tails": np.zeros((2, 3))}, "calibration"),
        (AutoencoderOutlierDetector, {"_tails": np.zeros((3, 2))}, "_tails"),
        (AutoencoderOutlierDetector, {"offset_": np.nan}, "calibration"),
        (AutoencoderOutlierDetector, {"offset_": "0"}, "no valid|calibration"),
        (AutoencoderOutlierDetector, {"held_out_scores_": np.zeros(3)}, "held_out_weig"),
        (AutoencoderOutlierDetector, {"_references": np.zeros((0, 6))}, "calibration"),
        (AutoencoderOutlierDetector, {"_references": np.zeros((9, 5))}, "_references"),
        (AutoencoderOutlierDetector, {"n_features_in_": 7}, "fit together"),
        (AutoencoderOutlierDetector, {"estimator_": None}, "no valid"),
        (AutoencoderImputer, {"_is_empty": np.zeros(6)}, "fit together"),
        (AutoencoderImputer, {"_is_empty": np.ones(6, dtype=bool)}, "fit together"),
        (AutoencoderImputer, {"estimator_": None}, "fit together"),
        (AutoencoderImputer, {"_features_out": np.array([6])}, "numbers of features"),
        (AutoencoderImputer, {"indicator_": np.array([-1])}, "numbers of features"),
        (AutoencoderImputer, {"indicator_": 3}, "no valid"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_other_estimators_with_attributes_that_are_not_valid(
    forged, path, kind, change, match
):
    forged(path, kind, {})
    skae.runtime.load(path)
    forged(path, kind, change)
    with pytest.raises(ModelFileError, match=match):
        skae.runtime.load(path)


def places(values, way=()):
    """Paths to all values in nested dicts, lists and tuples."""
    pairs = values.items() if isinstance(values, dict) else enumerate(values)
    for key, value in pairs:
        yield (*way, key)
        if isinstance(value, dict | list):
            yield from places(value, (*way, key))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_any_value_in_place_of_any_other(data, path):
    """A file that is opened all the same makes a model that works."""
    rng = np.random.default_rng(0)
    strange = [None, True, -1, 0, 2**40, 1e300, "", "auto", [], {}, (), [[0]], np.nan]
    name, parameters, fitted = parts(data)
    everywhere, n_refused, trials = [*places(fitted)], 0, 100
    for _ in range(trials):
        changed = copy.deepcopy(fitted)
        *way, last = everywhere[rng.integers(len(everywhere))]
        place = changed
        for key in way:
            place = place[key]
        place[last] = strange[rng.integers(len(strange))]
        write(path, name, parameters, changed)
        try:
            model = skae.runtime.load(path)
        except ModelFileError:
            n_refused += 1
        else:
            X = np.zeros((2, 3))
            assert np.isfinite(model.inverse_transform(model.transform(X))).all()
            assert not np.isnan(model.score_samples(X)).any()
    assert trials // 8 < n_refused < trials
