"""From what a user gives to what is trained on: checks, weights, units."""

import dataclasses

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import check_array
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    validate_data,
)

from skae import _linear
from skae._data import Table
from skae._missing import fit_filler
from skae._pca import location_and_scale, scaled
from skae._streams import FEW_ROWS, SMALL, Scaled, is_lazy, is_streamed, row_blocks, rows_of
from skae.noise import Units

__all__ = ["Given", "check_rows", "check_table", "make_table", "noise_units"]

FLOATS = [np.float64, np.float32]
TELLING = 64  # columns by which rows mostly differ


def check_table(estimator, X, *, reset, ensure_min_samples=1, dtype=FLOATS):
    """X as an ndarray, or as it is where it is too large to be read whole.

    Sparse matrices are brought to CSR format, and to an array where they are small.
    """
    if is_lazy(X) or (isinstance(X, np.memmap) and is_streamed(X)):
        if len(X.shape) == 2 and is_streamed(X):
            return _check_stream(estimator, X, reset)
        X = np.asarray(X[:])
    checks = {
        "dtype": dtype,
        "ensure_min_samples": ensure_min_samples,
        "ensure_all_finite": "allow-nan" if estimator.allow_nan else True,
    }
    X = validate_data(estimator, X, accept_sparse="csr", reset=reset, **checks)
    return X if not sparse.issparse(X) or is_streamed(X) else X.toarray()


def _check_stream(estimator, X, reset):
    """scikit-learn's checks, block by block."""
    _check_feature_names(estimator, X[:1], reset=reset)
    _check_n_features(estimator, X, reset=reset)
    if np.dtype(X.dtype).kind not in "fiub":
        raise ValueError(
            f"X of {type(estimator).__name__} must hold numbers, got dtype {X.dtype}."
        )
    for block in row_blocks(*X.shape):
        check_array(rows_of(X, block), dtype=None, input_name="X", estimator=estimator)
    return X


def check_rows(loss, X, estimator, numbers=None):
    """Refuse values of X that the loss is not defined for; `numbers` are of its rows."""
    names = getattr(estimator, "feature_names_in_", None)
    numbers = np.arange(X.shape[0]) if numbers is None else numbers
    for block in row_blocks(*X.shape) if is_streamed(X) else [slice(None)]:
        loss.check(rows_of(X, block), type(estimator).__name__, names, numbers[block])


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
    numbers : ndarray of int of shape (n_samples,) or None
        Of the rows, in what the user gave; None where they are all there in their order.
    """

    X: np.ndarray
    X_target: np.ndarray | None = None
    X_val: np.ndarray | None = None
    weights: np.ndarray | None = None
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
        parts = [p for p in (self.X, self.X_target, self.weights) if p is not None]
        columns = np.column_stack(parts)
        first = columns[:, :TELLING]
        order = np.lexsort(first.T[::-1])
        pairs = first[order[:-1]], first[order[1:]]
        if (pairs[0] == pairs[1]).all(axis=1).any() or np.isnan(first).any():
            order = np.lexsort(columns.T[::-1])
        self._take(order)

    def _take(self, rows):
        self.numbers = rows if self.numbers is None else self.numbers[rows]
        self.X = self.X[rows]
        if self.X_target is not None:
            self.X_target = self.X_target[rows]
        if self.weights is not None:
            self.weights = self.weights[rows]

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
        mean, spread = _linear.location_and_scale(self.X, self.weights)
        if standardize:
            return mean, np.where(spread == 0, 1.0, spread)
        largest = spread.max() or 1.0
        scale = largest * np.sqrt(np.mean(np.square(spread / largest)))
        return mean, float(scale or 1.0)

    def filler(self, mean, scale, seed):
        """What fills missing cells of rows like these."""
        X = torch.from_numpy((self.X - mean) / scale).double()
        w = None if self.weights is None else torch.from_numpy(self.weights)
        return fit_filler(X, ~X.isnan(), seed, w)


def _has_missing(X):
    """Whether cells of X are NaN; block by block, for marks of all cells take memory."""
    return any(np.isnan(X[block]).any() for block in row_blocks(*X.shape))


def make_table(given, loss, mean, scale, filler=None):
    """The table that is trained on.

    Parameters
    ----------
    given : Given
    loss : Loss
        Fitted.
    mean : ndarray of shape (n_features,)
    scale : float or ndarray of shape (n_features,)
    filler : Filler or None
        Goes with missing cells.
    """
    if is_streamed(given.X):
        X = Scaled(given.X, mean, scale)
        return Table(X, X if loss.of_scaled else Scaled(given.X), weights=given.weights)
    goal, weights, n_held_out = given.goal, given.weights, 0
    if given.X_val is not None:  # which goes without X_target
        goal, n_held_out = np.concatenate([goal, given.X_val]), len(given.X_val)
        if weights is not None:
            weights = np.concatenate([weights, np.ones(n_held_out)])
    # Small tables stay in float64 until their principal axes are known.
    dtype = np.float64 if goal.size <= SMALL else np.float32
    X = scaled(goal, mean, scale, dtype)
    observed = given.observed
    if observed is not None:
        for block in row_blocks(*X.shape):
            rows = torch.from_numpy(X[block]).double()
            X[block] = filler(rows, torch.from_numpy(observed[block])).numpy()
        if not loss.of_scaled:
            goal = np.where(observed, goal, np.clip(X * scale + mean, *loss.bounds))
    return Table(
        X,
        observed=observed,
        target=X if loss.of_scaled else goal,
        inputs=None if given.X_target is None else scaled(given.X, mean, scale, dtype),
        weights=weights,
        n_held_out=n_held_out,
    )


def noise_units(X, mean, scale):
    """Landmarks of X for noises, in scaled units."""
    low, high = np.full(len(mean), np.inf), np.full(len(mean), -np.inf)
    for block in row_blocks(*X.shape):
        rows = rows_of(X, block)
        np.fmin(low, np.fmin.reduce(rows), out=low)
        np.fmax(high, np.fmax.reduce(rows), out=high)
    landmarks = [(end - mean) / scale for end in (np.zeros(len(mean)), low, high)]
    one = np.broadcast_to(1 / np.asarray(scale, dtype=np.float64), mean.shape)
    return Units(*(torch.tensor(a) for a in (*landmarks, one)))
