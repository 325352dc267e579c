"""Mixtures as priors of codes, which are kept where held-out codes gain."""

import numpy as np
import pytest
from scipy import stats

from skae._model.prior import FULL, Mixture, fit_mixture


def codes(n=300, k=2, distance=0.0, seed=0):
    """Means in two groups, and logarithms of variances, of n rows."""
    rng = np.random.default_rng(seed)
    side = rng.choice([-1.0, 1.0], size=(n, 1))
    mean = distance * side + np.sqrt(0.9) * rng.normal(size=(n, k))
    return mean, np.full((n, k), np.log(0.1))


def test_a_mixture_is_that_of_scipy():
    rng = np.random.default_rng(0)
    weights, means = np.array([0.3, 0.7]), rng.normal(size=(2, 3))
    roots = rng.normal(size=(2, 3, 3))
    full = roots @ roots.transpose(0, 2, 1) + np.eye(3)
    Z = rng.normal(size=(5, 3))
    for covariances in full, full.diagonal(axis1=1, axis2=2):
        parts = zip(weights, means, covariances, strict=True)
        expected = np.log(
            sum(
                w * stats.multivariate_normal(m, c if c.ndim == 2 else np.diag(c)).pdf(Z)
                for w, m, c in parts
            )
        )
        mixture = Mixture(weights, means, covariances)
        np.testing.assert_allclose(mixture.log_densities(Z), expected)
        drawn = mixture.draw(20_000, np.random.RandomState(0))
        np.testing.assert_allclose(drawn.mean(axis=0), weights @ means, atol=0.08)
        first_half = drawn[:10_000].mean(axis=0)  # components are in no order
        np.testing.assert_allclose(first_half, weights @ means, atol=0.1)


def test_groups_of_codes_are_found():
    mean, log_variance = codes(distance=3.0)
    mixture = fit_mixture(mean, log_variance, np.arange(300))
    weights, means, covariances = mixture.arrays
    assert len(weights) == 2
    np.testing.assert_allclose(np.sort(means[:, 0]), [-3, 3], atol=0.4)
    assert covariances.shape == (2, 2, 2)


@pytest.mark.parametrize("n", [300, 12])
def test_normal_codes_keep_the_normal_prior(n):
    mixture = fit_mixture(*codes(n), np.arange(n))
    weights, means, covariances = mixture.arrays
    assert (weights == 1).all()
    assert (means == 0).all()
    assert (covariances == 1).all()


def test_copies_of_rows_are_on_one_side():
    mean, log_variance = codes(60)
    copies = np.repeat(np.arange(60), 40)
    mixture = fit_mixture(mean[copies], log_variance[copies], copies)
    assert len(mixture.arrays[0]) == 1


def test_held_out_rows_weights_and_many_codes():
    mean, log_variance = codes(400, k=FULL + 1, distance=2.0)
    held_out = np.arange(400) % 4 == 0
    weights = np.where(mean[:, 0] > 0, 1.0, 0.1)
    mixture = fit_mixture(mean, log_variance, np.arange(400), held_out, weights)
    shares, means, covariances = mixture.arrays
    assert covariances.ndim == 2
    assert shares[means[:, 0] > 0].sum() > 0.8
