"""Tables of dask: every row where it should be, and no block computed in vain."""

import collections

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from skae._tables.blocks import Blocks, as_dask_array, is_dask

da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")

X = np.arange(60.0).reshape(20, 3)
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])
SIZES = (7, 1, 9, 3)


def arrays(chunks=(SIZES, 3)):
    return da.from_array(X, chunks=chunks)


def unknown():
    """All rows, in chunks of which dask does not know how many rows they have."""
    table = da.from_array(np.vstack([X, -X - 1]), chunks=(6, 3))
    return table[table[:, 0] >= 0]


KINDS = {
    "array": arrays,
    "chunks of columns": lambda: arrays((SIZES, 2)),
    "unknown sizes, and blocks without rows": unknown,
    "sparse": lambda: arrays().map_blocks(sparse.csc_matrix),
    "frame": lambda: dd.from_pandas(FRAME, npartitions=4),
}


@pytest.fixture(params=KINDS)
def blocks(request):
    return Blocks(KINDS[request.param](), "Owner")


def test_shape_and_dtype(blocks):
    assert (blocks.shape, blocks.dtype, len(blocks)) == ((20, 3), np.float64, 20)
    assert blocks.starts[-1] == 20
    assert (np.diff(blocks.starts) > 0).all()


@pytest.mark.parametrize(
    "rows",
    [
        slice(None),
        slice(2, 4),
        slice(5, 19),
        slice(8, 8),
        slice(19, 30),
        slice(None, None, 6),
    ],
    ids=str,
)
def test_slices(blocks, rows):
    np.testing.assert_array_equal(blocks[rows], X[rows])


def test_numbers_in_any_order(blocks):
    for numbers in [[3, 19, 3, 0], [], [12, 7], np.arange(20)[::-1]]:
        rows = np.array(numbers, dtype=int)
        np.testing.assert_array_equal(blocks[rows], X[rows])


def test_reading_and_the_whole(blocks):
    order = np.random.default_rng(0).permutation(len(blocks.parts))
    seen = {int(start): rows for start, rows in blocks.read(order)}
    assert list(seen) == blocks.starts[order].tolist()
    parts = [np.asarray(r.todense() if sparse.issparse(r) else r) for r in seen.values()]
    found = np.vstack([parts[list(seen).index(start)] for start in sorted(seen)])
    np.testing.assert_array_equal(found, X)
    whole = blocks.whole()
    assert getattr(whole, "columns", "none") is not None
    whole = whole.toarray() if sparse.issparse(whole) else np.asarray(whole)
    np.testing.assert_array_equal(whole, X)


def test_functions_where_the_blocks_are(blocks):
    sums = blocks.each(lambda rows, factor: factor * rows.sum(), [2] * len(blocks.parts))
    assert blocks.reduced(sums, lambda *some: sum(some), 3) == 2 * X.sum()


def test_rows_asked_for_by_number_are_computed_once():
    counts = collections.Counter()

    def counted(rows, block_info=None):
        counts[block_info[0]["chunk-location"][0]] += 1
        return rows

    table = arrays().map_blocks(counted, dtype=float, meta=np.empty((0, 3)))
    blocks = Blocks(table, "Owner")
    blocks.keep(np.array([0, 10]), X[[0, 10]])
    assert not counts
    for _ in range(3):
        np.testing.assert_array_equal(blocks[np.array([18, 0, 8])], X[[18, 0, 8]])
    assert counts == {2: 1, 3: 1}
    for start in range(20):  # neighbours are of the same block
        blocks[start : start + 1]
    assert counts == {0: 1, 1: 1, 2: 2, 3: 2}


def test_an_error_in_a_block_is_that_of_the_reader():
    def failing(rows, block_info=None):
        if block_info and block_info[0]["chunk-location"][0] == 2:
            raise OSError("the disk is gone")
        return rows

    table = arrays().map_blocks(failing, dtype=float, meta=np.empty((0, 3)))
    reading = Blocks(table, "Owner").read(range(4))
    assert [len(next(reading)[1]) for _ in range(2)] == [7, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(reading)


def test_dtypes():
    assert as_dask_array(arrays().astype("float32"), "Owner").dtype == np.float32
    assert as_dask_array(arrays().astype(int), "Owner").dtype == int
    frame = FRAME.astype({"a": "float32", "b": "Int64", "c": "uint8"})
    assert as_dask_array(dd.from_pandas(frame, npartitions=2), "Owner").dtype == np.float64
    single = dd.from_pandas(FRAME.astype("float32"), npartitions=2)
    assert as_dask_array(single, "Owner").dtype == np.float32


def test_what_is_not_a_table_of_numbers():
    words = dd.from_pandas(FRAME.assign(d="x", e=pd.Timestamp(0), f=True), npartitions=2)
    with pytest.raises(
        ValueError, match=r"X of Owner must hold numbers.*'d', 'e', 'f'\. Encode"
    ):
        Blocks(words, "Owner")
    with pytest.raises(ValueError, match=r"numbers, got dtype datetime64\[s\]"):
        Blocks(arrays().astype("datetime64[s]"), "Owner")
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
        Blocks(arrays()[:, 0], "Owner")


def test_is_dask():
    assert all(is_dask(make()) for make in KINDS.values())
    assert not any(map(is_dask, [X, FRAME, sparse.csr_matrix(X), [[1.0]]]))
