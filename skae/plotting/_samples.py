"""SamplesDisplay: rows of X beside rows that a model has drawn."""

import inspect

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skae._compat import check_matplotlib_support
from skae.metrics._errors import own_scale, value_range
from skae.plotting._drawing import (
    COLORS,
    MOST_NAMED,
    PAPER,
    as_dense,
    axis_label,
    bare_frame,
    explain_powers,
    feature_names_of,
    final_step,
    first_rows,
    make_axes,
    name_of,
    sample_shape_of,
    set_title,
    shortened,
    show_images,
)
from skae.plotting._layout import layout_of
from skae.plotting._legends import legend_above, legend_in_corner

__all__ = ["SamplesDisplay"]

MOST_PAIRED = 6  # largest number of features that are drawn against each other
N_SHOWN = {"images": 10, "curves": 20, "pairs": 200}
N_BINS = 15


class SamplesDisplay:
    """Rows of X beside rows that a model has drawn.

    Images are drawn in two lines, with rows of X in the first. Curves are drawn in two
    Axes, or two for each channel of a signal. Rows of up to six features are points in
    pairs of features, with histograms on the diagonal: rows of X are grey discs and grey
    areas, rows that were drawn are crosses and lines.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows of a table.
    drawn : ndarray of shape (n_drawn, n_features)
        Rows that a model has drawn.
    name : str, default="drawn"
        Name of the model.
    shape : "auto", tuple of int or None, default="auto"
        Shape (height, width) or (height, width, channels) of the images that the rows are.
        None draws curves, or pairs of features if there are at most six, and neither `x`
        nor `sample_shape`. "auto" is `sample_shape` if there is one, and as None if not.
    sample_shape : tuple of int, default=None
        Shape of the rows with the channels first, see `ReconstructionDisplay`.
    x : array-like of shape (n_features,), default=None
        Positions of the features on the axis of the curves, such as wavelengths or times.
        The name of a pandas Series or Index is the label of the axis.
    feature_names : array-like of str of shape (n_features,), default=None
        Names of the features, for pairs and short curves.

    Attributes
    ----------
    axes_ : ndarray of Axes
        Axes of shape (2, n_shown) for images, (n_channels, 2) for curves, and (n_features,
        n_features) for pairs, where those above the diagonal are empty.
    figure_ : matplotlib Figure

    See Also
    --------
    ReconstructionDisplay : Rows and their reconstructions.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.mixture import GaussianMixture
    >>> from skae.plotting import SamplesDisplay
    >>> X, _ = load_iris(return_X_y=True)
    >>> mixture = GaussianMixture(3, random_state=0).fit(X)
    >>> SamplesDisplay.from_estimator(mixture, X, random_state=0).axes_.shape
    (4, 4)
    """

    def __init__(
        self,
        X,
        drawn,
        *,
        name="drawn",
        shape="auto",
        sample_shape=None,
        x=None,
        feature_names=None,
    ):
        self.X = X
        self.drawn = drawn
        self.name = name
        self.shape = shape
        self.sample_shape = sample_shape
        self.x = x
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        n_shown=None,
        shape="auto",
        x=None,
        name=None,
        random_state=None,
        cmap="gray",
        ax=None,
    ):
        """Draw the first rows of X, and as many rows that the estimator draws.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with `sample`, such as `VariationalAutoencoder`,
            `GaussianMixture` or `KernelDensity`. Estimators with `mean_` and
            `get_covariance`, such as `PCA`, draw from the normal distribution that has
            these. Rows that the last step of a Pipeline draws go back through the steps
            before.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, of which the first are drawn.
        n_shown : int, default=None
            Number of rows of each kind. None stands for 10 images, 20 curves or 200 points,
            or fewer if X has fewer rows.
        shape : "auto", tuple of int or None, default="auto"
            See the class.
        x : array-like of shape (n_features,), default=None
            See the class.
        name : str, default=None
            Name of the model. None stands for the class of the estimator.
        random_state : int, RandomState instance or None, default=None
            Seed of the rows that are drawn. Mixtures of scikit-learn use their own.
        cmap : str or Colormap, default="gray"
            Colours of images with one channel.
        ax : Axes or array of Axes, default=None
            See `plot`.

        Returns
        -------
        display : SamplesDisplay
            The display, which has been drawn.

        Raises
        ------
        ValueError
            If `shape` does not multiply to n_features, or `n_shown` is below 1.
        TypeError
            If the estimator can draw no rows.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        n_features = np.shape(X)[1]
        sample_shape = sample_shape_of(estimator, n_features)
        layout = layout_of(shape, sample_shape, n_features, cls.__name__)
        kind = _kind(layout, x, n_features)
        n_shown = N_SHOWN[kind] if n_shown is None else n_shown
        if n_shown < 1:
            raise ValueError(
                f"n_shown of {cls.__name__} must be 1 or more, got {n_shown!r}."
            )
        check_is_fitted(estimator)
        rows = as_dense(first_rows(X, n_shown))
        display = cls(
            rows,
            _draw(estimator, len(rows), check_random_state(random_state)),
            name=name or name_of(estimator),
            shape=shape,
            sample_shape=sample_shape,
            x=x,
            feature_names=feature_names_of(X, estimator),
        )
        return display.plot(ax, cmap=cmap)

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
        display : SamplesDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        owner, n_features = type(self).__name__, self.X.shape[1]
        layout = layout_of(self.shape, self.sample_shape, n_features, owner)
        kind = _kind(layout, self.x, n_features)
        if kind == "images":
            self._draw_images(ax, owner, layout, cmap)
        elif kind == "pairs":
            self._draw_pairs(ax, owner)
        else:
            self._draw_curves(ax, owner, layout)
        self.figure_ = self.axes_[0, 0].figure
        return self

    def _draw_images(self, ax, owner, layout, cmap):
        n_shown = len(self.X)
        side, (tall, wide) = min(0.9, (PAPER - 1.2) / n_shown), layout.picture_size
        size = 1.2 + side * n_shown, 2 * (side * tall / wide + 0.1)
        self.axes_ = make_axes(ax, (2, n_shown), size, owner)
        limits = value_range(self.X)
        lines = [("rows of X", self.X), (f"drawn by {self.name}", self.drawn)]
        for line, (name, images) in zip(self.axes_, lines, strict=True):
            show_images(line, layout.pictures(images), limits, cmap, name)

    def _draw_curves(self, ax, owner, layout):
        n_channels, length = layout.sample_shape
        x = np.arange(length) if self.x is None else np.asarray(self.x)
        size = PAPER, 2.6 if n_channels == 1 else 0.8 + 0.8 * n_channels
        self.axes_ = make_axes(ax, (n_channels, 2), size, owner)
        sides = [("rows of X", self.X, "0.45")]
        sides += [(f"drawn by {self.name}", self.drawn, COLORS[0])]
        for column, (title, rows, color) in zip(self.axes_.T, sides, strict=True):
            curves = layout.curves(rows)
            set_title(column[0], title)
            for channel, place in enumerate(column):
                place.plot(x, curves[:, channel].T, color=color, alpha=0.7, lw=0.8)
                place.tick_params(labelbottom=channel == n_channels - 1)
                bare_frame(place)
            self._name_features(column[-1], layout)
        for channel, line in enumerate(self.axes_):
            limits = [place.get_ylim() for place in line]
            for place in line:
                place.set_ylim(np.min(limits), np.max(limits))
            line[0].set_ylabel("value" if n_channels == 1 else f"channel\n{channel}")
            line[1].tick_params(labelleft=False)
        for place in self.axes_.flat:
            explain_powers(place)

    def _name_features(self, ax, layout):
        names, length = self.feature_names, layout.sample_shape[-1]
        has_names = names is not None and self.x is None and length <= MOST_NAMED
        if has_names and not layout.is_signal:
            names = [shortened(name) for name in names]
            ax.set_xticks(np.arange(length), names, rotation=90, fontsize="x-small")
        else:
            ax.set_xlabel(axis_label(self.x, "position" if layout.is_signal else "feature"))

    def _draw_pairs(self, ax, owner):
        p = self.X.shape[1]
        side = min(max(3.0, 1.6 * p), PAPER)
        self.axes_ = make_axes(ax, (p, p), (side, side), owner)
        names = [f"x{j}" for j in range(p)]
        if self.feature_names is not None:
            names = [shortened(name, 80 // p) for name in self.feature_names]
        for i, j in np.ndindex(p, p):
            place = self.axes_[i, j]
            if j > i:
                place.set_axis_off()
                continue
            self._draw_pair(place, i, j)
            bare_frame(place)
            place.tick_params(
                labelbottom=i == p - 1, labelleft=j == 0 < i, labelsize="x-small"
            )
            if i == p - 1:
                place.set_xlabel(names[j], fontsize="small")
            if j == 0 < i:
                place.set_ylabel(names[i], fontsize="small")
            explain_powers(place)
        self._explain()

    def _draw_pair(self, ax, i, j):
        """Draw feature i against feature j, or the distributions of a single feature."""
        real, new = self.X, self.drawn
        ends = [np.r_[real[:, f], new[:, f]] for f in (j, i)]
        limits = [(v.min(), v.max() + (v.min() == v.max())) for v in ends]
        margins = [0.05 * (high - low) for low, high in limits]
        ax.set_xlim(limits[0][0] - margins[0], limits[0][1] + margins[0])
        if i == j:
            edges = np.linspace(*limits[0], N_BINS + 1)
            style = {"histtype": "step", "color": COLORS[0], "lw": 1.2}
            ax.hist(real[:, j], edges, density=True, color="0.8")
            ax.hist(new[:, j], edges, density=True, **style)
            ax.set_yticks([])
            return
        ax.set_ylim(limits[1][0] - margins[1], limits[1][1] + margins[1])
        style = {"ls": "", "ms": 3, "mew": 0.7}
        ax.plot(real[:, j], real[:, i], marker="o", color="0.7", **style)
        ax.plot(new[:, j], new[:, i], marker="x", color=COLORS[0], **style)

    def _explain(self):
        """Draw a legend beside the first histogram, above the diagonal."""
        from matplotlib.lines import Line2D

        handles = [
            Line2D([], [], ls="", marker="o", ms=4, color="0.7"),
            Line2D([], [], ls="", marker="x", ms=4, color=COLORS[0]),
        ]
        labels = ["rows of X", f"drawn by {self.name}"]
        if len(self.axes_) == 1:
            legend_above(self.axes_[0, 0], handles, labels)
        else:
            legend_in_corner(self.axes_, handles, labels)


def _kind(layout, x, n_features):
    """Return how rows are drawn: "images", "curves" or "pairs"."""
    if layout.is_image:
        return "images"
    has_pairs = x is None and not layout.is_signal and n_features <= MOST_PAIRED
    return "pairs" if has_pairs else "curves"


def _draw(estimator, n_rows, rng):
    """Return rows (n_rows, n_features) that a fitted estimator draws."""
    if isinstance(estimator, Pipeline):
        rows = _draw(final_step(estimator), n_rows, rng)
        before = estimator[:-1]
        return as_dense(before.inverse_transform(rows) if len(before) else rows)
    if hasattr(estimator, "sample"):
        takes_seed = "random_state" in inspect.signature(estimator.sample).parameters
        seed = {"random_state": rng} if takes_seed else {}
        rows = estimator.sample(n_rows, **seed)
        return as_dense(rows[0] if isinstance(rows, tuple) else rows)
    if hasattr(estimator, "get_covariance") and hasattr(estimator, "mean_"):
        covariance = estimator.get_covariance()
        rows = rng.multivariate_normal(np.zeros(len(covariance)), covariance, n_rows)
        scale = own_scale(estimator)
        return estimator.mean_ + (rows if scale is None else rows * scale)
    raise TypeError(
        f"SamplesDisplay takes estimators with sample, or with mean_ and get_covariance, "
        f"and {name_of(estimator)} has no sample."
    )
