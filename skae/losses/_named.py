"""The losses that are chosen by name."""

from dataclasses import replace
from functools import partial

import torch
from torch.nn import functional as F

from skae.losses import _counts, _starts
from skae.losses._base import Loss
from skae.losses._counts import LOG_THETA, log_gammas, log_rate, rate

__all__ = [
    "LOSSES",
    "absolute_error",
    "binary_cross_entropy",
    "cosine",
    "huber",
    "negative_binomial",
    "poisson",
    "squared_error",
]

LARGEST_COUNT = 1e13  # gradients get as large, and float32 has to hold their squares
SHORTEST = 1e-3  # length of a reconstruction in the cosine, as a share of its target's


def squared_error(X_hat, X):
    """Return the squared error. The best constant is the mean.

    Parameters
    ----------
    X_hat, X : Tensor of shape (..., n_samples, n_features)
        Reconstruction and target.

    Returns
    -------
    Tensor of shape (..., n_samples)
    """
    return torch.square(X_hat - X).sum(-1)


def absolute_error(X_hat, X):
    """Return the absolute error, on which outliers have less influence.

    The best constant is the median, the linear start is PCA. Shapes are as in
    `squared_error`.
    """
    return torch.abs(X_hat - X).sum(-1)


def huber(X_hat, X):
    """Return Huber's error: half the square up to 1, the absolute error less 1/2 above.

    See Huber (1964), "Robust estimation of a location parameter". The 1 is in the scaled
    units of the network: one root mean square deviation of the table, or with
    `standardize` of the feature. The linear start is PCA. Shapes are as in
    `squared_error`.
    """
    return F.huber_loss(X_hat, X, reduction="none").sum(-1)


def binary_cross_entropy(logits, X):
    """Return the cross-entropy of values in [0, 1], read as probabilities.

    The reconstruction is the logistic function of the logits. Computed from logits, the
    loss stays finite where a probability would be rounded to 0 or 1. The best constant
    is the logit of the mean, the linear start is a logistic regression. Shapes are as in
    `squared_error`.
    """
    return F.binary_cross_entropy_with_logits(logits, X, reduction="none").sum(-1)


def poisson(output, X, mean=1.0, exposure=1.0):
    """Return minus the log-likelihood of counts X under Poisson distributions.

    No term is left out, so that the loss can be compared with `negative_binomial`. The
    loss of a perfect reconstruction is therefore not zero: it is minus the
    log-probability of the counts, given rates that equal them. Counts need not be whole
    numbers. The best constant is the mean. The linear start is the principal component
    analysis of Collins, Dasgupta and Schapire (2001), "A generalization of principal
    component analysis to the exponential family", with PCA's scores and the link of
    `rate`.

    Parameters
    ----------
    output, X : Tensor of shape (..., n_samples, n_features)
    mean : Tensor of shape (n_features,), or float
        The rate of an output of 0, see `skae.losses._counts.rate`.
    exposure : Tensor of shape (..., n_samples, 1), or float
        Factors of the rates of the rows.

    Returns
    -------
    Tensor of shape (..., n_samples)
    """
    log_exposure = torch.as_tensor(exposure).log()
    errors = rate(output, mean) * exposure - X * (log_rate(output, mean) + log_exposure)
    return errors.sum(-1) + log_gammas(X)


def negative_binomial(output, X, mean=1.0, exposure=1.0):
    """Return minus the log-likelihood of overdispersed counts.

    A count of rate r has the variance r + r² / theta, and theta is learned for each
    feature (Lawless 1987, "Negative binomial and mixed Poisson regression"). No term is
    left out: as theta grows the loss approaches `poisson`. The best constant is the mean
    with the likeliest theta, the linear start is a regression with the link of `rate`.

    Parameters
    ----------
    output : Tensor of shape (..., n_samples, 2 * n_features)
        The output that `poisson` takes, then the logarithms of theta. These are read
        from the first row, because they are the same in every row.
    X : Tensor of shape (..., n_samples, n_features)
    mean, exposure : as in `poisson`

    Returns
    -------
    Tensor of shape (..., n_samples)
    """
    output, log_theta = output.tensor_split(2, dim=-1)
    log_theta = log_theta[..., :1, :].clamp(*LOG_THETA)
    log_rates = log_rate(output, mean) + torch.as_tensor(exposure).log()
    theta, excess = log_theta.exp(), log_rates - log_theta
    return ((theta + X) * F.softplus(excess) - X * excess).sum(-1) + log_gammas(X, theta)


def cosine(X_hat, X):
    """Return 1 - cosine of the angle between reconstruction and target, in units of X.

    This is the usual distance between texts (Salton, Wong and Yang 1975, "A vector space
    model for automatic indexing"). Only directions count: the length of a reconstruction
    has no influence. A row of zeros has no direction, and its loss is zero. The best
    constant is the mean of the rows divided by their lengths, the linear start is least
    squares. Shapes are as in `squared_error`.
    """
    largest = X.abs().amax(-1, keepdim=True)  # so that squares neither over- nor underflow
    empty = largest == 0
    largest = largest.masked_fill(empty, 1.0)
    X, X_hat = X / largest, X_hat / largest
    length = X.norm(dim=-1).masked_fill(empty[..., 0], 1.0)
    # The gradient of a direction is unbounded near zero; the smallest length bounds it.
    product = length * torch.maximum(X_hat.norm(dim=-1), SHORTEST * length)
    return (1 - (X_hat * X).sum(-1) / product).masked_fill(empty[..., 0], 0.0)


def _slope_of_squares(X_hat, X):
    return (X_hat - X).mul_(2)


def _slope_of_cross_entropy(logits, X):
    return torch.sigmoid(logits).sub_(X)


def _count_loss(function, **fields):
    """Return the `Loss` of a function of counts."""
    bounds, missing = (0.0, LARGEST_COUNT), (-100.0, 0.0)
    return Loss(
        function,
        bounds=bounds,
        missing=missing,
        statistics=_counts.typical,
        is_count=True,
        **fields,
    )


LOSSES = {
    "squared_error": Loss(
        squared_error,
        constant=_starts.mean,
        rotation_invariant=True,
        degree=2,
        slope=_slope_of_squares,
        can_hold=True,
    ),
    "absolute_error": Loss(
        absolute_error, constant=_starts.median, degree=1, can_hold=True
    ),
    "huber": Loss(huber, constant=_starts.huber_location, degree=2, can_hold=True),
    "binary_cross_entropy": Loss(
        binary_cross_entropy,
        inverse_link=torch.sigmoid,
        bounds=(0.0, 1.0),
        decoder_start=_starts.logistic,
        constant=_starts.logit_mean,
        slope=_slope_of_cross_entropy,
        missing=(-100.0, 0.0),
    ),
    "poisson": _count_loss(
        poisson,
        inverse_link=rate,
        decoder_start=_counts.regression,
        constant=_counts.constant,
    ),
    "negative_binomial": _count_loss(
        negative_binomial,
        inverse_link=_counts.first_rate,
        decoder_start=_counts.overdispersed_regression,
        constant=_counts.overdispersed_constant,
        n_constants=1,
    ),
    "cosine": Loss(
        cosine,
        decoder_start=partial(_starts.directions, cosine),
        constant=_starts.mean_direction,
    ),
}
LOSSES = {name: replace(loss, name=name) for name, loss in LOSSES.items()}
