"""The table that a fit learns from."""

import dataclasses

import numpy as np
import torch

from skae._tables.dependence import Dependence
from skae._tables.rows import SMALL, Scaled, is_streamed, row_blocks
from skae._tables.scaling import scaled

__all__ = ["Table", "make_table"]

SAMPLED, FEWEST_SAMPLED = 2**24, 4096  # values and rows that describe a streamed table


@dataclasses.dataclass
class Table:
    """What a fit learns from.

    Attributes
    ----------
    X : ndarray or Scaled of shape (n_samples, n_features)
        Centred and scaled.
    target : ndarray or Scaled of shape (n_samples, n_features)
        In the units of the loss: the object X where these are centred and scaled.
    inputs : ndarray of shape (n_samples, n_features) or None
        What the encoder sees in the place of X, centred and scaled as it is.
    weights : ndarray of shape (n_samples,) or None
        Of the rows; their mean is one.
    observed : ndarray of bool of shape (n_samples, n_features) or None
        Where X has a value of its own; elsewhere it is filled.
    n_held_out : int
        The last rows are held out, by the user's choice.
    dependence : Dependence or None
        Which rows may not be on both sides of a split; None where nobody has asked.
    """

    X: np.ndarray | Scaled
    target: np.ndarray | Scaled
    inputs: np.ndarray | None = None
    weights: np.ndarray | None = None
    observed: np.ndarray | None = None
    n_held_out: int = 0
    dependence: Dependence | None = None

    @property
    def is_streamed(self):
        return isinstance(self.X, Scaled)

    @property
    def observed_share(self):
        """Share of the cells that are there, those of a row counting as it weighs."""
        if self.observed is None:
            return 1.0
        return float(np.average(self.observed.mean(axis=1), weights=self.weights))

    def sample(self, n):
        """Arrays (inputs, X, weights) of the first n rows; of a streamed table, of some."""
        own = self if n == len(self.X) else self.first(n)
        if self.is_streamed:
            step = -(-n // max(FEWEST_SAMPLED, SAMPLED // self.X.shape[1]))
            own = self.first(slice(None, None, step))
        inputs = own.X if own.inputs is None else own.inputs
        if own.observed is not None:
            inputs = np.where(own.observed, inputs, np.nan)
        return inputs, own.X, own.weights

    def first(self, n):
        """The table of the first n rows, or of a slice of them."""
        rows = n if isinstance(n, slice) else slice(n)
        X = self.X[rows]
        rest = (self.inputs, self.weights, self.observed)
        rest = (None if part is None else part[rows] for part in rest)
        return Table(X, X if self.target is self.X else self.target[rows], *rest)


def make_table(given, loss, mean, scale, filler=None, dependence=None):
    """The table that is trained on.

    Parameters
    ----------
    given : Given
    loss : Loss
        Fitted.
    mean : ndarray of shape (n_features,)
    scale : float or ndarray of shape (n_features,)
    filler : Filler or None
        Goes with missing cells.
    dependence : Dependence or None
    """
    if is_streamed(given.X):
        X = Scaled(given.X, mean, scale)
        target = X if loss.of_scaled else Scaled(given.X, bounds=loss.bounds)
        return Table(X, target, weights=given.weights, dependence=dependence)
    goal, weights, n_held_out = given.goal, given.weights, 0
    if given.X_val is not None:  # which goes without X_target
        goal, n_held_out = np.concatenate([goal, given.X_val]), len(given.X_val)
        if weights is not None:
            weights = np.concatenate([weights, np.ones(n_held_out)])
    # Small tables stay in float64 until their principal axes are known.
    dtype = np.float64 if goal.size <= SMALL else np.float32
    X = scaled(goal, mean, scale, dtype)
    observed = given.observed
    if observed is not None:
        for block in row_blocks(*X.shape):
            rows = torch.from_numpy(X[block]).double()
            X[block] = filler(rows, torch.from_numpy(observed[block])).numpy()
        if not loss.of_scaled:
            goal = np.where(observed, goal, X * scale + mean)
    return Table(
        X,
        observed=observed,
        target=X if loss.of_scaled else loss.within(goal),
        inputs=None if given.X_target is None else scaled(given.X, mean, scale, dtype),
        weights=weights,
        n_held_out=n_held_out,
        dependence=dependence,
    )
