"""AutoencoderOutlierDetector: scores, alarms, p values, contributions."""

import concurrent.futures
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.covariance import EllipticEnvelope
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import TimeSeriesSplit

import skae
from skae import (
    AutoencoderOutlierDetector,
    AutoencoderTransformer,
    VariationalAutoencoder,
)
from skae._files.container import read_model, write_model
from skae._tables import rows as table_rows
from skae.exceptions import ModelFileError

METHODS = ["score_samples", "p_values", "contributions", "residuals", "distances"]
TINY = {"hidden_layer_sizes": (16,), "max_epochs": 10}


def detector(n_components=2, random_state=0, **params):
    own = {k: params.pop(k) for k in ("contamination", "support_fraction") if k in params}
    ae = AutoencoderTransformer(n_components, standardize=True, **(TINY | params))
    return AutoencoderOutlierDetector(ae, random_state=random_state, **own)


@pytest.fixture(scope="module")
def rows():
    """Rows near a bent surface: for the fit (300, 6), and others (2000, 6)."""
    rng = np.random.default_rng(0)
    Z = rng.uniform(-1, 1, (2300, 2))
    bent = np.c_[Z, Z**2, Z[:, :1] * Z[:, 1:], np.sin(3 * Z[:, :1])]
    X = bent @ rng.normal(size=(6, 6)) + 0.05 * rng.normal(size=(2300, 6))
    return X[:300], X[300:]


@pytest.fixture(scope="module")
def fitted(rows):
    return detector().fit(rows[0])


def test_outliers_of_both_kinds_score_low(rows, fitted):
    X = rows[1]
    off_the_surface = X + 2 * np.random.default_rng(0).normal(size=X.shape)
    far_away = X.mean(axis=0) + 4 * (X - X.mean(axis=0))
    for outliers in off_the_surface, far_away:
        scores = fitted.score_samples(np.concatenate([X, outliers]))
        assert roc_auc_score(np.repeat([1, 0], 2000), scores) > 0.9


def test_outliers_among_the_training_rows_are_found(rows):
    X = np.concatenate([rows[0], 9 * np.random.default_rng(0).normal(size=(20, 6))])
    found = detector(contamination=20 / 320, support_fraction=0.9).fit(X)
    assert (found.predict(X)[300:] == -1).sum() >= 19
    assert not found.support_[300:].any()
    assert found.support_.sum() == 288


def test_offset(rows, fitted):
    X = rows[0]
    scores = fitted.score_samples(X)
    np.testing.assert_allclose(fitted.decision_function(X), scores - fitted.offset_)
    assert np.array_equal(fitted.predict(X), np.where(scores < fitted.offset_, -1, 1))
    below = np.average(
        fitted.held_out_scores_ < fitted.offset_, weights=fitted.held_out_weights_
    )
    assert 0.04 < below <= 0.05
    quarter = detector(contamination=0.25).fit(X)
    assert (quarter.predict(X) == -1).sum() == 75


def test_alarms_of_new_rows_are_as_many_as_announced(rows, fitted):
    """Within two or three standard errors, which come from the 300 held-out rows."""
    p = fitted.p_values(rows[1])
    for level in (0.02, 0.05, 0.1, 0.3):
        error = np.sqrt(level * (1 - level) / 300)
        assert abs((p <= level).mean() - level) < 3 * error
    assert p.min() >= 1 / 301
    assert p.max() <= 1


def test_p_values_tell_rows_that_training_has_seen():
    """A network with room to memorise: scores of its own rows would make p too small."""
    rng = np.random.default_rng(0)
    X, new = rng.normal(size=(80, 20)), rng.normal(size=(2000, 20))
    params = {"hidden_layer_sizes": (128,), "early_stopping": False, "max_epochs": 80}
    memory = detector(5, support_fraction=1.0, **params).fit(X)
    seen, scores = memory.score_samples(X), memory.score_samples(new)
    naive = (1 + (seen[:, None] <= scores).sum(axis=0)) / 81
    error = np.sqrt(0.1 * 0.9 / 80)  # from the 80 rows that calibrate
    assert (naive <= 0.1).mean() > 0.1 + 6 * error
    assert (memory.p_values(new) <= 0.1).mean() < 0.1 + 2 * error
    assert (memory.p_values(X) <= 0.1).sum() == 0


def test_p_values_are_ranks_of_scores(rows, fitted):
    p, scores = fitted.p_values(rows[1]), fitted.score_samples(rows[1])
    assert (np.diff(p[np.argsort(scores)]) >= 0).all()


@pytest.mark.parametrize("n_components", [2, 6])
def test_contributions_add_up_to_the_score(rows, n_components):
    X = rows[1]
    found = detector(n_components).fit(rows[0])
    contributions = found.contributions(X)
    assert (contributions >= 0).all()
    np.testing.assert_allclose(contributions.sum(axis=1), -found.score_samples(X))


def test_a_planted_shift_is_to_blame(rows, fitted):
    X = rows[1][:600].copy()
    feature = np.arange(600) % 6
    X[np.arange(600), feature] += 6 * rows[0].std(axis=0)[feature]
    blamed = fitted.contributions(X).argmax(axis=1)
    assert (blamed == feature).mean() > 0.9
    residuals = fitted.residuals(X)
    assert (residuals[np.arange(600), feature] > 0).all()
    expected = X - fitted.estimator_.denoise(X)
    np.testing.assert_allclose(residuals, expected)


def test_residual_limit(rows, fitted):
    """Rows on one side of the curve are alarms, and those on the other are not."""
    X = rows[1]
    distances = fitted.distances(X)
    for alarm_rate in (0.05, 0.2):
        limit = fitted.residual_limit(distances[:, 1], alarm_rate)
        beyond = distances[:, 0] > limit
        is_alarm = fitted.p_values(X) <= alarm_rate
        assert (beyond != is_alarm).mean() < 0.01
    with pytest.raises(ValueError, match="alarm_rate == 1"):
        fitted.residual_limit(distances[:, 1], 1)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(rows, library):
    names = list("abcdef")
    X = pd.DataFrame(rows[0], columns=names, index=[f"r{i}" for i in range(300)])
    X = X if library == "pandas" else pl.from_pandas(X)
    found = detector().fit(X)
    assert list(found.feature_names_in_) == names
    assert list(found.estimator_.feature_names_in_) == names
    plain = detector().fit(rows[0])
    for method in METHODS:
        expected = getattr(plain, method)(rows[0])
        assert np.array_equal(getattr(found, method)(X), expected)
    for method in ("contributions", "residuals"):
        frame = getattr(found, method)(X[:3])
        assert type(frame) is type(X)
        assert list(frame.columns) == names
    if library == "pandas":
        assert list(found.contributions(X[:3]).index) == ["r0", "r1", "r2"]
        with pytest.warns(UserWarning, match="but AutoencoderOutlierDetector was fitted"):
            found.predict(rows[0])


def test_small_tables_of_dask(rows):
    dd = pytest.importorskip("dask.dataframe")
    frame = pd.DataFrame(rows[0][:60], columns=list("abcdef"))
    found = detector().fit(dd.from_pandas(frame, npartitions=3))
    assert list(found.estimator_.feature_names_in_) == list("abcdef")
    expected = detector().fit(frame).score_samples(frame)
    np.testing.assert_array_equal(found.score_samples(frame), expected)


def test_sparse_and_float32(rows):
    X, new = rows
    expected = detector().fit(X).score_samples(new)
    found = detector().fit(sparse.csr_matrix(X)).score_samples(sparse.csr_matrix(new))
    np.testing.assert_allclose(found, expected)
    scores = detector().fit(X.astype(np.float32)).score_samples(new.astype(np.float32))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(np.median(scores), np.median(expected), rtol=0.2)


def test_missing_cells(rows):
    X = rows[0].copy()
    X[::3, 1] = np.nan
    found = detector(allow_nan=True).fit(X)
    new = rows[1][:50].copy()
    new[:, 2] = np.nan
    assert np.isfinite(found.score_samples(new)).all()
    assert np.isnan(found.residuals(new)[:, 2]).all()
    contributions = found.contributions(new)
    np.testing.assert_allclose(contributions.sum(axis=1), -found.score_samples(new))
    with pytest.raises(ValueError, match="AutoencoderOutlierDetector takes missing values"):
        detector().fit(X)


def test_weights_are_copies(rows):
    X = rows[0][:60]
    weights = np.arange(60) % 3
    one = detector().fit(X, sample_weight=weights)
    other = detector().fit(np.repeat(X, weights, axis=0))
    for method in METHODS:
        found, expected = getattr(one, method)(X), getattr(other, method)(X)
        np.testing.assert_allclose(found, expected)
    assert one.support_.shape == (60,)
    assert not one.support_[weights == 0].any()
    assert np.array_equal(np.bincount(one.held_out_rows_, minlength=60), weights)


def test_fractional_weights_count_in_the_calibration(rows):
    X = rows[0]
    weights = np.random.default_rng(0).uniform(0.1, 2, 300)
    found = detector().fit(X, sample_weight=weights)
    expected = weights[found.held_out_rows_] / weights.mean()
    np.testing.assert_allclose(found.held_out_weights_, expected)


def test_groups_are_scored_by_networks_that_have_not_seen_them(rows):
    """Copies with a little noise would otherwise be reconstructed from their twins."""
    X = np.repeat(rows[0][:50], 4, axis=0)
    X = X + 1e-3 * np.random.default_rng(0).normal(size=X.shape)
    groups = np.repeat(np.arange(50), 4)
    # Folds of groups see how little they know, and would end training sooner.
    params = {"support_fraction": 1.0, "early_stopping": False}
    apart = detector(**params).fit(X, groups=groups)
    mixed = detector(**params).fit(X)
    assert np.median(apart.held_out_distances_[:, 1]) > 1.5 * np.median(
        mixed.held_out_distances_[:, 1]
    )


@pytest.mark.parametrize("is_splitter", [True, False])
def test_splits_of_ones_own(rows, is_splitter):
    """They are of the rows in the order in which they were passed."""
    splitter = TimeSeriesSplit(3)
    cv = splitter if is_splitter else list(splitter.split(rows[0]))
    found = detector(cv=cv).fit(rows[0])
    assert np.array_equal(np.sort(found.held_out_rows_), np.arange(75, 300))
    drift = rows[0] + np.linspace(0, 20, 300)[:, None]  # each row is near the row before
    ahead = detector(cv=cv).fit(drift).held_out_distances_
    mixed = detector().fit(drift).held_out_distances_
    assert np.median(ahead[:, 1]) > 5 * np.median(mixed[:, 1])


def test_tables_that_are_read_in_parts(rows, monkeypatch, tmp_path):
    """They are trimmed too, and scored as arrays are."""
    monkeypatch.setattr(table_rows, "SMALL_MAP", 1000)
    X = np.concatenate([rows[1][:1400], 9 * np.eye(6)[np.arange(40) % 6]])
    table = np.memmap(tmp_path / "X", dtype=np.float64, mode="w+", shape=X.shape)
    table[:] = X
    found = detector().fit(table)
    assert found.support_.sum() == 1368
    assert not found.support_[1400:].any()
    np.testing.assert_array_equal(found.p_values(table), found.p_values(X))
    assert (found.predict(table[1400:]) == -1).all()


def test_the_default_estimator(rows):
    found = AutoencoderOutlierDetector(random_state=0).fit(rows[0][:60])
    assert found.estimator is None
    assert found.estimator_.standardize
    assert 1 < found.estimator_.n_components_ < 6
    assert found.estimator_.n_features_in_ == found.n_features_in_ == 6


def test_same_seed_same_bits(rows):
    X, new = rows
    one, other = detector().fit(X), detector().fit(X[::-1])
    assert np.array_equal(one.score_samples(new), detector().fit(X).score_samples(new))
    np.testing.assert_allclose(one.score_samples(new), other.score_samples(new))
    assert not np.array_equal(
        one.score_samples(new), detector(random_state=1).fit(X).score_samples(new)
    )
    seeded = detector(random_state=None).set_params(estimator__random_state=5)
    assert clone(seeded).fit(X).estimator_.random_state == 5


def test_copies_and_threads_answer_alike(rows, fitted, tmp_path):
    new = rows[1][:200]
    fitted.save(tmp_path / "detector.skae")
    again = [pickle.loads(pickle.dumps(fitted)), skae.load(tmp_path / "detector.skae")]
    for method in [*METHODS, "predict", "decision_function"]:
        expected = getattr(fitted, method)(new)
        for copy in again:
            assert np.array_equal(getattr(copy, method)(new), expected)
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            found = list(pool.map(lambda _, m=method: getattr(fitted, m)(new), range(16)))
        assert all(np.array_equal(each, expected) for each in found)
    assert vars(again[1]).keys() == vars(fitted).keys()
    assert isinstance(again[1].estimator, AutoencoderTransformer)


def test_files_that_hold_no_detector(rows, fitted, tmp_path):
    with pytest.raises(NotFittedError):
        detector().save(tmp_path / "none.skae")

    class Mine(AutoencoderOutlierDetector):
        pass

    mine = Mine(fitted.estimator).fit(rows[0])
    with pytest.raises(TypeError, match="save of Mine takes classes of skae only"):
        mine.save(tmp_path / "mine.skae")


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("_references", np.zeros((3, 5))),
        ("_tails", np.full((2, 3), np.nan)),
        ("held_out_scores_", np.zeros(3)),
        ("n_features_in_", 5),
        ("offset_", np.nan),
        ("predict", 1),
        ("estimator_", None),
    ],
)
def test_altered_files(fitted, tmp_path, attribute, value):
    path = tmp_path / "detector.skae"
    fitted.save(path)
    name, parameters, attributes = read_model(path)
    write_model(path, name, parameters, attributes | {attribute: value})
    with pytest.raises(ModelFileError, match=r"detector.skae"):
        skae.load(path)


def test_a_failed_fit_leaves_the_detector_as_it_was(rows):
    found = detector().fit(rows[0])
    before = found.score_samples(rows[1])
    with pytest.raises(ValueError, match="n_components=5"):
        found.set_params(estimator__n_components=5).fit(rows[0][:, :3])
    assert found.n_features_in_ == 6
    assert np.array_equal(found.score_samples(rows[1]), before)


def test_parameters_of_a_wrong_kind(rows):
    for params, message in [
        ({"estimator": EllipticEnvelope()}, "The 'estimator' parameter"),
        ({"contamination": 0.6}, "The 'contamination' parameter"),
        ({"support_fraction": 0.0}, "The 'support_fraction' parameter"),
    ]:
        with pytest.raises(ValueError, match=message):
            AutoencoderOutlierDetector(**params).fit(rows[0])


@pytest.mark.parametrize("n", [2, 3, 10])
def test_few_rows(rows, n):
    found = detector(1).fit(rows[0][:n])
    assert len(found.held_out_scores_) == n
    assert np.isfinite(found.score_samples(rows[1])).all()


def test_equal_rows():
    found = detector(1).fit(np.ones((30, 3)))
    assert found.predict(np.ones((2, 3))).tolist() == [1, 1]
    assert found.predict(np.full((2, 3), 2.0)).tolist() == [-1, -1]


class Linear(torch.nn.Module):
    """A network of a user's own."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = torch.nn.Linear(n_features, n_components)
        self.decode = torch.nn.Linear(n_components, n_features)


@pytest.mark.parametrize(
    "autoencoder",
    [
        VariationalAutoencoder(2, **TINY),
        AutoencoderTransformer(2, loss="poisson", **TINY),
        AutoencoderTransformer(2, module=Linear, max_epochs=2),
        AutoencoderTransformer(2, cv=3, whiten=True, noise=0.1, **TINY),
        AutoencoderTransformer(2, early_stopping=False, **TINY),
    ],
    ids=str,
)
def test_any_autoencoder(rows, autoencoder):
    X, new = np.abs(rows[0][:150]), np.abs(rows[1])
    found = AutoencoderOutlierDetector(autoencoder, random_state=0).fit(X)
    assert sorted(found.held_out_rows_) == [*range(150)]
    assert 0.01 < (found.p_values(new) <= 0.1).mean() < 0.2
    contributions = found.contributions(new)
    np.testing.assert_allclose(contributions.sum(axis=1), -found.score_samples(new))


def test_groups_of_rows_far_apart():
    """A row between two groups is an outlier, although it is near the mean."""
    X, _ = make_blobs(300, 4, centers=[[-9] * 4, [9] * 4], random_state=0)
    found = detector().fit(X)
    assert found.predict(np.zeros((1, 4))) == -1


# -- categories ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_categories(mixed_frame):
    return AutoencoderOutlierDetector(random_state=0).fit(mixed_frame)


def test_contributions_are_those_of_the_columns(mixed_frame, of_categories):
    scores = of_categories.score_samples(mixed_frame)
    contributions = of_categories.contributions(mixed_frame)
    assert list(contributions) == list(mixed_frame)
    np.testing.assert_allclose(contributions.sum(axis=1), -scores)
    # A size that does not go with the income is to blame.
    odd = mixed_frame[mixed_frame["size"] == "S"][:20]
    odd = odd.assign(size=pd.Categorical(["L"] * 20, dtype=odd["size"].dtype))
    blamed = of_categories.contributions(odd).idxmax(axis=1)
    assert blamed.isin(["size", "income"]).mean() > 0.8
    assert (of_categories.p_values(odd) < 0.05).mean() > 0.8
    residuals = of_categories.residuals(odd)
    assert residuals["size"].between(0.5, 1).mean() > 0.8


def test_a_detector_of_categories_in_a_file(mixed_frame, of_categories, tmp_path):
    of_categories.save(tmp_path / "detector.skae")
    again = skae.load(tmp_path / "detector.skae")
    scores = of_categories.score_samples(mixed_frame)
    np.testing.assert_array_equal(again.score_samples(mixed_frame), scores)


def test_categories_that_are_only_outside_of_the_support(mixed_frame):
    """The rows that calibrate are of categories that the network knows."""
    frame = mixed_frame.copy()
    frame.loc[[5], "size"] = "XL"
    frame.loc[[5], "income"] = 1e6
    ae = AutoencoderTransformer(2, early_stopping=False, max_epochs=2)
    detector = AutoencoderOutlierDetector(ae, random_state=0).fit(frame)
    assert not detector.support_[5]
    assert detector.score_samples(frame).argmin() == 5
