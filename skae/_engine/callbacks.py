"""Reports of the progress of a fit: scikit-learn's callbacks, printed lines, and a bar.

No other file uses `sklearn.callback`, which is new in scikit-learn 1.9.
"""

import functools
import logging
import math
from statistics import fmean

from skae._engine.skorch_net import Callback, Interrupted

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:
        """An estimator without `set_callbacks`."""


__all__ = ["FIT_STATE", "CallbackSupportMixin", "FitTasks", "reports", "tell"]

# Attributes that scikit-learn sets during a fit, and needs after an error.
FIT_STATE = {"_callback_fit_ctx", "_skl_callbacks_to_teardown"}
logger = logging.getLogger("skae")


def ends_on_ctrl_c(method):
    """Decorate a method so that Ctrl-C in it ends the fit.

    Otherwise skorch takes the KeyboardInterrupt for a callback's request to end training.
    """

    @functools.wraps(method)
    def wrapped(*args, **kwargs):
        try:
            return method(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            raise Interrupted from interrupt

    return wrapped


class FitTasks(Callback):
    """Reports a fit and its epochs as tasks to the callbacks of `set_callbacks`.

    The fit is a task, and its epochs are subtasks. In a search, which trains several
    networks, the training of each network is a subtask and has the epochs as subtasks.
    There may be fewer epochs than were announced, because scikit-learn's callbacks are told
    the end of a task.

    Parameters
    ----------
    estimator : estimator
        The estimator, whose `fit` runs within this context and passes `callbacks` to the
        net.
    X : ndarray of shape (n_samples, n_features)
        Rows, which are passed to the callbacks.
    y : object
        Argument `y` of `fit`, which is passed to the callbacks.
    is_search : bool
        Whether several networks are trained.

    Attributes
    ----------
    callbacks : list of FitTasks
        This object, or an empty list if the estimator has no callbacks.
    """

    def __init__(self, estimator, X, y=None, *, is_search=False):
        self.estimator, self.data = estimator, {"X": X, "y": y}
        self.is_search = is_search
        self.callbacks = [self] if getattr(estimator, "_skl_callbacks", None) else []
        self.open = []  # tasks that have not ended, each a subtask of the one before

    def __copy__(self):
        return self  # the net copies its callbacks, but there is only one fit

    def __deepcopy__(self, memo):
        return self

    def on_train_begin(self, net, **kwargs):
        if not self.is_search:
            self._begin(net.max_epochs)
            return
        if not self.open:
            self._begin(None)
        self._begin(net.max_epochs, "train")

    def on_epoch_begin(self, net, **kwargs):
        self._begin(0, "epoch")

    def on_epoch_end(self, net, **kwargs):
        if self._end():
            raise KeyboardInterrupt  # skorch's way to ask for the end of training

    def on_train_end(self, net, **kwargs):
        # If another callback has ended training within an epoch, the epoch is still open.
        while len(self.open) > 1:
            self._end()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        """Report that the estimator is fitted, and drop it and the data."""
        try:
            if self.callbacks and kind is None:
                if not self.open:  # there was nothing to train
                    self._begin(0)
                self._end(reconstruction_attributes={})
        except Interrupted as interrupt:
            interrupt.is_kept = self.estimator.warm_start
            raise
        finally:
            self.estimator = self.data = None
            self.callbacks, self.open = [], []

    @ends_on_ctrl_c
    def _begin(self, max_subtasks, name="fit"):
        """Begin a task within the innermost task that has not ended."""
        if self.estimator is None:  # the fit is over, but the user calls methods of `net_`
            return
        if self.open:
            task = self.open[-1].subcontext(name, max_subtasks=max_subtasks)
        else:
            task = self.estimator._init_callback_context(max_subtasks=max_subtasks)
        self.open.append(task)
        task.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    @ends_on_ctrl_c
    def _end(self, **params):
        """End the innermost task; return whether a callback wants training to end."""
        if self.estimator is None:
            return False
        params |= self.data
        return self.open.pop().call_on_fit_task_end(estimator=self.estimator, **params)


def tell(line, verbose=1):
    """Log a line if the user has set up logging for it, else print it if verbose."""
    if logger.hasHandlers() and logger.isEnabledFor(logging.INFO):
        logger.info(line)
    elif verbose:
        print(line)


def reports(verbose, pca_error):
    """Return the callbacks that report epochs to the user.

    Parameters
    ----------
    verbose : int
        Parameter of estimators: 0 is no report, 1 a line for each epoch, 2 or more a bar.
    pca_error : float
        See `EpochLines`.
    """
    if not verbose:
        return []
    return [EpochLines(pca_error) if verbose == 1 else EpochBar(pca_error)]


class EpochLines(Callback):
    """Prints or logs a line for each epoch: errors in the units of `score`, and seconds.

    Parameters
    ----------
    pca_error : float
        Error of PCA, in the units of `score`, which are also those of the history.
    """

    def __init__(self, pca_error):
        self.pca_error = pca_error

    def errors(self, epoch):
        """Return a dict of names and errors of an epoch of the history."""
        errors = {"training": epoch["train_loss"]}
        if "valid_loss" in epoch:
            errors["held out"] = epoch["valid_loss"]
        return errors | {"PCA": self.pca_error}

    @ends_on_ctrl_c
    def on_epoch_end(self, net, **kwargs):
        epoch = net.history[-1]
        errors = self.errors(epoch)
        if len(net.history) == 1:
            tell("epoch" + "".join(f"{name:>12}" for name in errors) + "   seconds")
        figures = "".join(f"{error:>12.5g}" for error in errors.values())
        tell(f"{epoch['epoch']:>5}{figures}{epoch['dur']:>10.3f}")


class EpochBar(EpochLines):
    """Draws a bar with the remaining time and the errors of the last epoch."""

    bar = None

    @ends_on_ctrl_c
    def on_train_begin(self, net, **kwargs):
        from tqdm.auto import tqdm

        self.bar = tqdm(total=net.max_epochs, unit="epoch")

    @ends_on_ctrl_c
    def on_epoch_end(self, net, **kwargs):
        errors = self.errors(net.history[-1])
        figures = {name: f"{error:.4g}" for name, error in errors.items()}
        self.bar.total = self._expected(net)
        self.bar.set_postfix(figures, refresh=False)
        self.bar.update()

    @staticmethod
    def _expected(net):
        """Return the number of epochs that there is time for, but at most `max_epochs`."""
        n_epochs = len(net.history)
        left = net.deadline.seconds_left / fmean(epoch["dur"] for epoch in net.history)
        return n_epochs + math.ceil(max(0.0, min(left, net.max_epochs - n_epochs)))

    @ends_on_ctrl_c
    def on_train_end(self, net, **kwargs):
        self.bar.total = self.bar.n  # training may have ended before `max_epochs`
        self.bar.refresh()
        self.bar.close()
        self.bar = None
