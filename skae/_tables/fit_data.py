"""From what a user gives to what is trained on: checks, weights, units."""

import contextlib
import dataclasses
import re

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import _safe_indexing, check_array
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    validate_data,
)

from skae._engine.batches import Table
from skae._tables.dependence import Dependence, equal_rows
from skae._tables.missing import MOST_ROWS, fit_filler
from skae._tables.pca import location_and_scale, scaled
from skae._tables.rows import (
    FEW_ROWS,
    SMALL,
    Scaled,
    is_lazy,
    is_streamed,
    row_blocks,
    rows_of,
)
from skae.losses import _starts
from skae.noise import Units

__all__ = ["Given", "check_rows", "check_table", "make_table", "noise_units"]

FLOATS = [np.float64, np.float32]
TELLING = 64  # columns by which rows mostly differ
FEWEST_ROWS = 256  # of a streamed table, however wide, that its filler is fitted to
SHOWN = 5  # columns that a message names


def check_table(
    estimator,
    X,
    *,
    reset,
    for_fit=False,
    ensure_min_samples=1,
    dtype=FLOATS,
    input_name="X",
):
    """X as an ndarray, or as it is where it is too large to be read whole.

    Sparse matrices are brought to CSR format, and to an array where they are small.

    Parameters
    ----------
    estimator : estimator
    X : table of any kind
    reset : bool
        Whether X decides the number and the names of the features.
    for_fit : bool
        Whether X is to be fitted to: missing cells are then taken where `allow_nan` is
        set and X is not streamed, and later where the fit has learned to fill them.
    ensure_min_samples, dtype
        As in `sklearn.utils.check_array`.
    input_name : str
        For messages.

    Raises
    ------
    TypeError, ValueError
        With scikit-learn's words and, where it says no more than that there are NaN or
        strings, what to do about them.
    """
    takes_nan = estimator.allow_nan if for_fit else estimator._filler is not None
    is_large = _has_two_dimensions(X) and is_streamed(X)
    is_taken = takes_nan and not (for_fit and is_large)
    checks = {"reset": reset, "ensure_all_finite": "allow-nan" if is_taken else True}
    with _explained(estimator, X, input_name, takes_nan):
        if is_large and not sparse.issparse(X):
            return _check_stream(estimator, X, **checks)
        if is_lazy(X):
            X = np.asarray(X[:])
        checks |= {"dtype": dtype, "ensure_min_samples": ensure_min_samples}
        X = validate_data(estimator, X, accept_sparse="csr", **checks)
        return X if not sparse.issparse(X) or is_streamed(X) else X.toarray()


def _has_two_dimensions(X):
    is_held = isinstance(X, np.memmap) or sparse.issparse(X) or is_lazy(X)
    return is_held and len(X.shape) == 2


def _check_stream(estimator, X, reset, ensure_all_finite):
    """scikit-learn's checks, block by block."""
    _check_feature_names(estimator, X[:1], reset=reset)
    _check_n_features(estimator, X, reset=reset)
    if np.dtype(X.dtype).kind not in "fiub":
        raise ValueError(
            f"X of {type(estimator).__name__} must hold numbers, got dtype {X.dtype}."
        )
    for block in row_blocks(*X.shape):
        finite = {"ensure_all_finite": ensure_all_finite, "input_name": "X"}
        check_array(rows_of(X, block), dtype=None, estimator=estimator, **finite)
    return X


@contextlib.contextmanager
def _explained(estimator, X, input_name, takes_nan):
    """Within it scikit-learn's errors name the parameter and say what to do."""
    try:
        yield
    except (TypeError, ValueError) as error:
        message, advice = str(error), None
        if "contains NaN" in message:
            message = message.splitlines()[0]  # the other lines name other estimators
            advice = _advice_on_nan(type(estimator).__name__, takes_nan)
        elif isinstance(error, TypeError) or "could not convert" in message:
            message = message.partition(" This means")[0]  # NumPy lists every dtype
            advice = _advice_on_words(X, input_name)
        if input_name != "X":
            named = re.sub(r"\bX\b", input_name, message, count=1)
            message = named if named != message else f"{input_name}: {message}"
        elif not advice:
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind("\n".join(filter(None, [message, advice]))) from None


def _advice_on_nan(owner, takes_nan):
    if takes_nan:
        return (
            f"{owner} with allow_nan=True is fitted to missing values in tables that are "
            "held in memory, and this one is so large that it is read in parts. Fit to "
            "some of its rows, or call partial_fit with one chunk of rows after the "
            "other; transform, score and impute then take all of it."
        )
    return (
        f"{owner} takes missing values once it is fitted with allow_nan=True: each is "
        "filled from the other values of its row. Set this, or fill them with an imputer "
        "in a Pipeline."
    )


def _advice_on_words(X, input_name):
    """Which columns hold no numbers, and what to do; None where all do."""
    found = []
    table = X if hasattr(X, "columns") else np.array(X, dtype=object)
    if len(table.shape) != 2:
        return None
    for j, name in enumerate(getattr(table, "columns", range(table.shape[1]))):
        column = np.asarray(_safe_indexing(table, j, axis=1))
        try:
            column.astype(np.float64)
            is_number = column.dtype.kind not in "mM"
        except (TypeError, ValueError):
            is_number = False
        if not is_number:
            found.append(f"column {name!r} (such as {_first_word(column)})")
    if not found:
        return None
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return (
        f"Every column of {input_name} must hold numbers, and these do not: "
        f"{', '.join(found[:SHOWN])}{more}. Encode categories by a OneHotEncoder in a "
        "ColumnTransformer, turn dates and the like into numbers with astype, or drop "
        "these columns."
    )


def _first_word(column):
    """The first value of a column that is no number, as text."""
    for value in column:
        try:
            np.array([value], dtype=object).astype(np.float64)
        except (TypeError, ValueError):
            return repr(str(value))
    return repr(str(column[0]))


def check_rows(loss, X, estimator, numbers=None):
    """Refuse values of X that the loss is not defined for, rounding aside.

    `numbers` are those of the rows in what the user gave.
    """
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
        mean, spread = _starts.location_and_scale(self.X, self.weights)
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


def make_table(given, loss, mean, scale, filler=None, dependence=None):
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
    dependence : Dependence or None
    """
    if is_streamed(given.X):
        X = Scaled(given.X, mean, scale)
        target = X if loss.of_scaled else Scaled(given.X, bounds=loss.bounds)
        return Table(X, target, weights=given.weights, dependence=dependence)
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
            goal = np.where(observed, goal, X * scale + mean)
    return Table(
        X,
        observed=observed,
        target=X if loss.of_scaled else loss.within(goal),
        inputs=None if given.X_target is None else scaled(given.X, mean, scale, dtype),
        weights=weights,
        n_held_out=n_held_out,
        dependence=dependence,
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
