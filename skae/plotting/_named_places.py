"""Names of places on the horizontal axis of a histogram."""

import numpy as np

from skae.plotting._drawing import COLORS, extent_of, spread_apart

__all__ = ["name_places"]

GAP = 8.5  # points between the middles of two names
MOST = 0.6  # share of the height that names may take from the bars


def name_places(ax, places, names, label):
    """Mark places on the horizontal axis, and write their names above all bars.

    As many of the first names are written as there is room for.
    """
    figure = ax.figure.canvas.figure
    figure.draw_without_rendering()  # determines the place of the Axes
    ax.set_xlim(ax.get_xlim())
    frame, transform = ax.get_window_extent(), ax.get_xaxis_transform()
    (low, high), per_point = ax.get_xlim(), figure.dpi / 72
    gap = GAP * per_point * (high - low) / frame.width
    n_names = max(1, int((high - low) / gap))
    spread = spread_apart(places[:n_names], gap)
    spread += max(0.0, low + gap / 2 - spread.min())
    spread -= max(0.0, spread.max() + gap / 2 - high)
    style = {"rotation": 90, "ha": "center", "va": "top", "fontsize": "x-small"}
    style |= {"xycoords": transform, "textcoords": transform}
    style["arrowprops"] = {"arrowstyle": "-", "lw": 0.5, "color": "0.4"}
    style["arrowprops"] |= {"shrinkA": 0, "shrinkB": 0}
    texts = [
        ax.annotate(name, (place, 0.02), (over, 1.0), **style)
        for place, over, name in zip(places, spread, names, strict=False)
    ]
    longest = max(extent_of(text).height for text in texts)
    bars = 1 - min(longest / frame.height + 0.04, MOST)
    ax.set_ylim(0, ax.get_ylim()[1] / bars)
    marks = {"marker": "v", "ls": "none", "ms": 4, "color": COLORS[1], "label": label}
    heights = np.full(len(places), 0.02)
    ax.plot(places, heights, transform=transform, clip_on=False, **marks)
