"""Networks do what they declare: one family of checks over all architectures."""

import copy

import pytest
import torch
from torch import nn

from skae.modules import (
    ConvolutionalVariational,
    DenseAutoencoder,
    DenseVariational,
    Linear,
)
from skae.modules._base import copied, layers_that_draw, set_generators
from skae.modules._gated import GatedAutoencoder
from skae.modules._own import OwnNetwork, OwnVariational
from skae.modules._stack import stack, unstack

N_FEATURES, N_COMPONENTS = 6, 3

# How each network is made, for N_FEATURES features and N_COMPONENTS codes.
NETWORKS = {
    "dense": lambda generator: DenseAutoencoder(
        N_FEATURES, N_COMPONENTS, N_FEATURES, (5, 4), dropout=0.2, generator=generator
    ),
    "variational": lambda generator: DenseVariational(
        N_FEATURES, N_COMPONENTS, N_FEATURES, (5, 4), generator=generator
    ),
    "variational, convolutional": lambda generator: ConvolutionalVariational(
        (1, N_FEATURES), N_COMPONENTS, (4,), generator=generator
    ),
    "variational, of one's own": lambda generator: OwnVariational(
        OwnNetwork(TwoNumbers(generator)), N_FEATURES, N_COMPONENTS
    ),
    "dense, ordered": lambda generator: DenseAutoencoder(
        N_FEATURES, N_COMPONENTS, N_FEATURES, (5,), ordered=True, generator=generator
    ),
    "dense, normalized": lambda generator: DenseAutoencoder(
        N_FEATURES,
        N_COMPONENTS,
        N_FEATURES,
        (5,),
        normalization="layer",
        generator=generator,
    ),
    "gated": lambda generator: gated(plain(generator)),
    "gated, ordered": lambda generator: gated(plain(generator), ordered=True),
    "gated, of one's own": lambda generator: gated(OwnNetwork(plain(generator))),
}


def plain(generator):
    sizes = N_FEATURES, N_COMPONENTS, N_FEATURES, (5,)
    return DenseAutoencoder(*sizes, dropout=0.2, linear_path=False, generator=generator)


class TwoNumbers(nn.Module):
    """A user's module whose encoder returns two numbers for each code."""

    def __init__(self, generator):
        super().__init__()
        self.encode = Linear(N_FEATURES, 2 * N_COMPONENTS, generator=generator)
        self.decode = Linear(N_COMPONENTS, N_FEATURES, generator=generator)


def gated(corrections, **options):
    return GatedAutoencoder(corrections, N_FEATURES, N_COMPONENTS, **options)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=1):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


@pytest.fixture(params=NETWORKS)
def make(request):
    """A function of a seed that makes a network in float64, with no weight at zero."""

    def network(seed=0):
        made = NETWORKS[request.param](generator(seed)).double().eval()
        for j, weight in enumerate(made.parameters()):
            weight.data += 0.3 * randn(*weight.shape, seed=(seed + 1) * 100 + j)
        return made

    return network


def needs(network, ability):
    if not getattr(network, ability):
        pytest.skip(f"it does not declare {ability}")


def test_all_weights_are_drawn_from_the_generator(make):
    state = torch.random.get_rng_state()
    one, other = make(), make()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(map(torch.equal, one.parameters(), other.parameters()))


def test_shapes(make):
    network, X = make(), randn(9, N_FEATURES)
    Z = network.encode(X)
    assert Z.shape == (9, N_COMPONENTS)
    assert network.decode(Z).shape == (9, N_FEATURES)
    torch.testing.assert_close(network(X), network.decode(Z))


def test_the_same_generators_give_the_same_bits_in_training(make):
    network, X = make().train(), randn(9, N_FEATURES)
    outputs = []
    for _ in range(2):
        set_generators(network, 0, "cpu")
        with network.private_states(0, torch.device("cpu"), training=True):
            outputs.append(network(X))
    assert torch.equal(*outputs)
    assert all(layer.generator is not None for layer in layers_that_draw(network))


def test_a_stack_is_its_members(make):
    needs(make(), "is_stackable")
    members, X = [make(seed) for seed in range(3)], randn(3, 9, N_FEATURES)
    joined = stack(members)
    codes = torch.stack([m.encode(rows) for m, rows in zip(members, X, strict=True)])
    torch.testing.assert_close(joined.encode(X), codes)
    expected = torch.stack([m.decode(z) for m, z in zip(members, codes, strict=True)])
    torch.testing.assert_close(joined.decode(codes), expected)
    torch.testing.assert_close(unstack(joined, 1)(X[1]), members[1](X[1]))


def test_the_linear_path_starts_alone(request, make):
    network = NETWORKS[request.node.callspec.params["make"]](generator()).double().eval()
    needs(network, "has_linear_path")
    encoder, decoder = randn(N_COMPONENTS, N_FEATURES), randn(N_FEATURES, N_COMPONENTS)
    bias, X = randn(N_FEATURES, seed=2), randn(9, N_FEATURES, seed=3)
    network.set_linear(encoder, decoder, bias)
    torch.testing.assert_close(network.encode(X), X @ encoder.T)
    torch.testing.assert_close(network(X), X @ encoder.T @ decoder.T + bias)


@torch.no_grad()
def test_copies_are_equal_and_share_nothing(make):
    network, X = make(), randn(9, N_FEATURES)
    before, copy_of = network(X), copied(network)
    assert torch.equal(copy_of(X), before)
    assert not copy_of.training
    assert list(copy_of.state_dict()) == list(network.state_dict())
    for weight in copy_of.parameters():
        assert weight.requires_grad
        weight += 1
    assert not torch.allclose(copy_of(X), before)
    assert torch.equal(network(X), before)


def test_copies_keep_what_is_shared_and_what_is_hooked():
    tied = DenseAutoencoder(5, 2, 5, (4,), linear_path=False).tie()
    ours, seen = copied(tied), []
    assert len(list(ours.parameters())) == len(list(tied.parameters()))
    ours.encoder.correction.weight.data.zero_()
    assert not ours(randn(3, 5).float()).equal(tied(randn(3, 5).float()))
    assert ours.decoder.encoder is ours.encoder
    tied.register_forward_hook(lambda *arguments: seen.append(1))
    copied(tied)(randn(3, 5).float())
    assert seen == [1]


@torch.no_grad()
def test_affine_maps_are_absorbed(make):
    needs(make(), "absorbs")
    before, X = make(), randn(9, 4)
    weight, shift = randn(N_FEATURES, 4, seed=2), randn(N_FEATURES, seed=3)
    after = copy.deepcopy(before)
    after.absorb_input(weight, shift)
    torch.testing.assert_close(after.encode(X), before.encode(X @ weight.T + shift))
    after = copy.deepcopy(before)
    after.absorb_output(weight.T, shift[:4])
    X = randn(9, N_FEATURES)
    torch.testing.assert_close(after(X), before(X) @ weight + shift[:4])
    scale = weight[:, 0]
    folded = before.folded_encoder(scale, shift)
    torch.testing.assert_close(folded(X), before.encode(scale * X + shift))
    torch.testing.assert_close(before(X), make()(X))  # which is as it was


@torch.no_grad()
def test_codes_are_mapped_and_the_reconstruction_stays(make):
    needs(make(), "absorbs")
    before, after, X = make(), make(), randn(9, N_FEATURES)
    eye = torch.eye(N_COMPONENTS).double()
    weight = randn(N_COMPONENTS, N_COMPONENTS).tril() + 3 * eye
    if before.is_variational:  # codes can change places and signs only
        weight = -eye[[1, 2, 0]]
    mean = randn(N_COMPONENTS, seed=2)
    after.recode(weight, mean)
    Z = before.encode(X)
    torch.testing.assert_close(after.encode(X), (Z - mean) @ weight.T)
    torch.testing.assert_close(after(X), before(X))


@torch.no_grad()
def test_first_codes_are_decoded_alone(make):
    needs(make(), "is_ordered")
    network, smaller, X = make(), make(), randn(9, N_FEATURES)
    smaller.truncate(2)
    Z = network.encode(X)
    torch.testing.assert_close(smaller.encode(X), Z[:, :2])
    torch.testing.assert_close(smaller.decode(Z[:, :2]), network.decode(Z[:, :2]))
