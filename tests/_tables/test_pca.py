"""Principal axes, over the whole range of float64."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from skae._tables.pca import principal_axes


def table(n, p, rank=None, seed=0):
    rng = np.random.default_rng(seed)
    rank = rank or min(n, p)
    X = rng.normal(size=(n, rank)) * np.arange(rank, 0, -1) @ rng.normal(size=(rank, p))
    return X - X.mean(axis=0)


@pytest.mark.parametrize("shape", [(50, 7), (7, 7), (8, 40), (2, 5), (30, 1)], ids=str)
def test_principal_axes_are_those_of_pca(shape):
    X = table(*shape)
    pca = PCA(svd_solver="full").fit(X)
    deviations, axes, _ = principal_axes(X)
    expected = pca.singular_values_ / np.sqrt(len(X))
    atol = 1e-7 * expected[0]
    np.testing.assert_allclose(deviations, expected, rtol=1e-7, atol=atol)
    real = expected > 1e-6 * expected[0]
    np.testing.assert_allclose(axes[real], pca.components_[real], atol=1e-7)


@pytest.mark.parametrize("rank", [None, 3])
def test_axes_in_float32_span_the_rows_as_those_in_float64_do(rank):
    X = table(8, 40, rank=rank)
    deviations, axes, total = principal_axes(X, dtype=np.float32)
    assert axes.dtype == np.float32
    expected, exact, expected_total = principal_axes(X)
    np.testing.assert_array_equal(deviations, expected)
    assert total == expected_total
    np.testing.assert_allclose(axes @ axes.T, np.eye(8), atol=1e-6)
    real = slice(7 if rank is None else rank)
    np.testing.assert_allclose(axes[real], exact[real], atol=1e-5)
    left = X - (X @ axes[real].T) @ axes[real]
    assert np.abs(left).max() < 1e-6 * np.abs(X).max()


@pytest.mark.parametrize("shape", [(50, 7), (8, 40)], ids=str)
@pytest.mark.parametrize("rank", [1, 3])
def test_orthonormal_when_rank_deficient(shape, rank):
    X = table(*shape, rank=rank)
    deviations, axes, _ = principal_axes(X)
    assert axes.shape == (min(shape), shape[1])
    np.testing.assert_allclose(axes @ axes.T, np.eye(len(axes)), atol=1e-10)
    assert (deviations[rank:] < 1e-6 * deviations[0]).all()
    np.testing.assert_allclose(X @ axes[:rank].T @ axes[:rank], X, atol=1e-8)


@pytest.mark.parametrize("shape", [(6, 3), (3, 6)], ids=str)
def test_principal_axes_of_nothing(shape):
    deviations, axes, _ = principal_axes(np.zeros(shape))
    assert not deviations.any()
    np.testing.assert_allclose(axes @ axes.T, np.eye(len(axes)), atol=1e-10)
