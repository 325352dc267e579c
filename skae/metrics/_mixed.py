"""Errors of tables of which some columns hold categories.

Rows are tables with codes (n, n_features), see `skae._tables.categories`. Reconstructions
X_hat (n, n_encoded) hold numbers, and for each category its probability.
"""

import dataclasses

import numpy as np
from scipy.special import xlogy
from sklearn.utils import _safe_indexing, check_array

from skae._tables.categorical_features import find_columns
from skae._tables.categories import Columns, columns_of
from skae._tables.checks import FLOATS, check_features, numbers_of
from skae._tables.frames import coded, holds_categories, kind_of, library_of
from skae._tables.scaling import nan_location_and_scale
from skae.metrics._metric import METRICS, steps_of

__all__ = [
    "Mixed",
    "MixedTally",
    "codes_of",
    "has_categories",
    "reader_of",
    "tally_of_frames",
]

OF_PROBABILITIES = "squared_error", "r2"  # the others count categories that are wrong


def has_categories(X):
    """Whether X is a frame of which columns have a dtype of categories.

    A frame whose only such columns are booleans is a table of numbers too.
    """
    if library_of(X) is None or not holds_categories(X).any():
        return False
    kinds = [kind_of(_safe_indexing(X, j, axis=1)) for j in range(X.shape[1])]
    return any(kind in ("category", "ordered") for kind in kinds)


def codes_of(columns, X, owner, ignores_unknown=False):
    """Return the table with codes (n_samples, n_features) of a user's table.

    Parameters
    ----------
    columns : Columns
    X : array or frame of shape (n_samples, n_features)
    owner : str
        Who refuses unknown categories, for messages.
    ignores_unknown : bool
        Whether cells of unknown categories are missing cells.
    """
    if library_of(X) is None:
        X = check_array(X, dtype=None, ensure_all_finite=False)
    numbers = numbers_of(X, columns, dtype=FLOATS, ensure_all_finite="allow-nan")
    return columns.with_codes(X, numbers, owner, ignores_unknown)


# -- units -----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Mixed:
    """The units in which the columns of a table count alike.

    Attributes
    ----------
    columns : Columns
    scale : ndarray of shape (n_features,)
        Standard deviations of numbers. Those of categories are not used.
    entropy : ndarray of shape (n_features,)
        Entropies of categories, which are the cross-entropies of their best constants. It
        is 1 for numbers, and for a column with one category only.
    """

    columns: Columns
    scale: np.ndarray
    entropy: np.ndarray

    @classmethod
    def of_rows(cls, columns, rows):
        """Return the units of which rows (n, n_features) tell."""
        table = columns.one_hot(rows)
        _, scale = nan_location_and_scale(table)
        return cls._of(columns, scale[columns.starts], entropies(columns, table))

    @classmethod
    def of_fit(cls, autoencoder, columns):
        """Return the units of the loss of a fitted autoencoder."""
        of_loss, starts = autoencoder._loss_statistics, columns.starts
        return cls._of(columns, of_loss["scale"][starts], of_loss["baseline"][starts])

    @classmethod
    def _of(cls, columns, scale, entropy):
        entropy = np.where(columns.is_categorical & (entropy > 0), entropy, 1.0)
        return cls(columns, np.where(scale > 0, scale, 1.0), entropy)

    def in_scale(self, scale):
        """Return the same with numbers in units of `scale` (n_features,), if given."""
        return self if scale is None else dataclasses.replace(self, scale=scale)

    def cells(self, metric, rows, X_hat):
        """Return the errors (n, n_features) of cells, NaN in missing cells of `rows`."""
        columns, is_number = self.columns, ~self.columns.is_categorical
        cells = np.full(rows.shape, np.nan)
        numbers = (rows[:, is_number], X_hat[:, columns.starts[is_number]])
        scale = self.scale[is_number]
        cells[:, is_number] = METRICS[metric].cells(*(part / scale for part in numbers))
        if metric in OF_PROBABILITIES:
            given = columns.one_hot(rows)
            p = columns.summed(np.where(given > 0, X_hat, 0.0))
            p = np.maximum(p, np.finfo(X_hat.dtype).eps)
            surprise = -np.log(np.where(columns.is_categorical, p, 1.0)) / self.entropy
            return np.where(np.isnan(rows) | is_number, cells, surprise)
        return np.where(np.isnan(rows) | is_number, cells, self.wrong(rows, X_hat))

    def wrong(self, rows, X_hat):
        """Return whether the most probable category is not the one that is there."""
        return rows != self.columns.most_probable(X_hat)

    def constants(self, rows, weights):
        """Return the errors (n_features,) of the best constants, summed over the cells.

        They are those of the metrics of `OF_PROBABILITIES`.
        """
        weights = weights[:, None] * ~np.isnan(rows)
        totals = np.maximum(weights.sum(axis=0), np.finfo(np.float64).tiny)
        scaled = rows / self.scale
        centred = scaled - np.nansum(weights * np.nan_to_num(scaled), axis=0) / totals
        squares = (weights * np.square(np.nan_to_num(centred))).sum(axis=0)
        own = entropies(self.columns, self.columns.one_hot(rows), weights)
        of_categories = totals * own / self.entropy
        return np.where(self.columns.is_categorical, of_categories, squares)


def entropies(columns, table, weights=None):
    """Return the entropies (n_features,) of the categories of a one-hot table.

    Parameters
    ----------
    columns : Columns
    table : ndarray of shape (n, n_encoded)
        NaN in missing cells.
    weights : ndarray of shape (n, n_features) or None
        Weights of the cells.
    """
    counts = np.nan_to_num(table)
    if weights is not None:
        counts = counts * weights[:, columns.feature_of]
    counts = np.where(columns.is_categorical[columns.feature_of], counts.sum(axis=0), 0.0)
    totals = columns.summed(counts)[columns.feature_of]
    shares = counts / np.where(totals > 0, totals, 1.0)
    return columns.summed(-xlogy(shares, shares))


class MixedTally:
    """Computes a metric as `Tally` does, of a table with columns of categories.

    Parameters
    ----------
    metric : str
        A key of `METRICS`.
    mixed : Mixed
    """

    def __init__(self, metric, mixed):
        if not METRICS[metric].has_units:
            raise ValueError(
                f"metric={metric!r} takes tables of shares, and X has columns of "
                "categories. Set metric='squared_error', which counts the cross-entropies "
                "of categories."
            )
        self.name, self.metric, self.mixed = metric, METRICS[metric], mixed
        self._parts = []

    def add(self, rows, X_hat, sample_weight=None):
        """Add rows (n, n_features) and their reconstructions (n, n_encoded)."""
        self.add_cells(rows, self.mixed.cells(self.name, rows, X_hat), sample_weight)

    def add_cells(self, rows, cells, sample_weight=None):
        """Add rows and the errors of their cells, both (n, n_features)."""
        w = np.ones(len(rows)) if sample_weight is None else sample_weight
        self._parts.append((rows, cells, w))

    @property
    def cells(self):
        """Errors of all cells (n, n_features), NaN in missing cells."""
        return np.concatenate([cells for _, cells, _ in self._parts])

    def _sums(self):
        """Return errors, weights and errors of constants, (n_features,) each."""
        rows, cells, w = map(np.concatenate, zip(*self._parts, strict=True))
        errors, weights = w @ np.nan_to_num(cells), w @ ~np.isnan(rows)
        if not weights.sum():
            raise ValueError(
                "X has no values to score: all of its cells are missing, or all rows with "
                "values have weight zero."
            )
        is_needed = self.name == "r2"
        return errors, weights, self.mixed.constants(rows, w) if is_needed else 0 * errors

    def by_feature(self):
        """Return the metric of each feature (n_features,), NaN for one without values."""
        errors, weights, constants = self._sums()
        known = np.where(weights > 0, weights, np.nan)
        errors = errors / known
        found = self.metric.finish(errors, constants / known)
        is_root = self.name == "root_mean_squared_error"
        return np.where(self.mixed.columns.is_categorical & is_root, errors, found)

    def overall(self):
        """Return the metric of all cells as a float."""
        errors, weights, constants = self._sums()
        if self.name == "root_mean_squared_error":
            return float(np.nanmean(self.by_feature()))
        total = weights.sum()
        return float(self.metric.finish(errors.sum() / total, constants.sum() / total))

    def by_row(self):
        """Return the metric of each row (n,), without r2, NaN for one without values."""
        cells = self.cells
        counts = (~np.isnan(cells)).sum(axis=1)
        means = np.nansum(cells, axis=1) / np.where(counts > 0, counts, np.nan)
        return self.metric.finish(means, np.ones(len(cells)))


# -- estimators ------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Reader:
    """A fitted autoencoder of tables with categories, alone or as a step of a Pipeline.

    Attributes
    ----------
    before, after : list of transformers
        The steps of the Pipeline. Rows and errors are those of the table that `before`
        makes of X.
    autoencoder : estimator
    columns : Columns
    """

    before: list
    autoencoder: object
    after: list
    columns: Columns

    @property
    def mixed(self):
        """The units of the loss."""
        return Mixed.of_fit(self.autoencoder, self.columns)

    @property
    def allows_nan(self):
        """Whether missing cells are filled by the autoencoder."""
        return self.autoencoder._filler is not None

    def rows(self, X):
        """Return the rows (n, n_features) of X, checked as `transform` does."""
        for step in self.before:
            X = step.transform(X)
        return check_features(self.autoencoder, X, reset=False)

    def encode(self, rows):
        """Return codes (n, k) of rows, as the estimator returns them."""
        table, k = self.columns.one_hot(rows), self.autoencoder.n_components_
        Z = self.autoencoder._inference.encode(table, k)
        for step in self.after:
            Z = step.transform(Z)
        return Z

    def decode(self, Z):
        """Return reconstructions (n, n_encoded) of codes."""
        for step in reversed(self.after):
            Z = step.inverse_transform(Z)
        return self.autoencoder._inference.decode(check_array(Z, dtype=FLOATS))

    def reconstruct(self, rows):
        """Return reconstructions (n, n_encoded) of rows."""
        return self.decode(self.encode(rows))

    def components(self):
        """Return the derivatives (k, n_encoded) of one-hot columns at the mean code."""
        mean = self.autoencoder._mean_code[None].astype(np.float64)
        return self.autoencoder._inference.jacobian(mean)[0]


def reader_of(estimator):
    """Return the Reader of a fitted estimator, or None if it knows no categories."""
    steps = steps_of(estimator)
    for place, step in enumerate(steps):
        columns = columns_of(step) if hasattr(step, "_inference") else None
        if columns is None:
            continue
        if step._exposure is not None:
            raise ValueError(
                f"Errors of {type(step).__name__} with both exposures and columns of "
                "categories are those of its methods score and score_samples only."
            )
        return Reader(steps[:place], step, steps[place + 1 :], columns)
    return None


# -- frames and their reconstructions --------------------------------------------------


def tally_of_frames(X, X_hat, metric, scale=None, sample_weight=None):
    """Return the MixedTally of a frame and of a reconstruction that has no probabilities.

    Parameters
    ----------
    X : frame of shape (n_samples, n_features)
        Columns with a dtype of categories hold categories.
    X_hat : array or frame of shape (n_samples, n_features)
    metric : str
    scale : ndarray of shape (n_features,) or None
        None stands for the standard deviations of X.
    sample_weight : ndarray of shape (n_samples,) or None
    """
    columns = find_columns(X, "from_dtype")
    if metric in OF_PROBABILITIES:
        names = [columns.name(j) for j in np.flatnonzero(columns.is_categorical)]
        raise ValueError(
            f"X has the columns of categories {names}. metric={metric!r} counts their "
            "probabilities, and X_hat holds only the most probable categories. Set "
            "metric='root_mean_squared_error' or 'absolute_error', which count wrong "
            "categories, or call make_reconstruction_scorer(...)(estimator, X), which "
            "knows the probabilities."
        )
    rows, is_number = codes_of(columns, X, "X"), ~columns.is_categorical
    tally = MixedTally(metric, Mixed.of_rows(columns, rows).in_scale(scale))
    if np.shape(X) != np.shape(X_hat):
        raise ValueError(
            f"X_hat is to reconstruct X, but X has the shape {np.shape(X)} and X_hat has "
            f"the shape {np.shape(X_hat)}. Pass the result of inverse_transform as X_hat."
        )
    numbers = numbers_of(X_hat, columns, dtype=FLOATS, ensure_all_finite="allow-nan")
    guesses = np.full(rows.shape, np.nan)
    guesses[:, is_number] = numbers
    for i, j in enumerate(np.flatnonzero(columns.is_categorical)):
        guesses[:, j] = _codes_in(columns.categories[i], _safe_indexing(X_hat, j, axis=1))
    if np.isnan(guesses[~np.isnan(rows)]).any():
        raise ValueError("X_hat contains NaN in cells in which X has values.")
    cells = np.where(np.isnan(rows), np.nan, rows != guesses)
    s = tally.mixed.scale[is_number]
    of_numbers = METRICS[metric].cells(rows[:, is_number] / s, numbers / s)
    cells[:, is_number] = of_numbers
    tally.add_cells(rows, cells, sample_weight)
    return tally


def _codes_in(categories, column):
    """Return the positions (n,) of a column in a list of categories, or -1; NaN stays.

    Codes of a column of an array are these positions already.
    """
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiu":
        return column
    values, codes = coded(column)
    known = {category: code for code, category in enumerate(categories)}
    return np.array([*(known.get(value, -1) for value in values), np.nan])[codes]
