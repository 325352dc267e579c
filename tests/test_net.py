"""The engine room: the optimiser, the choice of the epoch, and what a fit imports."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from skae._net import AdamW, Choice

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


def errors(mean, spread=0.0, n=100):
    """Errors of n rows with a given mean; half of them `spread` above, half below."""
    return np.full(n, mean) + spread * np.tile([1.0, -1.0], n // 2)


def watched(choice, sequence):
    for number, now in enumerate(sequence, start=1):
        choice.see(now, [torch.tensor(float(number))])
        if choice.is_over:
            break
    return choice


def choose(sequence, margin=2.0, allow_start=True, patience=100, tol=0.0):
    return watched(Choice(errors(1.0), margin, allow_start, patience, tol), sequence)


def test_choice_keeps_the_best_epoch():
    choice = choose([errors(e) for e in (0.9, 0.5, 0.7)])
    assert choice.best_epoch == 2
    assert choice.best_weights == [torch.tensor(2.0)]


@pytest.mark.parametrize(
    ("gain", "spread", "kept"),
    # One standard error is spread / 10.
    [(0.3, 1.0, 1), (0.1, 1.0, 0), (0.1, 0.1, 1), (0.0, 0.0, 0), (-0.1, 0.0, 0)],
)
def test_a_gain_must_exceed_two_standard_errors(gain, spread, kept):
    choice = choose([errors(1 - gain, spread)])
    assert choice.best_epoch == kept
    assert (choice.best_weights is None) == (kept == 0)


def test_an_uncertain_gain_loses_to_a_certain_one():
    assert choose([errors(0.8), errors(0.7, spread=2.0)]).best_epoch == 1


def test_a_start_that_may_not_be_kept():
    choice = choose([errors(3.0), errors(2.0)], margin=0.0, allow_start=False)
    assert choice.best_epoch == 2


def test_nan_is_never_kept():
    choice = choose([errors(0.9), errors(np.nan)])
    assert choice.best_epoch == 1


@pytest.mark.parametrize(("tol", "last"), [(0.0, 9), (0.03, 4)])
def test_patience(tol, last):
    falling = [0.9, 0.89, 0.88, 0.879, 0.878, 0.877, 0.877, 0.877, 0.877, 0.877]
    assert choose([errors(e) for e in falling], patience=3, tol=tol).epoch == last
