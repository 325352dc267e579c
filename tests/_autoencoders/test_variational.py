"""VariationalAutoencoder: probabilistic PCA first, and a better density after training."""

import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import skae
from skae import VariationalAutoencoder
from skae._autoencoders.variational import FIXED
from skae.exceptions import ModelFileError

QUICK = {"hidden_layer_sizes": (16,), "max_epochs": 12, "batch_size": 8, "random_state": 0}


@pytest.fixture(scope="module")
def fitted(curved):
    """A model that has learned something, and its rows."""
    vae = VariationalAutoencoder(2, **QUICK).fit(curved)
    assert vae.outcome_ == "trained"
    return vae


def linear(*args, **kwargs):
    """A model that cannot be better than probabilistic PCA."""
    params = {"hidden_layer_sizes": (), "covariance_type": "spherical", "max_epochs": 3}
    return VariationalAutoencoder(*args, **(QUICK | params | kwargs))


# -- probabilistic PCA -----------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 13])
@pytest.mark.parametrize("scaler", [None, StandardScaler()], ids=["raw", "standardized"])
def test_the_start_is_pca(k, scaler):
    X = load_wine().data
    X = X if scaler is None else scaler.fit_transform(X)
    train, test = X[::2], X[1::2]
    vae, pca = linear(k).fit(train), PCA(k).fit(train)
    assert vae.outcome_ == "pca"
    expected = pca.score_samples(test)
    np.testing.assert_allclose(vae.score_samples(test), expected, rtol=1e-5)
    assert vae.score(test) == pytest.approx(pca.score(test), abs=1e-6)
    assert vae.score(train) == pytest.approx(pca.score(train), abs=1e-6)
    np.testing.assert_allclose(vae.components_, pca.components_, atol=1e-6)
    np.testing.assert_allclose(vae.explained_variance_, pca.explained_variance_, rtol=1e-6)
    scale = np.abs(pca.get_covariance()).max()
    np.testing.assert_allclose(
        vae.get_covariance(), pca.get_covariance(), atol=1e-6 * scale
    )


def test_a_table_with_fewer_rows_than_features():
    X = np.random.default_rng(0).normal(size=(30, 50)) * np.linspace(1, 3, 50)
    assert linear(4).fit(X).score(X) == pytest.approx(PCA(4).fit(X).score(X), abs=1e-6)
    full = VariationalAutoencoder(**QUICK).fit(X)
    assert np.isfinite(full.score_samples(X)).all()


def test_noise_and_divergences_of_pca():
    X = load_iris().data
    vae, pca = linear(2).fit(X), PCA(2).fit(X)
    assert vae.noise_variance_ == pytest.approx(pca.noise_variance_, rel=1e-5)
    shares = pca.noise_variance_ / pca.explained_variance_
    # The mean divergence: the means have a variance of 1 - share (n - 1) / n of them.
    expected = ((1 - shares) * 149 / 150 + shares - 1 - np.log(shares)) / 2
    np.testing.assert_allclose(vae.kl_, expected, rtol=1e-5)


@pytest.mark.parametrize("covariance_type", ["spherical", "diag"])
def test_standardize_has_the_density_of_the_units_of_the_rows(covariance_type):
    X = load_wine().data
    params = {"covariance_type": covariance_type, "cv": 3, **QUICK}
    inside = VariationalAutoencoder(2, standardize=True, **params).fit(X)
    scaler = StandardScaler().fit(X)
    outside = VariationalAutoencoder(2, **params).fit(scaler.transform(X))
    expected = outside.score_samples(scaler.transform(X)) - np.log(scaler.scale_).sum()
    np.testing.assert_allclose(inside.score_samples(X), expected, rtol=2e-2)
    rows = inside.sample(2000, random_state=0)
    np.testing.assert_allclose(rows.mean(axis=0), X.mean(axis=0), rtol=0.1)
    np.testing.assert_allclose(inside.noise_variance_, outside.noise_variance_, rtol=0.05)


# -- after training --------------------------------------------------------------------


def test_training_raises_the_density_of_new_rows(curved, fitted):
    rng = np.random.default_rng(7)
    noisy = curved + 0.02 * rng.normal(size=curved.shape)
    gain = fitted.score(noisy) - PCA(2).fit(curved).score(noisy)
    assert gain > 0.1 * curved.shape[1]
    assert fitted.validation_curve_[fitted.best_epoch_] < fitted.validation_curve_[0]
    assert fitted.pca_score_ == pytest.approx(-fitted.validation_curve_[0])


def test_codes_are_posterior_means(curved, fitted):
    Z = fitted.transform(curved)
    assert (np.diff(fitted.kl_) <= 0).all()
    assert Z.std(axis=0).max() < 1.2
    assert fitted.denoise(curved).shape == curved.shape
    error = np.square(fitted.inverse_transform(Z) - curved).mean()
    assert error < curved.var()
    assert fitted.transform(curved.astype(np.float32)).dtype == np.float32


def test_deviations_of_codes(curved, fitted):
    Z, Z_std = fitted.transform(curved, return_std=True)
    np.testing.assert_array_equal(Z, fitted.transform(curved))
    log_variance = np.log(np.square(Z_std))
    kl = (np.square(Z) + np.square(Z_std) - 1 - log_variance).mean(axis=0) / 2
    np.testing.assert_allclose(kl, fitted.kl_, rtol=1e-3)
    _, single = fitted.transform(curved.astype(np.float32), return_std=True)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, Z_std, rtol=1e-3)
    linear_fit = linear(2).fit(curved)
    _, constant = linear_fit.transform(curved, return_std=True)
    np.testing.assert_allclose(constant, constant[:1].repeat(len(curved), axis=0))


def test_the_density_sums_to_one():
    X = np.random.default_rng(0).normal(size=(200, 1)) ** 3
    vae = VariationalAutoencoder(1, **QUICK).fit(X)
    grid = np.linspace(-40, 40, 2001)
    total = np.exp(vae.score_samples(grid[:, None])).sum() * (grid[1] - grid[0])
    assert 0.9 < total <= 1.001  # a lower bound


def test_new_rows_resemble_the_old(curved, fitted):
    X = fitted.sample(4000, random_state=0)
    np.testing.assert_array_equal(X, fitted.sample(4000, random_state=0))
    deviations = curved.std(axis=0)
    assert (np.abs(X.mean(axis=0) - curved.mean(axis=0)) < 0.3 * deviations).all()
    np.testing.assert_allclose(X.std(axis=0), deviations, rtol=0.35)


def test_a_mixture_as_the_prior_raises_the_density(tmp_path):
    rng = np.random.default_rng(0)
    Z = np.r_[rng.normal(-4, 1, 100), rng.normal(4, 1, 100)][:, None]
    X = Z * [1.0, 2.0, -1.0] + 0.1 * rng.normal(size=(200, 3))
    normal = VariationalAutoencoder(1, **(QUICK | {"max_epochs": 1})).fit(X[::2])
    mixture = clone(normal).set_params(prior="mixture").fit(X[::2])
    assert len(mixture.weights_) > 1
    assert mixture.score(X[1::2]) > normal.score(X[1::2]) + 0.2
    assert not hasattr(normal, "weights_")
    between = np.abs(mixture.sample(500, random_state=0)[:, 0]) < 1
    assert between.mean() < 0.1
    again = pickle.loads(pickle.dumps(mixture))
    np.testing.assert_array_equal(again.score_samples(X), mixture.score_samples(X))
    normal = mixture.set_params(prior="normal").fit(X)
    assert not hasattr(normal, "weights_")


def test_margins_of_the_training_rows(tmp_path):
    rng = np.random.default_rng(0)
    z = rng.normal(size=300)
    X = np.c_[np.exp(z + 0.1 * rng.normal(size=300)), z.clip(-1), z**3]
    weights = rng.uniform(0.5, 2, 300)
    vae = VariationalAutoencoder(1, margins="data", **QUICK).fit(X, sample_weight=weights)
    assert vae.quantiles_.shape == (300, 3)
    rows = vae.sample(5000, random_state=0)
    assert (rows.min(axis=0) > X.min(axis=0) - 1e-9).all()
    assert (rows.max(axis=0) < X.max(axis=0) + 1e-9).all()
    assert np.isclose(rows[:, 1], -1).mean() == pytest.approx(
        weights[z < -1].sum() / weights.sum(), abs=0.02
    )
    order = np.argsort(X[:, 0])
    share = np.cumsum(weights[order]) / weights.sum()
    for level in (0.2, 0.5, 0.8):
        expected = np.interp(level, share, X[order, 0])
        assert np.quantile(rows[:, 0], level) == pytest.approx(expected, rel=0.1)
    again = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(again.sample(9, 0), vae.sample(9, 0))
    plain = clone(vae).set_params(margins="model").fit(X, sample_weight=weights)
    np.testing.assert_array_equal(plain.score_samples(X), vae.score_samples(X))
    assert not hasattr(vae.set_params(margins="model").fit(X), "quantiles_")
    assert plain.sample(5000, 0)[:, 1].min() < -1
    with pytest.raises(ValueError, match="margins='data' of VariationalAutoencoder needs"):
        VariationalAutoencoder(1, margins="data", loss="poisson").fit(np.eye(3))


def test_new_rows_in_a_frame(curved, fitted):
    pytest.importorskip("pandas")
    vae = pickle.loads(pickle.dumps(fitted)).set_output(transform="pandas")
    frame = vae.sample(3, random_state=0)
    assert list(frame.columns) == [f"x{j}" for j in range(6)]
    with pytest.raises(ValueError, match=r"n_samples of VariationalAutoencoder\.sample"):
        fitted.sample(0)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "poisson", "negative_binomial"])
def test_other_likelihoods(loss):
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(150, 2))
    rates = np.exp(Z @ rng.normal(size=(2, 6)))
    X = rng.poisson(rates) if loss != "binary_cross_entropy" else 1.0 * (rates > 1)
    vae = VariationalAutoencoder(2, loss=loss, **QUICK).fit(X)
    rows = vae.sample(200, random_state=0)
    assert (rows == rows.round()).all()
    assert rows.min() >= 0
    assert -vae.score(X) < -vae.pca_score_ + 0.3
    assert -vae.score(X) > 0
    assert vae.get_covariance().shape == (6, 6)


def test_findings_are_in_nats(curved, fitted):
    assert "posterior collapse" not in {finding.name for finding in fitted.diagnose(curved)}
    noise = np.random.default_rng(0).normal(size=(60, 4))
    findings = VariationalAutoencoder(1, **QUICK).fit(noise).diagnose()
    assert any("nats per row" in finding.evidence for finding in findings)


# -- other networks --------------------------------------------------------------------


class Own(nn.Module):
    """Perceptrons whose encoder returns corrections of means and logits."""

    def __init__(self, n_features, n_components, numbers_per_code=2):
        super().__init__()
        n_encoded = numbers_per_code * n_components
        self.encode = nn.Sequential(
            nn.Linear(n_features, 16), nn.Tanh(), nn.Linear(16, n_encoded)
        )
        self.decode = nn.Sequential(
            nn.Linear(n_components, 16), nn.Tanh(), nn.Linear(16, n_features)
        )


NETWORKS = {
    "convolutional": {
        "sample_shape": (1, -1),
        "hidden_layer_sizes": (4, 8),
        "batch_size": 20,
        "lr": 0.02,
    },
    "own": {"module": Own, "sample_shape": (2, 3), "max_epochs": 30, "lr": 0.02},
}


@pytest.mark.parametrize("params", NETWORKS.values(), ids=NETWORKS)
def test_convolutions_and_modules_start_at_pca(curved, params, tmp_path):
    pytest.importorskip("safetensors")
    params = QUICK | params | {"early_stopping": False}
    vae = VariationalAutoencoder(2, covariance_type="spherical", **params)
    start = clone(vae).set_params(lr=1e-12, max_epochs=1).fit(curved)
    pca = PCA(2).fit(curved)
    assert start.score(curved) == pytest.approx(pca.score(curved), abs=1e-4)
    vae.fit(curved)
    assert vae.score(curved) > pca.score(curved) + 0.1
    assert vae.sample_shape_ in {(1, 6), (2, 3)}
    vae.save(tmp_path / "vae.skae")
    loaded = skae.load(tmp_path / "vae.skae", module=vae.module)
    for again in (pickle.loads(pickle.dumps(vae)), loaded, clone(vae).fit(curved)):
        np.testing.assert_array_equal(again.transform(curved), vae.transform(curved))
        scores = again.score_samples(curved)
        np.testing.assert_array_equal(scores, vae.score_samples(curved))
        np.testing.assert_array_equal(again.sample(5, 0), vae.sample(5, 0))


def test_importance_weights_with_convolutions(curved):
    """And with cross-fitting, as of every table of so few rows."""
    params = QUICK | NETWORKS["convolutional"] | {"n_draws": 3, "max_epochs": 8}
    vae = VariationalAutoencoder(2, **params).fit(curved)
    assert vae.outcome_ == "trained"
    assert vae.score(curved) > PCA(2).fit(curved).score(curved)


def test_modules_that_do_not_fit(curved):
    vae = VariationalAutoencoder(2, module=lambda p, k: Own(p, k, 1))
    with pytest.raises(ValueError, match=r"into codes of shape .2, 4.*corrections of all"):
        vae.fit(curved)

    class Added(Own):
        def encode_with_loss(self, X):
            return self.encode(X), None

    with pytest.raises(TypeError, match="without encode_with_loss"):
        vae.set_params(module=Added).fit(curved)
    with pytest.raises(ValueError, match=r"sample_shape=.1, 5. of VariationalAutoencoder"):
        VariationalAutoencoder(2, sample_shape=(1, 5)).fit(curved)


def test_the_weight_decay_that_suits(curved):
    quick = QUICK | {"max_epochs": 1}
    rates = [
        VariationalAutoencoder(2, **(quick | params)).fit(curved).net_.optimizer_
        for params in ({}, NETWORKS["convolutional"], {"weight_decay": 0.2})
    ]
    decays = [optimizer.param_groups[-1]["weight_decay"] for optimizer in rates]
    assert decays == [0.1, 0.5, 0.2]


# -- parameters ------------------------------------------------------------------------


def test_beta_lowers_the_divergences(curved):
    strict = VariationalAutoencoder(2, beta=4.0, early_stopping=False, **QUICK)
    loose = clone(strict).set_params(beta=0.5)
    assert strict.fit(curved).kl_.sum() < loose.fit(curved).kl_.sum()


def test_codes_that_carry_nothing_are_warned_of(curved):
    vae = VariationalAutoencoder(
        1, beta=1e4, early_stopping=False, **(QUICK | {"max_epochs": 30, "lr": 0.02})
    )
    with pytest.warns(UserWarning, match="posterior collapse.*Set a smaller beta"):
        vae.fit(curved)
    assert vae.kl_.max() < 0.01
    assert "posterior collapse" in {finding.name for finding in vae.diagnose()}


def test_the_same_seed_gives_the_same_bits(curved, fitted):
    again = clone(fitted).fit(curved)
    np.testing.assert_array_equal(again.score_samples(curved), fitted.score_samples(curved))


@pytest.mark.parametrize("through", ["pickle", "file"])
def test_copies_answer_alike(curved, fitted, through, tmp_path):
    if through == "pickle":
        again = pickle.loads(pickle.dumps(fitted))
    else:
        pytest.importorskip("safetensors")
        fitted.save(tmp_path / "vae.skae")
        again = skae.load(tmp_path / "vae.skae")
    for method in ("transform", "score_samples"):
        np.testing.assert_array_equal(
            getattr(again, method)(curved), getattr(fitted, method)(curved)
        )
    np.testing.assert_array_equal(again.sample(5, 0), fitted.sample(5, 0))
    np.testing.assert_array_equal(again.kl_, fitted.kl_)


def test_a_file_of_a_number_of_components_of_numpy(curved, tmp_path):
    """As a search over `np.arange` sets it."""
    pytest.importorskip("safetensors")
    ae = skae.VariationalAutoencoder(np.int64(2), max_epochs=1, random_state=0).fit(curved)
    ae.save(tmp_path / "vae.skae")
    again = skae.load(tmp_path / "vae.skae")
    np.testing.assert_array_equal(again.transform(curved), ae.transform(curved))


def test_a_file_of_one_estimator_is_not_another(curved, fitted, tmp_path):
    pytest.importorskip("safetensors")
    ae = skae.AutoencoderTransformer(2, **QUICK).fit(curved)
    ae.save(tmp_path / "ae.skae")
    assert isinstance(skae.load(tmp_path / "ae.skae"), skae.AutoencoderTransformer)
    with pytest.raises(ModelFileError):
        skae.load(tmp_path / "ae.skae", module=lambda p, k: None)


def test_a_grid_of_pca_and_variational_autoencoders(curved):
    pipe = Pipeline([("model", PCA())])
    grid = [
        {"model": [PCA()], "model__n_components": [1, 2]},
        {"model": [VariationalAutoencoder(**QUICK)], "model__n_components": [2]},
    ]
    search = GridSearchCV(pipe, grid, cv=2).fit(curved)
    assert isinstance(search.best_estimator_["model"], VariationalAutoencoder)
    assert (search.cv_results_["mean_test_score"][:2] < search.best_score_).all()


def test_weights_groups_sparse_rows_and_a_warm_start(curved):
    vae = VariationalAutoencoder(2, **(QUICK | {"max_epochs": 2}))
    whole = clone(vae).fit(curved[:40], sample_weight=np.full(40, 2))
    twice = clone(vae).fit(np.repeat(curved[:40], 2, axis=0))
    assert whole.score(curved) == pytest.approx(twice.score(curved), rel=1e-6)
    grouped = clone(vae).fit(curved, groups=np.arange(200) // 4)
    assert np.isfinite(grouped.score(curved))
    dense = clone(vae).fit(curved)
    scores = clone(vae).fit(sparse.csr_matrix(curved)).score_samples(curved)
    np.testing.assert_allclose(scores, dense.score_samples(curved), rtol=1e-6)
    warm = clone(vae).set_params(warm_start=True).fit(curved).fit(curved)
    assert warm.outcome_ in {"unchanged", "trained"}


@pytest.mark.parametrize("method", ["partial_fit", "impute", "truncate"])
def test_what_it_does_not_do(fitted, method):
    assert not hasattr(fitted, method)
    assert hasattr(skae.AutoencoderTransformer(), method)


def test_fixed_parameters_are_attributes_and_not_parameters():
    vae = VariationalAutoencoder()
    base = skae.AutoencoderTransformer().get_params()
    for name in FIXED:
        assert name in base
        assert name not in vae.get_params()
        assert getattr(vae, name) in {base[name], False, None}
    with pytest.raises(ValueError, match="n_components=7 of VariationalAutoencoder"):
        VariationalAutoencoder(7).fit(np.eye(4))
    with pytest.raises(ValueError, match="covariance_type"):
        VariationalAutoencoder(covariance_type="full").fit(np.eye(4))
