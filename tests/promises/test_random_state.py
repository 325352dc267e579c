# ruff: noqa: NPY002 - the legacy global generator is what scikit-learn draws from
"""Chance: the same seed gives the same bits, and the world is left as it was found."""

import pickle
import random

import joblib
import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from skae import AutoencoderTransformer
from skae._engine.batches import Rows
from skae._engine.objective import Objective
from skae._torch import NoStates, PrivateStates
from skae.losses import LOSSES
from skae.modules import DenseAutoencoder, Dropout
from skae.modules._base import layers_that_draw, set_generators
from skae.modules._own import make_own

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
    params = {"n_components": 2, "module": Torchs, "early_stopping": False}
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


# -- private states of the global generators -------------------------------------------


def draw():
    """A number of each global generator; the second normal number is kept by NumPy."""
    return random.random(), random.gauss(), np.random.normal(), float(torch.rand(1))


def test_private_states_are_seeded_and_go_on():
    with PrivateStates(7):
        expected = [draw(), draw(), draw()]
    states, before = PrivateStates(7), world()
    np.random.normal()  # NumPy has a second number ready, which it must keep
    random.gauss()
    after, following = world(), np.random.RandomState()
    following.set_state(np.random.get_state())
    found = []
    for _ in range(2):
        with states:
            found.append(draw())
        assert world() == after
    noted = states.get_state()
    with states:
        found.append(draw())
    assert found == expected
    assert np.random.normal() == following.normal()
    states.set_state(noted)
    with states:
        assert draw() == expected[2]
    assert before != after


def test_private_states_end_with_an_error():
    before = world()
    with pytest.raises(ZeroDivisionError), PrivateStates(0):
        random.seed(draw()[0] / 0)
    assert world() == before


@pytest.mark.parametrize("which", range(4))
def test_private_states_know_whether_they_have_moved(which):
    draws = random.random, random.gauss, np.random.normal, lambda: torch.rand(1)
    with PrivateStates(0) as states:
        torch.zeros(1)
    assert not states.have_moved
    with PrivateStates(0) as states:
        draws[which]()
    assert states.have_moved


# -- modules that sample ---------------------------------------------------------------


class Samples(nn.Module):
    """Adds noise to the codes, in evaluation mode too; a subclass says whence."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.first = nn.Linear(n_features, n_components)
        self.last = nn.Linear(n_components, n_features)

    def encode(self, X):
        Z = self.first(X)
        return Z + 0.1 * self.noise(Z)

    def decode(self, Z):
        return self.last(Z)

    def noise(self, Z):
        return torch.randn_like(Z)


class OfNumPy(Samples):
    def noise(self, Z):
        return torch.tensor(np.random.normal(size=Z.shape)).to(Z)


class OfPython(Samples):
    def noise(self, Z):
        return torch.tensor([[random.gauss() for _ in row] for row in Z]).to(Z)


class OfGenerator(Samples):
    """With the attribute that layers that draw have."""

    generator = None

    def noise(self, Z):
        return torch.empty_like(Z).normal_(generator=self.generator)


class OfOurs(DenseAutoencoder):
    """A subclass of the package's own network that samples."""

    def __init__(self, n_features, n_components):
        super().__init__(n_features, n_components, n_features, (4,))

    def encode(self, X):
        return super().encode(X) + 0.1 * torch.randn(len(X), 1)


def in_chunks(ae, X):
    return ae.partial_fit(X[:100]).partial_fit(X[100:])


WAYS = {"fit": lambda ae, X: ae.fit(X), "partial_fit": in_chunks}
INITS = {"pca": {"early_stopping": False}, "random": {"init": "random"}}  # are trained
SAMPLERS = [Samples, OfNumPy, OfPython, OfGenerator, OfOurs]
samplers = pytest.mark.parametrize("module", SAMPLERS)


def answers(ae, X):
    """What the public methods return."""
    Z = ae.transform(X)
    of_rows = ae.denoise(X), ae.score_samples(X), ae.impute(X), ae.components_at(X[:3])
    return [Z, ae.inverse_transform(Z), *of_rows, ae.components_, ae.noise_variance_]


def are_same(one, other):
    return all(map(np.array_equal, one, other))


@samplers
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("init", INITS)
def test_a_module_that_samples(curved, init, way, module):
    """It learns the same and answers the same, and leaves the world as it was."""
    fit, before, params = WAYS[way], world(), {"n_components": 2} | INITS[init]
    curved = curved if init == "random" else np.concatenate([curved, -curved])
    ae = fit(estimator(3, module=module, **params), curved)
    first = answers(ae, curved)
    assert are_same(first, answers(ae, curved))
    assert world() == before
    draw()
    again = fit(estimator(3, module=module, **params), curved)
    assert are_same(first, answers(again, curved))
    assert again.loss_curve_ == ae.loss_curve_
    assert again.validation_curve_ == ae.validation_curve_
    assert are_same(first, answers(pickle.loads(pickle.dumps(ae)), curved))
    other = fit(estimator(4, module=module, **params), curved)
    assert not np.array_equal(first[0], other.transform(curved))


@pytest.mark.parametrize("module", SAMPLERS[:-1])
def test_what_is_sampled_is_noise(curved, monkeypatch, module):
    """Of each row its own, also where rows pass in several batches."""
    ae = estimator(n_components=2, module=module, init="random").fit(curved)
    monkeypatch.setattr("skae._model.model.BATCH", 20 * 6)
    X = np.repeat(curved[:1], 200, axis=0)
    Z = ae.transform(X)
    assert len(np.unique(Z, axis=0)) == 200
    deviations = (Z / ae._inference.code_scale).std(axis=0)
    assert deviations == pytest.approx(np.full(2, 0.1), rel=0.2)


@samplers
def test_held_out_rows_get_the_same_noise_in_every_epoch(module):
    X = torch.linspace(-1, 1, 180).reshape(30, 6)
    rows, objective = Rows(X, X, [np.arange(30)]), Objective(LOSSES["squared_error"])
    network = make_own(module, 6, 2, 6, torch.device("cpu"), "Owner")
    set_generators(network, 5, "cpu")
    generators = [layer.generator for layer in layers_that_draw(network)]
    before = [generator.get_state() for generator in generators]
    errors = objective.row_errors(network, rows)
    assert np.array_equal(errors, objective.row_errors(network, rows))
    assert [layer.generator for layer in layers_that_draw(network)] == generators
    after = [generator.get_state() for generator in generators]
    assert all(map(torch.equal, before, after))


class Generates(Samples):
    """`generator` is the name of a layer, and of what another layer draws from."""

    def __init__(self, n_features, n_components):
        super().__init__(n_features, n_components)
        self.generator, self.drop = nn.Identity(), Dropout(0.2)

    def encode(self, X):
        return self.drop(self.generator(self.first(X)))


def test_generators_of_a_users_layers(curved):
    """They are set for the time of a fit."""
    seen = []

    class Looks(Callback):
        def on_epoch_end(self, net, **kwargs):
            seen.append(net.module_.drop.generator)

    params = {"n_components": 2, "module": Generates, "init": "random"}
    ae = estimator(callbacks=[Looks()], **params).fit(curved)
    assert isinstance(seen[0], torch.Generator)
    assert ae.net_.module_.drop.generator is None
    assert isinstance(ae.net_.module_.generator, nn.Identity)
    assert np.array_equal(ae.transform(curved), codes(curved, **params))


def test_modules_that_sample_in_threads(curved):
    ae, before = estimator(n_components=2, module=Samples).fit(curved), world()
    expected = ae.transform(curved), ae.validation_curve_

    def work(number):
        again = estimator(n_components=2, module=Samples).fit(curved)
        return again.transform(curved), again.validation_curve_, ae.transform(curved)

    found = joblib.Parallel(4, backend="threading")(map(joblib.delayed(work), range(4)))
    for Z, curve, of_shared in found:
        assert np.array_equal(Z, expected[0])
        assert curve == expected[1]
        assert np.array_equal(of_shared, expected[0])
    assert world() == before


def test_a_module_that_does_not_sample_keeps_no_thread_waiting(curved):
    """In evaluation mode, that is; whoever has its pickle knows it too."""
    ae = estimator(n_components=2, module=Torchs).fit(curved)
    for model in (ae, pickle.loads(pickle.dumps(ae))):
        assert not model.net_.network.corrections.draws
        assert type(model._inference._private_states()) is NoStates
