"""Variational networks: distributions of codes, and maps that keep them independent."""

import copy

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from skae.modules import ConvolutionalVariational, DenseVariational
from skae.modules._base import set_generators
from skae.modules._variational import LOGITS, divergence


def randn(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


KINDS = {
    "dense": lambda **options: DenseVariational(6, 3, 6, (5,), **options),
    "convolutional": lambda **options: ConvolutionalVariational(
        (1, 2, 3), 3, (4,), **options
    ),
}


@pytest.fixture(params=KINDS)
def network(request):
    """A network (6 features, 3 codes) in float64, with no weight at zero."""
    generator = torch.Generator().manual_seed(0)
    made = KINDS[request.param](n_constants=2, generator=generator).double()
    for j, weight in enumerate(made.parameters()):
        weight.data += 0.3 * randn(*weight.shape, seed=j)
    return made.eval()


def test_divergence_is_that_of_torch():
    mean, log_variance = randn(7, 3), randn(7, 3, seed=2)
    posterior = Normal(mean, (log_variance / 2).exp())
    expected = kl_divergence(posterior, Normal(0.0, 1.0))
    torch.testing.assert_close(divergence(mean, log_variance), expected)


def test_codes_are_drawn_from_the_posterior(network):
    X = randn(1, 6)
    mean, log_variance = network.posterior(X)
    torch.testing.assert_close(mean, network.encode(X))
    set_generators(network, 0, "cpu")
    Z, added = network.encode_with_loss(X.expand(40_000, -1))
    torch.testing.assert_close(Z.mean(0), mean[0], atol=0.02, rtol=0)
    torch.testing.assert_close(Z.var(0), log_variance[0].exp(), atol=0.02, rtol=0.02)
    torch.testing.assert_close(added[0], divergence(mean, log_variance).sum())


def test_variances_are_bounded_for_rows_far_away(network):
    for sign in (-1, 1):
        _, log_variance = network.posterior(sign * 1e6 * randn(50, 6))
        assert log_variance.max() < 0
        assert log_variance.min() >= LOGITS[0] - 1e-6


def test_places_and_signs_of_codes_change(network):
    before, X = copy.deepcopy(network), randn(9, 6)
    weight = torch.tensor([[0.0, -1, 0], [0, 0, 1], [1, 0, 0]]).double()
    network.recode(weight, torch.zeros(3).double())
    Z, log_variance = before.posterior(X)
    after, after_variance = network.posterior(X)
    torch.testing.assert_close(after, Z @ weight.T)
    torch.testing.assert_close(after_variance, log_variance @ weight.abs().T)
    torch.testing.assert_close(network(X), before(X))
