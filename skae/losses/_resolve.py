"""Turns the parameter `loss`, a name, a callable or a dict, into a `Loss`."""

import copy
import dataclasses
from functools import partial

import numpy as np
import torch
from torch import nn

from skae._tables.scaling import nan_location_and_scale
from skae.losses import _starts
from skae.losses._base import Loss
from skae.losses._exposed import exposed
from skae.losses._mixed import mixed_loss
from skae.losses._named import LOSSES

__all__ = ["resolve_loss"]


def resolve_loss(
    loss, n_features, feature_names=None, owner="the estimator", has_exposure=False
):
    """Return the `Loss` that the parameter `loss` stands for.

    Parameters
    ----------
    loss : str, callable or dict
        A string is a key of `LOSSES`. A callable, which may be an `nn.Module` with
        `reduction="none"`, takes X_hat and X, tensors of shape (n_samples, n_features)
        in the units of X. It returns the losses of the rows, (n_samples,), or those of
        the cells, (n_samples, n_features), which are summed over the features. For a
        dict see `skae.losses._mixed.mixed_loss`.
    n_features : int
    feature_names : sequence of str or None
    owner : str
        Name of the estimator's class, for messages.
    has_exposure : bool
        Whether targets of counts end with the exposure of the row, see `exposed`.

    Returns
    -------
    Loss
        A loss that can be used after `Loss.fitted`.

    Raises
    ------
    TypeError
        If `loss` is none of these.
    ValueError
        If its name is unknown, its reduction is not "none", or its dict does not name
        every column once.
    """
    if isinstance(loss, str) and loss in LOSSES:
        found = exposed(LOSSES[loss]) if has_exposure else LOSSES[loss]
        # A loss in the units of X that has no link would need weights in these units.
        is_trainable = found.of_scaled or found.inverse_link is not None
        return found if is_trainable else _with_scaled_output(found)
    if isinstance(loss, dict):
        return mixed_loss(loss, n_features, feature_names, owner, has_exposure)
    if callable(loss) and not isinstance(loss, type):
        return _with_scaled_output(_from_callable(loss, owner))
    allowed = f"one of {sorted(LOSSES)}, a callable (X_hat, X) or a dict"
    message = f"loss of {owner} must be {allowed}, got {loss!r}."
    if isinstance(loss, type):
        message += " Give an instance, not the class."
    raise ValueError(message) if isinstance(loss, str) else TypeError(message)


# -- users' losses ---------------------------------------------------------------------


class _UserLoss:
    """A user's loss as one number per sample, also for stacks of networks."""

    def __init__(self, function):
        self.function = function

    def __call__(self, X_hat, X):
        if X.ndim == 3:
            pairs = zip(X_hat, X, strict=True)
            return torch.stack([self(*pair) for pair in pairs])
        if isinstance(self.function, nn.Module):
            self.function.to(X.device)
        errors = self.function(X_hat, X)
        shape = getattr(errors, "shape", None)
        if shape not in (X.shape, X.shape[:1]):
            got = type(errors).__name__ if shape is None else f"shape {tuple(shape)}"
            raise ValueError(
                f"loss must return a tensor of shape (n_samples,) = {tuple(X.shape[:1])} "
                f"or (n_samples, n_features) = {tuple(X.shape)}, got {got}. Do not take "
                "the mean over the samples (reduction='none' in torch's losses)."
            )
        return errors.sum(-1) if errors.ndim == 2 else errors


def _from_callable(loss, owner):
    """Return the `Loss` of a user's callable, which is measured in the units of X."""
    reduction = getattr(loss, "reduction", "none")
    if reduction != "none":
        raise ValueError(
            f"loss of {owner} must have reduction='none', because every sample needs a "
            f"loss of its own, got {type(loss).__name__}(reduction={reduction!r})."
        )
    # A module is moved to the device of the fit. The user's own stays where it is.
    loss = copy.deepcopy(loss) if isinstance(loss, nn.Module) else loss
    return Loss(
        _UserLoss(loss),
        decoder_start=_starts.least_squares,
        constant=_starts.mean,
        name=getattr(loss, "__name__", type(loss).__name__),
    )


# -- losses in the units of X, for networks with centred and scaled output -------------


def _with_scaled_output(loss):
    """Return the loss for output in scaled units, which it converts into those of X."""
    return dataclasses.replace(loss, statistics=_mean_and_scale, fit=_rescaled)


def _mean_and_scale(X, weights=None):
    """Return mean (p,), and scale (1,): the root mean square of the deviations from it."""
    mean, spread = nan_location_and_scale(X, weights)
    largest = spread.max() or 1.0
    return {"mean": mean, "scale": [_root_mean_square(spread / largest) * largest or 1.0]}


def _root_mean_square(values):
    return np.sqrt(np.mean(np.square(values)))


def _rescaled(loss, mean, scale):
    statistics = {"mean": mean, "scale": scale}
    return dataclasses.replace(
        loss,
        function=partial(_function, loss.function, **statistics),
        inverse_link=partial(_in_data_units, **statistics),
        decoder_start=partial(_decoder_start, loss.decoder_start, **statistics),
        constant=partial(_constant, loss.constant, **statistics),
        missing=(-mean / scale, 0.0),
        statistics=None,
    )


def _in_data_units(output, mean, scale):
    return output * scale.to(output) + mean.to(output)


def _function(function, output, X, mean, scale):
    return function(_in_data_units(output, mean, scale), X)


def _decoder_start(start, Z, X, weights=None, *, mean, scale):
    weight, bias = start(Z, X, weights)
    return weight / scale, (bias - mean) / scale


def _constant(constant, X, weights=None, *, mean, scale):
    return (constant(X, weights) - mean) / scale
