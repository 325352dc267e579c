"""Stacks: members side by side, each as if it were alone."""

import copy

import pytest
import torch
from torch import nn

from skae.modules import DenseAutoencoder, Linear
from skae.modules._gated import GatedAutoencoder
from skae.modules._own import OwnNetwork
from skae.modules._stack import SideBySide, stack, stack_of_copies, unstack


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=1):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def perturbed(module, seed=2):
    """The module in float64 with every weight moved, so that no term is zero."""
    draw = generator(seed)
    module = module.double()
    for p in module.parameters():
        p.data += 0.3 * torch.randn(p.shape, generator=draw, dtype=p.dtype)
    return module


@pytest.mark.parametrize("linear_path", [True, False])
def test_stack_runs_every_member(linear_path):
    members = [
        perturbed(DenseAutoencoder(5, 2, 5, (4,), linear_path=linear_path), seed)
        for seed in range(3)
    ]
    before = [[p.clone() for p in m.parameters()] for m in members]
    stacked, X = stack(members), randn(3, 8, 5)
    out, codes = stacked(X), stacked.encode(X)
    assert codes.shape == (3, 8, 2)
    for i, member in enumerate(members):
        torch.testing.assert_close(out[i], member(X[i]))
        torch.testing.assert_close(unstack(stacked, i)(X[i]), member(X[i]))
        assert all(map(torch.equal, before[i], member.parameters()))


def test_stacked_gradients_are_each_members_own():
    members = [perturbed(DenseAutoencoder(5, 2, 5, (4,)), seed) for seed in range(2)]
    stacked, X = stack(members), randn(2, 8, 5)
    stacked(X).square().sum().backward()
    for i, member in enumerate(members):
        member(X[i]).square().sum().backward()
        for ours, theirs in zip(stacked.parameters(), member.parameters(), strict=True):
            torch.testing.assert_close(ours.grad[i], theirs.grad)


@torch.no_grad()
@pytest.mark.parametrize("is_own", [False, True])
def test_stack_of_changed_copies(is_own):
    module = DenseAutoencoder(5, 2, 5, (4,), generator=generator())
    if is_own:
        module = OwnNetwork(module)
    module = perturbed(module)
    copies = [copy.deepcopy(module) for _ in range(3)]

    def times(factor):
        return lambda member: [p.mul_(factor) for p in member.parameters()]

    for factor, member in zip((1, 2, 3), copies, strict=True):
        times(factor)(member)
    ours, X = stack_of_copies(module, [*map(times, (1, 2, 3))]), randn(3, 8, 5)
    expected = stack(copies)
    assert torch.equal(ours(X), expected(X))
    assert all(map(torch.equal, module.parameters(), copies[0].parameters()))


def test_unstacked_member_is_independent():
    stacked = stack([Linear(2, 2, generator=generator(s)) for s in range(2)])
    member = unstack(stacked, 0)
    kept = stacked.weight.detach().clone()
    member.weight.data.zero_()
    assert torch.equal(stacked.weight, kept)


# -- networks whose layers cannot be stacked -------------------------------------------


class Normalized(nn.Module):
    """Normalizes over the rows of a batch, and counts them in a buffer."""

    def __init__(self, seed):
        super().__init__()
        self.norm = nn.BatchNorm1d(5)
        self.first = Linear(5, 2, generator=generator(seed))
        self.last = Linear(2, 5, generator=generator(seed + 10))
        self.double()

    def encode(self, X):
        return self.first(self.norm(X))

    def decode(self, Z):
        return self.last(Z)


class Penalized(Normalized):
    def encode_with_loss(self, X):
        Z = self.encode(X)
        return Z, Z.abs().sum(-1)


def gated(kind, seed):
    return perturbed(GatedAutoencoder(OwnNetwork(kind(seed)), 5, 2), seed)


def test_parts_that_cannot_be_stacked_are_put_side_by_side():
    members, X = [gated(Normalized, seed) for seed in range(3)], randn(3, 8, 5)
    before = [copy.deepcopy(m.state_dict()) for m in members]
    stacked = stack(members)
    assert stacked.encoder.linear.weight.shape == (3, 2, 5)
    assert type(stacked.corrections) is SideBySide
    out = stacked.train()(X)
    for i, member in enumerate(members):
        assert all(map(torch.equal, before[i].values(), member.state_dict().values()))
        torch.testing.assert_close(out[i], member.train()(X[i]))
        alone = unstack(stacked, i)
        assert type(alone.corrections) is OwnNetwork
        assert alone.state_dict().keys() == member.state_dict().keys()
        for ours, theirs in zip(
            alone.state_dict().values(), member.state_dict().values(), strict=True
        ):
            torch.testing.assert_close(ours, theirs)  # statistics of the batch too


def test_each_of_them_is_trained_by_its_own_loss():
    members, X = [gated(Penalized, seed) for seed in range(2)], randn(2, 8, 5)
    stacked = stack(members)

    def loss(network, rows):
        Z, added = network.encode_with_loss(rows)
        return network.decode(Z).square().sum() + added.sum()

    loss(stacked, X).backward()
    for i, (member, rows) in enumerate(zip(members, X, strict=True)):
        loss(member, rows).backward()
        of_linear = stacked.encoder.linear.weight.grad[i]
        torch.testing.assert_close(of_linear, member.encoder.linear.weight.grad)
        ours = stacked.corrections.members[i].parameters()
        theirs = member.corrections.parameters()
        for mine, its in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine.grad, its.grad)


def test_nothing_is_added_where_no_member_adds_anything():
    stacked = stack([gated(Normalized, seed) for seed in range(2)])
    assert stacked.encode_with_loss(randn(2, 8, 5))[1] is None


def test_a_network_that_cannot_be_stacked_as_a_whole():
    members, X = [OwnNetwork(Normalized(seed)) for seed in range(2)], randn(2, 8, 5)
    stacked = stack(members)
    torch.testing.assert_close(stacked(X)[1], members[1](X[1]))
    alone = unstack(stacked, 1)
    assert type(alone) is OwnNetwork
    alone.module.last.bias.data.zero_()
    assert stacked.members[1].module.last.bias.any()
