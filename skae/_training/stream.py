"""Training that goes on with every chunk of a stream."""

import copy
import dataclasses

import numpy as np
import torch
from torch import nn

from skae._engine.epoch_choice import Choice
from skae._engine.skorch_net import averaged_tensors
from skae._tables.dependence import Dependence
from skae._torch import thread_limit
from skae._training.linear_start import Start
from skae._training.member_rows import member_rows
from skae._training.members import Members, make_members
from skae._training.messages import no_weights
from skae._training.training import Training, make_networks
from skae.exceptions import DivergenceError

__all__ = ["Ongoing"]

# Standard errors by which a chunk must be better than PCA's: there is no epoch before that
# it would have to be ahead of.
MARGIN = 2.5
MOST_LAST = 4096  # rows, of the last chunks, that codes are described by


@dataclasses.dataclass(frozen=True)
class StreamResult:
    """What came of the chunks so far; attributes as those of `Result`."""

    module: nn.Module
    start: Start
    n_components: int
    n_samples: int
    n_iter: int
    best_epoch: int
    train_errors: list
    held_out_errors: list
    pca_error: float
    outcome: str
    is_pca: bool
    n_steps: int
    n_threads: int | None
    rows: tuple

    @property
    def pca_shares(self):
        start = self.start
        return start.variances / (start.total or 1.0) if self.is_pca else None

    def sample(self):
        return self.rows


class Ongoing:
    """Training of which each call of `take` is one pass over one chunk.

    The optimizer, its learning rate and the averages of the weights go on from chunk to
    chunk. The first chunk sets the start. Each chunk is asked before it is trained on:
    its rows have not been seen, so that they can tell whether the network is better than
    PCA of the first chunk, which is the outcome otherwise.

    Parameters
    ----------
    table, loss, settings, seed, device, make_module, initial
        As of `train`.
    n_samples : int
        Rows that `initial` has seen.
    """

    def __init__(
        self, table, loss, settings, seed, device, make_module, initial, n_samples
    ):
        settings = dataclasses.replace(
            settings, early_stopping=False, verbose=0, is_seeded=True
        )
        self.loss, self.settings, self.seed, self.device = loss, settings, seed, device
        members = make_members(table, loss, settings, seed)
        self.starts = members.starts
        self.networks = make_networks(members, settings, make_module, initial, seed)
        self.may_keep_start = settings.from_pca or initial is not None
        self.n_samples, self.n_iter, self.last = n_samples, 0, None
        self.train_errors, self.held_out_errors = [], []
        batch_size, _ = settings.sizes(len(table.X))
        self.threads = settings.threads(self.networks.joined, batch_size, device)
        training, rows, reference = self._look_at(table)
        self.net = training.build(rows, None, training.mean(reference), None).initialize()
        self.net.notify("on_train_begin", X=rows.train, y=None)

    def _look_at(self, table):
        """What is computed of a chunk before it is trained on."""
        everyone = np.arange(len(table.X))
        members = Members(
            table, [everyone], [everyone[:0]], self.starts, Dependence.none(len(everyone))
        )
        of_fit = self.settings, self.networks, self.seed, self.device
        training = Training(members, self.loss, *of_fit)
        in_coordinates = self.networks.in_coordinates
        rows = member_rows(members, self.loss, self.device, in_coordinates)
        return training, rows, training.reference(rows)

    def take(self, table):
        """Ask a chunk, train on it, and return what is the outcome so far.

        Raises
        ------
        DivergenceError
            If training ended in NaN or inf.
        """
        training, rows, reference = self._look_at(table)
        self.n_samples += len(table.X)
        is_better = not self.may_keep_start
        if self.n_iter:
            is_better = self._is_better(training, rows, reference)
        with thread_limit(self.threads.limit):
            self._pass(rows)
        self.n_iter += 1
        in_coordinates = self.networks.in_coordinates
        is_kept, outcome = not is_better, "trained"
        if is_kept:
            outcome = "pca" if in_coordinates else "unchanged"
        return StreamResult(
            module=self._outcome(is_better),
            start=self.starts[-1],
            n_components=self.settings.n_components,
            n_samples=self.n_samples,
            n_iter=self.n_iter,
            best_epoch=self.n_iter if is_better else 0,
            train_errors=self.train_errors,
            held_out_errors=self.held_out_errors,
            pca_error=self.settings.unit * training.mean(reference),
            is_pca=is_kept and in_coordinates and self.loss.of_scaled,
            outcome=outcome,
            n_steps=self.net.n_steps_,
            n_threads=self.threads.limit,
            rows=self._last_rows(table),
        )

    def _last_rows(self, table):
        """Arrays (inputs, X, weights) of the last rows, from more than one chunk."""
        new = table.sample(len(table.X))
        if self.last is not None:
            new = tuple(
                None if a is None or b is None else np.concatenate([a, b])[-MOST_LAST:]
                for a, b in zip(self.last, new, strict=True)
            )
        self.last = new
        return new

    def _is_better(self, training, rows, reference):
        """Whether these rows, not trained on yet, are better off with the network."""
        net = self.net
        with net.averaged():
            errors = training.objective.row_errors(net.network, rows.train)
        choice = Choice(
            reference,
            margin=MARGIN if self.may_keep_start else 0.0,
            allow_start=self.may_keep_start,
            patience=1,
            tol=0.0,
            weights=training.members.judged_weights,
        )
        choice.see(errors, net.averages_)
        self.held_out_errors.append(self.settings.unit * float(choice.mean(errors[-1])))
        return choice.best_epoch == 1

    def _pass(self, rows):
        net = self.net
        net.history.new_epoch()
        batches = net.get_iterator(rows.train, training=True)
        net.run_single_epoch(batches, training=True, prefix="train", step_fn=net.train_step)
        if not net.is_finite_:
            raise DivergenceError(no_weights(self.settings.owner, self.settings.lr))
        self.train_errors.append(net.history[-1, "train_loss"])

    @torch.no_grad()
    def _outcome(self, is_better):
        module = copy.deepcopy(self.networks.last).to(self.device)
        if is_better:
            torch._foreach_copy_(averaged_tensors(module), self.net.averages_)
        if self.settings.tied_weights:
            module.untie()
        if self.networks.in_coordinates:
            module = self.starts[-1].undo(module.cpu().double()).float().to(self.device)
        return module.eval()
