"""The arrows of a biplot, and their names."""

import numpy as np

from skae.metrics._mixed import reader_of
from skae.plotting._drawing import extent_of, final_step, shortened, spread_apart

__all__ = ["draw_arrows", "loadings_of"]

GAP = 9.0  # points between the middles of two names
SHORTEST = 0.4  # share of the length that arrows without names would have


def loadings_of(estimator, codes, owner):
    """Return the change (n_features, 2) of the features with each of the two codes.

    Instead of a feature of categories it holds one row for each category.
    """
    final = final_step(estimator)
    if not hasattr(final, "components_"):
        raise TypeError(
            f"loadings of {owner} are drawn from components_, which "
            f"{type(final).__name__} does not have."
        )
    loadings, reader = np.asarray(final.components_)[codes].T, reader_of(final)
    if reader is not None:
        components = reader.components()[codes].T
        lengths = np.linalg.norm(components, axis=0)
        loadings = components / np.where(lengths > 0, lengths, 1.0)
    if getattr(final, "whiten", False) is True:  # codes are divided by their deviations
        loadings = loadings * np.sqrt(final.explained_variance_[codes])
    return loadings


def draw_arrows(ax, origin, loadings, names, n_arrows):
    """Draw the longest of the loadings (n_features, 2) as arrows, such that they fit.

    The data alone determine the limits of the Axes, and the arrows are scaled to these.
    """
    ax.set_aspect("equal", adjustable="datalim")
    figure = ax.figure.canvas.figure  # the whole figure, if the Axes are in a subfigure
    figure.draw_without_rendering()  # determines the place and the limits of the Axes
    longest = np.argsort(-np.hypot(*loadings.T), kind="stable")[:n_arrows]
    arrows = loadings[longest]
    names = [f"x{j}" if names is None else shortened(names[j]) for j in longest]
    style = {"textcoords": "offset points", "va": "center", "fontsize": "x-small"}
    style["bbox"] = {"fc": "white", "ec": "none", "alpha": 0.75, "pad": 0.6}
    style["arrowprops"] = {"arrowstyle": "-", "lw": 0.5, "color": "0.4", "shrinkB": 0}
    texts = [
        ax.annotate(name, origin, (4 if right else -4, 0), zorder=5, **style)
        for name, right in zip(names, arrows[:, 0] >= 0, strict=True)
    ]
    tips = arrows * _scale(ax, origin, arrows, texts)
    for text, tip in zip(texts, tips, strict=True):
        text.xy = origin + tip
        text.set_horizontalalignment("left" if tip[0] >= 0 else "right")
        arrow = {"arrowstyle": "-|>", "color": "black", "lw": 0.9}
        arrow |= {"shrinkA": 0, "shrinkB": 0}
        ax.annotate("", origin + tip, origin, arrowprops=arrow, zorder=4)
    _keep_apart(ax, origin, tips, texts)


def _scale(ax, origin, arrows, texts):
    """Return the factor with which all arrows and their names fit in the Axes."""
    limits = np.array([ax.get_xlim(), ax.get_ylim()])
    room = np.where(arrows >= 0, limits[:, 1] - origin, origin - limits[:, 0])
    per_pixel = np.ptp(limits[0]) / ax.get_window_extent().width
    names = np.array([extent_of(text).width + 8 for text in texts]) * per_pixel
    lengths = np.maximum(np.abs(arrows), 1e-9 * np.abs(arrows).max() or 1.0)
    without = 0.92 * (room / lengths).min()
    beside = ((room[:, 0] - names) / lengths[:, 0]).min()
    return np.clip(beside, SHORTEST * without, without)


def _keep_apart(ax, origin, tips, texts):
    """Move names so that they do not cover each other, and none is outside the Axes."""
    figure, frame = ax.figure.canvas.figure, ax.get_window_extent()
    points = ax.transData.transform(origin + tips) * 72 / figure.dpi
    low, high = np.array([frame.y0, frame.y1]) * 72 / figure.dpi
    wanted = points[:, 1] + 7 * _away(tips)
    for side in (tips[:, 0] >= 0, tips[:, 0] < 0):
        if not side.any():
            continue
        heights = spread_apart(wanted[side], gap=GAP)
        heights += max(0.0, low + GAP / 2 - heights.min())
        heights -= max(0.0, heights.max() + GAP / 2 - high)
        for i, height in zip(np.flatnonzero(side), heights, strict=True):
            box = extent_of(texts[i])
            inwards = max(0.0, frame.x0 - box.x0) - max(0.0, box.x1 - frame.x1)
            across = texts[i].xyann[0] + inwards * 72 / figure.dpi
            texts[i].xyann = across, height - points[i, 1]
            texts[i].arrow_patch.set_visible(abs(height - points[i, 1]) > 5)


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
