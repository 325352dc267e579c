"""Errors of rows in the cells that judge them, against all features."""

import warnings

import numpy as np
import pytest
import torch

from skae._engine import judged_cells
from skae._engine.judged_cells import JudgedCells
from skae._training.linear_start import ToFeatures

N, P, R, N_MEMBERS = 40, 300, 25, 3


def randn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def orthonormal(n, r):
    return torch.linalg.qr(randn(n, r))[0]


def members(n_members):
    """What turns rows into features, and means and axes (m, d, r) of all members."""
    axes = orthonormal(P, R).mT.contiguous()
    if n_members == 1:
        return ToFeatures(None, None, axes), torch.zeros(1, R), torch.eye(R)[None]
    inner = torch.stack([orthonormal(R, R + i)[:, :R].mT for i in range(n_members)])
    means = 0.1 * randn(n_members, 1, R)
    return ToFeatures(inner, means, axes), means[:, 0], inner


@pytest.mark.parametrize("n_members", [1, N_MEMBERS])
@pytest.mark.parametrize("share", [0.98, 0.5, 0.03], ids="{} judge".format)
def test_errors_are_those_of_the_judged_features(share, n_members):
    to_features, means, inner = members(n_members)
    rows = randn(N, R)
    targets = rows @ to_features.axes + 0.1 * randn(N, P)  # not all within the axes
    inside = targets @ to_features.axes.mT
    lost = torch.square(targets).sum(1) - torch.square(inside).sum(1)
    whole = torch.stack([(inside - m) @ A.mT for m, A in zip(means, inner, strict=True)])
    judged = torch.rand(N, P, generator=torch.Generator().manual_seed(0)) < share
    order = torch.stack([torch.arange(i, N, 2) for i in [0, 1, 0][:n_members]])
    output = randn(n_members, N // 2, R)
    inside = torch.stack([w[o] for w, o in zip(whole, order, strict=True)])
    errors = torch.square(output - inside).sum(-1)
    judge = JudgedCells(to_features, targets, judged, np.arange(N), [lost.numpy()] * 3)
    judge.lost = judge.lost[:n_members]
    expected = (to_features(output) - targets[order]) * judged[order]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = judge.errors(order, output, errors)
    torch.testing.assert_close(found, torch.square(expected).sum(-1), rtol=1e-5, atol=0)


def test_some_columns_stand_for_all_in_what_is_subtracted(monkeypatch):
    """Their error is subtracted as often as there are more cells, from that of all."""
    monkeypatch.setattr(judged_cells, "MOST_LEFT_OUT", 3)
    to_features, _, _ = members(1)
    targets = randn(N, P)
    inside = targets @ to_features.axes.mT
    lost = (torch.square(targets).sum(1) - torch.square(inside).sum(1)).numpy()
    judged = torch.ones(N, P).bool()
    judged[:, ::10] = judged[0, 5:60] = False
    output = randn(N, R)
    errors = torch.square(output - inside).sum(-1)
    judge = JudgedCells(to_features, targets, judged, np.arange(N), [lost])
    order = torch.arange(N - 1, -1, -1)
    found = judge.errors(order, output[order], errors[order])[order]
    of_cells, left_out = torch.square(to_features(output) - targets), ~judged
    some = torch.linspace(0, P - 1, int(P * 3 / (30 + 50 / N))).long()
    shares = left_out.sum(1) / left_out[:, some].sum(1).clamp(min=1)
    expected = of_cells.sum(1) - shares * (of_cells * left_out)[:, some].sum(1)
    assert left_out[0, some].sum() not in (0, left_out[0].sum())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
