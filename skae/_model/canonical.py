"""Canonical codes: uncorrelated and in order, with signs that are chosen as in PCA."""

import numpy as np
import torch
from scipy import linalg, optimize

from skae._tables.rows import row_blocks

__all__ = ["Codes", "canonical_map", "decoder_jacobian", "matched", "moments"]

WIDE = 512  # width of rows that blocks allow for, because layers may be as wide
AGREES = 0.5  # correlation from which two codes are taken to be the same
SMALLEST = 1e-6  # smallest divisor, as a share of the largest


class Codes:
    """The codes (n, k) of a table, which are computed when rows of it are indexed.

    The codes of all rows, in float64, could take nearly as much memory as a table with few
    columns.

    Parameters
    ----------
    inference : Inference
    inputs : ndarray of shape (n, p)
        Centred and scaled rows.
    n_components : int
    """

    def __init__(self, inference, inputs, n_components):
        self.inference, self.inputs, self.n_components = inference, inputs, n_components

    def __getitem__(self, rows):
        return self.inference.scaled_codes(self.inputs[rows], self.n_components)


def decoder_jacobian(reconstruct, Z):
    """Differentiate a reconstruction by each code.

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
    # The product of the transposed Jacobian with a vector is linear in the vector, so that
    # its derivative by the vector is a product with the Jacobian. This takes two backward
    # passes over k copies of a row, whereas the direct way takes one for each of p outputs.
    other = torch.zeros_like(X_hat, requires_grad=True)
    # The gradient is that of a scalar, because with `grad_outputs` torch imports sympy.
    (transposed,) = torch.autograd.grad((X_hat * other).sum(), Z, create_graph=True)
    chosen = transposed * torch.eye(k, dtype=Z.dtype, device=Z.device).repeat(n, 1)
    (jacobian,) = torch.autograd.grad(chosen.sum(), other)
    return jacobian.reshape(n, k, -1)


def canonical_map(Z, X, jacobian, ordered=False, weights=None):
    """Compute the affine map that makes codes canonical.

    Codes are whitened, rotated onto the right singular vectors of the regression of X on
    them, and each is multiplied by a number. They are then uncorrelated, and in the order
    of the variance of X that is a linear function of them. The Jacobian of the decoder at
    the mean code then has rows of length one, whose entry of largest magnitude is positive.
    For a linear model the canonical codes are those of PCA.

    If codes are `ordered` the map is lower triangular, so that the first codes remain a
    function of the first codes: the regression of each code on those before it is
    subtracted.

    Parameters
    ----------
    Z : ndarray or Codes of shape (n_samples, k)
    X : ndarray of shape (n_samples, p)
    jacobian : callable (z of shape (k,)) -> ndarray of shape (k, p)
        Derivative of the decoder at a code.
    ordered : bool
    weights : ndarray of shape (n_samples,) or None
        Weights of the rows.

    Returns
    -------
    weight : ndarray of shape (k, k)
    mean : ndarray of shape (k,)
        The canonical codes are weight (z - mean).
    """
    mean, covariance, slopes = moments(Z, X, weights)
    weight = _triangular(covariance) if ordered else _rotated(covariance, slopes)
    rows = linalg.inv(weight).T @ jacobian(mean)
    lengths = linalg.norm(rows, axis=1)
    lengths = np.maximum(lengths, (SMALLEST * lengths.max()) or 1.0)
    largest = np.abs(rows).argmax(axis=1)
    signs = np.where(rows[np.arange(len(rows)), largest] < 0, -1.0, 1.0)
    return (signs * lengths)[:, None] * weight, mean


def moments(Z, X, weights):
    """Return the mean (k,) of codes, their covariance (k, k) and that with X, (p, k).

    They are computed in one pass over blocks of rows. The sums are of deviations from the
    mean of the first block, so that only small numbers are subtracted in the end.
    """
    shift, n_rows = None, 0.0
    for block in row_blocks(len(X), max(X.shape[1], WIDE)):
        codes, rows = Z[block].astype(np.float64), X[block]
        w = np.ones(len(rows)) if weights is None else weights[block]
        if shift is None:
            shift = np.average(codes, axis=0, weights=w)
            k, p = len(shift), X.shape[1]
            code_sums, feature_sums = np.zeros(k), np.zeros(p)
            covariance, slopes = np.zeros((k, k)), np.zeros((p, k))
        codes -= shift
        weighted = codes * w[:, None]
        n_rows += w.sum()
        code_sums += weighted.sum(axis=0)
        feature_sums += rows.sum(axis=0, dtype=np.float64) if weights is None else w @ rows
        covariance += codes.T @ weighted
        slopes += rows.T @ weighted.astype(rows.dtype)
    offset = code_sums / n_rows
    covariance = covariance / n_rows - np.outer(offset, offset)
    return shift + offset, covariance, (slopes - np.outer(feature_sums, offset)) / n_rows


def _rotated(covariance, slopes):
    """Return the map (k, k) that whitens codes and orders them by their share in X."""
    variances, axes = linalg.eigh(covariance)
    floor = (SMALLEST**2 * variances.max()) or 1.0
    whitener = axes.T / np.sqrt(np.maximum(variances, floor))[:, None]
    slopes = slopes @ whitener.T
    alive = variances > floor  # codes that never vary come last and are not rotated
    rotation = linalg.svd(np.linalg.qr(slopes[:, alive], mode="r"))[2]
    return np.concatenate([rotation @ whitener[alive], whitener[~alive]])


def _triangular(covariance):
    """Return the lower triangular map (k, k) that makes codes uncorrelated."""
    floor = (SMALLEST**2 * covariance.diagonal().max()) or 1.0
    covariance = covariance + floor * np.eye(len(covariance))
    root = linalg.cholesky(covariance, lower=True)
    return linalg.solve_triangular(root, np.eye(len(root)), lower=True)


def matched(Z_before, Z_now, ordered=False):
    """Which code of now is which of before, as their correlations have it.

    Codes are matched one to one, so that the sum of the squared correlations of those
    that agree is largest. A code of now that agrees with none of before takes a place
    that is left, in the order and with the sign that it has.

    Parameters
    ----------
    Z_before : ndarray of shape (n_samples, k_before)
    Z_now : ndarray of shape (n_samples, k)
        Codes of the same rows.
    ordered : bool
        Whether every code has to stay in its place, so that signs alone are matched.

    Returns
    -------
    order : ndarray of int of shape (k,)
    signs : ndarray of shape (k,)
        The codes signs * Z_now[:, order] follow those of before.
    """
    k = Z_now.shape[1]
    correlations = np.zeros((k, k))
    both = _standardized(Z_before[:, :k]).T @ _standardized(Z_now) / len(Z_now)
    correlations[: len(both)] = both
    agreement = np.where(np.abs(correlations) < AGREES, 0.0, np.square(correlations))
    if ordered:
        agreement *= np.eye(k)
    # Among what is left alone the order stays: no sum of these makes up for a match.
    places = np.arange(k)
    in_order = -np.square(places[:, None] - places) / max(k, 1) ** 3 * AGREES**2 / k
    _, order = optimize.linear_sum_assignment(agreement + in_order, maximize=True)
    follows = np.where(agreement > 0, np.sign(correlations), 1.0)
    return order, follows[places, order]


def _standardized(Z):
    Z = Z - Z.mean(axis=0)
    spread = Z.std(axis=0)
    return Z / np.where(spread == 0, 1.0, spread)
