"""Ranges: values that rounding carried out of a loss's range, and ends with many rows."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_breast_cancer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skae import AutoencoderTransformer
from skae._tables.ranges import (
    ROWS_AT_END,
    SHARE_AT_END,
    Extremes,
    first_outside,
    told_apart,
    within,
)
from skae.losses import LOSSES
from skae.metrics import METRICS, reconstruction_error

EPS = {np.float64: 2.0**-52, np.float32: 2.0**-23}


def autoencoder(loss, **params):
    params = {"max_epochs": 2, "random_state": 0, "hidden_layer_sizes": (8,)} | params
    return AutoencoderTransformer(2, loss=loss, **params)


@pytest.fixture(params=EPS, ids=lambda dtype: dtype.__name__)
def tables(request):
    """A table (60, 4) of bits, the same with rounding errors, and a dtype's eps."""
    X = np.random.default_rng(0).integers(0, 2, (60, 4)).astype(request.param)
    eps = EPS[request.param]
    X_rounded = np.where(X == 1, 1 + 2 * eps, -4 * eps).astype(request.param)
    assert X_rounded.max() > 1
    assert X_rounded.min() < 0
    return X, X_rounded, eps


@pytest.mark.parametrize("dtype", EPS)
def test_range(dtype):
    """Eight times the eps of the dtype, at 1 or at the end of the range."""
    eps = EPS[dtype]
    for end in (0.0, 1.0, 1e13):
        unit = eps * max(end, 1.0)
        for steps, found in ((7, None), (9, 1)):
            above = np.array([[end, end + steps * unit]], dtype=dtype)
            assert first_outside(above, -np.inf, end) == found
            below = -above
            assert first_outside(below, -end, np.inf) == found
            assert within(above, -np.inf, end).tolist() == [[dtype(end)] * 2]
            assert within(below, -end, np.inf).dtype == dtype
    whole = np.array([[0, 1], [2, 3]])
    assert first_outside(whole, 0, np.array([np.inf, 2.0])) == 1  # counts have no eps
    assert within(whole, 0, 3) is whole
    assert first_outside(whole[:0], 0, 1) is None
    assert within(whole[:0], 0, 1).shape == (0, 2)
    gaps = np.array([[np.nan, -1e-17], [np.nan, 1.0]])
    assert first_outside(gaps, 0.0, 1.0) is None
    np.testing.assert_array_equal(within(gaps, 0.0, 1.0), [[np.nan, 0], [np.nan, 1]])


def test_digits():
    assert told_apart(1 + 1e-9, 0, 1) == "1.000000001"
    assert told_apart(np.float32(1 + 1e-6), 0, 1) == "1.000001"
    assert told_apart(1.0, 0, 1) == "1"
    assert told_apart(-1e-12, 0, 1) == "-1e-12"
    assert told_apart(np.nextafter(1, 2), 0, 1) == "1.0000000000000002"
    assert told_apart(1 / 3, 0, 1) == "0.333333"


def test_min_max_scaler_and_cross_entropy():
    X = load_breast_cancer().data
    scaled = MinMaxScaler().fit_transform(X)
    assert scaled.max() == np.nextafter(1, 2)
    clipped = MinMaxScaler(clip=True).fit_transform(X)
    ae = autoencoder("binary_cross_entropy")
    pipe = make_pipeline(MinMaxScaler(), ae).fit(X)
    assert pipe.score(X) == pytest.approx(ae.fit(clipped).score(clipped), rel=1e-6)


LOSSES_IN_A_RANGE = [
    "binary_cross_entropy",
    "poisson",
    "negative_binomial",
    {"binary_cross_entropy": [0], "poisson": [1], "squared_error": [2, 3]},
    {"cross_entropy": [[0, 1]], "huber": [2], "binary_cross_entropy": [3]},
]


def one_hot(X):
    """The first two columns become a group."""
    X[:, 1] = 1 - X[:, 0]
    return X


@pytest.mark.parametrize("loss", LOSSES_IN_A_RANGE, ids=str)
def test_rounding_does_not_count(tables, loss):
    """Fit and score are those of the table without rounding errors."""
    X, X_rounded, _ = tables
    if "cross_entropy" in loss:
        X, X_rounded = one_hot(X.copy()), one_hot(X_rounded.copy())
    ae, other = autoencoder(loss).fit(X), autoencoder(loss).fit(X_rounded)
    assert other.score(X_rounded) == pytest.approx(ae.score(X), rel=1e-4)
    np.testing.assert_allclose(
        ae.score_samples(X_rounded), ae.score_samples(X), rtol=1e-4, atol=1e-6
    )
    bad = X.copy()
    bad[3, 3] = -0.01
    if not (isinstance(loss, dict) and "poisson" in loss):
        with pytest.raises(ValueError, match=r"feature 3 of X has values in \[-0\.01, 1\]"):
            autoencoder(loss).fit(bad)
        with pytest.raises(ValueError, match=r"values in \[-0\.01, 1\]"):
            ae.score(bad)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "poisson"])
def test_targets_are_in_range(tables, loss):
    """The loss sees clipped values only: in training, in streams, in scores."""
    from skae._tables.fit_data import Given
    from skae._tables.rows import Scaled
    from skae._tables.table import make_table

    X, X_rounded, _ = tables
    fitted = LOSSES[loss].fitted(LOSSES[loss].measure(X))
    mean = np.zeros(4)
    whole = make_table(Given(X_rounded), fitted, mean, 1.0)
    assert whole.target.min() == 0
    np.testing.assert_array_equal(LOSSES[loss].within(X_rounded).min(), 0)
    streamed = Scaled(sparse.csr_array(X_rounded), bounds=fitted.bounds)
    assert streamed[:10].min() == 0
    if loss == "binary_cross_entropy":
        np.testing.assert_array_equal(whole.target, X)
        np.testing.assert_array_equal(streamed[:10], X[:10])


def test_other_rows(tables):
    """X_val, X_target, partial_fit, streams and incomplete rows go by the same rule."""
    X, X_rounded, eps = tables
    bad = X.copy()
    bad[2, 1] = 1 + 100 * eps
    text = r"feature 1 of X has values in \[0, 1\.0000"
    ae = autoencoder("binary_cross_entropy")
    with_val = ae.fit(X, X_val=X_rounded).validation_curve_
    np.testing.assert_allclose(with_val, ae.fit(X, X_val=X).validation_curve_, rtol=1e-4)
    ae.fit(X + 3, X_target=X_rounded)
    ae.partial_fit(X_rounded)
    for call in (
        lambda: ae.fit(bad),
        lambda: ae.fit(X, X_val=bad),
        lambda: ae.fit(X, X_target=bad),
        lambda: autoencoder("binary_cross_entropy").partial_fit(bad),
        lambda: ae.fit(X).score(bad),
    ):
        with pytest.raises(ValueError, match=text):
            call()
    gaps = X_rounded.copy()
    gaps[::7, 2] = np.nan
    ae = autoencoder("binary_cross_entropy", allow_nan=True).fit(gaps)
    assert ae.score(gaps) == pytest.approx(ae.score(np.clip(gaps, 0, 1)), rel=1e-5)


def test_streams():
    rng = np.random.default_rng(0)
    X = rng.random((60_000, 36)) < 0.1
    X = sparse.csr_array(X * (1 + 2.0**-51))
    assert X.max() > 1
    ae = autoencoder("binary_cross_entropy", max_epochs=1, batch_size=2000)
    ae.set_params(early_stopping=False).fit(X)
    assert ae.score(X) == pytest.approx(ae.score(X.minimum(1.0)), rel=1e-6)
    X.data[5] = 1 + 1e-12
    with pytest.raises(ValueError, match=r"values in \[0, 1\.000000000001\]"):
        ae.score(X)


def test_metrics(tables):
    X, X_rounded, eps = tables
    P = np.random.default_rng(1).uniform(0.1, 0.9, X.shape)
    name = "binary_cross_entropy"
    expected = reconstruction_error(X, P, metric=name)
    assert reconstruction_error(X_rounded, P, metric=name) == expected
    frame = pd.DataFrame(X_rounded, columns=list("abcd"))
    assert reconstruction_error(frame, P, metric=name) == expected
    X[2, 1] = 1 + 100 * eps
    with pytest.raises(ValueError, match=r"X has values in \[0, 1\.0000"):
        reconstruction_error(X, P, metric=name)
    assert [n for n, metric in METRICS.items() if np.isfinite(metric.bounds).any()] == [
        name
    ]


def on_zero(n_rows, n_at_end):
    """A column (n_rows, 1) of different values from 1 on, the first n_at_end of them 0."""
    X = np.arange(1.0, n_rows + 1)[:, None]
    X[:n_at_end] = 0.0
    return X


@pytest.mark.parametrize("n_rows", [200, 1000, 4000])
def test_an_end_has_enough_rows(n_rows):
    """A share of the rows, and in a small table a number of rows."""
    least = max(ROWS_AT_END, round(SHARE_AT_END * n_rows))
    assert Extremes.of(on_zero(n_rows, least - 1)).ends("auto", True) is None
    low, high = Extremes.of(on_zero(n_rows, least)).ends("auto", True)
    assert (low, high) == (0.0, np.inf)
    low, high = Extremes.of(-on_zero(n_rows, least)).ends("auto", True)
    assert (low, high) == (-np.inf, 0.0)


def test_ends_that_are_asked_for():
    extremes = Extremes.of(np.array([[1.0, 5.0, np.nan], [2.0, 3.0, np.nan]]))
    assert extremes.ends("auto", True) is None
    for clip in (False, np.False_):
        assert extremes.ends(clip, True) is None
    for clip in (True, np.True_):
        low, high = extremes.ends(clip, True)
        assert low.tolist() == [1.0, 3.0, -np.inf]
        assert high.tolist() == [2.0, 5.0, np.inf]
    low, _ = extremes.ends(True, np.array([True, False, True]))
    assert low.tolist() == [1.0, -np.inf, -np.inf]
    assert extremes.ends(True, False) is None


@pytest.mark.parametrize("n_parts", [1, 3, 50])
def test_extremes_of_parts(n_parts):
    """Whatever the parts, in any order, with weights and gaps; a weight of w is w rows."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 4, (50, 6)).astype(float)
    X[rng.random(X.shape) < 0.3] = np.nan
    X[:, 0] = np.nan
    X[7, 1] = -1.0
    w = rng.integers(1, 4, 50).astype(float)
    whole = vars(Extremes.of(np.repeat(X, w.astype(int), axis=0)))
    parts = [Extremes.of(X[i], w[i]) for i in np.array_split(rng.permutation(50), n_parts)]
    found = parts[0]
    for part in parts[1:]:
        found = found.joined(part)
    assert found.n_rows == 50
    assert found.low[1] == -1.0
    assert found.at_low[1] == w[7]
    for name in ("low", "high", "at_low", "at_high", "weight"):
        np.testing.assert_array_equal(vars(found)[name], whole[name])
