"""One fit: who is held out, where the networks start, which weights are kept."""

import copy

import numpy as np
import torch

from skae._engine.batches import RUN, Rows, StreamedRows
from skae._engine.callbacks import reports, tell
from skae._engine.corruption import Spoil
from skae._engine.epoch_choice import Choice
from skae._engine.objective import row_errors
from skae._engine.skorch_net import Interrupted, build_net
from skae._engine.threads import Pace
from skae._tables.dependence import Dependence
from skae._tables.missing import with_marks
from skae._tables.rows import row_blocks
from skae._torch import free_memory, has_fast_bfloat16, make_generator, thread_limit
from skae._training.linear_start import NOTHING_LEFT, make_start
from skae._training.members import split
from skae._training.messages import no_weights, warn_of_few_epochs, warn_of_values
from skae._training.settings import (
    FEWEST_EPOCHS,
    LARGEST_BATCH,
    MOST_EPOCHS,
    SAFE_FOR_BFLOAT16,
    SMALLEST_BATCH,
    STEPS,
    WORTH_BFLOAT16,
    WORTH_THREADS,
    _n_products,
)
from skae.exceptions import DivergenceError
from skae.modules._stack import stack, unstack

__all__ = ["Training"]

MARGIN = 2.0  # standard errors by which held-out rows must be better than PCA's
N_CUTS = 4  # numbers of ordered codes that a row is decoded with in a step
MOST_CUTS = 8  # at which held-out rows are asked
SMALLEST_LEFT = 1e-2  # of the variance, for the weight of a cut


class Training:
    """One fit.

    Parameters
    ----------
    table : Table
    loss : Loss
    recipe : Recipe
    seed : int
    device : torch.device
    checkpoint : Checkpoint or None

    Attributes
    ----------
    best_epoch, n_iter : int
    interrupt : BaseException or None
        What has ended training, where the best epoch so far is kept: a warm start will
        go on from it.
    train_errors, held_out_errors : list of float
        Mean errors after each epoch, in the units of `score`. `held_out_errors` begins
        with the untrained network's, and is empty where nobody is held out.
    pca_error : float
        PCA's, for the rows that `held_out_errors` is of, else for all.
    linear_error, kept_error : float
        Mean errors, summed over the features, of PCA and of what is kept.
    """

    def __init__(self, table, loss, recipe, seed, device, checkpoint=None):
        self.table, self.loss, self.recipe = table, loss, recipe
        self.seed, self.device, self.checkpoint = seed, device, checkpoint
        self.best_epoch = self.n_iter = 0
        self.interrupt = None
        self.train_errors, self.held_out_errors = [], []
        self.n_own = len(table.X) - table.n_held_out
        self.dependence = table.dependence or Dependence.none(len(table.X))
        self._split()
        self._set_starts()

    def _split(self):
        recipe, everyone = self.recipe, np.arange(len(self.table.X))
        self.members = [(everyone[: self.n_own], everyone[self.n_own :])]
        if recipe.early_stopping and self.n_own == len(everyone):
            self.members = split(
                self.dependence,
                cv=recipe.cv,
                validation_fraction=recipe.validation_fraction,
                seed=self.seed,
                can_cross_fit=recipe.is_ours,
                run=RUN if self.table.is_streamed else 1,
            )
        self.held_out = [rows for _, rows in self.members]
        self.is_watched = any(map(len, self.held_out))
        copies = self.dependence.copies
        self.n_different = min(len(np.unique(copies[rows])) for rows, _ in self.members)

    def _set_starts(self):
        """PCA of each member's rows; of all rows for the last, which is kept.

        Where one network trains and some rows are held out, its PCA has seen these,
        so that the network has to beat it by more than it would otherwise; in return
        the outcome, when it does not, is PCA of all rows.
        """
        own = self.table if not self.table.n_held_out else self.table.first(self.n_own)
        n_samples, n_features = own.X.shape
        recipe, loss = self.recipe, self.loss
        k = min(recipe.n_components, n_samples, n_features)
        is_wide = len(self.members) > 1 or n_features > n_samples
        rotate = is_wide and self._can_rotate
        fitted_to = [rows for rows, _ in self.members[:-1]] + [None]
        self.starts = [
            make_start(own, rows, k, loss, rotate, n_axes=min(own.X.shape))
            for rows in fitted_to
        ]
        self.cuts = self._cuts(recipe.n_components) if recipe.ordered else (None,)

    @property
    def _can_rotate(self):
        """Whether the network may work in the coordinates of the principal axes.

        Noises and missing cells are of the features as they are.
        """
        table, recipe = self.table, self.recipe
        is_plain = table.observed is None and table.inputs is None and not table.is_streamed
        return (
            recipe.from_pca
            and self.loss.rotation_invariant
            and recipe.spoiling is None
            and is_plain
        )

    @staticmethod
    def _cuts(n_components):
        """Numbers of ordered codes at which held-out rows are asked, k the last."""
        return tuple(
            np.unique(np.geomspace(1, n_components, MOST_CUTS).round().astype(int))
        )

    @property
    def is_settled(self):
        """Whether PCA is the outcome before any training.

        It is where PCA is exact, or the best that a linear network can be; where the
        folds have too few rows for so many components; and where the table is too small
        to hold any row out.
        """
        recipe = self.recipe
        if not (recipe.from_pca and recipe.early_stopping):
            return False
        is_exact = recipe.is_linear or self.starts[-1].unexplained <= NOTHING_LEFT
        is_best = self._keeps_pca and is_exact and recipe.spoiling is None
        return is_best or not self.is_watched or recipe.n_components >= self.n_different - 1

    @property
    def _keeps_pca(self):
        """Whether no linear autoencoder has a smaller loss than PCA."""
        is_plain = self.table.observed is None and self.table.inputs is None
        return self.loss.rotation_invariant and is_plain

    @property
    def watched(self):
        """Numbers of the rows whose errors are looked at, one member's after another."""
        trained = [rows for rows, _ in self.members]
        return np.concatenate(self.held_out if self.is_watched else trained)

    @property
    def r2(self):
        """1 - SSE / SST of the held-out rows, or of all where nobody is held out.

        Both are of the cells that are there, and of weighted rows.
        """
        table, rows = self.table, self.watched
        of_rows = np.zeros(len(rows))
        for block in row_blocks(len(rows), table.X.shape[1]):
            squares = np.square(table.X[rows[block]])
            if table.observed is not None:
                squares *= table.observed[rows[block]]
            of_rows[block] = squares.sum(axis=1, dtype=np.float64)
        total = np.average(of_rows, weights=self.watched_weights)
        return 1 - self.kept_error / total if total else 1.0

    @property
    def pca_error(self):
        return self.recipe.unit * self.linear_error

    @property
    def n_seen(self):
        """Rows that training has seen."""
        return self.n_own

    def sample(self):
        """Arrays (inputs, X, weights) of rows that codes are described by."""
        return self.table.sample(self.n_own)

    def is_pca(self, initial):
        """Whether the outcome is PCA of all rows."""
        from_pca = self.recipe.from_pca and self.loss.of_scaled
        return from_pca and self.best_epoch == 0 and initial is None

    def run(self, make_module, initial=None):
        """Train and return the skorch net, its `module_` that of the best epoch.

        Parameters
        ----------
        make_module : callable (n_inputs, n_outputs, generator) -> nn.Module
        initial : nn.Module or None
            A trained network to go on from.

        Raises
        ------
        DivergenceError
            If training ended in NaN or inf and there are no weights to fall back on.
        """
        is_new = initial is None
        modules = [
            self._untrained(make_module, s) if is_new else initial for s in self.starts
        ]
        module = self._joined(modules)
        if self.recipe.ordered:
            module.nested.shares = self._cut_shares()
        self.in_coordinates = self.recipe.from_pca and is_new
        self._set_threads(module)
        # Also what comes before and after the steps: to change the number takes time.
        with thread_limit(self.limit):
            return self._walk(module, modules[-1], is_new)

    def _walk(self, module, untrained, is_new):
        self._set_rows()
        self._set_reference()
        choice = self._choice(module, is_new) if self.is_watched else None
        net = self._build(module, choice)
        if self.is_settled and is_new:
            net.initialize()
            if self.recipe.verbose:
                tell("no training: the outcome is PCA")
        else:
            try:
                net.fit(self.train_rows)
            except Interrupted as interrupt:
                self._end_early(interrupt)
            self._read(net, choice)
            self._judge(net, choice, is_new)
        net.module_ = self._kept(net, choice, untrained).eval()
        net.forget()
        return net

    @staticmethod
    def _joined(modules):
        return stack(modules) if len(modules) > 1 else copy.deepcopy(modules[0])

    def _untrained(self, make_module, start):
        """A network of one member; all members draw the same weights."""
        d = start.encoder.shape[1] + start.n_marks
        q = len(start.decoder)
        module = make_module(d, q, make_generator(self.seed))
        if self.recipe.tied_weights:
            module.tie()
        return start.load(module) if self.recipe.from_pca else module

    def _set_rows(self):
        """Who trains on what, and who is watched in what."""
        trained = [rows for rows, _ in self.members]
        if self.table.is_streamed:
            of_table = self.table.X, self.table.target
            self.train_rows, self.held_out_rows = (
                StreamedRows(*of_table, rows, self.device, self._weights(rows))
                for rows in (trained, self.held_out)
            )
            return
        table, self.home = self.table, self._home()
        targets, lost = self._coordinates(table.X)
        inputs = targets if table.inputs is None else self._coordinates(table.inputs)[0]
        observed = None
        if table.observed is not None:
            observed = torch.from_numpy(table.observed).to(self.home)
            inputs = with_marks(inputs, observed.expand(inputs.shape))
        if not self.loss.of_scaled:
            targets = self._tensor(table.target)
        self.train_rows, self.held_out_rows = (
            Rows(
                *(inputs, targets, rows, self._lost(lost, rows)),
                None if table.weights is None else self._tensor(self._weights(rows)),
                *(observed, self.device),
            )
            for rows in (trained, self.held_out)
        )

    def _weights(self, index):
        """Weights (n,), or (m, n) of several members, whose mean over each's rows is one.

        Parameters
        ----------
        index : list of m arrays of int
        """
        weights = self.table.weights
        if weights is None:
            return None
        means = [weights[rows].mean() if len(rows) else 1.0 for rows in index]
        return weights / means[0] if len(means) == 1 else weights / np.c_[means]

    def _home(self):
        """Where the rows stay: the device, where they take less than half its memory."""
        table = self.table
        n_tables = 1 + (table.inputs is not None) + 2 * (table.observed is not None)
        n_tables = len(self.members) * n_tables + (not self.loss.of_scaled)
        is_large = n_tables * 4 * table.X.size > free_memory(self.device) / 2
        return torch.device("cpu") if is_large else self.device

    def _coordinates(self, X):
        """The table in the coordinates of each member (n, d) or (m, n, d), and the loss."""
        if not self.in_coordinates:
            inputs, n_members = self._tensor(X), len(self.members)
            many = inputs.expand(n_members, *inputs.shape) if n_members > 1 else inputs
            return many, [0.0] * n_members
        inputs, lost = zip(*(s.coordinates(X) for s in self.starts), strict=True)
        inputs = [self._tensor(array) for array in inputs]
        return torch.stack(inputs) if len(inputs) > 1 else inputs[0], lost

    @staticmethod
    def _lost(lost, index):
        if not any(map(np.ndim, lost)):
            return 0.0
        return np.concatenate([of[rows] for of, rows in zip(lost, index, strict=True)])

    def _tensor(self, array):
        array = np.require(array, dtype=np.float32, requirements=["C", "W"])
        return torch.from_numpy(array).to(self.home)

    def _spoil(self):
        """What is done to the inputs, in the coordinates of the network."""
        noise, units = self.recipe.spoiling or (None, None)
        if noise is None and self.recipe.hide is None:
            return None
        if units is not None and self.in_coordinates:
            means = np.stack([start.mean for start in self.starts])
            units = units.shifted(
                torch.from_numpy(means if len(means) == 1 else means[:, None])
            )
        return Spoil(noise, units, self.recipe.hide, self.seed, self.device)

    def _set_reference(self):
        """Errors of PCA, or its kin for the loss, in the rows that are watched, or all."""
        rows = self.held_out_rows if self.is_watched else self.train_rows
        linear = [start.linear_module(self.recipe.ordered) for start in self.starts]
        if not self.in_coordinates:
            linear = [
                start.undo(module.double()).float()
                for start, module in zip(self.starts, linear, strict=True)
            ]
        linear = self._joined(linear).to(self.device)
        self.reference = row_errors(linear, self.loss, rows, self.cuts, self._spoil())
        weights = self.table.weights
        self.watched_weights = None if weights is None else weights[self.watched]
        errors = self.reference[-1]
        self.linear_error = float(np.average(errors, weights=self.watched_weights))
        self.kept_error = self.linear_error

    def _choice(self, module, is_new):
        """PCA is the rival of a network that starts there, and so it may be kept."""
        recipe = self.recipe
        reference = start_errors = self.reference
        if not (recipe.from_pca and is_new):
            of_rows = self.loss, self.held_out_rows, self.cuts, self._spoil()
            start_errors = row_errors(module.to(self.device), *of_rows)
            reference = reference if is_new else start_errors
        choice = Choice(
            reference,
            margin=MARGIN if recipe.from_pca else 0.0,
            allow_start=recipe.from_pca or not is_new,
            patience=recipe.n_iter_no_change,
            tol=recipe.tol,
            cuts=self.cuts,
            weights=self.watched_weights,
            groups=self.dependence.units[np.concatenate(self.held_out)],
            n_seen=int(self.dependence.units.max()) + 1,
        )
        self.kept_error = float(choice.mean(start_errors[-1]))
        self.held_out_errors.append(recipe.unit * self.kept_error)
        return choice

    def _build(self, module, choice):
        recipe = self.recipe
        batch_size, max_epochs = self._sizes()
        return build_net(
            module,
            self.loss,
            seed=self.seed,
            device=self.device,
            callbacks=[
                *(recipe.callbacks or []),
                *reports(recipe.verbose, self.pca_error),
            ],
            weight_decay=recipe.weight_decay,
            held_out=self.held_out_rows if choice else None,
            choice=choice,
            caution=self._caution(),
            n_cuts=N_CUTS if recipe.ordered else 1,
            spoil=self._spoil(),
            penalties=recipe.penalties,
            bfloat16=self._uses_bfloat16(module, batch_size),
            iterator_train__pace=self.pace,
            checkpoint=self.checkpoint,
            unit=recipe.unit,
            lr=recipe.lr,
            max_epochs=max_epochs,
            batch_size=batch_size,
        )

    def _cut_shares(self):
        """How often 1, 2, ..., k codes are known in training: as 1 / PCA's error there.

        The error at every cut then has the same weight, as a share of PCA's.
        """
        start = self.starts[-1]
        k = self.recipe.n_components
        left = start.total - np.cumsum(start.variances)[:k]
        left = np.pad(left, (0, k - len(left)))  # codes that PCA does not have
        weights = 1 / np.maximum(left, SMALLEST_LEFT * start.total or 1.0)
        return torch.from_numpy(weights / weights.sum())

    def _caution(self):
        """Share of the learning rate for the layers whose change is seen at once.

        Linear paths and corrections act on the reconstruction directly. Where PCA has
        left a thousandth of the variance, steps that suit a half would shake the model
        by more than there is to gain: their size goes with the deviation that is left.
        """
        if not self.recipe.from_pca:
            return 1.0
        start = self.starts[-1]
        left = start.unexplained
        if self.loss.of_scaled and self._spoil() is not None:
            # PCA leaves the noise as well.
            left = self.linear_error / (start.total or 1.0)
        return float(min(1.0, 2 * np.sqrt(max(left, NOTHING_LEFT))))

    def _set_threads(self, module):
        """How many, and what chooses the number for every step where there is a choice.

        One for steps so small that threads cost more than they bring, else there is no
        limit. There is no choice where the outcome is to be the same every time: with
        another number of threads some products, of matrices of a few rows, are rounded
        otherwise.
        """
        self.limit = self.pace = None
        if self.device.type != "cpu":
            return
        if _n_products(module, self.batch_size) < WORTH_THREADS:
            self.limit = 1
        elif torch.get_num_threads() > 1 and not self.recipe.is_seeded:
            self.pace = Pace()

    @property
    def n_threads(self):
        """Threads of the last steps; None is no limit."""
        return self.limit if self.pace is None else self.pace.n_threads

    def _uses_bfloat16(self, module, batch_size):
        """Whether products are of bfloat16; "auto" asks what is faster and does no harm.

        Rounding to bfloat16 is an error of 0.2 % of a value. That is far below what PCA
        leaves, unless it leaves next to nothing.
        """
        if self.recipe.precision != "auto":
            return self.recipe.precision == "bfloat16"
        is_large = _n_products(module, batch_size) >= WORTH_BFLOAT16
        is_safe = self.starts[-1].unexplained >= SAFE_FOR_BFLOAT16
        return is_large and is_safe and has_fast_bfloat16(self.device)

    @property
    def batch_size(self):
        return self._sizes()[0]

    def _sizes(self):
        """Batch size and number of epochs, where they are left to us."""
        n_rows = len(self.members[-1][0])
        batch_size, max_epochs = self.recipe.batch_size, self.recipe.max_epochs
        if batch_size == "auto":
            batch_size = 2 ** int(np.log2(n_rows) / 2 + 0.5)
            batch_size = min(max(batch_size, SMALLEST_BATCH), LARGEST_BATCH)
        batch_size = min(batch_size, n_rows)
        if max_epochs == "auto":
            max_epochs = STEPS * batch_size // n_rows
            max_epochs = min(max(max_epochs, FEWEST_EPOCHS), MOST_EPOCHS)
        return batch_size, max_epochs

    def _end_early(self, interrupt):
        if self.checkpoint is not None:
            self.checkpoint.write()
        if not self.recipe.warm_start:
            raise interrupt
        self.interrupt = interrupt

    def _read(self, net, choice):
        # A callback, or Ctrl-C, may have stopped training within an epoch.
        last = "train_loss" if choice is None else "valid_loss"
        epochs = [epoch for epoch in net.history if last in epoch]
        self.n_iter = len(epochs)
        self.train_errors = [epoch["train_loss"] for epoch in epochs]
        if choice is None:
            self.best_epoch = self.n_iter if net.is_finite_ else self.n_iter - 1
        else:
            self.best_epoch = choice.best_epoch
            self.held_out_errors += [epoch["valid_loss"] for epoch in epochs]
            if self.best_epoch:
                self.kept_error = net.best_error_

    def _judge(self, net, choice, is_new):
        """Warn of an end that is not good; raise where nothing is left to be kept."""
        recipe = self.recipe
        has_start = recipe.from_pca or not is_new
        if self.interrupt is not None:
            if not (self.best_epoch or has_start):
                raise self.interrupt
            return
        if self.n_iter and not (self.best_epoch or has_start):
            raise DivergenceError(no_weights(recipe.owner, recipe.lr))
        if not net.is_finite_:
            start = "the start from PCA" if is_new else "the network that fit began with"
            of_fit = recipe.owner, recipe.lr, self.n_iter, self.best_epoch
            warn_of_values(*of_fit, start)
        elif self.n_iter == recipe.max_epochs and choice and choice.is_improving:
            warn_of_few_epochs(recipe.owner, recipe.max_epochs)

    def _kept(self, net, choice, untrained):
        """The network of the last member and the best epoch, in the units of X."""
        kept = untrained
        if self.best_epoch:
            net.load(net.finite_averages_ if choice is None else choice.best_weights)
            kept = unstack(net.module_, -1) if len(self.members) > 1 else net.module_
        if self.recipe.tied_weights:
            kept.untie()
        if self.in_coordinates:
            start = self.starts[-1]
            kept = kept.double()
            kept = start.undo(kept if self.best_epoch else start.load(kept)).float()
        return kept.to(self.device)
