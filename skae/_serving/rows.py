"""Checks of the rows that users pass, as scikit-learn makes them, in NumPy alone."""

import warnings

import numpy as np

__all__ = ["as_floats", "check_finite", "checked"]

SHOWN = 5  # number of feature names that a message shows


def checked(X, model):
    """Return X as an array of floats, after the checks of scikit-learn.

    Parameters
    ----------
    X : table of any kind
    model : Model or Detector
        It has a name, names and the number of its features, and says whether it takes NaN.
    """
    _check_names(X, model)
    rows = as_floats(X)
    if rows.shape[1] != model.n_features:
        raise ValueError(
            f"X has {rows.shape[1]} features, but {model.name} is expecting "
            f"{model.n_features} features as input."
        )
    check_finite(rows, takes_nan=model.takes_nan)
    return rows


def _check_names(X, model):
    """Refuse a frame with other names than the X of `fit`; warn where names lack."""
    expected = model.feature_names
    columns = getattr(X, "columns", None)
    names = None if columns is None else [*columns]
    if names is not None and not all(isinstance(name, str) for name in names):
        names = None  # as in scikit-learn, names are strings
    if names == expected:
        return
    if names is None:
        complaint = "does not have valid feature names, but {} was fitted with"
    elif expected is None:
        complaint = "has feature names, but {} was fitted without"
    else:
        raise ValueError(_names_complaint(names, expected))
    complaint = complaint.format(model.name)
    warnings.warn(f"X {complaint} feature names", UserWarning, stacklevel=6)


def _names_complaint(names, expected):
    """Return scikit-learn's message about names that differ."""
    lines = ["The feature names should match those that were passed during fit."]
    unseen = sorted(set(names) - set(expected))
    missing = sorted(set(expected) - set(names))
    for title, found in [
        ("Feature names unseen at fit time:", unseen),
        ("Feature names seen at fit time, yet now missing:", missing),
    ]:
        if found:
            lines += [title, *(f"- {name}" for name in found[:SHOWN])]
            lines += ["- ..."] * (len(found) > SHOWN)
    if not unseen and not missing:
        lines.append("Feature names must be in the same order as they were in fit.")
    return "\n".join(lines) + "\n"


def as_floats(X):
    """Return X as an array (n, p) of float32 or float64."""
    if hasattr(X, "toarray"):
        X = X.toarray()
    X = np.asarray(X)
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D array instead. Reshape your data using "
            "array.reshape(-1, 1) if it has a single feature or array.reshape(1, -1) if it "
            "contains a single sample."
        )
    if len(X) == 0:
        raise ValueError(
            f"Found array with 0 sample(s) (shape={X.shape}) while a minimum of 1 is "
            "required."
        )
    if X.dtype.kind not in "fiubO":
        raise ValueError(f"X must hold numbers, got dtype {X.dtype}.")
    if X.dtype != np.float32 and X.dtype != np.float64:
        X = X.astype(np.float64)
    return X


def check_finite(X, takes_nan):
    is_finite = np.isfinite(X)
    if is_finite.all():
        return
    if np.isinf(X).any():
        raise ValueError(f"Input X contains infinity or a value too large for {X.dtype!r}.")
    if not takes_nan:
        raise ValueError("Input X contains NaN.")
