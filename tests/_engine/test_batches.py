"""Batches: every row as often as it should be."""

import numpy as np
import pytest
import torch

import skae._engine.batches as of_batches
from skae._engine.batches import Batches, Part, Rows, StreamedRows
from skae._tables.rows import Scaled


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


@pytest.mark.parametrize("members", [None, 3])
def test_rows_taken_together_make_the_same_batches(monkeypatch, members):
    shape = (40, 2) if members is None else (members, 40, 2)
    inputs, targets = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    index = [np.arange(i, 30 + i) for i in range(members or 1)]
    others = {"weights": inputs[..., 0].abs(), "observed": inputs > 0}
    found = []
    for most in (0, of_batches.TOGETHER):
        monkeypatch.setattr(of_batches, "TOGETHER", most)
        generator = torch.Generator().manual_seed(1)
        found.append(list(Rows(inputs, targets, index, **others).batches(4, generator)))
    for apart, together in zip(*found, strict=True):
        assert all(map(torch.equal, apart[:4], together[:4]))


@pytest.mark.parametrize("is_streamed", [False, True])
def test_parts_of_processes_make_the_batches_of_one(is_streamed):
    numbers = np.arange(1.0, 51)[:, None]

    def batches(some, part=None):
        index = [np.arange(len(some))]
        if is_streamed:
            table = Scaled(some)
            dataset = StreamedRows(table, table, index, torch.device("cpu"), part=part)
        else:
            inputs = torch.from_numpy(some).float()
            dataset = Rows(inputs, inputs, index, part=part)
        generator = torch.Generator().manual_seed(0)
        found = Batches(dataset, 8, generator, n_rows=50)
        return [sorted(batch.inputs[:, 0].tolist()) for batch in found]

    whole = batches(numbers)
    parts = batches(numbers[:20], Part(0, 50)), batches(numbers[20:], Part(20, 50))
    none = batches(numbers[:0], Part(50, 50))
    assert whole == [sorted(a + b) for a, b in zip(*parts, strict=True)]
    assert none == [[]] * len(whole)


class File:
    """Rows that are read in slices only."""

    def __init__(self, X):
        self.X, self.shape, self.dtype = X, X.shape, X.dtype

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return self.X[rows]


class Watched(np.memmap):
    """A memory map that remembers how many rows were copied at a time."""

    most = 0

    def __getitem__(self, rows):
        found = super().__getitem__(rows)
        if isinstance(rows, np.ndarray):
            Watched.most = max(Watched.most, len(found))
        return found


def test_a_memory_map_gives_the_batches_of_a_file_without_a_copy_of_a_window(tmp_path):
    X = Watched(tmp_path / "rows", mode="w+", dtype=float, shape=(1000, 2))
    X[:] = np.arange(2000.0).reshape(1000, 2)
    batches = []
    for table in (Scaled(X), Scaled(File(np.asarray(X)))):
        rows = StreamedRows(table, table, [np.arange(1000)], torch.device("cpu"))
        found = rows.batches(20, torch.Generator().manual_seed(0))
        batches.append(torch.stack([batch.inputs for batch in found]))
    assert torch.equal(*batches)
    assert Watched.most == 50
    assert set(batches[0][..., 0].flatten().tolist()) == set(range(0, 2000, 2))


def test_targets_of_their_own():
    inputs, targets = torch.arange(6.0)[:, None], torch.arange(6.0)[:, None] * 10
    batch = next(iter(Batches(Rows(inputs, targets, [np.arange(6)]), 6)))
    assert torch.equal(batch.targets, 10 * batch.inputs)


@pytest.mark.parametrize("members", [None, 3])
def test_versions_are_of_the_same_rows_and_drawn_anew(members):
    n, stack = 40, () if members is None else (members,)
    targets = torch.arange(40.0)[:, None]
    inputs = torch.cat([targets + 100 * version for version in range(4)])
    index = [np.arange(n)] * (members or 1)
    rows = Rows(inputs.expand(*stack, 160, 1), targets.expand(*stack, n, 1), index)
    epochs = [list(Batches(rows, 8, torch.Generator().manual_seed(i))) for i in (0, 0, 1)]
    for batches in epochs:
        inputs, targets = (
            torch.cat(t, dim=-2) for t in list(zip(*batches, strict=True))[:2]
        )
        versions = (inputs - targets) / 100
        assert set(versions.flatten().tolist()) == {0, 1, 2, 3}
    first, again, other = ([b.inputs for b in epoch] for epoch in epochs)
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, other))
    assert all(torch.equal(b.inputs, b.targets) for b in Batches(rows, 8))  # the first


def test_rows_that_stay_elsewhere_come_in_batches():
    X = torch.arange(12.0).reshape(6, 2)
    rows = Rows(X, X, [np.arange(6)], weights=X[:, 0], device=torch.device("meta"))
    batch = next(rows.batches(2))
    assert rows.inputs.device.type == "cpu"
    assert {t.device.type for t in (batch.inputs, batch.weights)} == {"meta"}
    assert batch.inputs.shape == (3, 2)
