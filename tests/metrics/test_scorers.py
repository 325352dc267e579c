"""Scorers over estimators, tables and searches."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import KMeans
from sklearn.decomposition import NMF, PCA, FastICA, KernelPCA, TruncatedSVD
from sklearn.feature_selection import SelectKBest
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
    make_hidden_cell_scorer,
    make_reconstruction_scorer,
    reconstruction_error,
)

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


# -- hidden cells ----------------------------------------------------------------------


def low_rank(seed, n_components=3, noise=0.3):
    """A table (200, 20) of a few components and noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(200, n_components)) @ rng.normal(size=(n_components, 20))
    return X + noise * rng.normal(size=X.shape)


@pytest.mark.parametrize("seed", range(3))
def test_hidden_cells_tell_how_many_components_there_are(seed):
    X = low_rank(seed)
    search = GridSearchCV(PCA(), {"n_components": range(1, 8)}, cv=3)
    search.set_params(scoring=make_reconstruction_scorer()).fit(X)
    assert search.best_params_["n_components"] == 7
    search.set_params(scoring=make_hidden_cell_scorer()).fit(X)
    assert search.best_params_["n_components"] == 3


def test_hidden_cells_are_filled_as_well_as_by_regression():
    """The filled cells are those of the least-squares codes of the visible cells."""
    X = low_rank(0)
    pca = PCA(3).fit(X)
    W, errors = pca.components_, []
    is_hidden = np.random.RandomState(0).random_sample(X.shape) < 0.2
    for row, hidden in zip(X - pca.mean_, is_hidden, strict=True):
        code = np.linalg.lstsq(W[:, ~hidden].T, row[~hidden], rcond=None)[0]
        errors.extend((code @ W[:, hidden] - row[hidden]) ** 2)
    score = make_hidden_cell_scorer(random_state=0)(pca, X)
    assert score == pytest.approx(-np.mean(errors), rel=1e-2)


def test_hidden_cells_are_missing_for_who_takes_missing_cells(curved):
    ae = AutoencoderTransformer(2, allow_nan=True, max_epochs=5, random_state=0)
    pipe = make_pipeline(StandardScaler(), ae).fit(curved)
    is_hidden = np.random.RandomState(3).random_sample(curved.shape) < 0.3
    given = np.where(is_hidden, np.nan, curved)
    error = (pipe.inverse_transform(pipe.transform(given)) - curved)[is_hidden]
    scorer = make_hidden_cell_scorer("absolute_error", fraction=0.3, random_state=3)
    assert scorer(pipe, curved) == pytest.approx(-np.abs(error).mean(), rel=1e-12)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_hidden_cells_of_frames(digits, kind):
    frame = pytest.importorskip(kind).DataFrame(digits[0][:100, 20:28])
    frame.columns = [f"pixel {name}" for name in frame.columns]
    pipe = make_pipeline(StandardScaler(), PCA(2)).fit(frame)
    bare = make_pipeline(StandardScaler(), PCA(2)).fit(frame.to_numpy())
    scorer = make_hidden_cell_scorer("r2")
    assert scorer(pipe, frame) == scorer(bare, frame.to_numpy())


def test_hidden_cells_of_sparse_rows(counts, small_blocks):
    X, dense = counts
    svd = TruncatedSVD(3, random_state=0).fit(dense)
    scorer = make_hidden_cell_scorer()
    assert scorer(svd, X) == scorer(svd, X) < 0
    mean = np.square(dense - dense.mean(axis=0)).mean()
    assert scorer(svd, X) > -1.5 * mean


def test_hidden_cell_scorer_object():
    scorer = make_hidden_cell_scorer(fraction=0.5)
    made = "make_hidden_cell_scorer('squared_error', fraction=0.5, random_state=0)"
    assert repr(scorer) == repr(pickle.loads(pickle.dumps(scorer))) == made
    with pytest.raises(ValueError, match="'fraction' parameter of make_hidden_cell_score"):
        make_hidden_cell_scorer(fraction=1.0)
