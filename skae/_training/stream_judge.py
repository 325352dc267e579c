"""Held-out rows of a stream, and which network they are for."""

import numpy as np

from skae._engine.epoch_choice import Choice
from skae._engine.objective import Objective
from skae._training.member_rows import member_rows
from skae._training.streamed_network import members_of
from skae._training.truncation import cuts_of

__all__ = ["Judge"]

MOST_ASKED = 4096  # rows
# Standard errors by which a network must be better than PCA. It is more than for an epoch
# of a fit, because a stream asks again after every round.
MARGIN = 2.25


class Judge:
    """Rows that networks are compared on, in one frame.

    Parameters
    ----------
    memory : Memory
        While no rows are held out, others are asked.
    frame : Frame
    start : Start
    tools : Tools
    seed : int
    """

    def __init__(self, memory, frame, start, tools, seed):
        has_judges = memory.has_judges
        rows = memory.judges.rows if has_judges else memory.some(MOST_ASKED)
        self.frame, self.tools, self.keys = frame, tools, rows.keys
        self.n_units = memory.n_units
        members = members_of(rows, frame, tools.loss, start)
        self.rows, _ = member_rows(members, tools.loss, tools.device, False)
        settings = tools.settings_in(frame, tools.units(rows, frame))
        self.weights = members.table.weights
        self.objective = Objective(
            tools.loss,
            cuts=cuts_of(settings.n_components) if settings.ordered else (None,),
            corruption=settings.corruption(seed, tools.device),
            unit=settings.unit / members.table.observed_share,
        )

    def errors(self, network):
        """Errors (n_cuts, n_rows) of the rows by a FramedNetwork."""
        module = network.at(self.frame, self.tools.loss).module
        return self.objective.row_errors(module, self.rows)

    def mean(self, errors):
        """Mean of the errors with all codes, in the units of `score`."""
        mean = float(np.average(errors[-1], weights=self.weights))
        return self.objective.unit * mean

    def best(self, reference, kept, trained):
        """Which of three networks is the outcome.

        Parameters
        ----------
        reference : ndarray of shape (n_cuts, n_rows)
            Errors of the network that is the outcome unless another is better.
        kept, trained : ndarray of shape (n_cuts, n_rows) or None
            Errors of the network that was the outcome before, which stays while it is
            better on average, and of another, which has to be certainly better.

        Returns
        -------
        int
            0, 1 or 2.
        """
        choice = Choice(
            reference,
            margin=0.0,
            allow_start=True,
            patience=1,
            tol=0.0,
            weights=self.weights,
            groups=self.keys,
            n_seen=self.n_units,
        )
        nothing = np.full_like(reference, np.nan)  # is never kept
        choice.see(nothing if kept is None else kept, [])
        choice.margin = MARGIN if self.tools.settings.from_pca else 0.0
        choice.see(nothing if trained is None else trained, [])
        return choice.best_epoch
