"""The tensors that members train on and are judged by hold the rows of the table."""

import dataclasses

import numpy as np
import pytest
import torch

from skae._tables.table import Table
from skae._training.member_rows import member_rows
from skae._training.members import make_members
from skae.losses import LOSSES

from .test_members import SETTINGS

CPU = torch.device("cpu")


def placed(X, in_coordinates, loss="squared_error", **changes):
    settings = dataclasses.replace(SETTINGS, **changes)
    members = make_members(X, LOSSES[loss], settings, 0)
    return members, member_rows(members, LOSSES[loss], CPU, in_coordinates)


@pytest.mark.parametrize("in_coordinates", [True, False])
def test_distances_between_rows_are_those_of_the_table(curved, in_coordinates):
    X = curved - curved.mean(axis=0)
    members, rows = placed(Table(X, X), in_coordinates)
    assert rows.train.inputs.shape == (len(members), *X.shape)
    expected = np.linalg.norm(X[3] - X[70])
    for inputs in rows.train.inputs:
        assert float((inputs[3] - inputs[70]).norm()) == pytest.approx(expected, rel=1e-5)


def test_what_principal_axes_lose_is_told():
    """Ten rows of thirty columns: a fold of eight cannot hold what the others add."""
    X = np.random.default_rng(0).normal(size=(30, 60))
    X -= X.mean(axis=0)
    members, rows = placed(Table(X, X), True)
    begin = 0
    for i, held_out in enumerate(members.held_out):
        mean = 0.0 if i == len(members) - 1 else X[members.trained[i]].mean(axis=0)
        whole = np.square(X[held_out] - mean).sum(axis=1)
        kept = rows.held_out.inputs[i][held_out].double().numpy()
        lost = rows.held_out.lost[begin : begin + len(held_out)]
        np.testing.assert_allclose(whole, np.square(kept).sum(axis=1) + lost, rtol=1e-4)
        begin += len(held_out)
    assert rows.held_out.lost.min() > 1.0


def test_weights_of_each_member_have_a_mean_of_one(curved):
    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(curved))
    table = Table(curved, curved, weights=weights / weights.mean())
    members, rows = placed(table, True)
    for trained, of_member in zip(members.trained, rows.train.weights, strict=True):
        assert float(of_member[trained].mean()) == pytest.approx(1.0, rel=1e-6)


def test_targets_of_a_loss_in_the_units_of_x_are_the_rows_themselves(curved):
    counts = np.round(np.exp(curved))
    X = counts - counts.mean(axis=0)
    _, rows = placed(Table(X, counts), False, "poisson")
    np.testing.assert_array_equal(rows.train.targets.numpy(), counts.astype(np.float32))
