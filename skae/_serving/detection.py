"""Scores of outliers by a saved detector, in NumPy alone."""

import dataclasses

import numpy as np

from skae._serving.functions import log_tail, rows_at, smallest
from skae._serving.model import Model
from skae._serving.reading import array_of, model_of, names_of, read_as
from skae.exceptions import ModelFileError

__all__ = ["Detector", "detector_of"]

N_NEIGHBORS = 15  # as in `skae._applications.row_distances`
ROUNDING = 1e-9  # as in `skae._applications.calibration`


@dataclasses.dataclass(frozen=True)
class Detector:
    """What a fitted `AutoencoderOutlierDetector` computes.

    Attributes
    ----------
    name : str
        Name of the estimator's class.
    model : Model
        The autoencoder.
    references : ndarray of shape (m, p)
        Reconstructions of training rows, divided by the scale of the features.
    tails : ndarray of shape (2, 3)
        Centres and spreads of the logarithms of distances.
    offset : float
    scores : ndarray of shape (n_held_out,)
        Scores of held-out rows, sorted.
    sums : ndarray of shape (n_held_out + 1,)
        Cumulated weights of the held-out rows, from 0.
    own_weight : float
        Weight of a new row among them.
    feature_names : list of str or None
    """

    name: str
    model: Model
    references: np.ndarray
    tails: np.ndarray
    offset: float
    scores: np.ndarray
    sums: np.ndarray
    own_weight: float
    feature_names: list | None

    def __post_init__(self):
        # Of centred references, products tell distances with all digits.
        centre = self.references.mean(axis=0)
        centred = self.references - centre
        halves = np.square(centred).sum(axis=1) / 2
        for name, array in [("_centre", centre), ("_axes", centred.T), ("_halves", halves)]:
            object.__setattr__(self, name, array)

    @property
    def n_features(self):
        return self.model.n_features

    @property
    def n_components(self):
        return self.model.n_components

    @property
    def takes_nan(self):
        return self.model.takes_nan

    @property
    def width(self):
        """Number of values that a row takes."""
        return max(self.model.width, len(self.references), N_NEIGHBORS * self.n_features)

    def distances(self, X):
        """Return the residual and the score distance of each row, (n, 2)."""
        rows, X_hat = self._scaled(X)
        residuals = np.sum(self._squares(rows, X_hat), axis=1, keepdims=True)
        deviations = self._neighbors(X_hat) - np.reshape(X_hat, (-1, 1, self.n_features))
        squares = np.sum(deviations * deviations, axis=2)
        return np.concatenate([residuals, np.mean(squares, axis=1, keepdims=True)], axis=1)

    def row_scores(self, X):
        """Return the scores of rows, (n,)."""
        distances = self.distances(X)
        both = np.sum(distances, axis=1, keepdims=True)
        logs = np.log(np.concatenate([distances, both], axis=1) + ROUNDING)
        return np.sum(log_tail((logs - self.tails[0]) / self.tails[1]), axis=1)

    def decisions(self, X):
        """Return the scores of rows, (n,), relative to the limit."""
        return self.row_scores(X) - self.offset

    def labels(self, X):
        """Return -1 for outliers and 1 for other rows, (n,)."""
        return self.labels_of(self.decisions(X))

    @staticmethod
    def labels_of(decisions):
        return np.where(decisions < 0, np.int64(-1), np.int64(1))

    def p_values(self, X):
        """Return the p values of rows, (n,)."""
        places = np.searchsorted(self.scores, self.row_scores(X), side="right")
        sums = rows_at(self.sums, places) + self.own_weight
        return np.minimum(sums / (self.sums[-1] + self.own_weight), 1.0)

    def contributions(self, X):
        """Return the scores of rows with the sign changed, shared by features, (n, p)."""
        rows, X_hat = self._scaled(X)
        squares = sum(
            self._squares(rows, nearby)
            for nearby in np.moveaxis(self._neighbors(X_hat), 1, 0)
        )
        sums = squares.sum(axis=1, keepdims=True)
        equal = np.full_like(squares, 1 / self.n_features)
        shares = np.divide(squares, sums, out=equal, where=sums > 0)
        return shares * -self.row_scores(X)[:, None]

    def residuals(self, X):
        """Return X minus its reconstruction, (n, p)."""
        return X - self.model.reconstruct(X)

    def _scaled(self, X):
        """Return rows and their reconstructions (n, p), divided by the scale."""
        X_hat = self.model.reconstruct(X).astype(np.float64) / self.model.scale
        return X.astype(np.float64) / self.model.scale, X_hat

    def _squares(self, rows, X_hat):
        """Return squared differences (n, p), of which missing cells have their share."""
        squares = (rows - X_hat) * (rows - X_hat)
        if not self.takes_nan:
            return squares
        observed = ~np.isnan(rows)
        n_observed = np.maximum(np.sum(observed, axis=1, keepdims=True), 1)
        return np.where(observed, squares, 0.0) * (self.n_features / n_observed)

    def _neighbors(self, X_hat):
        """Return the references (n, n_neighbors, p) that are nearest to rows (n, p)."""
        n_neighbors = min(N_NEIGHBORS, len(self.references))
        nearness = (X_hat - self._centre) @ self._axes
        return rows_at(self.references, smallest(self._halves - nearness, n_neighbors))


def detector_of(name, parameters, fitted):
    """Return the Detector that plain values of a file describe.

    The parameters are those of `model_of`.

    Raises
    ------
    ModelFileError
        If these values do not make a detector.
    """
    with read_as(name):
        detector = _detector(name, fitted)
        detector.row_scores(detector.model.mean.clip(*detector.model.loss.bounds)[None])
    return detector


def _detector(name, fitted):
    inner = fitted["estimator_"]
    model = model_of(inner["class"], inner["parameters"], inner["fitted"])
    references, scores = fitted["_references"], fitted["held_out_scores_"]
    m, n = len(references), len(scores)
    tails = array_of(fitted["_tails"], (2, 3), "_tails")
    weights = array_of(fitted["held_out_weights_"], (n,), "held_out_weights_")
    scores = array_of(scores, (n,), "held_out_scores_")
    offset = fitted["offset_"]
    are_wrong = not m or not n or (tails[1] <= 0).any() or (weights < 0).any()
    are_wrong |= not isinstance(offset, float) or not np.isfinite(offset)
    if are_wrong or not weights.any():
        raise ModelFileError("has a calibration that is not valid.")
    if fitted["n_features_in_"] != model.n_features:
        raise ModelFileError("has attributes that do not fit together.")
    order = np.argsort(scores)
    return Detector(
        name=name,
        model=model,
        references=array_of(references, (m, model.n_features), "_references"),
        tails=tails,
        offset=float(offset),
        scores=scores[order],
        sums=np.concatenate([[0.0], np.cumsum(weights[order])]),
        own_weight=float(weights.max()),
        feature_names=names_of(fitted.get("feature_names_in_"), model.n_features),
    )
