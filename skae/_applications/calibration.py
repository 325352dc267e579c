"""From distances of rows to surprises, p values and limits, by rows held out from a fit."""

import dataclasses

import numpy as np
from scipy.special import ndtri_exp
from scipy.stats import norm

__all__ = ["Calibration", "residuals_of", "surprises", "tails_of"]

DEVIATION = 0.8413  # share of a normal distribution below one standard deviation
# Distances are not told from rounding errors below this, in units of the scale.
ROUNDING = 1e-9
SMALLEST_SPREAD = 0.01  # of the logarithms
HALVINGS = 60  # of an interval in which a residual is looked for


def tails_of(distances, weights):
    """Return the centre and the spread of the logarithms of squared distances.

    A normal distribution of the logarithms has a long tail, as distances in real tables
    have: with that of a sum of squares (Jackson and Mudholkar 1979), the larger of the two
    distances alone decides about most outliers. Median and quantile are not moved much by
    some outliers among the rows.

    Parameters
    ----------
    distances : ndarray of shape (n, 2)
    weights : ndarray of shape (n,)

    Returns
    -------
    ndarray of shape (2, 3)
        Centres in the first row, spreads in the second, for the two distances and their
        sum.
    """
    logs = _logs(distances)
    centre = np.array([weighted_quantile(column, weights, 0.5) for column in logs.T])
    above = np.array([weighted_quantile(column, weights, DEVIATION) for column in logs.T])
    return np.array([centre, np.maximum(above - centre, SMALLEST_SPREAD)])


def surprises(distances, tails):
    """Return minus the logarithms of the probabilities that distances are exceeded.

    Parameters
    ----------
    distances : ndarray of shape (n, 2)
    tails : ndarray of shape (2, 3)

    Returns
    -------
    ndarray of shape (n, 3)
        For the two distances and their sum.
    """
    centre, spread = tails
    return -norm.logsf((_logs(distances) - centre) / spread)


def _logs(distances):
    """Return logarithms (n, 3) of two distances (n, 2) and their sum."""
    return np.log(np.column_stack([distances, distances.sum(axis=1)]) + ROUNDING)


def residuals_of(surprise, distance, tails):
    """Return from which residual on the surprises sum to at least a given number.

    Parameters
    ----------
    surprise : float
    distance : ndarray of shape (n,)
        Score distances.
    tails : ndarray of shape (2, 3)

    Returns
    -------
    ndarray of shape (n,)
        0 where the score distance alone is enough.
    """
    centre, spread = tails[:, 0]
    # Logarithms of 1 + residual / ROUNDING. The residual is at most that whose own
    # surprise is the whole sum.
    largest = centre - spread * ndtri_exp(-max(surprise, 0.0)) - np.log(ROUNDING)
    low, high = np.zeros_like(distance), np.full_like(distance, max(largest, 0.0))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        pairs = np.column_stack([ROUNDING * np.expm1(middle), distance])
        is_enough = surprises(pairs, tails).sum(axis=1) >= surprise
        low, high = np.where(is_enough, low, middle), np.where(is_enough, middle, high)
    return ROUNDING * np.expm1(low)


def weighted_quantile(values, weights, share):
    """Return the smallest value at or below which a share of the weights lies."""
    order = np.argsort(values, kind="stable")
    sums = np.cumsum(weights[order])
    position = np.searchsorted(sums, share * sums[-1] * (1 - 1e-12))
    return float(values[order[min(position, len(order) - 1)]])


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Scores of rows that were held out, with which scores of new rows are compared.

    Attributes
    ----------
    scores : ndarray of shape (n,)
        Scores, of which the larger ones are the more normal.
    weights : ndarray of shape (n,)
    """

    scores: np.ndarray
    weights: np.ndarray

    def p_values(self, scores):
        """Return the p values (m,) of new scores (m,).

        It is the share of the held-out rows, and of the new row itself, whose score is not
        larger than that of the new row. If the weights differ the new row has the largest,
        so that the p value is rather too large than too small.
        """
        order = np.argsort(self.scores)
        sums = np.concatenate([[0.0], np.cumsum(self.weights[order])])
        own = self.weights.max()
        smaller = sums[np.searchsorted(self.scores[order], scores, side="right")]
        return np.minimum((smaller + own) / (sums[-1] + own), 1.0)

    def limit(self, alarm_rate):
        """Return the score below which about this share of normal rows lies."""
        return weighted_quantile(self.scores, self.weights, alarm_rate)
