"""Copies of a network in other precisions."""

import numpy as np
import pytest
import torch

from skae import AutoencoderTransformer
from skae._model.precisions import Precisions
from skae.modules import DenseAutoencoder


def network(**params):
    generator = torch.Generator().manual_seed(0)
    return DenseAutoencoder(5, 2, 5, (4,), generator=generator, **params).eval()


def test_a_copy_is_made_when_it_is_asked_for():
    single = network()
    modules = Precisions(single)
    assert modules[torch.float32] is single
    assert set(modules) == {torch.float32}
    double = modules[torch.float64]
    assert modules[torch.float64] is double
    for one, other in zip(single.parameters(), double.parameters(), strict=True):
        assert other.dtype == torch.float64
        assert torch.equal(one.double(), other)
    modules.forget()
    assert set(modules) == {torch.float32}
    assert modules[torch.float64] is not double


@pytest.mark.parametrize("params", [{}, {"ordered": True}], ids=str)
def test_what_decodes_gives_the_same_numbers(params):
    modules = Precisions(network(**params))
    decoder, Z = modules.decoder(), torch.ones(3, 2, dtype=torch.float64)
    assert modules.decoder() is decoder
    assert set(modules) == {torch.float32}
    assert torch.equal(decoder.decode(Z), modules[torch.float64].decode(Z))
    assert modules.decoder() is modules[torch.float64]


def test_copies_can_be_made_in_inference_mode():
    modules = Precisions(network())
    with torch.inference_mode():
        double = modules[torch.float64]
    assert not any(weight.is_inference() for weight in double.parameters())


def test_a_fit_leaves_no_copies_and_all_methods_agree():
    X = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    ae = AutoencoderTransformer(2, max_epochs=3, early_stopping=False, random_state=0)
    inference = ae.fit(X)._inference
    assert set(inference.modules) == {torch.float32}
    assert inference.folded == {"float32": None, "float64": None}
    Z = ae.transform(X.astype(np.float64))
    assert set(inference.modules) == {torch.float32}, "the folded encoder is enough"
    np.testing.assert_allclose(ae.transform(X), Z, rtol=1e-4, atol=1e-5)
    assert inference.folded["float64"] is not None
