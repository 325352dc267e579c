"""What codes explain: the fall of the error when each joins those before it."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer
from skae._model import explained_variance
from skae._model.explained_variance import MOST_DESCRIBED, explained_falls, explained_shares


def autoencoder(n_components=2, **params):
    params = {"max_epochs": 5, "random_state": 0} | params
    return AutoencoderTransformer(n_components, **params)


def pca_of(X, k=None, **params):
    return PCA(k, svd_solver="full", **params).fit(X)


def noise(n=60, p=20, seed=0):
    return np.random.default_rng(seed).normal(size=(n, p))


def round_trip(model, X):
    return model.inverse_transform(model.transform(X))


def r2(model, X):
    residual = np.square(round_trip(model, X) - X).sum()
    return 1 - residual / np.square(X - X.mean(axis=0)).sum()


def check_shares(ae):
    shares = ae.explained_variance_ratio_
    assert shares.shape == (ae.n_components_,)
    assert (shares >= 0).all()
    assert (np.diff(shares) <= 1e-12).all()
    assert shares.sum() <= 1 + 1e-9


def test_shares_of_many_rows(curved):
    """4096 rows and fewer are all used; of more, evenly spaced ones."""
    for n in (MOST_DESCRIBED, MOST_DESCRIBED + 1, 3 * MOST_DESCRIBED):
        X = np.tile(curved, (-(-n // 200), 1))[:n] + 0.1 * noise(n, 6)
        ae = autoencoder(2, max_epochs=1).fit(X)
        assert ae.best_epoch_ > 0
        abs_tol = 1e-5 if n <= MOST_DESCRIBED else 0.01
        total = ae.explained_variance_ratio_.sum()
        assert total == pytest.approx(r2(ae, X), abs=abs_tol)
        check_shares(ae)


def test_shares_of_some_rows_have_the_sum_of_all(curved, monkeypatch):
    X = np.tile(curved, (3, 1)) + 0.1 * noise(600, 6)
    whole = autoencoder(3, max_epochs=1).fit(X)
    monkeypatch.setattr(explained_variance, "FEWEST_DESCRIBED", 100)
    monkeypatch.setattr(explained_variance, "DECODED", 100)
    some = autoencoder(3, max_epochs=1).fit(X)
    ratios = some.explained_variance_ratio_ / whole.explained_variance_ratio_
    assert not (ratios == 1).any()
    np.testing.assert_allclose(ratios, 1, atol=0.2)
    assert some.explained_variance_ratio_.sum() == pytest.approx(r2(some, X), abs=1e-5)
    check_shares(some)


def shares_of(reconstruct, Z, X):
    return explained_shares(explained_falls(reconstruct, Z, X))


def test_explained_shares_of_a_linear_model_are_pcas():
    X = noise(100, 6) * [6, 5, 4, 3, 2, 1]
    X -= X.mean(axis=0)
    pca = pca_of(X, 4)
    Z = pca.transform(X)
    shares = shares_of(lambda Z: Z @ pca.components_, Z, X)
    np.testing.assert_allclose(shares, pca.explained_variance_ratio_)
    # Codes that are not in order are averaged, and keep the sum.
    swapped = [1, 0, 2, 3]
    shares = shares_of(lambda Z: Z @ pca.components_[swapped], Z[:, swapped].copy(), X)
    first = pca.explained_variance_ratio_[:2].mean()
    np.testing.assert_allclose(shares[:2], first)
    np.testing.assert_allclose(shares[2:], pca.explained_variance_ratio_[2:])


def test_explained_shares_of_bad_codes():
    X = noise(50, 3)
    X -= X.mean(axis=0)
    Z = noise(50, 2, seed=1)
    # A code that harms is charged to those before it.
    shares = shares_of(lambda Z: np.where(Z[:, 1:] == 0, X * (Z[:, :1] != 0), 0), Z, X)
    assert shares.sum() == pytest.approx(0, abs=1e-12)
    helpful = {(False, False): 0, (True, False): 0.2, (True, True): 0.5}

    def reconstruct(Z):
        return X * helpful[tuple(map(bool, Z.any(axis=0)))]

    shares = shares_of(reconstruct, Z, X)
    np.testing.assert_allclose(shares, [0.375, 0.375])  # 0.36 and 0.39
    assert not shares_of(lambda Z: X + 100.0 * Z.any(), Z, X).any()
    assert not shares_of(lambda Z: 0 * X, Z, 0 * X).any()
