"""Rows held out by the user."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler

from skae import AutoencoderTransformer

DIGITS = np.random.default_rng(0).permutation(load_digits().data / 16)


def autoencoder(n_components=6, **params):
    return AutoencoderTransformer(
        n_components, **{"max_epochs": 12, "random_state": 0} | params
    )


@pytest.mark.parametrize("n_samples", [300, 1200])
def test_own_rows_choose_the_epoch(n_samples):
    X, X_val = DIGITS[:n_samples], DIGITS[-200:]
    ae = autoencoder(clip=False).fit(X, X_val=X_val)
    assert ae.n_samples_ == n_samples
    assert len(ae.validation_curve_) == ae.n_iter_ + 1
    assert -ae.score(X_val) == pytest.approx(ae.validation_curve_[ae.best_epoch_], rel=1e-4)
    pca = PCA(6, svd_solver="full").fit(X)
    error = np.square(pca.inverse_transform(pca.transform(X_val)) - X_val).mean()
    assert ae.pca_score_ == pytest.approx(-error, rel=1e-6)
    assert ae.validation_curve_[0] == pytest.approx(error, rel=1e-6)


def test_own_rows_are_not_trained_on():
    """Other held-out rows change at most the epoch: with one epoch, nothing."""
    fits = [
        autoencoder(max_epochs=1, init="random").fit(DIGITS[:300], X_val=rows)
        for rows in (DIGITS[400:500], DIGITS[600:900])
    ]
    np.testing.assert_array_equal(*[ae.transform(DIGITS[:50]) for ae in fits])


def test_own_rows_when_pca_is_better():
    """Held-out rows that no network can predict: PCA of the training rows, whole."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 8))
    ae = autoencoder(3).fit(X, X_val=rng.normal(size=(40, 8)))
    assert ae.best_epoch_ == 0
    pca = PCA(3, svd_solver="full").fit(X)
    np.testing.assert_allclose(ae.transform(X), pca.transform(X), atol=1e-5)


def test_own_rows_in_a_pipeline():
    with config_context(enable_metadata_routing=True):
        ae = autoencoder().set_fit_request(X_val=True)
        steps = [("scale", MinMaxScaler()), ("ae", ae)]
        pipe = Pipeline(steps, transform_input=["X_val"])
        pipe.fit(DIGITS[:300] * 9, X_val=DIGITS[300:400] * 9)
        scale = MinMaxScaler().fit(DIGITS[:300] * 9)
        direct = clone(ae).fit(
            scale.transform(DIGITS[:300] * 9), X_val=scale.transform(DIGITS[300:400] * 9)
        )
    assert pipe[-1].validation_curve_ == direct.validation_curve_


def test_own_rows_are_checked():
    with pytest.raises(ValueError, match="X_val has 63 features, but"):
        autoencoder().fit(DIGITS[:100], X_val=DIGITS[:9, 1:])
    with pytest.raises(ValueError, match="early_stopping=False keeps the last one"):
        autoencoder(early_stopping=False).fit(DIGITS[:100], X_val=DIGITS[:9])
    ae = autoencoder(loss="binary_cross_entropy")
    with pytest.raises(ValueError, match=r"\[0, 1\], but feature"):
        ae.fit(DIGITS[:100], X_val=DIGITS[:9] * 2)
