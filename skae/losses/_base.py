"""What training and scoring need to know of a loss."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from skae._tables import ranges

__all__ = ["Loss"]

INF = float("inf")


def with_statistics(loss, **statistics):
    """The loss whose functions have these tensors as keyword arguments."""
    names = "function", "inverse_link", "decoder_start", "constant"
    functions = {name: getattr(loss, name) for name in names}
    functions = {name: f and partial(f, **statistics) for name, f in functions.items()}
    return replace(loss, statistics=None, **functions)


@dataclass(frozen=True, eq=False)
class Loss:
    """What training and scoring need to know of a loss.

    Scaled units are those the network works in: X centred and divided by one root mean
    square deviation, or with `standardize` by each feature's standard deviation.

    Attributes
    ----------
    function : callable (output, X) -> (..., n_samples)
    inverse_link : callable or None
        Turns the decoder's output into the reconstruction; None is the identity.
    bounds : (low, high), floats or arrays of shape (n_features,)
        Smallest and largest value that X may hold, rounding aside: see `check` and
        `within`.
    decoder_start : callable (Z, X, weights) -> (weight, bias) or None
        The linear decoder to start from, for codes Z (n, k) of mean zero and unit
        covariance, X (n, p) in its own units and weights (n,) or None of the rows:
        weight (p, k) and bias ((1 + n_constants) * p,), the constants behind the p
        outputs. Z and X may not have missing values. None: PCA's, in scaled units, in
        which the loss is then measured; all other losses are measured in the units of X.
    constant : callable (X, weights) -> Tensor of shape ((1 + n_constants) * p,)
        Output of the best constant reconstruction, in the units of the loss.
    rotation_invariant : bool
        Whether the loss may be measured in rotated coordinates.
    degree : int
        loss(s * output, s * X) = s**degree * loss(output, X). For Huber's loss: where
        its bend is scaled too, so that this brings scaled units into those of X.
    slope : callable (output, X) -> Tensor, shaped as `output`, or None
        Derivative of each row's loss by its output; None leaves it to autograd.
    missing : (output, X), floats or arrays of shape (n_features,)
        A cell where both are replaced by these adds nothing.
    n_constants : int
        Numbers that are learned for each feature and are the same in all rows.
    name : str, or list of str of shape (n_features,)
        For messages.
    checks : tuple of callables (X, whose, names, numbers)
        Further demands on X.
    statistics : callable (X, weights) -> dict of str to array, or None
        What the loss has to know of the data, see `measure`.
    fit : callable (Loss, **statistics) -> Loss
        Puts them, as tensors of float64, into the loss, see `fitted`. Unless another is
        given they become keyword arguments of the four functions.
    """

    function: Callable
    inverse_link: Callable | None = None
    bounds: tuple = (-INF, INF)
    decoder_start: Callable | None = None
    constant: Callable | None = None
    rotation_invariant: bool = False
    degree: int = 0
    slope: Callable | None = None
    missing: tuple = (0.0, 0.0)
    n_constants: int = 0
    name: str | list = ""
    checks: tuple = ()
    statistics: Callable | None = None
    fit: Callable = with_statistics

    @property
    def of_scaled(self):
        """Whether output and target are in the network's centred and scaled units."""
        return self.decoder_start is None

    def reconstruction(self, output):
        """Reconstruction (..., n, p) that the decoder's output (..., n, q) stands for."""
        return output if self.inverse_link is None else self.inverse_link(output)

    def observed(self, output, target, mask):
        """Output and target whose missing cells add nothing to loss and gradient.

        Parameters
        ----------
        output : Tensor of shape (..., n, p), or (..., n, q) with constants behind
        target : Tensor of shape (..., n, p)
            NaN or anything else in missing cells.
        mask : Tensor of bool of shape (..., n, p)
            Where there is a value.

        Returns
        -------
        output, target : Tensor, shaped as those given
        """
        p = target.shape[-1]
        fill = [torch.as_tensor(value).to(output) for value in self.missing]
        kept = torch.where(mask, output[..., :p], fill[0])
        if output.shape[-1] > p:
            kept = torch.cat([kept, output[..., p:]], dim=-1)
        return kept, torch.where(mask, target, fill[1].to(target))

    def measure(self, X, weights=None):
        """What the loss has to know of data: the argument of `fitted`.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            In its own units; NaN is passed over.
        weights : ndarray of shape (n_samples,) or None
            Of the rows.

        Returns
        -------
        dict of str to ndarray of float64
            Finite; empty where the loss needs nothing.
        """
        X = self.within(X)
        found = {} if self.statistics is None else self.statistics(X, weights)
        return {name: np.asarray(value, dtype=np.float64) for name, value in found.items()}

    def fitted(self, statistics):
        """The loss for data of which `measure` found these statistics."""
        if self.statistics is None:
            return self
        arrays = {k: np.asarray(v, dtype=np.float64) for k, v in statistics.items()}
        return self.fit(self, **{name: torch.tensor(v) for name, v in arrays.items()})

    def check(self, X, whose, feature_names=None, numbers=None):
        """Refuse values that the loss is not defined for; NaN is passed over.

        What is out of bounds by rounding alone is let pass: whoever computes the loss
        brings it back by `within`.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
        whose : str
            Name of the estimator, for the message.
        feature_names : sequence of str or None
        numbers : ndarray of int of shape (n_samples,) or None
            Of the rows, for the message; None counts them from 0.

        Raises
        ------
        ValueError
            With the first feature that has values out of bounds.
        """
        j = ranges.first_outside(X, *self.bounds)
        if j is not None:
            raise ValueError(self._complaint(j, X, whose, feature_names))
        numbers = np.arange(len(X)) if numbers is None else numbers
        for check in self.checks:
            check(X, whose, feature_names, numbers)

    def within(self, X):
        """X (n, p) with values that rounding carried out of bounds set to the bound.

        X is checked, and returned as it is where all of it is within the bounds.
        """
        return ranges.within(X, *self.bounds)

    def _complaint(self, j, X, whose, feature_names):
        low, high = (np.broadcast_to(end, X.shape[1:])[j] for end in self.bounds)
        ends = np.nanmin(X[:, j]), np.nanmax(X[:, j])
        smallest, largest = (ranges.told_apart(end, low, high) for end in ends)
        name = self.name if isinstance(self.name, str) else self.name[j]
        label = "" if feature_names is None else f" ({str(feature_names[j])!r})"
        advice = "Scale X with MinMaxScaler(clip=True) or use" if high == 1 else "Use"
        return (
            f"loss={name!r} of {whose} takes values in [{low:g}, {high:g}], but feature "
            f"{j}{label} of X has values in [{smallest}, {largest}]. {advice} "
            "loss='squared_error'."
        )
