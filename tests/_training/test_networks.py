"""The networks of the members of a fit."""

import copy

import numpy as np
import pytest
import torch

from .test_training import trained


def weights_of(module):
    return [w.detach().numpy() for w in module.parameters()]


def test_folds_have_networks_of_their_own(curved):
    result = trained(curved)
    assert result.best_epoch > 0
    folds = result.folds()
    assert len(folds) == len(result.members) - 1
    X = torch.from_numpy(result.members.table.X.astype(np.float32))
    errors = []
    for network, trained_on, held_out in folds:
        assert not set(trained_on) & set(held_out)
        with torch.no_grad():
            errors.append(((network(X) - X) ** 2).sum(dim=1)[held_out])
    kept = torch.cat(errors).mean().item()
    assert kept == pytest.approx(result.kept_error, rel=1e-4)


def test_folds_leave_the_network_that_is_kept(curved):
    result = trained(curved)
    before = copy.deepcopy(weights_of(result.net.module_))
    first, second = result.folds(), result.folds()
    for a, b in zip(before, weights_of(result.net.module_), strict=True):
        assert np.array_equal(a, b)
    for (one, *_), (other, *_) in zip(first, second, strict=True):
        for a, b in zip(weights_of(one), weights_of(other), strict=True):
            assert np.array_equal(a, b)


def test_no_folds_where_no_row_is_held_out(curved):
    assert trained(curved, early_stopping=False).folds() == []
