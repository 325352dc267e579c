"""The variance that each code explains."""

import numpy as np
from sklearn.isotonic import isotonic_regression

from skae._model.canonical import WIDE, Codes, moments
from skae._tables.rows import row_blocks

__all__ = ["attributes", "describe", "explained_falls", "explained_shares"]

# The sum of the explained variance is computed from evenly spaced rows, at most
# MOST_DESCRIBED. How it is divided among the components is computed from some of them,
# each of which is decoded once for each component: as many as DECODED allows, but at least
# FEWEST_DESCRIBED, with which the share of a component is right to about one twentieth.
FEWEST_DESCRIBED, MOST_DESCRIBED, DECODED = 256, 4096, 2**13


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
    counts = range(Z.shape[1] + 1)
    errors = _sums_of_errors(reconstruct, Z, X, counts, ordered, weights)
    if errors[0] == 0.0:
        return np.zeros(Z.shape[1])
    return -np.diff(errors) / errors[0]


def _sums_of_errors(reconstruct, Z, X, counts, ordered, weights):
    """Return the squared error with the first j codes, summed over the rows, for each j.

    That with none is the sum of squares of X.
    """
    errors = np.zeros(len(counts))
    for block in row_blocks(len(X), max(4 * X.shape[1], WIDE)):  # four arrays of its shape
        codes, rows = Z[block], X[block].astype(np.float64, copy=False)
        w = np.ones(1) if weights is None else weights[block]
        for place, j in enumerate(counts):
            known = codes[:, :j]
            if j and not ordered:
                known = np.pad(known, ((0, 0), (0, codes.shape[1] - j)))
            residual = reconstruct(known) - rows if j else rows
            errors[place] += _sum_of_squares(residual, w)
    return errors


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
        falls = _falls(inference, Z, X, mean, ordered, weights)
    else:
        falls = pca_variances[:n_components]
    shape = n_samples or len(X), X.shape[1]
    if squares is None:
        squares = _sum_of_squares_of_table(X, weights, shape[0])
    return attributes(inference, shape, mean, deviations, falls, squares)


def _falls(inference, Z, X, mean, ordered, weights):
    """Return falls (k,) as `explained_falls`: each from some rows, their sum from more."""

    def reconstruct(codes):
        return inference.decode_scaled(codes + mean[: codes.shape[1]])

    k = len(mean)
    rows = slice(None, None, -(-len(X) // MOST_DESCRIBED))
    codes, X = Z[rows] - mean, X[rows]
    weights = None if weights is None else weights[rows]
    few = int(np.clip(DECODED // k, FEWEST_DESCRIBED, MOST_DESCRIBED))
    some = slice(None, None, -(-len(X) // few))
    some_weights = None if weights is None else weights[some]
    falls = explained_falls(reconstruct, codes[some], X[some], ordered, some_weights)
    total = falls.sum()
    if some.step == 1 or total <= 0:
        return falls
    before, after = _sums_of_errors(reconstruct, codes, X, (0, k), ordered, weights)
    return falls * (max(1 - after / before, 0.0) / total)


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
