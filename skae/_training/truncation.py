"""Ordered codes: the numbers of codes with which a network is trained and judged."""

import numpy as np
import torch

__all__ = ["N_CUTS", "cut_shares", "cuts_of"]

N_CUTS = 4  # how many numbers of codes a row is decoded with in a step
MOST_CUTS = 8  # how many numbers of codes held-out rows are decoded with, at most
SMALLEST_LEFT = 1e-2  # smallest share of the variance in the weight of a cut


def cuts_of(n_components):
    """Return the numbers of codes with which held-out rows are decoded; the last is k."""
    return tuple(np.unique(np.geomspace(1, n_components, MOST_CUTS).round().astype(int)))


def cut_shares(start, n_components):
    """Return how often 1, 2, ..., k codes are kept in training.

    This is in proportion to 1 / error of PCA with as many codes. The error for every number
    of codes, as a share of that of PCA, then has the same weight.

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
