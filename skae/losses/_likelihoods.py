"""Likelihoods: losses that are minus the logarithm of a density, and draw new rows."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from skae._tables.scaling import nan_location_and_scale
from skae.losses import _starts
from skae.losses._base import Loss
from skae.losses._counts import LOG_THETA, first_rate, rate
from skae.losses._exposed import exposed
from skae.losses._named import LOSSES

__all__ = ["LIKELIHOODS", "Likelihood", "resolve_likelihood"]

# Smallest variance of the noise, as a share of the smallest variance of a feature that is
# not constant. Without it the density of a feature that the others determine, such as a
# copy, would have no bound.
FLOOR = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class Likelihood(Loss):
    """A loss that is minus the logarithm of the density of a row in its own units.

    Attributes
    ----------
    draw : callable (output, rng) -> ndarray of shape (n, p)
        Draws rows for outputs (n, q) of the decoder, an ndarray, from a
        `numpy.random.RandomState`. They are in the units in which the loss is measured.
    variance : callable (output) -> Tensor of shape (..., 1, p) or (..., 1, 1), or None
        Variances of the noise, which follow from the constants in the output. None if the
        likelihood has no variance of its own.
    floor : float
        Smallest variance of the noise.
    is_spherical : bool
        Whether all features have the same variance, as in probabilistic PCA.
    """

    draw: Callable | None = None
    variance: Callable | None = None
    floor: float = 0.0
    is_spherical: bool = False

    is_likelihood = True

    @property
    def pca_is_best(self):
        return self.is_spherical

    def measure(self, X, weights=None, scale=1.0):
        if not self.of_scaled:
            return super().measure(X, weights)
        _, spread = nan_location_and_scale(X, weights)
        scale = np.broadcast_to(np.asarray(scale, dtype=np.float64), spread.shape)
        return {"scale": scale.copy(), "variances": np.square(spread / scale)}


# -- the normal distribution -----------------------------------------------------------


def normal(output, X, log_volume, variance):
    """Return minus the log-density of rows with normal noise, in the units of the data.

    Parameters
    ----------
    output : Tensor of shape (..., n_samples, 2 * n_features)
        The means in scaled units, then constants that determine the variances. The latter
        are read from the first row, because they are the same in every row.
    X : Tensor of shape (..., n_samples, n_features)
        Rows in scaled units.
    log_volume : float
        Logarithm of the determinant of the scaling, by which the density is divided.
    variance : callable, see `Likelihood`

    Returns
    -------
    Tensor of shape (..., n_samples)
    """
    p = X.shape[-1]
    variances = variance(output)
    squares = ((output[..., :p] - X).square() / variances).sum(-1)
    logarithms = variances.log().expand(*variances.shape[:-1], p).sum(-1)
    return (squares + logarithms) / 2 + (p / 2 * math.log(2 * math.pi) + log_volume)


def normal_slope(output, X, variance, floor, by_constants):
    """Return the derivatives (..., n_samples, 2 * n_features) of `normal` by the output.

    Parameters
    ----------
    output, X, variance
        See `normal`.
    floor : float
        Smallest variance.
    by_constants : callable
        Turns derivatives (..., n_samples, n_features) by the logarithms of the variances
        above the floor into those by the constants.
    """
    variances = variance(output)
    deviations = output[..., : X.shape[-1]] - X
    scaled = deviations / variances
    by_logarithm = (1 - deviations * scaled) * ((variances - floor) / (2 * variances))
    return torch.cat([scaled, by_constants(by_logarithm)], dim=-1)


def _own_variances(output, floor, is_constant):
    """Return a variance for each feature, (..., 1, p).

    A constant feature has the geometric mean of the others. With a variance of its own its
    density could grow without having learned anything.
    """
    constants = output.tensor_split(2, dim=-1)[1][..., :1, :]
    if is_constant.any():
        mean = constants[..., ~is_constant].mean(-1, keepdim=True)
        constants = torch.where(is_constant.to(output.device), mean, constants)
    return constants.exp() + floor


def _common_variance(output, floor):
    """Return one variance for all features, (..., 1, 1)."""
    constants = output.tensor_split(2, dim=-1)[1][..., :1, :]
    return constants.mean(-1, keepdim=True).exp() + floor


def _shared(derivatives):
    """Give each constant the same part of the derivatives of all features."""
    return derivatives.mean(-1, keepdim=True).expand_as(derivatives)


def _to_others(derivatives, is_constant):
    """Share the derivatives of constant features among the other features."""
    if not is_constant.any():
        return derivatives
    mask = is_constant.to(derivatives.device)
    extra = derivatives[..., mask].sum(-1, keepdim=True) / (~mask).sum()
    return torch.where(mask, 0.0, derivatives + extra)


def _means(output):
    return output.tensor_split(2, dim=-1)[0]


def _fit_normal(loss, scale, variances, *, is_common):
    """Return the likelihood for a table with this scale and these scaled variances."""
    is_constant = variances == 0
    varies = variances[~is_constant]
    floor = FLOOR * float(varies.min() if len(varies) else 1.0)
    if is_common or not len(varies):
        variance = partial(_common_variance, floor=floor)
        by_constants = _shared
    else:
        variance = partial(_own_variances, floor=floor, is_constant=is_constant)
        by_constants = partial(_to_others, is_constant=is_constant)
    slope = partial(normal_slope, variance=variance, floor=floor, by_constants=by_constants)
    return dataclasses.replace(
        loss,
        function=partial(normal, log_volume=float(scale.log().sum()), variance=variance),
        slope=slope,
        statistics=None,
        draw=partial(_draw_normal, variance=variance),
        variance=variance,
        floor=floor,
    )


def _draw_normal(output, rng, variance):
    """Draw from normal distributions."""
    output = torch.from_numpy(output)
    means, spread = _means(output).numpy(), variance(output).sqrt().numpy()
    return means + spread * rng.standard_normal(means.shape)


def _normal_likelihood(is_common):
    """Return the likelihood with one variance, or with one for each feature."""
    return Likelihood(
        normal,
        inverse_link=_means,
        constant=_starts.mean,
        n_constants=1,
        name="squared_error",
        statistics=nan_location_and_scale,
        fit=partial(_fit_normal, is_common=is_common),
        is_spherical=is_common,
    )


# -- Bernoulli, Poisson, negative binomial ---------------------------------------------


def _draw_bits(output, rng):
    """Draw from Bernoulli distributions with these logits."""
    probabilities = torch.sigmoid(torch.from_numpy(output)).numpy()
    return (rng.random_sample(output.shape) < probabilities).astype(output.dtype)


def _draw_counts(output, rng, mean=1.0):
    """Draw from Poisson distributions."""
    return rng.poisson(rate(torch.from_numpy(output), mean).numpy()).astype(output.dtype)


def _draw_overdispersed(output, rng, mean=1.0):
    """Draw from negative binomial distributions: Poisson with a rate from gamma."""
    theta = output[:, output.shape[1] // 2 :].clip(*LOG_THETA)
    rates = first_rate(torch.from_numpy(output), mean).numpy()
    theta = np.exp(theta)
    return rng.poisson(rng.gamma(theta, rates / theta)).astype(output.dtype)


def _likelihood_of(name, **fields):
    """Return the likelihood that has the fields of a loss, and others."""
    loss = LOSSES[name]
    own = {f.name: getattr(loss, f.name) for f in dataclasses.fields(Loss)}
    return Likelihood(**(own | fields))


LIKELIHOODS = {
    "squared_error": {
        "spherical": _normal_likelihood(is_common=True),
        "diag": _normal_likelihood(is_common=False),
    },
    "binary_cross_entropy": _likelihood_of("binary_cross_entropy", draw=_draw_bits),
    "poisson": _likelihood_of("poisson", draw=_draw_counts),
    "negative_binomial": _likelihood_of("negative_binomial", draw=_draw_overdispersed),
}


def resolve_likelihood(loss, covariance_type, has_exposure=False):
    """Return the Likelihood that the parameters `loss` and `covariance_type` stand for.

    With `has_exposure` targets of counts end with the exposure of the row, see `exposed`.
    """
    found = LIKELIHOODS[loss]
    found = found[covariance_type] if isinstance(found, dict) else found
    return exposed(found) if has_exposure else found
