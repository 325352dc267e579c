"""Torch's devices, generators, threads and memory, in one place."""

import contextlib
import os
import random
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
    "has_fast_bfloat16",
    "in_own_modes",
    "is_out_of_memory",
    "make_generator",
    "memory_explained",
    "resolve_device",
    "thread_limit",
]

# What torch says in a RuntimeError of no class of its own: of the CPU, CUDA and cuBLAS.
OUT_OF_MEMORY = "DefaultCPUAllocator", "CUDA error: out of memory", "STATUS_ALLOC_FAILED"


if hasattr(os, "register_at_fork"):
    # A forked child has torch's idea of its threads and not the threads: whatever would
    # use more than one waits forever.
    os.register_at_fork(after_in_child=lambda: _begin_as_child())


def _begin_as_child():
    torch.set_num_threads(1)
    PrivateStates.lock = threading.RLock()  # a thread that is not here may hold the old one


def resolve_device(device, strict=True, owner="the estimator"):
    """Turn the parameter `device` into a `torch.device`; `"auto"` prefers CUDA.

    Unless `strict`, the CPU takes the place of a device that is not there, as on a
    machine that opens what another has saved.

    Raises
    ------
    ValueError
        If torch does not know the device, or cannot use it here and now.
    """
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:  # which lists all devices that torch could be built for
        found = None
    if found is not None and _is_usable(found):
        return found
    if found is not None and not strict:
        return torch.device("cpu")
    here = ["cpu", *(f"cuda:{i}" for i in range(_n_cuda_devices()))]
    here += ["mps"] if torch.backends.mps.is_available() else []
    raise ValueError(
        f"device of {owner} must be 'auto' or a device that torch can use here, which are "
        f"{here}, got {str(device)!r}. Set device='auto', which takes CUDA where there is "
        "a device and else the CPU."
    )


def _n_cuda_devices():
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _is_usable(device):
    """Whether torch can compute on the device; of CUDA memory is not asked for yet."""
    if device.type == "cuda":
        return (device.index or 0) < _n_cuda_devices()
    try:
        torch.zeros(1, device=device).item()
    except Exception:  # torch has other errors for every device that it lacks
        return False
    return True


def free_memory(device):
    """Bytes that are free on a device of its own memory; of the CPU we do not ask."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")


def make_generator(seed, device="cpu"):
    """A private `torch.Generator`: the global one is never drawn from."""
    return torch.Generator(device).manual_seed(seed)


def has_fast_bfloat16(device):
    """Whether the device multiplies matrices of bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    # Not in every version of torch: where they are missing float32 is used.
    names = "_is_amx_tile_supported", "_is_avx512_bf16_supported"
    return any(getattr(torch.cpu, name, bool)() for name in names)


# Functions that make tensors of torch's default dtype, or on its default device, unless
# they are told others. "Of data" is a tensor of floats where the data are Python's floats.
OF_FLOATS = {
    *(torch.empty, torch.zeros, torch.ones, torch.eye, torch.linspace, torch.logspace),
    *(torch.rand, torch.randn, torch.normal),
}


OF_DATA = {
    *(torch.tensor, torch.as_tensor, torch.asarray, torch.scalar_tensor),
    *(torch.full, torch.arange),
}


OF_INTEGERS = {torch.randint, torch.randperm}


FACTORIES = OF_FLOATS | OF_DATA | OF_INTEGERS


class _TorchDefaults(TorchFunctionMode):
    """float32 and the CPU where nothing else is said, as in torch when it is imported."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = {} if kwargs is None else kwargs
        if function not in FACTORIES:
            return function(*args, **kwargs)
        data = [*args, *kwargs.values()]
        if any(isinstance(value, torch.Tensor) for value in data):
            return self._of_tensor(function, args, kwargs)
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

    def _of_tensor(self, function, args, kwargs):
        """What is made of a tensor has its dtype and is on its device."""
        if function in OF_DATA and kwargs.get("device") is None:
            values = [*args, *kwargs.values()]
            first = next(value for value in values if isinstance(value, torch.Tensor))
            kwargs = kwargs | {"device": first.device}
        return function(*args, **kwargs)


def _has_dtype(value):
    """Whether a value, or one in lists of them, is of NumPy's types and not Python's."""
    if isinstance(value, list | tuple):
        return any(map(_has_dtype, value))
    return isinstance(value, np.ndarray | np.generic)


@contextlib.contextmanager
def in_own_modes():
    """torch as it is when nobody has set a mode: what a caller has set has no effect.

    Training needs gradients, also within `torch.no_grad()` or `torch.inference_mode()`,
    and every method is to give the same bits in whatever mode it is called. All of these
    modes are of a thread; the default dtype, which is of the process, is left alone.
    """
    with contextlib.ExitStack() as modes:
        if torch.is_inference_mode_enabled():
            modes.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            modes.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                modes.enter_context(torch.autocast(device, enabled=False))
        probe = torch.empty(0)  # which takes less time than to ask torch for its defaults
        if probe.dtype != torch.float32 or probe.device.type != "cpu":
            modes.enter_context(_TorchDefaults())
        yield


class NoStates:
    """Takes the place of `PrivateStates` where no global generator is drawn from."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def get_state(self):
        return []

    def set_state(self, state):
        return None


class PrivateStates(NoStates):
    """Within it the global generators of the process are in states of their own.

    A user's network may draw from the global generators of Python, NumPy and torch. Within
    this context they go on from the states that `seed` gives them, or that the context
    before has ended with; after it they are as they were. One thread at a time is within
    such a context, because the generators are those of the whole process.

    Parameters
    ----------
    seed : int
    device : torch.device
        A GPU has a generator of its own, beside that of the CPU.
    """

    lock = threading.RLock()

    def __init__(self, seed, device="cpu"):
        self.numpy = check_random_state(None)  # NumPy's global one
        self.torch = [torch.default_generator]
        device = torch.device(device)
        if device.type == "cuda":
            torch.cuda.init()  # before that there are no generators
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
        """Whether anything has been drawn within the context, once it is left."""
        of_python, of_numpy, *of_torch = self.states
        first_python, first_numpy, *first_torch = self.began
        are_same = [of_python == first_python, *map(torch.equal, of_torch, first_torch)]
        return not all([*are_same, *map(np.array_equal, of_numpy, first_numpy)])

    def get_state(self):
        """The private states, as lists of plain values and arrays."""
        (version, key, gauss), of_numpy, *of_torch = self.states
        of_python = [version, np.array(key), gauss]
        return [of_python, [*of_numpy], *(state.numpy().copy() for state in of_torch)]

    def set_state(self, state):
        """Go on from what `get_state` has returned."""
        (version, key, gauss), of_numpy, *of_torch = state
        of_python = version, tuple(key.tolist()), gauss
        self.states = [of_python, tuple(of_numpy), *map(torch.tensor, of_torch)]


@contextlib.contextmanager
def thread_limit(n_threads):
    """Let torch use at most so many threads, None being no limit, and restore."""
    before = torch.get_num_threads()
    if n_threads is not None and n_threads < before:
        torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def is_out_of_memory(error):
    """Whether an exception says that memory, of the CPU or a device, was not enough."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    has_text = any(text in str(error) for text in OUT_OF_MEMORY)
    return isinstance(error, RuntimeError) and has_text


@contextlib.contextmanager
def memory_explained(estimator, shape):
    """Within it, a lack of memory becomes a MemoryError that says what to do.

    Parameters
    ----------
    estimator : estimator
        In its `fit`, its widths and its device known.
    shape : tuple of (n_samples, n_features)

    Yields
    ------
    sizes : dict
        What decides how much memory is asked for; the caller may know better.
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
        # Whoever catches what is raised below need not hold on to tensors of the fit.
        traceback.clear_frames(error.__traceback__)
        sizes = ", ".join(f"{name}={value}" for name, value in sizes.items())
        device = estimator.device_
        elsewhere = " or device='cpu'" if device.type == "cuda" else ""
        raise MemoryError(
            f"fit of {type(estimator).__name__} ran out of memory on {device} with "
            f"{sizes}. Set a smaller batch_size, smaller hidden_layer_sizes{elsewhere}; a "
            "table too large for memory can be a np.memmap, which is read block by block."
        ) from error
