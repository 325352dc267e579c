"""A network that trains on rows as they come."""

import copy
import dataclasses
from collections.abc import Callable

import numpy as np
import torch

from skae._engine.checkpoint import restore, snapshot
from skae._engine.corruption import Hide, noise_units
from skae._engine.skorch_net import averaged_tensors
from skae._tables.dependence import Dependence
from skae._tables.fit_data import Given
from skae._torch import make_generator, thread_limit
from skae._training.frame import Frame, FramedNetwork
from skae._training.member_rows import member_rows
from skae._training.members import Members
from skae._training.settings import Settings, error_unit
from skae._training.training import Training, make_networks
from skae.losses._base import Loss

__all__ = ["StreamedNetwork", "Tools", "awake", "members_of"]


@dataclasses.dataclass(frozen=True)
class Tools:
    """What a stream works with and does not keep.

    Attributes
    ----------
    settings : Settings
        Of the stream; what depends on its rows is not in it yet.
    loss : Loss
    make_module : callable (n_inputs, n_outputs, generator) -> nn.Module
    device : torch.device
    n_features : int
    noise : recipe of skae.noise or None
    standardize : bool
    has_marks : bool
        Whether cells may be missing.
    follows : bool
        Whether the first and last layers of a network can take up another mean and scale.
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

    def fitted(self, loss_statistics):
        """With a loss that knows these statistics of the rows."""
        return dataclasses.replace(self, loss=self.loss.fitted(loss_statistics))

    def units(self, rows, frame):
        """Landmarks for the noise; None where there is none."""
        of_frame = frame.mean, frame.scale, self.standardize
        return self.noise and noise_units(rows.X, *of_frame)

    def settings_in(self, frame, units):
        """The settings of training in a frame."""
        return dataclasses.replace(
            self.settings,
            noise_and_units=self.noise and (self.noise, units),
            hide=Hide(frame.filler, 0.0) if self.has_marks else None,
            unit=self.unit(frame.scale),
        )

    def unit(self, scale):
        """What the engine's errors are multiplied by to be in the units of `score`."""
        return error_unit(self.loss, scale, self.n_features, self.standardize)

    def outline(self, seed=0):
        """An untrained network."""
        n_inputs = self.n_features * (2 if self.has_marks else 1)
        return self.make_module(n_inputs, self.n_features, make_generator(seed))

    def untrained(self, start, frame, seed):
        """The FramedNetwork before training: PCA, where networks begin there."""
        module = self.outline(seed)
        if self.settings.from_pca:
            module = start.undo(start.load(module).double()).float()
        return FramedNetwork(module.to(self.device).eval(), frame)

    def linear(self, start, frame):
        """PCA, or its kin for the loss, as a FramedNetwork without hidden layers."""
        module = start.undo(start.linear_module(self.settings.ordered).double()).float()
        return FramedNetwork(module.to(self.device).eval(), frame)

    def n_threads(self, module, n_rows):
        """Threads that are worth their cost; None is no limit."""
        batch_size, _ = self.settings.sizes(n_rows)
        return self.settings.threads(module, batch_size, self.device).limit

    def first_frame(self, rows, seed):
        """The Frame of some StreamRows by themselves."""
        given = Given(rows.X, weights=rows.weights)
        return self.frame(rows, *given.location_and_scale(self.standardize), seed)

    def frame(self, rows, mean, scale, seed):
        """The Frame of this mean and scale, its filler learned from some StreamRows."""
        if not self.has_marks:
            return Frame(mean, scale)
        given = Given(rows.X, weights=rows.weights)
        return Frame(mean, scale, given.filler(mean, scale, seed), has_marks=True)


def members_of(rows, frame, loss, start):
    """The Members of one network that trains on all of some StreamRows."""
    everyone = np.arange(len(rows))
    nothing_known = Dependence.none(len(rows))
    table = frame.table(rows, loss)
    return Members(table, [everyone], [everyone[:0]], [start], nothing_known)


class StreamedNetwork:
    """A network that trains on rows as they come, and its optimizer.

    Parameters
    ----------
    tools : Tools
    rows : StreamRows
        Of the stream so far.
    frame : Frame
        In which it trains for as long as it lives.
    start : Start
        PCA of the rows so far.
    seed : int
    n_rows : int
        Rows of the stream so far.
    initial : Network or None
        A trained network to go on from, of this frame.
    first_step : int
        Steps that it was trained for.
    """

    def __init__(self, tools, rows, frame, start, seed, n_rows, initial, first_step):
        self.frame, self.start, self.seed, self.n_rows = frame, start, seed, n_rows
        self.is_new, self.first_step = initial is None, first_step
        self.units = tools.units(rows, frame)
        self._build(tools, rows, initial)

    def _build(self, tools, rows, initial):
        settings = tools.settings_in(self.frame, self.units)
        settings = dataclasses.replace(settings, first_step=self.first_step)
        members = members_of(rows, self.frame, tools.loss, self.start)
        made = make_networks(members, settings, tools.make_module, initial, self.seed)
        training = Training(members, tools.loss, settings, made, self.seed, tools.device)
        train = member_rows(members, tools.loss, tools.device, made.in_coordinates)
        error = training.mean(training.reference(train))
        self.limit = tools.n_threads(made.joined, len(rows))
        self.untrained, self.in_coordinates = made.last, made.in_coordinates
        self.net = training.build(train, None, error, None).initialize()
        self.net.notify("on_train_begin", X=train.train, y=None)
        self.is_sound = True

    def train(self, tools, rows, n_seen):
        """One pass over some StreamRows.

        Parameters
        ----------
        n_seen : int
            Rows to train on in all of the stream so far, which the batch size goes by.

        Returns
        -------
        error : float
            Mean training error, in the units of `score`. The attribute `is_sound` says
            whether the pass has come to its end, and in finite numbers.
        """
        net, self.is_sound = self.net, False
        members = members_of(rows, self.frame, tools.loss, self.start)
        train, _ = member_rows(members, tools.loss, tools.device, self.in_coordinates)
        net.batch_size = min(tools.settings.sizes(n_seen)[0], len(rows))
        net.initialize_history()
        net.history.new_epoch()
        with thread_limit(self.limit):
            batches = net.get_iterator(train, training=True)
            net.run_single_epoch(
                batches, training=True, prefix="train", step_fn=net.train_step
            )
        self.is_sound = net.is_finite_
        return net.history[-1, "train_loss"]

    @property
    def n_steps(self):
        """Steps that the network was trained for, with those of before the stream."""
        return self.net.n_steps_

    @torch.no_grad()
    def exported(self, tools):
        """The FramedNetwork with the averaged weights, free of coordinates of its own."""
        module = copy.deepcopy(self.untrained).to(tools.device)
        torch._foreach_copy_(averaged_tensors(module), self.net.averages_)
        if tools.settings.tied_weights:
            module.untie()
        if self.in_coordinates:
            module = self.start.undo(module.cpu().double()).float().to(tools.device)
        return FramedNetwork(module.eval(), self.frame)

    def __getstate__(self):
        """Numbers and arrays: no device, no net."""
        state = vars(self).copy()
        if not isinstance(self.net, dict):
            state["net"] = snapshot(self.net) if self.is_sound else None
            del state["untrained"]
        return state

    def wake(self, tools, rows):
        """Be ready to train, after a way through a pickle."""
        state = self.net
        if isinstance(state, dict):
            self._build(tools, rows, None if self.is_new else tools.outline())
            restore(self.net, state)


def asleep(framed):
    """A FramedNetwork with arrays in the place of its network, for a pickle."""
    if isinstance(framed.module, dict):
        return framed
    tensors = framed.module.state_dict().items()
    module = {name: tensor.cpu().numpy() for name, tensor in tensors}
    return dataclasses.replace(framed, module=module)


def awake(framed, tools):
    """The FramedNetwork that `asleep` may have put to sleep."""
    if not isinstance(framed.module, dict):
        return framed
    module = tools.outline()
    module.load_state_dict({k: torch.tensor(a) for k, a in framed.module.items()})
    return dataclasses.replace(framed, module=module.to(tools.device).eval())
