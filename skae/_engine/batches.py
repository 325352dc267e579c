"""Rows of a table, and the batches into which they are divided."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch.utils.data import Dataset

from skae._tables.rows import is_mapped, reads_any_rows, rows_of

__all__ = ["WINDOW", "Batch", "Batches", "Part", "Rows", "StreamedRows", "streamed_batch"]

RUN = 64  # number of neighbouring rows of a file that are read together
WINDOW = 2**24  # number of values of a file that are shuffled at a time
TOGETHER = 2**20  # most values of rows that are taken for all batches of an epoch at once


class Batch(NamedTuple):
    """Some rows on the device, where "..." is no axis or the members of a stack.

    Attributes
    ----------
    inputs : Tensor of shape (..., n, p)
    targets : Tensor of shape (..., n, q)
        Targets of the rows; the same object as `inputs` if the inputs are the targets.
    weights : Tensor of shape (..., n) or None
    observed : Tensor of bool of shape (..., n, q) or None
    judge : callable (output, errors) -> Tensor of shape (..., n), or None
        Returns the errors of rows in the cells that judge them, see `JudgedCells`.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor | None = None
    observed: torch.Tensor | None = None
    judge: Callable | None = None

    def repeat(self, n):
        """Return a Batch with the targets, weights and marks repeated n times."""
        targets, observed = (
            None if t is None else torch.cat([t] * n, dim=-2)
            for t in (self.targets, self.observed)
        )
        weights = None if self.weights is None else torch.cat([self.weights] * n, dim=-1)
        return Batch(self.inputs, targets, weights, observed)

    def split(self, n):
        """Return n Batches with the rows of this one, which are views."""
        inputs = self.inputs.tensor_split(n, dim=-2)
        targets = inputs
        if self.targets is not self.inputs:
            targets = self.targets.tensor_split(n, dim=-2)
        weights = observed = [None] * n
        if self.weights is not None:
            weights = self.weights.tensor_split(n, dim=-1)
        if self.observed is not None:
            observed = self.observed.tensor_split(n, dim=-2)
        return list(map(Batch, inputs, targets, weights, observed))


class Part(NamedTuple):
    """The place of the training rows of a process among those of all processes.

    Attributes
    ----------
    n_before : int
        Number of rows of the processes before this one.
    n_rows : int
        Number of rows of all processes.
    """

    n_before: int
    n_rows: int

    def batches(self, rows, n_batches, generator=None):
        """Divide the row numbers (n,) of this process into batches.

        Together with the batches of the other processes, which get the same `generator`,
        they are those of one process that has all rows.
        """
        order = torch.arange(self.n_rows)
        if generator is not None:
            order = torch.randperm(self.n_rows, generator=generator)
        parts = (order - self.n_before).tensor_split(n_batches)
        return [rows[part[(part >= 0) & (part < len(rows))]] for part in parts]


class Rows(Dataset):
    """Rows of one network, or of each network of a stack, in whole tensors.

    Parameters
    ----------
    inputs : Tensor of shape (n, p), or (m, n, p) for a stack of m members
        There may be several versions of all n rows, one after another, of which one is
        drawn for each row of each shuffled batch. Otherwise the first is taken.
    targets : Tensor of shape (n, q) or (m, n, q)
        Targets of the rows; the same object as `inputs` if the inputs are the targets.
    index : list of m arrays of int
        Numbers of the rows that each member uses.
    lost : ndarray of shape (n_rows,) or float
        Error that the coordinates of `inputs` cause for each row, one member after another.
    weights : Tensor of shape (n,), or (m, n) for a stack, or None
    observed : Tensor of bool of shape (n, q) or None
        Cells that are observed; None if all are.
    device : torch.device or None
        Device of the batches. None is the device of `inputs`.
    judge : JudgedCells or None
        Computes the errors of the rows if their cells are not those of `targets`.
    part : Part or None
        Place of the rows of the only member, if other processes have rows of each batch.
    """

    def __init__(
        self,
        inputs,
        targets,
        index,
        lost=0.0,
        weights=None,
        observed=None,
        device=None,
        judge=None,
        part=None,
    ):
        self.part = part
        self.device = device or inputs.device
        self.inputs = inputs
        self.targets = targets
        self.weights, self.observed, self.judge = weights, observed, judge
        self.index = [torch.as_tensor(rows) for rows in index]
        self.lost = lost
        self.length = max(len(rows) for rows in index)
        # Values of a row of inputs and targets, of all members together.
        self.n_values = len(index) * (inputs.shape[-1] + targets.shape[-1])
        self.members = torch.arange(len(index), device=inputs.device)[:, None]

    def __len__(self):
        return self.length

    def __getitem__(self, position):
        return self.take(self.order()[..., position : position + 1])[:2]

    def order(self, generator=None):
        """Return row numbers (n,) or (m, n), shuffled within each member by `generator`.

        If a member has fewer rows than another, its rows are repeated.
        """
        orders = [self._order(rows, generator) for rows in self.index]
        return orders[0] if self.inputs.ndim == 2 else torch.stack(orders)

    def _order(self, rows, generator):
        """Return the row numbers (n,) of one member."""
        if not len(rows):  # the member has no rows here, and its errors are dropped
            return torch.zeros(self.length, dtype=torch.long)
        turns = [rows] * -(-self.length // len(rows))
        if generator is not None:
            turns = [t[torch.randperm(len(t), generator=generator)] for t in turns]
        return torch.cat(turns)[: self.length]

    def batches(self, n_batches, generator=None):
        """Yield batches, whose numbers of rows differ by at most one."""
        if self.part is not None:
            yield from map(
                self.take, self.part.batches(self.index[0], n_batches, generator)
            )
            return
        order = self.order(generator)
        places = self._places(order, generator)
        if self.judge is None and order.shape[-1] * self.n_values <= TOGETHER:
            yield from self.take(order, places).split(n_batches)
            return
        parts = (t.tensor_split(n_batches, dim=-1) for t in (order, places))
        for rows, of_inputs in zip(*parts, strict=True):
            yield self.take(rows, of_inputs)

    def _places(self, order, generator):
        """Return where in `inputs` the rows with the numbers `order` are."""
        n_rows = self.targets.shape[-2]
        n_versions = self.inputs.shape[-2] // n_rows
        if generator is None or n_versions == 1:
            return order
        return order + n_rows * torch.randint(n_versions, order.shape, generator=generator)

    def take(self, order, places=None):
        """Return the Batch of the rows with the numbers `order`.

        `places` are the numbers of their inputs, if there are several versions.
        """
        order = order.to(self.inputs.device)
        places = order if places is None else places.to(self.inputs.device)
        inputs = self._take(self.inputs, places)
        targets = inputs
        if self.targets is not self.inputs:
            targets = self._take(self.targets, order)
        weights = observed = None
        if self.weights is not None:
            weights = self._take(self.weights[..., None], order)[..., 0]
        if self.observed is not None:
            observed = self._take(self.observed, order)
        judge = self.judge and functools.partial(self.judge.errors, order)
        return Batch(inputs, targets, weights, observed, judge)

    def _take(self, tensor, order):
        """Return rows (..., n, p) of a table. This is faster than `tensor[order]`."""
        if tensor.ndim == 3 and tensor.stride(0) == 0:  # one table for all members
            tensor = tensor[0]
        elif tensor.ndim == 3:
            order = order + tensor.shape[1] * self.members
            tensor = tensor.flatten(0, 1)
        rows = _at(tensor.index_select(0, order.flatten()), self.device)
        return rows if order.ndim == 1 else rows.unflatten(0, order.shape)


class StreamedRows(Dataset):
    """Rows of a table that is not held in memory.

    A file is read in windows, which consist of runs of neighbouring rows. The runs are
    drawn at random, and the rows of a window are shuffled in memory. Those of a memory map
    are not copied for that. Rows of a sparse matrix are made dense a batch at a time. Rows
    that are held in memory are drawn one by one, and converted a batch at a time.

    Parameters
    ----------
    X, target : Scaled of shape (n, p)
        Rows and their targets.
    index : list of m arrays of int, ascending
        Numbers of the rows that each member of a stack uses. A member reads its own
        windows.
    device : torch.device
        Device of the batches.
    weights : ndarray of shape (n,), or (m, n) for a stack of m members, or None
    part : Part or None
        See `Rows`. It is ignored for a file, of which neighbouring rows are read.
    """

    lost = 0.0

    def __init__(self, X, target, index, device, weights=None, part=None):
        self.X, self.target, self.part = X, target, part
        self.index, self.device, self.weights = index, device, weights
        self.length = max(map(len, index))

    def __len__(self):
        return self.length

    def batches(self, n_batches, generator=None):
        """Return an iterator of batches, in an order that is drawn from `generator`.

        The numbers of rows of the batches differ by at most one.
        """
        weights = [None] * len(self.index)
        if self.weights is not None:
            weights = np.atleast_2d(self.weights)
        members = [
            self._batches(member_index, member_weights, n_batches, generator)
            for member_index, member_weights in zip(self.index, weights, strict=True)
        ]
        one, *others = members
        return map(_stacked, zip(*members, strict=True)) if others else one

    def _batches(self, index, weights, n_batches, generator):
        """Yield the batches of one member."""
        is_sparse, reads_any = sparse.issparse(self.X.X), reads_any_rows(self.X.X)
        is_divided = self.part is not None and reads_any
        if is_divided:
            parts = self.part.batches(torch.from_numpy(index), n_batches, generator)
            batches = [part.numpy() for part in parts]
        else:
            order = self._order(index, 1 if reads_any else RUN, generator)
            batches = np.array_split(order, n_batches)
        per_window = max(1, WINDOW // (self.X.shape[1] * max(1, len(batches[0]))))
        if reads_any and not is_sparse:
            per_window = 1
        for i in range(0, n_batches, per_window):
            part = batches[i : i + per_window]
            rows = np.concatenate(part)
            places = np.arange(len(rows))
            if generator is not None and not is_divided:
                places = torch.randperm(len(rows), generator=generator).numpy()
            read = self._reader(rows)
            for place in np.split(places, np.cumsum([len(batch) for batch in part])[:-1]):
                numbers = rows[place]
                row_weights = None if weights is None else weights[numbers]
                how = numbers, row_weights, self.device
                yield streamed_batch(self.X, self.target, read(place), *how)
            del read  # only one window is held at a time

    def _reader(self, rows):
        """Return a function that returns some of these rows of X, given their places.

        A file is read now. Of a memory map the system holds the rows already.
        """
        X = self.X.X
        if is_mapped(X):
            return lambda places: rows_of(X, rows[places])
        window = X[rows] if sparse.issparse(X) else rows_of(X, rows)
        return functools.partial(rows_of, window)

    def _order(self, rows, run, generator):
        """Return the row numbers (n,) of one member, repeated if another has more."""
        if not len(rows):  # the member has no rows here, and its errors are dropped
            return np.zeros(self.length, dtype=int)
        if generator is not None and run == 1:
            rows = rows[torch.randperm(len(rows), generator=generator).numpy()]
        elif generator is not None:
            runs = np.array_split(rows, -(-len(rows) // run))
            order = torch.randperm(len(runs), generator=generator).numpy()
            rows = np.concatenate([runs[i] for i in order])
        return rows if len(rows) == self.length else np.resize(rows, self.length)


def streamed_batch(X, target, rows, numbers, weights, device):
    """Return a Batch of rows that have been read.

    Parameters
    ----------
    X, target : Scaled
    rows : ndarray of shape (n, p)
        Rows in their own units.
    numbers : ndarray of int of shape (n,) or None
        Numbers of these rows, if `X` or `target` need them, see `Scaled`.
    weights : ndarray of shape (n,) or None
    device : torch.device
    """
    inputs = _at(torch.from_numpy(X.of(rows, numbers)), device)
    targets = inputs
    if target is not X:
        targets = _at(torch.from_numpy(target.of(rows, numbers)), device)
    if weights is not None:
        weights = _at(torch.from_numpy(weights).float(), device)
    return Batch(inputs, targets, weights)


def _stacked(batches):
    """Join the batches of m members in one Batch (m, n, ...)."""
    inputs, targets, weights, *_ = zip(*batches, strict=True)
    is_same = targets[0] is inputs[0]
    inputs = torch.stack(inputs)
    targets = inputs if is_same else torch.stack(targets)
    return Batch(inputs, targets, None if weights[0] is None else torch.stack(weights))


def _at(tensor, device):
    """Return the tensor on a device. A GPU copies it from pinned memory asynchronously."""
    if tensor.device.type == "cpu" and device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class Batches:
    """Iterable of batches of rows, for the `iterator_train` of skorch.

    The numbers of rows of the batches differ by at most one, so that no batch is left with
    a single row, for which batch normalization fails. If there is a `Pace`, it chooses the
    number of threads of each step. `n_rows` is the number of rows of all processes, among
    which the rows of a batch are divided; None means that there is one process.
    """

    def __init__(self, dataset, batch_size, generator=None, pace=None, n_rows=None):
        self.n_rows = len(dataset) if n_rows is None else n_rows
        self.dataset = dataset
        self.batch_size = batch_size
        self.generator = generator
        self.pace = pace

    def __len__(self):
        return -(-self.n_rows // self.batch_size)

    def __iter__(self):
        batches = self.dataset.batches(len(self), self.generator)
        return batches if self.pace is None else self.pace.of(batches)
