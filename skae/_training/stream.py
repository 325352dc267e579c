"""Training that goes on with every chunk of a stream."""

import copy
import dataclasses

import numpy as np
import torch

from skae._engine.epoch_choice import Choice
from skae._engine.objective import row_errors
from skae._engine.skorch_net import averaged_tensors
from skae._torch import thread_limit
from skae._training.messages import no_weights
from skae._training.training import Training
from skae.exceptions import DivergenceError

__all__ = ["Ongoing"]

# Standard errors by which a chunk must be better than PCA's: there is no epoch before that
# it would have to be ahead of.
MARGIN = 2.5
MOST_LAST = 4096  # rows, of the last chunks, that codes are described by


class Ongoing(Training):
    """Training of which each call of `take` is one pass over one chunk.

    The optimizer, its learning rate and the averages of the weights go on from chunk to
    chunk. The first chunk sets the start. Each chunk is asked before it is trained on:
    its rows have not been seen, so that they can tell whether the network is better than
    PCA of the first chunk, which is the outcome otherwise.

    Parameters
    ----------
    table, loss, recipe, seed, device
        As of `Training`.
    make_module : callable (n_inputs, n_outputs, generator) -> nn.Module
    initial : nn.Module or None
        A trained network to go on from.

    Attributes
    ----------
    n_seen : int
        Rows of all chunks.
    """

    n_seen = 0

    def __init__(self, table, loss, recipe, seed, device, make_module, initial=None):
        recipe = dataclasses.replace(
            recipe, early_stopping=False, verbose=0, is_seeded=True
        )
        super().__init__(table, loss, recipe, seed, device)
        is_new = initial is None
        self.in_coordinates = recipe.from_pca and is_new
        self.untrained = (
            self._untrained(make_module, self.starts[-1]) if is_new else initial
        )
        self.last = None
        self.may_keep_start = recipe.from_pca or not is_new
        self._look_at(table)
        module = copy.deepcopy(self.untrained)
        if recipe.ordered:
            module.nested.shares = self._cut_shares()
        self._set_threads(module)
        self.net = self._build(module, None).initialize()
        self.net.notify("on_train_begin", X=self.train_rows, y=None)

    def sample(self):
        """Arrays (inputs, X, weights) of the last rows, from more than one chunk."""
        new = self.table.sample(self.n_own)
        if self.last is not None:
            new = [
                None if a is None or b is None else np.concatenate([a, b])[-MOST_LAST:]
                for a, b in zip(self.last, new, strict=True)
            ]
        self.last = new
        return new

    def _look_at(self, table):
        self.table, self.n_own = table, len(table.X)
        everyone = np.arange(self.n_own)
        self.members, self.held_out = [(everyone, everyone[:0])], [everyone[:0]]
        self._set_rows()
        self._set_reference()

    def take(self, table):
        """Ask a chunk, train on it, and return the network that is the outcome so far.

        Raises
        ------
        DivergenceError
            If training ended in NaN or inf.
        """
        self._look_at(table)
        self.n_seen += self.n_own
        is_better = self._is_better() if self.n_iter else not self.may_keep_start
        with thread_limit(self.limit):
            self._pass()
        self.n_iter += 1
        self.best_epoch = self.n_iter if is_better else 0
        return self._outcome(is_better)

    def _is_better(self):
        """Whether these rows, not trained on yet, are better off with the network."""
        net = self.net
        with net.averaged():
            of_rows = self.loss, self.train_rows, self.cuts, self._spoil()
            errors = row_errors(net.module_, *of_rows)
        choice = Choice(
            self.reference,
            margin=MARGIN if self.may_keep_start else 0.0,
            allow_start=self.may_keep_start,
            patience=1,
            tol=0.0,
            cuts=self.cuts,
            weights=self.watched_weights,
        )
        choice.see(errors, net.averages_)
        self.held_out_errors.append(self.recipe.unit * float(choice.mean(errors[-1])))
        return choice.best_epoch == 1

    def _pass(self):
        net = self.net
        net.history.new_epoch()
        batches = net.get_iterator(self.train_rows, training=True)
        net.run_single_epoch(batches, training=True, prefix="train", step_fn=net.train_step)
        if not net.is_finite_:
            raise DivergenceError(no_weights(self.recipe.owner, self.recipe.lr))
        self.train_errors.append(net.history[-1, "train_loss"])

    @torch.no_grad()
    def _outcome(self, is_better):
        module = copy.deepcopy(self.untrained).to(self.device)
        if is_better:
            torch._foreach_copy_(averaged_tensors(module), self.net.averages_)
        if self.recipe.tied_weights:
            module.untie()
        if self.in_coordinates:
            module = self.starts[-1].undo(module.cpu().double()).float().to(self.device)
        return module.eval()
