"""Principal axes of a wide table, kept as combinations of its rows."""

import dataclasses

import numpy as np

from skae._tables.pca import gram_eigenvectors, principal_axes
from skae._tables.rows import chunks

__all__ = ["FLOOR", "RowAxes", "axes_of_rows"]

FLOOR = 1e-6  # smallest deviation along an axis, as a share of the largest
# Smallest share for components that are orthonormal as they are. Rounding errors of the
# Gram matrix are errors in proportion to the square of its inverse.
SAFE = 1e-4


@dataclasses.dataclass(frozen=True)
class RowAxes:
    """Principal axes (r, p) of a table that has fewer rows than columns: weight @ X.

    As an array they would take as much memory as the table, and their computation most of
    the time of a short fit. Their products need the table and numbers for pairs of rows.

    Attributes
    ----------
    weight : ndarray of shape (r, n)
        It is zero for axes along which the rows do not vary, which are then no axes.
    X : ndarray of shape (n, p)
        Centred rows.
    squares : ndarray of shape (r,)
        Sums of squares of the coordinates of the rows, each times its weight.
    weights : ndarray of shape (n,) or None
        Weights of the rows.
    dtype : dtype
        Type that the axes would have as an array.
    """

    weight: np.ndarray
    X: np.ndarray
    squares: np.ndarray
    weights: np.ndarray | None
    dtype: np.dtype

    def __len__(self):
        return len(self.weight)

    @property
    def shape(self):
        return len(self.weight), self.X.shape[1]

    def first(self, k, dtype=np.float64):
        """Return the first k axes as an array (k, p)."""
        axes = np.empty((k, self.X.shape[1]), dtype=dtype)
        for block, columns in _in_float64(self.X):
            axes[:, block] = self.weight[:k] @ columns
        return axes

    def __array__(self, dtype=None, copy=None):
        return self.first(len(self), self.dtype if dtype is None else dtype)

    def coordinates(self, X):
        """Return the coordinates (n, r) of rows X (n, p), in float64."""
        if X is self.X:
            own = self.weight.T * self.squares
            return own if self.weights is None else own / self.weights[:, None]
        products = np.zeros((len(X), len(self.X)))
        for block, columns in _in_float64(self.X):
            products += X[:, block].astype(np.float64, copy=False) @ columns.T
        return products @ self.weight.T


def axes_of_rows(X, n_components, weights=None, dtype=np.float64):
    """Compute the principal axes of a centred table with fewer rows than columns.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    n_components : int
        Number of axes that are needed as such. If the rows hardly vary along one of them,
        all are computed as an array.
    weights : ndarray of shape (n_samples,) or None
        Weights of the rows.
    dtype : dtype
        Type that the axes have, or would have, as an array.

    Returns
    -------
    deviations, axes, total
        What `principal_axes` returns, but with axes that are `RowAxes`. An axis along which
        the rows do not vary is zero.
    """
    variances, left = gram_eigenvectors(X, weights)
    deviations = np.sqrt(variances.clip(min=0))
    last = deviations[min(n_components, len(X)) - 1]
    if last <= SAFE * deviations[0]:
        del left
        return principal_axes(X, n_components, weights, dtype)
    varies = deviations > FLOOR * deviations[0]
    total = len(X) if weights is None else weights.sum()
    squares = np.where(varies, variances * total, 0.0)
    weight = left.T * (varies / np.sqrt(np.where(varies, squares, 1.0)))[:, None]
    del left
    if weights is not None:
        weight *= np.sqrt(weights)
    weight *= _signs(weight, X)[:, None]
    axes = RowAxes(weight, X, squares, weights, np.dtype(dtype))
    return deviations, axes, float(variances.clip(min=0).sum())


def _signs(weight, X):
    """Return the signs (r,) that make the largest entries of weight @ X positive."""
    rows, largest = np.arange(len(weight)), np.zeros(len(weight))
    for _, columns in _in_float64(X):
        part = weight @ columns
        part = part[rows, np.abs(part).argmax(axis=1)]
        largest = np.where(np.abs(part) > np.abs(largest), part, largest)
    return np.where(largest < 0, -1.0, 1.0)


def _in_float64(X):
    """Yield slices of some columns of X, and these columns in float64."""
    for block in chunks(*X.shape):
        yield block, X[:, block].astype(np.float64, copy=False)
