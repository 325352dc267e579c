"""The plane of two codes, decoded at the points of a grid."""

import numpy as np

from skae.plotting._drawing import (
    COLORS,
    as_dense,
    bare_frame,
    mosaic_of,
    set_title,
    show_image,
)

__all__ = ["decode_grid", "draw_decoded"]


def decode_grid(estimator, Z, codes, n_side):
    """Return the grid, and reconstructions (n_side, n_side, n_features) at its points."""
    grid = [np.linspace(*np.percentile(Z[:, code], [1, 99]), n_side) for code in codes]
    points = np.tile(Z.mean(axis=0), (n_side * n_side, 1))
    horizontal, vertical = np.meshgrid(*grid)
    points[:, codes[0]], points[:, codes[1]] = horizontal.ravel(), vertical.ravel()
    decoded = as_dense(estimator.inverse_transform(points))
    return tuple(grid), decoded.reshape(n_side, n_side, -1)


def draw_decoded(plane, ax, grid, decoded, layout, *, scale, limits, cmap):
    """Draw images or curves at the points of the grid, and its frame in the plane."""
    steps = [np.ptp(values) / max(len(values) - 1, 1) or 1.0 for values in grid]
    ends = [
        (values[0] - step / 2, values[-1] + step / 2)
        for values, step in zip(grid, steps, strict=True)
    ]
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
    set_title(ax, "decoded from the dashed frame")
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
