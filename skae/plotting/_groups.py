"""Groups of rows: by class or along a scale."""

import numpy as np

from skae.plotting._drawing import COLORS, MARKERS, bin_edges, legend_right

__all__ = ["Groups"]

OUTLINES = ["-", "--", ":", "-."]
MOST_CLASSES = 20  # more different whole numbers are a scale
MOST_OUTLINES = 4  # more classes share one histogram


class Groups:
    """Draws rows by class or along a scale, and explains the colours.

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
        self.kinds = [] if y is None else np.unique(self.y)
        self.mappable = None
        is_number = y is not None and self.y.dtype.kind in "iuf"
        whole = is_number and np.array_equal(self.kinds, np.round(self.kinds))
        self.is_scale = is_number and (not whole or len(self.kinds) > MOST_CLASSES)

    def parts(self):
        """Yield the mask, label, colour and marker of each class."""
        labels = [
            f"{kind:g}" if self.y.dtype.kind == "f" else str(kind) for kind in self.kinds
        ]
        # Many classes are distinguished by their labels rather than by shapes.
        signs = len(labels) > 8 and all(len(label) == 1 for label in labels)
        for place, (kind, label) in enumerate(zip(self.kinds, labels, strict=True)):
            marker = f"${label}$" if signs else MARKERS[place % len(MARKERS)]
            yield self.y == kind, label, COLORS[place % len(COLORS)], marker

    def scatter(self, ax, x, y):
        """Draw a scatter plot of the rows."""
        if self.y is None:
            ax.scatter(x, y, **({"color": COLORS[0]} | self.style))
        elif self.is_scale:
            style = {"cmap": "cividis"} | self.style
            self.mappable = ax.scatter(x, y, c=self.y, **style)
        else:
            for mask, label, color, marker in self.parts():
                own = {"s": 2.5 * self.style["s"]} if marker.startswith("$") else {}
                style = {"color": color, "marker": marker} | self.style | own
                ax.scatter(x[mask], y[mask], label=label, **style)

    def histogram(self, ax, values):
        """Draw a histogram of the values of the rows, one for each of a few classes."""
        if not 0 < len(self.kinds) <= MOST_OUTLINES or self.is_scale:
            ax.hist(values, bins=bin_edges(values), color="0.7")
            return
        edges = bin_edges(values)[::2]
        for place, (mask, label, color, _) in enumerate(self.parts()):
            style = {"histtype": "step", "color": color, "ls": OUTLINES[place], "lw": 1.1}
            ax.hist(values[mask], bins=edges, label=label, **style)

    def explain(self, axes):
        """Draw a legend or a colour bar outside the data."""
        pairs = len(axes) > 1
        if self.is_scale and self.mappable is not None:
            place = [0.8, 0, 0.1, 1] if pairs else [1.05, 0, 0.05, 1]
            box = axes[0, -1].inset_axes(place)
            axes[0, 0].figure.colorbar(self.mappable, cax=box, label=self.title or "y")
        elif self.y is not None and not self.is_scale:
            source = axes[1, 0] if pairs else axes[0, 0]
            handles, labels = source.get_legend_handles_labels()
            style = {"title": self.title, "ncols": 1 + (len(labels) - 1) // 12}
            style |= {"markerscale": 1.4, "handletextpad": 0.2}
            if pairs:
                style |= {"loc": "upper right", "bbox_to_anchor": (1, 1)}
            if handles:
                legend_right(axes[0, -1], handles, labels, **style)
