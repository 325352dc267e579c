"""The engine room: the skorch net and its lean epoch."""

import contextlib
import copy
import math

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer
from skorch.helper import predefined_split

from skae._engine.backprop import Backprop, is_plain
from skae._engine.batches import Batches
from skae._engine.optimizer import BETAS, AdamW
from skae._torch import make_generator
from skae.modules._base import set_generators

__all__ = [
    "AutoencoderNet",
    "Callback",
    "Interrupted",
    "StopTraining",
    "averaged_tensors",
    "build_net",
    "check_callbacks",
]

WARM_UP = 100  # steps
SLOW_DOWN = 500  # steps
TAIL = 8  # the average covers about the last eighth of the steps


class StopTraining(Exception):
    """Ends the fit loop, the fit being good."""


class Interrupted(BaseException):
    """Ctrl-C inside the fit loop, in a form that skorch does not swallow.

    Attributes
    ----------
    is_kept : bool
        Whether the estimator has been given the best epoch so far.
    """

    is_kept = False


class AutoencoderNet(NeuralNet):
    """skorch's net with an epoch as short as a hand-written one.

    Batches are rows of whole tensors, and the loss is read once an epoch.
    Per-batch callbacks are notified only where there is one. The weights that are
    validated and kept are averages of the iterates over the last part of the
    trajectory, by polynomial decay (Shamir and Zhang 2013, "Stochastic Gradient
    Descent for Non-smooth Optimization"); with them no schedule has to know in
    advance when training ends.

    Parameters
    ----------
    network : Network
        What is trained; `module_` is what users see of it.
    choice : Choice or None
    objective : Objective
        Its `unit` brings errors into the units of the history and of callbacks, which are
        told of the mean over the members of a stack.
    bfloat16 : bool
    checkpoint : Checkpoint or None
    seed : int
        Of the generators of layers, and of what a user's network draws from the global
        ones.
    first_step : int
        Steps that the network was trained for before; the learning rate goes on from
        there.

    Attributes
    ----------
    best_error_ : float
        Mean error, before that, of the held-out rows in the epoch that is the best so far.
    is_finite_ : bool
        Whether the loss and the averaged weights of the last epoch are finite.
    finite_averages_ : list of Tensor or None
        Without a choice: the averaged weights after the last epoch that was.
    """

    is_finite_ = True  # also where Ctrl-C comes before anything was set
    backprop_ = None

    def __init__(
        self,
        network,
        objective,
        *,
        choice=None,
        bfloat16=False,
        checkpoint=None,
        seed=0,
        first_step=0,
        **kwargs,
    ):
        super().__init__(network.unwrapped, objective, **kwargs)
        # More modules to skorch, were it told.
        vars(self).update(network=network, objective=objective)
        self.choice = choice
        self.bfloat16 = bfloat16
        self.checkpoint = checkpoint
        self.seed = seed
        self.first_step = first_step

    @property
    def lr(self):
        """The learning rate; to set it sets that of all weights."""
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
        self.weights_ = averaged_tensors(self.module_)
        set_generators(self.network, self.seed, self.device)
        self.states_ = self.network.private_states(self.seed, self.device, training=True)
        self.noise_generator_ = self.objective.generator()
        self.averages_ = [p.detach().clone() for p in self.weights_]
        self.has_batch_callbacks_ = any(map(_wants_batches, dict(self.callbacks_).values()))
        self.is_finite_, self.finite_averages_, self.n_resumed_ = True, None, 0
        self.best_error_ = None
        if self.checkpoint is not None:
            self.checkpoint.resume(self)
            self.n_resumed_ = len(self.history)
            self._keep_averages()

    def on_epoch_begin(self, net, **kwargs):
        if len(self.history) and self._is_over():
            raise StopTraining
        if self.checkpoint is not None:
            self.checkpoint.note(self)
        super().on_epoch_begin(net, **kwargs)

    def _is_over(self):
        return not self.is_finite_ or (self.choice is not None and self.choice.is_over)

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        epochs = self.max_epochs if epochs is None else epochs
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
        # skorch's callbacks raise KeyboardInterrupt to say that training should stop.
        try:
            super().notify(method_name, **kwargs)
        except KeyboardInterrupt as stop:
            # Before the first epoch and after the last there is no loop to leave, and
            # without callbacks nobody who could mean it: that is Ctrl-C.
            is_outside = method_name in {"on_train_begin", "on_train_end"}
            is_ctrl_c = is_outside or not self.callbacks
            raise Interrupted if is_ctrl_c else StopTraining from stop

    def train_step(self, batch, **fit_params):
        self._set_rate()
        if self.backprop_ is not None:
            inputs = self.objective.inputs(batch, self.noise_generator_)
            loss, output = self.backprop_(inputs, batch)
        else:
            self.optimizer_.zero_grad()
            chance = self.noise_generator_
            loss, output = self.objective.step(self.network, batch, chance, self.bfloat16)
            loss.backward()
        if self.has_batch_callbacks_:
            named = list(self.get_all_learnable_params())
            of_step = {"named_parameters": named, "batch": batch[:2], "training": True}
            self.notify("on_grad_computed", **of_step)
        self.optimizer_.step()
        vars(self)["n_steps_"] += 1  # skorch's own way takes as long as a small product
        return {"loss": loss.detach(), "y_pred": output.detach()}

    def _set_rate(self):
        """The schedule. Rates themselves are left to callbacks, which set and read them."""
        step = self.n_steps_
        factor = min(1.0, (step + 1) / WARM_UP) / math.sqrt(1 + step / SLOW_DOWN)
        self.optimizer_.factor = factor

    def _average(self):
        self.n_averaged_ += 1
        weights = [w.detach() for w in self.weights_]
        torch._foreach_lerp_(self.averages_, weights, TAIL / (self.n_averaged_ + TAIL))

    @contextlib.contextmanager
    def averaged(self):
        """Within it the module holds the averaged weights."""
        kept = [w.detach().clone() for w in self.weights_]
        self.load(self.averages_)
        yield
        self.load(kept)

    @torch.no_grad()
    def load(self, weights):
        """Copy tensors into the module's trained parameters."""
        torch._foreach_copy_([w.detach() for w in self.weights_], list(weights))

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        if iterator is None:
            return
        if not training:
            self._validate(iterator.dataset)
            return
        self._set_training(True)
        self.backprop_ = None
        if is_plain(self.network) and not self.objective.penalties:
            self.backprop_ = Backprop(self.network, self.objective, self.bfloat16)
        unit = self.objective.unit / len(iterator.dataset.index)  # of a sum over members
        with self.states_:
            total = self._steps(iterator, unit, step_fn, **fit_params)
        # Read at once: on a GPU each reading waits for all that is under way.
        norm = torch.stack(torch._foreach_norm(self.averages_)).sum()
        total, norm = torch.stack([total.double(), norm.double()]).tolist()
        mean = unit * (total / len(iterator))
        if not self.has_batch_callbacks_:
            self.history.new_batch()  # skorch's Checkpoint looks for one
            self._record_batch("train", mean, len(iterator.dataset))
        self.history.record("train_loss", mean)
        self.history.record("train_batch_count", len(iterator))
        self.is_finite_ = math.isfinite(total) and math.isfinite(norm)
        if self.is_finite_:
            self._keep_averages()

    def _steps(self, iterator, unit, step_fn, **fit_params):
        """Train on each batch, and return the sum of the losses."""
        every = max(1, len(iterator) // 10)
        total = 0.0
        for number, batch in enumerate(iterator):
            if self.has_batch_callbacks_:
                self.notify("on_batch_begin", batch=batch[:2], training=True)
            step = step_fn(batch, **fit_params)
            total = total + step["loss"]
            if number % every == 0:
                self._average()
            if self.has_batch_callbacks_:
                step["loss"] = step["loss"].double() * unit
                self._record_batch("train", step["loss"].item(), batch.inputs.shape[-2])
                self.notify("on_batch_end", batch=batch[:2], training=True, **step)
        return total

    def _record_batch(self, prefix, loss, n_rows):
        self.history.record_batch(f"{prefix}_loss", loss)
        self.history.record_batch(f"{prefix}_batch_size", n_rows)

    def forward_iter(self, X, training=False, device="cpu"):
        raise NotImplementedError(
            "The net inside an autoencoder predicts nothing: its rows are centred, scaled "
            "and often of several networks at once. A score of `callbacks` can be computed "
            "from net.history, whose train_loss and valid_loss are in the units of "
            "`score`, or from net.module_; the methods of the fitted estimator take X."
        )

    def _keep_averages(self):
        if self.choice is None:
            self.finite_averages_ = [average.clone() for average in self.averages_]

    def forget(self):
        """Let go of the data and of copies of the weights once training is over."""
        self.train_split = self.choice = self.checkpoint = None
        self.objective.forget()
        self.weights_ = self.averages_ = self.finite_averages_ = self.backprop_ = None
        for weight in self.module_.parameters():
            weight.grad = None
        self.initialize_optimizer()  # the old one holds weights, and two moments of each
        set_generators(self.network, None, self.device)

    def keep(self, network):
        """Let another network take the place of the one that was trained."""
        vars(self)["network"], self.module_ = network, network.unwrapped

    def _validate(self, rows):
        with self.averaged():
            errors = self.objective.row_errors(self.network, rows)
        error = float(self.choice.mean(errors[-1]))
        in_units = self.objective.unit * error
        self._record_batch("valid", in_units, errors.shape[-1])
        self.history.record("valid_loss", in_units)
        self.choice.see(errors, self.averages_)
        is_best = self.choice.best_epoch == self.choice.epoch
        self.history.record("valid_loss_best", is_best)
        if is_best:
            self.best_error_ = error


def averaged_tensors(module):
    """What is averaged over the steps: trained weights, and the statistics beside them."""
    weights = [w for w in module.parameters() if w.requires_grad]
    return weights + [b for b in module.buffers() if b.is_floating_point()]


def build_net(
    network,
    objective,
    *,
    seed,
    device,
    callbacks,
    weight_decay,
    held_out=None,
    choice=None,
    caution=1.0,
    **params,
):
    """The net that trains `network`.

    Parameters
    ----------
    network : Network
    objective : Objective
    seed : int
        Of the order of the rows and of dropout.
    device : torch.device
    callbacks : list of skorch callbacks or None
        Copied, for skorch sets attributes; a writer or a run that one holds is shared.
    weight_decay : float
        Of AdamW (Loshchilov and Hutter 2019), as a multiple of the learning rate.
    caution : float
        Share of the learning rate for layers named `linear` and `correction`.
    held_out : Rows or None
    choice : Choice or None
        Goes with `held_out`.
    **params
        `lr`, `max_epochs`, `batch_size`, `bfloat16` and `checkpoint` of the net.
    """
    return AutoencoderNet(
        network,
        objective,
        seed=seed,
        optimizer=AdamW,
        optimizer__fused=True,
        optimizer__weight_decay=weight_decay,
        optimizer__betas=BETAS,
        # Linear paths and corrections; every group of weights costs a call in every step.
        optimizer__param_groups=[("*coder.[lc]*", {"share": caution})]
        if caution < 1
        else [],
        iterator_train=Batches,
        iterator_train__generator=make_generator(seed),
        iterator_valid=Batches,
        train_split=None if held_out is None else predefined_split(held_out),
        callbacks=[_copied(callback) for callback in callbacks or []],
        choice=choice,
        device=device,
        use_caching=False,  # of predictions by callbacks that score them
        verbose=0,
        **params,
    )


def check_callbacks(callbacks, owner):
    """Refuse what is neither a callback of skorch nor a pair of a name and one."""
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
    if isinstance(callback, tuple):
        name, callback = callback
        return name, copy.copy(callback)
    return copy.copy(callback)


def _wants_batches(callback):
    hooks = "on_batch_begin", "on_batch_end", "on_grad_computed"
    return any(getattr(type(callback), h) is not getattr(Callback, h) for h in hooks)
