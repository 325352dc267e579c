"""scikit-learn's private doors in one place, the device, and the chance."""

import contextlib
import os
import random

import numpy as np
import torch
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import (
    Hidden,
    Interval,
    RealNotInt,
    StrOptions,
    validate_parameter_constraints,
    validate_params,
)
from sklearn.utils._set_output import _get_container_adapter

__all__ = [
    "Hidden",
    "Interval",
    "RealNotInt",
    "StrOptions",
    "_fit_context",
    "check_matplotlib_support",
    "draw_seed",
    "free_memory",
    "has_fast_bfloat16",
    "in_container",
    "make_generator",
    "random_states_kept",
    "resolve_device",
    "seeded_scope",
    "thread_limit",
    "validate_parameter_constraints",
    "validate_params",
]


if hasattr(os, "register_at_fork"):
    # A forked child has torch's idea of its threads and not the threads: whatever would
    # use more than one waits forever.
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def in_container(estimator, array, columns, like):
    """`array` as a frame of the kind that `estimator.set_output` asks for, else as it is.

    Parameters
    ----------
    estimator : estimator with `set_output`
    array : ndarray of shape (n_samples, n_columns)
    columns : array-like of str of shape (n_columns,)
    like : array-like or frame of n_samples rows
        Gives its index to a pandas frame.
    """
    adapter = _get_container_adapter("transform", estimator)
    if adapter is None:
        return array
    return adapter.create_container(array, like, columns=lambda: columns)


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


def draw_seed(random_state):
    """One seed from `random_state`, by scikit-learn's rules for that parameter."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


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
