"""The steps of the fit of a detector."""

import numpy as np
import pytest
from scipy import sparse

from skae import AutoencoderTransformer
from skae._applications.detection import default_components, held_out_rows, support_of
from skae._autoencoders.held_out import fit_with_folds
from skae._tables import rows as table_rows
from skae._tables.fit_data import Given


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


def test_tables_that_are_read_in_parts_are_fitted_to_as_a_whole(cluster, monkeypatch):
    monkeypatch.setattr(table_rows, "SMALL", 100)
    monkeypatch.setattr(table_rows, "FEW_ROWS", 50)
    assert len(support_of(Given(sparse.csr_matrix(cluster)), 0.5, False)) == 105


def test_default_components_keep_the_variance(curved):
    X = curved * [1, 10, 100, 1, 1, 1]
    k = default_components(Given(X), np.arange(200))
    values = np.linalg.eigvalsh(np.corrcoef(X.T))[::-1]
    shares = np.cumsum(values) / values.sum()
    assert shares[k - 2] < 0.9 <= shares[k - 1]
    assert default_components(Given(np.ones((9, 3))), np.arange(9)) == 1


@pytest.mark.parametrize("weighted", [False, True])
def test_every_row_of_a_small_table_is_scored_unseen(curved, weighted):
    given = Given(curved)
    if weighted:
        given.weights = np.linspace(0.5, 1.5, 200)
    support = np.arange(0, 180)
    ae = AutoencoderTransformer(2, hidden_layer_sizes=(), random_state=0)
    folds = fit_with_folds(ae, curved[support])
    found = held_out_rows(ae, given, support, folds)
    assert sorted(found.rows) == [*range(200)]
    expected = np.ones(200) if given.weights is None else given.weights[found.rows]
    np.testing.assert_allclose(found.weights, expected)
    # Rows beside the support are scored by the network that is kept.
    outside = found.distances[found.rows >= 180, 0]
    errors = np.square((curved - ae.denoise(curved)) / ae.scale_).sum(axis=1)
    np.testing.assert_allclose(outside, errors[180:], rtol=1e-6)
    fold = folds[0]
    X = curved[fold.held_out]
    errors = np.square((X - fold.reconstruct(X)) / ae.scale_).sum(axis=1)
    places = [int(np.flatnonzero(found.rows == row)[0]) for row in fold.held_out]
    np.testing.assert_allclose(found.distances[places, 0], errors, rtol=1e-6)


def test_held_out_rows_stand_for_the_whole_support(curved):
    X = np.tile(curved, (6, 1)) + 0.01 * np.random.default_rng(0).normal(size=(1200, 6))
    ae = AutoencoderTransformer(2, hidden_layer_sizes=(), random_state=0)
    support = np.arange(1100)
    folds = fit_with_folds(ae, X[support])
    found = held_out_rows(ae, Given(X), support, folds)
    assert len(found.rows) == 100 + 110
    np.testing.assert_allclose(found.weights, [1.0] * 100 + [10.0] * 110)
