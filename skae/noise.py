"""Noises, which corrupt what the encoder sees, while the target stays clean.

A denoising autoencoder (Vincent, Larochelle, Bengio and Manzagol 2008, "Extracting and
composing robust features with denoising autoencoders") reconstructs a row from a
corrupted copy of it. A noise holds its hyper-parameters and is called with a batch.
"""

from dataclasses import dataclass
from numbers import Real

import torch
from sklearn.base import BaseEstimator

from skae._compat import Interval, validate_parameter_constraints

__all__ = [
    "NOISES",
    "GaussianNoise",
    "MaskingNoise",
    "SaltAndPepperNoise",
    "SwapNoise",
    "Units",
    "resolve_noise",
]


@dataclass(frozen=True)
class Units:
    """Values of X, expressed in the scaled units in which the network works.

    Each is a float, or a tensor of shape (p,).

    Attributes
    ----------
    zero : float or Tensor
        The value 0 in the units of X or, with `standardize`, in standardized units.
    low, high : float or Tensor
        The smallest and the largest value of each feature.
    one : float or Tensor
        The length of one of these units.
    """

    zero: float | torch.Tensor = 0.0
    low: float | torch.Tensor = -1.0
    high: float | torch.Tensor = 1.0
    one: float | torch.Tensor = 1.0

    def shifted(self, mean):
        """Return these values after `mean`, a tensor, is subtracted from scaled units."""
        return Units(self.zero - mean, self.low - mean, self.high - mean, self.one)

    def like(self, name, X):
        """Return the value called `name` in the dtype and on the device of X."""
        return torch.as_tensor(getattr(self, name), dtype=X.dtype, device=X.device)


class _Noise(BaseEstimator):
    """Base class of noises: `__call__(X, units, generator)` returns a corrupted copy of X.

    X is a Tensor of shape (..., n, p) in scaled units, which stays as it is. `units` is
    an instance of `Units`. All random numbers are drawn from `generator`, a
    `torch.Generator` on the device of X.
    """

    def check(self):
        """Raise InvalidParameterError, a ValueError, if a parameter is out of its range."""
        validate_parameter_constraints(
            self._parameter_constraints,
            self.get_params(deep=False),
            caller_name=type(self).__name__,
        )


class GaussianNoise(_Noise):
    """Add normal noise to every cell.

    Parameters
    ----------
    scale : float >= 0, default=0.1
        Standard deviation of the noise, in the units of X. If the estimator has
        `standardize=True` it is in standard deviations of each feature, as after a
        `StandardScaler`.

    References
    ----------
    .. [1] Vincent et al. (2010), "Stacked denoising autoencoders", JMLR 11.
    """

    _parameter_constraints: dict = {"scale": [Interval(Real, 0, None, closed="left")]}

    def __init__(self, scale=0.1):
        self.scale = scale

    def __call__(self, X, units, generator):
        noise = torch.empty_like(X).normal_(generator=generator)
        return X + self.scale * units.like("one", X) * noise


class _CellNoise(_Noise):
    """Base class of noises that replace the values of some cells.

    A subclass has `_replacement(X, units, generator)`, which returns the new values of
    all cells, or what `torch.where` broadcasts to them.
    """

    _parameter_constraints: dict = {"rate": [Interval(Real, 0, 1, closed="both")]}

    def __call__(self, X, units, generator):
        chosen = torch.empty_like(X).bernoulli_(self.rate, generator=generator).bool()
        return torch.where(chosen, self._replacement(X, units, generator), X)


class MaskingNoise(_CellNoise):
    """Set cells to 0, in the units of X.

    With `standardize=True` of the estimator 0 is that of standardized units, the mean of
    the feature, as behind a `StandardScaler`.

    Parameters
    ----------
    rate : float in [0, 1], default=0.5
        Probability that a cell is set to 0.

    References
    ----------
    .. [1] Vincent et al. (2008), "Extracting and composing robust features with
       denoising autoencoders", ICML.
    """

    def __init__(self, rate=0.5):
        self.rate = rate

    def _replacement(self, X, units, generator):
        return units.like("zero", X)


class SaltAndPepperNoise(_CellNoise):
    """Set cells to the smallest or the largest value of their feature.

    Parameters
    ----------
    rate : float in [0, 1], default=0.1
        Probability that a cell is changed. It then becomes the smallest or the largest
        value with equal probability.

    References
    ----------
    .. [1] Vincent et al. (2010), "Stacked denoising autoencoders", JMLR 11.
    """

    def __init__(self, rate=0.1):
        self.rate = rate

    def _replacement(self, X, units, generator):
        is_high = torch.empty_like(X).bernoulli_(0.5, generator=generator).bool()
        return torch.where(is_high, units.like("high", X), units.like("low", X))


class SwapNoise(_CellNoise):
    """Give cells the value that the same feature has in another row of the batch.

    A cell thus only gets values that its feature has, so that this noise suits features
    of every kind. Another row is drawn for each cell, from the batch of the same member
    of a stack of networks. A batch of one row stays as it is.

    Parameters
    ----------
    rate : float in [0, 1], default=0.15
        Probability that a cell is changed.

    References
    ----------
    .. [1] Yoon, Zhang, Jordon and van der Schaar (2020), "VIME: Extending the success of
       self- and semi-supervised learning to tabular domain", NeurIPS.
    """

    def __init__(self, rate=0.15):
        self.rate = rate

    def _replacement(self, X, units, generator):
        n = X.shape[-2]
        if n < 2:
            return X
        rows = torch.randint(1, n, X.shape, generator=generator, device=X.device)
        rows += torch.arange(n, device=X.device)[:, None]
        return X.gather(-2, rows % n)


# By name, as model files know them.
NOISES = {
    kind.__name__: kind
    for kind in (GaussianNoise, MaskingNoise, SaltAndPepperNoise, SwapNoise)
}


def resolve_noise(noise, owner="the estimator"):
    """Return the noise that the parameter `noise` stands for.

    Parameters
    ----------
    noise : None, float or instance of a class of this module
        A float is the `scale` of `GaussianNoise`.
    owner : str
        Name of the estimator's class, for messages.

    Returns
    -------
    noise : instance of a class of this module, or None

    Raises
    ------
    TypeError
        If `noise` is none of these.
    ValueError
        If a parameter of the noise is out of its range.
    """
    if noise is None:
        return None
    if isinstance(noise, Real) and not isinstance(noise, bool):
        noise = GaussianNoise(noise)
    if not isinstance(noise, _Noise):
        raise TypeError(
            f"noise of {owner} must be None, a float or an instance of a class of "
            f"skae.noise, such as MaskingNoise(0.5), got {noise!r}."
        )
    noise.check()
    return noise
