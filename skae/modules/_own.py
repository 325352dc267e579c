"""Networks of users: they are made, tried on two rows, and put into an adapter."""

import copy
import inspect
from itertools import chain

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from skae._torch import NoStates, PrivateStates, is_out_of_memory
from skae.modules._base import Network, reconstruct
from skae.modules._gated import GatedAutoencoder
from skae.modules._variational import Variational

__all__ = ["GatedOwnNetwork", "OwnNetwork", "OwnVariational", "adapted", "make_own"]

N_ROWS = 2


class OwnNetwork(Network):
    """Adapter of a user's module, of which only `encode` and `decode` are known.

    Parameters
    ----------
    module : nn.Module
    draws : bool
        Whether the module draws from the global generators in evaluation mode too, such
        as a layer that samples. In training mode every module is expected to do so, such
        as torch's own dropout.
    """

    has_own_code = True

    def __init__(self, module, draws=True):
        super().__init__()
        self.module, self.draws = module, draws
        self.adds_loss = hasattr(module, "encode_with_loss")

    @property
    def unwrapped(self):
        return self.module

    @property
    def paths(self):
        return self.module.paths if isinstance(self.module, Network) else None

    def encode(self, X):
        return self.module.encode(X)

    def encode_with_loss(self, X):
        if self.adds_loss:
            return self.module.encode_with_loss(X)
        return self.module.encode(X), None

    def decode(self, Z):
        return self.module.decode(Z)

    def private_states(self, seed, device, training=False):
        if not (training or self.draws):
            return NoStates()
        return super().private_states(seed, device, training)


class GatedOwnNetwork(GatedAutoencoder):
    """Linear autoencoder that a user's module corrects.

    Its `corrections` are an `OwnNetwork`, and users see it as a whole, because their module
    is only a part of the network.
    """

    has_own_code = True


class OwnVariational(Variational, GatedOwnNetwork):
    """Linear variational autoencoder that a user's module corrects.

    `encode` of the module returns two numbers for each code: what is added to the mean of
    the code, and to the logit of its variance.
    """


def adapted(module, n_features):
    """Return the network of which the trained `module`, on the CPU, is the `unwrapped`.

    The module is not changed.
    """
    if isinstance(module, GatedOwnNetwork):
        return module
    rows = _rows(n_features)
    with torch.no_grad(), PrivateStates(0) as states:
        reconstruct(copy.deepcopy(module).eval(), rows)
    return OwnNetwork(module, states.have_moved)


def make_own(
    module,
    n_features,
    n_components,
    n_outputs,
    device,
    owner,
    seed=0,
    numbers_per_code=1,
):
    """Return the network that the parameter `module` makes, after trying it on two rows.

    Its weights are drawn from the global generators, which are seeded with `seed` and
    restored afterwards. The trial is the same every time, and changes nothing in the
    network except lazy layers, which get their widths.

    Parameters
    ----------
    module : callable (n_features, n_components) -> nn.Module
    n_features, n_components : int
        Widths of rows and codes.
    n_outputs : int
        Width of the output that the decoder has to return, see `Loss.n_constants`.
    device : torch.device
    owner : str
        Name of the estimator's class, for messages.
    seed : int
    numbers_per_code : int
        How many numbers `encode` has to return for each code.

    Returns
    -------
    network : OwnNetwork

    Raises
    ------
    TypeError
        If `module` is not such a callable, or does not return a network with methods
        `encode` and `decode` that return tensors.
    ValueError
        If these methods fail, or return tensors of other shapes.
    """
    _check_callable(module, (n_features, n_components), owner)
    with PrivateStates(seed, device):
        made = module(n_features, n_components)
    has_both = all(callable(getattr(made, m, None)) for m in ("encode", "decode"))
    if not isinstance(made, nn.Module) or not has_both:
        raise TypeError(
            f"module of {owner} must return a torch.nn.Module with methods encode and "
            f"decode, got {type(made).__name__}."
        )
    if numbers_per_code > 1 and hasattr(made, "encode_with_loss"):
        raise TypeError(
            f"module of {owner} must make a network without encode_with_loss, because "
            f"{owner} draws the codes itself. Leave out this method."
        )
    made.float()  # training is in float32, whatever the default of torch is
    widths = n_features, n_components, n_outputs, numbers_per_code
    if _has_lazy(made):
        with PrivateStates(0, device):
            _materialize(made, widths, owner)
    with PrivateStates(0, device) as states:
        # The fitted estimator also uses a copy in float64.
        for dtype in (torch.float32, torch.float64):
            copied = copy.deepcopy(made).to(device, dtype).eval()
            output = _run(copied, widths, owner, dtype=dtype, device=device)
    if not output.requires_grad:
        raise ValueError(
            f"module of {owner} must make a network with parameters to train, but the "
            "result of decode depends on none: there are none, or encode or decode "
            "detach what they return."
        )
    return OwnNetwork(made, states.have_moved)


def _check_callable(module, arguments, owner):
    """Refuse a `module` that cannot be called with these arguments."""
    call = f"module of {owner} is called as module(n_features, n_components)"
    if isinstance(module, nn.Module):
        raise TypeError(
            f"{call} and must make a new network each time, got an instance of "
            f"{type(module).__name__}. Give the class, or a function that makes one."
        )
    try:
        signature = inspect.signature(module)
    except (TypeError, ValueError):  # some callables have no signature
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
    """Let lazy layers find out their widths, for which torch needs a forward pass."""
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


def _run(network, widths, owner, **options):
    """Return the output of a network for two rows, and check all shapes."""
    n_features, n_components, n_outputs, numbers_per_code = widths
    rows = _rows(n_features, **options)
    called = f" module was called with (n_features, n_components) = {widths[:2]}."
    if n_outputs != n_features:
        called += f" The loss takes {n_outputs // n_features} outputs for each feature."
    if numbers_per_code == 2:
        called += " encode returns corrections of all means, then of all logits."
    n_encoded = numbers_per_code * n_components
    codes = _passed(network, "encode", rows, n_encoded, owner, called)
    if hasattr(network, "encode_with_loss"):
        _check_added(network, rows, codes.shape, owner, called)
    return _passed(network, "decode", codes[:, :n_components], n_outputs, owner, called)


def _check_added(network, rows, shape, owner, called):
    """Refuse an `encode_with_loss` that does not return codes and a number for each row."""
    out = network.encode_with_loss(rows)
    parts = out if isinstance(out, tuple) else (out,)
    shapes = [tuple(getattr(part, "shape", ())) for part in parts if part is not None]
    if shapes not in ([tuple(shape), (len(rows),)], [tuple(shape)]) or len(parts) != 2:
        raise ValueError(
            f"module of {owner} must make a network whose encode_with_loss returns codes "
            f"of shape {tuple(shape)} and a loss of each row, of shape ({len(rows)},), or "
            f"None, but it returned {len(parts)} values of the shapes {shapes}.{called}"
        )


def _rows(n_features, **options):
    return torch.linspace(-1, 1, N_ROWS * n_features, **options).reshape(N_ROWS, n_features)


def _passed(network, method, rows, width, owner, called):
    """Return the result of a method, which must be a tensor of the same number of rows."""
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
