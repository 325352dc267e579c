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

LARGEST_COUNT = 1e13  # gradients are as large, and float32 has to hold their squares
SHORTEST = 1e-3  # of a reconstruction, as a share of its target, in the cosine


def squared_error(X_hat, X):
    """Squared error; the best constant is the mean.

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
    """Absolute error, which outlying cells move less; the best constant is the median.

    Shapes as in `squared_error`. The linear start is PCA.
    """
    return torch.abs(X_hat - X).sum(-1)


def huber(X_hat, X):
    """Half the squared error up to 1, the absolute error less a half above.

    Huber (1964), "Robust estimation of a location parameter". The 1 is in the units the
    network works in: one root mean square deviation of the table, or with `standardize`
    of the feature. Shapes as in `squared_error`. The linear start is PCA.
    """
    return F.huber_loss(X_hat, X, reduction="none").sum(-1)


def binary_cross_entropy(logits, X):
    """Cross-entropy of values in [0, 1], read as probabilities.

    The reconstruction is the logistic function of the logits, which keep the loss
    finite where a probability would round to 0 or 1. The best constant is the logit of
    the mean, the linear start a logistic regression. Shapes as in `squared_error`.
    """
    return F.binary_cross_entropy_with_logits(logits, X, reduction="none").sum(-1)


def poisson(output, X, mean=1.0):
    """Minus the log-likelihood of counts X under Poisson distributions.

    All its terms are there, so that it compares with `negative_binomial`; a perfect
    reconstruction costs minus the log-probability of the counts under their own means.
    Counts need not be whole. The best constant is the mean; the linear start are
    principal components of Collins, Dasgupta and Schapire (2001), "A generalization of
    principal component analysis to the exponential family", with PCA's scores and the
    link of `rate`.

    Parameters
    ----------
    output, X : Tensor of shape (..., n_samples, n_features)
    mean : Tensor of shape (n_features,), or float
        The rate of an output of 0, see `skae.losses._counts.rate`.

    Returns
    -------
    Tensor of shape (..., n_samples)
    """
    errors = rate(output, mean) - X * log_rate(output, mean)
    return errors.sum(-1) + log_gammas(X)


def negative_binomial(output, X, mean=1.0):
    """Minus the log-likelihood of overdispersed counts.

    A count of rate r has variance r + r² / theta; theta is learned for each feature
    (Lawless 1987, "Negative binomial and mixed Poisson regression"). All terms are
    there: as theta grows the loss becomes `poisson`. The best constant is the mean with
    the most likely theta, the linear start a regression with the link of `rate`.

    Parameters
    ----------
    output : Tensor of shape (..., n_samples, 2 * n_features)
        Those of `poisson`, then logarithms of theta. These are read from the first row,
        for they are the same in every row.
    X : Tensor of shape (..., n_samples, n_features)
    mean : as in `poisson`

    Returns
    -------
    Tensor of shape (..., n_samples)
    """
    output, log_theta = output.tensor_split(2, dim=-1)
    log_theta = log_theta[..., :1, :].clamp(*LOG_THETA)
    theta, excess = log_theta.exp(), log_rate(output, mean) - log_theta
    return ((theta + X) * F.softplus(excess) - X * excess).sum(-1) + log_gammas(X, theta)


def cosine(X_hat, X):
    """1 - cosine of the angle between reconstruction and target, in the units of X.

    The measure of texts' likeness (Salton, Wong and Yang 1975, "A vector space model
    for automatic indexing"). Only directions count: the length of a reconstruction says
    nothing. A row of zeros has no direction to miss, and costs nothing. The best constant
    is the mean of the rows brought to one length, the linear start least squares.
    Shapes as in `squared_error`.
    """
    unit = X.abs().amax(-1, keepdim=True)  # its square neither over- nor underflows
    empty = unit == 0
    unit = unit.masked_fill(empty, 1.0)
    X, X_hat = X / unit, X_hat / unit
    length = X.norm(dim=-1).masked_fill(empty[..., 0], 1.0)
    # Near zero the gradient of a direction has no bound; the floor gives it one.
    product = length * torch.maximum(X_hat.norm(dim=-1), SHORTEST * length)
    return (1 - (X_hat * X).sum(-1) / product).masked_fill(empty[..., 0], 0.0)


def _slope_of_squares(X_hat, X):
    return (X_hat - X).mul_(2)


def _slope_of_cross_entropy(logits, X):
    return torch.sigmoid(logits).sub_(X)


def _of_counts(function, **fields):
    bounds, missing = (0.0, LARGEST_COUNT), (-100.0, 0.0)
    return Loss(
        function, bounds=bounds, missing=missing, statistics=_counts.typical, **fields
    )


LOSSES = {
    "squared_error": Loss(
        squared_error,
        constant=_starts.mean,
        rotation_invariant=True,
        degree=2,
        slope=_slope_of_squares,
    ),
    "absolute_error": Loss(absolute_error, constant=_starts.median, degree=1),
    "huber": Loss(huber, constant=_starts.huber_location, degree=2),
    "binary_cross_entropy": Loss(
        binary_cross_entropy,
        inverse_link=torch.sigmoid,
        bounds=(0.0, 1.0),
        decoder_start=_starts.logistic,
        constant=_starts.logit_mean,
        slope=_slope_of_cross_entropy,
        missing=(-100.0, 0.0),
    ),
    "poisson": _of_counts(
        poisson,
        inverse_link=rate,
        decoder_start=_counts.regression,
        constant=_counts.constant,
    ),
    "negative_binomial": _of_counts(
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
