"""Finds the fewest components that keep a share of the variance."""

import numpy as np

from skae._tables.pca import principal_axes

__all__ = ["fewest_components"]


def fewest_components(table, train, share, deadline):
    """Find the smallest network that keeps a share of the variance of held-out rows.

    The number of components is found by bisection between zero and the number that PCA
    needs on the training rows, which is the result if no smaller number is enough.

    Parameters
    ----------
    table : Table
    train : callable (n_components) -> Result
    share : float
        The share of the variance, in (0, 1).
    deadline : Deadline
        When the search has to end, with the smallest number that is known to be enough.

    Returns
    -------
    Result
    """
    enough, too_few, outcome = _components_of_pca(table, share), 0, None
    while enough - too_few > 1 and not deadline.is_over:
        n_components = (too_few + enough) // 2
        attempt = train(n_components)
        if attempt.r2 >= share:
            enough, outcome = n_components, attempt
        else:
            too_few = n_components
    return outcome or train(enough)


def _components_of_pca(table, share):
    """Return how many components PCA needs to keep a share of the variance of its rows."""
    own = table if not table.n_held_out else table.first(len(table.X) - table.n_held_out)
    k = 1
    spread, _, total = principal_axes(own.X, k, own.weights)
    # For a wide streamed table only k axes are computed: k doubles until they are enough.
    while len(spread) == k and np.square(spread).sum() < share * total:
        k *= 2
        spread, _, total = principal_axes(own.X, k, own.weights)
    ratios = np.cumsum(np.square(spread)) / (total or 1.0)
    return min(int(np.searchsorted(ratios, share, side="right")) + 1, len(ratios))
