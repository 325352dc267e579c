"""The exposure of rows of counts, and the counts as an encoder sees them."""

import dataclasses

import numpy as np
from scipy import sparse

from skae._tables.rows import is_streamed, row_blocks, rows_of

__all__ = ["Exposed", "Exposure", "learn_exposure"]

EMPTY = 1.0  # exposure of a row without counts, as in scanpy's `normalize_total`


@dataclasses.dataclass(frozen=True)
class Exposure:
    """Knows how much was counted in a row: the total of its counts, or a given number.

    Exposures are relative to `typical` wherever they are called so. A row of relative
    exposure 1 has as much of everything as a typical row.

    Attributes
    ----------
    columns : ndarray of int of shape (c,)
        Columns that hold the counts.
    typical : float
        Geometric mean of the exposures of the training rows.
    shares : ndarray of shape (c,) or None
        Shares of these columns in the total of all counts, by which the total of a row with
        missing cells is completed. None if exposures are given.
    """

    columns: np.ndarray
    typical: float
    shares: np.ndarray | None

    @property
    def is_given(self):
        """Whether every row needs an exposure from the user."""
        return self.shares is None

    def relative(self, X, given=None):
        """Return the relative exposures (n,) of a table X (n, p) that `rows_of` takes.

        Parameters
        ----------
        X : table of shape (n, p)
            NaN in missing cells.
        given : ndarray of shape (n,) or None
            Exposures from the user, which `is_given` asks for.
        """
        exposures = given
        if self.is_given and given is None:
            raise ValueError(
                "The model was fitted with exposures of the rows, and needs those of these "
                "rows too. Pass exposure where it is taken, or fit without."
            )
        if not self.is_given:
            blocks = row_blocks(*X.shape)
            exposures = np.concatenate([self._totals(rows_of(X, b)) for b in blocks])
        return exposures / self.typical

    def _totals(self, X):
        """Return the totals (n,) of the counts in rows X (n, p)."""
        counts = X[:, self.columns]
        is_missing = np.isnan(counts)
        totals = np.nansum(counts, axis=1, dtype=np.float64)
        if is_missing.any():
            observed = ~is_missing @ self.shares
            totals /= np.where(observed > 0, observed, 1.0)
        return np.where(totals > 0, totals, EMPTY)

    def seen(self, X, relative):
        """Return X (n, p) with log(1 + x / relative) in the place of each count x.

        Parameters
        ----------
        X : ndarray, or sparse matrix in CSR format, which stays sparse
        relative : ndarray of shape (n,)
        """
        dtype = np.float32 if X.dtype == np.float32 else np.float64
        X = X.astype(dtype)
        if sparse.issparse(X):
            adjusted = np.log1p(X.data / np.repeat(relative, np.diff(X.indptr)))
            X.data = np.where(np.isin(X.indices, self.columns), adjusted, X.data)
            return X.astype(dtype, copy=False)
        X[:, self.columns] = np.log1p(X[:, self.columns] / relative[:, None])
        return X

    def unseen(self, X, relative):
        """Return the rows for which `seen` returns X; negative logarithms count as zero."""
        X = X.copy()
        logs = np.maximum(X[:, self.columns], 0.0)
        X[:, self.columns] = np.expm1(logs) * relative[:, None]
        return X

    def times(self, rates, relative):
        """Return rates (n, p) of a typical row times the relative exposures (n,)."""
        rates = rates.copy()
        rates[:, self.columns] *= relative[:, None]
        return rates

    def slopes(self, rates):
        """Return the derivatives (n, p) of `seen` at rates (n, p) of a typical row."""
        slopes = np.ones_like(rates)
        slopes[:, self.columns] = 1 / (1 + rates[:, self.columns])
        return slopes


@dataclasses.dataclass(frozen=True)
class Exposed:
    """The exposures of the rows of one table.

    Attributes
    ----------
    exposure : Exposure
    relative : ndarray of shape (n_samples,)
    """

    exposure: Exposure
    relative: np.ndarray

    def __getitem__(self, rows):
        return Exposed(self.exposure, self.relative[rows])

    def seen(self, rows, numbers=slice(None)):
        """Return rows with these numbers as the encoder sees them, see `Exposure.seen`."""
        return self.exposure.seen(rows, self.relative[numbers])

    def times(self, rates, numbers=slice(None)):
        """Return rates (n, p) of typical rows as those of the rows with these numbers."""
        return self.exposure.times(rates, self.relative[numbers])

    def unseen(self, rows):
        """Return the rows that the encoder sees so, see `Exposure.unseen`."""
        return self.exposure.unseen(rows, self.relative)

    def followed(self, rows, numbers=slice(None)):
        """Return rows (n, p) with these numbers, followed by their exposure, (n, p + 1).

        This is the target of losses of counts, see `skae.losses._exposed`.
        """
        relative = self.relative[numbers].astype(rows.dtype)
        return np.concatenate([rows, relative[:, None]], axis=1)


def learn_exposure(X, weights, columns, given=None):
    """Return the Exposure of training rows.

    Parameters
    ----------
    X : table of shape (n, p) that `rows_of` takes
        NaN in missing cells.
    weights : ndarray of shape (n,) or None
    columns : ndarray of int of shape (c,)
        Columns of counts.
    given : ndarray of shape (n,) or None
        Exposures of the rows. None stands for the totals of their counts.
    """
    shares = None
    if given is None:
        means = _means(X, weights, columns)
        shares = means / (means.sum() or 1.0)
    # A relative exposure for a typical one of 1 is the exposure itself.
    exposures = Exposure(columns, 1.0, shares).relative(X, given)
    typical = np.exp(np.average(np.log(exposures), weights=weights))
    return Exposure(columns, float(typical), shares)


def _means(X, weights, columns):
    """Return the means (c,) of columns, without missing cells."""
    totals, n_values = np.zeros(len(columns)), np.zeros(len(columns))
    blocks = row_blocks(*X.shape) if is_streamed(X) else [slice(None)]
    for block in blocks:
        rows = rows_of(X, block)[:, columns]
        w = np.ones(len(rows)) if weights is None else weights[block]
        totals += w @ np.nan_to_num(rows)
        n_values += w @ ~np.isnan(rows)
    return totals / np.where(n_values > 0, n_values, 1.0)
