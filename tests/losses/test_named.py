"""Losses: one number per sample, right, with the right gradient."""

import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from skae import losses
from skae.losses import LOSSES, Loss, binary_cross_entropy, cosine
from skae.losses._counts import OFFSET, UNIT


def poisson_reference(out, X):
    mean = torch.log1p(torch.exp(out + OFFSET)) / UNIT
    return mean - X * mean.log() + torch.lgamma(X + 1)


def negative_binomial_reference(out, X):
    out, theta = out.tensor_split(2, dim=-1)[0], out[..., X.shape[-1] :].exp()
    mean = torch.log1p(torch.exp(out + OFFSET)) / UNIT
    share = theta / (theta + mean)
    gammas = torch.lgamma(X + theta) - torch.lgamma(theta) - torch.lgamma(X + 1)
    return -gammas - theta * share.log() - X * torch.log1p(-share)


# One number per cell, by another way.
REFERENCES = {
    "squared_error": lambda out, X: F.mse_loss(out, X, reduction="none"),
    "absolute_error": lambda out, X: F.l1_loss(out, X, reduction="none"),
    "huber": lambda out, X: F.smooth_l1_loss(out, X, reduction="none"),
    "binary_cross_entropy": lambda out, X: F.binary_cross_entropy(
        torch.sigmoid(out), X, reduction="none"
    ),
    "poisson": poisson_reference,
    "negative_binomial": negative_binomial_reference,
    "cosine": lambda out, X: (
        1 / X.shape[-1] - F.normalize(out, dim=-1) * F.normalize(X, dim=-1)
    ),
}


def inverse_rate(X, mean=1.0):
    return torch.log(torch.expm1(X * UNIT / mean)) - OFFSET


# Outputs whose reconstruction is X.
EXACT = {
    "binary_cross_entropy": torch.logit,
    "poisson": inverse_rate,
    "negative_binomial": lambda X: with_constants(inverse_rate(X), 1),
}


def with_constants(output, n_constants):
    """The output with constants behind it that are the same in all rows."""
    constants = torch.linspace(-1, 1, n_constants * output.shape[-1], dtype=output.dtype)
    constants = constants.expand(*output.shape[:-1], -1)
    return torch.cat([output, constants], dim=-1)


@pytest.fixture
def pair(request):
    """Output and target, for the loss that the test is of."""
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(3, 7, 5, generator=generator, dtype=torch.float64)
    X = torch.rand(3, 7, 5, generator=generator, dtype=torch.float64)
    return with_constants(output, LOSSES[request.getfixturevalue("name")].n_constants), X


@pytest.mark.parametrize("name", LOSSES)
def test_one_number_per_sample(pair, name):
    function = LOSSES[name].function
    expected = REFERENCES[name](*pair).sum(-1)
    torch.testing.assert_close(function(*pair), expected)
    torch.testing.assert_close(function(pair[0][1], pair[1][1]), expected[1])


@pytest.mark.parametrize("name", LOSSES)
def test_gradient(pair, name):
    output, X = pair
    output = output[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda out: LOSSES[name].function(out, X[0]), output)


@pytest.mark.parametrize("name", LOSSES)
def test_least_where_the_reconstruction_is_the_target(pair, name):
    loss = LOSSES[name]
    _, X = pair
    exact = EXACT.get(name, torch.clone)(X)
    torch.testing.assert_close(loss.reconstruction(exact), X)
    least = loss.function(exact, X)
    step = 0.1 * (torch.arange(exact.shape[-1]) < X.shape[-1])
    assert (least < loss.function(exact + step, X)).all()
    assert (least < loss.function(exact - step, X)).all()


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in EXACT])
def test_degree(pair, name):
    """Not of outputs that are logits or logarithms: these have no units."""
    loss = LOSSES[name]
    pair = [0.01 * array for array in pair]  # Huber's loss within its bend
    scaled = loss.function(*(3 * array for array in pair))
    torch.testing.assert_close(scaled, 3**loss.degree * loss.function(*pair))


@pytest.mark.parametrize("name", LOSSES)
def test_missing_cells_add_nothing(pair, name):
    loss = LOSSES[name]
    output, X = pair
    mask = torch.ones_like(X, dtype=torch.bool)
    mask[:, 2:, [1, 4]] = False
    filled = torch.where(mask, X, torch.nan)
    output.requires_grad_()
    errors = loss.function(*loss.observed(output, filled, mask))
    kept = [j for j in range(output.shape[-1]) if j % 5 not in (1, 4)]
    expected = loss.function(output[..., kept], X[..., [0, 2, 3]])
    torch.testing.assert_close(errors[:, 2:], expected[:, 2:])
    (gradient,) = torch.autograd.grad(errors[:, 2:].sum(), output)
    assert gradient.isfinite().all()
    assert not gradient[..., :5][~mask].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_extreme_outputs_are_safe(name, dtype):
    loss = LOSSES[name].fitted({"mean": [1.0, 1e-5, 1e13]})
    output = torch.tensor([[500.0, -500.0, 0.0], [0.0, 0.0, 0.0]], dtype=dtype)
    output = with_constants(output, loss.n_constants).requires_grad_()
    for X in (torch.zeros(2, 3, dtype=dtype), torch.eye(2, 3, dtype=dtype)):
        errors = loss.function(output, X)
        (gradient,) = torch.autograd.grad(errors.sum(), output)
        assert errors.isfinite().all()
        assert gradient.isfinite().all()
        assert loss.reconstruction(output).isfinite().all()


def test_every_loss_is_exported():
    functions = {loss.function.__name__ for loss in LOSSES.values()}
    assert functions <= set(losses.__all__)
    assert functions == set(LOSSES)
    assert all(loss.name == name for name, loss in LOSSES.items())


@pytest.mark.parametrize("name", LOSSES)
def test_pickle(pair, name):
    loss = pickle.loads(pickle.dumps(LOSSES[name]))
    torch.testing.assert_close(loss.function(*pair), LOSSES[name].function(*pair))


def test_binary_cross_entropy_stays_finite():
    logits, X = torch.tensor([[1e4, -1e4]]), torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(binary_cross_entropy(logits, X), torch.tensor([2e4]))


@pytest.mark.parametrize("name", LOSSES)
def test_only_counts_need_statistics(name):
    loss = LOSSES[name]
    is_of_counts = name in ("poisson", "negative_binomial")
    assert bool(loss.measure(np.ones((3, 2)))) == is_of_counts
    assert (loss.fitted({}) is loss) != is_of_counts


def test_cosine_of_rows_of_zeros():
    X = torch.tensor([[0.0, 0.0], [1e-30, 0.0], [3e25, 0.0]])
    errors = cosine(torch.tensor([[1.0, 2.0], [0.0, 0.0], [1e25, 0.0]]), X)
    torch.testing.assert_close(errors, torch.tensor([0.0, 1.0, 0.0]))


def test_observed_takes_values_for_each_feature():
    output, X = torch.zeros(4, 2), torch.full((4, 2), torch.nan)
    mask = torch.zeros(4, 2, dtype=torch.bool)
    missing = torch.tensor([1.0, 2.0]), np.array([3.0, 4.0])
    output, X = Loss(None, missing=missing).observed(output, X, mask)
    assert output.tolist() == [[1.0, 2.0]] * 4
    assert X.tolist() == [[3.0, 4.0]] * 4


@pytest.mark.parametrize("name", LOSSES)
def test_check(name):
    loss = LOSSES[name]
    rng = np.random.default_rng(0)
    good = rng.integers(0, 2, (200, 8)).astype(float)
    good[3, 2] = np.nan
    loss.check(good, "AE")
    low, high = loss.bounds
    bad = good.copy()
    bad[7, 6] = -2
    if low == -np.inf and high == np.inf:
        return loss.check(bad, "AE")
    message = rf"loss='{name}' of AE takes values in .* feature 6 \('g'\) of X .*\[-2,"
    with pytest.raises(ValueError, match=message):
        loss.check(bad, "AE", list("abcdefgh"))
