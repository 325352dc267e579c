"""The steps of the fit of a detector: the rows that are fitted to, and those that judge."""

from typing import NamedTuple

import numpy as np
from sklearn.utils import _safe_indexing

from skae._applications.row_distances import (
    MOST_ROWS,
    RowDistances,
    evenly_spaced,
    isolation,
)
from skae._autoencoders.arguments import columns_to_fit
from skae._autoencoders.fitted_attributes import set_columns
from skae._autoencoders.held_out import fit_with_folds, reconstruction
from skae._tables.categories import columns_of
from skae._tables.checks import check_table
from skae._tables.dependence import check_groups
from skae._tables.fit_data import Given
from skae._tables.pca import principal_axes
from skae._tables.rows import is_streamed, rows_of
from skae._tables.scaling import scaled

__all__ = [
    "HeldOut",
    "default_components",
    "fit_to_support",
    "given_to_detector",
    "held_out_rows",
    "support_of",
]

SHARE = 0.9  # of the variance, that decides the number of components without an estimator


class HeldOut(NamedTuple):
    """Rows that were scored by a network that has not seen them.

    Attributes
    ----------
    rows : ndarray of int of shape (n,)
        Their numbers in the checked table.
    distances : ndarray of shape (n, 2)
        Their residuals and score distances.
    weights : ndarray of shape (n,)
        Numbers of rows that they stand for.
    references : ndarray of shape (n_references, n_features)
        References of the network that is kept, see `RowDistances`.
    """

    rows: np.ndarray
    distances: np.ndarray
    weights: np.ndarray
    references: np.ndarray


def given_to_detector(detector, autoencoder, X, sample_weight, groups):
    """Check the arguments of `fit`, and return them as `Given`."""
    set_columns(autoencoder, columns_to_fit(autoencoder, X))
    table = check_table(
        autoencoder, X, reset=True, for_fit=True, ensure_min_samples=2, owner=detector
    )
    given = Given(table, columns=columns_of(autoencoder))
    if groups is not None:
        given.groups = check_groups(groups, table)
    if sample_weight is not None:
        given.weigh(sample_weight)
    given.sort()
    if given.numbers is None:
        given.numbers = np.arange(table.shape[0])
    return given


def support_of(given, support_fraction, standardize):
    """Return the numbers of the rows to fit to: those that are near to their neighbours."""
    n_samples = given.X.shape[0]
    n_kept = max(2, int(np.ceil(support_fraction * n_samples)))
    if n_kept >= n_samples or is_streamed(given.X):
        return np.arange(n_samples)
    X = scaled(given.X, *given.location_and_scale(standardize), np.float64)
    distances = isolation(np.nan_to_num(X, copy=False, nan=0.0))
    return np.flatnonzero(distances <= np.sort(distances)[n_kept - 1])


def default_components(given, support):
    """Return how many components PCA needs for a share of the standardized variance.

    Parameters
    ----------
    given : Given
    support : ndarray of int
        Numbers of the rows; some of them are enough.
    """
    rows = support[evenly_spaced(len(support), MOST_ROWS)]
    given = Given(rows_of(given.X, rows), columns=given.columns)
    standardized = scaled(given.X, *given.location_and_scale(True), np.float64)
    spread, _, total = principal_axes(np.nan_to_num(standardized, copy=False))
    sums = np.cumsum(np.square(spread))
    return min(int(np.searchsorted(sums, SHARE * total)) + 1, len(sums))


def fit_to_support(autoencoder, X, given, support):
    """Fit the autoencoder to some rows, as a frame if X is one; return a list of Fold."""
    is_whole = is_streamed(given.X)
    if hasattr(X, "columns") and given.columns is None:
        rows = _safe_indexing(X, given.numbers[support])
    else:
        rows = given.X if is_whole else given.X[support]
    return fit_with_folds(
        autoencoder,
        rows,
        sample_weight=None if given.weights is None else given.weights[support],
        groups=None if given.groups is None else given.groups[support],
        columns=given.columns,
    )


def held_out_rows(autoencoder, given, support, folds):
    """Score rows by networks that have not seen them.

    No network has seen the rows beside the support. In the support, all or only some of
    the rows are held out, and these stand for all.

    Parameters
    ----------
    autoencoder : autoencoder
        Fitted autoencoder.
    given : Given
    support : ndarray of int
        Numbers of the rows that it was fitted to.
    folds : list of Fold
        Their row numbers are positions in `support`.

    Returns
    -------
    HeldOut
    """
    X, scale, n_samples = given.X, autoencoder.scale_, given.X.shape[0]
    inside = X if len(support) == n_samples else rows_of(X, support)
    everywhere = np.arange(len(support))
    kept = RowDistances.among(reconstruction(autoencoder), inside, everywhere, scale)
    weights = np.ones(n_samples) if given.weights is None else given.weights
    if not folds:  # all rows are equal, or there are but two
        rows = np.arange(n_samples)
        return HeldOut(rows, kept.totals(X), weights, kept.references)
    outside = np.setdiff1d(np.arange(n_samples), support)
    held_out = np.concatenate([support[fold.held_out] for fold in folds])
    ratio = weights[support].sum() / weights[held_out].sum()
    distances = [kept.totals(X, outside)]
    for fold in folds:
        own = RowDistances.among(fold.reconstruct, inside, fold.trained, scale)
        distances.append(own.totals(inside, fold.held_out))
    return HeldOut(
        rows=np.concatenate([outside, held_out]),
        distances=np.concatenate(distances),
        weights=np.concatenate([weights[outside], ratio * weights[held_out]]),
        references=kept.references,
    )
