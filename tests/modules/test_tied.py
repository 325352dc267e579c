"""Tied weights: one set for encoder and decoder, and apart again."""

import copy

import pytest
import torch

from skae.modules import DenseAutoencoder, Linear
from skae.modules._stack import stack


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
    assert all(weight.is_contiguous() for weight in untied.parameters())


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
