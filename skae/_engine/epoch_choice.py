"""Which epoch's weights are kept, by the errors of held-out rows."""

import numpy as np
from scipy.special import ndtr, stdtrit

__all__ = ["Choice", "certainty"]

SMALLEST_SHARE = 1e-3  # of the error at the first cut, that an error is compared with
BEYOND_DOUBT = 1.75  # times the margin, see `Choice`
UNSEEN = 10.0  # standard deviations that one more row may lose, see `Choice`


def certainty(level, n_units):
    """Standard errors by which a mean of few observations must exceed zero.

    The quantile of Student's t distribution at the one-sided level that `level` standard
    deviations of a normal distribution have. It is for standard errors that divide by
    n_units, not by n_units - 1.

    Parameters
    ----------
    level : float
    n_units : float
        Number of independent observations.
    """
    if n_units <= 1:
        return np.inf
    quantile = stdtrit(n_units - 1, ndtr(level))
    return quantile * np.sqrt(n_units / (n_units - 1))


class Choice:
    """Which epoch's weights are kept, from the errors of held-out rows.

    The gain of an epoch is the mean over the held-out rows of (error of the start -
    error now). An epoch is kept where its gain is certain and larger than that of the epoch
    kept so far; the start is kept where there is no such epoch.

    A gain is certain where it exceeds `margin` standard errors, see `certainty`. But the
    largest of many gains is larger than it would be for new rows, and the later the epoch
    the further is the network from its start, which may harm rows that lie beyond all that
    it has seen. About one new row in n + 1 does. Therefore a gain that is not beyond doubt
    must be ahead of the one that is kept even if one row more than `n_seen` lost `UNSEEN`
    standard deviations of the difference between the two.

    Where codes are ordered the gains at several numbers of codes are averaged, each as a
    share of the start's error there, and none of them may be negative.

    Parameters
    ----------
    reference : ndarray of shape (n_cuts, n_held_out)
        Errors of PCA.
    margin : float
    allow_start : bool
        False for a network that does not start at PCA: its start is never kept.
    patience : int
        Epochs without a smaller mean error, smaller by `tol` as a share of the mean of
        `reference`, after which training stops.
    cuts : sequence of n_cuts int or None
        See `row_errors`.
    weights : ndarray of shape (n_held_out,) or None
        Of the rows.
    groups : ndarray of int of shape (n_held_out,) or None
        Rows with the same number depend on each other, and count as one observation in
        the standard error. None is a number of its own for every row.
    n_seen : int or None
        Independent rows, or groups of rows, in all that were seen in training or here.
        None is as many as are held out.
    """

    def __init__(
        self,
        reference,
        margin,
        allow_start,
        patience,
        tol,
        cuts=(None,),
        weights=None,
        groups=None,
        n_seen=None,
    ):
        self.cuts, self.weights = cuts, weights
        n_held_out = reference.shape[1]
        self.shares = np.full(n_held_out, 1.0) if weights is None else weights
        self.shares = self.shares / (self.shares.sum() or 1.0)
        self.groups = np.arange(n_held_out)
        if groups is not None:
            self.groups = np.unique(groups, return_inverse=True)[1]
        sums = np.bincount(self.groups, weights=self.shares)
        self.n_units = 1 / max(np.square(sums).sum(), 1 / n_held_out)
        self.n_seen = n_seen or self.n_units
        # Errors that are zero or next to it on the way to all components have no share.
        means = self.mean(reference)[:, None]
        self.unit = np.maximum(means, SMALLEST_SHARE * means.max() or 1.0)
        self.reference = reference / self.unit
        self.margin = margin
        self.patience = patience
        self.least = tol
        self.allow_start = allow_start
        # One object: Ctrl-C finds gains, an epoch and weights that go together.
        self.best = None, 0, None
        self.epoch = self.mark_epoch = 0
        self.mark = np.inf

    def mean(self, errors):
        """Mean (...) of the errors (..., n_held_out) of rows."""
        return np.average(errors, axis=-1, weights=self.weights)

    def _standard_error(self, deviations):
        """Standard error of a weighted mean of rows in groups that are independent.

        The sandwich estimate of Liang and Zeger (1986), "Longitudinal data analysis
        using generalized linear models", for the mean alone.
        """
        sums = np.bincount(self.groups, weights=self.shares * deviations)
        return np.sqrt(np.square(sums).sum())

    def see(self, errors, weights):
        """Take note of the epoch that has just ended."""
        self.epoch += 1
        if not np.isfinite(errors).all():
            return
        errors = errors / self.unit
        gains = self.reference - errors
        of_rows = gains.mean(axis=0)
        if self._is_certain(gains) and self._is_ahead(gains):
            self.best = of_rows, self.epoch, [w.clone() for w in weights]
        error = self.mean(errors.mean(axis=0))
        if error < self.mark - self.least:
            self.mark, self.mark_epoch = error, self.epoch

    def _is_certain(self, gains, times=1.0):
        """Whether gains (n_cuts, n_held_out) over the start exceed `times` the margin."""
        if not self.margin:
            return True
        if self.n_units <= 1:
            return False
        of_rows = gains.mean(axis=0)
        gain = self.mean(of_rows)
        least = certainty(self.margin, self.n_units) * self._standard_error(of_rows - gain)
        return gain > times * least and self.mean(gains).min() >= 0

    def _is_ahead(self, gains):
        """Whether gains (n_cuts, n_held_out) are larger than those of the epoch kept."""
        of_rows, kept = gains.mean(axis=0), self.best[0]
        if kept is None:
            return not self.allow_start or self.mean(of_rows) > 0
        ahead = of_rows - kept
        lead = self.mean(ahead)
        if self._is_certain(gains, BEYOND_DOUBT):
            return lead > 0
        deviation = self._standard_error(ahead - lead) * np.sqrt(self.n_units)
        return lead > UNSEEN * deviation / self.n_seen

    @property
    def best_epoch(self):
        return self.best[1]

    @property
    def best_weights(self):
        return self.best[2]

    @property
    def is_over(self):
        return self.epoch - self.mark_epoch >= self.patience

    @property
    def is_improving(self):
        """Whether the last epoch's error was the smallest so far, by `tol`."""
        start = self.mean(self.reference.mean(axis=0)) if self.allow_start else np.inf
        is_first = self.epoch == 1
        return self.mark_epoch == self.epoch and (
            not is_first or self.mark < start - self.least
        )
