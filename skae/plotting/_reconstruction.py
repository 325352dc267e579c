"""ReconstructionDisplay: rows of X and what is left of them."""

import numpy as np

from skae._compat import check_matplotlib_support
from skae.metrics import checked_scale, errors_by_feature_and_row, own_scale, value_range
from skae.plotting._drawing import (
    COLORS,
    DASHES,
    MOST_NAMED,
    PAPER,
    as_dense,
    axis_label,
    bare_frame,
    counted,
    feature_names_of,
    first_rows,
    image_shape_of,
    legend_right,
    make_axes,
    name_of,
    reconstruct,
    set_title,
    short_label,
    show_image,
    two_figures,
)

__all__ = ["ReconstructionDisplay"]

MISSING = COLORS[6]  # of pixels


class ReconstructionDisplay:
    """Rows of X and what is left of them.

    Images are drawn with the originals in the first line and each reconstruction in a
    line below. Of other rows, such as spectra, series or tables, the first line has the
    curves and the second the differences, reconstruction minus original. Missing cells
    are gaps in curves and have a colour of their own in images. Rows are drawn in the
    units of X, differences and errors in those of X or in standardized ones.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The rows that are drawn, one in each column; NaN in missing cells.
    reconstructions : dict of str to ndarray of shape (n_samples, n_features)
        Names of models and their reconstructions of X.
    shape : "auto", tuple of int or None, default="auto"
        (height, width) or (height, width, channels) of the image that a row is. None
        draws curves. "auto" is a square image where the number of features is the square
        of 8 or more and `x` is None, else curves.
    x : array-like of shape (n_features,), default=None
        Where the features are on the axis of the curves: wavelengths, times. The name of
        a pandas Series or Index labels it.
    feature_names : array-like of str of shape (n_features,), default=None
        Label the axis of the curves where there are 16 features or fewer and no `x`.
    scale : array-like of shape (n_features,), default=None
        Standard deviations of the features, such as `scale_` of a `StandardScaler`:
        differences and errors are then in standardized units. None is the units of X.

    Attributes
    ----------
    axes_ : ndarray of Axes of shape (n_lines, n_samples)
        For images 1 + the number of models lines, else 2.
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
    >>> display = ReconstructionDisplay.from_estimator(PCA(8).fit(X), X, n_shown=5)
    >>> display.axes_.shape
    (2, 5)
    """

    def __init__(
        self, X, reconstructions, *, shape="auto", x=None, feature_names=None, scale=None
    ):
        self.X = X
        self.reconstructions = reconstructions
        self.shape = shape
        self.x = x
        self.feature_names = feature_names
        self.scale = scale

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        baseline=None,
        n_shown=None,
        shape="auto",
        x=None,
        name=None,
        cmap="gray",
        ax=None,
    ):
        """Draw the first rows of X and their reconstructions.

        Differences and errors, also of the `baseline`, are in standardized units where
        the estimator standardizes: by `standardize=True`, or by a `StandardScaler` at the
        start of a Pipeline.

        Parameters
        ----------
        estimator : estimator
            Fitted, with `transform` and `inverse_transform`.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to draw, with missing cells where the estimators take them. To draw
            others than the first, pass them alone.
        baseline : estimator, default=None
            A second fitted estimator, such as `PCA(8).fit(X_train)`.
        n_shown : int, default=None
            Number of rows drawn. None is 10 for images and 3 for curves, or as many as
            there are.
        shape : "auto", tuple of int or None, default="auto"
            See the class.
        x : array-like of shape (n_features,), default=None
            See the class.
        name : str, default=None
            Of the estimator; None is its class and its number of components.
        cmap : str or Colormap, default="gray"
            Of images with one channel.
        ax : Axes or array of Axes, default=None
            See `plot`.

        Returns
        -------
        display : ReconstructionDisplay
            Drawn.

        Raises
        ------
        ValueError
            If `shape` does not multiply to n_features, or `n_shown` is below 1.
        TypeError
            If an estimator lacks one of the two methods.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        is_image = image_shape_of(shape, x, np.shape(X)[1], cls.__name__) is not None
        n_shown = (10 if is_image else 3) if n_shown is None else n_shown
        if n_shown < 1:
            raise ValueError(
                f"n_shown of {cls.__name__} must be 1 or more, got {n_shown!r}."
            )
        rows, reconstructions = first_rows(X, n_shown), {}
        for model, label in [(baseline, None), (estimator, name)]:
            if model is not None:
                rows_dense, Z, X_hat = reconstruct(model, rows)
                label = label or f"{name_of(model)}, {counted(Z.shape[1], 'component')}"
                label += " (2)" if label in reconstructions else ""
                reconstructions[label] = X_hat
        names = feature_names_of(X, estimator)
        of_rows = {"feature_names": names, "scale": own_scale(estimator)}
        display = cls(rows_dense, reconstructions, shape=shape, x=x, **of_rows)
        return display.plot(ax, cmap=cmap)

    @classmethod
    def from_reconstructions(
        cls, X, reconstructions, *, shape="auto", x=None, scale=None, cmap="gray", ax=None
    ):
        """Draw rows of X and reconstructions of them that are at hand.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to draw.
        reconstructions : dict of str to array-like of shape (n_samples, n_features)
            Names of models and what they make of X.
        shape : "auto", tuple of int or None, default="auto"
            See the class.
        x : array-like of shape (n_features,), default=None
            See the class.
        scale : array-like of shape (n_features,), default=None
            See the class.
        cmap : str or Colormap, default="gray"
            Of images with one channel.
        ax : Axes or array of Axes, default=None
            See `plot`.

        Returns
        -------
        display : ReconstructionDisplay
            Drawn.

        Raises
        ------
        ValueError
            If the shapes of X and a reconstruction differ.
        """
        check_matplotlib_support(f"{cls.__name__}.from_reconstructions")
        dense = {name: as_dense(X_hat) for name, X_hat in reconstructions.items()}
        names = feature_names_of(X)
        X = as_dense(X, allow_nan=True)
        of_rows = {"feature_names": names, "scale": scale}
        display = cls(X, dense, shape=shape, x=x, **of_rows)
        return display.plot(ax, cmap=cmap)

    def plot(self, ax=None, *, cmap="gray"):
        """Draw.

        Parameters
        ----------
        ax : Axes or array of Axes, default=None
            One Axes, whose place is divided, or as many as `axes_` has. None makes a
            figure.
        cmap : str or Colormap, default="gray"
            Of images with one channel. White is the largest value of X, black the
            smallest.

        Returns
        -------
        display : ReconstructionDisplay
            This one.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        caller, (n_rows, n_features) = type(self).__name__, self.X.shape
        shape = image_shape_of(self.shape, self.x, n_features, caller)
        scale = checked_scale(self.scale, n_features, "squared_error", caller)
        errors = {  # raises where the shapes differ
            name: errors_by_feature_and_row([(self.X, X_hat)], "squared_error", scale)[1]
            for name, X_hat in self.reconstructions.items()
        }
        if shape is None:
            size = min(PAPER, 2.4 + 1.8 * n_rows), 2.8
            self.axes_ = make_axes(ax, (2, n_rows), size, caller, height_ratios=[2, 1])
            self._draw_curves(errors, 1.0 if scale is None else scale)
        else:
            n_lines = 1 + len(self.reconstructions)
            side = min(0.9, (PAPER - 1.2) / n_rows)
            height = n_lines * (side * shape[0] / shape[1] + 0.17)
            size = 1.2 + side * n_rows, height
            self.axes_ = make_axes(ax, (n_lines, n_rows), size, caller)
            self._draw_images(shape, errors, cmap)
        self.figure_ = self.axes_[0, 0].figure
        return self

    @property
    def _error_name(self):
        return "MSE" if self.scale is None else "standardized MSE"

    def _draw_images(self, shape, errors, cmap):
        limits = value_range(self.X)
        lines = [("original", self.X), *self.reconstructions.items()]
        for line, (name, images) in zip(self.axes_, lines, strict=True):
            for ax, image in zip(line, images, strict=True):
                show_image(ax, image.reshape(shape), limits, cmap, missing=MISSING)
            line[0].set_ylabel(
                short_label(name), rotation=0, ha="right", va="center", fontsize="small"
            )
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

    def _draw_curves(self, errors, scale):
        n_features = self.X.shape[1]
        x = np.arange(n_features) if self.x is None else np.asarray(self.x)
        top, bottom = self.axes_
        few = {"marker": "."} if n_features <= MOST_NAMED else {}
        for column, row in enumerate(self.X):
            # A value between two gaps has no line.
            dots = few or ({"marker": ".", "ms": 3} if np.isnan(row).any() else {})
            top[column].plot(x, row, color="0.65", lw=2.4, label="original", **dots)
            bottom[column].axhline(0, color="0.65", lw=1)
            figures = []
            for place, (name, X_hat) in enumerate(self.reconstructions.items()):
                last = place == len(self.reconstructions) - 1
                style = {"color": COLORS[0 if last else 1 + place], "lw": 1.1}
                style["ls"] = "-" if last else DASHES[place % len(DASHES)]
                top[column].plot(x, X_hat[column], label=name, **style, **few)
                difference = (X_hat[column] - row) / scale
                bottom[column].plot(x, difference, **style, **dots)
                figures.append(two_figures(errors[name][column]))
            text = f"{self._error_name} {', '.join(figures)}"
            set_title(top[column], text, fontsize="x-small")
        _share(top, "value")
        _share(bottom, "difference" if self.scale is None else "difference\n(standardized)")
        for ax in [*top, *bottom]:
            bare_frame(ax)
        for ax, upper in zip(bottom, top, strict=True):
            self._name_features(ax, x)
            upper.sharex(ax)
            upper.tick_params(labelbottom=False)
        legend_right(top[-1], *top[0].get_legend_handles_labels())

    def _name_features(self, ax, x):
        names = self.feature_names
        if self.x is None and names is not None and len(names) <= MOST_NAMED:
            ax.set_xticks(x, names, rotation=90, fontsize="x-small")
        else:
            ax.set_xlabel(axis_label(self.x))


def _explain_missing(ax):
    from matplotlib.patches import Patch

    patch = Patch(facecolor=MISSING, edgecolor="0.3", linewidth=0.4)
    legend_right(ax, [patch], ["missing"])


def _share(line, label):
    """One scale of values for the Axes of a line."""
    limits = np.array([ax.get_ylim() for ax in line])
    for ax in line:
        ax.set_ylim(limits.min(), limits.max())
        ax.tick_params(labelleft=ax is line[0])
    line[0].set_ylabel(label)
