"""Names of the arrows of a biplot."""

import numpy as np

from skae.plotting._drawing import spread_apart

__all__ = ["name_tips"]


def name_tips(ax, origin, tips, names):
    """Write names at the tips of arrows, such that names do not cover each other."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2, foreground="white")]
    style = {"textcoords": "offset points", "va": "center", "fontsize": "x-small"}
    style |= {"path_effects": halo, "zorder": 5}
    style["arrowprops"] = {"arrowstyle": "-", "lw": 0.5, "color": "0.4", "shrinkB": 0}
    texts = []
    for tip, name in zip(tips, names, strict=True):
        right = tip[0] >= 0
        shift, ha = ((4, 0), "left") if right else ((-4, 0), "right")
        texts.append(ax.annotate(name, origin + tip, shift, ha=ha, **style))
    figure = ax.figure.canvas.figure  # the whole figure, if the Axes are in a subfigure
    _make_room(ax, texts, figure)
    points = ax.transData.transform(origin + tips) * 72 / figure.dpi
    wanted = points[:, 1] + 7 * _away(tips)
    for side in (tips[:, 0] >= 0, tips[:, 0] < 0):
        if not side.any():
            continue
        heights = spread_apart(wanted[side], gap=9.0)
        for i, height in zip(np.flatnonzero(side), heights, strict=True):
            texts[i].xyann = texts[i].xyann[0], height - points[i, 1]
            texts[i].arrow_patch.set_visible(abs(height - points[i, 1]) > 5)


def _make_room(ax, texts, figure):
    """Widen the view of the Axes for the texts, and move texts that still stick out."""
    figure.draw_without_rendering()  # determines the place of the Axes
    left, right = (over.max() for over in _overhang(ax, texts))
    (low, high), width = ax.get_xlim(), ax.get_window_extent().width
    # Texts keep their size when the view grows. The limit keeps the data large enough.
    growth = min(width / max(width - left - right, 1.0), 1.4)
    more, share = (growth - 1) * (high - low), left / ((left + right) or 1.0)
    height = np.mean(ax.get_ylim())
    ends = low - share * more, high + (1 - share) * more
    ax.update_datalim([(end, height) for end in ends])
    ax.margins(0)
    ax.autoscale_view()
    figure.draw_without_rendering()
    for text, *over in zip(texts, *_overhang(ax, texts), strict=True):
        move = (over[0] - over[1]) * 72 / figure.dpi
        text.xyann = text.xyann[0] + move, text.xyann[1]


def _overhang(ax, texts):
    """Return by how many pixels each text sticks out of the Axes, left and right."""
    frame, boxes = ax.get_window_extent(), [text.get_window_extent() for text in texts]
    left = [max(0.0, frame.x0 + 2 - box.x0) for box in boxes]
    return np.array(left), np.array([max(0.0, box.x1 + 2 - frame.x1) for box in boxes])


def _away(tips):
    """Return whether to move names up (1), down (-1) or not (0), off longer arrows."""
    angles = np.arctan2(tips[:, 1], np.abs(tips[:, 0]))
    lengths, sides = np.hypot(*tips.T), tips[:, 0] >= 0
    moves = np.zeros(len(tips))
    for i in range(len(tips)):
        near = (np.abs(angles - angles[i]) < np.pi / 12) & (sides == sides[i])
        near &= lengths > lengths[i]
        if near.any():  # a longer arrow passes the name, to a tip that is higher or lower
            longest = tips[near][lengths[near].argmax()]
            moves[i] = 1 if longest[1] < tips[i, 1] else -1
    return moves
