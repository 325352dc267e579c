"""What a fit decides and learns before the first step."""

import copy
from numbers import Real

import numpy as np

from skae._autoencoders.exposures import check_exposure_given, counted_columns
from skae._autoencoders.fitted_attributes import (
    exposure_of,
    is_standardized,
    set_device,
    set_exposure,
    set_filler,
    set_loss,
    set_statistics,
    set_width,
    unfitted_loss,
    widths_of,
)
from skae._autoencoders.layer_choice import use_layers
from skae._autoencoders.parameters import check_clip, parameter_names
from skae._engine.checkpoint import Checkpoint, SharedCheckpoint, fingerprint
from skae._engine.skorch_net import check_callbacks
from skae._tables.checks import check_finite, check_rows, explained
from skae._tables.exposure import learn_exposure
from skae._tables.rows import rows_of

__all__ = [
    "begin",
    "check_gaps",
    "decide_exposure",
    "goes_on",
    "initial_network",
    "learn_statistics",
    "open_checkpoint",
    "summarised",
    "wants_share",
]

MEASURED = 2**23  # largest number of values from which statistics of a loss are computed


def wants_share(estimator):
    """Whether `n_components` is a share of the variance."""
    return isinstance(estimator.n_components, Real) and 0 < estimator.n_components < 1


def begin(estimator, given, n_expected=None, n_samples=None):
    """Forget a stream, and decide the widths, the device and the loss.

    Parameters
    ----------
    n_expected : int or None
        Number of rows to learn from, if those of `given` are only the first of them.
    n_samples : int or None
        Number of rows in all processes. None is that of `given`.
    """
    estimator._ongoing = None
    check_callbacks(estimator.callbacks, type(estimator).__name__)
    n_samples = n_samples or given.X.shape[0]
    n_features = given.X.shape[1]
    n_features = n_features if given.columns is None else given.columns.rank
    is_new = not goes_on(estimator)
    is_dense = not is_new and getattr(estimator, "_is_dense", False)
    n_components = use_layers(estimator, is_dense, n_samples, n_features, n_expected)
    set_width(estimator, n_components, is_new)
    set_device(estimator)
    if is_new:
        set_exposure(estimator, None)
    estimator._loss = unfitted_loss(estimator)
    check_clip(estimator, estimator._loss)
    if estimator._network_kind.has_own_code:  # mistakes in it are found first of all
        n_features = estimator.n_features_in_
        estimator._make_module(n_features, n_features, None)


def summarised(estimator, given):
    """Return `given` with what a pass over the blocks tells, if X is `Blocks`.

    The pass also makes the checks that are made of other tables in several passes.
    """
    loss, owner = estimator._loss, type(estimator).__name__
    names = getattr(estimator, "feature_names_in_", None)

    def check(rows, numbers):
        check_finite(rows, owner)
        loss.check(rows, owner, names, numbers)

    with explained(estimator, given.X, "X", estimator.allow_nan):
        return given.summarised(check, is_standardized(estimator), estimator.n_components_)


def goes_on(estimator):
    """Whether `fit` goes on with the network of an earlier fit."""
    return estimator.warm_start and hasattr(estimator, "net_")


def initial_network(estimator, X):
    """Return a copy of the network that a warm start goes on with, otherwise None."""
    if not goes_on(estimator):
        return None
    widths = widths_of(estimator, X)
    if widths != estimator._fitted_widths:
        raise ValueError(
            f"warm_start=True of {type(estimator).__name__} goes on with a network of "
            "(n_features, n_components, hidden_layer_sizes) = "
            f"{estimator._fitted_widths}, but this fit asks for {widths}. Set "
            "warm_start=False to start anew."
        )
    return copy.deepcopy(estimator.net_.network)


def open_checkpoint(estimator, given, seed, initial, peers):
    """Return the file that keeps the state of training, or None without `checkpoint`."""
    if not peers.gather(estimator.checkpoint is not None)[0]:
        return None
    name = type(estimator).__name__
    if wants_share(estimator):
        raise ValueError(
            f"checkpoint={estimator.checkpoint!r} of {name} holds one fit, and "
            f"n_components={estimator.n_components!r} needs several. Set n_components "
            "to a number or checkpoint=None."
        )
    others = {"callbacks", "checkpoint", "device", "time_limit", "verbose"}
    names = [name for name in parameter_names(estimator) if name not in others]
    parameters = {name: getattr(estimator, name) for name in names}
    if isinstance(estimator.random_state, np.random.RandomState):
        parameters["random_state"] = f"RandomState that gives {seed}"
    items = fingerprint(name, parameters, given.tables, initial, estimator.device_)
    if not peers.are_several:
        return Checkpoint(estimator.checkpoint, name, items, seed)
    return SharedCheckpoint(
        peers, lambda items: Checkpoint(estimator.checkpoint, name, items, seed), items
    )


def learn_statistics(estimator, given, seed, is_new=True):
    """Set the attributes that are computed before training.

    A warm start, for which `is_new` is False, keeps its mean and its scale.
    """
    check_gaps(estimator, given)
    _check_range(estimator, given)
    decide_exposure(estimator, given, is_new)
    if is_new:
        mean, scale = given.location_and_scale(estimator.standardize)
        set_statistics(estimator, mean, scale)
    filler = None
    if estimator.allow_nan:  # even if X has no missing cells, rows to come may have some
        filler = given.filler(estimator.mean_, estimator.scale_, seed)
    set_filler(estimator, filler)
    loss = unfitted_loss(estimator)
    set_loss(estimator, loss, _loss_statistics(estimator, loss, given))


def check_gaps(estimator, given):
    """Refuse missing cells if the network cannot learn to fill them."""
    name = type(estimator).__name__
    takes_marks = estimator._network_kind.takes_marks and given.X_target is None
    if estimator._has_marks and not takes_marks:
        raise ValueError(
            f"X of {name}.fit has missing cells, which can be used neither with X_target "
            "nor with a module of your own and init='random'. Fill them first, or leave "
            "these out."
        )
    target = given.X_target if estimator.allow_nan else None
    if isinstance(target, np.ndarray) and np.isnan(target).any():
        raise ValueError(
            f"X_target of {name}.fit has missing cells, and targets must be complete. "
            "Leave out X_target, or the rows in which it has missing cells."
        )


def _check_range(estimator, given):
    """Refuse rows for which the loss is not defined."""
    if given.summary is None:
        check_rows(estimator._loss, given.goal, estimator, given.numbers)
    if given.X_val is not None:
        check_rows(estimator._loss, given.X_val, estimator)


def decide_exposure(estimator, given, is_new=True):
    """Set the exposure of rows of counts, or None; a network that goes on keeps its own."""
    if is_new:
        columns, exposure = counted_columns(estimator, estimator._loss, given), None
        if columns is not None:
            how = given.weights, columns, given.given_exposure
            exposure = learn_exposure(given.goal, *how)
        set_exposure(estimator, exposure)
    else:
        check_exposure_given(estimator, exposure_of(estimator), given.given_exposure)
    given.exposure = exposure_of(estimator)
    estimator._loss = unfitted_loss(estimator)


def _loss_statistics(estimator, loss, given):
    """Return the statistics of the rows that the loss needs."""
    if loss.statistics is None:
        return {}
    if given.shared is not None:
        sample = given.summary.rows, given.shared.sample_weights
        return loss.measure(loss.within(sample[0]), sample[1], estimator.scale_)
    X, exposed = given.goal, given.exposed(given.goal)
    some = slice(None, None, -(-X.shape[0] * X.shape[1] // MEASURED))
    rows = loss.within(rows_of(X, some))
    rows = rows if exposed is None else exposed.followed(rows, some)
    weights = None if given.weights is None else given.weights[some]
    return loss.measure(rows, weights, estimator.scale_)
