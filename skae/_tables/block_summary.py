"""What one pass over the blocks of a dask table tells about its rows."""

import dataclasses
import functools

import numpy as np
from scipy import sparse

from skae._tables.blocks import stacked
from skae._tables.dependence import row_keys
from skae._tables.ranges import Extremes
from skae._tables.rows import row_blocks, rows_of
from skae._tables.running_pca import RunningPCA
from skae._tables.scaling import location_and_scale

__all__ = ["Summary", "moments", "summary_of", "summary_of_rows"]

MOST_FEATURES = 1024  # largest number of features for which PCA is exact
FAN_IN = 8  # number of summaries that are joined at once


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a fit needs to know about all rows before training.

    Attributes
    ----------
    pca : RunningPCA
    extremes : Extremes
    keys : ndarray of uint64 of shape (n_samples,)
        Equal rows have the same key.
    numbers : ndarray of int of shape (n,)
        Numbers of some evenly spaced rows.
    rows : ndarray or CSR matrix of shape (n, n_features)
        These rows.
    """

    pca: RunningPCA
    extremes: Extremes
    keys: np.ndarray
    numbers: np.ndarray
    rows: np.ndarray | sparse.csr_matrix

    def joined(self, other):
        """Return the summary of these rows and of those that follow them."""
        return Summary(
            self.pca.joined(other.pca),
            self.extremes.joined(other.extremes),
            np.concatenate([self.keys, other.keys]),
            np.concatenate([self.numbers, other.numbers]),
            stacked([self.rows, other.rows]),
        )


def summary_of(blocks, weights, check, *, standardize, n_components, every):
    """Compute the Summary of blocks where they are, reading each once.

    Parameters
    ----------
    blocks : Blocks
    weights : ndarray of shape (n_samples,) or None
        Weights of the rows.
    check : callable (rows, numbers)
        Raises an error if it refuses rows, which are dense, or their values.
    standardize : bool
    n_components : int
    every : int
        Every so many rows one is kept in memory.

    Returns
    -------
    Summary
    """
    starts = blocks.starts
    w = np.split(np.ones(len(blocks)) if weights is None else weights, starts[1:-1])
    how = {"check": check, "standardize": standardize, "every": every}
    summarise = functools.partial(summary_of_rows, n_components=n_components, **how)
    parts = blocks.each(summarise, starts[:-1].tolist(), w)
    return blocks.reduced(parts, _joined, FAN_IN)


def _joined(*summaries):
    return functools.reduce(Summary.joined, summaries)


def summary_of_rows(block, start, weights, *, check, standardize, n_components, every):
    """Return the Summary of rows, the first of which has the number `start`.

    The arguments are those of `summary_of`, for one block.
    """
    block = block.tocsr() if sparse.issparse(block) else np.asarray(block)
    numbers = np.arange(start, start + block.shape[0])
    for piece in row_blocks(*block.shape):
        check(rows_of(block, piece), numbers[piece])
    how = {"standardize": standardize, "n_components": n_components}
    found = moments(block, weights, **how)
    is_kept = numbers % every == 0
    return Summary(*found, row_keys(block), numbers[is_kept], block[is_kept])


def moments(X, weights, *, standardize, n_components):
    """Return the RunningPCA and the Extremes of the rows of a table that `rows_of` takes.

    `weights` (n_samples,) are those of the rows, or None.
    """
    frame = location_and_scale(X, standardize)
    pca, extremes = RunningPCA.begin(*frame, n_components, MOST_FEATURES), None
    for piece in row_blocks(*X.shape):
        rows, w = rows_of(X, piece), None if weights is None else weights[piece]
        pca = pca.updated(rows, w)
        extremes = Extremes.of(rows, w).joined(extremes)
    return pca, extremes
