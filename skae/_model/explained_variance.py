"""The variance that each code explains."""

import numpy as np
from sklearn.isotonic import isotonic_regression

from skae._model.canonical import WIDE, Codes, moments
from skae._tables.rows import row_blocks

__all__ = ["attributes", "describe", "explained_falls", "explained_shares"]

# Explained variance is computed from evenly spaced rows, each of which is decoded once for
# each component. They are as many as DECODED allows, within the other two limits.
FEWEST_DESCRIBED, MOST_DESCRIBED, DECODED = 1024, 4096, 2**15


def explained_falls(reconstruct, Z, X, ordered=False, weights=None):
    """Compute how much the error falls with each code, as a share of the variance of X.

    Code j is added to codes 0..j-1. The others are at their mean, zero, or missing if codes
    are `ordered`. The falls add up to the R² of the reconstruction.

    Parameters
    ----------
    reconstruct : callable (Z of shape (n_samples, j)) -> ndarray of shape (n_samples, p)
    Z : ndarray of shape (n_samples, k), columns of mean zero
    X : ndarray of shape (n_samples, p), columns of mean zero
    ordered : bool
    weights : ndarray of shape (n_samples,) or None
        Weights of the rows.

    Returns
    -------
    ndarray of shape (k,)
    """
    errors = np.zeros(Z.shape[1] + 1)
    for block in row_blocks(len(X), max(X.shape[1], WIDE)):
        codes, rows = Z[block], X[block].astype(np.float64, copy=False)
        w = np.ones(1) if weights is None else weights[block]
        errors[0] += _sum_of_squares(rows, w)
        cut = np.zeros_like(codes)
        for j in range(codes.shape[1]):
            cut[:, j] = codes[:, j]
            known = cut[:, : j + 1] if ordered else cut
            errors[j + 1] += _sum_of_squares(reconstruct(known) - rows, w)
    if errors[0] == 0.0:
        return np.zeros(Z.shape[1])
    return -np.diff(errors) / errors[0]


def _sum_of_squares(X, weights):
    """Return the sum of squares of weighted rows."""
    return np.square(X).sum(axis=1, dtype=np.float64) @ np.broadcast_to(weights, len(X))


def explained_shares(falls):
    """Make falls (k,) non-negative and non-increasing by isotonic regression."""
    shares = isotonic_regression(falls, increasing=False).clip(min=0)
    return shares * (max(falls.sum(), 0.0) / (shares.sum() or 1.0))


def describe(
    inference,
    inputs,
    X,
    n_components,
    pca_variances=None,
    ordered=False,
    weights=None,
    n_samples=None,
    squares=None,
):
    """Compute the fitted attributes about codes and variance.

    Parameters
    ----------
    inference : Inference
    inputs, X : ndarray of shape (n_samples, p)
        Rows that are encoded, and their targets, both centred and scaled.
    n_components : int
    pca_variances : ndarray or None
        Shares of the variance that principal components have, if the model is PCA.
    ordered : bool
    weights : ndarray of shape (n_samples,) or None
        Weights of the rows, with mean one.
    n_samples : int or None
        Number of rows of the table, if X is a part of it.
    squares : float or None
        Sum of squares of the table, see `attributes`, if it is known better than from X.

    Returns
    -------
    dict of attributes and their values
    """
    Z = Codes(inference, inputs, n_components)
    mean, covariance, _ = moments(Z, X, weights)
    deviations = np.sqrt(covariance.diagonal().clip(min=0) * len(X) / max(len(X) - 1, 1))
    if pca_variances is None:
        n_rows = np.clip(DECODED // n_components, FEWEST_DESCRIBED, MOST_DESCRIBED)
        some = slice(None, None, -(-len(X) // n_rows))

        def reconstruct(codes):
            return inference.decode_scaled(codes + mean[: codes.shape[1]])

        some_weights = None if weights is None else weights[some]
        falls = explained_falls(reconstruct, Z[some] - mean, X[some], ordered, some_weights)
    else:
        falls = pca_variances[:n_components]
    shape = n_samples or len(X), X.shape[1]
    if squares is None:
        squares = _sum_of_squares_of_table(X, weights, shape[0])
    return attributes(inference, shape, mean, deviations, falls, squares)


def _sum_of_squares_of_table(X, weights, n_samples):
    """Estimate the sum of squares of a table of n_samples rows from some of them, X."""
    # With einsum the sums of squares need no copy of the table.
    w = np.ones(1) if weights is None else weights
    by_feature = np.einsum("ij,ij,i->j", X, X, np.broadcast_to(w, len(X)), dtype=np.float64)
    n_rows = len(X) if weights is None else weights.sum()
    return by_feature.sum() * (n_samples / n_rows)


def attributes(inference, shape, mean, deviations, falls, squares):
    """Compute fitted attributes from statistics of the k codes that are in use.

    Parameters
    ----------
    inference : Inference
    shape : (n_samples, n_features)
    mean, deviations : ndarray of shape (k,)
        Means and standard deviations of the codes.
    falls : ndarray of shape (k,)
        See `explained_falls`.
    squares : float
        Sum of squares of the centred and scaled table.

    Returns
    -------
    dict of attributes and their values
        Attributes that have units are in those of `inference.unit`.
    """
    unit = np.float64(inference.unit)
    shares, total = explained_shares(falls), squares / (shape[0] - 1)
    left = min(shape) - len(shares)
    noise = max(1 - shares.sum(), 0.0) * total / left if left > 0 else 0.0
    components = inference.jacobian(mean[None])[0]
    lengths = np.linalg.norm(components, axis=1, keepdims=True)
    with np.errstate(over="ignore", under="ignore"):  # X may be near 1e300
        return {
            "components_": components / np.where(lengths == 0, 1.0, lengths),
            "explained_variance_": shares * total * unit * unit,
            "explained_variance_ratio_": shares,
            "singular_values_": np.sqrt(shares * squares) * unit,
            "noise_variance_": float(noise * unit * unit),
            "_mean_code": mean,
            "_code_deviations": deviations,
            "_falls": falls,
            "_squares": float(squares),
            "_score_unit": float(unit),
        }
