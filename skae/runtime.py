"""Answers from model files with NumPy and safetensors alone: `skae.runtime.load`.

A web service that only needs codes, reconstructions or scores does not have to import torch
and scikit-learn. This module imports neither of them, nor scipy.
"""

import os

import numpy as np

from skae._files.container import read_model
from skae._serving.detection import detector_of
from skae._serving.imputation import imputer_of
from skae._serving.reading import model_of
from skae._serving.rows import as_floats, check_finite, checked
from skae.exceptions import ModelFileError

__all__ = ["RuntimeDetector", "RuntimeImputer", "RuntimeModel", "load"]

BATCH = 2**19  # number of values of a batch of rows in the widest layer


def load(path):
    """Open a model file that the method `save` of an estimator has written.

    The file is checked as `skae.load` checks it: opening it does not run any code from it,
    its SHA-256 reveals damage, and contents that do not make a model are refused.

    Parameters
    ----------
    path : str or path-like
        File of an `AutoencoderTransformer`, a `VariationalAutoencoder`, an
        `AutoencoderOutlierDetector` or an `AutoencoderImputer`.

    Returns
    -------
    model : RuntimeModel, RuntimeDetector or RuntimeImputer
        An object with methods of the estimator. Those of an autoencoder are `transform`,
        `inverse_transform`, `denoise`, `impute` and `score_samples`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If the file was cut short or altered, has a newer format, is not a model file, if
        its contents do not make a model, or if they need torch: a `module` of one's own,
        columns of categories, or an imputer that draws. This error is a ValueError.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import skae.runtime
    >>> from skae import AutoencoderTransformer
    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> ae = AutoencoderTransformer(2, max_epochs=2, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.skae")
    ...     ae.save(path)
    ...     model = skae.runtime.load(path)
    >>> bool(np.allclose(model.transform(X), ae.transform(X)))
    True
    """
    name, *parts = read_model(path)
    try:
        if name == "AutoencoderOutlierDetector":
            return RuntimeDetector(detector_of(name, *parts))
        if name == "AutoencoderImputer":
            return RuntimeImputer(imputer_of(name, *parts))
        return RuntimeModel(model_of(name, *parts))
    except ModelFileError as error:
        raise ModelFileError(f"{os.fspath(path)!r} {error}") from error.__cause__


class _Runtime:
    """What a saved estimator has, whatever it computes.

    Parameters
    ----------
    model : Model, Detector or Imputer
        What it computes.
    """

    def __init__(self, model):
        self._model = model
        self.n_features_in_ = model.n_features
        if model.feature_names is not None:
            self.feature_names_in_ = np.array(model.feature_names, dtype=object)

    def __repr__(self):
        text = f"<{type(self).__name__} of {self._model.name}: "
        return text + f"{self.n_features_in_} features{self._more_in_repr()}>"

    def _more_in_repr(self):
        return f", {self.n_components_} components"

    def _checked(self, X):
        return checked(X, self._model)

    def _by_batches(self, step, X, width=None):
        """Return step(X), batch by batch if rows of this width are many values."""
        n_rows = max(1, BATCH // (width or self._model.width))
        if len(X) <= n_rows:
            return step(X)
        starts = range(0, len(X), n_rows)
        return np.concatenate([step(X[i : i + n_rows]) for i in starts])


class RuntimeModel(_Runtime):
    """A fitted autoencoder that computes with NumPy alone, as `load` returns it.

    Methods take arrays, frames, sparse matrices and nested lists of numbers, and return
    arrays: float32 for float32, and float64 for everything else. They return the numbers of
    the estimator up to rounding. No method changes the model, so that threads may share it.

    Parameters
    ----------
    model : Model
        What it computes.

    Attributes
    ----------
    n_features_in_ : int
        Number of features.
    n_components_ : int
        Number of codes.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the features, if the X of `fit` had any.
    """

    def __init__(self, model):
        super().__init__(model)
        self.n_components_ = model.n_components

    def transform(self, X):
        """Encode X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components_)
            Codes.

        Raises
        ------
        ValueError
            If X has another number of features or other names than the X of `fit`, or has
            values that are not finite. Missing cells are taken if the estimator was fitted
            with `allow_nan`.
        """
        X = self._checked(X)
        self._check_counts(X)
        return self._by_batches(self._model.encode, X)

    def inverse_transform(self, X):
        """Decode codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components_)
            Codes. The last ones may be left out if the codes are ordered.

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features_in_)
            Reconstruction, in the units of X.

        Raises
        ------
        ValueError
            If X has another number of columns, or values that are not finite.
        """
        Z, k = as_floats(X), self.n_components_
        is_cut = self._model.is_ordered and 0 < Z.shape[1] < k
        if Z.shape[1] != k and not is_cut:
            raise ValueError(
                f"X has {Z.shape[1]} columns, but inverse_transform of {self._model.name} "
                f"takes codes: it expects {k} columns, one for each component."
            )
        check_finite(Z, takes_nan=False)
        return self._by_batches(self._model.decode, Z)

    def denoise(self, X):
        """Reconstruct X: `inverse_transform(transform(X))` in one call.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features_in_)
            Reconstruction, in the units of X.
        """
        X = self._checked(X)
        self._check_counts(X)
        return self._by_batches(self._model.reconstruct, X)

    def impute(self, X):
        """Fill the missing cells of X with their reconstruction.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)
            Rows with NaN where a value is missing, if the estimator was fitted with
            `allow_nan`.

        Returns
        -------
        X_filled : ndarray of shape (n_samples, n_features_in_)
            X with its missing cells filled, in the units of X.
        """
        X = self._checked(X)
        self._check_counts(X)
        return self._by_batches(self._model.impute, X)

    def score_samples(self, X):
        """Compute minus the reconstruction error, or the log-density, of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)

        Returns
        -------
        score : ndarray of shape (n_samples,)
            Scores as the estimator computes them. Higher is better. Those of a
            `VariationalAutoencoder` are lower bounds of log-densities.

        Raises
        ------
        NotImplementedError
            If the file of a `VariationalAutoencoder` is from before it held the codes
            that this takes. Save it again.
        ValueError
            For the same reasons as in `transform`, or if values of X are out of the range
            of the loss.
        """
        X, model = self._checked(X), self._model
        model.loss.check(X, model.name)
        return self._by_batches(model.row_scores, X, model.score_width)

    def _check_counts(self, X):
        """Refuse rows that have no logarithms, if the model takes logarithms of counts."""
        if self._model.exposure is not None:
            self._model.loss.check(X, self._model.name)


class RuntimeDetector(_Runtime):
    """A fitted `AutoencoderOutlierDetector` that computes with NumPy alone.

    `load` returns it. What is said of `RuntimeModel` holds for it, too.

    Parameters
    ----------
    model : Detector
        What it computes.

    Attributes
    ----------
    n_features_in_ : int
        Number of features.
    n_components_ : int
        Number of codes of the autoencoder.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the features, if the X of `fit` had any.
    offset_ : float
        The limit: `decision_function` is `score_samples` minus `offset_`.
    """

    def __init__(self, model):
        super().__init__(model)
        self.n_components_ = model.n_components
        self.offset_ = model.offset

    def score_samples(self, X):
        """Compute the scores, which are large for normal rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            They are at most 0.

        Raises
        ------
        ValueError
            If X has another number of features or other names than the X of `fit`, or has
            values that are not finite. Missing cells are taken if the autoencoder was
            fitted with `allow_nan`.
        """
        return self._answers(self._model.row_scores, X)

    def decision_function(self, X):
        """Compute `score_samples(X) - offset_`, which is negative for outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)

        Returns
        -------
        decision : ndarray of shape (n_samples,)
            Scores relative to the limit.
        """
        return self._answers(self._model.decisions, X)

    def predict(self, X):
        """Tell outliers from normal rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)

        Returns
        -------
        labels : ndarray of int of shape (n_samples,)
            -1 for outliers, 1 for all other rows.
        """
        return self._answers(self._model.labels, X)

    def p_values(self, X):
        """Compute conformal p values: a small one tells that a row is not like the others.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)

        Returns
        -------
        p : ndarray of shape (n_samples,)
            They are in (0, 1]. What they promise, and when, is said in the method of the
            estimator.
        """
        return self._answers(self._model.p_values, X)

    def distances(self, X):
        """Compute the residual and the score distance of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)

        Returns
        -------
        distances : ndarray of shape (n_samples, 2)
            Both are squared, and in units of the scale of the features.
        """
        return self._answers(self._model.distances, X)

    def contributions(self, X):
        """Divide the score of each row among the features.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)

        Returns
        -------
        contributions : ndarray of shape (n_samples, n_features_in_)
            They sum to `-score_samples(X)` in each row.
        """
        return self._answers(self._model.contributions, X)

    def residuals(self, X):
        """Compute the differences between rows and their reconstructions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)

        Returns
        -------
        residuals : ndarray of shape (n_samples, n_features_in_)
            Differences in the units of X, NaN where a cell is missing.
        """
        return self._answers(self._model.residuals, X)

    def _answers(self, step, X):
        return self._by_batches(step, self._checked(X))


class RuntimeImputer(_Runtime):
    """A fitted `AutoencoderImputer` that computes with NumPy alone.

    `load` returns it. What is said of `RuntimeModel` holds for it, too.

    Parameters
    ----------
    model : Imputer
        What it computes.

    Attributes
    ----------
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the features, if the X of `fit` had any.
    """

    def transform(self, X):
        """Fill the missing values of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)

        Returns
        -------
        X_filled : ndarray of shape (n_samples, n_features_out)
            X with its missing values filled, and with the columns of the indicator at the
            end. All other values are as they were.

        Raises
        ------
        ValueError
            If X has another number of features or other names than the X of `fit`, or has
            values that are not finite and do not stand for missing ones.
        """
        return self._by_batches(self._model.filled, self._checked(X))

    def _more_in_repr(self):
        return ""
