"""Exposures of rows of counts in models that answer with NumPy alone."""

import numpy as np
import pytest

import skae.runtime
from skae import AutoencoderTransformer
from skae._serving.exposure import Exposure as Served
from skae._tables.exposure import learn_exposure
from skae.exceptions import ModelFileError

MIXED = {"poisson": [0, 2, 5], "squared_error": [1, 3, 4]}


@pytest.fixture(name="X")
def counts():
    X = np.random.default_rng(0).poisson(3.0, (60, 6)).astype(float)
    X[7] = 0.0
    return X


def saved(X, path, of_rows=None, **params):
    ae = AutoencoderTransformer(2, max_epochs=2, random_state=0, **params)
    ae.fit(X, exposure=of_rows).save(path)
    return ae


@pytest.mark.parametrize("columns", [[0, 1, 2, 3, 4, 5], [1, 4]])
def test_as_the_estimator(X, columns):
    theirs = learn_exposure(X, None, np.array(columns))
    is_count, shares = np.zeros((2, 6))
    is_count[columns], shares[columns] = 1.0, theirs.shares
    ours = Served(is_count, shares, theirs.typical, has_gaps=True)
    X[3, 4] = np.nan
    relative = theirs.relative(X)
    np.testing.assert_allclose(ours.relative(X)[:, 0], relative)
    np.testing.assert_allclose(ours.seen(X, relative[:, None]), theirs.seen(X, relative))
    np.testing.assert_allclose(ours.times(X, relative[:, None]), theirs.times(X, relative))


@pytest.mark.parametrize(
    "params",
    [
        {"loss": "poisson"},
        {"loss": "negative_binomial", "allow_nan": True},
        {"loss": MIXED, "exposure": "total"},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_file(X, tmp_path, params, dtype):
    if "allow_nan" in params:
        X[::5, 2] = np.nan
    ae = saved(X, tmp_path / "model.skae", **params)
    model = skae.runtime.load(tmp_path / "model.skae")
    X = X.astype(dtype)
    for method in ("transform", "denoise", "score_samples"):
        expected, found = getattr(ae, method)(X), getattr(model, method)(X)
        assert found.dtype == expected.dtype
        tolerance = 1e-3 if dtype == np.float32 else 1e-8
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    with pytest.raises(ValueError, match="takes values in"):
        model.transform(-X - 1)


def test_given_exposures_are_refused(X, tmp_path):
    saved(X, tmp_path / "model.skae", np.arange(1, 61), loss="poisson")
    with pytest.raises(ModelFileError, match="exposures of the rows, which skae"):
        skae.runtime.load(tmp_path / "model.skae")
