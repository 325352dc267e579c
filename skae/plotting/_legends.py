"""Legends that take no width from the Axes."""

import re
import textwrap

import numpy as np

__all__ = ["left_of", "legend_above", "legend_in_corner", "legend_right", "short_label"]

FONT_SIZES = ["small", "x-small"]
SMALLEST = "xx-small"  # the size of the font where nothing else fits
STYLE = {"frameon": False, "borderaxespad": 0, "handletextpad": 0.5, "columnspacing": 1.2}
LONGEST = 28  # characters of a line
LONGEST_OF_NARROW = 16  # the same, where not even one column would fit otherwise


def left_of(ax):
    """Return where the words to the left of the Axes begin, in pixels, once drawn."""
    words = ax.yaxis.get_tightbbox()
    return min(ax.get_window_extent().x0, np.inf if words is None else words.x0)


def legend_above(ax, handles=None, labels=None, title=None):
    """Draw a legend above the Axes, in as many columns as these are wide.

    If the Axes are too narrow the legend is also above the words to their left.
    """
    if handles is None:
        handles, labels = ax.get_legend_handles_labels()
    if not handles:
        return
    ax.figure.canvas.figure.draw_without_rendering()  # determines the place of the Axes
    frame, far_left = ax.get_window_extent(), left_of(ax)
    columns, style = range(len(labels), 0, -1), {"title": title, "loc": "lower left"}
    for sizes in (FONT_SIZES, [SMALLEST]):
        for left, longest in (
            (frame.x0, LONGEST),
            (far_left, LONGEST),
            (far_left, LONGEST_OF_NARROW),
        ):
            # Words are a little wider at other resolutions, in which figures may be saved.
            room = 0.92 * (frame.x1 - left), float("inf")
            style["bbox_to_anchor"] = (left - frame.x0) / frame.width, 1.02
            if _first_that_fits(
                ax, handles, labels, room, columns, sizes, longest, **style
            ):
                return


def legend_in_corner(axes, handles, labels, title=None):
    """Draw a legend in the empty corner above the diagonal of a pair plot."""
    first, *others = axes[0]
    cell = first.get_window_extent()
    room = others[-1].get_window_extent().x1 - cell.x1, cell.height
    place = {"loc": "upper left", "bbox_to_anchor": (1.08, 1)}
    columns, sizes = range(1, len(labels) + 1), [*FONT_SIZES, SMALLEST]
    _first_that_fits(first, handles, labels, room, columns, sizes, title=title, **place)
    first.get_legend().set_in_layout(False)  # it would push the columns apart


def _first_that_fits(ax, handles, labels, room, columns, sizes, longest=LONGEST, **place):
    """Draw the first of the possible legends that fits in the room, or the smallest.

    Returns whether it fits.
    """
    labels = [textwrap.fill(str(label), longest) for label in labels]
    for fontsize in sizes:
        style = STYLE | place | {"fontsize": fontsize, "title_fontsize": fontsize}
        for n_columns in columns:
            legend = ax.legend(handles, labels, ncols=n_columns, alignment="left", **style)
            box = legend.get_window_extent()
            if box.width <= room[0] and box.height <= room[1]:
                return True
    return False


def legend_right(ax, handles, labels):
    """Draw a legend to the right of the Axes."""
    place = {"loc": "upper left", "bbox_to_anchor": (1.02, 1), "fontsize": "small"}
    ax.legend(handles, [short_label(label) for label in labels], **(STYLE | place))


def short_label(name):
    """Divide a name, such as "AutoencoderTransformer, 8 components", into short lines."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "\n", name).replace(", ", "\n")
