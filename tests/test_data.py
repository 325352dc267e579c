"""Splits and batches: every row where it belongs, as often as it should be."""

import numpy as np
import pytest
import torch

from skae._data import Batches, Rows, split


def rows(n, index=None, members=None):
    """Rows whose only value is their own number."""
    shape = (n, 1) if members is None else (members, n, 1)
    inputs = torch.arange(n, dtype=torch.float32)[:, None].expand(shape)
    everyone = [np.arange(n)] * (members or 1)
    return Rows(inputs, inputs, everyone if index is None else index)


def seen(dataset, batch_size, seed=0):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    batches = list(Batches(dataset, batch_size, generator))
    assert all(batch.inputs is batch.targets for batch in batches)
    return [batch.inputs[..., 0] for batch in batches]


@pytest.mark.parametrize("n", [2, 3, 16, 17, 33, 65, 100])
@pytest.mark.parametrize("batch_size", [2, 16, 64, 1000])
def test_every_row_once_an_epoch(n, batch_size):
    batches = seen(rows(n), batch_size)
    assert torch.equal(torch.cat(batches).sort().values, torch.arange(n).float())
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert len(batches) == len(Batches(rows(n), batch_size)) == -(-n // batch_size)


@pytest.mark.parametrize("batch_size", [16, 32, 256])
def test_no_batch_of_one_row(batch_size):
    for n in range(2, 300):
        assert min(len(batch) for batch in seen(rows(n), batch_size)) > 1


def test_order():
    shuffled = [torch.cat(seen(rows(50), 8, seed)) for seed in (0, 0, 1)]
    assert torch.equal(shuffled[0], shuffled[1])
    assert not torch.equal(shuffled[0], shuffled[2])
    assert torch.equal(torch.cat(seen(rows(50), 8, None)), torch.arange(50).float())


def test_stack_takes_each_members_rows():
    index = [np.arange(10), np.arange(5, 20), np.array([], dtype=int)]
    batches = torch.cat(seen(rows(20, index, members=3), 4), dim=-1)
    assert batches.shape == (3, 15)
    assert set(batches[0].tolist()) == set(range(10))
    assert sorted(batches[1].tolist()) == list(range(5, 20))


def test_targets_of_their_own():
    inputs, targets = torch.arange(6.0)[:, None], torch.arange(6.0)[:, None] * 10
    batch = next(iter(Batches(Rows(inputs, targets, [np.arange(6)]), 6)))
    assert torch.equal(batch.targets, 10 * batch.inputs)


@pytest.mark.parametrize("n", [20, 21, 150, 1000])
def test_folds_are_disjoint(n):
    *folds, last = split(n, 0.1, seed=0, cross_fit=True)
    assert len(folds) == 5
    held_out = np.concatenate([rows for _, rows in folds])
    assert sorted(held_out) == list(range(n))
    for train, rest in folds:
        assert sorted([*train, *rest]) == list(range(n))
    assert sorted(last[0]) == list(range(n))
    assert len(last[1]) == 0


@pytest.mark.parametrize(
    ("n", "cross_fit", "held_out"),
    [(1001, True, 101), (5000, True, 500), (200_000, True, 10_000), (50, False, 5)],
)
def test_one_holdout(n, cross_fit, held_out):
    ((train, rest),) = split(n, 0.1, seed=0, cross_fit=cross_fit)
    assert len(rest) == held_out
    assert sorted([*train, *rest]) == list(range(n))


@pytest.mark.parametrize("n", [2, 19])
def test_nobody_is_held_out_of_tiny_tables(n):
    ((train, rest),) = split(n, 0.5, seed=0, cross_fit=True)
    assert sorted(train) == list(range(n))
    assert len(rest) == 0


def test_rows_that_stay_elsewhere_come_in_batches():
    X = torch.arange(12.0).reshape(6, 2)
    rows = Rows(X, X, [np.arange(6)], weights=X[:, 0], device=torch.device("meta"))
    batch = next(rows.batches(2))
    assert rows.inputs.device.type == "cpu"
    assert {t.device.type for t in (batch.inputs, batch.weights)} == {"meta"}
    assert batch.inputs.shape == (3, 2)
