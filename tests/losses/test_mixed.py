"""Mixed losses: a loss of its own for each column, and weights that make them equal."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import OneHotEncoder
from torch.nn import functional as F

from skae import AutoencoderTransformer, losses
from skae.losses._resolve import resolve_loss


def fitted(loss, X):
    return loss.fitted(loss.measure(X))


def table(name):
    """Data (200, 8) in the range of the loss, with a feature that is always zero."""
    rng = np.random.default_rng(0)
    log_mean = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 8)) / 2 + 1
    X = rng.poisson(np.exp(log_mean) * rng.gamma(2, 0.5, log_mean.shape)).astype(float)
    X[:, 5] = 0
    X[0] = 0
    if name == "binary_cross_entropy":
        X = X > 2
    return torch.from_numpy(X.astype(float))


def pca(X, k=3):
    """Codes of unit covariance, and the reconstruction."""
    left, spread, axes = torch.linalg.svd(X - X.mean(0), full_matrices=False)
    X_hat = left[:, :k] * spread[:k] @ axes[:k] + X.mean(0)
    return left[:, :k] * np.sqrt(len(X)), X_hat


def linear_output(loss, Z, X):
    weight, bias = loss.decoder_start(Z, X)
    p = X.shape[1]
    assert weight.shape == (p, Z.shape[1])
    assert bias.shape == ((1 + loss.n_constants) * p,)
    constants = bias[p:].expand(len(Z), -1)
    return torch.cat([Z @ weight.T + bias[:p], constants], dim=1)


def of_samples(X_hat, X):
    return (X_hat - X).abs().sum(1)


NAMES = ["red", "age", "green", "n", "yes", "x", "blue", "y", "no", "z"]
MIXED = {
    "squared_error": ["age"],
    "absolute_error": ["y"],
    "huber": [9],
    "binary_cross_entropy": ["x"],
    "poisson": ["n"],
    "cross_entropy": [["red", "green", "blue"], ["yes", "no"]],
}


@pytest.fixture
def mixed():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(300, 2))
    color, answer = (Z @ [1, 1] > 0) + 1 * (Z[:, 0] > 0.5), Z[:, 1] > 0.3
    columns = {c: color == i for i, c in enumerate(["red", "green", "blue"])}
    columns |= {"yes": answer, "no": ~answer, "x": Z[:, 0] > 1, "age": 1e4 + 300 * Z[:, 0]}
    columns |= {"y": 1e-3 * Z @ [1, 2], "z": Z[:, 1] ** 3}
    columns["n"] = rng.poisson(np.exp(1 + 0.5 * Z[:, 1]))
    return np.c_[tuple(columns[name] for name in NAMES)].astype(float)


def test_mixed(mixed):
    loss = resolve_loss(MIXED, 10, NAMES)
    loss.check(mixed, "AE", NAMES)
    loss = pickle.loads(pickle.dumps(fitted(loss, mixed)))
    X = torch.from_numpy(mixed)
    constant = loss.constant(X).expand(len(X), -1)
    # Seven columns and groups, each with an error of one.
    assert float(loss.function(constant, X).mean()) == pytest.approx(7)
    means = loss.reconstruction(constant)[0]
    of_means = [j for j, name in enumerate(NAMES) if name not in "yz"]
    torch.testing.assert_close(means[of_means], X.mean(0)[of_means])
    Z, _ = pca((X - X.mean(0)) / X.std(0), 2)
    output = linear_output(loss, Z, X)
    assert float(output.abs().mean()) < 5
    assert float(loss.function(output, X).mean()) < 5
    X_hat = loss.reconstruction(output)
    torch.testing.assert_close(X_hat[:, [0, 2, 6]].sum(1), torch.ones(300).double())
    assert float(torch.corrcoef(torch.stack([X_hat[:, 1], X[:, 1]]))[0, 1]) > 0.8
    stacked = loss.function(output.expand(2, -1, -1), X.expand(2, -1, -1))
    torch.testing.assert_close(stacked[1], loss.function(output, X))
    function = lambda out: loss.function(out, X[:5])  # noqa: E731
    assert torch.autograd.gradcheck(function, output[:5].requires_grad_())


def test_outputs_of_columns_that_are_held(mixed):
    """In the units of each column, and only of the losses that can be held."""
    loss = fitted(resolve_loss(MIXED, 10, NAMES), mixed)
    held = [name in ("age", "y", "z") for name in NAMES]
    assert loss.can_hold.tolist() == held
    low = np.where(held, np.quantile(mixed, 0.3, axis=0), -np.inf)
    high = np.where(held, np.quantile(mixed, 0.6, axis=0), np.inf)
    loss = loss.with_ends(low, high)
    output = 3 * torch.randn(50, 10, generator=torch.Generator().manual_seed(0)).double()
    before = loss.reconstruction(output).numpy()
    expected = np.where(held, before.clip(low, high), before)
    assert (expected != before).any(axis=0).tolist() == held
    found = loss.reconstruction(loss.hold(output)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("loss", [MIXED, of_samples], ids=["mixed", "callable"])
def test_weights_are_repetitions(mixed, loss):
    mixed[::3, 1] = mixed[::5, 7] = np.nan
    w = np.tile([0, 1, 2, 1], len(mixed) // 4)
    repeated = np.repeat(mixed, w, axis=0)
    loss = resolve_loss(loss, 10, NAMES)
    statistics = [loss.measure(mixed, w), loss.measure(repeated)]
    for value, other in zip(*(s.values() for s in statistics), strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-12)
    X, weights = torch.tensor(mixed).nan_to_num(), torch.from_numpy(w)
    Z, _ = pca(X, 2)
    loss = loss.fitted(statistics[0])
    everyone = torch.arange(len(X)).repeat_interleave(weights)
    starts = loss.decoder_start(Z, X, weights), loss.decoder_start(Z[everyone], X[everyone])
    for part, other in zip(*starts, strict=True):
        torch.testing.assert_close(part, other, rtol=1e-3, atol=1e-3)


def test_a_weighted_column_that_does_not_vary():
    """Its mean is rounded, and what is left of it is no error to be divided by."""
    X, w = np.full((7, 2), 0.1), np.linspace(0.3, 1.7, 7)
    statistics = resolve_loss({"squared_error": [0], "huber": [1]}, 2).measure(X, w)
    np.testing.assert_allclose(statistics["mean"], 0.1)
    assert statistics["baseline"].tolist() == [0, 0]


def test_mixed_is_a_sum_of_its_terms(mixed):
    X = torch.from_numpy(mixed)
    terms = {"cross_entropy": [[0, 2, 6], [4, 8]], "poisson": [1, 3, 5, 7, 9]}
    X[:, terms["poisson"]] = X[:, terms["poisson"]].abs()
    loss = fitted(resolve_loss(terms, 10), X.numpy())
    output = torch.randn(300, 10, generator=torch.Generator().manual_seed(0)).double()
    expected = 0
    for group in terms["cross_entropy"]:
        shares = X[:, group].mean(0)
        entropy = -(shares * shares.log()).sum()
        classes = X[:, group].argmax(1)
        expected += F.cross_entropy(output[:, group], classes, reduction="none") / entropy
    for j in terms["poisson"]:
        column = X[:, [j]]
        mean = column.mean(0)
        baseline = losses.poisson(torch.zeros_like(column), column, mean).mean()
        expected += losses.poisson(output[:, [j]], column, mean) / baseline
    torch.testing.assert_close(loss.function(output, X), expected)


def test_mixed_missing_cells_add_nothing(mixed):
    mixed[::3, 1] = mixed[::4, 7] = np.nan
    mixed[1::5, [4]] = mixed[1::5, [8]] = np.nan
    loss = resolve_loss(MIXED, 10, NAMES)
    loss.check(mixed, "AE", NAMES)
    loss = fitted(loss, mixed)
    X = torch.from_numpy(mixed)
    output = torch.zeros(300, 10, dtype=torch.float64, requires_grad=True)
    pair = loss.observed(output, X, ~X.isnan())
    errors = loss.function(*pair)
    other = loss.function(torch.where(X.isnan(), 5.0, pair[0]), pair[1])
    whole = ~X.isnan().any(1)
    torch.testing.assert_close(errors[whole], loss.function(output, X)[whole])
    (gradient,) = torch.autograd.grad(errors.sum(), output)
    assert not gradient[X.isnan()].any()
    assert gradient.isfinite().all()
    assert (other >= errors - 1e-9).all()


def test_mixed_check(mixed):
    loss = resolve_loss(MIXED, 10, NAMES)
    bad = mixed.copy()
    bad[3, 3] = -1
    with pytest.raises(ValueError, match=r"loss='poisson' of AE .* feature 3 \('n'\)"):
        loss.check(bad, "AE", NAMES)
    bad = mixed.copy()
    bad[4, [0, 2, 6]] = 1
    with pytest.raises(ValueError, match=r"row 4 .*'red', 'green', 'blue'.* sum 3"):
        loss.check(bad, "AE", NAMES)
    bad[4, [0, 2, 6]] = np.nan
    loss.check(bad, "AE")
    # Shares that were rounded, here or in float32, are shares.
    bad[4, [0, 2, 6]] = 0.7, 0.2, 0.1 - 1e-12
    loss.check(bad, "AE")
    loss.check(bad.astype(np.float32), "AE")


def categories(n_samples=60):
    """A column of numbers, and of words, that goes with it."""
    rng = np.random.default_rng(0)
    age = rng.normal(size=(n_samples, 1))
    return age, np.array(["a", "b", "c"], dtype=object)[np.digitize(age, [-0.5, 0.5])]


ONE = r"two or more one-hot columns.* got the group \[1\]\. .*'binary_cross_entropy'"


@pytest.mark.parametrize(
    ("params", "known", "message"),
    [
        ({"drop": "first"}, "abc", r"row \d+ .*'1', '2'.* sum 0\. .*drop=None"),
        ({"handle_unknown": "ignore"}, "ab", r"row \d+ .*'1', '2'.* sum 0\. .*NaN"),
        ({"drop": "if_binary"}, "ab", ONE),
        ({}, "a", ONE),
    ],
    ids=str,
)
def test_groups_that_are_no_one_hot_columns(params, known, message):
    """Their softmax would be 1 in every row, or have no class to be of."""
    age, words = categories()
    encoder = OneHotEncoder(sparse_output=False, **params)
    encoder.fit(words[np.isin(words, list(known))][:, None])
    words = words if len(known) == 3 or params.get("handle_unknown") else known[:1]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Found unknown categories")
        columns = encoder.transform(np.broadcast_to(words, age.shape))
    X = np.c_[age, columns]
    loss = {"squared_error": [0], "cross_entropy": [[*range(1, X.shape[1])]]}
    ae = AutoencoderTransformer(1, loss=loss)
    with pytest.raises(ValueError, match=message):
        ae.fit(X)
    assert not hasattr(ae, "net_")


@pytest.mark.parametrize("method", ["fit", "score", "partial_fit"])
@pytest.mark.parametrize("weights", [None, "some"])
def test_a_row_that_is_no_class_is_named(method, weights):
    """By its number in what the user gave, whatever became of the order of the rows."""
    age, words = categories()
    X = np.c_[age, OneHotEncoder(sparse_output=False).fit_transform(words)]
    names = ["age", "A", "B", "C"]
    loss = {"squared_error": [0], "cross_entropy": [[1, 2, 3]]}
    ae = AutoencoderTransformer(1, loss=loss, max_epochs=1, hidden_layer_sizes=(4,))
    ae.fit(pd.DataFrame(X, columns=names))
    if method == "partial_fit":
        ae.partial_fit(pd.DataFrame(X, columns=names))
    X[[17, 40], 1:] = 0.0, 0.4, 0.5
    params = {}
    if weights and method != "score":
        params["sample_weight"] = np.arange(60) % 4
    message = r"row 17 of the columns \['A', 'B', 'C'\] of X has the sum 0\.9\. "
    with pytest.raises(ValueError, match=message):
        getattr(ae, method)(pd.DataFrame(X, columns=names), **params)


def test_a_chunk_out_of_range_is_refused():
    X = np.random.default_rng(0).random((60, 3))
    ae = AutoencoderTransformer(1, loss="binary_cross_entropy").partial_fit(X)
    with pytest.raises(ValueError, match=r"takes values in \[0, 1\]"):
        ae.partial_fit(3 * X)


def lying(X_hat, X):
    return torch.square(X_hat - X)


@pytest.mark.parametrize("part", [slice(None), slice(0, 150)])
@pytest.mark.parametrize(
    "loss", ["poisson", "cosine", lying, MIXED], ids=["poisson", "cosine", "lying", "mixed"]
)
def test_statistics_are_plain_and_sufficient(mixed, loss, part):
    mixed = np.abs(mixed)
    mixed[2:, 3] = mixed[::7, 1] = mixed[:, 9] = np.nan
    kept = mixed.copy()
    mixed.flags.writeable = False
    loss = resolve_loss(loss, 10, NAMES)
    statistics = loss.measure(mixed[part])
    for value in statistics.values():
        assert type(value) is np.ndarray
        assert value.dtype == np.float64
        assert np.isfinite(value).all()
    np.testing.assert_array_equal(mixed, kept)
    one = loss.fitted(statistics)
    copies = pickle.loads(pickle.dumps(statistics))
    for value in copies.values():
        value.flags.writeable = False
    other = pickle.loads(pickle.dumps(loss.fitted(copies)))
    assert one.measure(mixed) == {}
    X = torch.tensor(kept).float().expand(2, -1, -1)
    output = torch.randn(X.shape, generator=torch.Generator().manual_seed(0))
    pair = one.observed(output, X, ~X.isnan())
    errors = one.function(*pair)
    assert errors.shape == X.shape[:2]
    assert errors.isfinite().all()
    assert torch.equal(errors, other.function(*pair))
    reconstruction = one.reconstruction(output)
    assert reconstruction.isfinite().all()
    assert torch.equal(reconstruction, other.reconstruction(output))


def test_columns_without_values_have_weight_one():
    X = np.full((20, 5), np.nan)
    X[:, 4] = 3.0
    terms = {"squared_error": [0, 4], "poisson": [1], "cross_entropy": [[2, 3]]}
    loss = resolve_loss(terms, 5)
    statistics = loss.measure(X)
    assert statistics["mean"].tolist()[:2] == [0.0, 0.5]
    assert statistics["mean"][4] == 3.0
    assert statistics["scale"].tolist() == [1.0] * 5
    np.testing.assert_allclose(
        statistics["baseline"], [0, 0, np.log(2), np.log(2), 0], atol=1e-12
    )
    loss = loss.fitted(statistics)
    output = torch.tensor([[1.0, 0.0, 0.0, 0.0, 2.0]])
    errors = loss.function(output, torch.tensor([[0.0, 0.0, 1.0, 0.0, 3.0]]))
    torch.testing.assert_close(errors, torch.tensor([1.0 + 0.5 + 1.0 + 4.0]))


def test_a_mixed_loss_is_to_be_fitted():
    loss = resolve_loss({"huber": [0, 1]}, 2)
    with pytest.raises(RuntimeError, match=r"before `Loss\.fitted`"):
        loss.function(torch.zeros(1, 2), torch.zeros(1, 2))
