# ruff: noqa: NPY002 - the legacy global generator is what scikit-learn draws from
"""Chance: the same seed gives the same bits, and the world is left as it was found."""

import random

import joblib
import numpy as np
import pytest
import torch
from torch import nn

from skae import AutoencoderTransformer

SETTINGS = [
    {"n_components": 2},
    {"n_components": 2, "dropout": 0.3},
    {"n_components": 8, "init": "random", "dropout": 0.3},
    {"n_components": 2, "early_stopping": False, "hidden_layer_sizes": (300,)},
]


class Torchs(nn.Module):
    """A module with torch's own layers, which draw from the global generator."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(n_features, n_components), nn.Dropout(0.2))
        self.decode = nn.Linear(n_components, n_features)

    def forward(self, X):
        return self.decode(self.encode(X))


def estimator(seed=0, **params):
    return AutoencoderTransformer(**{"max_epochs": 3} | params, random_state=seed)


def codes(X, seed=0, **params):
    return estimator(seed, **params).fit(X).transform(X)


settings = pytest.mark.parametrize("params", SETTINGS, ids=str)


@settings
def test_same_seed_same_bits(curved, params):
    first = codes(curved, **params)
    torch.rand(3)  # global generators that have moved on make no difference
    np.random.random(3)
    assert np.array_equal(first, codes(curved, **params))
    assert not np.array_equal(first, codes(curved, seed=1, **params))


def test_a_fit_again_forgets_the_last(curved):
    ae = estimator(n_components=2, dropout=0.3)
    first = ae.fit_transform(curved)
    assert np.array_equal(first, ae.fit_transform(curved))


def test_module_same_bits(curved):
    params = {"n_components": 2, "module": Torchs}
    first = codes(curved, **params)
    torch.rand(3)
    assert np.array_equal(first, codes(curved, **params))
    assert not np.array_equal(first, codes(curved, seed=1, **params))


# Processes by default: `test_joblib` of test_concurrency.py.
@pytest.mark.parametrize(
    "backend", [pytest.param("loky", marks=pytest.mark.nightly), "threading"]
)
def test_same_bits_in_parallel(curved, digits, backend):
    tasks = [(curved, params) for params in SETTINGS]
    tasks += [(digits[0][:1100], {"n_components": 16, "dropout": 0.1, "max_epochs": 1})]
    alone = [codes(X, **params) for X, params in tasks]
    # The methods are skae's own, so that workers need not import this file.
    calls = [
        joblib.delayed(estimator(**params).fit_transform)(np.array(X))
        for X, params in tasks * 2
    ]
    together = joblib.Parallel(n_jobs=2, backend=backend)(calls)
    same = [np.array_equal(*pair) for pair in zip(alone * 2, together, strict=True)]
    assert all(same), same


def test_none_draws_from_numpys_global_generator(curved):
    results = []
    kept = np.random.get_state()
    try:
        for seed in (0, 0, 1):
            np.random.seed(seed)
            results.append(codes(curved, None, n_components=2, early_stopping=False))
            assert np.random.get_state()[2] != np.random.RandomState(seed).get_state()[2]
    finally:
        np.random.set_state(kept)
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_random_state_instance_is_drawn_from(curved):
    params = {"n_components": 2, "early_stopping": False}
    random_state = np.random.RandomState(0)
    first, second = (codes(curved, random_state, **params) for _ in range(2))
    assert np.array_equal(first, codes(curved, np.random.RandomState(0), **params))
    assert not np.array_equal(first, second)


def world():
    """All that a fit could leave changed, in a form that == compares."""
    name, keys, *rest = np.random.get_state()
    return {
        "numpy": (name, keys.tobytes(), *rest),
        "random": random.getstate(),
        "torch": torch.get_rng_state().numpy().tobytes(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "numpy errors": np.geterr(),
    }


@pytest.mark.parametrize(
    "params",
    [*SETTINGS, {"n_components": 2, "module": Torchs}, {"loss": "binary_cross_entropy"}],
    ids=str,
)
def test_the_world_is_left_as_found(curved, params):
    X = (curved - curved.min()) / (curved.max() - curved.min())
    kept, before = X.copy(), world()
    ae = estimator(**params).fit(X)
    assert world() == before
    ae.inverse_transform(ae.transform(X))
    ae.score(X)
    assert world() == before
    assert np.array_equal(X, kept)


def test_a_failed_fit_leaves_the_world_as_found(curved):
    def broken(n_features, n_components):
        torch.rand(3)
        raise RuntimeError("of the module")

    before = world()
    with pytest.raises(RuntimeError, match="of the module"):
        estimator(n_components=2, module=broken).fit(curved)
    assert world() == before


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_default_dtype_makes_no_difference(curved, dtype):
    expected = codes(curved, n_components=2)
    torch.set_default_dtype(dtype)
    try:
        assert np.array_equal(codes(curved, n_components=2), expected)
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)
