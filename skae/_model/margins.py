"""Maps of features that give drawn rows the margins of the training rows."""

import numpy as np

__all__ = ["Margins", "fit_margins", "number_of_draws"]

N_QUANTILES = 1000  # largest number of quantiles of a feature, as in QuantileTransformer
N_VALUES = 2**23  # largest number of values that are drawn to learn the model's margins
FEWEST_DRAWN, MOST_DRAWN = 1000, 10_000  # the same as a number of rows


class Margins:
    """Increasing maps of the features of drawn rows, each by its quantiles.

    Parameters
    ----------
    drawn, wanted : ndarray of shape (n_quantiles, n_features)
        Quantiles of each feature at the same levels, of rows that the model draws and of
        the training rows.
    """

    def __init__(self, drawn, wanted):
        if drawn.shape != wanted.shape:
            raise ValueError("quantiles of drawn rows and of the training rows differ")
        self.drawn, self.wanted = drawn, wanted

    def __call__(self, X):
        """Return rows (n, p) with the margins of the training rows, between their ends."""
        columns = zip(X.T, self.drawn.T, self.wanted.T, strict=True)
        return np.stack([np.interp(*column) for column in columns], axis=1)


def number_of_draws(n_features):
    """Return how many rows are drawn to learn the margins of the model."""
    return min(max(N_VALUES // n_features, FEWEST_DRAWN), MOST_DRAWN)


def fit_margins(drawn, X, weights=None):
    """Return the quantiles of drawn rows and of training rows, for `Margins`.

    Parameters
    ----------
    drawn, X : ndarray of shape (n_drawn, n_features) and (n_samples, n_features)
    weights : ndarray of shape (n_samples,) or None
        Weights of the training rows.

    Returns
    -------
    drawn, wanted : ndarray of shape (n_quantiles, n_features)
    """
    levels = np.linspace(0, 1, min(len(X), N_QUANTILES))
    return np.quantile(drawn, levels, axis=0), _quantiles(X, levels, weights)


def _quantiles(X, levels, weights):
    """Return quantiles (n_levels, p) of weighted rows, between which is interpolated.

    With equal weights they are those of `numpy.quantile`.
    """
    if weights is None:
        return np.quantile(X, levels, axis=0)
    order = np.argsort(X, axis=0, kind="stable")
    columns = []
    for column, places in zip(X.T, order.T, strict=True):
        shares = weights[places]
        middles = np.cumsum(shares) - shares / 2
        reached = (middles - middles[0]) / ((middles[-1] - middles[0]) or 1.0)
        columns.append(np.interp(levels, reached, column[places]))
    return np.stack(columns, axis=1)
