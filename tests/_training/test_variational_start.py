"""The start of a variational network: its codes have the posterior of a linear model."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from skae._tables.table import Table
from skae._training.linear_start import make_start
from skae.losses._likelihoods import resolve_likelihood


def table(n=60, p=5, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, p)) @ np.diag([3.0, 2, 1, 0.5, 0.5])
    X -= X.mean(axis=0)
    return Table(X, X)


def start_of(tab, k, covariance_type="spherical"):
    loss = resolve_likelihood("squared_error", covariance_type)
    loss = loss.fitted(loss.measure(tab.X))
    return make_start(tab, None, k, loss, rotate=False), loss


@pytest.mark.parametrize("covariance_type", ["spherical", "diag"])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_covariance_is_that_of_pca(k, covariance_type):
    tab = table()
    start, loss = start_of(tab, k, covariance_type)
    output = torch.from_numpy(np.concatenate([start.bias[:5] * 0, start.bias[5:]]))[None]
    noise = loss.variance(output).expand(1, 5)[0].numpy()
    covariance = start.decoder @ start.decoder.T + np.diag(noise)
    expected = PCA(k).fit(tab.X).get_covariance()
    np.testing.assert_allclose(covariance, expected, rtol=1e-9, atol=1e-9)


def test_the_posterior_is_exact():
    tab = table()
    start, loss = start_of(tab, 3)
    noise = np.exp(start.bias[-1]) + loss.floor
    precision = np.eye(3) + start.decoder.T @ start.decoder / noise
    variances = 1 / (1 + np.exp(-start.logits))
    np.testing.assert_allclose(np.linalg.inv(precision), np.diag(variances), atol=1e-9)
    encoder = np.linalg.solve(precision, start.decoder.T / noise)
    np.testing.assert_allclose(start.encoder, encoder, atol=1e-9)
    np.testing.assert_array_equal(start.deviations, 1.0)


def test_a_wide_table_with_as_many_components_as_rows():
    tab = table(n=4, p=5)
    start, _ = start_of(tab, 4)
    parts = start.encoder, start.decoder, start.bias, start.logits
    assert all(np.isfinite(part).all() for part in parts)


def bits(n=2000, seed=0):
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n, 2))
    logits = Z @ rng.normal(size=(2, 12)) * 1.5
    return (rng.random((n, 12)) < 1 / (1 + np.exp(-logits))).astype(float)


def test_codes_of_bits_have_a_diagonal_information():
    target = bits()
    tab = Table((target - target.mean(0)) / target.std(), target)
    loss = resolve_likelihood("binary_cross_entropy", "diag")
    start = make_start(tab, None, 2, loss, rotate=False)
    codes = tab.X @ start.encoder.T
    variances = 1 / (1 + np.exp(-start.logits))
    # The means and the variances add up to the variance of the prior.
    np.testing.assert_allclose(codes.var(axis=0) + variances, 1.0, atol=0.05)
    np.testing.assert_allclose(np.cov(codes.T)[0, 1], 0.0, atol=0.05)
    p = 1 / (1 + np.exp(-(codes @ start.decoder.T + start.bias)))
    information = start.decoder.T @ ((p * (1 - p)).mean(0)[:, None] * start.decoder)
    assert abs(information[0, 1]) < 0.05 * information.diagonal().min()
    np.testing.assert_allclose(1 / (1 + information.diagonal()), variances, rtol=0.25)
