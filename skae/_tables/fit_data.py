"""What a user gives to `fit`: rows, targets and weights."""

import dataclasses

import numpy as np
import torch
from sklearn.utils.validation import (
    _check_sample_weight,
)

from skae._tables.dependence import Dependence, equal_rows
from skae._tables.missing import MOST_ROWS, fit_filler
from skae._tables.rows import (
    FEW_ROWS,
    SMALL,
    is_streamed,
    row_blocks,
    rows_of,
)
from skae._tables.scaling import location_and_scale, nan_location_and_scale

__all__ = ["Given"]

TELLING = 64  # columns by which rows mostly differ
FEWEST_ROWS = 256  # of a streamed table, however wide, that its filler is fitted to


@dataclasses.dataclass
class Given:
    """What a user gives to `fit`, checked.

    Attributes
    ----------
    X : ndarray, or a table that is streamed, of shape (n_samples, n_features)
        What the encoder sees.
    X_target : ndarray of shape (n_samples, n_features) or None
        What it is to become, where that is not X.
    X_val : ndarray of shape (n_held_out, n_features) or None
    weights : ndarray of shape (n_samples,) or None
    groups : ndarray of int of shape (n_samples,) or None
        Rows with the same number depend on each other.
    folds : list of (train, held_out) or None
        Arrays of row numbers, as they came from the splitter of the user.
    numbers : ndarray of int of shape (n_samples,) or None
        Of the rows, in what the user gave; None where they are all there in their order.
    """

    X: np.ndarray
    X_target: np.ndarray | None = None
    X_val: np.ndarray | None = None
    weights: np.ndarray | None = None
    groups: np.ndarray | None = None
    folds: list | None = None
    numbers: np.ndarray | None = None

    @property
    def goal(self):
        return self.X if self.X_target is None else self.X_target

    def weigh(self, sample_weight, least=2):
        """Take weights into account: none is a row that is not there.

        Whole numbers that make up a small table are repetitions of its rows, exactly.
        """
        w = _check_sample_weight(
            sample_weight, self.X, dtype=np.float64, ensure_non_negative=True
        )
        is_whole = not is_streamed(self.X) and np.all(w == np.round(w))
        is_repeated = is_whole and w.sum() <= FEW_ROWS
        if is_repeated:
            rows = np.repeat(np.arange(len(w)), w.astype(int))
        else:
            rows = np.flatnonzero(w)
        if len(rows) < least:
            raise ValueError(
                f"sample_weight leaves {len(rows)} rows of the {least} that are the least "
                "to fit to: a row of weight zero is left out."
            )
        if not is_repeated:
            self.weights = w * (len(rows) / w[rows].sum())
        if not is_streamed(self.X):
            self._take(rows)
        elif len(rows) < len(w):
            raise ValueError(
                "sample_weight of a table that is not read whole must be positive."
            )

    def sort(self):
        """Bring the rows of a small table into an order that is their own.

        The outcome then depends on the rows and not on how they came. Rows are compared
        by the first value that differs, NaN being the largest; no scaling changes that.
        """
        if self.X.shape[0] > FEW_ROWS:
            return
        parts = self.X, self.X_target, self.weights, self.groups
        columns = np.column_stack([part for part in parts if part is not None])
        first = columns[:, :TELLING]
        order = np.lexsort(first.T[::-1])
        pairs = first[order[:-1]], first[order[1:]]
        if (pairs[0] == pairs[1]).all(axis=1).any() or np.isnan(first).any():
            order = np.lexsort(columns.T[::-1])
        self._take(order)

    def _take(self, rows):
        self.numbers = rows if self.numbers is None else self.numbers[rows]
        for name in ("X", "X_target", "weights", "groups"):
            part = getattr(self, name)
            setattr(self, name, None if part is None else part[rows])
        if self.folds is not None:
            self.folds = [
                tuple(np.flatnonzero(np.isin(rows, side)) for side in fold)
                for fold in self.folds
            ]

    def dependence(self):
        """Which rows may not be on both sides of a split.

        Rows depend on each other where their goals are equal: of several noisy versions
        of one clean row, one tells what another is to become.
        """
        return Dependence(equal_rows(self.goal), self.groups, self.folds)

    @property
    def tables(self):
        """What was given, as arrays by name."""
        tables = {
            name: part
            for name, part in vars(self).items()
            if name not in {"folds", "numbers"}
        }
        for number, (train, held_out) in enumerate(self.folds or []):
            tables |= {f"train rows {number}": train, f"held-out rows {number}": held_out}
        return tables

    @property
    def observed(self):
        """Where X has values (n_samples, n_features); None where it has all."""
        if is_streamed(self.X):
            return None
        tables = [self.X] if self.X_val is None else [self.X, self.X_val]
        if not any(map(_has_missing, tables)):
            return None
        return ~np.concatenate([np.isnan(X) for X in tables])

    def location_and_scale(self, standardize):
        """Mean (n_features,) and scale of the features, of the cells that are there."""
        if self.observed is None:
            return location_and_scale(self.goal, standardize, self.weights)
        if np.isnan(self.X).all():
            raise ValueError("X has no values: all of its cells are missing.")
        mean, spread = nan_location_and_scale(self.X, self.weights)
        if standardize:
            return mean, np.where(spread == 0, 1.0, spread)
        largest = spread.max() or 1.0
        scale = largest * np.sqrt(np.mean(np.square(spread / largest)))
        return mean, float(scale or 1.0)

    def filler(self, mean, scale, seed):
        """What fills missing cells of rows like these."""
        X, w = self.X, self.weights
        if is_streamed(X):  # of which evenly spaced rows will do
            n_rows = min(MOST_ROWS, max(FEWEST_ROWS, SMALL // X.shape[1]))
            some = slice(None, None, -(-X.shape[0] // n_rows))
            X, w = rows_of(X, some), None if w is None else w[some]
        X = torch.from_numpy((X - mean) / scale).double()
        w = None if w is None else torch.from_numpy(w)
        return fit_filler(X, ~X.isnan(), seed, w)


def _has_missing(X):
    """Whether cells of X are NaN; block by block, for marks of all cells take memory."""
    return any(np.isnan(X[block]).any() for block in row_blocks(*X.shape))
