"""The number of components that a share of the variance asks for."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer
from skae._tables.dependence import Dependence
from skae._tables.table import Table
from skae._training.component_search import fewest_components
from skae._training.linear_start import make_start
from skae._training.members import Members
from skae.losses import LOSSES

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


def test_no_fewer_components_are_enough():
    """The network with a component less keeps less than the share of held-out rows."""
    X = DIGITS[:600]
    ae = autoencoder(0.85).fit(X)
    variance = np.square(X - X.mean(axis=0)).mean()
    kept = {ae.n_components_: ae.validation_curve_[ae.best_epoch_]}
    fewer = autoencoder(ae.n_components_ - 1).fit(X)
    kept[ae.n_components_ - 1] = fewer.validation_curve_[fewer.best_epoch_]
    enough, too_few = (1 - error / variance for error in kept.values())
    assert enough >= 0.85 > too_few
    again = autoencoder(ae.n_components_).fit(X)
    assert np.array_equal(again.transform(X), ae.transform(X))


class After:
    """A deadline that is over after so many trainings."""

    def __init__(self, n_trainings):
        self.left = n_trainings + 1

    @property
    def is_over(self):
        self.left -= 1
        return self.left == 0


class Planned:
    """A search among networks that leave known shares of the variance."""

    def __init__(self, left, of_pca=None):
        self.left, self.tried = left, []
        # The variances of a diagonal table are those of its axes.
        of_pca = left if of_pca is None else of_pca
        variances = -np.diff(of_pca)
        X = np.sqrt(len(variances)) * np.diag(np.sqrt(variances))
        self.table = Table(np.concatenate([X, -X]), None)

    def members_of(self, k):
        rows = np.arange(len(self.table.X))
        start = make_start(self.table, None, k, LOSSES["squared_error"], rotate=False)
        return Members(self.table, [rows], [rows[:0]], [start], Dependence.none(len(rows)))

    def train(self, k):
        self.tried.append(k)
        return SimpleNamespace(n_components=k, r2=1 - self.left[k])

    def fewest(self, share, deadline=None):
        how = self.train, self.members_of, share, deadline or After(np.inf)
        return fewest_components(self.table, *how).n_components


LINEAR = np.linspace(1, 0, 61)
OF_NETWORKS = {
    "as PCA": LINEAR,
    "half of PCA": np.r_[1, LINEAR[1:] / 2],
    "less and less of PCA": LINEAR * np.linspace(1, 0.2, 61),
    "more and more of PCA": LINEAR ** np.linspace(2, 1, 61),
    "steps": np.r_[1, LINEAR[1:] - LINEAR[1:] % 0.2],
    "at once": np.r_[1, np.full(60, 1e-3)],
    "nothing left": np.r_[1, 0.5, np.zeros(59)],
}


@pytest.mark.parametrize("left", OF_NETWORKS.values(), ids=OF_NETWORKS)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.83, 0.99])
def test_the_fewest_components_that_are_enough_are_found(left, share):
    plan = Planned(left, LINEAR)
    found = plan.fewest(share)
    assert found == 1 + np.flatnonzero(1 - left[1:] >= share)[0]
    assert len(plan.tried) == len(set(plan.tried)) <= 5 + np.ceil(np.log2(60))


def test_one_fit_where_the_number_of_pca_is_not_enough():
    """Held-out rows of noise: nothing is gained, and PCA keeps less of them."""
    X = np.random.default_rng(0).normal(size=(300, 40))
    rows = np.arange(300)
    plan = Planned(np.ones(41))
    plan.table = Table(X - X.mean(axis=0), None)

    def members_of(k):
        start = make_start(plan.table, rows[:200], k, LOSSES["squared_error"], False)
        sides = [rows[:200]], [rows[200:]]
        return Members(plan.table, *sides, [start], Dependence.none(300))

    plan.members_of = members_of
    assert plan.fewest(0.9) == plan.tried[0] == PCA(0.9).fit(X).n_components_
    assert len(plan.tried) == 1


def test_a_share_where_nothing_is_gained_is_pcas():
    X = np.random.default_rng(0).normal(size=(150, 10))
    ae = autoencoder(0.5).fit(X)
    pca = PCA(0.5, svd_solver="full").fit(X)
    assert ae.n_components_ <= pca.n_components_


@pytest.mark.parametrize("n_trainings", range(5))
def test_a_search_that_runs_out_of_time(n_trainings):
    """It keeps the smallest number known to be enough, which may be that of PCA."""
    plan = Planned(np.r_[1, LINEAR[1:] / 3], LINEAR)
    found = plan.fewest(0.9, After(n_trainings))
    assert len(plan.tried) == max(n_trainings, 1)
    enough = [k for k in plan.tried if 1 - plan.left[k] >= 0.9]
    assert found == min(enough, default=54)  # PCA(0.9) of this table
    assert n_trainings < 3 or found < 54


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
