"""The widths of the hidden layers that the parameters of an estimator ask for."""

from numbers import Real

import numpy as np

__all__ = ["AUTO_CHANNELS", "auto_widths", "given_widths"]

AUTO_CHANNELS = 32, 64  # channels of convolutional stages that "auto" stands for


def auto_widths(n_samples, n_features, times=1):
    """Return the hidden layers that "auto" stands for, `times` as wide as usual."""
    width = 2 ** int(np.log2(min(4 * np.sqrt(n_samples), 16 * n_features)) + 0.5)
    width = min(max(width, 64), 512) * times
    return width, width // 2


def given_widths(estimator):
    """Return `hidden_layer_sizes` of an estimator as a tuple of int, or refuse it."""
    sizes = estimator.hidden_layer_sizes
    if getattr(sizes, "ndim", 1) != 1 or not all(map(_is_width, sizes)):
        raise ValueError(
            f"hidden_layer_sizes of {type(estimator).__name__} must be positive whole "
            "numbers, one for each hidden layer of the encoder, such as (64, 32), or "
            f"'auto', got {sizes!r}."
        )
    return tuple(map(int, sizes))


def _is_width(size):
    """Whether a number is a positive whole number."""
    is_number = isinstance(size, Real) and not isinstance(size, bool)
    return is_number and size >= 1 and float(size).is_integer()
