"""The engine room: the skorch net, its lean epoch, and the choice of the epoch."""

import contextlib
import copy
import inspect

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer, PrintLog
from skorch.helper import predefined_split
from torch import nn

from skae._compat import make_generator
from skae._data import Batches
from skae.modules import Dropout

__all__ = ["AutoencoderNet", "Choice", "build_net", "reconstruct", "row_errors"]

WARM_UP = 100  # steps
SLOW_DOWN = 500  # steps
TAIL = 8  # the average covers about the last eighth of the steps
HELD_OUT_BATCH = 2048
BETAS = 0.9, 0.99  # of AdamW


class StopTraining(Exception):
    """Ends the fit loop, the fit being good."""


class Interrupted(BaseException):
    """Ctrl-C inside the fit loop, in a form that skorch does not swallow."""


class AdamW(torch.optim.AdamW):
    """torch's AdamW, which does not import the compiler at its first use.

    `torch._dynamo` takes seconds to import, and only wraps these three methods.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


class Criterion(nn.Module):
    """Mean over the rows of a loss, summed over the members of a stack."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, output, target):
        return self.function(output, target).mean(-1).sum()


def encode(module, X):
    """The code of X."""
    return module.encode(X)


def decode(module, Z):
    """The decoder's output for the code Z."""
    return module.decode(Z)


def reconstruct(module, X):
    """The decoder's output for X; a user's module need not have a `forward`."""
    return module.decode(module.encode(X))


@torch.inference_mode()
def row_errors(module, function, rows):
    """Loss of each row, in float64, members one after another where it is a stack."""
    module.eval()
    batches = Batches(rows, HELD_OUT_BATCH)
    errors = torch.cat(
        [function(reconstruct(module, X), target) for X, target in batches], dim=-1
    )
    errors = errors.double().cpu().numpy().reshape(-1, len(rows))
    held_out = [e[: len(i)] for e, i in zip(errors, rows.index, strict=True)]
    return np.concatenate(held_out) + rows.lost


class Choice:
    """Which epoch's weights are kept, from the errors of held-out rows.

    The gain of an epoch is the mean over the held-out rows of (error of the start -
    error now). Of the epochs whose gain exceeds `margin` standard errors of that mean
    the one with the largest gain is kept; the start, where there is none.

    Parameters
    ----------
    reference : ndarray of shape (n_held_out,)
        Errors of PCA.
    margin : float
    allow_start : bool
        False for a network that does not start at PCA: its start is never kept.
    patience : int
        Epochs without a smaller mean error, smaller by `tol` as a share of the mean of
        `reference`, after which training stops.
    """

    def __init__(self, reference, margin, allow_start, patience, tol):
        self.reference = reference
        self.margin = margin
        self.patience = patience
        self.least = tol * reference.mean()
        self.best_gain = 0.0 if allow_start else -np.inf
        self.best_epoch = self.epoch = self.mark_epoch = 0
        self.best_weights = None
        self.mark = np.inf

    def see(self, errors, weights):
        """Take note of the epoch that has just ended."""
        self.epoch += 1
        gains = self.reference - errors
        gain = gains.mean()
        is_sure = gain > self.margin * gains.std() / np.sqrt(len(gains))
        if gain > self.best_gain and (is_sure or not self.margin):
            self.best_gain, self.best_epoch = gain, self.epoch
            self.best_weights = [w.clone() for w in weights]
        if errors.mean() < self.mark - self.least:
            self.mark, self.mark_epoch = errors.mean(), self.epoch

    @property
    def is_over(self):
        return self.epoch - self.mark_epoch >= self.patience


class AutoencoderNet(NeuralNet):
    """skorch's net with an epoch as short as a hand-written one.

    Batches are slices of one resident tensor, and the loss is read once an epoch.
    Per-batch callbacks are notified only where there is one. The weights that are
    validated and kept are averages of the iterates over the last part of the
    trajectory, by polynomial decay (Shamir and Zhang 2013, "Stochastic Gradient
    Descent for Non-smooth Optimization"); with them no schedule has to know in
    advance when training ends.
    """

    def __init__(self, *args, choice=None, bfloat16=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.choice = choice
        self.bfloat16 = bfloat16

    @property
    def _default_callbacks(self):
        return [("epoch_timer", EpochTimer()), ("print_log", PrintLog())]

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        super().on_train_begin(net, X, y, **kwargs)
        self.n_steps_ = self.n_averaged_ = 0
        self.weights_ = [p for p in self.module_.parameters() if p.requires_grad]
        self.averages_ = [p.detach().clone() for p in self.weights_]
        self.has_batch_callbacks_ = any(map(_wants_batches, dict(self.callbacks_).values()))

    def on_epoch_begin(self, net, **kwargs):
        if len(self.history) and self._is_over():
            raise StopTraining
        super().on_epoch_begin(net, **kwargs)

    def _is_over(self):
        finite = np.isfinite(self.history[-1, "train_loss"])
        return not finite or (self.choice is not None and self.choice.is_over)

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        try:
            super().fit_loop(X, y, epochs, **fit_params)
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
            raise StopTraining from stop

    def train_step(self, batch, **fit_params):
        inputs, targets = batch
        self._set_rate()
        self.optimizer_.zero_grad()
        with torch.autocast(inputs.device.type, torch.bfloat16, self.bfloat16):
            output = reconstruct(self.module_, inputs)
        loss = self.criterion_(output.float() if self.bfloat16 else output, targets)
        loss.backward()
        if self.has_batch_callbacks_:
            named = list(self.get_all_learnable_params())
            self.notify(
                "on_grad_computed", named_parameters=named, batch=batch, training=True
            )
        self.optimizer_.step()
        self.n_steps_ += 1
        return {"loss": loss.detach()}

    def _set_rate(self):
        step = self.n_steps_
        factor = min(1.0, (step + 1) / WARM_UP) / np.sqrt(1 + step / SLOW_DOWN)
        for group in self.optimizer_.param_groups:
            group["lr"] = self.lr * factor * group.get("share", 1.0)

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
        every = max(1, len(iterator) // 10)
        total = 0.0
        for number, batch in enumerate(iterator):
            if self.has_batch_callbacks_:
                self.notify("on_batch_begin", batch=batch, training=True)
            loss = step_fn(batch, **fit_params)["loss"]
            total = total + loss
            if number % every == 0:
                self._average()
            if self.has_batch_callbacks_:
                self.history.record_batch("train_loss", loss.item())
                self.notify("on_batch_end", batch=batch, training=True, loss=loss)
        self.history.record("train_loss", float(total) / len(iterator))
        self.history.record("train_batch_count", len(iterator))

    def forget(self):
        """Let go of the data and of copies of the weights once training is over."""
        self.train_split = self.choice = None
        self.weights_ = self.averages_ = None
        for layer in self.module_.modules():
            if isinstance(layer, Dropout):
                layer.generator = None

    def _validate(self, rows):
        with self.averaged():
            errors = row_errors(self.module_, self.criterion_.function, rows)
        self.history.record("valid_loss", float(errors.mean()))
        self.choice.see(errors, self.averages_)


def build_net(
    module,
    loss,
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
    """The net that trains `module`.

    Parameters
    ----------
    module : nn.Module
    loss : Loss
    seed : int
        Of the order of the rows and of dropout.
    device : torch.device
    callbacks : list of skorch callbacks or None
        Copied: skorch changes those it is given.
    weight_decay : float
        Of AdamW (Loshchilov and Hutter 2019), as a multiple of the learning rate.
    caution : float
        Share of the learning rate for layers named `linear` and `correction`.
    held_out : Rows or None
    choice : Choice or None
        Goes with `held_out`.
    **params
        `lr`, `max_epochs`, `batch_size`, `verbose` and `bfloat16` of the net.
    """
    for layer in module.modules():
        if isinstance(layer, Dropout):
            layer.generator = make_generator(seed, device)
    return AutoencoderNet(
        module,
        criterion=Criterion(loss.function),
        optimizer=AdamW,
        optimizer__fused=True,
        optimizer__weight_decay=weight_decay,
        optimizer__betas=BETAS,
        optimizer__param_groups=[
            (f"{side}.{layer}.*", {"share": caution})
            for side in ("encoder", "decoder")
            for layer in ("linear", "correction")
        ],
        iterator_train=Batches,
        iterator_train__generator=make_generator(seed),
        iterator_valid=Batches,
        train_split=None if held_out is None else predefined_split(held_out),
        callbacks=copy.deepcopy(callbacks),
        choice=choice,
        device=device,
        **params,
    )


def _wants_batches(callback):
    hooks = "on_batch_begin", "on_batch_end", "on_grad_computed"
    return any(getattr(type(callback), h) is not getattr(Callback, h) for h in hooks)
