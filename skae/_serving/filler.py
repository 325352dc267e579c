"""Fills missing cells with their expectation, in NumPy alone."""

import dataclasses

import numpy as np

__all__ = ["Filler"]

BLOCK = 2**22  # number of values that are processed at a time


@dataclasses.dataclass(frozen=True)
class Filler:
    """Probabilistic PCA as a model of rows with missing cells, see `skae._tables.missing`.

    Attributes
    ----------
    mean : ndarray of shape (p,)
    weight : ndarray of shape (p, q)
    noise : float
        Variance of the noise.
    """

    mean: np.ndarray
    weight: np.ndarray
    noise: float

    def __call__(self, X, observed):
        """Return X (n, p) with the cells filled that are not `observed`."""
        X = X.copy()
        gaps = np.flatnonzero(~observed.all(axis=1))
        step = max(1, BLOCK // self.weight.size)
        for start in range(0, len(gaps), step):
            rows = gaps[start : start + step]
            X[rows] = self._filled(X[rows], observed[rows])
        return X

    def _filled(self, X, observed):
        weight, q = self.weight, self.weight.shape[1]
        precisions = (weight.T * observed[:, None]) @ weight + self.noise * np.eye(q)
        centred = np.where(observed, X - self.mean, 0.0)
        Z = np.linalg.solve(precisions, (centred @ weight)[:, :, None])[:, :, 0]
        return np.where(observed, X, self.mean + Z @ weight.T)
