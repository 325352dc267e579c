"""The losses that are chosen by name."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch.nn import functional as F

from skae._tables import ranges
from skae.losses import _counts, _starts
from skae.losses._counts import LOG_THETA, log_gammas, log_rate, rate

__all__ = [
    "LOSSES",
    "Loss",
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
INF = float("inf")


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


def with_statistics(loss, **statistics):
    """The loss whose functions have these tensors as keyword arguments."""
    names = "function", "inverse_link", "decoder_start", "constant"
    functions = {name: getattr(loss, name) for name in names}
    functions = {name: f and partial(f, **statistics) for name, f in functions.items()}
    return replace(loss, statistics=None, **functions)


@dataclass(frozen=True, eq=False)
class Loss:
    """What training and scoring need to know of a loss.

    Scaled units are those the network works in: X centred and divided by one root mean
    square deviation, or with `standardize` by each feature's standard deviation.

    Attributes
    ----------
    function : callable (output, X) -> (..., n_samples)
    inverse_link : callable or None
        Turns the decoder's output into the reconstruction; None is the identity.
    bounds : (low, high), floats or arrays of shape (n_features,)
        Smallest and largest value that X may hold, rounding aside: see `check` and
        `within`.
    decoder_start : callable (Z, X, weights) -> (weight, bias) or None
        The linear decoder to start from, for codes Z (n, k) of mean zero and unit
        covariance, X (n, p) in its own units and weights (n,) or None of the rows:
        weight (p, k) and bias ((1 + n_constants) * p,), the constants behind the p
        outputs. Z and X may not have missing values. None: PCA's, in scaled units, in
        which the loss is then measured; all other losses are measured in the units of X.
    constant : callable (X, weights) -> Tensor of shape ((1 + n_constants) * p,)
        Output of the best constant reconstruction, in the units of the loss.
    rotation_invariant : bool
        Whether the loss may be measured in rotated coordinates.
    degree : int
        loss(s * output, s * X) = s**degree * loss(output, X). For Huber's loss: where
        its bend is scaled too, so that this brings scaled units into those of X.
    slope : callable (output, X) -> Tensor, shaped as `output`, or None
        Derivative of each row's loss by its output; None leaves it to autograd.
    missing : (output, X), floats or arrays of shape (n_features,)
        A cell where both are replaced by these adds nothing.
    n_constants : int
        Numbers that are learned for each feature and are the same in all rows.
    name : str, or list of str of shape (n_features,)
        For messages.
    checks : tuple of callables (X, whose, names, numbers)
        Further demands on X.
    statistics : callable (X, weights) -> dict of str to array, or None
        What the loss has to know of the data, see `measure`.
    fit : callable (Loss, **statistics) -> Loss
        Puts them, as tensors of float64, into the loss, see `fitted`. Unless another is
        given they become keyword arguments of the four functions.
    """

    function: Callable
    inverse_link: Callable | None = None
    bounds: tuple = (-INF, INF)
    decoder_start: Callable | None = None
    constant: Callable | None = None
    rotation_invariant: bool = False
    degree: int = 0
    slope: Callable | None = None
    missing: tuple = (0.0, 0.0)
    n_constants: int = 0
    name: str | list = ""
    checks: tuple = ()
    statistics: Callable | None = None
    fit: Callable = with_statistics

    @property
    def of_scaled(self):
        """Whether output and target are in the network's centred and scaled units."""
        return self.decoder_start is None

    def reconstruction(self, output):
        """Reconstruction (..., n, p) that the decoder's output (..., n, q) stands for."""
        return output if self.inverse_link is None else self.inverse_link(output)

    def observed(self, output, target, mask):
        """Output and target whose missing cells add nothing to loss and gradient.

        Parameters
        ----------
        output : Tensor of shape (..., n, p), or (..., n, q) with constants behind
        target : Tensor of shape (..., n, p)
            NaN or anything else in missing cells.
        mask : Tensor of bool of shape (..., n, p)
            Where there is a value.

        Returns
        -------
        output, target : Tensor, shaped as those given
        """
        p = target.shape[-1]
        fill = [torch.as_tensor(value).to(output) for value in self.missing]
        kept = torch.where(mask, output[..., :p], fill[0])
        if output.shape[-1] > p:
            kept = torch.cat([kept, output[..., p:]], dim=-1)
        return kept, torch.where(mask, target, fill[1].to(target))

    def measure(self, X, weights=None):
        """What the loss has to know of data: the argument of `fitted`.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            In its own units; NaN is passed over.
        weights : ndarray of shape (n_samples,) or None
            Of the rows.

        Returns
        -------
        dict of str to ndarray of float64
            Finite; empty where the loss needs nothing.
        """
        X = self.within(X)
        found = {} if self.statistics is None else self.statistics(X, weights)
        return {name: np.asarray(value, dtype=np.float64) for name, value in found.items()}

    def fitted(self, statistics):
        """The loss for data of which `measure` found these statistics."""
        if self.statistics is None:
            return self
        arrays = {k: np.asarray(v, dtype=np.float64) for k, v in statistics.items()}
        return self.fit(self, **{name: torch.tensor(v) for name, v in arrays.items()})

    def check(self, X, whose, feature_names=None, numbers=None):
        """Refuse values that the loss is not defined for; NaN is passed over.

        What is out of bounds by rounding alone is let pass: whoever computes the loss
        brings it back by `within`.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
        whose : str
            Name of the estimator, for the message.
        feature_names : sequence of str or None
        numbers : ndarray of int of shape (n_samples,) or None
            Of the rows, for the message; None counts them from 0.

        Raises
        ------
        ValueError
            With the first feature that has values out of bounds.
        """
        j = ranges.first_outside(X, *self.bounds)
        if j is not None:
            raise ValueError(self._complaint(j, X, whose, feature_names))
        numbers = np.arange(len(X)) if numbers is None else numbers
        for check in self.checks:
            check(X, whose, feature_names, numbers)

    def within(self, X):
        """X (n, p) with values that rounding carried out of bounds set to the bound.

        X is checked, and returned as it is where all of it is within the bounds.
        """
        return ranges.within(X, *self.bounds)

    def _complaint(self, j, X, whose, feature_names):
        low, high = (np.broadcast_to(end, X.shape[1:])[j] for end in self.bounds)
        ends = np.nanmin(X[:, j]), np.nanmax(X[:, j])
        smallest, largest = (ranges.told_apart(end, low, high) for end in ends)
        name = self.name if isinstance(self.name, str) else self.name[j]
        label = "" if feature_names is None else f" ({str(feature_names[j])!r})"
        advice = "Scale X with MinMaxScaler(clip=True) or use" if high == 1 else "Use"
        return (
            f"loss={name!r} of {whose} takes values in [{low:g}, {high:g}], but feature "
            f"{j}{label} of X has values in [{smallest}, {largest}]. {advice} "
            "loss='squared_error'."
        )


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
