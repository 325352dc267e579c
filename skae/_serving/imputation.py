"""Missing values filled by a saved imputer, in NumPy alone."""

import dataclasses

import numpy as np

from skae._serving.model import Model
from skae._serving.reading import array_of, columns_refused, model_of, names_of, read_as
from skae.exceptions import ModelFileError

__all__ = ["Imputer", "imputer_of"]


@dataclasses.dataclass(frozen=True)
class Imputer:
    """What a fitted `AutoencoderImputer` computes that does not draw.

    Attributes
    ----------
    name : str
        Name of the estimator's class.
    models : list of Model
        The autoencoders of the features that had values, of which fills are the mean.
    limits : ndarray of shape (2, p)
        Smallest and largest value of what is filled.
    is_empty : ndarray of bool of shape (p,)
        Features without values.
    features_out : ndarray of int
        Features that are kept.
    marked : ndarray of int
        Features that have a column of the indicator.
    missing_value : float
        What stands for a missing value.
    feature_names : list of str or None
    """

    name: str
    models: list[Model]
    limits: np.ndarray
    is_empty: np.ndarray
    features_out: np.ndarray
    marked: np.ndarray
    missing_value: float
    feature_names: list | None

    @property
    def n_features(self):
        return len(self.is_empty)

    @property
    def n_columns_out(self):
        return len(self.features_out) + len(self.marked)

    @property
    def takes_nan(self):
        return np.isnan(self.missing_value)

    @property
    def width(self):
        """Number of values that a row takes."""
        return max(self.n_features, *(model.width for model in self.models), 0)

    def filled(self, X):
        """Return X (n, p) without missing values, (n, n_columns_out)."""
        is_missing = np.isnan(X) if self.takes_nan else np.equal(X, self.missing_value)
        (empty,), (full,) = self.is_empty.nonzero(), (~self.is_empty).nonzero()
        zeros = np.where(is_missing, 0.0, X).astype(X.dtype)
        parts = [np.take(zeros, empty, axis=1)]
        if self.models:
            rows = np.take(np.where(is_missing, np.nan, X).astype(X.dtype), full, axis=1)
            parts.append(self._imputed(rows, *self.limits[:, full].astype(X.dtype)))
        places = np.argsort(np.concatenate([empty, full]))[self.features_out]
        out = np.take(np.concatenate(parts, axis=1), places, axis=1)
        if not len(self.marked):
            return out
        marks = np.take(is_missing, self.marked, axis=1).astype(X.dtype)
        return np.concatenate([out, marks], axis=1)

    def _imputed(self, rows, low, high):
        """Return rows (n, q) of the features that had values, without missing values."""
        first, *others = (model.impute(rows) for model in self.models)
        mean = sum(others, first) * (1 / len(self.models))
        bounded = np.minimum(np.maximum(mean, low), high).astype(rows.dtype)
        return np.where(np.isnan(rows), bounded, rows).astype(rows.dtype)


def imputer_of(name, parameters, fitted):
    """Return the Imputer that plain values of a file describe.

    The parameters are those of `model_of`.

    Raises
    ------
    ModelFileError
        If these values do not make an imputer, or if it draws values.
    """
    if parameters.get("sample_posterior") is not False:
        raise ModelFileError(
            "draws values at random (sample_posterior=True), which skae.runtime does not. "
            "Open it with skae.load, which needs torch and scikit-learn."
        )
    if fitted.get("_columns") is not None:
        raise ModelFileError(columns_refused())
    with read_as(name):
        return _imputer(name, parameters, fitted)


def _imputer(name, parameters, fitted):
    inner, is_empty = fitted["estimator_"], fitted["_is_empty"]
    p = len(is_empty)
    inner = [] if inner is None else [inner, *fitted["_others"]]
    models = [model_of(m["class"], m["parameters"], m["fitted"]) for m in inner]
    array_of(is_empty, (p,), "_is_empty")
    n_inside = {model.n_features for model in models} or {0}
    are_wrong = is_empty.dtype != bool or fitted["n_features_in_"] != p
    if are_wrong or {(~is_empty).sum()} != n_inside:
        raise ModelFileError("has attributes that do not fit together.")
    if not all(model.takes_nan for model in models):
        raise ModelFileError("has an autoencoder that does not fill missing cells.")
    return Imputer(
        name=name,
        models=models,
        limits=np.stack([_limit(fitted[name], p) for name in ("min_value_", "max_value_")]),
        is_empty=is_empty,
        features_out=_features(fitted["_features_out"], p),
        marked=_features(fitted["indicator_"], p),
        missing_value=float(parameters["missing_values"]),
        feature_names=names_of(fitted.get("feature_names_in_"), p),
    )


def _limit(values, n_features):
    """Return limits of the features, which may be infinite, after a check."""
    if values.shape != (n_features,) or np.isnan(values).any():
        raise ModelFileError("has limits of what is filled that are not valid.")
    return values


def _features(numbers, n_features):
    """Return numbers of features, of which None stands for none, after a check."""
    if numbers is None:
        return np.empty(0, dtype=int)
    is_valid = numbers.ndim == 1 and np.isin(numbers, range(n_features)).all()
    if not is_valid:
        raise ModelFileError("has numbers of features that are not valid.")
    return numbers.astype(int)
