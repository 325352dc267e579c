"""Rows that depend on each other, and must not be on both sides of a split."""

import dataclasses
import hashlib

import numpy as np
from scipy import sparse
from sklearn.model_selection import check_cv
from sklearn.utils import check_consistent_length, column_or_1d

from skae._tables.rows import row_blocks, rows_of

__all__ = [
    "Dependence",
    "check_groups",
    "equal_rows",
    "held_out_keys",
    "is_held_out",
    "label_keys",
    "number_of_keys",
    "row_keys",
    "splits_of",
]

COMPARED = 64  # number of columns that are compared first; most rows differ in them
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # an odd number without a pattern in its bits


@dataclasses.dataclass
class Dependence:
    """Says which rows of a table must not be on both sides of a split.

    Attributes
    ----------
    copies : ndarray of int of shape (n_samples,)
        Equal rows have the same number; the numbers are 0, 1, 2, ...
    groups : ndarray of int of shape (n_samples,) or None
        The user's groups, numbered in the same way.
    folds : list of (train, held_out) or None
        The splits that the user's splitter made, as arrays of row numbers.
    """

    copies: np.ndarray
    groups: np.ndarray | None = None
    folds: list | None = None

    @classmethod
    def none(cls, n_samples):
        """Return the dependence of rows that are independent of each other."""
        return cls(np.arange(n_samples))

    @classmethod
    def of_keys(cls, keys, groups=None, folds=None):
        """Return the dependence of rows of which those with the same key are equal."""
        return cls(_numbered(keys)[0], groups, folds)

    @property
    def labels(self):
        """Labels (n_samples,), equal for rows that must be held out together."""
        return self.copies if self.groups is None else self.groups


def check_groups(groups, X):
    """Return the groups (n_samples,), numbered 0, 1, 2, ... by their first appearance."""
    groups = column_or_1d(groups)
    check_consistent_length(X, groups)
    return _numbered(groups)[0]


def splits_of(cv, n_samples, y, groups, owner):
    """Return the splits that a user's splitter makes of n_samples rows.

    Parameters
    ----------
    cv : splitter of scikit-learn or iterable of (train, held_out)
    n_samples : int
    y, groups : array-like of shape (n_samples,) or None
        Arguments of the splitter.
    owner : str
        Name of the estimator's class, for messages.

    Returns
    -------
    list of (train, held_out)
        Arrays of row numbers.

    Raises
    ------
    ValueError
        If a split names rows that do not exist, or has no row on one of its sides.
    """
    rows = np.arange(n_samples)
    folds = []
    for fold in check_cv(cv).split(rows[:, None], y, groups):
        try:
            train, held_out = (rows[side] for side in fold)
        except (IndexError, TypeError, ValueError) as error:
            raise ValueError(
                f"cv of {owner} must make pairs (train, held_out) of row numbers from 0 to "
                f"{n_samples - 1} or of masks of {n_samples} rows, got {fold!r}."
            ) from error
        if not (len(train) and len(held_out)):
            raise ValueError(
                f"cv of {owner} makes a split with {len(train)} rows to train on and "
                f"{len(held_out)} to hold out. Each side needs at least one row."
            )
        folds.append((train, held_out))
    return folds


def equal_rows(X):
    """Number the distinct rows of a table in the order in which they appear.

    Rows are compared by a hash of 64 bits. The probability that any two different rows
    out of a million have the same hash is 3e-8; they would merely be held out together.

    Parameters
    ----------
    X : table of shape (n_samples, n_features) that `rows_of` takes

    Returns
    -------
    ndarray of int of shape (n_samples,)
        Equal rows have the same number, where NaN is equal to NaN.
    """
    n_samples, n_features = X.shape
    columns = np.unique(np.linspace(0, n_features - 1, COMPARED).astype(int))
    numbers, counts = _numbered(_hashes(X, np.arange(n_samples), columns))
    repeated = np.flatnonzero(counts[numbers] > 1)
    if len(repeated) and len(columns) < n_features:
        # Rows that agree in these columns are compared in all columns.
        hashes = numbers.astype(np.uint64)
        full_hashes = _hashes(X, repeated, np.arange(n_features))
        hashes[repeated] = full_hashes | np.uint64(2**63)
        numbers, _ = _numbered(hashes)
    return numbers


def row_keys(X):
    """Return keys (n_samples,) of 64 bits, which are the same for equal rows of tables."""
    return _hashes(X, np.arange(X.shape[0]), np.arange(X.shape[1]))


def number_of_keys(keys):
    """Return how many different keys there are, with less memory than `numpy.unique`."""
    ordered = np.sort(keys)
    return np.count_nonzero(ordered[1:] != ordered[:-1]) + (len(keys) > 0)


def label_keys(labels):
    """Return keys (n_samples,) of 64 bits for labels, the same in every process."""
    labels = column_or_1d(labels)
    if labels.dtype.kind in "biuf":
        return _mixed(_bits(labels) + np.uint64(1))
    distinct, inverse = np.unique(labels.astype(str), return_inverse=True)
    digests = [hashlib.blake2b(label.encode(), digest_size=8) for label in distinct]
    return np.array([int(d.hexdigest(), 16) for d in digests], dtype=np.uint64)[inverse]


def is_held_out(keys, share, seed):
    """Return for each key whether its rows are held out, as are about `share` of all."""
    return _drawn(keys, seed) < np.uint64(share * 2.0**64)


def held_out_keys(keys, n, seed):
    """Return n of the distinct `keys`, which do not depend on their order."""
    return keys[np.argsort(_drawn(keys, seed), kind="stable")[:n]]


def _drawn(keys, seed):
    """Return a random integer of 64 bits for each key."""
    return _mixed(_mixed(keys ^ _mixed(np.array([seed + 1], dtype=np.uint64))))


def _numbered(keys):
    """Number distinct keys by first appearance; return numbers (n,) and their counts."""
    _, first, inverse, counts = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[inverse], counts[order]


def _hashes(X, rows, columns):
    """Return hashes (n,) of some columns of some rows, given in ascending order."""
    factors = _mixed(np.arange(1, X.shape[1] + 1, dtype=np.uint64)) | np.uint64(1)
    hashes = np.zeros(len(rows), dtype=np.uint64)
    for block in row_blocks(*X.shape):
        here = slice(*np.searchsorted(rows, [block.start, block.stop]))
        if here.start == here.stop:
            continue
        is_whole = here.stop - here.start == block.stop - block.start
        part = block if is_whole else rows[here]
        if sparse.issparse(X):
            hashes[here] = _hashes_of_sparse(X[part], factors)
        else:
            values = rows_of(X, part)[:, columns]
            hashes[here] = (_mixed(_bits(values)) * factors[columns]).sum(axis=1)
    return hashes


def _hashes_of_sparse(X, factors):
    """Return hashes (n,) of rows. Only stored cells are read: a zero adds nothing."""
    ends = np.zeros(len(X.data) + 1, dtype=np.uint64)
    np.cumsum(_mixed(_bits(X.data)) * factors[X.indices], out=ends[1:])
    return ends[X.indptr[1:]] - ends[X.indptr[:-1]]


def _bits(values):
    """Return values as integers of 64 bits, which are equal where the values are."""
    values = values.astype(np.float64) + 0.0  # turns -0.0 into 0.0
    np.copyto(values, np.nan, where=np.isnan(values))
    return values.view(np.uint64)


def _mixed(bits):
    """Permute the integers of 64 bits so that zero stays and neighbours are far apart."""
    bits = bits * MULTIPLIER
    bits ^= bits >> np.uint64(32)
    return bits * MULTIPLIER
