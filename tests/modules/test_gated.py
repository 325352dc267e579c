"""Any network as the correction of linear maps: what its gates let through, and when."""

import copy

import pytest
import torch
from torch import nn

from skae._torch import NoStates, PrivateStates
from skae.modules import DenseAutoencoder
from skae.modules._gated import SPEED, Gate, GatedAutoencoder, GatedMapping, NumberGate
from skae.modules._own import OwnNetwork
from skae.regularizers import OrthogonalDecoder


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=1):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def mapping(n_marks=0):
    """Four inputs, and marks; three outputs."""
    gate = NumberGate(torch.eye(3))
    return GatedMapping(4 + n_marks, 3, entrance=torch.ones(4), gate=gate).double()


def inner(X):
    return torch.sin(X[..., :3])


def opened(module):
    """The module with every weight moved, so that no term is zero."""
    for j, weight in enumerate(module.parameters()):
        weight.data += randn(*weight.shape, seed=10 + j)
    return module.eval()


# -- one mapping -----------------------------------------------------------------------


def test_a_closed_gate_lets_nothing_through():
    """Neither a wrong number, nor a call, which may take long."""
    f, X = mapping().eval(), randn(5, 4)
    f.linear.weight.data = randn(3, 4)
    assert torch.equal(f(X, None), f.linear(X))
    f.correction.factor.data[:] = 1e-30
    assert torch.isnan(f(X, lambda S: S[:, :3] * torch.nan)).all()


def test_a_closed_gate_learns():
    """In training the correction is computed, because the gate has a slope at zero."""
    f = mapping().train()
    f(randn(5, 4), inner).square().sum().backward()
    assert not f.correction.factor.grad.any()  # an output of zero has no slope
    f.zero_grad()
    (f(randn(5, 4), inner) - 1).square().sum().backward()
    assert f.correction.factor.grad.all()


def test_the_sum_of_both():
    f, X = opened(mapping()), randn(5, 4)
    expected = f.linear(X) + SPEED * f.correction.factor * inner(X)
    torch.testing.assert_close(f(X, inner), expected)


@torch.no_grad()
@pytest.mark.parametrize("weight", [randn(4, seed=2), randn(4, 6, seed=2)])
@pytest.mark.parametrize("shift", [None, randn(4, seed=3)])
def test_the_input_is_absorbed_again_and_again(weight, shift):
    f, X = opened(mapping()), randn(5, weight.shape[-1])
    f.absorb_input(randn(4, seed=5), randn(4, seed=6))
    g = copy.deepcopy(f)
    g.absorb_input(weight, shift)
    mapped = X * weight if weight.ndim == 1 else X @ weight.T
    mapped = mapped if shift is None else mapped + shift
    torch.testing.assert_close(g(X, inner), f(mapped, inner))


@torch.no_grad()
@pytest.mark.parametrize("weight", [None, randn(3, seed=2), randn(2, 3, seed=2)])
@pytest.mark.parametrize("kind", [Gate, NumberGate])
@pytest.mark.parametrize("matrix", [torch.ones(3), torch.eye(3)])
def test_the_output_is_absorbed(weight, matrix, kind):
    f = GatedMapping(4, 3, entrance=torch.ones(4), gate=kind(matrix.clone())).double()
    f, X = opened(f), randn(5, 4)
    g, shift = copy.deepcopy(f), randn(2 if weight is not None and weight.ndim == 2 else 3)
    g.absorb_output(weight, shift)
    mapped = f(X, inner)
    if weight is not None:
        mapped = mapped * weight if weight.ndim == 1 else mapped @ weight.T
    torch.testing.assert_close(g(X, inner), mapped + shift)


@torch.no_grad()
def test_marks_are_no_input_of_the_correction():
    f, X = opened(mapping(n_marks=4)), randn(5, 8)
    marked = X.clone()
    marked[:, 4:] += 1
    seen = []
    for rows in (X, marked):
        f(rows, lambda S: seen.append(S) or inner(S))
    torch.testing.assert_close(*seen)
    assert not torch.equal(f(X, inner), f(marked, inner))  # the linear map sees them
    g = copy.deepcopy(f)
    g.absorb_input(None, torch.cat([randn(4, seed=4), torch.zeros(4).double()]))
    shifted = torch.cat([X[:, :4] + randn(4, seed=4), X[:, 4:]], dim=1)
    torch.testing.assert_close(g(X, inner), f(shifted, inner))


# -- the network -----------------------------------------------------------------------


class WithLoss(nn.Module):
    """Adds a loss to every row, and normalizes rows over a batch."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.norm = nn.BatchNorm1d(n_features)
        self.first = nn.Linear(n_features, n_components)
        self.last = nn.Linear(n_components, n_features)

    def encode(self, X):
        return self.first(self.norm(X))

    def encode_with_loss(self, X):
        Z = self.encode(X)
        return Z, Z.square().sum(-1)

    def decode(self, Z):
        return self.last(Z)


def own(seed=0, **options):
    with PrivateStates(seed):
        module = WithLoss(5, 2)
    network = GatedAutoencoder(OwnNetwork(module, draws=False), 5, 2, **options)
    return opened(network.double())


@torch.no_grad()
def test_the_correction_sees_the_same_rows_and_codes_whatever_is_absorbed():
    """It belongs to a user, who knows it by what it takes and returns."""
    network, X = own(), randn(7, 5)
    seen = network.corrections.encode(X)
    network.absorb_input(torch.full((5,), 2.0).double(), -X.mean(0))
    rows = (X + X.mean(0)) / 2
    torch.testing.assert_close(
        network.corrections.encode(network.encoder.entrance(rows)), seen
    )
    Z = network.encode(rows)
    taken = network.decoder.entrance(Z)
    network.recode(randn(2, 2, seed=4), randn(2, seed=5))
    torch.testing.assert_close(network.decoder.entrance(network.encode(rows)), taken)


@torch.no_grad()
def test_no_shape_changes_when_codes_are_made_canonical():
    """Copies of an estimator load weights into a network that was made anew."""
    network = own()
    before = {name: tensor.shape for name, tensor in network.state_dict().items()}
    network.absorb_input(randn(5), randn(5))
    network.absorb_output(randn(5), randn(5))
    network.recode(randn(2, 2), randn(2))
    after = {name: tensor.shape for name, tensor in network.state_dict().items()}
    assert after == before


def test_the_added_loss_is_that_of_the_correction():
    network, X = own(), randn(7, 5)
    Z, added = network.encode_with_loss(X)
    torch.testing.assert_close(Z, network.encode(X))
    torch.testing.assert_close(added, network.corrections.encode(X).square().sum(-1))


def test_constants_follow_the_output():
    network = own(n_constants=3)
    output = network(randn(7, 5))
    assert output.shape == (7, 8)
    torch.testing.assert_close(output[:, 5:], network.constants.expand(7, 3))


def test_a_regularizer_knows_the_linear_path():
    network = own()
    columns = nn.functional.normalize(network.decoder.linear.weight, dim=0)
    expected = 2 * (columns[:, 0] @ columns[:, 1]) ** 2
    torch.testing.assert_close(OrthogonalDecoder(1.0)(network, None, None), expected)


def test_a_missing_code_is_zero_to_the_correction():
    network, Z = own(ordered=True), randn(7, 2)
    linear = network.decoder.linear
    padded = torch.cat([Z[:, :1], torch.zeros(7, 1).double()], dim=1)
    marked = torch.cat([padded, torch.tensor([0.0, 1.0]).double().expand(7, 2)], dim=1)
    gate = SPEED * network.decoder.correction.factor
    expected = linear(marked) + gate * network.corrections.decode(padded)
    torch.testing.assert_close(network.decode(Z[:, :1]), expected)


def test_global_generators_are_needed_if_the_correction_needs_them():
    draws = DenseAutoencoder(5, 2, 5, linear_path=False)
    cpu = torch.device("cpu")
    assert type(GatedAutoencoder(draws, 5, 2).private_states(0, cpu)) is NoStates
    assert type(own().private_states(0, cpu)) is NoStates
    assert type(own().private_states(0, cpu, training=True)) is PrivateStates
