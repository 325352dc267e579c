"""Principal axes as combinations of rows: those of PCA, in the memory of pairs of rows."""

import tracemalloc

import numpy as np
import pytest
from sklearn.decomposition import PCA

import skae._tables.rows
from skae import AutoencoderTransformer
from skae._tables.pca import principal_axes
from skae._tables.row_axes import RowAxes, axes_of_rows


def table(n=12, p=40, rank=None, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, rank or n)) @ rng.normal(size=(rank or n, p))
    return X - X.mean(axis=0)


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("chunk", [17, 2**20])
def test_they_are_the_principal_axes(monkeypatch, is_weighted, dtype, chunk):
    monkeypatch.setattr(skae._tables.rows, "CHUNK", 12 * chunk)
    X, weights = table().astype(dtype), None
    if is_weighted:
        weights = np.random.default_rng(1).uniform(0.5, 2, len(X))
        X -= np.average(X, axis=0, weights=weights).astype(dtype)
    deviations, axes, total = axes_of_rows(X, 3, weights, dtype)
    expected, exact, expected_total = principal_axes(X, weights=weights)
    assert isinstance(axes, RowAxes)
    assert axes.shape == exact.shape
    assert total == pytest.approx(expected_total)
    np.testing.assert_allclose(deviations, expected)
    real = expected > 1e-6 * expected[0]
    np.testing.assert_allclose(np.asarray(axes, np.float64)[real], exact[real], atol=1e-9)
    np.testing.assert_allclose(axes.first(3), exact[:3], atol=1e-9)
    assert np.asarray(axes).dtype == dtype


@pytest.mark.parametrize("is_weighted", [False, True])
def test_coordinates_of_the_rows_and_of_others(is_weighted):
    X, others = table(), table(5, seed=2)
    weights = np.random.default_rng(1).uniform(0.5, 2, len(X)) if is_weighted else None
    _, axes, _ = axes_of_rows(X, 3, weights)
    for rows in (X, X.copy(), others):
        expected = rows @ axes.first(len(axes)).T
        np.testing.assert_allclose(axes.coordinates(rows), expected, atol=1e-9)


def test_axes_along_which_rows_do_not_vary_are_zero():
    _, axes, _ = axes_of_rows(table(rank=4), 3)
    axes = np.asarray(axes)
    np.testing.assert_allclose(axes[:4] @ axes[:4].T, np.eye(4), atol=1e-10)
    assert not axes[4:].any()


@pytest.mark.parametrize("X", [table(rank=4), np.zeros((12, 40))], ids=["rank", "zero"])
def test_components_without_variance_are_orthonormal(X):
    deviations, axes, total = axes_of_rows(X, 6)
    expected, exact, expected_total = principal_axes(X)
    np.testing.assert_array_equal(deviations, expected)
    np.testing.assert_array_equal(axes, exact)
    assert total == expected_total


def test_an_untrained_network_is_pca():
    X = np.random.default_rng(0).normal(size=(90, 25_000)).astype(np.float32)
    X += 3 * np.outer(np.arange(90) - 40, np.sin(np.arange(25_000))).astype(np.float32)
    ae = AutoencoderTransformer(2, max_epochs=1, random_state=0).fit(X)
    assert ae.outcome_ == "pca"
    pca = PCA(2, svd_solver="full").fit(X.astype(np.float64))
    Z = pca.transform(X.astype(np.float64))
    np.testing.assert_allclose(ae.transform(X), Z, atol=1e-5 * np.abs(Z).max())
    np.testing.assert_allclose(ae.components_, pca.components_, atol=1e-5)


def test_memory_of_a_wide_table(monkeypatch):
    """NumPy's share of the peak, 2.4 times the table with the axes as an array."""
    monkeypatch.setattr(skae._tables.rows, "BLOCK", 2**17)
    monkeypatch.setattr(skae._tables.rows, "CHUNK", 2**17)
    X = np.random.default_rng(0).normal(size=(100, 30_000)).astype(np.float32)
    ae = AutoencoderTransformer(2, max_epochs=1, random_state=0)
    tracemalloc.start()
    ae.fit(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.9 * X.nbytes
