"""Losses: one number per sample, summed over the features.

Every loss function takes the decoder's output and the target, both of shape
(..., n_samples, n_features), and returns a tensor of shape (..., n_samples). A `Loss`
holds such a function and also says how the output becomes a reconstruction, which data
the loss is defined for, and which constant and which linear decoder to start from.
"""

from skae.losses._base import Loss
from skae.losses._named import (
    LOSSES,
    absolute_error,
    binary_cross_entropy,
    cosine,
    huber,
    negative_binomial,
    poisson,
    squared_error,
)

__all__ = [
    "LOSSES",
    "Loss",
    "absolute_error",
    "binary_cross_entropy",
    "cosine",
    "huber",
    "negative_binomial",
    "poisson",
    "squared_error",
]
