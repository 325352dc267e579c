"""A network that is trained on rows as they come."""

import copy
import dataclasses
from collections.abc import Callable

import numpy as np
import torch

from skae._engine.checkpoint import restore, snapshot
from skae._engine.corruption import Hide, noise_units
from skae._engine.skorch_net import averaged_tensors
from skae._tables.dependence import Dependence
from skae._tables.exposure import Exposure
from skae._torch import make_generator, thread_limit
from skae._training.frame import Frame, FramedNetwork
from skae._training.linear_start import hold
from skae._training.member_rows import member_rows
from skae._training.members import Members
from skae._training.networks import make_networks
from skae._training.settings import Settings, error_unit
from skae._training.training import Training
from skae.losses._base import Loss

__all__ = ["StreamedNetwork", "Tools", "asleep", "awake", "members_of"]

# A stream passes over its rows a few times only, and needs more steps in a pass than a fit:
# batches are those of a fit of so many times fewer rows, which are a quarter as large.
SMALLER = 16


@dataclasses.dataclass(frozen=True)
class Tools:
    """Everything that a stream needs and does not keep.

    Attributes
    ----------
    settings : Settings
        Settings without those that depend on the rows.
    loss : Loss
    make_module : callable (n_inputs, n_outputs, generator) -> Network
    device : torch.device
    n_features : int
    noise : noise of skae.noise or None
    standardize : bool
    has_marks : bool
        Whether networks are told which cells are missing.
    follows : bool
        Whether a change of mean and scale can be folded into the layers of a network.
    clip : bool or "auto"
        See `Extremes.ends`.
    ends : (low, high), ndarrays of shape (n_features,), or None
        Ends at which features are held, in the units of X.
    exposure : Exposure or None
        Exposure of rows of counts.
    """

    settings: Settings
    loss: Loss
    make_module: Callable
    device: torch.device
    n_features: int
    noise: Callable | None
    standardize: bool
    has_marks: bool
    follows: bool
    clip: bool | str = False
    ends: tuple | None = None
    exposure: Exposure | None = None

    def measured(self, rows):
        """Return the statistics of StreamRows that the loss needs."""
        X, exposed = self.loss.within(rows.X), rows.given(self.exposure).exposed(rows.X)
        X = X if exposed is None else exposed.followed(X)
        return self.loss.measure(X, rows.weights)

    def fitted(self, loss_statistics, extremes):
        """Return these tools with a loss that has the statistics, and with ends."""
        ends = extremes and extremes.ends(self.clip, self.loss.can_hold)
        loss = self.loss.fitted(loss_statistics)
        return dataclasses.replace(self, loss=loss, ends=ends)

    def units(self, rows, frame):
        """Return the `Units` of StreamRows that noise refers to, or None without noise."""
        if self.noise is None:
            return None
        seen = rows.given(self.exposure).seen(rows.X)
        return noise_units(seen, frame.mean, frame.scale, self.standardize)

    def settings_in(self, frame, units, first_step=0):
        """Return the settings of training in a frame."""
        loss, n_features = self.loss, self.n_features
        return dataclasses.replace(
            self.settings,
            noise_and_units=None if self.noise is None else (self.noise, units),
            hide=Hide(frame.filler, 0.0) if self.has_marks else None,
            unit=error_unit(loss, frame.scale, n_features, self.standardize),
            first_step=first_step,
        )

    def n_threads(self, module, n_rows):
        """Return the largest number of threads that is worth it; None is no limit."""
        batch_size, _ = self.settings.sizes(n_rows)
        return self.settings.threads(module, batch_size, self.device).limit

    def outline(self, seed=0):
        """Return an untrained network."""
        n_inputs = self.n_features * (2 if self.has_marks else 1)
        return self.make_module(n_inputs, self.n_features, make_generator(seed))

    def untrained(self, start, frame, seed):
        """Return the network before training: PCA, if networks start from PCA."""
        module, from_pca = self.outline(seed), self.settings.from_pca
        if from_pca:
            module = start.undo(start.load(module).double()).float()
        return FramedNetwork(module.to(self.device).eval(), frame, holds=not from_pca)

    def linear(self, start, frame):
        """Return PCA, or the linear start of the loss, without hidden layers."""
        module = start.undo(start.linear_module(self.settings.ordered).double()).float()
        return FramedNetwork(module.to(self.device).eval(), frame, holds=False)

    def first_frame(self, rows, seed):
        """Return the Frame of StreamRows alone."""
        given = rows.given(self.exposure)
        return self.frame(rows, *given.location_and_scale(self.standardize), seed)

    def frame(self, rows, mean, scale, seed):
        """Return the Frame with this mean and scale, and a filler fitted to StreamRows."""
        if not self.has_marks:
            return Frame(mean, scale, exposure=self.exposure)
        filler = rows.given(self.exposure).filler(mean, scale, seed)
        return Frame(mean, scale, filler, has_marks=True, exposure=self.exposure)


def members_of(rows, frame, tools, start):
    """Return the Members of one network that is trained on all of the StreamRows."""
    everyone = np.arange(len(rows))
    independent = Dependence.none(len(rows))
    table = frame.table(rows, tools.loss, tools.ends)
    return Members(table, [everyone], [everyone[:0]], [start], independent)


class StreamedNetwork:
    """A network that is trained on rows as they come, with its optimizer.

    Parameters
    ----------
    tools : Tools
    rows : StreamRows
        Rows of the stream so far.
    frame : Frame
        Frame in which it is trained from beginning to end.
    start : Start
        PCA of the rows so far, in this frame.
    seed : int
    n_rows : int
        Number of rows of the stream so far.
    initial : Network or None
        Trained network to go on with, for the frame.
    first_step : int
        Number of steps that `initial` was trained for.

    Attributes
    ----------
    is_sound : bool
        Whether the last pass has come to its end, and in finite numbers.
    """

    def __init__(self, tools, rows, frame, start, seed, n_rows, initial=None, first_step=0):
        self.frame, self.start, self.seed, self.n_rows = frame, start, seed, n_rows
        self.is_new, self.first_step = initial is None, first_step
        self.units = tools.units(rows, frame)
        self._build(tools, rows, initial)

    def _build(self, tools, rows, initial):
        """Make the net, in its state before the first step."""
        settings = tools.settings_in(self.frame, self.units, self.first_step)
        members = members_of(rows, self.frame, tools, self.start)
        made = make_networks(members, settings, tools.make_module, initial, self.seed)
        training = Training(members, tools.loss, settings, made, self.seed, tools.device)
        both = member_rows(members, tools.loss, tools.device, made.in_coordinates)
        linear_error = training.mean(training.reference(both))
        self.limit = tools.n_threads(made.joined, len(rows))
        self.untrained, self.in_coordinates = made.last, made.in_coordinates
        self.net = training.build(both, None, linear_error, None).initialize()
        self.net.notify("on_train_begin", X=both.train, y=None)
        self.is_sound = True

    @property
    def n_steps(self):
        """Number of steps that the network was trained for."""
        return self.net.n_steps_

    def train(self, tools, rows, n_seen):
        """Train on StreamRows once.

        Parameters
        ----------
        tools : Tools
        rows : StreamRows
        n_seen : int
            Number of training rows of the stream so far, which determines the batch size.

        Returns
        -------
        error : float
            Mean training error, in the units of `score`.
        """
        net, self.is_sound = self.net, False
        members = members_of(rows, self.frame, tools, self.start)
        train, _ = member_rows(members, tools.loss, tools.device, self.in_coordinates)
        starts = [self.start] if self.in_coordinates else None
        net.objective.loss = hold(tools.loss, members.table.ends, starts)
        net.batch_size = min(tools.settings.sizes(max(1, n_seen // SMALLER))[0], len(rows))
        if isinstance(tools.settings.lr, str):
            net.lr = net.network.lr(net.batch_size)
        net.initialize_history()
        net.history.new_epoch()
        with thread_limit(self.limit):
            batches = net.get_iterator(train, training=True)
            net.run_single_epoch(
                batches, training=True, prefix="train", step_fn=net.train_step
            )
        self.is_sound = net.is_finite_
        return net.history[-1, "train_loss"]

    @torch.no_grad()
    def exported(self, tools):
        """Return the network with averaged weights, for rows of the frame."""
        module = copy.deepcopy(self.untrained).to(tools.device)
        torch._foreach_copy_(averaged_tensors(module), self.net.averages_)
        if tools.settings.tied_weights:
            module.untie()
        if self.in_coordinates:
            module = self.start.undo(module.cpu().double()).float().to(tools.device)
        return FramedNetwork(module.eval(), self.frame)

    def __getstate__(self):
        """Return the state with the net as plain values and arrays."""
        state = vars(self).copy()
        if not isinstance(self.net, dict):
            state["net"] = snapshot(self.net) if self.is_sound else None
            del state["untrained"]
        return state

    def wake(self, tools, rows):
        """Make the net anew, if this comes from a pickle."""
        state = self.net
        if isinstance(state, dict):
            self._build(tools, rows, None if self.is_new else tools.outline())
            restore(self.net, state)


def asleep(framed):
    """Return a FramedNetwork with arrays instead of its network, for a pickle."""
    if isinstance(framed.module, dict):
        return framed
    tensors = framed.module.state_dict().items()
    module = {name: tensor.cpu().numpy() for name, tensor in tensors}
    return dataclasses.replace(framed, module=module)


def awake(framed, tools):
    """Return the FramedNetwork for which `asleep` has returned `framed`."""
    if not isinstance(framed.module, dict):
        return framed
    module = tools.outline()
    module.load_state_dict({k: torch.tensor(a) for k, a in framed.module.items()})
    return dataclasses.replace(framed, module=module.to(tools.device).eval())
