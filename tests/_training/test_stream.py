"""Streams: PCA that follows, rows that wait, and what the last chunk does not decide."""

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.preprocessing import StandardScaler
from torch import nn

from skae import AutoencoderTransformer, load
from skae._training.stream import FEWEST, MOST_WAITING, PART_WAITING
from skae.exceptions import DivergenceError


def autoencoder(n_components=8, **params):
    return AutoencoderTransformer(n_components, **{"random_state": 0} | params)


def fed(estimator, X, n_chunks=4, n_passes=1):
    for _ in range(n_passes):
        for chunk in np.array_split(X, n_chunks):
            estimator.partial_fit(chunk)
    return estimator


def error(estimator, X):
    return np.square(estimator.inverse_transform(estimator.transform(X)) - X).mean()


def correlations(Z, other):
    """Of each code with the one in the same place."""
    pairs = zip(Z.T, other.T, strict=True)
    return np.array([np.corrcoef(*pair)[0, 1] for pair in pairs])


def bent(n, seed, shift=0.0, spread=1.0):
    """Rows (n, 8) on a bent surface, around `shift` along one of its directions."""
    rng = np.random.default_rng(seed)
    Z = rng.uniform(-1, 1, (n, 2))
    Z[:, 0] = spread * Z[:, 0] + shift
    rows = np.c_[Z, Z**2, Z[:, :1] * Z[:, 1:], np.sin(3 * Z)]
    turn = np.random.default_rng(99).normal(size=(7, 8))
    return rows @ turn + 0.1 * rng.normal(size=(n, 8))


@pytest.fixture(scope="module")
def rows(digits):
    X = digits[0][np.random.default_rng(0).permutation(1797)]
    return X[:1400], X[1400:]


# -- PCA follows the stream ------------------------------------------------------------


@pytest.mark.parametrize("params", [{}, {"standardize": True}, {"loss": "huber"}], ids=str)
@pytest.mark.parametrize("n_chunks", [1, 3, 20])
def test_few_rows_are_pca_of_them_all(rows, params, n_chunks):
    X, X_test = rows[0][:240, 10:30] + 5, rows[1][:, 10:30] + 5
    ae = fed(autoencoder(4, **params), X, n_chunks)
    scaler = StandardScaler(with_std="standardize" in params).fit(X)
    pca = PCA(4, svd_solver="full").fit(scaler.transform(X))
    np.testing.assert_allclose(ae.mean_, X.mean(axis=0), rtol=1e-9)
    codes = pca.transform(scaler.transform(X_test))
    np.testing.assert_allclose(ae.transform(X_test), codes, atol=1e-4)
    X_hat = scaler.inverse_transform(pca.inverse_transform(codes))
    np.testing.assert_allclose(ae.denoise(X_test), X_hat, atol=1e-4)
    assert (ae.n_iter_, ae.best_epoch_, ae.n_samples_seen_) == (0, 0, 240)
    assert (ae.loss_curve_, ae.validation_curve_) == ([], [])
    names = "explained_variance_", "singular_values_", "noise_variance_"
    for name in (*names, "explained_variance_ratio_") if not params else names[:0]:
        np.testing.assert_allclose(getattr(ae, name), getattr(pca, name), rtol=1e-5)


@pytest.mark.parametrize("n_chunks", [4, 40])
def test_noise_stays_pca_of_all_rows(n_chunks):
    X = np.random.default_rng(0).normal(size=(1200, 10)) * np.linspace(1, 2, 10)
    ae = fed(autoencoder(3), X, n_chunks)
    assert ae.n_iter_ > 0
    assert ae.best_epoch_ == 0
    seen = X[: ae.n_samples_]
    assert len(seen) >= 1200 * PART_WAITING / (PART_WAITING + 1)
    pca = PCA(3, svd_solver="full").fit(seen)
    X_hat = pca.inverse_transform(pca.transform(X))
    np.testing.assert_allclose(ae.denoise(X), X_hat, atol=1e-4)
    np.testing.assert_allclose(ae.explained_variance_.sum(), pca.explained_variance_.sum())


def test_wide_rows_are_close_to_incremental_pca():
    rng = np.random.default_rng(0)
    spread = np.linspace(3, 0.1, 300) ** 2
    X = (rng.normal(size=(700, 300)) * spread) @ rng.normal(size=(300, 300)) / 17
    ae = fed(autoencoder(5, hidden_layer_sizes=()), X, 7)
    assert error(ae, X) <= 1.002 * error(fed(IncrementalPCA(5), X, 7), X)


def test_mean_and_scale_follow():
    X = bent(1600, 0, shift=np.linspace(-1, 3, 1600))
    for params in {}, {"standardize": True}:
        ae = autoencoder(2, **params)
        for end in (400, 800, 1600):
            ae.partial_fit(X[end // 2 if end > 400 else 0 : end])
            seen = X[:end]
            np.testing.assert_allclose(ae.mean_, seen.mean(axis=0), rtol=1e-9)
            scale = seen.std(axis=0) if params else np.sqrt(seen.var(axis=0).mean())
            np.testing.assert_allclose(ae.scale_, scale, rtol=1e-9)
        assert ae.best_epoch_ > 0


# -- the network beside it -------------------------------------------------------------


def test_passes_over_the_rows(rows):
    X, X_test = rows
    ae = fed(autoencoder(), X, n_passes=3)
    assert ae.n_samples_seen_ == 3 * len(X)
    assert 0 < ae.best_epoch_ <= ae.n_iter_ == len(ae.loss_curve_)
    assert len(ae.validation_curve_) == ae.n_iter_ + 1
    assert -ae.score(X_test) < 0.6 * error(PCA(8).fit(X), X_test)
    assert ae.validation_curve_[ae.best_epoch_] < 0.7 * -ae.pca_score_


def test_five_last_rows_do_not_decide():
    X, X_test = bent(1605, 0), bent(2000, 1)
    ae, pca = autoencoder(2), IncrementalPCA(2)
    for chunk in np.split(X, [400, 800, 1200, 1600]):
        ae.partial_fit(chunk)
        pca.partial_fit(chunk)
    assert ae.best_epoch_ > 0
    assert error(ae, X_test) < 0.5 * error(pca, X_test)


@pytest.mark.parametrize("kind", ["sorted", "drifting"])
def test_what_came_first_is_not_forgotten(kind):
    X, X_test = bent(1500, 0), bent(2000, 1)
    X = X[np.argsort(X[:, 0])]
    if kind == "drifting":
        X = bent(1500, 0, np.linspace(-1, 1, 1500), 0.3)
        X_test = bent(2000, 1, np.linspace(-1, 1, 2000), 0.3)
    models = fed(autoencoder(2), X, 15), fed(IncrementalPCA(2), X, 15)
    errors = [error(model, X_test) for model in models]
    assert errors[0] < 0.75 * errors[1]


def test_small_chunks_wait():
    X = bent(700, 0)
    ae, flips, was_network = autoencoder(2), 0, False
    for end in range(10, 701, 10):
        ae.partial_fit(X[end - 10 : end])
        assert ae.n_samples_seen_ == end
        waiting = end - ae.n_samples_
        assert waiting < max(10, min(MOST_WAITING, ae.n_samples_ / PART_WAITING))
        assert (ae.n_iter_ > 0) == (ae.n_samples_ >= FEWEST)
        flips += (ae.best_epoch_ > 0) != was_network
        was_network = ae.best_epoch_ > 0
    assert flips == 1
    assert ae.n_iter_ < 15


def test_codes_keep_their_order_and_signs(rows):
    X, X_test = rows
    ae = autoencoder(4, lr=5e-3)
    codes = [ae.partial_fit(chunk).transform(X_test) for chunk in np.array_split(X, 4)]
    for before, now in itertools.pairwise(codes):
        assert correlations(before, now).min() > 0.7


def test_codes_keep_their_order_and_signs_after_a_warm_start(rows):
    X, X_test = rows
    ae = autoencoder(4, warm_start=True, max_epochs=5, lr=5e-3)
    before, now = (ae.fit(part).transform(X_test) for part in (X[:700], X[700:]))
    assert correlations(before, now).min() > 0.6


# -- rows that depend on each other ----------------------------------------------------


@pytest.fixture(scope="module")
def diabetes():
    X = StandardScaler().fit_transform(load_diabetes().data)
    X = X[np.random.default_rng(0).permutation(len(X))]
    return X[:294], X[294:]


@pytest.mark.parametrize("kind", ["copies", "passes", "weights"])
def test_copies_are_on_one_side(diabetes, kind):
    X, X_test = diabetes
    ae = autoencoder(3)
    if kind == "copies":
        fed(ae, np.repeat(X, 5, axis=0), 7)
    elif kind == "passes":
        fed(ae, X, 3, n_passes=5)
    else:
        for chunk in np.array_split(X, 3):
            ae.partial_fit(chunk, sample_weight=np.full(len(chunk), 5.0))
    assert error(ae, X_test) <= 1.01 * error(PCA(3).fit(X), X_test)


@pytest.mark.parametrize("kind", [int, str])
def test_groups_are_on_one_side(kind):
    """Of 30 persons the network learns by heart what says nothing about others."""
    rng = np.random.default_rng(0)
    persons = rng.normal(size=(60, 10))
    who = np.arange(1500) % 30
    X = persons[who] + 0.1 * rng.normal(size=(1500, 10))
    X_test = persons[30:].repeat(20, axis=0) + 0.1 * rng.normal(size=(600, 10))
    ratios = []
    for with_groups in (False, True):
        ae = autoencoder(3)
        for part in np.array_split(np.arange(1500), 5):
            groups = who[part].astype(kind) if with_groups else None
            ae.partial_fit(X[part], groups=groups)
        ratios.append(error(ae, X_test) / error(PCA(3).fit(X), X_test))
    assert ratios[0] > 1.1
    assert ratios[1] <= 1.01


def test_weights_count_across_chunks():
    X, w = bent(500, 0), np.repeat([3.0, 1.0], 250)
    w[::7] = 0.5
    ae = autoencoder(2)
    for part in (slice(250), slice(250, 500)):
        ae.partial_fit(X[part], sample_weight=w[part])
    np.testing.assert_allclose(ae.mean_, np.average(X, axis=0, weights=w), rtol=1e-9)
    mean_square = np.average(np.square(X - ae.mean_), axis=0, weights=w).mean()
    np.testing.assert_allclose(ae.scale_, np.sqrt(mean_square), rtol=1e-9)


# -- settings --------------------------------------------------------------------------


class Own(nn.Module):
    def __init__(self, n_features, n_components):
        super().__init__()
        self.first = nn.Linear(n_features, n_components)
        layers = nn.Linear(n_components, 64), nn.GELU(), nn.Dropout(0.1)
        self.last = nn.Sequential(*layers, nn.Linear(64, n_features))

    def encode(self, X):
        return self.first(X)

    def decode(self, Z):
        return self.last(Z)


SETTINGS = [
    {"init": "random"},
    {"init": "random", "tied_weights": True},
    {"init": "random", "code_activation": "tanh"},
    {"ordered": True},
    {"whiten": True, "standardize": True},
    {"noise": 0.1, "dropout": 0.1, "normalization": "batch"},
    {"loss": "poisson"},
    {"loss": "binary_cross_entropy"},
    {"allow_nan": True},
    {"module": Own},
    {"module": Own, "init": "random"},
    {"early_stopping": False},
]


@pytest.mark.parametrize("params", SETTINGS, ids=str)
def test_settings(rows, params):
    """The outcome is no worse than PCA, its copies go on alike, and global states stay."""
    X, X_test = rows
    params = {"hidden_layer_sizes": (32,)} | params
    before = torch.get_rng_state()
    ae = fed(autoencoder(**params), X[:900], 3)
    copies = [pickle.loads(pickle.dumps(ae)), copy.deepcopy(ae)]
    for estimator in (ae, *copies):
        fed(estimator, X[900:1200], 2)
    Z = ae.transform(X_test)
    assert Z.shape == (len(X_test), 8)
    for estimator in copies:
        np.testing.assert_array_equal(estimator.transform(X_test), Z)
        assert estimator.loss_curve_ == ae.loss_curve_
    assert torch.equal(torch.get_rng_state(), before)
    assert ae.best_epoch_ > 0
    if ae.init == "pca":
        assert ae.score(X_test) > ae.pca_score_ * (1.5 if ae.standardize else 1.0)


def test_float32(rows):
    X = rows[0].astype(np.float32)
    assert fed(autoencoder(), X).transform(X).dtype == np.float32


def test_missing_cells_in_a_later_chunk(rows):
    X = rows[0].copy()
    ae = autoencoder(allow_nan=True).partial_fit(X[:400])
    X[500:, 20] = np.nan
    ae.partial_fit(X[400:800])
    filled, others = ae.impute(X[500:600]), np.arange(X.shape[1]) != 20
    np.testing.assert_array_equal(filled[:, others], X[500:600, others])
    hidden = rows[0][500:600, 20]
    error, by_mean = filled[:, 20] - hidden, X[:500, 20].mean() - hidden
    assert np.square(error).mean() < 0.7 * np.square(by_mean).mean()


def test_missing_cells_after_a_fit_without(rows):
    X = rows[0].copy()
    ae = autoencoder(allow_nan=True, max_epochs=2).fit(X[:400])
    X[500:, 20] = np.nan
    ae.partial_fit(X[400:800])
    Z, complete = ae.transform(X[500:600]), ae.transform(rows[0][500:600])
    assert np.square(Z - complete).mean() < 0.1 * complete.var()


def test_a_single_row(rows):
    X = rows[0]
    ae = autoencoder().partial_fit(X[:400]).partial_fit(X[400:401])
    assert ae.n_samples_seen_ == 401


# -- after fit, and files --------------------------------------------------------------


def test_after_fit(rows):
    X, X_test = rows
    ae = autoencoder(max_epochs=2).fit(X[:700])
    before = ae.score(X_test)
    assert fed(ae, X, n_passes=2).score(X_test) > before
    assert ae.n_samples_seen_ == 700 + 2 * len(X)
    # And a fit begins anew.
    Z = ae.fit(X[:700]).transform(X_test)
    assert np.array_equal(Z, clone(ae).fit(X[:700]).transform(X_test))


def test_few_rows_after_fit_change_nothing(diabetes):
    X, X_test = diabetes
    ae = autoencoder(3).fit(X)
    Z = ae.transform(X_test)
    for chunk in (X[:5], X[5:40]):
        ae.partial_fit(chunk)
    np.testing.assert_allclose(ae.transform(X_test), Z, atol=1e-5)


def test_from_a_file(rows, tmp_path):
    X, X_test = rows
    ae = fed(autoencoder(), X)
    ae.save(tmp_path / "stream.skae")
    again = load(tmp_path / "stream.skae")
    assert np.array_equal(again.transform(X_test), ae.transform(X_test))
    assert again.partial_fit(X[:300]).n_samples_seen_ == len(X) + 300


# -- what goes wrong -------------------------------------------------------------------


def test_errors(rows):
    X = rows[0]
    with pytest.raises(ValueError, match="needs a number of components"):
        autoencoder(0.9).partial_fit(X)
    text = "^n_components=8 must be less or equal to the batch number of samples 5 for "
    for estimator in (autoencoder(), IncrementalPCA(8)):
        with pytest.raises(ValueError, match=text + "the first partial_fit call."):
            estimator.partial_fit(X[:5])
    ae = autoencoder()
    with pytest.raises(ValueError, match="between 1 and min"):
        autoencoder(65).partial_fit(X)
    with pytest.raises(ValueError, match="NaN"):
        ae.partial_fit(np.full((50, 64), np.nan))
    with pytest.raises(NotFittedError):
        ae.transform(X)
    ae.partial_fit(X[:400])
    Z = ae.transform(X)
    with pytest.raises(ValueError, match="63 features"):
        ae.partial_fit(X[:, 1:])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ae.partial_fit(X[:50], groups=np.arange(49))
    assert np.array_equal(ae.transform(X), Z)
    assert ae.n_samples_seen_ == 400


def test_a_chunk_that_was_cut_short(rows, monkeypatch):
    X, X_test = rows
    ae = fed(autoencoder(), X[:800], 2)
    Z = ae.transform(X_test)

    def stop(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr("skae._training.stream.Judge.errors", stop)
    with pytest.raises(MemoryError):
        ae.partial_fit(X[800:1100])
    monkeypatch.undo()
    assert np.array_equal(ae.transform(X_test), Z)
    assert ae.n_samples_seen_ == 800
    assert ae.partial_fit(X[800:1100]).n_samples_seen_ == 1100


def test_a_rate_that_is_too_large(rows):
    X, X_test = rows
    with pytest.warns(ConvergenceWarning, match="PCA is kept"):
        ae = fed(autoencoder(lr=1e12), X[:800], 2)
    pca = PCA(8, svd_solver="full").fit(X[:800])
    assert error(ae, X_test) == pytest.approx(error(pca, X_test), rel=1e-4)
    with pytest.raises(DivergenceError):
        autoencoder(lr=1e12, init="random").partial_fit(X)
