"""Checks of the tables that users pass to an estimator."""

import contextlib
import re

import numpy as np
from scipy import sparse
from sklearn.utils import _safe_indexing, check_array
from sklearn.utils.validation import _check_feature_names, _check_n_features, validate_data

from skae._tables.blocks import Blocks, is_dask
from skae._tables.categories import columns_of
from skae._tables.frames import library_of
from skae._tables.rows import is_lazy, is_streamed, row_blocks, rows_of

__all__ = [
    "FLOATS",
    "check_codes",
    "check_features",
    "check_finite",
    "check_rows",
    "check_table",
    "explained",
    "numbers_of",
]

FLOATS = [np.float64, np.float32]
NOT_NUMBERS = "could not convert|Cannot cast"  # in errors of NumPy, pandas and polars
SHOWN = 5  # number of columns that a message names
# What to do with strings, by the library of a frame.
REMEDIES = {
    "pandas": 'Convert columns of categories with astype("category")',
    "polars": "Cast columns of categories to polars.Categorical",
    None: "Name columns of categories in categorical_features",
}


def check_table(estimator, X, **how):
    """Return X as an ndarray, or as it is if it is too large to be read as a whole.

    If the estimator was fitted to columns of categories, the table is one-hot, see
    `skae._tables.categories`. The arguments and the errors are those of `check_features`.

    Returns
    -------
    X : ndarray, or a table that `rows_of` takes, of shape (n_samples, n_encoded)
    """
    table, columns = check_features(estimator, X, **how), columns_of(estimator)
    return table if columns is None else columns.one_hot(table)


def check_features(
    estimator,
    X,
    *,
    reset,
    for_fit=False,
    ensure_min_samples=1,
    dtype=FLOATS,
    input_name="X",
    owner=None,
    is_read=True,
):
    """Return X as an ndarray, or as it is if it is too large to be read as a whole.

    Sparse matrices are converted to CSR format, and small ones to an array. A large array
    or frame of dask becomes `Blocks`. Columns of categories hold codes, see
    `skae._tables.categories`.

    Parameters
    ----------
    estimator : estimator
    X : table of any kind
    reset : bool
        Whether X decides the number and the names of the features.
    for_fit : bool
        Whether the estimator is fitted to X. Missing cells are then accepted if
        `allow_nan` is set and X is not streamed. Otherwise they are accepted if the
        estimator learned to fill them when it was fitted.
    ensure_min_samples, dtype
        As in `sklearn.utils.check_array`.
    input_name : str
        Name of the argument, for messages.
    owner : estimator or None
        Estimator that the user has called, if it is another one, which has this one.
        Messages name it, and it has the number and the names of the features.
    is_read : bool
        Whether the values of `Blocks` are checked. False leaves this to the caller, who is
        going to read them anyway.

    Returns
    -------
    X : ndarray, or a table that `rows_of` takes, of shape (n_samples, n_features)

    Raises
    ------
    TypeError, ValueError
        If X is refused. The message is that of scikit-learn. Where that only says that X
        holds NaN or strings, advice is added.
    """
    takes_nan = estimator.allow_nan if for_fit else estimator._filler is not None
    takes_categories = "categorical_features" not in estimator._fixed_parameters
    params = getattr(estimator, "_params_of_fit", {})
    ignores = params.get("handle_unknown", estimator.handle_unknown) == "ignore"
    columns = columns_of(estimator)
    has_autoencoder, estimator = owner is not None, estimator if owner is None else owner
    if is_dask(X):
        X = _read_in_blocks(X, type(estimator).__name__, has_autoencoder)
    is_large = _has_two_dimensions(X) and is_streamed(X)
    is_taken = takes_nan and not (for_fit and is_large)
    checks = {"reset": reset, "ensure_all_finite": "allow-nan" if is_taken else True}
    with explained(estimator, X, input_name, takes_nan, takes_categories, columns):
        if is_large and not sparse.issparse(X):
            is_read = is_read or not isinstance(X, Blocks)
            return _check_stream(estimator, X, is_read=is_read, **checks)
        if is_lazy(X):
            X = np.asarray(X[:])
        checks |= {"dtype": dtype, "ensure_min_samples": ensure_min_samples}
        if columns is not None:
            return check_codes(estimator, X, columns, ignores, **checks)
        X = validate_data(estimator, X, accept_sparse="csr", **checks)
        return X if not sparse.issparse(X) or is_streamed(X) else X.toarray()


def check_codes(estimator, X, columns, ignores_unknown, *, reset, dtype, **checks):
    """Check a table with columns of categories, and return it with codes.

    Parameters
    ----------
    estimator, X, reset, dtype : see `check_features`
        The estimator is the one that the user has called.
    columns : Columns
    ignores_unknown : bool
        Whether unknown categories are missing values.
    checks : dict
        `ensure_min_samples` and `ensure_all_finite`, as in `sklearn.utils.check_array`.
    """
    if library_of(X) is None:
        X = check_array(X, dtype=None, ensure_all_finite=False, estimator=estimator)
    _check_feature_names(estimator, X, reset=reset)
    _check_n_features(estimator, X, reset=reset)
    n_samples, least = X.shape[0], checks["ensure_min_samples"]
    if n_samples < least:
        raise ValueError(
            f"Found array with {n_samples} sample(s) (shape={X.shape}) while a minimum of "
            f"{least} is required by {type(estimator).__name__}."
        )
    how = {"estimator": estimator, "input_name": "X"}
    numbers = numbers_of(X, columns, dtype=dtype, **checks, **how)
    owner = type(estimator).__name__
    table = columns.with_codes(X, numbers, owner, ignores_unknown)
    if checks["ensure_all_finite"] is True:
        check_array(table, dtype=None, input_name="X", estimator=estimator)
    return table


def numbers_of(X, columns, **checks):
    """Return the columns of numbers (n_samples, n_numbers) of a table, as an array.

    Parameters
    ----------
    X : array or frame of shape (n_samples, n_features)
    columns : Columns
    **checks
        Arguments of `sklearn.utils.check_array`.
    """
    places = np.flatnonzero(~columns.is_categorical)
    if not len(places):
        return np.empty((X.shape[0], 0))
    return check_array(_safe_indexing(X, places, axis=1), **checks)


def _read_in_blocks(X, owner, has_autoencoder):
    """Return a dask array or frame as a table in memory, or as `Blocks` if it is large."""
    blocks = Blocks(X, owner)
    if not is_streamed(blocks):
        return blocks.whole()
    if has_autoencoder:
        raise ValueError(
            f"{owner} needs more passes over the rows than a dask array or frame of this "
            f"size is worth, and X has {blocks.shape[0]} rows. Fit to some of the rows in "
            "memory, and apply other methods to blocks, see map_blocks."
        )
    return blocks


def _has_two_dimensions(X):
    is_held = isinstance(X, np.memmap) or sparse.issparse(X) or is_lazy(X)
    return is_held and len(X.shape) == 2


def _check_stream(estimator, X, reset, ensure_all_finite, is_read):
    """Apply scikit-learn's checks block by block, and return X."""
    head = X.meta if isinstance(X, Blocks) else X[:1]
    _check_feature_names(estimator, head, reset=reset)
    _check_n_features(estimator, X, reset=reset)
    if np.dtype(X.dtype).kind not in "fiub":
        raise ValueError(
            f"X of {type(estimator).__name__} must hold numbers, got dtype {X.dtype}."
        )
    for block in row_blocks(*X.shape) if is_read else []:
        check_finite(rows_of(X, block), type(estimator).__name__, ensure_all_finite)
    return X


def check_finite(X, owner, ensure_all_finite=True):
    """Raise scikit-learn's error if X (n, n_features) holds NaN or infinity."""
    finite = {"ensure_all_finite": ensure_all_finite, "input_name": "X"}
    check_array(X, dtype=None, estimator=owner, **finite)


@contextlib.contextmanager
def explained(estimator, X, input_name, takes_nan, takes_categories=False, columns=None):
    """Make scikit-learn's errors in this context name the argument and say what to do."""
    try:
        yield
    except (TypeError, ValueError) as error:
        message, advice = str(error), None
        if "contains NaN" in message:
            message = message.splitlines()[0]  # the other lines name other estimators
            advice = _advice_on_nan(type(estimator).__name__, takes_nan)
        elif isinstance(error, TypeError) or re.search(NOT_NUMBERS, message):
            message = message.partition(" This means")[0]  # NumPy lists every dtype
            advice = _advice_on_strings(X, input_name, takes_categories, columns)
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
            f"{owner} with allow_nan=True can be fitted to missing values only in tables "
            "that are held in memory, and this one is so large that it is read in parts. "
            "Fit to some of its rows, or call partial_fit with one chunk of rows after the "
            "other. transform, score and impute then take the whole table."
        )
    return (
        f"{owner} takes missing values once it is fitted with allow_nan=True: each is "
        "filled from the other values of its row. Set allow_nan=True, or fill them with "
        "an imputer in a Pipeline."
    )


def _advice_on_strings(X, input_name, takes_categories, columns):
    """Return text that names the columns that hold no numbers; None if there are none."""
    found = []
    table = X if hasattr(X, "columns") else np.array(X, dtype=object)
    if len(table.shape) != 2:
        return None
    for j, name in enumerate(getattr(table, "columns", range(table.shape[1]))):
        if columns is not None and columns.is_categorical[j]:
            continue
        column = np.asarray(_safe_indexing(table, j, axis=1))
        try:
            column.astype(np.float64)
            is_number = column.dtype.kind not in "mM"
        except (TypeError, ValueError):
            is_number = False
        if not is_number:
            found.append(f"column {name!r} (such as {_first_string(column)})")
    if not found:
        return None
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    remedy = "Encode categories with a OneHotEncoder in a ColumnTransformer"
    if takes_categories:
        remedy = REMEDIES[library_of(X)]
    return (
        f"Every column of {input_name} must hold numbers, and these do not: "
        f"{', '.join(found[:SHOWN])}{more}. {remedy}, convert dates and the like to "
        "numbers, or drop these columns."
    )


def _first_string(column):
    """Return the first value of a column that is not a number, as text."""
    for value in column:
        try:
            np.array([value], dtype=object).astype(np.float64)
        except (TypeError, ValueError):
            return repr(str(value))
    return repr(str(column[0]))


def check_rows(loss, X, estimator, numbers=None):
    """Refuse values of X for which the loss is not defined, rounding aside.

    `numbers` (n_samples,) are the numbers of the rows in the table that the user passed.
    None counts them from 0.
    """
    columns = columns_of(estimator)
    names = getattr(estimator, "feature_names_in_", None)
    names = names if columns is None else columns.encoded_names
    numbers = np.arange(X.shape[0]) if numbers is None else numbers
    for block in row_blocks(*X.shape) if is_streamed(X) else [slice(None)]:
        loss.check(rows_of(X, block), type(estimator).__name__, names, numbers[block])
