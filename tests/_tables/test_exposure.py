"""Exposures of rows of counts."""

import pickle

import numpy as np
import pytest
from scipy import sparse, stats
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import skae
from skae import AutoencoderTransformer, VariationalAutoencoder
from skae._tables.exposure import Exposed, learn_exposure
from skae.metrics import make_reconstruction_scorer

N_GROUPS, N_FEATURES = 3, 30
SHORT = {"hidden_layer_sizes": (16,), "max_epochs": 15, "random_state": 0}
LOSSES = ["poisson", "negative_binomial"]
MIXED = {"poisson": [*range(10)], "squared_error": [*range(10, N_FEATURES)]}


@pytest.fixture(scope="module")
def counts():
    """Counts (400, 30) of three groups, and exposures that do not depend on the group."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(N_FEATURES, 0.5), N_GROUPS)
    exposure = np.exp(rng.normal(4, 1, 400))
    rates = exposure[:, None] * shares[rng.integers(N_GROUPS, size=400)]
    return rng.poisson(rates).astype(float), exposure


def autoencoder(**params):
    return AutoencoderTransformer(2, **(SHORT | params))


# -- the object ------------------------------------------------------------------------


def test_totals_and_the_typical_one():
    X = np.array([[1.0, 3.0], [0.0, 0.0], [8.0, 8.0]])
    exposure = learn_exposure(X, None, np.arange(2))
    assert exposure.typical == pytest.approx((4 * 1 * 16) ** (1 / 3))
    totals = exposure.typical * exposure.relative(X)
    np.testing.assert_allclose(totals, [4, 1, 16])
    weighted = learn_exposure(X, np.array([2.0, 0.0, 1.0]), np.arange(2))
    assert weighted.typical == pytest.approx((4 * 4 * 16) ** (1 / 3))


def test_missing_cells_do_not_make_a_total_smaller():
    X = np.outer([1.0, 2.0, 4.0], [1, 2, 3, 4])
    exposure = learn_exposure(X, None, np.arange(4))
    hidden = X.copy()
    hidden[1, [0, 3]] = np.nan
    np.testing.assert_allclose(exposure.relative(hidden), exposure.relative(X))


@pytest.mark.parametrize("columns", [[0, 1, 2, 3], [1, 3]])
def test_seen(columns):
    X = np.random.default_rng(0).poisson(1.0, (6, 4)).astype(np.float32)
    exposure = learn_exposure(X, None, np.array(columns))
    exposed = Exposed(exposure, exposure.relative(X))
    totals = np.maximum(X[:, columns].sum(axis=1), 1)
    expected = X.copy()
    expected[:, columns] = np.log1p(X[:, columns] / totals[:, None] * exposure.typical)
    seen = exposed.seen(X)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, expected, rtol=1e-6)
    of_sparse = exposed.seen(sparse.csr_array(X))
    assert sparse.issparse(of_sparse)
    np.testing.assert_array_equal(of_sparse.toarray(), seen)
    np.testing.assert_allclose(exposed.unseen(seen), X, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(exposed.followed(X)[:, :4], X)


# -- estimators ------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_codes_do_not_tell_the_exposure(counts, loss):
    X, exposure = counts
    ae = autoencoder(loss=loss).fit(X)
    log_exposure = np.log(exposure)
    for code in ae.transform(X).T:
        assert abs(np.corrcoef(code, log_exposure)[0, 1]) < 0.15
    plain = autoencoder(loss=loss, exposure=None).fit(X)
    codes = plain.transform(X).T
    assert max(abs(np.corrcoef(code, log_exposure)[0, 1]) for code in codes) > 0.5
    assert ae.score(X) > plain.score(X)


def test_start_is_pca_of_logarithms(counts):
    X, _ = counts
    totals = np.maximum(X.sum(axis=1), 1)
    typical = np.exp(np.log(totals).mean())
    logs = np.log1p(X / totals[:, None] * typical)
    pca = PCA(2).fit(logs)
    ae = autoencoder(loss="poisson", early_stopping=False, lr=1e-30).fit(X)
    Z, expected = ae.transform(X), pca.transform(logs)
    np.testing.assert_allclose(ae.mean_, logs.mean(axis=0))
    match = np.abs(np.corrcoef(Z.T, expected.T)[:2, 2:])
    np.testing.assert_allclose(np.linalg.det(match) ** 2, 1, atol=1e-3)
    assert ae.explained_variance_ratio_.sum() == pytest.approx(
        pca.explained_variance_ratio_.sum(), abs=0.05
    )
    steps = np.eye(2) * 1e-4
    ends = [np.log1p(ae.inverse_transform(Z.mean(axis=0) + s * steps)) for s in (1, -1)]
    slopes = np.subtract(*ends)
    slopes /= np.linalg.norm(slopes, axis=1, keepdims=True)
    np.testing.assert_allclose(ae.components_, slopes, atol=1e-4)


def test_scores_are_those_of_the_rates(counts):
    X, exposure = counts
    ae = autoencoder(loss="poisson").fit(X)
    expected = stats.poisson.logpmf(X, ae.denoise(X)).mean(axis=1)
    np.testing.assert_allclose(ae.score_samples(X), expected, rtol=1e-4)
    ae = autoencoder(loss="negative_binomial").fit(X, exposure=exposure)
    rates, theta = ae.denoise(X, exposure=exposure), 1 / ae.dispersion_
    expected = stats.nbinom.logpmf(X, theta, theta / (theta + rates)).mean(axis=1)
    np.testing.assert_allclose(
        ae.score_samples(X, exposure=exposure), expected, rtol=1e-4, atol=1e-4
    )


def test_inverse_transform_is_of_typical_rows_unless_it_is_told(counts):
    X, _ = counts
    ae = autoencoder(loss="poisson").fit(X)
    Z, totals = ae.transform(X), X.sum(axis=1)
    np.testing.assert_allclose(ae.inverse_transform(Z, exposure=totals), ae.denoise(X))
    typical = np.exp(np.log(totals).mean())
    np.testing.assert_allclose(
        ae.inverse_transform(Z) / typical, ae.denoise(X) / totals[:, None]
    )
    error = np.square(ae.denoise(X) - X).mean()
    scorer = make_reconstruction_scorer("squared_error")
    for estimator in (ae, make_pipeline(FunctionTransformer(), ae)):
        assert -scorer(estimator, X) == pytest.approx(error)


def test_exposures_of_ones_are_no_exposures_but_logarithms(counts):
    X, _ = counts
    ones = np.ones(len(X))
    ae = autoencoder(loss="poisson").fit(X, exposure=ones)
    np.testing.assert_allclose(ae.mean_, np.log1p(X).mean(axis=0))
    Z = ae.transform(X, exposure=ones)
    np.testing.assert_array_equal(ae.inverse_transform(Z), ae.denoise(X, exposure=ones))


@pytest.mark.parametrize("loss", [*LOSSES, MIXED], ids=str)
@pytest.mark.parametrize("is_given", [False, True])
def test_copies_answer_alike(counts, tmp_path, loss, is_given):
    X, exposure = counts
    how = {"exposure": exposure} if is_given else {}
    ae = autoencoder(loss=loss, exposure="total").fit(X, **how)
    ae.save(tmp_path / "model.skae")
    for copy in (pickle.loads(pickle.dumps(ae)), skae.load(tmp_path / "model.skae")):
        for method in ("transform", "denoise", "score_samples"):
            np.testing.assert_array_equal(
                getattr(copy, method)(X, **how), getattr(ae, method)(X, **how)
            )


def test_sparse_as_dense(counts):
    rates = np.tile(counts[0], (3, 70))[:1010, :2090] / 20
    X = np.random.default_rng(0).poisson(rates).astype(np.float32)
    assert X.size > 2**21  # large enough to be read in parts
    ae = autoencoder(loss="poisson", max_epochs=1).fit(X)
    of_sparse = autoencoder(loss="poisson", max_epochs=1).fit(sparse.csr_array(X))
    np.testing.assert_allclose(of_sparse.mean_, ae.mean_, rtol=1e-5)
    assert of_sparse.score(sparse.csr_array(X)) == pytest.approx(ae.score(X), rel=0.01)


def test_missing_cells(counts):
    X, _ = counts
    is_hidden = np.random.default_rng(0).random(X.shape) < 0.1
    gaps = np.where(is_hidden, np.nan, X)
    ae = autoencoder(loss="negative_binomial", allow_nan=True).fit(gaps)
    filled = ae.impute(gaps)
    np.testing.assert_array_equal(filled[~is_hidden], X[~is_hidden])
    column_means = np.nanmean(gaps, axis=0)
    errors = [
        np.abs(np.log1p(guess) - np.log1p(X))[is_hidden].mean()
        for guess in (filled, np.broadcast_to(column_means, X.shape))
    ]
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize("is_given", [False, True])
def test_streams(counts, is_given):
    X, exposure = counts
    ae = autoencoder(loss="poisson")
    for start in range(0, 400, 100):
        some = slice(start, start + 100)
        how = {"exposure": exposure[some]} if is_given else {}
        ae.partial_fit(X[some], **how)
    how = {"exposure": exposure} if is_given else {}
    plain = autoencoder(loss="poisson", exposure=None).fit(X)
    assert ae.score(X, **how) > plain.score(X)
    for code in ae.transform(X, **how).T:
        assert abs(np.corrcoef(code, np.log(exposure))[0, 1]) < 0.15


def test_density_of_rows_with_known_totals(counts):
    X, _ = counts
    vae = VariationalAutoencoder(2, loss="poisson", exposure="total", **SHORT).fit(X)
    plain = VariationalAutoencoder(2, loss="poisson", **SHORT).fit(X)
    assert vae.score(X) > plain.score(X)
    totals = vae.sample(500, random_state=0).sum(axis=1)
    typical = np.exp(np.log(X.sum(axis=1)).mean())
    assert totals.mean() == pytest.approx(typical, rel=0.1)
