"""Losses of counts whose rates are in proportion to the exposure of the row."""

import numpy as np
import pytest
import torch
from scipy import stats

from skae.losses import LOSSES
from skae.losses._counts import rate
from skae.losses._exposed import exposed
from skae.losses._resolve import resolve_loss

N, P = 50, 4


@pytest.fixture
def rows():
    """Outputs (50, 4), counts, and exposures (50, 1)."""
    rng = np.random.default_rng(0)
    output = torch.from_numpy(rng.normal(size=(N, P)))
    exposure = np.exp(rng.normal(size=(N, 1)))
    X = rng.poisson(3 * exposure * np.ones(P)).astype(float)
    return output, X, exposure


def test_poisson(rows):
    output, X, exposure = rows
    target = np.hstack([X, exposure])
    loss = exposed(LOSSES["poisson"])
    statistics = loss.measure(target)
    np.testing.assert_allclose(statistics["mean"], X.sum(axis=0) / exposure.sum())
    loss = loss.fitted(statistics)
    rates = rate(output, torch.from_numpy(statistics["mean"])).numpy() * exposure
    expected = -stats.poisson.logpmf(X, rates).sum(axis=1)
    errors = loss.function(output, torch.from_numpy(target)).numpy()
    np.testing.assert_allclose(errors, expected)


def test_negative_binomial(rows):
    output, X, exposure = rows
    log_theta = torch.linspace(-1, 2, P, dtype=torch.float64)
    target = np.hstack([X, exposure])
    loss = exposed(LOSSES["negative_binomial"])
    statistics = loss.measure(target)
    rates = rate(output, torch.from_numpy(statistics["mean"])).numpy() * exposure
    theta = log_theta.exp().numpy()
    expected = -stats.nbinom.logpmf(X, theta, theta / (theta + rates)).sum(axis=1)
    both = torch.cat([output, log_theta.expand(N, P)], dim=1)
    errors = loss.fitted(statistics).function(both, torch.from_numpy(target)).numpy()
    np.testing.assert_allclose(errors, expected)


@pytest.mark.parametrize("name", ["poisson", "negative_binomial"])
def test_constants_and_linear_starts(rows, name):
    """No constant and no linear decoder nearby is better."""
    _, X, exposure = rows
    target = torch.from_numpy(np.hstack([X, exposure]))
    loss = exposed(LOSSES[name])
    loss = loss.fitted(loss.measure(target.numpy()))
    constant = loss.constant(target, None)

    def error(output):
        return float(loss.function(output.expand(N, -1), target).mean())

    best = error(constant)
    for j in range(P):
        for step in (-0.1, 0.1):
            other = constant.clone()
            other[j] += step
            assert error(other) > best
    Z = torch.from_numpy(np.random.default_rng(1).normal(size=(N, 1)))
    weight, bias = loss.decoder_start(Z, target, None)
    output = torch.nn.functional.pad(Z @ weight.T, (0, len(bias) - P)) + bias
    assert error(output) <= best + 1e-3


def test_a_column_of_a_dict_is_as_a_table_of_its_own(rows):
    output, X, exposure = rows
    target = np.hstack([X, exposure])
    mixed = resolve_loss({"poisson": [*range(P)]}, P, has_exposure=True)
    mixed = mixed.fitted(mixed.measure(target))
    alone = exposed(LOSSES["poisson"])
    alone = alone.fitted(alone.measure(target))
    target = torch.from_numpy(target)
    baselines = [
        float(_column(j, target).mean()) for j in range(P)
    ]  # each column is measured against its best constant
    errors = sum(_cells(output, target, j, alone) / baselines[j] for j in range(P))
    torch.testing.assert_close(mixed.function(output, target), errors)


def _cells(output, target, j, loss):
    rest = [i for i in range(P) if i != j]
    silent, counts = output.clone(), target.clone()
    silent[:, rest], counts[:, rest] = -100.0, 0.0  # adds nothing to the loss
    return loss.function(silent, counts)


def _column(j, target):
    loss = exposed(LOSSES["poisson"])
    own = target[:, [j, P]]
    loss = loss.fitted(loss.measure(own.numpy()))
    return loss.function(loss.constant(own, None).expand(N, 1), own)


def test_missing_cells_add_nothing(rows):
    output, X, exposure = rows
    target = torch.from_numpy(np.hstack([X, exposure]))
    loss = exposed(LOSSES["poisson"])
    loss = loss.fitted(loss.measure(target.numpy()))
    observed = torch.ones(N, P, dtype=torch.bool)
    observed[:, 1:] = False
    kept = loss.observed(output, target, observed)
    torch.testing.assert_close(loss.function(*kept), _cells(output, target, 0, loss))
