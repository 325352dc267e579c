"""Canonical codes, and what each of them explains."""

import numpy as np
import torch
from scipy import linalg
from sklearn.isotonic import isotonic_regression

from skae._tables.rows import row_blocks

__all__ = [
    "Codes",
    "attributes",
    "canonical_map",
    "decoder_jacobian",
    "describe",
    "explained_falls",
    "explained_shares",
]

# Evenly spaced rows that explained variance is computed from; decoded once for each
# component, they are fewer where there are many.
FEWEST_DESCRIBED, MOST_DESCRIBED, DECODED = 1024, 4096, 2**15
WIDE = 512  # features; the layers that rows pass through are as wide or wider
SMALLEST = 1e-6  # floor, as a share of the largest, of what is divided by


class Codes:
    """Codes (n, k) of a table, computed for the rows that are asked for.

    Those of all rows, in float64, can be a good part of a table of few columns.

    Parameters
    ----------
    inference : Inference
    inputs : ndarray of shape (n, p)
        Centred and scaled.
    n_components : int
    """

    def __init__(self, inference, inputs, n_components):
        self.inference, self.inputs, self.n_components = inference, inputs, n_components

    def __getitem__(self, rows):
        return self.inference.scaled_codes(self.inputs[rows], self.n_components)


def decoder_jacobian(reconstruct, Z):
    """Derivative of a reconstruction by each code.

    Parameters
    ----------
    reconstruct : callable (Z of shape (n, k)) -> Tensor of shape (n, p)
    Z : Tensor of shape (n, k)

    Returns
    -------
    Tensor of shape (n, k, p)
    """
    n, k = Z.shape
    Z = Z.repeat_interleave(k, dim=0).requires_grad_()
    X_hat = reconstruct(Z)
    # A product with the Jacobian's transpose is linear in its other factor, so that its
    # derivative by that factor is a product with the Jacobian: two passes backward over
    # k copies of a row, where one for each of p outputs would be the direct way.
    other = torch.zeros_like(X_hat, requires_grad=True)
    # Of a scalar, for with `grad_outputs` torch imports sympy to compare two shapes.
    (transposed,) = torch.autograd.grad((X_hat * other).sum(), Z, create_graph=True)
    chosen = transposed * torch.eye(k, dtype=Z.dtype, device=Z.device).repeat(n, 1)
    (jacobian,) = torch.autograd.grad(chosen.sum(), other)
    return jacobian.reshape(n, k, -1)


def canonical_map(Z, X, jacobian, ordered=False, weights=None):
    """The affine map that makes codes canonical.

    Codes are whitened, rotated onto the right singular vectors of the regression of X
    on them, and each is multiplied by one number. They are then uncorrelated, in the
    order of the variance of X that is a linear function of them, and the decoder's
    Jacobian at the mean code has rows of length one, whose entry of largest magnitude
    is positive. For a linear model this is PCA.

    Where codes are `ordered` the map is lower triangular, so that the first codes stay
    a function of the first codes: from each its regression on those before is taken.

    Parameters
    ----------
    Z : ndarray or Codes of shape (n_samples, k)
    X : ndarray of shape (n_samples, p)
    jacobian : callable (z of shape (k,)) -> ndarray of shape (k, p)
    ordered : bool
    weights : ndarray of shape (n_samples,) or None
        Of the rows.

    Returns
    -------
    weight : ndarray of shape (k, k)
    mean : ndarray of shape (k,)
        The canonical codes are weight (z - mean).
    """
    mean, covariance, slopes = _moments(Z, X, weights)
    weight = _triangular(covariance) if ordered else _rotated(covariance, slopes)
    rows = linalg.inv(weight).T @ jacobian(mean)
    lengths = linalg.norm(rows, axis=1)
    lengths = np.maximum(lengths, (SMALLEST * lengths.max()) or 1.0)
    largest = np.abs(rows).argmax(axis=1)
    signs = np.where(rows[np.arange(len(rows)), largest] < 0, -1.0, 1.0)
    return (signs * lengths)[:, None] * weight, mean


def _moments(Z, X, weights):
    """Mean (k,) of codes, and their covariances (k, k) and, with X, (p, k).

    In one walk over blocks of rows: what is summed is of deviations from the mean of the
    first block, of which little is taken off in the end.
    """
    shift, n_rows = None, 0.0
    for block in row_blocks(len(X), max(X.shape[1], WIDE)):
        codes, rows = Z[block].astype(np.float64), X[block]
        w = np.ones(len(rows)) if weights is None else weights[block]
        if shift is None:
            shift = np.average(codes, axis=0, weights=w)
            k, p = len(shift), X.shape[1]
            total, of_X = np.zeros(k), np.zeros(p)
            covariance, slopes = np.zeros((k, k)), np.zeros((p, k))
        codes -= shift
        weighted = codes * w[:, None]
        n_rows += w.sum()
        total += weighted.sum(axis=0)
        of_X += rows.sum(axis=0, dtype=np.float64) if weights is None else w @ rows
        covariance += codes.T @ weighted
        slopes += rows.T @ weighted.astype(rows.dtype)
    offset = total / n_rows
    covariance = covariance / n_rows - np.outer(offset, offset)
    return shift + offset, covariance, (slopes - np.outer(of_X, offset)) / n_rows


def _rotated(covariance, slopes):
    """The map (k, k) that makes codes uncorrelated, in the order of X's slopes."""
    variances, axes = linalg.eigh(covariance)
    floor = (SMALLEST**2 * variances.max()) or 1.0
    whitener = axes.T / np.sqrt(np.maximum(variances, floor))[:, None]
    slopes = slopes @ whitener.T
    alive = variances > floor  # a code that never varies comes last, as it is
    rotation = linalg.svd(np.linalg.qr(slopes[:, alive], mode="r"))[2]
    return np.concatenate([rotation @ whitener[alive], whitener[~alive]])


def _triangular(covariance):
    """The lower triangular map (k, k) that makes codes uncorrelated."""
    floor = (SMALLEST**2 * covariance.diagonal().max()) or 1.0
    covariance = covariance + floor * np.eye(len(covariance))
    root = linalg.cholesky(covariance, lower=True)
    return linalg.solve_triangular(root, np.eye(len(root)), lower=True)


def explained_falls(reconstruct, Z, X, ordered=False, weights=None):
    """Fall of the error, as a share of the variance of X, when each code comes in.

    Code j joins codes 0..j-1, the others staying at their mean, zero, or where codes are
    `ordered` being missing. The sum is the R² of the reconstruction.

    Parameters
    ----------
    reconstruct : callable (Z of shape (n_samples, j)) -> ndarray of shape (n_samples, p)
    Z : ndarray of shape (n_samples, k), columns of mean zero
    X : ndarray of shape (n_samples, p), columns of mean zero
    ordered : bool
    weights : ndarray of shape (n_samples,) or None
        Of the rows.

    Returns
    -------
    ndarray of shape (k,)
    """
    errors = np.zeros(Z.shape[1] + 1)
    for block in row_blocks(len(X), max(X.shape[1], WIDE)):
        codes, rows = Z[block], X[block]
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
    return np.square(X).sum(axis=1, dtype=np.float64) @ np.broadcast_to(weights, len(X))


def explained_shares(falls):
    """Falls (k,), made non-negative and non-increasing by isotonic regression."""
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
):
    """The fitted attributes about codes and variance.

    Parameters
    ----------
    inference : Inference
    inputs, X : ndarray of shape (n_samples, p)
        What is encoded, and what it is to become: centred and scaled.
    n_components : int
    pca_variances : ndarray or None
        Shares of the principal components in the variance, where the model is PCA.
    ordered : bool
    weights : ndarray of shape (n_samples,) or None
        Of the rows; their mean is one.
    n_samples : int or None
        Rows of the table, where X is a part of it.

    Returns
    -------
    dict of attributes and their values
    """
    unit = np.float64(np.max(inference.scale))
    Z = Codes(inference, inputs, n_components)
    mean, covariance, _ = _moments(Z, X, weights)
    deviations = np.sqrt(covariance.diagonal().clip(min=0) * len(X) / max(len(X) - 1, 1))
    if pca_variances is None:
        n_rows = np.clip(DECODED // n_components, FEWEST_DESCRIBED, MOST_DESCRIBED)
        some = slice(None, None, -(-len(X) // n_rows))

        def reconstruct(codes):
            X_hat = inference.decode_scaled(codes + mean[: codes.shape[1]])
            return (X_hat - inference.mean) / unit

        goal = X[some] * (inference.scale / unit)
        of_rows = None if weights is None else weights[some]
        falls = explained_falls(reconstruct, Z[some] - mean, goal, ordered, of_rows)
    else:
        falls = pca_variances[:n_components]
    # As einsum the sum of squares needs no copy of the table.
    w = np.ones(1) if weights is None else weights
    by_feature = np.einsum("ij,ij,i->j", X, X, np.broadcast_to(w, len(X)), dtype=np.float64)
    squares = (by_feature * np.square(inference.scale / unit)).sum()
    shape = n_samples or len(X), X.shape[1]
    squares *= shape[0] / (len(X) if weights is None else weights.sum())
    return attributes(inference, shape, mean, deviations, falls, squares)


def attributes(inference, shape, mean, deviations, falls, squares):
    """Attributes and their values, from statistics of the k codes that are in use.

    Parameters
    ----------
    inference : Inference
    shape : (n_samples, n_features)
    mean, deviations : ndarray of shape (k,)
        Of the codes.
    falls : ndarray of shape (k,)
        See `explained_falls`.
    squares : float
        Sum of squares of the centred table, in units of the largest scale.
    """
    unit = np.float64(np.max(inference.scale))
    shares, total = explained_shares(falls), squares / (shape[0] - 1)
    left = min(shape) - len(shares)
    noise = max(1 - shares.sum(), 0.0) * total / left if left > 0 else 0.0
    components = inference.jacobian(mean[None])[0] * (inference.code_unit / unit)
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
        }
