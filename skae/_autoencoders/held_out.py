"""Fits an autoencoder, and returns networks together with rows that they have not seen."""

import dataclasses
import functools
from collections.abc import Callable
from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.utils.validation import _check_sample_weight

from skae._autoencoders.fitted_attributes import inference_around
from skae._autoencoders.parameters import params_of_fit
from skae._engine.batches import RUN
from skae._engine.skorch_net import Interrupted
from skae._tables.categories import columns_of
from skae._tables.checks import check_table
from skae._tables.dependence import Dependence, check_groups, equal_rows
from skae._tables.rows import is_streamed, rows_of
from skae._torch import in_own_modes
from skae._training.members import N_FOLDS, SMALLEST, split
from skae._training.messages import interrupted

__all__ = [
    "Fold",
    "fit_to_fill",
    "fit_with_folds",
    "folds_of_clones",
    "reconstruction",
    "splits_of_rows",
]

# Parameters of clones, which are fitted to other rows than the user's values are for.
OF_CLONES = {
    "callbacks": None,
    "checkpoint": None,
    "cv": "auto",
    "verbose": 0,
    "warm_start": False,
}


@dataclasses.dataclass(frozen=True)
class Fold:
    """A network, the rows that it was trained on, and others that it has not seen.

    Attributes
    ----------
    reconstruct : callable (X) -> X_hat
        Reconstructs rows (n, p), which must have been checked, in the units of X.
    trained, held_out : ndarray of int
        Row numbers in the X that was passed to `fit_with_folds`.
    """

    reconstruct: Callable
    trained: np.ndarray
    held_out: np.ndarray


def reconstruction(estimator, inference=None):
    """Return a function that reconstructs rows (n, p) which `check_table` has returned.

    Parameters
    ----------
    estimator : autoencoder
        Fitted autoencoder.
    inference : Inference or None
        Its network, or another one with as many components.

    Returns
    -------
    callable (X) -> X_hat
    """
    inference = estimator._inference if inference is None else inference
    return functools.partial(inference.reconstruct, n_components=estimator.n_components_)


@in_own_modes()
def fit_with_folds(
    estimator, X, y=None, sample_weight=None, *, groups=None, splits=None, columns=None
):
    """Fit an autoencoder, and return networks with rows that they have not seen.

    A fit that holds rows out to choose its epoch has such networks at hand, and nothing
    more is trained. Up to 1000 rows these are the networks of the five folds, in the epoch
    that is kept, so that every row is held out from one of them. Above, it is the network
    itself, and the rows that were held out from it. If the fit has held out fewer than 20
    rows, as with `early_stopping=False`, clones of the estimator are fitted to a part of
    the rows.

    Parameters
    ----------
    estimator : autoencoder
        Autoencoder that is fitted. Parameters are checked as in its method `fit`.
    X, y, sample_weight, groups
        Arguments of `fit`.
    splits : list of (train, held_out) or None
        Arrays of row numbers that take the place of the parameter `cv`. Rows are held out
        in the order of the list. With `cv="auto"`, fewer than 20 rows do not choose the
        epoch.
    columns : Columns or None
        Columns of categories, if X is one-hot already.

    Returns
    -------
    list of Fold
        It is empty if all rows are equal, or if there are only two.
    """
    used = splits
    if splits is not None and isinstance(estimator.cv, str):
        used = splits if _n_held_out(splits) >= SMALLEST else []
    how = {"splits": used, "keeps_folds": True, "columns": columns}
    result, numbers = _fit(estimator, X, y, sample_weight, groups, **how)
    numbers = np.arange(result.n_samples) if numbers is None else numbers
    folds = result.folds()
    if _n_held_out([fold[1:] for fold in folds]) < SMALLEST:
        if columns is None:
            X = check_table(estimator, X, for_fit=True, reset=False)
        return folds_of_clones(estimator, X, sample_weight, groups, splits=splits)
    return [
        Fold(
            reconstruction(estimator, inference_around(estimator, network)),
            numbers[trained],
            numbers[held_out],
        )
        for network, trained, held_out in folds
    ]


@in_own_modes()
def fit_to_fill(
    estimator, X, sample_weight=None, groups=None, columns=None, filler_choice=None
):
    """Fit an autoencoder whose only purpose is to fill missing cells.

    X is one-hot already if there are `columns` of categories. A `FillerChoice` saves time,
    or notes the choice that this fit makes.

    Its epoch is chosen by hidden cells of held-out rows alone. The curve of held-out errors
    and the score of PCA count these alone as well, and divide by all cells that are
    observed. Cells are hidden even if none is missing.
    """
    how = {"fills_cells": True, "columns": columns, "filler_choice": filler_choice}
    _fit(estimator, X, None, sample_weight, groups, **how)


def _fit(estimator, X, y, sample_weight, groups, **how):
    """Fit an autoencoder as its method `fit` does, and return what `_fit` returns."""
    estimator._validate_params()
    try:
        return estimator._fit(X, y, sample_weight, groups, **how)
    except Interrupted as error:
        raise KeyboardInterrupt(interrupted(estimator, "fit", error.is_kept)) from None


def _n_held_out(splits):
    return sum(len(held_out) for _, held_out in splits)


def folds_of_clones(estimator, X, sample_weight, groups, *, splits=None, **others):
    """Fit clones of a fitted estimator to parts of the rows; return a list of Fold.

    X is a table which `check_table` has returned. The parts are `splits`, or five folds or
    one split of the rows. `others` are arguments of `fitting.fit`.

    Unlike the networks of `fit_with_folds`, which take missing cells as they were filled by
    a linear model of all rows, clones have seen nothing of the held-out rows.
    """
    columns = columns_of(estimator)
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
    groups = None if groups is None else check_groups(groups, X)
    folds = []
    if splits is None:
        splits = _splits(X, np.flatnonzero(weights), groups, estimator._seed)
    for train, held_out in splits:
        smaller = clone(estimator).set_params(
            n_components=min(estimator.n_components_, len(train)), **OF_CLONES
        )
        part = X[train] if sparse.issparse(X) else rows_of(X, train)
        how = weights[train], None if groups is None else groups[train]
        _fit(smaller, part, None, *how, columns=columns, **others)
        folds.append(Fold(reconstruction(smaller), train, held_out))
    return folds


def _splits(X, used, groups, seed):
    """Return pairs (train, held_out) of numbers of the rows `used`, for clones."""
    rows = used if len(used) < X.shape[0] else slice(None)
    copies = equal_rows(X)[rows]
    dependence = Dependence(np.unique(copies, return_inverse=True)[1])
    if groups is not None:
        dependence.groups = np.unique(groups[rows], return_inverse=True)[1]
    return [tuple(map(used.take, pair)) for pair in _own_splits(dependence, seed=seed)]


def splits_of_rows(estimator, given, seed):
    """Return pairs (train, held_out) of row numbers, as a fit of the rows would make them.

    If it would hold out no rows, or too few to choose an epoch, there are five folds, or
    one split of a large table. The list is empty if all rows are equal.

    Parameters
    ----------
    estimator : autoencoder
        An autoencoder that is going to be fitted.
    given : Given
        What `given_to_fit` has returned.
    seed : int
    """
    estimator._params_of_fit = params_of_fit(estimator)  # they decide the network's kind
    params = {"run": RUN if is_streamed(given.X) else 1}
    if estimator.early_stopping:
        has_rule = estimator.cv is None or isinstance(estimator.cv, Integral)
        params |= {
            "cv": estimator.cv if has_rule else "auto",
            "validation_fraction": estimator.validation_fraction,
            "can_cross_fit": estimator._network_kind.is_stackable,
        }
    return _own_splits(given.dependence(), seed=seed, **params)


def _own_splits(dependence, cv="auto", **params):
    """Return the pairs of `split` that hold rows out and train on at least two.

    A table that is too small to choose an epoch by has five folds nevertheless.
    """
    n_labels = int(dependence.labels.max()) + 1
    if n_labels == 1:
        return []
    if isinstance(cv, str) and n_labels < SMALLEST:
        cv = min(N_FOLDS, n_labels)
    pairs = split(dependence, cv=cv, **params)
    return [
        (train, held_out) for train, held_out in pairs if len(held_out) and len(train) > 1
    ]
