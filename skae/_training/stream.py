"""Training on a stream of chunks: what is kept of them, and what is the outcome so far."""

import copy

import numpy as np

from skae._tables.running_pca import RunningPCA
from skae._training.frame import Frame, FramedNetwork
from skae._training.linear_start import NOTHING_LEFT, start_of_axes
from skae._training.messages import no_weights, warn_of_values
from skae._training.reservoir import Memory, joined
from skae._training.stream_judge import Judge
from skae._training.stream_result import StreamResult
from skae._training.streamed_network import StreamedNetwork, asleep, awake
from skae.exceptions import DivergenceError

__all__ = ["Stream"]

# Rows wait until there are an eighth as many as before them, or 512, to be worked on.
MOST_WAITING, PART_WAITING = 512, 8
FEWEST = 256  # rows before a network that starts at PCA is trained
# In each round so many rows are drawn for each new one from those that were kept, or all
# that were kept but at most so many where these are more.
REPLAY, MOST_FREE = 4, 2048
PIECE = 2**20  # values of a chunk that are worked on at a time
MEASURED = 4096  # rows that statistics are computed from
DESCRIBED = 512  # rows that codes are described by


class Stream:
    """Chunks of rows, and what has been learned of them.

    PCA follows the stream, see `RunningPCA`. A network starts at it once there are some
    hundred rows, and is trained on new rows as they come, each time together with rows
    that are drawn from a sample of all that came before: a stream that is sorted, or
    changes, is not forgotten. Rows that are held out, another sample of all so far, say
    whether the network or PCA is the outcome. While it is PCA, the network starts anew, at
    the PCA of then, when the rows have doubled and it is no better.

    Which rows are held out is decided by their values, or by the labels of their groups:
    equal rows, or rows of one group, are on one side, in whatever chunks they come.

    Nothing in here is changed in its place but the network: a copy of the object stays as
    it is when the next chunk is taken, or cannot be.

    Parameters
    ----------
    seed : int
    n_components : int
    initial : FramedNetwork or None
        A trained network to go on from.
    n_before, n_steps : int
        Rows and steps that it was trained for.
    loss_statistics : dict of str and ndarray, or None
        What the loss has learned of these.
    """

    def __init__(
        self,
        seed,
        n_components,
        initial=None,
        n_before=0,
        n_steps=0,
        loss_statistics=None,
    ):
        self.seed, self.n_components, self.n_before = seed, n_components, n_before
        self.waiting, self.n_rows = (), 0  # that wait, and that have been worked on
        self.pca = self.memory = None
        self.frame = initial and initial.frame
        self.loss_statistics = loss_statistics or {}
        self.network, self.kept = None, initial
        self.kept_at, self.n_steps = 0, n_steps  # rounds and steps, of what is kept
        self.train_errors, self.held_out_errors = (), ()

    @property
    def n_samples(self):
        """Rows of all chunks, and of the fit before them."""
        return self.n_before + self.n_rows + sum(map(len, self.waiting))

    @property
    def has_own_pca(self):
        """Whether the stream has as many rows as the fit before it, if there was one."""
        return self.n_rows >= self.n_before

    def take(self, rows, tools):
        """Add a chunk of rows.

        Parameters
        ----------
        rows : StreamRows
        tools : Tools

        Returns
        -------
        StreamResult, or None while rows are waiting for others

        Raises
        ------
        DivergenceError
            If training ended in NaN or inf and there is nothing to fall back on.
        """
        self.waiting = (*self.waiting, rows)
        n_worked_on = self.n_before + self.n_rows
        n_waiting = self.n_samples - n_worked_on
        if n_waiting < min(MOST_WAITING, n_worked_on // PART_WAITING):
            return None
        new, self.waiting = joined(self.waiting), ()
        self._wake(tools)
        step = max(MOST_WAITING, PIECE // new.X.shape[1])
        for i in range(0, len(new), step):
            result = self._round(new[i : i + step], tools)
        return result

    def settle(self, module):
        """Take over the network that is kept as it has become, with canonical codes."""
        if self.kept is not None:
            self.kept = FramedNetwork(module, self.frame)

    # -- copies ------------------------------------------------------------------------

    def __getstate__(self):
        """Numbers and arrays, on no device."""
        state = vars(self).copy()
        state["kept"] = self.kept and asleep(self.kept)
        return state

    def copied(self):
        """A copy that shares everything with this one and can be changed."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        return other

    def _wake(self, tools):
        """Make networks of what has come out of a pickle."""
        self.kept = self.kept and awake(self.kept, tools)
        if self.network is not None and not self.network.is_sound:  # a chunk was cut short
            self.network = None
        if self.network is not None:
            fitted = tools.fitted(self.loss_statistics)
            self.network.wake(fitted, self.memory.some(MEASURED))

    # -- one round ---------------------------------------------------------------------

    def _round(self, new, tools):
        was_settled = self.n_before + self.n_rows >= FEWEST
        own = self._keep(new, tools)
        self._set_frame(tools)
        tools = tools.fitted(self.loss_statistics)
        table = self.frame.table(self.memory.some(MEASURED), tools.loss)
        principal = self.pca.principal_axes(self.frame.mean, self.frame.scale)
        start = start_of_axes(principal, table, self.n_components, tools.loss)
        self.kept = self.kept and self.kept.at(self.frame, tools.loss)
        trained = self._train(own, start, tools)
        outcome, pca_error = self._decide(trained, start, tools)
        is_start = outcome is None
        is_pca = is_start and tools.settings.from_pca
        if is_start:
            outcome = tools.untrained(start, self.frame, self.seed)
        described = self.memory.some(DESCRIBED)
        return StreamResult(
            network=outcome,
            start=start,
            loss_statistics=self.loss_statistics,
            n_components=self.n_components,
            n_samples=self.n_samples,
            n_iter=len(self.train_errors),
            best_epoch=self.kept_at,
            train_errors=[*self.train_errors],
            held_out_errors=[*self.held_out_errors],
            pca_error=pca_error,
            outcome="pca" if is_pca else "trained" if self.kept_at else "unchanged",
            is_pca=is_pca and tools.loss.of_scaled,
            keeps_codes=not is_start and outcome is not trained,
            is_matched=was_settled,
            n_steps=self.n_steps,
            n_threads=tools.n_threads(outcome.module, len(new)),
            squares=self._squares(start),
            rows=self.frame.table(described, tools.loss).sample(len(described)),
        )

    def _keep(self, new, tools):
        """Count new rows, keep some of them, and return those to train on."""
        settings = tools.settings
        if self.pca is None:
            self.memory = Memory.begin(new.X.shape[1], self.seed)
            self.frame = self.frame or tools.first_frame(new, self.seed)
            at = self.frame.mean, self.frame.scale
            self.pca = RunningPCA.begin(*at, self.n_components)
        self.pca = self.pca.updated(self.frame.filled(new.X), new.weights)
        share = settings.validation_fraction if settings.early_stopping else 0.0
        self.memory, own = self.memory.updated(new, share)
        self.n_rows += len(new)
        return own

    def _squares(self, start):
        """Sum of squares of all rows, scaled; those of the fit go by the scale it found."""
        return self.n_before * len(self.frame.mean) + self.n_rows * start.total

    def _set_frame(self, tools):
        """The units of now, and before there is a network what else rows tell."""
        location_and_scale = self.pca.location_and_scale(tools.standardize)
        if self.network is None and self.kept is None:
            some = self.memory.some(MEASURED)
            self.frame = tools.frame(some, *location_and_scale, self.seed)
            self.loss_statistics = tools.loss.measure(some.X, some.weights)
        elif tools.follows and self.has_own_pca:
            self.frame = Frame(*location_and_scale)

    # -- the network -------------------------------------------------------------------

    def _train(self, own, start, tools):
        """Train on new rows and as many old ones; what it is now, a FramedNetwork."""
        train = self.memory.train
        is_begun = self.network or self.kept or self._may_begin(start, tools)
        if not (is_begun and len(train)):
            return None
        if self.network is None:
            self.network = self._begin(start, tools)
        n_old = max(REPLAY * len(own), min(MOST_FREE, len(train)))
        rows = joined([own, train.drawn(n_old)])
        error = self.network.train(tools, rows, train.n_seen)
        self.train_errors = (*self.train_errors, error)
        if not self.network.is_sound:
            return None
        return self.network.exported(tools).at(self.frame, tools.loss)

    def _may_begin(self, start, tools):
        """Whether there are enough rows, and there is something to be gained by training.

        A network that does not start at PCA has nothing else to be the outcome.
        """
        settings, loss = tools.settings, tools.loss
        if not settings.from_pca:
            return True
        keeps_pca = loss.rotation_invariant and not (tools.has_marks or tools.noise)
        is_exact = settings.is_linear or start.unexplained <= NOTHING_LEFT
        return self.n_rows >= max(FEWEST, self.n_components + 2) and not (
            settings.early_stopping and keeps_pca and is_exact
        )

    def _begin(self, start, tools):
        of_stream = self.memory.some(MEASURED), self.frame, start, self.seed, self.n_rows
        initial = self.kept and copy.deepcopy(self.kept.module)
        return StreamedNetwork(tools, *of_stream, initial, self.n_steps)

    # -- the decision ------------------------------------------------------------------

    def _decide(self, trained, start, tools):
        """Keep the network as it is now, as it was, or PCA, by rows that are held out.

        Returns
        -------
        outcome : FramedNetwork or None
            None is the start: PCA of all rows, where networks begin there.
        pca_error : float
            In the units of `score`.
        """
        is_cautious = tools.settings.early_stopping
        has_pca = tools.settings.from_pca and self.has_own_pca
        linear = tools.linear(start, self.frame)
        reference = linear if has_pca else self.kept
        self._check(reference, tools)
        judge = Judge(self.memory, self.frame, start, tools, self.seed)
        of_linear, of_trained = judge.errors(linear), trained and judge.errors(trained)
        self._note(judge, of_linear, of_trained)
        if reference is None or not (is_cautious and self.memory.has_judges):
            # What was not judged may be worse than PCA, but than nothing else.
            is_free = not (tools.settings.from_pca and is_cautious)
            best = (is_free and trained) or self.kept
        else:
            of_kept = self.kept and judge.errors(self.kept)
            of_reference = of_linear if has_pca else of_kept
            networks = reference, self.kept, trained
            best = networks[judge.best(of_reference, of_kept, of_trained)]
        best = None if best is linear else best
        if best is None and self._is_stale(of_linear, of_trained):
            self.network = None
        if best is not self.kept:
            self.kept, self.kept_at = best, len(self.train_errors) if best else 0
            self.n_steps = self.network.n_steps if best else 0
        return best, judge.mean(of_linear)

    def _note(self, judge, of_linear, of_trained):
        """Lengthen the curve of held-out errors by that after this round's training."""
        is_longer = len(self.train_errors) >= max(len(self.held_out_errors), 1)
        if not (is_longer and judge.tools.settings.early_stopping):
            return
        of_rounds = [of_trained] if self.held_out_errors else [of_linear, of_trained]
        self.held_out_errors += tuple(
            judge.mean(errors) if self.memory.has_judges and errors is not None else np.nan
            for errors in of_rounds
        )

    def _check(self, reference, tools):
        """Let go of a network that has ended in NaN or inf."""
        if self.network is None or self.network.is_sound:
            return
        self.network = None
        owner, lr = tools.settings.owner, tools.settings.lr
        if reference is None:
            raise DivergenceError(no_weights(owner, lr))
        start = "the network that the stream began with" if self.n_before else "PCA"
        warn_of_values(owner, lr, len(self.train_errors), self.kept_at, start)

    def _is_stale(self, of_linear, of_trained):
        """Whether the network would do better to start at the PCA of now."""
        has_doubled = self.network and self.n_rows >= 2 * self.network.n_rows
        return (
            has_doubled and of_trained is not None and of_trained.mean() >= of_linear.mean()
        )
