"""Regularizers: what they say, with the right gradient, also of stacks."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from torch import nn
from torch.autograd.functional import jacobian

from skae import regularizers
from skae.modules import ACTIVATIONS, DenseAutoencoder
from skae.modules._stack import stack
from skae.regularizers import (
    Contractive,
    KLSparsity,
    L1Code,
    OrthogonalDecoder,
    resolve_regularizers,
)

RECIPES = [*regularizers.REGULARIZERS.values()]


def network(seed, **params):
    params = {"activation": "tanh", "code_activation": "logistic", **params}
    generator = torch.Generator().manual_seed(seed)
    module = DenseAutoencoder(6, 3, 6, (5,), generator=generator, **params).double()
    with torch.no_grad():
        for mapping in (module.encoder, module.decoder):
            mapping.correction.weight.normal_(generator=generator)
    return module


def inputs(*shape):
    generator = torch.Generator().manual_seed(9)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def value(recipe, module, X):
    return recipe(module, X, module.encode(X))


@pytest.mark.parametrize("linear_path", [True, False])
@pytest.mark.parametrize("recipe", RECIPES)
def test_gradient(recipe, linear_path):
    module, X = network(0, linear_path=linear_path), inputs(4, 6)
    penalty = value(recipe(), module, X)
    assert penalty.shape == ()
    assert penalty > 0
    _check_gradient(recipe(), module, X, list(module.parameters()))


def _check_gradient(recipe, module, X, weights):
    """Directional derivatives against differences."""
    generator = torch.Generator().manual_seed(5)
    gradients = torch.autograd.grad(value(recipe, module, X), weights, allow_unused=True)
    for _ in range(3):
        steps = [1e-5 * torch.randn(w.shape, generator=generator).double() for w in weights]
        pairs = zip(gradients, steps, strict=True)
        expected = sum(float((g * s).sum()) for g, s in pairs if g is not None)
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                for w, s in zip(weights, steps, strict=True):
                    w += sign * s
            ends.append(float(value(recipe, module, X).detach()))
            with torch.no_grad():
                for w, s in zip(weights, steps, strict=True):
                    w -= sign * s
        assert (ends[0] - ends[1]) / 2 == pytest.approx(expected, rel=1e-4, abs=1e-10)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_stack_is_the_sum_of_its_members(recipe):
    modules, X = [network(seed) for seed in range(3)], inputs(3, 7, 6)
    expected = sum(value(recipe(), *pair) for pair in zip(modules, X, strict=True))
    torch.testing.assert_close(value(recipe(), stack(modules), X), expected)


@pytest.mark.parametrize("recipe", RECIPES)
def test_its_strength_is_a_factor(recipe):
    module, X = network(0), inputs(4, 6)
    name = "beta" if "beta" in recipe().get_params() else "alpha"
    one, three = (value(recipe(**{name: v}), module, X) for v in (1.0, 3.0))
    torch.testing.assert_close(three, 3 * one)
    assert value(recipe(**{name: 0}), module, X) == 0


def test_l1_code():
    codes = torch.tensor([[1.0, -2.0], [0.0, 4.0]])
    assert float(L1Code(2.0)(None, None, codes)) == 7.0


def test_kl_sparsity():
    codes = torch.tensor([[0.1, 0.5], [0.3, 0.5]], dtype=torch.float64)
    expected = sum(
        0.05 * np.log(0.05 / q) + 0.95 * np.log(0.95 / (1 - q)) for q in (0.2, 0.5)
    )
    assert float(KLSparsity(0.05, 2.0)(None, None, codes)) == pytest.approx(2 * expected)
    at_rho = torch.full((4, 3), 0.05, dtype=torch.float64)
    assert float(KLSparsity(0.05)(None, None, at_rho)) == pytest.approx(0, abs=1e-9)


def test_kl_sparsity_of_saturated_codes():
    codes = torch.tensor([[0.0, 1.0], [0.0, 1.0]], requires_grad=True)
    penalty = KLSparsity()(None, None, codes)
    (gradient,) = torch.autograd.grad(penalty, codes)
    assert penalty.isfinite()
    assert (gradient[:, 0] < 0).all()
    assert (gradient[:, 1] > 0).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_contractive_is_the_norm_of_the_jacobian(activation):
    module, X = network(0, activation=activation), inputs(4, 6)
    expected = np.mean([float(jacobian(module.encode, x).square().sum()) for x in X])
    for given in (X, X.clone().requires_grad_()):
        penalty = value(Contractive(0.5), module, given)
        assert float(penalty.detach()) == pytest.approx(0.5 * expected)
        penalty.backward()
        assert module.encoder.linear.weight.grad.abs().sum() > 0
    assert X.grad is None
    assert not X.requires_grad


def test_contractive_takes_any_module():
    class Users(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 2)

        def encode(self, X):
            return self.layer(X)

    module, X = Users(), inputs(5, 6).float()
    penalty = value(Contractive(1.0), module, X)
    torch.testing.assert_close(penalty, module.layer.weight.square().sum())


@pytest.mark.parametrize("linear_path", [True, False])
def test_orthogonal_decoder(linear_path):
    module = network(0, linear_path=linear_path)
    layer = module.decoder.linear if linear_path else module.decoder.hidden[0]
    columns = layer.weight.detach().T.numpy()
    lengths = np.linalg.norm(columns, axis=1)
    cosines = columns @ columns.T / np.outer(lengths, lengths)
    expected = np.square(cosines - np.eye(3)).sum()
    penalty = OrthogonalDecoder(2.0)(module, None, None).detach()
    assert float(penalty) == pytest.approx(2 * expected)
    with torch.no_grad():
        layer.weight.copy_(torch.linalg.qr(layer.weight)[0] * torch.tensor([1.0, 9.0, 0.0]))
    penalty = OrthogonalDecoder()(module, None, None)
    assert float(penalty.detach()) == pytest.approx(0, abs=1e-12)
    penalty.backward()
    assert layer.weight.grad.isfinite().all()


def test_orthogonal_decoder_needs_our_layers():
    with pytest.raises(ValueError, match=r"OrthogonalDecoder needs .* type Identity"):
        OrthogonalDecoder()(nn.Identity(), None, None)


class Owner(BaseEstimator):
    def __init__(self, regularizer=None):
        self.regularizer = regularizer


@pytest.mark.parametrize("recipe", RECIPES)
def test_resolve(recipe):
    given = recipe()
    assert resolve_regularizers(given, "logistic") == [given]
    assert resolve_regularizers((given, L1Code()), "logistic")[0] is given
    assert clone(given).get_params() == given.get_params()
    owner = Owner(given)
    for name in given.get_params():
        assert f"regularizer__{name}" in owner.get_params(deep=True)
        owner.set_params(**{f"regularizer__{name}": -1.0})
        with pytest.raises(ValueError, match=f"'{name}' parameter of {recipe.__name__}"):
            resolve_regularizers(given, "logistic")
        owner.set_params(**{f"regularizer__{name}": 0.5})


def test_resolve_refuses():
    assert resolve_regularizers(None) == []
    for wrong in ("l1", 0.1, L1Code, [L1Code(), None]):
        with pytest.raises(TypeError, match="regularizer of AE must be None, an instance"):
            resolve_regularizers(wrong, owner="AE")
    with pytest.raises(ValueError, match="code_activation='relu'"):
        resolve_regularizers([KLSparsity()], "relu")
