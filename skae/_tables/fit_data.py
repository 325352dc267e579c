"""The arguments of `fit`, checked: rows, targets, weights, groups and splits."""

import dataclasses
import functools

import numpy as np
import torch
from sklearn.utils.validation import (
    _check_sample_weight,
)

from skae._tables.block_summary import Summary, summary_of
from skae._tables.blocks import Blocks
from skae._tables.categories import Columns
from skae._tables.dependence import Dependence, equal_rows
from skae._tables.exposure import Exposed, Exposure
from skae._tables.filler_fit import MOST_ROWS, FillerChoice, fit_filler
from skae._tables.ranges import Extremes
from skae._tables.rows import (
    FEW_ROWS,
    SMALL,
    Scaled,
    is_streamed,
    row_blocks,
    rows_of,
)
from skae._tables.scaling import location_and_scale, nan_location_and_scale, one_scale
from skae._tables.table import Shared, distance_of_sampled

__all__ = ["Given"]

TELLING = 64  # number of columns that are sorted by first; most rows differ in them
# Attributes that are no arrays, or that follow from others.
NO_TABLES = {"folds", "numbers", "columns", "fills_cells", "summary", "exposure"}
NO_TABLES |= {"filler_choice", "shared", "known_dependence"}
FEWEST_ROWS = 256  # least number of rows of a streamed table that a filler is fitted to


@dataclasses.dataclass
class Given:
    """The arguments of `fit`, checked.

    Attributes
    ----------
    X : ndarray, or a table that is streamed, of shape (n_samples, n_features)
        The rows that the encoder sees.
    X_target : ndarray of shape (n_samples, n_features) or None
        The rows that the decoder is to return. None stands for X.
    X_val : ndarray of shape (n_held_out, n_features) or None
        Held-out rows of the user's own.
    weights : ndarray of shape (n_samples,) or None
        Weights of the rows.
    groups : ndarray of int of shape (n_samples,) or None
        Rows with the same number depend on each other.
    folds : list of (train, held_out) or None
        Splits made by the user's splitter, as arrays of row numbers.
    numbers : ndarray of int of shape (n_samples,) or None
        Numbers of the rows in the table that the user passed. None if all of these are
        here in their original order.
    given_exposure : ndarray of shape (n_samples,) or None
        Exposures of the rows, if the user passed them.
    exposure : Exposure or None
        Set once it is learned, if the rows hold counts whose rates are in proportion to an
        exposure.
    columns : Columns or None
        Which columns of X are of categories, if some are.
    fills_cells : bool
        Whether the only purpose of the network is to fill missing cells. It is then told
        which cells are missing even if none are, so that cells are hidden in training, and
        its epoch is chosen by hidden cells alone.
    filler_choice : FillerChoice or None
        What kind of `Filler` suits rows like these, or an empty one, to be noted.
    summary : Summary or None
        What is known about all rows, if X is `Blocks`, see `summarised`, or if other
        processes have rows too.
    shared : Shared or None
        What else these have told. X then has the held-out rows of all processes at its end.
    known_dependence : Dependence or None
        Takes the place of what follows from the rows, in the same case.
    """

    X: np.ndarray
    X_target: np.ndarray | None = None
    X_val: np.ndarray | None = None
    weights: np.ndarray | None = None
    groups: np.ndarray | None = None
    folds: list | None = None
    numbers: np.ndarray | None = None
    given_exposure: np.ndarray | None = None
    exposure: Exposure | None = None
    columns: Columns | None = None
    fills_cells: bool = False
    filler_choice: FillerChoice | None = None
    summary: Summary | None = None
    shared: Shared | None = None
    known_dependence: Dependence | None = None

    @property
    def goal(self):
        """The rows that the decoder is to return: `X_target`, or X."""
        return self.X if self.X_target is None else self.X_target

    def weigh_in_part(self, sample_weight):
        """Take weights into account as they are, if other processes have rows too."""
        self.weights = w = np.empty(0)
        if self.X.shape[0]:
            how = {"dtype": np.float64, "ensure_non_negative": True}
            self.weights = w = _check_sample_weight(sample_weight, self.X, **how)
        rows = np.flatnonzero(w)
        if len(rows) < len(w):
            self._take(rows)

    def weigh(self, sample_weight, least=2, is_part=False):
        """Take `sample_weight` into account. A row of weight zero is left out.

        Whole numbers that sum to at most `FEW_ROWS` repeat the rows, so that they give
        exactly the result of copies. Other weights are scaled to a mean of one, unless
        the rows are a part of a larger table. A ValueError is raised if fewer than `least`
        rows are left.
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
                f"sample_weight leaves {len(rows)} rows, and a fit needs at least {least}. "
                "A row of weight zero is left out."
            )
        if not is_repeated:
            self.weights = w if is_part else w * (len(rows) / w[rows].sum())
        if not is_streamed(self.X):
            self._take(rows)
        elif len(rows) < len(w):
            raise ValueError(
                "sample_weight of a table that is read in parts must be positive."
            )

    def summarised(self, check, standardize, n_components):
        """Return a copy with the summary of X, if X is `Blocks`.

        Parameters
        ----------
        check : callable (rows, numbers)
            Raises an error if it refuses rows.
        standardize : bool
        n_components : int
        """
        if not isinstance(self.X, Blocks):
            return self
        summary = summary_of(
            self.X,
            self.weights,
            check,
            standardize=standardize,
            n_components=n_components,
            every=distance_of_sampled(*self.X.shape),
        )
        self.X.keep(summary.numbers, summary.rows)
        return dataclasses.replace(self, summary=summary)

    def sort(self):
        """Sort the rows of a small table, so that a fit does not depend on their order.

        Rows are compared by the first value that differs, where NaN is the largest. No
        scaling of the features changes this order.
        """
        if not 1 < self.X.shape[0] <= FEW_ROWS:
            return
        parts = self.X, self.X_target, self.weights, self.groups, self.given_exposure
        parts = [np.reshape(p, (len(p), -1)) for p in parts if p is not None]
        first = np.hstack([part[:, :TELLING] for part in parts])[:, :TELLING]
        order = np.lexsort(first.T[::-1])
        above, below = first[order[:-1]], first[order[1:]]
        is_equal = (above == below) | (np.isnan(above) & np.isnan(below))
        if is_equal.all(axis=1).any():
            order = np.lexsort(np.hstack(parts).T[::-1])
        self._take(order)

    def _take(self, rows):
        """Keep these rows, in this order."""
        self.numbers = rows if self.numbers is None else self.numbers[rows]
        for name in ("X", "X_target", "weights", "groups", "given_exposure"):
            part = getattr(self, name)
            setattr(self, name, None if part is None else part[rows])
        if self.folds is not None:
            self.folds = [
                tuple(np.flatnonzero(np.isin(rows, side)) for side in fold)
                for fold in self.folds
            ]

    @property
    def is_copied(self):
        """Whether X is not the array of the user's any more."""
        return self.numbers is not None and not is_streamed(self.X)

    def dependence(self):
        """Return which rows must not be on both sides of a split.

        Rows depend on each other if their targets are equal: if there are several noisy
        versions of one clean row, one of them reveals the target of the others.
        """
        if self.known_dependence is not None:
            return self.known_dependence
        others = self.groups, self.folds
        if self.summary is not None:
            return Dependence.of_keys(self.summary.keys, *others)
        return Dependence(equal_rows(self.goal), *others)

    @property
    def tables(self):
        """All arguments as a dict of names to arrays or None."""
        tables = {name: part for name, part in vars(self).items() if name not in NO_TABLES}
        if self.summary is not None:  # these stand for the rows
            tables["X"] = self.summary.keys
        if self.shared is not None:  # not all of them follow from the rows of one process
            tables["held-out rows"] = self.X[-self.shared.n_held_out or len(self.X) :]
        for number, (train, held_out) in enumerate(self.folds or []):
            tables |= {f"train rows {number}": train, f"held-out rows {number}": held_out}
        return tables

    @property
    def observed(self):
        """True in the cells of X that have a value.

        None if X is streamed, or if all have one and the network is not there to fill them.
        """
        if is_streamed(self.X):
            return None
        tables = [self.X] if self.X_val is None else [self.X, self.X_val]
        if not self.fills_cells and not any(map(_has_missing, tables)):
            return None
        return ~np.concatenate([np.isnan(X) for X in tables])

    def exposed(self, X):
        """Return the `Exposed` of X or of `goal`, or None without exposures."""
        if self.exposure is None:
            return None
        return Exposed(self.exposure, self.exposure.relative(X, self.given_exposure))

    def seen(self, X):
        """Return X or `goal` as the encoder sees it, before it is centred and scaled."""
        exposed = self.exposed(X)
        if exposed is None:
            return X
        return Scaled(X, before=exposed.seen) if is_streamed(X) else exposed.seen(X)

    def location_and_scale(self, standardize):
        """Return the mean (n_features,) and the scale of the features, ignoring NaN.

        If there are columns of categories, features are always standardized.
        """
        if self.summary is not None:
            return self.summary.pca.location_and_scale(standardize)
        if self.columns is None:
            return self._location_and_scale(standardize)
        return self.columns.balanced(*self._location_and_scale(standardize=True))

    def _location_and_scale(self, standardize):
        seen = self.seen(self.goal)
        if self.observed is None:
            return location_and_scale(seen, standardize, self.weights)
        if np.isnan(self.X).all():
            raise ValueError("X has no values: all of its cells are missing.")
        mean, spread = nan_location_and_scale(seen, self.weights)
        if standardize:
            return mean, np.where(spread == 0, 1.0, spread)
        return mean, one_scale(spread)

    def extremes(self):
        """Return the `Extremes` of the rows that the decoder is to return."""
        X, w = self.goal, self.weights
        if self.summary is not None:
            return self.summary.extremes
        return functools.reduce(
            Extremes.joined,
            (
                Extremes.of(rows_of(X, block), None if w is None else w[block])
                for block in row_blocks(*X.shape)
            ),
        )

    def rows_at_ends(self):
        """Return rows with the same smallest and largest values as those of `goal`."""
        if self.summary is None:
            return self.goal
        return np.stack([self.summary.extremes.low, self.summary.extremes.high])

    def filler(self, mean, scale, seed):
        """Return a `Filler` that fills missing cells of rows like these."""
        X, w = self.seen(self.X), self.weights
        if is_streamed(X):  # evenly spaced rows are enough
            n_rows = min(MOST_ROWS, max(FEWEST_ROWS, SMALL // X.shape[1]))
            some = slice(None, None, -(-X.shape[0] // n_rows))
            X, w = rows_of(X, some), None if w is None else w[some]
        X = torch.from_numpy((X - mean) / scale).double()
        w = None if w is None else torch.from_numpy(w)
        feature_of = None if self.columns is None else self.columns.feature_of
        how = {"any_covariance": self.fills_cells, "choice": self.filler_choice}
        return fit_filler(X, ~X.isnan(), seed, w, feature_of, **how)


def _has_missing(X):
    """Whether cells of X are NaN, found block by block to save memory."""
    return any(np.isnan(X[block]).any() for block in row_blocks(*X.shape))
