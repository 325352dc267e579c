"""Rows of a stream that stay in memory."""

import numpy as np
import pytest

from skae._tables.dependence import is_held_out, label_keys, row_keys
from skae._training.reservoir import Memory, Reservoir, StreamRows


def numbered(start, stop):
    """Rows whose values, weights and keys are their numbers."""
    numbers = np.arange(start, stop)
    weights, keys = numbers * 1.0, numbers.astype(np.uint64)
    return StreamRows(numbers[:, None] * 1.0, weights, keys, np.full(len(numbers), np.nan))


def test_every_row_is_as_likely_to_be_kept():
    counts = np.zeros(200)
    for seed in range(300):
        reservoir, start = Reservoir(40, seed), 0
        for size in (1, 30, 50, 19, 100):
            reservoir = reservoir.updated(numbered(start, start + size))
            start += size
        kept = reservoir.rows.X[:, 0].astype(int)
        assert len(np.unique(kept)) == len(reservoir) == 40
        np.testing.assert_array_equal(reservoir.rows.weights, kept)
        np.testing.assert_array_equal(reservoir.rows.keys, kept)
        counts[kept] += 1
    # 60 are expected of each, with a standard deviation of 7.
    assert 60 - 5 * 7 < counts.min() <= counts.max() < 60 + 5 * 7
    np.testing.assert_allclose(counts.reshape(4, 50).sum(axis=1), 3000, atol=150)


def test_drawn_rows():
    reservoir = Reservoir(100, 0).updated(numbered(0, 30))
    assert sorted(reservoir.drawn(30).weights) == [*range(30)]
    counts = np.bincount(reservoir.drawn(70).keys.astype(int))
    assert set(counts) == {2, 3}
    assert len(reservoir.spread(7)) <= 7


def test_memory_stays_small():
    memory = Memory.begin(n_features=2**12, seed=0)
    assert (memory.train.size, memory.judges.size) == (1024, 256)
    memory = Memory.begin(n_features=16, seed=0)
    assert (memory.train.size, memory.judges.size) == (2**18, 4096)


def test_equal_rows_are_on_one_side_in_whatever_chunk():
    X = np.random.default_rng(0).normal(size=(2000, 70))
    out = is_held_out(row_keys(X), 0.1, seed=3)
    assert 150 < out.sum() < 250
    order = np.random.default_rng(1).permutation(2000)[:700]
    np.testing.assert_array_equal(is_held_out(row_keys(X[order]), 0.1, 3), out[order])
    assert (is_held_out(row_keys(X), 0.1, seed=4) != out).any()
    assert not is_held_out(row_keys(X), 0.0, seed=3).any()
    X[0, -1] = X[1, -1] = np.nan
    assert row_keys(X[:1]) != row_keys(X[1:2])
    assert row_keys(np.array([[0.0, np.nan]])) == row_keys(np.array([[-0.0, -np.nan]]))


@pytest.mark.parametrize("kind", [int, float, str, bool])
def test_keys_of_labels(kind):
    labels = np.array([3, 1, 3, 0, 1]).astype(kind)
    keys = label_keys(labels)
    assert keys.dtype == np.uint64
    equal = labels[:, None] == labels
    np.testing.assert_array_equal(keys[:, None] == keys, equal)
    np.testing.assert_array_equal(label_keys(labels[3:]), keys[3:])


def test_keys_of_words_are_the_same_in_every_process():
    assert label_keys(["a"])[0] == 4681665781835383343
