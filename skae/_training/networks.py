"""The networks of a fit, before training and in its best epoch."""

import dataclasses

import torch
from torch import nn

from skae._engine.skorch_net import averaged_tensors
from skae._torch import make_generator
from skae._training.truncation import cut_shares
from skae.modules._base import copied
from skae.modules._stack import stack, unstack

__all__ = ["Networks", "joined_networks", "make_networks", "network_of_member"]


@dataclasses.dataclass(frozen=True)
class Networks:
    """The networks of the members of a fit.

    Attributes
    ----------
    joined : nn.Module
        The only network, or a stack of all networks. Training changes its weights.
    last : nn.Module
        The network of the last member before training.
    is_new : bool
        Whether the networks have not been trained before.
    in_coordinates : bool
        Whether each network takes rows in the coordinates of its start.
    """

    joined: nn.Module
    last: nn.Module
    is_new: bool
    in_coordinates: bool


def make_networks(members, settings, make_module, initial, seed):
    """Return the Networks of the members: new ones, or copies of `initial`."""
    is_new = initial is None
    if is_new:
        modules = _untrained(members.starts, settings, make_module, seed)
    else:
        modules = [initial] * len(members.starts)
    joined = joined_networks(modules)
    if settings.ordered:
        joined.nested.shares = cut_shares(members.starts[-1], settings.n_components)
    return Networks(joined, modules[-1], is_new, settings.from_pca and is_new)


def _untrained(starts, settings, make_module, seed):
    """Return a new network for each member. All members draw the same weights."""
    start = starts[0]
    n_inputs = start.encoder.shape[1] + start.n_marks
    module = make_module(n_inputs, len(start.decoder), make_generator(seed))
    if settings.tied_weights:
        module.tie()
    modules = [module, *(copied(module) for _ in starts[1:])]
    if settings.from_pca:
        for start, module in zip(starts, modules, strict=True):
            start.load(module)
    return modules


def joined_networks(modules):
    """Return a stack of the networks, or a copy of the only one."""
    return stack(modules) if len(modules) > 1 else copied(modules[0])


@torch.no_grad()
def network_of_member(number, members, networks, weights):
    """Return the network of one member, which takes centred and scaled rows.

    Parameters
    ----------
    number : int
        Number of the member; -1 is the last one, which an estimator keeps.
    members : Members
    networks : Networks
        They are left with `weights`, and otherwise as they are.
    weights : list of Tensor or None
        Weights of `networks.joined` in the best epoch. None stands for the weights before
        training.

    Returns
    -------
    Network
        A copy, in evaluation mode.
    """
    start, network = members.starts[number], networks.last
    if weights is not None:
        network = networks.joined
        averaged = averaged_tensors(network.unwrapped)
        torch._foreach_copy_([w.detach() for w in averaged], list(weights))
    is_stack = weights is not None and len(members) > 1
    network = unstack(network, number) if is_stack else copied(network)
    network.untie()
    if networks.in_coordinates:
        network = network.double()
        network = start.undo(network if weights is not None else start.load(network))
        network = network.float()
    return network.eval()
