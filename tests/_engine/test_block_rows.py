"""Batches from blocks of dask: every row and every block once an epoch."""

import collections

import numpy as np
import pytest
import torch
from scipy import sparse

import skae._engine.block_rows
from skae._engine.batches import Batches, Rows
from skae._engine.block_rows import BlockRows
from skae._tables.blocks import Blocks
from skae._tables.rows import Scaled

da = pytest.importorskip("dask.array")

CPU = torch.device("cpu")


def dataset(n=100, chunks=(30, 5, 40, 25), index=None, weights=None, kind=np.asarray):
    """Rows whose only value is their own number plus one."""
    counts = collections.Counter()

    def counted(rows, block_info=None):
        if block_info is not None:
            counts[block_info[0]["chunk-location"][0]] += 1
        return kind(rows)

    X = np.arange(1.0, n + 1)[:, None]
    table = da.from_array(X, chunks=(chunks, 1))
    table = table.map_blocks(counted, dtype=float, meta=np.empty((0, 1)))
    scaled = Scaled(Blocks(table, "Owner"), np.zeros(1), 1.0)
    index = np.arange(n) if index is None else index
    counts.clear()
    return BlockRows(scaled, scaled, [index], CPU, weights), counts


@pytest.mark.parametrize("window", [1, 20, 2**24])
@pytest.mark.parametrize("batch_size", [1, 7, 30, 1000])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_every_row_once_an_epoch(monkeypatch, window, batch_size, kind):
    monkeypatch.setattr(skae._engine.block_rows, "WINDOW", window)
    index = np.setdiff1d(np.arange(100), [3, 17, *range(30, 35), 99])
    rows, counts = dataset(index=index, kind=kind)
    assert len(rows) == 92
    generator = torch.Generator().manual_seed(0)
    for epoch in (1, 2):
        batches = [batch.inputs[:, 0] for batch in Batches(rows, batch_size, generator)]
        assert torch.equal(
            torch.cat(batches).sort().values, torch.tensor(index + 1.0).float()
        )
        sizes = [len(batch) for batch in batches]
        assert len(batches) == -(-92 // batch_size)
        assert max(sizes) - min(sizes) <= 1
        assert counts == {0: epoch, 2: epoch, 3: epoch}, "no row of block 1 is used"


def test_rows_are_shuffled_among_blocks(monkeypatch):
    monkeypatch.setattr(skae._engine.block_rows, "WINDOW", 80)
    rows, _ = dataset()
    generator = torch.Generator().manual_seed(0)
    first, again = (
        torch.cat([batch.inputs[:, 0] for batch in rows.batches(10, generator)])
        for _ in range(2)
    )
    assert not torch.equal(first, again)
    assert first[:10].max() - first[:10].min() > 50
    same = torch.cat(
        [b.inputs[:, 0] for b in rows.batches(10, torch.Generator().manual_seed(0))]
    )
    assert torch.equal(first, same)
    ordered = torch.cat([batch.inputs[:, 0] for batch in rows.batches(10)])
    assert torch.equal(ordered, torch.arange(1, 101).float())


def test_blocks_that_are_held_at_once_make_the_batches_of_a_table_in_memory():
    index = np.setdiff1d(np.arange(100), [3, 17, 99])
    inputs = torch.arange(1.0, 101)[:, None]
    for rows in zip(
        *(
            Batches(data, 8, torch.Generator().manual_seed(0))
            for data in (dataset(index=index)[0], Rows(inputs, inputs, [index]))
        ),
        strict=True,
    ):
        assert torch.equal(rows[0].inputs, rows[1].inputs)


def test_weights_belong_to_their_rows():
    rows, _ = dataset(weights=np.arange(100) * 2.0)
    for batch in rows.batches(9, torch.Generator().manual_seed(0)):
        assert torch.equal(batch.weights, 2 * (batch.inputs[:, 0] - 1))


def test_an_epoch_that_ends_early():
    rows, _ = dataset()
    batches = rows.batches(50, torch.Generator().manual_seed(0))
    next(batches)
    batches.close()
    assert len(list(rows.batches(50, torch.Generator().manual_seed(0)))) == 50
