"""Private functions of scikit-learn that the package uses, imported in one place."""

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._missing import is_pandas_na, is_scalar_nan
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import (
    Hidden,
    Interval,
    MissingValues,
    RealNotInt,
    StrOptions,
    validate_parameter_constraints,
    validate_params,
)
from sklearn.utils._set_output import ADAPTERS_MANAGER, _get_container_adapter

__all__ = [
    "Hidden",
    "Interval",
    "MissingValues",
    "RealNotInt",
    "StrOptions",
    "_fit_context",
    "_get_container_adapter",
    "check_matplotlib_support",
    "draw_seed",
    "in_container",
    "in_frame_like",
    "is_pandas_na",
    "is_scalar_nan",
    "validate_parameter_constraints",
    "validate_params",
]


def in_container(estimator, array, columns, like):
    """Return `array` as the kind of frame that `estimator.set_output` was called with.

    Parameters
    ----------
    estimator : estimator with `set_output`
    array : ndarray of shape (n_samples, n_columns)
    columns : array-like of str of shape (n_columns,)
    like : array-like or frame of n_samples rows
        Its index becomes that of a pandas frame.

    Returns
    -------
    frame or ndarray of shape (n_samples, n_columns)
        `array` itself if no kind of frame was set.
    """
    adapter = _get_container_adapter("transform", estimator)
    if adapter is None:
        return array
    return adapter.create_container(array, like, columns=lambda: columns)


def in_frame_like(like, array, columns):
    """Return `array` as a frame of the kind that `like` is, otherwise as it is.

    Parameters
    ----------
    like : array-like or frame of n_samples rows
        Its index becomes that of a pandas frame.
    array : ndarray of shape (n_samples, n_columns)
    columns : array-like of str of shape (n_columns,)
    """
    if not hasattr(like, "columns"):
        return array
    for adapter in ADAPTERS_MANAGER.adapters.values():
        if type(like).__module__.split(".")[0] == adapter.container_lib:
            return adapter.create_container(array, like, columns=lambda: columns)
    return array


def draw_seed(random_state):
    """Draw a seed from `random_state`, by scikit-learn's rules for that parameter."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
