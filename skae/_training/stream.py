"""Training on the chunks of a stream."""

import copy
import dataclasses

import numpy as np

from skae._tables.ranges import Extremes
from skae._tables.running_pca import RunningPCA
from skae._training.frame import Frame
from skae._training.linear_start import NOTHING_LEFT, start_of_axes
from skae._training.messages import no_weights, warn_of_values
from skae._training.reservoir import Memory, joined
from skae._training.stream_judge import Judge
from skae._training.stream_result import StreamResult
from skae._training.streamed_network import StreamedNetwork, asleep, awake
from skae.exceptions import DivergenceError

__all__ = ["Stream"]

# Rows wait until there are 512 of them, or an eighth as many as the rows before.
MOST_WAITING, PART_WAITING = 512, 8
FEWEST = 256  # number of rows from which a network that starts from PCA is trained
# In each round 4 rows are drawn from the memory for each new one, or all rows of the
# memory, but at most 2048, if these are more.
REPLAY, MOST_FREE = 4, 2048
PIECE = 2**20  # largest number of values of a chunk that are used in one round
MEASURED = 4096  # number of rows from which statistics are computed
DESCRIBED = 512  # number of rows from which statistics of the codes are computed


class Stream:
    """Training on the chunks of a stream.

    PCA follows the stream, see `RunningPCA`. A network starts from PCA once there are some
    hundred rows. It is trained in rounds, on the new rows together with rows that are drawn
    from a sample of all rows before, so that a stream that is sorted or changes is not
    forgotten. Held-out rows, which are another sample of all rows so far, decide after
    each round whether the outcome is the network or PCA. As long as it is PCA, the network
    starts anew from the current PCA whenever the number of rows has doubled, if it is no
    better than PCA.

    The values of a row, or the label of its group, decide whether it is held out. Equal
    rows and rows of one group are therefore treated alike, in all chunks.

    All attributes except the network are replaced and not changed. If a round fails, a
    copy that was made before it is as it was.

    Parameters
    ----------
    seed : int
    n_components : int
    initial : FramedNetwork or None
        Trained network to go on with.
    n_before : int
        Number of rows that it was trained on.
    n_steps : int
        Number of steps that it was trained for.
    loss_statistics : dict of str and ndarray, or None
        Statistics that the loss has computed from these rows.
    extremes : Extremes or None
        Smallest and largest values of these rows.
    """

    def __init__(
        self,
        seed,
        n_components,
        initial=None,
        n_before=0,
        n_steps=0,
        loss_statistics=None,
        extremes=None,
    ):
        self.seed, self.n_components = seed, n_components
        self.n_before, self.n_steps = n_before, n_steps
        self.waiting, self.n_rows = (), 0  # chunks that wait, number of the other rows
        self.pca = self.memory = None
        self.frame = None if initial is None else initial.frame
        self.loss_statistics, self.extremes = loss_statistics or {}, extremes
        self.network, self.kept, self.kept_at = None, initial, 0
        self.train_errors, self.held_out_errors = (), ()

    @property
    def n_samples(self):
        """Number of rows of all chunks, and of the fit before them."""
        return self.n_before + self.n_rows + sum(map(len, self.waiting))

    @property
    def has_own_pca(self):
        """Whether PCA of the stream is of at least as many rows as the fit before it."""
        return self.n_rows >= self.n_before

    def take(self, rows, tools):
        """Take a chunk.

        Parameters
        ----------
        rows : StreamRows
        tools : Tools

        Returns
        -------
        StreamResult, or None if the rows wait for others

        Raises
        ------
        DivergenceError
            If training ends in NaN or inf, and there is nothing to fall back on.
        """
        self.waiting = (*self.waiting, rows)
        n_before = self.n_before + self.n_rows
        if self.n_samples - n_before < min(MOST_WAITING, n_before // PART_WAITING):
            return None
        new, self.waiting = joined(self.waiting), ()
        self._wake(tools)
        step = max(MOST_WAITING, PIECE // new.X.shape[1])
        for i in range(0, len(new), step):
            result = self._round(new[i : i + step], tools)
        return result

    def settle(self, network):
        """Take the network of the result back, after its codes were made canonical."""
        if self.kept is not None:
            self.kept = dataclasses.replace(self.kept, module=network, frame=self.frame)

    # -- copies ------------------------------------------------------------------------

    def __getstate__(self):
        """Return the state with arrays instead of networks."""
        kept = None if self.kept is None else asleep(self.kept)
        return vars(self) | {"kept": kept}

    def copied(self):
        """Return a copy that shares the values of all attributes."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        return other

    def _wake(self, tools):
        """Make the networks anew, if this comes from a pickle."""
        if self.kept is not None:
            self.kept = awake(self.kept, tools)
        if self.network is not None and not self.network.is_sound:  # a round has failed
            self.network = None
        if self.network is not None:
            some = self.memory.some(MEASURED)
            self.network.wake(tools.fitted(self.loss_statistics, self.extremes), some)

    # -- one round ---------------------------------------------------------------------

    def _round(self, new, tools):
        """Learn from new rows, and return the StreamResult."""
        is_matched = self.n_before + self.n_rows >= FEWEST
        own = self._keep(new, tools)
        self._set_frame(tools)
        tools = tools.fitted(self.loss_statistics, self.extremes)
        table = self.frame.table(self.memory.some(MEASURED), tools.loss)
        principal = self.pca.principal_axes(self.frame.mean, self.frame.scale)
        start = start_of_axes(principal, table, self.n_components, tools.loss)
        if self.kept is not None:
            self.kept = self.kept.at(self.frame, tools.loss)
        trained = self._train(own, start, tools)
        kept, pca_error = self._decide(trained, start, tools)
        result = self._result(kept, start, pca_error, tools)
        keeps_codes = kept is not None and kept is not trained
        return dataclasses.replace(
            result,
            keeps_codes=keeps_codes,
            is_matched=is_matched,
            n_threads=tools.n_threads(result.network.module, len(new)),
        )

    def _result(self, kept, start, pca_error, tools):
        """Return the StreamResult; `kept` is None for PCA."""
        is_pca = kept is None and tools.settings.from_pca
        outcome = "trained" if self.kept_at else "unchanged"
        described = self.memory.some(DESCRIBED)
        return StreamResult(
            network=kept or tools.untrained(start, self.frame, self.seed),
            start=start,
            loss_statistics=self.loss_statistics,
            extremes=self.extremes,
            n_components=self.n_components,
            n_samples=self.n_samples,
            n_iter=len(self.train_errors),
            best_epoch=self.kept_at,
            train_errors=[*self.train_errors],
            held_out_errors=[*self.held_out_errors],
            pca_error=pca_error,
            outcome="pca" if is_pca else outcome,
            is_pca=is_pca and tools.loss.of_scaled,
            n_steps=self.n_steps,
            squares=self._squares(start),
            rows=self.frame.table(described, tools.loss).sample(len(described)),
        )

    def _keep(self, new, tools):
        """Add new rows to PCA and to the memory, and return those to train on."""
        settings = tools.settings
        self.extremes = Extremes.of(new.X, new.weights).joined(self.extremes)
        if self.pca is None:
            self.memory = Memory.begin(new.X.shape[1], self.seed)
            self.frame = self.frame or tools.first_frame(new, self.seed)
            units = self.frame.mean, self.frame.scale
            self.pca = RunningPCA.begin(*units, self.n_components)
        self.pca = self.pca.updated(self.frame.seen(new), new.weights)
        share = settings.validation_fraction if settings.early_stopping else 0.0
        self.memory, own = self.memory.updated(new, share)
        self.n_rows += len(new)
        return own

    def _set_frame(self, tools):
        """Set the frame and, as long as there is no network, the statistics of the loss."""
        mean, scale = self.pca.location_and_scale(tools.standardize)
        if self.network is None and self.kept is None:
            some = self.memory.some(MEASURED)
            self.frame = tools.frame(some, mean, scale, self.seed)
            self.loss_statistics = tools.measured(some)
        elif tools.follows and self.has_own_pca:
            self.frame = Frame(mean, scale, exposure=tools.exposure)

    def _squares(self, start):
        """Return the sum of the squares of all rows, in the frame.

        For the rows of a fit before the stream it follows from the scale.
        """
        return self.n_before * len(self.frame.mean) + self.n_rows * start.total

    # -- the network -------------------------------------------------------------------

    def _train(self, own, start, tools):
        """Train on new rows and on others from the memory.

        Returns
        -------
        FramedNetwork or None
            The network afterwards. None if it was not trained, or not to a good end.
        """
        others = self.memory.train
        has_begun = self.network or self.kept or self._may_begin(start, tools)
        if not (has_begun and len(others)):
            return None
        if self.network is None:
            self.network = self._begin(start, tools)
        n_others = max(REPLAY * len(own), min(MOST_FREE, len(others)))
        rows = joined([own, others.drawn(n_others)])
        error = self.network.train(tools, rows, others.n_seen)
        self.train_errors = (*self.train_errors, error)
        if not self.network.is_sound:
            return None
        return self.network.exported(tools).at(self.frame, tools.loss)

    def _may_begin(self, start, tools):
        """Whether there are enough rows, and training can gain anything.

        A network that does not start from PCA is trained from the first row on.
        """
        settings, loss = tools.settings, tools.loss
        if not settings.from_pca:
            return True
        keeps_pca = loss.rotation_invariant and not (tools.has_marks or tools.noise)
        is_exact = settings.is_linear or start.unexplained <= NOTHING_LEFT
        is_settled = settings.early_stopping and keeps_pca and is_exact
        return self.n_rows >= max(FEWEST, self.n_components + 2) and not is_settled

    def _begin(self, start, tools):
        """Return a new network, or one that goes on with the network that is kept."""
        initial = None if self.kept is None else copy.deepcopy(self.kept.module)
        return StreamedNetwork(
            tools,
            self.memory.some(MEASURED),
            self.frame,
            start,
            self.seed,
            self.n_rows,
            initial=initial,
            first_step=self.n_steps,
        )

    # -- the decision ------------------------------------------------------------------

    def _decide(self, trained, start, tools):
        """Decide which network is kept.

        Parameters
        ----------
        trained : FramedNetwork or None
        start : Start
        tools : Tools

        Returns
        -------
        kept : FramedNetwork or None
            The network after training, the network that was kept before, or None for PCA.
        pca_error : float
            Mean error of PCA, in the units of `score`.
        """
        is_cautious = tools.settings.early_stopping
        has_pca = tools.settings.from_pca and self.has_own_pca
        linear = tools.linear(start, self.frame)
        reference = linear if has_pca else self.kept
        self._check(reference, tools)
        judge = Judge(self.memory, self.frame, start, tools, self.seed)
        of_linear = judge.errors(linear)
        of_trained = None if trained is None else judge.errors(trained)
        self._lengthen_curve(judge, of_linear, of_trained, is_cautious)
        if reference is None or not (is_cautious and self.memory.has_judges):
            # A network that was not judged may be worse than PCA, but not than nothing.
            is_free = not (tools.settings.from_pca and is_cautious)
            best = (is_free and trained) or self.kept
        else:
            of_kept = None if self.kept is None else judge.errors(self.kept)
            of_reference = of_linear if has_pca else of_kept
            networks = reference, self.kept, trained
            best = networks[judge.best(of_reference, of_kept, of_trained)]
        best = None if best is linear else best
        if best is None and self._is_stale(of_linear, of_trained):
            self.network = None
        if best is not self.kept:
            self.kept, self.kept_at = best, 0 if best is None else len(self.train_errors)
            self.n_steps = 0 if best is None else self.network.n_steps
        return best, judge.mean(of_linear)

    def _check(self, reference, tools):
        """Drop a network that has ended in NaN or inf, and warn or raise."""
        if self.network is None or self.network.is_sound:
            return
        owner, lr = tools.settings.owner, self.network.net.lr
        self.network = None
        if reference is None:
            raise DivergenceError(no_weights(owner, lr))
        start = "the network that the stream began with" if self.n_before else "PCA"
        warn_of_values(owner, lr, len(self.train_errors), self.kept_at, start)

    def _lengthen_curve(self, judge, of_linear, of_trained, is_cautious):
        """Add the held-out error after training, which is NaN if no rows are held out."""
        has_trained = len(self.train_errors) >= max(len(self.held_out_errors), 1)
        if not (has_trained and is_cautious):
            return
        new = [of_trained] if self.held_out_errors else [of_linear, of_trained]
        self.held_out_errors += tuple(
            judge.mean(errors) if self.memory.has_judges and errors is not None else np.nan
            for errors in new
        )

    def _is_stale(self, of_linear, of_trained):
        """Whether the network should start anew from the current PCA."""
        has_doubled = self.network and self.n_rows >= 2 * self.network.n_rows
        if not has_doubled or of_trained is None:
            return False
        return of_trained.mean() >= of_linear.mean()
