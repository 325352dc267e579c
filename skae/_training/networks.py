"""The networks of a fit, before training and in its best epoch."""

import dataclasses

import torch
from torch import nn

from skae._engine.skorch_net import averaged_tensors
from skae._torch import make_generator
from skae._training.truncation import cut_shares
from skae.modules._base import copied
from skae.modules._stack import stack, stack_of_copies, unstack

__all__ = [
    "Networks",
    "joined_networks",
    "joined_starts",
    "make_networks",
    "network_of_member",
]


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
    is_new, starts = initial is None, members.starts
    last = _untrained(starts[0], settings, make_module, seed) if is_new else initial
    if is_new and settings.from_pca:
        joined = joined_starts(starts, last)
        starts[-1].load(last)
    else:
        joined = joined_networks([last] * len(starts))
    if settings.ordered:
        joined.nested.shares = cut_shares(starts[-1], settings.n_components)
    return Networks(joined, last, is_new, settings.from_pca and is_new)


def _untrained(start, settings, make_module, seed):
    """Return a new network for rows in the coordinates of a start."""
    n_inputs = start.encoder.shape[1] + start.n_marks
    module = make_module(n_inputs, len(start.decoder), make_generator(seed))
    return module.tie() if settings.tied_weights else module


def joined_starts(starts, module):
    """Return copies of a network, with the linear paths of the starts, as one network."""
    if len(starts) == 1:
        return starts[0].load(copied(module))
    return stack_of_copies(module, [start.load for start in starts])


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
