"""Estimators that take no categories, on frames that have them."""

import numpy as np
import torch
from sklearn.base import BaseEstimator

from skae._tables.scaling import nan_location_and_scale
from skae.losses._mixed import loss_of_columns

__all__ = ["OnIndicators"]


class OnIndicators(BaseEstimator):
    """An estimator such as PCA on standardized numbers and scaled indicators.

    This is the table from whose principal components the autoencoder starts too: the
    indicators of a column of categories are centred, and divided by one number such that
    their variances sum to 1. Missing cells are at their mean, which is 0.

    A linear reconstruction of indicators is no probability. Probabilities of categories
    are therefore those of a softmax regression on the codes, as in the decoder that the
    autoencoder starts from. Numbers are those that the estimator reconstructs.

    Parameters
    ----------
    estimator : estimator with transform and inverse_transform
    columns : Columns
    """

    def __init__(self, estimator, columns):
        self.estimator = estimator
        self.columns = columns

    def fit(self, rows):
        """Fit the estimator, and the regressions on its codes, to rows (n, n_features)."""
        table, columns = self.columns.one_hot(rows), self.columns
        mean, spread = nan_location_and_scale(table)
        scale = np.where(spread > 0, spread, 1.0)
        self.mean_, self.scale_ = columns.balanced(mean, scale)
        Z = self.estimator.fit(self._scaled(table)).transform(self._scaled(table))
        loss = loss_of_columns(columns.terms("squared_error"), columns.n_encoded)
        self._loss = loss.fitted(loss.measure(table))
        known = np.where(np.isnan(table), mean, table)
        start = self._loss.decoder_start(
            *(torch.from_numpy(_floats(a)) for a in (Z, known))
        )
        self.weight_, self.bias_ = (part.numpy() for part in start)
        return self

    def _scaled(self, table):
        return np.nan_to_num((table - self.mean_) / self.scale_)

    def transform(self, rows):
        """Return codes (n, k) of rows (n, n_features)."""
        return self.estimator.transform(self._scaled(self.columns.one_hot(rows)))

    def decode(self, Z):
        """Return reconstructions (n, n_encoded) of codes."""
        output = torch.from_numpy(_floats(Z) @ self.weight_.T + self.bias_)
        X_hat = self._loss.reconstruction(output).numpy()
        places = self.columns.starts[~self.columns.is_categorical]
        numbers = _floats(self.estimator.inverse_transform(Z))[:, places]
        X_hat[:, places] = numbers * self.scale_[places] + self.mean_[places]
        return X_hat


def _floats(array):
    return np.asarray(array, dtype=np.float64)
