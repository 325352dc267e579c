"""Exposures that users pass, and rules by which rows of counts have them."""

import numpy as np
import pytest
import sklearn
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skae import AutoencoderTransformer

SHORT = {"hidden_layer_sizes": (16,), "max_epochs": 3, "random_state": 0}


@pytest.fixture(scope="module")
def counts():
    """Counts (200, 12) and their exposures."""
    rng = np.random.default_rng(0)
    exposure = np.exp(rng.normal(3, 1, 200))
    rates = exposure[:, None] * rng.dirichlet(np.ones(12), 200)
    return rng.poisson(rates).astype(float), exposure


def autoencoder(**params):
    return AutoencoderTransformer(2, **(SHORT | params))


def test_fit_transform_passes_the_exposures_on(counts):
    X, exposure = counts
    ae = autoencoder(loss="poisson")
    Z = ae.fit_transform(X, exposure=exposure)
    np.testing.assert_array_equal(Z, ae.transform(X, exposure=exposure))


def test_routing(counts):
    X, exposure = counts
    how = {"exposure": exposure}
    with sklearn.config_context(enable_metadata_routing=True):
        ae = autoencoder(loss="poisson")
        ae.set_fit_request(exposure=True).set_transform_request(exposure=True)
        ae.set_score_request(exposure=True)
        pipe = make_pipeline(FunctionTransformer(), ae).fit(X, **how)
        np.testing.assert_array_equal(pipe.transform(X, **how), ae.transform(X, **how))
        assert pipe.score(X, **how) == ae.score(X, **how)
        np.testing.assert_array_equal(ae.fit_transform(X, **how), ae.transform(X, **how))


def test_auto():
    X = np.random.default_rng(0).poisson(3.0, (60, 4)).astype(float)
    short = {"max_epochs": 1, "random_state": 0}
    for params, has_exposure in [
        ({"loss": "poisson"}, True),
        ({"loss": "poisson", "exposure": None}, False),
        ({"loss": "squared_error"}, False),
        ({"loss": {"poisson": [0, 1, 2, 3]}}, False),
        ({"loss": {"poisson": [0, 1], "huber": [2, 3]}, "exposure": "total"}, True),
    ]:
        ae = AutoencoderTransformer(1, **short, **params).fit(X)
        assert (ae.mean_ != X.mean(axis=0)).any() == has_exposure
    ae = AutoencoderTransformer(1, loss="poisson", **short).fit(X[:, :1])
    assert ae.mean_ == pytest.approx(X[:, 0].mean())


def test_mistakes(counts):
    X, exposure = counts
    with pytest.raises(ValueError, match=r"exposure in fit of Auto.* needs loss="):
        autoencoder().fit(X, exposure=exposure)
    with pytest.raises(ValueError, match=r"exposure='total' of Auto.* needs loss="):
        autoencoder(exposure="total").fit(X)
    with pytest.raises(ValueError, match=r"exposure of Auto.* must be positive and finite"):
        autoencoder(loss="poisson").fit(X, exposure=exposure - exposure.min())
    with pytest.raises(ValueError, match="X_val has none"):
        autoencoder(loss="poisson").fit(X, exposure=exposure, X_val=X[:50])
    ae = autoencoder(loss="poisson", max_epochs=1).fit(X, exposure=exposure)
    for method in ("transform", "denoise", "score_samples", "score", "partial_fit"):
        with pytest.raises(ValueError, match="Pass exposure, one positive number for each"):
            getattr(ae, method)(X)
    ae = autoencoder(loss="poisson", max_epochs=1).fit(X)
    with pytest.raises(ValueError, match="is not taken by this AutoencoderTransformer"):
        ae.transform(X, exposure=exposure)
    with pytest.raises(ValueError, match="takes values in"):
        ae.transform(-X)
    with pytest.raises(AttributeError, match="which is that of loss='negative_binomial'"):
        _ = ae.dispersion_
    ae = autoencoder(max_epochs=1).fit(X)
    with pytest.raises(ValueError, match="is not taken by this AutoencoderTransformer"):
        ae.inverse_transform(ae.transform(X), exposure=exposure)


def test_dask(counts):
    array = pytest.importorskip("dask.array")
    X, exposure = counts
    ae = autoencoder(loss="poisson").fit(X)
    blocks = array.from_array(X, chunks=(50, 12))
    np.testing.assert_allclose(ae.transform(blocks).compute(), ae.transform(X), atol=1e-9)
    with pytest.raises(ValueError, match="takes no exposure of the rows of a dask"):
        ae.denoise(blocks, exposure=exposure)
    large = array.tile(blocks, (30, 35))  # too large to be computed as a whole
    with pytest.raises(ValueError, match="before it knows their exposures"):
        autoencoder(loss="poisson").fit(large)
