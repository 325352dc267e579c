"""The table that a fit learns from."""

import dataclasses

import numpy as np
import torch

from skae._tables.dependence import Dependence
from skae._tables.rows import SMALL, Scaled, is_streamed, row_blocks
from skae._tables.scaling import scaled

__all__ = ["Shared", "Table", "distance_of_sampled", "ends_of_target", "make_table"]

# A sample of a streamed table has about so many values, but at least so many rows.
SAMPLED, FEWEST_SAMPLED = 2**24, 4096


@dataclasses.dataclass(frozen=True)
class Whole:
    """What is known of all rows of a fit without reading them.

    Attributes
    ----------
    n_samples : int
        Number of all rows, also of those that are held out.
    principal : (deviations, axes, total)
        What `principal_axes` returns for all rows.
    sample : ndarray of shape (n, n_features) or None
        Evenly spaced rows, centred and scaled. None if the table has them itself.
    sample_target : ndarray of shape (n, n_features) or None
        These rows in the units in which the loss is measured.
    shared : Shared or None
        What the processes of a fit have told each other, if there are several.
    """

    n_samples: int
    principal: tuple
    sample: np.ndarray | None = None
    sample_target: np.ndarray | None = None
    shared: "Shared | None" = None


@dataclasses.dataclass(frozen=True)
class Shared:
    """What is known of the rows of all processes, the same in each of them.

    Attributes
    ----------
    n_held_out : int
        Number of rows, at the end of the table of each process, that are held out.
    n_trained : int
        Number of rows of all processes that are trained on.
    n_different : int
        Number of different rows, or groups of rows, of all processes.
    n_before : int or None
        Number of rows that processes before this one train on. None if each process puts
        its own rows into batches, and not all together.
    mean_weight : float
        Mean of the weights of the rows that are trained on.
    sample_weights : ndarray of shape (n,) or None
        Weights of the rows `sample` of `Whole`.
    """

    n_held_out: int
    n_trained: int
    n_different: int
    n_before: int | None = None
    mean_weight: float = 1.0
    sample_weights: np.ndarray | None = None


@dataclasses.dataclass
class Table:
    """The table that a fit learns from.

    Attributes
    ----------
    X : ndarray or Scaled of shape (n_samples, n_features)
        The rows, centred and scaled.
    target : ndarray or Scaled of shape (n_samples, n_features)
        The rows in the units in which the loss is measured. It is the same object as X
        if these are centred and scaled. In one more column there may be exposures.
    inputs : ndarray of shape (n_samples, n_features) or None
        The rows that the encoder sees, centred and scaled. None stands for X.
    weights : ndarray of shape (n_samples,) or None
        Weights of the rows. Their mean is one.
    observed : ndarray of bool of shape (n_samples, n_features) or None
        True in cells that had a value; the others were filled. None stands for all True.
    has_marks : bool
        Whether networks are told which cells are missing, if some are.
    n_held_out : int
        So many rows at the end are held out, because the user passed them for that.
    dependence : Dependence or None
        Says which rows must not be on both sides of a split. None if the table is not
        split.
    ends : (low, high), ndarrays of shape (n_features,), or None
        Ends at which features are held, in the units of `target`, see `Loss.hold`.
    fills_cells : bool
        Whether held-out rows are judged by hidden cells alone, see `Given`.
    whole : Whole or None
        What is known of all rows, if they are in `Blocks` or also in other processes.
    exposures : ndarray of shape (n_samples,) or None
        Relative exposures of rows of counts.
    axes_dtype : dtype
        Type of the principal axes of a table with more columns than rows.
    """

    X: np.ndarray | Scaled
    target: np.ndarray | Scaled
    inputs: np.ndarray | None = None
    weights: np.ndarray | None = None
    observed: np.ndarray | None = None
    has_marks: bool = True
    fills_cells: bool = False
    n_held_out: int = 0
    dependence: Dependence | None = None
    ends: tuple | None = None
    whole: Whole | None = None
    exposures: np.ndarray | None = None
    axes_dtype: np.dtype = np.float64

    @property
    def even_share(self):
        """Share of the rows that would tell as much as all do if exposures were equal.

        Rows of counts tell as much as their exposures, so that a few large rows may rule.
        This is the effective sample size of Kish (1965), "Survey sampling", over the number
        of rows, and 1 without exposures.
        """
        if self.exposures is None:
            return 1.0
        return float(self.exposures.mean() ** 2 / np.square(self.exposures).mean())

    @property
    def n_own(self):
        """Number of rows that the user passed for training, in all processes."""
        if self.whole is not None:
            return self.whole.n_samples
        return len(self.X) - self.n_held_out

    @property
    def is_streamed(self):
        return isinstance(self.X, Scaled)

    @property
    def is_wide(self):
        """Whether a large table, held in memory, has more columns than rows."""
        n_samples, n_features = self.X.shape
        is_large = n_samples * n_features > SMALL
        return is_large and n_features > n_samples and not self.is_streamed

    def observed_share(self, columns=slice(None)):
        """Return the share of the cells of some columns that are observed, by weight."""
        if self.observed is None:
            return 1.0
        of_rows = self.observed[:, columns].mean(axis=1)
        return float(np.average(of_rows, weights=self.weights))

    def sample(self, n):
        """Return arrays (inputs, X, weights) of the first n rows.

        Missing inputs are NaN if networks are told which they are, and else filled. Of a
        streamed table there are only some of these rows, evenly spaced.
        """
        if self.whole is not None and self.whole.sample is not None:
            return self.whole.sample, self.whole.sample, self.whole.shared.sample_weights
        own = self if n == len(self.X) else self.first(n)
        if self.is_streamed:
            own = self.first(slice(None, None, distance_of_sampled(n, self.X.shape[1])))
        inputs = own.X if own.inputs is None else own.inputs
        if own.observed is not None and own.has_marks:
            inputs = np.where(own.observed, inputs, np.nan)
        return inputs, own.X, own.weights

    def first(self, n):
        """Return the table of the first n rows, or of a slice of rows."""
        rows = n if isinstance(n, slice) else slice(n)
        X = self.X[rows]
        rest = (self.inputs, self.weights, self.observed)
        rest = (None if part is None else part[rows] for part in rest)
        target = X if self.target is self.X else self.target[rows]
        names = "has_marks", "fills_cells", "axes_dtype"
        how = {name: getattr(self, name) for name in names}
        return Table(X, target, *rest, **how)


def distance_of_sampled(n_samples, n_features, n_values=None):
    """Return how many rows apart the rows of a sample of a streamed table are.

    `n_values` is about the number of values that the sample has. None is `SAMPLED`.
    """
    n_values = SAMPLED if n_values is None else n_values
    return max(1, -(-n_samples // max(FEWEST_SAMPLED, n_values // n_features)))


def make_table(given, loss, mean, scale, filler=None, dependence=None, ends=None):
    """Centre and scale the arguments of `fit`, fill missing cells, and return a `Table`.

    Parameters
    ----------
    given : Given
    loss : Loss
        A loss that has its statistics, see `Loss.fitted`.
    mean : ndarray of shape (n_features,)
    scale : float or ndarray of shape (n_features,)
    filler : Filler or None
        Fills missing cells; it may be None if there are none.
    dependence : Dependence or None
        See `Table`.
    ends : (low, high), ndarrays of shape (n_features,), or None
        Ends at which features are held, in the units of X.

    Returns
    -------
    Table
    """
    ends = ends_of_target(ends, loss, mean, scale)
    n_held_out = 0 if given.shared is None else given.shared.n_held_out
    if is_streamed(given.X):
        exposed = given.exposed(given.X)
        before, after = (exposed.seen, exposed.followed) if exposed else (None, None)
        X = Scaled(given.X, mean, scale, before=before)
        target = X if loss.of_scaled else Scaled(given.X, bounds=loss.bounds, after=after)
        known = {"whole": _whole(given, loss, mean, scale), "weights": given.weights}
        known |= {"dependence": dependence, "ends": ends, "n_held_out": n_held_out}
        return Table(X, target, exposures=exposed and exposed.relative, **known)
    goal, weights = given.goal, given.weights
    if given.X_val is not None:  # X_target is then None
        goal, n_held_out = np.concatenate([goal, given.X_val]), len(given.X_val)
        if weights is not None:
            weights = np.concatenate([weights, np.ones(n_held_out)])
    # Small tables stay in float64 until their principal axes are known.
    dtype = np.float64 if goal.size <= SMALL else np.float32
    exposed = given.exposed(goal)
    seen = goal if exposed is None else exposed.seen(goal)
    # Sorted rows are a copy already, which is not needed any more.
    is_replaced = seen is given.X and given.is_copied and loss.of_scaled
    is_replaced = is_replaced and given.X_target is None and seen.dtype == dtype
    X = scaled(seen, mean, scale, dtype, seen if is_replaced else None)
    observed = given.observed
    if observed is not None:
        for block in row_blocks(*X.shape):
            rows = torch.from_numpy(X[block]).double()
            X[block] = filler.nearly(rows, torch.from_numpy(observed[block])).numpy()
        if not loss.of_scaled:
            filled = X * scale + mean
            filled = filled if exposed is None else exposed.unseen(filled)
            goal = np.where(observed, goal, filled)
    target = X if loss.of_scaled else loss.within(goal)
    inputs = None
    if given.X_target is not None:
        inputs = scaled(given.seen(given.X), mean, scale, dtype)
    return Table(
        X,
        observed=observed,
        target=target if exposed is None else exposed.followed(target),
        inputs=inputs,
        weights=weights,
        n_held_out=n_held_out,
        dependence=dependence,
        ends=ends,
        whole=_whole(given, loss, mean, scale),
        exposures=exposed and exposed.relative,
        axes_dtype=np.promote_types(dtype, goal.dtype),
    )


def _whole(given, loss, mean, scale):
    """Return what the summary of `given` tells of all rows, or None without one."""
    summary = given.summary
    if summary is None:
        return None
    known = summary.extremes.n_rows, summary.pca.principal_axes(mean, scale)[1:]
    if given.shared is None:
        return Whole(*known)
    dtype = np.float64 if summary.rows.size <= SMALL else np.float32
    is_replaced = loss.of_scaled and summary.rows.dtype == dtype  # this saves memory
    out = summary.rows if is_replaced else None
    sample = scaled(summary.rows, mean, scale, dtype, out)
    target = sample if loss.of_scaled else loss.within(summary.rows)
    return Whole(*known, sample, target, given.shared)


def ends_of_target(ends, loss, mean, scale):
    """Return ends (low, high) in the units in which the loss is measured; None stays.

    Parameters
    ----------
    ends : (low, high), ndarrays of shape (n_features,), or None
        Ends in the units of X.
    loss, mean, scale : see `make_table`
    """
    if ends is None or not loss.of_scaled:
        return ends
    return tuple((end - mean) / scale for end in ends)
