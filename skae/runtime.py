"""Answers from model files with NumPy and safetensors alone: `skae.runtime.load`.

A web service that only needs codes, reconstructions or scores does not have to import torch
and scikit-learn. This module imports neither of them, nor scipy.
"""

import os
import warnings

import numpy as np

from skae._files.container import read_model
from skae._serving.reading import model_of
from skae.exceptions import ModelFileError

__all__ = ["RuntimeModel", "load"]

BATCH = 2**19  # number of values of a batch of rows in the widest layer
SHOWN = 5  # number of feature names that a message shows


def load(path):
    """Open a model file that the method `save` of an estimator has written.

    The file is checked as `skae.load` checks it: opening it does not run any code from it,
    its SHA-256 reveals damage, and contents that do not make a model are refused.

    Parameters
    ----------
    path : str or path-like
        File of an `AutoencoderTransformer` or of a `VariationalAutoencoder`.

    Returns
    -------
    model : RuntimeModel
        An object with the methods `transform`, `inverse_transform`, `denoise` and
        `score_samples` of the estimator.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If the file was cut short or altered, has a newer format, is not a model file, if
        its contents do not make a model, or if they need torch: a `module` of one's own, or
        another estimator. This error is a ValueError.

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
    parts = read_model(path)
    try:
        return RuntimeModel(model_of(*parts))
    except ModelFileError as error:
        raise ModelFileError(f"{os.fspath(path)!r} {error}") from error.__cause__


class RuntimeModel:
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
        self._model = model
        self._loss = model.loss
        self.n_features_in_ = model.n_features
        self.n_components_ = model.n_components
        if model.feature_names is not None:
            self.feature_names_in_ = np.array(model.feature_names, dtype=object)
        self._n_rows = max(1, BATCH // max(model.n_features, model.n_components))

    def __repr__(self):
        return (
            f"<RuntimeModel of {self._model.name}: {self.n_features_in_} features, "
            f"{self.n_components_} components>"
        )

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
        Z, k = _as_floats(X), self.n_components_
        is_cut = self._model.is_ordered and 0 < Z.shape[1] < k
        if Z.shape[1] != k and not is_cut:
            raise ValueError(
                f"X has {Z.shape[1]} columns, but inverse_transform of {self._model.name} "
                f"takes codes: it expects {k} columns, one for each component."
            )
        _check_finite(Z, takes_nan=False)
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

    def score_samples(self, X):
        """Compute minus the reconstruction error of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)

        Returns
        -------
        score : ndarray of shape (n_samples,)
            Scores as the estimator computes them. Higher is better.

        Raises
        ------
        NotImplementedError
            If the model is variational: its scores need torch.
        ValueError
            For the same reasons as in `transform`, or if values of X are out of the range
            of the loss.
        """
        X = self._checked(X)
        self._loss.check(X, self._model.name)
        return self._by_batches(self._model.row_scores, X)

    def _check_counts(self, X):
        """Refuse rows that have no logarithms, if the model takes logarithms of counts."""
        if self._model.exposure is not None:
            self._loss.check(X, self._model.name)

    def _checked(self, X):
        """Return X as an array of floats, after the checks of scikit-learn."""
        self._check_names(X)
        rows = _as_floats(X)
        if rows.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {rows.shape[1]} features, but {self._model.name} is expecting "
                f"{self.n_features_in_} features as input."
            )
        _check_finite(rows, takes_nan=self._model.filler is not None)
        return rows

    def _check_names(self, X):
        """Refuse a frame with other names than the X of `fit`; warn where names lack."""
        expected = self._model.feature_names
        columns = getattr(X, "columns", None)
        names = None if columns is None else [*columns]
        if names is not None and not all(isinstance(name, str) for name in names):
            names = None  # as in scikit-learn, names are strings
        if names == expected:
            return
        if names is None:
            complaint = "does not have valid feature names, but {} was fitted with"
        elif expected is None:
            complaint = "has feature names, but {} was fitted without"
        else:
            raise ValueError(_names_complaint(names, expected))
        complaint = complaint.format(self._model.name)
        warnings.warn(f"X {complaint} feature names", UserWarning, stacklevel=4)

    def _by_batches(self, step, X):
        if len(X) <= self._n_rows:
            return step(X)
        starts = range(0, len(X), self._n_rows)
        return np.concatenate([step(X[i : i + self._n_rows]) for i in starts])


def _names_complaint(names, expected):
    """Return scikit-learn's message about names that differ."""
    lines = ["The feature names should match those that were passed during fit."]
    unseen = sorted(set(names) - set(expected))
    missing = sorted(set(expected) - set(names))
    for title, found in [
        ("Feature names unseen at fit time:", unseen),
        ("Feature names seen at fit time, yet now missing:", missing),
    ]:
        if found:
            lines += [title, *(f"- {name}" for name in found[:SHOWN])]
            lines += ["- ..."] * (len(found) > SHOWN)
    if not unseen and not missing:
        lines.append("Feature names must be in the same order as they were in fit.")
    return "\n".join(lines) + "\n"


def _as_floats(X):
    """Return X as an array (n, p) of float32 or float64."""
    if hasattr(X, "toarray"):
        X = X.toarray()
    X = np.asarray(X)
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D array instead. Reshape your data using "
            "array.reshape(-1, 1) if it has a single feature or array.reshape(1, -1) if it "
            "contains a single sample."
        )
    if len(X) == 0:
        raise ValueError(
            f"Found array with 0 sample(s) (shape={X.shape}) while a minimum of 1 is "
            "required."
        )
    if X.dtype.kind not in "fiubO":
        raise ValueError(f"X must hold numbers, got dtype {X.dtype}.")
    if X.dtype != np.float32 and X.dtype != np.float64:
        X = X.astype(np.float64)
    return X


def _check_finite(X, takes_nan):
    is_finite = np.isfinite(X)
    if is_finite.all():
        return
    if np.isinf(X).any():
        raise ValueError(f"Input X contains infinity or a value too large for {X.dtype!r}.")
    if not takes_nan:
        raise ValueError("Input X contains NaN.")
