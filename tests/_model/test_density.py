"""Densities of rows by importance weighting, the order of codes, and new rows."""

import numpy as np
import pytest
import torch
from scipy import stats

from skae._model.density import N_DRAWS, DensityInference, normal_draws
from skae.losses._likelihoods import resolve_likelihood
from skae.modules import DenseVariational

P, K, SCALE = 5, 2, 3.0


def made(seed=0, hidden=(6,), covariance_type="diag"):
    """A DensityInference around a random network, and rows."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(40, P)) * SCALE + 1.0
    loss = resolve_likelihood("squared_error", covariance_type)
    loss = loss.fitted(loss.measure(X, None, SCALE))
    network = DenseVariational(
        P, K, P, hidden, n_constants=P, generator=torch.Generator().manual_seed(seed)
    ).eval()
    for weight in network.parameters():
        weight.data += 0.2 * torch.from_numpy(rng.normal(size=weight.shape)).float()
    device = torch.device("cpu")
    return DensityInference(network, loss, np.ones(P), SCALE, SCALE, device), X


def test_draws_are_those_of_a_standard_normal():
    draws = normal_draws(3).numpy()
    assert draws.shape == (N_DRAWS, 3)
    np.testing.assert_array_equal(draws, normal_draws(3).numpy())
    np.testing.assert_allclose(draws.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(np.cov(draws.T), np.eye(3), atol=0.05)
    assert all(stats.kstest(column, "norm").pvalue > 0.5 for column in draws.T)
    assert np.isfinite(normal_draws(30_000).numpy()).all()


def test_a_linear_decoder_has_a_normal_density():
    inference, X = made(hidden=())
    module = inference.modules[torch.float64]
    W = module.decoder.linear.weight.detach().numpy()
    bias = module.decoder.linear.bias.detach().numpy()
    noise = inference.noise_variance(K) / SCALE**2
    # The posterior of the network is not the right one. Many draws make up for it.
    covariance = SCALE**2 * (W @ W.T + np.diag(noise))
    exact = stats.multivariate_normal(1.0 + SCALE * bias, covariance).logpdf(X)
    bounds = inference.row_scores(X)
    elbo = _elbo(inference, X)
    assert bounds.mean() <= exact.mean() + 0.05
    assert elbo < bounds.mean()


def _elbo(inference, X):
    """The evidence lower bound (one number), with codes drawn at random."""
    module = inference.modules[torch.float64]
    module.generator = torch.Generator().manual_seed(0)
    rows = torch.from_numpy((X - 1.0) / SCALE).repeat(500, 1)
    with torch.no_grad():
        Z, added = module.encode_with_loss(rows)
        errors = inference.loss.function(module.decode(Z), rows)
    return -(errors + added).mean().item()


def test_densities_of_some_rows_are_those_of_all():
    inference, X = made()
    scores = inference.row_scores(X)
    np.testing.assert_array_equal(inference.row_scores(X), scores)
    np.testing.assert_allclose(inference.row_scores(X[3:5]), scores[3:5], rtol=1e-10)
    in_float32 = inference.row_scores(X.astype(np.float32))
    np.testing.assert_allclose(in_float32, scores, rtol=1e-4)


def test_codes_are_sorted_by_their_divergences():
    inference, X = made()
    rows = (X - 1.0) / SCALE
    scores, before = inference.row_scores(X), inference.divergences(rows)
    inference.canonize(rows, rows, K)
    after = inference.divergences(rows)
    np.testing.assert_allclose(after, np.sort(before)[::-1], rtol=1e-5)
    np.testing.assert_allclose(inference.row_scores(X).mean(), scores.mean(), atol=0.5)
    center = inference.scaled_codes(rows, K).mean(axis=0)
    slopes = inference.jacobian(center[None])[0]
    assert (slopes[np.arange(K), np.abs(slopes).argmax(axis=1)] > 0).all()


def test_the_jacobian_is_in_the_units_of_the_rows():
    inference, _ = made()
    z, step = np.array([[0.3, -0.2]]), 1e-5
    moved = inference.decode(z + step * np.eye(K)) - inference.decode(z)
    np.testing.assert_allclose(inference.jacobian(z)[0], moved / step, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("covariance_type", ["spherical", "diag"])
def test_new_rows_have_the_covariance_of_a_linear_model(covariance_type):
    inference, _ = made(hidden=(), covariance_type=covariance_type)
    X = inference.draw(40_000, K, np.random.RandomState(0))
    W = inference.modules[torch.float64].decoder.linear.weight.detach().numpy()
    noise = inference.noise_variance(K)
    covariance = SCALE**2 * W @ W.T + np.eye(P) * noise
    np.testing.assert_allclose(np.cov(X.T), covariance, atol=0.05 * covariance.max())
