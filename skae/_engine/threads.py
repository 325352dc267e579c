"""Chooses the number of threads with which a training step is faster at the moment."""

import time

import torch

__all__ = ["Pace"]

TRIAL = 0.05  # seconds for which the other number of threads is tried
SHORTEST, LONGEST = 0.5, 5.0  # seconds between two trials


class Pace:
    """Takes steps with all threads or with one, whichever is faster at the moment.

    If other processes use the cores too, a thread that has lost its core makes the others
    wait at the end of every product, and OpenMP waits busily. On two cores with work for
    four, steps with two threads took 2 to 4 times as long as steps with one, and 3 to 4
    times the processor time. The load can only be found out by measuring. Therefore some
    steps are taken now and then with the other number of threads, less often as long as
    the result does not change. With another number of threads products of a few rows are
    rounded differently; all other products have the same bits.
    """

    def __init__(self):
        self.n_threads, self.other = torch.get_num_threads(), 1
        self.is_trial, self.rest = False, SHORTEST
        self.left = SHORTEST  # seconds until the next trial
        self.spent, self.n_steps = 0.0, 0
        self.seconds = None  # time of a step before the trial

    def of(self, batches):
        """Yield the batches, and measure the time between one and the next.

        The time that it takes to make a batch is left out.
        """
        torch.set_num_threads(self.n_threads)
        for batch in batches:
            start = time.perf_counter()
            yield batch
            self._note(time.perf_counter() - start)

    def _note(self, seconds):
        """Take the time of a step into account, and begin or end a trial."""
        self.spent += seconds
        self.n_steps += 1
        self.left -= seconds
        if self.spent < TRIAL:
            return
        seconds = self.spent / self.n_steps
        self.spent = self.n_steps = 0
        if self.is_trial:
            self._judge(seconds < self.seconds)
        elif self.left <= 0:
            self.seconds, self.is_trial = seconds, True
            self._switch()

    def _judge(self, is_faster):
        """End a trial and keep the faster number of threads."""
        self.is_trial = False
        self.rest = SHORTEST if is_faster else min(2 * self.rest, LONGEST)
        self.left = self.rest
        if not is_faster:
            self._switch()

    def _switch(self):
        """Go on with the other number of threads."""
        self.n_threads, self.other = self.other, self.n_threads
        torch.set_num_threads(self.n_threads)
