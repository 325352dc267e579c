"""How far rows are from their reconstruction, and that from the others."""

import dataclasses
from collections.abc import Callable

import numpy as np
from sklearn.neighbors import NearestNeighbors

from skae._tables.rows import row_blocks, rows_of

__all__ = ["RowDistances", "isolation"]

N_NEIGHBORS = 10
MOST_REFERENCES = 10_000  # most reconstructions among which neighbours are looked for
MOST_ROWS = 2000  # most rows among which they are looked for before the fit


@dataclasses.dataclass(frozen=True)
class RowDistances:
    """Computes the two squared distances of a row, feature by feature.

    They are those of multivariate process control (Jackson and Mudholkar 1979, "Control
    procedures for residuals associated with principal component analysis"): the residual Q,
    from a row to its reconstruction, and the score distance, from the code to those of the
    training rows. The latter is measured between the reconstructions, in the same units as
    the former, and to the nearest neighbours instead of the mean, because the codes of an
    autoencoder may form several groups and need not fill the space between them.

    Attributes
    ----------
    reconstruct : callable (X) -> X_hat
    references : ndarray of shape (n_references, n_features)
        Reconstructions of training rows, divided by `scale`.
    scale : float or ndarray of shape (n_features,)
    """

    reconstruct: Callable
    references: np.ndarray
    scale: np.ndarray | float

    @classmethod
    def among(cls, reconstruct, X, rows, scale):
        """Return the RowDistances with some rows of a table as references.

        Parameters
        ----------
        reconstruct : callable (X) -> X_hat
        X : table that `rows_of` takes
        rows : ndarray of int
            Numbers of the rows. If there are very many, some of them are taken.
        scale : float or ndarray of shape (n_features,)
        """
        rows = np.sort(rows)[_evenly_spaced(len(rows), MOST_REFERENCES)]
        references = np.empty((len(rows), X.shape[1]))
        for block in row_blocks(*references.shape):
            references[block] = reconstruct(rows_of(X, rows[block])) / scale
        return cls(reconstruct, references, scale)

    def parts(self, X):
        """Return the parts of both squared distances that each feature has.

        Parameters
        ----------
        X : ndarray of shape (n, p)
            Rows. In rows with missing cells the residual is that of the others, multiplied
            by the ratio of the number of all cells to that of the others.

        Returns
        -------
        residual, distance : ndarray of shape (n, p)
        """
        X_hat = self.reconstruct(X) / self.scale
        return self._residual(X, X_hat), self._distance(X_hat)

    def totals(self, X, rows=None):
        """Return the residual Q and the score distance of rows of a table, (n, 2).

        `rows` are the numbers of the rows; None stands for all.
        """
        n_rows = X.shape[0] if rows is None else len(rows)
        out = np.empty((n_rows, 2))
        for block in row_blocks(n_rows, N_NEIGHBORS * X.shape[1]):
            parts = self.parts(rows_of(X, block if rows is None else rows[block]))
            out[block] = np.column_stack([part.sum(axis=1) for part in parts])
        return out

    def _residual(self, X, X_hat):
        squares = np.square(X.astype(np.float64) / self.scale - X_hat)
        missing = np.isnan(squares)
        n_observed = X.shape[1] - missing.sum(axis=1, keepdims=True)
        squares[missing] = 0.0
        return squares * (X.shape[1] / np.maximum(n_observed, 1))

    def _distance(self, X_hat):
        n_neighbors = min(N_NEIGHBORS, len(self.references))
        search = NearestNeighbors(n_neighbors=n_neighbors).fit(self.references)
        neighbors = search.kneighbors(X_hat, return_distance=False)
        sums = np.zeros(X_hat.shape)
        for neighbor in neighbors.T:
            sums += np.square(X_hat - self.references[neighbor])
        return sums / n_neighbors


def isolation(X):
    """Return the mean squared distance (n,) of each row of X (n, p) to its neighbours."""
    chosen = _evenly_spaced(len(X), MOST_ROWS)
    n_neighbors = min(N_NEIGHBORS, len(chosen) - 1)
    search = NearestNeighbors(n_neighbors=n_neighbors + 1).fit(X[chosen])
    out = np.empty(len(X))
    is_chosen = np.isin(np.arange(len(X)), chosen)
    for block in row_blocks(len(X), max(X.shape[1], n_neighbors)):
        squares = np.square(search.kneighbors(X[block])[0])
        # A row that is among the references is its own nearest neighbour.
        own = is_chosen[block]
        out[block] = np.where(own, squares.sum(axis=1), squares[:, :-1].sum(axis=1))
    return out / n_neighbors


def _evenly_spaced(n, most):
    """Return at most `most` of the numbers 0 to n - 1, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(int))
