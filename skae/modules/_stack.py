"""Several networks of one shape, run as one."""

import copy

import torch

__all__ = ["stack", "unstack"]


def stack(modules):
    """One module that runs all `modules`, which differ in their weights only.

    Every parameter gains a leading axis. Training M small networks as one costs little
    more than training one of them: the time goes into the number of kernels launched.
    """
    stacked = copy.deepcopy(modules[0])
    states = [m.state_dict() for m in modules]
    for name, tensor in stacked.state_dict(keep_vars=True).items():
        tensor.data = torch.stack([state[name] for state in states])
    return stacked


def unstack(module, member):
    """The network `member` of a stack, as a module of its own."""
    module = copy.deepcopy(module)
    for tensor in module.state_dict(keep_vars=True).values():
        tensor.data = tensor.data[member].clone()
    return module
