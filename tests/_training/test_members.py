"""Who trains, and who is held out."""

import dataclasses

import pytest
import torch

from skae._tables.table import Table
from skae._training.settings import Recipe
from skae._training.training import Training
from skae.losses import LOSSES

RECIPE = Recipe(
    n_components=2,
    from_pca=True,
    is_linear=False,
    is_ours=True,
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


def training(X, **changes):
    X = (X - X.mean(axis=0)) / X.std()
    recipe = dataclasses.replace(RECIPE, **changes)
    loss = LOSSES["squared_error"]
    return Training(Table(X, X), loss, recipe, 0, torch.device("cpu"))


def pairs(X, **changes):
    """Rows that each member trains on and holds out, as lists."""
    fit = training(X, **changes)
    members = [(train.tolist(), held_out.tolist()) for train, held_out in fit.members]
    assert fit.is_watched == any(held_out for _, held_out in members)
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
    ((train, held_out),) = pairs(curved, is_ours=False, from_pca=False)
    assert len(held_out) == 20
    assert sorted(train + held_out) == list(range(200))


@pytest.mark.parametrize(("n", "changes"), [(200, {"early_stopping": False}), (19, {})])
def test_none_is_held_out(curved, n, changes):
    assert pairs(curved[:n], **changes) == [(list(range(n)), [])]
