"""Gradients by the chain rule are those of autograd."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from skae import AutoencoderTransformer
from skae._engine.backprop import Backprop, is_plain
from skae._engine.batches import Batch
from skae._engine.objective import Objective
from skae.losses import LOSSES
from skae.losses._likelihoods import resolve_likelihood
from skae.modules import ACTIVATIONS, DenseAutoencoder, DenseVariational
from skae.modules._base import set_generators
from skae.modules._own import OwnNetwork, make_own
from skae.modules._stack import stack

N, P, K = 12, 7, 3


def draw(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


def network(seed=0, **params):
    """An autoencoder all of whose weights are drawn, those that start at zero too."""
    generator = torch.Generator().manual_seed(seed)
    params = {"hidden_layer_sizes": (6, 5), "generator": generator} | params
    module = DenseAutoencoder(P, K, P, **params)
    with torch.no_grad():
        for weight in module.parameters():
            weight.uniform_(-0.5, 0.5, generator=generator)
    return module


def agree(module, loss="squared_error", inputs=None, ends=None, **of_batch):
    """Whether loss, output and gradients are autograd's."""
    loss = LOSSES[loss] if ends is None else LOSSES[loss].with_ends(*ends)
    X = draw(N, P) if inputs is None else inputs
    batch = Batch(X, X if inputs is None else draw(*X.shape[:-1], P), **of_batch)
    objective = Objective(loss)
    other = copy.deepcopy(module)
    output = other(X)
    expected = objective(output, batch)
    expected.backward()
    backprop = Backprop(module, objective)
    for _ in range(2):  # the second time gradients are written over
        found, reconstruction = backprop(X, batch)
        torch.testing.assert_close(found, expected.detach())
        torch.testing.assert_close(reconstruction, output.detach())
        pairs = zip(module.parameters(), other.parameters(), strict=True)
        for weight, its_twin in pairs:
            assert its_twin.grad.abs().sum() > 0
            torch.testing.assert_close(weight.grad, its_twin.grad)


@pytest.mark.parametrize("linear_path", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation, linear_path):
    agree(network(activation=activation, linear_path=linear_path))


@pytest.mark.parametrize("code_activation", ACTIVATIONS)
def test_activations_of_the_code(code_activation):
    agree(network(code_activation=code_activation))


@pytest.mark.parametrize("hidden_layer_sizes", [(), (4,), (6, 5, 4)])
@pytest.mark.parametrize("linear_path", [False, True])
def test_depths(hidden_layer_sizes, linear_path):
    agree(network(hidden_layer_sizes=hidden_layer_sizes, linear_path=linear_path))


@pytest.mark.parametrize("loss", [name for name in LOSSES if not LOSSES[name].statistics])
def test_losses(loss):
    agree(network(), loss)
    agree(network(), loss, weights=draw(N))
    agree(network(), loss, observed=draw(N, P) > 0.3)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber"])
@pytest.mark.parametrize("shape", [(), (2, 1)])
def test_outputs_that_are_held(loss, shape):
    """Ends of some features, which some of the outputs lie beyond."""
    module = stack([network(seed) for seed in range(2)]) if shape else network()
    X = draw(*shape[:1], N, P)
    output = module(X).detach()
    ends = torch.quantile(output, torch.tensor([0.3, 0.6]), dim=-2, keepdim=bool(shape))
    low, high = ends.double().numpy()
    low[..., 5:], high[..., :2] = -np.inf, np.inf
    for is_beyond in (output < torch.tensor(low), output > torch.tensor(high)):
        assert 0 < is_beyond.sum() < is_beyond.numel()
    agree(module, loss, X, ends=(low, high))
    agree(module, loss, X, ends=(low, high), weights=draw(*shape[:1], N) + 0.5)


def test_inputs_that_are_not_the_targets():
    agree(network(), inputs=draw(N, P) + 1)


def test_stacks():
    module = stack([network(seed) for seed in range(4)])
    agree(module, inputs=draw(4, N, P))
    agree(module, inputs=draw(4, N, P), weights=draw(4, N))


def test_bfloat16():
    """As autocast's, which rounds at other places now and then."""
    module = network(hidden_layer_sizes=(16,))
    other, X = copy.deepcopy(module), draw(N, P)
    objective = Objective(LOSSES["squared_error"])
    with torch.autocast("cpu", torch.bfloat16):
        output = other(X)
    loss = objective(output.float(), Batch(X, X))
    loss.backward()
    found, reconstruction = Backprop(module, objective, bfloat16=True)(X, Batch(X, X))
    assert found.dtype == reconstruction.dtype == torch.float32
    torch.testing.assert_close(found, loss.detach(), rtol=0.02, atol=0)
    for weight, its_twin in zip(module.parameters(), other.parameters(), strict=True):
        assert weight.dtype == weight.grad.dtype == torch.float32
        scale = its_twin.grad.abs().max().item()
        torch.testing.assert_close(weight.grad, its_twin.grad, rtol=0, atol=0.03 * scale)
        exactly = weight.grad.bfloat16().float()
        assert torch.equal(weight.grad, exactly)


def variational(loss, covariance_type, X, seed=0):
    """A variational network all of whose weights are drawn, and its fitted likelihood."""
    found = resolve_likelihood(loss, covariance_type)
    generator = torch.Generator().manual_seed(seed)
    n_constants = P if loss == "squared_error" else 0
    module = DenseVariational(P, K, P, (6, 5), n_constants=n_constants, generator=generator)
    with torch.no_grad():
        for weight in module.parameters():
            weight.uniform_(-0.5, 0.5, generator=generator)
        module.encoder.linear.bias[-1] = 40.0  # beyond the bounds of the logits
    return module, found.fitted(found.measure(X.double().numpy()))


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize(
    ("loss", "covariance_type"),
    [
        ("squared_error", "diag"),
        ("squared_error", "spherical"),
        ("binary_cross_entropy", "diag"),
        ("poisson", "diag"),
    ],
)
def test_codes_that_are_drawn(loss, covariance_type, bfloat16, n_members):
    X = draw(N, P).round() if loss != "squared_error" else draw(N, P)
    X[:, 2] = 1.0  # a constant feature
    members = [variational(loss, covariance_type, X, seed) for seed in range(n_members)]
    likelihood = members[0][1]
    module = members[0][0] if n_members == 1 else stack([m for m, _ in members])
    X = X if n_members == 1 else X.expand(n_members, N, P)
    assert is_plain(module)
    batch = Batch(X, X, draw(*X.shape[:-1]))
    objective = Objective(likelihood, beta=0.7)
    other = copy.deepcopy(module)
    set_generators(other, 0, "cpu")
    expected, output = objective.step(other, batch)
    expected.backward()
    backprop = Backprop(module, objective, bfloat16)
    for _ in range(2):
        set_generators(module, 0, "cpu")
        found, reconstruction = backprop(X, batch)
        rtol = 0.03 if bfloat16 else 1e-5
        torch.testing.assert_close(found, expected.detach(), rtol=rtol, atol=0)
        atol = 0.05 if bfloat16 else 1e-5
        torch.testing.assert_close(reconstruction, output.detach(), rtol=rtol, atol=atol)
        pairs = zip(module.parameters(), other.parameters(), strict=True)
        for weight, its_twin in pairs:
            error = (weight.grad - its_twin.grad).abs().max()
            assert error <= (0.06 if bfloat16 else 1e-5) * its_twin.grad.abs().max()


def test_what_is_left_to_autograd():
    assert is_plain(network())
    others = [{"dropout": 0.1}, {"normalization": "layer"}, {"ordered": True}]
    others += [{"n_constants": 2}]
    assert not any(is_plain(network(**params)) for params in others)
    assert not is_plain(network(linear_path=False).tie())
    own = make_own(lambda *widths: network(dropout=0.1), P, K, P, torch.device("cpu"), "")
    assert not is_plain(own)
    assert is_plain(OwnNetwork(network()))
    assert not is_plain(OwnNetwork(nn.Linear(2, 2)))
    odd = [network() for _ in range(7)]
    next(odd[0].parameters()).requires_grad_(False)
    next(odd[1].parameters()).register_hook(print)
    odd[2].encoder.hidden.register_forward_hook(print)
    odd[3].decoder.linear.register_full_backward_hook(print)
    nn.utils.parametrizations.weight_norm(odd[4].encoder.linear)
    odd[5].more = nn.Parameter(torch.zeros(1))
    odd[6].decoder.hidden[0].bias = odd[6].encoder.hidden[0].bias
    odd.append(type("Mine", (DenseAutoencoder,), {})(P, K, P, (4,)))
    assert not any(map(is_plain, odd))


def test_gradients_that_are_taken_away():
    """As `optimizer.zero_grad()` does in a callback."""
    module, X = network(), draw(N, P)
    backprop = Backprop(module, Objective(LOSSES["squared_error"]))
    backprop(X, Batch(X, X))
    expected = [weight.grad.clone() for weight in module.parameters()]
    for weight in module.parameters():
        weight.grad = None
    backprop(X, Batch(X, X))
    found = [weight.grad for weight in module.parameters()]
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("n_samples", [60, 1200])
def test_fits_are_those_of_autograd(monkeypatch, n_samples):
    """Up to rounding: over three epochs, for one network and for a stack."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, 3)) @ rng.normal(size=(3, 8))
    X += np.sin(3 * X[:, :1])

    def fit():
        params = {"max_epochs": 3, "n_iter_no_change": 3, "random_state": 0}
        return AutoencoderTransformer(2, **params).fit(X)

    by_hand = fit()
    monkeypatch.setattr("skae._engine.skorch_net.is_plain", lambda module: False)
    by_autograd = fit()
    np.testing.assert_allclose(
        by_hand.validation_curve_, by_autograd.validation_curve_, rtol=1e-4
    )
    np.testing.assert_allclose(by_hand.transform(X), by_autograd.transform(X), atol=1e-3)
