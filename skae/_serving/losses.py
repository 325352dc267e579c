"""Links and errors of the losses, in NumPy alone."""

import dataclasses
import math

import numpy as np

from skae._serving.functions import log_gamma, log_softmax, sigmoid, softplus
from skae._tables import ranges
from skae.exceptions import ModelFileError

__all__ = ["NAMES", "Loss", "loss_of", "statistic"]

# The link of counts, see `skae.losses._counts`, where the reasons are.
OFFSET = 2.5
UNIT = math.log1p(math.exp(OFFSET))
LOG_THETA = -6.0, 12.0
LOWEST = -80.0
LARGEST_COUNT = 1e13
SHORTEST = 1e-3  # length of a reconstruction in the cosine, as a share of its target's
UNLIKELY = -100.0  # logit in a missing cell, which then adds nothing to the error
SUM_TOLERANCE = 1e-5  # of the columns of a group, whose sum is one


def _same(output, mean):
    return output


def _rate(output, mean):
    return softplus(output + OFFSET) * (mean / UNIT)


def _log_rate(output, mean):
    output = output + OFFSET
    raised = np.maximum(output, LOWEST)
    return np.log(softplus(raised)) + (output - raised) + np.log(mean / UNIT)


def _squared(output, X, mean, exposure):
    return (output - X) * (output - X)


def _absolute(output, X, mean, exposure):
    return np.abs(output - X)


def _huber(output, X, mean, exposure):
    size = np.abs(output - X)
    inner = np.minimum(size, 1)
    return inner * (size - inner * 0.5)


def _cross_entropy(logits, X, mean, exposure):
    return softplus(logits) - X * logits


def _poisson(output, X, mean, exposure):
    log_rates = _log_rate(output, mean) + np.log(exposure)
    return _rate(output, mean) * exposure - X * log_rates + log_gamma(X + 1.0)


def negative_binomial(output, X, mean, exposure, log_theta):
    """Return minus the log-likelihoods (n, p) of overdispersed counts."""
    log_theta = np.minimum(np.maximum(log_theta, LOG_THETA[0]), LOG_THETA[1])
    log_rates = _log_rate(output, mean) + np.log(exposure)
    theta, excess = np.exp(log_theta), log_rates - log_theta
    of_gamma = log_gamma(X + 1.0) + log_gamma(theta) - log_gamma(X + theta)
    return (X + theta) * softplus(excess) - X * excess + of_gamma


def cosine(X_hat, X):
    """Return 1 - the cosine of the angle (n,) between rows; 0 for a row of zeros."""
    largest = np.max(np.abs(X), axis=1, keepdims=True)
    is_empty = largest == 0
    divisor = np.where(is_empty, 1.0, largest)
    X, X_hat = X / divisor, X_hat / divisor
    length = np.where(is_empty, 1.0, _length(X))
    product = length * np.maximum(_length(X_hat), SHORTEST * length)
    similarity = np.sum(X * X_hat, axis=1, keepdims=True) / product
    return np.sum(np.where(is_empty, 0.0, 1.0 - similarity), axis=1)


def _length(X):
    return np.sqrt(np.sum(X * X, axis=1, keepdims=True))


@dataclasses.dataclass(frozen=True)
class Kind:
    """A loss of cells: its link, its errors, and the values that it is defined for."""

    cells: object = None
    link: object = _same
    bounds: tuple = (-np.inf, np.inf)
    degree: int = 0
    of_scaled: bool = False
    missing: float = 0.0
    n_constants: int = 0

    @property
    def can_hold(self):
        """Whether reconstructions can be held at the ends of features."""
        return self.of_scaled


COUNTS = {"link": _rate, "bounds": (0.0, LARGEST_COUNT), "missing": UNLIKELY}
KINDS = {
    "squared_error": Kind(_squared, degree=2, of_scaled=True),
    "absolute_error": Kind(_absolute, degree=1, of_scaled=True),
    "huber": Kind(_huber, degree=2, of_scaled=True),
    "binary_cross_entropy": Kind(
        _cross_entropy,
        link=lambda output, mean: sigmoid(output),
        bounds=(0.0, 1.0),
        missing=UNLIKELY,
    ),
    "poisson": Kind(_poisson, **COUNTS),
    "negative_binomial": Kind(None, n_constants=1, **COUNTS),
    "cosine": Kind(),
}
NAMES = tuple(KINDS)
OF_COLUMNS = (
    "squared_error",
    "absolute_error",
    "huber",
    "binary_cross_entropy",
    "poisson",
)


class Loss:
    """A loss with its statistics of the rows, chosen by name.

    Attributes
    ----------
    of_scaled : bool
        Whether output and errors are in scaled units and not in those of X.
    degree : int
        Power of the unit in the errors.
    bounds : (low, high), floats or arrays of shape (n_features,)
        Values that X may have.
    can_hold : bool, or ndarray of bool of shape (n_features,)
        Features whose reconstructions can be held at ends.
    units : (mean, scale), floats or arrays of shape (n_features,)
        An output y that can be held is y * scale + mean in the units of the loss.
    missing : (output, X), floats or arrays of shape (n_features,)
        Values of missing cells, which add nothing to the errors.
    """

    groups = ()
    units = 0.0, 1.0

    def __init__(self, name, statistics, n_features):
        kind = KINDS[name]
        self.name = name
        self.of_scaled, self.degree, self.bounds = kind.of_scaled, kind.degree, kind.bounds
        self.can_hold, self.missing = kind.can_hold, (kind.missing, 0.0)
        self.n_constants, self._kind = kind.n_constants, kind
        self._mean, self._scale = 0.0, 1.0
        if kind.link is _rate or name == "cosine":
            self._mean = statistic(statistics, "mean", n_features, kind.link is _rate)
        if name == "cosine":
            self._scale = statistic(statistics, "scale", 1, is_positive=True)
            self.missing = -self._mean / self._scale, 0.0

    def link(self, output):
        """Return the reconstruction for the decoder's output, (n, p)."""
        if self.name == "cosine":
            return output * self._scale + self._mean
        return self._kind.link(output, self._mean)

    def errors(self, output, X, constants, exposure=1.0):
        """Return the error of each row, (n,); exposures, (n, 1), are relative."""
        if self.name == "cosine":
            return cosine(self.link(output), X)
        if self.name == "negative_binomial":
            cells = negative_binomial(output, X, self._mean, exposure, constants)
        else:
            cells = self._kind.cells(output, X, self._mean, exposure)
        return np.sum(cells, axis=1)

    def check(self, X, owner):
        """Refuse values of X that the loss is not defined for, rounding aside."""
        j = ranges.first_outside(X, *self.bounds)
        if j is not None:
            low, high = (np.broadcast_to(end, X.shape[1:])[j] for end in self.bounds)
            smallest, largest = np.nanmin(X[:, j]), np.nanmax(X[:, j])
            raise ValueError(
                f"The loss of this {owner} takes values in [{low:g}, {high:g}], but "
                f"feature {j} of X has values in [{smallest}, {largest}]."
            )
        for group in self.groups:
            sums = X[:, group].sum(axis=1)
            wrong = np.flatnonzero(np.abs(sums - 1) > SUM_TOLERANCE)
            if len(wrong):
                raise ValueError(
                    f"The loss of this {owner} takes groups of one-hot columns, which sum "
                    f"to 1 in every row, but row {wrong[0]} of the columns {group} of X "
                    f"has the sum {sums[wrong[0]]:.8g}."
                )


class MixedLoss(Loss):
    """A loss of a table in which each column has its own, given by a dict."""

    of_scaled, degree, n_constants = False, 0, 0

    def __init__(self, loss, statistics, n_features, names):
        terms = _terms(loss, n_features, names)
        self.mean, scale, baseline = (
            statistic(statistics, name, n_features)
            for name in ("mean", "scale", "baseline")
        )
        if not (scale > 0).all():
            raise ModelFileError("has scales of its loss that are not positive.")
        self.groups = terms.pop("cross_entropy", [])
        self.weight = np.divide(1, baseline, out=np.ones(n_features), where=baseline > 0)
        self.terms = [(KINDS[name], columns) for name, columns in terms.items()]
        low, high = np.full(n_features, -np.inf), np.full(n_features, np.inf)
        missing = np.zeros(n_features)
        self.can_hold = np.zeros(n_features, dtype=bool)
        for kind, columns in self.terms:
            low[columns], high[columns] = kind.bounds
            missing[columns], self.can_hold[columns] = kind.missing, kind.can_hold
        for group in self.groups:
            low[group], high[group], missing[group] = 0.0, 1.0, UNLIKELY
        self.bounds = low, high
        self.units = (
            np.where(self.can_hold, self.mean, 0.0),
            np.where(self.can_hold, scale, 1.0),
        )
        self.missing = missing, self.units[0]
        columns = [j for _, columns in self.terms for j in columns]
        columns += [j for group in self.groups for j in group]
        self.order = np.argsort(columns)

    def link(self, output):
        parts = []
        for kind, columns in self.terms:
            mean, scale = (units[columns] for units in self.units)
            part = kind.link(np.take(output, columns, axis=1), self.mean[columns])
            parts.append(part * scale + mean)
        parts += [
            np.exp(log_softmax(np.take(output, group, axis=1))) for group in self.groups
        ]
        return np.take(np.concatenate(parts, axis=1), self.order, axis=1)

    def errors(self, output, X, constants, exposure=1.0):
        total = 0.0
        for kind, columns in self.terms:
            mean, scale = (units[columns] for units in self.units)
            goal = (np.take(X, columns, axis=1) - mean) / scale
            output_part = np.take(output, columns, axis=1)
            cells = kind.cells(output_part, goal, self.mean[columns], exposure)
            total = total + np.sum(cells * self.weight[columns], axis=1)
        for group in self.groups:
            shares = log_softmax(np.take(output, group, axis=1))
            goal = np.take(X, group, axis=1)
            total = total - np.sum(goal * shares * self.weight[group[0]], axis=1)
        return total


def loss_of(loss, statistics, n_features, names):
    """Return the loss that the parameter `loss` of a file stands for.

    Parameters
    ----------
    loss : str or dict
    statistics : dict of str to ndarray
    n_features : int
    names : list of str or None
        Names of the features.
    """
    if isinstance(loss, dict):
        return MixedLoss(loss, statistics, n_features, names)
    if not isinstance(loss, str) or loss not in KINDS:
        raise ModelFileError(f"has a loss that is not known: {str(loss)[:60]!r}.")
    return Loss(loss, statistics, n_features)


def statistic(statistics, name, size, is_positive=False):
    """Return a statistic (size,) of the loss, after a check."""
    array = np.asarray(statistics[name], dtype=np.float64)
    if array.shape != (size,) or not np.isfinite(array).all():
        raise ModelFileError(f"has a statistic {name!r} of its loss that is not valid.")
    if is_positive and not (array > 0).all():
        raise ModelFileError(f"has a statistic {name!r} of its loss that is not positive.")
    return array


def _terms(loss, n_features, names):
    """Return a dict loss with column indices in the place of names."""
    places = {name: j for j, name in enumerate(names or ())}

    def index(column):
        return places[column] if isinstance(column, str) else int(column)

    terms, found = {}, []
    for name, columns in loss.items():
        if name == "cross_entropy":
            terms[name] = [[index(column) for column in group] for group in columns]
            if any(len(group) < 2 for group in terms[name]):
                raise ModelFileError("has a group of its loss with fewer than two columns.")
            found += [j for group in terms[name] for j in group]
        elif name in OF_COLUMNS:
            terms[name] = [index(column) for column in columns]
            found += terms[name]
        else:
            raise ModelFileError(f"has a loss that is not known: {name[:60]!r}.")
    if sorted(found) != [*range(n_features)]:
        raise ModelFileError("has a loss that does not name every column once.")
    return {name: columns for name, columns in terms.items() if columns}
