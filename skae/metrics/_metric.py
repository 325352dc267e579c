"""Measures of reconstructions, and what an estimator needs to have for them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy
from sklearn.pipeline import Pipeline

__all__ = ["METRICS", "Metric", "check_reconstructs", "steps_of"]

# -- metrics ---------------------------------------------------------------------------


def _squares(X, X_hat):
    return np.square(X - X_hat)


def _distances(X, X_hat):
    return np.abs(X - X_hat)


def _cross_entropies(X, X_hat):
    eps = np.finfo(X_hat.dtype).eps
    P = np.clip(X_hat, eps, 1 - eps)
    return -xlogy(X, P) - xlogy(1 - X, 1 - P)


def _mean(error, variance):
    return error


def _root(error, variance):
    return np.sqrt(error)


def _r2(error, variance):
    """Return R². For constant X it is 1 if the error is zero and otherwise 0.

    This is scikit-learn's convention for a constant.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(variance == 0, error != 0, error / variance)
    return 1 - share


@dataclass(frozen=True)
class Metric:
    """One measure of a reconstruction.

    Attributes
    ----------
    cells : callable (X, X_hat) -> ndarray of shape (n, p)
        Computes the error of each cell from X, in float64, and X_hat, in its own dtype.
    finish : callable (error, variance) -> float or ndarray
        Computes the metric from the mean error and from the variance, which is the mean
        squared distance of the values from the mean of their feature. Both are floats,
        or arrays (p,) with a number for each feature.
    bounds : (low, high), floats
        Smallest and largest value that X may hold, rounding aside.
    is_error : bool
        Whether less is better.
    has_units : bool
        Whether the metric depends on the units of X. Probabilities have no units.
    """

    cells: Callable
    finish: Callable = _mean
    bounds: tuple = (-np.inf, np.inf)
    is_error: bool = True
    has_units: bool = True


METRICS = {
    "squared_error": Metric(_squares),
    "absolute_error": Metric(_distances),
    "root_mean_squared_error": Metric(_squares, finish=_root),
    "r2": Metric(_squares, finish=_r2, is_error=False),
    "binary_cross_entropy": Metric(_cross_entropies, bounds=(0.0, 1.0), has_units=False),
}


# -- estimators ------------------------------------------------------------------------


def steps_of(estimator):
    """Return the steps of a Pipeline and of Pipelines in it, or a list of the estimator."""
    if not isinstance(estimator, Pipeline):
        return [estimator]
    steps = [step for _, step in estimator.steps]
    steps = [step for step in steps if step is not None and step != "passthrough"]
    return [each for step in steps for each in steps_of(step)]


def check_reconstructs(estimator):
    """Raise a TypeError unless the estimator has transform and inverse_transform."""
    methods = ["transform", "inverse_transform"]
    missing = [name for name in methods if not hasattr(estimator, name)]
    if not missing:
        return
    name = type(estimator).__name__
    if isinstance(estimator, Pipeline):
        steps = [type(s) for _, s in estimator.steps if s not in (None, "passthrough")]
        culprits = [s.__name__ for s in steps if not all(hasattr(s, m) for m in methods)]
        name += f" (its {', '.join(culprits)})" if culprits else ""
    raise TypeError(
        "A reconstruction needs an estimator with transform and inverse_transform, but "
        f"{name} has no {' and no '.join(missing)}."
    )
