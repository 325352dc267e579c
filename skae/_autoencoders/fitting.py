"""The course of a fit: from its arguments to the network and the fitted attributes."""

import contextlib
import copy
import dataclasses
from numbers import Real

import numpy as np

from skae._autoencoders.arguments import (
    given_to_fit,
    given_to_partial_fit,
    holds_out_rows,
    is_told_of_gaps,
)
from skae._autoencoders.exposures import check_exposure_given, counted_columns
from skae._autoencoders.fitted_attributes import (
    exposure_of,
    extremes_of,
    filler_of,
    frame_of,
    is_standardized,
    set_codes,
    set_device,
    set_ends,
    set_exposure,
    set_filler,
    set_loss,
    set_result,
    set_statistics,
    set_stream,
    set_widths,
    unfitted_loss,
    widths_of,
)
from skae._autoencoders.parameters import (
    check_clip,
    check_same_network,
    parameter_names,
    params_of_fit,
)
from skae._autoencoders.together import (
    check_same_start,
    check_together,
    given_together,
)
from skae._compat import draw_seed
from skae._engine.checkpoint import Checkpoint, SharedCheckpoint, fingerprint
from skae._engine.corruption import Hide, noise_units, number_of_versions
from skae._engine.deadline import Deadline
from skae._engine.run import ALONE
from skae._engine.skorch_net import check_callbacks
from skae._tables.categories import columns_of
from skae._tables.checks import check_finite, check_rows, explained
from skae._tables.exposure import learn_exposure
from skae._tables.rows import rows_of
from skae._tables.table import make_table
from skae._torch import memory_explained
from skae._training.component_search import fewest_components
from skae._training.frame import FramedNetwork
from skae._training.members import make_members
from skae._training.reservoir import stream_rows
from skae._training.settings import Settings, error_unit
from skae._training.stream import Stream
from skae._training.streamed_network import Tools
from skae._training.training import train
from skae.noise import resolve_noise
from skae.regularizers import resolve_regularizers

__all__ = ["fit", "partial_fit", "wants_share"]

EXPECTED = 4096  # number of rows of a stream that its network is wide enough for
ROTATIONS = 6  # number of members that may each rotate all versions of a wide table
MEASURED = 2**23  # largest number of values from which statistics of a loss are computed


def fit(
    estimator,
    X,
    y,
    sample_weight,
    groups,
    X_val,
    X_target,
    exposure,
    callbacks,
    *,
    splits=None,
    keeps_folds=False,
    fills_cells=False,
    columns=None,
    peers=ALONE,
):
    """Fit an estimator; the other arguments are those of its method `fit`.

    Parameters
    ----------
    callbacks : list of skorch callbacks
        Callbacks in addition to those of the user.
    splits : list of (train, held_out) or None
        See `given_to_fit`.
    keeps_folds : bool
        Whether the method `folds` of the result is going to be called.
    fills_cells : bool
        Whether the only purpose of the network is to fill missing cells, see `Given`.
    columns : Columns or None
        Columns of categories, if X and what goes with it are one-hot already.
    peers : Alone or Peers
        The processes of the fit.

    Returns
    -------
    result : Result
    numbers : ndarray of int of shape (n_rows,) or None
        For each row of the table of the result, its number in X. None if all are there in
        their original order.
    """
    if _goes_on(estimator):
        check_same_network(
            estimator, "warm_start=True", "set warm_start=False to start anew"
        )
    deadline = peers.shared(Deadline(estimator.time_limit))
    estimator._params_of_fit = params_of_fit(estimator)
    how = {"columns": columns, "is_new": not _goes_on(estimator), "splits": splits}
    given = given_to_fit(
        estimator, X, y, sample_weight, groups, X_val, X_target, exposure, **how
    )
    given.fills_cells = fills_cells
    _begin(estimator, given, n_samples=sum(peers.gather(given.X.shape[0])))
    seed = peers.gather(draw_seed(estimator.random_state))[0]
    if _goes_on(estimator):  # the same rows are held out as before
        seed = getattr(estimator, "_seed", seed)
    if peers.are_several:
        others = {"exposure": exposure, "X_target": X_target}
        others["folds"] = keeps_folds or None
        check_together(estimator, given, **others)
        given = given_together(estimator, given, peers, seed)
    given = _summarised(estimator, given)
    before = extremes_of(estimator) if _goes_on(estimator) else None
    extremes = given.extremes().joined(before)
    ends = extremes.ends(estimator.clip, estimator._loss.can_hold)
    estimator._has_marks = is_told_of_gaps(estimator, given, ends)
    initial = _initial(estimator, given.X)
    if peers.are_several:
        check_same_start(estimator, initial, peers)
    checkpoint = _open_checkpoint(estimator, given, seed, initial, peers)
    seed = seed if checkpoint is None else checkpoint.seed
    _learn_statistics(estimator, given, seed, is_new=initial is None)
    with contextlib.ExitStack() as scopes:
        sizes = scopes.enter_context(memory_explained(estimator, given.X.shape))
        if checkpoint is not None:
            scopes.enter_context(checkpoint)
        before = None if initial is None else estimator._inference
        how = {"callbacks": callbacks, "checkpoint": checkpoint, "deadline": deadline}
        how["peers"] = peers
        how["noise_and_units"] = _noise_and_units(estimator, given)
        table = _table(estimator, given, ends)
        numbers = given.numbers
        del given  # it may hold a sorted copy of the rows
        result = _train(estimator, table, seed, initial, sizes, **how)
        result = result if keeps_folds else result.without_folds()
        estimator._seed = seed
        set_result(estimator, result.net, result)
        set_ends(estimator, extremes, result.holds)
        set_codes(estimator, result, before)
        if result.interrupt is not None:
            result.interrupt.is_kept = True
            raise result.interrupt
    return result, numbers


def partial_fit(estimator, X, sample_weight, groups, exposure):
    """Train on a chunk of a stream; the other arguments are those of `partial_fit`."""
    is_first = not hasattr(estimator, "net_")
    if estimator.distributed:
        raise ValueError(
            f"partial_fit of {type(estimator).__name__} trains in one process. Set "
            "distributed=False, or call fit."
        )
    if not is_first:
        check_same_network(
            estimator, "partial_fit", "call fit to start anew", with_widths=True
        )
    if is_first or estimator._ongoing is None:
        estimator._params_of_fit = params_of_fit(estimator)
        set_device(estimator)
    given = given_to_partial_fit(
        estimator, X, sample_weight, groups, exposure, is_first=is_first
    )
    if is_first:
        estimator._has_marks = estimator.allow_nan
        _begin(estimator, given, n_expected=EXPECTED)
        _check_gaps(estimator, given)
    check_rows(estimator._loss, given.goal, estimator, given.numbers)
    _learn_exposure(estimator, given, is_new=is_first)
    stream = estimator._ongoing
    stream = _new_stream(estimator, is_first) if stream is None else stream.copied()
    tools, result = _tools(estimator), None
    for rows in stream_rows(given):
        result = stream.take(rows, tools) or result
    set_stream(estimator, stream, result)


def _new_stream(estimator, is_first):
    seed = draw_seed(estimator.random_state)
    if is_first:
        return Stream(seed, estimator.n_components_)
    network = copy.deepcopy(estimator.net_.network)
    return Stream(
        seed,
        estimator.n_components_,
        initial=FramedNetwork(network, frame_of(estimator), estimator._holds),
        n_before=estimator.n_samples_,
        n_steps=getattr(estimator, "_n_steps", 0),
        loss_statistics=estimator._loss_statistics,
        extremes=extremes_of(estimator),
    )


def _tools(estimator):
    """What a stream works with, by the parameters that it has begun with."""
    params = estimator._params_of_fit
    absorbs = estimator._network_kind.absorbs and params["code_activation"] == "identity"
    settings = _settings(estimator)
    kept = {k: v for k, v in params.items() if hasattr(settings, k)}
    kept |= {"n_components": estimator.n_components_, "is_seeded": True}
    kept["verbose"] = 0
    return Tools(
        settings=dataclasses.replace(settings, **kept),
        loss=unfitted_loss(estimator),
        make_module=estimator._make_module,
        device=estimator.device_,
        n_features=estimator.n_features_in_,
        noise=resolve_noise(estimator.noise, type(estimator).__name__) or None,
        standardize=params["standardize"],
        has_marks=estimator._has_marks,
        exposure=exposure_of(estimator),
        follows=absorbs and not params["allow_nan"],
        clip=params["clip"],
    )


def wants_share(estimator):
    """Whether `n_components` is a share of the variance."""
    return isinstance(estimator.n_components, Real) and 0 < estimator.n_components < 1


# -- before training -------------------------------------------------------------------


def _begin(estimator, given, n_expected=None, n_samples=None):
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
    widths = estimator._decide_widths(n_samples, n_features, n_expected)
    set_widths(estimator, *widths, is_new=not _goes_on(estimator))
    set_device(estimator)
    if not _goes_on(estimator):
        set_exposure(estimator, None)
    estimator._loss = unfitted_loss(estimator)
    check_clip(estimator, estimator._loss)
    if estimator._network_kind.has_own_code:  # mistakes in it are found first of all
        n_features = estimator.n_features_in_
        estimator._make_module(n_features, n_features, None)


def _summarised(estimator, given):
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


def _goes_on(estimator):
    """Whether `fit` goes on with the network of an earlier fit."""
    return estimator.warm_start and hasattr(estimator, "net_")


def _initial(estimator, X):
    """Return a copy of the network that a warm start goes on with, otherwise None."""
    if not _goes_on(estimator):
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


def _open_checkpoint(estimator, given, seed, initial, peers):
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


def _learn_statistics(estimator, given, seed, is_new=True):
    """Set the attributes that are computed before training.

    A warm start, for which `is_new` is False, keeps its mean and its scale.
    """
    _check_gaps(estimator, given)
    _check_range(estimator, given)
    _learn_exposure(estimator, given, is_new)
    if is_new:
        mean, scale = given.location_and_scale(estimator.standardize)
        set_statistics(estimator, mean, scale)
    filler = None
    if estimator.allow_nan:  # even if X has no missing cells, rows to come may have some
        filler = given.filler(estimator.mean_, estimator.scale_, seed)
    set_filler(estimator, filler)
    loss = unfitted_loss(estimator)
    set_loss(estimator, loss, _loss_statistics(estimator, loss, given))


def _check_gaps(estimator, given):
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


def _learn_exposure(estimator, given, is_new=True):
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


# -- training --------------------------------------------------------------------------


def _table(estimator, given, ends):
    """Return the Table to train on."""
    dependence = given.dependence() if holds_out_rows(estimator, given) else None
    statistics = estimator.mean_, estimator.scale_
    filler = filler_of(estimator)
    table = make_table(given, estimator._loss, *statistics, filler, dependence, ends)
    return dataclasses.replace(
        table, has_marks=estimator._has_marks, fills_cells=given.fills_cells
    )


def _train(
    estimator,
    table,
    seed,
    initial,
    sizes,
    *,
    noise_and_units,
    callbacks,
    checkpoint,
    deadline,
    peers,
):
    """Train with the given number of components, or find the one that is needed.

    Returns
    -------
    Result
    """
    columns = columns_of(estimator)
    starts = slice(None) if columns is None else columns.starts
    filler, share = filler_of(estimator), table.observed_share(starts)
    # With noise the filled values depend on it, so that cells are hidden in every step.
    n_copies = 1 if table.has_marks else ROTATIONS
    n_versions = number_of_versions(n_copies * table.X.size)
    feature_of = None if columns is None else columns.feature_of
    hide = Hide(filler, 1 - share, 0 if noise_and_units else n_versions, feature_of)
    unit = error_unit(
        estimator._loss,
        estimator.scale_,
        estimator.n_features_in_,
        is_standardized(estimator),
    )

    def settings_with(n_components):
        # `_make_module` reads the fitted attribute.
        set_widths(estimator, n_components, estimator.hidden_layer_sizes_)
        return _settings(
            estimator,
            noise_and_units=noise_and_units,
            hide=None if table.observed is None else hide,
            unit=unit / share,
            callbacks=[] if peers.number else [*(estimator.callbacks or []), *callbacks],
            first_step=0 if initial is None else getattr(estimator, "_n_steps", 0),
            holds_initial=initial is None or estimator._holds,
            deadline=deadline,
            peers=peers,
            verbose=0 if peers.number else estimator.verbose,
        )

    def members_with(n_components):
        return make_members(table, estimator._loss, settings_with(n_components), seed)

    def train_with(n_components):
        settings = settings_with(n_components)
        sizes["batch_size"], _ = settings.sizes(len(table.X))
        return train(
            table,
            estimator._loss,
            settings,
            estimator._make_module,
            seed=seed,
            device=estimator.device_,
            initial=initial,
            checkpoint=checkpoint,
        )

    if wants_share(estimator):
        how = train_with, members_with, estimator.n_components, deadline
        return fewest_components(table, *how)
    return train_with(estimator.n_components_)


def _settings(estimator, **others):
    """Return Settings from the parameters, and from others that replace or add to them."""
    fields = set(Settings.__dataclass_fields__) & set(parameter_names(estimator))
    params = {name: getattr(estimator, name) for name in fields}
    params["n_components"] = estimator.n_components_
    kind, name = estimator._network_kind, type(estimator).__name__
    has_seed = estimator.random_state is not None or estimator.checkpoint is not None
    penalties = resolve_regularizers(estimator.regularizer, estimator.code_activation, name)
    return Settings(
        is_stackable=kind.is_stackable,
        from_pca=kind.has_linear_path and estimator.init == "pca",
        in_any_basis=kind.in_any_basis,
        is_linear=not (estimator.hidden_layer_sizes_ or kind.has_own_code),
        is_seeded=has_seed or others.get("peers", ALONE).are_several,
        penalties=tuple(penalties),
        owner=name,
        **(params | others),
    )


def _noise_and_units(estimator, given):
    """Return the noise and the `Units` of the rows, or None without noise."""
    noise = resolve_noise(estimator.noise, type(estimator).__name__)
    if not noise:
        return None
    statistics = estimator.mean_, estimator.scale_
    units = noise_units(
        given.seen(given.rows_at_ends()), *statistics, is_standardized(estimator)
    )
    return noise, units
