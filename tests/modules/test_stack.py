"""Stacks: members side by side, each as if it were alone."""

import pytest
import torch

from skae.modules import DenseAutoencoder, Linear
from skae.modules._stack import stack, unstack


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


def test_unstacked_member_is_independent():
    stacked = stack([Linear(2, 2, generator=generator(s)) for s in range(2)])
    member = unstack(stacked, 0)
    kept = stacked.weight.detach().clone()
    member.weight.data.zero_()
    assert torch.equal(stacked.weight, kept)
