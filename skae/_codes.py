"""Canonical codes, and what each of them explains."""

import numpy as np
import torch
from scipy import linalg
from sklearn.isotonic import IsotonicRegression

__all__ = ["canonical_map", "decoder_jacobian", "describe", "explained_shares"]

DESCRIBED_ROWS = 4096  # evenly spaced, that explained variance is computed from
SMALLEST = 1e-6  # floor, as a share of the largest, of what is divided by


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
    (transposed,) = torch.autograd.grad(X_hat, Z, other, create_graph=True)
    chosen = transposed * torch.eye(k, dtype=Z.dtype, device=Z.device).repeat(n, 1)
    (jacobian,) = torch.autograd.grad(chosen.sum(), other)
    return jacobian.reshape(n, k, -1)


def canonical_map(Z, X, jacobian):
    """The affine map that makes codes canonical.

    Codes are whitened, rotated onto the right singular vectors of the regression of X
    on them, and each is multiplied by one number. They are then uncorrelated, in the
    order of the variance of X that is a linear function of them, and the decoder's
    Jacobian at the mean code has rows of length one, whose entry of largest magnitude
    is positive. For a linear model this is PCA.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, k)
    X : ndarray of shape (n_samples, p), columns of mean zero
    jacobian : callable (z of shape (k,)) -> ndarray of shape (k, p)

    Returns
    -------
    weight : ndarray of shape (k, k)
    mean : ndarray of shape (k,)
        The canonical codes are weight (z - mean).
    """
    mean = Z.mean(axis=0)
    centred = Z - mean
    variances, axes = linalg.eigh(centred.T @ centred / len(Z))
    floor = (SMALLEST**2 * variances.max()) or 1.0
    whitener = axes.T / np.sqrt(np.maximum(variances, floor))[:, None]
    slopes = (X.T @ centred.astype(X.dtype)).astype(np.float64) @ whitener.T / len(Z)
    alive = variances > floor  # a code that never varies comes last, as it is
    rotation = linalg.svd(np.linalg.qr(slopes[:, alive], mode="r"))[2]
    weight = np.concatenate([rotation @ whitener[alive], whitener[~alive]])
    rows = linalg.inv(weight).T @ jacobian(mean)
    lengths = linalg.norm(rows, axis=1)
    lengths = np.maximum(lengths, (SMALLEST * lengths.max()) or 1.0)
    largest = np.abs(rows).argmax(axis=1)
    signs = np.where(rows[np.arange(len(rows)), largest] < 0, -1.0, 1.0)
    return (signs * lengths)[:, None] * weight, mean


def explained_shares(reconstruct, Z, X):
    """Share of the variance of X that each code explains.

    Code j joins codes 0..j-1, the others staying at their mean, zero; its share is the
    fall of the summed squared error, divided by the summed square of X. Isotonic
    regression then makes the shares non-increasing and keeps their sum, which is the R²
    of the reconstruction.

    Parameters
    ----------
    reconstruct : callable (Z) -> ndarray of shape (n_samples, p)
    Z : ndarray of shape (n_samples, k), columns of mean zero
    X : ndarray of shape (n_samples, p), columns of mean zero

    Returns
    -------
    ndarray of shape (k,)
    """
    total = np.square(X).sum(dtype=np.float64)
    if total == 0.0:
        return np.zeros(Z.shape[1])
    cut = np.zeros_like(Z)
    errors = [total]
    for j in range(Z.shape[1]):
        cut[:, j] = Z[:, j]
        errors.append(np.square(reconstruct(cut) - X).sum(dtype=np.float64))
    falls = -np.diff(errors) / total
    order = np.arange(len(falls))
    shares = IsotonicRegression(increasing=False).fit_transform(order, falls).clip(min=0)
    return shares * (max(falls.sum(), 0.0) / (shares.sum() or 1.0))


def describe(inference, X, X_scaled, n_components, pca_variances):
    """The fitted attributes about codes and variance.

    Parameters
    ----------
    inference : Inference
    X, X_scaled : ndarray of shape (n_samples, p)
        As given; centred and scaled.
    n_components : int
    pca_variances : ndarray or None
        Variances of all principal components, in scaled units, where the model is PCA.

    Returns
    -------
    dict of attributes and their values
    """
    n_samples = len(X)
    unit = np.float64(np.max(inference.scale))
    Z = inference.scaled_codes(X_scaled, n_components)
    mean = Z.mean(axis=0, dtype=np.float64)
    if pca_variances is None:
        some = slice(None, None, -(-n_samples // DESCRIBED_ROWS))
        shares = explained_shares(
            lambda C: (inference.decode_scaled(C + mean) - inference.mean) / unit,
            Z[some] - mean,
            (X[some] - inference.mean) / unit,
        )
    else:
        shares = pca_variances[:n_components] / (pca_variances.sum() or 1.0)
    # As einsum the sum of squares needs no copy of the table.
    by_feature = np.einsum("ij,ij->j", X_scaled, X_scaled, dtype=np.float64)
    squares = (by_feature * np.square(inference.scale / unit)).sum()
    left = min(X.shape) - n_components
    noise = (1 - shares.sum()) * squares / (n_samples - 1) / left if left > 0 else 0.0
    components = inference.jacobian(mean[None])[0] * (inference.code_unit / unit)
    lengths = np.linalg.norm(components, axis=1, keepdims=True)
    with np.errstate(over="ignore", under="ignore"):  # X may be near 1e300
        return {
            "components_": components / np.where(lengths == 0, 1.0, lengths),
            "explained_variance_": shares * squares / (n_samples - 1) * unit * unit,
            "explained_variance_ratio_": shares,
            "singular_values_": np.sqrt(shares * squares) * unit,
            "noise_variance_": float(noise * unit * unit),
            "_mean_code": mean,
            "_code_deviations": Z.std(axis=0, ddof=1, dtype=np.float64),
        }
