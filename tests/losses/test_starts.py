"""Constants and linear decoders: the best of their kind, and no worse than PCA."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from skae import losses
from skae._tables.scaling import nan_location_and_scale
from skae.losses import LOSSES, _counts, _starts, binary_cross_entropy


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
        weight, bias = _starts.logistic(Z, X, n_iter=n_iter)
        assert weight.shape == (6, 3)
        assert bias.shape == (6,)
        errors.append(float(binary_cross_entropy(Z @ weight.T + bias, X).mean()))
    assert (np.diff(errors) < 0).all()


def test_logistic_start_reaches_the_logistic_regression():
    Z, X = whitened()
    weight, bias = _starts.logistic(Z, X, n_iter=3000)
    residual = X - torch.sigmoid(Z @ weight.T + bias)
    assert residual.mean(0).abs().max() < 1e-6
    assert (residual.T @ Z / len(Z)).abs().max() < 1e-6


def test_logistic_start_of_codes_that_are_not_white():
    """Rows of a table have other covariances than the table, and codes may be dead."""
    Z, X = whitened()
    Z = torch.cat([3 * Z + 1, torch.zeros_like(Z[:, :1])], dim=1)
    weight, bias = _starts.logistic(Z, X, n_iter=3000)
    residual = X - torch.sigmoid(Z @ weight.T + bias)
    assert (residual.T @ Z / len(Z)).abs().max() < 1e-5


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


def linear_output(loss, Z, X, weights=None):
    weight, bias = loss.decoder_start(Z, X, weights)
    p = X.shape[1]
    assert weight.shape == (p, Z.shape[1])
    assert bias.shape == ((1 + loss.n_constants) * p,)
    constants = bias[p:].expand(len(Z), -1)
    return torch.cat([Z @ weight.T + bias[:p], constants], dim=1)


STARTED = [name for name, loss in LOSSES.items() if not loss.of_scaled]


@pytest.mark.parametrize("name", STARTED)
def test_start_is_no_worse_than_the_best_constant(name):
    X = table(name)
    loss = LOSSES[name].fitted(LOSSES[name].measure(X.numpy()))
    Z, _ = pca(X)
    constant = loss.constant(X).expand(len(X), -1)
    output = linear_output(loss, Z, X)
    assert output.isfinite().all()
    assert loss.function(output, X).mean() < 0.98 * loss.function(constant, X).mean()
    few = torch.cat([Z[:50] + 1, torch.zeros(50, 1)], dim=1)  # neither white nor alive
    errors = loss.function(linear_output(loss, few, X[:50]), X[:50])
    constant = loss.constant(X[:50]).expand(50, -1)
    assert errors.mean() <= loss.function(constant, X[:50]).mean()


@pytest.mark.parametrize("name", LOSSES)
def test_constant_is_the_best(name):
    X = table(name)[1:]
    loss = LOSSES[name].fitted(LOSSES[name].measure(table(name).numpy()))
    best = loss.constant(X)
    least = loss.function(best.expand(len(X), -1), X).mean()
    is_free = torch.ones(len(best), dtype=torch.bool)
    is_free[5::8] = False  # always zero: half a row away from minus infinity
    for step in torch.eye(len(best), dtype=X.dtype)[is_free] * 0.05:
        for moved in (best + step, best - step):
            assert loss.function(moved.expand(len(X), -1), X).mean() >= least - 1e-9


@pytest.mark.parametrize("name", LOSSES)
def test_weights_are_repetitions(name):
    """Constants and decoders of weighted rows are those of rows as often as they weigh."""
    X = table(name)
    Z, _ = pca(X)
    w = torch.tensor([0, 1, 2, 1]).repeat(len(X) // 4)
    everyone = torch.arange(len(X)).repeat_interleave(w)
    loss = LOSSES[name].fitted(LOSSES[name].measure(X.numpy(), w.double().numpy()))
    again = LOSSES[name].fitted(LOSSES[name].measure(X[everyone].numpy()))
    constants = loss.constant(X, w), again.constant(X[everyone])
    torch.testing.assert_close(*constants, rtol=1e-6, atol=1e-6)
    assert (constants[0] - loss.constant(X)).abs().max() > 1e-2
    if loss.of_scaled:
        return
    # A descent of few steps ends near, not on, the optimum, for rounding turns the codes.
    repeated = Z[everyone], X[everyone]
    outputs = [
        linear_output(loss, Z, X, w)[everyone],
        linear_output(again, *repeated),
        linear_output(loss, Z, X)[everyone],
    ]
    errors = [float(loss.function(output, repeated[1]).mean()) for output in outputs]
    assert errors[0] == pytest.approx(errors[1], rel=1e-4)
    assert abs(errors[2] - errors[0]) > 5 * abs(errors[0] - errors[1])


def test_regression_of_counts_is_reached():
    X = table("poisson")[:, :5]
    Z, _ = pca(X)
    mean = X.mean(0) * torch.tensor([0.5, 1, 2, 1, 1])
    weight, bias = _counts.regression(Z, X, mean=mean, n_iter=500)
    output = Z @ weight.T + bias
    weight.requires_grad_()
    bias.requires_grad_()
    errors = losses.poisson(Z @ weight.T + bias, X, mean).sum()
    prior = torch.square(weight).sum() / 2
    slopes = torch.autograd.grad(errors + prior, (weight, bias))
    assert output.isfinite().all()
    assert max(float(slope.abs().max()) for slope in slopes) < 1e-3 * float(X.sum())


def test_theta_is_found():
    rng = np.random.default_rng(0)
    theta, mean = np.array([0.5, 2.0, 20.0, np.inf]), np.array([3.0, 8.0, 50.0, 5.0])
    gamma = np.c_[rng.gamma(theta[:3], 1 / theta[:3], (20_000, 3)), np.ones(20_000)]
    X = torch.from_numpy(rng.poisson(mean * gamma).astype(float))
    loss = LOSSES["negative_binomial"]
    loss = loss.fitted(loss.measure(X.numpy()))
    output = loss.constant(X)
    assert output[:4].abs().max() < 1e-12
    np.testing.assert_allclose(output[4:7].exp(), theta[:3], rtol=0.1)
    assert output[7] > 5
    Z = torch.from_numpy(rng.normal(size=(20_000, 2)))
    output = linear_output(loss, Z, X)
    np.testing.assert_allclose(output[0, 4:7].exp(), theta[:3], rtol=0.1)


def table_of_counts(name):
    """Counts (n, p), and how many components they have."""
    rng = np.random.default_rng(0)
    if name == "digits":
        return load_digits().data[:600], 16
    if name == "cells":  # of six types, and of different depths
        profiles = rng.dirichlet(np.full(300, 0.2), 6)[rng.integers(0, 6, 600)]
        return rng.poisson(rng.lognormal(6.5, 0.4, (600, 1)) * profiles), 10
    rates = np.exp(rng.normal(size=(500, 3)) @ rng.normal(size=(3, 40)) / 2)
    if name == "heavy tails":
        return rng.poisson(rng.gamma(0.15, 20, (500, 40)) * rates), 5
    if name == "log-linear":
        return rng.poisson(rates), 3
    parts = rng.gamma(0.5, 1, (1000, 4)) @ rng.gamma(0.3, 0.1, (4, 100))
    return rng.poisson(parts), 10  # nearly all are zero


TABLES = "digits", "cells", "heavy tails", "log-linear", "sparse"


@pytest.mark.parametrize("of", TABLES)
@pytest.mark.parametrize("name", ["poisson", "negative_binomial"])
def test_counts_start_below_pca(name, of):
    """PCA's reconstruction, cut off just above zero, where it is best for it.

    For negative binomials with the likeliest theta that it can have.
    """
    X, k = table_of_counts(of)
    X = torch.from_numpy(X[:, X.any(axis=0)].astype(float))
    loss = LOSSES[name].fitted(LOSSES[name].measure(X.numpy()))
    Z, X_hat = pca(X, k)
    start = loss.function(linear_output(loss, Z, X), X).mean()
    constant = loss.function(loss.constant(X).expand(len(X), -1), X).mean()
    of_pca = []
    for share in (0.5 / len(X), 0.001, 0.003, 0.01):
        rates = torch.maximum(X_hat, share * X.mean(0))
        soft = rates * _counts.UNIT / X.mean(0)
        output = soft + torch.log(-torch.expm1(-soft)) - _counts.OFFSET
        if loss.n_constants:
            log_theta = _counts._log_dispersion(
                X.T, rates.T, torch.ones(len(X)).to(X)
            ).expand(len(X), -1)
            output = torch.cat([output, log_theta], dim=1)
        of_pca.append(float(loss.function(output, X).mean()))
    assert start < 0.98 * constant
    assert start < min(of_pca)


@pytest.mark.parametrize("of", TABLES)
@pytest.mark.parametrize("name", ["poisson", "negative_binomial"])
def test_count_starts_are_near_the_best_of_their_kind(name, of):
    """Nine tenths of what the constant leaves and a linear decoder can have."""
    X, k = table_of_counts(of)
    X = torch.from_numpy(X[:, X.any(axis=0)].astype(float))
    loss = LOSSES[name].fitted(LOSSES[name].measure(X.numpy()))
    Z, _ = pca(X, k)
    p = X.shape[1]
    start = linear_output(loss, Z, X)
    if loss.n_constants:
        best = _counts.overdispersed_regression(Z, X, None, X.mean(0), (30, 30, 30))
    else:
        best = _counts.regression(Z, X, None, X.mean(0), 100)
    best = torch.cat([Z @ best[0].T + best[1][:p], best[1][p:].expand(len(X), -1)], 1)
    constant = loss.constant(X).expand(len(X), -1)
    errors = [float(loss.function(o, X).mean()) for o in (constant, start, best)]
    assert errors[0] - errors[1] > 0.9 * (errors[0] - errors[2]) > 0


def test_location_and_scale_pass_over_what_is_missing():
    X = np.array([[1e300, 3.0, np.nan, 5.0], [-1e300, 3.0, np.nan, np.nan]] * 2)
    X.flags.writeable = False
    mean, scale = nan_location_and_scale(X)
    assert mean.tolist() == [0.0, 3.0, 0.0, 5.0]
    assert scale.tolist() == [1e300, 0.0, 0.0, 0.0]
