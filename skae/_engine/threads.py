"""How many threads a step is given: those that it is faster with now."""

import time

import torch

__all__ = ["Pace"]

TRIAL = 0.05  # seconds that the other number of threads is tried for
SHORTEST, LONGEST = 0.5, 5.0  # seconds between two trials


class Pace:
    """Steps with all threads or with one, whichever takes less time at the moment.

    Where other processes use the cores too, a thread that has lost its core keeps the
    others waiting at the end of every product, and OpenMP waits busily: on two cores
    with load for four, steps with two threads took 2 to 4 times as long as with one, and
    3 to 4 times its processor time. What the load is like, only time tells. So now and
    then some steps are taken with the other number of threads, seldomer while the
    outcome is that of the last time. Products of a few rows are rounded otherwise with
    another number of threads, all others are the same to the bit.
    """

    def __init__(self):
        self.n_threads, self.other = torch.get_num_threads(), 1
        self.is_trial, self.rest = False, SHORTEST
        self.left = SHORTEST  # seconds until the next trial
        self.spent, self.n_steps = 0.0, 0
        self.seconds = None  # of a step before the trial

    def of(self, batches):
        """The batches; how long each is worked on is what is timed, not its making."""
        torch.set_num_threads(self.n_threads)
        for batch in batches:
            start = time.perf_counter()
            yield batch
            self._note(time.perf_counter() - start)

    def _note(self, seconds):
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
        """End a trial; what is faster stays."""
        self.is_trial = False
        self.rest = SHORTEST if is_faster else min(2 * self.rest, LONGEST)
        self.left = self.rest
        if not is_faster:
            self._switch()

    def _switch(self):
        self.n_threads, self.other = self.other, self.n_threads
        torch.set_num_threads(self.n_threads)
