"""Noises: as much as they say, where they say, from the generator given."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from skae import noise
from skae.noise import GaussianNoise, SwapNoise, Units, resolve_noise

RECIPES = [*noise.NOISES.values()]
CELLWISE = [recipe for recipe in RECIPES if "rate" in recipe().get_params()]
P = 5
UNITS = Units(
    zero=torch.linspace(-9, -8, P, dtype=torch.float64),
    low=torch.full((P,), -7.0),
    high=torch.linspace(7, 8, P),
    one=0.5,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=[(4000, P), (3, 1500, P)], ids=["one", "stack"])
def batch(request):
    return torch.randn(request.param, generator=generator(1))


@pytest.mark.parametrize("recipe", RECIPES)
def test_contract(recipe, batch):
    before = batch.clone()
    state = torch.random.get_rng_state()
    source = generator()
    X = recipe()(batch, UNITS, source)
    assert torch.equal(batch, before)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (X.shape, X.dtype) == (batch.shape, batch.dtype)
    assert X.data_ptr() != batch.data_ptr()
    assert not torch.equal(X, batch)
    assert not torch.equal(X, recipe()(batch, UNITS, source))
    assert torch.equal(X, recipe()(batch, UNITS, generator()))


@pytest.mark.parametrize("recipe", RECIPES)
def test_none_at_zero(recipe, batch):
    (name,) = recipe().get_params()
    assert torch.equal(recipe(**{name: 0.0})(batch, UNITS, generator()), batch)


@pytest.mark.parametrize("recipe", RECIPES)
def test_one_row_is_safe(recipe):
    assert recipe()(torch.zeros(1, P), UNITS, generator()).isfinite().all()


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("recipe", CELLWISE)
def test_rate(recipe, rate, batch):
    changed = recipe(rate)(batch, UNITS, generator()) != batch
    n = changed.numel() / P
    by_feature = changed.reshape(-1, P).double().mean(0)
    assert (by_feature - rate).abs().max() <= 4 * np.sqrt(rate * (1 - rate) / n)
    pairs = changed[..., 0] & changed[..., 1]  # cells are independent of each other
    deviation = np.sqrt(rate**2 * (1 - rate**2) / n)
    assert abs(float(pairs.double().mean()) - rate**2) <= 4 * deviation


def test_gaussian(batch):
    noise = GaussianNoise(0.3)(batch, UNITS, generator()) - batch
    expected, n = 0.3 * 0.5, noise.numel()
    assert abs(float(noise.mean())) < 4 * expected / np.sqrt(n)
    assert abs(float(noise.std()) / expected - 1) < 4 / np.sqrt(2 * n)


def test_landmarks(batch):
    changed = noise.MaskingNoise(1.0)(batch, UNITS, generator())
    torch.testing.assert_close(changed, UNITS.zero.float().expand_as(batch))
    changed = noise.SaltAndPepperNoise(1.0)(batch, UNITS, generator())
    is_high = changed == UNITS.high
    assert (is_high | (changed == UNITS.low)).all()
    share = float(is_high.double().mean())
    assert abs(share - 0.5) < 4 * np.sqrt(0.25 / changed.numel())


def test_swap_takes_from_the_same_feature_and_member():
    X = torch.arange(2 * 30 * P).reshape(2, 30, P).double()
    changed = SwapNoise(1.0)(X, UNITS, generator())
    assert (changed != X).all()
    assert torch.equal(changed % P, X % P)
    assert torch.equal(changed // (30 * P), X // (30 * P))
    assert len((changed - X).unique()) > 20


@pytest.mark.parametrize("recipe", RECIPES)
def test_resolve(recipe):
    given = recipe(0.2)
    assert resolve_noise(given) is given
    assert clone(given).get_params() == given.get_params()
    for value in (-0.1, "much", None):
        with pytest.raises(ValueError, match=f"of {recipe.__name__} must be"):
            resolve_noise(recipe(value))


def test_resolve_numbers():
    assert resolve_noise(None) is None
    found = resolve_noise(0.25)
    assert isinstance(found, GaussianNoise)
    assert found.scale == 0.25
    with pytest.raises(ValueError, match="scale"):
        resolve_noise(-1.0)


@pytest.mark.parametrize("value", ["gaussian", True, GaussianNoise, print])
def test_resolve_refuses(value):
    with pytest.raises(TypeError, match="noise of AE must be None, a float"):
        resolve_noise(value, "AE")
