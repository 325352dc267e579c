"""Errors of reconstructions, for each cell, feature and row.

A `Metric` computes an error for each cell, and a result from the mean of these errors.
Missing cells of X are left out of the mean. `Tally` adds up the errors block by block, so
that a sparse table never becomes dense as a whole.
"""

import warnings

import numpy as np
from scipy import sparse
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import _safe_indexing, check_array
from sklearn.utils.validation import _check_sample_weight

from skae._compat import StrOptions, validate_params
from skae._tables import ranges
from skae._tables.exposure import Exposure
from skae._tables.frames import holds_categories
from skae._tables.rows import is_lazy, is_streamed, row_blocks, rows_of
from skae.metrics._metric import METRICS, check_reconstructs, steps_of
from skae.metrics._mixed import (
    Mixed,
    MixedTally,
    has_categories,
    reader_of,
    tally_of_frames,
)

__all__ = [
    "Tally",
    "as_table",
    "checked",
    "checked_scale",
    "decoded",
    "deviations",
    "errors_by_feature_and_row",
    "own_scale",
    "parts_of",
    "reconstructed",
    "reconstruction_error",
    "standardizes",
    "tally_of",
    "units_of",
    "value_range",
]

FLOATS = [np.float64, np.float32]


# -- tables, block by block ------------------------------------------------------------


class Tally:
    """Computes a metric from rows that are added part by part.

    Parameters
    ----------
    metric : str
        A key of `METRICS`.
    scale : ndarray that broadcasts with (p,), or None
        If the metric has units, X and X_hat are divided by this. None leaves them in the
        units of X.
    """

    def __init__(self, metric, scale=None):
        self.name, self.metric = metric, METRICS[metric]
        self.scale = scale if self.metric.has_units else None
        self.n_rows = 0
        self.errors = self.weights = 0.0  # summed over the cells of each feature: (p,)
        self.means = self.squares = 0.0  # means of X, and squared distances from them: (p,)

    def add(self, X, X_hat, sample_weight=None):
        """Add rows.

        Parameters
        ----------
        X : table of shape (n, p) that `rows_of` takes
            NaN in missing cells.
        X_hat : array-like or sparse matrix of shape (n, p)
        sample_weight : ndarray of shape (n,) or None
        """
        X_hat = as_table(X_hat, "X_hat")
        if X.shape != X_hat.shape:
            raise ValueError(
                f"X_hat is to reconstruct X, but X has the shape {X.shape} and X_hat has "
                f"the shape {X_hat.shape}. Pass the result of inverse_transform as X_hat."
            )
        w = np.ones(X.shape[0]) if sample_weight is None else sample_weight
        for block in row_blocks(*X.shape):
            self._add(rows_of(X, block), rows_of(X_hat, block), w[block])

    def _add(self, X, X_hat, w):
        X = self._in_bounds(checked(X)).astype(np.float64, copy=False)
        observed = ~np.isnan(X)
        if np.isnan(X_hat).any() and np.isnan(X_hat[observed]).any():
            check_array(X_hat, input_name="X_hat")  # raises, in scikit-learn's words
        if self.scale is not None:
            X, X_hat = X / self.scale, X_hat / self.scale
        weights = w @ observed
        self.errors += w @ np.where(observed, self.metric.cells(X, X_hat), 0.0)
        lowest = np.fmin.reduce(X)  # is subtracted, so that a constant has mean 0 exactly
        shifted = np.where(observed, X - lowest, 0.0)
        inverse = 1 / np.where(weights == 0, 1.0, weights)
        shift = (w @ shifted) * inverse
        squares = w @ np.where(observed, np.square(shifted - shift), 0.0)
        # Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance".
        total = self.weights + weights
        share = weights / np.where(total == 0, 1.0, total)
        away = np.where(weights == 0, 0.0, lowest + shift - self.means)
        self.squares += squares + np.square(away) * self.weights * share
        self.means = self.means + away * share
        self.weights, self.n_rows = total, self.n_rows + len(X)

    def _in_bounds(self, X):
        low, high = self.metric.bounds
        if ranges.first_outside(X, low, high) is not None:
            ends = np.nanmin(X), np.nanmax(X)
            smallest, largest = (ranges.told_apart(end, low, high) for end in ends)
            raise ValueError(
                f"metric={self.name!r} takes X in [{low:g}, {high:g}], but X has values in "
                f"[{smallest}, {largest}]. Scale X with MinMaxScaler(clip=True) or use "
                "metric='squared_error'."
            )
        return ranges.within(X, low, high)

    def by_feature(self):
        """Return the metric of each feature (p,). It is NaN for one without values."""
        known = self.weights > 0
        inverse = np.where(known, 1 / np.where(known, self.weights, 1.0), np.nan)
        return self._finish(self.errors * inverse, self.squares * inverse)

    def overall(self):
        """Return the metric of all cells as a float."""
        total = self.weights.sum()
        if not total:
            raise ValueError(
                "X has no values to score: all of its cells are missing, or all rows with "
                "values have weight zero."
            )
        return float(self._finish(self.errors.sum() / total, self.squares.sum() / total))

    def _finish(self, error, variance):
        if self.name == "r2" and self.n_rows < 2:
            message = "R^2 score is not well-defined with less than two samples."
            warnings.warn(message, UndefinedMetricWarning, stacklevel=2)
            return np.nan * error
        return self.metric.finish(error, variance)


def deviations(X):
    """Return the standard deviations (p,) of the features of X, 1 if they are constant.

    Parameters
    ----------
    X : array-like, frame, sparse matrix, or file, of shape (n_samples, n_features)
        NaN marks missing cells.
    """
    tally = Tally("squared_error")
    for _, rows in parts_of(X):
        tally.add(rows, rows)
    spread = np.sqrt(tally.squares / np.where(tally.weights == 0, 1.0, tally.weights))
    varies = spread > 10 * np.finfo(np.float64).eps * np.abs(tally.means)
    return np.where(varies, spread, 1.0)


def tally_of(metric, units):
    """Return the Tally or the MixedTally of a metric in such units, see `units_of`."""
    return (MixedTally if isinstance(units, Mixed) else Tally)(metric, units)


def errors_by_feature_and_row(pairs, metric, scale=None):
    """Compute the metric of each feature and of each row.

    Parameters
    ----------
    pairs : iterable of (rows, X_hat), both of shape (n, n_features)
        The pairs that `reconstructed` yields.
    metric : str
    scale : ndarray of shape (n_features,), Mixed or None
        See `units_of`.

    Returns
    -------
    feature_errors : ndarray of shape (n_features,)
    row_errors : ndarray of shape (n_samples,)
        Both are NaN where there are no values.
    """
    if isinstance(scale, Mixed):
        tally = MixedTally(metric, scale)
        for rows, X_hat in pairs:
            tally.add(rows, X_hat)
        return tally.by_feature(), tally.by_row()
    by_feature, row_errors = Tally(metric, scale), []
    column_of_scales = None if scale is None else scale[:, None]
    for rows, X_hat in pairs:
        X_hat = as_table(X_hat, "X_hat")
        by_feature.add(rows, X_hat)
        for block in row_blocks(*rows.shape):
            # The rows of the block take the place of the features.
            by_row = Tally(metric, column_of_scales)
            by_row.add(rows_of(rows, block).T, rows_of(X_hat, block).T)
            row_errors.append(by_row.by_feature())
    by_feature.overall()  # raises if there are no values at all
    return by_feature.by_feature(), np.concatenate(row_errors)


def checked(X, input_name="X", finite="allow-nan"):
    """Return X as an array or a CSR matrix of finite numbers; NaN may be allowed."""
    checks = {"accept_sparse": "csr", "ensure_all_finite": finite}
    try:
        return check_array(X, dtype=FLOATS, input_name=input_name, **checks)
    except (TypeError, ValueError) as error:
        if not has_categories(X):
            raise
        names = [str(name) for name in np.array(X.columns)[holds_categories(X)]]
        raise ValueError(
            f"{error}\n{input_name} has the columns of categories {names}, which need an "
            "estimator that is fitted to them, such as AutoencoderTransformer."
        ) from None


def as_table(X, input_name="X"):
    """Return X as a table that `rows_of` takes. A large file is checked when it is read."""
    may_be_file = is_lazy(X) or isinstance(X, np.memmap)
    is_file = may_be_file and len(X.shape) == 2 and is_streamed(X)
    return X if is_file else checked(X, input_name)


def parts_of(X):
    """Split X into parts that are small enough to be dense.

    A dense table in memory is one part.

    Parameters
    ----------
    X : array-like, frame, sparse matrix, or file, of shape (n_samples, n_features)

    Yields
    ------
    part : array-like of shape (n, n_features)
        Some rows, of the same type as X.
    rows : ndarray or sparse matrix of shape (n, n_features)
        The same rows as a checked table.
    """
    table = as_table(X)
    if not is_streamed(table):
        yield X, table
        return
    X = X.tocsr() if sparse.issparse(X) else X  # other formats cannot be indexed
    for block in row_blocks(*table.shape):
        yield _safe_indexing(X, block), table[block]


def reconstructed(estimator, X):
    """Reconstruct X by a fitted estimator, part by part, see `parts_of`.

    If it is fitted to columns of categories, these are rows and reconstructions as in
    `skae.metrics._mixed`.

    Yields
    ------
    rows : ndarray or sparse matrix of shape (n, n_features)
    X_hat : array-like of shape (n, n_features)
    """
    check_reconstructs(estimator)
    reader = reader_of(estimator)
    if reader is not None:
        rows = reader.rows(X)
        yield rows, reader.reconstruct(rows)
        return
    for part, rows in parts_of(X):
        yield rows, decoded(estimator, estimator.transform(part), part)


def decoded(estimator, Z, X):
    """Decode the codes Z of rows X, for counts with the exposures of these rows.

    `inverse_transform` does not know the exposures, and returns counts of typical rows.
    """
    final = next(reversed(steps_of(estimator)), None)
    fields = getattr(final, "_exposure", None)
    if fields is None:
        return estimator.inverse_transform(Z)
    if isinstance(estimator, Pipeline):
        before, (_, last) = estimator[:-1], estimator.steps[-1]
        if not before.steps:
            return decoded(last, Z, X)
        return before.inverse_transform(decoded(last, Z, before.transform(X)))
    exposure = Exposure(**fields)
    totals = exposure.typical * exposure.relative(as_table(X))
    return estimator.inverse_transform(Z, exposure=totals)


def standardizes(estimator):
    """Whether an estimator divides each feature by its standard deviation.

    For a fitted autoencoder this is decided by the parameters of its fit.
    """
    if isinstance(estimator, StandardScaler):
        return estimator.with_std
    params = getattr(estimator, "_params_of_fit", {})
    now = getattr(estimator, "standardize", False)
    return params.get("standardize", now) is True


def own_scale(estimator):
    """Return what a fitted estimator that standardizes divides the features by, (p,).

    The result is None if it does not standardize. Only the first step of a Pipeline is
    considered, because later steps may not see the features of X. The divisors of counts
    with exposures are those of their logarithms, and not returned. Tables with columns of
    categories have `Mixed` units.
    """
    reader = reader_of(estimator)
    if reader is not None:
        return reader.mixed
    first = next(iter(steps_of(estimator)), None)
    if getattr(first, "_exposure", None) is not None:
        return None
    return getattr(first, "scale_", None) if standardizes(first) else None


def units_of(estimator, scale):
    """Return the units of errors of a fitted estimator, for `tally_of`.

    Parameters
    ----------
    estimator : fitted estimator
    scale : ndarray of shape (n_features,) or None
        The scale that users have given.

    Returns
    -------
    units : ndarray of shape (n_features,), None or Mixed
        `scale` itself, unless the estimator is fitted to columns of categories.
    """
    reader = reader_of(estimator)
    return scale if reader is None else reader.mixed.in_scale(scale)


def value_range(X):
    """Return the smallest and the largest value of a table as floats, ignoring NaN."""
    table, low, high = as_table(X), np.nan, np.nan
    for block in row_blocks(*table.shape):
        rows = rows_of(table, block)
        low = np.fmin(low, np.fmin.reduce(rows, axis=None))
        high = np.fmax(high, np.fmax.reduce(rows, axis=None))
    return float(low), float(high)


# -- public functions ------------------------------------------------------------------


@validate_params(
    {
        "X": ["array-like", "sparse matrix"],
        "X_hat": ["array-like", "sparse matrix"],
        "metric": [StrOptions(set(METRICS))],
        "multioutput": [StrOptions({"uniform_average", "raw_values"})],
        "sample_weight": ["array-like", None],
        "scale": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def reconstruction_error(
    X,
    X_hat,
    *,
    metric="squared_error",
    multioutput="uniform_average",
    sample_weight=None,
    scale=None,
):
    """Return the error of a reconstruction in the units of X.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The data. NaN marks a missing cell, which is left out of all means. A sparse
        matrix is made dense some rows at a time. Of frames see Notes.
    X_hat : {array-like, sparse matrix} of shape (n_samples, n_features)
        The reconstruction. It must have a value in every cell in which X has one.
    metric : {"squared_error", "absolute_error", "root_mean_squared_error", "r2", \
            "binary_cross_entropy"}, default="squared_error"
        "squared_error", "absolute_error" and "binary_cross_entropy" are means over all
        cells. "root_mean_squared_error" is the square root of "squared_error". "r2" is
        not an error but a score, 1 - SSE / SST, where SST is the summed squared distance
        of the rows of X from their mean. It equals scikit-learn's variance-weighted
        `r2_score`, except that features that are constant in X count in SSE too.
        "binary_cross_entropy" reads X_hat as probabilities, which are clipped to
        [eps, 1 - eps] as in scikit-learn's `log_loss`, where eps is the precision of the
        dtype of X_hat. X must then lie in [0, 1], rounding aside.
    multioutput : {"uniform_average", "raw_values"}, default="uniform_average"
        "raw_values" returns one number per feature. It is NaN for a feature without
        values.
    sample_weight : array-like of shape (n_samples,), default=None
    scale : array-like of shape (n_features,), default=None
        Each feature of X and X_hat is divided by its number. With the `scale_` of a
        `StandardScaler`, or of an autoencoder with `standardize=True`, the error is in
        standardized units. None leaves X in its own units, whatever units an estimator
        uses. "binary_cross_entropy" needs None, because probabilities have no units.

    Returns
    -------
    error : float or ndarray of shape (n_features,)
        One number, or one for each feature with `multioutput="raw_values"`.

    Raises
    ------
    ValueError
        If the shapes of X and X_hat differ, if X has infinite values or no values at all,
        if X_hat is not finite where X has a value, if X is outside [0, 1] for
        "binary_cross_entropy", or if `scale` is not one positive number for each feature.

    Notes
    -----
    In frames of which some columns have a dtype of categories, see `categorical_features`
    of `AutoencoderTransformer`, each column has an error in units that can be compared:

    ======================= =========================== ==================================
    metric                  number                      category
    ======================= =========================== ==================================
    squared_error           squared error               cross-entropy over that of the
                                                        best constant
    r2                      1 - error / best constant's 1 - error / best constant's
    absolute_error          absolute error              1 if wrong, else 0
    root_mean_squared_error root mean squared error     share that is wrong
    ======================= =========================== ==================================

    Numbers are in standard deviations, unless there is a `scale`. "squared_error" is what
    the loss of an autoencoder counts, and needs the probabilities of categories, which
    scorers, displays and `skae.compare` have, but not X_hat. Root mean squared errors and
    shares that are wrong are those by which Stekhoven and Bühlmann (2012, "MissForest")
    rate filled cells; their mean over the columns is the result for all of them. All other
    metrics are means over the cells. A category is wrong if it is not the most probable
    one. X_hat is a frame, or an array with the codes of X.

    Examples
    --------
    >>> from skae.metrics import reconstruction_error
    >>> X, X_hat = [[0.0, 1.0], [2.0, 3.0]], [[0.0, 2.0], [2.0, 1.0]]
    >>> reconstruction_error(X, X_hat)
    1.25
    >>> reconstruction_error(X, X_hat, multioutput="raw_values")
    array([0. , 2.5])
    >>> reconstruction_error(X, X_hat, metric="r2")
    -0.25
    >>> reconstruction_error(X, X_hat, scale=[1.0, 2.0])
    0.3125
    """
    is_mixed = has_categories(X)
    X = X if is_mixed else as_table(X)
    scale = checked_scale(scale, X.shape[1], metric, "reconstruction_error")
    if sample_weight is not None:
        sample_weight = _check_sample_weight(sample_weight, X)
    if is_mixed:
        tally = tally_of_frames(X, X_hat, metric, scale, sample_weight)
    else:
        tally = Tally(metric, scale)
        tally.add(X, X_hat, sample_weight)
    overall = tally.overall()
    return overall if multioutput == "uniform_average" else tally.by_feature()


def checked_scale(scale, n_features, metric, owner):
    """Return the parameter `scale` of a function as an array (n_features,), or None."""
    if scale is None:
        return None
    if not METRICS[metric].has_units:
        raise ValueError(
            f"scale of {owner} needs a metric that has units, but metric={metric!r} is "
            "computed from probabilities. Set scale=None."
        )
    scale = np.asarray(scale, dtype=np.float64)
    is_positive = np.isfinite(scale).all() and (scale > 0).all()
    if scale.shape != (n_features,) or not is_positive:
        raise ValueError(
            f"scale of {owner} must be one positive number for each of the {n_features} "
            f"features of X, such as scale_ of a StandardScaler, got {scale!r}."
        )
    return scale
