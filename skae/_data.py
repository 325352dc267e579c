"""From arrays to batches: rows that stay whole tensors, and who is held out."""

import numpy as np
import torch
from sklearn.model_selection import KFold, ShuffleSplit
from torch.utils.data import Dataset

__all__ = ["Batches", "Rows", "split"]

N_FOLDS = 5
SMALLEST = 20  # rows; with fewer, four held-out rows would choose the epoch
CROSS_FIT_UP_TO = 1000  # rows
MOST_HELD_OUT = 10_000  # rows


def split(n_samples, validation_fraction, seed, cross_fit):
    """Who trains and who is held out.

    Up to 1000 rows, one tenth of them would choose the epoch by luck: five folds are
    trained on instead, each with a fifth held out, and a last member trains on every
    row for the number of epochs that served the folds best. Above, one member trains
    and `validation_fraction` of the rows, 10 000 at most, is held out.

    Returns
    -------
    list of (train, held_out)
        One pair of integer arrays for each member; the last member is the one that is
        kept. Nobody is held out at all (empty arrays) below 20 rows.
    """
    everyone, nobody = np.arange(n_samples), np.arange(0)
    if n_samples < SMALLEST:
        return [(everyone, nobody)]
    if cross_fit and n_samples <= CROSS_FIT_UP_TO:
        folds = KFold(N_FOLDS, shuffle=True, random_state=seed).split(everyone)
        return [*folds, (everyone, nobody)]
    held_out = min(int(np.ceil(validation_fraction * n_samples)), MOST_HELD_OUT)
    return list(ShuffleSplit(1, test_size=held_out, random_state=seed).split(everyone))


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
    """

    def __init__(self, inputs, targets, index, lost=0.0):
        self.inputs = inputs
        self.targets = targets
        self.index = [torch.as_tensor(rows) for rows in index]
        self.lost = lost
        self.length = max(len(rows) for rows in index)
        self.members = torch.arange(len(index))[:, None]

    def __len__(self):
        return self.length

    def __getitem__(self, position):
        return self.take(self.order()[..., position : position + 1])

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

    def take(self, order):
        """The batch (inputs, targets) of the rows in `order`."""
        order = order.to(self.inputs.device)
        inputs = self._take(self.inputs, order)
        same = self.targets is self.inputs
        return inputs, inputs if same else self._take(self.targets, order)

    def _take(self, tensor, order):
        return tensor[order] if tensor.ndim == 2 else tensor[self.members, order]


class Batches:
    """Iterator over `Rows`, a whole batch at a time; skorch's `iterator_train`.

    The rows are cut into batches that differ by at most one row, so no batch is left
    with a single row, on which batch normalisation fails.
    """

    def __init__(self, dataset, batch_size, generator=None):
        self.dataset = dataset
        self.batch_size = batch_size
        self.generator = generator

    def __len__(self):
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self):
        order = self.dataset.order(self.generator)
        for rows in order.tensor_split(len(self), dim=-1):
            yield self.dataset.take(rows)
