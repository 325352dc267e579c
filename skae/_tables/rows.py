"""Rows of a table, whatever holds it: an array, a sparse matrix, a file."""

import numpy as np
from scipy import sparse

__all__ = ["Scaled", "chunks", "is_lazy", "is_streamed", "row_blocks", "rows_of"]

# Values worked on at a time: 8 MB of float64. glibc keeps what is freed of blocks of up
# to 32 MB once there was one of that size, several times over.
BLOCK = 2**20
SMALL = 2**21  # values; so many or fewer are read, and made dense, at once
FEW_ROWS = 1000  # and so are so many rows
SMALL_MAP = 2**26  # values of a memory map that are read at once
CHUNK = 2**20  # values worked on at a time


def row_blocks(n_samples, n_features):
    """Slices that cut the rows into blocks of a few megabytes."""
    step = max(1, BLOCK // max(1, n_features))
    return [slice(i, min(i + step, n_samples)) for i in range(0, n_samples, step)]


def is_lazy(X):
    """Whether X gives its rows when asked, as arrays of h5py, zarr and dask do.

    That is anything with two dimensions, a dtype and slices that is no array, frame,
    sparse matrix or tensor.
    """
    is_known = isinstance(X, np.ndarray) or sparse.issparse(X)
    has_all = all(hasattr(X, name) for name in ("shape", "dtype", "__getitem__"))
    is_whole = hasattr(X, "iloc") or hasattr(X, "__dlpack__")
    return has_all and not is_known and not is_whole and isinstance(X.dtype, np.dtype)


def is_streamed(X):
    """Whether X is so large, and so held, that it should never be whole in memory."""
    if isinstance(X, np.memmap):
        return X.ndim == 2 and X.size > SMALL_MAP
    n_samples, size = X.shape[0], X.shape[0] * X.shape[1]
    return (sparse.issparse(X) or is_lazy(X)) and size > SMALL and n_samples > FEW_ROWS


def rows_of(X, rows):
    """Rows of X as a dense ndarray (n, p), in its own dtype.

    Parameters
    ----------
    X : ndarray, sparse matrix in CSR format, or anything that takes a slice of rows
    rows : slice, or ndarray of int of shape (n,)
    """
    if sparse.issparse(X):
        return X[rows].toarray()
    if isinstance(X, np.ndarray | Scaled):
        return X[rows]
    if isinstance(rows, slice):
        return _strided(X, *rows.indices(X.shape[0]))
    # Slices are all that every such table takes: one for each run of neighbours.
    order = np.argsort(rows, kind="stable")
    ordered = np.asarray(rows)[order]
    runs = np.split(ordered, np.flatnonzero(np.diff(ordered) != 1) + 1)
    out = np.empty((len(rows), X.shape[1]), dtype=X.dtype)
    if len(rows):
        out[order] = np.concatenate([np.asarray(X[run[0] : run[-1] + 1]) for run in runs])
    return out


def _strided(X, start, stop, step):
    """Rows start, start + step, ... of a file: all is read, for single rows take longer."""
    if step == 1:
        return np.asarray(X[start:stop])
    parts = []
    for block in row_blocks(stop - start, X.shape[1]):
        part = np.asarray(X[start + block.start : start + block.stop])
        parts.append(part[-block.start % step :: step])
    return np.concatenate(parts)


class Scaled:
    """(X - mean) / scale of a table, computed for the rows that are asked for.

    Parameters
    ----------
    X : table that `rows_of` takes
    mean : ndarray of shape (n_features,), or 0.0
    scale : float or ndarray of shape (n_features,)
    bounds : (low, high), floats or arrays of shape (n_features,), or None
        Values beyond them become them: what rounding did to checked values is undone.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, X, mean=0.0, scale=1.0, bounds=None):
        self.X, self.mean, self.scale, self.bounds = X, mean, scale, bounds
        self.shape = X.shape

    def __len__(self):
        return self.shape[0]

    @property
    def size(self):
        return self.shape[0] * self.shape[1]

    def __getitem__(self, rows):
        return self.of(rows_of(self.X, rows))

    def of(self, rows):
        """Rows (n, p) of X in the units of this table."""
        out = np.empty(rows.shape, dtype=self.dtype)
        for block in row_blocks(*rows.shape):
            part = np.asarray(rows[block], dtype=np.float64) - self.mean
            part /= self.scale
            if self.bounds is not None:
                np.clip(part, *self.bounds, out=part)
            out[block] = part
        return out


def chunks(n, p):
    """Slices of the p columns that hold about `CHUNK` values each."""
    step = max(1, CHUNK // max(n, 1))
    return [slice(j, j + step) for j in range(0, p, step)]
