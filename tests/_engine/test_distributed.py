"""Two processes that fit one model together: the same bits, and none waits for ever."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import skae
from skae import AutoencoderTransformer
from skae._engine.run import ALONE

ROOT = Path(skae.__file__).parents[1]
SECONDS = 180  # it should take less than 30 where nothing else runs

SCRIPT = """
import hashlib, json, os, signal, sys, warnings
import numpy as np, torch
from torch import distributed
from skae import AutoencoderTransformer
from skae._autoencoders import fitting
from skae._engine.distributed import Peers

rows, number, out = sys.argv[1], int(os.environ["RANK"]), {}
X = np.load(rows)
small = {"n_components": 2, "hidden_layer_sizes": (32, 16), "random_state": 0}

def fit(own, **params):
    ae = AutoencoderTransformer(distributed=True, **small | params).fit(own)
    found = [ae.components_, ae.mean_, ae.explained_variance_, ae.pca_score_,
             ae.validation_curve_, ae.loss_curve_, ae.transform(X)]
    found += [w.detach().numpy() for w in ae.net_.module_.parameters()]
    digest = hashlib.sha256()
    for part in found:
        digest.update(np.ascontiguousarray(part).tobytes())
    return {"digest": digest.hexdigest(), "score": ae.score(X), "n_samples": ae.n_samples_,
            "outcome": ae.outcome_, "mean": ae.mean_.tolist()}

def own(cut):
    return X[:cut] if number == 0 else X[cut:]

def attempt(name, *arguments, **params):
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            out[name] = fit(*arguments, **params)
        out[name]["n_warnings"] = len(caught)
    except BaseException as error:
        out[name] = {"error": type(error).__name__, "message": str(error)}

def at_step(step, act):
    left = [step]
    reduce = Peers.reduce
    def replaced(self, *arguments):
        left[0] -= 1
        if number == 1 and left[0] == 0:
            act()
        return reduce(self, *arguments)
    Peers.reduce = replaced
    return reduce

def fail(*arguments):
    raise OSError("the disk is gone")

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

def die():
    print(json.dumps(out), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

distributed.init_process_group("gloo")
attempt("uneven", own(800), max_epochs=40)
attempt("one without rows", own(len(X)), max_epochs=2)
attempt("float32", own(800).astype("float32"), max_epochs=2)
attempt("options", own(1500), max_epochs=2, standardize=True, dropout=0.1, noise=0.05,
        ordered=True, loss="huber", random_state=None)
attempt("linear", own(800), hidden_layer_sizes=())
gap = own(800).copy()
gap[3, 3] = np.nan if number else 1.0
attempt("nan", gap)
attempt("widths", own(800)[:, number:])
attempt("refused", own(800), cv=3)
attempt("too few", own(800)[:3])
for name, act in {"error": fail, "Ctrl-C": interrupt}.items():
    reduce = at_step(20, act)
    attempt(name, own(800))
    Peers.reduce = reduce
set_codes = fitting.set_codes
fitting.set_codes = fail if number == 1 else set_codes
attempt("after training", own(800), max_epochs=2)
fitting.set_codes = set_codes
attempt("afterwards", own(800), max_epochs=2)
distributed.barrier()
at_step(20, die)
attempt("killed", own(800))
print(json.dumps(out))
os._exit(0)  # the group of a killed process cannot be left in order
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Rows (2400, 8) on a bent surface, and the file that holds them."""
    rng = np.random.default_rng(0)
    Z = rng.uniform(-1, 1, (2400, 2))
    X = np.c_[Z, Z**2, np.sin(3 * Z)] @ rng.normal(size=(6, 8)) + 2
    X += 0.6 * rng.normal(size=X.shape)
    path = tmp_path_factory.mktemp("two") / "rows.npy"
    np.save(path, X)
    return X, path


@pytest.fixture(scope="module")
def told(table):
    """What the two processes say of each scenario, as a list of two dicts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", SCRIPT, str(table[1])]
    running = [
        subprocess.Popen(
            command,
            env=environment | {"RANK": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        said = [process.communicate(timeout=SECONDS) for process in running]
    finally:
        for process in running:
            process.kill()
    for out, err in said:
        assert out, err
    return [json.loads(out) for out, _ in said]


TOGETHER = "uneven", "one without rows", "float32", "options", "linear", "afterwards"


@pytest.mark.parametrize("name", TOGETHER)
def test_same_bits(told, name):
    first, second = (of_process[name] for of_process in told)
    assert "error" not in first, first
    assert first["digest"] == second["digest"]
    assert first["n_samples"] == second["n_samples"] == 2400
    assert second["n_warnings"] == 0, "only the first warns"


def test_as_good_as_one_process(told, table):
    params = {"hidden_layer_sizes": (32, 16), "max_epochs": 40, "random_state": 0}
    ae = AutoencoderTransformer(2, **params).fit(table[0])
    found = told[0]["uneven"]
    assert found["outcome"] == ae.outcome_ == "trained"
    assert found["score"] / ae.score(table[0]) <= 1.02
    np.testing.assert_allclose(found["mean"], ae.mean_, rtol=1e-12)


def test_linear_is_pca_of_all_rows(told, table):
    ae = AutoencoderTransformer(2, hidden_layer_sizes=()).fit(table[0])
    assert told[0]["linear"]["outcome"] == "pca"
    assert told[0]["linear"]["score"] == pytest.approx(ae.score(table[0]))


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("nan", "ValueError", "Input X contains NaN"),
        ("error", "OSError", "the disk is gone"),
        ("Ctrl-C", "KeyboardInterrupt", "the estimator is as it was"),
        ("after training", "OSError", "the disk is gone"),
    ],
)
def test_one_that_fails_ends_all(told, name, error, message):
    first, second = (of_process[name] for of_process in told)
    assert first["error"] == "PeerError"
    assert "Another process of this fit has failed" in first["message"]
    assert second["error"] == error
    assert message in second["message"]


def test_a_killed_process_ends_all(told):
    assert "killed" not in told[1]
    assert told[0]["killed"]["error"] == "PeerError"
    assert "Another process of this fit has ended" in told[0]["killed"]["message"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("widths", "must have the same columns in all processes, got [8, 7]"),
        ("refused", "distributed=True of AutoencoderTransformer does not take cv=3."),
        ("too few", "at least 2 held-out rows"),
    ],
)
def test_errors_that_all_raise(told, name, message):
    for of_process in told:
        assert of_process[name]["error"] == "ValueError"
        assert message in of_process[name]["message"]


def test_processes_that_do_not_know_each_other(table):
    with pytest.raises(RuntimeError, match="Start the program with torchrun"):
        AutoencoderTransformer(2, distributed=True).fit(table[0])


def test_one_process_exchanges_nothing():
    loss = torch.ones(())
    assert ALONE.gather(3) == [3]
    assert ALONE.reduce([], loss, 5) is loss
    assert (ALONE.number, ALONE.are_several) == (0, False)
