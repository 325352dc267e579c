"""One run of training: from a table and settings to the network that is kept."""

import dataclasses

import numpy as np

from skae._engine.callbacks import reports, tell
from skae._engine.epoch_choice import Choice
from skae._engine.objective import Objective
from skae._engine.skorch_net import WARM_UP, Interrupted, build_net
from skae._torch import give_memory_back, in_own_modes, thread_limit
from skae._training.linear_start import NOTHING_LEFT, hold
from skae._training.member_rows import member_rows
from skae._training.members import make_members
from skae._training.messages import (
    kept_line,
    no_weights,
    warn_of_few_epochs,
    warn_of_values,
)
from skae._training.networks import (
    joined_networks,
    joined_starts,
    make_networks,
    network_of_member,
)
from skae._training.result import Result
from skae._training.truncation import N_CUTS, cuts_of
from skae.exceptions import DivergenceError, PeerError

__all__ = ["Training", "train"]

# Standard errors that the gain over PCA on held-out rows must exceed. They tell how much
# rows differ. Cross-fitted tables also depend on how much networks differ, because others
# are judged than the one that is kept.
MARGIN, MARGIN_CROSS_FITTED = 2.0, 2.25


def train(
    table,
    loss,
    settings,
    make_module,
    *,
    seed,
    device,
    initial=None,
    checkpoint=None,
    keeps_folds=True,
):
    """Train networks on a table, and keep the best epoch of the last one.

    Parameters
    ----------
    table : Table
    loss : Loss
        Loss with its statistics of the rows.
    settings : Settings
    make_module : callable (n_inputs, n_outputs, generator) -> nn.Module
    seed : int
    device : torch.device
    initial : nn.Module or None
        Trained network to go on with.
    checkpoint : Checkpoint or None
    keeps_folds : bool
        Whether the method `folds` of the result may be called.

    Returns
    -------
    Result

    Raises
    ------
    DivergenceError
        If training ends in NaN or inf and there are no weights to fall back on.
    """
    members = make_members(table, loss, settings, seed)
    networks = make_networks(members, settings, make_module, initial, seed)
    training = Training(members, loss, settings, networks, seed, device, checkpoint)
    del members, networks  # their arrays are dropped as soon as they are used up
    return training.run(keeps_folds)


class Training:
    """One run of training.

    Parameters
    ----------
    members : Members
    loss : Loss
    settings : Settings
    networks : Networks
    seed : int
    device : torch.device
    checkpoint : Checkpoint or None
    """

    def __init__(self, members, loss, settings, networks, seed, device, checkpoint=None):
        self.members, self.settings = members, settings
        self.networks, self.seed, self.device = networks, seed, device
        self.checkpoint = checkpoint
        self.start = members.starts[-1]
        starts = members.starts if networks.in_coordinates else None
        means = None if starts is None else [start.mean for start in starts]
        self.loss = hold(loss, members.table.ends, starts)
        self.objective = Objective(
            self.loss,
            penalties=settings.penalties,
            n_cuts=N_CUTS if settings.ordered else 1,
            cuts=cuts_of(settings.n_components) if settings.ordered else (None,),
            corruption=settings.corruption(seed, device, means),
            n_draws=settings.n_draws,
            beta=settings.beta,
            unit=settings.unit,
        )

    def run(self, keeps_folds=True):
        """Train and return the Result; `keeps_folds` is as in `train`."""
        batch_size, _ = self._sizes()
        joined = self.networks.joined
        threads = self.settings.threads(joined, batch_size, self.device)
        # The limit also holds before and after the steps, because changing it takes time.
        with thread_limit(threads.limit):
            rows = member_rows(
                self.members,
                self.loss,
                self.device,
                self.networks.in_coordinates,
                self.settings.hide,
                self.seed,
            )
            reference = self.reference(rows)
            untrained, holds = self._untrained(rows, reference)
            if not keeps_folds:
                self.members = self.members.without_folds()
            choice = None
            if self.members.has_held_out_rows:
                starts_at_random = self.networks.is_new and not self.settings.from_pca
                choice = self._choice(reference if starts_at_random else untrained)
            net = self.build(rows, choice, self.mean(reference), threads.pace)
            if self.members.table.is_wide:
                give_memory_back()
            interrupt = self._fit(net, rows)
            del rows
            result = self._result(net, choice, reference, untrained, interrupt)
        if result.best_epoch == 0:
            result = dataclasses.replace(result, holds=holds)
        if not self.settings.peers.number:  # only the first process tells
            tell(kept_line(result, choice is not None), self.settings.verbose == 1)
        return dataclasses.replace(result, n_threads=threads.n_threads)

    def _sizes(self):
        return self.settings.sizes(self.members.n_trained)

    def mean(self, errors):
        """Return the mean of errors (n_cuts, n_judged) with all codes.

        If no rows are held out, it is that of the rows of all processes.
        """
        w, peers = self.members.judged_weights, self.settings.peers
        if self.members.has_held_out_rows or not peers.are_several:
            return float(np.average(errors[-1], weights=w))
        w = np.ones(errors.shape[1]) if w is None else w
        total, weight = np.sum(peers.gather((errors[-1] @ w, w.sum())), axis=0)
        return float(total / weight)

    # -- whether there is anything to train --------------------------------------------

    @property
    def is_settled(self):
        """Whether the outcome is PCA without any training.

        This is so if PCA is exact, if PCA is the best linear network and the network is
        linear, if the folds have too few rows for the number of components, and if the
        table is too small to hold out any rows.
        """
        settings, members = self.settings, self.members
        if not (settings.from_pca and settings.early_stopping and self.networks.is_new):
            return False
        is_exact = settings.is_linear or not self._leaves_noise
        is_best = self._keeps_pca and is_exact and settings.noise_and_units is None
        has_enough_rows = settings.n_components < members.n_different - 1
        return is_best or not (members.has_held_out_rows and has_enough_rows)

    @property
    def _keeps_pca(self):
        """Whether no linear autoencoder has a smaller loss than PCA."""
        table = self.members.table
        is_plain = table.observed is None and table.inputs is None
        return self.loss.pca_is_best and is_plain and self.settings.beta == 1

    @property
    def _leaves_noise(self):
        """Whether PCA leaves an error, or a density, that can be improved."""
        return self.loss.is_likelihood or self.start.unexplained > NOTHING_LEFT

    # -- before training ---------------------------------------------------------------

    def reference(self, rows, holds=False):
        """Return the errors (n_cuts, n_judged) of PCA, or of the start of the loss.

        With `holds` its reconstruction is held at the ends of features.
        """
        starts, is_ordered = self.members.starts, self.settings.ordered
        if self.networks.in_coordinates:
            module = joined_starts(starts, starts[-1].linear_module(is_ordered))
        else:
            linear = [start.linear_module(is_ordered).double() for start in starts]
            undone = zip(starts, linear, strict=True)
            module = joined_networks([s.undo(m).float() for s, m in undone])
        judged = rows.held_out if self.members.has_held_out_rows else rows.train
        return self.objective.row_errors(module.to(self.device), judged, holds)

    def _untrained(self, rows, reference):
        """Return the errors before training, and whether the reconstruction is held.

        PCA is held at the ends of features if held-out rows say that this alone is a gain.
        A network that starts from PCA then has to be better than the held one.
        """
        networks, has_judges = self.networks, self.members.has_held_out_rows
        holds = self.settings.holds_initial and not networks.is_new
        if not has_judges:
            return reference, holds
        if not networks.in_coordinates:
            holds, module = networks.is_new or holds, networks.joined.to(self.device)
            return self.objective.row_errors(module, rows.held_out, holds), holds
        if self.loss.ends is None or self.is_settled:
            return reference, False
        held, choice = self.reference(rows, holds=True), self._choice(reference)
        choice.see(held, [])
        return (held, True) if choice.best_epoch else (reference, False)

    def _choice(self, errors):
        """Return the Choice of an epoch that is better than these errors, by a margin.

        It may keep the start if that is PCA or a trained network.
        """
        settings, members = self.settings, self.members
        labels, margin = members.dependence.labels, 0.0
        is_cross_fitted = len(members) > 1
        if settings.from_pca:
            margin = MARGIN_CROSS_FITTED if is_cross_fitted else MARGIN
        return Choice(
            errors,
            margin=margin,
            allow_start=settings.from_pca or not self.networks.is_new,
            patience=settings.patience(members.n_trained, is_cross_fitted),
            first_patience=settings.first_patience,
            **settings.hope(members.n_trained, is_cross_fitted),
            tol=settings.tol,
            weights=members.judged_weights,
            groups=labels[members.judged],
            n_seen=members.n_independent,
            sizes=members.judged_exposures,
            unit=len(self.start.mean) if self.loss.is_likelihood else None,
            counts_typical=not is_cross_fitted,
            clips_gains=not is_cross_fitted,
        )

    def build(self, rows, choice, linear_error, pace):
        """Return the net that trains the networks."""
        settings, module = self.settings, self.networks.joined
        batch_size, max_epochs = self._sizes()
        pca_error = settings.unit * linear_error
        # A stream goes on with this net for chunks of other numbers of rows.
        n_rows = self.members.n_trained if settings.peers.are_several else None
        return build_net(
            module,
            self.objective,
            seed=self.seed,
            device=self.device,
            callbacks=[
                *(settings.callbacks or []),
                *reports(settings.verbose, pca_error),
            ],
            weight_decay=self._weight_decay(),
            held_out=rows.held_out if choice else None,
            choice=choice,
            caution=self._caution(linear_error),
            bfloat16=settings.uses_bfloat16(
                module, batch_size, self.start.unexplained, self.device
            ),
            iterator_train__pace=pace,
            iterator_train__n_rows=n_rows,
            peers=settings.peers,
            checkpoint=self.checkpoint,
            deadline=settings.deadline,
            first_step=settings.first_step,
            warm_up=self._warm_up(choice),
            lr=self._lr(batch_size),
            max_epochs=max_epochs,
            batch_size=batch_size,
        )

    def _lr(self, batch_size):
        """Return the learning rate.

        If a few rows of counts have most of the exposure, a batch consists of fewer rows in
        effect. The steps of Adam are in proportion to the square root of their number
        (Malladi et al. 2022, "On the SDEs and Scaling Rules for Adaptive Gradient
        Algorithms").
        """
        if not isinstance(self.settings.lr, str):
            return self.settings.lr
        even_share = self.members.table.even_share
        return float(self.networks.joined.lr(batch_size) * np.sqrt(even_share))

    def _warm_up(self, choice):
        """Return the number of steps in which the learning rate rises.

        Folds of small tables are at their best after some hundred steps. A network from
        which cells are hidden filled those of one table worse after a longer rise.
        """
        is_single = choice is not None and len(self.members) == 1
        is_long = is_single and self.settings.hide is None
        return self.networks.joined.warm_up if is_long else WARM_UP

    def _weight_decay(self):
        """Return the weight decay, as a multiple of the learning rate."""
        if not isinstance(self.settings.weight_decay, str):
            return self.settings.weight_decay
        network = self.networks.joined
        share = np.sqrt(network.many_rows / self.members.n_trained)
        return float(network.weight_decay * min(1.0, share))

    def _caution(self, linear_error):
        """Return the share of the learning rate for linear paths and corrections.

        These layers act on the reconstruction directly. If PCA leaves a thousandth of the
        variance, steps that are suitable when it leaves half would change the model by more
        than there is to gain. Therefore the size of the steps is in proportion to the
        standard deviation that is left.
        """
        if not self.settings.from_pca:
            return 1.0
        left = self.start.unexplained
        is_corrupted = self.objective.corruption or self.settings.hide
        if self.loss.of_scaled and is_corrupted:
            # PCA reconstructs neither the noise nor hidden cells.
            left = linear_error / (self.start.total or 1.0)
        return float(min(1.0, 2 * np.sqrt(max(left, NOTHING_LEFT))))

    # -- training and afterwards -------------------------------------------------------

    def _fit(self, net, rows):
        """Train the net; return the interrupt that ended training early, or None."""
        if self.is_settled:
            net.initialize()
            return None
        try:
            with in_own_modes():  # also after Ctrl-C within `torch.no_grad()`
                net.fit(rows.train)
        except Interrupted as interrupt:
            if self.checkpoint is not None:
                self.checkpoint.write()
            if not self.settings.warm_start or self.settings.peers.are_several:
                raise
            return interrupt
        except PeerError:  # this process may be the one that has the file
            if self.checkpoint is not None:
                self.checkpoint.write()
            raise
        if net.is_out_of_time_ and self.checkpoint is not None:
            self.checkpoint.pause()
        return None

    def _result(self, net, choice, reference, untrained, interrupt):
        """Return the Result, after checking that training ended well."""
        settings, networks = self.settings, self.networks
        untrained_error = self.mean(untrained)
        epochs = self._whole_epochs(net, choice)
        n_iter, held_out_errors = len(epochs), []
        if choice is None:
            best_epoch = n_iter if net.is_finite_ else n_iter - 1
        else:
            best_epoch = choice.best_epoch
            held_out_errors = [epoch["valid_loss"] for epoch in epochs]
            held_out_errors.insert(0, settings.unit * untrained_error)
        self._judge(net, choice, n_iter, best_epoch, interrupt)
        has_better = choice is not None and best_epoch > 0
        kept_error = net.best_error_ if has_better else untrained_error
        best_weights = None
        if best_epoch:
            best_weights = net.finite_averages_ if choice is None else choice.best_weights
        net.forget()
        if self.members.table.is_wide:
            give_memory_back()
        kept = network_of_member(-1, self.members, networks, best_weights)
        net.keep(kept.to(self.device))
        outcome = "trained"
        if best_epoch == 0:
            outcome = "pca" if networks.is_new else "unchanged"
        is_pca = outcome == "pca" and self.loss.of_scaled
        shares = self.start.variances / (self.start.total or 1.0)
        return Result(
            net=net,
            members=self.members,
            networks=networks,
            best_weights=best_weights,
            choice=choice,
            n_components=settings.n_components,
            n_iter=n_iter,
            best_epoch=best_epoch,
            train_errors=[epoch["train_loss"] for epoch in epochs],
            held_out_errors=held_out_errors,
            pca_error=settings.unit * self.mean(reference),
            kept_error=kept_error,
            outcome=outcome,
            is_pca=is_pca,
            pca_shares=shares if is_pca else None,
            holds=True,
            n_steps=settings.first_step
            + sum(epoch["train_batch_count"] for epoch in epochs[:best_epoch]),
            is_out_of_time=net.is_out_of_time_,
            interrupt=interrupt,
        )

    @staticmethod
    def _whole_epochs(net, choice):
        """Return the entries of the history for epochs that came to their end."""
        # A callback or Ctrl-C may have ended training within an epoch.
        last = "train_loss" if choice is None else "valid_loss"
        return [epoch for epoch in net.history if last in epoch]

    def _judge(self, net, choice, n_iter, best_epoch, interrupt):
        """Warn if training did not end well; raise if there are no weights to keep."""
        settings, is_new = self.settings, self.networks.is_new
        has_weights = best_epoch or settings.from_pca or not is_new
        if interrupt is not None:
            if not has_weights:
                raise interrupt
            return
        if n_iter and not has_weights:
            raise DivergenceError(no_weights(settings.owner, net.lr))
        if not net.is_finite_:
            start = "the start from PCA" if is_new else "the network that fit began with"
            warn_of_values(settings.owner, net.lr, n_iter, best_epoch, start)
            return
        is_last = n_iter == settings.max_epochs and not net.is_out_of_time_
        if is_last and choice and choice.is_improving:
            warn_of_few_epochs(settings.owner, settings.max_epochs)
