"""Rows of tables with mixed columns, as strips of cells with their values."""

import dataclasses

import numpy as np
from sklearn.utils import _safe_indexing

from skae._tables.categorical_features import find_columns
from skae.metrics._errors import deviations
from skae.metrics._mixed import codes_of, reader_of, tally_of_frames
from skae.plotting._drawing import (
    CHARACTER,
    final_step,
    first_rows,
    reconstruct,
    set_title,
    shortened,
    two_figures,
    values_of,
)
from skae.plotting._legends import short_label

__all__ = [
    "MOST_LINES",
    "Strips",
    "draw_strips",
    "has_mixed_columns",
    "strips_of_frames",
    "strips_of_models",
]

MOST_LINES = 30  # features that are drawn, those with the largest errors
SHARES = "binary_cross_entropy", "cross_entropy"  # losses of columns that have no units
DARK = 0.6  # errors from which on words are white
FONT, TITLE = 6, 7  # sizes of words in cells and of titles, in points
ENOUGH = 9  # characters for which a cell has room, or its words are smaller
GAP = "\N{EN DASH}"  # stands for a missing value


@dataclasses.dataclass
class Strips:
    """What the cells of some rows hold.

    Attributes
    ----------
    values : ndarray of object of shape (n_rows, n_features)
        Numbers and categories, None or NaN in missing cells.
    guesses : dict of str to ndarray of object of shape (n_rows, n_features)
        Names of models and their reconstructions.
    errors : dict of str to ndarray of shape (n_rows, n_features)
        Errors of numbers in standard deviations, and of categories one minus the
        probability of the one that is there. NaN in missing cells.
    """

    values: np.ndarray
    guesses: dict
    errors: dict


# -- what the cells hold ---------------------------------------------------------------


def has_mixed_columns(estimator):
    """Whether the columns of an estimator are of several types, each with its own loss."""
    loss = getattr(final_step(estimator), "_params_of_fit", {}).get("loss")
    return isinstance(loss, dict) or reader_of(estimator) is not None


def strips_of_models(models, X, n_shown):
    """Return the Strips of the first rows of X, and of reconstructions by fitted models.

    Parameters
    ----------
    models : dict of str to estimator
    X : table of shape (n_samples, n_features)
    n_shown : int
    """
    parts = [_strip(name, model, X, n_shown) for name, model in models.items()]
    joined = parts[-1]
    for part in parts[-2::-1]:
        joined.guesses = part.guesses | joined.guesses
        joined.errors = part.errors | joined.errors
    return joined


def _strip(name, model, X, n_shown):
    """Return the Strips of one model."""
    reader = reader_of(model)
    if reader is not None:
        columns, rows = reader.columns, reader.rows(first_rows(X, n_shown))
        X_hat = reader.reconstruct(rows)
        scale = np.where(columns.is_categorical, 1.0, reader.mixed.scale)
        errors = np.abs(columns.left(columns.one_hot(rows) - X_hat)) / scale
        errors = np.where(np.isnan(rows), np.nan, errors)
        guesses = values_of(columns, columns.most_probable(X_hat))
        return Strips(values_of(columns, rows), {name: guesses}, {name: errors})
    rows, _, X_hat = reconstruct(model, first_rows(X, n_shown))
    names = getattr(getattr(final_step(model), "_loss", None), "name", "")
    is_share = np.isin(np.broadcast_to(names, rows.shape[1]), SHARES)
    errors = np.abs(rows - X_hat) / np.where(is_share, 1.0, deviations(X))
    return Strips(rows.astype(object), {name: X_hat.astype(object)}, {name: errors})


def strips_of_frames(X, reconstructions, scale):
    """Return the Strips of a frame with categories, and of reconstructions of it.

    Parameters
    ----------
    X : frame of shape (n_rows, n_features)
    reconstructions : dict of str to array or frame of shape (n_rows, n_features)
    scale : ndarray of shape (n_features,) or None
        Divisors of the errors of numbers. None stands for their deviations in X.
    """
    columns = find_columns(X, "from_dtype")
    rows, guesses, errors = codes_of(columns, X, "X"), {}, {}
    for name, X_hat in reconstructions.items():
        errors[name] = tally_of_frames(X, X_hat, "absolute_error", scale).cells
        if hasattr(X_hat, "columns"):
            parts = [_safe_indexing(X_hat, j, axis=1) for j in range(rows.shape[1])]
            guess = np.array([[*part] for part in parts], dtype=object).T
            is_group = columns.is_categorical
            guess[:, is_group] = np.vectorize(str, otypes=[object])(guess[:, is_group])
        else:
            guess = values_of(columns, np.asarray(X_hat, dtype=np.float64))
        guesses[name] = guess
    return Strips(values_of(columns, rows), guesses, errors)


# -- drawing ---------------------------------------------------------------------------


def draw_strips(axes, strips, names, row_names):
    """Draw each row in Axes of its own, with a line for each feature.

    Parameters
    ----------
    axes : ndarray of Axes of shape (n_rows,)
    strips : Strips
    names : list of str of shape (n_features,)
    row_names : list of shape (n_rows,)
    """
    figure = axes[0].figure
    errors = np.stack([*strips.errors.values()], axis=-1)  # (n_rows, n_features, n_models)
    shown = _largest(errors)
    heads = ["original", *map(short_label, strips.errors)]
    heads, turned = (heads, 90) if len(heads) > 2 else ([heads[0], "decoded"], 0)
    for ax, row in zip(axes, errors[:, shown], strict=True):
        cells = np.column_stack([np.full(len(shown), np.nan), row])
        mesh = ax.pcolormesh(
            cells, cmap=_colors(), vmin=0, vmax=1, edgecolors="white", linewidth=1
        )
        ax.set(xticks=np.arange(len(heads)) + 0.5, xticklabels=heads)
        ax.set(yticks=[], ylim=(len(shown), 0))
        ax.tick_params(length=0, top=False, labeltop=True, labelbottom=False, pad=1)
        ax.tick_params(axis="x", labelsize="xx-small", labelrotation=turned)
        ax.spines[:].set_visible(False)
    axes[0].set_yticks(np.arange(len(shown)) + 0.5, [shortened(names[j]) for j in shown])
    axes[0].tick_params(axis="y", labelsize="x-small")
    label = "error in deviations, or 1 \N{MINUS SIGN} probability"
    if len(shown) < len(names):
        label += f"\nthe {len(shown)} of {len(names)} columns with the largest errors"
    bar = figure.colorbar(mesh, ax=[*axes], location="bottom", aspect=30, pad=0.02)
    bar.set_label(label, fontsize="x-small")
    bar.set_ticks([0, 0.5, 1], labels=["0", "0.5", "1 or more"], fontsize="xx-small")
    for ax in axes:
        set_title(ax, " \n ", fontsize="x-small")
    figure.canvas.figure.draw_without_rendering()  # determines the places of the Axes
    for i, ax in enumerate(axes):
        columns = [strips.values[i, shown], *(g[i, shown] for g in strips.guesses.values())]
        _write(ax, np.column_stack(columns), errors[i, shown])
        name = f"row {row_names[i]}"
        name = shortened(name, max(4, _room(ax, TITLE)))
        ax.set_title(f"{name}\n{_listed(errors[i])}", loc="left", fontsize=TITLE)


def _largest(errors):
    """Return the numbers of the features with the largest mean errors, in order."""
    known = ~np.isnan(errors)
    means = np.nan_to_num(errors).sum(axis=(0, 2)) / np.maximum(known.sum(axis=(0, 2)), 1)
    return np.sort(np.argsort(-means, kind="stable")[:MOST_LINES])


def _colors():
    from matplotlib import colormaps

    return colormaps["Oranges"].with_extremes(bad="0.95")


def _listed(errors):
    """Return the mean errors of models of a row (n_features, n_models), as text."""
    sums, counts = np.nansum(errors, axis=0), (~np.isnan(errors)).sum(axis=0)
    return "error " + ", ".join(map(two_figures, sums / np.maximum(counts, 1)))


def _room(ax, size, share=1.0):
    """Return how many characters of a size in points fit in a share of the width."""
    points = ax.get_window_extent().width * 72 / ax.figure.canvas.figure.dpi
    return int(share * points / (CHARACTER * size))


def _write(ax, values, errors):
    """Write values (m, 1 + n_models) into cells, and turn heads that are too long.

    Numbers that do not fit are left out.
    """
    n_columns = values.shape[1]
    size = FONT if _room(ax, FONT, 0.9 / n_columns) >= ENOUGH else FONT - 1
    room = _room(ax, size, 0.9 / n_columns)
    for (line, column), value in np.ndenumerate(values):
        is_dark = column > 0 and errors[line, column - 1] > DARK
        style = {"color": "white" if is_dark else "black", "fontsize": size}
        place = column + 0.5, line + 0.52
        word = _word(value, room)
        ax.text(*place, word, ha="center", va="center", clip_on=True, **style)
    if max(len(head.get_text()) for head in ax.get_xticklabels()) > room:
        ax.tick_params(axis="x", labelrotation=90)


def _word(value, room):
    """Return a value as text of at most so many characters."""
    if value is None or value != value:
        return GAP
    if isinstance(value, str):
        return value if len(value) <= room else shortened(value, room) if room > 2 else ""
    number = f"{value:.{3 + (abs(value) >= 100)}g}"
    number = number if abs(value) < 1000 else f"{value:.0f}"
    number = f"{value:.1e}" if len(number) > 7 else number
    return number.replace("-", "\N{MINUS SIGN}") if len(number) <= room else ""
