"""Messages and warnings about a fit that did not end well."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

__all__ = [
    "interrupted",
    "kept_line",
    "no_weights",
    "warn_of_few_epochs",
    "warn_of_target",
    "warn_of_units",
    "warn_of_values",
]


def interrupted(estimator, method, is_kept=False):
    """Return the message for Ctrl-C, which says what state the estimator is in."""
    kept = "is as it was before the call"
    if is_kept:
        kept = "holds the best epoch so far, from which the next fit goes on"
    return f"{method} of {type(estimator).__name__} was interrupted; the estimator {kept}."


def warn_of_target(estimator, X, y, method):
    """Warn that y is ignored if it looks like a target of X, because it has its shape."""
    if y is None or y is X:
        return
    shape = _shape(X)
    if len(shape) != 2 or _shape(y) != shape:
        return
    name = type(estimator).__name__
    warnings.warn(
        f"y of {name}.{method} is ignored, but it has the shape {shape} of X. If "
        "it holds the targets of the rows of X, such as clean versions of noisy rows, "
        f"call {name}.fit(X, X_target=y). Otherwise leave it out.",
        UserWarning,
        stacklevel=4,  # the line that calls the method
    )


def warn_of_units(name):
    """Warn that attributes of a model of an earlier version are in the units of X."""
    warnings.warn(
        f"This {name} with standardize=True was fitted by an earlier version of skae: its "
        "components_, explained_variance_, explained_variance_ratio_, singular_values_ "
        "and noise_variance_ are in the units of X, whereas everything else is now in "
        "standardized units. Fit it again.",
        UserWarning,
        stacklevel=2,
    )


def _shape(table):
    """Return the shape of an array, a frame or lists, and () for anything else."""
    if not isinstance(table, list | tuple):
        return tuple(getattr(table, "shape", ()))
    try:
        return np.shape(table)
    except ValueError:  # the rows have different lengths
        return ()


def kept_line(result, has_held_out):
    """Return a line for the end of a fit, which says which network is kept.

    Parameters
    ----------
    result : Result
    has_held_out : bool
        Whether held-out rows chose the epoch.
    """
    if result.n_iter == 0 and result.outcome == "pca":
        return "kept: PCA, without training"
    end = "; time_limit has ended training" if result.is_out_of_time else ""
    if result.outcome == "trained":
        epoch = f"epoch {result.best_epoch}" if has_held_out else "the last epoch"
        return f"kept: {epoch}{end}"
    start = "PCA" if result.outcome == "pca" else "the network as it was before"
    return f"kept: {start}, because no epoch was certainly better{end}"


def no_weights(owner, lr):
    """Return the message for training that met NaN or inf before any weights were kept."""
    return (
        f"Training of {owner} ended in NaN or inf, and there are no finite weights to "
        f"fall back on. {_remedy(lr)}"
    )


def warn_of_values(owner, lr, epoch, best_epoch, start):
    """Warn that training met NaN or inf, and say which weights are kept.

    Parameters
    ----------
    owner : str
        Name of the estimator's class.
    lr : float
    epoch : int
        The epoch in which it met NaN or inf.
    best_epoch : int
        The epoch from which the weights are kept. 0 is the start.
    start : str
        Words for the network at the start.
    """
    kept = f"the weights of epoch {best_epoch} are" if best_epoch else f"{start} is"
    warnings.warn(
        f"Training of {owner} met NaN or inf in epoch {epoch} and was ended; {kept} kept. "
        f"{_remedy(lr)}",
        ConvergenceWarning,
        stacklevel=2,
    )


def _remedy(lr):
    """Return the advice against NaN and inf."""
    return (
        f"Set a smaller lr than {lr:g}, or scale the features, with standardize=True or a "
        "StandardScaler in a Pipeline."
    )


def warn_of_few_epochs(owner, max_epochs):
    """Warn that training reached max_epochs while it still reduced the error."""
    warnings.warn(
        f"Training of {owner} reached max_epochs={max_epochs} while its held-out error "
        "was still falling by more than tol. Set a larger max_epochs, or "
        "max_epochs='auto'.",
        ConvergenceWarning,
        stacklevel=2,
    )
