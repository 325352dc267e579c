"""Compares networks on the held-out rows of a stream."""

import numpy as np

from skae._engine.epoch_choice import Choice
from skae._engine.objective import Objective
from skae._training.linear_start import hold
from skae._training.member_rows import member_rows
from skae._training.streamed_network import members_of
from skae._training.truncation import cuts_of

__all__ = ["Judge"]

# Standard errors by which a network must be better than PCA. It is more than in a fit,
# because networks are compared again after every round.
MARGIN = 2.25
MOST_ASKED = 4096  # largest number of other rows, if no rows are held out


class Judge:
    """Compares networks on held-out rows, in one frame.

    Parameters
    ----------
    memory : Memory
        As long as no rows are held out, its other rows are used.
    frame : Frame
    start : Start
    tools : Tools
    seed : int
    """

    def __init__(self, memory, frame, start, tools, seed):
        rows = memory.judges.rows if memory.has_judges else memory.some(MOST_ASKED)
        self.frame, self.loss, self.keys = frame, tools.loss, rows.keys
        self.n_independent = memory.n_independent
        members = members_of(rows, frame, tools, start)
        self.rows, _ = member_rows(members, tools.loss, tools.device, False)
        self.weights, self.sizes = members.table.weights, members.table.exposures
        settings = tools.settings_in(frame, tools.units(rows, frame))
        self.margin = MARGIN if settings.from_pca else 0.0
        self.objective = Objective(
            hold(tools.loss, members.table.ends),
            cuts=cuts_of(settings.n_components) if settings.ordered else (None,),
            corruption=settings.corruption(seed, tools.device),
            unit=settings.unit / members.table.observed_share(),
        )

    def errors(self, network):
        """Return the errors (n_cuts, n_rows) of a FramedNetwork."""
        module = network.at(self.frame, self.loss).module
        return self.objective.row_errors(module, self.rows, network.holds)

    def mean(self, errors):
        """Return the mean of the errors with all codes, in the units of `score`."""
        mean = np.average(errors[-1], weights=self.weights)
        return self.objective.unit * float(mean)

    def best(self, reference, kept, trained):
        """Return which of three networks is to be the outcome, as 0, 1 or 2.

        Parameters
        ----------
        reference : ndarray of shape (n_cuts, n_rows)
            Errors of the network that is the outcome if neither of the others is better.
        kept : ndarray of shape (n_cuts, n_rows) or None
            Errors of the network that was the outcome before, for which it is enough to be
            better on average.
        trained : ndarray of shape (n_cuts, n_rows) or None
            Errors of a network whose gain must be certain.
        """
        choice = Choice(
            reference,
            margin=0.0,
            allow_start=True,
            patience=1,
            tol=0.0,
            weights=self.weights,
            groups=self.keys,
            n_seen=self.n_independent,
            sizes=self.sizes,
        )
        nothing = np.full_like(reference, np.nan)  # is never chosen
        choice.see(nothing if kept is None else kept, [])
        choice.margin = self.margin
        choice.see(nothing if trained is None else trained, [])
        return choice.best_epoch
