"""The class `Loss`: everything that training and scoring need to know about a loss."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from skae._tables import ranges

__all__ = ["SLOPE", "Loss"]

INF = float("inf")
SLOPE = 0.1  # derivative of an output that is held, by the output of the network


class _Hold(torch.autograd.Function):
    """Values between two ends, with a derivative of `SLOPE` beyond them."""

    @staticmethod
    def forward(ctx, output, low, high):
        held = output.clamp(low, high)
        ctx.save_for_backward(held == output)
        return held

    @staticmethod
    def backward(ctx, gradient):
        (is_within,) = ctx.saved_tensors
        return torch.where(is_within, gradient, gradient * SLOPE), None, None


def _replaced(values, value, mask):
    """Replace the first p of values (..., n, q) where the mask (..., n, p) is False."""
    p = mask.shape[-1]
    kept = torch.where(mask, values[..., :p], torch.as_tensor(value).to(values))
    return kept if values.shape[-1] == p else torch.cat([kept, values[..., p:]], dim=-1)


def with_statistics(loss, **statistics):
    """Return the loss with these tensors as keyword arguments of its functions."""
    names = "function", "inverse_link", "decoder_start", "constant", "draw"
    functions = {name: getattr(loss, name) for name in names if hasattr(loss, name)}
    functions = {name: f and partial(f, **statistics) for name, f in functions.items()}
    return replace(loss, statistics=None, **functions)


@dataclass(frozen=True, eq=False)
class Loss:
    """Everything that training and scoring need to know about a loss.

    The network works in scaled units: X is centred and divided by one number, the root
    mean square deviation of the table, or with `standardize` by the standard deviation
    of each feature.

    Attributes
    ----------
    function : callable (output, X) -> (..., n_samples)
        The loss of each row.
    inverse_link : callable or None
        Turns the decoder's output into the reconstruction. None stands for the identity.
    bounds : (low, high), floats or arrays of shape (n_features,)
        Smallest and largest value that X may hold, rounding aside: see `check` and
        `within`.
    decoder_start : callable (Z, X, weights) -> (weight, bias) or None
        Computes the linear decoder to start from. It is given codes Z (n, k) of mean
        zero and unit covariance, X (n, p) in its own units, both without missing values,
        and row weights (n,) or None. It returns the weight (p, k) and the bias
        ((1 + n_constants) * p,), in which the constants follow the p outputs. None
        stands for PCA's decoder in scaled units; the loss is then measured in scaled
        units, whereas every other loss is measured in the units of X.
    constant : callable (X, weights) -> Tensor of shape ((1 + n_constants) * p,)
        Computes the output that stands for the best constant reconstruction, in the
        units in which the loss is measured.
    rotation_invariant : bool
        Whether the loss may be measured in rotated coordinates.
    degree : int
        The number for which loss(s * output, s * X) = s**degree * loss(output, X). In
        Huber's loss the point where it turns from a square into a line is scaled too.
        With this number a loss in scaled units is converted into the units of X.
    slope : callable (output, X) -> Tensor, shaped as `output`, or None
        Derivative of each row's loss with respect to its output. None leaves it to
        autograd.
    missing : (output, X), floats or arrays of shape (n_features,)
        Values that are put in the place of the output and of X in missing cells, where
        they add nothing to the loss.
    n_constants : int
        How many numbers are learned for each feature that are the same in all rows.
    can_hold : bool, or ndarray of bool of shape (n_features,)
        Whether the reconstruction of a feature can be held at its ends, see `hold`.
    is_count : bool, or ndarray of bool of shape (n_features,)
        Whether a feature is a count, so that its rate can be in proportion to an exposure.
    units_of_output : (mean, scale), floats or Tensors of shape (n_features,)
        An output y of features that can be held is the reconstruction y * scale + mean,
        in the units in which the loss is measured.
    ends : (low, high), Tensors of shape (n_features,) or (m, 1, n_features), or None
        Smallest and largest outputs, see `with_ends`. None holds nothing.
    name : str, or list of str of shape (n_features,)
        The name that messages use.
    checks : tuple of callables (X, owner, feature_names, numbers)
        Further checks of X, which raise a ValueError. The arguments are those of `check`.
    statistics : callable (X, weights) -> dict of str to array, or None
        Computes the statistics of the data that the loss needs, see `measure`.
    fit : callable (Loss, **statistics) -> Loss
        Returns the loss that uses these statistics, given as tensors of float64, see
        `fitted`. By default they become keyword arguments of `function`, `inverse_link`,
        `decoder_start`, `constant` and, of a likelihood, `draw`.
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
    can_hold: bool | np.ndarray = False
    is_count: bool | np.ndarray = False
    units_of_output: tuple = (0.0, 1.0)
    ends: tuple | None = None
    name: str | list = ""
    checks: tuple = ()
    statistics: Callable | None = None
    fit: Callable = with_statistics

    # Whether the loss is minus the logarithm of a density, see `Likelihood`.
    is_likelihood = False

    @property
    def pca_is_best(self):
        """Whether no linear autoencoder has a smaller loss than PCA."""
        return self.rotation_invariant

    @property
    def of_scaled(self):
        """Whether the loss is measured in scaled units and not in the units of X."""
        return self.decoder_start is None

    def reconstruction(self, output):
        """Return the reconstruction (..., n, p) for the decoder's output (..., n, q)."""
        return output if self.inverse_link is None else self.inverse_link(output)

    def with_ends(self, low, high):
        """Return the loss of outputs that are held at the ends of some features.

        Parameters
        ----------
        low, high : ndarray of shape (n_features,), or (m, 1, n_features) for m networks
            Ends, in the units in which the loss is measured. They are infinite where there
            is no end, and for features that cannot be held.
        """
        mean, scale = map(torch.as_tensor, self.units_of_output)
        ends = tuple((torch.from_numpy(end) - mean) / scale for end in (low, high))
        return replace(self, ends=ends)

    def hold(self, output):
        """Return outputs (..., n, p) of which those beyond an end are set to the end.

        The derivative beyond an end is `SLOPE` and not zero, so that they can come back.
        """
        if self.ends is None:
            return output
        low, high = (end.to(output) for end in self.ends)
        has_gradient = output.requires_grad and torch.is_grad_enabled()
        return (_Hold.apply if has_gradient else torch.clamp)(output, low, high)

    def observed(self, output, target, mask):
        """Replace missing cells, so that they add nothing to the loss and its gradient.

        Parameters
        ----------
        output : Tensor of shape (..., n, p), or (..., n, q) where constants follow
        target : Tensor of shape (..., n, p), or (..., n, p + 1) where exposures follow
            It may hold NaN or any other value in missing cells.
        mask : Tensor of bool of shape (..., n, p)
            True where there is a value.

        Returns
        -------
        output, target : Tensor, shaped as the arguments
        """
        return tuple(map(_replaced, (output, target), self.missing, (mask, mask)))

    def measure(self, X, weights=None, scale=1.0):
        """Compute the statistics of the data that the loss needs.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            The data in its own units, within the bounds. NaN is ignored. For losses with
            exposures, see `skae.losses._exposed`, these follow in one more column.
        weights : ndarray of shape (n_samples,) or None
            Weights of the rows.
        scale : float or ndarray of shape (n_features,)
            Divisor of the features in the units in which the network works.

        Returns
        -------
        dict of str to ndarray of float64
            Finite statistics, the argument of `fitted`. Empty where the loss needs none.
        """
        found = {} if self.statistics is None else self.statistics(X, weights)
        return {name: np.asarray(value, dtype=np.float64) for name, value in found.items()}

    def fitted(self, statistics):
        """Return the loss for data with these statistics, as `measure` computed them."""
        if self.statistics is None:
            return self
        arrays = {k: np.asarray(v, dtype=np.float64) for k, v in statistics.items()}
        return self.fit(self, **{name: torch.tensor(v) for name, v in arrays.items()})

    def check(self, X, owner, feature_names=None, numbers=None):
        """Refuse values that the loss is not defined for. NaN is ignored.

        Values that are out of bounds by rounding alone are accepted; `within` sets them
        to the bound before the loss is computed.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
        owner : str
            Name of the estimator's class, for the message.
        feature_names : sequence of str or None
        numbers : ndarray of int of shape (n_samples,) or None
            Numbers of the rows, for the message. None counts the rows from 0.

        Raises
        ------
        ValueError
            If values are out of bounds. The message names the first such feature.
        """
        j = ranges.first_outside(X, *self.bounds)
        if j is not None:
            raise ValueError(self._complaint(j, X, owner, feature_names))
        numbers = np.arange(len(X)) if numbers is None else numbers
        for check in self.checks:
            check(X, owner, feature_names, numbers)

    def within(self, X):
        """Return X (n, p) with values set to the bound that rounding carried past it.

        X must have passed `check`. X itself is returned if all values are within bounds.
        """
        return ranges.within(X, *self.bounds)

    def _complaint(self, j, X, owner, feature_names):
        low, high = (np.broadcast_to(end, X.shape[1:])[j] for end in self.bounds)
        ends = np.nanmin(X[:, j]), np.nanmax(X[:, j])
        smallest, largest = (ranges.told_apart(end, low, high) for end in ends)
        name = self.name if isinstance(self.name, str) else self.name[j]
        label = "" if feature_names is None else f" ({str(feature_names[j])!r})"
        advice = "Scale X with MinMaxScaler(clip=True) or use" if high == 1 else "Use"
        return (
            f"loss={name!r} of {owner} takes values in [{low:g}, {high:g}], but feature "
            f"{j}{label} of X has values in [{smallest}, {largest}]. {advice} "
            "loss='squared_error'."
        )
