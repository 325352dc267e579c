"""Access to the rows of a table that is an array, a sparse matrix or a file."""

import numpy as np
from scipy import sparse

from skae._tables.blocks import Blocks

__all__ = [
    "Followed",
    "Scaled",
    "Selected",
    "chunks",
    "is_lazy",
    "is_mapped",
    "is_small",
    "is_streamed",
    "reads_any_rows",
    "row_blocks",
    "rows_of",
]

# Number of values that are processed at a time, 8 MB of float64. Once a program has freed a
# block of up to 32 MB, glibc keeps several blocks of that size for itself.
BLOCK = 2**20
# A table of at most so many values, or of at most so many rows, is read, and made dense,
# as a whole.
SMALL = 2**21
FEW_ROWS = 1000
SMALL_MAP = 2**26  # a memory map of at most so many values is read as a whole
CHUNK = 2**20  # number of values that are processed at a time


def row_blocks(n_samples, n_features):
    """Return slices that cut the rows into blocks of a few megabytes."""
    step = max(1, BLOCK // max(1, n_features))
    return [slice(i, min(i + step, n_samples)) for i in range(0, n_samples, step)]


def is_lazy(X):
    """Whether X reads its rows only on access, as arrays of h5py and zarr and `Blocks` do.

    This is anything with a shape, a NumPy dtype and slices, except for arrays, frames,
    sparse matrices and tensors.
    """
    is_known = isinstance(X, np.ndarray) or sparse.issparse(X)
    has_all = all(hasattr(X, name) for name in ("shape", "dtype", "__getitem__"))
    is_whole = hasattr(X, "iloc") or hasattr(X, "__dlpack__")
    return has_all and not is_known and not is_whole and isinstance(X.dtype, np.dtype)


def is_streamed(X):
    """Whether X is sparse or a file, and too large to be made one dense array."""
    if isinstance(X, Followed):
        return True
    if isinstance(X, np.memmap):
        return X.ndim == 2 and X.size > SMALL_MAP
    is_held = not (sparse.issparse(X) or is_lazy(X))
    return not is_held and not is_small(*X.shape) and X.shape[0] > FEW_ROWS


def is_small(n_samples, n_features):
    """Whether a table of this shape may be copied as a whole."""
    return n_samples * n_features <= SMALL


def reads_any_rows(X):
    """Whether single rows of X are read about as fast as neighbours."""
    if isinstance(X, Followed):
        return reads_any_rows(X.X)
    is_array = isinstance(X, np.ndarray) and not isinstance(X, np.memmap)
    return is_array or sparse.issparse(X)


def is_mapped(X):
    """Whether X is a memory map, or reads its rows from one."""
    return isinstance(X.X if isinstance(X, Followed) else X, np.memmap)


def rows_of(X, rows):
    """Return rows of X as a dense ndarray (n, p) with the dtype of X.

    Parameters
    ----------
    X : ndarray, sparse matrix in CSR format, or anything that takes a slice of rows
    rows : slice, or ndarray of int of shape (n,)
    """
    if sparse.issparse(X):
        return X[rows].toarray()
    if isinstance(X, np.ndarray | Scaled | Blocks | Followed):
        return X[rows]
    if isinstance(rows, slice):
        return _strided(X, *rows.indices(X.shape[0]))
    # Only slices are supported by all such tables: one slice for each run of neighbours.
    order = np.argsort(rows, kind="stable")
    ordered = np.asarray(rows)[order]
    runs = np.split(ordered, np.flatnonzero(np.diff(ordered) != 1) + 1)
    out = np.empty((len(rows), X.shape[1]), dtype=X.dtype)
    if len(rows):
        out[order] = np.concatenate([np.asarray(X[run[0] : run[-1] + 1]) for run in runs])
    return out


def _strided(X, start, stop, step):
    """Return every step-th row of a file. All are read, as single rows take longer."""
    if step == 1:
        return np.asarray(X[start:stop])
    parts = []
    for block in row_blocks(stop - start, X.shape[1]):
        part = np.asarray(X[start + block.start : start + block.stop])
        parts.append(part[-block.start % step :: step])
    return np.concatenate(parts)


class Scaled:
    """The table (X - mean) / scale, computed for rows when they are accessed.

    Parameters
    ----------
    X : table that `rows_of` takes
    mean : ndarray of shape (n_features,), or 0.0
    scale : float or ndarray of shape (n_features,)
    bounds : (low, high), floats or arrays of shape (n_features,), or None
        Values outside the bounds are set to them. As X was checked, only rounding errors
        are removed.
    before, after : callable (rows, numbers) -> rows, or None
        What is done to rows of X before they are centred and at the end. It is given their
        numbers too.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, X, mean=0.0, scale=1.0, bounds=None, before=None, after=None):
        self.X, self.mean, self.scale, self.bounds = X, mean, scale, bounds
        self.before, self.after = before, after
        self.shape = X.shape

    def __len__(self):
        return self.shape[0]

    @property
    def size(self):
        return self.shape[0] * self.shape[1]

    def __getitem__(self, rows):
        return self.of(rows_of(self.X, rows), rows)

    def raw(self, rows):
        """Return rows (n, p) before they are centred, sparse if X is sparse."""
        found = self.X[rows] if sparse.issparse(self.X) else rows_of(self.X, rows)
        return found if self.before is None else self.before(found, rows)

    def of(self, rows, numbers):
        """Convert rows (n, p) of X, which have these numbers, to this table's units."""
        if self.before is not None:
            rows = self.before(rows, numbers)
        out = np.empty(rows.shape, dtype=self.dtype)
        for block in row_blocks(*rows.shape):
            part = np.asarray(rows[block], dtype=np.float64) - self.mean
            part /= self.scale
            if self.bounds is not None:
                np.clip(part, *self.bounds, out=part)
            out[block] = part
        return out if self.after is None else self.after(out, numbers)


class Followed:
    """Some rows of a table and, after them, rows of another one, read on access.

    Parameters
    ----------
    X : table of shape (n, n_features) that `rows_of` takes
    numbers : ndarray of int of shape (n_own,)
        Numbers of these rows, in ascending order.
    others : ndarray of shape (n_others, n_features)
    """

    def __init__(self, X, numbers, others):
        self.X, self.numbers, self.others = X, numbers, others
        self.dtype = np.result_type(X.dtype, others.dtype)
        self.shape = len(numbers) + len(others), others.shape[1]

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        n_own = len(self.numbers)
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        is_own = rows < n_own
        if is_own.all():
            return rows_of(self.X, self.numbers[rows]).astype(self.dtype, copy=False)
        out = np.empty((len(rows), self.shape[1]), dtype=self.dtype)
        out[~is_own] = self.others[rows[~is_own] - n_own]
        if is_own.any():
            out[is_own] = rows_of(self.X, self.numbers[rows[is_own]])
        return out


class Selected:
    """Some rows of a table that is read in parts, in their order, read on access.

    Parameters
    ----------
    X : table that `rows_of` takes
    numbers : ndarray of int of shape (n_samples,)
        Row numbers, in ascending order. All rows between the first and the last one that
        are asked for are read.
    """

    def __init__(self, X, numbers):
        self.X, self.numbers, self.dtype = X, numbers, X.dtype
        self.shape = len(numbers), X.shape[1]

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        numbers = self.numbers[rows]
        if not len(numbers):
            return np.empty((0, self.shape[1]), dtype=self.dtype)
        first, last = numbers[0], numbers[-1]
        return rows_of(self.X, slice(first, last + 1))[numbers - first]


def chunks(n, p):
    """Return slices of the p columns that hold about `CHUNK` values each."""
    step = max(1, CHUNK // max(n, 1))
    return [slice(j, j + step) for j in range(0, p, step)]
