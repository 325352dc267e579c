"""Methods of fitted estimators applied to dask arrays and frames, block by block."""

import copy
import functools

import numpy as np
from sklearn.utils.validation import _check_feature_names, _check_n_features

from skae._compat import _get_container_adapter
from skae._model.model import float_of
from skae._tables.blocks import as_dask_array
from skae._tables.categories import columns_of

__all__ = ["lazily"]


def lazily(estimator, method, X, n_columns=None, *, takes_codes=False):
    """Return the dask array of what a method returns for each block of X.

    Nothing is computed. The array is that of the estimator as it is now, also if it is
    fitted again before the array is computed.

    Parameters
    ----------
    estimator : estimator
        Fitted estimator.
    method : str
    X : dask array or frame of shape (n_samples, n_features) or (n_samples, n_components)
    n_columns : int or None
        Number of columns of the result. None stands for one number for each row, which is
        in float64.
    takes_codes : bool
        Whether X holds codes, and not features.

    Returns
    -------
    dask array of shape (n_samples, n_columns) or (n_samples,)
        Its chunks of rows are those of X.

    Raises
    ------
    ValueError
        If X has other features than the estimator was fitted to, if these are categories,
        or if the estimator was asked to return frames.
    """
    owner = type(estimator).__name__
    if _get_container_adapter("transform", estimator) is not None:
        raise ValueError(
            f"{method} of {owner} returns a dask array for a dask array or frame, and "
            "set_output asks for another kind of frame, which would be held in memory. "
            "Call set_output(transform='default')."
        )
    if columns_of(estimator) is not None:
        raise ValueError(
            f"{method} of {owner} takes no dask array or frame, because it was fitted to "
            "columns of categories. Pass the partitions one after another, or encode the "
            "categories with a OneHotEncoder before the fit."
        )
    array = as_dask_array(X, owner)
    if not takes_codes:
        _check_feature_names(estimator, X._meta, reset=False)
        _check_n_features(estimator, array, reset=False)
    dtype = float_of(array.dtype if n_columns else np.float64)
    shape = () if n_columns is None else (n_columns,)
    placed = {"drop_axis": 1} if n_columns is None else {"chunks": (array.chunks[0], shape)}
    function = functools.partial(_of_block, _for_arrays(estimator), method, shape, dtype)
    meta = np.empty((0, *shape), dtype)
    return array.map_blocks(function, dtype=dtype, meta=meta, **placed)


def _for_arrays(estimator):
    """Return a light copy that takes blocks, which have no feature names."""
    other = copy.copy(estimator)
    vars(other).pop("feature_names_in_", None)
    other._ongoing = None  # the rows of a stream
    return other


def _of_block(estimator, method, shape, dtype, rows):
    """Return what the method returns for the rows of a block, which may have none."""
    if not rows.shape[0]:
        return np.empty((0, *shape), dtype)
    return getattr(estimator, method)(rows)
