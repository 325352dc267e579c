"""Corruption of the rows that a network has to restore: noise and hidden cells."""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch

from skae._tables.missing import with_marks
from skae._tables.rows import row_blocks, rows_of
from skae._torch import make_generator
from skae.noise import Units

__all__ = ["Corruption", "Hide", "noise_units", "number_of_versions"]

MOST_VERSIONS, VERSION_VALUES = 32, 2**21  # number of versions, and values of all of them
SMALLEST_RATE, LARGEST_RATE = 0.05, 0.45  # shares of cells that are hidden in training


def noise_units(X, mean, scale, standardize=False):
    """Return the `Units` of X for noises, in scaled coordinates.

    Zero and one are those of the units of X, or with `standardize` those of standardized
    units, in which zero is the mean of a feature and one is its standard deviation.
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


def number_of_versions(n_values):
    """Return how many versions, of so many values each, are worth their time and memory."""
    return min(max(VERSION_VALUES // n_values, 2), MOST_VERSIONS)


class Hide:
    """Hides observed cells, so that training has missing cells of which the value is known.

    Parameters
    ----------
    filler : Filler
    rate : float
        Share of the cells that are missing. The same share is hidden on average, but more
        in some rows than in others.
    n_versions : int
        How many versions of the rows are made before training, each with other cells
        hidden. Their number is limited because making them takes about as long as a step
        of training with them. 0 hides cells anew in every step.
    feature_of : ndarray of int of shape (p,) or None
        Columns with the same number are hidden together.
    """

    def __init__(self, filler, rate, n_versions=0, feature_of=None):
        self.filler, self.n_versions = filler, n_versions
        self.feature_of = None if feature_of is None else torch.from_numpy(feature_of)
        self.rate = min(max(rate, SMALLEST_RATE), LARGEST_RATE)

    def __call__(self, inputs, generator):
        """Return `inputs` (..., n, 2 p), filled rows and their marks, with hidden cells."""
        X, marks = inputs.tensor_split(2, dim=-1)
        rates = torch.rand(*X.shape[:-1], 1, generator=generator, device=X.device)
        drawn = self._drawn(X, generator)
        observed = (marks == 0) & (drawn >= 2 * self.rate * rates)
        return with_marks(self.filler.nearly(X, observed), observed)

    def _drawn(self, X, generator):
        """Return random numbers shaped as X, which are equal for columns of a feature."""
        if self.feature_of is None:
            return torch.rand(X.shape, generator=generator, device=X.device)
        shape = *X.shape[:-1], int(self.feature_of[-1]) + 1
        drawn = torch.rand(shape, generator=generator, device=X.device)
        return drawn[..., self.feature_of.to(X.device)]

    def versions(self, inputs, seed):
        """Return all versions of `inputs` (n, 2 p), one after another, (m n, 2 p)."""
        generator = make_generator(seed, inputs.device)
        return torch.cat([self(inputs, generator) for _ in range(self.n_versions)])


@dataclasses.dataclass
class Corruption:
    """Corrupts rows in the coordinates of the network.

    Attributes
    ----------
    noise : noise of skae.noise or None
    units : Units or None
        Units that `noise` refers to; None without noise.
    hide : Hide or None
    seed : int
        Seed of the generators.
    device : torch.device
    """

    noise: Callable | None
    units: Units | None
    hide: Hide | None
    seed: int
    device: torch.device

    def generator(self):
        """Return a new generator, from which the corruption is drawn."""
        return make_generator(self.seed, self.device)

    def __call__(self, inputs, generator):
        """Return corrupted `inputs` (..., n, p), or (..., n, 2 p) if marks follow."""
        if self.noise is not None:
            p = inputs.shape[-1] // (1 if self.hide is None else 2)
            noisy = self.noise(inputs[..., :p], self.units, generator)
            inputs = torch.cat([noisy, inputs[..., p:]], dim=-1)
        return inputs if self.hide is None else self.hide(inputs, generator)
