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
        if not isinstance(X, np.ndarray):  # in a graph, rows are not chosen
            return self._filled(X, observed).astype(X.dtype)
        X = X.copy()
        gaps = np.flatnonzero(~observed.all(axis=1))
        step = max(1, BLOCK // self.weight.size)
        for start in range(0, len(gaps), step):
            rows = gaps[start : start + step]
            X[rows] = self._filled(X[rows], observed[rows])
        return X

    def _filled(self, X, observed):
        weight, (p, q) = self.weight, self.weight.shape
        known = np.reshape(observed, (-1, 1, p)) * weight.T
        precisions = known @ weight + self.noise * np.eye(q)
        centred = np.where(observed, X - self.mean, 0.0)
        goals = np.reshape(centred @ weight, (-1, q, 1))
        Z = np.reshape(np.linalg.solve(precisions, goals), (-1, q))
        return np.where(observed, X, self.mean + Z @ weight.T)
