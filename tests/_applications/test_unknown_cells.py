"""Draws of what missing cells could be."""

import numpy as np
import pytest
import torch
from scipy.special import ndtri

from skae._applications.unknown_cells import (
    LEVELS,
    N_LEVELS,
    UnknownCells,
    errors_of_fills,
)
from skae._autoencoders.held_out import Fold
from skae._tables.missing import Filler

WEIGHT = torch.tensor(
    [[1.0, 0.5], [0.8, -0.4], [0.3, 0.9], [-0.7, 0.2]], dtype=torch.float64
)
NOISE = 0.1


@pytest.fixture
def filler():
    return Filler(torch.zeros(4, dtype=torch.float64), WEIGHT, NOISE)


def test_draws_have_the_conditional_covariance_of_the_normal_model(filler):
    normal = np.repeat(ndtri(LEVELS)[:, None], 4, axis=1)
    scale = np.array([1.0, 2.0, 3.0, 4.0])
    is_missing = np.tile([True, False, True, False], (40_000, 1))
    unknown = UnknownCells(filler, scale, normal)
    errors = unknown.draw(is_missing, np.random.RandomState(0))
    assert not errors[:, [1, 3]].any()
    covariance = (WEIGHT @ WEIGHT.mT).numpy() + NOISE * np.eye(4)
    M, K = [0, 2], [1, 3]
    cross = covariance[np.ix_(M, K)]
    given = covariance[np.ix_(M, M)] - cross @ np.linalg.solve(
        covariance[np.ix_(K, K)], cross.T
    )
    found = np.cov((errors / scale)[:, M].T)
    np.testing.assert_allclose(found, given, atol=0.03)


def test_quantiles_are_those_of_the_errors_of_hidden_cells(filler):
    """Errors of a network that always answers zero are the values themselves."""
    rng = np.random.RandomState(0)
    X = rng.exponential(size=(3000, 4)) - 1
    X[rng.uniform(size=X.shape) < 0.1] = np.nan
    fold = Fold(np.zeros_like, np.arange(1000), np.arange(1000, 3000))
    quantiles = errors_of_fills(filler, 1.0, [fold], X, np.random.RandomState(0))
    assert quantiles.shape == (N_LEVELS, 4)
    unknown = UnknownCells(filler, 1.0, quantiles)
    drawn = unknown.draw(np.isnan(X), np.random.RandomState(1))[np.isnan(X)]
    np.testing.assert_allclose(
        np.quantile(drawn, [0.1, 0.5, 0.9]),
        np.nanquantile(X, [0.1, 0.5, 0.9]),
        atol=0.25,
    )
    # The distribution is skewed, as that of the errors is.
    assert np.quantile(drawn, 0.99) > 2 * -np.quantile(drawn, 0.01)


def test_columns_with_few_errors_take_those_of_all(filler):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(200, 4))
    X[3:, 2] = np.nan
    fold = Fold(np.zeros_like, np.arange(100), np.arange(200))
    quantiles = errors_of_fills(filler, 1.0, [fold], X, np.random.RandomState(0))
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=0) >= 0).all()
