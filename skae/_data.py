"""From tables to batches: who is held out, and rows that are taken a batch at a time."""

import dataclasses
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from sklearn.model_selection import KFold, ShuffleSplit
from torch.utils.data import Dataset

from skae._streams import FEW_ROWS, Scaled, rows_of

__all__ = ["Batch", "Batches", "Rows", "StreamedRows", "Table", "split"]

N_FOLDS = 5
SMALLEST = 20  # rows; with fewer, four held-out rows would choose the epoch
MOST_HELD_OUT = 10_000  # rows
RUN = 64  # neighbouring rows of a file that stay together
SAMPLED, FEWEST_SAMPLED = 2**24, 4096  # values and rows that describe a streamed table
WINDOW = 2**24  # values of a file that are shuffled at a time


@dataclasses.dataclass
class Table:
    """What a fit learns from.

    Attributes
    ----------
    X : ndarray or Scaled of shape (n_samples, n_features)
        Centred and scaled.
    target : ndarray or Scaled of shape (n_samples, n_features)
        In the units of the loss: the object X where these are centred and scaled.
    inputs : ndarray of shape (n_samples, n_features) or None
        What the encoder sees in the place of X, centred and scaled as it is.
    weights : ndarray of shape (n_samples,) or None
        Of the rows; their mean is one.
    observed : ndarray of bool of shape (n_samples, n_features) or None
        Where X has a value of its own; elsewhere it is filled.
    n_held_out : int
        The last rows are held out, by the user's choice.
    """

    X: np.ndarray | Scaled
    target: np.ndarray | Scaled
    inputs: np.ndarray | None = None
    weights: np.ndarray | None = None
    observed: np.ndarray | None = None
    n_held_out: int = 0

    @property
    def is_streamed(self):
        return isinstance(self.X, Scaled)

    @property
    def observed_share(self):
        """Share of the cells that are there, those of a row counting as it weighs."""
        if self.observed is None:
            return 1.0
        return float(np.average(self.observed.mean(axis=1), weights=self.weights))

    def sample(self, n):
        """Arrays (inputs, X, weights) of the first n rows; of a streamed table, of some."""
        own = self if n == len(self.X) else self.first(n)
        if self.is_streamed:
            step = -(-n // max(FEWEST_SAMPLED, SAMPLED // self.X.shape[1]))
            own = self.first(slice(None, None, step))
        inputs = own.X if own.inputs is None else own.inputs
        if own.observed is not None:
            inputs = np.where(own.observed, inputs, np.nan)
        return inputs, own.X, own.weights

    def first(self, n):
        """The table of the first n rows, or of a slice of them."""
        rows = n if isinstance(n, slice) else slice(n)
        X = self.X[rows]
        rest = (self.inputs, self.weights, self.observed)
        rest = (None if part is None else part[rows] for part in rest)
        return Table(X, X if self.target is self.X else self.target[rows], *rest)


def split(n_samples, validation_fraction, seed, cross_fit, run=1):
    """Who trains and who is held out.

    Up to 1000 rows, one tenth of them would choose the epoch by luck: five folds are
    trained on instead, each with a fifth held out, and a last member trains on every
    row for the number of epochs that served the folds best. Above, one member trains
    and `validation_fraction` of the rows, 10 000 at most, is held out.

    Parameters
    ----------
    n_samples : int
    validation_fraction : float
    seed : int
    cross_fit : bool
        Whether small tables are.
    run : int
        So many neighbouring rows are held out together.

    Returns
    -------
    list of (train, held_out)
        One pair of integer arrays for each member; the last member is the one that is
        kept. Nobody is held out at all (empty arrays) below 20 rows.
    """
    everyone, nobody = np.arange(n_samples), np.arange(0)
    if n_samples < SMALLEST:
        return [(everyone, nobody)]
    if cross_fit and n_samples <= FEW_ROWS:
        folds = KFold(N_FOLDS, shuffle=True, random_state=seed).split(everyone)
        return [*folds, (everyone, nobody)]
    held_out = min(int(np.ceil(validation_fraction * n_samples)), MOST_HELD_OUT)
    if run == 1:
        return list(ShuffleSplit(1, test_size=held_out, random_state=seed).split(everyone))
    runs = np.arange(-(-n_samples // run))
    n_runs = max(1, held_out // run)
    _, chosen = next(ShuffleSplit(1, test_size=n_runs, random_state=seed).split(runs))
    is_held_out = np.isin(everyone // run, chosen)
    return [(everyone[~is_held_out], everyone[is_held_out])]


class Batch(NamedTuple):
    """Some rows, on the device; "..." is nothing or the members of a stack.

    Attributes
    ----------
    inputs : Tensor of shape (..., n, p)
    targets : Tensor of shape (..., n, q)
        The very object `inputs` where a network reconstructs what it sees.
    weights : Tensor of shape (..., n) or None
    observed : Tensor of bool of shape (..., n, q) or None
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor | None = None
    observed: torch.Tensor | None = None

    def repeat(self, n):
        """The targets, weights and marks of these rows, n times one after another."""
        targets, observed = (
            None if t is None else torch.cat([t] * n, dim=-2)
            for t in (self.targets, self.observed)
        )
        weights = None if self.weights is None else torch.cat([self.weights] * n, dim=-1)
        return Batch(self.inputs, targets, weights, observed)


class Rows(Dataset):
    """Rows that stay in whole tensors, of one network or of a stack of them.

    Parameters
    ----------
    inputs : Tensor of shape (n, p), or (m, n, p) for a stack of m members
    targets : Tensor of shape (n, q) or (m, n, q)
        The very object `inputs` where a network reconstructs what it sees.
    index : list of m arrays of int
        The rows that each member uses.
    lost : ndarray of shape (n_rows,) or float
        Error of the rows, one member's after another, that the coordinates of
        `inputs` cannot express.
    weights : Tensor of shape (n,), or (m, n) for a stack, or None
    observed : Tensor of bool of shape (n, q) or None
    device : torch.device or None
        Where batches are taken to, if not where `inputs` are.
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
    ):
        self.device = device or inputs.device
        self.inputs = inputs
        self.targets = targets
        self.weights, self.observed = weights, observed
        self.index = [torch.as_tensor(rows) for rows in index]
        self.lost = lost
        self.length = max(len(rows) for rows in index)
        self.members = torch.arange(len(index), device=inputs.device)[:, None]

    def __len__(self):
        return self.length

    def __getitem__(self, position):
        return self.take(self.order()[..., position : position + 1])[:2]

    def order(self, generator=None):
        """Row numbers (n,) or (m, n); shuffled within each member by `generator`.

        A member with fewer rows than the longest starts over.
        """
        orders = [self._order(rows, generator) for rows in self.index]
        return orders[0] if self.inputs.ndim == 2 else torch.stack(orders)

    def _order(self, rows, generator):
        if not len(rows):  # a member that takes no part; its errors are dropped
            return torch.zeros(self.length, dtype=torch.long)
        turns = [rows] * -(-self.length // len(rows))
        if generator is not None:
            turns = [t[torch.randperm(len(t), generator=generator)] for t in turns]
        return torch.cat(turns)[: self.length]

    def batches(self, n_batches, generator=None):
        """The rows cut into batches that differ by at most one row."""
        for rows in self.order(generator).tensor_split(n_batches, dim=-1):
            yield self.take(rows)

    def take(self, order):
        """The batch of the rows in `order`."""
        order = order.to(self.inputs.device)
        inputs = self._take(self.inputs, order)
        targets = inputs
        if self.targets is not self.inputs:
            targets = self._take(self.targets, order)
        weights = observed = None
        if self.weights is not None:
            weights = self._take(self.weights[..., None], order)[..., 0]
        if self.observed is not None:
            observed = self._take(self.observed, order)
        return Batch(inputs, targets, weights, observed)

    def _take(self, tensor, order):
        """Rows (..., n, p) of a table; faster than `tensor[order]`."""
        if tensor.ndim == 3 and tensor.stride(0) == 0:  # one table for all members
            tensor = tensor[0]
        elif tensor.ndim == 3:
            order = order + tensor.shape[1] * self.members
            tensor = tensor.flatten(0, 1)
        rows = _at(tensor.index_select(0, order.flatten()), self.device)
        return rows if order.ndim == 1 else rows.unflatten(0, order.shape)


class StreamedRows(Dataset):
    """Rows of a table that is not held in memory.

    A file is read in windows: runs of neighbouring rows, drawn at random, that are
    shuffled in memory. Rows of a sparse matrix are made dense a batch at a time.

    Parameters
    ----------
    X, target : Scaled of shape (n, p)
    rows : ndarray of int, ascending
    device : torch.device
    weights : ndarray of shape (n,) or None
    """

    lost = 0.0

    def __init__(self, X, target, rows, device, weights=None):
        self.X, self.target = X, target
        self.rows, self.device, self.weights = rows, device, weights
        self.index = [rows]

    def __len__(self):
        return len(self.rows)

    def batches(self, n_batches, generator=None):
        """Batches that differ by at most one row, in an order drawn from `generator`."""
        is_sparse = sparse.issparse(self.X.X)
        order = self._order(1 if is_sparse else RUN, generator)
        batches = np.array_split(order, n_batches)
        per_window = max(1, WINDOW // (self.X.shape[1] * len(batches[0])))
        for i in range(0, n_batches, per_window):
            part = batches[i : i + per_window]
            rows = np.concatenate(part)
            window = self.X.X[rows] if is_sparse else rows_of(self.X.X, rows)
            places = np.arange(len(rows))
            if generator is not None:
                places = torch.randperm(len(rows), generator=generator).numpy()
            for place in np.array_split(places, len(part)):
                yield self._batch(window, rows, place)

    def _order(self, run, generator):
        if generator is None:
            return self.rows
        runs = np.array_split(self.rows, -(-len(self.rows) // run))
        order = torch.randperm(len(runs), generator=generator).numpy()
        return np.concatenate([runs[i] for i in order])

    def _batch(self, window, rows, place):
        part = rows_of(window, place)
        inputs = _at(torch.from_numpy(self.X.of(part)), self.device)
        targets = inputs
        if self.target is not self.X:
            targets = _at(torch.from_numpy(self.target.of(part)), self.device)
        weights = None
        if self.weights is not None:
            weights = _at(torch.from_numpy(self.weights[rows[place]]).float(), self.device)
        return Batch(inputs, targets, weights)


def _at(tensor, device):
    """The tensor on a device; a GPU takes it from pinned memory while it computes."""
    if tensor.device.type == "cpu" and device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class Batches:
    """Iterator over rows, a whole batch at a time; skorch's `iterator_train`.

    The rows are cut into batches that differ by at most one row, so no batch is left
    with a single row, on which batch normalisation fails. A `Pace`, where there is one,
    chooses the number of threads of each step.
    """

    def __init__(self, dataset, batch_size, generator=None, pace=None):
        self.dataset = dataset
        self.batch_size = batch_size
        self.generator = generator
        self.pace = pace

    def __len__(self):
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self):
        batches = self.dataset.batches(len(self), self.generator)
        return batches if self.pace is None else self.pace.of(batches)
