"""The steps of the fit of a detector."""

import numpy as np
import pytest
from scipy import sparse

from skae import AutoencoderTransformer
from skae._applications import detection
from skae._applications.detection import default_components, fit_and_hold_out, support_of
from skae._applications.row_distances import RowDistances
from skae._autoencoders.held_out import reconstruction, splits_of_rows
from skae._tables import rows as table_rows
from skae._tables.fit_data import Given


def held_out(X, support, weights=None, **params):
    """A fit to the support, and what `fit_and_hold_out` returns."""
    given = Given(X, weights=weights, numbers=np.arange(len(X)))
    ae = AutoencoderTransformer(2, hidden_layer_sizes=(), random_state=0, **params)
    splits = splits_of_rows(ae, given, 0)
    return ae, splits, fit_and_hold_out(ae, X, given, support, splits)


@pytest.fixture
def cluster():
    """A hundred normal rows (100, 5), and five far from them and from each other."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(105, 5))
    X[100:] += 20 * np.eye(5)
    return X


def test_support_leaves_out_the_most_isolated_rows(cluster):
    support = support_of(Given(cluster), 100 / 105, standardize=True)
    assert np.array_equal(support, np.arange(100))
    assert len(support_of(Given(cluster), 0.5, standardize=False)) == 53
    assert len(support_of(Given(cluster), 1.0, standardize=False)) == 105


def test_support_with_missing_cells_and_units(cluster):
    cluster[::7, 1] = np.nan
    cluster[:, 2] *= 1e9
    support = support_of(Given(cluster), 100 / 105, standardize=True)
    assert set(support) == {*range(100)}


@pytest.mark.parametrize("kind", ["sparse", "memory map"])
def test_tables_that_are_read_in_parts(cluster, monkeypatch, tmp_path, kind):
    monkeypatch.setattr(table_rows, "SMALL", 100)
    monkeypatch.setattr(table_rows, "SMALL_MAP", 100)
    monkeypatch.setattr(table_rows, "FEW_ROWS", 50)
    X = sparse.csr_matrix(cluster)
    if kind == "memory map":
        X = np.memmap(tmp_path / "X", dtype=np.float64, mode="w+", shape=(105, 5))
        X[:] = cluster
    assert table_rows.is_streamed(X)
    support = support_of(Given(X), 100 / 105, standardize=True)
    assert np.array_equal(support, np.arange(100))
    rows = detection._support_rows(X, Given(X), support)
    assert np.array_equal(table_rows.rows_of(rows, slice(90, None)), cluster[90:100])


def test_default_components_keep_the_variance(curved):
    X = curved * [1, 10, 100, 1, 1, 1]
    k = default_components(Given(X), np.arange(200))
    values = np.linalg.eigvalsh(np.corrcoef(X.T))[::-1]
    shares = np.cumsum(values) / values.sum()
    assert shares[k - 2] < 0.9 <= shares[k - 1]
    assert default_components(Given(np.ones((9, 3))), np.arange(9)) == 1


@pytest.mark.parametrize("weights", [None, np.linspace(0.5, 1.5, 200)], ids=type)
def test_every_row_of_a_small_table_is_scored_unseen(curved, weights):
    support = np.arange(180)
    ae, splits, found = held_out(curved, support, weights)
    assert sorted(found.rows) == [*range(200)]
    expected = np.ones(200) if weights is None else weights[found.rows]
    np.testing.assert_allclose(found.weights, expected)
    # A fold is PCA of the rows of the support that are not held out.
    train, rows = splits[0]
    inside = train[train < 180]
    w = np.ones(len(inside)) if weights is None else weights[inside]
    mean = np.average(curved[inside], axis=0, weights=w)
    centred = (curved[inside] - mean) * np.sqrt(w)[:, None]
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    errors = curved[rows] - mean
    errors = np.square(errors - errors @ axes.T @ axes).sum(axis=1) / ae.scale_**2
    assert np.array_equal(found.rows[: len(rows)], rows)
    np.testing.assert_allclose(found.distances[: len(rows), 0], errors, rtol=1e-4)


def test_neighbours_are_among_all_rows_that_are_not_held_out(curved):
    """Those beside the support too, also for the network that is kept."""
    ae, splits, found = held_out(curved, np.arange(180))
    kept = RowDistances.among(reconstruction(ae), curved, np.arange(200), ae.scale_)
    assert len(kept.references) == 200
    np.testing.assert_array_equal(found.references, kept.references)
    far = curved.copy()
    far[190] += 1e3
    _, _, other = held_out(far, np.arange(180))
    number = next(i for i, (_, rows) in enumerate(splits) if 190 in rows)
    sizes = np.cumsum([len(rows) for _, rows in splits])
    own = slice(sizes[number] - len(splits[number][1]), sizes[number])
    same = np.isclose(found.distances[:, 1], other.distances[:, 1])
    assert same[own][found.rows[own] != 190].all()
    assert not same.all()


def test_held_out_rows_stand_for_the_whole_table(curved):
    """The number of all rows decides that there is one split."""
    X = np.tile(curved, (6, 1)) + 0.01 * np.random.default_rng(0).normal(size=(1200, 6))
    _, splits, found = held_out(X[:1050], np.arange(990))
    assert len(splits) == 1
    assert len(found.rows) == 105
    assert (found.rows >= 990).any()
    np.testing.assert_allclose(found.weights, 10.0)


def test_splits_without_rows_of_the_support_are_left_out(curved):
    given = Given(curved, numbers=np.arange(200))
    ae = AutoencoderTransformer(2, hidden_layer_sizes=(), random_state=0)
    rows = np.arange(200)
    splits = [(rows[40:], rows[:40]), (rows[:150], rows[150:])]
    found = fit_and_hold_out(ae, curved, given, np.arange(140), splits)
    assert np.array_equal(found.rows, rows[:40])
