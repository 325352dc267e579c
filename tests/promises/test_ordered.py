"""Ordered codes: the first of them serve without the others, and can be cut off."""

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from torch import nn

from skae import AutoencoderTransformer
from skae._model import model


def ordered(n_components=3, **params):
    params = {"max_epochs": 4, "random_state": 0, "ordered": True} | params
    return AutoencoderTransformer(n_components, **params)


def pca_of(X, k):
    return PCA(k, svd_solver="full").fit(X)


def close(actual, expected, rtol=1e-6):
    """Equal to `rtol` of the largest entry."""
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * scale)


def round_trip(model, X):
    return model.inverse_transform(model.transform(X))


def error(model, X):
    return np.square(round_trip(model, X) - X).mean()


def cut_errors(model, X):
    """Error of X with the first 1, 2, ... codes."""
    Z, unit = model.transform(X), units(model)
    reconstructions = [model.inverse_transform(Z[:, : k + 1]) for k in range(Z.shape[1])]
    return np.array([np.square((X_hat - X) / unit).mean() for X_hat in reconstructions])


def units(model):
    """What the units of X are divided by to be those that a model tells."""
    return model.scale_ if getattr(model, "standardize", False) else 1.0


# Each is trained, and kept.
TRAINED = {
    "plain": {},
    "early stopping": {"early_stopping": True},
    "whiten": {"whiten": True},
    "standardize": {"standardize": True},
    "standardize, whiten": {"standardize": True, "whiten": True},
    "probabilities": {"loss": "binary_cross_entropy"},
    "random": {"init": "random", "max_epochs": 12},
    "random tanh": {"init": "random", "code_activation": "tanh", "max_epochs": 12},
    "dropout": {"dropout": 0.2},
    "linear": {"hidden_layer_sizes": ()},
    "float32": {},
}


@pytest.fixture(scope="module")
def unit(curved):
    """The bent surface in [0, 1]."""
    return (curved - curved.min(axis=0)) / np.ptp(curved, axis=0)


@pytest.fixture(params=TRAINED, scope="module")
def fitted(request, unit):
    """A fit and its X."""
    X = unit.astype(np.float32) if request.param == "float32" else unit
    ae = ordered(**{"early_stopping": False} | TRAINED[request.param]).fit(X)
    assert ae.best_epoch_ > 0
    return ae, X


# -- fewer codes -----------------------------------------------------------------------


def test_the_first_codes_reconstruct_as_the_truncated_model(fitted):
    ae, X = fitted
    Z = ae.transform(X)
    for k in (1, 2, 3):
        smaller = ae.truncate(k)
        X_hat = ae.inverse_transform(Z[:, :k])
        assert X_hat.shape == X.shape
        assert X_hat.dtype == Z.dtype == X.dtype
        close(smaller.transform(X), Z[:, :k])
        close(smaller.inverse_transform(Z[:, :k]), X_hat)
        goal = smaller.score(X)
        if ae.loss == "squared_error":
            residual = (X_hat - X) / units(ae)
            assert goal == pytest.approx(-np.square(residual).mean(), rel=1e-3)


def test_a_cut_is_not_the_full_code_with_zeros(unit):
    """The decoder knows what it does not have, and does better for it."""
    ae = ordered(early_stopping=False, max_epochs=20).fit(unit)
    Z = ae.transform(unit)
    zeros = np.pad(Z[:, :1], ((0, 0), (0, 2)))
    cut_error = np.square(ae.inverse_transform(Z[:, :1]) - unit).mean()
    assert cut_error < 0.99 * np.square(ae.inverse_transform(zeros) - unit).mean()


def test_every_code_helps(fitted):
    ae, X = fitted
    if ae.loss == "squared_error":
        assert (np.diff(cut_errors(ae, X)) < 0).all()


def test_fewer_codes_in_batches(unit, monkeypatch):
    """Long tables are decoded in blocks of rows."""
    ae = ordered().fit(unit)
    Z = ae.transform(unit)[:, :2]
    whole = ae.inverse_transform(Z)
    monkeypatch.setattr(model, "BATCH", 150)  # 25 rows of six columns
    close(ae.inverse_transform(Z), whole, 1e-12)


def test_probabilities_of_every_cut(unit):
    ae = ordered(loss="binary_cross_entropy", early_stopping=False).fit(unit)
    Z = ae.transform(unit)
    for k in (1, 2, 3):
        X_hat = ae.inverse_transform(Z[:, :k])
        assert X_hat.min() >= 0
        assert X_hat.max() <= 1


# -- the truncated model ---------------------------------------------------------------


def arrays_of(ae):
    """All arrays that a fitted estimator holds, with those of its network."""
    arrays = [value for value in vars(ae).values() if isinstance(value, np.ndarray)]
    for module in ae._inference.modules.values():
        arrays += [tensor.numpy() for tensor in module.state_dict().values()]
    return arrays


def test_truncate_leaves_the_original_alone(unit):
    ae = ordered().fit(unit)
    before, Z = pickle.dumps(ae), ae.transform(unit)
    smaller = ae.truncate(2)
    assert pickle.dumps(ae) == before
    assert not any(
        np.shares_memory(a, b) for a in arrays_of(ae) for b in arrays_of(smaller)
    )
    with torch.no_grad():
        for parameter in smaller.net_.module_.parameters():
            parameter.zero_()
    smaller.fit(unit[:50])
    assert np.array_equal(ae.transform(unit), Z)
    assert (ae.n_components, ae.n_components_, ae.n_samples_) == (3, 3, 200)


def test_a_truncated_model_is_an_estimator_like_another(unit):
    ae = ordered(whiten=True).fit(unit)
    smaller = ae.truncate(2)
    assert (smaller.n_components, smaller.n_components_) == (2, 2)
    Z, X_hat = smaller.transform(unit), round_trip(smaller, unit)
    for twin in (pickle.loads(pickle.dumps(smaller)), copy.deepcopy(smaller)):
        assert np.array_equal(twin.transform(unit), Z)
        assert np.array_equal(round_trip(twin, unit), X_hat)
    assert np.array_equal(clone(smaller).fit_transform(unit), smaller.fit_transform(unit))
    assert smaller.transform(unit).shape == (200, 2)
    assert vars(smaller).keys() == vars(ae).keys()


def test_truncate_twice(fitted):
    ae, X = fitted
    once, twice = ae.truncate(1), ae.truncate(2).truncate(1)
    close(twice.transform(X), once.transform(X))
    close(round_trip(twice, X), round_trip(once, X))
    close(twice.components_, once.components_, 1e-5)


def test_truncate_to_all_codes_is_a_copy(fitted):
    ae, X = fitted
    same = ae.truncate(3)
    assert np.array_equal(same.transform(X), ae.transform(X))
    close(round_trip(same, X), round_trip(ae, X))
    for name in ("components_", "explained_variance_", "singular_values_"):
        close(getattr(same, name), getattr(ae, name), 1e-5)
    assert same.noise_variance_ == pytest.approx(ae.noise_variance_)


def test_a_truncated_model_trains_on(unit):
    """With warm_start its own network goes on, with fewer codes."""
    ae = ordered(early_stopping=False, warm_start=True).fit(unit)
    smaller = ae.truncate(2)
    start = error(smaller, unit)
    longer = smaller.set_params(max_epochs=50).fit(unit)
    assert longer.n_components_ == 2
    assert error(longer, unit) < start
    assert longer.loss_curve_[0] < 1.5 * ae.loss_curve_[-1] + 2 * start
    assert cut_errors(longer, unit).shape == (2,)


def test_frames(unit):
    names = list("abcdef")
    frame = pd.DataFrame(unit, columns=names)
    ae = ordered().set_output(transform="pandas").fit(frame)
    Z = ae.transform(frame)
    smaller = ae.truncate(2)
    expected = ["autoencodertransformer0", "autoencodertransformer1"]
    assert list(smaller.get_feature_names_out()) == expected
    assert list(smaller.transform(frame).columns) == expected
    assert list(smaller.feature_names_in_) == names
    X_hat = ae.inverse_transform(Z[expected])
    assert list(X_hat.columns) == names
    close(smaller.inverse_transform(Z[expected]).to_numpy(), X_hat.to_numpy())
    smaller.set_output(transform="polars")
    assert isinstance(smaller.transform(frame), pl.DataFrame)
    assert isinstance(ae.transform(frame), pd.DataFrame)


# -- attributes ------------------------------------------------------------------------


def test_codes_are_canonical(fitted):
    ae, X = fitted
    Z = ae.transform(X).astype(np.float64)
    if ae.code_activation == "identity":
        assert np.abs(Z.mean(axis=0)).max() < 1e-5 * Z.std()
        np.testing.assert_allclose(np.corrcoef(Z.T), np.eye(3), atol=1e-5)
    if ae.whiten:
        np.testing.assert_allclose(Z.std(axis=0, ddof=1), 1, rtol=1e-5)
    components = ae.components_ / ae.scale_
    if ae.code_activation == "identity" and ae.loss == "squared_error":
        assert (components.max(axis=1) >= (1 - 1e-6) * np.abs(components).max(axis=1)).all()
    assert (np.diff(ae.explained_variance_ratio_) <= 1e-12).all()


def check_attributes(ae, X):
    """What follows from the definitions, of a model and its training rows."""
    k, (n, p) = ae.n_components_, X.shape
    X = X.astype(np.float64)
    total = np.square((X - X.mean(axis=0)) / units(ae)).sum()
    shares = ae.explained_variance_ratio_
    assert shares.shape == (k,)
    assert (shares >= 0).all()
    assert (np.diff(shares) <= 1e-12).all()
    r2 = 1 - np.square((round_trip(ae, X) - X) / units(ae)).sum() / total
    assert shares.sum() == pytest.approx(r2, abs=1e-5)
    np.testing.assert_allclose(ae.explained_variance_, shares * total / (n - 1), rtol=1e-5)
    expected = np.sqrt(ae.explained_variance_ * (n - 1))
    np.testing.assert_allclose(ae.singular_values_, expected)
    noise = (1 - shares.sum()) * total / (n - 1) / (min(n, p) - k)
    assert ae.noise_variance_ == pytest.approx(noise, rel=1e-4)
    assert ae.components_.shape == (k, p)
    np.testing.assert_allclose(np.linalg.norm(ae.components_, axis=1), 1)
    assert np.isfinite(ae.get_covariance()).all()
    assert ae.components_at(X[:4]).shape == (4, k, p)


def test_attributes_of_every_truncation(fitted):
    ae, X = fitted
    for k in (1, 2, 3):
        check_attributes(ae.truncate(k), X)


def test_components_of_a_truncation_are_its_decoders_slopes(fitted):
    ae, X = fitted
    smaller = ae.truncate(2)
    mean = smaller.transform(X.astype(np.float64)).mean(axis=0)
    steps = 1e-4 * np.eye(2) * np.ravel(smaller._inference.code_scale)
    slopes = smaller.inverse_transform(mean + steps) - smaller.inverse_transform(
        mean - steps
    )
    slopes = slopes / units(ae)
    close(smaller.components_, slopes / np.linalg.norm(slopes, axis=1)[:, None], 1e-4)


def test_the_course_of_training_is_the_originals(unit):
    ae = ordered().fit(unit)
    smaller = ae.truncate(1)
    for name in ("n_iter_", "best_epoch_", "loss_curve_", "validation_curve_"):
        assert getattr(smaller, name) == getattr(ae, name)
    assert (smaller.n_samples_, smaller.n_features_in_) == (200, 6)


# -- where the model is PCA ------------------------------------------------------------


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize(
    ("shape", "params"),
    [
        ((60, 6), {"hidden_layer_sizes": ()}),
        ((60, 6), {"n_components": None}),  # PCA is exact
        ((15, 6), {}),  # nobody can be held out
        ((12, 40), {}),
    ],
)
def test_pca_and_every_truncation_of_it(shape, params, whiten):
    X = np.random.default_rng(0).normal(size=shape) * np.linspace(3, 1, shape[1]) + 4.0
    ae = ordered(**{"n_components": 3, "whiten": whiten} | params).fit(X)
    assert ae.best_epoch_ == 0
    Z = ae.transform(X)
    for k in range(1, ae.n_components_ + 1):
        smaller = ae.truncate(k)
        pca = PCA(k, svd_solver="full", whiten=whiten).fit(X)
        close(smaller.transform(X), pca.transform(X), 1e-4)
        close(ae.inverse_transform(Z[:, :k]), round_trip(pca, X), 1e-4)
        close(smaller.components_, pca.components_, 1e-4)
        for name in ("explained_variance_", "explained_variance_ratio_"):
            np.testing.assert_allclose(
                getattr(smaller, name), getattr(pca, name), rtol=1e-4
            )
        noise = float(pca.noise_variance_)
        assert smaller.noise_variance_ == pytest.approx(noise, rel=1e-4, abs=1e-12)


def spectrum(deviations=(3, 2, 1), n=300, p=8, seed=0):
    """A few linear directions of well separated variances, and a little noise."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(p, len(deviations))))[0]
    X = rng.normal(size=(n, len(deviations))) * deviations @ axes.T
    return X + 0.01 * rng.normal(size=(n, p)) + 5.0


def test_a_linear_network_with_nested_dropout_is_pca():
    """Rippel, Gelbart and Adams (2014), theorem 1, from a random start.

    Without `ordered` a linear autoencoder finds the subspace alone. Here the subspaces
    of the first one and two codes are PCA's too: the canonical map, which is lower
    triangular, cannot bring that about.
    """
    X = spectrum()
    params = {"init": "random", "hidden_layer_sizes": (), "early_stopping": False}
    params |= {"max_epochs": 400, "batch_size": 50, "lr": 0.02}
    ae, pca = ordered(**params).fit(X), pca_of(X, 3)
    scores, Z = pca.transform(X), ae.transform(X)
    for j in range(3):
        assert abs(np.corrcoef(Z[:, j], scores[:, j])[0, 1]) > 0.999
    # 0.045 is the angle at a correlation of 0.999, and its square 2e-3.
    close(ae.components_, pca.components_, 0.045)
    close(Z, scores, 0.045)
    errors = [error(pca_of(X, k), X) for k in (1, 2, 3)]
    close(cut_errors(ae, X), errors, 2e-3)


# -- never worse than PCA, at any number of codes --------------------------------------


@pytest.mark.parametrize("n_components", [3, 5])
def test_no_cut_is_worse_than_pca_in_the_guards_rows(curved, n_components):
    X, X_val = curved[:120], curved[120:]
    ae = ordered(n_components, max_epochs=30).fit(X, X_val=X_val)
    pca_errors = [error(pca_of(X, k), X_val) for k in range(1, n_components + 1)]
    errors = cut_errors(ae, X_val)
    assert (errors <= np.multiply(pca_errors, 1 + 1e-5)).all()
    if n_components == 3:
        assert ae.best_epoch_ > 0
        assert errors.mean() < 0.9 * np.mean(pca_errors)


def test_gains_at_every_cut_on_digits(digits):
    X = digits[0]
    ae = ordered(8, max_epochs=10).fit(X[:1300])
    pca_errors = [error(pca_of(X[:1300], k), X[1300:]) for k in range(1, 9)]
    ratios = cut_errors(ae, X[1300:]) / pca_errors
    assert ratios.max() < 1
    assert ratios[-1] < 0.8


# -- codes wider than the data ---------------------------------------------------------


def test_codes_beyond_the_data(curved):
    """All numbers of codes are trained and watched, those that PCA has not as well."""
    ae = ordered(9, init="random", max_epochs=15).fit(curved)
    errors = cut_errors(ae, curved)
    assert errors[5:].max() < 2 * errors[5:].min()
    # Rows that a network has not seen are no better than those that it has.
    assert ae.validation_curve_[ae.best_epoch_] > errors[-1]


# -- a share of the variance -----------------------------------------------------------


def test_share_of_the_variance(digits):
    X = digits[0][:300]
    ae = ordered(0.7, max_epochs=3, hidden_layer_sizes=(32,)).fit(X)
    assert 1 < ae.n_components_ <= PCA(0.7, svd_solver="full").fit(X).n_components_
    assert ae.transform(X).shape == (300, ae.n_components_)
    smaller = ae.truncate(2)
    assert (smaller.n_components, smaller.n_components_) == (2, 2)
    assert ae.n_components == 0.7
    assert smaller.fit_transform(X).shape == (300, 2)


# -- errors ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_curved(curved):
    return ordered(max_epochs=1).fit(curved)


class Plain(nn.Module):
    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = nn.Linear(n_features, n_components)
        self.decode = nn.Linear(n_components, n_features)


def test_codes_that_are_not_ordered(curved):
    ae = ordered(ordered=False).fit(curved)
    Z = ae.transform(curved)
    with pytest.raises(ValueError, match="Set ordered=True"):
        ae.truncate(2)
    with pytest.raises(ValueError, match=r"X has 2 columns.*expects"):
        ae.inverse_transform(Z[:, :2])


@pytest.mark.parametrize("k", [0, -1, 4])
def test_truncate_to_a_number_that_is_not_there(of_curved, k):
    with pytest.raises(ValueError, match=f"n_components of .*truncate == {k}, must be"):
        of_curved.truncate(k)


@pytest.mark.parametrize("k", [2.0, "2", None])
def test_truncate_takes_an_int(of_curved, k):
    with pytest.raises(TypeError, match=r"n_components of .*truncate"):
        of_curved.truncate(k)


def test_a_numpy_int_will_do(of_curved):
    assert of_curved.truncate(np.int64(2)).n_components == 2


def test_truncate_before_fit():
    with pytest.raises(NotFittedError):
        ordered().truncate(1)


def test_too_many_codes_and_none(of_curved):
    with pytest.raises(ValueError, match=r"X has 4 columns.*expects"):
        of_curved.inverse_transform(np.zeros((5, 4)))
    with pytest.raises(ValueError, match="0 feature"):
        of_curved.inverse_transform(np.zeros((5, 0)))


def test_a_plain_module_of_the_users_is_not_ordered(curved):
    with pytest.raises(ValueError, match=r"ordered=True .* module .*init='pca'"):
        ordered(module=Plain, init="random").fit(curved)


# -- chance ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params", [{}, {"init": "random"}, {"dropout": 0.2, "early_stopping": False}], ids=str
)
def test_same_seed_same_bits(curved, params):
    state = torch.random.get_rng_state()
    first = ordered(**params).fit(curved)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(3)
    again = ordered(**params).fit(curved)
    assert first.best_epoch_ > 0
    assert np.array_equal(first.transform(curved), again.transform(curved))
    assert np.array_equal(round_trip(first, curved), round_trip(again, curved))
    other = ordered(**params | {"random_state": 1}).fit(curved)
    assert not np.array_equal(first.transform(curved), other.transform(curved))
