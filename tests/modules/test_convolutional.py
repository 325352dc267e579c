"""Convolutional networks: shapes, stacks, and what they share with other networks."""

import math
from fnmatch import fnmatch

import pytest
import torch
from torch.nn import functional as F

from skae.modules import ConvolutionalAutoencoder
from skae.modules._base import set_generators
from skae.modules._convolutional import ByChannel, Convolution
from skae.modules._layers import BatchNorm
from skae.modules._stack import stack, unstack

SHAPES = [(1, 9), (3, 8), (1, 1), (1, 8, 8), (3, 7, 10), (2, 1, 5)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=1):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def network(sample_shape=(2, 5, 6), seed=0, **options):
    return ConvolutionalAutoencoder(
        sample_shape, 3, (4, 8), generator=generator(seed), **options
    ).double()


def opened(module):
    """The module with every weight moved, so that no term is zero."""
    for j, weight in enumerate(module.parameters()):
        weight.data += 0.3 * randn(*weight.shape, seed=10 + j)
    return module.eval()


# -- layers ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_a_transposed_convolution_leads_back_to_every_size(size):
    half = -(-size // 2)
    down = Convolution((2, size), (4, half), generator=generator())
    up = Convolution((4, half), (2, size), transposed=True, generator=generator())
    X = torch.randn(5, 2, size)
    assert down(X).shape == (5, 4, half)
    assert up(down(X)).shape == X.shape
    assert down.n_uses == up.n_uses == half
    assert stack([down, down]).n_uses == half / 2


def test_layers_start_in_the_scale_of_their_input():
    """A transposed kernel is seen in parts, and would shrink what it gets otherwise."""
    down = Convolution((8, 32, 32), (16, 16, 16), generator=generator())
    up = Convolution((16, 16, 16), (8, 32, 32), transposed=True, generator=generator())
    for layer, shape in [(down, (8, 32, 32)), (up, (16, 16, 16))]:
        out = layer(randn(20, *shape).float())
        assert 0.4 < out.std() < 0.8  # 1 / sqrt(3), as of uniform weights


@pytest.mark.parametrize("n_axes", [1, 2])
def test_batch_normalization_is_that_of_torch(n_axes):
    X = randn(6, 3, *[4] * n_axes)
    ours = ByChannel(BatchNorm(3), n_axes).double().train()
    expected = F.batch_norm(X, None, None, training=True)
    torch.testing.assert_close(ours(X), expected)


# -- networks --------------------------------------------------------------------------


@pytest.mark.parametrize("sample_shape", SHAPES, ids=str)
@pytest.mark.parametrize("linear_path", [True, False])
def test_every_shape_comes_back(sample_shape, linear_path):
    f = network(sample_shape, linear_path=linear_path)
    X = randn(4, math.prod(sample_shape))
    assert f.encode(X).shape == (4, 3)
    assert f(X).shape == X.shape
    assert f.encode(X).any() == (not linear_path)  # closed gates


@pytest.mark.parametrize("channels", [(), (4,), (4, 8)], ids=str)
@pytest.mark.parametrize("normalization", [None, "batch"])
def test_layers_that_start_at_zero_take_cautious_steps(channels, normalization):
    """One large step of theirs would be an error far above that of PCA."""
    f = ConvolutionalAutoencoder((1, 9), 3, channels, normalization=normalization)
    zero = {n for n, w in f.named_parameters() if n.endswith("weight") and not w.any()}
    cautious = {
        name
        for name, _ in f.named_parameters()
        if any(fnmatch(name, layers) for layers in f.cautious_layers)
    }
    assert zero
    assert zero <= cautious
    inner = {name for name in cautious if name.startswith("corrections")}
    assert len(inner) == 2  # one layer, with its bias


def test_it_is_convolutional():
    """Away from the edges, a signal that is moved by a stride has moved features."""
    f = opened(network((1, 32)))
    X = torch.zeros(2, 32, dtype=torch.float64)
    X[0, 14], X[1, 18] = 1.0, 1.0  # two stages have a stride of four
    H = f.corrections.encode(X).reshape(2, 8, 8)
    torch.testing.assert_close(H[0, :, 2:6], H[1, :, 3:7])
    assert H.std() > 0


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_a_stack_runs_each_member_by_itself(normalization):
    options = {"normalization": normalization, "ordered": True}
    members = [opened(network(seed=seed, **options)) for seed in (1, 2)]
    X = randn(2, 5, 60)
    joined = stack(members).eval()
    for j, member in enumerate(members):
        torch.testing.assert_close(joined(X)[j], member(X[j]))
        assert torch.equal(unstack(joined, j)(X[j]), member(X[j]))


def test_members_of_a_stack_learn_alone():
    members = [opened(network(seed=seed)) for seed in (1, 2)]
    joined, X = stack(members), randn(2, 5, 60)
    (joined(X) - X).square().sum().backward()
    alone = members[1]
    (alone(X[1]) - X[1]).square().sum().backward()
    for (name, weight), other in zip(
        joined.named_parameters(), alone.parameters(), strict=True
    ):
        torch.testing.assert_close(weight.grad[1], other.grad, msg=name)


@torch.no_grad()
@pytest.mark.parametrize("ordered", [False, True])
def test_maps_are_absorbed(ordered):
    f, X = opened(network(ordered=ordered)), randn(5, 60)
    weight = torch.tril(randn(3, 3, seed=4)) + 3 * torch.eye(3, dtype=torch.float64)
    before, Z = f(X), f.encode(X)
    f.recode(weight, randn(3, seed=5))
    torch.testing.assert_close(f.encode(X), (Z - randn(3, seed=5)) @ weight.T)
    torch.testing.assert_close(f(X), before)
    scale, shift = randn(60, seed=6), randn(60, seed=7)
    folded = f.folded_encoder(scale, shift)
    torch.testing.assert_close(folded(X), f.encode(X * scale + shift))


def test_codes_of_training_pass_the_activation_too():
    f = opened(network(linear_path=False, code_activation="relu"))
    Z, added = f.encode_with_loss(randn(50, 60))
    assert (Z == 0).any()
    assert (Z > 0).any()
    assert torch.equal(Z, f.encode(randn(50, 60)))
    assert added is None


def test_dropout_is_drawn_from_private_generators():
    f, X = opened(network(dropout=0.5)).train(), randn(5, 60)
    state = torch.get_rng_state()
    results = []
    for seed in (0, 0, 1):
        set_generators(f, seed, torch.device("cpu"))
        results.append(f(X))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert torch.equal(state, torch.get_rng_state())


@torch.no_grad()
@pytest.mark.parametrize("sizes", [(), (4,)])
def test_corrections_start_at_zero(sizes):
    f = (
        ConvolutionalAutoencoder((1, 2, 3), 3, sizes, generator=generator())
        .double()
        .train()
    )
    encoder, decoder = randn(3, 6), randn(6, 3, seed=2)
    f.set_linear(encoder, decoder, torch.zeros(6).double())
    X = randn(5, 6, seed=3)
    torch.testing.assert_close(f(X), X @ encoder.T @ decoder.T)
