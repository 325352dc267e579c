"""Scorers: errors as the parameter `scoring` of scikit-learn's searches."""

from numbers import Real

import numpy as np
from sklearn.utils import check_random_state, get_tags

from skae._compat import Interval, StrOptions, validate_params
from skae._tables.rows import rows_of
from skae.metrics._errors import (
    checked_scale,
    decoded,
    parts_of,
    reconstructed,
    tally_of,
    units_of,
)
from skae.metrics._metric import METRICS, check_reconstructs, steps_of
from skae.metrics._mixed import reader_of

__all__ = ["make_hidden_cell_scorer", "make_reconstruction_scorer"]

MOST_ROUNDS = 100  # rounds of filling hidden cells, at most
CLOSE = 1e-3  # filling ends when the cells move by less than this share of their deviation


class _ReconstructionScorer:
    """The scorer that `make_reconstruction_scorer` returns."""

    made_by = "make_reconstruction_scorer"

    def __init__(self, metric, **options):
        self.metric, self.options = metric, options

    def __repr__(self):
        given = {name: value for name, value in self.options.items() if value is not None}
        options = "".join(f", {name}={value!r}" for name, value in given.items())
        return f"{self.made_by}({self.metric!r}{options})"

    def __call__(self, estimator, X, y=None):
        """Score a fitted estimator on X (n_samples, n_features). y is ignored."""
        scale = checked_scale(
            self.options["scale"], np.shape(X)[1], self.metric, self.made_by
        )
        tally = tally_of(self.metric, units_of(estimator, scale))
        for rows, X_hat in self._pairs(estimator, X):
            tally.add(rows, X_hat)
        return -tally.overall() if tally.metric.is_error else tally.overall()

    def _pairs(self, estimator, X):
        """Yield the rows whose cells are scored, and their reconstruction."""
        return reconstructed(estimator, X)


class _HiddenCellScorer(_ReconstructionScorer):
    """The scorer that `make_hidden_cell_scorer` returns."""

    made_by = "make_hidden_cell_scorer"

    def _pairs(self, estimator, X):
        check_reconstructs(estimator)
        random = check_random_state(self.options["random_state"])
        reader = reader_of(estimator)
        if reader is not None:
            yield self._pair_of_mixed(reader, reader.rows(X), random)
            return
        for part, rows in parts_of(X):
            rows = rows_of(rows, slice(None))
            is_hidden = random.random_sample(rows.shape) < self.options["fraction"]
            given = np.where(is_hidden, np.nan, rows)
            X_hat = _filled(estimator, given, part)
            yield np.where(is_hidden, rows, np.nan), X_hat

    def _pair_of_mixed(self, reader, rows, random):
        """Return the hidden cells of rows with codes, and their reconstruction."""
        is_hidden = random.random_sample(rows.shape) < self.options["fraction"]
        given = np.where(is_hidden, np.nan, rows)
        if not reader.allows_nan:
            given = _filled_with_constants(reader.columns, given)
            for _ in range(MOST_ROUNDS):
                guesses = reader.columns.most_probable(reader.reconstruct(given))
                before, given = given, np.where(is_hidden, guesses, rows)
                if (np.abs(given - before) <= CLOSE * reader.mixed.scale).all():
                    break
        return np.where(is_hidden, rows, np.nan), reader.reconstruct(given)


def _filled_with_constants(columns, given):
    """Return rows (n, n_features) with means, and the most frequent categories, in gaps."""
    shares = np.nanmean(columns.one_hot(given), axis=0, keepdims=True)
    constants = columns.most_probable(np.nan_to_num(shares))
    return np.where(np.isnan(given), constants, given)


def _filled(estimator, given, part):
    """Predict the hidden cells of some rows from the others.

    Parameters
    ----------
    estimator : fitted estimator
    given : ndarray of shape (n, p)
        The rows, with NaN in hidden cells.
    part : table of shape (n, p)
        The same rows, as the estimator was fitted to them: an array or a frame.

    Returns
    -------
    X_hat : ndarray of shape (n, p)
    """

    def reconstruct(X):
        like = _in_frame(X, part)
        return np.asarray(decoded(estimator, estimator.transform(like), like))

    is_hidden = np.isnan(given)
    if all(get_tags(step).input_tags.allow_nan for step in steps_of(estimator)):
        return reconstruct(given)
    counts = np.maximum((~is_hidden).sum(axis=0), 1)
    means = np.nansum(given, axis=0) / counts
    spread = np.sqrt(np.nansum(np.square(given - means), axis=0) / counts)
    filled = np.where(is_hidden, means, given)
    for _ in range(MOST_ROUNDS):
        before, filled = filled, np.where(is_hidden, reconstruct(filled), given)
        if (np.abs(filled - before) <= CLOSE * spread).all():
            break
    return filled


def _in_frame(X, part):
    """Return the array X (n, p) in a frame like `part`, or X itself if that is none."""
    if not hasattr(part, "columns"):
        return X
    if hasattr(part, "iloc"):
        return type(part)(X, index=part.index, columns=part.columns)
    return type(part)(X, schema=part.columns)


@validate_params(
    {"metric": [StrOptions(set(METRICS))], "scale": ["array-like", None]},
    prefer_skip_nested_validation=True,
)
def make_reconstruction_scorer(metric="squared_error", *, scale=None):
    """Make a scorer that can compare PCA, autoencoders, and Pipelines of them.

    `PCA.score` is a log-likelihood, and some transformers have no `score` at all. This
    scorer works for every estimator with `transform` and `inverse_transform`, and takes
    whatever X the estimator takes. Missing cells are not scored, and a large sparse
    matrix is made dense some rows at a time. Errors are in the units of X, even if an
    estimator standardizes, unless `scale` is set.

    If an estimator was fitted to columns of categories, every column counts alike: numbers
    are in standard deviations of the rows of the fit, and for categories "squared_error"
    and "r2" count cross-entropies and the other metrics wrong categories, see the Notes of
    `reconstruction_error`. The default is then minus the loss, as in `score`.

    Parameters
    ----------
    metric : {"squared_error", "absolute_error", "root_mean_squared_error", "r2", \
            "binary_cross_entropy"}, default="squared_error"
        See `reconstruction_error`.
    scale : array-like of shape (n_features,), default=None
        See `reconstruction_error`. An example is `StandardScaler().fit(X).scale_`. The
        scale is the same for all estimators, so that they can be compared.

    Returns
    -------
    scorer : callable (estimator, X, y=None) -> float
        Greater is better: errors are negated. It can be the parameter `scoring` of
        `GridSearchCV`, `cross_val_score` and similar functions.

    Raises
    ------
    TypeError
        When the scorer is called, if the estimator lacks one of the two methods.
        `GridSearchCV` turns this error into a warning unless `error_score="raise"`.

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
    return _ReconstructionScorer(metric, scale=scale)


@validate_params(
    {
        "metric": [StrOptions(set(METRICS))],
        "fraction": [Interval(Real, 0, 1, closed="neither")],
        "scale": ["array-like", None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_hidden_cell_scorer(
    metric="squared_error", *, fraction=0.2, scale=None, random_state=0
):
    """Make a scorer that finds out how many components a table has.

    Held-out rows are reconstructed better by more components, whatever the table holds,
    because each component also reproduces some of the noise in the row that it is given.
    This scorer therefore hides some cells of the held-out rows and scores only those,
    predicted from the other cells of their row. Components that describe noise make these
    predictions worse. This is element-wise cross-validation, see Wold (1978),
    "Cross-validatory estimation of the number of components in factor and principal
    components models", and Bro, Kjeldahl, Smilde and Kiers (2008), "Cross-validation of
    component models: a critical look at current methods".

    Parameters
    ----------
    metric : {"squared_error", "absolute_error", "root_mean_squared_error", "r2", \
            "binary_cross_entropy"}, default="squared_error"
        See `reconstruction_error`. It is computed over the hidden cells.
    fraction : float in (0, 1), default=0.2
        Share of the cells that is hidden.
    scale : array-like of shape (n_features,), default=None
        See `reconstruction_error`.
    random_state : int, RandomState instance or None, default=0
        Decides which cells are hidden. With an int they are the same for every estimator,
        so that the candidates of a search are compared on the same cells.

    Returns
    -------
    scorer : callable (estimator, X, y=None) -> float
        Greater is better: errors are negated. The hidden cells are missing for an
        estimator that takes missing values, such as an autoencoder with `allow_nan=True`.
        For every other they are filled with the mean of their column, or its most frequent
        category, and then, until they stay the same, with their reconstruction (Walczak
        and Massart 2001, "Dealing with missing data").

    See Also
    --------
    one_standard_error : Chooses the fewest components that this scorer finds good enough.

    Examples
    --------
    Three components and noise:

    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skae.metrics import make_hidden_cell_scorer, make_reconstruction_scorer
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 3)) @ rng.normal(size=(3, 12))
    >>> X += 0.5 * rng.normal(size=X.shape)
    >>> grid = {"n_components": range(1, 9)}
    >>> for make_scorer in make_reconstruction_scorer, make_hidden_cell_scorer:
    ...     search = GridSearchCV(PCA(), grid, scoring=make_scorer()).fit(X)
    ...     print(search.best_params_)
    {'n_components': 8}
    {'n_components': 3}
    """
    return _HiddenCellScorer(
        metric, fraction=fraction, scale=scale, random_state=random_state
    )
