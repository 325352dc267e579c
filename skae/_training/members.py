"""The networks of a fit: the rows of each, the rows held out, and its start."""

import dataclasses

import numpy as np
from sklearn.model_selection import KFold, ShuffleSplit

from skae._engine.batches import RUN, Part
from skae._tables.dependence import Dependence
from skae._tables.rows import FEW_ROWS
from skae._tables.table import Table
from skae._training.linear_start import Start, make_start

__all__ = ["Members", "make_members", "split"]

N_FOLDS = 5
SMALLEST = 20  # fewest different rows: with less, four held-out rows would choose the epoch
MOST_CROSS_FITTED = 20 * FEW_ROWS  # most rows, in few groups, for which there are folds
MOST_HELD_OUT = 10_000  # most rows that are held out


@dataclasses.dataclass(frozen=True)
class Members:
    """The networks of one fit, which are trained together. The last one is kept.

    Attributes
    ----------
    table : Table
    trained, held_out : list of m arrays of int
        Numbers of the rows that each member is trained on, and of those held out from it.
        If no rows are held out the arrays are empty.
    starts : list of m Start
        PCA of the rows of each member, and of all rows for the last one.
    dependence : Dependence
    inside : (coordinates, lost) or None
        What `coordinates` of the last start returns for the rows of the table, if it is
        known already.
    """

    table: Table
    trained: list
    held_out: list
    starts: list[Start]
    dependence: Dependence
    inside: tuple | None = None

    def __len__(self):
        return len(self.trained)

    def without_folds(self):
        """Return the members without what only makes the rows and the networks of folds."""
        return dataclasses.replace(self, starts=self.starts[-1:], inside=None)

    @property
    def has_held_out_rows(self):
        return any(map(len, self.held_out))

    @property
    def n_trained(self):
        """Number of rows that the last member is trained on, in all processes."""
        whole = self.table.whole
        if whole is None:
            return len(self.trained[-1])
        if whole.shared is not None:
            return whole.shared.n_trained
        return self.table.n_own - len(self.held_out[-1])

    @property
    def n_different(self):
        """Number of different training rows of the member that has the fewest."""
        if self.shared is not None:
            return self.n_trained
        copies = self.dependence.copies
        return min(len(np.unique(copies[rows])) for rows in self.trained)

    @property
    def shared(self):
        """What the processes of the fit have told each other, or None for one process."""
        return None if self.table.whole is None else self.table.whole.shared

    @property
    def part(self):
        """The `Part` of the training rows of this process, or None."""
        shared = self.shared
        if shared is None or shared.n_before is None:
            return None
        return Part(shared.n_before, shared.n_trained)

    @property
    def n_independent(self):
        """Number of rows, or groups of rows, that do not depend on each other."""
        if self.shared is not None:
            return self.shared.n_different
        return int(self.dependence.labels.max()) + 1

    @property
    def judged(self):
        """Numbers of the rows by which members are judged, one member after another.

        They are the held-out rows or, if there are none, the training rows.
        """
        return np.concatenate(self.held_out if self.has_held_out_rows else self.trained)

    @property
    def judged_weights(self):
        """Weights (n_judged,) of the rows `judged`, or None."""
        weights = self.table.weights
        return None if weights is None else weights[self.judged]

    @property
    def judged_exposures(self):
        """Exposures (n_judged,) of the rows `judged`, or None."""
        exposures = self.table.exposures
        return None if exposures is None else exposures[self.judged]

    def weights(self, index):
        """Return weights (n,), or (m, n) for several members.

        Parameters
        ----------
        index : list of m arrays of int
            Numbers of the rows of each member, over which its weights have a mean of one.
        """
        weights = self.table.weights
        if weights is None:
            return None
        means = [weights[rows].mean() if len(rows) else 1.0 for rows in index]
        if self.shared is not None:
            means = [self.shared.mean_weight]
        return weights / means[0] if len(means) == 1 else weights / np.c_[means]


def make_members(table, loss, settings, seed):
    """Divide a table among networks, and compute the PCA that each starts from.

    If one network is trained and some rows are held out, these are used for its PCA, so
    that the network has to be ahead of PCA by more than otherwise. In return the outcome,
    if it is not, is PCA of all rows.

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
    own = table
    if table.n_held_out and table.whole is None:
        own = table.first(len(table.X) - table.n_held_out)
    n_samples, n_features = own.X.shape
    is_wide = len(pairs) > 1 or n_features > n_samples
    if table.whole is not None:
        n_samples, is_wide = table.whole.n_samples, False
    how = {
        "n_components": min(settings.n_components, n_samples, n_features),
        "loss": loss,
        "rotate": is_wide and _can_rotate(table, loss, settings),
        "n_axes": min(own.X.shape),
    }
    starts, inside = [make_start(own, None, **how)], None
    if len(pairs) > 1:
        if how["rotate"] and n_features > n_samples:
            inside = starts[0].coordinates(own.X)
        starts = [*_fold_starts(own, pairs[:-1], starts[0], how, inside), *starts]
    trained, held_out = (list(rows) for rows in zip(*pairs, strict=True))
    return Members(table, trained, held_out, starts, dependence, inside)


def _fold_starts(table, pairs, whole, how, inside):
    """Return the Starts of the folds, for pairs (train, held_out) of row numbers.

    In a table with more columns than rows they are computed in the coordinates of
    `whole`, the Start of all rows, which hold everything that is in the table. Each fold
    would need as much memory as the table for axes of its own.
    """
    outer = whole if how["rotate"] and table.X.shape[1] > len(table.X) else None
    if outer is not None:
        X, _ = inside
        table = Table(X, X, weights=table.weights)
    starts = [make_start(table, rows, **how) for rows, _ in pairs]
    return [dataclasses.replace(start, outer=outer) for start in starts]


def _pairs_of_rows(table, dependence, settings, seed):
    """Return pairs (train, held_out) of row numbers, one pair for each member."""
    all_rows = np.arange(len(table.X))
    if table.n_held_out or not settings.early_stopping:
        n_own = len(all_rows) - table.n_held_out
        return [(all_rows[:n_own], all_rows[n_own:])]
    return split(
        dependence,
        cv=settings.cv,
        validation_fraction=settings.validation_fraction,
        seed=seed,
        can_cross_fit=settings.is_stackable and table.whole is None,
        run=RUN if table.is_streamed and table.whole is None else 1,
    )


def _can_rotate(table, loss, settings):
    """Whether the network may take rows in the coordinates of the principal axes.

    It may not with noise, marks of missing cells, or ends at which features are held,
    because these refer to the features, as some networks do themselves.
    """
    has_marks = table.observed is not None and table.has_marks
    is_plain = not has_marks and table.inputs is None and not table.is_streamed
    is_plain = is_plain and table.ends is None
    has_noise = settings.noise_and_units is not None
    can_rotate = settings.from_pca and settings.in_any_basis and loss.rotation_invariant
    return can_rotate and is_plain and not has_noise


def split(
    dependence, *, cv="auto", validation_fraction=0.1, seed=0, can_cross_fit=True, run=1
):
    """Decide which rows are trained on and which are held out.

    With up to 1000 different rows or groups, one tenth of them would choose the epoch at
    random. Therefore five folds are trained, each with a fifth of the rows held out, and a
    last member is trained on all rows, for the number of epochs that was best for the
    folds. With more rows, one member is trained and `validation_fraction` of the rows, but
    at most 10 000, is held out.

    Parameters
    ----------
    dependence : Dependence
        Which rows depend on each other; its `folds`, if there are any, are used as they
        are.
    cv : "auto", int, or None for 5
        Number of folds for tables of any size.
    validation_fraction : float
    seed : int
    can_cross_fit : bool
        Whether several networks are trained with "auto", and with a single split.
    run : int
        Number of neighbouring rows that are held out together if there are no groups.

    Returns
    -------
    list of (train, held_out)
        Two arrays of row numbers for each member. The last member is the one that is kept.
        No row is held out, and the arrays are empty, if there are fewer than 20 different
        rows, or if each row that could be held out equals a training row.
    """
    pairs = dependence.folds
    if pairs is None:
        n_folds = _number_of_folds(dependence, cv, can_cross_fit)
        pairs = _pairs(_labels(dependence, run), n_folds, validation_fraction, seed)
    pairs = [
        (train, _without_copies(train, held_out, dependence.copies))
        for train, held_out in pairs
    ]
    pairs = [(train, held_out) for train, held_out in pairs if len(held_out)]
    if len(pairs) == 1 and (isinstance(cv, str) or not can_cross_fit):
        return pairs
    all_rows, no_rows = np.arange(len(dependence.copies)), np.arange(0)
    return [*pairs, (all_rows, no_rows)]


def _labels(dependence, run):
    """Return labels (n_samples,), equal for rows that must be held out together."""
    labels = dependence.labels
    has_own_groups = dependence.groups is not None
    if run == 1 or has_own_groups or labels.max() + 1 < len(labels):
        return labels
    return np.arange(len(labels)) // run


def _number_of_folds(dependence, cv, can_cross_fit):
    """Return the number of folds. 1 is a single split, and 0 is none."""
    if not isinstance(cv, str):
        return N_FOLDS if cv is None else cv
    n_samples, n_labels = len(dependence.labels), int(dependence.labels.max()) + 1
    if n_labels < (SMALLEST if dependence.groups is None else 2):
        return 0
    is_small = n_labels <= FEW_ROWS and n_samples <= MOST_CROSS_FITTED
    return min(N_FOLDS, n_labels) if is_small and can_cross_fit else 1


def _pairs(labels, n_folds, validation_fraction, seed):
    """Return pairs (train, held_out) of row numbers, one pair for each fold."""
    n_samples, n_labels = len(labels), int(labels.max()) + 1
    if n_folds == 0:
        return []
    if n_folds > 1:
        splitter = KFold(n_folds, shuffle=True, random_state=seed)
    else:
        n_rows = min(int(np.ceil(validation_fraction * n_samples)), MOST_HELD_OUT)
        n_held_out = min(max(1, n_rows * n_labels // n_samples), n_labels - 1)
        splitter = ShuffleSplit(1, test_size=n_held_out, random_state=seed)
    pairs = []
    for _, chosen in splitter.split(np.arange(n_labels)):
        is_held_out = np.isin(labels, chosen)
        pairs.append((np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)))
    return pairs


def _without_copies(train, held_out, copies):
    """Return the held-out rows without those that equal a training row.

    The error of such a row says nothing about new rows.
    """
    return held_out[~np.isin(copies[held_out], copies[train])]
