"""The steps of the fit of a detector: the rows that are fitted to, and those that judge."""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.utils import _safe_indexing

from skae._applications.row_distances import (
    MOST_ROWS,
    RowDistances,
    evenly_spaced,
    isolation,
)
from skae._autoencoders.held_out import fit_with_folds, reconstruction
from skae._tables.blocks import is_dask
from skae._tables.fit_data import Given
from skae._tables.pca import principal_axes
from skae._tables.rows import Scaled, Selected, is_streamed, rows_of
from skae._tables.scaling import scaled

__all__ = ["HeldOut", "default_components", "fit_and_hold_out", "support_of"]

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


def support_of(given, support_fraction, standardize):
    """Return the numbers of the rows to fit to: those that are near to their neighbours."""
    n_samples = given.X.shape[0]
    n_kept = max(2, int(np.ceil(support_fraction * n_samples)))
    if n_kept >= n_samples:
        return np.arange(n_samples)
    distances = isolation(Scaled(given.X, *given.location_and_scale(standardize)))
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


def fit_and_hold_out(autoencoder, X, given, support, splits):
    """Fit the autoencoder to the support, and score rows that were held out.

    Parameters
    ----------
    autoencoder : autoencoder
        Autoencoder that is fitted.
    X : table
        What the user passed to `fit`. If it is a frame the autoencoder gets one.
    given : Given
        The same, checked.
    support : ndarray of int
        Numbers of the rows to fit to.
    splits : list of (train, held_out)
        Splits of all rows. Rows beside the support are held out with the others, and are
        among the neighbours of those that they are not held out with.

    Returns
    -------
    HeldOut
    """
    splits, inner = _within(splits, support, given.X.shape[0])
    folds = fit_with_folds(
        autoencoder,
        _support_rows(X, given, support),
        sample_weight=None if given.weights is None else given.weights[support],
        groups=None if given.groups is None else given.groups[support],
        splits=inner,
        columns=given.columns,
    )
    networks = [
        (fold.reconstruct, *split) for fold, split in zip(folds, splits, strict=True)
    ]
    return _held_out(autoencoder, given, networks)


def _within(splits, support, n_samples):
    """Return the splits that have rows of the support on both sides, and their positions.

    Returns
    -------
    kept : list of (train, held_out)
    inner : list of (train, held_out)
        The rows of the support alone, as positions in `support`.
    """
    position = np.full(n_samples, -1)
    position[support] = np.arange(len(support))
    kept, inner = [], []
    for pair in splits:
        train, held_out = (position[side][position[side] >= 0] for side in pair)
        if len(train) > 1 and len(held_out):
            kept.append(pair)
            inner.append((train, held_out))
    return kept, inner


def _support_rows(X, given, support):
    """Return the rows to fit to, as a frame if X is one."""
    if hasattr(X, "columns") and given.columns is None:
        X = X.compute() if is_dask(X) else X  # a large one has been refused
        return _safe_indexing(X, given.numbers[support])
    if len(support) == given.X.shape[0]:
        return given.X
    is_in_parts = is_streamed(given.X) and not sparse.issparse(given.X)
    return Selected(given.X, support) if is_in_parts else given.X[support]


def _held_out(autoencoder, given, networks):
    """Score rows by networks that have not seen them, and return HeldOut.

    Parameters
    ----------
    networks : list of (reconstruct, train, held_out)
        Each network, the rows that are references, and the rows that are scored.
    """
    X, scale, n_samples = given.X, autoencoder.scale_, given.X.shape[0]
    everywhere = np.arange(n_samples)
    kept = RowDistances.among(reconstruction(autoencoder), X, everywhere, scale)
    weights = np.ones(n_samples) if given.weights is None else given.weights
    if not networks:  # all rows are equal, or there are but two
        return HeldOut(everywhere, kept.totals(X), weights, kept.references)
    distances = []
    for reconstruct, train, held_out in networks:
        own = RowDistances.among(reconstruct, X, train, scale).in_proportion_to(kept)
        distances.append(own.totals(X, held_out))
    rows = np.concatenate([held_out for _, _, held_out in networks])
    return HeldOut(
        rows=rows,
        distances=np.concatenate(distances),
        weights=weights[rows] * (weights.sum() / weights[rows].sum()),
        references=kept.references,
    )
