"""Principal axes of a table, in float64."""

import numpy as np
from scipy import linalg, sparse

from skae._tables.rows import Scaled, row_blocks, rows_of

__all__ = ["principal_axes"]

MOST_FEATURES = 4096  # whose covariance is computed where the table is streamed
N_MORE, N_POWER = 10, 8  # directions and rounds of the iteration for wider ones


def principal_axes(X, n_components=None, weights=None):
    """Principal axes of a centred table.

    Parameters
    ----------
    X : ndarray or Scaled of shape (n_samples, n_features), columns of mean zero
    n_components : int or None
        How many are needed of a streamed table; of others there are all.
    weights : ndarray of shape (n_samples,) or None
        Of the rows.

    Returns
    -------
    deviations : ndarray of shape (r,)
        Standard deviation (ddof=0) along every axis, descending. There are
        r = min(n_samples, n_features), or where X is streamed and wide `n_components`.
    axes : ndarray of shape (r, n_features)
        Orthonormal rows; the entry of largest magnitude in each is positive, which is
        scikit-learn's convention for the signs of `PCA.components_`.
    total : float
        Sum of the variances of all the features.
    """
    n_samples, n_features = X.shape
    is_streamed = isinstance(X, Scaled)
    if is_streamed and n_features > min(n_samples, MOST_FEATURES):
        variances, axes = _randomized(X, n_components, weights)
        weight = n_samples if weights is None else weights.sum()
        total = _sum_of_squares(X, weights) / weight
    elif n_features <= n_samples:
        variances, axes = _of_covariance(X, weights)
        total = variances.clip(min=0).sum()
    else:
        variances, axes = _of_gram_matrix(X, weights)
        total = variances.clip(min=0).sum()
    largest = np.abs(axes).argmax(axis=1)
    signs = np.sign(axes[np.arange(len(axes)), largest])
    axes *= signs[:, None]
    return np.sqrt(variances.clip(min=0)), axes, float(total)


def _of_covariance(X, weights):
    n_samples, n_features = X.shape
    covariance = np.zeros((n_features, n_features))
    for block in row_blocks(n_samples, n_features):
        rows = X[block].astype(np.float64, copy=False)
        covariance += rows.T @ (rows if weights is None else rows * weights[block, None])
    weight = n_samples if weights is None else weights.sum()
    variances, axes = linalg.eigh(covariance / weight)
    return variances[::-1], axes[:, ::-1].T


def _of_gram_matrix(X, weights):
    X = X.astype(np.float64, copy=False)
    weight = len(X)
    if weights is not None:
        X, weight = X * np.sqrt(weights)[:, None], weights.sum()
    variances, left = linalg.eigh(X @ X.T / weight)
    variances, left = variances[::-1], left[:, ::-1]
    # X.T @ left has orthogonal columns, up to rounding in those that are nearly
    # zero; its QR decomposition makes them orthonormal whatever the rank.
    # In LAPACK's order of cells, so that the axes take the products' place.
    products = (left.T @ X).T
    del X
    return variances, linalg.qr(products, overwrite_a=True, mode="economic")[0].T


def _randomized(X, n_components, weights):
    """Variances (k,) and axes (k, p) of a wide streamed table.

    Subspace iteration from random directions: Halko, Martinsson and Tropp (2011),
    "Finding structure with randomness", algorithm 4.4.
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
    """The Gram matrix of the rows of X, times Q (p, k).

    Of a sparse table the mean is taken off the products, which leaves it sparse.
    """
    mean, scale = X.mean / X.scale, np.reshape(X.scale, (-1, 1))
    products = np.zeros(Q.shape)
    Q_raw, offset = Q / scale, mean @ Q
    for block in row_blocks(*X.shape):
        rows = X.X[block] if sparse.issparse(X.X) else rows_of(X.X, block)
        codes = rows @ Q_raw - offset
        codes = codes if weights is None else codes * weights[block, None]
        products += rows.T @ codes / scale - np.outer(mean, codes.sum(axis=0))
    return products


def _sum_of_squares(X, weights):
    """Of the rows of X, each times its weight."""
    total = 0.0
    for block in row_blocks(*X.shape):
        rows = X[block].astype(np.float64, copy=False)
        of_rows = np.einsum("ij,ij->i", rows, rows)
        total += float(of_rows.sum() if weights is None else weights[block] @ of_rows)
    return total
