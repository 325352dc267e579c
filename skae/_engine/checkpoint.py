"""A file with the state of a fit after an epoch, from which a killed fit can go on.

The file has the format of `skae._files.container`: it holds numbers and words, and opening
it runs no code. Its parameters are the fingerprint of the fit, and its fitted attributes
are the state.
"""

import hashlib
import os
import time

import numpy as np
import torch
from scipy import sparse

from skae._files.container import loaded_versions, read_model, remove_model, write_model
from skae._tables.rows import row_blocks, rows_of
from skae.exceptions import DivergenceError, ModelFileError
from skae.modules._base import layers_that_draw

__all__ = ["Checkpoint", "SharedCheckpoint", "digest_of_weights", "fingerprint"]

KIND = "checkpoint"  # in the place of the class in a model file
EVERY = 30.0  # least number of seconds between two writes
MOST_TIME = 0.05  # largest share of the time that writing may take
SHOWN = 60  # largest number of characters of a value in a message
SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))
OWN_FILES = (
    "Fits that have the same parameters, as those of a search do, need separate files: "
    "make a folder and set checkpoint to it."
)


class Checkpoint:
    """The file of one fit, and the state that is written to it.

    Parameters
    ----------
    path : str or path-like
        Path of the file, or of a folder in which every fit has a file of its own, named
        after its fingerprint.
    owner : str
        Name of the estimator's class.
    fingerprint : dict of str and str
        See the function `fingerprint`.
    seed : int
        Seed of the fit. If the file exists its seed is used instead, so that a fit without
        a `random_state` goes on with the seed with which it began.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    ValueError
        If the file belongs to another fit, or is not a checkpoint.
    """

    def __init__(self, path, owner, fingerprint, seed):
        # The path is absolute because the working directory may change in training.
        self.path = os.path.abspath(os.fspath(path))
        self.owner, self.fingerprint, self.seed = owner, fingerprint, seed
        self.state = None  # after the last epoch
        self.due = -np.inf
        self.is_paused = False
        is_folder = os.path.isdir(self.path) or os.fspath(path).endswith(SEPARATORS)
        folder = self.path if is_folder else os.path.dirname(self.path)
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f"checkpoint={path!r} of {owner}: there is no folder {folder!r}. Make it "
                "or choose another path."
            )
        if is_folder:
            self.path = os.path.join(folder, _file_name(owner, fingerprint))
        self.mark = _mark(self.path)  # identifies the file as this fit has left it
        if self.mark is not None:
            self._read()

    def _read(self):
        where = f"checkpoint={self.path!r} of {self.owner}"
        remedy = "Delete the file or choose another path."
        try:
            kind, found, state = read_model(self.path)
        except FileNotFoundError as error:
            raise self._shared() from error
        except ModelFileError as error:
            raise ModelFileError(f"{where}: {error} {remedy}") from error
        if kind != KIND:
            raise ModelFileError(f"{where} is a file with a model. {remedy}")
        differs = [
            f"{name} was {_shown(found, name)} and is {_shown(self.fingerprint, name)}"
            for name in sorted({*found, *self.fingerprint})
            if found.get(name) != self.fingerprint.get(name)
        ]
        if differs:
            raise ValueError(
                f"{where} is of another fit: {'; '.join(differs)}. To go on with that fit "
                "call fit as it was called then. To start anew delete the file or choose "
                f"another path. {OWN_FILES}"
            )
        self.seed, self.state = state.pop("seed"), state
        self.due = time.monotonic() + EVERY

    def resume(self, net):
        """Restore the state of the file, if there is one, before a net trains."""
        if self.state is not None:
            restore(net, self.state)

    def resume_rates(self, net):
        """Restore the learning rates again, after callbacks have begun and set theirs."""
        if self.state is not None:
            restore_rates(net, self.state)

    def note(self, net, others=()):
        """Keep the state of a net between two epochs, and write it if it is time.

        The items of the dict `others` are kept too.
        """
        self.state = snapshot(net) | dict(others)
        if time.monotonic() >= self.due:
            self.write()

    def write(self):
        """Replace the file by one that holds the state after the last epoch."""
        if self.state is None:
            return
        begin = time.monotonic()
        state = {"seed": self.seed, **self.state}
        if _mark(self.path) not in (None, self.mark):
            raise self._shared()
        try:
            write_model(self.path, KIND, self.fingerprint, state)
        except FileNotFoundError as error:
            raise self._shared() from error
        self.mark = _mark(self.path)
        end = time.monotonic()
        self.due = end + max(EVERY, (end - begin) / MOST_TIME)

    def pause(self):
        """Write the file, and keep it although the fit ends, so that another goes on."""
        self.write()
        self.is_paused = True

    def _shared(self):
        """Return the error for a file that another fit has changed."""
        return ModelFileError(
            f"checkpoint={self.path!r} of {self.owner}: another fit that runs at the same "
            f"time writes to this file or has deleted it. {OWN_FILES}"
        )

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        """Delete the file if training is complete, or would end in NaN again."""
        is_complete = kind is None and not self.is_paused
        is_over = is_complete or (kind is not None and issubclass(kind, DivergenceError))
        if is_over and _mark(self.path) in (None, self.mark):
            remove_model(self.path)


class SharedCheckpoint:
    """The checkpoint of several processes, whose file is that of the first one.

    All go on from the state in this file, and each with its own generators, which are kept
    there too.

    Parameters
    ----------
    peers : Peers
    open_file : callable (fingerprint) -> Checkpoint
        It is called in the first process.
    fingerprint : dict of str and str
        Fingerprint of the fit in this process.
    """

    def __init__(self, peers, open_file, fingerprint):
        found = peers.gather(fingerprint)
        joined = {name: [items.get(name) for items in found] for name in found[0]}
        joined = {name: " and ".join(dict.fromkeys(v)) for name, v in joined.items()}
        joined["number of processes"] = str(len(found))
        self.peers, self.file = peers, None if peers.number else open_file(joined)
        told = self.file and (self.file.seed, self.file.state)
        self.seed, self.state = peers.gather(told)[0]

    def resume(self, net):
        """Restore the state of the file, if there is one, before a net trains."""
        if self.state is not None:
            own = self.state["generators of processes"][self.peers.number]
            restore(net, self.state | own)

    def resume_rates(self, net):
        """Restore the learning rates again, after callbacks have begun and set theirs."""
        if self.state is not None:
            restore_rates(net, self.state)

    def note(self, net):
        """Keep the state of the nets between two epochs, and write it if it is time."""
        parts = self.peers.gather(generators_of(net))
        if self.file is not None:
            self.file.note(net, {"generators of processes": parts})

    def write(self):
        """Replace the file by one that holds the state after the last epoch."""
        if self.file is not None:
            self.file.write()

    def pause(self):
        """Write the file, and keep it although the fit ends, so that another goes on."""
        if self.file is not None:
            self.file.pause()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.file is not None:
            self.file.__exit__(*exception)


def _file_name(owner, fingerprint):
    """Return the name of the file of a fit in a folder."""
    words = "\n".join(f"{name}: {fingerprint[name]}" for name in sorted(fingerprint))
    return f"{owner}-{hashlib.sha256(words.encode()).hexdigest()[:24]}.checkpoint"


def _mark(path):
    """Return a tuple that changes when a file is replaced; None if there is no file."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _shown(items, name):
    """Return an entry of a fingerprint as text, short enough for a message."""
    text = str(items.get(name, "not there"))
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


# -- the fingerprint of a fit ----------------------------------------------------------


def fingerprint(owner, parameters, tables, initial, device):
    """Describe in words everything on which the bits of a fit depend.

    Parameters
    ----------
    owner : str
        Name of the estimator's class.
    parameters : dict
        Parameters of the estimator, without those that do not change the result.
    tables : dict of str and (array-like of rows, or None)
        Arguments of `fit`.
    initial : nn.Module or None
        The network from which a warm start goes on.
    device : torch.device

    Returns
    -------
    items : dict of str and str
    """
    items = {"class": owner, "device": str(device)}
    items |= {name: described(value) for name, value in parameters.items()}
    items |= {name: _digest(X) for name, X in tables.items()}
    items |= {f"version of {name}": v for name, v in loaded_versions().items()}
    items["number of threads"] = str(torch.get_num_threads())
    items["instructions of the CPU"] = torch.backends.cpu.get_cpu_capability()
    items["network of the warm start"] = "none"
    if initial is not None:
        items["network of the warm start"] = digest_of_weights(initial)
    return items


def digest_of_weights(network):
    """Return the SHA-256 of all tensors of a network."""
    sha256 = hashlib.sha256()
    for tensor in _tensors(network).values():
        sha256.update(_array(tensor))
    return sha256.hexdigest()


def described(value):
    """Describe a parameter in words that are the same in every process."""
    if hasattr(value, "get_params"):
        value = {type(value).__qualname__: value.get_params(deep=False)}
    if isinstance(value, dict):
        pairs = sorted((str(key), described(item)) for key, item in value.items())
        return "{" + ", ".join(f"{key}: {item}" for key, item in pairs) + "}"
    if isinstance(value, list | tuple):
        return f"({', '.join(map(described, value))})"
    if isinstance(value, np.ndarray):
        return _digest(np.atleast_2d(value))
    if callable(value):
        kind = value if hasattr(value, "__qualname__") else type(value)
        return f"{kind.__module__}.{kind.__qualname__}"
    return repr(value.item() if isinstance(value, np.generic) else value)


def _digest(X):
    """Return the SHA-256 of the values of a table, with its dtype and its shape."""
    if X is None:
        return "none"
    sha256 = hashlib.sha256()
    if sparse.issparse(X):
        parts = X.data, X.indices, X.indptr
    else:
        X = X[:, None] if len(X.shape) == 1 else X
        parts = (rows_of(X, block) for block in row_blocks(*X.shape))
    for part in parts:
        sha256.update(np.ascontiguousarray(part))
    return f"{sha256.hexdigest()[:32]} {X.dtype} {tuple(X.shape)}"


# -- the state of a net between two epochs ---------------------------------------------


def snapshot(net):
    """Return a copy of everything that an epoch of training leaves for the next.

    Parameters
    ----------
    net : AutoencoderNet

    Returns
    -------
    state : dict
        Plain values and arrays, which further training does not change.
    """
    choice, optimizer = net.choice, net.optimizer_
    state = {
        "epochs": [_plain(epoch) for epoch in net.history],
        "n_steps": net.n_steps_,
        "n_averaged": net.n_averaged_,
        "network": {name: _array(t) for name, t in _tensors(net.module_).items()},
        "averages": [*map(_array, net.averages_)],
        "optimizer": [
            {name: _array(tensor) for name, tensor in optimizer.state[p].items()}
            for p in _trained(optimizer)
            if p in optimizer.state
        ],
        "lr": _as_plain(net.lr),
        "rates": [_plain(group) for group in optimizer.param_groups],
        "schedulers": [_plain(scheduler.state_dict()) for scheduler in _schedulers(net)],
    } | generators_of(net)
    if choice is not None:
        state["choice"] = [
            choice.epoch,
            float(choice.mark),
            choice.mark_epoch,
            float(choice.typical),
            choice.typical_epoch,
            choice.recent,
            choice.is_lost,
        ]
        gains, epoch, weights = choice.best
        state["best"] = [gains, epoch, weights and [*map(_array, weights)]]
    return state


def generators_of(net):
    """Return the states of all generators, as a dict."""
    return {
        "generators": [g.get_state().numpy() for g in _generators(net)],
        "global generators": net.states_.get_state(),
    }


def restore(net, state):
    """Restore a state that `snapshot` returned, before a net trains."""
    tensors = _tensors(net.module_)
    _copy([*tensors.values()], [state["network"][name] for name in tensors])
    _copy(net.averages_, state["averages"])
    net.n_steps_, net.n_averaged_ = state["n_steps"], state["n_averaged"]
    if state["optimizer"]:
        of_weights = zip(_trained(net.optimizer_), state["optimizer"], strict=True)
        for weight, arrays in of_weights:
            net.optimizer_.state[weight] = {
                name: torch.tensor(array, device=weight.device)
                for name, array in arrays.items()
            }
    restore_rates(net, state)
    for generator, array in zip(_generators(net), state["generators"], strict=True):
        generator.set_state(torch.tensor(array))
    net.states_.set_state(state["global generators"])
    for epoch in state["epochs"]:
        net.history.new_epoch()
        for name, value in epoch.items():
            net.history.record(name, value)
    choice = net.choice
    if choice is not None:
        (
            choice.epoch,
            choice.mark,
            choice.mark_epoch,
            choice.typical,
            choice.typical_epoch,
            choice.recent,
            choice.is_lost,
        ) = state["choice"]
        gains, epoch, arrays = state["best"]
        weights = None
        if arrays is not None:
            weights = [w.detach().clone() for w in net.weights_]
            _copy(weights, arrays)
        choice.best = gains, epoch, weights


def restore_rates(net, state):
    """Restore the learning rates, and the schedulers of callbacks."""
    net.lr = state["lr"]
    for group, kept in zip(net.optimizer_.param_groups, state["rates"], strict=True):
        group.update(kept)
    # Schedulers exist only after callbacks have begun. A fit that goes on may have others.
    for scheduler, kept in zip(_schedulers(net), state["schedulers"], strict=False):
        vars(scheduler).update(kept)


def _schedulers(net):
    """Return the learning rate schedulers of the callbacks."""
    found = (getattr(callback, "lr_scheduler_", None) for _, callback in net.callbacks_)
    return [scheduler for scheduler in found if hasattr(scheduler, "state_dict")]


def _tensors(module):
    """Return all tensors of a network by name; a state_dict may lack some buffers."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _trained(optimizer):
    """Return the weights that the optimizer updates."""
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _generators(net):
    """Return the generators that training uses, for the order of rows, noise and layers."""
    layers = (layer.generator for layer in layers_that_draw(net.module_))
    found = [net.iterator_train__generator, net.noise_generator_, *layers]
    return [generator for generator in found if isinstance(generator, torch.Generator)]


def _array(tensor):
    """Return a copy of a tensor as an ndarray."""
    return tensor.detach().cpu().numpy().copy()


@torch.no_grad()
def _copy(tensors, arrays):
    """Copy arrays into tensors of the same shapes."""
    for tensor, array in zip(tensors, arrays, strict=True):
        if tuple(tensor.shape) != array.shape:
            raise ModelFileError(
                f"A checkpoint has an array of shape {array.shape} in the place of one of "
                f"shape {tuple(tensor.shape)}. Delete the file."
            )
        tensor.copy_(torch.tensor(array))


def _plain(items):
    """Return the items of a dict that a file can hold: plain values, lists and tuples."""
    found = {name: _as_plain(value) for name, value in items.items()}
    return {name: value for name, value in found.items() if _is_plain(value)}


def _as_plain(value):
    if type(value) in (list, tuple):
        return type(value)(map(_as_plain, value))
    return value.item() if isinstance(value, np.generic) else value


def _is_plain(value):
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))
    return type(value) in (bool, int, float, str)
