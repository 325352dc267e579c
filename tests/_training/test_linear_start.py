"""The linear start: load and undo give PCA, whatever the coordinates."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from skae._tables.table import Table
from skae._training.linear_start import ToFeatures, make_start
from skae.losses import LOSSES
from skae.modules import DenseAutoencoder


def table(n, p, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) @ rng.normal(size=(p, p))
    return X - X.mean(axis=0)


def network(start, k):
    """A network with hidden layers that starts at `start`."""
    r, q = start.encoder.shape[1], len(start.bias)
    return start.load(DenseAutoencoder(r, k, q, (5,)).double())


@pytest.mark.parametrize("shape", [(60, 6), (7, 20)], ids=str)
@pytest.mark.parametrize("rotate", [True, False])
@pytest.mark.parametrize("rows", [None, np.arange(1, 60, 2)], ids=["all", "some"])
@pytest.mark.parametrize("k", [1, 2])
def test_load_and_undo_are_pca(shape, rotate, rows, k):
    X = table(*shape)
    rows = None if rows is None else rows[rows < len(X)]
    pca = PCA(k, svd_solver="full").fit(X if rows is None else X[rows])
    loss = LOSSES["squared_error"]
    n_axes = min(shape) if rotate else None
    start = make_start(Table(X, X), rows, k, loss, rotate, n_axes=n_axes)
    Z = pca.transform(X)
    share = 1 - pca.explained_variance_ratio_.sum()
    assert start.unexplained == pytest.approx(share)

    inputs, lost = start.coordinates(X)
    module = network(start, k)
    with torch.inference_mode():
        errors = loss.function(module(torch.from_numpy(inputs)), torch.from_numpy(inputs))
        codes = module.encode(torch.from_numpy(inputs)).numpy()
    expected = np.square(pca.inverse_transform(Z) - X).sum(axis=1)
    np.testing.assert_allclose(errors.numpy() + lost, expected, atol=1e-9)
    np.testing.assert_allclose(codes * start.deviations, Z, atol=1e-8)

    module = start.undo(module)
    with torch.inference_mode():
        X_hat, codes = module(torch.from_numpy(X)), module.encode(torch.from_numpy(X))
    np.testing.assert_allclose(codes, Z, atol=1e-8)
    np.testing.assert_allclose(X_hat, pca.inverse_transform(Z), atol=1e-8)


@pytest.mark.parametrize("rotate", [True, False])
def test_undo_keeps_a_trained_network(rotate):
    X = table(60, 6)
    start = make_start(Table(X, X), np.arange(40), 2, LOSSES["squared_error"], rotate, 6)
    module = network(start, 2)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            p += 0.1 * torch.randn(p.shape, generator=draw, dtype=p.dtype)
        out = module(torch.from_numpy(start.coordinates(X)[0])).numpy()
        expected = out @ start.axes + start.mean if rotate else out + start.mean
        X_hat = start.undo(module)(torch.from_numpy(X))
    np.testing.assert_allclose(X_hat, expected, atol=1e-9)


def test_codes_of_the_network_are_white():
    X = table(60, 6)
    start = make_start(Table(X, X), None, 4, LOSSES["squared_error"], rotate=False)
    codes = X @ start.encoder.T
    np.testing.assert_allclose(codes.T @ codes / len(X), np.eye(4), atol=1e-9)


def test_logistic_start_is_better_than_the_mean():
    X = table(80, 4)
    target = (X > 0).astype(float)
    loss = LOSSES["binary_cross_entropy"]
    start = make_start(Table(X, target), None, 2, loss, rotate=False)
    goal = torch.from_numpy(target)
    with torch.inference_mode():
        module = start.linear_module().double()
        error = loss.function(module(torch.from_numpy(X)), goal).mean()
        mean = torch.logit(goal.mean(0)).expand(goal.shape)
        assert error < 0.8 * loss.function(mean, goal).mean()


@pytest.mark.parametrize("n_members", [1, 3])
def test_features_of_rows_in_coordinates(n_members):
    X = np.random.default_rng(0).normal(size=(12, 30))
    X -= X.mean(axis=0)
    folds = [(np.arange(12) % 3 != i).nonzero()[0] for i in range(n_members - 1)]
    how = {"n_components": 2, "loss": LOSSES["squared_error"], "rotate": True, "n_axes": 12}
    starts = [make_start(Table(X, X), None, **how)]
    inner, _ = starts[0].coordinates(X)
    of_folds = [make_start(Table(inner, inner), rows, **how) for rows in folds]
    starts = [dataclasses.replace(s, outer=starts[0]) for s in of_folds] + starts
    to_features = ToFeatures.of(starts, "cpu")
    for i, (start, rows) in enumerate(zip(starts, [*folds, np.arange(12)], strict=True)):
        inside = torch.from_numpy(start.coordinates(X[rows])[0]).float()
        together = inside if n_members == 1 else inside.expand(n_members, *inside.shape)
        features = to_features(together)
        features = features if n_members == 1 else features[i]
        np.testing.assert_allclose(features, X[rows], atol=1e-5)
