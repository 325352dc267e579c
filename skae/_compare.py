"""compare: one table for several estimators, measured on the same held-out rows."""

import contextlib
import time
import traceback
import warnings
from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import NMF, PCA, IncrementalPCA, TruncatedSVD
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import KFold, check_cv
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.utils import _safe_indexing

from skae._compat import Interval, StrOptions, draw_seed, validate_parameter_constraints
from skae.metrics import (
    METRICS,
    Tally,
    check_reconstructs,
    deviations,
    parts_of,
    standardizes,
    steps_of,
)

__all__ = ["compare"]

# Fitted arrays that transform and inverse_transform need.
FITTED_ARRAYS = {
    PCA: ["components_", "mean_"],
    IncrementalPCA: ["components_", "mean_"],
    NMF: ["components_"],
    TruncatedSVD: ["components_"],
    StandardScaler: ["mean_", "scale_"],
    RobustScaler: ["center_", "scale_"],
    MinMaxScaler: ["min_", "scale_"],
    MaxAbsScaler: ["scale_"],
}

# What the table says of a fit that failed.
FAILED = {
    "error": np.nan,
    "r2": np.nan,
    "fit_seconds": np.nan,
    "transform_seconds": np.nan,
    "n_parameters": None,
}

CONSTRAINTS = {
    "estimators": [list, tuple, dict],
    "cv": [Interval(Integral, 2, None, closed="left"), "cv_object"],
    "metric": [StrOptions(set(METRICS))],
    "standardize": ["boolean", None],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}


def compare(
    X,
    estimators,
    *,
    cv=5,
    metric="squared_error",
    standardize=None,
    random_state=None,
    verbose=0,
):
    """Reconstruction by several estimators, measured on the same held-out rows.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The data. It may be what some of the estimators refuse, such as incomplete rows:
        the others are compared.
    estimators : list of estimators, or dict of names to estimators
        Each has `transform` and `inverse_transform`: PCA, NMF, autoencoders, Pipelines
        of them. Clones are fitted, never the estimators themselves.
    cv : int, splitter or iterable of (train, test), default=5
        An int is the number of folds, into which the rows are shuffled. None is 5 folds
        in the order of the rows.
    metric : {"squared_error", "absolute_error", "root_mean_squared_error", "r2", \
            "binary_cross_entropy"}, default="squared_error"
        See `skae.metrics.reconstruction_error`.
    standardize : bool or None, default=None
        Whether `error` and `r2` are in standardized units, in which every feature is
        divided by its standard deviation in the training rows of the fold, or in those
        of X. They are in the same units for all estimators, which are fitted to X as it
        is in any case. None is True where all estimators standardize, by
        `standardize=True` or by a `StandardScaler` in their Pipeline, and False, with a
        warning, where some do.
    random_state : int, RandomState instance or None, default=None
        Seeds the shuffling, and every estimator whose own `random_state` is None.
    verbose : int, default=0
        1 or more shows a progress bar.

    Returns
    -------
    table : pandas.DataFrame
        One row per estimator and fold, in that order, with the columns

        - `estimator`: the key of the dict, or the class with the parameters that are not
          at their defaults; `#2` and so on is added to a name that is there already.
        - `fold`: 0, 1, ...
        - `error`: the metric, on the rows held out; greater is better for "r2" alone.
        - `r2`: 1 - SSE / SST on the same rows.
        - `fit_seconds`, and `transform_seconds` for the rows held out.
        - `n_parameters`: numbers that the fitted model consists of: the weights of a
          network, components and mean of PCA, the sum over the steps of a Pipeline.
          Missing where this function does not know the class.

        An estimator that fails on a fold has NaN in that row.

    Raises
    ------
    ImportError
        If pandas is not installed.
    TypeError
        If an estimator has no `transform` or no `inverse_transform`.
    ValueError
        If there is no estimator, or all of them fail on all folds.

    Warns
    -----
    FitFailedWarning
        If an estimator fails on a fold; it says which one, and why.
    UserWarning
        If some estimators standardize and others do not, and `standardize` does not say
        which units to compare them in.

    Examples
    --------
    >>> import skae
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> X, _ = load_iris(return_X_y=True)
    >>> table = skae.compare(X, [PCA(1), PCA(2)], cv=3, random_state=0)
    >>> table.groupby("estimator")["r2"].mean().round(2).to_dict()
    {'PCA(n_components=1)': 0.92, 'PCA(n_components=2)': 0.98}
    """
    # Not the decorator, which puts `compare` in place of the name of an estimator in the
    # messages about the estimator's own parameters.
    validate_parameter_constraints(
        CONSTRAINTS,
        {
            "estimators": estimators,
            "cv": cv,
            "metric": metric,
            "standardize": standardize,
            "random_state": random_state,
            "verbose": verbose,
        },
        "compare",
    )
    pandas = _import_pandas()
    named = _named(estimators)
    for estimator in named.values():
        check_reconstructs(estimator)
    if standardize is None:
        standardize = _common_units(named, metric)
    if isinstance(random_state, np.random.RandomState):
        random_state = draw_seed(random_state)
    if isinstance(cv, Integral):
        cv = KFold(cv, shuffle=True, random_state=random_state)
    X = X.tocsr() if sparse.issparse(X) else X  # other formats cannot be cut
    splits = list(check_cv(cv).split(X))
    rows, failures = [], []
    with _progress(len(named) * len(splits), verbose) as advance:
        for name, estimator in named.items():
            for fold, (train, test) in enumerate(splits):
                model = _seeded(clone(estimator), random_state)
                parts = _safe_indexing(X, train), _safe_indexing(X, test)
                try:
                    found = _rate(model, *parts, metric, standardize)
                except Exception as error:
                    traceback.clear_frames(error.__traceback__)  # they hold tables
                    failures.append((name, fold, error))
                    found = FAILED
                rows.append(dict(estimator=name, fold=fold, **found))
                advance()
    _report(failures, len(splits), len(rows))
    return pandas.DataFrame(rows).astype({"n_parameters": "Int64"})


def _common_units(named, metric):
    """Whether all estimators standardize; a warning where only some of them do."""
    those = [
        name
        for name, estimator in named.items()
        if any(map(standardizes, steps_of(clone(estimator))))
    ]
    if those and len(those) < len(named):
        shown = "error and r2 are" if METRICS[metric].has_units else "r2 is"
        warnings.warn(
            f"Of the estimators of compare {', '.join(those)} standardize and others do "
            f"not. In the table {shown} in the units of X, where features of large scale "
            "count most. Set standardize=True to compare in standardized units, or "
            "standardize=False.",
            UserWarning,
            stacklevel=3,
        )
    return len(those) == len(named)


def _report(failures, n_folds, n_fits):
    """Warn of the estimators that failed; raise where nothing is left to compare."""
    by_name = {}
    for name, fold, error in failures:
        by_name.setdefault(name, []).append((fold, error))
    for name, failed in by_name.items():
        folds = [fold for fold, _ in failed]
        # Folds that fail alike are told of once.
        reasons = dict.fromkeys(f"{type(e).__name__}: {e}" for _, e in failed)
        text = (
            f"{name} failed on {len(folds)} of {n_folds} folds of compare, {folds}: "
            f"{' / '.join(reasons)}"
        )
        if len(failures) == n_fits:
            raise ValueError(f"All fits of compare failed. {text}") from failed[0][1]
        warnings.warn(
            f"{text} Their rows of the table hold NaN.", FitFailedWarning, stacklevel=3
        )


def _import_pandas():
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "skae.compare returns a pandas DataFrame, and pandas is not installed. "
            "Install it with `pip install pandas`, or use cross_val_score with "
            "scoring=skae.metrics.make_reconstruction_scorer(), which needs none."
        ) from error
    return pandas


def _named(estimators):
    """Unambiguous names to estimators."""
    if not estimators:
        raise ValueError("estimators of compare is empty: pass one estimator or more.")
    if isinstance(estimators, dict):
        return estimators
    named = {}
    for estimator in estimators:
        name = short = _name(estimator)
        number = 1
        while name in named:
            number += 1
            name = f"{short} #{number}"
        named[name] = estimator
    return named


def _name(estimator):
    with config_context(print_changed_only=True):
        if not isinstance(estimator, BaseEstimator):
            return repr(estimator)
        # The default limit puts dots where two Pipelines may differ.
        lines = estimator.__repr__(N_CHAR_MAX=10**6).splitlines()
    return " ".join(line.strip() for line in lines)


def _seeded(estimator, seed):
    """The estimator, with the seed wherever `random_state` is None."""
    if seed is not None:
        params = estimator.get_params()
        unset = [k for k, v in params.items() if v is None and _is_random_state(k)]
        estimator.set_params(**dict.fromkeys(unset, seed))
    return estimator


def _is_random_state(name):
    return name.rsplit("__", 1)[-1] == "random_state"


@contextlib.contextmanager
def _progress(total, verbose):
    """A function to call after each of `total` fits."""
    if not verbose:
        yield lambda: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc="compare", unit="fit") as bar:
        yield bar.update


def _rate(estimator, X_train, X_test, metric, standardize):
    """Fit the estimator; what the table says of it beside its name and the fold."""
    scale = deviations(X_train) if standardize else None
    error, r2 = Tally(metric, scale), Tally("r2", scale)
    start = time.perf_counter()
    estimator.fit(X_train)
    fit_seconds, transform_seconds = time.perf_counter() - start, 0.0
    for part, rows in parts_of(X_test):
        start = time.perf_counter()
        Z = estimator.transform(part)
        transform_seconds += time.perf_counter() - start
        X_hat = estimator.inverse_transform(Z)
        for tally in error, r2:
            tally.add(rows, X_hat)
    return {
        "error": error.overall(),
        "r2": r2.overall(),
        "fit_seconds": fit_seconds,
        "transform_seconds": transform_seconds,
        "n_parameters": _n_parameters(estimator),
    }


def _n_parameters(estimator):
    """How many numbers a fitted estimator consists of; None for unknown classes."""
    if estimator is None or isinstance(estimator, str):  # a "passthrough" step
        return 0
    if isinstance(estimator, Pipeline):
        counts = [_n_parameters(step) for _, step in estimator.steps]
        return None if None in counts else sum(counts)
    if hasattr(estimator, "net_"):
        return sum(weight.numel() for weight in estimator.net_.module_.parameters())
    for known in type(estimator).__mro__:
        if known in FITTED_ARRAYS:
            arrays = [getattr(estimator, name) for name in FITTED_ARRAYS[known]]
            return sum(np.size(array) for array in arrays if array is not None)
    return None
