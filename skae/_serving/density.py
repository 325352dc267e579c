"""Densities of rows by a saved variational autoencoder, in NumPy alone."""

import dataclasses
import math

import numpy as np

from skae._serving.functions import log_sum_exp, softplus
from skae._serving.losses import Loss, statistic
from skae._serving.model import Model
from skae.exceptions import ModelFileError

__all__ = ["Density", "Mixture", "NormalLoss", "prior_of"]

LOGITS = -18.0, 10.0  # as in `skae.modules._variational`
FLOOR = 1e-6  # as in `skae.losses._likelihoods`


class NormalLoss(Loss):
    """Minus the log-density of rows with normal noise, see `skae.losses._likelihoods`."""

    def __init__(self, statistics, n_features, is_common):
        super().__init__("squared_error", statistics, n_features)
        scale, variances = (
            statistic(statistics, name, n_features) for name in ("scale", "variances")
        )
        if not (scale > 0).all() or (variances < 0).any():
            raise ModelFileError("has statistics of its loss that are not valid.")
        self.n_constants = 1
        self._varies = variances > 0
        self._floor = FLOOR * (variances[self._varies].min() if self._varies.any() else 1.0)
        self._is_common = is_common or not self._varies.any()
        self._constant = n_features / 2 * math.log(2 * math.pi) + np.log(scale).sum()

    def errors(self, output, X, constants, exposure=1.0):
        """Return minus the log-density of each row, (n,), in the units of the data."""
        if self._is_common:
            constants = np.full_like(constants, constants.mean())
        else:
            mean = constants[self._varies].mean()
            constants = np.where(self._varies, constants, mean)
        variances = np.exp(constants) + self._floor
        squares = np.sum((output - X) * (output - X) / variances, axis=1)
        return squares * 0.5 + (np.log(variances).sum() / 2 + self._constant)


@dataclasses.dataclass(frozen=True)
class Mixture:
    """A mixture of normal distributions, the prior of codes.

    Attributes
    ----------
    means : ndarray of shape (m, k)
    roots : ndarray of shape (m, k, k) or (m, k)
        Matrices or factors that whiten deviations from the means.
    constants : ndarray of shape (m,)
        Logarithms of the weights and of the determinants of the roots.
    """

    means: np.ndarray
    roots: np.ndarray
    constants: np.ndarray

    def log_ratios(self, Z):
        """Return log-densities (n,) of codes (n, k), without the constant of a normal."""
        parts = []
        for mean, root, constant in zip(
            self.means, self.roots, self.constants, strict=True
        ):
            white = (Z - mean) @ root if root.ndim == 2 else (Z - mean) * root
            squares = np.sum(white * white, axis=1, keepdims=True)
            parts.append(squares * -0.5 + constant)
        return log_sum_exp(np.concatenate(parts, axis=1))


def prior_of(weights, means, covariances, n_components):
    """Return the Mixture of a file, whose arrays are finite, after a check."""
    m, k = len(weights), n_components
    are_wrong = weights.shape != (m,) or means.shape != (m, k) or not (weights > 0).all()
    if are_wrong or covariances.shape not in ((m, k), (m, k, k)):
        raise ModelFileError("has a prior of codes that is not valid.")
    if covariances.ndim == 2:
        roots = 1 / np.sqrt(covariances)
        logs = np.log(roots).sum(axis=1)
    else:
        factors = np.linalg.cholesky(covariances)
        roots = np.swapaxes(np.linalg.inv(factors), 1, 2)
        logs = np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
    if not np.isfinite(logs).all():
        raise ModelFileError("has a prior of codes that is not valid.")
    return Mixture(means, roots, np.log(weights) + logs)


@dataclasses.dataclass(frozen=True)
class Density(Model):
    """A variational autoencoder, whose scores are bounds of log-densities.

    Attributes
    ----------
    posteriors : dict of str to steps
        By name of dtype. They return the means (n, k) of the codes of scaled rows, and the
        logits of their variances, together (n, 2 k).
    prior : Mixture or None
        None is the standard normal distribution.
    points : ndarray of shape (n_points, k) or None
        Where the distribution of the code of a row is looked at, see
        `skae._model.density.normal_draws`. None in early files.
    """

    posteriors: dict
    prior: Mixture | None
    points: np.ndarray | None

    @property
    def score_width(self):
        return self.width * (1 if self.points is None else len(self.points))

    def row_scores(self, X):
        """Return lower bounds of the log-density of each row, (n,), in float64."""
        if self.points is None:
            raise NotImplementedError(
                f"This file of a {self.name} is from an early version of skae, and lacks "
                "what score_samples needs. Open it with skae.load and save it again."
            )
        dtype, k, m = X.dtype, self.n_components, len(self.points)
        relative, scaled = self._seen(X)
        goal = scaled if self.loss.of_scaled else self._within(X)
        both = self.posteriors[dtype.name](scaled)
        logits = np.take(both, range(k, 2 * k), axis=1)
        log_variance = softplus(-np.minimum(np.maximum(logits, LOGITS[0]), LOGITS[1])) * -1
        mean, spread = (
            np.reshape(a, (-1, 1, k)) for a in (both[:, :k], np.exp(log_variance * 0.5))
        )
        Z = np.reshape(mean + spread * self.points.astype(dtype), (-1, k))
        output = self._output(Z, dtype).astype(np.float64)
        if self.exposure is not None:
            relative = _repeated(relative, m)
        goal = _repeated(goal.astype(np.float64), m)
        errors = self.loss.errors(output, goal, self.constants, relative)
        Z = Z.astype(np.float64)
        if self.prior is None:
            log_prior = np.sum(Z * Z, axis=1) * -0.5
        else:
            log_prior = self.prior.log_ratios(Z)
        log_ratios = np.reshape(log_prior - errors, (-1, m))
        log_ratios = log_ratios + np.square(self.points).sum(axis=1) / 2
        log_spreads = np.sum(log_variance.astype(np.float64), axis=1) * 0.5
        return log_sum_exp(log_ratios) + (log_spreads - math.log(m))


def _repeated(rows, m):
    """Return rows (n, p) m times each, (n * m, p)."""
    p = rows.shape[1]
    return np.reshape(np.reshape(rows, (-1, 1, p)) + np.zeros((1, m, 1)), (-1, p))
