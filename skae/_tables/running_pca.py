"""Mean, scale and principal axes of rows that come in chunks."""

import dataclasses

import numpy as np
from scipy import linalg

from skae._tables.pca import with_signs
from skae._tables.scaling import ROUNDING, one_scale

__all__ = ["RunningPCA"]

MOST_FEATURES = 256  # up to so many, nothing is left out of what is kept
BLOCK = 512  # rows that are added at a time
N_MORE = 64  # directions that are kept of wider tables, beside two for each component


@dataclasses.dataclass(frozen=True)
class RunningPCA:
    """The first two moments of all rows so far, in the memory of a small table.

    Rows are added as in Ross, Lim, Lin and Yang (2008), "Incremental learning for robust
    visual tracking", which scikit-learn's `IncrementalPCA` does too. With up to 256
    features nothing is lost by it, and the axes are those of PCA of all rows; of more
    features the directions with the least variance are dropped after every chunk.

    Attributes
    ----------
    origin : ndarray of shape (n_features,)
    unit : float or ndarray of shape (n_features,)
        Rows are counted as (X - origin) / unit, which keeps squares finite.
    n_axes : int
        Most directions that are kept.
    weight : float
        Sum of the weights of the rows.
    mean, squares : ndarray of shape (n_features,)
        Weighted mean, and sum of the squared deviations from it.
    root : ndarray of shape (r, n_features)
        root.T @ root is the scatter matrix of the rows, but for what is dropped.
    """

    origin: np.ndarray
    unit: float | np.ndarray
    n_axes: int
    weight: float
    mean: np.ndarray
    squares: np.ndarray
    root: np.ndarray

    @classmethod
    def begin(cls, origin, unit, n_components):
        """Of no rows yet."""
        p = len(origin)
        n_axes = p if p <= MOST_FEATURES else min(p, 2 * n_components + N_MORE)
        return cls(origin, unit, n_axes, 0.0, np.zeros(p), np.zeros(p), np.zeros((0, p)))

    def updated(self, X, weights=None):
        """With the rows of X (n, n_features), in their own units, of weights (n,)."""
        w = np.ones(len(X)) if weights is None else weights
        found = self
        for i in range(0, len(X), BLOCK):
            found = found._with_block(X[i : i + BLOCK], w[i : i + BLOCK])
        return found

    def _with_block(self, X, w):
        rows = (np.asarray(X, dtype=np.float64) - self.origin) / self.unit
        weight = self.weight + w.sum()
        mean = w @ rows / w.sum()
        rows = (rows - mean) * np.sqrt(w)[:, None]
        # How far the two means are apart adds to the scatter about the common one.
        apart = np.sqrt(self.weight * w.sum() / weight) * (mean - self.mean)
        return dataclasses.replace(
            self,
            weight=weight,
            mean=self.mean + (mean - self.mean) * (w.sum() / weight),
            squares=self.squares + np.square(rows).sum(axis=0) + np.square(apart),
            root=self._shortened(np.vstack([self.root, rows, apart])),
        )

    def _shortened(self, root):
        """Another root (r, n_features), short, of what the scatter matrix was."""
        if self.n_axes == root.shape[1]:
            return linalg.qr(root, mode="r")[0][: root.shape[1]]
        if len(root) <= self.n_axes:
            return root
        largest = len(root) - self.n_axes, len(root) - 1
        _, left = linalg.eigh(root @ root.T, subset_by_index=largest)
        return left.T @ root

    def location_and_scale(self, standardize):
        """Mean of every feature, and what the centred features are divided by.

        Both as `skae._tables.scaling.location_and_scale` has them.
        """
        mean = self.origin + self.unit * self.mean
        spread = self.unit * np.sqrt(self.squares / self.weight)
        constant = spread <= ROUNDING * np.abs(mean)
        if standardize:
            return mean, np.where(constant, 1.0, spread)
        return mean, one_scale(np.where(constant, 0.0, spread))

    def principal_axes(self, mean, scale):
        """PCA of (X - mean) / scale for all rows X so far.

        Parameters
        ----------
        mean : ndarray of shape (n_features,)
        scale : float or ndarray of shape (n_features,)

        Returns
        -------
        centre : ndarray of shape (n_features,)
        deviations : ndarray of shape (r,)
        axes : ndarray of shape (r, n_features)
        total : float
            As `skae._tables.pca.principal_axes` returns them.
        """
        factor = self.unit / scale
        centre = (self.origin - mean) / scale + factor * self.mean
        _, lengths, axes = linalg.svd(self.root * factor, full_matrices=False)
        total = float((self.squares * np.square(factor)).sum() / self.weight)
        return centre, lengths / np.sqrt(self.weight), with_signs(axes), total
