"""Which rows are trained on, and which are held out."""

import numpy as np
from sklearn.model_selection import KFold, ShuffleSplit

from skae._tables.rows import FEW_ROWS

__all__ = ["split"]

N_FOLDS = 5
SMALLEST = 20  # different rows; with fewer, four held-out rows would choose the epoch
MOST_CROSS_FITTED = 20 * FEW_ROWS  # rows, of few groups, that six networks train on
MOST_HELD_OUT = 10_000  # rows


def split(
    dependence, *, cv="auto", validation_fraction=0.1, seed=0, can_cross_fit=True, run=1
):
    """Decide which rows train and which are held out.

    Up to 1000 different rows or groups, one tenth of them would choose the epoch by
    luck: five folds are trained on instead, each with a fifth held out, and a last
    member trains on every row for the number of epochs that served the folds best.
    Above, one member trains and `validation_fraction` of the rows, 10 000 at most, is
    held out.

    Parameters
    ----------
    dependence : Dependence
    cv : "auto", int, or None for 5
        Number of folds, for tables of every size. A user's `folds` come first.
    validation_fraction : float
    seed : int
    can_cross_fit : bool
        Whether several networks can be trained side by side.
    run : int
        So many neighbouring rows are held out together where no groups are known.

    Returns
    -------
    list of (train, held_out)
        One pair of integer arrays for each member; the last member is the one that is
        kept. No row is held out at all (empty arrays) below 20 different rows, and where
        each row that could be has an equal one that is trained on.
    """
    everyone, nobody = np.arange(len(dependence.copies)), np.arange(0)
    pairs = dependence.folds
    if pairs is None:
        n_folds = _number_of_folds(dependence, cv, can_cross_fit)
        pairs = _pairs(_units(dependence, run), n_folds, validation_fraction, seed)
    pairs = [_without_copies(*pair, dependence.copies) for pair in pairs]
    pairs = [(train, held_out) for train, held_out in pairs if len(held_out)]
    is_cross_fitted = not isinstance(cv, str) or len(pairs) > 1
    if pairs and not (is_cross_fitted and can_cross_fit):
        return pairs
    return [*pairs, (everyone, nobody)]


def _units(dependence, run):
    units = dependence.units
    has_own_groups = dependence.groups is not None
    if run == 1 or has_own_groups or units.max() + 1 < len(units):
        return units
    return np.arange(len(units)) // run


def _number_of_folds(dependence, cv, can_cross_fit):
    """How many folds are trained on; 1 is a single split, and 0 none."""
    if not isinstance(cv, str):
        return N_FOLDS if cv is None else cv
    n_samples, n_units = len(dependence.units), int(dependence.units.max()) + 1
    if n_units < (SMALLEST if dependence.groups is None else 2):
        return 0
    is_small = n_units <= FEW_ROWS and n_samples <= MOST_CROSS_FITTED
    return min(N_FOLDS, n_units) if is_small and can_cross_fit else 1


def _pairs(units, n_folds, validation_fraction, seed):
    n_samples, n_units = len(units), int(units.max()) + 1
    if n_folds == 0:
        return []
    if n_folds > 1:
        splitter = KFold(n_folds, shuffle=True, random_state=seed)
    else:
        n_rows = min(int(np.ceil(validation_fraction * n_samples)), MOST_HELD_OUT)
        n_held_out = min(max(1, n_rows * n_units // n_samples), n_units - 1)
        splitter = ShuffleSplit(1, test_size=n_held_out, random_state=seed)
    pairs = []
    for _, chosen in splitter.split(np.arange(n_units)):
        is_held_out = np.isin(units, chosen)
        pairs.append((np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)))
    return pairs


def _without_copies(train, held_out, copies):
    """A held-out row of which training has a copy says nothing about rows to come."""
    return train, held_out[~np.isin(copies[held_out], copies[train])]
