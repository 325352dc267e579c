"""The number of components that a share of the variance asks for."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer
from skae._tables.table import Table
from skae._training.component_search import fewest_components

DIGITS = np.random.default_rng(0).permutation(load_digits().data / 16)


def autoencoder(n_components=6, **params):
    return AutoencoderTransformer(
        n_components, **{"max_epochs": 12, "random_state": 0} | params
    )


@pytest.mark.parametrize("share", [0.7, 0.9])
def test_a_share_of_the_variance(share):
    X = DIGITS[:1200]
    ae = autoencoder(share).fit(X)
    most = PCA(share).fit(X).n_components_
    assert ae.n_components_ < most
    assert ae.transform(X).shape == (len(X), ae.n_components_)
    assert ae.explained_variance_ratio_.sum() >= share
    assert ae.n_components == share
    X_test = DIGITS[1200:]
    residual = X_test - ae.inverse_transform(ae.transform(X_test))
    kept = 1 - np.square(residual).sum() / np.square(X_test - ae.mean_).sum()
    assert kept >= share - 0.03  # other rows than those that chose


def test_a_share_where_nothing_is_gained_is_pcas():
    X = np.random.default_rng(0).normal(size=(150, 10))
    ae = autoencoder(0.5).fit(X)
    pca = PCA(0.5, svd_solver="full").fit(X)
    assert ae.n_components_ <= pca.n_components_


class After:
    """A deadline that is over after so many trainings."""

    def __init__(self, n_trainings):
        self.left = n_trainings + 1

    @property
    def is_over(self):
        self.left -= 1
        return self.left == 0


@pytest.mark.parametrize(
    ("n_trainings", "tried"), [(0, [8]), (1, [4]), (2, [4, 2]), (9, [4, 2, 3])]
)
def test_a_search_that_runs_out_of_time(n_trainings, tried):
    """It keeps the smallest number known to be enough, and 8 is that of PCA."""
    X, numbers = np.eye(16)[:, :8] - 1 / 16, []

    def train(n_components):
        numbers.append(n_components)
        return SimpleNamespace(n_components=n_components, r2=float(n_components > 2))

    found = fewest_components(Table(X, X), train, 0.99, After(n_trainings))
    assert numbers == tried
    assert found.n_components == min(n for n in tried if n > 2)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"n_components": "mle"}, "Set a share of the variance"),
        ({"n_components": 1.5}, "float in the range"),
        ({"n_components": 0.5, "loss": "binary_cross_entropy"}, "loss='squared_error'"),
    ],
)
def test_a_share_that_cannot_be(params, text):
    with pytest.raises(ValueError, match=text):
        autoencoder(**params).fit(DIGITS[:100])
