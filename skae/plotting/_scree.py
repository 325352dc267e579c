"""ScreeDisplay: held-out error against the number of components."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skae._compat import check_matplotlib_support
from skae.metrics._errors import as_table, decoded, errors_by_feature_and_row, own_scale
from skae.metrics._metric import check_reconstructs
from skae.metrics._mixed import Mixed, reader_of
from skae.metrics._one_standard_error import numbers_of_components, scores_of_splits
from skae.plotting._drawing import (
    COLORS,
    MARKERS,
    as_dense,
    bare_frame,
    explain_powers,
    final_step,
    make_axes,
    name_of,
    shortened,
)
from skae.plotting._legends import legend_above

__all__ = ["ScreeDisplay"]


class ScreeDisplay:
    """Error of held-out rows against the number of components, with its standard error.

    The fewest components whose error is within one standard error of the smallest are
    marked (Breiman, Friedman, Olshen and Stone 1984, "Classification and Regression
    Trees", section 3.4.3). The error of reconstructed rows falls with every component, so
    that this rule hardly ever stops early. That of hidden cells does not, see
    `skae.metrics.make_hidden_cell_scorer`.

    Parameters
    ----------
    n_components : array-like of int of shape (n_fits,)
        Numbers of components.
    errors : array-like of shape (n_fits,)
        Errors of held-out rows.
    standard_errors : array-like of shape (n_fits,), default=None
        Standard errors of `errors`.
    name : str, default="held out"
        Name of the model, for the legend.
    error_name : str, default="error"
        Name of the error, for the label of the axis.

    Attributes
    ----------
    n_components_ : int
        The number of components that is marked. Without standard errors it is the number
        with the smallest error.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    skae.metrics.one_standard_error : The same rule for `refit` of a search.
    ExplainedVarianceDisplay : Shares of the variance of the training rows.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skae.metrics import make_hidden_cell_scorer
    >>> from skae.plotting import ScreeDisplay
    >>> X, _ = load_iris(return_X_y=True)
    >>> scorer = make_hidden_cell_scorer()
    >>> search = GridSearchCV(PCA(), {"n_components": [1, 2, 3]}, scoring=scorer).fit(X)
    >>> ScreeDisplay.from_cv_results(search.cv_results_).n_components_
    2
    """

    def __init__(
        self,
        n_components,
        errors,
        *,
        standard_errors=None,
        name="held out",
        error_name="error",
    ):
        self.n_components = n_components
        self.errors = errors
        self.standard_errors = standard_errors
        self.name = name
        self.error_name = error_name

    @classmethod
    def from_estimator(cls, estimator, X, *, name=None, ax=None):
        """Draw the error of one fit for each number of first codes.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator, or a Pipeline that ends with one: an autoencoder with
            `ordered=True`, which decodes its first codes without the others. For other
            estimators, such as PCA, the other codes are at their mean.
        X : array-like of shape (n_samples, n_features)
            Rows that were not in `fit`. The standard error is over these rows.
        name : str, default=None
            Name of the model. None stands for the class of the estimator.
        ax : Axes, default=None
            See `plot`.

        Returns
        -------
        display : ScreeDisplay
            The display, which has been drawn.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_reconstructs(estimator)
        check_is_fitted(estimator)
        Z, scale = as_dense(estimator.transform(X)), own_scale(estimator)
        rows, decode = _rows_and_decoder(estimator, X)
        params = getattr(final_step(estimator), "_params_of_fit", {})
        numbers, means, errors = np.arange(1, Z.shape[1] + 1), Z.mean(axis=0), []
        for k in numbers:
            known = Z[:, :k]
            if not params.get("ordered", False):
                known = np.where(numbers <= k, Z, means)
            errors.append(_errors_of_rows(rows, decode(known), scale))
        return cls._from_rows(numbers, errors, name or name_of(estimator), scale, ax)

    @classmethod
    def from_estimators(cls, estimators, X, *, name=None, ax=None):
        """Draw the errors of several fits with different numbers of components.

        Parameters
        ----------
        estimators : sequence of estimators
            Fitted estimators with `transform` and `inverse_transform`.
        X : array-like of shape (n_samples, n_features)
            Rows that were not in `fit`. The standard error is over these rows.
        name : str, default=None
            Name of the models. None stands for the class of the first.
        ax : Axes, default=None
            See `plot`.

        Returns
        -------
        display : ScreeDisplay
            The display, which has been drawn.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimators")
        numbers, errors = [], []
        for estimator in estimators:
            check_reconstructs(estimator)
            check_is_fitted(estimator)
            Z, scale = estimator.transform(X), own_scale(estimator)
            rows, decode = _rows_and_decoder(estimator, X)
            numbers.append(np.shape(Z)[1])
            errors.append(_errors_of_rows(rows, decode(Z), scale))
        return cls._from_rows(numbers, errors, name or name_of(estimator), scale, ax)

    @classmethod
    def from_cv_results(cls, cv_results, *, score="score", name="held out", ax=None):
        """Draw the results of a search over `n_components`.

        Parameters
        ----------
        cv_results : dict of arrays
            The attribute `cv_results_` of a `GridSearchCV` or another search. Of several
            candidates with the same number of components the best is drawn. The standard
            error is over the splits.
        score : str, default="score"
            Name of the score, of which the error is the negative.
        name : str, default="held out"
            Name of the model.
        ax : Axes, default=None
            See `plot`.

        Returns
        -------
        display : ScreeDisplay
            The display, which has been drawn.

        Raises
        ------
        ValueError
            If there is no such score, or if the search is not over numbers of components.
        """
        check_matplotlib_support(f"{cls.__name__}.from_cv_results")
        if f"mean_test_{score}" not in cv_results:
            raise ValueError(
                f"score of {cls.__name__} must be the name of a score of the search, got "
                f"{score!r}."
            )
        numbers = numbers_of_components(cv_results)
        errors = -scores_of_splits(cv_results, score)  # (n_splits, n_candidates)
        means = errors.mean(axis=0)
        kinds = np.unique(numbers)
        best = [np.where(numbers == k, means, np.inf).argmin() for k in kinds]
        spread = errors[:, best].std(axis=0, ddof=1) / np.sqrt(len(errors))
        words = "minus the score" + f" ({score})" * (score != "score")
        params = {"standard_errors": spread, "name": name, "error_name": words}
        return cls(kinds, means[best], **params).plot(ax)

    @classmethod
    def _from_rows(cls, numbers, errors, name, scale, ax):
        """Draw the errors of the rows of each fit."""
        errors = np.array(errors)[np.argsort(numbers, kind="stable")]
        spread = np.nanstd(errors, axis=1, ddof=1) / np.sqrt(errors.shape[1])
        words = "mean squared error" + (", standardized" if scale is not None else "")
        words = "mean loss (best constants: 1)" if isinstance(scale, Mixed) else words
        params = {"standard_errors": spread, "name": name, "error_name": words}
        return cls(np.sort(numbers), np.nanmean(errors, axis=1), **params).plot(ax)

    def plot(self, ax=None):
        """Draw the display.

        Parameters
        ----------
        ax : Axes, default=None
            Axes to draw on, which may have the curve of another model. None makes a figure.

        Returns
        -------
        display : ScreeDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        ax = make_axes(ax, (1, 1), (4.2, 3.5), type(self).__name__)[0, 0]
        taken = len(ax.containers)  # curves of other models on the same Axes
        color, marker = COLORS[taken % len(COLORS)], MARKERS[taken % len(MARKERS)]
        numbers, errors = np.asarray(self.n_components), np.asarray(self.errors)
        style = {"color": color, "marker": marker, "ms": 4, "lw": 1.3, "capsize": 2.5}
        spread = self.standard_errors
        ax.errorbar(numbers, errors, spread, label=shortened(self.name, 30), **style)
        best = np.nanargmin(errors)
        limit = errors[best] + (0.0 if spread is None else spread[best])
        self.n_components_ = int(numbers[errors <= limit].min())
        chosen = errors[numbers == self.n_components_].min()
        ring = {"marker": "o", "ms": 10, "mfc": "none", "mew": 1.4, "ls": "none"}
        rule = "smallest" if spread is None else "within one standard error"
        label = f"{self.n_components_}: {rule}"
        ax.plot(self.n_components_, chosen, color=color, label=label, zorder=3, **ring)
        if spread is not None:
            ax.axhline(limit, color=color, ls=":", lw=0.9, zorder=1)
        ax.set(xlabel="components", ylabel=self.error_name)
        ax.xaxis.get_major_locator().set_params(integer=True)
        bare_frame(ax)
        explain_powers(ax)
        handles, labels = ax.get_legend_handles_labels()  # the rings of all models first
        order = np.arange(len(labels)).reshape(2, -1)[::-1].T.ravel()
        legend_above(ax, [handles[i] for i in order], [labels[i] for i in order])
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _rows_and_decoder(estimator, X):
    """Return X as a table, and a function that decodes codes of its rows."""
    reader = reader_of(estimator)
    if reader is not None:
        return reader.rows(X), reader.decode
    return as_table(X), lambda Z: as_dense(decoded(estimator, Z, X))


def _errors_of_rows(rows, X_hat, scale):
    """Return the mean squared error, or the mean loss of mixed columns, of each row."""
    return errors_by_feature_and_row([(rows, X_hat)], "squared_error", scale)[1]
