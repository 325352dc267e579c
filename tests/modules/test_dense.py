"""Networks: shapes, starts, folding of linear maps, stacks."""

import copy

import pytest
import torch

from skae.modules import ACTIVATIONS, DenseAutoencoder, Dropout, Linear, Mapping
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


def mapping(hidden, linear_path, dropout=0.0):
    return Mapping(4, 3, hidden, "tanh", dropout, linear_path, generator())


MAPPINGS = [((), True), ((), False), ((5,), True), ((5,), False), ((6, 5), True)]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("linear_path", [True, False])
def test_dense_autoencoder_shapes(activation, linear_path):
    ae = DenseAutoencoder(
        7, 2, 5, (6, 4), activation=activation, linear_path=linear_path, dropout=0.1
    )
    X = torch.randn(9, 7)
    assert ae.encode(X).shape == (9, 2)
    assert ae.decode(ae.encode(X)).shape == (9, 5)
    ae.eval()
    assert torch.equal(ae(X), ae.decode(ae.encode(X)))
    widths = [layer.weight.shape[0] for layer in ae.modules() if isinstance(layer, Linear)]
    assert {6, 4} <= set(widths)


@pytest.mark.parametrize("code_activation", ACTIVATIONS)
def test_code_activation(code_activation):
    ae = DenseAutoencoder(4, 3, 4, code_activation=code_activation, generator=generator())
    X = torch.randn(5, 4, generator=generator(1))
    assert torch.equal(ae.encode(X), ACTIVATIONS[code_activation]()(ae.encoder(X)))


@pytest.mark.parametrize(("hidden", "linear_path"), MAPPINGS)
def test_linear_path_starts_alone(hidden, linear_path):
    f, X = mapping(hidden, linear_path), torch.randn(9, 4, generator=generator(1))
    if f.linear is not None:
        assert torch.equal(f(X), f.linear(X))
    else:
        assert torch.equal(f(X), f.correction(f.hidden(X)))
        assert f(X).std() > 0


@pytest.mark.parametrize(("hidden", "linear_path"), MAPPINGS)
@pytest.mark.parametrize("parts", ["weight", "shift", "both"])
def test_absorb(hidden, linear_path, parts):
    f = perturbed(mapping(hidden, linear_path))
    W_in, c_in = randn(4, 6, seed=3), randn(4, seed=4)
    W_out, c_out = randn(2, 3, seed=5), randn(2, seed=6)
    if parts == "weight":
        c_in = c_out = None
    if parts == "shift":
        W_in = W_out = None
    X = randn(9, 4 if W_in is None else 6, seed=7)
    inner = X if W_in is None else X @ W_in.T
    inner = inner if c_in is None else inner + c_in
    expected = f(inner)
    expected = expected if W_out is None else expected @ W_out.T
    if c_out is not None and W_out is None:
        c_out = randn(3, seed=6)
    expected = expected if c_out is None else expected + c_out
    f.absorb_input(W_in, c_in)
    f.absorb_output(W_out, c_out)
    torch.testing.assert_close(f(X), expected)


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


def test_weights_are_drawn_privately():
    state = torch.get_rng_state()
    ones = [DenseAutoencoder(5, 2, 5, (4,), generator=generator(s)) for s in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    same, equal, other = (m.encoder.hidden[0].weight for m in ones)
    assert torch.equal(same, equal)
    assert not torch.equal(same, other)


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


# -- tied weights ----------------------------------------------------------------------


def plain(**params):
    generator = torch.Generator().manual_seed(0)
    settings = {"linear_path": False, "generator": generator} | params
    return DenseAutoencoder(6, 2, 6, (5, 4), **settings)


@pytest.mark.parametrize("normalization", [None, "layer", "batch"])
@pytest.mark.parametrize("members", [1, 3])
def test_untied_is_as_tied(normalization, members):
    module = plain(normalization=normalization, dropout=0.1).tie()
    if members > 1:
        module = stack([module] * members)
    module.eval()
    Z = torch.randn(members, 7, 2) if members > 1 else torch.randn(7, 2)
    expected = module.decode(Z)
    names = set(plain(normalization=normalization, dropout=0.1).state_dict())
    untied = module.untie()
    torch.testing.assert_close(untied.decode(Z), expected)
    assert set(untied.state_dict()) == names


def test_tied_weights_are_trained_once():
    module = plain().tie()
    n_weights = sum(p.numel() for p in module.parameters() if p.ndim == 2)
    assert n_weights == 6 * 5 + 5 * 4 + 4 * 2
    X = torch.randn(7, 6)
    module(X).square().sum().backward()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter -= 0.01 * parameter.grad
    untied = copy.deepcopy(module).untie()
    weights = [layer.weight for layer in untied.modules() if isinstance(layer, Linear)]
    for of_encoder, of_decoder in zip(weights[:3], weights[:2:-1], strict=True):
        assert torch.equal(of_encoder, of_decoder.T)
    torch.testing.assert_close(untied(X), module(X))
