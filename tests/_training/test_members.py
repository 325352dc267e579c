"""Which rows each network trains on, which are held out, and where it starts."""

import dataclasses

import numpy as np
import pytest

from skae._tables.table import Table
from skae._training.members import make_members
from skae._training.settings import Settings
from skae.losses import LOSSES

SETTINGS = Settings(
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


def members_of(X, **changes):
    X = (X - X.mean(axis=0)) / X.std()
    settings = dataclasses.replace(SETTINGS, **changes)
    return make_members(Table(X, X), LOSSES["squared_error"], settings, 0)


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
    fit = members_of(curved[:n], **changes)
    assert len(fit) == members
    assert fit.has_held_out_rows == watched
    # The member that is kept has PCA of all rows, and the others that of their own.
    for rows, start in zip([*fit.trained[:-1], np.arange(n)], fit.starts, strict=True):
        X = fit.table.X[rows]
        variances = np.linalg.svd(X - X.mean(axis=0), compute_uv=False) ** 2 / len(X)
        np.testing.assert_allclose(start.variances, variances, rtol=1e-10, atol=1e-12)
    if watched:
        expected = np.arange(n) if members > 1 else fit.held_out[0]
        np.testing.assert_array_equal(np.sort(fit.judged), expected)
