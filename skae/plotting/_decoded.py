"""The plane of two codes, decoded at the points of a grid."""

import textwrap

import numpy as np

from skae.plotting._drawing import (
    CHARACTER,
    COLORS,
    as_dense,
    bare_frame,
    mosaic_of,
    set_title,
    shortened,
    show_image,
    two_figures,
    values_of,
)

__all__ = ["decode_grid", "decode_values", "draw_decoded", "draw_maps"]

MOST_MAPS = 9  # features of mixed columns whose reconstructions are drawn
SMALLEST = 0.06  # share of a map from which on a category is named in it
FONT, TITLE = 6, 8.3  # sizes of words in maps and of the title, in points


def decode_grid(estimator, Z, codes, n_side, decode=None):
    """Return the grid, and reconstructions (n_side, n_side, n_features) at its points.

    `decode` takes the place of `inverse_transform` of the estimator.
    """
    grid = [np.linspace(*np.percentile(Z[:, code], [1, 99]), n_side) for code in codes]
    points = np.tile(Z.mean(axis=0), (n_side * n_side, 1))
    horizontal, vertical = np.meshgrid(*grid)
    points[:, codes[0]], points[:, codes[1]] = horizontal.ravel(), vertical.ravel()
    decoded = (decode or estimator.inverse_transform)(points)
    decoded = decoded if decode else as_dense(decoded)
    return tuple(grid), decoded.reshape(n_side, n_side, -1)


def decode_values(reader, components, codes):
    """Return a function that decodes codes into numbers and categories, and their names.

    Of many features those are decoded that change most with the two codes.

    Parameters
    ----------
    reader : Reader of a fitted estimator
    components : ndarray of shape (k, n_features)
    codes : sequence of two int
    """
    columns, lengths = reader.columns, np.hypot(*components[codes])
    chosen = np.sort(np.argsort(-lengths, kind="stable")[:MOST_MAPS])

    def decode(Z):
        return values_of(columns, columns.most_probable(reader.decode(Z)))[:, chosen]

    return decode, [columns.name(j) for j in chosen]


def draw_decoded(plane, ax, grid, decoded, layout, *, scale, limits, cmap):
    """Draw images or curves at the points of the grid, and its frame in the plane."""
    steps, ends = _steps_and_ends(grid)
    box_aspect = 1.0
    if not layout.is_image:
        _draw_glyphs(ax, grid, steps, decoded, layout, scale)
    else:
        tall, wide = layout.picture_size
        box_aspect = tall / wide
        mosaic = mosaic_of(layout.pictures(decoded))
        limits = (np.nanmin(mosaic), np.nanmax(mosaic)) if limits is None else limits
        show_image(ax, mosaic, limits, cmap, extent=(*ends[0], *ends[1]))
        ax.set_aspect("auto")
        ax.spines[:].set_visible(False)
    for each in (plane, ax):
        each.set_box_aspect(box_aspect)
    ax.set(xticks=plane.get_xticks(), yticks=plane.get_yticks())
    ax.set(xlim=ends[0], ylim=ends[1])
    _frame(plane, ax, ends)


def _frame(plane, ax, ends):
    """Draw the frame of what is decoded in the plane, and say so above the other Axes."""
    words = "decoded from the dashed frame"
    room = ax.get_window_extent().width * 72 / ax.figure.canvas.figure.dpi
    room = int(room / (CHARACTER * TITLE))
    set_title(ax, textwrap.fill(words, max(room, 16)))
    (left, right), (low, high) = ends
    corners = [left, right, right, left, left], [low, low, high, high, low]
    plane.plot(*corners, color="0.35", ls="--", lw=0.8)


def _draw_glyphs(ax, grid, steps, decoded, layout, scale):
    """Draw small curves at the points of the grid, all on the same scale."""
    rows = decoded - decoded.mean(axis=(0, 1))
    rows = rows if scale is None else rows / np.asarray(scale)
    curves = layout.curves(0.45 * rows / (np.abs(rows).max() or 1.0))
    across = np.linspace(-0.42, 0.42, curves.shape[-1]) * steps[0]
    for i, j in np.ndindex(curves.shape[:2]):
        x, y = grid[0][j], grid[1][i]
        ax.plot(x + across, np.full_like(across, y), color="0.8", lw=0.6)
        for channel, curve in enumerate(curves[i, j]):
            color = COLORS[channel % len(COLORS)]
            ax.plot(x + across, y + curve * steps[1], color=color, lw=0.9)
    bare_frame(ax)


def _steps_and_ends(grid):
    """Return the distances of the points of a grid, and its ends, along both axes."""
    steps = [np.ptp(values) / max(len(values) - 1, 1) or 1.0 for values in grid]
    ends = [
        (values[0] - step / 2, values[-1] + step / 2)
        for values, step in zip(grid, steps, strict=True)
    ]
    return steps, ends


def draw_maps(plane, ax, grid, decoded, names):
    """Draw a small map of the plane for each feature of mixed columns, and its frame.

    Parameters
    ----------
    plane, ax : Axes
    grid : tuple of ndarray of shape (n_side,)
    decoded : ndarray of object of shape (n_side, n_side, n_features)
        Numbers, and strings in columns of categories.
    names : list of str of shape (n_features,)
    """
    _, ends = _steps_and_ends(grid)
    for each in (plane, ax):
        each.set_box_aspect(1.0)
    ax.set_axis_off()
    n_columns = int(np.ceil(np.sqrt(len(names))))
    n_lines = -(-len(names) // n_columns)
    ax.figure.canvas.figure.draw_without_rendering()  # determines the place of the Axes
    _frame(plane, ax, ends)
    ax.figure.canvas.figure.draw_without_rendering()  # with the title
    box, dpi = ax.get_window_extent(), ax.figure.canvas.figure.dpi
    room = int(0.94 * box.width / n_columns * 72 / dpi / (CHARACTER * FONT))
    title = min(0.5, 1.6 * FONT * dpi / 72 * n_lines / box.height)  # share of a cell
    for place, name in enumerate(names):
        line, column = divmod(place, n_columns)
        low = 1 - (line + 1) / n_lines
        bounds = column / n_columns, low, 0.94 / n_columns, (1 - title) / n_lines
        part = ax.inset_axes(bounds, xticks=[], yticks=[])
        part.spines[:].set_linewidth(0.4)
        _draw_map(part, decoded[:, :, place], str(name), room)


def _draw_map(ax, values, name, room):
    """Draw the values (n_side, n_side) of a feature, with its name and what they are."""
    from matplotlib.colors import ListedColormap

    style = {"origin": "lower", "aspect": "auto", "interpolation": "nearest"}
    if not any(isinstance(value, str) for value in values.flat):
        values = values.astype(np.float64)
        ends = f" {two_figures(values.min())} to {two_figures(values.max())}"
        ends = (
            ends.replace("-", "\N{MINUS SIGN}")
            if room >= len(ends) + min(len(name), 8)
            else ""
        )
        ax.imshow(values, cmap="cividis", **style)
        name = shortened(name, room - len(ends)) + ends
    else:
        kinds, places = np.unique(values.astype(str), return_inverse=True)
        tints = [_tint(COLORS[k % len(COLORS)]) for k in range(len(kinds))]
        cmap, places = ListedColormap(tints), places.reshape(values.shape)
        ax.imshow(places, cmap=cmap, vmin=-0.5, vmax=len(kinds) - 0.5, **style)
        _name_regions(ax, places, kinds, room)
        name = shortened(name, room)
    ax.set_title(name, loc="left", fontsize=FONT, pad=2)


def _name_regions(ax, places, kinds, room):
    """Write the names of large regions at their widest places, if they are apart."""
    side, written = len(places), []
    points = ax.get_window_extent().height * 72 / ax.figure.canvas.figure.dpi
    height = 1.3 * FONT / points  # of a line, as a share of the map
    sizes = [(places == k).sum() for k in range(len(kinds))]
    for k in np.argsort(-np.array(sizes), kind="stable"):
        line = int((places == k).sum(axis=1).argmax())
        inside = np.flatnonzero(places[line] == k)
        x = float(np.median(inside))
        y = float(np.median(np.flatnonzero(places[:, int(x)] == k)))
        n_letters = int(room * len(inside) / side)
        if sizes[k] < SMALLEST * places.size or n_letters < 4:
            continue
        word = shortened(kinds[k], n_letters)
        width = len(word) / room * side
        x = min(max(x, width / 2), side - 1 - width / 2)
        if all(
            abs(x - other[0]) > (width + other[2]) / 2 or abs(y - other[1]) > height * side
            for other in written
        ):
            style = {"ha": "center", "va": "center", "fontsize": FONT, "clip_on": True}
            ax.text(x, y, word, **style)
            written.append((x, y, width))


def _tint(color):
    """Return a light tint of a colour, on which black words can be read."""
    from matplotlib.colors import to_rgb

    return tuple(0.45 * part + 0.55 for part in to_rgb(color))
