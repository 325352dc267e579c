"""LossCurveDisplay: errors in the epochs of training."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skae._compat import check_matplotlib_support
from skae._tables.categories import columns_of
from skae.plotting._drawing import (
    COLORS,
    bare_frame,
    explain_powers,
    final_step,
    make_axes,
    shortened,
)
from skae.plotting._legends import legend_above

__all__ = ["LossCurveDisplay"]


class LossCurveDisplay:
    """Errors of an autoencoder in the epochs of its training.

    Parameters
    ----------
    loss_curve : array-like of shape (n_iter,)
        Mean training loss in the epochs 1 to n_iter. It may be empty.
    validation_curve : array-like of shape (n_iter + 1,)
        Loss of held-out rows in the epochs 0 to n_iter, where epoch 0 is the untrained
        model. It may be empty.
    pca_error : float, default=None
        Loss of PCA with the same number of components.
    best_epoch : int, default=None
        Epoch whose weights were kept; 0 is PCA.
    loss : str, callable or dict, default="squared_error"
        Loss, as estimators take it, for the label of the axis.
    name : str, default=None
        Name of the model, which precedes the words of the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : Scores over the number of rows.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import LossCurveDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> ae = AutoencoderTransformer(2, max_epochs=3, random_state=0).fit(X)
    >>> display = LossCurveDisplay.from_estimator(ae)
    >>> display.ax_.get_xlabel()
    'epoch'
    """

    def __init__(
        self,
        loss_curve,
        validation_curve,
        *,
        pca_error=None,
        best_epoch=None,
        loss="squared_error",
        name=None,
    ):
        self.loss_curve = loss_curve
        self.validation_curve = validation_curve
        self.pca_error = pca_error
        self.best_epoch = best_epoch
        self.loss = loss
        self.name = name

    @classmethod
    def from_estimator(cls, estimator, X=None, *, name=None, yscale="auto", ax=None):
        """Draw the curves of a fitted autoencoder.

        Parameters
        ----------
        estimator : estimator
            Fitted autoencoder, or a Pipeline that ends with one.
        X : None
            Ignored, because the curves were stored by `fit`.
        name : str, default=None
            Name of the model, which precedes the words of the legend. It is for several
            models on the same `ax`.
        yscale : {"auto", "log", "linear"}, default="auto"
            See `plot`.
        ax : Axes, default=None
            Axes to draw on. None makes a figure.

        Returns
        -------
        display : LossCurveDisplay
            The display, which has been drawn.

        Raises
        ------
        TypeError
            If the estimator stores no curves.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        final = final_step(estimator)
        if not (hasattr(final, "loss_curve_") and hasattr(final, "validation_curve_")):
            raise TypeError(
                f"{cls.__name__} draws loss_curve_ and validation_curve_, which "
                f"{type(final).__name__} does not have. Pass a fitted autoencoder of skae."
            )
        loss, columns = final._params_of_fit["loss"], columns_of(final)
        display = cls(
            final.loss_curve_,
            final.validation_curve_,
            pca_error=-final.pca_score_,
            best_epoch=final.best_epoch_,
            loss=loss if columns is None else columns.terms(loss),
            name=name,
        )
        return display.plot(ax, yscale=yscale)

    def plot(self, ax=None, *, yscale="auto"):
        """Draw the display.

        Parameters
        ----------
        ax : Axes, default=None
            Axes to draw on. None makes a figure.
        yscale : {"auto", "log", "linear"}, default="auto"
            Scale of the vertical axis. "auto" is logarithmic if the smallest value is
            positive and the largest is more than 4 times the smallest.

        Returns
        -------
        display : LossCurveDisplay
            This display.

        Raises
        ------
        ValueError
            If `yscale` is none of these.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if yscale not in ("auto", "log", "linear"):
            raise ValueError(
                f"yscale of {type(self).__name__}.plot must be 'auto', 'log' or "
                f"'linear', got {yscale!r}."
            )
        ax = make_axes(ax, (1, 1), (4.2, 3.0), type(self).__name__)[0, 0]
        taken = len(ax.lines)  # lines of another model on the same Axes
        color = COLORS[min(taken, 1)]
        before = "" if self.name is None else f"{shortened(self.name)}, "
        train, held_out = np.asarray(self.loss_curve), np.asarray(self.validation_curve)
        if train.size:
            epochs = np.arange(1, train.size + 1)
            dashed = {"color": color, "ls": ":", "lw": 1.6, "label": f"{before}training"}
            ax.plot(epochs, train, **dashed, marker="." if train.size == 1 else None)
        if held_out.size > 1:
            ax.plot(held_out, color=color, lw=1.6, label=f"{before}held out")
        if self.pca_error is not None:
            ax.axhline(self.pca_error, color="0.35", ls="--", lw=1.2, label=f"{before}PCA")
        self._mark_best(ax, held_out, color, before)
        self._scale(ax, yscale, [*train, *held_out, self.pca_error])
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set(xlabel="epoch", ylabel=f"{_in_words(self.loss)} per feature")
        bare_frame(ax)
        explain_powers(ax)
        legend_above(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _mark_best(self, ax, held_out, color, before):
        """Mark the epoch that was kept, or write that the model was not trained."""
        best = self.best_epoch
        if held_out.size > 1 and best is not None:
            kept = "PCA" if best == 0 else f"epoch {best}"
            style = {
                "ls": "none",
                "marker": "o",
                "ms": 8,
                "mfc": "none",
                "mew": 1.6,
                "color": color,
            }
            label = f"{before}kept: {kept}"
            ax.plot(best, held_out[best], label=label, clip_on=False, zorder=3, **style)
        elif not len(self.loss_curve):
            text = f"{before}not trained: the model is PCA"
            ax.text(0.5, 0.6, text, transform=ax.transAxes, ha="center", fontsize="small")
            ax.set(xlim=(0, 1), ylim=(0, 2 * self.pca_error if self.pca_error else 1))

    @staticmethod
    def _scale(ax, yscale, values):
        """Set the scale of the vertical axis."""
        values = [value for value in values if value is not None]
        low, high = min(values, default=1), max(values, default=1)
        if yscale == "auto":
            yscale = "log" if 0 < 4 * low < high else "linear"
        ax.set_yscale(yscale)


def _in_words(loss):
    """Return the name of a loss, if it has one, for the label of an axis."""
    if isinstance(loss, dict):
        return "mixed loss"
    loss = getattr(loss, "func", loss)  # the function in a functools.partial
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    return name.replace("_", " ") if name.isidentifier() else "loss"
