"""The net of skorch that trains a network, with an epoch of few operations."""

import contextlib
import copy
import math

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer
from skorch.helper import predefined_split
from torch import nn

from skae._engine.backprop import Backprop, is_plain
from skae._engine.batches import Batches
from skae._engine.deadline import Deadline
from skae._engine.optimizer import BETAS, AdamW
from skae._engine.run import ALONE
from skae._torch import make_generator
from skae.modules._base import copied, set_generators

__all__ = [
    "WARM_UP",
    "AutoencoderNet",
    "Callback",
    "Interrupted",
    "StopTraining",
    "averaged_tensors",
    "build_net",
    "check_callbacks",
]

WARM_UP = 30  # steps in which the learning rate rises, unless it is said otherwise
SLOW_DOWN = 500  # steps after which it has fallen by a factor of sqrt(2)
TAIL = 8  # averages cover about the last eighth of the steps


class StopTraining(Exception):
    """Ends the fit loop, and the fit is successful."""


class Interrupted(BaseException):
    """Ctrl-C inside the fit loop, as an exception that skorch does not catch.

    Attributes
    ----------
    is_kept : bool
        Whether the estimator keeps the best epoch so far, which it does with
        `warm_start=True`.
    """

    is_kept = False


class AutoencoderNet(NeuralNet):
    """skorch's net, with an epoch that is as fast as a loop written by hand.

    Batches are rows of whole tensors, and the loss is read once in an epoch. Callbacks for
    batches are notified only if there are any. The weights that are validated and kept are
    averages of the weights over the last part of the trajectory, by polynomial decay
    (Shamir and Zhang 2013, "Stochastic Gradient Descent for Non-smooth Optimization"). They
    make up for the noise of large steps if training ends before the learning rate has
    fallen, be it for want of improvement or because a stream has no last epoch.

    There are more than twenty methods because half of them override steps of skorch's
    training, each by its own name.

    Parameters
    ----------
    network : Network
        The network that is trained. Users see it as `module_`.
    objective : Objective
        Its `unit` turns errors into the units of the history and of callbacks, which get
        the mean over the members of a stack.
    choice : Choice or None
    bfloat16 : bool
        Whether matrix products are computed in bfloat16.
    checkpoint : Checkpoint or None
    deadline : Deadline or None
        After this time no step is taken, except that there is at least one. An epoch that
        it cuts short is judged like the others.
    seed : int
        Seed of the generators of layers, and of the random numbers that a user's network
        draws from the global generators.
    first_step : int
        Number of steps that the network was trained for before. The learning rate goes on
        from there.
    warm_up : int
        Number of steps in which the learning rate rises.
    peers : Alone or Peers
        The processes that train the network.

    Attributes
    ----------
    best_error_ : float
        Mean error of the held-out rows in the best epoch so far, before it is multiplied by
        the unit.
    is_finite_ : bool
        Whether the loss and the averaged weights of the last epoch are finite.
    is_out_of_time_ : bool
        Whether the deadline has ended training.
    finite_averages_ : list of Tensor or None
        Averaged weights after the last epoch in which they were finite. Only set if there
        is no choice.
    """

    is_finite_ = True  # also if Ctrl-C comes before anything was set
    is_out_of_time_ = False
    is_led_ = False  # whether callbacks of the first of several processes lead the others
    backprop_ = judged_ = None

    def __init__(
        self,
        network,
        objective,
        *,
        choice=None,
        bfloat16=False,
        checkpoint=None,
        deadline=None,
        seed=0,
        first_step=0,
        warm_up=WARM_UP,
        peers=ALONE,
        **kwargs,
    ):
        super().__init__(network.unwrapped, objective, **kwargs)
        # With setattr skorch would treat them as modules of the net.
        vars(self).update(network=network, objective=objective)
        self.choice = choice
        self.bfloat16 = bfloat16
        self.checkpoint = checkpoint
        self.deadline = deadline or Deadline()
        self.seed = seed
        self.first_step = first_step
        self.warm_up = warm_up
        self.peers = peers

    @property
    def lr(self):
        """The learning rate. Setting it sets the rate of all weights."""
        return vars(self)["lr"]

    @lr.setter
    def lr(self, rate):
        vars(self)["lr"] = rate
        for group in getattr(vars(self).get("optimizer_"), "param_groups", []):
            group["lr"] = rate

    @property
    def _default_callbacks(self):
        return [("epoch_timer", EpochTimer())]

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        super().on_train_begin(net, X, y, **kwargs)
        self.n_steps_, self.n_averaged_ = self.first_step, 0
        self.n_planned_, self.backprop_ = math.inf, None
        self.weights_ = averaged_tensors(self.module_)
        set_generators(self.network, self.seed, self.device)
        self.states_ = self.network.private_states(self.seed, self.device, training=True)
        self.noise_generator_ = self.objective.generator()
        self.averages_ = [p.detach().clone() for p in self.weights_]
        self.judged_ = None
        has_for_batches = any(map(_wants_batches, dict(self.callbacks_).values()))
        self.is_led_, self.has_batch_callbacks_ = self.peers.gather(
            (self.peers.are_several and bool(self.callbacks), has_for_batches)
        )[0]
        self.is_finite_, self.finite_averages_, self.n_resumed_ = True, None, 0
        self.best_error_, self.is_out_of_time_ = None, False
        if self.checkpoint is not None:
            self.checkpoint.resume(self)
            self.n_resumed_ = len(self.history)
            self._keep_averages()

    def on_epoch_begin(self, net, **kwargs):
        if len(self.history) and self._is_over():
            raise StopTraining
        # An epoch that was cut short is begun again by the fit that goes on.
        if self.checkpoint is not None and not self.is_out_of_time_:
            self.checkpoint.note(self)
        if len(self.history) and (self.is_out_of_time_ or self.deadline.is_over):
            self.is_out_of_time_ = True
            raise StopTraining
        super().on_epoch_begin(net, **kwargs)

    def _is_over(self):
        return not self.is_finite_ or (self.choice is not None and self.choice.is_over)

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        epochs = self.max_epochs if epochs is None else epochs
        self.n_planned_ = epochs * len(self.get_iterator(X, training=True))
        if self.checkpoint is not None:
            self.checkpoint.resume_rates(self)
        try:
            super().fit_loop(X, y, epochs - self.n_resumed_, **fit_params)
        except StopTraining:
            pass
        except KeyboardInterrupt as interrupt:
            raise Interrupted from interrupt
        return self

    def notify(self, method_name, **kwargs):
        # skorch's callbacks raise KeyboardInterrupt to ask for the end of training.
        stop, is_outside = None, method_name in {"on_train_begin", "on_train_end"}
        try:
            super().notify(method_name, **kwargs)
        except KeyboardInterrupt as error:
            # It is Ctrl-C if there are no callbacks that could have raised it, or if there
            # is no loop to leave, before the first epoch and after the last.
            if is_outside or not self.callbacks:
                raise Interrupted from error
            stop = error
        must_stop = stop is not None
        if self.is_led_ and method_name != "on_train_end":
            must_stop = self._follow(must_stop, method_name == "on_grad_computed")
        if must_stop:
            raise StopTraining from stop

    @torch.no_grad()
    def _follow(self, must_stop, has_gradients):
        """Take over what callbacks of the first process have changed.

        These are learning rates, weights, gradients if they have just been computed, and
        whether training must stop, which is returned.
        """
        tensors = [w.detach() for w in averaged_tensors(self.module_)]
        if has_gradients:
            tensors = [p.grad for p in self.module_.parameters() if p.requires_grad]
        groups = self.optimizer_.param_groups
        rates = [self.lr, *(group["lr"] for group in groups), must_stop]
        values = [t.flatten().double().cpu() for t in tensors]
        values = self.peers.of_first(torch.cat([*values, torch.tensor(rates).double()]))
        *parts, rates = values.split([*(t.numel() for t in tensors), len(rates)])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.reshape(tensor.shape))
        lr, *of_groups, must_stop = rates.tolist()
        vars(self)["lr"] = lr
        for group, rate in zip(groups, of_groups, strict=True):
            group["lr"] = rate
        return bool(must_stop)

    def train_step(self, batch, **fit_params):
        self._set_rate()
        loss, output = self._backward(batch)
        if self.peers.are_several:
            weights = [w for w in self.module_.parameters() if w.requires_grad]
            loss = self.peers.reduce(weights, loss, len(batch.inputs))
        if self.has_batch_callbacks_:
            self.notify(
                "on_grad_computed",
                named_parameters=list(self.get_all_learnable_params()),
                batch=batch[:2],
                training=True,
            )
        self.optimizer_.step()
        vars(self)["n_steps_"] += 1  # skorch's setattr takes as long as a small product
        return {"loss": loss.detach(), "y_pred": output.detach()}

    def _backward(self, batch):
        """Compute the gradients of a batch; return its loss and the reconstruction."""
        if not batch.inputs.shape[-2]:  # all its rows are in other processes
            return batch.inputs.sum(), batch.inputs
        if self.backprop_ is not None:
            inputs = self.objective.inputs(batch, self.noise_generator_)
            return self.backprop_(inputs, batch)
        self.optimizer_.zero_grad()
        loss, output = self.objective.step(
            self.network, batch, self.noise_generator_, self.bfloat16
        )
        loss.backward()
        return loss, output

    def _set_rate(self):
        """Set the factor of all learning rates. Rates are set and read by callbacks.

        The rate falls slowly as long as there are steps, and in a fit also with half a wave
        of the cosine, to nearly zero at the last step of the last epoch (Loshchilov and
        Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts").
        """
        step = self.n_steps_
        factor = min(1.0, (step + 1) / self.warm_up) / math.sqrt(1 + step / SLOW_DOWN)
        done = min(1.0, (step - self.first_step) / self.n_planned_)
        self.optimizer_.factor = factor * (1 + math.cos(math.pi * done)) / 2

    @torch.no_grad()
    def _average(self):
        """Include the weights in their averages."""
        n = vars(self)["n_averaged_"] = self.n_averaged_ + 1
        torch._foreach_lerp_(self.averages_, self.weights_, TAIL / (n + TAIL))

    @contextlib.contextmanager
    def averaged(self):
        """Return a context in which the module has the averaged weights."""
        kept = [w.detach().clone() for w in self.weights_]
        self.load(self.averages_)
        yield
        self.load(kept)

    @torch.no_grad()
    def load(self, weights):
        """Copy tensors into the weights of the module that are averaged."""
        torch._foreach_copy_([w.detach() for w in self.weights_], list(weights))

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        if iterator is None:
            return
        if not training:
            self._validate(iterator.dataset)
            return
        if not self.module_.training:
            self._set_training(True)
        # Callbacks may freeze weights, and a stream may replace them.
        if self.backprop_ is None or self.callbacks or math.isinf(self.n_planned_):
            self.backprop_ = self._new_backprop()
        # The loss is a sum over the members.
        unit = self.objective.unit / len(iterator.dataset.index)
        with self.states_:
            total, n_steps = self._steps(iterator, unit, step_fn, **fit_params)
        # Both are read together, because reading from a GPU waits for all its operations.
        norm = torch.stack(torch._foreach_norm(self.averages_)).sum()
        total, norm = torch.stack([total.double(), norm.double()]).tolist()
        mean = unit * (total / n_steps)
        self.is_out_of_time_ = n_steps < len(iterator)
        if not self.has_batch_callbacks_:
            self.history.new_batch()  # skorch's Checkpoint needs one
            self._record_batch("train", mean, len(iterator.dataset))
        self.history.record("train_loss", mean)
        self.history.record("train_batch_count", n_steps)
        self.is_finite_ = math.isfinite(total) and math.isfinite(norm)
        if self.is_finite_:
            self._keep_averages()

    def _new_backprop(self):
        """Return a `Backprop`, or None where autograd is needed."""
        if is_plain(self.network) and self.objective.is_plain:
            return Backprop(self.network, self.objective, self.bfloat16)
        return None

    def _steps(self, iterator, unit, step_fn, **fit_params):
        """Train on each batch, as long as there is time.

        Returns
        -------
        total : Tensor of shape ()
            Sum of the losses of the batches.
        n_steps : int
            Number of the batches.
        """
        every = max(1, len(iterator) // 10)
        total = 0.0
        for number, batch in enumerate(iterator):
            if self.has_batch_callbacks_:
                self.notify("on_batch_begin", batch=batch[:2], training=True)
            step = step_fn(batch, **fit_params)
            total = total + step["loss"]
            is_last = self.deadline.is_over
            if number % every == 0 or is_last:
                self._average()
            if self.has_batch_callbacks_:
                step["loss"] = step["loss"].double() * unit
                self._record_batch("train", step["loss"].item(), batch.inputs.shape[-2])
                self.notify("on_batch_end", batch=batch[:2], training=True, **step)
            if is_last:
                break
        return total, number + 1

    def _record_batch(self, prefix, loss, n_rows):
        self.history.record_batch(f"{prefix}_loss", loss)
        self.history.record_batch(f"{prefix}_batch_size", n_rows)

    def forward_iter(self, X, training=False, device="cpu"):
        raise NotImplementedError(
            "The net inside an autoencoder has no predictions, because its rows are "
            "centred, scaled and often of several networks at once. A score of `callbacks` "
            "can be computed from net.history, whose train_loss and valid_loss are in the "
            "units of `score`, or from net.module_. The methods of the fitted estimator "
            "take X."
        )

    def _keep_averages(self):
        """Keep the averaged weights, unless the choice does so for the best epoch."""
        if self.choice is None:
            self.finite_averages_ = [average.clone() for average in self.averages_]

    def forget(self):
        """Drop the data and all copies of the weights once training is over.

        A network that is to be kept comes afterwards.
        """
        self.train_split = self.choice = self.checkpoint = None
        self.objective.forget()
        self.weights_ = self.averages_ = self.finite_averages_ = self.backprop_ = None
        self.judged_ = None
        for weight in self.module_.parameters():
            weight.grad = None
        vars(self)["optimizer_"] = None  # it holds two moments of all weights
        set_generators(self.network, None, self.device)

    def keep(self, network):
        """Replace the network that was trained by another."""
        # Without `module` skorch would go on to hold the one that was trained.
        vars(self).update(network=network, module=network.unwrapped)
        self.module_ = network.unwrapped
        self.initialize_optimizer()

    def _validate(self, rows):
        """Record the errors of held-out rows, and pass them to the choice."""
        if self.backprop_ is None:
            with self.averaged():
                errors = self.objective.row_errors(self.network, rows)
        else:
            errors = self.objective.row_errors(self._judged(), rows)
        error = float(self.choice.mean(errors[-1]))
        loss = self.objective.unit * error
        self._record_batch("valid", loss, errors.shape[-1])
        self.history.record("valid_loss", loss)
        self.choice.see(errors, self.averages_)
        is_best = self.choice.best_epoch == self.choice.epoch
        self.history.record("valid_loss_best", is_best)
        if is_best:
            self.best_error_ = error

    def _judged(self):
        """Return a network whose weights are the averages.

        No weight has to be copied for it, and no module has to change its mode. It is only
        for networks that `Backprop` knows.
        """
        if self.judged_ is None or self.judged_[1] is not self.averages_:
            places = zip(self.weights_, self.averages_, strict=True)
            known = {id(w): nn.Parameter(a, requires_grad=False) for w, a in places}
            self.judged_ = copied(self.network, known).eval(), self.averages_
        return self.judged_[0]


def averaged_tensors(module):
    """Return the tensors that are averaged over the steps: trained weights and buffers."""
    weights = [w for w in module.parameters() if w.requires_grad]
    return weights + [b for b in module.buffers() if b.is_floating_point()]


def build_net(
    network,
    objective,
    *,
    seed,
    device,
    callbacks,
    lr,
    weight_decay,
    held_out=None,
    choice=None,
    caution=1.0,
    **params,
):
    """Return the net that trains `network`.

    Parameters
    ----------
    network : Network
    objective : Objective
    seed : int
        Seed of the order of the rows and of dropout.
    device : torch.device
    callbacks : list of skorch callbacks or None
        Callbacks, which are copied, because skorch sets attributes of them. A writer or a
        run that one holds is shared.
    lr : float or "auto"
        Largest learning rate. "auto" stands for that which suits the network.
    weight_decay : float or "auto"
        Weight decay of AdamW (Loshchilov and Hutter 2019), as a multiple of the learning
        rate. "auto" stands for the `weight_decay` of the network.
    held_out : Rows or None
    choice : Choice or None
        Choice of the epoch; None if `held_out` is None.
    caution : float
        Share of the learning rate that the `cautious_layers` of the network get.
    **params
        Other parameters of the net: `max_epochs`, `batch_size`, `bfloat16`,
        `checkpoint`, `deadline`, `first_step`, `warm_up` and those of its iterators.

    Returns
    -------
    AutoencoderNet
    """
    if isinstance(lr, str):  # a net that is not trained has no batches
        lr = network.lr(params.get("batch_size", 256))
    if isinstance(weight_decay, str):
        weight_decay = network.weight_decay
    return AutoencoderNet(
        network,
        objective,
        seed=seed,
        lr=lr,
        optimizer=AdamW,
        optimizer__fused=True,
        optimizer__weight_decay=weight_decay,
        optimizer__betas=BETAS,
        # Without caution there is one group of weights, because each group takes another
        # call in every step.
        optimizer__param_groups=[
            (layers, {"share": caution}) for layers in network.cautious_layers
        ]
        if caution < 1
        else [],
        iterator_train=Batches,
        iterator_train__generator=make_generator(seed),
        iterator_valid=Batches,
        train_split=None if held_out is None else predefined_split(held_out),
        callbacks=[_copied(callback) for callback in callbacks or []],
        choice=choice,
        device=device,
        use_caching=False,  # callbacks that score predictions would cache these
        verbose=0,
        **params,
    )


def check_callbacks(callbacks, owner):
    """Refuse items that are neither a callback of skorch nor a pair of a name and one."""
    for item in callbacks or []:
        is_pair = isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)
        callback = item[1] if is_pair else item
        is_class = isinstance(callback, type) and issubclass(callback, Callback)
        if not (is_class or isinstance(callback, Callback)):
            raise TypeError(
                f"callbacks of {owner} must be a list of skorch callbacks, which are "
                "instances of subclasses of skorch.callbacks.Callback, or of pairs of a "
                f"name and one, got {item!r} in it. Callbacks of scikit-learn are given to "
                "set_callbacks."
            )


def _copied(callback):
    """Return a shallow copy of a callback, or of a pair of a name and a callback."""
    if isinstance(callback, tuple):
        name, callback = callback
        return name, copy.copy(callback)
    return copy.copy(callback)


def _wants_batches(callback):
    """Whether a callback has a method that is called for batches."""
    hooks = "on_batch_begin", "on_batch_end", "on_grad_computed"
    return any(getattr(type(callback), h) is not getattr(Callback, h) for h in hooks)
