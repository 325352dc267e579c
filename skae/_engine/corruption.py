"""What is done to rows that a network is to restore: noise and hidden cells."""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch

from skae._tables.missing import with_marks
from skae._tables.rows import row_blocks, rows_of
from skae._torch import make_generator
from skae.noise import Units

__all__ = ["Hide", "Spoil", "noise_units"]

SMALLEST_RATE, LARGEST_RATE = 0.05, 0.45  # of cells that are hidden in training


def noise_units(X, mean, scale, standardize=False):
    """Landmarks of X for noises, in scaled units.

    Zero and one are those of the units of X, or with `standardize` those of standardized
    units, in which zero is the mean and one the standard deviation of a feature.
    """
    zero, one = (mean, scale) if standardize else (np.zeros(len(mean)), 1.0)
    low, high = np.full(len(mean), np.inf), np.full(len(mean), -np.inf)
    for block in row_blocks(*X.shape):
        rows = rows_of(X, block)
        np.fmin(low, np.fmin.reduce(rows), out=low)
        np.fmax(high, np.fmax.reduce(rows), out=high)
    landmarks = [(end - mean) / scale for end in (zero, low, high)]
    one = np.broadcast_to(one / np.asarray(scale, dtype=np.float64), mean.shape)
    return Units(*(torch.tensor(a) for a in (*landmarks, one)))


class Hide:
    """Hides cells that are there, so that training has missing cells with an answer.

    Parameters
    ----------
    filler : Filler
    rate : float
        Share of the cells that are missing; of a row as many more are hidden on
        average, more in one and fewer in another.
    """

    def __init__(self, filler, rate):
        self.filler = filler
        self.rate = min(max(rate, SMALLEST_RATE), LARGEST_RATE)

    def __call__(self, inputs, generator):
        """`inputs` (..., n, 2 p), filled rows and marks of what is missing, once more."""
        X, marks = inputs.tensor_split(2, dim=-1)
        rates = torch.rand(*X.shape[:-1], 1, generator=generator, device=X.device)
        drawn = torch.rand(X.shape, generator=generator, device=X.device)
        observed = (marks == 0) & (drawn >= 2 * self.rate * rates)
        return with_marks(self.filler(X, observed), observed)


@dataclasses.dataclass
class Spoil:
    """What is done to rows that are to be restored, in the coordinates of the network.

    Attributes
    ----------
    noise : recipe of skae.noise or None
    units : Units or None
        Goes with `noise`.
    hide : Hide or None
    seed : int
    device : torch.device
    """

    noise: Callable | None
    units: Units | None
    hide: Hide | None
    seed: int
    device: torch.device

    def generator(self):
        return make_generator(self.seed, self.device)

    def __call__(self, inputs, generator):
        if self.noise is not None:
            p = inputs.shape[-1] // (1 if self.hide is None else 2)
            noisy = self.noise(inputs[..., :p], self.units, generator)
            inputs = torch.cat([noisy, inputs[..., p:]], dim=-1)
        return inputs if self.hide is None else self.hide(inputs, generator)
