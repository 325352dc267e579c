"""LoadingsDisplay: components as curves, bars or images."""

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted

from skae._compat import check_matplotlib_support
from skae.plotting._drawing import (
    CATEGORY,
    COLORS,
    PAPER,
    axis_label,
    bare_frame,
    before_final,
    categorical_of,
    checked_codes,
    code_names,
    explain_powers,
    feature_names_of,
    final_step,
    first_rows,
    make_axes,
    mask_of,
    name_bars,
    sample_shape_of,
    set_title,
    shortened,
    show_image,
    two_ticks,
)
from skae.plotting._layout import layout_of
from skae.plotting._legends import legend_above

__all__ = ["LoadingsDisplay"]

NARROW = 1.3  # inches, below which three numbers below an Axes may cover each other


class LoadingsDisplay:
    """Components as curves, as bars or as images.

    A component tells how the features of a reconstruction change with a code. Those of
    images are drawn as images, red where a feature rises with the code and blue where it
    falls; those of features along an axis as curves; and those of other features as bars,
    of which the largest are drawn.

    Parameters
    ----------
    components : ndarray of shape (n_codes, n_features)
        Components at the mean code.
    components_at_row : ndarray of shape (n_codes, n_features), default=None
        Components at the code of one row, which are drawn with the others in grey, or
        below them for images.
    names : list of str, default=None
        Names of the codes.
    row_name : object, default=None
        Name of the row.
    shape : "auto", tuple of int or None, default="auto"
        Shape of images, see `ReconstructionDisplay`. None is no image.
    sample_shape : tuple of int, default=None
        Shape of images and signals, see `ReconstructionDisplay`.
    x : array-like of shape (n_features,) or (length,), default=None
        Positions of the features on an axis, such as wavelengths or times. With them the
        components are curves.
    feature_names : array-like of str of shape (n_features,), default=None
        Names of the features. None stands for x0, x1, ...
    is_categorical : array-like of bool of shape (n_features,), default=None
        Which features hold categories. Their bars, which have another colour, are lengths
        over all their categories and have no sign. None stands for numbers alone.

    Attributes
    ----------
    axes_ : ndarray of Axes
        Axes of shape (n_codes, n_channels) for curves, (1, n_codes) for bars, and
        (1, n_codes) for images, or (2, n_codes) with `components_at_row`.
    figure_ : matplotlib Figure

    See Also
    --------
    CodesDisplay : Codes, and the components of two of them as arrows, of categories too.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skae.plotting import LoadingsDisplay
    >>> X, _ = load_wine(return_X_y=True, as_frame=True)
    >>> pipe = make_pipeline(StandardScaler(), PCA(3)).fit(X)
    >>> LoadingsDisplay.from_estimator(pipe, X).axes_.shape
    (1, 3)
    """

    def __init__(
        self,
        components,
        *,
        components_at_row=None,
        names=None,
        row_name=None,
        shape="auto",
        sample_shape=None,
        x=None,
        feature_names=None,
        is_categorical=None,
    ):
        self.components = components
        self.components_at_row = components_at_row
        self.names = names
        self.row_name = row_name
        self.shape = shape
        self.sample_shape = sample_shape
        self.x = x
        self.feature_names = feature_names
        self.is_categorical = is_categorical

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X=None,
        *,
        row=None,
        codes=None,
        shape="auto",
        sample_shape=None,
        x=None,
        feature_names=None,
        n_bars=10,
        cmap="RdBu_r",
        ax=None,
    ):
        """Draw `components_` of an estimator.

        They are those of standardized features if the estimator standardizes. All are drawn
        with unit length.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with `components_`, or a Pipeline that ends with one.
        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Rows, for `row` and for the names of the features.
        row : int, default=None
            Position of a row of X. The components at its code are drawn, see
            `AutoencoderTransformer.components_at`.
        codes : sequence of int, default=None
            Numbers of the codes to draw, counted from 0. None stands for the first four.
        shape : "auto", tuple of int or None, default="auto"
            See the class.
        sample_shape : tuple of int, default=None
            See the class. None stands for that of the estimator.
        x : array-like of shape (n_features,) or (length,), default=None
            See the class.
        feature_names : array-like of str of shape (n_features,), default=None
            See the class. None stands for those of a frame or of `fit`.
        n_bars : int, default=10
            See `plot`.
        cmap : str or Colormap, default="RdBu_r"
            See `plot`.
        ax : Axes or array of Axes, default=None
            See `plot`.

        Returns
        -------
        display : LoadingsDisplay
            The display, which has been drawn.

        Raises
        ------
        TypeError
            If the estimator has no `components_`, or no `components_at` and `row` is given.
        ValueError
            If `codes` are not among those of the estimator, or `row` is given without X.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        final, owner = final_step(estimator), cls.__name__
        _need(final, "components_", owner)
        components = np.asarray(final.components_)
        n_features = components.shape[1]
        codes = checked_codes(codes, len(components), estimator, owner)
        extras = {}
        if row is not None:
            _need(final, "components_at", owner)
            if X is None:
                raise ValueError(f"row of {owner} is the position of a row of X. Pass X.")
            one = before_final(estimator, _row(X, row))
            at_row = np.asarray(final.components_at(one))[0][codes]
            extras["components_at_row"] = _unit(at_row)
            extras["row_name"] = X.index[row] if hasattr(X, "index") else row
        if feature_names is None:
            rows = components if X is None else before_final(estimator, first_rows(X, 1))
            feature_names = feature_names_of(rows, estimator)
        if sample_shape is None:
            sample_shape = sample_shape_of(estimator, n_features)
        display = cls(
            _unit(components[codes]),
            names=code_names(estimator, codes),
            shape=shape,
            sample_shape=sample_shape,
            x=x,
            feature_names=feature_names,
            is_categorical=categorical_of(estimator),
            **extras,
        )
        return display.plot(ax, n_bars=n_bars, cmap=cmap)

    def plot(self, ax=None, *, n_bars=10, cmap="RdBu_r"):
        """Draw the display.

        Parameters
        ----------
        ax : Axes or array of Axes, default=None
            One Axes, whose place is divided, or as many as `axes_` has. None makes a
            figure.
        n_bars : int, default=10
            Largest number of bars of a component.
        cmap : str or Colormap, default="RdBu_r"
            Colours of images, in which zero has the colour in the middle.

        Returns
        -------
        display : LoadingsDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        owner, (n_codes, n_features) = type(self).__name__, self.components.shape
        layout = layout_of(self.shape, self.sample_shape, n_features, owner)
        if layout.is_image:
            shape = 1 + (self.components_at_row is not None), n_codes
            tall, wide = layout.picture_size
            side = min(1.5, (PAPER - 1) / n_codes)
            size = 1 + side * n_codes, shape[0] * (side * tall / wide + 0.3)
            self.axes_ = make_axes(ax, shape, size, owner)
            self._draw_images(layout, cmap)
        elif self.x is not None or layout.is_signal:
            shape = n_codes, layout.sample_shape[0]
            size = (4.2 if shape[1] == 1 else PAPER), 0.9 + 0.95 * n_codes
            self.axes_ = make_axes(ax, shape, size, owner)
            self._draw_curves(layout)
        else:
            n_bars = min(n_bars, n_features)
            size = min(PAPER, 0.4 + 2.4 * n_codes), 1.5 + 0.17 * n_bars
            self.axes_ = make_axes(ax, (1, n_codes), size, owner)
            self._draw_bars(n_bars)
        self.figure_ = self.axes_[0, 0].figure
        return self

    def _name(self, code):
        return f"code {code + 1}" if self.names is None else self.names[code]

    def _kinds(self):
        """Return the components to draw by name, with their style."""
        mean = {"color": COLORS[0], "label": "at the mean code"}
        if self.components_at_row is None:
            return [(self.components, mean)]
        here = {"color": COLORS[0], "label": f"at row {shortened(self.row_name)}"}
        return [(self.components, mean | {"color": "0.7"}), (self.components_at_row, here)]

    def _draw_images(self, layout, cmap):
        largest = max(np.abs(each).max() for each, _ in self._kinds()) or 1.0
        for line, (components, style) in zip(self.axes_, self._kinds(), strict=True):
            for code, ax in enumerate(line):
                image = layout.pictures(components[code])
                if image.ndim == 3:  # signs have no place in colours
                    image = np.concatenate(np.moveaxis(image, -1, 0))
                show_image(ax, image, (-largest, largest), cmap)
                if ax in self.axes_[0]:
                    set_title(ax, self._name(code).replace(" (", "\n("))
            if len(self.axes_) > 1:
                line[0].set_ylabel(
                    style["label"].replace("at ", "at\n", 1), fontsize="small"
                )
        drawn = self.axes_[0, 0].images[0]
        self.axes_[0, 0].figure.colorbar(drawn, ax=list(self.axes_.flat), label="loading")

    def _draw_curves(self, layout):
        length = layout.sample_shape[1]
        x = np.arange(length) if self.x is None else np.asarray(self.x)
        for components, style in self._kinds():
            curves = layout.curves(components)
            for (code, channel), ax in np.ndenumerate(self.axes_):
                ax.plot(x, curves[code, channel], lw=1.3, **style)
        for (code, channel), ax in np.ndenumerate(self.axes_):
            ax.axhline(0, color="0.8", lw=0.8, zorder=0)
            bare_frame(ax)
            is_last = code == len(self.axes_) - 1
            ax.tick_params(labelbottom=is_last)
            if is_last:
                label = axis_label(self.x, "position" if layout.is_signal else "feature")
                ax.set_xlabel(label)
            if channel == 0:
                ax.set_ylabel(self._name(code).replace(" (", "\n("), fontsize="small")
            explain_powers(ax)
        if layout.sample_shape[0] > 1:
            for channel, ax in enumerate(self.axes_[0]):
                set_title(ax, f"channel {channel}")
        elif self.components_at_row is not None:
            legend_above(self.axes_[0, 0])
        self.axes_[0, 0].figure.align_ylabels(self.axes_[:, 0])

    def _draw_bars(self, n_bars):
        names = self.feature_names
        names = (
            [f"x{j}" for j in range(self.components.shape[1])] if names is None else names
        )
        places = np.arange(n_bars)
        width = self.axes_[0, 0].get_window_extent().width / self.axes_[0, 0].figure.dpi
        has_room = width > NARROW
        kinds = mask_of(self.is_categorical, len(names))
        for code, ax in enumerate(self.axes_[0]):
            shown = self._kinds()[-1][0][code]
            order = np.argsort(-np.abs(shown), kind="stable")[:n_bars]
            for place, (components, style) in enumerate(self._kinds()):
                thin = {"height": 0.7 if place == 0 else 0.3}
                bars = ax.barh(places, components[code, order], **style, **thin)
                for bar in np.array(bars.patches)[kinds[order]]:
                    bar.set(facecolor=CATEGORY if style["color"] == COLORS[0] else "0.7")
                    bar.set(hatch="////", edgecolor="white", linewidth=0)
            name_bars(ax, [names[j] for j in order])
            ax.axvline(0, color="0.3", lw=0.8)
            ax.set(ylim=(n_bars - 0.4, -0.6), xlabel="loading")
            ax.tick_params(axis="x", labelsize="x-small")
            if has_room:
                ax.locator_params(axis="x", nbins=2)
            else:
                two_ticks(ax)
            set_title(ax, self._name(code).replace(" (", "\n("))
            bare_frame(ax)
            explain_powers(ax)
        handles, labels = self.axes_[0, 0].get_legend_handles_labels()
        if self.components_at_row is None:
            handles, labels = [], []
        if kinds.any():
            from matplotlib.patches import Patch

            style = {"hatch": "////", "edgecolor": "white", "linewidth": 0}
            handles.append(Patch(facecolor=CATEGORY, **style))
            labels.append("categories (length)")
        if handles:
            figure = self.axes_[0, 0].figure
            n_columns = len(labels) if figure.bbox.width > 4 * figure.dpi else 1
            style = {"loc": "outside upper left", "ncols": n_columns, "frameon": False}
            figure.legend(handles, labels, fontsize="small", **style)


def _need(final, attribute, owner):
    """Refuse an estimator that lacks what the display draws."""
    if not hasattr(final, attribute):
        raise TypeError(
            f"{owner} draws {attribute}, and {type(final).__name__} has no {attribute}."
        )


def _row(X, row):
    """Return one row of X as the same kind of table."""
    return _safe_indexing(X.tocsr() if hasattr(X, "tocsr") else X, [row])


def _unit(components):
    """Return components (n_codes, n_features) scaled to unit length."""
    lengths = np.linalg.norm(components, axis=1, keepdims=True)
    return components / np.where(lengths > 0, lengths, 1.0)
