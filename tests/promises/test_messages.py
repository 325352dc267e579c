"""What is said of wrong arguments: which, of whom, what is allowed, what to do."""

import os
import re
import signal
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from skorch.callbacks import Callback, EpochTimer

import skae
from skae import AutoencoderTransformer, VariationalAutoencoder
from skae._torch import resolve_device

NAME = "AutoencoderTransformer"


def autoencoder(n_components=2, **params):
    params = {"max_epochs": 2, "random_state": 0, "hidden_layer_sizes": (8,)} | params
    return AutoencoderTransformer(n_components, **params)


def message(error, function, *args, **kwargs):
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    return str(caught.value)


# -- device ----------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["quantum", "cuda:99", "meta", "cpu:x", "xla"])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_device(curved, device, method):
    said = message(ValueError, getattr(autoencoder(device=device), method), curved)
    assert said.startswith(f"device of {NAME} must be 'auto' or a device that torch can")
    assert f"['cpu'{'' if torch.cuda.is_available() else ']'}" in said
    assert f"got {device!r}. Set device='auto'" in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without CUDA")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", torch.device("cuda")], ids=repr)
def test_cuda_where_there_is_none(curved, device):
    said = message(ValueError, autoencoder(device=device).fit, curved)
    assert "which are ['cpu'], got 'cuda" in said


def test_device_of_load(curved, tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "model.skae"
    autoencoder().fit(curved).save(path)
    said = message(ValueError, skae.load, path, device="quantum")
    assert said.startswith("device of load must be 'auto' or")


def test_a_second_gpu_of_the_machine_that_saved(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("cuda:1", strict=False) == torch.device("cpu")
    assert resolve_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(ValueError, match=r"\['cpu', 'cuda:0'.*got 'cuda:1'"):
        resolve_device("cuda:1")


# -- callbacks -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [object(), print, ("name", object()), ("a", EpochTimer(), 3), (1, EpochTimer())],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_callbacks(curved, wrong, method):
    ae = autoencoder(callbacks=[EpochTimer(), wrong])
    said = message(TypeError, getattr(ae, method), curved)
    assert said.startswith(f"callbacks of {NAME} must be a list of skorch callbacks")
    assert f"got {wrong!r} in it" in said
    assert "set_callbacks" in said


def test_callbacks_that_skorch_takes(curved):
    ae = autoencoder(callbacks=[EpochTimer, ("mine", EpochTimer()), Callback()])
    assert ae.fit(curved).n_iter_ > 0


# -- names of columns in a loss --------------------------------------------------------


def test_names_for_an_array(curved):
    X = np.tile(curved, 7)[:, :40]
    names = [f"gene{j}" for j in range(40)]
    ae = autoencoder(loss={"squared_error": names})
    said = message(ValueError, ae.fit, X)
    assert "must name each of the 40 columns once" in said
    assert "'gene7'] and 32 more" in said
    assert "gene8" not in said
    assert "X has no column names: give it as a DataFrame" in said
    assert "indices, 0 to 39" in said
    assert ae.fit(pd.DataFrame(X, columns=names)).n_features_in_ == 40


def test_names_that_the_frame_does_not_have(curved):
    ae = autoencoder(loss={"squared_error": [*"abcde", "F"]})
    said = message(ValueError, ae.fit, pd.DataFrame(curved, columns=[*"abcdef"]))
    assert "unknown: ['F']. The columns of X are ['a', 'b', 'c', 'd', 'e', 'f']." in said


@pytest.mark.parametrize("columns", ["abc", 3, None])
@pytest.mark.parametrize("key", ["squared_error", "cross_entropy"])
def test_columns_that_are_no_list(curved, columns, key):
    said = message(ValueError, autoencoder(loss={key: columns}).fit, curved)
    assert f"loss['{key}'] of {NAME} must be a list of columns, got {columns!r}." in said


# -- columns that hold no numbers ------------------------------------------------------


def frame(kind, n=60):
    rng = np.random.default_rng(0)
    columns = {"age": rng.normal(size=n), "size": rng.normal(size=n)}
    columns["city"] = ["Oslo", "Rome", "Kyiv"] * (n // 3)
    return kind(columns)


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
@pytest.mark.parametrize("method", ["fit", "transform", "impute", "score"])
def test_strings(kind, method):
    X, ae = frame(kind), autoencoder()
    if method != "fit":
        numbers = {name: X[name] for name in ("age", "size")}
        ae.fit(kind({**numbers, "city": X["age"]}))
    said = message(ValueError, getattr(ae, method), X)
    assert said.startswith("could not convert string to float: 'Oslo'\n")
    assert "Every column of X must hold numbers" in said
    assert "these do not: column 'city' (such as 'Oslo')." in said
    assert "'age'" not in said
    remedy = 'astype("category")' if kind is pd.DataFrame else "to polars.Categorical"
    assert remedy in said


def test_what_is_said_of_strings_works():
    X = frame(pd.DataFrame)
    assert autoencoder().fit_transform(X.astype({"city": "category"})).shape == (60, 2)
    X = frame(pl.DataFrame).with_columns(pl.col("city").cast(pl.Categorical))
    assert autoencoder().fit_transform(X).shape == (60, 2)
    X = frame(pd.DataFrame).to_numpy()
    ae = autoencoder(categorical_features=[2])
    assert ae.fit_transform(X).shape == (60, 2)


def test_dates_categories_and_arrays():
    dates = pd.date_range("2020-01-01", periods=60)
    said = message(TypeError, autoencoder().fit, frame(pd.DataFrame).assign(city=dates))
    assert "column 'city' (such as '2020-01-01" in said
    assert "astype" in said
    assert "The full list of DTypes" not in said
    categories = frame(pd.DataFrame).astype({"city": "category"})
    said = message(ValueError, VariationalAutoencoder().fit, categories)
    assert "column 'city' (such as 'Oslo'). Encode categories with a OneHotEncoder" in said
    X = frame(pd.DataFrame).to_numpy()
    assert "column 2 (such as 'Oslo')" in message(ValueError, autoencoder().fit, X)
    said = message(ValueError, autoencoder().fit, np.full((30, 9), "word"))
    assert "column 4 (such as 'word') and 4 more. Name" in said


@pytest.mark.parametrize("name", ["X_val", "X_target"])
def test_errors_name_the_table(curved, name):
    ae, bad = autoencoder(), curved.copy()
    bad[3, 1] = np.nan
    said = message(ValueError, ae.fit, curved, **{name: bad})
    assert said.startswith(f"Input {name} contains NaN.")
    said = message(ValueError, ae.fit, curved, **{name: curved[:, :3]})
    assert said.startswith(f"{name} has 3 features, but {NAME} is expecting 6")
    said = message(ValueError, ae.fit, curved, **{name: curved[:0]})
    assert said.startswith(f"{name}: Found array with 0 sample")
    words = pd.DataFrame(curved).astype({0: str}).assign(**{"0": "a"})
    said = message(ValueError, ae.fit, curved, **{name: words.iloc[:, ::-1].to_numpy()})
    assert f"Every column of {name} must hold numbers" in said


# -- y that is meant as X_target -------------------------------------------------------


@pytest.mark.parametrize("method", ["fit", "fit_transform", "partial_fit"])
@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame, np.ndarray.tolist])
def test_y_of_the_shape_of_x(curved, method, kind):
    text = rf"y of {NAME}\..*fit is ignored, .*shape \(200, 6\) of X.* X_target=y"
    with pytest.warns(UserWarning, match=text) as caught:
        getattr(autoencoder(), method)(curved, kind(curved + 0.1))
    assert method == "fit_transform" or caught[0].filename == __file__


@pytest.mark.parametrize("method", ["fit", "fit_transform", "partial_fit"])
def test_y_that_is_none(curved, method):
    for y in (None, curved[:, 0], curved[:, :2], curved, ["a"] * 200):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            warnings.filterwarnings("ignore", ".*max_epochs")
            getattr(autoencoder(), method)(curved, y)


# -- Ctrl-C ----------------------------------------------------------------------------

INTERRUPTED = """
import signal, sys
import numpy as np
from skae import AutoencoderTransformer
from skae._engine.skorch_net import AutoencoderNet

X = np.random.default_rng(0).normal(size=(400, 5))
params = {"max_epochs": 5, "batch_size": 16, "warm_start": sys.argv[1] == "warm"}
ae = AutoencoderTransformer(2, verbose=1, **params)
original = AutoencoderNet.train_step

def train_step(net, *args, **kwargs):
    if net.n_steps_ == 60:
        signal.raise_signal(signal.SIGINT)
    return original(net, *args, **kwargs)
AutoencoderNet.train_step = train_step
ae.fit(X)  # the user's line
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("start", [pytest.param("cold", marks=pytest.mark.nightly), "warm"])
def test_what_a_terminal_shows_of_ctrl_c(tmp_path, start):
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    folders = [os.path.dirname(os.path.dirname(skae.__file__))]
    folders += filter(None, [os.environ.get("PYTHONPATH")])
    done = subprocess.run(
        [sys.executable, str(script), start],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        timeout=120,
        check=False,
    )
    lines = done.stderr.splitlines()
    assert done.returncode in (-signal.SIGINT, 130)
    assert len(lines) < 12
    assert sum(line.startswith("Traceback") for line in lines) == 1
    assert "the user's line" in done.stderr or "ae.fit(X)" in done.stderr
    end = {"cold": "as it was before the call", "warm": "the best epoch so far"}[start]
    assert re.match(rf"KeyboardInterrupt: fit of {NAME} was interrupted.*{end}", lines[-1])


class AtTheStart(Callback):
    def on_train_begin(self, net, X=None, y=None, **kwargs):
        raise KeyboardInterrupt


class InABatch(Callback):
    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        raise KeyboardInterrupt


@pytest.mark.parametrize("kind", [AtTheStart, InABatch])
def test_an_interrupt_in_partial_fit(curved, kind):
    ae = autoencoder(callbacks=[kind()])
    before = vars(ae).copy()
    text = f"partial_fit of {NAME} was interrupted; the estimator is as it was"
    X = np.concatenate([curved, curved + 1])  # of fewer rows no network is trained
    with pytest.raises(KeyboardInterrupt, match=text):
        ae.partial_fit(X)
    assert vars(ae) == before
