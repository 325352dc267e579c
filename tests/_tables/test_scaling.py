"""Location and scale, over the whole range of float64."""

import numpy as np
import pytest

from skae._tables.scaling import location_and_scale, nan_location_and_scale, scaled


def table(n, p, rank=None, seed=0):
    rng = np.random.default_rng(seed)
    rank = rank or min(n, p)
    X = rng.normal(size=(n, rank)) * np.arange(rank, 0, -1) @ rng.normal(size=(rank, p))
    return X - X.mean(axis=0)


@pytest.mark.parametrize("factor", [1e300, 1e30, 1.0, 1e-30, 1e-150, 1e-300])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_location_and_scale_of_any_magnitude(factor, offset):
    X = table(40, 3) / 10 + offset
    mean, scale = location_and_scale(X * factor, standardize=False)
    np.testing.assert_allclose(mean / factor, X.mean(axis=0), atol=1e-10)
    assert scale / factor == pytest.approx(np.sqrt(X.var(axis=0).mean()))
    _, scales = location_and_scale(X * factor, standardize=True)
    np.testing.assert_allclose(scales / factor, X.std(axis=0), rtol=1e-7)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.5, 1e8, 1e300, 1e-300])
def test_constant_columns_have_scale_one(value):
    X = np.full((37, 3), value)
    assert location_and_scale(X, standardize=False)[1] == 1.0
    X[:, 1] = np.arange(37)
    mean, scale = location_and_scale(X, standardize=True)
    np.testing.assert_allclose(mean, [value, 18, value], rtol=1e-12)
    np.testing.assert_allclose(scale, [1, X[:, 1].std(), 1])


def test_float32_statistics_are_float64s():
    X = (table(500, 2) + 1e6).astype(np.float32)
    mean, scale = location_and_scale(X, standardize=True)
    np.testing.assert_allclose(mean, X.astype(float).mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(scale, X.astype(float).std(axis=0), rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scaled(dtype):
    X = table(20, 3) + 5
    out = scaled(X, X.mean(axis=0), 2.0, dtype)
    assert out.dtype == dtype
    np.testing.assert_allclose(out, (X - X.mean(axis=0)) / 2, rtol=1e-6, atol=1e-6)


def test_a_constant_column_with_missing_values_has_no_spread():
    """The sum of so many equal values, divided by their number, is not that value."""
    column = np.full((400, 1), -0.05735393)
    column[::2] = np.nan
    mean, spread = nan_location_and_scale(column)
    assert mean[0] == -0.05735393
    assert spread[0] == 0
