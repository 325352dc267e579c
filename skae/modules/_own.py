"""A network of the user's own: made, and tried on two rows before it is trained."""

import copy
import inspect
from itertools import chain

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from skae._torch import is_out_of_memory, random_states_kept

__all__ = ["make_own"]

N_ROWS = 2


def make_own(module, n_features, n_components, n_outputs, device, owner):
    """The network that the parameter `module` makes, after a dry run.

    The run is the same every time. It leaves the global random states as they were, and
    of the network everything but lazy layers, which it gives their widths.

    Parameters
    ----------
    module : callable (n_features, n_components) -> nn.Module
    n_features, n_components : int
        Widths of rows and codes.
    n_outputs : int
        Width of what the decoder is to return, see `Loss.n_constants`.
    device : torch.device
    owner : str
        Name of the estimator's class.

    Raises
    ------
    TypeError
        If `module` is not such a callable, or what it makes is not a network with
        methods `encode` and `decode` that return tensors.
    ValueError
        If these do not take rows, or return other shapes.
    """
    _check_callable(module, (n_features, n_components), owner)
    made = module(n_features, n_components)
    has_both = all(callable(getattr(made, m, None)) for m in ("encode", "decode"))
    if not isinstance(made, nn.Module) or not has_both:
        raise TypeError(
            f"module of {owner} must return a torch.nn.Module with methods encode and "
            f"decode, got {type(made).__name__}."
        )
    made.float()  # as it is trained, whatever torch's default is
    widths = n_features, n_components, n_outputs
    with random_states_kept():
        if _has_lazy(made):
            _materialize(made, widths, owner)
        # The fitted estimator has a copy in float64.
        for dtype in (torch.float32, torch.float64):
            copied = copy.deepcopy(made).to(device, dtype).eval()
            output = _run(copied, widths, owner, dtype=dtype, device=device)
    if not output.requires_grad:
        raise ValueError(
            f"module of {owner} must make a network with parameters to train, and what "
            "its decode returns depends on none: there are none, or encode or decode "
            "detach what they return."
        )
    return made


def _check_callable(module, arguments, owner):
    call = f"module of {owner} is called as module(n_features, n_components)"
    if isinstance(module, nn.Module):
        raise TypeError(
            f"{call} and must make a new network each time, got an instance of "
            f"{type(module).__name__}. Give the class, or a function that makes one."
        )
    try:
        signature = inspect.signature(module)
    except (TypeError, ValueError):  # not every callable tells
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise TypeError(
            f"{call}, and {getattr(module, '__name__', module)!s}{signature} does not take "
            f"these two numbers: {error}."
        ) from None


def _has_lazy(module):
    return any(map(is_lazy, chain(module.parameters(), module.buffers())))


def _materialize(module, widths, owner):
    """Let lazy layers find out their widths, as torch wants it: by a run."""
    modes = {layer: layer.training for layer in module.modules()}
    with torch.no_grad():
        _run(module.eval(), widths, owner, dtype=torch.float32)
    for layer, mode in modes.items():
        layer.training = mode
    if _has_lazy(module):
        raise ValueError(
            f"module of {owner} makes a network with lazy layers that neither encode nor "
            "decode passes, so that their widths stay unknown. Leave them out."
        )


def _run(network, widths, owner, **kind):
    """What a network makes of two rows, shapes checked on the way."""
    n_features, n_components, n_outputs = widths
    rows = torch.linspace(-1, 1, N_ROWS * n_features, **kind).reshape(N_ROWS, n_features)
    called = f" module was called with (n_features, n_components) = {widths[:2]}."
    if n_outputs != n_features:
        called += f" The loss takes {n_outputs // n_features} outputs for each feature."
    codes = _passed(network, "encode", rows, n_components, owner, called)
    return _passed(network, "decode", codes, n_outputs, owner, called)


def _passed(network, method, rows, width, owner, called):
    """What a method makes of rows, which is a tensor of as many rows of that width."""
    source, goal = ("rows", "codes") if method == "encode" else ("codes", "rows")
    expected = len(rows), width
    demand = (
        f"module of {owner} must make a network whose {method} turns {source} of shape "
        f"{tuple(rows.shape)} into {goal} of shape {expected}, but it"
    )
    try:
        out = getattr(network, method)(rows)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raised = f"raised {type(error).__name__} for {rows.dtype}: {error}"
        raise ValueError(f"{demand} {raised}.{called}") from error
    if not isinstance(out, torch.Tensor) or not out.is_floating_point():
        got = out.dtype if isinstance(out, torch.Tensor) else type(out).__name__
        raise TypeError(f"{demand} returned no tensor of floats, but {got}.{called}")
    if out.shape != expected:
        raise ValueError(f"{demand} returned the shape {tuple(out.shape)}.{called}")
    return out
