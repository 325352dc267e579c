"""The result of a fit: the network that is kept, and the course of training."""

import dataclasses

import numpy as np

from skae._engine.epoch_choice import Choice
from skae._engine.skorch_net import AutoencoderNet
from skae._tables.rows import row_blocks
from skae._training.members import Members
from skae._training.networks import Networks, network_of_member

__all__ = ["Result"]


@dataclasses.dataclass(frozen=True)
class Result:
    """The result of a fit.

    Attributes
    ----------
    net : AutoencoderNet
        The net, whose `module_` is the network of the last member in the best epoch, and
        takes rows of the table.
    members : Members
    networks : Networks
    best_weights : list of Tensor or None
        Weights of all networks in the best epoch, see `network_of_member`.
    choice : Choice or None
        It has chosen the epoch. None if no row is held out.
    n_components : int
    n_iter, best_epoch : int
    train_errors, held_out_errors : list of float
        Mean errors after each epoch, in the units of `score`. `held_out_errors` begins
        with that of the untrained network, and is empty if no row is held out.
    pca_error : float
        Mean error of PCA, in the same units, for the held-out rows, or for all rows if none
        is held out.
    kept_error : float
        Mean error of the network that is kept, summed over the features, for the same rows.
    outcome : {"trained", "pca", "unchanged"}
        Whether the network is that of an epoch, the linear one before the first epoch, or
        the trained one that the fit went on with.
    is_pca : bool
        Whether the network is PCA of all rows.
    holds : bool
        Whether the reconstruction is held at the ends of features, if there are ends.
    pca_shares : ndarray of shape (k,) or None
        Shares of the variance that PCA's components have, None if it is not PCA.
    n_steps : int
        Number of steps that the network was trained for, in this fit and before.
    n_threads : int or None
        Number of threads in the last steps. None is no limit.
    is_out_of_time : bool
        Whether `time_limit` has ended training.
    is_dense : bool
        Whether the layers are dense in spite of a shape of samples.
    interrupt : BaseException or None
        Exception that has ended training, if the best epoch so far is kept, from which a
        warm start goes on.
    """

    net: AutoencoderNet
    members: Members
    networks: Networks
    best_weights: list | None
    choice: Choice | None
    n_components: int
    n_iter: int
    best_epoch: int
    train_errors: list
    held_out_errors: list
    pca_error: float
    kept_error: float
    outcome: str
    is_pca: bool
    holds: bool
    pca_shares: np.ndarray | None
    n_steps: int
    n_threads: int | None = None
    is_out_of_time: bool = False
    is_dense: bool = False
    interrupt: BaseException | None = None

    @property
    def keeps_codes(self):
        """Whether the codes are those of the network that the fit went on with."""
        return self.outcome == "unchanged"

    @property
    def squares(self):
        """None, because the sum of the squares is estimated from `sample`."""
        return None

    @property
    def n_samples(self):
        """Number of rows that the user passed for training."""
        return self.members.table.n_own

    def sample(self):
        """Return arrays (inputs, X, weights) of rows for statistics of the codes."""
        return self.members.table.sample(self.n_samples)

    def groups_and_held_out(self, n_rows):
        """Return groups of the rows of `sample`, and which were held out, or None.

        The latter is None if the network that is kept was trained on all rows.

        Returns
        -------
        groups : ndarray of int of shape (n_rows,)
        held_out : ndarray of bool of shape (n_rows,) or None
        """
        members, every = self.members, -(-self.n_samples // n_rows)
        is_held_out = np.zeros(len(members.dependence.labels), dtype=bool)
        is_held_out[members.held_out[-1]] = True
        own = slice(None, self.n_samples, every)
        is_held_out = is_held_out[own]
        has_both = 0 < is_held_out.sum() < len(is_held_out)
        return members.dependence.labels[own], is_held_out if has_both else None

    def without_folds(self):
        """Return the result without what only `folds` needs, which may be large."""
        members = dataclasses.replace(self.members, starts=[])
        without = {"members": members, "networks": None, "best_weights": None}
        return dataclasses.replace(self, choice=None, **without)

    def folds(self):
        """Return the networks that have not seen all rows, and the rows that they have not.

        Returns
        -------
        list of (network, trained, held_out)
            One for each member that rows are held out from: its network in the best epoch,
            which takes rows of the table, and the numbers of the rows that it was trained
            on, and of those that it was not. The list is empty if no row was held out.
            If one network was trained on a part of the rows, and PCA is the outcome, it is
            PCA of all rows.
        """
        members = self.members
        return [
            (
                network_of_member(i, members, self.networks, self.best_weights),
                members.trained[i],
                members.held_out[i],
            )
            for i in range(len(members))
            if len(members.held_out[i])
        ]

    @property
    def r2(self):
        """1 - SSE / SST of the held-out rows, or of all rows if none is held out.

        Both sums are over observed cells and weighted rows.
        """
        table, rows = self.members.table, self.members.judged
        row_sums = np.zeros(len(rows))
        for block in row_blocks(len(rows), table.X.shape[1]):
            squares = np.square(table.X[rows[block]])
            if table.observed is not None:
                squares *= table.observed[rows[block]]
            row_sums[block] = squares.sum(axis=1, dtype=np.float64)
        total = np.average(row_sums, weights=self.members.judged_weights)
        return 1 - self.kept_error / total if total else 1.0
