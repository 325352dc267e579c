"""Faults of a fit: values that are not finite, too little memory, Ctrl-C."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from torch import nn

from skae import AutoencoderTransformer
from skae._engine.epoch_choice import Choice
from skae._engine.objective import Objective
from skae._engine.skorch_net import AutoencoderNet
from skae._model.model import Inference
from skae._torch import is_out_of_memory
from skae.exceptions import DivergenceError

EPOCH = 13  # steps of 200 rows in batches of 16
LIMIT = 120  # seconds after which a process that hangs is given up


def estimator(**params):
    defaults = {"n_components": 2, "max_epochs": 4, "batch_size": 16, "random_state": 0}
    defaults["hidden_layer_sizes"] = (16,)
    return AutoencoderTransformer(**defaults | params)


def fit(X, **params):
    """A fit of which it makes no matter whether it could have gone on."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*max_epochs", ConvergenceWarning)
        return estimator(**params).fit(X)


class Ends(Callback):
    """Ends training after some epochs."""

    def __init__(self, n_epochs):
        self.n_epochs = n_epochs

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.n_epochs:
            raise KeyboardInterrupt


def at_step(monkeypatch, number, action):
    """Let `action(loss)` take the place of the loss in one step, and the later ones.

    The gradient is NaN then.
    """
    original, steps = Objective.gradient, itertools.count(1)

    def gradient(objective, output, batch):
        loss, slope = original(objective, output, batch)
        return (action(loss), slope * np.nan) if next(steps) >= number else (loss, slope)

    monkeypatch.setattr(Objective, "gradient", gradient)


def same(a, b, X):
    """Whether two estimators compute the same bits."""
    pairs = (a.transform(X), b.transform(X)), (a.denoise(X), b.denoise(X))
    return all(np.array_equal(*pair) for pair in pairs)


# -- values that are not finite --------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [True, False])
def test_divergence_at_once_ends_as_pca(curved, early_stopping):
    text = (
        r"met NaN or inf in epoch 1 .*the start from PCA is kept.* smaller lr than 1e\+30"
    )
    ae = estimator(lr=1e30, early_stopping=early_stopping)
    with pytest.warns(ConvergenceWarning, match=text):
        ae.fit(curved)
    untrained = fit(curved, lr=1e-30, max_epochs=1)
    assert (ae.best_epoch_, ae.n_iter_) == (untrained.best_epoch_, 1) == (0, 1)
    assert same(ae, untrained, curved)


@pytest.mark.parametrize(
    "action",
    [
        lambda loss: loss * float("nan"),
        lambda loss: loss * float("inf"),
        lambda loss: loss,
    ],
    ids=["nan", "inf", "gradient"],
)
# In the first step of the third epoch, and in the last one of all.
@pytest.mark.parametrize("step", [2 * EPOCH + 1, 3 * EPOCH])
def test_without_held_out_rows_the_last_finite_epoch_is_kept(
    curved, monkeypatch, action, step
):
    two = fit(curved, max_epochs=3, early_stopping=False, callbacks=[Ends(2)])
    at_step(monkeypatch, step, action)
    ae = estimator(max_epochs=3, early_stopping=False)
    with pytest.warns(
        ConvergenceWarning, match=r"in epoch 3 .*weights of epoch 2 are kept"
    ):
        ae.fit(curved)
    assert (ae.best_epoch_, ae.n_iter_) == (2, 3)
    assert ae.loss_curve_[:2] == two.loss_curve_
    assert same(ae, two, curved)


def test_held_out_rows_choose_among_the_finite_epochs(curved, monkeypatch):
    three = fit(curved, max_epochs=6, callbacks=[Ends(3)])
    at_step(monkeypatch, 3 * EPOCH + 1, lambda loss: loss * float("nan"))
    ae = estimator(max_epochs=6)
    text = rf"in epoch 4 .*weights of epoch {three.best_epoch_} are kept"
    with pytest.warns(ConvergenceWarning, match=text):
        ae.fit(curved)
    assert three.best_epoch_ > 0
    assert ae.n_iter_ == 4
    assert np.isnan(ae.validation_curve_[4])
    assert same(ae, three, curved)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_nothing_to_fall_back_on(curved, early_stopping):
    ae = estimator(init="random", lr=1e30, early_stopping=early_stopping)
    before = vars(ae).copy()
    with pytest.raises(DivergenceError, match=r"of AutoencoderTransformer .*smaller lr"):
        ae.fit(curved)
    assert vars(ae) == before


class NaNOutsideTraining(nn.Module):
    """Trains well, and reconstructs to NaN whatever is held out."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = nn.Linear(n_features, n_components)
        self.layer = nn.Linear(n_components, n_features)

    def decode(self, Z):
        X_hat = self.layer(Z)
        return X_hat if self.training else X_hat * float("nan")


def test_an_epoch_with_nan_for_held_out_rows_is_never_chosen(curved):
    with pytest.raises(DivergenceError):
        fit(curved, module=NaNOutsideTraining, init="random")


def test_pca_is_kept_where_a_module_gives_nan(curved):
    ae = fit(curved, module=NaNOutsideTraining)
    assert ae.outcome_ == "pca"
    expected = PCA(ae.n_components_).fit_transform(curved)
    np.testing.assert_allclose(ae.transform(curved), expected, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("allow_start", [True, False])
def test_choice_takes_no_value_that_is_not_finite(value, allow_start):
    choice = Choice(np.ones((1, 50)), 0.0, allow_start, 3, 0.0)
    bad = np.full((1, 50), 0.1)
    bad[0, 7] = value
    for errors in (bad, np.full((1, 50), 0.9), bad):
        choice.see(errors, [torch.zeros(1)])
    assert (choice.best_epoch, choice.mark_epoch, choice.epoch) == (2, 2, 3)


def test_a_warm_start_falls_back_on_what_it_began_with(curved):
    ae = fit(curved, warm_start=True)
    before = ae.transform(curved)
    ae.lr = 1e30
    with pytest.warns(ConvergenceWarning, match="the network that fit began with is kept"):
        ae.fit(curved)
    assert np.array_equal(ae.transform(curved), before)


# -- epochs that end too early ---------------------------------------------------------


def test_max_epochs_while_training_still_brings_something(curved):
    with pytest.warns(ConvergenceWarning, match="max_epochs=3 while .* larger max_epochs"):
        estimator(max_epochs=3).fit(curved)


@pytest.mark.parametrize(
    "params",
    [
        {"max_epochs": 3, "early_stopping": False},
        {"max_epochs": 3, "tol": 10.0},
        {"max_epochs": 60, "n_iter_no_change": 2, "tol": 0.05},
        {"max_epochs": 1, "lr": 1e-9},
    ],
    ids=str,
)
def test_no_warning_where_more_epochs_would_not_help(curved, params):
    ae = estimator(**params).fit(curved)  # a warning would be an error
    assert ae.n_iter_ > 0


def test_no_warning_where_the_number_of_epochs_is_ours(curved, monkeypatch):
    monkeypatch.setattr("skae._training.settings.STEPS", 1)
    monkeypatch.setattr("skae._training.settings.FEWEST_EPOCHS", 3)
    ae = estimator(max_epochs="auto").fit(curved)
    assert ae.n_iter_ == 3
    assert (
        ae.validation_curve_[3] < ae.validation_curve_[2] - 1e-3 * ae.validation_curve_[0]
    )


# -- memory ----------------------------------------------------------------------------

NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate"),
    MemoryError("Unable to allocate 80.0 GiB for an array"),
]
no_memory = pytest.mark.parametrize("error", NO_MEMORY, ids=lambda e: type(e).__name__)


def raising(error):
    def action(*args, **kwargs):
        raise error

    return action


@no_memory
def test_out_of_memory_in_fit(curved, monkeypatch, error):
    at_step(monkeypatch, 2, raising(error))
    ae = estimator(hidden_layer_sizes=(50, 20), batch_size="auto", max_epochs=2)
    before = vars(ae).copy()
    with pytest.raises(MemoryError) as caught:
        ae.fit(curved)
    assert caught.value.__cause__ is error
    assert vars(ae) == before
    text = str(caught.value)
    for part in (
        *("n_samples=200", "n_features=6", "hidden_layer_sizes=(50, 20)"),
        *("batch_size=32", "AutoencoderTransformer", "Set a smaller batch_size"),
    ):
        assert part in text


def test_out_of_memory_for_real(curved):
    text = r"on cpu with .*hidden_layer_sizes=\(70368744177664,\), batch_size=16"
    with pytest.raises(MemoryError, match=text):
        estimator(hidden_layer_sizes=(2**46,)).fit(curved)


def test_other_errors_stay_as_they_are(curved, monkeypatch):
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert not is_out_of_memory(error)
    assert not is_out_of_memory(ValueError("DefaultCPUAllocator"))
    at_step(monkeypatch, 2, raising(error))
    with pytest.raises(RuntimeError) as caught:
        estimator().fit(curved)
    assert caught.value is error


@pytest.fixture(scope="module")
def fitted(curved):
    return fit(curved, early_stopping=False, max_epochs=1)


@no_memory
@pytest.mark.parametrize("most", [1, 7, 64])
@pytest.mark.parametrize("method", ["transform", "inverse_transform", "score_samples"])
def test_batches_are_halved_where_memory_is_not_enough(
    curved, fitted, monkeypatch, error, most, method
):
    ae = fitted
    X = ae.transform(curved) if method == "inverse_transform" else curved
    expected = getattr(ae, method)(X)
    original, sizes = Inference.run, []

    def run(self, step, array, *args):
        sizes.append(len(array))
        if len(array) > most:
            raise error
        return original(self, step, array, *args)

    monkeypatch.setattr(Inference, "run", run)
    assert getattr(ae, method)(X) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    done = [size for size in sizes if size <= most]
    assert sum(done) == 200
    assert max(done) > most / 2
    assert len(sizes) - len(done) < 9  # halved, not counted down


def test_one_row_for_which_memory_is_not_enough(curved, fitted, monkeypatch):
    monkeypatch.setattr(Inference, "run", raising(NO_MEMORY[0]))
    with pytest.raises(torch.OutOfMemoryError):
        fitted.transform(curved)


# -- Ctrl-C ----------------------------------------------------------------------------


def test_ctrl_c_leaves_the_estimator_as_it_was(curved, monkeypatch):
    new, fitted = estimator(), fit(curved)
    before, codes = vars(new).copy(), fitted.transform(curved)
    fitted.set_params(lr=1e-3, n_components=1)
    at_step(monkeypatch, EPOCH + 3, raising(KeyboardInterrupt()))
    for ae in (new, fitted):
        with pytest.raises(KeyboardInterrupt):
            ae.fit(curved)
    assert vars(new) == before
    assert np.array_equal(fitted.transform(curved), codes)


# Within an epoch, and in the first step of the next.
@pytest.mark.parametrize("step", [2 * EPOCH + 5, 2 * EPOCH + 1])
def test_a_warm_start_keeps_the_epochs_before_ctrl_c(curved, monkeypatch, step):
    params = {"early_stopping": False, "warm_start": True}
    two = fit(curved, max_epochs=9, early_stopping=False, callbacks=[Ends(2)])
    ae = estimator(max_epochs=9, **params)
    with monkeypatch.context() as patch:
        at_step(patch, step, raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            ae.fit(curved)
    assert (ae.n_iter_, ae.best_epoch_, ae.loss_curve_) == (2, 2, two.loss_curve_)
    assert same(ae, two, curved)
    ae.set_params(max_epochs=2).fit(curved)
    assert ae.loss_curve_[0] < two.loss_curve_[0]


def test_ctrl_c_while_held_out_rows_are_asked(curved, monkeypatch):
    two = fit(curved, callbacks=[Ends(2)])
    original, calls = AutoencoderNet._validate, itertools.count(1)

    def validate(net, rows):
        if next(calls) == 3:
            raise KeyboardInterrupt
        original(net, rows)

    monkeypatch.setattr(AutoencoderNet, "_validate", validate)
    ae = estimator(warm_start=True)
    with pytest.raises(KeyboardInterrupt):
        ae.fit(curved)
    assert (ae.n_iter_, ae.validation_curve_) == (2, two.validation_curve_)
    assert same(ae, two, curved)


@pytest.mark.parametrize(
    "place",
    [
        "skae._training.members.make_start",
        "skae._training.training.network_of_member",
        "skae._autoencoders.fitted_attributes.describe",
    ],
)
def test_a_warm_start_and_ctrl_c_outside_training(curved, monkeypatch, place):
    params = {"warm_start": True, "early_stopping": False}
    new, fitted = estimator(**params), fit(curved, **params)
    before = [vars(ae).copy() for ae in (new, fitted)]
    monkeypatch.setattr(place, raising(KeyboardInterrupt()))
    for ae in (new, fitted):
        with pytest.raises(KeyboardInterrupt):
            ae.fit(1000 * curved)
    assert [vars(ae) for ae in (new, fitted)] == before


def test_ctrl_c_before_there_is_anything_to_keep(curved, monkeypatch):
    ae = estimator(init="random", warm_start=True)
    before = vars(ae).copy()
    at_step(monkeypatch, 3, raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        ae.fit(curved)
    assert vars(ae) == before


def test_ctrl_c_ends_a_search(curved, monkeypatch):
    at_step(monkeypatch, 2 * EPOCH + 3, raising(KeyboardInterrupt()))
    search = GridSearchCV(estimator(), {"lr": [1e-3, 1e-2]}, error_score=0.0)
    with pytest.raises(KeyboardInterrupt):
        search.fit(curved)
    assert not hasattr(search, "cv_results_")


def interrupted(pipe, params, in_search):
    """In a process of its own: a fit that would last for hours."""
    X = np.random.default_rng(0).normal(size=(3000, 5))
    params = {"early_stopping": False, "max_epochs": 10**6} | params
    ae = estimator(**params)
    original = AutoencoderNet.on_epoch_begin

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 2:
            pipe.send("training")
        original(self, net, **kwargs)

    AutoencoderNet.on_epoch_begin = on_epoch_begin
    outer = GridSearchCV(ae, {"lr": [1e-3, 1e-2]}, cv=2) if in_search else ae
    try:
        outer.fit(X)
    except KeyboardInterrupt:
        fitted = hasattr(ae, "net_")
        pipe.send((fitted, fitted and bool(np.isfinite(ae.transform(X)).all())))
    else:
        pipe.send("swallowed")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("warm_start", "in_search"), [(False, False), (True, False), (False, True)]
)
def test_a_real_ctrl_c(processes, warm_start, in_search):
    ours, theirs = processes.Pipe()
    args = theirs, {"warm_start": warm_start, "verbose": int(not in_search)}, in_search
    process = processes.Process(target=interrupted, args=args)
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    assert ours.poll(LIMIT)
    assert ours.recv() == "training"
    time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    assert ours.poll(LIMIT)
    assert ours.recv() == (warm_start, warm_start)
    process.join(LIMIT)
    assert process.exitcode == 0


SEARCH = """
import os, sys
import numpy as np
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from skae import AutoencoderTransformer

class Tells(Callback):
    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            open(os.path.join(sys.argv[1], str(os.getpid())), "w").close()

if __name__ == "__main__":
    params = {"max_epochs": 10**6, "batch_size": 16, "early_stopping": False}
    ae = AutoencoderTransformer(2, callbacks=[Tells()], **params)
    search = GridSearchCV(ae, {"lr": [1e-3, 1e-2]}, n_jobs=2, cv=2)
    search.fit(np.random.default_rng(0).normal(size=(400, 5)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.nightly
def test_a_real_ctrl_c_ends_a_search_in_workers(tmp_path):
    script, folder = tmp_path / "search.py", tmp_path / "seen"
    script.write_text(SEARCH)
    folder.mkdir()
    command = [sys.executable, str(script), str(folder)]
    # As from a terminal, where Ctrl-C goes to the whole group of processes.
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    try:
        deadline = time.monotonic() + LIMIT
        while not any(folder.iterdir()) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert b"KeyboardInterrupt" in errors
    assert process.returncode in (-signal.SIGINT, 130, 1)
    for worker in folder.iterdir():
        assert not is_running(int(worker.name), deadline=time.monotonic() + 20)


def is_running(pid, deadline):
    """Whether a process is still there when the time is over."""
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    return True
