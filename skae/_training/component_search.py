"""Finds the fewest components that keep a share of the variance."""

import numpy as np

__all__ = ["fewest_components"]


def fewest_components(prepare, run, share):
    """Find the smallest network that keeps a share of the variance of held-out rows.

    The number of components is found by bisection between zero and the number that PCA
    needs on the training rows, which is the result if no smaller number is enough.

    Parameters
    ----------
    prepare : callable (n_components) -> Training
    run : callable (Training) -> (Training, net)
    share : float
        The share of the variance, in (0, 1).

    Returns
    -------
    training : Training
    net : AutoencoderNet
    """
    k, start = 1, prepare(1).starts[-1]
    # For a wide streamed table only k axes are computed: k doubles until they are enough.
    while len(start.variances) == k and start.variances.sum() < share * start.total:
        k *= 2
        start = prepare(k).starts[-1]
    ratios = np.cumsum(start.variances) / (start.total or 1.0)
    enough = min(int(np.searchsorted(ratios, share, side="right")) + 1, len(ratios))
    too_few, outcome = 0, None
    while enough - too_few > 1:
        n_components = (too_few + enough) // 2
        attempt = run(prepare(n_components))
        if attempt[0].r2 >= share:
            enough, outcome = n_components, attempt
        else:
            too_few = n_components
    return outcome or run(prepare(enough))
