"""Which rows each network trains on, which are held out, and where it starts."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from skae._tables.table import Table
from skae._training.members import make_members
from skae._training.settings import Settings
from skae.losses import LOSSES

SETTINGS = Settings(
    n_components=2,
    from_pca=True,
    is_linear=False,
    is_stackable=True,
    early_stopping=True,
    validation_fraction=0.1,
    n_iter_no_change=20,
    tol=1e-3,
    batch_size=16,
    max_epochs=4,
    lr=5e-3,
    weight_decay=0.01,
    precision="float32",
    callbacks=None,
    verbose=0,
)


def members_of(X, **changes):
    X = (X - X.mean(axis=0)) / X.std()
    settings = dataclasses.replace(SETTINGS, **changes)
    return make_members(Table(X, X), LOSSES["squared_error"], settings, 0)


def test_each_member_starts_from_pca_of_its_own_rows(curved):
    """And the one that is kept from PCA of all."""
    fit = members_of(curved)
    for rows, start in zip([*fit.trained[:-1], np.arange(200)], fit.starts, strict=True):
        X = fit.table.X[rows]
        variances = np.linalg.svd(X - X.mean(axis=0), compute_uv=False) ** 2 / len(X)
        np.testing.assert_allclose(start.variances, variances, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(np.sort(fit.judged), np.arange(200))


def test_folds_of_a_wide_table_have_axes_within_those_of_all_rows():
    """They take little memory, and are PCA of the rows of the fold nevertheless."""
    fit = members_of(np.random.default_rng(0).normal(size=(30, 200)))
    X, last = fit.table.X, fit.starts[-1]
    assert last.axes.shape == (30, 200)
    for rows, start in zip(fit.trained[:-1], fit.starts[:-1], strict=True):
        assert start.outer is last
        assert start.axes.shape == (30, 30)
        linear = start.undo(start.linear_module().double())
        pca = PCA(2, svd_solver="full").fit(X[rows])
        expected = pca.inverse_transform(pca.transform(X))
        with torch.no_grad():
            reconstruction = linear(torch.from_numpy(X)).numpy()
        np.testing.assert_allclose(reconstruction, expected, atol=1e-6)


def pairs(X, **changes):
    """Rows that each member trains on and holds out, as lists."""
    fit = members_of(X, **changes)
    sides = zip(fit.trained, fit.held_out, strict=True)
    members = [(train.tolist(), held_out.tolist()) for train, held_out in sides]
    assert fit.has_held_out_rows == any(held_out for _, held_out in members)
    return members


def test_a_small_table_is_cross_fitted(curved):
    """Every row is held out once; the last member has them all, and is kept."""
    *folds, last = pairs(curved)
    assert last == (list(range(200)), [])
    assert [len(held_out) for _, held_out in folds] == [40] * 5
    assert sorted(i for _, held_out in folds for i in held_out) == list(range(200))
    for train, held_out in folds:
        assert sorted(train + held_out) == list(range(200))
        assert held_out != list(range(held_out[0], held_out[0] + 40)), "in no order"


def test_one_network_holds_a_tenth_out(curved):
    """Where members cannot be stacked."""
    ((train, held_out),) = pairs(curved, is_stackable=False, from_pca=False)
    assert len(held_out) == 20
    assert sorted(train + held_out) == list(range(200))


@pytest.mark.parametrize(("n", "changes"), [(200, {"early_stopping": False}), (19, {})])
def test_none_is_held_out(curved, n, changes):
    assert pairs(curved[:n], **changes) == [(list(range(n)), [])]
