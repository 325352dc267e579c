"""Groups of rows: by class or along a scale."""

import numpy as np

from skae.plotting._drawing import COLORS, MARKERS, bin_edges
from skae.plotting._legends import legend_above, legend_in_corner

__all__ = ["Groups"]

OUTLINES = ["-", "--", ":", "-."]
MOST_CLASSES = 20  # more different whole numbers are a scale
MOST_OUTLINES = 4  # more classes share one histogram


class Groups:
    """Draws rows by class or along a scale, and explains the colours.

    Rows are drawn in a random order, which is always the same, so that no class covers the
    others.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or None
        Classes, or numbers of a scale.
    style : dict
        Arguments of `Axes.scatter`, which replace those chosen here.
    """

    def __init__(self, y, style):
        self.title = getattr(y, "name", None)
        self.y = None if y is None else np.asarray(y)
        self.style = style
        self.kinds, self.places = [], None
        if y is not None:
            self.kinds, self.places = np.unique(self.y, return_inverse=True)
        self.mappable = None
        is_number = y is not None and self.y.dtype.kind in "iuf"
        whole = is_number and np.array_equal(self.kinds, np.round(self.kinds))
        self.is_scale = is_number and (not whole or len(self.kinds) > MOST_CLASSES)

    def scatter(self, ax, x, y):
        """Draw a scatter plot of the rows."""
        if self.y is None:
            ax.scatter(x, y, **({"color": COLORS[0]} | self.style))
            return
        order = np.random.default_rng(0).permutation(len(x))
        if self.is_scale:
            style = {"cmap": "cividis", "c": self.y[order]} | self.style
            self.mappable = ax.scatter(x[order], y[order], **style)
            return
        places = self.places[order]
        own = {} if {"color", "facecolors"} & self.style.keys() else self._colors(places)
        points = ax.scatter(x[order], y[order], **(own | self.style))
        if "marker" not in self.style:
            paths = [_path(MARKERS[k % len(MARKERS)]) for k in range(len(self.kinds))]
            points.set_paths([paths[k] for k in places])

    def _colors(self, places):
        return {"c": [COLORS[k % len(COLORS)] for k in places]}

    def histogram(self, ax, values):
        """Draw a histogram of the values of the rows, one for each of a few classes."""
        if not self._has_outlines:
            ax.hist(values, bins=bin_edges(values), color="0.7")
            return
        edges = bin_edges(values)[::2]
        for k in range(len(self.kinds)):
            style = {"histtype": "step", "color": COLORS[k], "ls": OUTLINES[k], "lw": 1.1}
            ax.hist(values[self.places == k], bins=edges, **style)

    @property
    def _has_outlines(self):
        return 0 < len(self.kinds) <= MOST_OUTLINES and not self.is_scale

    def explain(self, axes):
        """Draw a legend or a colour bar outside the data."""
        first, is_pairs = axes[0, 0], len(axes) > 1
        if self.is_scale and self.mappable is not None:
            parent, place = first, [1.05, 0, 0.05, 1]
            if is_pairs:
                parent, place = axes[0, 1], [0.1, 0, 0.08, 1]
            box = parent.inset_axes(place)
            first.figure.colorbar(self.mappable, cax=box, label=self.title or "y")
        elif self.y is not None and not self.is_scale:
            handles = self._handles(has_points=bool(first.collections) or is_pairs)
            labels = [_word(kind) for kind in self.kinds[: len(handles)]]
            if is_pairs:
                legend_in_corner(axes, handles, labels, self.title)
            else:
                legend_above(first, handles, labels, self.title)

    def _handles(self, has_points):
        """Return what stands for the classes in the legend, of points or of histograms."""
        from matplotlib.lines import Line2D

        if not has_points and not self._has_outlines:
            return []
        handles = []
        for k in range(len(self.kinds)):
            style = {"marker": MARKERS[k % len(MARKERS)], "ls": "", "ms": 4.5}
            if not has_points:
                style = {"ls": OUTLINES[k], "lw": 1.1}
            handles.append(Line2D([], [], color=COLORS[k % len(COLORS)], **style))
        return handles


def _path(marker):
    """Return the outline of a marker."""
    from matplotlib.markers import MarkerStyle

    style = MarkerStyle(marker)
    return style.get_path().transformed(style.get_transform())


def _word(kind):
    """Return the name of a class."""
    return f"{kind:g}" if isinstance(kind, np.floating) else str(kind)
