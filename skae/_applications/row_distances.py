"""How far rows are from their reconstruction, and that from the others."""

import dataclasses
from collections.abc import Callable

import numpy as np
from sklearn.neighbors import NearestNeighbors

from skae._tables.rows import row_blocks, rows_of

__all__ = ["MOST_ROWS", "RowDistances", "evenly_spaced", "isolation"]

N_NEIGHBORS = 15
MOST_REFERENCES = 10_000  # most reconstructions among which neighbours are looked for
MOST_ROWS = 2000  # most rows that are looked at before the fit
MOST_VALUES = 2**24  # most values in either, 128 MB


@dataclasses.dataclass(frozen=True)
class RowDistances:
    """Computes the two squared distances of a row.

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
    n_neighbors : int
        Number of neighbours, at most that of the references.
    """

    reconstruct: Callable
    references: np.ndarray
    scale: np.ndarray | float
    n_neighbors: int = N_NEIGHBORS

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
        rows = np.sort(rows)[evenly_spaced(len(rows), _most(MOST_REFERENCES, X))]
        references = np.empty((len(rows), X.shape[1]))
        for block in row_blocks(*references.shape):
            references[block] = reconstruct(rows_of(X, rows[block])) / scale
        return cls(reconstruct, references, scale)

    def in_proportion_to(self, other):
        """Return the same with as many neighbours as suit the number of references.

        The distance to the four nearest of 40 rows is about that to the ten nearest of
        100 rows, so that distances with few references and with many can be compared.
        """
        ratio = len(self.references) / len(other.references)
        n_neighbors = max(1, round(other.n_neighbors * ratio))
        return dataclasses.replace(self, n_neighbors=n_neighbors)

    def totals(self, X, rows=None):
        """Return the residual Q and the score distance of rows of a table, (n, 2).

        In rows with missing cells the residual is that of the others, multiplied by the
        ratio of the number of all cells to that of the others. `rows` are the numbers of
        the rows; None stands for all.
        """
        n_rows = X.shape[0] if rows is None else len(rows)
        out = np.empty((n_rows, 2))
        for block in row_blocks(n_rows, X.shape[1]):
            part = rows_of(X, block if rows is None else rows[block])
            X_hat = self._reconstructed(part)
            out[block, 0] = self._squares(part, X_hat).sum(axis=1)
            squares = [
                np.square(X_hat - neighbors).sum(axis=1)
                for neighbors in self._neighbors(X_hat)
            ]
            out[block, 1] = np.mean(squares, axis=0)
        return out

    def shares(self, X, columns=None):
        """Divide the difference between rows and the rows near them among the features.

        Parameters
        ----------
        X : table of shape (n, p) that `rows_of` takes
        columns : Columns or None
            Columns of categories.

        Returns
        -------
        ndarray of shape (n, n_features)
            Squared differences of a row from the reconstructions that are the neighbours of
            its own, divided by their sum, and summed over the columns of a feature. All
            columns have an equal share if the sum is 0.
        """

        def step(rows):
            X_hat = self._reconstructed(rows)
            squares = sum(self._squares(rows, nearby) for nearby in self._neighbors(X_hat))
            sums = squares.sum(axis=1, keepdims=True)
            equal = np.full_like(squares, 1 / X.shape[1])
            shares = np.divide(squares, sums, out=equal, where=sums > 0)
            return shares if columns is None else columns.summed(shares)

        return _in_blocks(step, X)

    def residuals(self, X, columns=None):
        """Return X minus its reconstruction (n, n_features), NaN in missing cells.

        In columns of categories it is one minus the probability of the category.
        """

        def step(rows):
            left = rows - self.reconstruct(rows)
            return left if columns is None else columns.left(left)

        return _in_blocks(step, X)

    def _reconstructed(self, X):
        return self.reconstruct(X) / self.scale

    def _squares(self, X, X_hat):
        """Return squared differences (n, p), 0 in missing cells."""
        squares = np.square(X.astype(np.float64) / self.scale - X_hat)
        missing = np.isnan(squares)
        n_observed = X.shape[1] - missing.sum(axis=1, keepdims=True)
        squares[missing] = 0.0
        return squares * (X.shape[1] / np.maximum(n_observed, 1))

    def _neighbors(self, X_hat):
        """Yield references (n, p): the neighbours of each row, one after the other."""
        n_neighbors = min(self.n_neighbors, len(self.references))
        search = NearestNeighbors(n_neighbors=n_neighbors).fit(self.references)
        numbers = search.kneighbors(X_hat, return_distance=False)
        for column in numbers.T:
            yield self.references[column]


def _in_blocks(step, X):
    """Return what a function of rows (n, p) returns, of all rows of a table."""
    return np.concatenate([step(rows_of(X, block)) for block in row_blocks(*X.shape)])


def isolation(X):
    """Return the mean squared distance (n,) of each row of X (n, p) to its neighbours.

    Missing cells count as 0.

    Parameters
    ----------
    X : table that `rows_of` takes, scaled
    """
    n, p = X.shape
    chosen = evenly_spaced(n, _most(MOST_ROWS, X))
    n_neighbors = min(N_NEIGHBORS, len(chosen) - 1)
    references = np.nan_to_num(rows_of(X, chosen))
    search = NearestNeighbors(n_neighbors=n_neighbors + 1).fit(references)
    out = np.empty(n)
    is_chosen = np.isin(np.arange(n), chosen)
    for block in row_blocks(n, max(p, n_neighbors)):
        rows = np.nan_to_num(rows_of(X, block))
        squares = np.square(search.kneighbors(rows)[0])
        # A row that is among the references is its own nearest neighbour.
        own = is_chosen[block]
        out[block] = np.where(own, squares.sum(axis=1), squares[:, :-1].sum(axis=1))
    return out / n_neighbors


def _most(n_rows, X):
    """Return so many rows, or fewer if the rows of X are very long."""
    return min(n_rows, max(N_NEIGHBORS + 1, MOST_VALUES // X.shape[1]))


def evenly_spaced(n, most):
    """Return at most `most` of the numbers 0 to n - 1, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(int))
