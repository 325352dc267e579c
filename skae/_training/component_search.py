"""Finds the fewest components that keep a share of the variance."""

import numpy as np

from skae._tables.pca import principal_axes
from skae._tables.rows import row_blocks

__all__ = ["fewest_components"]

# The error of a network, as a share of that of PCA, before one is known; and by what this
# falls with more components, before a second is known, if the first gained anything.
TYPICAL, FALL, NO_GAIN = 0.5, 0.85, 0.999
MOST_GUESSES = 4  # after so many fits the numbers that are left are bisected
TINY = 1e-12  # smallest share of the variance that is told from nothing


def fewest_components(table, train, members_of, share, deadline):
    """Find the smallest network that keeps a share of the variance of held-out rows.

    The number of components that PCA needs on the training rows is the result if no
    smaller number is enough. Whether PCA keeps the share of the held-out rows too is known
    before any training. If it does not, the first network has this number, and is the
    result unless it is enough. Otherwise smaller numbers are tried. What each will leave of
    the variance is extrapolated from the networks so far, and the smallest number that is
    expected to be enough is tried next, until a network is enough and the one with a
    component less is not.

    Parameters
    ----------
    table : Table
    train : callable (n_components) -> Result
    members_of : callable (n_components) -> Members
    share : float
        The share of the variance, in (0, 1).
    deadline : Deadline
        When the search has to end, with the smallest number that is known to be enough.

    Returns
    -------
    Result
    """
    enough, too_few = _components_of_pca(table, share), 0
    unexplained, outcome, tried = _unexplained_by_pca(members_of(enough)), None, []
    if unexplained[-1] > 1 - share:
        outcome = train(enough)
        if outcome.r2 < share:  # nor would fewer be enough
            return outcome
        tried.append((enough, 1 - outcome.r2))
    while enough - too_few > 1 and not deadline.is_over:
        n_components = (too_few + enough) // 2
        if len(tried) <= MOST_GUESSES:
            expected = _expected(unexplained, tried)
            n_components = int(np.argmax(np.append(expected, 0) <= 1 - share))
        n_components = int(np.clip(n_components, too_few + 1, enough - 1))
        attempt = train(n_components)
        tried.append((n_components, 1 - attempt.r2))
        if attempt.r2 >= share:
            enough, outcome = n_components, attempt
        else:
            too_few = n_components
    return outcome or train(enough)


def _expected(unexplained, tried):
    """Return the share of the variance (k + 1,) that 0, 1, ..., k components will leave.

    Parameters
    ----------
    unexplained : ndarray of shape (k + 1,)
        The shares that PCA leaves.
    tried : list of (int, float)
        Numbers of components of the networks so far, and the shares that they leave. The
        logarithm of the ratio of these to PCA's is continued as a straight line through
        the last two. If there is one, and others would have fewer components, the ratio is
        assumed to be halfway between its own and a typical one.
    """
    if not tried:
        return TYPICAL * unexplained
    numbers, left = map(np.array, zip(*tried[-2:], strict=True))
    log_ratios = np.log(np.maximum(left, TINY) / unexplained[numbers])
    if len(tried) == 1:
        ratio = np.exp(log_ratios[0])
        if numbers[0] == len(unexplained) - 1:  # all others have fewer components
            return unexplained * np.sqrt(ratio * TYPICAL)
        return unexplained * ratio * (FALL if ratio < NO_GAIN else 1.0)
    slope = (log_ratios[-1] - log_ratios[0]) / (numbers[-1] - numbers[0])
    steps = np.arange(len(unexplained)) - numbers[-1]
    return unexplained * np.exp(log_ratios[-1] + slope * steps)


def _unexplained_by_pca(members):
    """Return the shares (k + 1,) of the variance that 0, 1, ..., k components leave.

    They are those of the PCA from which each member starts, in the rows by which it is
    judged.
    """
    k = len(members.starts[-1].deviations)
    sides = members.held_out if members.has_held_out_rows else members.trained
    left = np.zeros(k + 1)
    for start, rows in zip(members.starts, sides, strict=True):
        basis = start.encoder * start.deviations[:, None]
        weights = np.ones(len(members.table.X))
        if members.table.weights is not None:
            weights = members.table.weights
        for block in row_blocks(len(rows), members.table.X.shape[1]):
            X, lost = start.coordinates(members.table.X[rows[block]])
            squares = np.square(X @ basis.T, dtype=np.float64)
            whole = np.square(X, dtype=np.float64).sum(axis=1) + lost
            sums = whole[:, None] - np.pad(squares.cumsum(axis=1), ((0, 0), (1, 0)))
            left += weights[rows[block]] @ sums
    return np.maximum(left / (left[0] or 1.0), TINY)


def _components_of_pca(table, share):
    """Return how many components PCA needs to keep a share of the variance of its rows."""
    if table.whole is not None:
        spread, _, total = table.whole.principal
        return _components_for(spread, total, share)
    own = table if not table.n_held_out else table.first(len(table.X) - table.n_held_out)
    k = 1
    spread, _, total = principal_axes(own.X, k, own.weights, own.axes_dtype)
    # For a wide streamed table only k axes are computed: k doubles until they are enough.
    while len(spread) == k and np.square(spread).sum() < share * total:
        k *= 2
        spread, _, total = principal_axes(own.X, k, own.weights, own.axes_dtype)
    return _components_for(spread, total, share)


def _components_for(spread, total, share):
    """Return how many components keep a share, given the deviations (r,) along the axes."""
    ratios = np.cumsum(np.square(spread)) / (total or 1.0)
    return min(int(np.searchsorted(ratios, share, side="right")) + 1, len(ratios))
