"""OutlierDisplay: residuals against score distances, and the contributions of one row."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skae._compat import check_matplotlib_support
from skae.plotting._drawing import (
    CATEGORY,
    COLORS,
    PAPER,
    bare_frame,
    before_final,
    categorical_of,
    explain_powers,
    feature_names_of,
    few_ticks,
    final_step,
    keep_label_inside,
    make_axes,
    mask_of,
    name_bars,
    shortened,
)
from skae.plotting._legends import legend_above

__all__ = ["OutlierDisplay"]

N_POINTS = 200  # on the curve of the limit
ABOVE, BELOW = COLORS[1], COLORS[0]


class OutlierDisplay:
    """Residuals against score distances on the left, contributions of one row on the right.

    Rows beyond the curve are alarms. Those above the others do not follow the rules of the
    training rows; those to the right of the others follow them at a place where there were
    no training rows.

    Parameters
    ----------
    distances : ndarray of shape (n_samples, 2)
        Residuals and score distances, see `AutoencoderOutlierDetector.distances`.
    is_alarm : ndarray of bool of shape (n_samples,)
        Whether a row is an alarm.
    limit : ndarray of shape (n_points, 2)
        Residuals and score distances on the limit.
    contributions : ndarray of shape (n_features,)
        How much each feature adds to the score of one row.
    residuals : ndarray of shape (n_features,)
        Differences of that row from its reconstruction.
    row : int
        Position of that row.
    alarm_rate : float
        Share of normal rows beyond the limit.
    feature_names : array-like of str of shape (n_features,), default=None
        Names of the features. None stands for x0, x1, ...
    row_name : object, default=None
        Name of the row. None stands for its position.
    is_categorical : array-like of bool of shape (n_features,), default=None
        Which features hold categories, which are neither above nor below. None stands for
        numbers alone.

    Attributes
    ----------
    axes_ : ndarray of Axes of shape (1, 2)
    figure_ : matplotlib Figure

    See Also
    --------
    skae.AutoencoderOutlierDetector : The detector, with the same numbers.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skae import AutoencoderOutlierDetector
    >>> from skae.plotting import OutlierDisplay
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> detector = AutoencoderOutlierDetector(random_state=0).fit(X[y == 0])
    >>> display = OutlierDisplay.from_estimator(detector, X[y < 2])
    >>> display.distances.shape
    (100, 2)
    """

    def __init__(
        self,
        distances,
        is_alarm,
        limit,
        contributions,
        residuals,
        *,
        row,
        alarm_rate,
        feature_names=None,
        row_name=None,
        is_categorical=None,
    ):
        self.distances = distances
        self.is_alarm = is_alarm
        self.limit = limit
        self.contributions = contributions
        self.residuals = residuals
        self.row = row
        self.alarm_rate = alarm_rate
        self.feature_names = feature_names
        self.row_name = row_name
        self.is_categorical = is_categorical

    @classmethod
    def from_estimator(cls, estimator, X, *, row=None, alarm_rate=0.05, n_bars=10, ax=None):
        """Draw the rows of X.

        Parameters
        ----------
        estimator : estimator
            Fitted `AutoencoderOutlierDetector`, or a Pipeline that ends with one.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows. The index of a pandas frame gives their names.
        row : int or None, default=None
            Position of the row whose contributions are drawn. None is the row with the
            lowest score.
        alarm_rate : float in (0, 1), default=0.05
            Share of normal rows beyond the limit.
        n_bars : int, default=10
            See `plot`.
        ax : Axes or array of Axes, default=None
            See `plot`.

        Returns
        -------
        display : OutlierDisplay
            The display, which has been drawn.

        Raises
        ------
        TypeError
            If the estimator is not a detector with residuals and contributions.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        detector, name = final_step(estimator), type(estimator).__name__
        if not hasattr(detector, "residual_limit"):
            raise TypeError(
                f"estimator of {cls.__name__} must be an AutoencoderOutlierDetector, or a "
                f"Pipeline that ends with one, got {name}."
            )
        names, index = feature_names_of(X, estimator), getattr(X, "index", None)
        X = before_final(estimator, X)
        distances, scores = detector.distances(X), detector.score_samples(X)
        row = int(np.argmin(scores)) if row is None else row
        one = X.iloc[[row]] if hasattr(X, "iloc") else X[[row]]
        grid = _grid(np.concatenate([distances[:, 1], detector.held_out_distances_[:, 1]]))
        display = cls(
            distances,
            detector.p_values(X) <= alarm_rate,
            np.column_stack([detector.residual_limit(grid, alarm_rate), grid]),
            np.ravel(detector.contributions(one)),
            np.ravel(detector.residuals(one)),
            row=row,
            alarm_rate=alarm_rate,
            feature_names=names,
            row_name=None if index is None else index[row],
            is_categorical=categorical_of(detector),
        )
        return display.plot(ax, n_bars=n_bars)

    def plot(self, ax=None, *, n_bars=10):
        """Draw the display.

        Parameters
        ----------
        ax : Axes or array of Axes, default=None
            One Axes, whose place is divided, or two Axes. None makes a figure.
        n_bars : int, default=10
            Largest number of bars, one for each feature.

        Returns
        -------
        display : OutlierDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        n_bars = min(n_bars, len(self.contributions))
        size = PAPER, max(3.2, 0.9 + 0.2 * n_bars)
        self.axes_ = make_axes(ax, (1, 2), size, type(self).__name__)
        self.figure_ = self.axes_[0, 0].figure
        self._draw_rows(self.axes_[0, 0])
        self._draw_bars(self.axes_[0, 1], n_bars)
        return self

    def _name(self):
        return self.row if self.row_name is None else self.row_name

    def _draw_rows(self, ax):
        least = _smallest(self.distances)
        residual, distance = np.maximum(self.distances, least).T
        groups = [
            (~self.is_alarm, "o", "0.55", "normal"),
            (self.is_alarm, "v", COLORS[1], "alarm"),
        ]
        for rows, marker, color, label in groups:
            style = {"marker": marker, "ls": "none", "ms": 3.5, "mew": 0, "alpha": 0.7}
            ax.plot(distance[rows], residual[rows], color=color, label=label, **style)
        on_curve = self.limit[:, 0] > 0
        curve = self.limit[on_curve]
        label = f"{100 * self.alarm_rate:g} % of normal rows beyond"
        ax.plot(curve[:, 1], np.maximum(curve[:, 0], least[0]), "k--", lw=1, label=label)
        place = distance[self.row], residual[self.row]
        ring = {"marker": "o", "ls": "none", "ms": 9, "mfc": "none", "mec": "black"}
        ax.plot(*place, **ring, label=f"row {shortened(self._name())}")
        ax.set(xscale="log", yscale="log", xlabel="score distance", ylabel="residual")
        bare_frame(ax)
        legend_above(ax)

    def _draw_bars(self, ax, n_bars):
        names = self.feature_names
        if names is None:
            names = [f"x{j}" for j in range(len(self.contributions))]
        order = np.argsort(-self.contributions, kind="stable")[:n_bars]
        name_bars(ax, [names[j] for j in order])
        is_above = np.nan_to_num(self.residuals[order]) >= 0
        kinds = mask_of(self.is_categorical, len(names))
        is_number = ~kinds[order]
        places = np.arange(n_bars)
        for chosen, color, hatch, label in [
            (is_above & is_number, ABOVE, None, "value above its reconstruction"),
            (~is_above & is_number, BELOW, "////", "value below it"),
            (~is_number, CATEGORY, "....", "category"),
        ]:
            style = {"color": color, "hatch": hatch, "ec": "white", "lw": 0, "height": 0.7}
            if chosen.any():
                found = self.contributions[order][chosen]
                ax.barh(places[chosen], found, **style, label=label)
        ax.set(ylim=(n_bars - 0.4, -0.6), xlim=(0, None))
        note = f"\nthe {n_bars} largest of {len(names)} features" * (n_bars < len(names))
        ax.set_xlabel(f"contribution\nrow {shortened(self._name())}{note}")
        few_ticks(ax)
        bare_frame(ax)
        explain_powers(ax)
        keep_label_inside(ax)
        legend_above(ax)


def _smallest(distances):
    """Return the smallest positive residual and score distance, for logarithmic axes."""
    positive = np.where(distances > 0, distances, np.inf).min(axis=0)
    return np.where(np.isfinite(positive), positive, 1.0)


def _grid(distances):
    """Return evenly spaced logarithms between the extremes of positive distances."""
    least = _smallest(distances[:, None])[0]
    return np.geomspace(least, max(distances.max(), 2 * least), N_POINTS)
