"""The time at which training has to end."""

import time

__all__ = ["Deadline"]

clock = time.monotonic


class Deadline:
    """The time at which training has to end, so many seconds after this object is made.

    Parameters
    ----------
    seconds : float or None, default=None
        None is never.
    """

    def __init__(self, seconds=None):
        self.end = float("inf") if seconds is None else clock() + seconds

    @property
    def seconds_left(self):
        """Number of seconds until then; negative afterwards, and infinite for never."""
        return self.end - clock()

    @property
    def is_over(self):
        """Whether that time has come."""
        return clock() >= self.end
