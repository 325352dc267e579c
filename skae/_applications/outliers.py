"""AutoencoderOutlierDetector: scores of outliers, calibrated by rows held out."""

from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils import check_scalar, column_or_1d
from sklearn.utils.validation import (
    _check_feature_names_in,
    _num_samples,
    check_is_fitted,
)

from skae._applications.calibration import (
    Calibration,
    residuals_of,
    surprises,
    tails_of,
)
from skae._applications.detection import (
    default_components,
    fit_and_hold_out,
    support_of,
)
from skae._applications.row_distances import RowDistances
from skae._applications.saving import parts_with_autoencoder
from skae._autoencoders.arguments import given_to_fit
from skae._autoencoders.base import BaseAutoencoder
from skae._autoencoders.dense import AutoencoderTransformer
from skae._autoencoders.held_out import reconstruction, splits_of_rows
from skae._autoencoders.rollback import as_before_on_error
from skae._compat import Interval, StrOptions, _fit_context, draw_seed, in_frame_like
from skae._files.container import write_model
from skae._tables.categories import columns_of
from skae._tables.checks import check_table

__all__ = ["AutoencoderOutlierDetector"]

ALARM_RATE = 0.05  # share of normal rows that contamination="auto" lets be alarms


class AutoencoderOutlierDetector(OutlierMixin, BaseEstimator):
    """Finds rows that are unlike the others, by an autoencoder that it fits.

    The score of a row joins two squared distances, as multivariate process control does
    with PCA (Jackson and Mudholkar 1979). The *residual* is the distance of the row from
    its reconstruction: it is large if the features do not go together as they do in
    other rows. The *score distance* is that of the reconstruction from the 15 nearest
    reconstructions of training rows: it is large if the row follows the rules, but at a
    place where no other rows are. Each of the two, and their sum, is compared with the same
    distance of rows that the autoencoder has not seen, and becomes the surprise -log(P),
    where P is the probability that a normal row has a larger one, by a normal distribution
    of the logarithms. `score_samples` is minus the sum of the three surprises, as Fisher
    (1932) joins probabilities.

    Rows that are not seen in training are at hand in every fit, see
    `AutoencoderTransformer.cv`, so that calibration takes no further training: up to 1000
    rows every row is scored by a network that has not seen it, and in larger tables a tenth
    of the rows, at most 10 000. From these rows come also p values of new rows, and the
    limits of alarms.

    Parameters
    ----------
    estimator : autoencoder or None, default=None
        Unfitted autoencoder, such as an `AutoencoderTransformer`, of which a clone is
        fitted. None is an `AutoencoderTransformer(standardize=True)` with as many
        components as PCA needs for 90 % of the variance of the standardized features. So
        many are better for detection than the few that one takes to reduce dimensions.
    contamination : float in (0, 0.5] or "auto", default="auto"
        Decides about `offset_`, the limit of `predict`. A float is the share of outliers
        among the training rows: so many of them are beyond the limit. With "auto", 5 % of
        the rows that the autoencoder has not seen are beyond it, and therefore about 5 % of
        normal rows to come.
    support_fraction : float in (0, 1], default=0.95
        Share of the rows to which the autoencoder is fitted. The others, whose 15 nearest
        neighbours are the farthest away, take part in the calibration, and are neighbours
        of new rows. An autoencoder that is fitted to outliers learns to reconstruct them,
        and then does not find them. 1.0 fits to all rows.
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
        Numbers of the training rows that were scored by a network that has not seen them,
        and by neighbours among the rows that are not held out with them. A row of weight 2
        may be there twice.
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
    >>> bool((p <= 0.05).mean() > 0.5)
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
        support_fraction=0.95,
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
            autoencoder takes: frames with columns of categories, with missing cells if it
            has `allow_nan`, and larger than memory.
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
        with as_before_on_error(self):
            self._fit(X, sample_weight, groups)
        return self

    def _fit(self, X, sample_weight, groups):
        autoencoder = self._unfitted()
        autoencoder._validate_params()
        given = given_to_fit(autoencoder, X, None, sample_weight, groups, owner=self)
        if given.numbers is None:
            given.numbers = np.arange(given.X.shape[0])
        support = support_of(given, self.support_fraction, autoencoder.standardize)
        if self.estimator is None:
            autoencoder.n_components = default_components(given, support)
        seed = draw_seed(autoencoder.random_state)
        splits = splits_of_rows(autoencoder, given, seed)
        found = fit_and_hold_out(autoencoder, X, given, support, splits)
        self.estimator_ = autoencoder
        self.support_ = np.isin(np.arange(_num_samples(X)), given.numbers[support])
        self._references = found.references
        self._tails = tails_of(found.distances, found.weights)
        self.held_out_rows_ = given.numbers[found.rows]
        self.held_out_distances_ = found.distances
        self.held_out_weights_ = found.weights
        self.held_out_scores_ = self._scores(found.distances)
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

    def _scores(self, distances):
        return -surprises(distances, self._tails).sum(axis=1)

    def _offset(self, X):
        """Return the limit that `contamination` asks for."""
        if isinstance(self.contamination, str):
            return self._calibration.limit(ALARM_RATE)
        scores = self._scores(self._row_distances.totals(X))
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
            distance of the reconstruction from the 15 nearest reconstructions of training
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
            Minus the sum of the three surprises, see the class. They are at most 0.
        """
        return self._scores(self.distances(X))

    def decision_function(self, X):
        """Compute `score_samples(X) - offset_`, which is negative for outliers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        decision : ndarray of shape (n_samples,)
            Scores relative to the limit.
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
            They are in (0, 1], and at least 1 / (n_held_out + 1). To keep the rate of
            false discoveries among many rows below a level, pass them to
            `scipy.stats.false_discovery_control`, and report the rows whose adjusted p
            value is at most the level.

        Notes
        -----
        Let a row be drawn like the training rows and independently of them. If the fit
        treated it and the held-out rows alike, the probability that its p value is at most
        a would be at most a, for every a, every distribution and every estimator, and the
        procedure of Benjamini and Hochberg would keep its level (Bates et al. 2023). The
        fit does so only approximately, and without a guarantee, for these reasons:

        - Up to 1000 rows, a held-out row is scored by a network of four fifths of the rows,
          and a new row by the network of all rows, which tends to fit new rows a little
          better. Therefore p values tend to be a little too large. Cross-conformal
          prediction (Vovk 2015) and CV+ (Barber et al. 2021, "Predictive inference with the
          jackknife+") score a new row by the networks of all folds, which guarantees a
          probability of at most about 2 a for every estimator. On the tables of
          `examples/benchmarks` that changed little, and it takes five more networks.
        - The held-out rows have chosen the epoch. In larger tables they are also among the
          rows of the PCA from which training starts.
        - All rows together decide about the scale, the number of components without an
          `estimator`, and which rows are in `support_`.

        Outliers among the training rows make p values too large, never too small. How many
        alarms there are on new rows is measured in `examples/benchmarks/README.md`.
        """
        return self._calibration.p_values(self.score_samples(X))

    def residual_limit(self, distance, alarm_rate=ALARM_RATE):
        """Compute from which residual on rows are alarms, for given score distances.

        Parameters
        ----------
        distance : array-like of shape (n_samples,)
            Score distances, see `distances`.
        alarm_rate : float in (0, 1), default=0.05
            Share of normal rows that are alarms.

        Returns
        -------
        residual : ndarray of shape (n_samples,)
            Residuals whose score is exceeded by a share 1 - `alarm_rate` of the rows that
            the autoencoder has not seen. 0 where the score distance alone is an alarm.
        """
        check_is_fitted(self)
        check_scalar(
            alarm_rate,
            "alarm_rate",
            Real,
            min_val=0,
            max_val=1,
            include_boundaries="neither",
        )
        distance = column_or_1d(distance, dtype=np.float64)
        limit = self._calibration.limit(alarm_rate)
        return residuals_of(-limit, distance, self._tails)

    def contributions(self, X):
        """Divide the score of each row among the features.

        They are in proportion to the squared differences between the row and the 15
        reconstructions of training rows that are nearest to its own. Unlike the squares of
        `residuals`, these do not spread the deviation of one feature over all features that
        the autoencoder derives from it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        contributions : ndarray of shape (n_samples, n_features)
            Numbers that are not negative, and sum to `-score_samples(X)` in each row. A
            column of categories has one, as every other column. A frame if X is one.
        """
        table = self._checked(X)
        distances = self._row_distances
        out = distances.shares(table, columns_of(self.estimator_))
        out *= -self._scores(distances.totals(table))[:, None]
        return in_frame_like(X, out, _check_feature_names_in(self))

    def residuals(self, X):
        """Compute the differences between rows and their reconstructions.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        residuals : ndarray of shape (n_samples, n_features)
            X minus its reconstruction, in the units of X: positive where a value is larger
            than the other values of the row let expect, NaN where it is missing. In a
            column of categories one minus the probability of the category. A frame if X is
            one.
        """
        table = self._checked(X)
        out = self._row_distances.residuals(table, columns_of(self.estimator_))
        return in_frame_like(X, out, _check_feature_names_in(self))

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
        write_model(path, type(self).__name__, *parts_with_autoencoder(self))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self.estimator is not None and self.estimator.allow_nan
        return tags
