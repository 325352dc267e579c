"""AutoencoderImputer: fills missing cells, and draws what they could be."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.impute import MissingIndicator
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_feature_names_in,
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from skae._applications.fills import (
    OBSERVED,
    fit_autoencoders,
    limits,
    mean_fill,
    seeded_clones,
)
from skae._applications.saving import described, parts_with_autoencoder
from skae._applications.unknown_cells import UnknownCells, errors_of_fills
from skae._autoencoders.arguments import columns_to_fit
from skae._autoencoders.dense import AutoencoderTransformer
from skae._autoencoders.fitted_attributes import filler_of
from skae._autoencoders.held_out import folds_of_clones
from skae._autoencoders.rollback import as_before_on_error
from skae._compat import (
    Interval,
    MissingValues,
    StrOptions,
    _fit_context,
    draw_seed,
    in_container,
    in_frame_like,
    is_pandas_na,
    is_scalar_nan,
)
from skae._files.container import write_model
from skae._tables.categories import columns_of
from skae._tables.checks import check_codes
from skae._tables.filler_fit import FillerChoice

__all__ = ["AutoencoderImputer"]

FLOATS = [np.float64, np.float32]
LIMIT = [StrOptions({OBSERVED}), Interval(Real, None, None, closed="both"), "array-like"]


class AutoencoderImputer(TransformerMixin, BaseEstimator):
    """Fills missing values with what an autoencoder expects, given the rest of the row.

    The autoencoder is fitted to the values that there are. In training it hides some of
    them, and learns to tell them from the others of their row. Its fit starts from a
    normal distribution, which fills a value with what the others of its row let expect,
    and goes on from there only as far as hidden values of rows that it has not seen are
    filled better. Fills are means over several autoencoders.

    Columns of categories, see `categorical_features` of `AutoencoderTransformer`, are
    filled with the most probable category. Frames that `set_output` asks for have their
    dtypes; arrays have codes, or the categories themselves if X was an array of numbers.

    Parameters
    ----------
    estimator : AutoencoderTransformer or None, default=None
        Unfitted autoencoder of which clones are fitted, with `allow_nan=True`. None is an
        `AutoencoderTransformer(standardize=True)`, which is fitted with as many components
        as features, which lets it start from the linear fill as it is. One more, with 0.3
        times as many, joins them if training has improved it, or if its error in hidden
        values of held-out rows is smaller. With columns of categories their hidden layers
        are (128, 64).
    missing_values : int, float, np.nan or pandas.NA, default=np.nan
        The placeholder of missing values. In frames with nullable dtypes, `pandas.NA`
        and `np.nan` are the same.
    add_indicator : bool, default=False
        Whether to append a column for each feature that had missing values in `fit`, which
        is 1 where a value is missing, see `sklearn.impute.MissingIndicator`.
    keep_empty_features : bool, default=False
        Whether features without a single value in `fit` are kept. Their missing values are
        then filled with 0. Otherwise these features are left out of the output.
    sample_posterior : bool, default=False
        Whether to draw the filled values at random, for multiple imputation (Rubin 1987):
        each call of `transform` then draws from what a value could be, given the others of
        its row. How far off a fill can be is known from values that were hidden in rows
        that an autoencoder has not seen. Categories are drawn by their probabilities.
        False fills with the value that is expected, which is best if the table is filled
        only once.
    n_estimators : int, default=2
        Number of autoencoders with different seeds, which hide different values. The time
        is in proportion to it.
    min_value, max_value : "observed", float or array-like of shape (n_features,), \
            default="observed"
        Limits of filled values. "observed" is the smallest (largest) value of a feature in
        `fit`; -np.inf (np.inf) is none. Columns of categories have no limits.
    random_state : int, RandomState instance or None, default=None
        Seed of the autoencoders and of the draws. None leaves the `random_state` of
        `estimator` as it is, and draws seeds of further autoencoders from it.

    Attributes
    ----------
    estimator_ : AutoencoderTransformer or None
        The first fitted autoencoder, of the features that had values in `fit`. None if no
        feature had any.
    estimators_ : list of AutoencoderTransformer
        All fitted autoencoders, of which fills are the mean.
    min_value_, max_value_ : ndarray of shape (n_features_in_,)
        Limits of filled values.
    indicator_ : sklearn.impute.MissingIndicator or None
        The indicator of missing values; None if `add_indicator` is False.
    random_state_ : RandomState
        The state from which the next draws are made, if `sample_posterior` is True.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if X had names that are strings.

    See Also
    --------
    AutoencoderTransformer : The autoencoder.
    sklearn.impute.IterativeImputer : A regression of each feature on the others, in turns.
    sklearn.impute.KNNImputer : Means of the nearest rows.

    Notes
    -----
    Draws are made in two steps. The missing values of a row get normal random numbers,
    which are correlated as in the normal distribution, given the values that are known.
    These are turned into errors whose distribution is that of the errors in values that
    were hidden, feature by feature. They are errors of single autoencoders, which are a
    little larger than those of the mean. Draws beyond a limit are moved to it.

    References
    ----------
    D. B. Rubin (1987), "Multiple imputation for nonresponse in surveys".

    M. E. Tipping and C. M. Bishop (1999), "Probabilistic principal component analysis",
    Journal of the Royal Statistical Society B 61.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from skae import AutoencoderImputer
    >>> X, _ = load_iris(return_X_y=True)
    >>> X[::5, 2] = np.nan
    >>> X_filled = AutoencoderImputer(random_state=0).fit_transform(X)
    >>> X_true = load_iris().data
    >>> bool(np.abs(X_filled - X_true)[::5, 2].mean() < 0.4)
    True
    """

    _parameter_constraints: dict = {
        "estimator": [AutoencoderTransformer, None],
        "missing_values": [MissingValues(numeric_only=True)],
        "add_indicator": ["boolean"],
        "keep_empty_features": ["boolean"],
        "sample_posterior": ["boolean"],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "min_value": LIMIT,
        "max_value": LIMIT,
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        missing_values=np.nan,
        add_indicator=False,
        keep_empty_features=False,
        sample_posterior=False,
        n_estimators=2,
        min_value=OBSERVED,
        max_value=OBSERVED,
        random_state=None,
    ):
        self.estimator = estimator
        self.missing_values = missing_values
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features
        self.sample_posterior = sample_posterior
        self.n_estimators = n_estimators
        self.min_value = min_value
        self.max_value = max_value
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, sample_weight=None, *, groups=None):
        """Fit the autoencoder to the values of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows with missing values, as an array or a frame. Values that a sparse matrix
            does not store are zero.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the rows.
        groups : array-like of shape (n_samples,) or None, default=None
            Labels of rows that depend on each other, see `AutoencoderTransformer.fit`.

        Returns
        -------
        self : object
            The fitted imputer.

        Raises
        ------
        ValueError
            If X has fewer than two rows or holds infinite numbers, if the autoencoder
            refuses it, if `sample_posterior` is True and all rows are equal, or if there
            are columns of categories and `missing_values` is a number.
        """
        with as_before_on_error(self):
            self._fit(X, sample_weight, groups)
        return self

    def _fit(self, X, sample_weight, groups):
        random_state = check_random_state(self.random_state)
        unfitted = self._unfitted(random_state)
        autoencoder = unfitted[0]
        columns = columns_to_fit(autoencoder, X)
        self._columns = columns and vars(columns)
        self.estimator_, self._others, self._error_quantiles = None, [], None
        table = self._checked(X, reset=True, ignores=autoencoder.handle_unknown == "ignore")
        is_empty = np.isnan(table).all(axis=0)
        self._is_empty = is_empty
        is_out = ~is_empty | self.keep_empty_features
        self._features_out = np.flatnonzero(is_out)
        self.indicator_ = _indicator(table) if self.add_indicator else None
        is_categorical = False if columns is None else columns.is_categorical
        counts = _check_sample_weight(sample_weight, table) != 0
        used = table[counts] if counts.any() else table
        self.min_value_, self.max_value_ = limits(self, used, is_categorical)
        if is_empty.all():
            return
        rows, choice = table[:, ~is_empty], FillerChoice()
        how = {"sample_weight": sample_weight, "groups": groups, "filler_choice": choice}
        inside = columns and columns.of(np.flatnonzero(~is_empty))
        if inside is not None:
            rows, how["columns"] = inside.one_hot(rows), inside
        else:
            for each in unfitted:
                each.set_params(categorical_features=None)
        named = rows
        if hasattr(self, "feature_names_in_") and inside is None:
            named = in_frame_like(X, rows, self.feature_names_in_[~is_empty])
        is_default = self.estimator is None
        fitted = fit_autoencoders(unfitted, named, how, is_default=is_default)
        self.estimator_, *self._others = fitted
        if self.sample_posterior:
            how.pop("columns", None)
            folds = folds_of_clones(self.estimator_, rows, **how, fills_cells=True)
            self._learn_errors(rows, folds, random_state)

    def _unfitted(self, random_state):
        """Return the autoencoders that are going to be fitted."""
        has_own = self.estimator is not None
        kind = self.estimator if has_own else AutoencoderTransformer(standardize=True)
        autoencoder = clone(kind).set_params(allow_nan=True)
        is_seeded = self.random_state is not None or not has_own
        source = random_state if is_seeded else None
        return seeded_clones(autoencoder, self.n_estimators, source)

    @property
    def estimators_(self):
        check_is_fitted(self, "estimator_")
        return [] if self.estimator_ is None else [self.estimator_, *self._others]

    def _learn_errors(self, rows, folds, random_state):
        """Find out how far off fills are, from rows (n, p) of the fit."""
        if not folds:
            raise ValueError(
                f"sample_posterior=True of {type(self).__name__} needs rows from which "
                "others can be held out, and X has two rows or only equal ones. Set "
                "sample_posterior=False."
            )
        self.random_state_ = np.random.RandomState(draw_seed(random_state))
        self._error_quantiles = errors_of_fills(
            filler_of(self.estimator_),
            self.estimator_.scale_,
            folds,
            rows,
            np.random.RandomState(draw_seed(random_state)),
            columns_of(self.estimator_),
        )

    def _checked(self, X, reset, ignores):
        """Return X as an array of float32 or float64, with NaN in missing cells.

        Columns of categories have codes. `ignores` says whether unknown categories are
        missing values.
        """
        is_nan = is_scalar_nan(self.missing_values) or is_pandas_na(self.missing_values)
        columns = columns_of(self)
        if columns is not None:
            return self._checked_codes(X, columns, ignores, is_nan, reset)
        X = validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=FLOATS,
            ensure_all_finite="allow-nan" if is_nan else True,
            ensure_min_samples=2 if reset else 1,
        )
        if hasattr(X, "toarray"):
            if self.missing_values == 0:
                raise ValueError(
                    "Imputation not possible when missing_values == 0 and input is "
                    "sparse. Provide a dense array instead."
                )
            X = X.toarray()
        return X if is_nan else np.where(self.missing_values == X, np.nan, X)

    def _checked_codes(self, X, columns, ignores, is_nan, reset):
        """Return X with codes in its columns of categories, and NaN in missing cells."""
        if not is_nan:
            raise ValueError(
                f"missing_values={self.missing_values!r} of {type(self).__name__} is for "
                "tables of numbers, and X has columns of categories. Replace these values "
                "by NaN, and set missing_values=np.nan."
            )
        return check_codes(
            self,
            X,
            columns,
            ignores,
            reset=reset,
            dtype=FLOATS,
            ensure_all_finite="allow-nan",
            ensure_min_samples=2 if reset else 1,
        )

    def transform(self, X):
        """Fill the missing values of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of the fit, or others.

        Returns
        -------
        X_filled : ndarray of shape (n_samples, n_features_out)
            X with its missing values filled, and with the columns of the indicator at the
            end. All other values are as they were.
        """
        check_is_fitted(self)
        ae = self.estimator_
        ignores = ae is not None and ae._params_of_fit["handle_unknown"] == "ignore"
        table = self._checked(X, reset=False, ignores=ignores)
        filled = table.copy()
        filled[:, self._is_empty] = np.nan_to_num(table[:, self._is_empty], nan=0.0)
        if ae is not None:
            filled[:, ~self._is_empty] = self._filled(table[:, ~self._is_empty])
        filled = filled[:, self._features_out]
        columns = columns_of(self)
        columns = columns and columns.of(self._features_out)
        more = [] if self.indicator_ is None else [self.indicator_.transform(table)]
        if columns is None:
            return np.hstack([filled, *more])
        out = np.hstack([columns.as_array(filled), *more])
        frame = in_container(self, out, self.get_feature_names_out(), X)
        return out if frame is out else columns.as_frame(filled, frame)

    def _filled(self, rows):
        """Return rows (n, p) with their missing values filled."""
        is_missing = np.isnan(rows)
        some = is_missing.any(axis=1)
        filled = rows.copy()
        if some.any():
            columns = columns_of(self.estimator_)
            known = rows[some] if columns is None else columns.one_hot(rows[some])
            expected, draws = mean_fill(self.estimators_, known), self._error_quantiles
            if draws is not None:
                errors = self._unknown_cells.draw(np.isnan(known), self.random_state_)
                expected = expected + errors
            if columns is not None and draws is not None:
                expected = columns.drawn(expected, self.random_state_)
            elif columns is not None:
                expected = columns.most_probable(expected)
            ends = self.min_value_[~self._is_empty], self.max_value_[~self._is_empty]
            expected = np.clip(expected, *ends)
            filled[some] = np.where(is_missing[some], expected, rows[some])
        return filled

    @property
    def _unknown_cells(self):
        ae = self.estimator_
        parts = filler_of(ae), ae.scale_, self._error_quantiles
        return UnknownCells(*parts, columns_of(ae))

    def get_feature_names_out(self, input_features=None):
        """Get the names of the columns that `transform` returns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the features. None stands for `feature_names_in_` or, if X had no
            names, for x0, x1, ...

        Returns
        -------
        feature_names_out : ndarray of str objects
            Names of the features that are kept, followed by those of the indicator.
        """
        check_is_fitted(self, "n_features_in_")
        names = _check_feature_names_in(self, input_features)
        kept = names[self._features_out]
        if self.indicator_ is None:
            return kept
        return np.concatenate([kept, self.indicator_.get_feature_names_out(names)])

    def save(self, path):
        """Write the fitted imputer to a file, which `skae.load` opens.

        The file holds the autoencoder as `AutoencoderTransformer.save` writes it, and is as
        safe to open. If values are drawn, the draws go on in the loaded imputer as they
        would in this one. `missing_values=pandas.NA` is kept as NaN, which means the same.

        Parameters
        ----------
        path : str or path-like
            Name of the file, which is replaced if it exists.

        Raises
        ------
        ImportError
            If safetensors is not installed.
        NotFittedError
            If the imputer is not fitted.
        TypeError
            If a class is not one of skae's, or an attribute is not plain data.
        """
        check_is_fitted(self)
        write_model(path, type(self).__name__, *self._parts_of_file())

    def _parts_of_file(self):
        """Return parameters and fitted attributes, as a file holds them."""
        params, fitted = parts_with_autoencoder(self)
        fitted["_others"] = [described(each) for each in self._others]
        if is_pandas_na(self.missing_values):
            params["missing_values"] = np.nan
        if self.indicator_ is not None:
            fitted["indicator_"] = self.indicator_.features_
        if "random_state_" in fitted:
            fitted["random_state_"] = self.random_state_.get_state(legacy=False)
        return params, fitted

    def _take_from_file(self, fitted):
        """Take fitted attributes as `save` writes them."""
        vars(self).update(fitted)
        if self.indicator_ is not None:
            row = np.zeros((1, self.n_features_in_))
            row[0, self.indicator_] = np.nan
            self.indicator_ = _indicator(row)
        if "random_state_" in fitted:
            self.random_state_ = np.random.RandomState()
            self.random_state_.set_state(fitted["random_state_"])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = bool(
            is_scalar_nan(self.missing_values) or is_pandas_na(self.missing_values)
        )
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _indicator(table):
    """Return the MissingIndicator of a table (n, p) with NaN in missing cells."""
    indicator = MissingIndicator(error_on_new=False).set_output(transform="default")
    return indicator.fit(table)
