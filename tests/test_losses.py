"""Losses: one number per sample, right, with the right gradient."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from skae import losses
from skae.losses import LOSSES, _logistic_start, binary_cross_entropy

REFERENCES = {
    "squared_error": lambda out, X: F.mse_loss(out, X, reduction="none"),
    "binary_cross_entropy": lambda out, X: F.binary_cross_entropy(
        torch.sigmoid(out), X, reduction="none"
    ),
}


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(3, 7, 5, generator=generator, dtype=torch.float64)
    X = torch.rand(3, 7, 5, generator=generator, dtype=torch.float64)
    return output, X


@pytest.mark.parametrize("name", LOSSES)
def test_one_number_per_sample(pair, name):
    function = LOSSES[name].function
    expected = REFERENCES[name](*pair).sum(-1)
    torch.testing.assert_close(function(*pair), expected)
    torch.testing.assert_close(function(pair[0][1], pair[1][1]), expected[1])


@pytest.mark.parametrize("name", LOSSES)
def test_gradient(pair, name):
    output, X = pair
    output = output[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda out: LOSSES[name].function(out, X[0]), output)


@pytest.mark.parametrize("name", LOSSES)
def test_least_where_the_reconstruction_is_the_target(pair, name):
    loss = LOSSES[name]
    _, X = pair
    link = loss.inverse_link or (lambda output: output)
    exact = torch.logit(X) if loss.inverse_link is torch.sigmoid else X
    torch.testing.assert_close(link(exact), X)
    least = loss.function(exact, X)
    assert (least < loss.function(exact + 0.1, X)).all()
    assert (least < loss.function(exact - 0.1, X)).all()


def test_every_loss_is_exported():
    functions = {loss.function.__name__ for loss in LOSSES.values()}
    assert functions <= set(losses.__all__)
    assert functions == set(LOSSES)


def test_binary_cross_entropy_stays_finite():
    logits, X = torch.tensor([[1e4, -1e4]]), torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(binary_cross_entropy(logits, X), torch.tensor([2e4]))


def whitened(n=80, k=3, q=6):
    """Codes of mean zero and unit covariance, and a target in {0, 1} they predict."""
    generator = torch.Generator().manual_seed(0)
    Z = torch.randn(n, k, generator=generator, dtype=torch.float64)
    Z = torch.linalg.qr(Z - Z.mean(0))[0] * np.sqrt(n)
    weight = torch.randn(q, k, generator=generator, dtype=torch.float64)
    uniform = torch.rand(n, q, generator=generator, dtype=torch.float64)
    return Z, (uniform < torch.sigmoid(Z @ weight.T)).double()


def test_logistic_start_is_monotone():
    Z, X = whitened()
    errors = []
    for n_iter in range(0, 60, 3):
        weight, bias = _logistic_start(Z, X, n_iter)
        assert weight.shape == (6, 3)
        assert bias.shape == (6,)
        errors.append(float(binary_cross_entropy(Z @ weight.T + bias, X).mean()))
    assert (np.diff(errors) < 0).all()


def test_logistic_start_reaches_the_logistic_regression():
    Z, X = whitened()
    weight, bias = _logistic_start(Z, X, 3000)
    residual = X - torch.sigmoid(Z @ weight.T + bias)
    assert residual.mean(0).abs().max() < 1e-6
    assert (residual.T @ Z / len(Z)).abs().max() < 1e-6
