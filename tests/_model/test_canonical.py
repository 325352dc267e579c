"""Canonical codes, whitening, and the attributes of PCA, where the model is PCA or not."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import subspace_angles
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback
from torch import nn

from skae import AutoencoderTransformer
from skae._model.canonical import canonical_map, decoder_jacobian, matched
from skae._model.model import Inference
from skae.modules import DenseAutoencoder


def autoencoder(n_components=2, **params):
    params = {"max_epochs": 3, "random_state": 0} | params
    return AutoencoderTransformer(n_components, **params)


def pca_of(X, k=None, **params):
    return PCA(k, svd_solver="full", **params).fit(X)


def noise(n=60, p=20, seed=0):
    return np.random.default_rng(seed).normal(size=(n, p))


def linear_data(n=300, p=8, deviations=(3, 2, 1), noise_level=0.01, seed=0):
    """Three linear directions of unlike variance and a little noise."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(p, len(deviations))))[0]
    signal = rng.normal(size=(n, len(deviations))) * deviations @ axes.T
    return signal + noise_level * rng.normal(size=(n, p)) + 5.0


def close(actual, expected, rtol=1e-5):
    """Equal to `rtol` of the largest entry."""
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * scale)


def round_trip(model, X):
    return model.inverse_transform(model.transform(X))


def units(model):
    """What the units of X are divided by to be those that a model tells."""
    return model.scale_ if getattr(model, "standardize", False) else 1.0


def r2(model, X):
    residual = np.square((round_trip(model, X) - X) / units(model)).sum()
    return 1 - residual / np.square((X - X.mean(axis=0)) / units(model)).sum()


def check_uncorrelated(Z, atol=1e-5):
    """Zero mean; no correlation between codes that vary."""
    deviations = Z.std(axis=0)
    assert np.abs(Z.mean(axis=0)).max() < atol * deviations.max()
    Z = Z[:, deviations > 1e-5 * deviations.max()]
    correlation = np.corrcoef(Z.T).reshape(Z.shape[1], -1)
    assert np.abs(correlation - np.eye(len(correlation))).max() < atol


def check_rows(components, atol=1e-6):
    """Unit length, the entry of largest magnitude positive."""
    np.testing.assert_allclose(np.linalg.norm(components, axis=1), 1, atol=atol)
    assert (components.max(axis=1) >= np.abs(components).max(axis=1)).all()


def check_shares(ae):
    shares = ae.explained_variance_ratio_
    assert shares.shape == (ae.n_components_,)
    assert (shares >= 0).all()
    assert (np.diff(shares) <= 1e-12).all()
    assert shares.sum() <= 1 + 1e-9


def check_finite(ae):
    for name in ("components_", "explained_variance_", "explained_variance_ratio_"):
        assert np.isfinite(getattr(ae, name)).all(), name
    for name in ("singular_values_", "noise_variance_", "mean_"):
        assert np.isfinite(getattr(ae, name)).all(), name
    assert ae.noise_variance_ >= 0
    assert np.isfinite(ae.get_covariance()).all()
    assert np.isfinite(ae.get_precision()).all()


# -- canonical codes -------------------------------------------------------------------

# Each trains and is kept; "wide" has a code wider than the table.
TRAINED = {
    "plain": {},
    "one code": {"n_components": 1},
    "linear": {"hidden_layer_sizes": ()},
    "standardize": {"standardize": True},
    "dropout": {"dropout": 0.2},
    "random": {"init": "random", "max_epochs": 12},
    "wide": {"init": "random", "n_components": 9, "max_epochs": 12},
    "relu": {"activation": "relu"},
}


@pytest.fixture(params=TRAINED, scope="module")
def trained(request, curved):
    params = {"n_components": 3, "max_epochs": 6} | TRAINED[request.param]
    ae = autoencoder(early_stopping=False, **params).fit(curved)
    assert ae.best_epoch_ > 0
    return ae


def test_codes_are_canonical(trained, curved):
    check_uncorrelated(trained.transform(curved))
    check_rows(trained.components_)
    np.testing.assert_allclose(np.linalg.norm(trained.components_, axis=1), 1)
    check_shares(trained)
    check_finite(trained)


def test_the_jacobian_at_the_mean_code_has_unit_rows(trained, curved):
    """Codes move X as PCA's do."""
    Z = trained.transform(curved)
    mean = np.zeros((1, Z.shape[1]))
    jacobian = trained._inference.jacobian(mean)[0]
    lengths = np.linalg.norm(jacobian, axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "dtype"), [(name, np.float64) for name in TRAINED] + [("plain", np.float32)]
)
def test_the_map_changes_no_reconstruction(curved, monkeypatch, name, dtype):
    X = curved.astype(dtype)
    params = {"n_components": 3, "early_stopping": False} | TRAINED[name]
    canonical = autoencoder(**params).fit(X)
    monkeypatch.setattr(Inference, "canonize", lambda *args: None)
    raw = autoencoder(**params).fit(X)
    assert canonical.loss_curve_ == raw.loss_curve_
    # Centred, for a mean would hide errors.
    expected = round_trip(raw, X) - X.mean(axis=0)
    close(round_trip(canonical, X) - X.mean(axis=0), expected)
    assert canonical.score(X) == pytest.approx(raw.score(X), rel=1e-4)
    Z, raw_Z = canonical.transform(X), raw.transform(X)
    assert np.abs(Z - raw_Z).max() > 1e-4 * np.abs(Z).max()


def test_sorted_by_the_variance_that_is_linear_in_them(trained, curved):
    Z = trained.transform(curved)
    X = (curved - curved.mean(axis=0)) / units(trained)
    correlation = (Z / Z.std(axis=0)).T @ X / len(X)
    explained = np.square(correlation).sum(axis=1)
    assert (np.diff(explained) <= 1e-4 * explained[0]).all()


@pytest.mark.parametrize("params", [{}, {"max_epochs": 1}], ids=str)
def test_large_digits_are_canonical(digits, params):
    ae = autoencoder(8, **params).fit(digits[0])
    assert ae.best_epoch_ > 0
    check_uncorrelated(ae.transform(digits[0]))
    check_rows(ae.components_)
    check_shares(ae)


def test_a_pickle_gives_the_same_codes(curved):
    ae = autoencoder(3, early_stopping=False).fit(curved)
    copy = pickle.loads(pickle.dumps(ae))
    for X in (curved, curved.astype(np.float32)):
        assert np.array_equal(copy.transform(X), ae.transform(X))


def test_warm_start_keeps_codes_canonical(curved):
    params = {"warm_start": True, "early_stopping": False}
    ae = autoencoder(3, **params).fit(curved).fit(curved)
    check_uncorrelated(ae.transform(curved))
    # Signs are those of before, whatever entry of a row is the largest now.
    np.testing.assert_allclose(np.linalg.norm(ae.components_, axis=1), 1, atol=1e-6)


def test_matched_codes():
    rng = np.random.default_rng(0)
    Z, others = rng.normal(size=(400, 5)), rng.normal(size=(400, 2))
    order, signs = matched(Z, -Z[:, [3, 0, 4, 2, 1]])
    np.testing.assert_array_equal(order, [1, 4, 3, 0, 2])
    np.testing.assert_array_equal(signs, -np.ones(5))
    # Codes that are new take the places that are left, in their order.
    now = np.c_[others[:, 0], Z[:, 4], others[:, 1], -Z[:, 0], Z[:, 2]]
    order, signs = matched(Z, now)
    np.testing.assert_array_equal(order, [3, 0, 4, 2, 1])
    np.testing.assert_array_equal(signs, [-1, 1, 1, 1, 1])
    order, signs = matched(Z, -Z[:, ::-1] - 0.2 * Z, ordered=True)
    np.testing.assert_array_equal(order, np.arange(5))
    np.testing.assert_array_equal(signs, [1, 1, -1, 1, 1])


# -- whitening -------------------------------------------------------------------------


def test_whiten(trained, curved):
    plain, white = trained, clone(trained).set_params(whiten=True).fit(curved)
    Z = white.transform(curved)
    check_uncorrelated(Z)
    deviations = plain.transform(curved).std(axis=0, ddof=1)
    alive = deviations > 1e-5 * deviations.max()
    np.testing.assert_allclose(Z.std(axis=0, ddof=1)[alive], 1, atol=1e-5)
    close(Z[:, alive], (plain.transform(curved) / deviations)[:, alive])
    close(round_trip(white, curved), round_trip(plain, curved), 1e-7)
    assert white.score(curved) == pytest.approx(plain.score(curved))
    for attribute in ("components_", "explained_variance_", "noise_variance_"):
        np.testing.assert_array_equal(getattr(white, attribute), getattr(plain, attribute))
    np.testing.assert_allclose(white.components_at(curved), plain.components_at(curved))


# -- where the model is PCA ------------------------------------------------------------

PCA_TABLES = {
    "tall": (noise(), 4),
    "unlike deviations": (noise(19, 6) * [9, 6, 4, 3, 2, 1] + 7.0, 3),
    "tall, all": (noise(50, 5) * [5, 4, 3, 2, 1], None),
    "one": (noise(60, 1), 1),
    "wide": (noise(30, 80), 5),
    "wide, few rows": (noise(10, 200, seed=2) - 3.0, 4),
    "float32": (noise().astype(np.float32), 4),
    "tiny units": (noise(19, 6) * 1e-20, 2),
    "large units": (noise(19, 6) * 1e20, 2),
    "offset": (noise(19, 6) + 1e6, 2),
}


@pytest.fixture(params=PCA_TABLES)
def table(request):
    return PCA_TABLES[request.param]


def exact(X, k, **params):
    """An autoencoder that ends as PCA."""
    ae = autoencoder(k, hidden_layer_sizes=(), **params).fit(X)
    assert ae.best_epoch_ == 0
    return ae


def test_attributes_are_pcas(table):
    X, k = table
    ae, pca = exact(X, k), pca_of(X, k)
    close(ae.components_, pca.components_, 1e-4)
    for name in ("explained_variance_", "explained_variance_ratio_", "singular_values_"):
        np.testing.assert_allclose(
            getattr(ae, name), getattr(pca, name), rtol=1e-4, err_msg=name
        )
    assert ae.noise_variance_ == pytest.approx(float(pca.noise_variance_), rel=1e-4, abs=0)
    close(ae.mean_, pca.mean_, 1e-6)
    assert (ae.n_components_, ae.n_features_in_) == (pca.n_components_, X.shape[1])
    check_rows(ae.components_)
    check_shares(ae)


def test_covariance_is_pcas(table):
    X, k = table
    ae, pca = exact(X, k), pca_of(X, k)
    close(ae.get_covariance(), pca.get_covariance(), 1e-4)
    close(ae.get_precision(), pca.get_precision(), 1e-4)


@pytest.mark.parametrize("whiten", [False, True])
def test_codes_are_pcas(table, whiten):
    X, k = table
    ae, pca = exact(X, k, whiten=whiten), pca_of(X, k, whiten=whiten)
    if whiten and X.max() < 1e-9:
        # PCA divides by 2e-16 at least, and leaves such data unwhitened.
        np.testing.assert_allclose(ae.transform(X).std(axis=0, ddof=1), 1, rtol=1e-5)
        close(round_trip(ae, X), round_trip(pca_of(X, k), X), 1e-4)
        return
    for rows in (X, X[:3], X[::-1] * 1.5):
        expected = pca.transform(rows)
        close(ae.transform(rows), expected, 1e-4)
        close(ae.inverse_transform(expected), pca.inverse_transform(expected), 1e-4)


def test_components_at_are_pcas_everywhere(table):
    X, k = table
    jacobian = exact(X, k, whiten=True).components_at(X[:7])
    expected = pca_of(X, k).components_
    assert jacobian.shape == (7, *expected.shape)
    close(jacobian, np.broadcast_to(expected, jacobian.shape), 1e-4)


def test_shares_are_the_r2_of_pca(table):
    X, k = table
    ae = exact(X, k)
    assert ae.explained_variance_ratio_.sum() == pytest.approx(r2(ae, X), abs=1e-5)


def test_a_linear_network_is_described_as_pca(curved):
    """Without the short cut that takes PCA's variances where nothing was trained."""

    class NeverTrain(Callback):
        def on_train_begin(self, net, **kwargs):
            net.lr = 0.0

    params = {"early_stopping": False, "callbacks": [NeverTrain()]}
    ae, pca = autoencoder(4, **params).fit(curved), pca_of(curved, 4)
    assert ae.best_epoch_ == ae.n_iter_ == 3
    close(ae.components_, pca.components_, 1e-4)
    for name in ("explained_variance_", "explained_variance_ratio_", "singular_values_"):
        np.testing.assert_allclose(getattr(ae, name), getattr(pca, name), rtol=1e-4)
    assert ae.noise_variance_ == pytest.approx(pca.noise_variance_, rel=1e-3)
    close(ae.get_covariance(), pca.get_covariance(), 1e-4)
    close(ae.transform(curved), pca.transform(curved), 1e-4)


# -- what the codes of a trained network explain ---------------------------------------


def test_shares_sum_to_r2(trained, curved):
    assert trained.explained_variance_ratio_.sum() == pytest.approx(
        r2(trained, curved), abs=1e-5
    )


def test_the_other_attributes_follow_from_the_shares(trained, curved):
    variance = (curved / units(trained)).var(axis=0, ddof=1).sum()
    ratio = trained.explained_variance_ratio_
    np.testing.assert_allclose(trained.explained_variance_, ratio * variance, rtol=1e-6)
    np.testing.assert_allclose(
        trained.singular_values_, np.sqrt(199 * trained.explained_variance_), rtol=1e-6
    )
    left = max(6 - trained.n_components_, 0)
    expected = (1 - ratio.sum()) * variance / left if left else 0.0
    assert trained.noise_variance_ == pytest.approx(expected)


def test_more_is_explained_than_by_pca(digits):
    ae = autoencoder(8, max_epochs=10).fit(digits[0])
    pca = pca_of(digits[0], 8)
    assert ae.explained_variance_ratio_.sum() > pca.explained_variance_ratio_.sum()
    assert ae.noise_variance_ < pca.noise_variance_


def test_covariance_of_a_trained_network(trained):
    covariance, precision = trained.get_covariance(), trained.get_precision()
    close(covariance, covariance.T, 1e-12)
    values = np.linalg.eigvalsh(covariance)
    assert values.min() > -1e-9 * values.max()
    if trained.noise_variance_ > 0:
        close(covariance @ precision, np.eye(6), 1e-6)


# -- the Jacobian ----------------------------------------------------------------------


def finite_differences(function, Z, step):
    """Central differences (n, k, p) of a function of the rows of Z (n, k)."""
    shifts = step * np.eye(Z.shape[1])
    return np.stack([function(Z + s) - function(Z - s) for s in shifts], 1) / (2 * step)


@pytest.mark.parametrize(("k", "p"), [(1, 1), (1, 5), (4, 3), (3, 7)])
@pytest.mark.parametrize("hidden", [(), (8, 5)])
def test_decoder_jacobian(k, p, hidden):
    generator = torch.Generator().manual_seed(0)
    module = DenseAutoencoder(
        p, k, p, hidden, activation="tanh", linear_path=False, generator=generator
    ).double()
    Z = noise(6, k)

    def decode(Z):
        with torch.no_grad():
            return module.decode(torch.from_numpy(Z)).numpy()

    given = torch.from_numpy(Z)
    jacobian = decoder_jacobian(module.decode, given)
    assert jacobian.shape == (6, k, p)
    assert not jacobian.requires_grad
    assert not given.requires_grad
    assert all(parameter.grad is None for parameter in module.parameters())
    close(jacobian.detach().numpy(), finite_differences(decode, Z, 1e-5), 1e-7)


@pytest.mark.parametrize("params", [{}, {"standardize": True}, {"init": "random"}], ids=str)
@pytest.mark.parametrize("loss", ["squared_error", "binary_cross_entropy"])
def test_components_at(curved, params, loss):
    X = (curved - curved.min(axis=0)) / np.ptp(curved, axis=0)
    params = {"loss": loss, "early_stopping": False, "max_epochs": 10} | params
    ae = autoencoder(2, **params).fit(X)
    expected = finite_differences(ae.inverse_transform, ae.transform(X), 1e-4)
    expected = expected / units(ae)
    jacobian = ae.components_at(X)
    assert jacobian.shape == (200, 2, 6)
    close(jacobian, expected, 1e-5)
    assert np.ptp(jacobian, axis=0).max() > 1e-2 * np.abs(jacobian).max()


@pytest.mark.parametrize("loss", ["squared_error", "binary_cross_entropy"])
@pytest.mark.parametrize("standardize", [False, True])
def test_components_are_the_jacobian_at_the_mean_code(curved, loss, standardize):
    X = (curved - curved.min(axis=0)) / np.ptp(curved, axis=0)
    params = {"loss": loss, "standardize": standardize, "early_stopping": False}
    ae = autoencoder(2, **params).fit(X)
    mean = ae.transform(X).mean(axis=0, keepdims=True)
    jacobian = finite_differences(ae.inverse_transform, mean, 1e-4)[0] / units(ae)
    jacobian /= np.linalg.norm(jacobian, axis=1, keepdims=True)
    close(ae.components_, jacobian, 1e-5)


def test_components_at_takes_frames_and_refuses_other_widths(curved):
    frame = pd.DataFrame(curved, columns=list("abcdef"))
    ae = autoencoder(2).fit(frame)
    close(ae.components_at(frame), ae.components_at(frame.astype(np.float32)), 1e-4)
    with pytest.raises(ValueError, match="feature"):
        ae.components_at(frame[["a", "b"]])


# -- the formulae ----------------------------------------------------------------------


def random_codes(n=100, k=4, p=7, dead=0, seed=0):
    """Correlated codes Z, a table X, and a Jacobian (k, p)."""
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n, k)) @ rng.normal(size=(k, k)) * 3 + 2
    Z[:, :dead] = 1.0
    X = rng.normal(size=(n, p)) + np.tanh(Z) @ rng.normal(size=(k, p))
    return Z, X - X.mean(axis=0), rng.normal(size=(k, p))


@pytest.mark.parametrize(("k", "p"), [(1, 1), (1, 7), (4, 7), (4, 4), (6, 3)])
@pytest.mark.parametrize("seed", [0, 1])
def test_canonical_map(k, p, seed):
    Z, X, jacobian = random_codes(k=k, p=p, seed=seed)
    seen = []
    weight, mean = canonical_map(Z, X, lambda z: seen.append(z) or jacobian)
    assert weight.shape == (k, k)
    np.testing.assert_allclose(mean, Z.mean(axis=0))
    np.testing.assert_array_equal(seen, [mean])
    codes = (Z - mean) @ weight.T
    check_uncorrelated(codes, 1e-9)
    # The decoder of the new codes is the old one behind the inverse map.
    check_rows(np.linalg.inv(weight).T @ jacobian, 1e-9)
    explained = np.square(X.T @ (codes / codes.std(axis=0))).sum(axis=0)
    assert (np.diff(explained) <= 1e-9 * explained[0]).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_canonical_map_does_not_depend_on_the_codes_basis(seed):
    Z, X, jacobian = random_codes(seed=seed)
    mixing = noise(4, 4, seed=9)
    weight, mean = canonical_map(Z, X, lambda z: jacobian)
    mixed = Z @ mixing + 5.0
    other, other_mean = canonical_map(mixed, X, lambda z: np.linalg.inv(mixing) @ jacobian)
    close((mixed - other_mean) @ other.T, (Z - mean) @ weight.T, 1e-8)


def test_canonical_map_of_a_linear_model_is_pca():
    X = noise(100, 6) * [6, 5, 4, 3, 2, 1]
    X -= X.mean(axis=0)
    pca = pca_of(X, 3)
    mixing = noise(3, 3, seed=1)
    Z = pca.transform(X) @ mixing + 1.0
    jacobian = np.linalg.inv(mixing) @ pca.components_
    weight, mean = canonical_map(Z, X, lambda z: jacobian)
    close((Z - mean) @ weight.T, pca.transform(X), 1e-8)
    close(np.linalg.inv(weight).T @ jacobian, pca.components_, 1e-8)


@pytest.mark.parametrize(("k", "p"), [(4, 7), (6, 3)])
@pytest.mark.parametrize("dead", [1, 2, None])
def test_canonical_map_of_dead_codes(k, p, dead):
    """Constant codes stay constant, come last, and leave the others uncorrelated."""
    dead = k if dead is None else dead
    Z, X, jacobian = random_codes(k=k, p=p, dead=dead)
    weight, mean = canonical_map(Z, X, lambda z: jacobian)
    assert np.isfinite(weight).all()
    assert np.isfinite(np.linalg.inv(weight)).all()
    codes = (Z - mean) @ weight.T
    if dead == k:
        assert np.abs(codes).max() == 0
        return
    deviations = codes.std(axis=0)
    assert (deviations > 1e-5 * deviations.max()).sum() == k - dead
    check_uncorrelated(codes)


# -- dead codes ------------------------------------------------------------------------


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("rank", [0, 1])
def test_fewer_directions_than_codes(rank, early_stopping, whiten):
    X = noise(60, rank) @ noise(rank, 5, seed=1) + 3.0
    params = {"early_stopping": early_stopping, "whiten": whiten}
    ae = autoencoder(3, **params).fit(X)
    check_finite(ae)
    check_shares(ae)
    close(round_trip(ae, X), X, 1e-4)
    assert ae.explained_variance_ratio_.sum() == pytest.approx(rank, abs=1e-3)
    assert np.isfinite(ae.transform(X)).all()
    assert np.isfinite(ae.components_at(X)).all()


@pytest.mark.parametrize("n_dead", [1, 3])
@pytest.mark.parametrize("whiten", [False, True])
def test_dead_codes_of_a_network(curved, n_dead, whiten):
    """A network whose encoder is constant in some codes goes on without training."""

    class NeverTrain(Callback):
        def on_train_begin(self, net, **kwargs):
            net.lr = 0.0

    params = {"early_stopping": False, "warm_start": True, "init": "random"}
    ae = autoencoder(3, callbacks=[NeverTrain()], whiten=whiten, **params).fit(curved)
    with torch.no_grad():
        ae.net_.module_.encoder.correction.weight[:n_dead] = 0
    Z = ae.fit(curved).transform(curved)
    deviations = Z.std(axis=0)
    assert (deviations > 1e-5 * (deviations.max() or 1)).sum() == 3 - n_dead
    check_finite(ae)
    check_shares(ae)
    assert np.isfinite(round_trip(ae, curved)).all()


class Constant(nn.Module):
    """A module of the user's, whose second code is constant."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.code = nn.Linear(n_features, n_components)
        self.out = nn.Linear(n_components, n_features)

    def encode(self, X):
        Z = self.code(X)
        return torch.cat([Z[:, :1], torch.full_like(Z[:, 1:], 0.5)], dim=1)

    def decode(self, Z):
        return self.out(Z)

    def forward(self, X):
        return self.decode(self.encode(X))


def test_more_codes_than_rows_and_columns():
    """Codes that are linear in X come first, dead ones last, and none are correlated."""
    X = noise(10, 3)
    ae = autoencoder(20, init="random", early_stopping=False, max_epochs=50).fit(X)
    check_uncorrelated(ae.transform(X), 1e-2)  # float32 weights
    check_finite(ae)
    check_shares(ae)


@pytest.mark.parametrize("whiten", [False, True])
def test_dead_codes_of_a_module(curved, whiten):
    ae = autoencoder(2, module=Constant, init="random", whiten=whiten).fit(curved)
    check_finite(ae)
    check_shares(ae)
    assert np.ptp(ae.transform(curved)[:, 1]) == 0


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("code_activation", ["relu", "tanh", "logistic"])
def test_code_activation(curved, code_activation, whiten):
    params = {"init": "random", "code_activation": code_activation, "max_epochs": 10}
    ae = autoencoder(6, whiten=whiten, **params).fit(curved)
    check_finite(ae)
    check_shares(ae)
    total = ae.explained_variance_ratio_.sum()
    assert total == pytest.approx(max(r2(ae, curved), 0), abs=1e-5)
    Z = ae.transform(curved)
    if whiten:
        deviations = Z.std(axis=0, ddof=1)
        np.testing.assert_allclose(deviations[deviations > 0], 1, rtol=1e-5)
    elif code_activation == "relu":
        assert Z.min() >= 0


def test_a_code_that_relu_kills(curved):
    """All codes are zero: everything explains nothing."""
    params = {"init": "random", "code_activation": "relu", "early_stopping": False}
    ae = autoencoder(3, warm_start=True, lr=1e-12, **params).fit(curved)
    with torch.no_grad():
        ae.net_.module_.encoder.correction.bias[:] = -1e6
    ae.fit(curved)
    assert not ae.transform(curved).any()
    check_finite(ae)
    check_shares(ae)
    assert not ae.components_.any() or np.isfinite(ae.components_).all()


# -- theory ----------------------------------------------------------------------------


# An encoder learns of a direction in proportion to its variance, so that what a random
# start put on the directions of noise stays there: codes, but not the decoder, keep an
# angle in proportion to the noise.
NOISE = {"noise 1e-2": (1e-2, 2e-2), "noise 1e-4": (1e-4, 1e-3)}


@pytest.fixture(
    params=["noise 1e-2", pytest.param("noise 1e-4", marks=pytest.mark.nightly)],
    scope="module",
)
def linear_fits(request):
    """Random linear autoencoders of two seeds, trained long on linear data."""
    params = {"init": "random", "hidden_layer_sizes": (), "early_stopping": False}
    params |= {"max_epochs": 1500, "batch_size": 300, "lr": 0.02}
    noise_level, code_angle = NOISE[request.param]
    X = linear_data(noise_level=noise_level)
    fits = [autoencoder(3, random_state=seed, **params).fit(X) for seed in (0, 1)]
    assert [ae.best_epoch_ for ae in fits] == [1500, 1500]
    return X, fits, code_angle


def angle(A, B):
    """Largest principal angle between the spans of the columns."""
    return subspace_angles(A, B).max()


def test_a_linear_autoencoder_spans_pcas_subspace(linear_fits):
    """Plaut (2018), arXiv:1804.10253; Kunin et al. (2019), arXiv:1901.08168."""
    X, fits, code_angle = linear_fits
    pca = pca_of(X, 3)
    for ae in fits:
        assert angle(ae.components_.T, pca.components_.T) < 1e-3
        assert angle(ae.transform(X), pca.transform(X)) < code_angle


def test_its_canonical_codes_are_pcas(linear_fits):
    """The subspace alone is what theory gives; the canonical map does the rest."""
    X, fits, code_angle = linear_fits
    pca = pca_of(X, 3)
    for ae in fits:
        close(ae.components_, pca.components_, 2e-3)
        close(ae.transform(X), pca.transform(X), max(code_angle, 2e-3))
        np.testing.assert_allclose(
            ae.explained_variance_, pca.explained_variance_, rtol=2e-3
        )


def test_seeds_agree_in_subspace(linear_fits):
    X, (ae, other), code_angle = linear_fits
    assert 0 < angle(ae.components_.T, other.components_.T) < 1e-3
    assert 0 < angle(ae.transform(X), other.transform(X)) < code_angle
    close(other.transform(X), ae.transform(X), max(code_angle, 4e-3))


@pytest.mark.parametrize("hidden", ["auto", ()])
def test_seeds_agree_from_the_pca_start(hidden):
    X = linear_data()
    Z, other = (
        autoencoder(3, hidden_layer_sizes=hidden, random_state=seed).fit_transform(X)
        for seed in (0, 1)
    )
    assert angle(Z, other) < 1e-3
    close(other, Z, 1e-3)


# -- frames out of inverse_transform ---------------------------------------------------

NAMES = ["e", "a", "c", "b", "f", "d"]


@pytest.fixture
def frame(curved):
    index = np.random.default_rng(0).permutation(len(curved)) + 1000
    return pd.DataFrame(curved, columns=NAMES, index=index)


@pytest.mark.parametrize("container", ["pandas", "polars"])
@pytest.mark.parametrize("max_epochs", [5, 1])
def test_inverse_transform_gives_frames(frame, container, max_epochs):
    ae = autoencoder(max_epochs=max_epochs).set_output(transform=container).fit(frame)
    X_hat = ae.inverse_transform(ae.transform(frame))
    assert type(X_hat).__module__.split(".")[0] == container
    assert list(X_hat.columns) == NAMES
    assert X_hat.shape == frame.shape
    ae.set_output(transform="default")
    plain = ae.inverse_transform(ae.transform(frame))
    assert type(plain) is np.ndarray
    np.testing.assert_array_equal(X_hat.to_numpy(), plain)


def test_pandas_index_is_kept(frame):
    ae = autoencoder().set_output(transform="pandas").fit(frame)
    Z = ae.transform(frame).sample(frac=0.5, random_state=0)
    X_hat = ae.inverse_transform(Z)
    pd.testing.assert_index_equal(X_hat.index, Z.index)
    assert list(ae.inverse_transform(Z.to_numpy()).index) == list(range(len(Z)))


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_generic_names(curved, container):
    ae = autoencoder().set_output(transform=container).fit(curved)
    X_hat = ae.inverse_transform(ae.transform(curved))
    assert list(X_hat.columns) == [f"x{j}" for j in range(6)]


def test_default_output_is_an_array_even_for_frames(frame):
    ae = autoencoder().fit(frame)
    Z = pd.DataFrame(ae.transform(frame), index=frame.index)
    assert type(ae.inverse_transform(Z.to_numpy())) is np.ndarray
    assert type(ae.inverse_transform(Z)) is np.ndarray


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_global_output(frame, container):
    ae = autoencoder().fit(frame)
    with config_context(transform_output=container):
        X_hat = ae.inverse_transform(ae.transform(frame))
    assert type(X_hat).__module__.split(".")[0] == container
    assert list(X_hat.columns) == NAMES


def test_frames_keep_the_dtype(frame):
    ae = autoencoder().set_output(transform="pandas").fit(frame.astype(np.float32))
    X_hat = ae.inverse_transform(ae.transform(frame.astype(np.float32)))
    assert set(X_hat.dtypes) == {np.dtype(np.float32)}


def test_frames_in_a_pipeline(frame):
    pipe = make_pipeline(StandardScaler(), autoencoder()).set_output(transform="pandas")
    Z = pipe.fit_transform(frame)
    assert list(Z.columns) == ["autoencodertransformer0", "autoencodertransformer1"]
    assert pipe.inverse_transform(Z).shape == frame.shape


def test_a_pickle_gives_frames(frame):
    ae = autoencoder().set_output(transform="pandas").fit(frame)
    copy = pickle.loads(pickle.dumps(ae))
    Z = ae.transform(frame)
    given, expected = copy.inverse_transform(Z), ae.inverse_transform(Z)
    pd.testing.assert_frame_equal(given, expected, atol=1e-5)
