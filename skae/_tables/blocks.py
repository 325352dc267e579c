"""Arrays and frames of dask, whose rows are computed block by block."""

import concurrent.futures
import contextvars

import numpy as np
from scipy import sparse

__all__ = ["Blocks", "as_dask_array", "is_dask", "stacked"]

NUMBERS = "fiub"  # kinds of dtypes that hold numbers


def is_dask(X):
    """Whether X is an array or a frame of dask, which is not imported for that."""
    return hasattr(X, "__dask_graph__")


def as_dask_array(X, owner):
    """Return a dask array or frame as a dask array whose blocks have all columns.

    Parameters
    ----------
    X : dask array or frame
        A frame becomes float64, unless all its columns are float32.
    owner : str
        Name of the estimator's class, for messages.

    Raises
    ------
    ValueError
        If X does not have two dimensions, or does not hold numbers.
    """
    if hasattr(X, "dtypes"):
        dtypes = dict(zip(X.columns, X.dtypes, strict=True))
        others = [c for c, t in dtypes.items() if getattr(t, "kind", "O") not in "fiu"]
        if others:
            raise ValueError(
                f"X of {owner} must hold numbers, and these columns of the frame do not: "
                f"{', '.join(map(repr, others[:5]))}. Encode categories, convert booleans "
                "and dates with astype, or drop these columns."
            )
        is_single = all(dtype == np.float32 for dtype in dtypes.values())
        return X.astype(np.float32 if is_single else np.float64).to_dask_array()
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D array instead. A dask array that is passed "
            f"to {owner} needs two dimensions, see its method reshape."
        )
    if X.dtype.kind not in NUMBERS:
        raise ValueError(f"X of {owner} must hold numbers, got dtype {X.dtype}.")
    return X if X.numblocks[1] == 1 else X.rechunk({1: -1})


class Blocks:
    """The rows of a dask array or frame, computed block by block whenever they are read.

    Rows that are asked for by their numbers, and not by a slice of neighbours, stay in
    memory. They are samples and held-out rows, which are few and are needed again.

    Parameters
    ----------
    X : dask array or frame
        Numbers of rows that are not known are computed, which takes a pass over the blocks.
    owner : str
        Name of the estimator's class, for messages.

    Attributes
    ----------
    shape : (int, int)
    dtype : dtype
    meta : ndarray, sparse matrix or frame
        A table without rows, of the kind that X consists of, with its feature names.
    parts : list of Delayed
        The blocks, all of which have rows.
    starts : ndarray of int of shape (n_parts + 1,)
        Number of the first row of each block, and the number of all rows.
    """

    def __init__(self, X, owner):
        array = as_dask_array(X, owner)
        self.meta, self.dtype = X._meta, array.dtype
        parts, sizes = list(array.to_delayed().ravel()), array.chunks[0]
        if np.isnan(sizes).any():
            sizes = _computed([_delayed(_number_of_rows)(part) for part in parts])
        self.parts = [part for part, size in zip(parts, sizes, strict=True) if size]
        self.starts = np.cumsum([0, *(size for size in sizes if size)]).astype(int)
        self.shape = int(self.starts[-1]), array.shape[1]
        self._numbers, self._kept = np.arange(0), None
        self._last = None, None

    def __len__(self):
        return self.shape[0]

    def whole(self):
        """Return all rows as an ndarray, a sparse matrix, or a frame if X is one."""
        if not self.parts:
            return np.empty(self.shape, self.dtype)
        rows = stacked(_computed(self.parts))
        is_frame = hasattr(self.meta, "columns")
        return type(self.meta)(rows, columns=self.meta.columns) if is_frame else rows

    def read(self, order):
        """Yield (start, rows) of the blocks in this order, and compute the next meanwhile.

        Parameters
        ----------
        order : iterable of int
            Numbers of blocks.

        Yields
        ------
        start : int
            Number of the first row of the block.
        rows : ndarray or CSR matrix of shape (n, n_features)
        """
        run = contextvars.copy_context().run  # a client of dask may belong to the context
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            coming = (
                (self.starts[i], thread.submit(run, self.parts[i].compute)) for i in order
            )
            following = next(coming, None)
            while following is not None:
                (start, rows), following = following, next(coming, None)
                yield start, _in_rows(rows.result())

    def each(self, function, *arguments):
        """Return Delayed results of function(rows, *arguments) for the blocks.

        Parameters
        ----------
        function : callable
        *arguments : lists with an item for each block
        """
        function = _delayed(function)
        return [function(*items) for items in zip(self.parts, *arguments, strict=True)]

    @staticmethod
    def reduced(items, join, at_once):
        """Return what `join` makes of Delayed items, of which it takes some at once."""
        join = _delayed(join)
        while len(items) > 1:
            groups = [items[i : i + at_once] for i in range(0, len(items), at_once)]
            items = [join(*group) for group in groups]
        return _computed(items)[0]

    def keep(self, numbers, rows):
        """Keep rows in memory.

        Parameters
        ----------
        numbers : ndarray of int of shape (n,), ascending
        rows : ndarray or CSR matrix of shape (n, n_features)
        """
        if self._kept is not None:
            is_new = ~np.isin(numbers, self._numbers)
            numbers = np.concatenate([self._numbers, numbers[is_new]])
            order = np.argsort(numbers)
            numbers, rows = numbers[order], stacked([self._kept, rows[is_new]])[order]
        self._numbers, self._kept = numbers, rows

    def __getitem__(self, rows):
        """Return rows as a dense ndarray, for a slice or an array of their numbers."""
        is_run = isinstance(rows, slice) and rows.step in (None, 1)
        if is_run:
            return self._run(*rows.indices(len(self))[:2])
        numbers = np.arange(len(self))[rows]
        missing = np.setdiff1d(numbers, self._numbers)
        if len(missing):
            self._fetch(missing)
        if not len(numbers):
            return np.empty((0, self.shape[1]), self.dtype)
        return _dense(self._kept[np.searchsorted(self._numbers, numbers)])

    def _run(self, start, stop):
        """Return neighbouring rows; the block that they end in is at hand for the next."""
        first, last = (
            np.searchsorted(self.starts, [start, max(stop - 1, start)], "right") - 1
        )
        found = []
        for i in range(first, min(last, len(self.parts) - 1) + 1):
            if self._last[0] != i:
                self._last = i, _in_rows(self.parts[i].compute())
            offset = self.starts[i]
            found.append(_dense(self._last[1][max(start - offset, 0) : stop - offset]))
        return np.concatenate(found) if found else np.empty((0, self.shape[1]), self.dtype)

    def _fetch(self, numbers):
        """Compute rows with these numbers, which are ascending, and keep them."""
        parts = np.split(numbers, np.searchsorted(numbers, self.starts[1:-1]))
        chosen = [
            _delayed(_rows_at)(self.parts[i], part - self.starts[i])
            for i, part in enumerate(parts)
            if len(part)
        ]
        self.keep(numbers, stacked(_computed(chosen)))


def stacked(parts):
    """Return arrays, or sparse matrices, of rows as one."""
    if sparse.issparse(parts[0]):
        return sparse.vstack(parts, format="csr")
    return np.concatenate(parts)


def _in_rows(block):
    """Return a computed block as an ndarray or a CSR matrix."""
    return block.tocsr() if sparse.issparse(block) else np.asarray(block)


def _dense(rows):
    return rows.toarray() if sparse.issparse(rows) else rows


def _rows_at(block, numbers):
    return _in_rows(block)[numbers]


def _number_of_rows(block):
    return block.shape[0]


def _delayed(function):
    from dask import delayed

    return delayed(function, pure=False)


def _computed(items):
    """Return the values of Delayed items, all of which are computed at once."""
    from dask import compute

    return list(compute(*items))
