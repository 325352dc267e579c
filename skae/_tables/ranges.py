"""Checks that values lie in a range, with a tolerance for rounding errors."""

import numpy as np

__all__ = ["first_outside", "told_apart", "within"]

# A scaler divides and adds, and each operation rounds. Such a chain may move a value of 1
# by so many times the distance between 1 and the next larger number.
N_ULP = 8


def first_outside(X, low, high):
    """Find the first feature with values further outside the range than rounding explains.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        NaN is ignored.
    low, high : floats, or arrays of shape (n_features,)
        Ends of the range. The tolerance is that of the precision of X for a value of 1,
        or for the end of the range if that is larger.

    Returns
    -------
    j : int or None
        Number of the feature; None if all values are in the range.
    """
    if not _may_be_outside(X, low, high):
        return None
    is_below = np.fmin.reduce(X) < low - _slack(X.dtype, low)
    is_outside = is_below | (np.fmax.reduce(X) > high + _slack(X.dtype, high))
    return int(is_outside.argmax()) if is_outside.any() else None


def _may_be_outside(X, low, high):
    return len(X) > 0 and (np.isfinite(low).any() or np.isfinite(high).any())


def _slack(dtype, end):
    eps = np.finfo(dtype).eps if np.issubdtype(dtype, np.floating) else 0.0
    return N_ULP * float(eps) * np.maximum(np.abs(np.where(np.isfinite(end), end, 0)), 1)


def within(X, low, high):
    """Set values that rounding carried out of the range to the nearest end of it.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        A table for which `first_outside` returns None. NaN stays.
    low, high : floats, or arrays of shape (n_features,)
        Ends of the range.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        X itself if no value has to change, otherwise a copy with the same dtype.
    """
    if not _may_be_outside(X, low, high):
        return X
    is_outside = (np.fmin.reduce(X) < low) | (np.fmax.reduce(X) > high)
    return np.clip(X, low, high).astype(X.dtype, copy=False) if is_outside.any() else X


def told_apart(value, *ends):
    """Format a number with at least six digits, and enough to differ from the ends."""
    value = float(value)
    others = [float(end) for end in ends if float(end) != value]
    for n_digits in range(6, 17):
        text = f"{value:.{n_digits}g}"
        if all(text != f"{end:.{n_digits}g}" for end in others):
            return text
    return f"{value:.17g}"
