"""Two processes that fit one model together: the same bits, and none waits for ever."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import skae
from skae import AutoencoderTransformer
from skae._compat import draw_seed
from skae._engine.run import ALONE
from skae._tables.dependence import Dependence
from skae._training.members import split

ROOT = Path(skae.__file__).parents[1]
SECONDS = 300  # it should take less than 40 where nothing else runs

SCRIPT = """
import hashlib, importlib.util, json, os, signal, sys, warnings
from pathlib import Path
import numpy as np, pandas as pd, torch
from scipy import sparse
from skorch.callbacks import Callback, GradientNormClipping
from torch import distributed
import skae._tables.rows
from skae import AutoencoderOutlierDetector, AutoencoderTransformer
from skae._autoencoders import fitting, together
from skae._engine.distributed import Peers
from skae.regularizers import L1Code

rows, number, out = Path(sys.argv[1]), int(os.environ["RANK"]), {}
X = np.load(rows)
small = {"n_components": 2, "hidden_layer_sizes": (32, 16), "random_state": 0}
groups, w = np.arange(len(X)) // 3, np.linspace(0, 4, len(X)) ** 2
few, some = {"max_epochs": 2}, {"max_epochs": 20}

def told(ae, X):
    found = [ae.components_, ae.mean_, ae.explained_variance_, ae.pca_score_,
             ae.validation_curve_, ae.loss_curve_, ae.transform(X)]
    found += [w.detach().numpy() for w in ae.net_.module_.parameters()]
    digest = hashlib.sha256()
    for part in found:
        digest.update(np.ascontiguousarray(part).tobytes())
    return {"digest": digest.hexdigest(), "score": ae.score(X), "n_samples": ae.n_samples_,
            "outcome": ae.outcome_, "n_components": ae.n_components_,
            "mean": ae.mean_.tolist(), "n_iter": ae.n_iter_,
            "all_steps": sum(e.get("train_batch_count", 0) for e in ae.net_.history),
            "pca_score": ae.pca_score_, "weighted": ae.score(X, sample_weight=w)}

def fit(own, ae=None, how={}, judged=X, **params):
    if ae is None:
        ae = AutoencoderTransformer(distributed=True, **small | params)
    return told(ae.fit(own, **how), judged)

def own(cut, part=X):
    return part[:cut] if number == 0 else part[cut:]

def attempt(name, *arguments, function=fit, **params):
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            out[name] = function(*arguments, **params)
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

class Own(torch.nn.Module):
    def __init__(self, n_features, n_components, *layers):
        super().__init__()
        def path(n_in, n_out):
            parts = torch.nn.Linear(n_in, 16), *layers, torch.nn.SiLU()
            return torch.nn.Sequential(*parts, torch.nn.Linear(16, n_out))
        self.encode = path(n_features, n_components)
        self.decode = path(n_components, n_features)

class Counting(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
    def forward(self, H):
        if self.training:
            self.seen += len(H) + number
        return H

def normalized(*widths):
    return Own(*widths, torch.nn.BatchNorm1d(16))

def apart(*widths):
    torch.manual_seed(number)
    return Own(*widths)

def counting(*widths):
    return Own(*widths, Counting())

def dropping(*widths):
    return Own(*widths, torch.nn.Dropout(0.1))

def fail(*arguments):
    raise OSError("the disk is gone")

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

def die():
    print(json.dumps(out), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

class Leader(Callback):
    n_epochs = 0
    def on_epoch_end(self, net, **kwargs):
        Leader.n_epochs += 1
        net.lr /= 2
        with torch.no_grad():
            next(net.module_.parameters()).mul_(1.01)
        if len(net.history) == 3:
            raise KeyboardInterrupt

def sides(how, **params):
    given, found = fitting.given_together, []
    def keep(*arguments):
        found.append(given(*arguments))
        return found[0]
    fitting.given_together = keep
    try:
        told = fit(own(800), how=how, **few | params)
    finally:
        fitting.given_together = given
    place = {row[0]: i for i, row in enumerate(X)}
    numbers = np.array([place[row[0]] for row in found[0].X[:]])
    n = len(numbers) - found[0].shared.n_held_out
    told |= {"trained": numbers[:n].tolist(), "held_out": numbers[n:].tolist()}
    return told | {"is_copied": not np.shares_memory(getattr(found[0].X, "X", w), X)}

def resumed():
    params = {"max_epochs": 4, "checkpoint": rows.parent / "fit.ckpt", "dropout": 0.1}
    reduce = at_step(20, fail)
    error = None
    try:
        fit(own(800), **params)
    except Exception as caught:
        error = caught
    Peers.reduce = reduce
    distributed.barrier()
    was_there = params["checkpoint"].exists()
    steps = []
    reduce = at_step(-1, fail)
    Peers.reduce = lambda *a: steps.append(1) or reduce(*a)
    found = fit(own(800), **params)
    Peers.reduce = reduce
    return found | {"was_there": was_there, "n_steps": len(steps), "first": str(error)}

def warm(start):
    ae = AutoencoderTransformer(distributed=True, warm_start=True, **small | few)
    ae.fit(own(800))
    if start == "other" and number:
        next(ae.net_.module_.parameters()).data.mul_(2)
    ae.set_params(lr=1e-3)
    return fit(own(800), ae)

def detect():
    detector = AutoencoderOutlierDetector(AutoencoderTransformer(distributed=True, **small))
    detector.fit(own(800))

def of_categories():
    frame = pd.DataFrame(own(1200)).add_prefix("x")
    fit(frame.assign(kind=pd.Categorical(["a", "b"] * 600)))

distributed.init_process_group("gloo")
attempt("uneven", own(800), max_epochs=40)
attempt("one without rows", own(len(X)), max_epochs=2)
attempt("float32", own(800).astype("float32"), max_epochs=2)
attempt("options", own(1500), max_epochs=2, standardize=True, dropout=0.1, noise=0.05,
        ordered=True, loss="huber", random_state=None, regularizer=L1Code())
attempt("linear", own(800), hidden_layer_sizes=())
attempt("weights", own(800), how={"sample_weight": own(800, w)}, **some)
attempt("weights in one", own(len(X)), how={"sample_weight": None if number else w}, **few)
attempt("groups", {"groups": own(800, groups)}, function=sides)
attempt("rows", {}, function=sides)
together.MOST_AS_ONE = 2000
attempt("many rows", {}, function=sides)
attempt("many groups", {"groups": own(800, groups)}, function=sides)
together.MOST_AS_ONE = 2**20
attempt("X_val", {"X_val": own(40, X[::30])}, function=sides)
attempt("no early stopping", own(800), early_stopping=False, **few)
attempt("one trained row", own(1), early_stopping=False, **few)
attempt("time limit", own(800), max_epochs=40, time_limit=1e-9)
ends = np.clip((X - X.min(0)) / np.ptp(X, axis=0), 0, 1)
binary = {"judged": ends, "loss": "binary_cross_entropy"}
attempt("probabilities", own(800, ends), **binary, **some)
counts = np.round(9 * ends)
mixed = {"poisson": range(4), "squared_error": range(4, 8)}
attempt("mixed", own(800, counts), judged=counts, loss=mixed, exposure=None, **few)
attempt("module", own(800), module=Own, max_epochs=40)
attempt("module at random", own(800), module=dropping, init="random", **few)
attempt("share", own(800), n_components=0.9, **some)
attempt("callbacks", own(800), callbacks=[Leader, GradientNormClipping(1e-2)])
out["callbacks"]["n_epochs"] = Leader.n_epochs
attempt("whole", own(800), max_epochs=4, dropout=0.1)
attempt("resumed", function=resumed)
attempt("warm", "same", function=warm)
attempt("warm from different networks", "other", function=warm)
skae._tables.rows.SMALL = 1000
attempt("in parts", {}, function=sides, **some)
parts = sparse.csr_matrix(own(800)) if number else own(800)
attempt("sparse in one", parts, how={"sample_weight": own(800, w)}, **few)
attempt("probabilities in parts", own(800, ends), **binary, **few)
if importlib.util.find_spec("dask"):
    import dask.array
    attempt("dask", dask.array.from_array(own(1200)))
skae._tables.rows.SMALL = 2**21
gap = own(800).copy()
gap[3, 3] = np.nan if number else 1.0
attempt("nan", gap)
attempt("widths", own(800)[:, number:])
attempt("refused", own(800), cv=3)
attempt("batch normalization", own(800), normalization="batch")
attempt("missing", own(800), allow_nan=True)
attempt("share without held-out rows", own(800), n_components=0.9, early_stopping=False)
attempt("counts", own(800, counts), loss="poisson")
attempt("targets", own(800), how={"X_target": own(800)})
ones = {"exposure": np.ones(1200)}
attempt("exposures", own(1200, counts), how=ones, loss="poisson")
attempt("detector", function=detect)
attempt("categories", function=of_categories)
attempt("module with batch normalization", own(800), module=normalized)
attempt("modules of their own", own(800), module=apart)
attempt("module that counts", own(800), module=counting, init="random", **few)
attempt("too few", own(800)[:3])
attempt("groups of some", own(800), how={"groups": None if number else own(800, groups)})
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
    # A process would wait for somebody to read from a pipe that is full.
    outs, errors = ([table[1].parent / f"{kind}{i}" for i in range(2)] for kind in "oe")
    with contextlib.ExitStack() as scopes:
        running = []
        for number in range(2):
            out, err = (
                scopes.enter_context(paths[number].open("w")) for paths in (outs, errors)
            )
            how = {"env": environment | {"RANK": str(number)}, "stdout": out, "stderr": err}
            process = scopes.enter_context(subprocess.Popen(command, **how))
            scopes.callback(process.kill)
            running.append(process)
        for process in running:
            process.wait(timeout=SECONDS)
    for out, error in zip(outs, errors, strict=True):
        assert out.read_text(), error.read_text()
    return [json.loads(out.read_text()) for out in outs]


TOGETHER = (
    "uneven",
    "one without rows",
    "float32",
    "options",
    "linear",
    "groups",
    "rows",
    "many rows",
    "many groups",
    "X_val",
    "no early stopping",
    "one trained row",
    "time limit",
    "probabilities",
    "mixed",
    "module",
    "module at random",
    "share",
    "callbacks",
    "resumed",
    "warm",
    "in parts",
    "probabilities in parts",
    "afterwards",
)


WEIGHTED = "weights", "weights in one", "sparse in one"


@pytest.mark.parametrize("name", [*TOGETHER, *WEIGHTED])
def test_same_bits(told, name):
    first, second = (of_process[name] for of_process in told)
    assert "error" not in first, first
    assert first["digest"] == second["digest"]
    n_samples = 2400 if name in TOGETHER else 2399  # one row has no weight
    assert first["n_samples"] == second["n_samples"] == n_samples
    assert second["n_warnings"] == 0, "only the first warns"


def test_as_good_as_one_process(told, table):
    params = {"hidden_layer_sizes": (32, 16), "max_epochs": 40, "random_state": 0}
    ae = AutoencoderTransformer(2, **params).fit(table[0])
    found = told[0]["uneven"]
    assert found["outcome"] == ae.outcome_ == "trained"
    assert found["score"] / ae.score(table[0]) <= 1.02
    np.testing.assert_allclose(found["mean"], ae.mean_, rtol=1e-12)


def test_module_as_good_as_in_one_process(told, table):
    def path(n_in, n_out):
        parts = nn.Linear(n_in, 16), nn.SiLU(), nn.Linear(16, n_out)
        return nn.Sequential(*parts)

    def make(n_features, n_components):
        network = nn.Module()
        network.encode = path(n_features, n_components)
        network.decode = path(n_components, n_features)
        return network

    ae = AutoencoderTransformer(2, module=make, max_epochs=40, random_state=0)
    ae.fit(table[0])
    assert told[0]["module"]["outcome"] == ae.outcome_ == "trained"
    assert told[0]["module"]["score"] / ae.score(table[0]) <= 1.02
    assert told[0]["module at random"]["outcome"] == "trained"


def test_as_many_components_as_in_one_process(told, table):
    params = {"hidden_layer_sizes": (32, 16), "max_epochs": 20, "random_state": 0}
    ae = AutoencoderTransformer(0.9, **params).fit(table[0])
    assert told[0]["share"]["n_components"] == ae.n_components_
    assert told[0]["share"]["score"] / ae.score(table[0]) <= 1.02


@pytest.mark.parametrize("name", ["in parts", "weights", "probabilities"])
def test_options_as_good_as_one_process(told, table, name):
    X, how = table[0], {}
    params = {"hidden_layer_sizes": (32, 16), "max_epochs": 20, "random_state": 0}
    if name == "weights":
        how["sample_weight"] = np.linspace(0, 4, len(X)) ** 2
    if name == "probabilities":
        X = np.clip((X - X.min(axis=0)) / np.ptp(X, axis=0), 0, 1)
        params["loss"] = "binary_cross_entropy"
    ae = AutoencoderTransformer(2, **params).fit(X, **how)
    found = told[0][name]
    np.testing.assert_allclose(found["mean"], ae.mean_, rtol=1e-12)
    assert found["outcome"] == ae.outcome_ == "trained"
    assert found["weighted" if how else "score"] / ae.score(X, **how) <= 1.02


def test_without_held_out_rows_pca_is_that_of_all_rows(told, table):
    params = {"hidden_layer_sizes": (32, 16), "max_epochs": 2, "early_stopping": False}
    ae = AutoencoderTransformer(2, random_state=0, **params).fit(table[0])
    found = told[0]["no early stopping"]
    assert found["n_iter"] == 2
    assert found["pca_score"] == pytest.approx(ae.pca_score_, rel=1e-5)


@pytest.mark.parametrize("name", ["rows", "in parts", "groups"])
def test_the_same_rows_are_held_out_as_by_one_process(told, name):
    numbers = np.arange(2400)
    dependence = Dependence(numbers, numbers // 3 if name == "groups" else None)
    how = {"seed": draw_seed(0), "can_cross_fit": False}
    [(trained, held_out)] = split(dependence, **how)
    assert told[0][name]["held_out"] == told[1][name]["held_out"] == held_out.tolist()
    assert told[0][name]["trained"] + told[1][name]["trained"] == trained.tolist()


def test_many_rows_are_held_out_by_their_values(told):
    rows = [row for of_process in told for row in of_process["many rows"]["trained"]]
    held_out = told[0]["many rows"]["held_out"]
    assert told[1]["many rows"]["held_out"] == held_out
    assert sorted(rows + held_out) == list(range(2400))
    assert 190 <= len(held_out) <= 290
    assert held_out != told[0]["rows"]["held_out"]


@pytest.mark.parametrize("name", ["groups", "many groups"])
def test_groups_are_on_one_side(told, name):
    trained, held_out = set(), set()
    for of_process in told:
        trained |= {row // 3 for row in of_process[name]["trained"]}
        held_out |= {row // 3 for row in of_process[name]["held_out"]}
    assert not trained & held_out
    assert len(trained | held_out) == 800
    assert len(held_out) == 80


def test_held_out_rows_of_the_user(told):
    rows = [row for of_process in told for row in of_process["X_val"]["trained"]]
    assert sorted(rows) == list(range(2400))
    assert told[0]["X_val"]["held_out"] == list(range(0, 2400, 30))


def test_a_large_table_is_not_copied(told):
    assert not told[1]["in parts"]["is_copied"]
    assert told[1]["groups"]["is_copied"]


def test_callbacks_of_the_first_process_lead_all(told):
    first, second = (of_process["callbacks"] for of_process in told)
    assert first["n_iter"] == second["n_iter"] == first["n_epochs"] == 3
    assert second["n_epochs"] == 0


def test_time_limit_ends_all_at_the_same_step(told):
    assert told[0]["time limit"]["n_iter"] == told[1]["time limit"]["n_iter"] == 1


def test_all_go_on_from_the_checkpoint_of_the_first(told):
    first, second = (of_process["resumed"] for of_process in told)
    assert first["was_there"]
    assert second["first"] == "the disk is gone"
    assert 0 < first["n_steps"] < first["all_steps"]
    assert first["digest"] == told[0]["whole"]["digest"]


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
        ("refused", "distributed=True of AutoencoderTransformer does not take cv=3: leave"),
        ("batch normalization", "take normalization='batch': set normalization='layer'."),
        ("missing", "does not take allow_nan=True: fill missing cells before fit."),
        ("share without held-out rows", "=0.9 with early_stopping=False: set a number."),
        ("counts", "does not take counts with an exposure: set exposure=None."),
        ("targets", "does not take X_target: pass the rows to reconstruct as X."),
        ("exposures", "does not take exposure: leave it out, and set exposure=None"),
        ("detector", "does not take the folds of an outlier detector or an imputer."),
        ("categories", "does not take columns of categories: encode them before fit."),
        ("module with batch normalization", "such as torch.nn.LayerNorm or GroupNorm."),
        ("modules of their own", "makes different networks in the processes"),
        ("module that counts", "because it changes itself by the rows that it is given"),
        ("too few", "at least 2 held-out rows"),
        ("groups of some", "must be passed in every process that has rows, or in none"),
        ("warm from different networks", "processes have different ones"),
    ],
)
def test_errors_that_all_raise(told, name, message):
    for of_process in told:
        assert of_process[name]["error"] == "ValueError"
        assert message in of_process[name]["message"]


def test_a_large_dask_table_is_refused(told):
    pytest.importorskip("dask")
    for of_process in told:
        assert of_process["dask"]["error"] == "ValueError"
        assert "must not be a large dask table" in of_process["dask"]["message"]


def test_processes_that_do_not_know_each_other(table):
    with pytest.raises(RuntimeError, match="Start the program with torchrun"):
        AutoencoderTransformer(2, distributed=True).fit(table[0])


def test_partial_fit_is_of_one_process(table):
    with pytest.raises(ValueError, match="trains in one process"):
        AutoencoderTransformer(2, distributed=True).partial_fit(table[0])


def test_one_process_exchanges_nothing():
    loss = torch.ones(())
    assert ALONE.gather(3) == [3]
    assert ALONE.reduce([], loss, 5) is loss
    assert (ALONE.number, ALONE.are_several) == (0, False)
