"""Margins of drawn rows, by quantiles."""

import numpy as np
import pytest

from skae._model.margins import Margins, fit_margins


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_drawn_rows_get_the_quantiles_of_the_data_and_keep_their_order(rng):
    drawn, X = rng.normal(size=(5000, 2)), rng.exponential(size=(400, 2)) * [1, 5]
    margins = Margins(*fit_margins(drawn, X))
    moved = margins(drawn)
    for level in (0.0, 0.1, 0.5, 0.9, 1.0):
        expected = np.quantile(X, level, axis=0)
        np.testing.assert_allclose(np.quantile(moved, level, axis=0), expected, rtol=0.02)
    np.testing.assert_array_equal(
        np.argsort(moved, axis=0)[::500], np.argsort(drawn, axis=0)[::500]
    )
    np.testing.assert_array_equal(margins(np.full((1, 2), 99.0))[0], X.max(axis=0))


def test_equal_weights_are_none_and_whole_weights_are_copies(rng):
    drawn, X = rng.normal(size=(100, 3)), rng.normal(size=(50, 3))
    _, plain = fit_margins(drawn, X)
    _, equal = fit_margins(drawn, X, np.full(50, 2.0))
    np.testing.assert_allclose(equal, plain)
    counts = rng.integers(1, 4, 50)
    _, weighted = fit_margins(drawn, X, counts.astype(float))
    repeated = np.quantile(np.repeat(X, counts, axis=0), np.linspace(0, 1, 50), axis=0)
    np.testing.assert_allclose(weighted[5:-5], repeated[5:-5], atol=0.25)
    np.testing.assert_array_equal(weighted[[0, -1]], repeated[[0, -1]])
