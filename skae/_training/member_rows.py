"""Tensors of the rows on which members are trained, and of those held out."""

import functools
from typing import NamedTuple

import numpy as np
import torch

from skae._engine.batches import Rows, StreamedRows
from skae._engine.block_rows import BlockRows
from skae._engine.judged_cells import JudgedCells
from skae._tables.blocks import Blocks
from skae._tables.missing import with_marks
from skae._torch import free_memory
from skae._training.linear_start import ToFeatures

__all__ = ["MemberRows", "member_rows"]


class MemberRows(NamedTuple):
    """The rows on which members are trained, and those that are held out."""

    train: Rows | StreamedRows | BlockRows
    held_out: Rows | StreamedRows


def member_rows(members, loss, device, in_coordinates, hide=None, seed=0):
    """Return the rows of a fit, from which batches can be taken.

    Parameters
    ----------
    members : Members
    loss : Loss
    device : torch.device
    in_coordinates : bool
        Whether each network takes rows in the coordinates of its start.
    hide : Hide or None
        Makes versions of the rows in which more cells are missing.
    seed : int
        Seed of the choice of these cells.

    Returns
    -------
    MemberRows
    """
    table, sides = members.table, (members.trained, members.held_out)
    if table.is_streamed:
        kinds = [functools.partial(StreamedRows, part=members.part), StreamedRows]
        if isinstance(table.X.X, Blocks):
            kinds[0] = BlockRows
        return MemberRows(
            *(
                kind(table.X, table.target, rows, device, members.weights(rows))
                for kind, rows in zip(kinds, sides, strict=True)
            )
        )
    home = _home(members, loss, device, hide)
    starts = members.starts if in_coordinates else None
    if table.observed is not None:
        return _incomplete_rows(members, loss, starts, hide, seed, home, device)
    targets, lost = _coordinates(table.X, starts, len(members), home, members.inside)
    inputs = targets
    if table.inputs is not None:
        inputs, _ = _coordinates(table.inputs, starts, len(members), home)
    if not loss.of_scaled:
        targets = _tensor(table.target, home)
    how = members, home, device, inputs, targets, lost
    return MemberRows(
        _rows(members.trained, *how, part=members.part), _rows(members.held_out, *how)
    )


def _incomplete_rows(members, loss, starts, hide, seed, home, device):
    """Return the MemberRows of a table with missing cells.

    In the coordinates of principal axes cells cannot be left out. There the training rows
    are whole as they were filled, whereas the targets of held-out rows are the features,
    so that an epoch is judged by observed cells alone. If the network is there to fill
    cells, it is judged by those that are hidden from it.
    """
    table, n_members = members.table, len(members)
    observed = torch.from_numpy(table.observed).to(home)
    inputs = with_marks(_tensor(table.X, home), observed)
    if hide is not None and hide.n_versions:
        inputs = hide.versions(inputs, seed)
    judged = observed
    if table.fills_cells and len(inputs) > len(observed):  # held-out rows: first version
        judged = observed & (inputs[: len(observed), table.X.shape[1] :] == 1)
    if not table.has_marks:
        inputs = inputs[:, : table.X.shape[1]]
    targets = _tensor(table.target, home)
    how = members, home, device
    if starts is None or starts[0].axes is None:  # the coordinates are those of the table
        how = *how, _for_each(inputs, n_members), targets, [0.0] * n_members
        return MemberRows(
            _rows(members.trained, *how, observed), _rows(members.held_out, *how, judged)
        )
    to_features = ToFeatures.of(starts, device)
    inside = (inputs.to(device) @ to_features.axes.mT).cpu().numpy()
    inputs, _ = _coordinates(None, starts, n_members, home, (inside, 0.0))
    whole, lost = _coordinates(table.X, starts, n_members, home, members.inside)
    held_out = np.unique(np.concatenate(members.held_out))
    judge = JudgedCells(to_features, targets, judged, held_out, lost)
    return MemberRows(
        _rows(members.trained, *how, inputs, whole, lost),
        _rows(members.held_out, *how, inputs, whole, [0.0] * n_members, judge=judge),
    )


def _rows(
    index,
    members,
    home,
    device,
    inputs,
    targets,
    lost,
    observed=None,
    judge=None,
    part=None,
):
    """Return the Rows with these numbers for each member."""
    return Rows(
        inputs,
        targets,
        index,
        lost=_lost_of(lost, index),
        weights=_tensor(members.weights(index), home),
        observed=observed,
        device=device,
        judge=judge,
        part=part,
    )


def _home(members, loss, device, hide):
    """Return the device if the rows take less than half its memory, else the CPU."""
    table = members.table
    n_tables = 1 + (table.inputs is not None)
    n_tables = len(members) * n_tables + (not loss.of_scaled)
    if table.observed is not None:
        n_tables += 2 * (1 if hide is None else max(1, hide.n_versions))
    is_large = n_tables * 4 * table.X.size > free_memory(device) / 2
    return torch.device("cpu") if is_large else device


def _coordinates(X, starts, n_members, home, inside=None):
    """Return X in the coordinates of each member, and the error that these cause.

    Parameters
    ----------
    inside : (coordinates, lost) or None
        Those of the last member, if they are known; X is then not used if the others are
        within these coordinates.

    Returns
    -------
    inputs : Tensor of shape (n, d), or (m, n, d) for m > 1 members
    lost : list of m arrays of shape (n,) or floats
        Error of each row.
    """
    if starts is None:
        inputs = _tensor(X, home)
        return _for_each(inputs, n_members), [0.0] * n_members
    last, lost_in_last = inside or starts[-1].coordinates(X)
    inputs, lost = torch.empty(n_members, *last.shape), []
    for place, start in zip(inputs, starts[:-1], strict=False):
        found, error = start.coordinates(X) if start.outer is None else start.within(last)
        place.copy_(torch.from_numpy(found))
        lost.append(error)
    inputs[-1].copy_(torch.from_numpy(last))
    inputs = inputs.to(home)
    return inputs if n_members > 1 else inputs[0], [*lost, lost_in_last]


def _for_each(inputs, n_members):
    """Return one table (n, p) for all members, without copies of it."""
    return inputs.expand(n_members, *inputs.shape) if n_members > 1 else inputs


def _lost_of(lost, index):
    """Return the errors of the rows of each member, one member after another."""
    if not any(map(np.ndim, lost)):
        return 0.0
    pairs = zip(lost, index, strict=True)
    return np.concatenate([errors[rows] for errors, rows in pairs])


def _tensor(array, home):
    """Return an array as a tensor of float32 on the device `home`; None stays None."""
    if array is None:
        return None
    array = np.require(array, dtype=np.float32, requirements=["C", "W"])
    return torch.from_numpy(array).to(home)
