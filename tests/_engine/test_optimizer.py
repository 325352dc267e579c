"""AdamW: the weights are those of torch's optimiser, and of the rates by hand."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, LRScheduler

from skae._engine.batches import Rows
from skae._engine.objective import Objective
from skae._engine.optimizer import AdamW
from skae._engine.skorch_net import build_net
from skae._torch import make_generator
from skae.losses import LOSSES
from skae.modules import DenseAutoencoder

FIT = """
import sys
import numpy as np
from skae import AutoencoderTransformer
X = np.random.default_rng(0).normal(size=(60, 4))
AutoencoderTransformer(1, max_epochs=1).fit(X).transform(X)
print("torch._dynamo" in sys.modules, "matplotlib" in sys.modules)
"""


def test_a_fit_does_not_import_the_compiler():
    out = subprocess.run([sys.executable, "-c", FIT], capture_output=True, text=True)
    assert out.stdout.split() == ["False", "False"], out.stderr


# torch's optimiser imports the compiler, and that warns of things of its own.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adamw_steps_as_torchs(weight_decay):
    settings = {"lr": 0.1, "weight_decay": weight_decay, "betas": (0.9, 0.99)}
    start = torch.randn(20, generator=torch.Generator().manual_seed(0))
    weights = []
    for optimizer in AdamW, torch.optim.AdamW:
        weight = start.clone().requires_grad_()
        steps = optimizer([weight], fused=True, **settings)
        for _ in range(5):
            steps.zero_grad()
            (weight.square() + weight.sin()).sum().backward()
            steps.step()
        weights.append(weight.detach())
    assert torch.equal(*weights)
    assert not torch.equal(weights[0], start)


def test_adamw_of_weights_that_come_later():
    """A weight without a gradient stays, alone or with its whole group."""
    weights = [torch.zeros(3, requires_grad=True) for _ in range(3)]
    groups = [{"params": weights[:2]}, {"params": weights[2:]}]
    optimizer = AdamW(groups, lr=0.1, fused=True, weight_decay=0.0)
    for step in range(4):
        for weight in weights[: 1 if step < 2 else 3]:
            weight.grad = torch.ones(3)
        optimizer.step()
    moved = [weight.detach()[0].item() for weight in weights]
    assert moved == pytest.approx([-0.4, -0.2, -0.2], rel=1e-4)


class Halves(Callback):
    def on_epoch_end(self, net, **kwargs):
        net.set_params(lr=net.lr / 2)


class Warms(Callback):
    """Sets a rate from within an epoch."""

    def on_batch_begin(self, net, **kwargs):
        net.optimizer_.param_groups[0]["lr"] = 0.02 * (1 + net.n_steps_)


# What comes to the rate of a step, of an epoch of four, beside the net's own schedule.
def test_adamw_of_a_state_that_is_replaced():
    """A checkpoint writes new tensors into the state, and the next step uses them."""
    weights = [torch.zeros(3, requires_grad=True) for _ in range(2)]
    optimizers = [AdamW([weight], lr=0.1, fused=True) for weight in weights]

    def step(number):
        weights[number].grad = torch.ones(3)
        optimizers[number].step()

    for number in (0, 0, 1):
        step(number)
    weights[1].data.copy_(weights[0])
    kept = {name: value.clone() for name, value in optimizers[0].state[weights[0]].items()}
    optimizers[1].state[weights[1]] = kept
    step(0)
    step(1)
    assert torch.equal(*weights)
    assert kept["step"] == 3


RATES = {
    "none": (lambda: [], lambda step: 0.02),
    "epoch": (
        lambda: [LRScheduler("StepLR", step_size=1, gamma=0.1)],
        lambda step: 0.02 * 0.1 ** (step // 4),
    ),
    "batch": (
        lambda: [LRScheduler("ExponentialLR", gamma=0.7, step_every="batch")],
        lambda step: 0.02 * 0.7**step,
    ),
    "halves": (lambda: [Halves()], lambda step: 0.02 / 2 ** (step // 4)),
    "both": (
        lambda: [LRScheduler("LambdaLR", lr_lambda=lambda epoch: 1 / (1 + epoch))],
        lambda step: 0.02 / (1 + step // 4),
    ),
    "within": (lambda: [Warms()], lambda step: 0.02 * (1 + step)),
}


@pytest.mark.parametrize("caution", [1.0, 0.3])
@pytest.mark.parametrize("name", RATES)
def test_the_weights_of_a_run_are_those_of_the_rates_by_hand(curved, name, caution):
    """A rate that is set, times the warm-up and the fall of the net."""
    if name == "within" and caution < 1:
        pytest.skip("sets the rate of one group of weights")
    callbacks, rate = RATES[name]
    X = torch.tensor(curved[:64]).float()
    rows, loss, seed = Rows(X, X, [np.arange(64)]), LOSSES["squared_error"], 3
    module = DenseAutoencoder(6, 2, 6, (8,), generator=make_generator(0))
    by_hand = copy.deepcopy(module)
    params = {"lr": 0.02, "max_epochs": 3, "batch_size": 16, "weight_decay": 0.1}
    params |= {"seed": seed, "device": torch.device("cpu"), "caution": caution}
    net = build_net(module, Objective(loss), callbacks=callbacks(), **params).fit(rows)
    groups = [{"params": [], "share": 1.0}, {"params": [], "share": caution}]
    for path, weight in by_hand.named_parameters():
        is_direct = "linear" in path or "correction" in path
        groups[is_direct]["params"].append(weight)
    groups = [group for group in groups if group["params"]]
    optimizer = AdamW(groups, lr=1.0, fused=True, weight_decay=0.1, betas=(0.9, 0.99))
    generator = make_generator(seed)
    for step, batch in enumerate(b for _ in range(3) for b in rows.batches(4, generator)):
        fall = (1 + np.cos(np.pi * step / 12)) / 2 / np.sqrt(1 + step / 500)
        for group in optimizer.param_groups:
            group["lr"] = rate(step) * (step + 1) / 30 * fall
        optimizer.zero_grad()
        loss.function(by_hand(batch.inputs), batch.targets).mean().backward()
        optimizer.step()
    for weight, expected in zip(
        net.module_.parameters(), by_hand.parameters(), strict=True
    ):
        torch.testing.assert_close(weight, expected, rtol=1e-5, atol=1e-6)
    assert net.history[-1, "train_loss"] < net.history[0, "train_loss"]
