"""A saved model between arrays: codes, reconstructions and scores, in NumPy alone."""

import dataclasses
from collections.abc import Callable

import numpy as np

from skae._serving.functions import has_gaps

__all__ = ["Model"]

LARGEST = np.finfo(np.float64).max


@dataclasses.dataclass(frozen=True)
class Model:
    """What a fitted autoencoder computes.

    Methods take arrays of float32 or float64, and compute in that precision.

    Attributes
    ----------
    name : str
        Name of the estimator's class.
    mean : ndarray of shape (p,)
    scale : float or ndarray of shape (p,)
    unit : float
        Units of the errors of a loss of scaled rows.
    code_scale : ndarray of shape (k,)
        Factors of the network's codes.
    encoders, decoders, folded : dict of str to steps
        By name of dtype. A folded encoder takes rows that are not centred and scaled.
    constants : ndarray of shape (n_constants * p,)
    loss : Loss
    ends : (low, high), ndarrays of shape (p,), or None
        Ends at which reconstructions are held.
    exposure : Exposure or None
    filler : Filler or None
    has_marks, is_ordered : bool
    feature_names : list of str or None
    """

    name: str
    mean: np.ndarray
    scale: np.ndarray
    unit: float
    code_scale: np.ndarray
    encoders: dict
    decoders: dict
    folded: dict
    constants: np.ndarray
    loss: object
    ends: tuple | None
    exposure: object
    filler: Callable | None
    has_marks: bool
    is_ordered: bool
    feature_names: list | None

    @property
    def n_features(self):
        return len(self.mean)

    @property
    def n_components(self):
        return len(self.code_scale)

    @property
    def takes_nan(self):
        return self.filler is not None

    @property
    def width(self):
        """Number of values that a row takes."""
        return max(self.n_features, self.n_components)

    @property
    def score_width(self):
        """Number of values that the score of a row takes."""
        return self.width

    def encode(self, X):
        """Return the codes (n, k) of X (n, p)."""
        dtype = X.dtype
        if self.exposure is not None:
            X = self.exposure.seen(X, self.exposure.relative(X))
        folded = self.folded.get(dtype.name)
        if folded is not None and (self.filler is None or not has_gaps(X)):
            Z = folded(X)
        else:
            Z = self.encoders[dtype.name](self._inputs(self._scaled(X)))
        return (Z * self.code_scale).astype(dtype, copy=False)

    def decode(self, Z):
        """Return the reconstruction (n, p) of codes (n, b), b <= k."""
        X_hat = self.loss.link(self._output(Z / self.code_scale[: Z.shape[1]], Z.dtype))
        if self.loss.of_scaled:
            X_hat = X_hat * self.scale + self.mean
        if self.ends is not None:
            X_hat = np.minimum(np.maximum(X_hat, self.ends[0]), self.ends[1])
        return X_hat.astype(Z.dtype, copy=False)

    def reconstruct(self, X):
        """Return the reconstruction (n, p) of X (n, p)."""
        X_hat = self.decode(self.encode(X))
        if self.exposure is None:
            return X_hat
        X_hat = self.exposure.times(X_hat, self.exposure.relative(X))
        return X_hat.astype(X.dtype, copy=False)

    def impute(self, X):
        """Return X (n, p) with its missing cells filled by the reconstruction."""
        return np.where(np.isnan(X), self.reconstruct(X), X)

    def row_scores(self, X):
        """Return minus the mean error of each row, (n,), of X (n, p), in float64."""
        relative, scaled = self._seen(X)
        Z = self.encoders[X.dtype.name](self._inputs(scaled))
        output = self._held(self._output(Z, X.dtype))
        with np.errstate(over="ignore"):
            unit = np.minimum(self.unit**self.loss.degree, LARGEST)  # 0 * LARGEST is 0
        goal = scaled
        if not self.loss.of_scaled:
            goal, unit = self._within(X), 1.0
        n_cells = self.n_features
        if self.filler is not None:
            observed = ~np.isnan(X)
            output = np.where(observed, output, self.loss.missing[0])
            goal = np.where(observed, goal, self.loss.missing[1])
            n_cells = np.maximum(np.sum(observed, axis=1), 1)
        output, goal = output.astype(np.float64), goal.astype(np.float64)
        errors = self.loss.errors(output, goal, self.constants, relative)
        return errors * (unit / n_cells) * -1.0

    def _seen(self, X):
        """Return relative exposures of rows, and the rows as the network sees them."""
        if self.exposure is None:
            return 1.0, self._scaled(X)
        relative = self.exposure.relative(X)
        return relative, self._scaled(self.exposure.seen(X, relative))

    def _within(self, X):
        """Return X within the range of the loss, from which rounding may have moved it."""
        low, high = self.loss.bounds
        return np.minimum(np.maximum(X, low), high)

    def _scaled(self, X):
        return ((X - self.mean) / self.scale).astype(X.dtype, copy=False)

    def _inputs(self, scaled):
        """Return the inputs of the network: filled, and with marks of missing cells."""
        if self.filler is None:
            return scaled
        observed = ~np.isnan(scaled)
        filled = self.filler(scaled, observed)
        if self.has_marks:
            return np.concatenate([filled, (~observed).astype(filled.dtype)], axis=1)
        return filled

    def _output(self, Z, dtype):
        return self.decoders[dtype.name](Z.astype(dtype, copy=False))

    def _held(self, output):
        if self.ends is None:
            return output
        mean, scale = self.loss.units
        if self.loss.of_scaled:
            mean, scale = self.mean, self.scale
        low, high = ((end - mean) / scale for end in self.ends)
        held = np.minimum(np.maximum(output, low), high)
        return held.astype(output.dtype, copy=False)
