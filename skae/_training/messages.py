"""What is said of a fit that did not end well."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

__all__ = [
    "interrupted",
    "no_weights",
    "warn_of_few_epochs",
    "warn_of_target",
    "warn_of_units",
    "warn_of_values",
]


def interrupted(estimator, method, is_kept=False):
    """What is said on Ctrl-C: which estimator the user is left with."""
    kept = "is as it was before the call"
    if is_kept:
        kept = "holds the best epoch so far, from which the next fit goes on"
    return f"{method} of {type(estimator).__name__} was interrupted; the estimator {kept}."


def warn_of_target(estimator, X, y, method):
    """Say that y is ignored where it looks like what X is to become."""
    if y is None or y is X:
        return
    shape = _shape(X)
    if len(shape) != 2 or _shape(y) != shape:
        return
    name = type(estimator).__name__
    warnings.warn(
        f"y of {name}.{method} is ignored, and it has the shape {shape} of X. If "
        "it is what the rows of X are to become, such as clean versions of noisy rows, "
        f"call {name}.fit(X, X_target=y); else leave it out.",
        UserWarning,
        stacklevel=4,  # the line that calls the method
    )


def warn_of_units(name):
    """Say that a copy of an earlier version tells what it explains in other units."""
    warnings.warn(
        f"This {name} with standardize=True was fitted by an earlier version of skae: its "
        "components_, explained_variance_, explained_variance_ratio_, singular_values_ "
        "and noise_variance_ are in the units of X, and all else is in standardized "
        "units by now. Fit it again.",
        UserWarning,
        stacklevel=2,
    )


def _shape(table):
    """Shape of an array, a frame or lists; () of anything else."""
    if not isinstance(table, list | tuple):
        return tuple(getattr(table, "shape", ()))
    try:
        return np.shape(table)
    except ValueError:  # rows of several lengths
        return ()


def no_weights(owner, lr):
    """What is said where training met NaN or inf and there is nothing to fall back on."""
    return (
        f"Training of {owner} ended in NaN or inf, and there are no finite weights to "
        f"fall back on. {_remedy(lr)}"
    )


def warn_of_values(owner, lr, epoch, best_epoch, start):
    """Say that training has met NaN or inf, and what is kept.

    Parameters
    ----------
    owner : str
    lr : float
    epoch, best_epoch : int
        In which it did, and whose weights are kept; 0 is the start.
    start : str
        What the start is.
    """
    kept = f"the weights of epoch {best_epoch} are" if best_epoch else f"{start} is"
    warnings.warn(
        f"Training of {owner} met NaN or inf in epoch {epoch} and was ended; {kept} kept. "
        f"{_remedy(lr)}",
        ConvergenceWarning,
        stacklevel=2,
    )


def _remedy(lr):
    return (
        f"Set a smaller lr than {lr:g}, or scale the features: standardize=True, or a "
        "StandardScaler before."
    )


def warn_of_few_epochs(owner, max_epochs):
    """Say that training was ended while it still brought something."""
    warnings.warn(
        f"Training of {owner} reached max_epochs={max_epochs} while its held-out error "
        "was still falling by more than tol. Set a larger max_epochs, or "
        "max_epochs='auto'.",
        ConvergenceWarning,
        stacklevel=2,
    )
