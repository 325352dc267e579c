"""ReconstructionDisplay: rows of X and their reconstructions."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skae._compat import check_matplotlib_support
from skae.metrics._errors import (
    checked_scale,
    errors_by_feature_and_row,
    own_scale,
    value_range,
)
from skae.metrics._metric import check_reconstructs
from skae.metrics._mixed import has_categories
from skae.plotting._cells import (
    MOST_LINES,
    Strips,
    draw_strips,
    has_mixed_columns,
    strips_of_frames,
    strips_of_models,
)
from skae.plotting._drawing import (
    COLORS,
    DASHES,
    MOST_NAMED,
    PAPER,
    as_dense,
    axis_label,
    bare_frame,
    counted,
    explain_powers,
    feature_names_of,
    first_rows,
    make_axes,
    name_of,
    reconstruct,
    sample_shape_of,
    set_title,
    shortened,
    show_images,
    two_figures,
)
from skae.plotting._layout import layout_of
from skae.plotting._legends import legend_right

__all__ = ["ReconstructionDisplay"]

MISSING = COLORS[6]  # colour of missing pixels


class ReconstructionDisplay:
    """Rows of X and their reconstructions.

    Images are drawn with the originals in the first line and each reconstruction in a
    line below. For other rows, such as spectra, series or tables, the first line has the
    curves, and the second line has the differences, reconstruction minus original. Signals
    with several channels have one line for each channel instead, without differences.
    Missing cells are gaps in curves and have a colour of their own in images. Rows are
    drawn in the units of X. Differences and errors are in the units of X or in
    standardized units.

    Rows of mixed columns, of frames with categories or of an estimator whose `loss` is a
    dict, are strips of cells with the values of each column, the original on the left and
    reconstructions on the right. Cells are the darker the larger their error is: that of a
    number in standard deviations, and of a category one minus the probability of the one
    that is there, or 1 if there are no probabilities and it is wrong.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows to draw, one in each column, with NaN in missing cells.
    reconstructions : dict of str to ndarray of shape (n_samples, n_features)
        Names of models and their reconstructions of X.
    shape : "auto", tuple of int or None, default="auto"
        Shape (height, width) or (height, width, channels) of the images that the rows are.
        None draws curves. "auto" is `sample_shape` if there is one, and curves if not: a
        number of features alone does not tell that rows are images.
    sample_shape : tuple of int, default=None
        Shape of the rows with the channels first, as in `AutoencoderTransformer`:
        (channels, length) of signals, whose channels are a curve each, or (channels,
        height, width) of images, of which three channels are colours.
    x : array-like of shape (n_features,) or (length,), default=None
        Positions of the features on the axis of the curves, such as wavelengths or times.
        The name of a pandas Series or Index is the label of the axis.
    feature_names : array-like of str of shape (n_features,), default=None
        Names of the features, which are written on the axis of the curves if there are 16
        features or fewer and no `x`.
    scale : array-like of shape (n_features,), default=None
        Standard deviations of the features, such as `scale_` of a `StandardScaler`.
        Differences and errors are then in standardized units. None stands for the units of
        X.
    cell_errors : dict of str to ndarray of shape (n_samples, n_features), default=None
        Errors of the cells by model. With them the rows are strips of cells, and X and the
        reconstructions may hold strings.
    row_names : array-like of shape (n_samples,), default=None
        Names of the rows, for strips of cells. None stands for 0, 1, ...

    Attributes
    ----------
    axes_ : ndarray of Axes of shape (n_lines, n_samples)
        Axes. Images have one line more than models, curves have two lines, strips of cells
        have one, and signals with several channels have one line for each channel.
    figure_ : matplotlib Figure

    See Also
    --------
    ErrorDisplay : The errors of all rows and features.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skae.plotting import ReconstructionDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> display = ReconstructionDisplay.from_estimator(PCA(8).fit(X), X, shape=(8, 8))
    >>> display.axes_.shape
    (2, 10)
    """

    def __init__(
        self,
        X,
        reconstructions,
        *,
        shape="auto",
        sample_shape=None,
        x=None,
        feature_names=None,
        scale=None,
        cell_errors=None,
        row_names=None,
    ):
        self.X = X
        self.reconstructions = reconstructions
        self.shape = shape
        self.sample_shape = sample_shape
        self.x = x
        self.feature_names = feature_names
        self.scale = scale
        self.cell_errors = cell_errors
        self.row_names = row_names

    @classmethod
    def from_estimator(
        cls, estimator, X, *, baseline=None, n_shown=None, name=None, **params
    ):
        """Draw the first rows of X and their reconstructions.

        Differences and errors, also those of the `baseline`, are in standardized units if
        the estimator standardizes, with `standardize=True` or with a `StandardScaler` at
        the start of a Pipeline.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with `transform` and `inverse_transform`.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, of which the first are drawn. They may have missing cells if the
            estimators take them.
        baseline : estimator, default=None
            Second fitted estimator, such as `PCA(8).fit(X_train)`.
        n_shown : int, default=None
            Number of rows to draw. None stands for 10 images or 3 curves, or fewer if X has
            fewer rows.
        name : str, default=None
            Name of the estimator. None stands for its class and number of components.
        **params : dict
            Arguments of `from_reconstructions`. If `scale` and `sample_shape` are not among
            them they are those of the estimator.

        Returns
        -------
        display : ReconstructionDisplay
            The display, which has been drawn.

        Raises
        ------
        ValueError
            If `shape` does not multiply to n_features, or `n_shown` is below 1.
        TypeError
            If an estimator lacks one of the two methods.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        n_features = np.shape(X)[1]
        own = {"sample_shape": sample_shape_of(estimator, n_features)}
        params = own | params
        shape = params.get("shape", "auto")
        layout = layout_of(shape, params["sample_shape"], n_features, cls.__name__)
        n_shown = (10 if layout.is_image else 3) if n_shown is None else n_shown
        if n_shown < 1:
            raise ValueError(
                f"n_shown of {cls.__name__} must be 1 or more, got {n_shown!r}."
            )
        models, names = {}, feature_names_of(X, estimator)
        for model, label in [(baseline, None), (estimator, name)]:
            if model is not None:
                check_reconstructs(model)
                check_is_fitted(model)
                Z = model.transform(first_rows(X, 1))
                label = label or f"{name_of(model)}, {counted(Z.shape[1], 'component')}"
                models[f"{label} (2)" if label in models else label] = model
        is_table = not (layout.is_image or layout.is_signal) and params.get("x") is None
        if is_table and has_mixed_columns(estimator):
            strips = strips_of_models(models, X, n_shown)
            rows = first_rows(X, n_shown)
            return cls._draw_strips(rows, strips, names, ax=params.get("ax"))
        rows = first_rows(X, n_shown)
        params = {"scale": own_scale(estimator)} | params
        reconstructions = {label: reconstruct(m, rows)[2] for label, m in models.items()}
        return cls._draw(rows, reconstructions, feature_names=names, **params)

    @classmethod
    def from_reconstructions(
        cls,
        X,
        reconstructions,
        *,
        shape="auto",
        sample_shape=None,
        x=None,
        scale=None,
        cmap="gray",
        ax=None,
    ):
        """Draw rows of X and reconstructions that have been computed.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to draw.
        reconstructions : dict of str to array-like of shape (n_samples, n_features)
            Names of models and their reconstructions of X.
        shape : "auto", tuple of int or None, default="auto"
            See the class.
        sample_shape : tuple of int, default=None
            See the class.
        x : array-like of shape (n_features,) or (length,), default=None
            See the class.
        scale : array-like of shape (n_features,), default=None
            See the class.
        cmap : str or Colormap, default="gray"
            Colours of images with one channel.
        ax : Axes or array of Axes, default=None
            See `plot`.

        Returns
        -------
        display : ReconstructionDisplay
            The display, which has been drawn.

        Raises
        ------
        ValueError
            If the shapes of X and a reconstruction differ.
        """
        check_matplotlib_support(f"{cls.__name__}.from_reconstructions")
        if has_categories(X):
            scale = checked_scale(scale, np.shape(X)[1], "squared_error", cls.__name__)
            strips = strips_of_frames(X, reconstructions, scale)
            return cls._draw_strips(X, strips, feature_names_of(X), ax=ax)
        return cls._draw(
            X,
            reconstructions,
            feature_names=feature_names_of(X),
            shape=shape,
            sample_shape=sample_shape,
            x=x,
            scale=scale,
            cmap=cmap,
            ax=ax,
        )

    @classmethod
    def _draw_strips(cls, X, strips, feature_names, ax):
        """Draw Strips of the rows of a table."""
        named = {"feature_names": feature_names, "row_names": getattr(X, "index", None)}
        display = cls(strips.values, strips.guesses, cell_errors=strips.errors, **named)
        return display.plot(ax)

    @classmethod
    def _draw(cls, X, reconstructions, *, cmap="gray", ax=None, **params):
        """Draw rows of X and their reconstructions, which may be of any kind of table."""
        dense = {name: as_dense(X_hat) for name, X_hat in reconstructions.items()}
        return cls(as_dense(X, allow_nan=True), dense, **params).plot(ax, cmap=cmap)

    def plot(self, ax=None, *, cmap="gray"):
        """Draw the display.

        Parameters
        ----------
        ax : Axes or array of Axes, default=None
            One Axes, whose place is divided, or as many as `axes_` has. None makes a
            figure.
        cmap : str or Colormap, default="gray"
            Colours of images with one channel, from the smallest to the largest value of
            X, which in "gray" are black and white.

        Returns
        -------
        display : ReconstructionDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        owner, (n_rows, n_features) = type(self).__name__, self.X.shape
        if self.cell_errors is not None:
            return self._plot_strips(ax, owner)
        layout = layout_of(self.shape, self.sample_shape, n_features, owner)
        scale = checked_scale(self.scale, n_features, "squared_error", owner)
        errors = {  # raises an error if the shapes differ
            name: errors_by_feature_and_row([(self.X, X_hat)], "squared_error", scale)[1]
            for name, X_hat in self.reconstructions.items()
        }
        if layout.is_image:
            n_lines = 1 + len(self.reconstructions)
            side = min(0.9, (PAPER - 1.2) / n_rows)
            tall, wide = layout.picture_size
            size = 1.2 + side * n_rows, n_lines * (side * tall / wide + 0.17)
            self.axes_ = make_axes(ax, (n_lines, n_rows), size, owner)
            self._draw_images(layout, errors, cmap)
        elif layout.sample_shape[0] > 1:
            n_lines = layout.sample_shape[0]
            size = min(PAPER, 2.4 + 1.8 * n_rows), 0.8 + 0.65 * n_lines
            self.axes_ = make_axes(ax, (n_lines, n_rows), size, owner)
            self._draw_channels(layout, errors)
        else:
            size = min(PAPER, 2.4 + 1.8 * n_rows), 2.8 + self._height_of_names()
            self.axes_ = make_axes(ax, (2, n_rows), size, owner, height_ratios=[3, 2])
            self._draw_curves(layout, errors, 1.0 if scale is None else scale)
        self.figure_ = self.axes_[0, 0].figure
        return self

    def _plot_strips(self, ax, owner):
        n_rows, n_features = self.X.shape
        names = [f"x{j}" for j in range(n_features)]
        names = names if self.feature_names is None else self.feature_names
        rows = range(n_rows) if self.row_names is None else self.row_names
        width = 1.3 + 0.75 * n_rows * (1 + len(self.reconstructions))
        size = min(PAPER, width), 1.3 + 0.17 * min(n_features, MOST_LINES)
        self.axes_ = make_axes(ax, (1, n_rows), size, owner)
        self.figure_ = self.axes_[0, 0].figure
        strips = Strips(self.X, self.reconstructions, self.cell_errors)
        draw_strips(self.axes_[0], strips, names, list(rows))
        return self

    @property
    def _error_name(self):
        return "MSE" if self.scale is None else "standardized MSE"

    def _draw_images(self, layout, errors, cmap):
        limits = value_range(self.X)
        lines = [("original", self.X), *self.reconstructions.items()]
        for line, (name, images) in zip(self.axes_, lines, strict=True):
            show_images(line, layout.pictures(images), limits, cmap, name, MISSING)
            if name not in errors:
                continue
            for ax, error in zip(line, errors[name], strict=True):
                ax.set_xlabel(two_figures(error), fontsize="xx-small", labelpad=1.5)
            line[0].annotate(
                self._error_name,
                (0, 0),
                (-4, -1.5),
                xycoords="axes fraction",
                textcoords="offset points",
                ha="right",
                va="top",
                fontsize="xx-small",
            )
        if np.isnan(self.X).any():
            _explain_missing(self.axes_[0, -1])

    def _draw_curves(self, layout, errors, scale):
        n_features = self.X.shape[1]
        top, bottom = self.axes_
        few = {"marker": "."} if n_features <= MOST_NAMED else {}
        x, styles = self._positions(n_features), self._styles()
        for column, row in enumerate(self.X):
            # A value between two gaps would not be visible as a line.
            dots = few or ({"marker": ".", "ms": 3} if np.isnan(row).any() else {})
            bottom[column].axhline(0, color="0.65", lw=1)
            top[column].plot(x, row, **styles["original"], **dots)
            for name, X_hat in self.reconstructions.items():
                top[column].plot(x, X_hat[column], **styles[name], **few)
                difference = (X_hat[column] - row) / scale
                bottom[column].plot(x, difference, **styles[name], **dots)
        _share(top, "value")
        _share(bottom, "difference" if self.scale is None else "standardized\ndifference")
        self._finish(layout, errors, styles)

    def _draw_channels(self, layout, errors):
        x, styles = self._positions(layout.sample_shape[1]), self._styles()
        rows = {"original": self.X, **self.reconstructions}
        for name, curves in rows.items():
            for (channel, column), ax in np.ndenumerate(self.axes_):
                ax.plot(x, layout.curves(curves[column])[channel], **styles[name])
        for channel, line in enumerate(self.axes_):
            _share(line, f"channel\n{channel}")
        self._finish(layout, errors, styles)

    def _finish(self, layout, errors, styles):
        """Write errors, names and a legend at curves."""
        from matplotlib.lines import Line2D

        for column, ax in enumerate(self.axes_[0]):
            figures = [two_figures(each[column]) for each in errors.values()]
            text = f"{self._error_name} {', '.join(figures)}"
            set_title(ax, text, fontsize="x-small")
        for (line, column), ax in np.ndenumerate(self.axes_):
            bare_frame(ax)
            if line < len(self.axes_) - 1:
                ax.sharex(self.axes_[-1, column])
                ax.tick_params(labelbottom=False)
            else:
                self._name_features(ax, layout)
            explain_powers(ax)
        handles = [Line2D([], [], **style) for style in styles.values()]
        legend_right(self.axes_[0, -1], handles, styles)
        self.figure_ = self.axes_[0, 0].figure
        self.figure_.align_ylabels(self.axes_[:, 0])

    def _positions(self, length):
        return np.arange(length) if self.x is None else np.asarray(self.x)

    def _styles(self):
        """Return the styles of the original and of each model; the last one is solid."""
        last = len(self.reconstructions) - 1
        styles = {"original": {"color": "0.65", "lw": 2.4}}
        for place, name in enumerate(self.reconstructions):
            color = COLORS[0 if place == last else 1 + place]
            dashes = "-" if place == last else DASHES[place % len(DASHES)]
            styles[name] = {"color": color, "lw": 1.1, "ls": dashes}
        return styles

    def _has_names(self):
        names = self.feature_names
        return self.x is None and names is not None and len(names) <= MOST_NAMED

    def _height_of_names(self):
        """Return the height in inches of the longest name at the axis."""
        names = self.feature_names if self._has_names() else []
        return 0.07 * max((len(shortened(name)) for name in names), default=0)

    def _name_features(self, ax, layout):
        if self._has_names() and not layout.is_signal:
            names = [shortened(name) for name in self.feature_names]
            ax.set_xticks(np.arange(len(names)), names, rotation=90, fontsize="x-small")
        else:
            ax.set_xlabel(axis_label(self.x, "position" if layout.is_signal else "feature"))


def _explain_missing(ax):
    """Draw a legend for the colour of missing pixels."""
    from matplotlib.patches import Patch

    patch = Patch(facecolor=MISSING, edgecolor="0.3", linewidth=0.4)
    legend_right(ax, [patch], ["missing"])


def _share(line, label):
    """Give all Axes of a line the same vertical limits, and the first one a label."""
    limits = np.array([ax.get_ylim() for ax in line])
    for ax in line:
        ax.set_ylim(limits.min(), limits.max())
        ax.tick_params(labelleft=ax is line[0])
    line[0].set_ylabel(label)
