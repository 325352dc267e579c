"""Networks: shapes, starts, folding of linear maps."""

import pytest
import torch

from skae.modules import ACTIVATIONS, DenseAutoencoder, Linear, Mapping


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
