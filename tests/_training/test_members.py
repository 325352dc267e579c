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


@pytest.mark.parametrize(
    ("n", "changes", "members", "watched"),
    [
        (200, {}, 6, True),
        (200, {"early_stopping": False}, 1, False),
        (200, {"is_ours": False, "from_pca": False}, 1, True),
        (19, {}, 1, False),
    ],
)
def test_members(curved, n, changes, members, watched):
    fit = training(curved[:n], **changes)
    assert len(fit.members) == members
    assert fit.is_watched == watched
