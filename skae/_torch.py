"""Everything about torch's devices, random generators, modes, threads and memory."""

import contextlib
import ctypes
import os
import random
import sys
import threading
import traceback

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch.overrides import TorchFunctionMode

__all__ = [
    "NoStates",
    "PrivateStates",
    "free_memory",
    "give_memory_back",
    "has_fast_bfloat16",
    "in_own_modes",
    "is_out_of_memory",
    "make_generator",
    "memory_explained",
    "resolve_device",
    "thread_limit",
]

# Messages of a plain RuntimeError with which the CPU, CUDA and cuBLAS run out of memory.
OUT_OF_MEMORY = "DefaultCPUAllocator", "CUDA error: out of memory", "STATUS_ALLOC_FAILED"


if hasattr(os, "register_at_fork"):
    # In a forked child torch believes that it still has its threads, which do not exist. An
    # operation that uses more than one would wait for them forever.
    os.register_at_fork(after_in_child=lambda: _begin_as_child())


def _begin_as_child():
    """Set what a forked child process cannot inherit."""
    torch.set_num_threads(1)
    PrivateStates.lock = threading.RLock()  # a thread of the parent may hold the old one


def resolve_device(device, strict=True, owner="the estimator"):
    """Return the `torch.device` that the parameter `device` stands for.

    Parameters
    ----------
    device : str or torch.device
        "auto" is CUDA where there is a CUDA device, otherwise the CPU.
    strict : bool
        False returns the CPU for a device that does not exist on this machine, which may
        have opened a model that was saved on another.
    owner : str
        Name of the estimator's class or of the function, for the message.

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If torch does not know the device, or cannot use it on this machine.
    """
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:  # its message lists every device that torch may be built for
        found = None
    if found is not None and _is_usable(found):
        return found
    if found is not None and not strict:
        return torch.device("cpu")
    here = ["cpu", *(f"cuda:{i}" for i in range(_n_cuda_devices()))]
    here += ["mps"] if torch.backends.mps.is_available() else []
    raise ValueError(
        f"device of {owner} must be 'auto' or a device that torch can use here, which are "
        f"{here}, got {str(device)!r}. Set device='auto', which is CUDA where there is a "
        "CUDA device and otherwise the CPU."
    )


def _n_cuda_devices():
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _is_usable(device):
    """Whether torch can compute on the device. No memory is taken on a CUDA device."""
    if device.type == "cuda":
        return (device.index or 0) < _n_cuda_devices()
    try:
        torch.zeros(1, device=device).item()
    except Exception:  # the class of the error depends on the device
        return False
    return True


def free_memory(device):
    """Return the number of free bytes on a CUDA device; infinity for other devices."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")


def give_memory_back():
    """Give memory that is not in use any more back to the system.

    The C library of Linux keeps freed blocks of up to 32 MB, and cannot use them for larger
    ones. After the principal axes of a table they may be as much as the table.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # other C libraries than glibc have none
            trim(0)


def make_generator(seed, device="cpu"):
    """Return a private `torch.Generator`, so that the global one is not used."""
    return torch.Generator(device).manual_seed(seed)


def has_fast_bfloat16(device):
    """Whether the device multiplies matrices of bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    # Versions of torch that lack these functions use float32.
    names = "_is_amx_tile_supported", "_is_avx512_bf16_supported"
    return any(getattr(torch.cpu, name, bool)() for name in names)


# Functions that make tensors with torch's default dtype, or on its default device, unless
# these are passed. Those in OF_DATA do so if the data are Python floats.
OF_FLOATS = {
    *(torch.empty, torch.zeros, torch.ones, torch.eye, torch.linspace, torch.logspace),
    *(torch.rand, torch.randn, torch.normal),
}


OF_DATA = {
    *(torch.tensor, torch.as_tensor, torch.asarray, torch.scalar_tensor),
    *(torch.full, torch.arange),
}


OF_INTEGERS = {torch.randint, torch.randperm, torch.tril_indices, torch.triu_indices}


FACTORIES = OF_FLOATS | OF_DATA | OF_INTEGERS


class _TorchDefaults(TorchFunctionMode):
    """Makes float32 and the CPU the defaults in this context, as in a new process."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = {} if kwargs is None else kwargs
        if function not in FACTORIES:
            return function(*args, **kwargs)
        data = [*args, *kwargs.values()]
        if any(isinstance(value, torch.Tensor) for value in data):
            return self._make_from_tensor(function, args, kwargs)
        if kwargs.get("device") is None:
            kwargs = kwargs | {"device": "cpu"}
        in_float32 = kwargs | {"dtype": torch.float32}
        is_given = kwargs.get("dtype") is not None or any(map(_has_dtype, data))
        if function in OF_FLOATS and not is_given:
            return function(*args, **in_float32)
        made = function(*args, **kwargs)
        if is_given or not made.is_floating_point():
            return made
        return function(*args, **in_float32)

    def _make_from_tensor(self, function, args, kwargs):
        """Make a tensor with the dtype and the device of the tensor in the arguments."""
        if function in OF_DATA and kwargs.get("device") is None:
            values = [*args, *kwargs.values()]
            first = next(value for value in values if isinstance(value, torch.Tensor))
            kwargs = kwargs | {"device": first.device}
        return function(*args, **kwargs)


def _has_dtype(value):
    """Whether a value, or a value in nested lists, has a dtype of NumPy."""
    if isinstance(value, list | tuple):
        return any(map(_has_dtype, value))
    return isinstance(value, np.ndarray | np.generic)


@contextlib.contextmanager
def in_own_modes():
    """Run this context in torch's initial modes, whatever modes the user has set.

    Training needs gradients, even if `fit` is called within `torch.no_grad()` or
    `torch.inference_mode()`, and every method must give the same bits in every mode. These
    modes belong to the thread. The default dtype belongs to the process and stays as it
    is; within the context it has no effect.

    Ctrl-C within `torch.no_grad()` may leave its mode behind, if it comes while that is
    entered or left. It ends here.
    """
    with contextlib.ExitStack() as modes:
        if torch.is_inference_mode_enabled():
            modes.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            modes.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                modes.enter_context(torch.autocast(device, enabled=False))
        probe = torch.empty(0)  # is faster than asking torch for its defaults
        if probe.dtype != torch.float32 or probe.device.type != "cpu":
            modes.enter_context(_TorchDefaults())
        try:
            yield
        finally:
            torch.set_grad_enabled(True)  # what the user had is restored after this


class NoStates:
    """Takes the place of `PrivateStates` if a network uses no global random generator."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def get_state(self):
        """Return an empty list."""
        return []

    def set_state(self, state):
        """Do nothing."""
        return None


class PrivateStates(NoStates):
    """A context in which the global random generators have states of their own.

    A user's network may draw from the global generators of Python, NumPy and torch. In
    this context they have the states that `seed` gives them or, when the context is
    entered again, those that they had at its last exit. After the context they are as they
    were before it. The generators belong to the whole process, and therefore only one
    thread at a time can be in such a context.

    Parameters
    ----------
    seed : int
    device : torch.device
        The generator of a CUDA device is included, beside that of the CPU.
    """

    lock = threading.RLock()

    def __init__(self, seed, device="cpu"):
        self.numpy = check_random_state(None)  # the global RandomState
        self.torch = [torch.default_generator]
        device = torch.device(device)
        if device.type == "cuda":
            torch.cuda.init()  # makes the generators
            index = torch.cuda.current_device() if device.index is None else device.index
            self.torch.append(torch.cuda.default_generators[index])
        self.states = [random.Random(seed).getstate()]
        self.states.append(np.random.RandomState(seed).get_state())
        self.states += [make_generator(seed, g.device).get_state() for g in self.torch]
        self.began = self.states

    def __enter__(self):
        self.lock.acquire()
        self._swap()
        return self

    def __exit__(self, *error):
        self._swap()
        self.lock.release()

    def _swap(self):
        """Exchange the states of the global generators with those that are stored."""
        others = [random.getstate(), self.numpy.get_state()]
        others += [generator.get_state() for generator in self.torch]
        of_python, of_numpy, *of_torch = self.states
        random.setstate(of_python)
        self.numpy.set_state(of_numpy)
        for generator, state in zip(self.torch, of_torch, strict=True):
            generator.set_state(state)
        self.states = others

    @property
    def have_moved(self):
        """Whether random numbers were drawn in the context, which must have ended."""
        of_python, of_numpy, *of_torch = self.states
        first_python, first_numpy, *first_torch = self.began
        are_same = [of_python == first_python, *map(torch.equal, of_torch, first_torch)]
        return not all([*are_same, *map(np.array_equal, of_numpy, first_numpy)])

    def get_state(self):
        """Return the private states as lists of plain values and arrays."""
        (version, key, gauss), of_numpy, *of_torch = self.states
        of_python = [version, np.array(key), gauss]
        return [of_python, [*of_numpy], *(state.numpy().copy() for state in of_torch)]

    def set_state(self, state):
        """Set private states that `get_state` returned."""
        (version, key, gauss), of_numpy, *of_torch = state
        of_python = version, tuple(key.tolist()), gauss
        self.states = [of_python, tuple(of_numpy), *map(torch.tensor, of_torch)]


@contextlib.contextmanager
def thread_limit(n_threads):
    """Limit the number of torch's threads in this context; None sets no limit."""
    before = torch.get_num_threads()
    if n_threads is not None and n_threads < before:
        torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def is_out_of_memory(error):
    """Whether an exception says that the memory of the CPU or of a device ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    has_text = any(text in str(error) for text in OUT_OF_MEMORY)
    return isinstance(error, RuntimeError) and has_text


@contextlib.contextmanager
def memory_explained(estimator, shape):
    """Turn a lack of memory in this context into a MemoryError that says what to do.

    Parameters
    ----------
    estimator : estimator
        An estimator that is being fitted, and has `hidden_layer_sizes_` and `device_`.
    shape : tuple of (n_samples, n_features)

    Yields
    ------
    sizes : dict
        The sizes that the message names. The code in the context may correct them.
    """
    sizes = {
        **dict(zip(("n_samples", "n_features"), shape, strict=True)),
        "hidden_layer_sizes": estimator.hidden_layer_sizes_,
        "batch_size": estimator.batch_size,
    }
    try:
        yield sizes
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        # The new error refers to the old one, whose frames would keep the tensors alive.
        traceback.clear_frames(error.__traceback__)
        sizes = ", ".join(f"{name}={value}" for name, value in sizes.items())
        device = estimator.device_
        elsewhere = " or device='cpu'" if device.type == "cuda" else ""
        raise MemoryError(
            f"fit of {type(estimator).__name__} ran out of memory on {device} with "
            f"{sizes}. Set a smaller batch_size, smaller hidden_layer_sizes{elsewhere}. A "
            "table too large for memory can be a np.memmap, which is read block by block."
        ) from error
