"""Which columns of a table hold categories, and what they are: `categorical_features`."""

import numpy as np
from sklearn.utils import _safe_indexing, check_array

from skae._tables.categories import Columns
from skae._tables.frames import coded, holds_categories, kind_of, library_of

__all__ = ["MOST_COLUMNS", "find_columns"]

MOST_COLUMNS = 100  # one-hot columns of a column; the rare categories of more share one


def find_columns(X, categorical_features):
    """Return the Columns of a user's table, or None if none of them holds categories.

    Parameters
    ----------
    X : array or frame of shape (n_samples, n_features)
    categorical_features : "from_dtype", array-like or None
        The parameter of an estimator, as in `HistGradientBoostingClassifier`.

    Raises
    ------
    ValueError
        If it does not suit X. The texts are those of scikit-learn.
    """
    is_frame = library_of(X) is not None
    if isinstance(categorical_features, str) or categorical_features is None:
        is_asked = is_frame and categorical_features is not None
        is_categorical = holds_categories(X) if is_asked else np.zeros(1, dtype=bool)
    else:
        if not is_frame:
            X = check_array(X, dtype=None, ensure_all_finite=False)
        is_categorical = _mask(X, np.asarray(categorical_features), is_frame)
    if not is_categorical.any():
        return None
    parts = [_found(_safe_indexing(X, j, axis=1)) for j in np.flatnonzero(is_categorical)]
    kinds, categories, places, chosen = map(list, zip(*parts, strict=True))
    return Columns(
        is_categorical=is_categorical,
        names=_names(X) if is_frame else None,
        kinds=kinds,
        categories=categories,
        places=places,
        chosen=chosen,
        has_own_values=not is_frame and X.dtype.kind in "biuf",
    )


def _names(X):
    """Return the names of the columns of a frame, or None, by scikit-learn's rule."""
    return [*X.columns] if all(isinstance(name, str) for name in X.columns) else None


def _found(column):
    """Return the kind, the categories, their places and the chosen ones of a column."""
    categories, codes = coded(column)
    counts = np.bincount(codes[codes >= 0], minlength=len(categories))
    seen = [i for i in range(len(categories)) if counts[i]]
    by_count = sorted(seen, key=lambda i: (-counts[i], str(categories[i])))
    n_own = len(seen) if len(seen) <= MOST_COLUMNS else MOST_COLUMNS - 1
    # The order of the columns does not depend on that of the categories in a dtype.
    chosen = sorted(by_count[:n_own], key=lambda i: str(categories[i])) + by_count[n_own:]
    places = np.full(len(categories), -1)
    places[chosen] = np.minimum(np.arange(len(chosen)), MOST_COLUMNS - 1)
    chosen = np.array(chosen[:MOST_COLUMNS] or [-1])
    return kind_of(column), categories, places, chosen


def _mask(X, chosen, is_frame):
    """Return which columns hold categories, (n_features,), where the user has chosen."""
    n_features, kinds = X.shape[1], sorted({type(c).__name__ for c in chosen.tolist()})
    if chosen.size == 0:
        return np.zeros(n_features, dtype=bool)
    if chosen.dtype.kind not in "ibUO" or (chosen.dtype.kind == "O" and kinds != ["str"]):
        got = ", ".join(kinds) if chosen.dtype.kind == "O" else chosen.dtype.name
        raise ValueError(
            f"categorical_features must be an array-like of bool, int or str, got: {got}."
        )
    if chosen.dtype.kind == "b":
        if chosen.shape != (n_features,):
            raise ValueError(
                "categorical_features set as a boolean mask must have shape "
                f"(n_features,), got: {chosen.shape}"
            )
        return chosen
    indices = chosen if chosen.dtype.kind == "i" else _indices(X, chosen, is_frame)
    if np.max(indices) >= n_features or np.min(indices) < 0:
        raise ValueError(
            "categorical_features set as integer indices must be in [0, n_features - 1]"
        )
    return np.isin(np.arange(n_features), indices)


def _indices(X, names, is_frame):
    if not is_frame:
        raise ValueError(
            "categorical_features should be passed as an array of integers or as a "
            "boolean mask when the model is fitted on data without feature names."
        )
    known = [*X.columns]
    for name in names:
        if name not in known:
            raise ValueError(
                f"categorical_features has an item value '{name}' which is not a valid "
                f"feature name of the training data. Observed feature names: {known}"
            )
    return np.array([known.index(name) for name in names])
