"""Legends that take no width from the Axes."""

import re
import textwrap

__all__ = ["legend_above", "legend_in_corner", "legend_right", "short_label"]

FONT_SIZES = ["small", "x-small", "xx-small"]
STYLE = {"frameon": False, "borderaxespad": 0, "handletextpad": 0.5, "columnspacing": 1.2}
LONGEST = 28  # characters of a line


def legend_above(ax, handles=None, labels=None, title=None):
    """Draw a legend above the Axes, in as many columns as these are wide."""
    if handles is None:
        handles, labels = ax.get_legend_handles_labels()
    if handles:
        ax.figure.canvas.figure.draw_without_rendering()  # determines the place of the Axes
        # Words are a little wider at other resolutions, in which a figure may be saved.
        room = 0.92 * ax.get_window_extent().width, float("inf")
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1.02)}
        columns = range(len(labels), 0, -1)
        _first_that_fits(ax, handles, labels, room, columns, title=title, **place)


def legend_in_corner(axes, handles, labels, title=None):
    """Draw a legend in the empty corner above the diagonal of a pair plot."""
    first, *others = axes[0]
    cell = first.get_window_extent()
    room = others[-1].get_window_extent().x1 - cell.x1, cell.height
    place = {"loc": "upper left", "bbox_to_anchor": (1.08, 1)}
    columns = range(1, len(labels) + 1)
    _first_that_fits(first, handles, labels, room, columns, title=title, **place)
    first.get_legend().set_in_layout(False)  # it would push the columns apart


def _first_that_fits(ax, handles, labels, room, columns, **place):
    """Draw the first of the possible legends that fits in the room, or the smallest."""
    labels = [textwrap.fill(str(label), LONGEST) for label in labels]
    for fontsize in FONT_SIZES:
        style = STYLE | place | {"fontsize": fontsize, "title_fontsize": fontsize}
        for n_columns in columns:
            legend = ax.legend(handles, labels, ncols=n_columns, alignment="left", **style)
            box = legend.get_window_extent()
            if box.width <= room[0] and box.height <= room[1]:
                return


def legend_right(ax, handles, labels):
    """Draw a legend to the right of the Axes."""
    place = {"loc": "upper left", "bbox_to_anchor": (1.02, 1), "fontsize": "small"}
    ax.legend(handles, [short_label(label) for label in labels], **(STYLE | place))


def short_label(name):
    """Divide a name, such as "AutoencoderTransformer, 8 components", into short lines."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "\n", name).replace(", ", "\n")
