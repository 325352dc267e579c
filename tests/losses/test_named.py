"""Losses: one number per sample, right, with the right gradient."""

import pickle

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from skae import losses
from skae.losses import LOSSES, Loss, binary_cross_entropy, cosine
from skae.losses._counts import LOG_THETA, OFFSET, UNIT, log_rate, rate


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


def test_counts_have_log_likelihoods():
    X = torch.tensor([[0.0, 3.0, 12.0]], dtype=torch.float64)
    mean, theta = np.array([0.5, 4.0, 9.0]), np.array([0.7, 5.0, 40.0])
    of_table = {"mean": [0.1, 8.0, 9.0]}
    output = inverse_rate(torch.from_numpy(mean)[None], torch.tensor(of_table["mean"]))
    loss = LOSSES["poisson"].fitted(of_table)
    expected = -stats.poisson(mean).logpmf(X).sum()
    assert float(loss.function(output, X)) == pytest.approx(expected)
    np.testing.assert_allclose(loss.reconstruction(output)[0], mean)
    output = torch.cat([output, torch.from_numpy(np.log(theta))[None]], dim=1)
    loss = LOSSES["negative_binomial"].fitted(of_table)
    expected = -stats.nbinom(theta, theta / (theta + mean)).logpmf(X).sum()
    assert float(loss.function(output, X)) == pytest.approx(expected)
    np.testing.assert_allclose(loss.reconstruction(output)[0], mean)


def test_negative_binomial_tends_to_poisson_in_float32():
    X = torch.poisson(torch.full((50, 20), 6.0), generator=torch.Generator().manual_seed(0))
    output = torch.zeros_like(X)
    expected = losses.poisson(output, X, 6.0)
    output = torch.cat([output, torch.full_like(X, LOG_THETA[1])], dim=1)
    errors = losses.negative_binomial(output, X, 6.0)
    torch.testing.assert_close(errors, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rate(dtype):
    """The mean at 0, convex, never below 0, a line for large outputs."""
    output = torch.tensor([-1000.0, -100.0, -5.0, 0.0, 5.0, 100.0, 1e6], dtype=dtype)
    rates = rate(output, torch.tensor(7.0))
    expected = 7 * np.logaddexp(0, output.double().numpy() + OFFSET) / UNIT
    np.testing.assert_allclose(rates, expected, rtol=1e-6, atol=1e-43)
    torch.testing.assert_close(rates[3], torch.tensor(7.0, dtype=dtype))
    expected = np.log(np.logaddexp(0, output[1:].double().numpy() + OFFSET) * 7 / UNIT)
    np.testing.assert_allclose(log_rate(output, 7.0)[1:], expected, rtol=1e-6)
    assert float(log_rate(output, 7.0)[0]) == pytest.approx(
        -1000 + OFFSET + np.log(7 / UNIT)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["poisson", "negative_binomial"])
@pytest.mark.parametrize("mean", [1e-4, 1.0, 1e12])
def test_gradients_of_counts_far_out(name, mean, dtype):
    """They point to the count, and are of its order, not of its exponential's."""
    loss = LOSSES[name].fitted({"mean": [mean] * 4})
    output = torch.tensor([[-100.0, 100.0, -100.0, 100.0]], dtype=dtype)
    output = torch.cat([output, torch.zeros(1, 4 * loss.n_constants, dtype=dtype)], dim=1)
    output.requires_grad_()
    X = torch.tensor([[0.0, 0.0, 1e13, 1e13]], dtype=dtype)
    errors = loss.function(output, X)
    (gradient,) = torch.autograd.grad(errors.sum(), output)
    assert errors.isfinite().all()
    assert gradient.isfinite().all()
    assert 0 <= gradient[0, 0] < 1e-25
    assert gradient[0, 1] > 0
    assert float(gradient[0, 2]) == pytest.approx(-1e13, rel=1e-4)
    assert gradient.abs().max() <= 1.1e13


@pytest.mark.parametrize("name", ["poisson", "negative_binomial"])
def test_means_of_counts(name):
    X = np.array([[1.0, 0.0, np.nan, 4.0], [2.0, 0.0, np.nan, np.nan]])
    X.flags.writeable = False
    loss = LOSSES[name]
    statistics = loss.measure(X.astype(np.float32))
    assert statistics["mean"].dtype == np.float64
    assert statistics["mean"].tolist() == [1.5, 0.25, 0.5, 4.0]
    output = torch.zeros(2, 3, 4 * (1 + loss.n_constants))
    fitted = loss.fitted(statistics)
    assert fitted.measure(X) == {}
    expected = torch.tensor([1.5, 0.25, 0.5, 4.0]).expand(2, 3, 4)
    torch.testing.assert_close(fitted.reconstruction(output), expected)
    again = pickle.loads(pickle.dumps(loss.fitted(loss.measure(X))))
    X = torch.ones(2, 3, 4)
    assert torch.equal(again.function(output, X), fitted.function(output, X))


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
