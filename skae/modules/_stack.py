"""Stacks: several networks of the same shape that are run as one."""

import itertools

import torch
from torch import nn

from skae.modules._base import Network, copied

__all__ = ["SideBySide", "stack", "stack_of_copies", "unstack"]


class SideBySide(Network):
    """Networks whose layers cannot be stacked, such as those of users.

    They are run one after another, and each has its own weights, buffers and inputs. The
    sum of their losses therefore trains each as if it were alone.

    Parameters
    ----------
    members : list of m Network
    """

    def __init__(self, members):
        super().__init__()
        self.members = nn.ModuleList(members)

    def private_states(self, seed, device, training=False):
        return self.members[0].private_states(seed, device, training)

    def encode(self, X):
        return torch.stack(self._each("encode", X))

    def decode(self, Z):
        return torch.stack(self._each("decode", Z))

    def encode_with_loss(self, X):
        """Return the codes (m, n, k) of X (m, n, p), and what is added to their loss."""
        codes, added = zip(*self._each("encode_with_loss", X), strict=True)
        return torch.stack(codes), None if added[0] is None else torch.stack(added)

    def _each(self, method, inputs):
        """Return a list of what a method of each member returns for its own inputs.

        The inputs are copied, because a member may overwrite them, which autograd does not
        allow for a part of a tensor.
        """
        pairs = zip(self.members, inputs, strict=True)
        return [getattr(member, method)(rows.clone()) for member, rows in pairs]


def stack(modules):
    """Return a module that runs all `modules`, which differ in their weights only.

    Every parameter gets a leading axis. Training M small networks as one takes little more
    time than training one of them, because the time depends mostly on the number of kernels
    that are launched. Networks inside the modules that are not `is_stackable` are put side
    by side instead, which takes M times as long.
    """
    stacked = copied(modules[0])
    alone = _outermost(stacked, _must_be_alone)
    tensors = [[tensor.detach() for _, tensor in _others(m, alone)] for m in modules]
    of_stack = (tensor for _, tensor in _others(stacked, alone))
    for tensor, *of_members in zip(of_stack, *tensors, strict=True):
        tensor.data = torch.stack(of_members)
    for name in alone:
        members = [copied(m.get_submodule(name)) for m in modules]
        stacked = _with_part(stacked, name, SideBySide(members))
    return stacked


def stack_of_copies(module, changes):
    """Return a stack of copies of a module, each of which one of `changes` has changed.

    It is what `stack` returns for the copies, but takes less time.

    Parameters
    ----------
    module : nn.Module
    changes : list of m callables (copy) -> object
        Functions that write to the tensors of a copy, and do not replace them.
    """
    if _outermost(module, _must_be_alone):
        copies = [copied(module) for _ in changes]
        for change, member in zip(changes, copies, strict=True):
            change(member)
        return stack(copies)
    stacked, member = stack([module] * len(changes)), copied(module)
    of_member, of_stack = ([t for _, t in _others(m, [])] for m in (member, stacked))
    for i, change in enumerate(changes):
        for tensor, whole in zip(of_member, of_stack, strict=True):
            tensor.data = whole.data[i]  # a view, through which the stack is changed
        change(member)
    return stacked


def unstack(module, member):
    """Return the network number `member` of a stack as a module of its own."""
    module = copied(module)
    alone = _outermost(module, lambda part: isinstance(part, SideBySide))
    for _, tensor in _others(module, alone):
        tensor.data = tensor.data[member].clone()
    for name in alone:
        module = _with_part(module, name, module.get_submodule(name).members[member])
    return module


def _must_be_alone(part):
    """Whether a module has layers that cannot be stacked."""
    return not getattr(part, "is_stackable", True)


def _outermost(module, holds):
    """Return the names of the submodules for which `holds`, but of none inside another."""
    names = []
    for name, part in module.named_modules():
        if holds(part) and not _is_inside(name, names):
            names.append(name)
    return names


def _is_inside(name, parts):
    """Whether a submodule or a tensor belongs to one of the submodules named `parts`."""
    return any(not part or name.startswith(f"{part}.") for part in parts)


def _others(module, alone):
    """Return pairs (name, tensor) of all tensors outside the submodules named `alone`."""
    tensors = itertools.chain(module.named_parameters(), module.named_buffers())
    return [(name, tensor) for name, tensor in tensors if not _is_inside(name, alone)]


def _with_part(module, name, part):
    """Return the module with another submodule of this name; "" is the module itself."""
    if not name:
        return part
    parent, _, attribute = name.rpartition(".")
    setattr(module.get_submodule(parent), attribute, part)
    return module
