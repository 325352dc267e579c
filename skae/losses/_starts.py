"""Where training starts for each loss: the best constants and linear decoders.

The function for a constant takes (X, weights) and returns the bias. The function for a
linear decoder takes (Z, X, weights) and returns weight (p, k) and bias (p,), with which
the output is Z @ weight.T + bias. Codes Z (n, k) and data X (n, p) have no missing
values. `weights` are the weights (n,) of the rows; None counts all rows alike. Constants
that a loss learns once for all rows follow the p values of the bias.
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

ROUNDING = 1e-9  # error of a sum of shares


# -- constants -------------------------------------------------------------------------


def mean(X, weights=None):
    """Return the mean (p,) of X."""
    return shares(X, weights) @ X


def median(X, weights=None):
    """Return the median (p,) of X."""
    ordered, rows = X.sort(0)
    below = shares(X, weights)[rows].cumsum(0)
    ends = [(below < half).sum(0) for half in (0.5 - ROUNDING, 0.5 + ROUNDING)]
    return ordered.gather(0, torch.stack(ends).clamp(max=len(X) - 1)).mean(0)


def huber_location(X, weights=None, n_iter=50):
    """Return Huber's estimate (p,) of the location of X, by reweighting."""
    location, w = median(X, weights), shares(X, weights)[:, None]
    for _ in range(n_iter):
        weight = w / (X - location).abs().clamp(min=1)
        location = (weight * X).sum(0) / weight.sum(0)
    return location


def logit_mean(X, weights=None):
    """Return the logit (p,) of the mean of X.

    The mean of a feature that is always 0 or always 1 is moved by half a row.
    """
    half = 0.5 / len(X)
    average = mean(X, weights)
    average = torch.where((X == 0).all(0), half, average)
    return torch.logit(torch.where((X == 1).all(0), 1 - half, average))


def mean_direction(X, weights=None):
    """Return the mean (p,) of the rows of X, each brought to the mean length."""
    length = X.norm(dim=1, keepdim=True)
    unit_rows = X / torch.where(length == 0, 1.0, length)
    return mean(unit_rows, weights) * mean(length, weights)


# -- linear decoders -------------------------------------------------------------------


def whitened(Z, weights=None):
    """Bring codes Z (n, k) to mean zero and unit covariance.

    The codes that are passed have both in all rows of a table, but not in the few rows
    that a decoder is fitted to. Directions in which these do not vary are left out.

    Returns
    -------
    U : Tensor of shape (n, r), r <= k
    back : callable (weight (q, r), bias (q,)) -> weight (q, k), bias (q,)
        Turns a linear map of U into the same map of Z.
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
    """Fit a linear regression of X on Z."""
    U, back = whitened(Z, weights)
    w = shares(Z, weights)
    return back(X.T @ (U * w[:, None]), w @ X)


def bounded_ascent(Z, X, weights, mean, bias, curvature, n_iter):
    """Fit a generalized linear model with the canonical link, from the constant `bias`.

    The steps ascend a quadratic lower bound of the likelihood, whose Hessian never
    exceeds `curvature` times the Gram matrix of the design. As that is the identity here,
    each step is one product, and none can make the likelihood worse.

    Parameters
    ----------
    Z : Tensor of shape (n, k)
    X : Tensor of shape (n, p)
    weights : Tensor of shape (n,) or None
    mean : callable
        Turns linear predictors (n, p) into means (n, p): the inverse link.
    bias : Tensor of shape (p,)
    curvature : float
    n_iter : int

    Returns
    -------
    weight : Tensor of shape (p, k)
    bias : Tensor of shape (p,)
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
    """Fit logistic regressions of X on Z.

    They ascend by the bound of Böhning and Lindsay (1988), "Monotonicity of
    quadratic-approximation algorithms": the Hessian never exceeds a quarter of the Gram
    matrix.
    """
    bias = logit_mean(X, weights)
    return bounded_ascent(
        Z, X, weights, mean=torch.sigmoid, bias=bias, curvature=0.25, n_iter=n_iter
    )


def directions(cosine, Z, X, weights=None):
    """Return the linear decoder with the least loss `cosine` out of several.

    They are least squares for X, and least squares for the rows of X brought to one
    length, the latter also with smaller weights down to zero, which is the best constant.
    """
    length = X.norm(dim=1, keepdim=True)
    of_one_length = X / torch.where(length == 0, 1.0, length) * mean(length, weights)
    decoders = [least_squares(Z, X, weights)]
    weight, bias = least_squares(Z, of_one_length, weights)
    decoders += [(share * weight, bias) for share in (1.0, 0.5, 0.25, 0.0)]
    w = shares(X, weights)
    return min(decoders, key=lambda d: float(w @ cosine(Z @ d[0].T + d[1], X)))
