"""Stacks: several networks of the same shape that are run as one."""

import copy

import torch

__all__ = ["stack", "unstack"]


def stack(modules):
    """Return a module that runs all `modules`, which differ in their weights only.

    Every parameter gets a leading axis. Training M small networks as one takes little more
    time than training one of them, because the time depends mostly on the number of kernels
    that are launched.
    """
    stacked = copy.deepcopy(modules[0])
    states = [m.state_dict() for m in modules]
    for name, tensor in stacked.state_dict(keep_vars=True).items():
        tensor.data = torch.stack([state[name] for state in states])
    return stacked


def unstack(module, member):
    """Return the network number `member` of a stack as a module of its own."""
    module = copy.deepcopy(module)
    for tensor in module.state_dict(keep_vars=True).values():
        tensor.data = tensor.data[member].clone()
    return module
