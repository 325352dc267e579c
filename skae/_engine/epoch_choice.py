"""Chooses the epoch whose weights are kept, by the errors of held-out rows."""

import numpy as np
from scipy.special import ndtr, stdtrit

__all__ = ["LOOK_BACK", "Choice", "certainty"]

SMALLEST_SHARE = 1e-3  # smallest divisor of errors, as a share of that at the first cut
BEYOND_DOUBT = 1.75  # factor of the margin, see `Choice`
CLIPPED = 0.9  # quantile at which gains of rows are clipped, see `Choice`
LOOK_BACK = 2  # number of epochs over which a rise of the error ends hope, see `Choice`
TYPICAL = 50.0  # fall of the typical error that counts, as a multiple of `tol`
UNSEEN = 20.0  # standard deviations that an unseen row may lose, see `Choice`


def certainty(level, n_independent):
    """Return by how many standard errors a mean of few observations must exceed zero.

    This is the quantile of Student's t distribution at the one-sided level that `level`
    standard deviations of a normal distribution have. It is for standard errors that divide
    by n_independent, not by n_independent - 1.

    Parameters
    ----------
    level : float
    n_independent : float
        Number of independent observations.
    """
    if n_independent <= 1:
        return np.inf
    quantile = stdtrit(n_independent - 1, ndtr(level))
    return quantile * np.sqrt(n_independent / (n_independent - 1))


class Choice:
    """Chooses the epoch whose weights are kept, from the errors of held-out rows.

    The gain of an epoch is the mean over the held-out rows of (error in `reference` - error
    after the epoch). An epoch is kept if its gain is certain and larger than that of the
    epoch kept so far. If there is no such epoch the start is kept.

    A gain is certain if it exceeds `margin` standard errors, see `certainty`. However, the
    largest of many gains is larger than it would be for new rows, and the later the epoch,
    the further the network is from its start, which may harm rows beyond the range of all
    rows that were seen. About one new row in n + 1 is such a row. Therefore a gain that is
    not beyond doubt must be ahead of the one that is kept even if one row more than
    `n_seen` lost `UNSEEN` standard deviations of the difference between the two.

    If codes are ordered the gains at several numbers of codes are averaged, each as a share
    of the error in `reference` with as many codes, and none of them may be negative.

    Parameters
    ----------
    reference : ndarray of shape (n_cuts, n_held_out)
        Errors of PCA, or of a trained network that training goes on with.
    margin : float
        Number of standard errors; 0 accepts every gain.
    allow_start : bool
        Whether the start may be kept. This is False for a new network that does not start
        from PCA.
    patience : int
        Number of epochs without a smaller mean error after which training stops.
    first_patience : int or None
        The same as long as no mean error was below that of the start, because the error
        often rises first, with the learning rate. None is `patience`.
    tol : float
        Smallest decrease of the mean error that counts, as a share of the mean of
        `reference`.
    weights : ndarray of shape (n_held_out,) or None
        Weights of the rows.
    groups : ndarray of int of shape (n_held_out,) or None
        Numbers of groups. Rows with the same number depend on each other, and count as one
        observation in the standard error. With None all rows are independent.
    n_seen : int or None
        Number of independent rows, or groups of rows, that were seen in training or here.
        None is the number of those held out.
    sizes : ndarray of shape (n_held_out,) or None
        Sizes of the rows, such as how much was counted in them, to which gains are expected
        to be in proportion. Only the rest counts in standard errors, as in the ratio
        estimator of Cochran (1977), "Sampling techniques". None are equal sizes.
    unit : float or None
        Divisor of errors that have no natural zero, such as minus a log-likelihood; `tol`
        is then a share of it. None divides them by the mean of `reference`.
    counts_typical : bool
        Whether training also goes on while the geometric mean of the errors of rows, which
        is what a typical row has, falls by a share `TYPICAL` * `tol`. The mean may be ruled
        by a few rows far from all others, whose errors rise and fall from epoch to epoch
        as long as the learning rate is large.
    clips_gains : bool
        Whether a gain is also certain if it is so after the gains of rows were clipped at
        their quantile `CLIPPED`. The mean gain is then smaller, and so is its standard
        error if a few rows gain much more than the others, which is no reason for doubt.
    hopes_until : int or None
        Epoch after which training also stops if no epoch has gained anything, the loss is
        certain, and the error has risen over `LOOK_BACK` epochs, by `hopeless` at least.
        None is never.
    hopeless : float
        See `hopes_until`; a share of the mean of `reference`.
    """

    def __init__(
        self,
        reference,
        margin,
        allow_start,
        patience,
        tol,
        weights=None,
        groups=None,
        n_seen=None,
        sizes=None,
        unit=None,
        counts_typical=False,
        clips_gains=False,
        first_patience=None,
        hopes_until=None,
        hopeless=0.0,
    ):
        self.weights = weights
        n_held_out = reference.shape[1]
        self.shares = np.full(n_held_out, 1.0) if weights is None else weights
        self.shares = self.shares / (self.shares.sum() or 1.0)
        self.sizes = np.full(n_held_out, 1.0) if sizes is None else sizes
        self.sizes = self.sizes / self.mean(self.sizes)
        self.groups = np.arange(n_held_out)
        if groups is not None:
            self.groups = np.unique(groups, return_inverse=True)[1]
        sums = np.bincount(self.groups, weights=self.shares)
        self.n_independent = 1 / max(np.square(sums).sum(), 1 / n_held_out)
        self.n_seen = n_seen or self.n_independent
        # At a cut where the error is zero or nearly so, shares of it would be enormous.
        means = self.mean(reference)[:, None]
        self.divisors = np.maximum(means, SMALLEST_SHARE * means.max() or 1.0)
        if unit is not None:
            self.divisors = np.full_like(means, unit)
        self.reference = reference / self.divisors
        self.margin = margin
        self.level = certainty(margin, self.n_independent)
        self.patience, self.first_patience = patience, first_patience or patience
        self.least = tol
        self.allow_start = allow_start
        # One tuple, so that after Ctrl-C gains, epoch and weights belong together.
        self.best = None, 0, None
        self.epoch = self.mark_epoch = self.typical_epoch = 0
        self.mark = self.typical = np.inf
        self.counts_typical = counts_typical and unit is None
        self.clips_gains = clips_gains
        self.hopes_until = np.inf if hopes_until is None else hopes_until
        self.hopeless, self.recent, self.is_lost = hopeless, [], False

    def mean(self, errors):
        """Return the mean (...) of the errors (..., n_held_out) of rows."""
        return np.average(errors, axis=-1, weights=self.weights)

    def _standard_error(self, deviations):
        """Return the standard error of a weighted mean of rows in independent groups.

        It is the sandwich estimate of Liang and Zeger (1986), "Longitudinal data analysis
        using generalized linear models", for the mean alone.
        """
        sums = np.bincount(self.groups, weights=self.shares * deviations)
        return np.sqrt(np.square(sums).sum())

    def see(self, errors, weights):
        """Take the epoch that has just ended into account.

        Parameters
        ----------
        errors : ndarray of shape (n_cuts, n_held_out)
        weights : list of Tensor
            Weights of the network, which are copied if the epoch is the best so far.
        """
        self.epoch += 1
        if not np.isfinite(errors).all():
            return
        errors = errors / self.divisors
        gains = self.reference - errors
        if self._is_certain(gains) and self._is_ahead(gains):
            self.best = gains.mean(axis=0), self.epoch, [w.clone() for w in weights]
        row_errors = errors.mean(axis=0)
        error = self.mean(row_errors)
        if error < self.mark - self.least:
            self.mark, self.mark_epoch = error, self.epoch
        if self.counts_typical:
            # An error of nearly zero is not told from another.
            typical = self.mean(np.log(row_errors.clip(min=0) + SMALLEST_SHARE))
            if typical < self.typical - TYPICAL * self.least:
                self.typical, self.typical_epoch = typical, self.epoch
        self.recent = [*self.recent, float(error)][-LOOK_BACK - 1 :]
        has_risen = error >= self.recent[0] + self.hopeless
        if has_risen and self.epoch >= self.hopes_until + LOOK_BACK and self.margin:
            loses = self.mean(gains).max() <= 0
            self.is_lost = loses and self._exceeds(-gains.mean(axis=0), self.level)

    def _is_certain(self, gains, times=1.0):
        """Whether gains (n_cuts, n_held_out) over the start exceed `times` the margin."""
        if not self.margin:
            return True
        if self.n_independent <= 1:
            return False
        if self.mean(gains).min() < 0:
            return False
        row_gains = gains.mean(axis=0)
        least = times * self.level
        is_certain = self._exceeds(row_gains, least)
        if is_certain or not self.clips_gains:
            return is_certain
        largest = np.quantile(row_gains, CLIPPED)
        return self._exceeds(row_gains.clip(max=largest), least)

    def _exceeds(self, row_gains, level):
        """Whether the mean of gains (n_held_out,) exceeds so many standard errors."""
        gain = self.mean(row_gains)
        return gain > level * self._standard_error(row_gains - gain * self.sizes)

    def _is_ahead(self, gains):
        """Whether gains (n_cuts, n_held_out) are larger than those of the epoch kept."""
        row_gains, kept_gains = gains.mean(axis=0), self.best[0]
        if kept_gains is None:
            return not self.allow_start or self.mean(row_gains) > 0
        ahead = row_gains - kept_gains
        lead = self.mean(ahead)
        if self._is_certain(gains, BEYOND_DOUBT):
            return lead > 0
        error = self._standard_error(ahead - lead * self.sizes)
        deviation = error * np.sqrt(self.n_independent)
        return lead > UNSEEN * deviation / self.n_seen

    def is_ahead_of(self, other):
        """Whether its network is certainly better than that of another Choice.

        Both have judged the same rows against the same reference. The lead has to exceed as
        many standard errors as a gain over the start.
        """
        mine, others = (0.0 if c.best[0] is None else c.best[0] for c in (self, other))
        return bool(self._exceeds(mine - others, self.level))

    @property
    def best_epoch(self):
        return self.best[1]

    @property
    def best_weights(self):
        return self.best[2]

    @property
    def is_over(self):
        gains = self.mark < self._start_error
        if self.is_lost and not gains:
            return True
        patience = self.patience if gains else self.first_patience
        return self.epoch - max(self.mark_epoch, self.typical_epoch) >= patience

    @property
    def _start_error(self):
        """Mean error of the start, infinite if it may not be kept."""
        return self.mean(self.reference.mean(axis=0)) if self.allow_start else np.inf

    @property
    def is_improving(self):
        """Whether the error of the last epoch was the smallest so far, by `tol`."""
        is_first = self.epoch == 1
        return self.mark_epoch == self.epoch and (
            not is_first or self.mark < self._start_error - self.least
        )
