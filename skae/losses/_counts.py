"""Losses of counts: the link from output to rate, and the best starts.

The functions for constants and linear decoders have the arguments and results that
`skae.losses._starts` describes.
"""

import math

import numpy as np
import torch
from torch.nn import functional as F

from skae._tables.rows import chunks
from skae._tables.scaling import shares
from skae.losses._starts import whitened

__all__ = [
    "LOG_THETA",
    "constant",
    "first_rate",
    "log_gammas",
    "log_rate",
    "overdispersed_constant",
    "overdispersed_regression",
    "rate",
    "regression",
    "typical",
]

# The rate of a count is softplus(output + OFFSET) * mean / UNIT, so that an output of zero
# stands for the mean. The larger OFFSET is, the more the rate resembles a straight line
# that is cut off at zero.
OFFSET = 2.5
UNIT = math.log1p(math.exp(OFFSET))
LOG_THETA = -6.0, 12.0  # range of log(theta), where 1 / theta is the dispersion
LOWEST = -80.0  # log(softplus(t)) is t below it; exp(LOWEST) is still a normal float32


def rate(output, mean=1.0):
    """Return the rates of counts: the mean where the output is 0, and never below zero.

    With exposures these are the rates of a typical row, and `mean` is its mean.

    Above the mean a rate grows in proportion to the output and not exponentially, so
    that nothing overflows and no reconstruction is wrong by orders of magnitude.

    Parameters
    ----------
    output : Tensor of shape (..., n_samples, n_features)
    mean : Tensor of shape (n_features,), or float
        Mean of the counts, see `typical`.

    Returns
    -------
    Tensor of shape (..., n_samples, n_features)
    """
    return _rate_scale(mean, output) * F.softplus(output + OFFSET)


def _rate_scale(mean, like):
    """Return mean / UNIT, the factor of the softplus in a rate, as a tensor."""
    return torch.as_tensor(mean).to(like) / UNIT


def log_rate(output, mean):
    """Return the logarithm of `rate`, also where the rate underflows."""
    output = output + OFFSET
    raised = output.clamp(min=LOWEST)
    return F.softplus(raised).log() + (output - raised) + _rate_scale(mean, output).log()


def first_rate(output, mean=1.0):
    """Return the rates (..., n, p) for a negative binomial's output (..., n, 2 p)."""
    return rate(output.tensor_split(2, dim=-1)[0], mean)


def log_gammas(X, theta=None):
    """Return the sum over the features of log(x!) + log(Gamma(theta) / Gamma(theta + x)).

    Both terms are zero for x = 0 and slow to compute, so that only the other cells are
    computed. The second, which is left out without theta, is a small difference of large
    numbers and is therefore computed in float64.

    Parameters
    ----------
    X : Tensor of shape (..., n, p)
    theta : Tensor of shape (..., 1, p) or None

    Returns
    -------
    Tensor of shape (..., n)
    """
    n, p = X.shape[-2:]
    flat = X.flatten()
    cells = flat.nonzero()[:, 0]
    counts = flat[cells].double()
    terms = torch.lgamma(counts + 1)
    if theta is not None:
        theta = theta.flatten().double()[cells // (n * p) * p + cells % p]
        terms = terms + torch.lgamma(theta) - torch.lgamma(theta + counts)
    rows = terms.new_zeros(X.shape[:-1].numel()).index_add(0, cells // p, terms)
    return rows.reshape(X.shape[:-1]).to(X.dtype)


# -- constants -------------------------------------------------------------------------
# The argument `exposure` is None, or holds the exposures (n, 1) of the rows as multiples
# of the typical one. Rates are then in proportion to them.


def typical(X, weights=None, exposure=None):
    """Return {"mean": means (p,)} of an array X (n, p) of counts, ignoring NaN.

    With exposures they are the likeliest rates of a typical row. A feature that is always
    zero is taken to have half a count in the whole table.
    """
    w = np.ones(len(X)) if weights is None else weights
    exposed = w if exposure is None else w * exposure[:, 0]
    blocks = [X[:, c] for c in chunks(*X.shape)]
    total = np.concatenate([w @ np.nan_to_num(b) for b in blocks])
    n_values = np.concatenate([exposed @ ~np.isnan(b) for b in blocks])
    return {"mean": np.where(total > 0, total, 0.5) / np.where(n_values > 0, n_values, 1.0)}


def constant(X, weights=None, mean=1.0, exposure=None):
    """Return the output (p,) for the mean of X, where an output of 0 stands for `mean`."""
    soft = _positive_mean(X, weights, exposure) / _rate_scale(mean, X)
    return soft + torch.log(-torch.expm1(-soft)) - OFFSET


def _positive_mean(X, weights, exposure):
    w = shares(X, weights)
    mean = w @ X
    mean = torch.where(mean == 0, 0.5 / len(X), mean)
    return mean if exposure is None else mean / (w @ exposure)


def overdispersed_constant(X, weights=None, mean=1.0, exposure=None):
    """Return (2 p,): the output of `constant`, then log(theta) for the likeliest theta."""
    average = _positive_mean(X, weights, exposure)[:, None]
    average = average if exposure is None else average * exposure.T
    w = len(X) * shares(X, weights)
    parts = [_log_dispersion(X[:, c].T, average[c], w) for c in chunks(*X.shape)]
    return torch.cat([constant(X, weights, mean, exposure), *parts])


# -- linear decoders -------------------------------------------------------------------


def regression(Z, X, weights=None, mean=1.0, n_iter=12, exposure=None):
    """Fit Poisson regressions with the link of `rate`, see `_regression`."""
    return _regression(Z, X, weights, mean, exposure, None, (n_iter,))


def overdispersed_regression(Z, X, weights=None, mean=1.0, rounds=(4, 4, 4), exposure=None):
    """Fit negative binomial regressions; log(theta) follows the bias, which is (2 p,).

    Theta is at first that of the best constant, which counts as noise what the codes can
    explain. After every round of iterations the likeliest theta is found anew.
    """
    log_theta = overdispersed_constant(X, weights, mean, exposure)[X.shape[1] :]
    return _regression(Z, X, weights, mean, exposure, log_theta, rounds)


def _regression(Z, X, weights, mean, exposure, log_theta, rounds):
    """Return the weight (p, k) and the bias, (p,) or with `log_theta` (2 p,).

    The estimate is the maximum a posteriori under a standard normal prior of the slopes,
    which keeps them finite where a feature is zero in nearly every row. Each feature
    descends separately from its best constant, with the step lengths of Barzilai and
    Borwein (1988), "Two-point step size gradient methods"; a step that makes a feature
    worse is not taken. It is computed in float32, the precision of the network that
    starts here.
    """
    U, back = whitened(Z, weights)
    design = torch.cat([U.new_ones(len(U), 1), U], dim=1).float()
    w = len(X) * shares(X, weights)
    first = constant(X, weights, mean, exposure) + OFFSET
    exposure = (X.new_ones(len(X), 1) if exposure is None else exposure).T
    rate_scale = _rate_scale(mean, X).expand(X.shape[1])
    found, refined = [], []
    for c in chunks(*X.shape):
        counts, of_chunk = X[:, c].T.contiguous(), rate_scale[c, None]
        B = design.new_zeros(len(counts), design.shape[1])
        B[:, 0] = first[c]
        scaled, prior = (counts / of_chunk).float(), 1 / (len(X) * of_chunk).float()
        theta = None if log_theta is None else log_theta[c, None]
        for n_iter in rounds:
            relative = None if theta is None else (theta.exp() / of_chunk).float()
            how = w.float(), exposure.float(), relative, prior
            B = _descend(B, design, scaled, *how, n_iter)
            if theta is not None:
                rates = F.softplus((B @ design.T).to(X)) * of_chunk * exposure
                theta = _log_dispersion(counts, rates, w, n_iter=8)[:, None]
        found.append(B)
        refined.append(theta)
    found = torch.cat(found).to(X)
    weight, bias = back(found[:, 1:], found[:, 0] - OFFSET)
    if log_theta is None:
        return weight, bias
    return weight, torch.cat([bias, torch.cat(refined)[:, 0]])


def _descend(B, design, X, weights, exposure, theta, prior, n_iter):
    """Return better coefficients than B (c, k + 1) for counts X (c, n), see `_errors`."""
    w = weights / len(weights)
    weighted = design * w[:, None]
    how = design, weighted, w, X, exposure, theta, prior
    value, slope = _errors(B, *how)
    # Fisher's information about the constant makes the first step Newton's.
    rate = F.softplus(B[:, :1])
    step = rate / torch.square(torch.sigmoid(B[:, :1]))
    if theta is not None:
        step = step * (1 + rate / theta)
    for _ in range(n_iter):
        trial = B - step * slope
        trial_value, trial_slope = _errors(trial, *how)
        is_better = (trial_value < value)[:, None]
        moved, turned = trial - B, trial_slope - slope
        bend = (moved * turned).sum(1, keepdim=True)
        longer = torch.square(moved).sum(1, keepdim=True) / bend
        longer = torch.where(bend > 0, longer, step)
        step = torch.where(is_better, longer, step / 4)
        B = torch.where(is_better, trial, B)
        slope = torch.where(is_better, trial_slope, slope)
        value = torch.where(is_better[:, 0], trial_value, value)
    return B


def _errors(B, design, weighted, w, X, exposure, theta, prior):
    """Return the mean loss (c,), up to a constant, and its gradient (c, k + 1) for B.

    Counts X (c, n), their rates and theta (c, 1) are divided by mean / UNIT, so that a
    rate is the softplus times the exposure (1, n) and all of them are of order one. OFFSET
    is included in B[:, 0].
    The rows of `weighted` are those of the design matrix times their shares w (n,).
    """
    output = (B @ design.T).clamp_(min=LOWEST)
    typical = F.softplus(output)
    rate = typical * exposure
    residual = rate - X
    if theta is None:
        cells = rate - X * rate.log()
    else:
        cells = (theta + X) * torch.log1p(rate / theta) - X * rate.log()
        residual *= theta / (theta + rate)
    residual *= output.sigmoid_() / typical
    slopes = B[:, 1:] * prior
    value = cells @ w + (B[:, 1:] * slopes).sum(1) / 2
    gradient = residual @ weighted
    gradient[:, 1:] += slopes
    return value, gradient


def _log_dispersion(X, mean, weights, n_iter=10):
    """Return the logarithm (c,) of the likeliest theta of counts X (c, n).

    `mean` has shape (c, n), or (c, 1) where it is the same in all rows. The root of the
    likelihood's derivative is found by bisection. What a count of zero adds to the
    derivative is summed over all cells, in float32 because they are many; what remains
    is summed over the cells that are not zero.
    """

    def total(values):
        return torch.zeros_like(X[:, 0]).index_add(0, feature, values)

    feature, row = X.nonzero(as_tuple=True)
    found, rate = X[feature, row], mean.expand_as(X)[feature, row]
    of_cell = weights[row]
    n_positive = total(of_cell)
    mean, repeats = mean.float(), weights.float()
    if mean.shape[1] == 1:
        repeats = repeats.sum(0, keepdim=True)
    low, high = (torch.full_like(n_positive, end) for end in LOG_THETA)
    for _ in range(n_iter):
        middle = (low + high) / 2
        theta = middle.exp()
        share = mean / theta[:, None].float()
        of_zeros = (torch.log1p(share) - share / (1 + share)) @ repeats
        of_cells = theta[feature]
        terms = found / (of_cells + rate) - torch.digamma(found + of_cells)
        rest = total(of_cell * terms)
        is_above = of_zeros + rest + n_positive * torch.digamma(theta) > 0
        low, high = torch.where(is_above, low, middle), torch.where(is_above, middle, high)
    return torch.where(n_positive > 0, (low + high) / 2, 0.0)
