"""What a pass over blocks tells is what the whole table tells."""

import numpy as np
import pytest
from scipy import sparse

from skae._tables.block_summary import summary_of
from skae._tables.blocks import Blocks
from skae._tables.dependence import row_keys
from skae._tables.pca import principal_axes
from skae._tables.ranges import Extremes
from skae._tables.scaling import location_and_scale

da = pytest.importorskip("dask.array")


def accept(rows, numbers):
    assert len(rows) == len(numbers)


def summary(X, chunks, weights=None, kind=np.asarray, check=accept, **how):
    blocks = Blocks(da.from_array(X, chunks=(chunks, -1)).map_blocks(kind), "Owner")
    how = {"standardize": False, "n_components": 4, "every": 10} | how
    return summary_of(blocks, weights, check, **how)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_as_of_the_whole_table(weighted, standardize, offset, kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 9)) @ rng.normal(size=(9, 9)) + offset
    X[:, 3], X[:, 4] = 7.0, np.sort(np.round(X[:, 4]))
    w = rng.random(400) + 0.5 if weighted else None
    found = summary(X, (1, 3, 96, 150, 150), w, kind, standardize=standardize)
    mean, scale = location_and_scale(X, standardize, w)
    here = found.pca.location_and_scale(standardize)
    np.testing.assert_allclose(here[0], mean, rtol=1e-12)
    np.testing.assert_allclose(here[1], scale, rtol=1e-8)
    deviations, axes, total = principal_axes((X - mean) / scale, 4, w)
    _, *others = found.pca.principal_axes(mean, scale)
    np.testing.assert_allclose(others[0], deviations, atol=1e-6)
    np.testing.assert_allclose(others[1][:8], axes[:8], atol=1e-6)
    assert others[2] == pytest.approx(total)
    extremes = Extremes.of(X, w)
    for name, value in vars(extremes).items():
        np.testing.assert_allclose(getattr(found.extremes, name), value)
    np.testing.assert_array_equal(found.keys, row_keys(X))
    np.testing.assert_array_equal(found.numbers, np.arange(0, 400, 10))
    rows = found.rows.toarray() if sparse.issparse(found.rows) else found.rows
    np.testing.assert_array_equal(rows, X[::10])


def test_many_blocks_and_many_features():
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(300, 400)) / np.arange(1, 401)) @ rng.normal(size=(400, 400))
    found = summary(X, 7)
    mean, scale = location_and_scale(X, False)
    deviations, axes, _ = principal_axes((X - mean) / scale)
    _, *others = found.pca.principal_axes(mean, scale)
    np.testing.assert_allclose(others[0][:4], deviations[:4], rtol=1e-10)
    np.testing.assert_allclose(others[1][:4], axes[:4], atol=1e-8)


def test_rows_are_checked_with_their_numbers():
    def check(rows, numbers):
        for number in numbers[(rows < 0).any(axis=1)]:
            raise ValueError(f"row {number} is negative")

    X = np.ones((30, 2))
    X[17, 1] = -1.0
    with pytest.raises(ValueError, match="row 17 is negative"):
        summary(X, 8, check=check)
