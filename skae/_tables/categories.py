"""Tables with columns of categories, and the tables of numbers that stand for them.

There are three forms of a table:

    the user's       an array or a frame, with anything in its columns of categories
    with codes       an array of numbers (n_samples, n_features), which holds in each
                     column of categories their positions in a list, and NaN where a cell
                     is missing
    one-hot          an array (n_samples, n_encoded), with a column for each category, which
                     is 1 where a row is of it; all columns of a missing cell are NaN
"""

import dataclasses
import itertools

import numpy as np
from sklearn.utils import _safe_indexing

from skae._tables.frames import coded, library_of, with_columns

__all__ = ["Columns", "columns_of"]

SHOWN = 5  # number of categories that a message names


@dataclasses.dataclass(frozen=True, eq=False)
class Columns:
    """The columns of a table of which some hold categories, as `fit` has found them.

    The attributes are plain data, so that model files can hold them. Lists have one item
    for each column of categories.

    Attributes
    ----------
    is_categorical : ndarray of bool of shape (n_features,)
    names : list of str or None
        Names of the features, if X had names.
    kinds : list of str
        What the columns are in frames, see `frames.kind_of`.
    categories : list of list
        All categories, by code. Those of a dtype may not all have been in the rows.
    places : list of ndarray of int of shape (n_categories,)
        The one-hot column of each category, counted from the first of its group; -1 if it
        was not in the rows.
    chosen : list of ndarray of int of shape (n_columns,)
        The category that each one-hot column stands for. A last column that several rare
        categories share stands for the most frequent of them. -1 if there was none.
    has_own_values : bool
        Whether arrays hold the categories themselves, which are numbers, and not codes.
    """

    is_categorical: np.ndarray
    names: list | None
    kinds: list
    categories: list
    places: list
    chosen: list
    has_own_values: bool

    # -- where columns are -------------------------------------------------------------

    @property
    def n_features(self):
        return len(self.is_categorical)

    @property
    def widths(self):
        """Numbers of one-hot columns of the features (n_features,)."""
        widths = np.ones(self.n_features, dtype=int)
        widths[self.is_categorical] = [len(chosen) for chosen in self.chosen]
        return widths

    @property
    def starts(self):
        """Numbers of the first one-hot column of each feature, (n_features,)."""
        return np.cumsum(self.widths) - self.widths

    @property
    def n_encoded(self):
        return int(self.widths.sum())

    @property
    def rank(self):
        """The largest rank of a centred one-hot table."""
        return max(1, int(np.maximum(self.widths - self.is_categorical, 0).sum()))

    @property
    def feature_of(self):
        """Numbers of the features of one-hot columns, (n_encoded,)."""
        return np.repeat(np.arange(self.n_features), self.widths)

    @property
    def groups(self):
        """For each column of categories the numbers of its one-hot columns."""
        starts, ends = self.starts, self.starts + self.widths
        chosen = np.flatnonzero(self.is_categorical)
        return [[*range(starts[j], ends[j])] for j in chosen]

    @property
    def encoded_names(self):
        """Names of the one-hot columns, for messages."""
        names, categories = [], iter(zip(self.categories, self.chosen, strict=True))
        for j, is_group in enumerate(self.is_categorical):
            if not is_group:
                names.append(self.name(j))
                continue
            known, chosen = next(categories)
            names += [f"{self.name(j)}={known[i] if i >= 0 else None}" for i in chosen]
        return names

    def name(self, j):
        """Return the name of a feature."""
        return f"x{j}" if self.names is None else self.names[j]

    def terms(self, loss):
        """Return the columns of each loss, see `skae.losses._mixed.loss_of_columns`."""
        terms = {loss: [int(j) for j in self.starts[~self.is_categorical]]}
        terms["cross_entropy"] = self.groups
        return {name: columns for name, columns in terms.items() if columns}

    def of(self, features):
        """Return the Columns of some features, (n,); None if none holds categories."""
        is_kept = np.isin(np.flatnonzero(self.is_categorical), features)
        if not is_kept.any():
            return None
        names = ("kinds", "categories", "places", "chosen")
        parts = {
            name: [*itertools.compress(getattr(self, name), is_kept)] for name in names
        }
        return dataclasses.replace(
            self,
            is_categorical=self.is_categorical[features],
            names=self.names and [self.names[j] for j in features],
            **parts,
        )

    # -- from one form to another ------------------------------------------------------

    def with_codes(self, X, numbers, owner, ignores_unknown=False):
        """Return the table with codes (n_samples, n_features) of a user's table.

        Parameters
        ----------
        X : array or frame of shape (n_samples, n_features)
        numbers : ndarray of shape (n_samples, n_numbers)
            Its columns of numbers, checked. Their dtype is that of the result.
        owner : str
            Name of the estimator's class, for messages.
        ignores_unknown : bool
            Whether cells of unknown categories are missing cells.

        Raises
        ------
        ValueError
            If there are categories that were not in the rows of the fit.
        """
        table = np.empty((numbers.shape[0], self.n_features), dtype=numbers.dtype)
        table[:, ~self.is_categorical] = numbers
        holds_codes = library_of(X) is None and not self.has_own_values
        holds_codes = holds_codes and getattr(X, "dtype", np.dtype(object)).kind in "biuf"
        for i, j in enumerate(np.flatnonzero(self.is_categorical)):
            known = self.categories[i]
            known = [*range(len(known))] if holds_codes else known
            known = {known[c]: c for c in np.flatnonzero(self.places[i] >= 0)}
            values, codes = coded(_safe_indexing(X, j, axis=1))
            found = np.array([*(known.get(value, -2) for value in values), -1])[codes]
            if (found == -2).any() and not ignores_unknown:
                unknown = [values[code] for code in np.unique(codes[found == -2])]
                raise ValueError(self._complaint(j, unknown, owner))
            table[:, j] = np.where(found < 0, np.nan, found)
        return table

    def _complaint(self, j, unknown, owner):
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        return (
            f"Found unknown categories {unknown[:SHOWN]}{more} in column {self.name(j)!r} "
            f"of X, which were not in the rows that {owner} was fitted to. To take them as "
            "missing values, set handle_unknown='ignore' and allow_nan=True."
        )

    def one_hot(self, table):
        """Return the one-hot table (n_samples, n_encoded) of a table with codes."""
        out = np.zeros((len(table), self.n_encoded), dtype=table.dtype)
        starts = self.starts
        out[:, starts[~self.is_categorical]] = table[:, ~self.is_categorical]
        for i, j in enumerate(np.flatnonzero(self.is_categorical)):
            is_missing = np.isnan(table[:, j])
            out[is_missing, starts[j] : starts[j] + len(self.chosen[i])] = np.nan
            known = np.flatnonzero(~is_missing)
            codes = table[known, j].astype(int)
            out[known, starts[j] + self.places[i][codes]] = 1.0
        return out

    def most_probable(self, table):
        """Return the table with codes of a one-hot table, which may hold probabilities."""
        return self._with_choice(table, lambda group: group.argmax(axis=1))

    def drawn(self, table, random_state):
        """Return a table with codes whose categories are drawn by their probabilities."""

        def choose(group):
            sums = np.cumsum(group, axis=1, dtype=np.float64)
            at = random_state.uniform(size=(len(group), 1)) * sums[:, -1:]
            return (sums <= at).sum(axis=1).clip(max=group.shape[1] - 1)

        return self._with_choice(table, choose)

    def _with_choice(self, table, choose):
        out = np.empty((len(table), self.n_features), dtype=table.dtype)
        out[:, ~self.is_categorical] = table[:, self.starts[~self.is_categorical]]
        of_groups = zip(
            np.flatnonzero(self.is_categorical), self.groups, self.chosen, strict=True
        )
        for j, group, chosen in of_groups:
            codes = chosen[choose(table[:, group])]
            out[:, j] = np.where(codes < 0, np.nan, codes)
        return out

    def as_array(self, table):
        """Return a table with codes as users get it in an array."""
        if not self.has_own_values:
            return table
        out = table.copy()
        for j, categories in zip(
            np.flatnonzero(self.is_categorical), self.categories, strict=True
        ):
            values = np.array([*categories, np.nan])
            out[:, j] = values[np.nan_to_num(table[:, j], nan=-1).astype(int)]
        return out

    def as_frame(self, table, frame):
        """Return a frame of a table with codes, with categories in the place of the codes.

        Parameters
        ----------
        table : ndarray of shape (n_samples, n_features)
        frame : frame of the table
        """
        columns = {}
        for i, j in enumerate(np.flatnonzero(self.is_categorical)):
            codes = np.nan_to_num(table[:, j], nan=-1).astype(int)
            name = frame.columns[j]
            columns[name] = self.kinds[i], self.categories[i], codes
        return with_columns(frame, columns)

    # -- numbers of features from those of one-hot columns -----------------------------

    def summed(self, table):
        """Return sums (..., n_features) over the one-hot columns of each feature."""
        return np.add.reduceat(table, self.starts, axis=-1)

    def left(self, table):
        """Return (n, n_features) of what reconstructions (n, n_encoded) have left.

        It stays as it is for numbers. In a group it is what is missing in the probability
        of the category that a row has.
        """
        missing = self.summed(np.maximum(table, 0.0))
        return np.where(self.is_categorical, missing, table[..., self.starts])

    def lengths(self, table):
        """Return (..., n_features): numbers as they are, and the lengths of groups."""
        lengths = np.sqrt(self.summed(np.square(table)))
        return np.where(self.is_categorical, lengths, table[..., self.starts])

    def balanced(self, mean, scale):
        """Return mean and scale (n_encoded,) with which features count alike in PCA.

        Parameters
        ----------
        mean, scale : ndarray of shape (n_encoded,)
            Means and standard deviations of the one-hot columns.
        """
        scale = scale.copy()
        for group in self.groups:
            spread = np.sqrt((mean[group] * (1 - mean[group])).clip(min=0).sum())
            scale[group] = spread if spread > 0 else 1.0
        return mean, scale

    # -- model files -------------------------------------------------------------------

    def check(self):
        """Raise a ValueError unless the attributes, read from a file, fit together."""
        n_groups = int(self.is_categorical.sum())
        parts = self.kinds, self.categories, self.places, self.chosen
        are_wrong = self.is_categorical.dtype != bool or not n_groups
        are_wrong |= any(len(part) != n_groups for part in parts)
        are_wrong |= self.names is not None and len(self.names) != self.n_features
        for categories, places, chosen in zip(*parts[1:], strict=not are_wrong):
            n_categories, n_columns = len(categories), len(chosen)
            are_wrong |= places.shape != (n_categories,) or n_columns < 1
            are_wrong |= places.dtype.kind != "i" or chosen.dtype.kind != "i"
            are_wrong |= not np.isin(places, range(-1, n_columns)).all()
            are_wrong |= not np.isin(chosen, range(-1, n_categories)).all()
        if are_wrong:
            raise ValueError("its columns of categories do not fit together.")


def columns_of(estimator):
    """Return the Columns that an estimator was fitted with, or None."""
    fields = getattr(estimator, "_columns", None)
    return fields and Columns(**fields)
