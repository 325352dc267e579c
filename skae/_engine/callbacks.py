"""Progress of a fit: scikit-learn's callbacks, a line per epoch, a bar.

The one file that knows `sklearn.callback`, which is new in scikit-learn 1.9.
"""

import functools
import logging

from skae._engine.skorch_net import Callback, Interrupted

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:
        """An estimator without `set_callbacks`."""


__all__ = ["FIT_STATE", "CallbackSupportMixin", "FitTasks", "reports", "tell"]

# What scikit-learn keeps in an estimator while it is fitted, and needs after an error.
FIT_STATE = {"_callback_fit_ctx", "_skl_callbacks_to_teardown"}
logger = logging.getLogger("skae")


def ends_on_ctrl_c(method):
    """Let Ctrl-C end the fit; skorch takes it for a callback's request to stop training."""

    @functools.wraps(method)
    def wrapped(*args, **kwargs):
        try:
            return method(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            raise Interrupted from interrupt

    return wrapped


class FitTasks(Callback):
    """A fit and its epochs as tasks of the callbacks that `set_callbacks` was given.

    The fit is a task whose subtasks are epochs. Where it is a search that trains several
    networks, each of these is a subtask that has the epochs. Fewer epochs may come than
    were announced: scikit-learn's callbacks see the end of the task.

    Parameters
    ----------
    estimator : estimator
        Its `fit` runs within this context, and gives `callbacks` to the net.
    X : ndarray of shape (n_samples, n_features)
    y : object
        Handed to the callbacks with X.
    is_search : bool

    Attributes
    ----------
    callbacks : list of FitTasks
        This one, or nothing where there is nobody to tell.
    """

    def __init__(self, estimator, X, y=None, *, is_search=False):
        self.estimator, self.data = estimator, {"X": X, "y": y}
        self.is_search = is_search
        self.callbacks = [self] if getattr(estimator, "_skl_callbacks", None) else []
        self.open = []  # tasks, each a subtask of the one before

    def __copy__(self):
        return self  # the net copies its callbacks, but there is one fit to tell of

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
        # An epoch is left open where another callback has stopped training in it.
        while len(self.open) > 1:
            self._end()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        """Say that the estimator is fitted, and let go of it and of the data."""
        try:
            if self.callbacks and kind is None:
                if not self.open:  # nothing was to be trained
                    self._begin(0)
                self._end(reconstruction_attributes={})
        except Interrupted as interrupt:
            interrupt.is_kept = True
            raise
        finally:
            self.estimator = self.data = None
            self.callbacks, self.open = [], []

    @ends_on_ctrl_c
    def _begin(self, max_subtasks, name="fit"):
        if self.estimator is None:  # the user goes on with `net_` on his own
            return
        if self.open:
            task = self.open[-1].subcontext(name, max_subtasks=max_subtasks)
        else:
            task = self.estimator._init_callback_context(max_subtasks=max_subtasks)
        self.open.append(task)
        task.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    @ends_on_ctrl_c
    def _end(self, **params):
        """End the innermost task; whether a callback asks to stop."""
        if self.estimator is None:
            return False
        params |= self.data
        return self.open.pop().call_on_fit_task_end(estimator=self.estimator, **params)


def tell(line, verbose=1):
    """Log a line where the user has set up logging of such, else print it if verbose."""
    if logger.hasHandlers() and logger.isEnabledFor(logging.INFO):
        logger.info(line)
    elif verbose:
        print(line)


def reports(verbose, pca_error):
    """Callbacks that tell the user of epochs.

    Parameters
    ----------
    verbose : int
        0 is none, 1 a line per epoch, 2 or more a bar.
    pca_error : float
        Of `EpochLines`.
    """
    if not verbose:
        return []
    return [EpochLines(pca_error) if verbose == 1 else EpochBar(pca_error)]


class EpochLines(Callback):
    """A line per epoch: errors in the units of `score`, and seconds.

    Parameters
    ----------
    pca_error : float
        In these units, as those of the history are.
    """

    def __init__(self, pca_error):
        self.pca_error = pca_error

    def errors(self, epoch):
        """Named errors of an epoch of the history."""
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
    """A bar with the time that is left, and the errors of the last epoch."""

    bar = None

    @ends_on_ctrl_c
    def on_train_begin(self, net, **kwargs):
        from tqdm.auto import tqdm

        self.bar = tqdm(total=net.max_epochs, unit="epoch")

    @ends_on_ctrl_c
    def on_epoch_end(self, net, **kwargs):
        errors = self.errors(net.history[-1])
        figures = {name: f"{error:.4g}" for name, error in errors.items()}
        self.bar.set_postfix(figures, refresh=False)
        self.bar.update()

    @ends_on_ctrl_c
    def on_train_end(self, net, **kwargs):
        self.bar.total = self.bar.n  # training may have ended early
        self.bar.refresh()
        self.bar.close()
        self.bar = None
