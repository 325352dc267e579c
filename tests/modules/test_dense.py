"""Networks: shapes, starts, folding of linear maps."""

import copy

import pytest
import torch
from torch import nn

from skae._torch import NoStates, PrivateStates
from skae.modules import ACTIVATIONS, DenseAutoencoder, Linear, Mapping
from skae.modules._own import OwnNetwork


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


def test_weights_are_drawn_privately():
    state = torch.get_rng_state()
    ones = [DenseAutoencoder(5, 2, 5, (4,), generator=generator(s)) for s in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    same, equal, other = (m.encoder.hidden[0].weight for m in ones)
    assert torch.equal(same, equal)
    assert not torch.equal(same, other)


# -- what a network can do -------------------------------------------------------------


def test_a_linear_path_is_written():
    weight, back, bias = randn(2, 3, seed=3), randn(5, 2, seed=4), randn(7, seed=5)
    network = perturbed(DenseAutoencoder(4, 2, 5, n_constants=2, ordered=True))
    network.set_linear(weight, back, bias)
    X = randn(9, 4)
    expected = X[:, :3] @ weight.T @ back.T + bias[:5]
    found = network.eval()(X)
    torch.testing.assert_close(found[:, :5], expected)
    torch.testing.assert_close(found[:, 5:], bias[5:].expand(9, 2))


def test_maps_are_absorbed():
    """Before, behind, and of the codes; the network of one's own is left as it is."""
    before, X = perturbed(DenseAutoencoder(4, 2, 5, (3,))), randn(9, 6)
    W, c = randn(4, 6, seed=3), randn(4, seed=4)
    V, d = randn(3, 5, seed=5), randn(3, seed=6)
    network = copy.deepcopy(before)
    network.absorb_input(W, c)
    network.absorb_output(V, d)
    torch.testing.assert_close(network(X), before(X @ W.T + c) @ V.T + d)
    scale = randn(4, seed=7)
    folded = before.folded_encoder(scale, c)
    torch.testing.assert_close(folded(X[:, :4]), before.encode(X[:, :4] * scale + c))


def test_what_networks_declare():
    dense = DenseAutoencoder(4, 2, 4)
    assert dense.is_stackable
    assert dense.absorbs
    assert dense.unwrapped is dense
    assert dense.paths == (dense.encoder, dense.code, dense.decoder)
    assert not dense.is_ordered
    assert DenseAutoencoder(4, 2, 4, ordered=True).is_ordered
    others = (
        DenseAutoencoder(4, 2, 4, ordered=True),
        DenseAutoencoder(4, 2, 4, n_constants=1),
    )
    subclass = type("Mine", (DenseAutoencoder,), {})(4, 2, 4)
    assert [network.paths for network in (*others, subclass)] == [None] * 3
    assert type(dense.private_states(0, "cpu")) is NoStates
    assert type(subclass.private_states(0, "cpu")) is PrivateStates
    own = OwnNetwork(nn.Module())
    assert own.has_own_code
    declared = own.is_stackable, own.absorbs, own.takes_marks, own.has_linear_path
    assert not any(declared)
    assert own.paths is None


def test_rate_and_weight_decay_that_suit_the_sizes():
    small = DenseAutoencoder(100, 2, 100, (512, 8))
    wide = DenseAutoencoder(100, 2, 100, (8, 2048), linear_path=False).tie()
    none = DenseAutoencoder(300, 2, 300)
    nets = small, wide, none
    assert [net.lr(256) for net in nets] == [1.5e-2 / 2, 1.5e-2 / 8, 1.5e-2]
    assert [net.lr(1024) for net in nets] == [1.5e-2, 1.5e-2 / 4, 1.5e-2]
    assert [net.weight_decay for net in nets] == [0.5, 0.5, 0.75]
