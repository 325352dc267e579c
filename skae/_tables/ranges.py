"""Values that must lie in a range: what rounding did to them, and what is outside."""

import numpy as np

__all__ = ["first_outside", "told_apart", "within"]

# A scaler divides and adds, each with its own rounding. The distance of 1 to the next
# larger number, so many times, is what such a chain may add to a value of 1.
N_ULP = 8


def first_outside(X, low, high):
    """The first feature with values outside the range by more than rounding explains.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        NaN is passed over.
    low, high : floats, or arrays of shape (n_features,)
        Ends of the range. Rounding is measured in the precision of X, at 1 or at the end
        itself where that is larger.

    Returns
    -------
    j : int or None
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
    """X with what rounding carried out of the range set to the nearest end.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Of which `first_outside` finds nothing. NaN stays.
    low, high : floats, or arrays of shape (n_features,)

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        X itself where nothing has to change, else a copy of its dtype.
    """
    if not _may_be_outside(X, low, high):
        return X
    is_outside = (np.fmin.reduce(X) < low) | (np.fmax.reduce(X) > high)
    return np.clip(X, low, high).astype(X.dtype, copy=False) if is_outside.any() else X


def told_apart(value, *ends):
    """A number in as few digits, six at least, as tell it from the ends of a range."""
    value = float(value)
    others = [float(end) for end in ends if float(end) != value]
    for n_digits in range(6, 17):
        text = f"{value:.{n_digits}g}"
        if all(text != f"{end:.{n_digits}g}" for end in others):
            return text
    return f"{value:.17g}"
