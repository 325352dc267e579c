"""AutoencoderOutlierDetector: scores of outliers, calibrated by rows held out."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted

from skae._applications.calibration import Calibration, surprises, tails_of
from skae._applications.row_distances import RowDistances, isolation
from skae._autoencoders.base import BaseAutoencoder
from skae._autoencoders.dense import AutoencoderTransformer
from skae._autoencoders.held_out import fit_with_folds, reconstruction
from skae._autoencoders.saving import parts_of_file
from skae._compat import Interval, StrOptions, _fit_context, draw_seed, in_frame_like
from skae._files.container import write_model
from skae._tables.checks import check_table
from skae._tables.dependence import check_groups
from skae._tables.fit_data import Given
from skae._tables.rows import is_streamed, row_blocks, rows_of
from skae._tables.scaling import scaled

__all__ = ["AutoencoderOutlierDetector"]

ALARM_RATE = 0.05  # share of normal rows that contamination="auto" lets be alarms
MOST_COMPONENTS = 32  # of the autoencoder that None stands for


class AutoencoderOutlierDetector(OutlierMixin, BaseEstimator):
    """Finds rows that are unlike the others, by an autoencoder that it fits.

    The score of a row joins two squared distances, as multivariate process control does
    with PCA (Jackson and Mudholkar 1979). The *residual* is the distance of the row from
    its reconstruction: it is large if the features do not go together as they do in
    other rows. The *score distance* is that of the reconstruction from the ten nearest
    reconstructions of training rows: it is large if the row follows the rules, but at a
    place where no other rows are. Each is compared with the same distance of rows that
    the autoencoder has not seen, and becomes the surprise -log(P), where P is the
    probability that a normal row has a larger one. `score_samples` is minus the sum of the
    two surprises (Fisher 1932).

    Rows that are not seen in training are at hand in every fit, see
    `AutoencoderTransformer.cv`, so that calibration takes no further training: up to 1000
    rows every row is scored by a network that has not seen it, and in larger tables a tenth
    of the rows, at most 10 000. From these rows come also p values of new rows, and the
    limits of alarms.

    Parameters
    ----------
    estimator : autoencoder or None, default=None
        Unfitted autoencoder, such as an `AutoencoderTransformer`, of which a clone is
        fitted. None is an `AutoencoderTransformer(standardize=True)` with half as many
        components as features, but at most 32.
    contamination : float in (0, 0.5] or "auto", default="auto"
        Decides about `offset_`, the limit of `predict`. A float is the share of outliers
        among the training rows: so many of them are beyond the limit. With "auto", 5 % of
        the rows that the autoencoder has not seen are beyond it, and therefore about 5 % of
        normal rows to come.
    support_fraction : float in (0, 1], default=0.9
        Share of the rows to which the autoencoder is fitted. The others, whose ten nearest
        neighbours are the farthest away, take part in the calibration alone. Otherwise an
        autoencoder learns to reconstruct outliers among the training rows, and then does
        not find them. 1.0 fits to all rows. Tables that are read in parts are always
        fitted to as a whole.
    random_state : int, RandomState instance or None, default=None
        Seed of the autoencoder. None leaves the `random_state` of `estimator` as it is.

    Attributes
    ----------
    estimator_ : autoencoder
        The fitted autoencoder.
    offset_ : float
        The limit: `decision_function` is `score_samples` minus `offset_`.
    support_ : ndarray of bool of shape (n_samples,)
        Rows to which the autoencoder was fitted.
    held_out_rows_ : ndarray of int of shape (n_held_out,)
        Numbers of the training rows that were scored by a network that has not seen them. A
        row of weight 2 may be there twice.
    held_out_distances_ : ndarray of shape (n_held_out, 2)
        Their residuals and score distances, see `distances`.
    held_out_scores_ : ndarray of shape (n_held_out,)
        Their scores.
    held_out_weights_ : ndarray of shape (n_held_out,)
        Numbers of training rows that they stand for. These are one, unless there are
        sample weights, or only a part of the rows was held out.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if X had names that are strings.

    See Also
    --------
    AutoencoderTransformer : The autoencoder.
    skae.plotting.OutlierDisplay : Residuals against score distances, and contributions.
    sklearn.ensemble.IsolationForest : Outliers by random trees.

    Notes
    -----
    The fitted detector, its pickles and its files hold the reconstructions of up to 10 000
    training rows.

    References
    ----------
    R. A. Fisher (1932), "Statistical methods for research workers", section 21.1.

    J. E. Jackson and G. S. Mudholkar (1979), "Control procedures for residuals associated
    with principal component analysis", Technometrics 21.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skae import AutoencoderOutlierDetector
    >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    >>> benign = X[y == 1]
    >>> detector = AutoencoderOutlierDetector(random_state=0).fit(benign[:200])
    >>> p = detector.p_values(X[y == 0])
    >>> bool((p <= 0.01).mean() > 0.5)
    True
    >>> detector.contributions(X[:1]).idxmax(axis=1).item() in X.columns
    True
    """

    _parameter_constraints: dict = {
        "estimator": [BaseAutoencoder, None],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "support_fraction": [Interval(Real, 0, 1, closed="right")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        contamination="auto",
        support_fraction=0.9,
        random_state=None,
    ):
        self.estimator = estimator
        self.contamination = contamination
        self.support_fraction = support_fraction
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, sample_weight=None, *, groups=None):
        """Fit the autoencoder, and calibrate its scores.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows, most of which are normal. They may be anything that the
            autoencoder takes: with missing cells if it has `allow_nan`, and larger than
            memory.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the rows for the autoencoder and in the calibration.
        groups : array-like of shape (n_samples,) or None, default=None
            Labels of rows that depend on each other, such as measurements of one person,
            which are scored by networks that have seen no row with the same label.

        Returns
        -------
        self : object
            The fitted detector.

        Raises
        ------
        ValueError
            If the autoencoder refuses X.
        """
        before = vars(self).copy()
        try:
            self._fit(X, sample_weight, groups)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise
        return self

    def _fit(self, X, sample_weight, groups):
        autoencoder = self._unfitted()
        table = check_table(
            autoencoder, X, reset=True, for_fit=True, ensure_min_samples=2, owner=self
        )
        given = Given(table)
        if groups is not None:
            given.groups = check_groups(groups, table)
        if sample_weight is not None:
            given.weigh(sample_weight)
        given.sort()
        rows = np.arange(table.shape[0]) if given.numbers is None else given.numbers
        support = self._support(given, autoencoder.standardize)
        if self.estimator is None:
            sizes = len(support), self.n_features_in_
            autoencoder.set_params(n_components=default_components(*sizes))
        frame = X if hasattr(X, "columns") else table
        is_whole = is_streamed(table)
        folds = fit_with_folds(
            autoencoder,
            X if is_whole else _safe_indexing(frame, rows[support]),
            sample_weight=_of(given.weights, support),
            groups=_of(given.groups, support),
        )
        self.estimator_ = autoencoder
        self.support_ = np.zeros(table.shape[0], dtype=bool)
        self.support_[rows[support]] = True
        held_out = self._calibrate(given, support, folds)
        self.held_out_rows_ = rows[held_out]
        self.offset_ = self._offset(given.X)

    def _unfitted(self):
        """Return the autoencoder that is going to be fitted."""
        if self.estimator is None:
            autoencoder = AutoencoderTransformer(standardize=True)
        else:
            autoencoder = clone(self.estimator)
        if self.random_state is not None:
            autoencoder.set_params(random_state=draw_seed(self.random_state))
        return autoencoder

    def _support(self, given, standardize):
        """Return the numbers of the rows to which the autoencoder is fitted."""
        n_samples = given.X.shape[0]
        n_kept = max(2, int(np.ceil(self.support_fraction * n_samples)))
        if n_kept >= n_samples or is_streamed(given.X):
            return np.arange(n_samples)
        X = scaled(given.X, *given.location_and_scale(standardize), np.float64)
        distances = isolation(np.nan_to_num(X, copy=False, nan=0.0))
        return np.flatnonzero(distances <= np.sort(distances)[n_kept - 1])

    def _calibrate(self, given, support, folds):
        """Score rows by networks that have not seen them; return their numbers.

        The rows beside the support are seen by no network. In the support only some rows
        may be held out, which then stand for all of it.
        """
        X, scale = given.X, self.estimator_.scale_
        inside = rows_of(X, support) if len(support) < X.shape[0] else X
        final = RowDistances.among(
            reconstruction(self.estimator_), inside, np.arange(len(support)), scale
        )
        outside = np.setdiff1d(np.arange(X.shape[0]), support)
        rows, found = [outside], [final.totals(X, outside)]
        for fold in folds:
            distances = RowDistances.among(fold.reconstruct, inside, fold.trained, scale)
            rows.append(support[fold.held_out])
            found.append(distances.totals(inside, fold.held_out))
        if not folds:  # all rows are equal, or there are but two
            rows, found = [np.arange(X.shape[0])], [final.totals(X)]
        rows, distances = np.concatenate(rows), np.concatenate(found)
        weights = np.ones(X.shape[0]) if given.weights is None else given.weights
        is_inside = np.isin(rows, support)
        held_out_weights = weights[rows]
        if is_inside.any():
            held_out_weights[is_inside] *= (
                weights[support].sum() / held_out_weights[is_inside].sum()
            )
        self._references = final.references
        self._tails = tails_of(distances, held_out_weights)
        self.held_out_distances_ = distances
        self.held_out_weights_ = held_out_weights
        self.held_out_scores_ = -surprises(distances, self._tails).sum(axis=1)
        return rows

    def _offset(self, X):
        """Return the limit that `contamination` asks for."""
        if isinstance(self.contamination, str):
            return self._calibration.limit(ALARM_RATE)
        scores = -surprises(self._row_distances.totals(X), self._tails).sum(axis=1)
        return float(np.percentile(scores, 100 * self.contamination))

    @property
    def _calibration(self):
        return Calibration(self.held_out_scores_, self.held_out_weights_)

    @property
    def _row_distances(self):
        reconstruct = reconstruction(self.estimator_)
        return RowDistances(reconstruct, self._references, self.estimator_.scale_)

    def _checked(self, X):
        check_is_fitted(self)
        return check_table(self.estimator_, X, reset=False, owner=self)

    def distances(self, X):
        """Compute the residual and the score distance of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        distances : ndarray of shape (n_samples, 2)
            The squared distance of the row from its reconstruction, and the mean squared
            distance of the reconstruction from the ten nearest reconstructions of training
            rows. Features are divided by `scale_` of `estimator_`. In rows with missing
            cells the residual is that of the other cells, multiplied by the ratio of the
            number of all cells to that of the others.
        """
        table = self._checked(X)
        return self._row_distances.totals(table)

    def score_samples(self, X):
        """Compute the scores, which are large for normal rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Minus the sum of the two surprises, see the class. They are at most 0.
        """
        return -surprises(self.distances(X), self._tails).sum(axis=1)

    def decision_function(self, X):
        """Compute `score_samples(X) - offset_`, which is negative for outliers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        decision : ndarray of shape (n_samples,)
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        """Tell outliers from normal rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray of int of shape (n_samples,)
            -1 for outliers, 1 for all other rows.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X):
        """Compute conformal p values: a small one tells that a row is not like the others.

        It is the share of rows, out of those that the autoencoder has not seen and the new
        row itself, whose score is no larger than that of the new row (Laxhammar 2014,
        "Conformal anomaly detection"; Bates et al. 2023, "Testing for outliers with
        conformal p-values").

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to be tested. Rows of the training table have p values that are too large.

        Returns
        -------
        p : ndarray of shape (n_samples,)
            p values in (0, 1]. None is below 1 / (n_held_out + 1). To keep the rate of
            false discoveries among many rows below a level, pass them to
            `scipy.stats.false_discovery_control`, and report the rows whose adjusted p
            value is at most the level.

        Notes
        -----
        For a normal row, one that is drawn like the training rows and independently of
        them, P(p <= a) is about a for every a. It is at most a, whatever the distribution,
        if the held-out rows were not used for the fit. That holds but approximately:

        - Up to 1000 rows, the networks that have scored the held-out rows were trained on
          four fifths of the rows. A network of all rows tends to give new rows slightly
          higher scores, which makes p values slightly too large. The cross-conformal
          predictors of Vovk (2015), and CV+ of Barber et al. (2021), "Predictive
          inference with the jackknife+", guarantee 2 a for any estimator, by
          keeping all networks; here one network and its score are kept.
        - In larger tables the held-out rows have chosen the epoch, and PCA of all
          rows is where training starts.
        - Which rows are in `support_` was decided by all rows.

        Outliers among the training rows make p values too large, never too small.
        """
        return self._calibration.p_values(self.score_samples(X))

    def contributions(self, X):
        """Divide the score of each row among the features.

        Each of the two surprises is divided in proportion to the squares that the two
        squared distances are sums of.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        contributions : ndarray of shape (n_samples, n_features)
            Numbers that are not negative, and sum to `-score_samples(X)` in each row. A
            frame if X is one.
        """
        table = self._checked(X)
        out, distances = np.empty(table.shape), self._row_distances
        for block in row_blocks(*table.shape):
            parts = distances.parts(rows_of(table, block))
            totals = np.column_stack([part.sum(axis=1) for part in parts])
            found = surprises(totals, self._tails)
            out[block] = sum(
                surprise[:, None] * _shares(part)
                for part, surprise in zip(parts, found.T, strict=True)
            )
        return in_frame_like(X, out, self._feature_names_in())

    def residuals(self, X):
        """Compute the differences between rows and their reconstructions.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        residuals : ndarray of shape (n_samples, n_features)
            X minus its reconstruction, in the units of X: positive where a value is larger
            than the other values of the row let expect, NaN where it is missing. A frame if
            X is one.
        """
        table = self._checked(X)
        out, reconstruct = np.empty(table.shape), reconstruction(self.estimator_)
        for block in row_blocks(*table.shape):
            rows = rows_of(table, block)
            out[block] = rows - reconstruct(rows)
        return in_frame_like(X, out, self._feature_names_in())

    def save(self, path):
        """Write the fitted detector to a file, which `skae.load` opens.

        The file holds the autoencoder as `AutoencoderTransformer.save` writes it, and is as
        safe to open.

        Parameters
        ----------
        path : str or path-like
            Name of the file, which is replaced if it exists.

        Raises
        ------
        ImportError
            If safetensors is not installed.
        NotFittedError
            If the detector is not fitted.
        TypeError
            If a class is not one of skae's, or an attribute is not plain data.
        """
        check_is_fitted(self)
        for model in (self, self.estimator_):
            if not type(model).__module__.startswith("skae."):
                raise TypeError(
                    f"save of {type(model).__name__} takes classes of skae only, not one "
                    "of your own. Use joblib."
                )
        fitted = {k: v for k, v in vars(self).items() if k not in self.get_params(False)}
        fitted.pop("_metadata_request", None)
        params, of_fit = parts_of_file(self.estimator_)
        fitted["estimator_"] = {
            "class": type(self.estimator_).__name__,
            "parameters": params,
            "fitted": of_fit,
        }
        seed = self.random_state
        params = {
            "contamination": self.contamination,
            "support_fraction": self.support_fraction,
            "random_state": seed if isinstance(seed, Integral) else None,
            "has_own_estimator": self.estimator is not None,
        }
        write_model(path, type(self).__name__, params, fitted)

    def _feature_names_in(self):
        generic = [f"x{j}" for j in range(self.n_features_in_)]
        return getattr(self, "feature_names_in_", np.array(generic, dtype=object))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self.estimator is not None and self.estimator.allow_nan
        return tags


def default_components(n_samples, n_features):
    """Return the number of components without an `estimator`."""
    return min(-(-n_features // 2), n_samples, MOST_COMPONENTS)


def _of(array, rows):
    """Return some rows of an array; None stays None."""
    return None if array is None else array[rows]


def _shares(part):
    """Return nonnegative numbers (n, p) divided by their sums, or 1 / p if these are 0."""
    sums = part.sum(axis=1, keepdims=True)
    equal = np.full_like(part, 1 / part.shape[1])
    return np.divide(part, sums, out=equal, where=sums > 0)
