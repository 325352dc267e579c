"""Which rows each network trains on, which are held out, and where it starts."""

import dataclasses

import numpy as np
from sklearn.model_selection import KFold, ShuffleSplit

from skae._engine.batches import RUN
from skae._tables.dependence import Dependence
from skae._tables.rows import FEW_ROWS
from skae._tables.table import Table
from skae._training.linear_start import Start, make_start

__all__ = ["Members", "make_members", "split"]

N_FOLDS = 5
SMALLEST = 20  # different rows; with fewer, four held-out rows would choose the epoch
MOST_CROSS_FITTED = 20 * FEW_ROWS  # rows, of few groups, that six networks train on
MOST_HELD_OUT = 10_000  # rows


@dataclasses.dataclass(frozen=True)
class Members:
    """The networks of one fit, which are trained side by side; the last one is kept.

    Attributes
    ----------
    table : Table
    trained, held_out : list of m arrays of int
        Row numbers. Where no rows are held out the arrays are empty.
    starts : list of m Start
        PCA of the rows of each member; of all rows for the last.
    dependence : Dependence
    """

    table: Table
    trained: list
    held_out: list
    starts: list[Start]
    dependence: Dependence

    def __len__(self):
        return len(self.trained)

    @property
    def has_held_out_rows(self):
        return any(map(len, self.held_out))

    @property
    def n_own(self):
        """Rows that the user gave to train on."""
        return len(self.table.X) - self.table.n_held_out

    @property
    def n_different(self):
        """Different rows that the member with the fewest trains on."""
        copies = self.dependence.copies
        return min(len(np.unique(copies[rows])) for rows in self.trained)

    @property
    def judged(self):
        """Numbers of the rows whose errors count, one member's after another.

        They are the held-out rows or, where there are none, those that are trained on.
        """
        return np.concatenate(self.held_out if self.has_held_out_rows else self.trained)

    @property
    def judged_weights(self):
        """Weights (n_judged,) of these rows, or None."""
        weights = self.table.weights
        return None if weights is None else weights[self.judged]

    def weights(self, index):
        """Weights (n,), or (m, n) of several members, whose mean over each's rows is one.

        Parameters
        ----------
        index : list of m arrays of int
        """
        weights = self.table.weights
        if weights is None:
            return None
        means = [weights[rows].mean() if len(rows) else 1.0 for rows in index]
        return weights / means[0] if len(means) == 1 else weights / np.c_[means]


def make_members(table, loss, settings, seed):
    """Split a table among networks, and find the PCA that each starts from.

    Where one network trains and some rows are held out, its PCA has seen these, so that
    the network has to beat it by more than it would otherwise; in return the outcome,
    when it does not, is PCA of all rows.

    Parameters
    ----------
    table : Table
    loss : Loss
    settings : Settings
    seed : int

    Returns
    -------
    Members
    """
    dependence = table.dependence or Dependence.none(len(table.X))
    pairs = _pairs_of_rows(table, dependence, settings, seed)
    own = table if not table.n_held_out else table.first(len(table.X) - table.n_held_out)
    n_samples, n_features = own.X.shape
    is_wide = len(pairs) > 1 or n_features > n_samples
    fitted_to = [rows for rows, _ in pairs[:-1]] + [None]
    starts = [
        make_start(
            own,
            rows,
            min(settings.n_components, n_samples, n_features),
            loss,
            rotate=is_wide and _can_rotate(table, loss, settings),
            n_axes=min(own.X.shape),
        )
        for rows in fitted_to
    ]
    trained, held_out = (list(rows) for rows in zip(*pairs, strict=True))
    return Members(table, trained, held_out, starts, dependence)


def _pairs_of_rows(table, dependence, settings, seed):
    everyone = np.arange(len(table.X))
    if table.n_held_out or not settings.early_stopping:
        n_own = len(everyone) - table.n_held_out
        return [(everyone[:n_own], everyone[n_own:])]
    return split(
        dependence,
        cv=settings.cv,
        validation_fraction=settings.validation_fraction,
        seed=seed,
        can_cross_fit=settings.is_stackable,
        run=RUN if table.is_streamed else 1,
    )


def _can_rotate(table, loss, settings):
    """Whether the network may work in the coordinates of the principal axes.

    Noises and missing cells are of the features as they are.
    """
    is_plain = table.observed is None and table.inputs is None and not table.is_streamed
    has_noise = settings.noise_and_units is not None
    return settings.from_pca and loss.rotation_invariant and is_plain and not has_noise


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
