"""Principal axes of a table, computed in float64."""

import numpy as np
from scipy import linalg

from skae._tables.rows import Scaled, chunks, row_blocks

__all__ = ["gram_eigenvectors", "principal_axes", "with_signs"]

# A streamed table of more features than these is decomposed by subspace iteration, with
# so many additional directions and rounds. Otherwise its covariance is computed.
MOST_FEATURES = 4096
N_MORE, N_POWER = 10, 8


def principal_axes(X, n_components=None, weights=None, dtype=np.float64):
    """Compute the principal axes of a centred table.

    Parameters
    ----------
    X : ndarray or Scaled of shape (n_samples, n_features)
        Its columns have mean zero.
    n_components : int or None
        Number of axes to compute of a wide streamed table. Of other tables all axes are
        computed.
    weights : ndarray of shape (n_samples,) or None
        Weights of the rows.
    dtype : dtype
        Type of the axes if there are as many as rows, and fewer than columns. They then
        have as many cells as the table. float32 is enough for tables of float32.

    Returns
    -------
    deviations : ndarray of shape (r,)
        Standard deviations (ddof=0) along the axes, descending. Their number r is
        min(n_samples, n_features), or `n_components` if X is streamed and wide.
    axes : ndarray of shape (r, n_features)
        Orthonormal rows. The entry of largest magnitude in each row is positive, which
        is scikit-learn's convention for the signs of `PCA.components_`.
    total : float
        Sum of the variances of all features.
    """
    n_samples, n_features = X.shape
    is_streamed = isinstance(X, Scaled)
    if is_streamed and n_features > min(n_samples, MOST_FEATURES):
        variances, axes = _randomized(X, n_components, weights)
        weight = n_samples if weights is None else weights.sum()
        total = _sum_of_squares(X, weights) / weight
    elif n_features <= n_samples:
        variances, axes = _from_covariance(X, weights)
        total = variances.clip(min=0).sum()
    else:
        variances, axes = _from_gram_matrix(X, weights, dtype)
        total = variances.clip(min=0).sum()
    return np.sqrt(variances.clip(min=0)), with_signs(axes), float(total)


def with_signs(axes):
    """Give axes (r, p), in place, the signs that make their largest entries positive."""
    largest = np.array([np.abs(axis).argmax() for axis in axes], dtype=int)
    axes *= np.sign(axes[np.arange(len(axes)), largest])[:, None]
    return axes


def _from_covariance(X, weights):
    """Return variances (p,) and axes (p, p) from the covariance matrix."""
    n_samples, n_features = X.shape
    covariance = np.zeros((n_features, n_features))
    for block in row_blocks(n_samples, n_features):
        rows = X[block].astype(np.float64, copy=False)
        covariance += rows.T @ (rows if weights is None else rows * weights[block, None])
    weight = n_samples if weights is None else weights.sum()
    variances, axes = linalg.eigh(covariance / weight)
    return variances[::-1], axes[:, ::-1].T.copy()


def gram_eigenvectors(X, weights):
    """Return variances (n,) along the principal axes, and left singular vectors (n, n).

    They are the eigenvalues and the eigenvectors of the Gram matrix of the weighted rows.
    """
    n_samples, n_features = X.shape
    roots = None if weights is None else np.sqrt(weights)[:, None]
    gram = np.zeros((n_samples, n_samples))
    # The table is converted to float64, and weighted, some columns at a time.
    for block in chunks(n_samples, n_features):
        columns = X[:, block].astype(np.float64, copy=False)
        columns = columns if roots is None else columns * roots
        gram += columns @ columns.T
    gram /= n_samples if weights is None else weights.sum()
    variances, left = linalg.eigh(gram, overwrite_a=True, check_finite=False)
    return variances[::-1], left[:, ::-1]


def _from_gram_matrix(X, weights, dtype):
    """Return variances (n,) and axes (n, p) from the Gram matrix of the rows."""
    n_samples, n_features = X.shape
    roots = np.ones((n_samples, 1)) if weights is None else np.sqrt(weights)[:, None]
    variances, left = gram_eigenvectors(X, weights)
    # X.T @ left has orthogonal columns, up to rounding errors in those that are nearly
    # zero. Its QR decomposition makes them orthonormal, whatever the rank. The products
    # are in the order of cells that LAPACK uses, so that the axes can overwrite them.
    products = np.empty((n_features, n_samples), dtype=dtype, order="F")
    for block in chunks(n_samples, n_features):
        products[block] = (X[:, block] * roots).T @ left
    axes, _ = linalg.qr(products, overwrite_a=True, mode="economic", check_finite=False)
    return variances, axes.T


def _randomized(X, n_components, weights):
    """Return the variances (k,) and axes (k, p) of a wide streamed table.

    They are found by subspace iteration from random directions: Halko, Martinsson and
    Tropp (2011), "Finding structure with randomness", algorithm 4.4.
    """
    n_samples, n_features = X.shape
    weight = n_samples if weights is None else weights.sum()
    width = min(n_components + N_MORE, n_features)
    Q = np.random.default_rng(0).normal(size=(n_features, width))
    for _ in range(N_POWER):
        Q = linalg.qr(Q, mode="economic")[0]
        products = _covariance_times(X, Q, weights)
        variances, turn = linalg.eigh(Q.T @ products / weight)
        axes, Q = (Q @ turn[:, ::-1]).T, products
    return variances[::-1][:n_components], axes[:n_components]


def _covariance_times(X, Q, weights):
    """Return X.T @ X @ Q for Q (p, k), where the rows of X are weighted.

    For a sparse table the mean is subtracted from the products, so that X stays sparse.
    """
    mean, scale = X.mean / X.scale, np.reshape(X.scale, (-1, 1))
    products = np.zeros(Q.shape)
    Q_raw, offset = Q / scale, mean @ Q
    for block in row_blocks(*X.shape):
        rows = X.raw(block)
        codes = rows @ Q_raw - offset
        codes = codes if weights is None else codes * weights[block, None]
        products += rows.T @ codes / scale - np.outer(mean, codes.sum(axis=0))
    return products


def _sum_of_squares(X, weights):
    """Return the sum of squares of the rows of X, each times its weight."""
    total = 0.0
    for block in row_blocks(*X.shape):
        rows = X[block].astype(np.float64, copy=False)
        of_rows = np.einsum("ij,ij->i", rows, rows)
        total += float(of_rows.sum() if weights is None else weights[block] @ of_rows)
    return total
