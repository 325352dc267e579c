"""Torch's devices, generators, threads and memory, in one place."""

import contextlib
import os
import random
import traceback

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch.overrides import TorchFunctionMode

__all__ = [
    "free_memory",
    "has_fast_bfloat16",
    "in_own_modes",
    "is_out_of_memory",
    "make_generator",
    "memory_explained",
    "random_states_kept",
    "resolve_device",
    "seeded_scope",
    "thread_limit",
]

# What torch says in a RuntimeError of no class of its own: of the CPU, CUDA and cuBLAS.
OUT_OF_MEMORY = "DefaultCPUAllocator", "CUDA error: out of memory", "STATUS_ALLOC_FAILED"


if hasattr(os, "register_at_fork"):
    # A forked child has torch's idea of its threads and not the threads: whatever would
    # use more than one waits forever.
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


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


@contextlib.contextmanager
def seeded_scope(seed):
    """Seed torch's global generators and restore them on the way out.

    Only a user's own module needs it: it draws its weights and its dropout from the
    global generator, which is shared by all threads of the process.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


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


@contextlib.contextmanager
def random_states_kept():
    """Within it the global generators may be drawn from; they are restored after it."""
    of_numpy = check_random_state(None)  # NumPy's global one
    before = random.getstate(), of_numpy.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(before[0])
        of_numpy.set_state(before[1])


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
