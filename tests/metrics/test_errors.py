"""Reconstruction errors, against formulae."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import log_loss, r2_score

from skae.metrics import METRICS, make_reconstruction_scorer, reconstruction_error
from skae.metrics._errors import errors_by_feature_and_row, parts_of, value_range

ERRORS = {
    "squared_error": lambda X, P, mean: mean((X - P) ** 2),
    "absolute_error": lambda X, P, mean: mean(abs(X - P)),
    "root_mean_squared_error": lambda X, P, mean: mean((X - P) ** 2) ** 0.5,
    "binary_cross_entropy": lambda X, P, mean: mean(
        -X * np.log(P) - (1 - X) * np.log(1 - P)
    ),
}


@pytest.fixture
def pair():
    """X and X_hat (30, 4) within (0, 1)."""
    rng = np.random.default_rng(0)
    return rng.uniform(0.05, 0.95, (2, 30, 4))


def test_every_metric_has_a_formula():
    assert set(METRICS) == {*ERRORS, "r2"}


@pytest.mark.parametrize("metric", ERRORS)
def test_formulae(pair, metric):
    formula = ERRORS[metric]
    assert reconstruction_error(*pair, metric=metric) == pytest.approx(
        formula(*pair, np.mean), rel=1e-12
    )
    per_feature = reconstruction_error(*pair, metric=metric, multioutput="raw_values")
    expected = formula(*pair, lambda errors: errors.mean(axis=0))
    np.testing.assert_allclose(per_feature, expected, rtol=1e-12)


def test_r2(pair):
    X, X_hat = pair
    r2 = reconstruction_error(X, X_hat, metric="r2")
    total = ((X - X.mean(axis=0)) ** 2).sum()
    assert r2 == pytest.approx(1 - ((X - X_hat) ** 2).sum() / total, rel=1e-12)
    assert r2 == pytest.approx(r2_score(X, X_hat, multioutput="variance_weighted"))
    per_feature = reconstruction_error(X, X_hat, metric="r2", multioutput="raw_values")
    np.testing.assert_allclose(per_feature, r2_score(X, X_hat, multioutput="raw_values"))
    assert reconstruction_error(X, X, metric="r2") == 1
    assert reconstruction_error(X, 0 * X + X.mean(axis=0), metric="r2") == pytest.approx(0)


def test_r2_counts_constant_features(pair):
    X, X_hat = pair
    X, X_hat = np.c_[X, np.ones(30)], np.c_[X_hat, np.zeros(30)]
    expected = 1 - ((X - X_hat) ** 2).sum() / ((X - X.mean(axis=0)) ** 2).sum()
    assert reconstruction_error(X, X_hat, metric="r2") == pytest.approx(expected)
    assert expected < r2_score(X, X_hat, multioutput="variance_weighted")


def test_cross_entropy_is_log_loss_for_bits(pair):
    X, P = np.round(pair[0]), pair[1]
    P[0] = 1 - X[0]  # clipped
    bits = [
        log_loss(X[:, j], np.c_[1 - P[:, j], P[:, j]], labels=[0, 1])
        for j in range(X.shape[1])
    ]
    error = reconstruction_error(X, P, metric="binary_cross_entropy")
    assert error == pytest.approx(np.mean(bits))
    for wide in (P - 2, P + 2, P.astype(np.float32)):
        assert np.isfinite(reconstruction_error(X, wide, metric="binary_cross_entropy"))
    with pytest.raises(ValueError, match=r"takes X in \[0, 1\].*\[0, 2\].*MinMaxScaler"):
        reconstruction_error(2 * X, P, metric="binary_cross_entropy")


@pytest.mark.parametrize("multioutput", ["uniform_average", "raw_values"])
@pytest.mark.parametrize("metric", METRICS)
def test_weights_repeat_rows(pair, metric, multioutput):
    weight = np.arange(30) % 3
    params = {"metric": metric, "multioutput": multioutput}
    weighted = reconstruction_error(*pair, sample_weight=weight, **params)
    repeated = reconstruction_error(*(np.repeat(A, weight, axis=0) for A in pair), **params)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-10)


@pytest.mark.parametrize("metric", METRICS)
def test_kinds_of_input(pair, metric):
    expected = reconstruction_error(*pair, metric=metric)
    assert type(expected) is float
    frames = [pd.DataFrame(A, columns=list("abcd")) for A in pair]
    assert reconstruction_error(*frames, metric=metric) == pytest.approx(
        expected, rel=1e-12
    )
    lists = reconstruction_error(*(A.tolist() for A in pair), metric=metric)
    assert lists == pytest.approx(expected, rel=1e-12)
    single = reconstruction_error(*pair.astype(np.float32), metric=metric)
    assert single == pytest.approx(expected, rel=1e-5)


def test_large_values(pair):
    error = reconstruction_error(*(1e30 * pair))
    assert error == pytest.approx(1e60 * reconstruction_error(*pair))


def test_bad_input(pair):
    X, X_hat = pair
    with pytest.raises(ValueError, match=r"X .*\(30, 4\) and X_hat .*\(30, 3\)"):
        reconstruction_error(X, X_hat[:, :3])
    with pytest.raises(ValueError, match="X_hat contains NaN"):
        reconstruction_error(X, np.where(X_hat > 0.9, np.nan, X_hat))
    with pytest.raises(ValueError, match="'metric' parameter of reconstruction_error must"):
        reconstruction_error(X, X_hat, metric="mse")
    with pytest.raises(ValueError, match="'multioutput' parameter"):
        reconstruction_error(X, X_hat, multioutput="sum")
    with pytest.raises(ValueError, match=r"sample_weight\.shape"):
        reconstruction_error(X, X_hat, sample_weight=[1.0, 2.0])


# -- incomplete rows -------------------------------------------------------------------


@pytest.fixture
def gaps(pair):
    """X (30, 4) with missing cells, one feature complete and one row empty; X_hat."""
    X, X_hat = pair
    missing = np.random.default_rng(1).random(X.shape) < 0.3
    missing[:, 1], missing[4] = False, True
    return np.where(missing, np.nan, X), X_hat


@pytest.mark.parametrize("metric", ERRORS)
def test_observed_cells_are_scored(gaps, metric):
    X, X_hat = gaps
    formula = ERRORS[metric]
    error = reconstruction_error(X, X_hat, metric=metric)
    assert error == pytest.approx(formula(X, X_hat, np.nanmean), rel=1e-12)
    per_feature = reconstruction_error(X, X_hat, metric=metric, multioutput="raw_values")
    expected = formula(X, X_hat, lambda errors: np.nanmean(errors, axis=0))
    np.testing.assert_allclose(per_feature, expected, rtol=1e-12)
    by_feature, by_row = errors_by_feature_and_row([(X, X_hat)], metric)
    np.testing.assert_array_equal(by_feature, per_feature)
    kept = np.arange(30) != 4
    expected = formula(X[kept], X_hat[kept], lambda errors: np.nanmean(errors, axis=1))
    np.testing.assert_allclose(by_row[kept], expected, rtol=1e-12)
    assert np.isnan(by_row[4])


def test_r2_of_observed_cells(gaps):
    X, X_hat = gaps
    sse = np.nansum((X - X_hat) ** 2, axis=0)
    sst = np.nansum((X - np.nanmean(X, axis=0)) ** 2, axis=0)
    r2 = reconstruction_error(X, X_hat, metric="r2")
    assert r2 == pytest.approx(1 - sse.sum() / sst.sum(), rel=1e-12)
    per_feature = reconstruction_error(X, X_hat, metric="r2", multioutput="raw_values")
    np.testing.assert_allclose(per_feature, 1 - sse / sst, rtol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_weights_and_gaps(gaps, metric):
    weight = np.arange(30) % 3
    weighted = reconstruction_error(*gaps, metric=metric, sample_weight=weight)
    repeated = [np.repeat(A, weight, axis=0) for A in gaps]
    assert weighted == pytest.approx(reconstruction_error(*repeated, metric=metric))


def test_what_may_be_missing(gaps):
    X, X_hat = gaps
    where = np.isnan(X)
    # An estimator that passes gaps on has nothing to say of cells that nobody knows.
    passed_on = np.where(where, np.nan, X_hat)
    assert reconstruction_error(X, passed_on) == reconstruction_error(X, X_hat)
    with pytest.raises(ValueError, match="X_hat contains NaN"):
        reconstruction_error(np.where(where, 0.0, X), passed_on)
    with pytest.raises(ValueError, match="X contains infinity"):
        reconstruction_error(np.where(where, np.inf, X), X_hat)
    with pytest.raises(ValueError, match="no values to score: all of its cells are miss"):
        reconstruction_error(np.full((30, 4), np.nan), X_hat)
    with pytest.raises(ValueError, match=r"weights? (must|zero)"):
        reconstruction_error(X, X_hat, sample_weight=np.zeros(30))
    empty = X.copy()
    empty[:, 2] = np.nan
    for metric in METRICS:
        found = reconstruction_error(empty, X_hat, metric=metric, multioutput="raw_values")
        assert np.isnan(found).tolist() == [False, False, True, False]


def test_few_rows_and_constants():
    with pytest.warns(UndefinedMetricWarning, match="less than two samples"):
        assert np.isnan(reconstruction_error([[1.0]], [[2.0]], metric="r2"))
    X = np.full((5, 2), 0.1)  # whose mean, summed and divided, is another number
    X_hat = X + np.array([0.0, 0.1])
    raw = reconstruction_error(X, X_hat, metric="r2", multioutput="raw_values")
    assert raw.tolist() == [1, 0]


# -- sparse tables and files -----------------------------------------------------------


@pytest.mark.parametrize("multioutput", ["uniform_average", "raw_values"])
@pytest.mark.parametrize("metric", METRICS)
def test_sparse_is_dense(counts, small_blocks, metric, multioutput):
    X, dense = counts
    X_hat = np.random.default_rng(1).uniform(0.1, 0.9, X.shape)
    params = {"metric": metric, "multioutput": multioutput}
    params["sample_weight"] = np.arange(40.0)
    expected = reconstruction_error(dense, X_hat, **params)
    for form in (X, sparse.coo_matrix(dense), pd.DataFrame.sparse.from_spmatrix(X)):
        found = reconstruction_error(form, X_hat, **params)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    if metric != "binary_cross_entropy":
        both = reconstruction_error(X, sparse.csr_array(X_hat), **params)
        np.testing.assert_allclose(both, expected, rtol=1e-12)


class File:
    """What gives its rows when asked, as arrays of h5py do, and is never read whole."""

    def __init__(self, X):
        self.X, self.shape, self.dtype = X, X.shape, X.dtype

    def __getitem__(self, key):
        rows = self.X[key]
        assert len(rows) <= 20
        return rows


def test_files_and_blocks(counts, small_blocks):
    X, dense = counts
    pca = PCA(3).fit(dense)
    expected = make_reconstruction_scorer("r2")(pca, dense)
    assert make_reconstruction_scorer("r2")(pca, File(dense)) == pytest.approx(expected)
    assert [len(rows) for _, rows in parts_of(File(dense))] == [10] * 4
    assert len(list(parts_of(dense))) == 1
    assert value_range(X) == value_range(File(dense)) == (0, dense.max())


def test_categories_alone_have_no_squared_error(mixed_frame):
    with pytest.raises(
        ValueError, match=r"of categories \['color', 'old', 'size'\]\. metric="
    ):
        reconstruction_error(mixed_frame, mixed_frame)
    numbers = mixed_frame[["age", "old"]]
    assert reconstruction_error(numbers, numbers) == 0
