"""ErrorDisplay: errors by feature and by row."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skae._compat import check_matplotlib_support
from skae.metrics._errors import (
    as_table,
    checked_scale,
    errors_by_feature_and_row,
    own_scale,
    reconstructed,
    units_of,
)
from skae.metrics._metric import METRICS
from skae.metrics._mixed import Mixed
from skae.plotting._drawing import (
    CATEGORY,
    COLORS,
    PAPER,
    axis_label,
    bare_frame,
    bin_edges,
    categorical_of,
    counted,
    explain_powers,
    feature_names_of,
    few_ticks,
    keep_label_inside,
    make_axes,
    mask_of,
    name_bars,
    sample_shape_of,
    shortened,
    two_figures,
)
from skae.plotting._layout import layout_of
from skae.plotting._legends import legend_above
from skae.plotting._named_places import name_places

__all__ = ["ErrorDisplay"]

# Labels of errors in tables with categories, see `skae.metrics.reconstruction_error`.
OF_MIXED = {
    "squared_error": "loss of the {}\n(best constant: 1)",
    "absolute_error": "mean deviation or\nshare wrong of the {}",
    "root_mean_squared_error": "deviation (RMS) or\nshare wrong of the {}",
}


class ErrorDisplay:
    """Errors by feature on the left, and by row on the right.

    The errors of the features of images are drawn as an image, those of features along an
    axis as a curve for each channel, and those of other features as bars, with the largest
    error first.

    Parameters
    ----------
    feature_errors : ndarray of shape (n_features,)
        Mean error of each feature; NaN if the feature has no values.
    row_errors : ndarray of shape (n_samples,)
        Mean error of each row; NaN if the row has no values. Such rows are left out.
    feature_names : array-like of str of shape (n_features,), default=None
        Names of the features. None stands for x0, x1, ...
    row_names : array-like of shape (n_samples,), default=None
        Names of the rows. None stands for 0, 1, ...
    metric : str, default="squared_error"
        Name of the error, for the labels of the axes.
    shape : "auto", tuple of int or None, default="auto"
        Shape of images, see `ReconstructionDisplay`. None is no image.
    sample_shape : tuple of int, default=None
        Shape of images and signals, see `ReconstructionDisplay`.
    x : array-like of shape (n_features,) or (length,), default=None
        Positions of the features on an axis, such as wavelengths or times.
    standardized : bool, default=False
        Whether the errors are in standardized units, for the labels of the axes.
    is_categorical : array-like of bool of shape (n_features,), default=None
        Which features hold categories. Their bars have another colour. None stands for
        features that are all numbers.

    Attributes
    ----------
    worst_ : ndarray of shape (n_worst,)
        Positions of the rows with the largest errors, with the largest first.
    axes_ : ndarray of Axes of shape (1, 2)
    figure_ : matplotlib Figure

    See Also
    --------
    skae.metrics.reconstruction_error : The same errors as numbers.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from skae.plotting import ErrorDisplay
    >>> X, _ = load_iris(return_X_y=True, as_frame=True)
    >>> display = ErrorDisplay.from_estimator(PCA(2).fit(X), X, n_worst=3)
    >>> display.worst_.shape
    (3,)
    """

    def __init__(
        self,
        feature_errors,
        row_errors,
        *,
        feature_names=None,
        row_names=None,
        metric="squared_error",
        shape="auto",
        sample_shape=None,
        x=None,
        standardized=False,
        is_categorical=None,
    ):
        self.feature_errors = feature_errors
        self.row_errors = row_errors
        self.feature_names = feature_names
        self.row_names = row_names
        self.metric = metric
        self.shape = shape
        self.sample_shape = sample_shape
        self.x = x
        self.standardized = standardized
        self.is_categorical = is_categorical

    @classmethod
    def from_estimator(cls, estimator, X, **params):
        """Draw the errors of an estimator's reconstruction of X.

        They are in the units of X, or in standardized units if the estimator standardizes,
        with `standardize=True` or with a `StandardScaler` at the start of a Pipeline. Of
        frames with categories each column has one error: that in the loss, with
        `metric="absolute_error"` or `"root_mean_squared_error"` the share of categories
        that are wrong, see the Notes of `skae.metrics.reconstruction_error`.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with `transform` and `inverse_transform`.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, which may have missing cells if the estimator takes them; means are taken
            over the other cells. The index of a pandas frame gives the names of the rows.
        **params : dict
            Arguments of `from_reconstruction`. If `scale` and `sample_shape` are not among
            them they are those of the estimator; for `scale` None stands for the units of
            X.

        Returns
        -------
        display : ErrorDisplay
            The display, which has been drawn.

        Raises
        ------
        TypeError
            If the estimator lacks one of the two methods.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        has_units = METRICS[params.get("metric", "squared_error")].has_units
        own = {"scale": own_scale(estimator) if has_units else None}
        own["sample_shape"] = sample_shape_of(estimator, np.shape(X)[1])
        pairs, params = reconstructed(estimator, X), own | params
        is_categorical = categorical_of(estimator)
        if is_categorical is None:
            return cls._draw(pairs, X, **params)
        metric, scale = params.get("metric", "squared_error"), params["scale"]
        if not isinstance(scale, Mixed):
            scale = checked_scale(scale, np.shape(X)[1], metric, cls.__name__)
            params["scale"] = units_of(estimator, scale)
        names = feature_names_of(X, estimator)
        kinds = {"is_categorical": is_categorical, "feature_names": names}
        return cls._draw(pairs, X, **params, **kinds)

    @classmethod
    def from_reconstruction(
        cls,
        X,
        X_hat,
        *,
        metric="squared_error",
        shape="auto",
        sample_shape=None,
        x=None,
        scale=None,
        n_worst=5,
        n_bars=15,
        ax=None,
    ):
        """Draw the errors of a reconstruction that has been computed.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows. The index of a pandas frame gives their names.
        X_hat : {array-like, sparse matrix} of shape (n_samples, n_features)
            Reconstruction of X.
        metric : {"squared_error", "absolute_error", "root_mean_squared_error", \
                "binary_cross_entropy"}, default="squared_error"
            Error, see `skae.metrics.reconstruction_error`.
        shape : "auto", tuple of int or None, default="auto"
            See the class.
        sample_shape : tuple of int, default=None
            See the class.
        x : array-like of shape (n_features,) or (length,), default=None
            See the class.
        scale : array-like of shape (n_features,), default=None
            Standard deviations of the features, such as `scale_` of a `StandardScaler`.
            Errors are then in standardized units. None stands for the units of X.
        n_worst : int, default=5
            See `plot`.
        n_bars : int, default=15
            See `plot`.
        ax : Axes or array of Axes, default=None
            See `plot`.

        Returns
        -------
        display : ErrorDisplay
            The display, which has been drawn.

        Raises
        ------
        ValueError
            If the shapes of X and X_hat differ, or if the metric is "r2", which is a score.
        """
        check_matplotlib_support(f"{cls.__name__}.from_reconstruction")
        return cls._draw(
            [(as_table(X), X_hat)],
            X,
            metric=metric,
            shape=shape,
            sample_shape=sample_shape,
            x=x,
            scale=scale,
            n_worst=n_worst,
            n_bars=n_bars,
            ax=ax,
        )

    @classmethod
    def _draw(
        cls,
        pairs,
        X,
        *,
        metric="squared_error",
        shape="auto",
        sample_shape=None,
        x=None,
        scale=None,
        n_worst=5,
        n_bars=15,
        ax=None,
        feature_names=None,
        is_categorical=None,
    ):
        """Draw the errors of pairs of rows of X and their reconstructions."""
        if metric == "r2":
            raise ValueError(
                f"metric of {cls.__name__} must be an error, but 'r2' is a score. Use "
                "metric='squared_error'."
            )
        if not isinstance(scale, Mixed):
            scale = checked_scale(scale, np.shape(X)[1], metric, cls.__name__)
        display = cls(
            *errors_by_feature_and_row(pairs, metric, scale),
            feature_names=feature_names or feature_names_of(X),
            row_names=getattr(X, "index", None),
            metric=metric,
            shape=shape,
            sample_shape=sample_shape,
            x=x,
            standardized=scale is not None,
            is_categorical=is_categorical,
        )
        return display.plot(ax, n_worst=n_worst, n_bars=n_bars)

    def plot(self, ax=None, *, n_worst=5, n_bars=15):
        """Draw the display.

        Parameters
        ----------
        ax : Axes or array of Axes, default=None
            One Axes, whose place is divided, or two Axes. None makes a figure.
        n_worst : int, default=5
            Number of rows with the largest errors whose names are written.
        n_bars : int, default=15
            Largest number of bars, one for each feature.

        Returns
        -------
        display : ErrorDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        owner, n_features = type(self).__name__, len(self.feature_errors)
        layout = layout_of(self.shape, self.sample_shape, n_features, owner)
        n_bars = min(n_bars, n_features)
        bars = self.x is None and not (layout.is_image or layout.is_signal)
        height = 0.6 + 0.17 * n_bars if bars else 0
        size = PAPER, max(2.8, height) + 0.4 * (self.is_categorical is not None)
        self.axes_ = make_axes(ax, (1, 2), size, owner)
        self.figure_ = self.axes_[0, 0].figure
        left, right = self.axes_[0]
        if layout.is_image:
            self._draw_image(left, layout)
        elif bars:
            self._draw_bars(left, n_bars)
        else:
            self._draw_curves(left, layout)
        self._draw_rows(right, n_worst)
        for ax in self.axes_.flat:
            explain_powers(ax)
            keep_label_inside(ax)
        return self

    def _label(self, what):
        if self.is_categorical is not None:
            return OF_MIXED[self.metric].format(what)
        error = self.metric.removeprefix("root_mean_").replace("_", " ")
        return f"mean {error}\nof the {what}" + ", standardized" * self.standardized

    def _draw_curves(self, ax, layout):
        curves = layout.curves(self.feature_errors)
        x = np.arange(curves.shape[1]) if self.x is None else self.x
        for channel, curve in enumerate(curves):
            color = COLORS[channel % len(COLORS)]
            ax.plot(x, curve, color=color, lw=1.3, label=f"channel {channel}")
        label = axis_label(self.x, "position" if layout.is_signal else "feature")
        ax.set(ylabel=self._label("feature"), xlabel=label, ylim=(0, None))
        bare_frame(ax)
        if len(curves) > 1:
            legend_above(ax)

    def _draw_image(self, ax, layout):
        image = layout.pictures(self.feature_errors)
        image = image.mean(axis=2) if image.ndim == 3 else image
        drawn = ax.imshow(image, cmap="cividis", vmin=0)
        ax.set(xticks=[], yticks=[])
        bar = ax.figure.colorbar(drawn, ax=ax, label=self._label("pixel"))
        explain_powers(bar.ax)

    def _draw_bars(self, ax, n_bars):
        names = self.feature_names
        if names is None:
            names = [f"x{j}" for j in range(len(self.feature_errors))]
        order = np.argsort(-self.feature_errors, kind="stable")[:n_bars]
        errors, places = self.feature_errors[order], np.arange(n_bars)
        kinds = mask_of(self.is_categorical, len(names))
        for kind, color, label in (
            (False, COLORS[0], "number"),
            (True, CATEGORY, "category"),
        ):
            chosen = kinds[order] == kind
            style = {"color": color, "height": 0.7, "label": label}
            if chosen.any():
                ax.barh(places[chosen], errors[chosen], **style)
        name_bars(ax, [names[j] for j in order])
        ax.set(ylim=(n_bars - 0.4, -0.6), xlabel=self._label("feature"))
        bare_frame(ax)
        if n_bars < len(names):
            note = f"the {n_bars} largest of {len(names)} features"
            ax.set_xlabel(f"{self._label('feature')}\n{note}")
        if self.is_categorical is not None:
            legend_above(ax)

    def _draw_rows(self, ax, n_worst):
        errors, order = self.row_errors, np.argsort(-self.row_errors, kind="stable")
        known = errors[~np.isnan(errors)]  # NaN is last in the order
        self.worst_ = order[: min(max(n_worst, 0), len(known))]
        ax.hist(known, bins=bin_edges(known), color="0.75", ec="white", lw=0.3)
        label = f"mean {two_figures(known.mean())}"
        ax.axvline(known.mean(), color="black", ls="--", lw=1, label=label)
        ax.set(ylabel="rows", xlabel=self._label("row"), xlim=(0, None))
        ax.locator_params(axis="y", nbins=5)
        few_ticks(ax)
        bare_frame(ax)
        if self.worst_.size:
            names = np.arange(len(errors)) if self.row_names is None else self.row_names
            names = [shortened(names[i]) for i in self.worst_]
            name_places(ax, errors[self.worst_], names, counted(len(names), "worst row"))
        legend_above(ax)
