"""Mean, scale and principal axes of rows that come in chunks."""

import numpy as np
import pytest
from sklearn.decomposition import IncrementalPCA

from skae._tables.pca import principal_axes
from skae._tables.running_pca import RunningPCA
from skae._tables.scaling import location_and_scale


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("factor", [1.0, 1e-200, 1e200])
def test_as_of_all_rows_at_once(weighted, standardize, factor):
    rng = np.random.default_rng(0)
    X = factor * (rng.normal(size=(700, 20)) @ rng.normal(size=(20, 20)) + 50)
    X[:, 3] = 7.0
    w = rng.random(700) + 0.5 if weighted else None
    origin, unit = location_and_scale(X[:30], standardize)
    found = RunningPCA.begin(origin, unit, 4)
    ends = [1, 4, 30, 600, 601, 700]
    for start, end in zip([0, *ends], ends, strict=False):
        found = found.updated(X[start:end], None if w is None else w[start:end])
    mean, scale = location_and_scale(X, standardize, w)
    here = found.location_and_scale(standardize)
    np.testing.assert_allclose(here[0], mean, rtol=1e-12)
    np.testing.assert_allclose(here[1], scale, rtol=1e-9)
    deviations, axes, total = principal_axes((X - mean) / scale, 4, w)
    centre, *others = found.principal_axes(mean, scale)
    np.testing.assert_allclose(centre, 0, atol=1e-12)
    np.testing.assert_allclose(others[0], deviations, atol=1e-7)
    np.testing.assert_allclose(others[1][:19], axes[:19], atol=1e-6)
    assert others[2] == pytest.approx(total)


def test_of_many_features_no_worse_than_incremental_pca():
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(1000, 400)) / np.arange(1, 401)) @ rng.normal(size=(400, 400))
    found, other = RunningPCA.begin(np.zeros(400), 1.0, 10), IncrementalPCA(10)
    for chunk in np.split(X, 10):
        found, other = found.updated(chunk), other.partial_fit(chunk)
    assert found.root.shape == (84, 400)
    centre, deviations, axes, _ = found.principal_axes(np.zeros(400), 1.0)
    np.testing.assert_allclose(centre, X.mean(axis=0), atol=1e-12)
    kept = np.square((X - X.mean(axis=0)) @ axes[:10].T).sum()
    assert kept >= np.square((X - X.mean(axis=0)) @ other.components_.T).sum()
    np.testing.assert_allclose(
        np.square(deviations[:10]), np.linalg.eigvalsh(np.cov(X.T, ddof=0))[:-11:-1], 0.01
    )


@pytest.mark.parametrize("factor", [1.0, 1e-100, 1e100])
def test_joined_is_as_of_all_rows(factor):
    """Whatever the origins and units of the two."""
    rng = np.random.default_rng(0)
    X = factor * (rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) + 50)
    w = rng.random(200) + 0.5
    sides = slice(30), slice(30, None)
    one, two = (
        RunningPCA.begin(*location_and_scale(X[side][:20], False), 2).updated(
            X[side], w[side]
        )
        for side in sides
    )
    mean, scale = location_and_scale(X, True, w)
    for found in (one.joined(two), two.joined(one)):
        here = found.location_and_scale(True)
        np.testing.assert_allclose(here[0], mean, rtol=1e-12)
        np.testing.assert_allclose(here[1], scale, rtol=1e-9)
        deviations, axes, total = principal_axes((X - mean) / scale, 2, w)
        _, *others = found.principal_axes(mean, scale)
        np.testing.assert_allclose(others[0], deviations, atol=1e-9)
        np.testing.assert_allclose(others[1], axes, atol=1e-8)
        assert others[2] == pytest.approx(total)
