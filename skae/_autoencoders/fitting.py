"""The course of a fit: from its arguments to the network and the fitted attributes."""

import contextlib
import copy
import dataclasses
import functools

from skae._autoencoders.arguments import (
    given_to_fit,
    given_to_partial_fit,
    holds_out_rows,
    is_told_of_gaps,
)
from skae._autoencoders.before_training import (
    begin,
    check_gaps,
    decide_exposure,
    goes_on,
    initial_network,
    learn_statistics,
    open_checkpoint,
    summarised,
    wants_share,
)
from skae._autoencoders.fitted_attributes import (
    exposure_of,
    extremes_of,
    filler_of,
    frame_of,
    is_standardized,
    set_codes,
    set_device,
    set_ends,
    set_result,
    set_stream,
    set_width,
    unfitted_loss,
)
from skae._autoencoders.layer_choice import decides_layers, kept_layers, use_layers
from skae._autoencoders.parameters import check_same_network, parameter_names, params_of_fit
from skae._autoencoders.together import (
    check_same_end,
    check_same_start,
    check_together,
    given_together,
)
from skae._compat import draw_seed
from skae._engine.corruption import Hide, noise_units, number_of_versions
from skae._engine.deadline import Deadline
from skae._engine.run import ALONE
from skae._tables.categories import columns_of
from skae._tables.checks import check_rows
from skae._tables.table import make_table
from skae._torch import give_memory_back, memory_explained
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

__all__ = ["fit", "partial_fit"]

EXPECTED = 4096  # number of rows of a stream that its network is wide enough for
ROTATIONS = 6  # number of members that may each rotate all versions of a wide table


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
    filler_choice=None,
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
    filler_choice : FillerChoice or None
        See `Given`.
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
    if goes_on(estimator):
        check_same_network(
            estimator, "warm_start=True", "set warm_start=False to start anew"
        )
    deadline = peers.shared(Deadline(estimator.time_limit))
    estimator._params_of_fit = params_of_fit(estimator)
    how = {"columns": columns, "is_new": not goes_on(estimator), "splits": splits}
    given = given_to_fit(
        estimator, X, y, sample_weight, groups, X_val, X_target, exposure, **how
    )
    given.fills_cells, given.filler_choice = fills_cells, filler_choice
    begin(estimator, given, n_samples=sum(peers.gather(given.X.shape[0])))
    seed = peers.gather(draw_seed(estimator.random_state))[0]
    if goes_on(estimator):  # the same rows are held out as before
        seed = getattr(estimator, "_seed", seed)
    if peers.are_several:
        others = {"exposure": exposure, "X_target": X_target}
        others["folds"] = keeps_folds or None
        check_together(estimator, given, peers, seed, **others)
        given = given_together(estimator, given, peers, seed)
    given = summarised(estimator, given)
    extremes = _extremes(estimator, given)
    ends = extremes.ends(estimator.clip, estimator._loss.can_hold)
    estimator._has_marks = is_told_of_gaps(estimator, given, ends)
    initial = initial_network(estimator, given.X)
    if peers.are_several:
        check_same_start(estimator, initial, peers)
    checkpoint = open_checkpoint(estimator, given, seed, initial, peers)
    seed = seed if checkpoint is None else checkpoint.seed
    learn_statistics(estimator, given, seed, is_new=initial is None)
    with contextlib.ExitStack() as scopes:
        sizes = scopes.enter_context(memory_explained(estimator, given.X.shape))
        if checkpoint is not None:
            scopes.enter_context(checkpoint)
        how = {
            "noise_and_units": _noise_and_units(estimator, given),
            "callbacks": callbacks,
            "checkpoint": checkpoint,
            "deadline": deadline,
            "peers": peers,
            "keeps_folds": keeps_folds,
        }
        table = _table(estimator, given, ends)
        numbers = given.numbers
        del given  # it may hold a sorted copy of the rows
        result = _train(estimator, table, seed, initial, sizes, **how)
        if peers.are_several:
            check_same_end(estimator, result.net.network, peers)
        result = result if keeps_folds else result.without_folds()
        if table.is_wide:
            give_memory_back()
        _set_fitted(estimator, result, extremes, seed)
    return result, numbers


def _extremes(estimator, given):
    """Return the extremes of the features, of earlier fits too if training goes on."""
    before = extremes_of(estimator) if goes_on(estimator) else None
    return given.extremes().joined(before)


def _set_fitted(estimator, result, extremes, seed):
    """Set the fitted attributes, and raise the Ctrl-C that ended training early."""
    before = estimator._inference if goes_on(estimator) else None
    estimator._seed = seed
    set_result(estimator, result.net, result)
    set_ends(estimator, extremes, result.holds)
    set_codes(estimator, result, before)
    if result.interrupt is not None:
        result.interrupt.is_kept = True
        raise result.interrupt


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
        begin(estimator, given, n_expected=EXPECTED)
        check_gaps(estimator, given)
    check_rows(estimator._loss, given.goal, estimator, given.numbers)
    decide_exposure(estimator, given, is_new=is_first)
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
    estimator, table, seed, initial, sizes, *, checkpoint, deadline, keeps_folds, **how
):
    """Train with the given number of components, or find the one that is needed.

    Returns
    -------
    Result
    """
    peers = how["peers"]
    has_choice = decides_layers(estimator, is_new=initial is None)

    def settings_with(n_components):
        set_width(estimator, n_components)  # `_make_module` reads the fitted attribute
        return _settings_for(estimator, table, initial, deadline=deadline, **how)

    def members_with(n_components):
        return make_members(table, estimator._loss, settings_with(n_components), seed)

    def use(is_dense):
        if has_choice:
            use_layers(estimator, is_dense, table.n_own, estimator.n_features_in_)

    def train_layers(n_components, is_dense=False):
        use(is_dense)
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
            checkpoint=None if is_dense else checkpoint,
            keeps_folds=keeps_folds,
        )

    def train_with(n_components):
        train = functools.partial(train_layers, n_components)
        return kept_layers(train, peers, estimator.verbose) if has_choice else train()

    if wants_share(estimator):
        how_many = train_with, members_with, estimator.n_components, deadline
        result = fewest_components(table, *how_many)
    else:
        result = train_with(estimator.n_components_)
    use(result.is_dense)
    return result


def _settings_for(
    estimator, table, initial, *, noise_and_units, callbacks, deadline, peers
):
    """Return the Settings of a fit to a table."""
    columns, hide = columns_of(estimator), None
    share = table.observed_share(slice(None) if columns is None else columns.starts)
    if table.observed is not None:
        hide = _hide(estimator, table, 1 - share, noise_and_units is not None)
    unit = error_unit(
        estimator._loss,
        estimator.scale_,
        estimator.n_features_in_,
        is_standardized(estimator),
    )
    return _settings(
        estimator,
        noise_and_units=noise_and_units,
        hide=hide,
        unit=unit / share,
        callbacks=[] if peers.number else [*(estimator.callbacks or []), *callbacks],
        first_step=0 if initial is None else getattr(estimator, "_n_steps", 0),
        holds_initial=initial is None or estimator._holds,
        deadline=deadline,
        peers=peers,
        verbose=0 if peers.number else estimator.verbose,
    )


def _hide(estimator, table, share, has_noise):
    """Return what hides such a share of the cells of a table that has missing cells."""
    columns, n_versions = columns_of(estimator), 0
    if not has_noise:  # with it filled values change, so that every step hides cells anew
        n_copies = 1 if table.has_marks else ROTATIONS
        n_versions = number_of_versions(n_copies * table.X.size)
    feature_of = None if columns is None else columns.feature_of
    return Hide(filler_of(estimator), share, n_versions, feature_of)


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
        batch_share=kind.batch_share,
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
