"""Where training starts: location, scale and principal axes, in float64."""

import numpy as np
from scipy import linalg

__all__ = ["location_and_scale", "principal_axes", "row_blocks", "scaled"]

_BLOCK = 2**22  # values worked on at a time: 32 MB of float64


def row_blocks(n_samples, n_features):
    """Slices that cut the rows into blocks of a few megabytes."""
    step = max(1, _BLOCK // max(1, n_features))
    return [slice(i, min(i + step, n_samples)) for i in range(0, n_samples, step)]


def location_and_scale(X, standardize):
    """Mean of every feature, and what the centred features are divided by.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
    standardize : bool
        One scale for each feature, or one for all: the root mean square of the
        centred table, which leaves PCA's objective as it is.

    Returns
    -------
    mean : ndarray of shape (n_features,)
    scale : float or ndarray of shape (n_features,)
        Standard deviations (ddof=0). 1 where a feature, or the whole table, varies by
        no more than rounding.
    """
    n_samples, n_features = X.shape
    blocks = row_blocks(n_samples, n_features)
    total = np.zeros(n_features)
    low, high = np.full(n_features, np.inf), np.full(n_features, -np.inf)
    for block in blocks:
        rows = np.asarray(X[block], dtype=np.float64)
        total += rows.sum(axis=0)
        np.minimum(low, rows.min(axis=0), out=low)
        np.maximum(high, rows.max(axis=0), out=high)
    mean = total / n_samples
    # Squares of values near 1e300 overflow, those of deviations over the largest don't.
    reach = np.maximum(high - mean, mean - low)
    rounding = 10 * np.finfo(np.float64).eps * np.abs(mean)
    constant = reach <= rounding
    divisor = np.where(constant, np.inf, reach)
    squares = np.zeros(n_features)
    for block in blocks:
        rows = np.asarray(X[block], dtype=np.float64)
        squares += np.square((rows - mean) / divisor).sum(axis=0)
    spread = np.where(constant, 0.0, reach * np.sqrt(squares / n_samples))
    if standardize:
        return mean, np.where(constant, 1.0, spread)
    largest = spread.max()
    if largest == 0.0:
        return mean, 1.0
    return mean, float(largest * np.sqrt(np.mean(np.square(spread / largest))))


def scaled(X, mean, scale, dtype):
    """(X - mean) / scale, computed in float64 block by block, as a new array."""
    out = np.empty(X.shape, dtype=dtype)
    for block in row_blocks(*X.shape):
        rows = np.asarray(X[block], dtype=np.float64)
        out[block] = (rows - mean) / scale
    return out


def principal_axes(X):
    """Principal axes of a centred table.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), columns of mean zero

    Returns
    -------
    deviations : ndarray of shape (r,)
        Standard deviation (ddof=0) along every axis, descending;
        r = min(n_samples, n_features).
    axes : ndarray of shape (r, n_features)
        Orthonormal rows; the entry of largest magnitude in each is positive, which is
        scikit-learn's convention for the signs of `PCA.components_`.
    """
    n_samples, n_features = X.shape
    if n_features <= n_samples:
        covariance = np.zeros((n_features, n_features))
        for block in row_blocks(n_samples, n_features):
            rows = X[block].astype(np.float64, copy=False)
            covariance += rows.T @ rows
        variances, axes = linalg.eigh(covariance / n_samples)
        variances, axes = variances[::-1], axes[:, ::-1].T
    else:
        X = X.astype(np.float64, copy=False)
        variances, left = linalg.eigh(X @ X.T / n_samples)
        variances, left = variances[::-1], left[:, ::-1]
        # X.T @ left has orthogonal columns, up to rounding in those that are nearly
        # zero; its QR decomposition makes them orthonormal whatever the rank.
        axes = linalg.qr(X.T @ left, mode="economic")[0].T
    largest = np.abs(axes).argmax(axis=1)
    signs = np.sign(axes[np.arange(len(axes)), largest])
    return np.sqrt(variances.clip(min=0)), axes * signs[:, None]
