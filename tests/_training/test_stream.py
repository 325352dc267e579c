"""Streams: chunks that judge before they train."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from skae import AutoencoderTransformer


def autoencoder(n_components=8, **params):
    return AutoencoderTransformer(n_components, **{"random_state": 0} | params)


def fed(ae, X, n_chunks=4, n_passes=1):
    for _ in range(n_passes):
        for chunk in np.array_split(X, n_chunks):
            ae.partial_fit(chunk)
    return ae


@pytest.fixture(scope="module")
def rows(digits):
    X = digits[0][np.random.default_rng(0).permutation(1797)]
    return X[:1400], X[1400:]


def test_the_first_chunk_is_pca(rows):
    X, X_test = rows
    ae = autoencoder().partial_fit(X[:400])
    pca = PCA(8, svd_solver="full").fit(X[:400])
    np.testing.assert_allclose(ae.transform(X_test), pca.transform(X_test), atol=1e-4)
    np.testing.assert_allclose(ae.components_, pca.components_, atol=1e-4)
    assert (ae.n_iter_, ae.best_epoch_, ae.n_samples_seen_) == (1, 0, 400)
    assert len(ae.loss_curve_) == 1
    assert ae.validation_curve_ == []


def test_chunks_end_close_to_one_fit(rows):
    X, X_test = rows
    whole = autoencoder(max_epochs=20).fit(X)
    ae = fed(autoencoder(), X, n_passes=10)
    assert ae.n_iter_ == ae.best_epoch_ == 40
    assert ae.n_samples_seen_ == 10 * len(X)
    assert len(ae.validation_curve_) == 39
    assert ae.score(X_test) > 1.5 * whole.score(X_test)
    pca = PCA(8).fit(X)
    pca_error = np.square(pca.inverse_transform(pca.transform(X_test)) - X_test).mean()
    assert -ae.score(X_test) < 0.8 * pca_error


def test_noise_stays_pca():
    X = np.random.default_rng(0).normal(size=(600, 10))
    ae = fed(autoencoder(3), X)
    assert ae.best_epoch_ == 0
    pca = PCA(3, svd_solver="full").fit(X[:150])
    np.testing.assert_allclose(ae.transform(X), pca.transform(X), atol=1e-4)


@pytest.mark.parametrize(
    "params",
    [
        {"init": "random"},
        {"ordered": True},
        {"whiten": True, "standardize": True},
        {"noise": 0.1, "dropout": 0.1, "normalization": "batch"},
        {"loss": "poisson"},
        {"allow_nan": True},
        {"batch_size": 64, "precision": "float32"},
    ],
    ids=str,
)
def test_settings(rows, params):
    X, X_test = rows
    ae, again = (fed(autoencoder(**params), X) for _ in range(2))
    Z = ae.transform(X_test)
    assert Z.shape == (len(X_test), 8)
    assert np.isfinite(Z).all()
    assert np.array_equal(again.transform(X_test), Z)
    assert ae.n_iter_ == 4


def test_float32_and_weights(rows):
    X = rows[0].astype(np.float32)
    ae = autoencoder()
    for chunk in np.array_split(X, 4):
        ae.partial_fit(chunk, sample_weight=np.linspace(0.5, 1.5, len(chunk)))
    assert ae.transform(X).dtype == np.float32


def test_missing_cells_in_a_later_chunk(rows):
    X = rows[0].copy()
    ae = autoencoder(allow_nan=True).partial_fit(X[:400])
    X[500:, 20] = np.nan
    ae.partial_fit(X[400:800])
    assert np.isfinite(ae.impute(X[500:600])).all()


def test_a_single_row(rows):
    X = rows[0]
    ae = autoencoder().partial_fit(X[:400]).partial_fit(X[400:401])
    assert ae.n_samples_seen_ == 401


def test_pickled_between_chunks(rows):
    X, X_test = rows
    ae = fed(autoencoder(), X)
    again = pickle.loads(pickle.dumps(ae))
    assert np.array_equal(again.transform(X_test), ae.transform(X_test))
    again.partial_fit(X[:300])
    assert again.n_samples_seen_ == len(X) + 300


def test_after_fit(rows):
    X, X_test = rows
    ae = autoencoder(max_epochs=10).fit(X[:700])
    before = ae.score(X_test)
    fed(ae, X, n_passes=2)
    assert ae.score(X_test) > before
    # And a fit begins anew.
    Z = ae.fit(X[:700]).transform(X_test)
    assert np.array_equal(Z, clone(ae).fit(X[:700]).transform(X_test))


def test_errors(rows):
    X = rows[0]
    with pytest.raises(ValueError, match="needs a number of components"):
        autoencoder(0.9).partial_fit(X)
    with pytest.raises(ValueError, match="between 1 and min"):
        autoencoder().partial_fit(X[:5])
    ae = autoencoder()
    with pytest.raises(ValueError, match="NaN"):
        ae.partial_fit(np.full((50, 64), np.nan))
    with pytest.raises(NotFittedError):
        ae.transform(X)
    ae.partial_fit(X[:400])
    Z = ae.transform(X)
    with pytest.raises(ValueError, match="63 features"):
        ae.partial_fit(X[:, 1:])
    assert np.array_equal(ae.transform(X), Z)
