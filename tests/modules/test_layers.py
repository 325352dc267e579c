"""Layers: dropout, and the nested dropout of ordered codes."""

import numpy as np
import pytest
import torch

from skae.modules import DenseAutoencoder, Dropout, Nested
from skae.modules._stack import stack


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def known(nested, n, *members):
    """How many codes of n rows the layer lets through."""
    k = nested.shift.shape[-1]
    out = nested(torch.ones(*members, n, k))
    codes, marks = out[..., :k], out[..., k:]
    assert torch.equal(codes, 1 - marks)
    assert (codes.diff(dim=-1) <= 0).all()  # the first of them
    return codes.sum(-1).long()


@pytest.mark.parametrize("shares", [None, [0.5, 0.3, 0.15, 0.05], [0.0, 0.0, 0.0, 1.0]])
@pytest.mark.parametrize("n", [1, 7, 20, 1000])
def test_the_draw_is_systematic(shares, n):
    """Each number of codes comes n times its share, rounded up or down."""
    nested = Nested(4).train()
    nested.generator = generator()
    nested.shares = None if shares is None else torch.tensor(shares, dtype=torch.float64)
    expected = n * np.array([0.25] * 4 if shares is None else shares)
    total = np.zeros(4)
    for _ in range(200):
        counts = np.bincount(known(nested, n), minlength=5)[1:]
        assert (np.abs(counts - expected) < 1 + 1e-3).all()
        total += counts
    # The start of a draw is uniform: counts are right in the mean.
    np.testing.assert_allclose(total / 200, expected, atol=4 * 0.5 / np.sqrt(200))


def test_the_draw_is_private():
    draws = []
    for seed in (0, 0, 1):
        nested = Nested(5).train()
        nested.generator = generator(seed)
        torch.rand(3)
        state = torch.random.get_rng_state()
        draws.append([known(nested, 6) for _ in range(50)])
        assert torch.equal(torch.random.get_rng_state(), state)
    first, again, other = map(torch.stack, draws)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_members_of_a_stack_draw_for_themselves():
    module = DenseAutoencoder(4, 3, 4, ordered=True, generator=generator())
    nested = stack([module, module]).nested.train()
    nested.generator = generator()
    draws = torch.stack([known(nested, 4, 2) for _ in range(20)])
    assert draws.shape == (20, 2, 4)
    assert not torch.equal(draws[:, 0], draws[:, 1])


def test_nothing_is_drawn_in_evaluation():
    nested = Nested(3).eval()
    Z = torch.tensor([[1.0, 2.0, 3.0]])
    assert nested(Z).tolist() == [[1, 2, 3, 0, 0, 0]]
    assert nested(Z[:, :2]).tolist() == [[1, 2, 0, 0, 0, 1]]
    assert nested(Z[:, :1]).tolist() == [[1, 0, 0, 0, 1, 1]]


@pytest.fixture
def module():
    """A network whose weights are all at work, in float64."""
    module = DenseAutoencoder(5, 3, 5, (7,), ordered=True, generator=generator()).double()
    for parameter in module.parameters():
        noise = torch.randn(parameter.shape, generator=generator(1), dtype=torch.float64)
        parameter.data += 0.3 * noise
    return module.eval()


X = torch.randn(9, 5, generator=generator(2), dtype=torch.float64)


def outputs(module):
    Z = module.encode(X)
    return [module.decode(Z[:, :k]) for k in range(1, Z.shape[1] + 1)]


def test_recode_changes_codes_and_no_output(module):
    Z, before = module.encode(X), outputs(module)
    weight = torch.randn(3, 3, generator=generator(3), dtype=torch.float64).tril()
    mean = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    for _ in range(2):  # a second time, from a weight that is no identity
        module.recode(weight, mean)
        Z = (Z - mean) @ weight.T
        torch.testing.assert_close(module.encode(X), Z)
        torch.testing.assert_close(outputs(module), before)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_truncate_a_module(module, k):
    weight = torch.randn(3, 3, generator=generator(3), dtype=torch.float64).tril()
    module.recode(weight, torch.ones(3, dtype=torch.float64))
    Z, before = module.encode(X), outputs(module)
    module.truncate(k)
    torch.testing.assert_close(module.encode(X), Z[:, :k])
    torch.testing.assert_close(outputs(module), before[:k])
    fresh = DenseAutoencoder(5, k, 5, (7,), ordered=True).double().eval()
    fresh.load_state_dict(module.state_dict())
    torch.testing.assert_close(outputs(fresh), before[:k])


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5])
def test_dropout(p):
    layer, X = Dropout(p), torch.ones(200, 100)
    layer.generator = generator()
    state = torch.get_rng_state()
    out = layer(X)
    assert torch.equal(torch.get_rng_state(), state)
    assert (out == 0).float().mean() == pytest.approx(p, abs=0.01)
    assert out.mean() == pytest.approx(1.0, abs=0.02)
    assert out.max() == pytest.approx(1 / (1 - p))
    layer.eval()
    assert torch.equal(layer(X), X)
