"""Reconstruction errors and their scorer, against formulae and over estimators."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import KMeans
from sklearn.decomposition import NMF, PCA, FastICA, KernelPCA, TruncatedSVD
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.feature_selection import SelectKBest
from sklearn.metrics import log_loss, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    Normalizer,
    StandardScaler,
)

from skae import AutoencoderTransformer, metrics
from skae.metrics import (
    METRICS,
    errors_by_feature_and_row,
    make_reconstruction_scorer,
    parts_of,
    reconstruction_error,
    value_range,
)

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


TRANSFORMERS = [
    PCA(4),
    PCA(4, whiten=True),
    NMF(4, init="nndsvda", max_iter=2000, tol=1e-3),
    KernelPCA(4, kernel="rbf", fit_inverse_transform=True),
    FastICA(4, random_state=0, max_iter=1000),
    make_pipeline(StandardScaler(), PCA(4)),
    make_pipeline("passthrough", StandardScaler(), PCA(8), PCA(4)),
    AutoencoderTransformer(4, max_epochs=5, random_state=0),
    make_pipeline(
        StandardScaler(), AutoencoderTransformer(4, max_epochs=5, random_state=0)
    ),
]


@pytest.mark.parametrize("estimator", TRANSFORMERS, ids=lambda e: str(e)[:40])
def test_scorer_over_estimators(digits, estimator):
    X, y = digits[0][:300], digits[1][:300]
    estimator.fit(X)
    X_hat = estimator.inverse_transform(estimator.transform(X))
    for metric in METRICS:
        scorer = make_reconstruction_scorer(metric)
        sign = 1 if metric == "r2" else -1
        expected = sign * reconstruction_error(X, X_hat, metric=metric)
        assert scorer(estimator, X) == scorer(estimator, X, y) == expected
    assert make_reconstruction_scorer("r2")(estimator, X) > 0.1


def test_scorer_is_the_score_of_the_autoencoder(digits):
    X = digits[0][:300]
    ae = AutoencoderTransformer(4, max_epochs=5, random_state=0).fit(X)
    assert make_reconstruction_scorer()(ae, X) == pytest.approx(ae.score(X))


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_scorer_and_frames(digits, container):
    X = pd.DataFrame(digits[0][:300]).add_prefix("pixel")
    pipe = make_pipeline(StandardScaler(), PCA(4))
    expected = make_reconstruction_scorer()(pipe.fit(X), X)
    pipe.set_output(transform=container).fit(X)
    assert make_reconstruction_scorer()(pipe, X) == pytest.approx(expected)


def test_scorer_object():
    scorer = make_reconstruction_scorer("r2")
    assert repr(scorer) == "make_reconstruction_scorer('r2')"
    assert repr(pickle.loads(pickle.dumps(scorer))) == repr(scorer)
    assert set(METRICS) == {*ERRORS, "r2"}
    assert metrics.make_reconstruction_scorer is make_reconstruction_scorer
    message = "The 'metric' parameter of make_reconstruction_scorer must be a str among"
    with pytest.raises(ValueError, match=message):
        make_reconstruction_scorer("mse")


class Forward(TransformerMixin, BaseEstimator):
    """A transformer that others cannot undo."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (Forward(), "Forward has no inverse_transform"),
        (KMeans(2, n_init=1), "KMeans has no inverse_transform"),
        (BaseEstimator(), "BaseEstimator has no transform and no inverse_transform"),
        (
            make_pipeline(StandardScaler(), Normalizer(), PCA(2)),
            r"Pipeline \(its Normalizer\) has no inverse_transform",
        ),
    ],
)
def test_scorer_needs_an_inverse(digits, estimator, message):
    if hasattr(estimator, "fit"):
        estimator.fit(digits[0][:50])
    with pytest.raises(TypeError, match=message):
        make_reconstruction_scorer()(estimator, digits[0][:50])


def test_scorer_over_steps_with_half_an_inverse(digits):
    """Steps that can be undone in part are measured by what comes back."""
    X, y = digits[0][:300], digits[1][:300]
    X = X[:, X.std(axis=0) > 0]
    select = SelectKBest(k=10).fit(X, y)
    left = np.where(select.get_support(), 0, X)
    assert make_reconstruction_scorer()(select, X) == pytest.approx(-np.mean(left**2))
    identity = FunctionTransformer().fit(X)
    assert make_reconstruction_scorer()(identity, X) == 0


def test_one_grid_over_pca_and_autoencoder(digits):
    X = digits[0][:500]
    ae = AutoencoderTransformer(8, max_epochs=15, random_state=0)
    grid = {"reduce": [PCA(8), ae]}
    pipe = Pipeline([("reduce", PCA())])
    scorer = make_reconstruction_scorer()
    search = GridSearchCV(pipe, grid, cv=2, scoring=scorer).fit(X)
    assert isinstance(search.best_params_["reduce"], AutoencoderTransformer)
    pca_score, score = search.cv_results_["mean_test_score"]
    assert pca_score < score < 0
    assert search.score(X) == scorer(search.best_estimator_, X)


def test_several_metrics_at_once(digits):
    X = digits[0][:300]
    scoring = {metric: make_reconstruction_scorer(metric) for metric in METRICS}
    results = cross_validate(PCA(4), X, cv=2, scoring=scoring)
    for metric in METRICS:
        assert results[f"test_{metric}"].shape == (2,)
    expected = -((-results["test_squared_error"]) ** 0.5)
    np.testing.assert_allclose(results["test_root_mean_squared_error"], expected)


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


def test_scorer_takes_the_gaps_that_an_estimator_takes(curved):
    X = np.where(np.random.default_rng(0).random(curved.shape) < 0.1, np.nan, curved)
    ae = AutoencoderTransformer(2, allow_nan=True, max_epochs=3, random_state=0)
    pipe = make_pipeline(StandardScaler(), ae).fit(X)
    X_hat = pipe.inverse_transform(pipe.transform(X))
    expected = -np.nanmean((X - X_hat) ** 2)
    assert make_reconstruction_scorer()(pipe, X) == pytest.approx(expected, rel=1e-12)
    scores = cross_val_score(ae, X, cv=2, scoring=make_reconstruction_scorer())
    assert np.isfinite(scores).all()
    scaler = StandardScaler().fit(X)  # passes gaps on
    assert make_reconstruction_scorer()(scaler, X) == pytest.approx(0, abs=1e-20)
    with pytest.raises(ValueError, match="PCA does not accept missing values"):
        make_reconstruction_scorer()(PCA(2).fit(curved), X)


# -- sparse tables and files -----------------------------------------------------------


@pytest.fixture
def counts():
    """A sparse table (40, 12) of shares."""
    dense = np.random.default_rng(0).poisson(0.3, (40, 12)) / 5
    return sparse.csr_array(dense.clip(0, 1)), dense.clip(0, 1)


@pytest.fixture
def small_blocks(monkeypatch):
    """Tables are read ten rows at a time, and none of them becomes dense as a whole."""
    monkeypatch.setattr("skae._tables.rows.BLOCK", 120)
    monkeypatch.setattr("skae._tables.rows.SMALL", 300)
    monkeypatch.setattr("skae._tables.rows.FEW_ROWS", 20)
    toarray = sparse.csr_array.toarray

    def watched(self, *args, **kwargs):
        assert self.shape[0] <= 20
        return toarray(self, *args, **kwargs)

    monkeypatch.setattr(sparse.csr_array, "toarray", watched)


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


@pytest.mark.parametrize(
    "estimator",
    [
        TruncatedSVD(3, random_state=0),
        make_pipeline(MaxAbsScaler(), TruncatedSVD(3, random_state=0)),
        MaxAbsScaler(),  # whose reconstruction is sparse too
        AutoencoderTransformer(3, max_epochs=2, random_state=0),
    ],
    ids=lambda e: str(e)[:30],
)
def test_scorer_of_sparse_rows(counts, small_blocks, estimator):
    X, dense = counts
    estimator.fit(X[:20])
    for metric in ("squared_error", "r2"):
        scorer = make_reconstruction_scorer(metric)
        assert scorer(estimator, X) == pytest.approx(scorer(estimator, dense), abs=1e-12)
    coo = scorer(estimator, sparse.coo_array(dense))
    assert coo == pytest.approx(scorer(estimator, dense), abs=1e-12)


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
