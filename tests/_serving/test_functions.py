"""Activations and special functions against those of torch and scipy."""

import numpy as np
import pytest
import torch
from scipy import special

from skae._serving import functions
from skae.modules import ACTIVATIONS

x = np.concatenate([np.linspace(-40, 40, 20_001), [-1e3, -1e-300, 0.0, 1e-300, 1e3]])


def test_every_activation_is_there():
    assert functions.ACTIVATIONS.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("values", [x, x[::100].reshape(3, -1)], ids=["many", "few"])
def test_activations(name, values):
    expected = ACTIVATIONS[name]()(torch.from_numpy(values.copy())).numpy()
    found = functions.ACTIVATIONS[name](values)
    assert found.shape == values.shape
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-12)
    single = functions.ACTIVATIONS[name](values.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-6, atol=1e-6)


def test_erfc():
    positive = np.concatenate([np.geomspace(1e-12, 30, 9999), [0.0]])
    error = np.abs(functions.erfc(positive) - special.erfc(positive))
    assert error.max() < 1e-13


def test_sigmoid_and_softplus_keep_their_digits_far_from_zero():
    far = np.array([-700.0, -50.0, 50.0, 700.0])
    np.testing.assert_allclose(functions.sigmoid(far), special.expit(far), rtol=1e-14)
    expected = np.logaddexp(0, far)
    np.testing.assert_allclose(functions.softplus(far), expected, rtol=1e-14)


def test_log_gamma():
    values = np.geomspace(1e-3, 1e13, 9999)
    expected = special.gammaln(values)
    np.testing.assert_allclose(
        functions.log_gamma(values), expected, rtol=1e-13, atol=1e-13
    )


def test_log_softmax():
    logits = np.random.default_rng(0).normal(size=(5, 4)) * 300
    expected = special.log_softmax(logits, axis=-1)
    np.testing.assert_allclose(functions.log_softmax(logits), expected, rtol=1e-13)


def test_log_tail():
    values = np.concatenate([np.linspace(-40, 40, 4001), [-1e3, 1e3, 0.0, 1e-9]])
    found, expected = functions.log_tail(values), special.log_ndtr(-values)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-300)


def test_log_sum_exp():
    values = np.random.default_rng(0).normal(size=(5, 4)) * 300
    expected = special.logsumexp(values, axis=1)
    np.testing.assert_allclose(functions.log_sum_exp(values), expected, rtol=1e-13)
