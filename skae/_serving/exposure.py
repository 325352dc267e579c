"""The exposure of rows of counts, in NumPy alone; see `skae._tables.exposure`."""

import dataclasses

import numpy as np

__all__ = ["Exposure"]

EMPTY = 1.0  # exposure of a row without counts


@dataclasses.dataclass(frozen=True)
class Exposure:
    """The totals of the counts of rows, relative to that of a typical row.

    Attributes
    ----------
    is_count : ndarray of shape (p,)
        1 for columns of counts, 0 for others.
    shares : ndarray of shape (p,)
        Shares of the columns in the total, by which missing cells are completed.
    typical : float
    has_gaps : bool
        Whether rows may have missing cells.
    """

    is_count: np.ndarray
    shares: np.ndarray
    typical: float
    has_gaps: bool

    def relative(self, X):
        """Return the relative exposures (n, 1) of rows X (n, p), in float64."""
        if not self.has_gaps:
            totals = X @ self.is_count[:, None]
        else:
            is_missing = np.isnan(X)
            observed = ~is_missing @ self.shares[:, None]
            totals = np.where(is_missing, 0.0, X) @ self.is_count[:, None]
            totals = totals / np.where(observed == 0, 1.0, observed)
        return np.where(totals == 0, EMPTY, totals) / self.typical

    def seen(self, X, relative):
        """Return X (n, p) with log(1 + x / relative) in the place of each count x."""
        logs = np.log1p(X * self.is_count / relative)
        seen = logs if self.is_count.all() else logs + X * (1 - self.is_count)
        return seen.astype(X.dtype, copy=False)

    def times(self, rates, relative):
        """Return rates (n, p) of a typical row times the relative exposures (n, 1)."""
        return rates * (relative * self.is_count + (1 - self.is_count))
