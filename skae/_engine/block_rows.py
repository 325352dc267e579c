"""Batches of the rows of a dask table, each block of which is computed once an epoch."""

import numpy as np
import torch
from torch.utils.data import Dataset

from skae._engine.batches import WINDOW, streamed_batch
from skae._tables.blocks import stacked
from skae._tables.rows import rows_of

__all__ = ["BlockRows"]


class BlockRows(Dataset):
    """Rows of a table of `Blocks`.

    If there are at most about 128 MB of them, batches are those of a table in memory.
    Blocks of more are computed in random order. Their rows wait until there are about 128
    MB of them, and are then shuffled; half of them are used, and the others wait for the
    next blocks. Blocks of sorted rows are thus mixed with others.

    Parameters
    ----------
    X, target : Scaled of shape (n, p)
        Rows and their targets, computed from the same `Blocks`.
    index : list of one array of int, ascending
        Numbers of the rows that are used.
    device : torch.device
        Device of the batches.
    weights : ndarray of shape (n,) or None
    """

    lost = 0.0

    def __init__(self, X, target, index, device, weights=None):
        self.X, self.target, self.device, self.weights = X, target, device, weights
        self.index = index

    @property
    def numbers(self):
        """Numbers (n,) of the rows of the only network."""
        return self.index[0]

    def __len__(self):
        return len(self.numbers)

    @property
    def n_waiting(self):
        """Largest number of rows that wait."""
        return WINDOW // self.X.shape[1]

    def batches(self, n_batches, generator=None):
        """Yield batches, whose numbers of rows differ by at most one.

        The order of the rows is drawn from `generator`; with None it is that of the table.
        """
        sizes = np.full(n_batches, len(self) // n_batches)
        sizes[: len(self) % n_batches] += 1
        ends, n_before = np.cumsum(sizes), 0
        for rows, numbers in self._windows(generator, ends):
            cuts = ends[(n_before < ends) & (ends < n_before + len(numbers))] - n_before
            n_before += len(numbers)
            for places in np.split(np.arange(len(numbers)), cuts):
                weights = None if self.weights is None else self.weights[numbers[places]]
                batch = rows_of(rows, places)
                yield streamed_batch(self.X, self.target, batch, None, weights, self.device)

    def _windows(self, generator, ends):
        """Yield (rows, numbers) of shuffled rows, which end where a batch ends."""
        n_most = self.n_waiting
        n_read = n_before = 0
        waiting = []
        for part in self._parts(generator):
            waiting.append(part)
            n_read += len(part[1])
            is_last = n_read == len(self)
            if n_read - n_before <= n_most and not is_last:
                continue
            rows, numbers = map(stacked, zip(*waiting, strict=True))
            if generator is not None:
                order = torch.randperm(len(numbers), generator=generator).numpy()
                rows, numbers = rows[order], numbers[order]
            # Half of them wait for rows of other blocks, unless their order matters.
            n_staying = 0 if is_last or generator is None else n_most // 2
            n_after = ends[ends <= n_read - n_staying].max(initial=n_before)
            n_whole, n_before = n_after - n_before, n_after
            waiting = [(rows[n_whole:], numbers[n_whole:])]
            if n_whole:
                yield rows[:n_whole], numbers[:n_whole]

    def _parts(self, generator):
        """Yield (rows, numbers) of each block that has rows to train on."""
        blocks = self.X.X
        sides = np.searchsorted(self.numbers, blocks.starts)
        order = np.flatnonzero(np.diff(sides))
        if generator is not None and len(self) > self.n_waiting:
            order = order[torch.randperm(len(order), generator=generator).numpy()]
        for i, (start, rows) in zip(order, blocks.read(order), strict=True):
            numbers = self.numbers[sides[i] : sides[i + 1]]
            yield rows[numbers - start], numbers
