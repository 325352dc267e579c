"""Where the losses of `skae.losses` start: best constants and linear decoders.

A constant is a function (X, weights) -> bias, a linear decoder a function
(Z, X, weights) -> (weight, bias) of codes Z (n, k) and data X (n, p), neither with missing
values, and of the weights (n,) of the rows, where None counts all rows alike. Weight
(p, k) and bias (p,) give the output Z @ weight.T + bias. What a loss learns once for all
rows of a feature stands behind the p values of the bias.
"""

import torch

from skae._tables.scaling import shares

__all__ = [
    "bounded_ascent",
    "directions",
    "huber_location",
    "least_squares",
    "logistic",
    "logit_mean",
    "mean",
    "mean_direction",
    "median",
    "whitened",
]

ROUNDING = 1e-9  # of a sum of shares


# -- constants -------------------------------------------------------------------------


def mean(X, weights=None):
    return shares(X, weights) @ X


def median(X, weights=None):
    ordered, rows = X.sort(0)
    below = shares(X, weights)[rows].cumsum(0)
    ends = [(below < half).sum(0) for half in (0.5 - ROUNDING, 0.5 + ROUNDING)]
    return ordered.gather(0, torch.stack(ends).clamp(max=len(X) - 1)).mean(0)


def huber_location(X, weights=None, n_iter=50):
    """Huber's estimate of the location of X, by reweighting."""
    location, w = median(X, weights), shares(X, weights)[:, None]
    for _ in range(n_iter):
        weight = w / (X - location).abs().clamp(min=1)
        location = (weight * X).sum(0) / weight.sum(0)
    return location


def logit_mean(X, weights=None):
    # A feature that is always 0 or 1 is taken to be half a row away from it.
    half = 0.5 / len(X)
    average = mean(X, weights)
    average = torch.where((X == 0).all(0), half, average)
    return torch.logit(torch.where((X == 1).all(0), 1 - half, average))


def mean_direction(X, weights=None):
    """Mean of the rows brought to one length."""
    length = X.norm(dim=1, keepdim=True)
    unit = X / torch.where(length == 0, 1.0, length)
    return mean(unit, weights) * mean(length, weights)


# -- linear decoders -------------------------------------------------------------------


def whitened(Z, weights=None):
    """Codes Z (n, k) of mean zero and unit covariance, and the way back.

    Those that come are so in all rows of a table, not in the few that a decoder is
    fitted to. Directions in which these do not vary are left out.

    Returns
    -------
    U : Tensor of shape (n, r), r <= k
    back : callable (weight (q, r), bias (q,)) -> weight (q, k), bias (q,)
    """
    w = shares(Z, weights)
    mean = w @ Z
    variances, axes = torch.linalg.eigh((Z - mean).T @ ((Z - mean) * w[:, None]))
    varies = variances > 1e-10 * variances.max()
    whitener = axes[:, varies] / variances[varies].sqrt()

    def back(weight, bias):
        weight = weight @ whitener.T
        return weight, bias - weight @ mean

    return (Z - mean) @ whitener, back


def least_squares(Z, X, weights=None):
    """Linear regression."""
    U, back = whitened(Z, weights)
    w = shares(Z, weights)
    return back(X.T @ (U * w[:, None]), w @ X)


def bounded_ascent(Z, X, weights, mean, bias, curvature, n_iter):
    """Generalized linear model with the canonical link, from the constant `bias`.

    Ascent on a quadratic bound of the likelihood: its Hessian never exceeds `curvature`
    times the design's Gram matrix, which is the identity here, so that each step is one
    product and none can make the likelihood worse.
    """
    U, back = whitened(Z, weights)
    w = shares(Z, weights)
    weighted = U * w[:, None]
    weight = U.new_zeros(X.shape[1], U.shape[1])
    for _ in range(n_iter):
        residual = (X - mean(U @ weight.T + bias)) / curvature
        weight = weight + residual.T @ weighted
        bias = bias + w @ residual
    return back(weight, bias)


def logistic(Z, X, weights=None, n_iter=50):
    """Logistic regression.

    The bound of Böhning and Lindsay (1988), "Monotonicity of quadratic-approximation
    algorithms": a logistic Hessian never exceeds a quarter of the Gram matrix.
    """
    bias = logit_mean(X, weights)
    return bounded_ascent(Z, X, weights, torch.sigmoid, bias, 0.25, n_iter)


def directions(cosine, Z, X, weights=None):
    """The best, by the loss `cosine`, of some linear decoders.

    Least squares for X, and for its rows brought to one length; of the latter also with
    smaller weights, down to none, which is the best constant.
    """
    length = X.norm(dim=1, keepdim=True)
    unit = X / torch.where(length == 0, 1.0, length) * mean(length, weights)
    decoders = [least_squares(Z, X, weights)]
    weight, bias = least_squares(Z, unit, weights)
    decoders += [(share * weight, bias) for share in (1.0, 0.5, 0.25, 0.0)]
    w = shares(X, weights)
    return min(decoders, key=lambda d: float(w @ cosine(Z @ d[0].T + d[1], X)))
