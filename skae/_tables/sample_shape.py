"""The shape of the samples that the rows of a table are."""

import math
from numbers import Integral

__all__ = ["resolved_shape"]


def resolved_shape(sample_shape, n_features, owner):
    """Return the parameter `sample_shape` with the size that -1 stands for, or None.

    Parameters
    ----------
    sample_shape : sequence of int, or None
    n_features : int
    owner : str
        Name of the class that has the parameter, for messages.

    Returns
    -------
    tuple of int or None

    Raises
    ------
    ValueError
        If it is not the shape of a signal or an image of so many values.
    """
    if sample_shape is None:
        return None
    sizes = tuple(sample_shape)
    are_sizes = all(
        isinstance(size, Integral) and (size > 0 or size == -1) for size in sizes
    )
    if len(sizes) not in (2, 3) or not are_sizes or sizes.count(-1) > 1:
        raise ValueError(
            f"sample_shape of {owner} must be (channels, length) or (channels, height, "
            "width), of which one may be -1 and is then found from the number of features, "
            f"or None, got {sample_shape!r}."
        )
    known = math.prod(size for size in sizes if size > 0)
    sizes = tuple(n_features // known if size == -1 else int(size) for size in sizes)
    if math.prod(sizes) != n_features:
        raise ValueError(
            f"sample_shape={tuple(sample_shape)} of {owner} is for samples of "
            f"{f'a multiple of {known}' if -1 in sample_shape else known} values, but each "
            f"row has {n_features} features. Set it to the numbers of channels and of "
            "values along each axis of your samples."
        )
    return sizes
