"""What the processes of a distributed fit tell each other before training."""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from skae._autoencoders.before_training import wants_share
from skae._autoencoders.exposures import counted_columns
from skae._engine.checkpoint import digest_of_weights
from skae._tables.block_summary import MOST_FEATURES, Summary, moments
from skae._tables.blocks import Blocks
from skae._tables.categories import columns_of
from skae._tables.checks import check_rows
from skae._tables.dependence import (
    Dependence,
    held_out_keys,
    is_held_out,
    number_of_keys,
    row_keys,
)
from skae._tables.rows import Followed, is_small, rows_of
from skae._tables.table import Shared, distance_of_sampled
from skae._torch import make_generator
from skae._training.members import MOST_HELD_OUT, split

__all__ = ["check_same_end", "check_same_start", "check_together", "given_together"]

# Arguments of `fit` that need one process, each with what to do.
ARGUMENTS = {
    "X_target": "X_target: pass the rows to reconstruct as X",
    "exposure": "exposure: leave it out, and set exposure=None",
    "folds": "the folds of an outlier detector or an imputer",
}

# Up to so many rows of all processes are divided as if one process had them.
MOST_AS_ONE = 2**20
SAMPLED = 2**22  # number of values of the rows that the codes of all processes are made of


def check_together(estimator, given, peers, seed, **arguments):
    """Refuse parameters and arguments of `fit` that need one process.

    Parameters
    ----------
    estimator : estimator
    given : Given
    peers : Peers
    seed : int
    **arguments : dict of str and (array-like or None)
        Optional arguments of `fit` that are refused, see `ARGUMENTS`.

    Raises
    ------
    ValueError
    """
    owner = type(estimator).__name__
    refused = [ARGUMENTS[name] for name, value in arguments.items() if value is not None]
    refused += _refused(estimator, given)
    if refused:
        raise ValueError(
            f"distributed=True of {owner} does not take {'; nor '.join(refused)}. Or fit "
            "in one process, with distributed=False."
        )
    if estimator._network_kind.has_own_code:
        _check_own_network(estimator, peers, seed)


def _refused(estimator, given):
    """Return which parameters are refused, each with what to do."""
    k, refused = estimator.n_components, []
    if estimator.allow_nan:
        refused.append("allow_nan=True: fill missing cells before fit")
    if not isinstance(estimator.cv, str):
        refused.append(f"cv={estimator.cv!r}: leave cv='auto', which holds out a share")
    if wants_share(estimator):
        if not estimator.early_stopping:
            refused.append(f"n_components={k!r} with early_stopping=False: set a number")
        if given.X.shape[1] > MOST_FEATURES:
            few = f"n_components={k!r} with more than {MOST_FEATURES} features"
            refused.append(f"{few}: set a number")
    if getattr(estimator, "normalization", None) == "batch":
        refused.append("normalization='batch': set normalization='layer'")
    if columns_of(estimator) is not None:
        refused.append("columns of categories: encode them before fit")
    elif counted_columns(estimator, estimator._loss, given) is not None:
        refused.append("counts with an exposure: set exposure=None")
    return refused


def _check_own_network(estimator, peers, seed):
    """Refuse a user's network that the processes could not train together."""
    owner, n = type(estimator).__name__, estimator.n_features_in_
    network = estimator._make_module(n, n, make_generator(seed))
    # Batch and instance normalization of torch have this attribute.
    has_running = [getattr(m, "track_running_stats", False) for m in network.modules()]
    if any(has_running):
        raise ValueError(
            f"distributed=True of {owner} does not take a module whose batch normalization "
            "keeps statistics of the rows of one process. Use another normalization, such "
            "as torch.nn.LayerNorm or GroupNorm."
        )
    if _differs(network, peers):
        raise ValueError(
            f"module of {owner} makes different networks in the processes, which have to "
            "begin with the same weights. Leave out what depends on the process."
        )


def _differs(network, peers):
    """Whether the processes have networks of different weights."""
    return len(set(peers.gather(digest_of_weights(network)))) > 1


def check_same_end(estimator, network, peers):
    """Refuse networks that differ between processes after training."""
    if _differs(network, peers):
        raise ValueError(
            f"module of {type(estimator).__name__} has ended with different networks in "
            "the processes, because it changes itself by the rows that it is given, which "
            "only weights with gradients may. Fit it in one process, with "
            "distributed=False."
        )


def check_same_start(estimator, initial, peers):
    """Refuse a warm start from networks that differ between processes.

    Parameters
    ----------
    estimator : estimator
    initial : nn.Module or None
    peers : Peers
    """
    start = None
    if initial is not None:
        scale = np.atleast_1d(estimator.scale_).tolist()
        start = digest_of_weights(initial), estimator.mean_.tolist(), scale
    if any(other != start for other in peers.gather(start)):
        raise ValueError(
            f"warm_start=True of {type(estimator).__name__} goes on with the network of "
            "the last fit, and processes have different ones. Set warm_start=False to "
            "start anew, or give all processes the same fitted estimator."
        )


def given_together(estimator, given, peers, seed):
    """Return the arguments of `fit` for this process, with what is known of all rows.

    Rows, or groups of rows, that depend on each other are on the same side in all
    processes. All processes get all held-out rows, and make the same choices with them. Up
    to `MOST_AS_ONE` rows are held out, and put into batches, as in a fit of one process.
    More are held out by their values.

    Parameters
    ----------
    estimator : estimator
    given : Given
        The rows of this process, of which there may be none, with weights and keys of
        groups as the user passed them.
    peers : Peers
    seed : int

    Returns
    -------
    Given
        Its table is read on access if one of the processes has a large one.
    """
    owner = type(estimator).__name__
    if isinstance(given.X, Blocks):
        raise ValueError(
            f"X of {owner}.fit with distributed=True must not be a large dask table, whose "
            "blocks would be computed in every process. Pass the rows of each process."
        )
    optional = given.weights, given.groups, given.X_val
    told = peers.gather((given.X.shape, [part is not None for part in optional]))
    shapes, has = [shape for shape, _ in told], np.array([has for _, has in told])
    _check_alike(shapes, has[:, 1], owner)
    has_weights, has_groups, has_val = has.any(axis=0)
    n_samples = sum(n for n, _ in shapes)
    if has_weights:
        w = np.ones(given.X.shape[0]) if given.weights is None else given.weights
        given.weights = w * (n_samples / sum(peers.gather(w.sum())))
    if has_groups and given.groups is None:
        given.groups = np.empty(0, dtype=np.uint64)
    check_rows(estimator._loss, given.X, estimator)
    keys = row_keys(given.X)
    labels = _labels(given.groups, keys, n_samples, peers)
    is_judge = np.zeros(len(keys), dtype=bool)
    if estimator.early_stopping and not has_val:
        is_judge = labels.held_out(n_samples, estimator.validation_fraction, seed)
    held_out = _held_out(given, is_judge, keys, labels.labels, peers, has_val)
    if estimator.early_stopping:
        _check_enough(held_out, n_samples, owner)
    n_before = sum(n for n, _ in shapes[: peers.number])
    summary, sample_weights = _summary(estimator, given, keys, n_before, n_samples, peers)
    own, w = np.flatnonzero(~is_judge), given.weights
    told = peers.gather((len(own), len(own) if w is None else w[own].sum()))
    numbers, weights = zip(*told, strict=True)
    n_trained, weight = sum(numbers), sum(weights)
    return dataclasses.replace(
        given,
        X=_followed(given.X, own, held_out.X, all(is_small(*shape) for shape in shapes)),
        weights=np.concatenate([w[own], held_out.weights]) if has_weights else None,
        X_val=None,
        groups=None,
        summary=summary,
        shared=Shared(
            n_held_out=len(held_out.X),
            n_trained=n_trained,
            n_different=labels.n_different,
            n_before=sum(numbers[: peers.number]) if n_samples <= MOST_AS_ONE else None,
            mean_weight=weight / max(n_trained, 1),
            sample_weights=sample_weights,
        ),
        known_dependence=Dependence(_copies(len(own), held_out.labels)),
    )


def _copies(n_own, labels):
    """Return numbers of rows, each of n_own by itself, and of rows with these labels."""
    copies = np.arange(n_own + len(labels))
    copies[n_own:] = n_own + labels
    return copies


def _check_alike(shapes, has_groups, owner):
    """Refuse tables of different widths, and groups that are not given for all rows."""
    widths = [width for _, width in shapes]
    if len(set(widths)) > 1:
        raise ValueError(
            f"X of {owner}.fit with distributed=True must have the same columns in all "
            f"processes, got {widths}."
        )
    if sum(n for n, _ in shapes) < 2:
        raise ValueError(f"{owner}.fit needs at least 2 rows in all processes together.")
    lacks = [n > 0 and not has for (n, _), has in zip(shapes, has_groups, strict=True)]
    if has_groups.any() and any(lacks):
        raise ValueError(
            f"groups of {owner}.fit with distributed=True must be passed in every process "
            "that has rows, or in none."
        )


def _check_enough(held_out, n_samples, owner):
    """Refuse fewer than two held-out rows, which cannot choose an epoch."""
    if len(held_out.X) < 2:
        raise ValueError(
            f"distributed=True of {owner} holds out a share validation_fraction of the "
            f"rows, which are {n_samples} in all processes, and needs at least 2 held-out "
            "rows. Fit so few rows in one process, or set early_stopping=False."
        )


class _LabelsAsOne:
    """Labels of the rows of this process, equal for those that are held out together.

    The same rows are held out as in a fit of one process to the rows of all, one process
    after another.

    Parameters
    ----------
    dependence : Dependence
        Which rows of all processes depend on each other.
    mine : slice
        Numbers of the rows of this process among them.
    """

    def __init__(self, dependence, mine):
        self.dependence, self.mine = dependence, mine
        self.labels = dependence.labels[mine]
        self.n_different = int(dependence.labels.max()) + 1

    def held_out(self, n_samples, validation_fraction, seed):
        """Do what that of `_LabelsByValue` does."""
        how = {"validation_fraction": validation_fraction, "seed": seed}
        [(trained, _)] = split(self.dependence, can_cross_fit=False, **how)
        is_judge = np.ones(n_samples, dtype=bool)
        is_judge[trained] = False
        return is_judge[self.mine]


class _LabelsByValue:
    """The same for rows that are too many to be compared by all processes.

    Parameters
    ----------
    labels : ndarray of uint64 of shape (n,)
    n_different : int
        Number of different labels of all processes. Without groups, rows that are equal in
        two processes count twice.
    distinct : ndarray of uint64 or None
        Different labels of all processes, if they are those of groups.
    """

    def __init__(self, labels, n_different, distinct=None):
        self.labels, self.n_different, self.distinct = labels, n_different, distinct

    def held_out(self, n_samples, validation_fraction, seed):
        """Return which rows (n,) of this process are held out.

        Parameters
        ----------
        n_samples : int
            Number of rows in all processes.
        validation_fraction : float
        seed : int
        """
        share = min(validation_fraction, MOST_HELD_OUT / n_samples)
        if self.distinct is None:
            return is_held_out(self.labels, share, seed)
        n_chosen = min(max(1, int(share * self.n_different)), self.n_different - 1)
        return np.isin(self.labels, held_out_keys(self.distinct, n_chosen, seed))


def _labels(groups, keys, n_samples, peers):
    """Return the labels of rows with these groups, or with these keys of their values."""
    if n_samples <= MOST_AS_ONE:
        n_rows = peers.gather(len(keys))
        first = sum(n_rows[: peers.number])
        if groups is not None:
            groups = Dependence.of_keys(peers.gather_rows(groups)).copies
        dependence = Dependence.of_keys(peers.gather_rows(keys), groups)
        return _LabelsAsOne(dependence, slice(first, first + len(keys)))
    if groups is None:
        return _LabelsByValue(keys, sum(peers.gather(number_of_keys(keys))))
    distinct = np.unique(peers.gather_rows(np.unique(groups)))
    return _LabelsByValue(groups, len(distinct), distinct)


class _HeldOut(NamedTuple):
    """Held-out rows of all processes, with weights, and labels of those that are alike."""

    X: np.ndarray
    weights: np.ndarray
    labels: np.ndarray


def _held_out(given, is_judge, keys, labels, peers, has_val):
    """Return the _HeldOut rows of all processes: those of the user's, or chosen ones."""
    if has_val:
        X = given.X_val
        X = peers.gather_rows(rows_of(given.X, np.arange(0)) if X is None else X)
        return _HeldOut(X, np.ones(len(X)), np.arange(len(X)))
    chosen = np.flatnonzero(is_judge)
    w = np.ones(len(chosen)) if given.weights is None else given.weights[chosen]
    parts = rows_of(given.X, chosen), w, labels[chosen]
    X, w, labels = (peers.gather_rows(part) for part in parts)
    if given.groups is not None:  # a row may equal one of another group
        is_copy = np.isin(peers.gather_rows(keys[chosen]), keys[~is_judge])
        is_new = ~np.any(peers.gather(is_copy), axis=0)
        X, w, labels = X[is_new], w[is_new], labels[is_new]
    return _HeldOut(X, w, Dependence.of_keys(labels).copies)


def _summary(estimator, given, keys, n_before, n_samples, peers):
    """Return the Summary of the rows of all processes, and the weights of its sample."""
    X, w, found = given.X, given.weights, None
    if X.shape[0]:
        how = {"n_components": estimator.n_components_}
        how["standardize"] = estimator._params_of_fit["standardize"]
        found = moments(X, w, **how)
    parts = zip(*filter(None, peers.gather(found)), strict=True)
    pca, extremes = (functools.reduce(lambda a, b: a.joined(b), part) for part in parts)
    every = distance_of_sampled(n_samples, X.shape[1], SAMPLED)
    some = np.arange(-n_before % every, X.shape[0], every)
    rows = peers.gather_rows(rows_of(X, some))
    w = None if w is None else peers.gather_rows(w[some])
    return Summary(pca, extremes, keys, np.arange(0), rows), w


def _followed(X, own, others, is_copied):
    """Return some rows of a table and after them others, as an array or read on access."""
    return np.concatenate([X[own], others]) if is_copied else Followed(X, own, others)
