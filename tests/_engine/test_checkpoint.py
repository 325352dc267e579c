"""Checkpoints: a fit that was killed goes on, and ends as if nothing had been."""

import os
import pickle
import random
import signal
import sys
import time
import warnings

import numpy as np
import pytest
import torch
from joblib import parallel_config
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, LRScheduler
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

import skae
from skae import AutoencoderTransformer
from skae._engine.checkpoint import described
from skae._engine.objective import Objective
from skae._engine.skorch_net import AutoencoderNet
from skae._files.container import pack
from skae.exceptions import DivergenceError, ModelFileError
from skae.noise import GaussianNoise, MaskingNoise
from skae.regularizers import L1Code

LIMIT = 120  # seconds after which a process that hangs is given up
EPOCHS = 6


class Torchs(nn.Module):
    """torch's own layers: they draw from the global generator, and count batches."""

    def __init__(self, n_features, n_components):
        super().__init__()
        layers = nn.Linear(n_features, 16), nn.BatchNorm1d(16), nn.Dropout(0.2)
        self.encode = nn.Sequential(*layers, nn.Linear(16, n_components))
        self.decode = nn.Linear(n_components, n_features)


class Samples(nn.Module):
    """Draws from every global generator, in evaluation mode too."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.first = nn.Linear(n_features, n_components)
        self.decode = nn.Linear(n_components, n_features)

    def encode(self, X):
        Z = self.first(X)
        factor = 1 + 0.1 * np.random.normal() + 0.1 * random.gauss()  # noqa: NPY002
        return factor * Z + 0.1 * torch.randn_like(Z)


SETTINGS = {
    "cross-fitted": {},
    "every row": {"early_stopping": False},
    "chance": {"dropout": 0.2, "noise": MaskingNoise(0.2), "init": "random"},
    "ordered": {"ordered": True, "n_components": 3},
    "batch norm": {"normalization": "batch", "regularizer": L1Code(1e-3)},
    "loss": {"loss": "absolute_error", "standardize": True},
    "module": {"module": Torchs},
    "module that samples": {"module": Samples},
}


@pytest.fixture(scope="module")
def curved(curved):
    """Fewer rows: six steps an epoch."""
    return curved[:96]


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch):
    monkeypatch.setattr("skae._engine.checkpoint.EVERY", 0.0)
    monkeypatch.setattr("skae._engine.checkpoint.MOST_TIME", np.inf)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.checkpoint"


def estimator(**params):
    defaults = {"max_epochs": EPOCHS, "batch_size": 16, "random_state": 0}
    defaults |= {"n_components": 2, "hidden_layer_sizes": (16,)}
    return AutoencoderTransformer(**defaults | params)


def quiet_fit(ae, X, **arrays):
    """A fit of which it makes no matter whether it could have gone on."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*max_epochs", ConvergenceWarning)
        return ae.fit(X, **arrays)


class Killed(Exception):
    pass


class Dies(Callback):
    """Ends a fit within an epoch, where it has trained on a batch or two."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_grad_computed(self, net, **kwargs):
        if len(net.history) == self.epoch and net.n_steps_ % 3 == 2:
            raise Killed


class Ends(Callback):
    """Ends training after three epochs."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 3:
            raise KeyboardInterrupt


class Counts(Callback):
    """Counts in a list of the class: the instance is copied before it is used."""

    epochs = []

    def on_epoch_end(self, net, **kwargs):
        self.epochs.append(net.history[-1, "epoch"])


def die(path, X, epoch=4, arrays=None, callbacks=(), **params):
    """A fit that dies in an epoch, and leaves its file behind."""
    ae = estimator(checkpoint=path, callbacks=[Dies(epoch), *callbacks], **params)
    with pytest.raises(Killed):
        ae.fit(X, **arrays or {})
    assert path.exists()


def resume(path, X, epoch=4, arrays=None, callbacks=(), **params):
    """The same call again: it trains on from that epoch."""
    Counts.epochs.clear()
    ae = estimator(checkpoint=path, callbacks=[Counts(), *callbacks], **params)
    quiet_fit(ae, X, **arrays or {})
    assert Counts.epochs == [*range(epoch, ae.n_iter_ + 1)]
    assert not path.exists()
    return ae


def outcome(ae):
    """All that a fit has found, but for the parameters, as bytes."""
    state = ae.__getstate__()
    for name in ae.get_params(deep=False):
        del state[name]
    if not isinstance(state["net_"], dict):
        tensors = state["net_"].state_dict()
        state["net_"] = {name: tensor.numpy() for name, tensor in tensors.items()}
    del state["_params_of_fit"]
    return pack(type(ae).__name__, {}, state)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_fit_goes_on_to_the_same_bits(curved, path, name):
    params = SETTINGS[name]
    whole = quiet_fit(estimator(**params), curved)
    assert whole.n_iter_ == EPOCHS
    die(path, curved, **params)
    state = torch.get_rng_state()
    again = resume(path, curved, **params)
    assert outcome(again) == outcome(whole)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_fit_that_dies_in_every_epoch(curved, path):
    whole = quiet_fit(estimator(), curved)
    for epoch in range(1, EPOCHS + 1):
        die(path, curved, epoch)
    assert outcome(resume(path, curved, EPOCHS)) == outcome(whole)


def test_a_fit_that_is_noted_and_not_killed(curved, path):
    whole = quiet_fit(estimator(), curved)
    assert outcome(resume(path, curved, epoch=1)) == outcome(whole)
    assert os.listdir(path.parent) == []


class Sets(Callback):
    """Lowers the rate, as a number of NumPy's."""

    def __init__(self, of):
        self.of = of

    def on_epoch_end(self, net, **kwargs):
        if self.of == "net":
            net.lr = np.float64(0.7) * net.lr
        else:
            net.optimizer_.param_groups[-1]["lr"] *= np.float64(0.7)


RATES = {
    "epochs": lambda: LRScheduler("StepLR", step_size=2, gamma=0.5),
    "milestones": lambda: LRScheduler("MultiStepLR", milestones=[1, 5], gamma=0.5),
    "lambda": lambda: LRScheduler("LambdaLR", lr_lambda=lambda epoch: 0.8**epoch),
    "cosine": lambda: LRScheduler("CosineAnnealingLR", T_max=EPOCHS),
    "batches": lambda: LRScheduler("StepLR", step_every="batch", step_size=8, gamma=0.8),
    "cycle": lambda: LRScheduler(
        OneCycleLR, step_every="batch", max_lr=0.02, total_steps=40
    ),
    "plateau": lambda: LRScheduler(
        "ReduceLROnPlateau", monitor="train_loss", patience=1, threshold=0.5, factor=0.5
    ),
    "net": lambda: Sets("net"),
    "group": lambda: Sets("group"),
}


@pytest.mark.parametrize("name", RATES)
def test_rates_of_callbacks_go_on(curved, path, name):
    whole = quiet_fit(estimator(callbacks=[RATES[name]()]), curved)
    constant = quiet_fit(estimator(), curved)
    assert whole.loss_curve_[-1] != constant.loss_curve_[-1]
    die(path, curved, callbacks=[RATES[name]()])
    again = resume(path, curved, callbacks=[RATES[name]()])
    assert again.loss_curve_ == whole.loss_curve_
    assert outcome(again) == outcome(whole)


def test_patience_goes_on(curved, path):
    params = {"max_epochs": 60, "n_iter_no_change": 3, "lr": 0.02, "tol": 0.01}
    whole = quiet_fit(estimator(**params), curved)
    last = whole.n_iter_
    assert 4 < last < 60
    die(path, curved, last, **params)
    assert outcome(resume(path, curved, last, **params)) == outcome(whole)


def test_divergence_after_a_resumption(curved, path, monkeypatch):
    """The last finite epoch may be one of the fit that was killed."""
    params = {"early_stopping": False}
    whole = quiet_fit(estimator(callbacks=[Ends()], **params), curved)
    die(path, curved, **params)
    original = Objective._mean_loss

    def nothing(objective, output, batch):
        return original(objective, output, batch) * float("nan")

    monkeypatch.setattr(Objective, "_mean_loss", nothing)
    with pytest.warns(ConvergenceWarning, match="in epoch 4 .* epoch 3 are kept"):
        ae = estimator(checkpoint=path, **params).fit(curved)
    assert np.array_equal(ae.transform(curved), whole.transform(curved))


def test_sparse_rows_that_are_streamed(path, monkeypatch):
    monkeypatch.setattr("skae._tables.rows.SMALL", 1000)
    X = sparse.random(1100, 8, density=0.3, format="csr", random_state=0)
    params = {"max_epochs": 3, "batch_size": 64}
    whole = quiet_fit(estimator(**params), X)
    die(path, X, 2, **params)
    assert outcome(resume(path, X, 2, **params)) == outcome(whole)
    die(path, X, 2, **params)
    X.data[5] += 1
    with pytest.raises(ValueError, match="X was"):
        estimator(checkpoint=path, **params).fit(X)


def test_the_other_arguments_of_fit(curved, path):
    weights = np.linspace(0.5, 1.5, len(curved))
    for arrays in (
        {"sample_weight": weights},
        {"X_val": curved[:40]},
        {"X_target": curved + 0.1},
    ):
        whole = quiet_fit(estimator(), curved, **arrays)
        die(path, curved, arrays=arrays)
        with pytest.raises(ValueError, match=r"(weights|X_val|X_target) was"):
            estimator(checkpoint=path).fit(curved)
        assert outcome(resume(path, curved, arrays=arrays)) == outcome(whole)


def test_a_warm_start(curved, path):
    first = quiet_fit(estimator(warm_start=True), curved)
    second = quiet_fit(pickle.loads(pickle.dumps(first)), curved)
    first.set_params(checkpoint=path, callbacks=[Dies(4)])
    with pytest.raises(Killed):
        first.fit(curved)
    with pytest.raises(ValueError, match="network of the warm start was"):
        estimator(warm_start=True, checkpoint=path).fit(curved)
    quiet_fit(first.set_params(callbacks=None), curved)
    assert outcome(first) == outcome(second)


def test_without_a_seed_a_fit_goes_on_with_its_own(curved, path):
    params = {"random_state": None, "dropout": 0.1}
    die(path, curved, **params)
    again = resume(path, curved, **params)
    assert again.random_state is None
    # It is one of the seeds that NumPy's generator gave, and other fits take others.
    other = resume(path, curved, 1, **params)
    assert outcome(other) != outcome(again)
    np.random.seed(0)  # noqa: NPY002
    die(path, curved, **params)
    again = resume(path, curved, **params)
    np.random.seed(0)  # noqa: NPY002
    assert outcome(quiet_fit(estimator(**params), curved)) == outcome(again)


# -- when the file is written and when not ---------------------------------------------


@pytest.mark.parametrize("warm_start", [False, True])
def test_ctrl_c_notes_the_last_epoch(curved, path, monkeypatch, warm_start):
    monkeypatch.setattr("skae._engine.checkpoint.EVERY", 3600.0)
    whole = quiet_fit(estimator(warm_start=warm_start), curved)
    original = AutoencoderNet.train_step

    def train_step(net, batch, **params):
        if len(net.history) == 5 and net.n_steps_ % 6 == 4:
            raise KeyboardInterrupt
        return original(net, batch, **params)

    with monkeypatch.context() as patch:
        patch.setattr(AutoencoderNet, "train_step", train_step)
        ae = estimator(checkpoint=path, warm_start=warm_start)
        with pytest.raises(KeyboardInterrupt):
            ae.fit(curved)
    assert hasattr(ae, "net_") == warm_start
    if warm_start:  # it has its best epoch, which is not where the file goes on
        with pytest.raises(ValueError, match="network of the warm start was none"):
            ae.fit(curved)
    assert outcome(resume(path, curved, 5, warm_start=warm_start)) == outcome(whole)


def test_the_file_is_written_now_and_then(curved, path, monkeypatch):
    written = []
    original = skae._engine.checkpoint.write_model

    def write_model(*args):
        written.append(len(args[3]["epochs"]))
        original(*args)

    monkeypatch.setattr("skae._engine.checkpoint.write_model", write_model)
    monkeypatch.setattr("skae._engine.checkpoint.EVERY", 3600.0)
    quiet_fit(estimator(checkpoint=path), curved)
    assert written == [0]  # at once: what is wrong with the path shows early
    monkeypatch.setattr("skae._engine.checkpoint.EVERY", 0.0)
    quiet_fit(estimator(checkpoint=path), curved)
    assert written[1:] == [*range(EPOCHS)]
    # Writing that takes long is done less often.
    written.clear()
    monkeypatch.setattr("skae._engine.checkpoint.MOST_TIME", 1e-9)
    quiet_fit(estimator(checkpoint=path), curved)
    assert written == [0]


def test_a_fit_without_training_leaves_no_file(curved, path):
    quiet_fit(estimator(hidden_layer_sizes=(), checkpoint=path), curved)
    assert os.listdir(path.parent) == []


def test_the_file_of_a_fit_that_diverged_is_deleted(curved, path):
    ae = estimator(checkpoint=path, init="random", lr=1e30)
    with pytest.raises(DivergenceError):
        ae.fit(curved)
    assert os.listdir(path.parent) == []


# -- files of others -------------------------------------------------------------------


def retyped(X):
    return X.astype(np.float32)


def shifted(X):
    X = X.copy()
    X[3, 4] = np.nextafter(X[3, 4], np.inf)
    return X


@pytest.mark.parametrize(
    ("params", "change", "text"),
    [
        (
            {"lr": 1e-3},
            None,
            r"lr was 'auto' and is 0\.001\. To go on with that fit call fit",
        ),
        ({"random_state": 1}, None, "random_state was 0 and is 1"),
        ({"random_state": None}, None, "random_state was 0 and is None"),
        ({"max_epochs": 7, "tol": 0.0}, None, "max_epochs was 6 and is 7; tol was"),
        ({"noise": GaussianNoise(0.2)}, None, "noise was None and is .*scale: 0.2"),
        ({"module": Torchs}, None, r"module was None and is .*Torchs"),
        ({}, shifted, r"X was \w{32} float64 \(96, 6\).* and is"),
        ({}, retyped, r"and is \w{32} float32 \(96, 6\)"),
        ({}, lambda X: X[:80], r"and is \w{32} float64 \(80, 6\)"),
    ],
)
def test_a_file_of_another_fit(curved, path, params, change, text):
    die(path, curved)
    data = path.read_bytes()
    X = curved if change is None else change(curved)
    ae = estimator(checkpoint=path, **params)
    before = vars(ae).copy()
    with pytest.raises(ValueError, match=text) as caught:
        ae.fit(X)
    assert "delete the file or choose another path" in str(caught.value)
    assert path.read_bytes() == data
    assert vars(ae) == before


@pytest.mark.parametrize(
    ("target", "value", "text"),
    [
        ("skae.__version__", "99.0", "version of skae was .* and is 99.0"),
        ("torch.__version__", "9.9", "version of torch was .* and is 9.9"),
        ("torch.get_num_threads", lambda: 77, "number of threads was .* and is 77"),
    ],
)
def test_a_file_of_another_installation(curved, path, monkeypatch, target, value, text):
    die(path, curved)
    monkeypatch.setattr(target, value)
    with pytest.raises(ValueError, match=text):
        estimator(checkpoint=path).fit(curved)


def test_what_changes_no_bit_may_differ(curved, path, monkeypatch):
    whole = quiet_fit(estimator(), curved)
    die(path, curved)
    monkeypatch.chdir(path.parent)
    ae = estimator(checkpoint=path.name, device="cpu", random_state=np.int64(0))
    assert outcome(quiet_fit(ae, curved)) == outcome(whole)
    assert not path.exists()


@pytest.mark.parametrize("kind", ["truncated", "altered", "pickle", "model", "text"])
def test_files_that_are_no_checkpoint(curved, path, kind):
    die(path, curved)
    data = bytearray(path.read_bytes())
    if kind == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "altered":
        data[-5] ^= 1
        path.write_bytes(data)
    elif kind == "model":
        quiet_fit(estimator(), curved).save(path)
    else:
        path.write_bytes(pickle.dumps([1]) if kind == "pickle" else b"my diary" * 100)
    data = path.read_bytes()
    text = "checkpoint=.*fit.checkpoint.*Delete the file or choose another path"
    with pytest.raises(ModelFileError, match=text):
        estimator(checkpoint=path).fit(curved)
    assert path.read_bytes() == data


def test_a_checkpoint_is_no_model(curved, path):
    die(path, curved)
    with pytest.raises(ModelFileError, match="holds a 'checkpoint'"):
        skae.persistence.load(path)


def test_a_forged_checkpoint(curved, path):
    """A state that does not go with the network is refused, not used in part."""
    die(path, curved)
    kind, items, state = skae._files.container.read_model(path)
    state["averages"][0] = state["averages"][0][..., :1]
    skae._files.container.write_model(path, kind, items, state)
    with pytest.raises(ModelFileError, match="in the place of one of shape"):
        estimator(checkpoint=path).fit(curved)


# -- the parameter ---------------------------------------------------------------------


def test_bad_paths(curved, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoint=.* there is no folder"):
        estimator(checkpoint=tmp_path / "none" / "a").fit(curved)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*none"):
        estimator(checkpoint=f"{tmp_path}{os.sep}none{os.sep}").fit(curved)
    with pytest.raises(ValueError, match="'checkpoint' parameter"):
        estimator(checkpoint=3).fit(curved)


def test_a_folder_has_a_file_for_every_fit(curved, tmp_path):
    """A search that was killed goes on with each fit where that was."""
    rates = [1e-3, 5e-3]
    whole = [outcome(quiet_fit(estimator(lr=lr), curved)) for lr in rates]
    for lr in rates:
        ae = estimator(lr=lr, checkpoint=tmp_path, callbacks=[Dies(4)])
        with pytest.raises(Killed):
            ae.fit(curved)
    names = os.listdir(tmp_path)
    assert len(names) == 2
    assert all(name.startswith("AutoencoderTransformer-") for name in names)
    for lr, bits in zip(rates, whole, strict=True):
        Counts.epochs.clear()
        ae = estimator(lr=lr, checkpoint=tmp_path, callbacks=[Counts()])
        assert outcome(quiet_fit(ae, curved)) == bits
        assert Counts.epochs == [*range(4, ae.n_iter_ + 1)]
    assert os.listdir(tmp_path) == []


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_workers_of_a_search_share_a_folder(curved, tmp_path):
    grid, params = {"lr": [1e-3, 5e-3]}, {"cv": 2, "n_jobs": 2, "error_score": "raise"}
    with parallel_config(backend="threading"):
        search = GridSearchCV(estimator(checkpoint=tmp_path), grid, **params).fit(curved)
    alone = GridSearchCV(estimator(), grid, cv=2).fit(curved)
    for name in "split0_test_score", "split1_test_score":
        assert list(search.cv_results_[name]) == list(alone.cv_results_[name])
    assert os.listdir(tmp_path) == []


class Meets(Callback):
    """In an epoch of a fit, does what another fit would do to its file."""

    def __init__(self, act):
        self.act = act

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 3:
            self.act()


def test_fits_that_share_a_file_are_told_what_to_do(curved, path, monkeypatch):
    advice = "need separate files: make a folder and set checkpoint to it"

    def other():
        quiet_fit(estimator(random_state=1), curved)
        skae._files.container.write_model(path, "checkpoint", {}, {"mine": 1})

    with pytest.raises(ModelFileError, match=f"another fit .* {advice}"):
        estimator(checkpoint=path, callbacks=[Meets(other)]).fit(curved)
    assert skae._files.container.read_model(path)[2] == {"mine": 1}
    with pytest.raises(ValueError, match=f"is of another fit: .* {advice}"):
        estimator(checkpoint=path).fit(curved)
    path.unlink()
    # Another fit that ends deletes the file that this one is about to rename.
    real = os.replace

    def replace(source, target):
        skae._files.container.remove_model(target)
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(ModelFileError, match=f"another fit .* {advice}"):
        estimator(checkpoint=path).fit(curved)


def test_a_share_of_the_variance_is_several_fits(curved, path):
    with pytest.raises(ValueError, match=r"checkpoint=.*n_components=0\.9 needs several"):
        estimator(n_components=0.9, checkpoint=path).fit(curved)


def test_no_file_holds_the_path(curved, path):
    ae = quiet_fit(estimator(checkpoint=str(path)), curved)
    assert clone(ae).checkpoint == str(path)
    ae.save(path)
    again = skae.persistence.load(path)
    assert again.checkpoint is None
    assert np.array_equal(again.transform(curved), ae.transform(curved))


def test_parameters_in_words():
    """The same in every process: no address, no order of a set."""
    assert described(GaussianNoise(0.1)) == "{GaussianNoise: {scale: 0.1}}"
    assert described({"b": [1, 2.5], "a": "x"}) == "{a: 'x', b: (1, 2.5)}"
    assert described(np.float64(0.1)) == described(0.1)
    assert described(Torchs).endswith("test_checkpoint.Torchs")
    assert described(np.arange(3)) != described(np.arange(4))


# -- kill -9 ---------------------------------------------------------------------------


def train(pipe, path, noted=True):
    """In a process of its own: a fit that tells of its epochs."""
    skae._engine.checkpoint.EVERY, skae._engine.checkpoint.MOST_TIME = 0.0, np.inf
    X = np.random.default_rng(0).normal(size=(100, 6)) ** 3
    params = {"max_epochs": 30, "n_iter_no_change": 30, "dropout": 0.1, "noise": 0.1}
    original = AutoencoderNet.on_epoch_begin

    def on_epoch_begin(self, net, **kwargs):
        original(self, net, **kwargs)
        pipe.send(len(net.history))

    AutoencoderNet.on_epoch_begin = on_epoch_begin
    ae = quiet_fit(estimator(checkpoint=path if noted else None, **params), X)
    pipe.send(outcome(ae))


def run(processes, path, noted=True, until=None, wait=0.0):
    """First epoch and outcome of a fit, or None where it is killed in epoch `until`."""
    ours, theirs = processes.Pipe()
    process = processes.Process(target=train, args=(theirs, path, noted))
    process.start()
    theirs.close()
    first = message = None
    while not isinstance(message, bytes):
        assert ours.poll(LIMIT)
        message = ours.recv()
        first = first or message
        if message == until:
            time.sleep(wait)
            os.kill(process.pid, signal.SIGKILL)
            break
    process.join(LIMIT)
    assert process.exitcode == (0 if until is None else -signal.SIGKILL)
    return first, message if until is None else None


MOMENTS = 2  # in a row, at which the fit is killed


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_kill_9(processes, path):
    """Killed at any moment and resumed, again and again: the bits are those of one fit."""
    _, whole = run(processes, path, noted=False)
    chance = random.Random(0)
    reached = 1
    for until in sorted(chance.sample(range(2, 12), MOMENTS)):
        first, _ = run(processes, path, True, until, chance.uniform(0, 0.03))
        assert first >= reached
        reached = until
    first, again = run(processes, path)
    assert first >= reached
    assert again == whole
    assert not path.exists()


def write_and_die(path):
    """In a process of its own: killed when all is written but the name."""
    os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
    skae._files.container.write_model(path, "checkpoint", {}, {})


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_what_a_kill_left_beside_the_file_is_deleted(processes, curved, tmp_path):
    path = tmp_path / "[a]*" / "fit.checkpoint"
    path.parent.mkdir()
    for target in (path, path.with_name("another")):
        process = processes.Process(target=write_and_die, args=(target,))
        process.start()
        process.join(LIMIT)
        assert process.exitcode == -signal.SIGKILL
    assert [name[-4:] for name in os.listdir(path.parent)] == [".tmp"] * 2
    quiet_fit(estimator(checkpoint=path), curved)
    assert len(os.listdir(path.parent)) == 1  # that of the other file
