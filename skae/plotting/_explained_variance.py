"""ExplainedVarianceDisplay: the variance that the first components keep."""

import numpy as np
from scipy import linalg, sparse
from sklearn.decomposition import PCA
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from skae._compat import check_matplotlib_support
from skae.metrics._errors import own_scale
from skae.metrics._mixed import reader_of
from skae.plotting._drawing import (
    COLORS,
    DASHES,
    MARKERS,
    bare_frame,
    before_final,
    final_step,
    make_axes,
    name_of,
)
from skae.plotting._legends import legend_above

__all__ = ["ExplainedVarianceDisplay"]

FLOATS = [np.float64, np.float32]


class ExplainedVarianceDisplay:
    """Share of the variance that the first components keep, for one or more models.

    Parameters
    ----------
    ratios : dict of str to array-like of shape (n_components,)
        Names of models and their `explained_variance_ratio_`.
    threshold : float in (0, 1), default=None
        Share of the variance. The smallest number of components with which each model
        keeps it is marked.

    Attributes
    ----------
    n_components_ : dict of str to int or None
        Number of components with which each model reaches `threshold`, or None if it does
        not. The dict is empty without a threshold.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    skae.compare : A table of held-out errors and R².

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skae.plotting import ExplainedVarianceDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> pca = PCA().fit(X)
    >>> display = ExplainedVarianceDisplay.from_estimator(pca, threshold=0.95)
    >>> display.n_components_
    {'PCA': 29}
    """

    def __init__(self, ratios, *, threshold=None):
        self.ratios = ratios
        self.threshold = threshold

    @classmethod
    def from_estimator(
        cls, estimator, X=None, *, threshold=None, name=None, ylim="auto", ax=None
    ):
        """Draw `explained_variance_ratio_` of an estimator, and that of PCA.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with `explained_variance_ratio_`, or a Pipeline that ends with
            one.
        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Training data, to which PCA is fitted after the earlier steps of a Pipeline, and
            in standardized units if the estimator standardizes. PCA takes no missing cells.
            Of frames with categories it is PCA of standardized numbers and scaled
            indicators, from which the estimator starts, see `skae.compare`.
            None draws the estimator alone.
        threshold : float in (0, 1), default=None
            See the class.
        name : str, default=None
            Name of the estimator. None stands for its class.
        ylim : "auto" or tuple of float, default="auto"
            See `plot`.
        ax : Axes, default=None
            Axes to draw on. None makes a figure.

        Returns
        -------
        display : ExplainedVarianceDisplay
            The display, which has been drawn.

        Raises
        ------
        TypeError
            If the estimator has no `explained_variance_ratio_`.
        ValueError
            If PCA would get missing cells.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        final = final_step(estimator)
        if not hasattr(final, "explained_variance_ratio_"):
            raise TypeError(
                f"{cls.__name__} draws explained_variance_ratio_, which "
                f"{type(final).__name__} does not have."
            )
        ratios = {}
        name = name_of(estimator) if name is None else name
        if X is not None:
            inputs = before_final(estimator, X)
            scale, reader = own_scale(final), reader_of(final)
            if reader is not None:
                inputs, scale = reader.columns.one_hot(reader.rows(inputs)), final.scale_
            spectrum = _spectrum(inputs, scale, cls.__name__)
            enough = np.searchsorted(np.cumsum(spectrum), threshold or 0) + 1
            shown = max(len(final.explained_variance_ratio_), enough)
            ratios["PCA" if name != "PCA" else "PCA of X"] = spectrum[:shown]
        ratios[name] = final.explained_variance_ratio_
        return cls(ratios, threshold=threshold).plot(ax, ylim=ylim)

    def plot(self, ax=None, *, ylim="auto"):
        """Draw the display.

        Parameters
        ----------
        ax : Axes, default=None
            Axes to draw on. None makes a figure.
        ylim : "auto" or tuple of float, default="auto"
            Lower and upper limit of the shares, such as (0, 1). "auto" is what shows the
            differences: the range of the shares, and down to zero if the smallest is
            less than half of the largest.

        Returns
        -------
        display : ExplainedVarianceDisplay
            This display.

        Raises
        ------
        ValueError
            If `threshold` is outside (0, 1).
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        share = self.threshold
        if share is not None and not 0 < share < 1:
            raise ValueError(
                f"threshold of {type(self).__name__} must be a share of the variance in "
                f"(0, 1) or None, got {share!r}."
            )
        ax = make_axes(ax, (1, 1), (4.2, 3.0), type(self).__name__)[0, 0]
        self.n_components_ = {}
        longest = max(map(len, self.ratios.values()))
        for place, (name, ratios) in enumerate(self.ratios.items()):
            kept = np.cumsum(ratios)
            last = place == len(self.ratios) - 1
            color = COLORS[0] if last else ["0.35", *COLORS[1:]][place]
            style = {"color": color, "ls": "-" if last else DASHES[place % len(DASHES)]}
            if longest <= 40:
                style |= {
                    "marker": MARKERS[place],
                    "ms": 4.5,
                    "mfc": color if last else "white",
                }
            if share is not None:
                self.n_components_[name] = self._mark(ax, kept, color)
            ax.plot(np.arange(1, len(kept) + 1), kept, lw=1.4, label=name, **style)
        if share is not None:
            label = f"{100 * share:g} % of the variance"
            ax.axhline(share, color="0.5", ls=":", lw=1.2, label=label, zorder=1)
            self._annotate(ax)
        ax.set(xlabel="components", ylabel="share of variance kept")
        ax.set(ylim=self._limits() if ylim == "auto" else ylim, xlim=(0.4, longest + 0.6))
        ax.xaxis.get_major_locator().set_params(integer=True)
        bare_frame(ax)
        legend_above(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _limits(self):
        """Return the limits of the vertical axis that show the differences."""
        drawn = [share for ratios in self.ratios.values() for share in np.cumsum(ratios)]
        drawn += [] if self.threshold is None else [self.threshold]
        low, high = min(drawn), max(drawn)
        low = 0.0 if low < high / 2 else low
        margin = 0.08 * (high - low or 1.0)
        return low - margin * (low > 0), high + margin

    def _mark(self, ax, kept, color):
        """Mark where the share is reached; return the number of components, or None."""
        # The tolerance is for rounding: the ratios of PCA may add up to 1 - 1e-16.
        reached = np.flatnonzero(kept >= self.threshold - 1e-12)
        if not reached.size:
            return None
        number = int(reached[0]) + 1
        ax.vlines(number, -1, kept[number - 1], color=color, lw=0.8, zorder=1)
        return number

    def _annotate(self, ax):
        """Write the numbers of components, and in the legend which model has none."""
        numbers = sorted({n for n in self.n_components_.values() if n is not None})
        for number in numbers:
            # The first number is on the left of its line, so that two do not meet.
            left = len(numbers) > 1 and number == numbers[0]
            ax.annotate(
                str(number),
                (number, 0),
                (-3 if left else 3, 3),
                xycoords=ax.get_xaxis_transform(),
                textcoords="offset points",
                ha="right" if left else "left",
                fontsize="small",
            )
        missing = [name for name, n in self.n_components_.items() if n is None]
        for line in ax.lines:
            if line.get_label() in missing:
                line.set_label(f"{line.get_label()} (does not reach it)")


def _spectrum(X, scale, owner):
    """Return the shares (m,) of variance of all components of PCA of X (n, p) / scale."""
    X = check_array(X, accept_sparse="csr", dtype=FLOATS, ensure_all_finite="allow-nan")
    if np.isnan(X.data if sparse.issparse(X) else X).any():
        raise ValueError(
            f"X of {owner} has missing cells, and PCA, which is drawn beside the "
            "estimator, takes none. Leave out X to draw the estimator alone, or fill the "
            "cells first, with SimpleImputer or with impute of an AutoencoderTransformer "
            "with allow_nan=True."
        )
    if scale is not None:
        X = X.multiply(1 / scale).tocsr() if sparse.issparse(X) else X / scale
    if not sparse.issparse(X):
        return PCA().fit(X).explained_variance_ratio_
    # The smaller of the two matrices of products has all variances, and X stays sparse.
    X = X.astype(np.float64)
    if X.shape[0] < X.shape[1]:
        products = (X @ X.T).toarray()
        means = products.mean(axis=0)
        products += means.mean() - means - means[:, None]
    else:
        means = np.asarray(X.mean(axis=0)).ravel()
        products = (X.T @ X).toarray() - X.shape[0] * np.outer(means, means)
    variances = np.clip(linalg.eigvalsh(products)[::-1], 0, None)
    return variances / variances.sum()
