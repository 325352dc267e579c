"""CodesDisplay: scatter plots of codes."""

import numpy as np
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skae._compat import check_matplotlib_support
from skae.metrics._errors import own_scale, value_range
from skae.metrics._metric import check_reconstructs
from skae.metrics._mixed import reader_of
from skae.plotting._arrows import draw_arrows, loadings_of
from skae.plotting._decoded import (
    decode_grid,
    decode_values,
    draw_decoded,
    draw_maps,
)
from skae.plotting._drawing import (
    PAPER,
    as_dense,
    bare_frame,
    before_final,
    checked_codes,
    code_names,
    explain_powers,
    feature_names_of,
    final_step,
    first_rows,
    make_axes,
    sample_shape_of,
)
from skae.plotting._groups import Groups
from skae.plotting._layout import layout_of

__all__ = ["CodesDisplay"]


class CodesDisplay:
    """Scatter plot of two codes, or pair plot of more codes, coloured by y.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_codes)
        Codes, which are drawn as a histogram of one, a scatter plot of two, or a pair plot
        of more.
    y : array-like of shape (n_samples,), default=None
        Classes, or numbers of a scale. Up to 20 different whole numbers are classes.
    names : list of str, default=None
        Names of the codes.
    grid : tuple of ndarray of shape (n_side,), default=None
        Values of the two codes at the points of the grid that is decoded.
    decoded : ndarray of shape (n_side, n_side, n_features), default=None
        Reconstructions at the points of the grid, which are drawn beside the codes. The
        first axis belongs to the second code.
    decoded_names : list of str, default=None
        Names of the features in `decoded`, if their columns are mixed: numbers, and strings
        for categories. Each has a small map of the plane.
    loadings : ndarray of shape (n_features, 2), default=None
        Arrows of a biplot: the change of each feature with each of the two codes.
    feature_names : array-like of str of shape (n_features,), default=None
        Names of the arrows.
    n_loadings : int, default=10
        Number of arrows that are drawn, the longest ones.
    shape : "auto", tuple of int or None, default="auto"
        Shape of decoded images, as in `ReconstructionDisplay`. None draws curves, minus
        the mean of all curves.
    sample_shape : tuple of int, default=None
        Shape of images and signals, as in `ReconstructionDisplay`.
    scale : array-like of shape (n_features,), default=None
        Divisors of the features in these curves, such as the `scale_` of a
        `StandardScaler`. None draws them in the units of X.
    limits : tuple of float, default=None
        Values that are black and white in decoded images. None stands for their range.

    Attributes
    ----------
    axes_ : ndarray of Axes
        Axes, of shape (1, 1) for one or two codes, (1, 2) with `decoded`, and
        (n_codes, n_codes) for more codes.
    figure_ : matplotlib Figure

    See Also
    --------
    ReconstructionDisplay : Rows of X and their reconstructions.

    Notes
    -----
    All arrows are scaled by the same factor to the size of the plot, so that their angles
    and the ratios of their lengths have a meaning. For PCA, the projection of a point onto
    an arrow is in proportion to the feature in the reconstruction (Gabriel 1971, "The
    biplot graphic display of matrices"). For a nonlinear model this holds near the mean
    code.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from skae.plotting import CodesDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> display = CodesDisplay.from_estimator(PCA(2).fit(X), X, y, loadings=4)
    >>> display.axes_.shape
    (1, 1)
    """

    def __init__(
        self,
        Z,
        *,
        y=None,
        names=None,
        grid=None,
        decoded=None,
        decoded_names=None,
        loadings=None,
        feature_names=None,
        n_loadings=10,
        shape="auto",
        sample_shape=None,
        scale=None,
        limits=None,
    ):
        self.Z = Z
        self.y = y
        self.names = names
        self.grid = grid
        self.decoded = decoded
        self.decoded_names = decoded_names
        self.loadings = loadings
        self.feature_names = feature_names
        self.n_loadings = n_loadings
        self.shape = shape
        self.sample_shape = sample_shape
        self.scale = scale
        self.limits = limits

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        codes=None,
        decoded=0,
        loadings=0,
        feature_names=None,
        shape="auto",
        scatter_kwargs=None,
        cmap="gray",
        ax=None,
    ):
        """Draw the codes of X.

        Arrows and decoded curves are those of standardized features if the estimator
        standardizes, with `standardize=True` or with a `StandardScaler` at the start of a
        Pipeline. Decoded images are in the units of X.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with `transform`, and for `decoded` with `inverse_transform`.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, which may have missing cells if the estimator takes them.
        y : array-like of shape (n_samples,), default=None
            See the class.
        codes : sequence of int, default=None
            Numbers of the codes to draw, counted from 0. None stands for the first four.
        decoded : int, default=0
            Number of points on each side of the grid that is decoded. The grid goes from
            the 1st to the 99th percentile of the two codes; the other codes are at their
            mean. Frames with categories have a map of the plane for each column, with the
            number or the most probable category that is decoded; of more than nine columns
            for those that change most.
        loadings : int, default=0
            Number of arrows, the longest of those of all features. They are computed from
            `components_`. Of a feature of categories each category has an arrow, as in
            biplots of multiple correspondence analysis: its probability rises along it.
        feature_names : array-like of str of shape (n_features,), default=None
            Names of the arrows. None stands for those of a frame or of `fit`, or for x0,
            x1, ...
        shape : "auto", tuple of int or None, default="auto"
            See the class.
        scatter_kwargs : dict, default=None
            Arguments for `Axes.scatter`, such as `{"s": 4}`.
        cmap : str or Colormap, default="gray"
            Colours of decoded images.
        ax : Axes or array of Axes, default=None
            See `plot`.

        Returns
        -------
        display : CodesDisplay
            The display, which has been drawn.

        Raises
        ------
        ValueError
            If `codes` are not among those of the estimator, or if `decoded` or `loadings`
            are asked for and the number of codes is not two.
        TypeError
            If the estimator lacks what `decoded` or `loadings` need.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        if decoded:
            check_reconstructs(estimator)
        Z = as_dense(estimator.transform(X))
        codes = checked_codes(codes, Z.shape[1], estimator, cls.__name__)
        extras = {}
        if decoded:
            _need_two(codes, "decoded", cls.__name__)
            reader, decode = reader_of(estimator), None
            if reader is None:
                extras |= {"limits": value_range(X), "scale": own_scale(estimator)}
                extras["sample_shape"] = sample_shape_of(estimator, np.shape(X)[1])
            else:
                components = reader.autoencoder.components_
                decode, names = decode_values(reader, components, codes)
                extras["decoded_names"] = names
            grid, values = decode_grid(estimator, Z, codes, decoded, decode)
            extras |= {"grid": grid, "decoded": values}
        if loadings:
            _need_two(codes, "loadings", cls.__name__)
            extras["loadings"] = loadings_of(estimator, codes, cls.__name__)
            reader = reader_of(final_step(estimator))
            if feature_names is None and reader is not None:
                feature_names = reader.columns.encoded_names
            elif feature_names is None:
                row = before_final(estimator, first_rows(X, 1))
                feature_names = feature_names_of(row, estimator)
            extras |= {"feature_names": feature_names, "n_loadings": loadings}
        names = code_names(estimator, codes)
        display = cls(Z[:, codes], y=y, names=names, shape=shape, **extras)
        return display.plot(ax, scatter_kwargs=scatter_kwargs, cmap=cmap)

    def plot(self, ax=None, *, scatter_kwargs=None, cmap="gray"):
        """Draw the display.

        Parameters
        ----------
        ax : Axes or array of Axes, default=None
            One Axes, whose place is divided if several are needed, or as many as `axes_`
            has. None makes a figure.
        scatter_kwargs : dict, default=None
            Arguments for `matplotlib.axes.Axes.scatter`.
        cmap : str or Colormap, default="gray"
            Colours of decoded images.

        Returns
        -------
        display : CodesDisplay
            This display.

        Raises
        ------
        ValueError
            If y and Z differ in length.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        check_consistent_length(self.Z, self.y)
        n_codes, beside = self.Z.shape[1], self.decoded is not None
        side = n_codes if n_codes > 2 else 1
        width = {1: PAPER if beside else 4.2, 3: 5.5}.get(side, PAPER)
        size = width, 3.2 if side == 1 else width
        self.axes_ = make_axes(ax, (side, side + beside), size, type(self).__name__)
        self.figure_ = self.axes_[0, 0].figure
        many = len(self.Z) > 300
        style = {"s": np.clip(9000 / len(self.Z), 4, 22), "rasterized": len(self.Z) > 2000}
        style |= {"linewidths": 0 if many else 0.3, "edgecolors": "white"}
        groups = Groups(self.y, style | (scatter_kwargs or {}))
        if n_codes == 1:
            self._histogram(self.axes_[0, 0], 0, groups)
        elif n_codes == 2:
            self._scatter(self.axes_[0, 0], 0, 1, groups)
        else:
            self._pairs(groups)
        has_maps = beside and self.decoded_names is not None
        if beside and not has_maps:
            n_features = self.decoded.shape[2]
            owner, sample_shape = type(self).__name__, self.sample_shape
            layout = layout_of(self.shape, sample_shape, n_features, owner)
            look = {"scale": self.scale, "limits": self.limits, "cmap": cmap}
            draw_decoded(*self.axes_[0], self.grid, self.decoded, layout, **look)
            self.axes_[0, 1].set(xlabel=self._name(0), ylabel=self._name(1))
        groups.explain(self.axes_)
        if has_maps:  # words in maps are as long as the legend leaves room for
            draw_maps(*self.axes_[0], self.grid, self.decoded, self.decoded_names)
        if self.loadings is not None:
            longest = self.loadings, self.feature_names, self.n_loadings
            draw_arrows(self.axes_[0, 0], self.Z.mean(axis=0), *longest)
        for each in self.axes_.flat:
            explain_powers(each)
        return self

    def _name(self, code):
        return f"code {code + 1}" if self.names is None else self.names[code]

    def _scatter(self, ax, i, j, groups):
        groups.scatter(ax, self.Z[:, i], self.Z[:, j])
        ax.set(xlabel=self._name(i), ylabel=self._name(j))
        bare_frame(ax)

    def _histogram(self, ax, code, groups):
        groups.histogram(ax, self.Z[:, code])
        ax.set(xlabel=self._name(code), ylabel="rows")
        bare_frame(ax)

    def _pairs(self, groups):
        last = len(self.axes_) - 1
        for (i, j), ax in np.ndenumerate(self.axes_):
            if j > i:
                ax.set_axis_off()
                continue
            if i == j:
                self._histogram(ax, j, groups)
                ax.set_yticks([])
                ax.set_ylabel("rows" if i == 0 else "")
            else:
                self._scatter(ax, j, i, groups)
                ax.sharex(self.axes_[j, j])
                ax.set_ylabel(self._name(i).replace(" (", "\n(") if j == 0 else "")
            ax.tick_params(labelsize="x-small", labelbottom=i == last)
            ax.tick_params(labelleft=j == 0 and i > 0)
            ax.set_xlabel(self._name(j).replace(" (", "\n(") if i == last else "")


def _need_two(codes, option, owner):
    """Refuse an option that needs two codes if another number is drawn."""
    if len(codes) != 2:
        raise ValueError(
            f"{option} of {owner} takes two codes, but {len(codes)} are drawn. Choose "
            "them, for example with codes=(0, 1)."
        )
