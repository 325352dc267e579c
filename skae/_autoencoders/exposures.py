"""The exposures that users pass with rows of counts, and those that totals stand for."""

import numpy as np
from sklearn.utils.validation import _check_sample_weight

from skae._tables.blocks import Blocks
from skae._tables.checks import check_rows
from skae._tables.exposure import Exposed

__all__ = [
    "check_exposure",
    "check_exposure_given",
    "check_no_exposure",
    "counted_columns",
    "exposed_codes",
    "exposed_rows",
]


def check_exposure(estimator, exposure, X):
    """Check the argument `exposure` of a method; return it as an array (n,) or None."""
    if exposure is None:
        return None
    exposure = _check_sample_weight(exposure, X, dtype=np.float64)
    if not (np.isfinite(exposure) & (exposure > 0)).all():
        raise ValueError(
            f"exposure of {type(estimator).__name__} must be positive and finite, got "
            f"values in [{exposure.min():g}, {exposure.max():g}]. Leave out rows with "
            "nothing that could be counted."
        )
    return exposure


def check_exposure_given(estimator, model, exposure):
    """Refuse exposures of rows if the model needs none, and their absence if it does.

    Parameters
    ----------
    estimator : estimator
    model : Exposure or None
        Exposure that the estimator was fitted with.
    exposure : array-like or None
        Exposures of the rows.
    """
    needs_them = model is not None and model.is_given
    if needs_them == (exposure is not None):
        return
    name = type(estimator).__name__
    if needs_them:
        raise ValueError(
            f"{name} was fitted with exposures of the rows, and needs those of these rows "
            "too. Pass exposure, one positive number for each row."
        )
    raise ValueError(
        f"exposure of rows is not taken by this {name}, because fit was not given any. "
        "Leave it out, or fit with exposure too."
    )


def counted_columns(estimator, loss, given):
    """Return the columns of counts that have an exposure, as an array of int, or None.

    Parameters
    ----------
    estimator : estimator
    loss : Loss
    given : Given
    """
    columns = np.flatnonzero(np.broadcast_to(loss.is_count, given.X.shape[1:]))
    has_given, rule = given.given_exposure is not None, estimator.exposure
    if not len(columns) and (has_given or rule == "total"):
        what = "exposure in fit" if has_given else "exposure='total'"
        raise ValueError(
            f"{what} of {type(estimator).__name__} needs loss='poisson', "
            "'negative_binomial', or a dict with columns of these, got "
            f"loss={estimator.loss!r}."
        )
    are_alike = isinstance(estimator.loss, str) and given.columns is None
    is_total = rule == "total" or (rule == "auto" and are_alike and len(columns) > 1)
    if not len(columns) or not (has_given or is_total):
        return None
    if isinstance(given.X, Blocks):
        raise ValueError(
            f"fit of {type(estimator).__name__} reads the blocks of a dask array or frame "
            "before it knows their exposures. Set exposure=None, or pass the blocks to "
            "partial_fit one after another."
        )
    return columns


def exposed_rows(estimator, X, exposure):
    """Return the `Exposed` of rows X that a method takes, or None without exposures.

    Parameters
    ----------
    estimator : estimator
        Fitted estimator.
    X : table that `check_table` has returned
    exposure : array-like of shape (n_samples,) or None
        Argument of the method.
    """
    model = estimator._inference.exposure
    check_exposure_given(estimator, model, exposure)
    if model is None:
        return None
    check_rows(estimator._loss, X, estimator)  # a negative count has no logarithm
    return estimator._inference.exposed(X, check_exposure(estimator, exposure, X))


def exposed_codes(estimator, Z, exposure):
    """Return the `Exposed` of rows with these codes, or None for typical rows."""
    model = estimator._inference.exposure
    if exposure is None:
        return None
    if model is None:
        check_exposure_given(estimator, model, exposure)  # raises
    return Exposed(model, check_exposure(estimator, exposure, Z) / model.typical)


def check_no_exposure(estimator, exposure, method):
    """Refuse exposures of the rows of a dask array or frame."""
    if exposure is not None:
        raise ValueError(
            f"{method} of {type(estimator).__name__} takes no exposure of the rows of a "
            "dask array or frame. Pass the blocks one after another."
        )
