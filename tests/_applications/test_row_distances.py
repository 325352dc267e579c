"""Residuals and score distances of rows."""

import numpy as np
import pytest

from skae._applications import row_distances
from skae._applications.row_distances import RowDistances, isolation


def cut(X):
    """A reconstruction that forgets all features except for the first two."""
    return X * (np.arange(X.shape[1]) < 2)


@pytest.fixture(name="X")
def table():
    return np.random.default_rng(0).normal(size=(30, 4)) * [1, 2, 3, 4]


def test_totals_and_shares_by_definition(X):
    scale = np.array([1.0, 2.0, 3.0, 4.0])
    rows = np.arange(20)
    distances = RowDistances.among(cut, X, rows, scale)
    totals = distances.totals(X, np.arange(20, 30))
    shares = distances.shares(X[20:])
    U, codes = X / scale, cut(X) / scale
    for i, total, share in zip(range(20, 30), totals, shares, strict=True):
        squares = np.square(codes[i] - codes[rows]).sum(axis=1)
        nearest = np.argsort(squares)[:15]
        residual = np.square(U[i] - codes[i]).sum()
        np.testing.assert_allclose(total, [residual, squares[nearest].mean()])
        parts = np.square(U[i] - codes[nearest]).sum(axis=0)
        np.testing.assert_allclose(share, parts / parts.sum())


def test_missing_cells_count_like_the_others(X):
    distances = RowDistances(lambda X: np.zeros(X.shape), cut(X), 1.0)
    row = X[:1].copy()
    row[0, 3] = np.nan
    residual = distances.totals(row)[0, 0]
    assert residual == pytest.approx(np.square(row[0, :3]).sum() * 4 / 3)
    assert distances.shares(row)[0, 3] == 0
    empty = np.full((1, 4), np.nan)
    assert distances.totals(empty)[0, 0] == 0
    np.testing.assert_allclose(distances.shares(empty), 1 / 4)


def test_few_references(X):
    distances = RowDistances.among(cut, X, np.arange(3), 1.0)
    expected = np.square(X[9, :2] - X[:3, :2]).sum(axis=1).mean()
    assert distances.totals(X, np.array([9]))[0, 1] == pytest.approx(expected)


def test_isolation_leaves_the_row_itself_out(X):
    squares = np.square(X[:, None] - X).sum(axis=2)
    expected = np.sort(squares, axis=1)[:, 1:16].mean(axis=1)
    np.testing.assert_allclose(isolation(X), expected)


def test_isolation_among_some_of_many_rows(X, monkeypatch):
    monkeypatch.setattr(row_distances, "MOST_ROWS", 20)
    chosen = np.unique(np.linspace(0, 29, 20).astype(int))
    squares = np.square(X[:, None] - X[chosen]).sum(axis=2)
    squares[chosen, np.arange(20)] = np.inf
    expected = np.sort(squares, axis=1)[:, :15].mean(axis=1)
    np.testing.assert_allclose(isolation(X), expected)


def test_references_of_many_rows_are_some(X, monkeypatch):
    monkeypatch.setattr(row_distances, "MOST_REFERENCES", 7)
    distances = RowDistances.among(cut, X, np.arange(30), 1.0)
    assert len(distances.references) == 7
    assert all((distances.references == row).all(axis=1).any() for row in cut(X)[[0, -1]])


def test_long_rows_have_fewer_references(X, monkeypatch):
    monkeypatch.setattr(row_distances, "MOST_VALUES", 80)
    distances = RowDistances.among(cut, X, np.arange(30), 1.0)
    assert len(distances.references) == 20
    monkeypatch.setattr(row_distances, "MOST_VALUES", 1)
    assert len(RowDistances.among(cut, X, np.arange(30), 1.0).references) == 16


def test_isolation_leaves_the_table_as_it_is(X):
    X[3, 1] = np.nan
    before = X.copy()
    assert np.isfinite(isolation(X)).all()
    np.testing.assert_array_equal(X, before)


def test_neighbours_in_proportion_to_the_references():
    """Distances hardly depend on how many rows are references."""
    X = np.random.default_rng(0).normal(size=(2200, 4))
    kept = RowDistances.among(cut, X, np.arange(2000), 1.0)
    few = RowDistances.among(cut, X, np.arange(400), 1.0)
    own = few.in_proportion_to(kept)
    assert (few.n_neighbors, own.n_neighbors) == (15, 3)
    new = np.arange(2000, 2200)
    medians = [np.median(d.totals(X, new)[:, 1]) for d in (kept, few, own)]
    assert medians[1] > 3 * medians[0]
    assert 0.7 < medians[2] / medians[0] < 1.4
    alone = RowDistances.among(cut, X, np.arange(3), 1.0).in_proportion_to(kept)
    assert alone.n_neighbors == 1
