"""How rows are drawn: as images, as signals of one or several channels, or as curves."""

import dataclasses

import numpy as np

from skae._tables.sample_shape import resolved_shape

__all__ = ["Layout", "layout_of"]


@dataclasses.dataclass(frozen=True)
class Layout:
    """The shape in which each row is drawn.

    Attributes
    ----------
    sample_shape : tuple of int
        (channels, height, width) of images, (channels, length) of signals, and
        (1, n_features) of other rows, which are curves.
    is_image, is_signal : bool
        Whether rows are images, or signals with positions along an axis.
    channels_last : bool
        Whether the channels of a pixel are neighbours in a row.
    """

    sample_shape: tuple
    is_image: bool = False
    is_signal: bool = False
    channels_last: bool = False

    @property
    def picture_size(self):
        """Height and width of what `pictures` returns for a row."""
        return self.pictures(np.empty(np.prod(self.sample_shape))).shape[:2]

    def pictures(self, rows):
        """Return images (..., height, width) or (..., height, width, 3) of rows (..., p).

        Three channels are colours, and so are four if the channels come last. Any other
        number of channels are drawn one below the other.
        """
        channels, *size = self.sample_shape
        if self.channels_last:
            images = rows.reshape(*rows.shape[:-1], *size, channels)
        else:
            images = rows.reshape(*rows.shape[:-1], *self.sample_shape)
            images = np.moveaxis(images, -3, -1)
        if channels == 3 or (channels == 4 and self.channels_last):
            return images
        height, width = size
        images = np.moveaxis(images, -1, -3)
        return images.reshape(*rows.shape[:-1], channels * height, width)

    def curves(self, rows):
        """Return a curve for each channel, (..., channels, length), of rows (..., p)."""
        return rows.reshape(*rows.shape[:-1], *self.sample_shape)


def layout_of(shape, sample_shape, n_features, owner):
    """Return the Layout that the arguments of a display ask for.

    Parameters
    ----------
    shape : "auto", tuple of int or None
    sample_shape : sequence of int or None
    n_features : int
    owner : str
        Name of the display, for messages.

    Returns
    -------
    Layout

    Raises
    ------
    ValueError
        If `shape` or `sample_shape` is not that of rows with so many features.
    """
    sample_shape = resolved_shape(sample_shape, n_features, owner)
    is_auto = isinstance(shape, str) and shape == "auto"
    if is_auto and np.ndim(sample_shape) and len(sample_shape) == 3:
        return Layout(sample_shape, is_image=True)
    if is_auto or shape is None:
        is_signal = sample_shape is not None and len(sample_shape) == 2
        return Layout(sample_shape if is_signal else (1, n_features), is_signal=is_signal)
    _check(shape, n_features, owner)
    height, width, *channels = shape
    return Layout((*(channels or [1]), height, width), is_image=True, channels_last=True)


def _check(shape, n_features, owner):
    """Refuse a `shape` that is not that of images with so many pixels."""
    if np.ndim(shape) != 1 or len(shape) not in (2, 3):
        raise ValueError(
            f"shape of {owner} must be (height, width), (height, width, channels), 'auto' "
            f"or None, got {shape!r}."
        )
    if np.prod(shape) != n_features:
        raise ValueError(
            f"shape={tuple(shape)} of {owner} multiplies to {np.prod(shape)}, but the "
            f"rows have {n_features} features. Set the height and width of your images, "
            "or None for curves."
        )
