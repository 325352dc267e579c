"""The loss of a table of mixed types: each column has its own, and all count alike."""

import dataclasses
import functools
import itertools
from collections.abc import Iterable
from itertools import chain

import numpy as np
import torch

from skae._tables.scaling import nan_location_and_scale, shares
from skae.losses import _starts
from skae.losses._base import Loss
from skae.losses._exposed import exposed
from skae.losses._named import LOSSES

__all__ = ["OF_COLUMNS", "loss_of_columns", "mixed_loss"]

OF_COLUMNS = (
    "squared_error",
    "absolute_error",
    "huber",
    "binary_cross_entropy",
    "poisson",
)
PADDING = -1e30  # logit of a class that a group does not have
UNLIKELY = -100.0  # logit in a missing cell
SHOWN = 8  # number of columns that a message names
N_ITER = 50  # number of iterations of a softmax regression
ROUNDING = 1e-5  # tolerance of a group's sum, which may have been rounded to float32


def mixed_loss(loss, n_features, feature_names, owner, has_exposure=False):
    """Return the loss of a table in which each column has a loss of its own.

    Every column, or group of one-hot columns, counts alike: its error is divided by
    that of its best constant, as in the factor analysis of mixed data (Pagès 2004,
    "Analyse factorielle de données mixtes"). For the squared, the absolute and Huber's
    error an output is the deviation from the column's mean in standard deviations.

    Parameters
    ----------
    loss : dict of str to list
        A key in `OF_COLUMNS` has a list of columns, given by index or name. The key
        "cross_entropy" has a list of groups of one-hot columns; each group is a softmax.
    n_features : int
    feature_names : sequence of str or None
    owner : str
        Name of the estimator's class, for messages.
    has_exposure : bool
        Whether targets end with the exposure of the row's counts, see `exposed`.

    Returns
    -------
    Loss
        A loss that can be used after `Loss.fitted`.

    Raises
    ------
    ValueError
        If a name is unknown, if a column is not named exactly once, or if a group has
        only one column.
    """
    terms = _terms(loss, n_features, feature_names, owner)
    return loss_of_columns(terms, n_features, has_exposure)


def loss_of_columns(terms, n_features, has_exposure=False):
    """Return the `mixed_loss` of columns that are given by index.

    Parameters
    ----------
    terms : dict of str to list of int
        The value of "cross_entropy" is a list of lists. A group may have one column.
    n_features : int
    has_exposure : bool
        See `mixed_loss`.
    """
    low, high = np.full(n_features, -np.inf), np.full(n_features, np.inf)
    names, (can_hold, is_count) = [""] * n_features, np.zeros((2, n_features), dtype=bool)
    for name, columns in terms.items():
        bounds = (0.0, 1.0) if name == "cross_entropy" else LOSSES[name].bounds
        for j in _indices(name, columns):
            low[j], high[j], names[j] = *bounds, name
            can_hold[j] = name != "cross_entropy" and LOSSES[name].can_hold
            is_count[j] = name != "cross_entropy" and LOSSES[name].is_count
    groups = terms.get("cross_entropy", [])
    return Loss(
        _unfitted,
        decoder_start=_unfitted,
        bounds=(low, high),
        can_hold=can_hold,
        is_count=is_count,
        name=names,
        checks=(functools.partial(_check_groups, groups),),
        statistics=functools.partial(_statistics, terms, has_exposure),
        fit=functools.partial(_fit, terms, has_exposure),
    )


def _unfitted(*args):
    raise RuntimeError("A loss of mixed columns was used before `Loss.fitted`.")


def _statistics(terms, has_exposure, X, weights=None):
    """Return the means and scales (p,) of columns and the errors (p,) of best constants.

    All columns of a group have the error of the group. A scale is 1 where a column does
    not vary. An error is 0 where a column has no values, and where it does not vary and
    its loss is measured in scaled units.
    """
    X, exposure = (X[:, :-1], X[:, -1:]) if has_exposure else (X, None)
    mean, scale = nan_location_and_scale(X, weights)
    varies = scale > 0
    scale[~varies] = 1.0
    baseline = np.zeros(X.shape[1])
    row_weights = np.ones(len(X)) if weights is None else weights
    for name, columns in terms.items():
        if name == "cross_entropy":
            for group in columns:
                table = torch.tensor(X[:, group], dtype=torch.float64)
                log_shares = _log_shares_of(table, torch.tensor(row_weights))
                baseline[group] = -(log_shares.exp() * log_shares).sum()
            continue
        for j in columns:
            has_value = ~np.isnan(X[:, j])
            values, w = X[has_value][:, [j]].astype(np.float64), row_weights[has_value]
            if has_exposure:
                values = np.concatenate([values, exposure[has_value]], axis=1)
            # A loss of counts has a mean of its own, which is never zero.
            loss = _loss_of(name, has_exposure)
            mean[j] = loss.measure(values, w).get("mean", mean[j]).item()
            if varies[j] or (len(values) and not loss.of_scaled):
                ends = [torch.tensor([end]) for end in (mean[j], scale[j], 1.0)]
                term = _Columns(name, [0], has_exposure, *ends)
                values = torch.from_numpy(values)
                constant = term.constant(values, torch.tensor(w)).expand(len(values), 1)
                baseline[j] = np.average(term.errors(constant, values).numpy(), weights=w)
    return {"mean": mean, "scale": scale, "baseline": baseline}


def _loss_of(name, has_exposure):
    """Return the loss of a column, whose targets end with exposures if it is of counts."""
    loss = LOSSES[name]
    return exposed(loss) if has_exposure and loss.is_count else loss


def _fit(terms, has_exposure, loss, **statistics):
    parts = [
        _Groups(columns, statistics["baseline"])
        if name == "cross_entropy"
        else _Columns(name, columns, has_exposure, **statistics)
        for name, columns in terms.items()
    ]
    mix = _Mix(parts)
    return dataclasses.replace(
        loss,
        function=mix.function,
        inverse_link=mix.inverse_link,
        decoder_start=mix.decoder_start,
        constant=mix.constant,
        missing=mix.missing(),
        units_of_output=mix.units(),
        statistics=None,
    )


def _inverse(baseline):
    """Return 1 / baseline, and 1 where there is nothing to reconstruct."""
    return torch.where(baseline > 0, 1 / baseline, 1.0)


# -- reading the dict ------------------------------------------------------------------


def _terms(loss, n_features, feature_names, owner):
    """Return the dict with column indices in the place of names.

    A value is a list of indices, and that of "cross_entropy" a list of such lists.
    """
    unknown = sorted(set(loss) - {*OF_COLUMNS, "cross_entropy"}, key=str)
    if unknown or not loss:
        raise ValueError(
            f"The keys of the dict loss of {owner} must be among "
            f"{[*OF_COLUMNS, 'cross_entropy']}, got {unknown}."
        )
    indices = {} if feature_names is None else {n: j for j, n in enumerate(feature_names)}
    unknown_columns, terms = [], {}

    def index(column):
        j = indices.get(column, column) if isinstance(column, str) else column
        is_index = isinstance(j, (int, np.integer)) and not isinstance(j, bool)
        if not is_index or not 0 <= j < n_features:
            unknown_columns.append(column)
            return 0
        return int(j)

    for key, columns in loss.items():
        if isinstance(columns, str) or not isinstance(columns, Iterable):
            raise ValueError(
                f"loss[{key!r}] of {owner} must be a list of columns, got {columns!r}."
            )
        if key != "cross_entropy":
            terms[key] = [index(column) for column in columns]
        elif any(isinstance(group, (str, int, np.integer)) for group in columns):
            raise ValueError(
                f"loss['cross_entropy'] of {owner} must be a list of groups of one-hot "
                f"columns, such as [['red', 'green', 'blue']], got {columns!r}."
            )
        else:
            terms[key] = [[index(column) for column in group] for group in columns]
            _check_sizes(columns, owner)
    _check_cover(terms, unknown_columns, n_features, feature_names, owner)
    return {key: columns for key, columns in terms.items() if columns}


def _indices(key, columns):
    return list(chain(*columns)) if key == "cross_entropy" else columns


def _check_cover(terms, unknown_columns, n_features, feature_names, owner):
    """Refuse columns that are unknown, named twice, or not named."""
    names = range(n_features) if feature_names is None else feature_names
    named = list(chain(*itertools.starmap(_indices, terms.items())))
    counts = np.bincount(np.array(named, dtype=int), minlength=n_features)
    problems = {
        "named twice": [names[j] for j in np.flatnonzero(counts > 1)],
        "not named": [names[j] for j in np.flatnonzero(counts == 0)],
    }
    if unknown_columns:  # the other problems may come from the same misspelling
        problems = {"unknown": unknown_columns}
    found = [f"{what}: {_some(which)}" for what, which in problems.items() if which]
    if not found:
        return
    advice = ""
    if unknown_columns and feature_names is not None:
        advice = f" The columns of X are {_some(names)}."
    elif unknown_columns:
        advice = (
            f" X has no column names: give it as a DataFrame with string names, or name "
            f"the columns by their indices, 0 to {n_features - 1}."
        )
    raise ValueError(
        f"The dict loss of {owner} must name each of the {n_features} columns once; "
        f"{'; '.join(found)}.{advice}"
    )


def _some(names):
    """Return text with the first names of a list, and how many more there are."""
    first = str([*map(str, names[:SHOWN])])
    return first if len(names) <= SHOWN else f"{first} and {len(names) - SHOWN} more"


def _check_sizes(groups, owner):
    """Refuse groups of one column, because their softmax is 1 in every row."""
    for group in groups:
        if len(group) < 2:
            raise ValueError(
                f"loss['cross_entropy'] of {owner} takes groups of two or more one-hot "
                "columns, because the probabilities of a group sum to 1, got the group "
                f"{[*group]}. Name a single column under 'binary_cross_entropy', or "
                "encode all its classes with OneHotEncoder(drop=None)."
            )


def _check_groups(groups, X, owner, feature_names, numbers):
    """Refuse rows in which the columns of a group do not sum to 1."""
    for group in groups:
        totals = X[:, group].sum(axis=1)
        wrong = np.flatnonzero(np.abs(totals - 1) > ROUNDING)  # NaN compares as False
        if len(wrong):
            i = min(wrong, key=numbers.__getitem__)
            names = group if feature_names is None else np.take(feature_names, group)
            raise ValueError(
                f"loss['cross_entropy'] of {owner} takes groups of one-hot columns, "
                f"which sum to 1 in every row, but row {numbers[i]} of the columns "
                f"{[*map(str, names)]} of X has the sum {totals[i]:.8g}. Encode all "
                "classes with OneHotEncoder(drop=None). Where the class is not known, "
                "fill the columns of the group with NaN and set allow_nan=True."
            )


# -- terms -----------------------------------------------------------------------------


class _Columns:
    """One loss for some columns, each measured against its best constant.

    The error of a cell is loss(output, (x - mean) / scale) / baseline. Mean and scale are
    those of the column if the loss is measured in scaled units, otherwise 0 and 1.

    Parameters
    ----------
    name : str
    columns : list of c int
    has_exposure : bool
        Whether the target ends with the exposure of the row.
    mean, scale, baseline : Tensor of shape (n_features,)
    """

    def __init__(self, name, columns, has_exposure, mean, scale, baseline):
        loss = _loss_of(name, has_exposure)
        mean, scale = mean[columns], scale[columns]
        self.columns = columns
        self.has_exposure = has_exposure and loss.is_count
        self.loss = loss.fitted({"mean": mean})
        # A loss sums over the last axis. With features on the axis of the samples, and a
        # last axis of length one, it returns one number for each cell.
        self.cells = loss.fitted({"mean": mean[:, None]})
        self.mean = mean if loss.of_scaled else torch.zeros_like(mean)
        self.scale = scale if loss.of_scaled else torch.ones_like(scale)
        self.weight = _inverse(baseline[columns])

    def _scaled(self, X):
        return (X[..., self.columns] - self.mean.to(X)) / self.scale.to(X)

    def errors(self, output, X):
        output = output[..., self.columns, None]
        cells = self._scaled(X)[..., None]
        if self.has_exposure:
            exposure = X[..., -1:, None].expand_as(cells)
            cells = torch.cat([cells, exposure], dim=-1)
        errors = self.cells.function(output, cells)
        return errors @ self.weight.to(output)

    def reconstruct(self, output):
        part = self.loss.reconstruction(output[..., self.columns])
        return part * self.scale.to(part) + self.mean.to(part)

    def start(self, Z, X, weights):
        start = self.loss.decoder_start or _starts.least_squares
        return start(Z, self._target(X), weights)

    def constant(self, X, weights):
        return self.loss.constant(self._target(X), weights)

    def _target(self, X):
        """Return the scaled columns of rows (n, p), or of rows that exposures follow."""
        if not self.has_exposure:
            return self._scaled(X)
        return torch.cat([self._scaled(X), X[:, -1:]], dim=1)

    def units(self):
        """Return the mean and the scale (c,) of the units of the output."""
        return self.mean, self.scale

    def missing(self):
        """Return output and X (c,) with which a cell adds nothing to the loss."""
        output, X = self.loss.missing
        return torch.full_like(self.mean, output), self.mean + X * self.scale


class _Groups:
    """Cross-entropies of groups of one-hot columns, each over its best constant's.

    Parameters
    ----------
    groups : list of g lists of int
    baseline : Tensor of shape (n_features,)
    """

    def __init__(self, groups, baseline):
        width = max(map(len, groups))
        padded = [[*group, *[group[0]] * (width - len(group))] for group in groups]
        lengths = torch.tensor([len(group) for group in groups])
        self.groups = groups
        self.table = torch.tensor(padded)  # (g, width)
        self.is_padding = torch.arange(width) >= lengths[:, None]
        self.columns = list(chain(*groups))
        self.weight = _inverse(baseline[self.table[:, 0]])

    def _log_shares(self, output):
        logits = output[..., self.table.to(output.device)]
        is_padding = self.is_padding.to(output.device)
        return logits.masked_fill(is_padding, PADDING).log_softmax(-1)

    def errors(self, output, X):
        X = X[..., self.table.to(X.device)]
        X = X.masked_fill(self.is_padding.to(X.device), 0.0)
        return -(X * self._log_shares(output)).sum(-1) @ self.weight.to(output)

    def reconstruct(self, output):
        return self._log_shares(output).exp()[..., ~self.is_padding.to(output.device)]

    def start(self, Z, X, weights):
        """Fit softmax regressions; return their weights and biases, one under the other.

        They ascend by the bound of Böhning (1992), "Multinomial logistic regression
        algorithm": the Hessian never exceeds half the Gram matrix.
        """
        tables = [X[:, group] for group in self.groups]
        starts = [
            _starts.bounded_ascent(
                Z,
                table,
                weights,
                mean=functools.partial(torch.softmax, dim=-1),
                bias=_log_shares_of(table, weights),
                curvature=0.5,
                n_iter=N_ITER,
            )
            for table in tables
        ]
        weights, biases = zip(*starts, strict=True)
        return torch.cat(weights), torch.cat(biases)

    def constant(self, X, weights):
        return torch.cat([_log_shares_of(X[:, group], weights) for group in self.groups])

    def units(self):
        zeros = torch.zeros(len(self.columns), dtype=torch.float64)
        return zeros, zeros + 1

    def missing(self):
        none = torch.zeros(len(self.columns), dtype=torch.float64)
        return none + UNLIKELY, none


def _log_shares_of(table, weights):
    """Return the logarithms (m,) of the shares of the classes of a table (n, m)."""
    counts = len(table) * shares(table, weights) @ table.nan_to_num()
    floor = torch.where(counts == 0, 0.5, counts)  # an empty class gets half a row
    return torch.log(floor / floor.sum())


class _Mix:
    """The sum of the losses of all columns, with functions as `Loss` wants them."""

    def __init__(self, terms):
        self.terms = terms
        columns = [j for term in terms for j in term.columns]
        self.columns = torch.tensor(columns)
        self.order = torch.argsort(self.columns)

    def function(self, output, X):
        return sum(term.errors(output, X) for term in self.terms)

    def inverse_link(self, output):
        parts = [term.reconstruct(output) for term in self.terms]
        return torch.cat(parts, dim=-1)[..., self.order.to(output.device)]

    def decoder_start(self, Z, X, weights=None):
        starts = [term.start(Z, X, weights) for term in self.terms]
        slopes, biases = zip(*starts, strict=True)
        return torch.cat(slopes)[self.order], torch.cat(biases)[self.order]

    def constant(self, X, weights=None):
        parts = [term.constant(X, weights) for term in self.terms]
        return torch.cat(parts)[self.order]

    def missing(self):
        return self._in_order(term.missing() for term in self.terms)

    def units(self):
        return self._in_order(term.units() for term in self.terms)

    def _in_order(self, pairs):
        """Join pairs of Tensors of the columns of each term; return two Tensors (p,)."""
        parts = zip(*pairs, strict=True)
        return tuple(torch.cat(columns)[self.order] for columns in parts)
