"""Where the losses of `skae.losses` start: best constants and linear decoders.

A constant is a function (X) -> bias, a linear decoder a function (Z, X) ->
(weight, bias) of codes Z (n, k) and data X (n, p), neither with missing values. Weight
(p, k) and bias (p,) give the output Z @ weight.T + bias. What a loss learns once for all
rows of a feature stands behind the p values of the bias.
"""

import numpy as np
import torch

__all__ = [
    "bounded_ascent",
    "chunks",
    "directions",
    "huber_location",
    "least_squares",
    "location_and_scale",
    "logistic",
    "logit_mean",
    "mean",
    "mean_direction",
    "median",
    "whitened",
]

CHUNK = 2**20  # values worked on at a time


def chunks(n, p):
    """Slices of the p columns that hold about `CHUNK` values each."""
    step = max(1, CHUNK // max(n, 1))
    return [slice(j, j + step) for j in range(0, p, step)]


# -- what the table says ---------------------------------------------------------------


def location_and_scale(X):
    """Means and standard deviations (p,) of an array X (n, p), NaN passed over.

    A column without values has mean 0; the deviation is 0 where a column varies by no
    more than rounding. The squares of values near 1e300 do not overflow.
    """
    ends = [_of_values(X[:, c]) for c in chunks(*X.shape)]
    mean, spread = (np.concatenate(parts) for parts in zip(*ends, strict=True))
    return mean, spread


def _of_values(X):
    X = np.asarray(X, dtype=np.float64)
    has_value = ~np.isnan(X)
    n_values = np.maximum(has_value.sum(axis=0), 1)
    mean = np.where(has_value, X, 0.0).sum(axis=0) / n_values
    deviations = np.where(has_value, X - mean, 0.0)
    largest = np.abs(deviations).max(axis=0)
    varies = largest > 10 * np.finfo(np.float64).eps * np.abs(mean)
    relative = np.square(deviations / np.where(varies, largest, 1.0)).sum(axis=0)
    return mean, np.where(varies, largest * np.sqrt(relative / n_values), 0.0)


# -- constants -------------------------------------------------------------------------


def mean(X):
    return X.mean(0)


def median(X):
    middle = (len(X) - 1) // 2, len(X) // 2
    return X.sort(0).values[list(middle)].mean(0)


def huber_location(X, n_iter=50):
    """Huber's estimate of the location of X, by reweighting."""
    location = median(X)
    for _ in range(n_iter):
        weight = 1 / (X - location).abs().clamp(min=1)
        location = (weight * X).sum(0) / weight.sum(0)
    return location


def logit_mean(X):
    # A feature that is always 0 or 1 is taken to be half a row away from it.
    mean, half = X.mean(0), 0.5 / len(X)
    return torch.logit(torch.where(mean == 0, half, torch.where(mean == 1, 1 - half, mean)))


def mean_direction(X):
    """Mean of the rows brought to one length."""
    length = X.norm(dim=1, keepdim=True)
    return (X / torch.where(length == 0, 1.0, length)).mean(0) * length.mean()


# -- linear decoders -------------------------------------------------------------------


def whitened(Z):
    """Codes Z (n, k) of mean zero and unit covariance, and the way back.

    Those that come are so in all rows of a table, not in the few that a decoder is
    fitted to. Directions in which these do not vary are left out.

    Returns
    -------
    U : Tensor of shape (n, r), r <= k
    back : callable (weight (q, r), bias (q,)) -> weight (q, k), bias (q,)
    """
    mean = Z.mean(0)
    variances, axes = torch.linalg.eigh((Z - mean).T @ (Z - mean) / len(Z))
    varies = variances > 1e-10 * variances.max()
    whitener = axes[:, varies] / variances[varies].sqrt()

    def back(weight, bias):
        weight = weight @ whitener.T
        return weight, bias - weight @ mean

    return (Z - mean) @ whitener, back


def least_squares(Z, X):
    """Linear regression."""
    U, back = whitened(Z)
    return back(X.T @ U / len(U), X.mean(0))


def bounded_ascent(Z, X, mean, bias, curvature, n_iter):
    """Generalized linear model with the canonical link, from the constant `bias`.

    Ascent on a quadratic bound of the likelihood: its Hessian never exceeds `curvature`
    times the design's Gram matrix, which is the identity here, so that each step is one
    product and none can make the likelihood worse.
    """
    U, back = whitened(Z)
    weight = U.new_zeros(X.shape[1], U.shape[1])
    for _ in range(n_iter):
        residual = (X - mean(U @ weight.T + bias)) / curvature
        weight = weight + residual.T @ U / len(U)
        bias = bias + residual.mean(0)
    return back(weight, bias)


def logistic(Z, X, n_iter=50):
    """Logistic regression.

    The bound of Böhning and Lindsay (1988), "Monotonicity of quadratic-approximation
    algorithms": a logistic Hessian never exceeds a quarter of the Gram matrix.
    """
    return bounded_ascent(Z, X, torch.sigmoid, logit_mean(X), 0.25, n_iter)


def directions(cosine, Z, X):
    """The best, by the loss `cosine`, of some linear decoders.

    Least squares for X, and for its rows brought to one length; of the latter also with
    smaller weights, down to none, which is the best constant.
    """
    length = X.norm(dim=1, keepdim=True)
    unit = X / torch.where(length == 0, 1.0, length) * length.mean()
    decoders = [least_squares(Z, X)]
    weight, bias = least_squares(Z, unit)
    decoders += [(share * weight, bias) for share in (1.0, 0.5, 0.25, 0.0)]
    return min(decoders, key=lambda d: float(cosine(Z @ d[0].T + d[1], X).sum()))
