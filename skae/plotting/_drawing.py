"""Functions that Displays share, for data of estimators, Axes, images and words."""

import math
import textwrap
from functools import partial

import numpy as np
from scipy import sparse
from sklearn.isotonic import isotonic_regression
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skae._tables.categories import columns_of
from skae.metrics._errors import checked, decoded
from skae.metrics._metric import check_reconstructs, steps_of
from skae.plotting._legends import left_of, short_label

__all__ = [
    "CATEGORY",
    "CHARACTER",
    "COLORS",
    "DASHES",
    "MARKERS",
    "MOST_NAMED",
    "PAPER",
    "as_dense",
    "axis_label",
    "bare_frame",
    "before_final",
    "bin_edges",
    "categorical_of",
    "checked_codes",
    "code_names",
    "counted",
    "explain_powers",
    "extent_of",
    "feature_names_of",
    "few_ticks",
    "final_step",
    "first_rows",
    "keep_label_inside",
    "make_axes",
    "mask_of",
    "mosaic_of",
    "name_bars",
    "name_of",
    "reconstruct",
    "sample_shape_of",
    "set_title",
    "shortened",
    "show_image",
    "show_images",
    "spread_apart",
    "two_figures",
    "two_ticks",
    "values_of",
]

# The colours of Okabe and Ito and two more, so that ten classes have one each. Yellow comes
# last, because it is faint on white.
COLORS = [
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#000000",
    "#56B4E9",
    "#E69F00",
    "#999999",
    "#882255",
    "#F0E442",
]
CATEGORY = COLORS[2]  # colour of bars of features that hold categories
MARKERS = "osD^vPXd<>*"  # one more than colours: pairs are repeated after 110 classes
DASHES = ["--", ":", "-.", (0, (6, 1))]  # all models except the last, which is solid
CHARACTER = 0.62  # width of a character, as a share of the size of its font
PAPER = 6.9  # width in inches of a page with two columns
SMALLEST_POWER, LARGEST_POWER = -3, 4  # of ten, that are written as plain numbers
NAMES = 0.75  # of the width of Axes that names may take
LEGIBLE = 12  # characters of a name that tell it from others
MOST_NAMED = 16  # largest number of features whose names do not cover each other


def as_dense(X, allow_nan=False):
    """Return X as a finite array of floats. NaN is kept if it is allowed."""
    X = X.toarray() if sparse.issparse(X) else X
    finite = "allow-nan" if allow_nan else True
    return checked(X, finite=finite)


def first_rows(X, n):
    """Return the first n rows of X, as the same kind of table."""
    return (X.tocsr() if sparse.issparse(X) else X)[:n]


def reconstruct(estimator, X):
    """Return rows X as a dense array with NaN, their codes and their reconstruction."""
    check_reconstructs(estimator)
    check_is_fitted(estimator)
    Z = estimator.transform(X)
    X_hat = as_dense(decoded(estimator, Z, X))
    return as_dense(X, allow_nan=True), Z, X_hat


def final_step(estimator):
    """Return the last step of a Pipeline, or the estimator if it is not one."""
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator


def before_final(estimator, X):
    """Return X as the last step of a Pipeline gets it."""
    while isinstance(estimator, Pipeline):
        X = estimator[:-1].transform(X) if len(estimator.steps) > 1 else X
        estimator = estimator.steps[-1][1]
    return X


def name_of(estimator):
    """Return the name of the class of the estimator, or of the last step of a Pipeline."""
    return type(final_step(estimator)).__name__


def code_names(estimator, codes):
    """Return the names of codes, with their shares of the variance where they are known."""
    shares = getattr(final_step(estimator), "explained_variance_ratio_", None)
    if shares is None:
        return [f"code {code + 1}" for code in codes]
    return [f"code {code + 1} ({100 * shares[code]:.1f} %)" for code in codes]


def checked_codes(codes, n_codes, estimator, owner):
    """Return the numbers of the codes to draw as a list; None is the first four."""
    codes = list(range(min(4, n_codes)) if codes is None else codes)
    if not codes or not all(0 <= code < n_codes for code in codes):
        raise ValueError(
            f"codes of {owner} must be among 0..{n_codes - 1}, the codes of "
            f"{name_of(estimator)}, got {codes}."
        )
    return codes


def feature_names_of(X, estimator=None):
    """Return the column names of a frame, or those seen in `fit`, or None."""
    if hasattr(X, "columns"):
        return [str(name) for name in X.columns]
    for each in (final_step(estimator), estimator):
        names = getattr(each, "feature_names_in_", None)
        # The earlier steps of a Pipeline may have changed the features.
        if names is not None and len(names) == np.shape(X)[1]:
            return list(names)
    return None


def categorical_of(estimator):
    """Return which features (n_features,) of an estimator hold categories, or None."""
    for step in steps_of(estimator):
        columns = columns_of(getattr(step, "estimator_", step))
        if columns is not None:
            return columns.is_categorical
    return None


def mask_of(is_categorical, n_features):
    """Return the mask as an array (n_features,); None stands for numbers alone."""
    if is_categorical is None:
        return np.zeros(n_features, dtype=bool)
    return np.asarray(is_categorical, dtype=bool)


def sample_shape_of(estimator, n_features):
    """Return the `sample_shape_` of the estimator, or of the last step of a Pipeline.

    It is None if there is none, or if earlier steps have changed the number of features.
    """
    shape = getattr(final_step(estimator), "sample_shape_", None)
    return shape if shape is not None and math.prod(shape) == n_features else None


def bin_edges(errors):
    """Return the edges of at most 50 bins; one outlier could lead to thousands."""
    edges = np.histogram_bin_edges(errors, bins="sqrt")
    return np.linspace(edges[0], edges[-1], min(len(edges), 51))


def make_axes(ax, shape, size, owner, **layout):
    """Return an array of Axes of this shape: new ones, those given, or parts of one."""
    from matplotlib.axes import Axes

    if ax is None:
        import matplotlib.pyplot as plt

        params = dict(figsize=size, layout="constrained", squeeze=False, **layout)
        return plt.subplots(*shape, **params)[1]
    axes = np.asarray(ax, dtype=object)
    n_axes = int(np.prod(shape))
    if axes.size == n_axes and all(isinstance(each, Axes) for each in axes.flat):
        return axes.reshape(shape)
    if isinstance(ax, Axes) and ax.get_subplotspec() is not None:
        ax.set_axis_off()
        place, figure = ax.get_subplotspec().subgridspec(*shape, **layout), ax.figure
        new = [figure.add_subplot(place[index]) for index in np.ndindex(shape)]
        return np.array(new, dtype=object).reshape(shape)
    raise ValueError(
        f"ax of {owner} must be None, one Axes of a figure's subplots, or {n_axes} Axes "
        f"in an array of shape {shape}, got "
        f"{f'{axes.size} Axes' if axes.ndim else repr(ax)}."
    )


def mosaic_of(tiles):
    """Join images (n_lines, n_columns, h, w) or (..., h, w, c), the first line lowest."""
    gap = max(1, tiles.shape[2] // 14)
    widths = [(0, 0), (0, 0), (0, gap), (0, gap)] + [(0, 0)] * (tiles.ndim - 4)
    tiles = np.pad(tiles, widths, constant_values=np.nan)
    return np.concatenate([np.concatenate(line, axis=1) for line in tiles[::-1]])


def show_image(ax, image, limits, cmap, missing="none", **place):
    """Show an image (h, w) or (h, w, c), in which the two limits are black and white.

    Pixels that are NaN have the colour `missing`, which may be "none".
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_rgba

    low, high = limits
    if image.ndim == 3:
        gaps = np.isnan(image).any(axis=2)
        image = np.clip((image - low) / ((high - low) or 1.0), 0, 1)
        if gaps.any():
            opaque = np.ones(image.shape[:2])
            image = np.dstack([image, opaque] if image.shape[2] == 3 else [image])
            image[gaps] = to_rgba(missing)
    cmap = colormaps.get_cmap(cmap).with_extremes(bad=missing)
    style = {"cmap": cmap, "vmin": low, "vmax": high, "interpolation": "nearest"}
    ax.imshow(image, **style, **place)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_linewidth(0.4)


def show_images(line, images, limits, cmap, name, missing="none"):
    """Show images in a line of Axes, with their name to the left of the first."""
    for ax, image in zip(line, images, strict=True):
        show_image(ax, image, limits, cmap, missing)
    beside = {"rotation": 0, "ha": "right", "va": "center", "fontsize": "small"}
    line[0].set_ylabel(short_label(name), **beside)


def bare_frame(ax):
    """Remove the top and right sides of the frame."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)


def set_title(ax, text, fontsize="small"):
    """Write a small title on the left."""
    ax.set_title(text, loc="left", fontsize=fontsize)


def explain_powers(ax):
    """Write very large and small numbers at the Axes in powers of ten, which labels name.

    Otherwise matplotlib would write the power at the end of the axis, over other words.
    """
    for axis in (ax.xaxis, ax.yaxis):
        largest = np.abs(axis.get_view_interval()).max()
        if axis.get_scale() != "linear" or not 0 < largest < np.inf:
            continue
        power = math.floor(math.log10(largest))
        formatter = axis.get_major_formatter()
        has_power = getattr(getattr(formatter, "func", None), "func", None) is _in_power
        if not (has_power or hasattr(formatter, "set_useOffset")):
            continue  # names, or what the user has chosen
        if SMALLEST_POWER <= power <= LARGEST_POWER:
            power = 0
        label = axis.get_label_text().split(", in $10^")[0]
        axis.set_label_text(f"{label}, in $10^{{{power}}}$" if label and power else label)
        if power or has_power:
            axis.set_major_formatter(partial(_in_power, power))
        else:
            formatter.set_useOffset(False)


def _in_power(power, value, position=None):
    """Return a number at an axis in units of a power of ten, as text."""
    return f"{value / 10.0**power:.10g}".replace("-", "\N{MINUS SIGN}")


def shortened(name, longest=22):
    """Leave out the middle of a long name, because names often differ at their ends."""
    name, longest = str(name), min(longest, 22)
    if len(name) <= longest:
        return name
    end = longest // 2
    return f"{name[: longest - end - 1]}\N{HORIZONTAL ELLIPSIS}{name[-end:]}"


def name_bars(ax, names):
    """Write the names of horizontal bars, as long and as large as there is room for.

    It is to be called before the Axes are drawn: names then take part of their width.
    """
    from matplotlib.font_manager import FontProperties

    width, height = np.array(ax.get_window_extent().size) * 72 / ax.figure.dpi
    for fontsize in ("small", "x-small"):
        points = FontProperties(size=fontsize).get_size_in_points()
        room = int(NAMES * width / (CHARACTER * points))
        if room >= LEGIBLE and 1.2 * points * len(names) <= height:
            break
    shown = [shortened(name, max(6, room)) for name in names]
    ax.set_yticks(np.arange(len(names)), shown, fontsize=fontsize)
    ax.tick_params(axis="y", length=0)


def keep_label_inside(ax):
    """Let the label of the horizontal axis end where the Axes end, if it is wider.

    It then reaches to the left, where the names of bars or an axis are. If it is too long
    for that as well it is divided into lines.
    """
    ax.figure.canvas.figure.draw_without_rendering()
    frame, label = ax.get_window_extent(), ax.xaxis.get_label()
    room, width = frame.x1 - left_of(ax), label.get_window_extent().width
    if width > frame.width:
        lines = label.get_text().split("\n")
        longest = int(max(map(len, lines)) * room / width)
        lines = [part for line in lines for part in textwrap.wrap(line, longest)]
        ax.set_xlabel("\n".join(lines), loc="right")


def few_ticks(ax):
    """Mark up to five intervals on the horizontal axis, or as many as have room.

    It is to be called before the Axes are drawn, as `name_bars`.
    """
    from matplotlib.font_manager import FontProperties

    width = ax.get_window_extent().width * 72 / ax.figure.dpi
    wide = FontProperties(size="medium").get_size_in_points() * 5 * CHARACTER
    ax.locator_params(axis="x", nbins=int(np.clip(width / wide, 2, 5)))


def two_ticks(ax):
    """Mark zero and one round number on the horizontal axis, for which there is room."""
    ends = np.array(ax.get_xlim())
    largest = ends[np.abs(ends).argmax()]
    power = 10.0 ** np.floor(np.log10(np.abs(largest)))
    mark = np.trunc(largest / power) * power
    ax.set_xticks([0, mark], ["0", f"{mark:g}".replace("-", "\N{MINUS SIGN}")])


def extent_of(text):
    """Return the box of the words of an annotation in pixels, without its arrow."""
    from matplotlib.text import Text

    text.get_window_extent()  # moves the words to their place
    return Text.get_window_extent(text)


def axis_label(x, unnamed="feature"):
    """Return the label of the axis of the features: the name of a Series or an Index."""
    return unnamed if x is None else getattr(x, "name", None) or ""


def two_figures(value):
    """Return a number as text with two significant figures."""
    if 10 <= abs(value) < 1e5:
        return f"{value:.0f}"
    return f"{value:#.2g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}"


def counted(number, noun):
    """Return a number with a noun in the singular or plural."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def values_of(columns, rows):
    """Return numbers and categories (n, n_features) of a table with codes."""
    values = rows.astype(object)
    for categories, j in zip(
        columns.categories, np.flatnonzero(columns.is_categorical), strict=True
    ):
        known = [*map(str, categories), None]
        codes = np.nan_to_num(rows[:, j], nan=-1).astype(int)
        values[:, j] = [known[code] for code in codes]
    return values


def spread_apart(places, gap):
    """Return the nearest places (n,) in the same order that are at least `gap` apart."""
    order = np.argsort(places, kind="stable")
    steps = gap * np.arange(len(places))
    moved = np.empty(len(places))
    moved[order] = isotonic_regression(np.asarray(places)[order] - steps) + steps
    return moved
