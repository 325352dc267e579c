"""p values, limits and surprises from held-out rows."""

import numpy as np
import pytest
from scipy import stats

from skae._applications.calibration import (
    Calibration,
    residuals_of,
    surprises,
    tails_of,
    weighted_quantile,
)


def test_weights_are_copies():
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=50), rng.integers(1, 4, 50)
    copies = np.repeat(values, weights)
    for share in (0.05, 0.5, 0.8413, 1.0):
        expected = np.quantile(copies, share, method="inverted_cdf")
        assert weighted_quantile(values, weights, share) == expected


def test_surprises_of_lognormal_distances():
    """They are -log(P), far into the tail."""
    rng = np.random.default_rng(0)
    shape, scale = np.array([0.5, 1.5]), np.array([2.0, 30.0])
    distances = scale * np.exp(shape * rng.normal(size=(20_000, 2)))
    tails = tails_of(distances, np.ones(20_000))
    for share in (0.5, 0.01, 1e-6):
        pair = stats.lognorm.isf(share, shape, scale=scale)[None]
        found = surprises(pair, tails)[:, :2]
        np.testing.assert_allclose(found, -np.log(share), rtol=0.1)


def test_the_third_surprise_is_that_of_the_sum():
    distances = np.random.default_rng(0).chisquare(8, (100, 2))
    tails = tails_of(distances, np.ones(100))
    sums = np.repeat(distances.sum(axis=1, keepdims=True), 2, axis=1)
    alone = surprises(sums, tails_of(sums, np.ones(100)))[:, 0]
    np.testing.assert_allclose(surprises(distances, tails)[:, 2], alone)


def test_outliers_move_the_tails_little():
    rng = np.random.default_rng(0)
    distances = rng.chisquare(8, size=(1000, 2))
    tails = tails_of(distances, np.ones(1000))
    distances[:20] *= 1e6
    np.testing.assert_allclose(tails_of(distances, np.ones(1000)), tails, rtol=0.1)


def test_distances_without_spread_are_told_from_rounding():
    tails = tails_of(np.zeros((5, 2)), np.ones(5))
    rounding, large = surprises(np.array([[1e-20, 1e-20], [1.0, 1.0]]), tails)
    np.testing.assert_allclose(rounding, np.log(2), atol=1e-3)
    assert (large > 1e4).all()


@pytest.mark.parametrize("surprise", [1.0, 9.0, 1e4])
def test_residuals_of_inverts_surprises(surprise):
    tails = tails_of(np.random.default_rng(0).chisquare(8, (100, 2)), np.ones(100))
    distance = np.array([0.0, 3.0, 30.0])
    residual = residuals_of(surprise, distance, tails)
    sums = surprises(np.column_stack([residual, distance]), tails).sum(axis=1)
    np.testing.assert_allclose(sums[residual > 0], surprise)
    assert (sums[residual == 0] >= surprise).all()
    assert residuals_of(-1.0, distance, tails).tolist() == [0, 0, 0]


def test_p_values_count_held_out_rows_and_the_new_one():
    calibration = Calibration(np.array([-1.0, -4.0, -2.0, -2.0]), np.ones(4))
    p = calibration.p_values(np.array([0.0, -1.0, -2.0, -3.0, -9.0]))
    np.testing.assert_allclose(p, np.array([5, 5, 4, 2, 1]) / 5)


def test_p_values_with_weights_are_not_too_small():
    calibration = Calibration(np.array([-1.0, -2.0]), np.array([9.0, 1.0]))
    p = calibration.p_values(np.array([-1.5, -3.0]))
    np.testing.assert_allclose(p, [10 / 19, 9 / 19])


@pytest.mark.parametrize("alarm_rate", [0.01, 0.05, 0.3])
def test_limit(alarm_rate):
    scores = np.random.default_rng(0).permutation(1000.0 * np.arange(200))
    limit = Calibration(scores, np.ones(200)).limit(alarm_rate)
    below = (scores < limit).mean()
    assert alarm_rate - 1.01 / 200 <= below <= alarm_rate
