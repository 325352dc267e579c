"""Methods of fitted estimators on dask arrays: the same numbers, and nothing in vain."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from skae import AutoencoderTransformer, VariationalAutoencoder

da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")

METHODS = "transform", "denoise", "score_samples", "impute", "residuals"
NAMES = [*"abcdef"]


@pytest.fixture(scope="module")
def fitted(curved):
    frame = pd.DataFrame(curved, columns=NAMES)
    params = {"allow_nan": True, "early_stopping": False, "max_epochs": 2}
    return AutoencoderTransformer(2, **params, random_state=0).fit(frame)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, int])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_same_numbers(fitted, curved, method, dtype, kind):
    X = (10 * curved).astype(dtype)
    lazy = getattr(fitted, method)(da.from_array(X, chunks=(77, 4)).map_blocks(kind))
    expected = getattr(fitted, method)(X)
    assert isinstance(lazy, da.Array)
    assert lazy.chunks[0] == (77, 77, 46)
    assert (lazy.shape, lazy.dtype) == (expected.shape, expected.dtype)
    assert isinstance(lazy._meta, np.ndarray)
    rtol = 1e-12 if lazy.dtype == np.float64 else 1e-5
    np.testing.assert_allclose(lazy.compute(), expected, rtol=rtol)


def test_there_and_back_and_the_score(fitted, curved):
    frame = pd.DataFrame(curved, columns=NAMES)
    table = dd.from_pandas(frame, npartitions=3)
    Z = fitted.transform(table)
    expected = fitted.denoise(frame)
    X_hat = fitted.inverse_transform(Z).compute()
    np.testing.assert_allclose(X_hat, expected, rtol=1e-12)
    w = np.arange(200.0)
    assert fitted.score(table) == pytest.approx(fitted.score(frame))
    weighted = fitted.score(table, sample_weight=w)
    assert weighted == pytest.approx(fitted.score(frame, sample_weight=w))


def test_density(curved):
    params = {"early_stopping": False, "max_epochs": 2, "random_state": 0}
    model = VariationalAutoencoder(2, **params).fit(curved)
    lazy = model.score_samples(da.from_array(curved, chunks=(90, 6)))
    np.testing.assert_allclose(lazy.compute(), model.score_samples(curved), rtol=1e-12)


def test_blocks_of_unknown_size_and_without_rows(fitted, curved):
    table = da.from_array(curved, chunks=(50, 6))
    chosen = dd.from_dask_array(table, columns=NAMES).query("a > 0")
    expected = fitted.transform(chosen.compute())
    np.testing.assert_allclose(fitted.transform(chosen).compute(), expected, rtol=1e-12)
    nothing = dd.from_dask_array(table, columns=NAMES).query("a > 1e9")
    assert fitted.transform(nothing).compute().shape == (0, 2)
    assert fitted.score_samples(nothing).compute().shape == (0,)


def test_nothing_is_computed_until_it_is_asked_for(fitted):
    def never(rows, block_info=None):
        raise AssertionError("computed")

    table = da.zeros((100, 6), chunks=50).map_blocks(
        never, dtype=float, meta=np.empty((0, 6))
    )
    frame = dd.from_dask_array(table, columns=NAMES)
    lazy = [getattr(fitted, method)(frame) for method in METHODS]
    lazy.append(fitted.inverse_transform(lazy[0]))
    for array in lazy:
        with pytest.raises(AssertionError, match="computed"):
            array.compute()


def test_a_later_fit_does_not_change_what_was_asked_for(curved):
    ae = AutoencoderTransformer(2, early_stopping=False, max_epochs=1, random_state=0)
    expected = ae.fit(curved).transform(curved)
    lazy = ae.transform(da.from_array(curved, chunks=(90, 6)))
    ae.fit(10 * curved[:, ::-1])
    np.testing.assert_allclose(lazy.compute(), expected, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_errors_come_at_once(fitted, curved):
    table = dd.from_pandas(pd.DataFrame(curved, columns=NAMES), npartitions=2)
    for method in METHODS:
        with pytest.raises(ValueError, match="The feature names should match"):
            getattr(fitted, method)(table.rename(columns={"a": "A"}))
        with pytest.raises(
            ValueError, match="X has 5 features, but AutoencoderTransformer"
        ):
            getattr(fitted, method)(da.from_array(curved[:, :5]))
    with pytest.raises(ValueError, match="X has 6 columns, but inverse_transform"):
        fitted.inverse_transform(table)


def test_categories(curved):
    """A fit to numbers alone may be applied to blocks."""
    X = np.c_[curved, np.arange(200) % 3]
    ae = AutoencoderTransformer(2, categorical_features=[6], max_epochs=1).fit(X)
    with pytest.raises(ValueError, match="it was fitted to columns of categories"):
        ae.transform(da.from_array(X, chunks=(90, 7)))
    table = dd.from_pandas(pd.DataFrame(X).astype({6: "category"}), npartitions=2)
    with pytest.raises(ValueError, match="columns of the frame do not: 6"):
        AutoencoderTransformer(2).fit(table)
    with pytest.raises(TypeError, match="categorical_features of AutoencoderTransformer"):
        AutoencoderTransformer(2, categorical_features=[6]).fit(da.from_array(X))


def test_frames_that_set_output_asks_for(curved):
    ae = AutoencoderTransformer(2, early_stopping=False, max_epochs=1).fit(curved)
    ae.set_output(transform="pandas")
    with pytest.raises(ValueError, match=r"Call set_output\(transform='default'\)"):
        ae.transform(da.from_array(curved, chunks=(90, 6)))
