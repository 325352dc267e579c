"""Location and scale of a table, in float64."""

import numpy as np

from skae._tables.rows import chunks, row_blocks, rows_of

__all__ = [
    "ROUNDING",
    "location_and_scale",
    "nan_location_and_scale",
    "one_scale",
    "scaled",
    "shares",
]

ROUNDING = 10 * np.finfo(np.float64).eps  # of a mean, that deviations may be made of


def location_and_scale(X, standardize, weights=None):
    """Compute the mean and the scale of the features.

    Parameters
    ----------
    X : table of shape (n_samples, n_features) that `rows_of` takes
    standardize : bool
        True computes a scale for each feature. False computes one for all, the root mean
        square of the centred table, which leaves PCA's objective as it is.
    weights : ndarray of shape (n_samples,) or None
        Weights of the rows.

    Returns
    -------
    mean : ndarray of shape (n_features,)
    scale : float or ndarray of shape (n_features,)
        Standard deviations (ddof=0), or one number for the whole table. It is 1 where a
        feature, or the table, varies by no more than rounding errors.
    """
    n_samples, n_features = X.shape
    blocks = row_blocks(n_samples, n_features)
    total = np.zeros(n_features)
    low, high = np.full(n_features, np.inf), np.full(n_features, -np.inf)
    weight = n_samples if weights is None else weights.sum()
    for block in blocks:
        rows = np.asarray(rows_of(X, block), dtype=np.float64)
        total += rows.sum(axis=0) if weights is None else weights[block] @ rows
        np.minimum(low, rows.min(axis=0), out=low)
        np.maximum(high, rows.max(axis=0), out=high)
    mean = np.where(low == high, low, total / weight)  # exact if constant
    # Deviations are divided by the largest, since squares of values near 1e300 overflow.
    reach = np.maximum(high - mean, mean - low)
    constant = reach <= ROUNDING * np.abs(mean)
    divisor = np.where(constant, np.inf, reach)
    squares = np.zeros(n_features)
    for block in blocks:
        rows = np.asarray(rows_of(X, block), dtype=np.float64)
        rows = rows - mean
        rows /= divisor
        np.square(rows, out=rows)
        squares += rows.sum(axis=0) if weights is None else weights[block] @ rows
    spread = np.where(constant, 0.0, reach * np.sqrt(squares / weight))
    if standardize:
        return mean, np.where(constant, 1.0, spread)
    return mean, one_scale(spread)


def one_scale(spread):
    """Root mean square of deviations (n_features,), 1 where all are zero."""
    largest = spread.max()
    if largest == 0.0:
        return 1.0
    return float(largest * np.sqrt(np.mean(np.square(spread / largest))))


def scaled(X, mean, scale, dtype, out=None):
    """Return (X - mean) / scale in `out`, computed in float64 block by block.

    `out` may be X, and None is a new array.
    """
    out = np.empty(X.shape, dtype=dtype) if out is None else out
    for block in row_blocks(*X.shape):
        rows = np.subtract(X[block], mean, dtype=np.float64)
        rows /= scale
        out[block] = rows
    return out


def shares(X, weights=None):
    """Return the share (n,) of each row of a tensor X (n, ...) in the total weight."""
    w = X.new_ones(len(X)) if weights is None else weights.to(X)
    return w / w.sum()


def nan_location_and_scale(X, weights=None):
    """Return means and standard deviations (p,) of an array X (n, p), ignoring NaN.

    A column without values has mean 0. The deviation is 0 where a column varies by no
    more than rounding errors. Values near 1e300 do not overflow when squared.
    """
    w = np.ones(len(X)) if weights is None else weights
    found = [_mean_and_deviation(X[:, c], w[:, None]) for c in chunks(*X.shape)]
    mean, spread = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return mean, spread


def _mean_and_deviation(X, w):
    """Return means and standard deviations (p,) of X (n, p), for weights w (n, 1)."""
    X = np.asarray(X, dtype=np.float64)
    has_value = ~np.isnan(X)
    w = has_value * w
    total = np.where(has_value.any(axis=0), w.sum(axis=0), 1.0)
    low = np.where(has_value, X, np.inf).min(axis=0)
    high = np.where(has_value, X, -np.inf).max(axis=0)
    mean = (w * np.where(has_value, X, 0.0)).sum(axis=0) / total
    mean = np.where(low == high, low, mean)  # exact if constant
    deviations = np.where(has_value, X - mean, 0.0)
    largest = np.abs(deviations).max(axis=0)
    varies = largest > ROUNDING * np.abs(mean)
    relative = (w * np.square(deviations / np.where(varies, largest, 1.0))).sum(axis=0)
    return mean, np.where(varies, largest * np.sqrt(relative / total), 0.0)
