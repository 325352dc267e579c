"""Reconstruction errors that any estimator with an inverse_transform can be measured by.

Every function of `METRICS` takes X and X_hat, arrays of shape (n_samples, n_features),
and returns a float, or (n_features,) for `multioutput="raw_values"`.
"""

import numpy as np
from scipy.special import xlogy
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array
from sklearn.utils.validation import _check_sample_weight

from skae._compat import StrOptions, validate_params

__all__ = ["METRICS", "make_reconstruction_scorer", "reconstruction_error"]


def _root_mean_squared_error(X, X_hat, **params):
    # scikit-learn's function of this name averages the roots of the features.
    return np.sqrt(mean_squared_error(X, X_hat, **params))


def _r2(X, X_hat, *, multioutput, sample_weight):
    if multioutput == "raw_values" or len(X) < 2:
        return r2_score(X, X_hat, multioutput="raw_values", sample_weight=sample_weight)
    # One long column and not scikit-learn's "variance_weighted", which lets errors of
    # features that are constant in X go free.
    mean = np.average(X, axis=0, weights=sample_weight)
    if sample_weight is not None:
        sample_weight = np.repeat(sample_weight, X.shape[1])
    return r2_score((X - mean).ravel(), (X_hat - mean).ravel(), sample_weight=sample_weight)


def _binary_cross_entropy(X, X_hat, *, multioutput, sample_weight):
    if X.min() < 0 or X.max() > 1:
        raise ValueError(
            "metric='binary_cross_entropy' takes X in [0, 1], but X has values in "
            f"[{X.min():g}, {X.max():g}]. Scale X with MinMaxScaler(clip=True) or use "
            "metric='squared_error'."
        )
    eps = np.finfo(X_hat.dtype).eps
    P = np.clip(X_hat, eps, 1 - eps)
    entropy = -xlogy(X, P) - xlogy(1 - X, 1 - P)
    errors = np.average(entropy, axis=0, weights=sample_weight)
    return errors if multioutput == "raw_values" else errors.mean()


METRICS = {
    "squared_error": mean_squared_error,
    "absolute_error": mean_absolute_error,
    "root_mean_squared_error": _root_mean_squared_error,
    "r2": _r2,
    "binary_cross_entropy": _binary_cross_entropy,
}
GREATER_IS_BETTER = {"r2"}


@validate_params(
    {
        "X": ["array-like"],
        "X_hat": ["array-like"],
        "metric": [StrOptions(set(METRICS))],
        "multioutput": [StrOptions({"uniform_average", "raw_values"})],
        "sample_weight": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def reconstruction_error(
    X, X_hat, *, metric="squared_error", multioutput="uniform_average", sample_weight=None
):
    """Error of a reconstruction, in the units of X.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The data.
    X_hat : array-like of shape (n_samples, n_features)
        Their reconstruction.
    metric : {"squared_error", "absolute_error", "root_mean_squared_error", "r2", \
            "binary_cross_entropy"}, default="squared_error"
        The first two and the last are means over rows and features;
        "root_mean_squared_error" is the root of the first. "r2" is no error but a score,
        1 - SSE / SST, where SST is the summed squared distance of the rows of X from
        their mean; it equals scikit-learn's variance-weighted `r2_score`, except that
        features that are constant in X count in SSE too. "binary_cross_entropy" reads
        X_hat as probabilities, clipped to [eps, 1 - eps] as in scikit-learn's
        `log_loss`, where eps is the precision of X_hat's dtype.
    multioutput : {"uniform_average", "raw_values"}, default="uniform_average"
        "raw_values" gives one number per feature.
    sample_weight : array-like of shape (n_samples,), default=None

    Returns
    -------
    error : float or ndarray of shape (n_features,)
        One number, or one for each feature with `multioutput="raw_values"`.

    Raises
    ------
    ValueError
        If the shapes of X and X_hat differ, if one of them is not finite, or if X is
        outside [0, 1] for "binary_cross_entropy".

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
    """
    X = check_array(X, dtype=np.float64, input_name="X")
    X_hat = check_array(X_hat, dtype=[np.float64, np.float32], input_name="X_hat")
    if X.shape != X_hat.shape:
        raise ValueError(
            f"X_hat is to reconstruct X, but X has the shape {X.shape} and X_hat the "
            f"shape {X_hat.shape}. Pass what inverse_transform made of X's codes."
        )
    if sample_weight is not None:
        sample_weight = _check_sample_weight(sample_weight, X)
    error = METRICS[metric](X, X_hat, multioutput=multioutput, sample_weight=sample_weight)
    return float(error) if np.ndim(error) == 0 else error


def check_reconstructs(estimator):
    """Raise a TypeError unless the estimator has transform and inverse_transform."""
    methods = ["transform", "inverse_transform"]
    missing = [name for name in methods if not hasattr(estimator, name)]
    if not missing:
        return
    name = type(estimator).__name__
    if isinstance(estimator, Pipeline):
        steps = [type(s) for _, s in estimator.steps if s not in (None, "passthrough")]
        culprits = [s.__name__ for s in steps if not all(hasattr(s, m) for m in methods)]
        name += f" (its {', '.join(culprits)})" if culprits else ""
    raise TypeError(
        f"A reconstruction needs an estimator with transform and inverse_transform, but "
        f"{name} has no {' and no '.join(missing)}."
    )


class _ReconstructionScorer:
    """What `make_reconstruction_scorer` returns."""

    def __init__(self, metric):
        self.metric = metric

    def __repr__(self):
        return f"make_reconstruction_scorer({self.metric!r})"

    def __call__(self, estimator, X, y=None):
        """Score of a fitted estimator for X (n_samples, n_features); y is ignored."""
        check_reconstructs(estimator)
        X_hat = estimator.inverse_transform(estimator.transform(X))
        error = reconstruction_error(X, X_hat, metric=self.metric)
        return error if self.metric in GREATER_IS_BETTER else -error


@validate_params({"metric": [StrOptions(set(METRICS))]}, prefer_skip_nested_validation=True)
def make_reconstruction_scorer(metric="squared_error"):
    """Scorer by which PCA, autoencoders, and Pipelines of them can be compared.

    `PCA.score` is a log-likelihood, and others have no `score` at all. This scorer works
    for every estimator with `transform` and `inverse_transform`.

    Parameters
    ----------
    metric : {"squared_error", "absolute_error", "root_mean_squared_error", "r2", \
            "binary_cross_entropy"}, default="squared_error"
        See `reconstruction_error`.

    Returns
    -------
    scorer : callable (estimator, X, y=None) -> float
        Greater is better: errors are negated. For `scoring` of `GridSearchCV`,
        `cross_val_score` and the like.

    Raises
    ------
    TypeError
        From the scorer, if the estimator lacks one of the two methods. `GridSearchCV`
        makes a warning of it unless `error_score="raise"`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA, TruncatedSVD
    >>> from sklearn.model_selection import KFold, cross_val_score
    >>> from skae.metrics import make_reconstruction_scorer
    >>> X, _ = load_iris(return_X_y=True)
    >>> cv = KFold(3, shuffle=True, random_state=0)
    >>> scorer = make_reconstruction_scorer("r2")
    >>> for estimator in PCA(1), TruncatedSVD(1):
    ...     print(cross_val_score(estimator, X, cv=cv, scoring=scorer).mean().round(2))
    0.92
    0.51
    """
    return _ReconstructionScorer(metric)
