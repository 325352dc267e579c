"""bfloat16 in training: never in what comes after, and never where it would harm."""

import numpy as np
import pytest
import torch

from skae import AutoencoderTransformer
from skae._training import settings
from skae.modules import DenseAutoencoder


def curve(n_samples=600, n_features=24):
    """Rows (n_samples, n_features) on a curved surface of two dimensions."""
    rng = np.random.default_rng(0)
    t = rng.uniform(-1, 1, size=(n_samples, 2))
    waves = np.c_[t, np.sin(3 * t), np.cos(3 * t), t**2]
    return waves @ rng.normal(size=(8, n_features)) + 0.02 * rng.normal(size=(n_samples, 1))


@pytest.fixture(scope="module")
def fits():
    X = curve()
    return X, {
        precision: AutoencoderTransformer(
            2, precision=precision, max_epochs=20, random_state=0
        ).fit(X)
        for precision in ("float32", "bfloat16")
    }


def test_equal_error(fits):
    X, by_precision = fits
    errors = {name: -ae.score(X) for name, ae in by_precision.items()}
    assert by_precision["bfloat16"].net_.bfloat16
    assert not by_precision["float32"].net_.bfloat16
    assert errors["bfloat16"] != errors["float32"]
    assert errors["bfloat16"] < 1.25 * errors["float32"]
    assert errors["bfloat16"] < 0.8 * -by_precision["float32"].pca_score_


def test_the_outcome_is_in_full_precision(fits):
    X, by_precision = fits
    ae = by_precision["bfloat16"]
    assert {p.dtype for p in ae.net_.module_.parameters()} == {torch.float32}
    assert ae.transform(X).dtype == np.float64
    alone = ae.transform(X[:1])
    np.testing.assert_allclose(alone, ae.transform(X)[:1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("precision", "hardware", "n_hidden", "left", "expected"),
    [
        ("auto", True, 2000, True, True),
        ("auto", False, 2000, True, False),
        ("auto", True, 8, True, False),
        ("auto", True, 2000, False, False),
        ("bfloat16", False, 8, False, True),
        ("float32", True, 2000, True, False),
    ],
)
def test_when_it_is_used(monkeypatch, precision, hardware, n_hidden, left, expected):
    monkeypatch.setattr(settings, "has_fast_bfloat16", lambda device: hardware)
    X = curve(1200)
    if not left:
        X = np.outer(X[:, 0], np.arange(1.0, 25)) + 1e-4 * X
    ae = AutoencoderTransformer(
        1, precision=precision, hidden_layer_sizes=(n_hidden,), batch_size=600, max_epochs=1
    )
    assert ae.fit(X).net_.bfloat16 == expected


def test_never_worse_than_pca():
    X = np.random.default_rng(1).normal(size=(80, 12))
    ae = AutoencoderTransformer(4, precision="bfloat16", random_state=0).fit(X)
    assert ae.best_epoch_ == 0


@pytest.mark.parametrize("params", [{}, {"standardize": True}, {"whiten": True}])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_centring_in_the_first_layer_changes_no_code(params, dtype):
    X = np.random.default_rng(0).normal(3.0, [0.5, 1, 2, 3, 4], size=(300, 5))
    X[:, 4] = X[:, 0] * X[:, 1]
    X = X.astype(dtype)
    ae = AutoencoderTransformer(2, max_epochs=3, random_state=0, **params).fit(X)
    assert set(ae._inference.folded) == {"float32", "float64"}
    Z = ae.transform(X)
    ae._inference.folded = {}
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(Z, ae.transform(X), atol=100 * eps * np.abs(Z).max())


def test_means_far_from_zero_are_taken_off_in_float64():
    X = np.random.default_rng(0).normal(size=(300, 5)) + 1e4
    ae = AutoencoderTransformer(2, max_epochs=3, random_state=0).fit(X)
    assert not ae._inference.folded
    Z = ae.transform(X)
    X = X.astype(np.float32)  # which rounds to a thousandth
    np.testing.assert_allclose(ae.transform(X), Z, atol=1e-2)


class Logarithmic(DenseAutoencoder):
    """A module of a user's that does something to scaled rows before it encodes them."""

    def encode(self, X):
        return super().encode(torch.asinh(X))


def test_modules_of_a_users_see_scaled_rows():
    X = np.random.default_rng(0).normal(3.0, 1.0, size=(300, 5))
    params = {"module": lambda p, k: Logarithmic(p, k, p, (4,)), "max_epochs": 2}
    ae = AutoencoderTransformer(2, random_state=0, **params).fit(X)
    with torch.inference_mode():
        scaled = torch.from_numpy((X - ae.mean_) / ae.scale_).float()
        Z = ae.net_.module_.encode(scaled).numpy() * ae.scale_
    np.testing.assert_allclose(ae.transform(X), Z, rtol=1e-3, atol=1e-4)
