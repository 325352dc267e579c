"""Tests of what a fitted autoencoder tells: its repr, residuals, errors of first codes."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits, load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae import AutoencoderTransformer, VariationalAutoencoder

QUICK = {"hidden_layer_sizes": (16,), "max_epochs": 5, "random_state": 0}


@pytest.fixture(scope="module")
def iris():
    return load_iris().data


# -- repr ------------------------------------------------------------------------------


def test_repr_before_a_fit():
    assert repr(AutoencoderTransformer(2)) == "AutoencoderTransformer(n_components=2)"


def test_repr_of_what_ended_as_pca(iris):
    ae = AutoencoderTransformer(2, hidden_layer_sizes=()).fit(iris)
    assert repr(ae).endswith(")  # ended as PCA")
    assert eval(repr(ae), vars(skae)).get_params() == ae.get_params()


def test_diagram_of_what_ended_as_pca(iris):
    ae = AutoencoderTransformer(2, hidden_layer_sizes=())
    assert "ended as PCA" not in ae._repr_html_()
    assert ae.fit(iris)._repr_html_().endswith("<p>ended as PCA</p>")
    assert ae._repr_mimebundle_()["text/html"].endswith("<p>ended as PCA</p>")


def test_repr_of_what_was_trained():
    X = load_digits().data
    ae = AutoencoderTransformer(8, max_epochs=3, random_state=0).fit(X)
    ratio = ae.validation_curve_[ae.best_epoch_] / -ae.pca_score_
    assert ratio < 1
    assert repr(ae).endswith(f"# {ratio:.3g} times the error of PCA, on held-out rows")


def test_repr_of_a_density():
    X = np.random.default_rng(0).normal(size=(500, 1)) ** [1, 2, 3]
    vae = VariationalAutoencoder(1, random_state=0).fit(X)
    gain = -vae.pca_score_ - vae.validation_curve_[vae.best_epoch_]
    assert gain > 0
    assert f"# {gain:.3g} nats per row above PCA" in repr(vae)


def test_repr_without_held_out_rows(iris):
    ae = AutoencoderTransformer(2, **QUICK, early_stopping=False).fit(iris)
    assert "#" not in repr(ae)


def test_repr_of_a_warm_start_without_a_gain(iris):
    ae = AutoencoderTransformer(2, **QUICK, lr=1e-12, warm_start=True).fit(iris)
    ae.outcome_ = "unchanged"
    assert repr(ae).endswith("# as it was before the last fit")


def test_repr_of_a_pipeline(iris):
    ae = AutoencoderTransformer(2, hidden_layer_sizes=())
    pipeline = make_pipeline(StandardScaler(), ae).fit(iris)
    assert "AutoencoderTransformer(hidden_layer_sizes=(), n_components=2)" in repr(pipeline)


# -- errors ----------------------------------------------------------------------------


def test_truncation_errors(iris):
    ae = AutoencoderTransformer(3, **QUICK, ordered=True).fit(iris)
    errors = ae.truncation_errors(iris)
    assert errors.shape == (3,)
    for k, error in enumerate(errors, 1):
        X_hat = ae.inverse_transform(ae.transform(iris)[:, :k])
        np.testing.assert_allclose(error, np.mean((iris - X_hat) ** 2))


def test_truncation_errors_need_ordered_codes(iris):
    ae = AutoencoderTransformer(2, **QUICK).fit(iris)
    with pytest.raises(ValueError, match="ordered=True"):
        ae.truncation_errors(iris)
    assert not hasattr(VariationalAutoencoder(2), "truncation_errors")


def test_residuals(iris):
    ae = AutoencoderTransformer(2, **QUICK).fit(iris)
    residuals = ae.residuals(iris)
    np.testing.assert_allclose(residuals, iris - ae.denoise(iris), atol=1e-12)
    np.testing.assert_allclose(-np.mean(residuals**2, axis=1), ae.score_samples(iris))
    of_sparse = ae.residuals(sparse.csr_array(iris))
    np.testing.assert_allclose(of_sparse, residuals, atol=1e-12)


def test_residuals_of_a_frame_with_missing_cells(iris):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(iris, columns=[*"abcd"], index=range(1000, 1150))
    X.iloc[3, 1] = np.nan
    ae = AutoencoderTransformer(2, **QUICK, allow_nan=True).fit(X)
    residuals = ae.residuals(X)
    assert [*residuals.columns] == [*"abcd"]
    assert residuals.index.equals(X.index)
    np.testing.assert_array_equal(residuals.isna(), X.isna())


def test_residuals_of_categories():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 3, size=200)
    X = pandas.DataFrame({"a": kinds + rng.normal(size=200), "b": kinds})
    X["b"] = pandas.Categorical.from_codes(kinds, [*"xyz"])
    ae = AutoencoderTransformer(2, max_epochs=2, random_state=0).fit(X)
    residuals = ae.residuals(X)
    assert [*residuals.columns] == ["a", "b"]
    assert residuals["b"].between(0, 1).all()
    is_right = ae.set_output(transform="pandas").denoise(X)["b"] == X["b"]
    assert is_right.any()
    assert (residuals["b"][is_right] <= 2 / 3).all()
    assert (residuals["b"][~is_right] >= 1 / 2).all()
