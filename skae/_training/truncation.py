"""Ordered codes: at which numbers of codes a network is trained and judged."""

import numpy as np
import torch

__all__ = ["N_CUTS", "cut_shares", "cuts_of"]

N_CUTS = 4  # numbers of ordered codes that a row is decoded with in a step
MOST_CUTS = 8  # at which held-out rows are reconstructed
SMALLEST_LEFT = 1e-2  # of the variance, for the weight of a cut


def cuts_of(n_components):
    """Numbers of ordered codes at which held-out rows are reconstructed, k the last."""
    return tuple(np.unique(np.geomspace(1, n_components, MOST_CUTS).round().astype(int)))


def cut_shares(start, n_components):
    """How often 1, 2, ..., k codes are known in training: as 1 / PCA's error there.

    The error at every cut then has the same weight, as a share of PCA's.

    Parameters
    ----------
    start : Start
    n_components : int

    Returns
    -------
    Tensor of shape (n_components,)
    """
    left = start.total - np.cumsum(start.variances)[:n_components]
    left = np.pad(left, (0, n_components - len(left)))  # codes that PCA does not have
    weights = 1 / np.maximum(left, SMALLEST_LEFT * start.total or 1.0)
    return torch.from_numpy(weights / weights.sum())
