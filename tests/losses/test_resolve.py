"""From the parameter `loss` to a `Loss`."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from skae.losses import LOSSES
from skae.losses._resolve import resolve_loss


def fitted(loss, X):
    return loss.fitted(loss.measure(X))


def table(name):
    """Data (200, 8) in the range of the loss, with a feature that is always zero."""
    rng = np.random.default_rng(0)
    log_mean = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 8)) / 2 + 1
    X = rng.poisson(np.exp(log_mean) * rng.gamma(2, 0.5, log_mean.shape)).astype(float)
    X[:, 5] = 0
    X[0] = 0
    if name == "binary_cross_entropy":
        X = X > 2
    return torch.from_numpy(X.astype(float))


def pca(X, k=3):
    """Codes of unit covariance, and the reconstruction."""
    left, spread, axes = torch.linalg.svd(X - X.mean(0), full_matrices=False)
    X_hat = left[:, :k] * spread[:k] @ axes[:k] + X.mean(0)
    return left[:, :k] * np.sqrt(len(X)), X_hat


def linear_output(loss, Z, X):
    weight, bias = loss.decoder_start(Z, X)
    p = X.shape[1]
    assert weight.shape == (p, Z.shape[1])
    assert bias.shape == ((1 + loss.n_constants) * p,)
    constants = bias[p:].expand(len(Z), -1)
    return torch.cat([Z @ weight.T + bias[:p], constants], dim=1)


def lying_mean(X_hat, X):
    return (X_hat - X).abs().mean()


def of_samples(X_hat, X):
    return (X_hat - X).abs().sum(1)


USERS = [
    (of_samples, "absolute_error"),
    (nn.L1Loss(reduction="none"), "absolute_error"),
    (nn.MSELoss(reduction="none"), "squared_error"),
]


@pytest.mark.parametrize(("function", "name"), USERS)
def test_users_loss(function, name):
    X = 1e4 + 300 * table("squared_error")
    loss = resolve_loss(function, 8)
    assert not loss.of_scaled
    ready = pickle.loads(pickle.dumps(fitted(loss, X.numpy())))
    Z, X_hat = pca(X)
    output = linear_output(ready, Z, X)
    assert float(output.square().mean()) < 1.01  # in scaled units
    torch.testing.assert_close(ready.reconstruction(output), X_hat)
    expected = LOSSES[name].function(X_hat, X)
    torch.testing.assert_close(ready.function(output, X), expected)
    stacked = ready.function(output.expand(2, -1, -1), X.expand(2, -1, -1))
    torch.testing.assert_close(stacked, expected.expand(2, -1))
    mask = torch.ones_like(X, dtype=torch.bool)
    mask[:, 1] = False
    errors = ready.function(*ready.observed(output, X, mask))
    others = [0, *range(2, 8)]
    expected = LOSSES[name].function(X_hat[:, others], X[:, others])
    torch.testing.assert_close(errors, expected)


def test_users_module_is_copied():
    module = nn.L1Loss(reduction="none")
    loss = resolve_loss(module, 3)
    assert loss.function.function is not module
    assert loss.function.function.reduction == "none"


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (nn.MSELoss(), ValueError, "reduction='none'.*reduction='mean'"),
        (nn.MSELoss, TypeError, "instance"),
        ("mse", ValueError, "'absolute_error'.*got 'mse'"),
        (3, TypeError, "got 3"),
        ({"mse": [0]}, ValueError, "keys.*'mse'"),
        ({}, ValueError, "keys"),
        (
            {"squared_error": ["a", "b", "b"]},
            ValueError,
            r"twice: \['b'\].*not named: \['c'\]",
        ),
        ({"squared_error": ["a", "q", 7]}, ValueError, r"unknown: \['q', '7'\]"),
        ({"squared_error": [True, 1, 2]}, ValueError, "unknown"),
        ({"cross_entropy": ["a", "b", "c"]}, ValueError, "groups"),
        ({"cross_entropy": [["a", "b"], ["c"]]}, ValueError, r"two or more.*\['c'\]"),
        ({"cross_entropy": [["a", "b", "c"], []]}, ValueError, r"two or more.*\[\]"),
    ],
)
def test_resolve_loss_refuses(loss, error, message):
    with pytest.raises(error, match=message):
        resolve_loss(loss, 3, ["a", "b", "c"], "AE")


def test_shape_of_a_users_loss():
    X = torch.zeros(4, 3)
    with pytest.raises(ValueError, match=r"\(n_samples,\) = \(4,\).*got shape \(\)"):
        resolve_loss(lying_mean, 3).function(X, X)


@pytest.mark.parametrize("name", LOSSES)
def test_names_resolve(name):
    X = table(name)
    loss = resolve_loss(name, 8)
    assert loss.name == name
    ready = fitted(loss, X.numpy())
    if loss.of_scaled:
        return
    raw = fitted(LOSSES[name], X.numpy())
    Z, _ = pca(X)
    output = [linear_output(ell, Z, X) for ell in (raw, ready)]
    errors = raw.function(output[0], X)
    torch.testing.assert_close(ready.function(output[1], X), errors)
