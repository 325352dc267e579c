"""Hard inputs: each behaves as it does in `PCA(svd_solver="full")`."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from skae import AutoencoderTransformer

N_TRAIN = 140


def autoencoder(n_components=2, **params):
    params = {"max_epochs": 4, "random_state": 0} | params
    return AutoencoderTransformer(n_components, **params)


def error(model, X, factor=1.0, offset=0.0):
    """Mean squared error of the reconstruction of X, in units that cannot overflow."""
    X_hat = model.inverse_transform(model.transform(X)).astype(np.float64)
    X = X.astype(np.float64)
    assert np.isfinite(X_hat).all()
    return np.mean(np.square((X_hat / factor - offset) - (X / factor - offset)))


def check_as_pca(X, k=2, factor=1.0, offset=0.0, **params):
    """Finite codes of PCA's shape and dtype, and no larger an error in new rows."""
    n_train = N_TRAIN if len(X) > N_TRAIN else len(X)
    ae = autoencoder(k, **params).fit(X[:n_train])
    Z = ae.transform(X)
    assert Z.dtype == X.dtype
    assert Z.shape == (len(X), k)
    assert np.isfinite(Z).all()
    assert ae.inverse_transform(Z).dtype == Z.dtype
    # float32 sums of PCA lose digits that are ours: it is fitted in float64.
    rival = PCA(k, svd_solver="full").fit(X[:n_train].astype(float) / factor - offset)
    test = X[n_train:] if n_train < len(X) else X
    scaled = test.astype(float) / factor - offset
    size = np.square(scaled).mean()
    bound = 1.01 * error(rival, scaled)
    eps = np.finfo(Z.dtype).eps * np.abs(X.astype(float) / factor).max()
    bound += 1e-10 * size + 10 * eps**2
    assert error(ae, test, factor, offset) <= bound
    return ae, Z


MAGNITUDES = [
    (1e30, np.float64),
    (1e30, np.float32),
    (1e-30, np.float64),
    (1e-30, np.float32),
    (1e300, np.float64),
    (1e-300, np.float64),
]


@pytest.mark.parametrize(("factor", "dtype"), MAGNITUDES)
@pytest.mark.parametrize("params", [{}, {"standardize": True}], ids=str)
def test_magnitude(curved, factor, dtype, params):
    X = (curved * factor).astype(dtype)
    plain = X.astype(np.float64) / factor
    if params:  # codes are then without a unit
        ae = autoencoder(**params).fit(X)
        Z, expected = ae.transform(X), autoencoder(**params).fit_transform(plain)
    else:
        ae, Z = check_as_pca(X, factor=factor)
        expected = autoencoder().fit(plain[:N_TRAIN]).transform(plain)
        Z = Z.astype(np.float64) / factor
    # Rounding of the input is all that differs, and training passes it on.
    atol = 1e-3 * np.abs(expected).max()
    np.testing.assert_allclose(Z, expected, rtol=0, atol=atol)
    assert np.isfinite(ae.mean_).all()
    assert np.isfinite(ae.scale_).all()


@pytest.mark.parametrize("power", [100, -100, 900, -900])
def test_powers_of_two_change_no_bit(curved, power):
    expected = autoencoder(max_epochs=5).fit_transform(curved)
    Z = autoencoder(max_epochs=5).fit_transform(np.ldexp(curved, power))
    assert np.array_equal(np.ldexp(Z, -power), expected)


@pytest.mark.parametrize(
    ("size", "dtype"), [(1.0, np.float64), (1e5, np.float32), (1.0, np.float32)]
)
def test_offset(curved, size, dtype):
    """X + 1e8; float32 keeps eight units of it, so that a small X is rounded away."""
    X = (size * curved + 1e8).astype(dtype)
    rounded = X.astype(np.float64) - 1e8
    if np.ptp(rounded) == 0:
        assert not autoencoder().fit_transform(X).any()
        return
    _, Z = check_as_pca(X, offset=1e8)
    expected = autoencoder().fit(rounded[:N_TRAIN]).transform(rounded)
    np.testing.assert_allclose(Z, expected, rtol=0, atol=5e-3 * np.abs(expected).max())


@pytest.mark.parametrize("value", [0.0, 0.1, -7.5, 1e8])
@pytest.mark.parametrize("standardize", [False, True])
def test_constant_columns(curved, value, standardize):
    X = np.insert(curved, [0, 3, 6], value, axis=1)
    ae = autoencoder(standardize=standardize).fit(X)
    X_hat = ae.inverse_transform(ae.transform(X))
    atol = 1e-5 * curved.std()
    np.testing.assert_allclose(X_hat[:, [0, 4, 8]], value, rtol=1e-12, atol=atol)
    if not standardize:
        check_as_pca(X)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e8])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_constant_table(value, early_stopping):
    X = np.full((50, 4), value)
    ae = autoencoder(early_stopping=early_stopping).fit(X)
    Z = ae.transform(X)
    np.testing.assert_allclose(Z, 0, atol=1e-12)
    np.testing.assert_allclose(ae.inverse_transform(Z), X, rtol=1e-12)
    assert ae.score(X) == pytest.approx(0, abs=1e-20)


def test_duplicated_columns(curved):
    check_as_pca(np.c_[curved, curved[:, ::2]])


def test_duplicated_rows(curved):
    check_as_pca(np.r_[curved, curved])


def test_one_feature(curved):
    X = curved[:, :1]
    ae, Z = check_as_pca(X, k=1)
    np.testing.assert_allclose(ae.inverse_transform(Z), X, atol=1e-6)


@pytest.mark.parametrize("n", [2, 3, 5, 19])
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("columns", [2, 6])
def test_few_rows_end_as_pca(curved, n, k, columns):
    X = curved[:n, :columns]
    pca = PCA(k, svd_solver="full").fit(X)
    ae = autoencoder(k).fit(X)
    new = curved[:, :columns]
    expected, Z = pca.transform(new), ae.transform(new)
    atol = 1e-5 * np.abs(expected).max()
    # A direction without variance is anyone's: compare what has some.
    real = pca.singular_values_ > 1e-8 * pca.singular_values_[0]
    np.testing.assert_allclose(Z[:, real], expected[:, real], atol=atol)
    np.testing.assert_allclose(
        ae.inverse_transform(ae.transform(X)), pca.inverse_transform(pca.transform(X)),
        atol=atol,
    )  # fmt: skip


def test_two_equal_rows():
    X = np.tile([1.0, 2.0, 3.0], (2, 1))
    ae = autoencoder(1).fit(X)
    assert not ae.transform(X).any()
    np.testing.assert_allclose(ae.inverse_transform([[0.0]]), X[:1])


@pytest.mark.parametrize("n", [17, 33, 65, 81])
@pytest.mark.parametrize("batch_size", [1, 16, 1000])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_batches(curved, n, batch_size, early_stopping):
    """Rows fewer than a batch, a remainder of one row, and single rows."""
    params = {"batch_size": batch_size, "early_stopping": early_stopping}
    ae = autoencoder(max_epochs=2, **params).fit(curved[:n])
    if early_stopping:
        assert ae.score(curved[:n]) >= ae.pca_score_ * 1.05
    assert np.isfinite(ae.transform(curved)).all()
    assert np.isfinite(ae.loss_curve_).all()
    # With fewer than 20 rows PCA is kept without training.
    assert len(ae.loss_curve_) == ae.n_iter_ == (0 if early_stopping and n < 20 else 2)


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


LAYOUTS = {
    "read-only": read_only,
    "Fortran": np.asfortranarray,
    "negative stride": lambda X: X[::-1].copy()[::-1],
    "negative column stride": lambda X: X[:, ::-1].copy()[:, ::-1],
    "every other": lambda X: np.repeat(X, 2, axis=0)[::2],
    "byte-swapped": lambda X: X.astype(X.dtype.newbyteorder()),
    "unaligned": lambda X: np.frombuffer(b"x" + X.tobytes(), X.dtype, offset=1).reshape(
        X.shape
    ),
    "list": lambda X: X.tolist(),
}


@pytest.mark.parametrize("loss", ["squared_error", "binary_cross_entropy"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts_change_no_bit(curved, layout, dtype, loss):
    X = (curved - curved.min()) / (curved.max() - curved.min())
    X = X.astype(dtype)
    ae = autoencoder(max_epochs=1, loss=loss, hidden_layer_sizes=(8,))
    same = layout(X)
    # What PCA makes of the layout decides the precision: a list becomes float64.
    plain = X.astype(PCA(2).fit_transform(same).dtype)
    Z, plain_Z = ae.fit(same).transform(same), ae.fit(plain).transform(plain)
    assert Z.dtype == plain_Z.dtype == plain.dtype
    if layout is np.asfortranarray:  # sums run in another order, as they do in PCA
        np.testing.assert_allclose(Z, plain_Z, atol=1e-3)
    else:
        assert np.array_equal(Z, plain_Z)
    assert np.array_equal(ae.score_samples(same), ae.score_samples(plain))
    X_hat = ae.inverse_transform(layout(plain_Z))
    assert np.array_equal(X_hat, ae.inverse_transform(plain_Z))


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8, bool, np.float16, object])
def test_other_dtypes_become_float64(curved, dtype):
    X = (10 * curved).clip(0, 100).astype(dtype)
    Z = autoencoder(max_epochs=2).fit_transform(X)
    assert Z.dtype == np.float64
    assert np.array_equal(Z, autoencoder(max_epochs=2).fit_transform(X.astype(np.float64)))


@pytest.mark.parametrize("fit_dtype", [np.float32, np.float64])
def test_precision_is_that_of_the_input(curved, fit_dtype):
    ae = autoencoder().fit(curved.astype(fit_dtype))
    Z32, Z64 = ae.transform(curved.astype(np.float32)), ae.transform(curved)
    assert (Z32.dtype, Z64.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(Z32, Z64, atol=1e-5 * np.abs(Z64).max())
    X32, X64 = ae.inverse_transform(Z32), ae.inverse_transform(Z64)
    assert (X32.dtype, X64.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(X32, X64, atol=1e-4 * np.abs(X64).max())


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_frames(curved, make, dtype):
    X = (10 * curved).astype(dtype)
    frame = make({name: X[:, j].copy() for j, name in enumerate("abcdef")})
    ae = autoencoder(max_epochs=2)
    Z, expected = ae.fit_transform(frame), autoencoder(max_epochs=2).fit_transform(X)
    assert Z.dtype == PCA(2).fit_transform(frame).dtype
    # Frames are stored by column, so that sums run in another order.
    np.testing.assert_allclose(Z, expected, atol=1e-3 * np.abs(expected).max())
    assert list(ae.feature_names_in_) == list("abcdef")
    assert ae.score(frame) < 0


def changed(X, value):
    X = X.copy()
    X[3, 1] = value
    return X


BAD = {
    "nan": (lambda X: changed(X, np.nan), "Input X contains NaN"),
    "inf": (lambda X: changed(X, np.inf), "Input X contains infinity"),
    "-inf": (lambda X: changed(X, -np.inf), "Input X contains infinity"),
    "strings": (lambda X: [["a", "b"], ["c", "d"]], "could not convert string to float"),
    "no rows": (lambda X: X[:0], "Found array with 0 sample"),
    "no columns": (lambda X: X[:, :0], "Found array with 0 feature"),
    "1-D": (lambda X: X[0], "Expected 2D array, got 1D array instead"),
    "3-D": (lambda X: X[None], "Found array with dim 3"),
    "scalar": (lambda X: 1.0, "Expected 2D array, got scalar array instead"),
    "complex": (lambda X: X + 1j, "Complex data not supported"),
}
# What is said behind the first line of scikit-learn's message, or in place of more lines.
ADVICE = {
    "nan": "^AutoencoderTransformer .* allow_nan=True",
    "strings": "categorical_features",
}
METHODS = ["fit", "fit_transform", "transform", "score", "score_samples"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", BAD)
def test_bad_input(curved, name, method):
    make, text = BAD[name]
    models = [autoencoder(), PCA(2, svd_solver="full")]
    if "fit" not in method:
        models = [model.fit(curved[:30]) for model in models]
    messages = []
    for model in models:
        with pytest.raises(ValueError, match=text) as caught:
            getattr(model, method)(make(curved))
        message = str(caught.value).replace("PCA", "AutoencoderTransformer")
        if name in ADVICE:
            message, _, advice = message.partition("\n")
            assert isinstance(model, PCA) or re.search(ADVICE[name], advice)
        messages.append(message.replace("minimum of 1", "minimum of 2"))
    assert messages[0] == messages[1]


def test_one_row(curved):
    with pytest.raises(ValueError, match=r"Found array with 1 sample.*minimum of 2"):
        autoencoder(1).fit(curved[:1])


@pytest.mark.parametrize("method", METHODS[2:])
def test_wrong_width(curved, method):
    ae = autoencoder().fit(curved[:30])
    text = "X has 3 features, but AutoencoderTransformer is expecting 6 features as input"
    with pytest.raises(ValueError, match=text):
        getattr(ae, method)(curved[:, :3])


@pytest.mark.parametrize("width", [1, 3, 6])
def test_inverse_transform_of_wrong_width(curved, width):
    ae = autoencoder().fit(curved[:30])
    with pytest.raises(ValueError, match=f"X has {width} columns.*expects 2"):
        ae.inverse_transform(curved[:, :width])


@pytest.mark.parametrize("name", ["nan", "strings", "no rows", "1-D"])
def test_inverse_transform_of_bad_codes(curved, name):
    make, text = BAD[name]
    ae = autoencoder().fit(curved[:30])
    with pytest.raises(ValueError, match=text):
        ae.inverse_transform(make(ae.transform(curved)))


@pytest.mark.parametrize("method", [*METHODS[2:], "inverse_transform"])
def test_unfitted(curved, method):
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        getattr(autoencoder(), method)(curved)


@pytest.mark.parametrize("n", [1, 2, 3, 31])
def test_new_rows_one_by_one(curved, n):
    ae = autoencoder(standardize=True).fit(curved)
    Z = ae.transform(curved)
    scale = np.abs(Z).max()
    np.testing.assert_allclose(ae.transform(curved[:n]), Z[:n], atol=1e-10 * scale)
