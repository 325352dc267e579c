"""What came of a fit: the errors and shares that are read of it."""

import numpy as np
import pytest

from .test_training import trained


def test_r2_is_that_of_held_out_rows(curved):
    result = trained(curved)
    members = result.members
    X = members.table.X[members.judged]
    error = result.held_out_errors[result.best_epoch]
    assert result.best_epoch > 0
    assert result.kept_error == pytest.approx(error)
    assert result.r2 == pytest.approx(1 - error / np.square(X).sum(axis=1).mean())
    assert (result.outcome, result.is_pca) == ("trained", False)
    assert result.n_steps == 4 * 13  # batches of at most 16 rows, of 200
    assert result.pca_shares is None


def test_pca_as_the_outcome():
    X = np.random.default_rng(0).normal(size=(100, 6))
    result = trained(X)
    assert result.best_epoch == 0
    assert result.is_pca
    scaled = (X - X.mean(axis=0)) / X.std()
    variances = np.linalg.svd(scaled, compute_uv=False) ** 2
    np.testing.assert_allclose(result.pca_shares, variances / variances.sum(), rtol=1e-8)


def test_a_warm_start_that_gained_nothing_is_as_it_was():
    X = np.random.default_rng(0).normal(size=(100, 6))
    first = trained(X, early_stopping=False)
    second = trained(X, first.net.module_, lr=1e-12)
    assert second.best_epoch == 0
    assert (second.outcome, second.is_pca) == ("unchanged", False)
