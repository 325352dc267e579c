"""Losses of counts: log-likelihoods, their means, and gradients far out."""

import pickle

import numpy as np
import pytest
import torch
from scipy import stats

from skae import losses
from skae.losses import LOSSES
from skae.losses._counts import LOG_THETA, OFFSET, UNIT, log_rate, rate


def inverse_rate(X, mean=1.0):
    return torch.log(torch.expm1(X * UNIT / mean)) - OFFSET


def test_counts_have_log_likelihoods():
    X = torch.tensor([[0.0, 3.0, 12.0]], dtype=torch.float64)
    mean, theta = np.array([0.5, 4.0, 9.0]), np.array([0.7, 5.0, 40.0])
    of_table = {"mean": [0.1, 8.0, 9.0]}
    output = inverse_rate(torch.from_numpy(mean)[None], torch.tensor(of_table["mean"]))
    loss = LOSSES["poisson"].fitted(of_table)
    expected = -stats.poisson(mean).logpmf(X).sum()
    assert float(loss.function(output, X)) == pytest.approx(expected)
    np.testing.assert_allclose(loss.reconstruction(output)[0], mean)
    output = torch.cat([output, torch.from_numpy(np.log(theta))[None]], dim=1)
    loss = LOSSES["negative_binomial"].fitted(of_table)
    expected = -stats.nbinom(theta, theta / (theta + mean)).logpmf(X).sum()
    assert float(loss.function(output, X)) == pytest.approx(expected)
    np.testing.assert_allclose(loss.reconstruction(output)[0], mean)


def test_negative_binomial_tends_to_poisson_in_float32():
    X = torch.poisson(torch.full((50, 20), 6.0), generator=torch.Generator().manual_seed(0))
    output = torch.zeros_like(X)
    expected = losses.poisson(output, X, 6.0)
    output = torch.cat([output, torch.full_like(X, LOG_THETA[1])], dim=1)
    errors = losses.negative_binomial(output, X, 6.0)
    torch.testing.assert_close(errors, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rate(dtype):
    """The mean at 0, convex, never below 0, a line for large outputs."""
    output = torch.tensor([-1000.0, -100.0, -5.0, 0.0, 5.0, 100.0, 1e6], dtype=dtype)
    rates = rate(output, torch.tensor(7.0))
    expected = 7 * np.logaddexp(0, output.double().numpy() + OFFSET) / UNIT
    np.testing.assert_allclose(rates, expected, rtol=1e-6, atol=1e-43)
    torch.testing.assert_close(rates[3], torch.tensor(7.0, dtype=dtype))
    expected = np.log(np.logaddexp(0, output[1:].double().numpy() + OFFSET) * 7 / UNIT)
    np.testing.assert_allclose(log_rate(output, 7.0)[1:], expected, rtol=1e-6)
    assert float(log_rate(output, 7.0)[0]) == pytest.approx(
        -1000 + OFFSET + np.log(7 / UNIT)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["poisson", "negative_binomial"])
@pytest.mark.parametrize("mean", [1e-4, 1.0, 1e12])
def test_gradients_of_counts_far_out(name, mean, dtype):
    """They point to the count, and are of its order, not of its exponential's."""
    loss = LOSSES[name].fitted({"mean": [mean] * 4})
    output = torch.tensor([[-100.0, 100.0, -100.0, 100.0]], dtype=dtype)
    output = torch.cat([output, torch.zeros(1, 4 * loss.n_constants, dtype=dtype)], dim=1)
    output.requires_grad_()
    X = torch.tensor([[0.0, 0.0, 1e13, 1e13]], dtype=dtype)
    errors = loss.function(output, X)
    (gradient,) = torch.autograd.grad(errors.sum(), output)
    assert errors.isfinite().all()
    assert gradient.isfinite().all()
    assert 0 <= gradient[0, 0] < 1e-25
    assert gradient[0, 1] > 0
    assert float(gradient[0, 2]) == pytest.approx(-1e13, rel=1e-4)
    assert gradient.abs().max() <= 1.1e13


@pytest.mark.parametrize("name", ["poisson", "negative_binomial"])
def test_means_of_counts(name):
    X = np.array([[1.0, 0.0, np.nan, 4.0], [2.0, 0.0, np.nan, np.nan]])
    X.flags.writeable = False
    loss = LOSSES[name]
    statistics = loss.measure(X.astype(np.float32))
    assert statistics["mean"].dtype == np.float64
    assert statistics["mean"].tolist() == [1.5, 0.25, 0.5, 4.0]
    output = torch.zeros(2, 3, 4 * (1 + loss.n_constants))
    fitted = loss.fitted(statistics)
    assert fitted.measure(X) == {}
    expected = torch.tensor([1.5, 0.25, 0.5, 4.0]).expand(2, 3, 4)
    torch.testing.assert_close(fitted.reconstruction(output), expected)
    again = pickle.loads(pickle.dumps(loss.fitted(loss.measure(X))))
    X = torch.ones(2, 3, 4)
    assert torch.equal(again.function(output, X), fitted.function(output, X))
