"""Modes and defaults of torch that a caller has set change nothing, and are kept."""

import contextlib
import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.model_selection import cross_val_score

from skae import AutoencoderTransformer, load, noise, regularizers
from skae._engine.skorch_net import AutoencoderNet


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def several():
    autocast, double = torch.autocast("cpu", torch.bfloat16), default_dtype(torch.float64)
    with torch.inference_mode(), autocast, torch.device("meta"), double:
        yield


MODES = {
    "no_grad": torch.no_grad,
    "set_grad_enabled": lambda: torch.set_grad_enabled(False),
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "device": lambda: torch.device("meta"),
    "several": several,
}


class Plain(torch.nn.Module):
    """A user's network, that leaves all dtypes to torch."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = torch.nn.Linear(n_features, n_components)
        self.decode = torch.nn.Linear(n_components, n_features)
        self.register_buffer("factor", torch.tensor([0.7] * n_components))

    def forward(self, X):
        return self.decode(self.encode(X) * self.factor)


def users_loss(X_hat, X):
    weights = torch.linspace(1, 2, X.shape[-1]).to(X)
    return (X_hat - X).abs() @ weights


PENALTIES = [regularizers.Contractive(0.1), regularizers.KLSparsity(0.1)]
SETTINGS = {
    "default": {},
    "ordered": {"ordered": True, "whiten": True, "noise": noise.SwapNoise(0.2)},
    "by column": {"loss": {"poisson": [0, 1], "huber": [2, 3], "absolute_error": [4, 5]}},
    "counts": {"loss": "negative_binomial"},
    "random": {
        **{"init": "random", "normalization": "batch", "dropout": 0.2},
        **{"code_activation": "logistic", "regularizer": PENALTIES},
    },
    "loss": {"loss": users_loss, "standardize": True, "early_stopping": False},
    "missing": {"allow_nan": True, "noise": 0.1},
    "module": {"module": Plain},
}


def outcome(params, X):
    """What fits and all that follows them find, in arrays."""
    params = {"n_components": 2, "max_epochs": 2, "random_state": 0} | params
    ae = AutoencoderTransformer(hidden_layer_sizes=(6,), **params).fit(X)
    complete = np.nan_to_num(X[:50], nan=1.0)
    found = [ae.transform(X), ae.transform(X.astype(np.float32)), ae.denoise(X)]
    found += [ae.score_samples(X), ae.components_, ae.components_at(complete)]
    found.append(np.array(ae.loss_curve_ + ae.validation_curve_))
    again = pickle.loads(pickle.dumps(ae))
    found += [again.transform(X), copy.deepcopy(ae).inverse_transform(found[0])]
    if ae.ordered:
        found.append(ae.truncate(1).transform(X))
    found.append(again.partial_fit(X[:100]).partial_fit(X[100:]).transform(X))
    found.append(ae.set_params(warm_start=True).fit(X).transform(X))
    return found


@pytest.fixture(scope="module")
def table(curved):
    """A table of counts, and what is found in it without a mode, by name of a setting."""
    X, found = np.round(3 * (curved - curved.min())), {}

    def given(name):
        gaps = np.arange(X.size).reshape(X.shape) % 13 == 0
        return np.where(gaps, np.nan, X) if name == "missing" else X

    def expected(name):
        if name not in found:
            found[name] = outcome(SETTINGS[name], given(name))
        return found[name]

    return given, expected


# The context "several" holds most of the others.
ALONE = ["set_grad_enabled", "float64", "bfloat16", "several"]
PAIRS = [
    pytest.param("default", mode, marks=[] if mode in ALONE else pytest.mark.nightly)
    for mode in MODES
]
PAIRS += [(name, "several") for name in SETTINGS if name != "default"]


@pytest.mark.parametrize(("name", "mode"), PAIRS)
def test_bits_are_the_same_in_every_mode(table, name, mode):
    given, expected_of = table
    expected = expected_of(name)
    with MODES[mode]():
        before = modes()
        found = outcome(SETTINGS[name], given(name))
        assert modes() == before
    for array, other in zip(found, expected, strict=True):
        assert array.dtype == other.dtype
        np.testing.assert_array_equal(array, other)


def modes():
    made = torch.empty(0)
    is_on = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    return *is_on, torch.is_autocast_enabled("cpu"), made.dtype, made.device


@pytest.mark.parametrize("mode", MODES)
def test_fitted_elsewhere(curved, mode, tmp_path):
    """A model fitted, or opened, in a mode is the same outside, and the other way round."""
    params = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}
    ae = AutoencoderTransformer(2, warm_start=True, **params)
    with MODES[mode]():
        inside = copy.deepcopy(ae).fit(curved)
    ae.fit(curved)
    with MODES[mode]():
        found = ae.transform(curved), ae.score_samples(curved), ae.components_at(curved)
        opened = pickle.loads(pickle.dumps(ae))
    assert np.array_equal(found[0], ae.transform(curved))
    assert np.array_equal(found[1], ae.score_samples(curved))
    assert np.array_equal(found[2], ae.components_at(curved))
    expected = copy.deepcopy(ae).fit(curved).transform(curved)
    for other in (inside, opened):
        assert np.array_equal(other.transform(curved), found[0])
        weights = other.net_.module_.parameters()
        assert all(w.dtype == torch.float32 and not w.is_inference() for w in weights)
        assert np.array_equal(other.fit(curved).transform(curved), expected)
    pytest.importorskip("safetensors")
    with MODES[mode]():
        ae.save(tmp_path / "model.skae")
        loaded = load(tmp_path / "model.skae")
    assert np.array_equal(loaded.transform(curved), ae.transform(curved))
    assert np.array_equal(loaded.fit(curved).transform(curved), expected)


@pytest.mark.parametrize("mode", MODES)
def test_errors_leave_the_mode(curved, mode):
    with MODES[mode]():
        before = modes()
        with pytest.raises(ValueError, match="max_epochs"):
            AutoencoderTransformer(max_epochs=0).fit(curved)
        with pytest.raises(ValueError, match="between 1 and"):
            AutoencoderTransformer(7).fit(curved)
        assert modes() == before


def test_cross_validation_without_gradients(curved):
    ae = AutoencoderTransformer(2, max_epochs=2, random_state=0)
    expected = cross_val_score(ae, curved, cv=2)
    with torch.no_grad():
        assert np.array_equal(cross_val_score(ae, curved, cv=2), expected)


@pytest.mark.parametrize("warm_start", [False, True])
def test_ctrl_c_that_leaves_a_mode_behind(curved, warm_start, monkeypatch):
    """Ctrl-C may come when `torch.no_grad()` has set its mode, but is not entered yet."""
    original = AutoencoderNet.on_epoch_begin

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 2:
            torch.set_grad_enabled(False)
            raise KeyboardInterrupt
        original(self, net, **kwargs)

    monkeypatch.setattr(AutoencoderNet, "on_epoch_begin", on_epoch_begin)
    params = {"early_stopping": False, "max_epochs": 5, "warm_start": warm_start}
    ae = AutoencoderTransformer(2, random_state=0, **params)
    with pytest.raises(KeyboardInterrupt):
        ae.fit(curved)
    assert torch.is_grad_enabled()
    assert hasattr(ae, "net_") == warm_start
