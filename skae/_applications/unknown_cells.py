"""How far missing cells are from what they are filled with, and draws of these errors."""

import dataclasses

import numpy as np
import torch
from scipy.special import ndtr

from skae._tables.categories import Columns
from skae._tables.missing import Filler, factor_precisions, pairs

__all__ = ["N_LEVELS", "UnknownCells", "errors_of_fills"]

N_LEVELS = 200  # number of quantiles that stand for the errors of a column
FEWEST = 30  # errors of a column; with fewer, those of all columns are taken
# Share of the cells that are hidden at a time. It is small, so that about as much of a row
# is known as when its missing cells are filled.
RATE = 0.1
MOST_ERRORS = 20_000  # cells are hidden in several rounds, until there are about so many
MOST_ROUNDS = 10
BLOCK = 2**22  # number of values that are processed at a time
LEVELS = (np.arange(N_LEVELS) + 0.5) / N_LEVELS


@dataclasses.dataclass(frozen=True)
class UnknownCells:
    """Draws errors of filled cells.

    What a cell could be depends on which other cells of its row are known. By the linear
    Gaussian model that fills cells before the network does, the missing cells of a row,
    given the others, have a joint normal distribution. From it come normal numbers, which
    are correlated within a row, and the width of the error of each cell. How wide the
    errors of the network are in comparison, and what shape their distribution has, is
    known from cells that were hidden in rows that it has not seen: the normal numbers are
    turned into quantiles of those errors.

    Attributes
    ----------
    filler : Filler
        The linear Gaussian model, of scaled rows.
    scale : float or ndarray of shape (n_features,)
        What the features are divided by.
    quantiles : ndarray of shape (n_levels, n_features)
        Quantiles of errors, as multiples of the width of each.
    columns : Columns or None
        Columns of categories; their one-hot columns get no errors.
    """

    filler: Filler
    scale: np.ndarray | float
    quantiles: np.ndarray
    columns: Columns | None = None

    def draw(self, is_missing, random_state):
        """Return errors (n, p), in the units of X, which are 0 in cells that are known.

        Parameters
        ----------
        is_missing : ndarray of bool of shape (n, p)
        random_state : RandomState
        """
        errors = np.zeros(is_missing.shape)
        rows = np.flatnonzero(is_missing.any(axis=1))
        for some in _blocks(rows, self.filler):
            missing = is_missing[some]
            normal, widths = _normal_and_widths(self.filler, ~missing, random_state)
            levels = ndtr(normal)
            for j in np.flatnonzero(missing.any(axis=0) & self._of_numbers):
                drawn = np.interp(levels[:, j], LEVELS, self.quantiles[:, j])
                errors[some, j] = np.where(missing[:, j], drawn * widths[:, j], 0.0)
        return errors * self.scale

    @property
    def _of_numbers(self):
        if self.columns is None:
            return True
        return ~self.columns.is_categorical[self.columns.feature_of]


def errors_of_fills(filler, scale, folds, X, random_state, columns=None):
    """Hide cells of rows that a network has not seen, and return its errors' quantiles.

    Parameters
    ----------
    filler : Filler
    scale : float or ndarray of shape (n_features,)
    folds : list of Fold
    X : ndarray of shape (n_samples, n_features)
        Rows of the fit, with NaN in missing cells.
    random_state : RandomState
    columns : Columns or None
        Columns of categories. Their one-hot columns are hidden together.

    Returns
    -------
    quantiles : ndarray of shape (n_levels, n_features)
        See `UnknownCells`.
    """
    n_known = sum(int((~np.isnan(X[fold.held_out])).sum()) for fold in folds)
    n_rounds = int(np.clip(MOST_ERRORS // max(RATE * n_known, 1), 1, MOST_ROUNDS))
    found = []

    def drawn(n):
        if columns is None:
            return random_state.uniform(size=(n, X.shape[1]))
        return random_state.uniform(size=(n, columns.n_features))[:, columns.feature_of]

    for fold in folds:
        for some in _blocks(np.tile(fold.held_out, n_rounds), filler):
            rows = X[some]
            hidden = ~np.isnan(rows) & (drawn(len(rows)) < RATE)
            masked = np.where(hidden, np.nan, rows)
            errors = (rows - fold.reconstruct(masked)) / scale
            _, widths = _normal_and_widths(filler, ~np.isnan(masked))
            found.append(np.where(hidden, errors / widths, np.nan))
    found = np.concatenate(found)
    known = ~np.isnan(found)
    of_all = np.quantile(found[known], LEVELS) if known.any() else np.zeros(N_LEVELS)
    quantiles = np.tile(of_all[:, None], X.shape[1])
    for j in np.flatnonzero(known.sum(axis=0) >= FEWEST):
        quantiles[:, j] = np.quantile(found[known[:, j], j], LEVELS)
    return quantiles


def _blocks(rows, filler):
    """Return row numbers in parts, of so few rows that their matrices fit in memory."""
    p, q = filler.weight.shape
    n_rows = max(1, BLOCK // (q * max(p, q)))
    return [rows[i : i + n_rows] for i in range(0, len(rows), n_rows)]


def _normal_and_widths(filler, observed, random_state=None):
    """Return normal numbers of missing cells, and standard deviations of their errors.

    Parameters
    ----------
    filler : Filler
    observed : ndarray of bool of shape (n, p)
    random_state : RandomState or None
        None draws no numbers.

    Returns
    -------
    normal : ndarray of shape (n, p) or None
        Standard normal numbers, correlated as the missing cells of a row are.
    widths : ndarray of shape (n, p)
        Standard deviations, by the Filler.
    """
    weight, noise = filler.weight.double(), filler.noise
    observed, q = torch.from_numpy(observed), weight.shape[1]
    precisions = factor_precisions(observed, pairs(weight), q, noise)
    root = torch.linalg.cholesky(precisions)
    loadings = weight.mT.expand(len(root), -1, -1)
    spread = torch.linalg.solve_triangular(root, loadings, upper=False)
    widths = (noise * (1 + torch.square(spread).sum(dim=1))).sqrt().numpy()
    if random_state is None:
        return None, widths
    n, p = observed.shape
    of_factors = torch.from_numpy(random_state.standard_normal((n, 1, weight.shape[1])))
    drawn = (of_factors @ spread)[:, 0].numpy() + random_state.standard_normal((n, p))
    return np.sqrt(noise) * drawn / widths, widths
