"""Mean, scale and principal axes of a table that comes in chunks."""

import dataclasses

import numpy as np
from scipy import linalg

from skae._tables.pca import with_signs
from skae._tables.scaling import ROUNDING, one_scale

__all__ = ["RunningPCA"]

MOST_FEATURES = 256  # largest number of features for which all directions are kept
N_MORE = 64  # for more features, 2 * n_components + N_MORE directions are kept
BLOCK = 512  # number of rows that are added at once


@dataclasses.dataclass(frozen=True)
class RunningPCA:
    """The mean and the covariance of all rows so far.

    Rows are added as in Ross, Lim, Lin and Yang (2008), "Incremental learning for robust
    visual tracking", and in scikit-learn's `IncrementalPCA`. With up to 256 features, or as
    many as asked for, the covariance is exact, and the axes are those of PCA of all rows.
    With more, the directions of least variance are dropped after each block of rows.

    Attributes
    ----------
    origin : ndarray of shape (n_features,)
    unit : float or ndarray of shape (n_features,)
        Everything below refers to (X - origin) / unit, whose squares are finite.
    n_axes : int
        Largest number of directions that are kept.
    weight : float
        Sum of the weights of the rows.
    mean, squares : ndarray of shape (n_features,)
        Weighted mean, and sum of the squared deviations from it.
    root : ndarray of shape (r, n_features)
        root.T @ root is the scatter matrix of the rows, without what was dropped.
    """

    origin: np.ndarray
    unit: float | np.ndarray
    n_axes: int
    weight: float
    mean: np.ndarray
    squares: np.ndarray
    root: np.ndarray

    @classmethod
    def begin(cls, origin, unit, n_components, most_features=MOST_FEATURES):
        """Return the moments of no rows.

        With up to `most_features` features all directions are kept.
        """
        p = len(origin)
        n_axes = p if p <= most_features else min(p, 2 * n_components + N_MORE)
        return cls(origin, unit, n_axes, 0.0, np.zeros(p), np.zeros(p), np.zeros((0, p)))

    def updated(self, X, weights=None):
        """Return the moments after the rows of X (n, n_features), with weights (n,)."""
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
        # The difference of the two means adds to the scatter about the common mean.
        apart = np.sqrt(self.weight * w.sum() / weight) * (mean - self.mean)
        return dataclasses.replace(
            self,
            weight=weight,
            mean=self.mean + (mean - self.mean) * (w.sum() / weight),
            squares=self.squares + np.square(rows).sum(axis=0) + np.square(apart),
            root=self._shortened(np.vstack([self.root, rows, apart])),
        )

    def joined(self, other):
        """Return the moments of the rows of both, whose origins and units may differ."""
        unit = np.maximum(self.unit, other.unit)
        one, two = self._at(self.origin, unit), other._at(self.origin, unit)
        weight = one.weight + two.weight
        between = two.mean - one.mean
        apart = np.sqrt(one.weight * two.weight / weight) * between
        return dataclasses.replace(
            one,
            weight=weight,
            mean=one.mean + between * (two.weight / weight),
            squares=one.squares + two.squares + np.square(apart),
            root=one._shortened(np.vstack([one.root, two.root, apart])),
        )

    def _at(self, origin, unit):
        """Return the same moments for another origin and unit."""
        ratio = self.unit / unit
        return dataclasses.replace(
            self,
            origin=origin,
            unit=unit,
            mean=ratio * self.mean + (self.origin - origin) / unit,
            squares=self.squares * np.square(ratio),
            root=self.root * ratio,
        )

    def _shortened(self, root):
        """Return a root with at most `n_axes` rows of about the same scatter matrix."""
        if self.n_axes == root.shape[1]:
            return linalg.qr(root, mode="r")[0][: root.shape[1]]
        if len(root) <= self.n_axes:
            return root
        largest = len(root) - self.n_axes, len(root) - 1
        _, left = linalg.eigh(root @ root.T, subset_by_index=largest)
        return left.T @ root

    def location_and_scale(self, standardize):
        """Return the mean and the scale, as the function of this name does for a table."""
        mean = self.origin + self.unit * self.mean
        spread = self.unit * np.sqrt(self.squares / self.weight)
        constant = spread <= ROUNDING * np.abs(mean)
        if standardize:
            return mean, np.where(constant, 1.0, spread)
        return mean, one_scale(np.where(constant, 0.0, spread))

    def principal_axes(self, mean, scale):
        """Return PCA of (X - mean) / scale for all rows X so far.

        Parameters
        ----------
        mean : ndarray of shape (n_features,)
        scale : float or ndarray of shape (n_features,)

        Returns
        -------
        centre : ndarray of shape (n_features,)
            Mean of these rows.
        deviations : ndarray of shape (r,)
        axes : ndarray of shape (r, n_features)
        total : float
            As returned by `skae._tables.pca.principal_axes`.
        """
        factor = self.unit / scale
        centre = (self.origin - mean) / scale + factor * self.mean
        _, lengths, axes = linalg.svd(self.root * factor, full_matrices=False)
        total = float((self.squares * np.square(factor)).sum() / self.weight)
        return centre, lengths / np.sqrt(self.weight), with_signs(axes), total
