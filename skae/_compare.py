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
from skae._rivals import OnIndicators
from skae._tables.blocks import is_dask
from skae._tables.categorical_features import find_columns
from skae._tables.rows import is_lazy
from skae.metrics._errors import Tally, decoded, deviations, parts_of, standardizes
from skae.metrics._metric import METRICS, check_reconstructs, steps_of
from skae.metrics._mixed import Mixed, MixedTally, codes_of, has_categories, reader_of

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

# The entries in the table for a fit that failed.
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
    """Compare reconstructions by several estimators on the same held-out rows.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The data. If some of the estimators refuse it, for instance because it has
        missing values, the others are compared. Of frames with categories see Notes.
    estimators : list of estimators, or dict of names to estimators
        Estimators with `transform` and `inverse_transform`, such as PCA, NMF,
        autoencoders, and Pipelines of them. They are cloned, and only clones are fitted.
    cv : int, splitter or iterable of (train, test), default=5
        An int is a number of folds, and the rows are shuffled. None stands for 5 folds
        in the order of the rows.
    metric : {"squared_error", "absolute_error", "root_mean_squared_error", "r2", \
            "binary_cross_entropy"}, default="squared_error"
        See `skae.metrics.reconstruction_error`.
    standardize : bool or None, default=None
        True measures `error` and `r2` in standardized units: every feature is divided by
        its standard deviation in the training rows of the fold. False measures them in
        the units of X. The units are the same for all estimators, and all of them are
        fitted to X as it is. None stands for True if all estimators standardize, by
        `standardize=True` or by a `StandardScaler` in their Pipeline. Otherwise it stands
        for False, with a warning if some of them standardize. With columns of categories
        it is always True.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffling, and of every estimator that has `random_state=None`.
    verbose : int, default=0
        1 or more shows a progress bar.

    Returns
    -------
    table : pandas.DataFrame
        One row per estimator and fold, in that order, with the columns

        - `estimator`: the key of the dict, or the class with the parameters that are not
          at their defaults. A repeated name gets the suffix `#2`, `#3`, and so on.
        - `fold`: the number of the fold, from 0.
        - `error`: the metric on the held-out rows. Less is better, except for "r2".
        - `r2`: 1 - SSE / SST on the same rows.
        - `fit_seconds`: the time of `fit`.
        - `transform_seconds`: the time of `transform` on the held-out rows.
        - `n_parameters`: how many numbers the fitted model consists of. They are the
          weights of a network, or the components and the mean of PCA. A Pipeline has the
          sum over its steps. It is missing if this function does not know the class.

        If an estimator fails on a fold, that row holds NaN.

    Raises
    ------
    ImportError
        If pandas is not installed.
    TypeError
        If an estimator has no `transform` or no `inverse_transform`.
    ValueError
        If `estimators` is empty, or all of them fail on all folds.

    Warns
    -----
    FitFailedWarning
        If an estimator fails on a fold. The warning says which one, and why.
    UserWarning
        If some estimators standardize and others do not, and `standardize` does not say
        in which units to compare them.

    Notes
    -----
    Columns of categories are those that the estimators with `categorical_features` find,
    and otherwise those with a dtype of categories. Estimators that take no categories, such
    as PCA, are fitted to what autoencoders start from: numbers are standardized, and the
    indicators of a column of categories are centred and divided by one number, such that
    their variances sum to 1, so that every column counts alike. Missing cells of this table
    are at the mean. A rival's probabilities of categories are those of a softmax regression
    on its codes, because linear reconstructions of indicators are no probabilities; this
    too is where autoencoders start.

    All are scored in the same loss, whose units are those of the training rows of the
    fold. Numbers are in standard deviations. "squared_error" and "r2" count the
    cross-entropy of a category over that of the best constant, "absolute_error" and
    "root_mean_squared_error" count categories that are wrong; see the Notes of
    `skae.metrics.reconstruction_error`. Cells of categories that were not in the training
    rows are not scored. Autoencoders take them with `handle_unknown="ignore"` and
    `allow_nan=True`.

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
    # The decorator `validate_params` is not used, because it would write `compare` instead
    # of an estimator's name into messages about the estimator's own parameters.
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
    categorical = _categorical_features(named, X)
    if categorical is None and standardize is None:
        standardize = _common_units(named, metric)
    elif categorical is not None and standardize is False:
        raise ValueError(
            "standardize=False of compare leaves numbers in their units, and X has columns "
            "of categories, which have none. Set standardize=None."
        )
    if isinstance(random_state, np.random.RandomState):
        random_state = draw_seed(random_state)
    if isinstance(cv, Integral):
        cv = KFold(cv, shuffle=True, random_state=random_state)
    X = X.tocsr() if sparse.issparse(X) else X  # other formats cannot be indexed
    splits = list(check_cv(cv).split(X))
    rows, failures = [], []
    with _progress(len(named) * len(splits), verbose) as advance:
        for name, estimator in named.items():
            for fold, (train, test) in enumerate(splits):
                model = _seeded(clone(estimator), random_state)
                parts = _safe_indexing(X, train), _safe_indexing(X, test)
                try:
                    if categorical is None:
                        found = _rate(model, *parts, metric, standardize)
                    else:
                        found = _rate_mixed(model, *parts, metric, categorical)
                except Exception as error:
                    traceback.clear_frames(error.__traceback__)  # frees tables of the fit
                    failures.append((name, fold, error))
                    found = FAILED
                rows.append(dict(estimator=name, fold=fold, **found))
                advance()
    _report(failures, len(splits), len(rows))
    return pandas.DataFrame(rows).astype({"n_parameters": "Int64"})


def _common_units(named, metric):
    """Whether all estimators standardize. Warn if only some of them do."""
    standardizing = [
        name
        for name, estimator in named.items()
        if any(map(standardizes, steps_of(clone(estimator))))
    ]
    if standardizing and len(standardizing) < len(named):
        shown = "error and r2 are" if METRICS[metric].has_units else "r2 is"
        warnings.warn(
            f"Some estimators of compare standardize ({', '.join(standardizing)}) and "
            f"others do not. In the table {shown} in the units of X, where features of "
            "large scale count most. Set standardize=True to compare in standardized "
            "units, or standardize=False to compare in the units of X.",
            UserWarning,
            stacklevel=3,
        )
    return len(standardizing) == len(named)


def _report(failures, n_folds, n_fits):
    """Warn of estimators that failed, or raise if all fits did."""
    by_name = {}
    for name, fold, error in failures:
        by_name.setdefault(name, []).append((fold, error))
    for name, failed in by_name.items():
        folds = [fold for fold, _ in failed]
        # The same reason is given only once.
        reasons = dict.fromkeys(f"{type(e).__name__}: {e}" for _, e in failed)
        text = (
            f"{name} failed on {len(folds)} of {n_folds} folds of compare, {folds}: "
            f"{' / '.join(reasons)}"
        )
        if len(failures) == n_fits:
            raise ValueError(f"All fits of compare failed. {text}") from failed[0][1]
        warnings.warn(
            f"{text} The rows of these folds hold NaN.", FitFailedWarning, stacklevel=3
        )


def _import_pandas():
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "skae.compare returns a pandas DataFrame, and pandas is not installed. "
            "Install it with `pip install pandas`, or use cross_val_score with "
            "scoring=skae.metrics.make_reconstruction_scorer(), which does not need it."
        ) from error
    return pandas


def _named(estimators):
    """Return a dict of unique names to estimators."""
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
        # The default limit might abbreviate the part in which two Pipelines differ.
        lines = estimator.__repr__(N_CHAR_MAX=10**6).splitlines()
    return " ".join(line.strip() for line in lines)


def _seeded(estimator, seed):
    """Set the seed wherever `random_state` is None; return the estimator."""
    if seed is not None:
        params = estimator.get_params()
        unset = [k for k, v in params.items() if v is None and _is_random_state(k)]
        estimator.set_params(**dict.fromkeys(unset, seed))
    return estimator


def _is_random_state(name):
    return name.rsplit("__", 1)[-1] == "random_state"


@contextlib.contextmanager
def _progress(total, verbose):
    """Yield a function that is to be called after each of `total` fits."""
    if not verbose:
        yield lambda: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc="compare", unit="fit") as bar:
        yield bar.update


def _rate(estimator, X_train, X_test, metric, standardize):
    """Fit the estimator and return its entries in the table, without name and fold."""
    scale = deviations(X_train) if standardize else None
    error, r2 = Tally(metric, scale), Tally("r2", scale)
    start = time.perf_counter()
    estimator.fit(X_train)
    fit_seconds, transform_seconds = time.perf_counter() - start, 0.0
    for part, rows in parts_of(X_test):
        start = time.perf_counter()
        Z = estimator.transform(part)
        transform_seconds += time.perf_counter() - start
        X_hat = decoded(estimator, Z, part)
        for tally in error, r2:
            tally.add(rows, X_hat)
    return {
        "error": error.overall(),
        "r2": r2.overall(),
        "fit_seconds": fit_seconds,
        "transform_seconds": transform_seconds,
        "n_parameters": _n_parameters(estimator),
    }


def _categorical_features(named, X):
    """Return which columns of X hold categories, as `find_columns` takes it, or None."""
    steps = [step for each in named.values() for step in steps_of(each)]
    chosen = [getattr(step, "categorical_features", None) for step in steps]
    kinds = {repr(each): each for each in chosen if each is not None}
    if sparse.issparse(X) or is_lazy(X) or is_dask(X):
        return None
    if not kinds:
        return "from_dtype" if has_categories(X) else None
    if len(kinds) > 1:
        raise ValueError(
            "Estimators of compare must agree on the columns of categories, so that their "
            f"errors are of the same columns, got categorical_features={[*kinds.values()]}."
        )
    (categorical,) = kinds.values()
    return None if find_columns(X, categorical) is None else categorical


def _rate_mixed(estimator, X_train, X_test, metric, categorical):
    """Do the same as `_rate`, if `find_columns` finds columns of categories."""
    columns = find_columns(X_train, categorical)
    train, test = (codes_of(columns, X, "compare", True) for X in (X_train, X_test))
    mixed = Mixed.of_rows(columns, train)
    error, r2 = MixedTally(metric, mixed), MixedTally("r2", mixed)
    steps = steps_of(estimator)
    is_rival = all(getattr(s, "categorical_features", None) is None for s in steps)
    model = OnIndicators(estimator, columns) if is_rival else estimator
    start = time.perf_counter()
    model.fit(train if is_rival else X_train)
    fit_seconds, start = time.perf_counter() - start, time.perf_counter()
    Z = model.transform(test if is_rival else X_test)
    transform_seconds = time.perf_counter() - start
    X_hat = model.decode(Z) if is_rival else reader_of(model).decode(Z)
    for tally in error, r2:
        tally.add(test, X_hat)
    n_parameters = _n_parameters(estimator)
    if is_rival and n_parameters is not None:
        n_parameters += model.weight_.size + model.bias_.size
    return {
        "error": error.overall(),
        "r2": r2.overall(),
        "fit_seconds": fit_seconds,
        "transform_seconds": transform_seconds,
        "n_parameters": n_parameters,
    }


def _n_parameters(estimator):
    """Return how many numbers a fitted estimator consists of; None for unknown classes."""
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
