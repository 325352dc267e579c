"""What becomes of an estimator whose fit fails."""

import contextlib

from skae._engine.callbacks import FIT_STATE
from skae._engine.skorch_net import Interrupted

__all__ = ["as_before_on_error"]


@contextlib.contextmanager
def as_before_on_error(estimator):
    """Return a context in which an error leaves the estimator as it was before.

    What scikit-learn's callbacks need stays. So does everything else if Ctrl-C has ended
    training and the best epoch so far is kept.
    """
    before = vars(estimator).copy()
    try:
        yield
    except BaseException as error:
        if not (isinstance(error, Interrupted) and error.is_kept):
            before |= {k: v for k, v in vars(estimator).items() if k in FIT_STATE}
            vars(estimator).clear()
            vars(estimator).update(before)
        raise
