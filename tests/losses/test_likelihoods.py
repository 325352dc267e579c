"""Likelihoods: densities in the units of the data, and rows drawn from them."""

import numpy as np
import pytest
import torch
from scipy import stats

from skae.losses import LOSSES
from skae.losses._likelihoods import FLOOR, LIKELIHOODS, resolve_likelihood

N, P = 7, 4


def data(seed=0):
    return np.random.default_rng(seed).normal(size=(N, P)) * [1.0, 2.0, 5.0, 0.5]


def normal_likelihood(X, covariance_type, scale=1.0):
    loss = resolve_likelihood("squared_error", covariance_type)
    return loss.fitted(loss.measure(X, None, scale))


@pytest.mark.parametrize("scale", [3.0, np.array([1.0, 2.0, 4.0, 0.5])])
@pytest.mark.parametrize("covariance_type", ["spherical", "diag"])
def test_the_normal_density_is_that_of_scipy(covariance_type, scale):
    X, rng = data(), np.random.default_rng(1)
    loss = normal_likelihood(X, covariance_type, scale)
    means, constants = rng.normal(size=(N, P)), rng.normal(size=P)
    output = torch.from_numpy(np.c_[means, np.tile(constants, (N, 1))])
    variances = np.exp(constants if covariance_type == "diag" else constants.mean())
    deviations = np.sqrt(variances + loss.floor) * scale
    expected = stats.norm(means * scale, deviations).logpdf(X).sum(axis=1)
    errors = loss.function(output, torch.from_numpy(X / scale))
    np.testing.assert_allclose(-errors.numpy(), expected, rtol=1e-12)
    torch.testing.assert_close(loss.reconstruction(output), output[:, :P])


@pytest.mark.parametrize("covariance_type", ["spherical", "diag"])
def test_the_variance_has_a_floor(covariance_type):
    X = data()
    loss = normal_likelihood(X, covariance_type)
    output = torch.full((1, 2 * P), -1e4)
    assert loss.floor == pytest.approx(FLOOR * X.var(axis=0).min())
    assert loss.variance(output).min().item() == pytest.approx(loss.floor, rel=1e-6)


def test_a_constant_feature_has_no_variance_of_its_own():
    X = data()
    X[:, 1] = 3.0
    loss = normal_likelihood(X, "diag")
    output = torch.zeros(1, 2 * P)
    output[0, P:] = torch.tensor([1.0, -50.0, 2.0, 3.0])
    variances = loss.variance(output)[0].log()
    torch.testing.assert_close(variances, torch.tensor([1.0, 2.0, 2.0, 3.0]))


def test_a_table_without_variance_has_a_finite_density():
    loss = normal_likelihood(np.ones((N, P)), "diag")
    errors = loss.function(torch.zeros(N, 2 * P), torch.zeros(N, P))
    assert errors.isfinite().all()


@pytest.mark.parametrize("name", ["binary_cross_entropy", "poisson", "negative_binomial"])
def test_the_others_are_losses_that_draw(name):
    loss = LIKELIHOODS[name]
    assert loss.is_likelihood
    assert not LOSSES[name].is_likelihood
    assert loss.function is LOSSES[name].function
    assert loss.floor == 0


def drawn(name, output, **statistics):
    loss = resolve_likelihood(name, "diag")
    loss = loss.fitted(statistics) if statistics else loss
    rows = loss.draw(np.tile(output, (20_000, 1)), np.random.RandomState(0))
    return rows, loss


def test_normal_rows_have_the_mean_and_the_variance():
    loss = normal_likelihood(data(), "diag")
    output = np.tile([1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 2.0, -1.0], (20_000, 1))
    rows = loss.draw(output, np.random.RandomState(0))
    np.testing.assert_allclose(rows.mean(axis=0), [1, 2, 3, 4], atol=0.1)
    np.testing.assert_allclose(rows.var(axis=0), np.exp([0.0, 1, 2, -1]), rtol=0.05)


def test_bits_have_the_probability():
    rows, _ = drawn("binary_cross_entropy", [-1.0, 0.5])
    assert set(np.unique(rows)) == {0.0, 1.0}
    expected = 1 / (1 + np.exp([1.0, -0.5]))
    np.testing.assert_allclose(rows.mean(axis=0), expected, atol=0.02)


@pytest.mark.parametrize("name", ["poisson", "negative_binomial"])
def test_counts_have_the_mean_and_the_variance_of_the_likelihood(name):
    constants = [] if name == "poisson" else [0.0, 1.0]
    output, mean = [0.0, 1.0], np.array([4.0, 2.0])
    rows, loss = drawn(name, output + constants, mean=mean)
    rates = loss.reconstruction(torch.tensor([output + constants]).double())[0].numpy()
    spread = rates if name == "poisson" else rates + rates**2 / np.exp(constants)
    np.testing.assert_allclose(rows.mean(axis=0), rates, rtol=0.05)
    np.testing.assert_allclose(rows.var(axis=0), spread, rtol=0.08)
    assert (rows == rows.round()).all()
