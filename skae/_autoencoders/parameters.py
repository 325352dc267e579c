"""The parameters that a fit was made with.

A user may change parameters of a fitted estimator, for the next fit. Therefore everything
that is done with the fitted network, and every copy of it, uses
`estimator._params_of_fit`, a dict of the parameters that the last fit was made with.
"""

import numpy as np
from sklearn.base import BaseEstimator

from skae._engine.checkpoint import described
from skae.losses._mixed import OF_COLUMNS

__all__ = [
    "check_clip",
    "check_same_network",
    "check_with_categories",
    "contents",
    "parameter_names",
    "params_of_fit",
    "takes",
]

# Parameters that are of no use once a fit has ended. They may hold anything, such as an
# open file. Therefore an estimator keeps them only in the parameter itself.
OF_THE_FIT_ALONE = {
    "callbacks",
    "checkpoint",
    "cv",
    "distributed",
    "noise",
    "random_state",
    "regularizer",
    "time_limit",
    "verbose",
    "warm_start",
}

WIDTHS = {"n_components": "n_components_", "hidden_layer_sizes": "hidden_layer_sizes_"}


def takes(parameter):
    """Return a function that says whether an estimator takes a parameter of the table."""
    return lambda estimator: parameter not in estimator._fixed_parameters


def parameter_names(estimator):
    """Return the names of all parameters, also of those that a subclass does not take.

    If the `__init__` of a subclass takes only some of the parameters and sets the others
    itself, `get_params` has only the former. The same holds for `_fixed_parameters`.
    """
    kinds = [kind for kind in type(estimator).__mro__ if issubclass(kind, BaseEstimator)]
    names = {name for kind in kinds for name in kind._get_param_names()}
    return sorted(names.union(estimator._fixed_parameters))


def params_of_fit(estimator):
    """Return a dict of the parameters, with copies of values that a user could change."""
    return {
        name: contents(getattr(estimator, name))
        for name in parameter_names(estimator)
        if name not in OF_THE_FIT_ALONE
    }


def check_clip(estimator, loss):
    """Refuse clip=True of a loss whose reconstructions are not held at ends."""
    is_asked = estimator.clip != "auto" and estimator.clip
    if is_asked and not np.any(loss.can_hold):
        raise ValueError(
            f"clip=True of {type(estimator).__name__} needs loss='squared_error', "
            "'absolute_error', 'huber', or a dict with columns of these, got "
            f"loss={estimator.loss!r}. Set clip='auto' or another loss."
        )


def check_with_categories(estimator):
    """Refuse parameters that contradict columns of categories, which X has."""
    name = type(estimator).__name__
    wanted = {"module": None, "sample_shape": None}
    wrong = [key for key, value in wanted.items() if getattr(estimator, key) is not value]
    if wrong:
        raise ValueError(
            f"X of {name}.fit has columns of categories, which cannot be combined with "
            f"{wrong[0]}={getattr(estimator, wrong[0])!r}. Set {wrong[0]}=None, or "
            "categorical_features=None and encode the categories yourself."
        )
    if not isinstance(estimator.loss, str) or estimator.loss not in OF_COLUMNS:
        raise ValueError(
            f"loss of {name} is that of the columns of numbers if X has columns of "
            f"categories. It must be in {[*OF_COLUMNS]}, got {estimator.loss!r}. Set one "
            "of these, or categorical_features=None and encode the categories yourself."
        )
    if estimator.handle_unknown == "ignore" and not estimator.allow_nan:
        raise ValueError(
            f"handle_unknown='ignore' of {name} takes unknown categories as missing "
            "values, which needs allow_nan=True. Set it, or handle_unknown='error'."
        )


def check_same_network(estimator, request, remedy, with_widths=False):
    """Refuse to go on with a network if the parameters would now make another one.

    Parameters
    ----------
    estimator : estimator
        Fitted estimator, whose parameters may have been changed since.
    request : str
        Name of the method or parameter that asks to go on, for the message.
    remedy : str
        Advice, for the message.
    with_widths : bool
        Whether the widths must be the same too.
    """
    names = sorted(estimator._network_parameters)
    if with_widths:
        names += [name for name in WIDTHS if name in estimator._params_of_fit]
    changed = [name for name in names if not _is_as_fitted(estimator, name)]
    if changed:
        before = ", ".join(f"{n}={estimator._params_of_fit[n]!r}" for n in changed)
        now = ", ".join(f"{n}={getattr(estimator, n)!r}" for n in changed)
        raise ValueError(
            f"{request} of {type(estimator).__name__} goes on with the network of the last "
            f"fit, which was made with {before}, but now {now}. Set the parameters "
            f"back, or {remedy}."
        )


def _is_as_fitted(estimator, name):
    """Whether a parameter has the value that the estimator was fitted with."""
    now, before = getattr(estimator, name), estimator._params_of_fit[name]
    if callable(now) or callable(before):
        return now == before
    values = [before]
    if name in WIDTHS:
        values.append(getattr(estimator, WIDTHS[name]))
    return described(contents(now)) in map(described, values)


def contents(value):
    """Return the value of a parameter, with copies of its lists, dicts and arrays."""
    if type(value) is np.ndarray:
        return value.copy()
    if type(value) is dict:
        return {key: contents(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(contents, value))
    return value
