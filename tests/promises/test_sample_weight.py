"""Weights of the rows: repetition, absence, metadata routing, refusals."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from skorch.callbacks import Callback

from skae import AutoencoderTransformer
from skae.noise import MaskingNoise

CHECKS = [
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
    "check_sample_weights_pandas_series",
    "check_sample_weights_not_an_array",
    "check_sample_weights_list",
    "check_sample_weights_not_overwritten",
    "check_sample_weights_shape",
]
SETTINGS = [
    {},
    {"loss": "absolute_error", "noise": MaskingNoise(0.2)},
    {"standardize": True, "whiten": True, "loss": "huber"},
    {"early_stopping": False, "normalization": "layer"},
    {"ordered": True},
    {"init": "random"},
]


def autoencoder(n_components=2, **params):
    params = {"hidden_layer_sizes": (16,), "max_epochs": 4, "random_state": 0} | params
    return AutoencoderTransformer(n_components, **params)


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("params", [{}, {"loss": "cosine", "noise": 0.1}], ids=str)
def test_check(name, params):
    check = getattr(estimator_checks, name)
    ae = AutoencoderTransformer(1, hidden_layer_sizes=(8,), max_epochs=2, **params)
    check("AutoencoderTransformer", ae)


def weighted(curved, n_samples=100, most=3, dtype=np.float64):
    """Rows, whole weights, and the rows as often as the weights say."""
    rng = np.random.default_rng(0)
    X = curved[rng.integers(0, len(curved), n_samples)].astype(dtype)
    X += 0.01 * rng.normal(size=X.shape).astype(dtype)
    w = rng.integers(0, most + 1, n_samples)
    return X, w, np.repeat(X, w, axis=0)


@pytest.mark.parametrize("params", SETTINGS, ids=str)
def test_whole_weights_repeat_rows(curved, params):
    """To rounding errors in a small table, whatever the order of the rows."""
    X, w, repeated = weighted(curved)
    order = np.random.default_rng(1).permutation(len(repeated))
    one = autoencoder(**params).fit(X, sample_weight=w)
    other = autoencoder(**params).fit(repeated[order])
    np.testing.assert_allclose(one.transform(X), other.transform(X), rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-7)
    np.testing.assert_allclose(one.mean_, repeated.mean(axis=0), rtol=1e-10)
    assert one.n_samples_ == len(repeated)


@pytest.mark.parametrize("params", SETTINGS, ids=str)
def test_weights_have_no_unit(curved, params):
    """Fractions are no repetitions: they are in the mean of the loss."""
    X, w, _ = weighted(curved)
    codes = [
        autoencoder(**params).fit(X, sample_weight=factor * (w + 0.5)).transform(X)
        for factor in (1.0, 0.25)
    ]
    np.testing.assert_allclose(*codes, rtol=1e-6, atol=1e-6)
    # Equal weights are none.
    plain = autoencoder(**params).fit(X).transform(X)
    equal = autoencoder(**params).fit(X, sample_weight=np.full(len(X), 0.3)).transform(X)
    np.testing.assert_allclose(equal, plain, rtol=1e-5, atol=1e-5)
    assert np.abs(codes[0] - plain).max() > 1e-3


@pytest.mark.parametrize("n_samples", [100, 1500])
@pytest.mark.parametrize("factor", [1, 0.7])
def test_a_weight_of_zero_leaves_out(curved, n_samples, factor):
    X, w, _ = weighted(curved, n_samples)
    X[w == 0] = 1e6
    some = autoencoder(max_epochs=2).fit(X[w > 0], sample_weight=factor * w[w > 0])
    ae = autoencoder(max_epochs=2).fit(X, sample_weight=factor * w)
    np.testing.assert_array_equal(ae.transform(X), some.transform(X))
    assert ae.score(X, sample_weight=w) == pytest.approx(
        some.score(X[w > 0], sample_weight=w[w > 0])
    )


@pytest.mark.parametrize("n_samples", [1500, 1501])
def test_the_start_is_pca_of_repeated_rows(curved, n_samples):
    """Also where rows are too many to be repeated: location, scale, PCA and its errors."""
    X, w, repeated = weighted(curved, n_samples)
    ae = autoencoder(hidden_layer_sizes=()).fit(X, sample_weight=w)
    pca = PCA(2, svd_solver="full").fit(repeated)
    assert ae.best_epoch_ == 0
    np.testing.assert_allclose(ae.mean_, pca.mean_, rtol=1e-10)
    scale = np.sqrt(np.square(repeated - pca.mean_).mean())
    assert ae.scale_ == pytest.approx(scale, rel=1e-10)
    np.testing.assert_allclose(ae.components_, pca.components_, atol=1e-5)
    np.testing.assert_allclose(
        ae.explained_variance_ratio_, pca.explained_variance_ratio_, rtol=1e-5
    )
    np.testing.assert_allclose(ae.transform(X), pca.transform(X), atol=1e-5)


def test_the_start_of_wide_rows(curved):
    """The axes of fewer rows than columns come from the Gram matrix."""
    X, w, _ = weighted(curved, 12)
    X = np.tile(X, 5) + np.random.default_rng(0).normal(size=(12, 30))
    w = w + 0.5
    ae = autoencoder(early_stopping=False, max_epochs=1).fit(X, sample_weight=w)
    root = np.sqrt(w / w.mean())[:, None]
    mean = np.average(X, axis=0, weights=w)
    values = np.linalg.svd((X - mean) * root, compute_uv=False)
    np.testing.assert_allclose(ae.mean_, mean, rtol=1e-10)
    error = np.square(values[2:]).sum() / X.size
    assert -ae.pca_score_ == pytest.approx(error, rel=1e-5)


@pytest.mark.parametrize("n_rows", [400, 1000])
def test_a_share_of_the_variance_is_one_of_weighted_rows(n_rows):
    """The light rows are large: unweighted, they would be most of the variance."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 3)) * [1, 1, 0.05]
    X[::2] = rng.normal(size=(n_rows // 2, 3)) * [4, 0.1, 0.05]
    w = np.where(np.arange(n_rows) % 2, 9, 1)
    params = {"hidden_layer_sizes": ()}
    expected = autoencoder(0.85, **params).fit(np.repeat(X, w, axis=0))
    ae = autoencoder(0.85, **params).fit(X, sample_weight=w)
    assert ae.n_components_ == expected.n_components_ == 2
    assert autoencoder(0.85, **params).fit(X).n_components_ == 1


class Starts(Callback):
    """Keeps the rows that training begins with."""

    seen = []

    def on_train_begin(self, net, X, y=None, **kwargs):
        self.seen.append(X)


@pytest.mark.parametrize("n_samples", [100, 1500])
def test_the_training_loss_is_the_weighted_mean(curved, n_samples):
    """Whatever share of the weight is held out."""
    X, w, _ = weighted(curved, n_samples)
    w = w + 0.5
    w[-n_samples // 100 :] *= 200
    params = {"lr": 1e-9, "max_epochs": 1, "batch_size": 45}  # batches of one size
    ae = autoencoder(callbacks=[Starts()], **params).fit(X, sample_weight=w)
    rows = Starts.seen.pop()
    for index, weights in zip(rows.index, rows.weights.reshape(-1, len(X)), strict=True):
        assert weights[index].mean() == pytest.approx(1, rel=1e-5)
    if n_samples == 1500:
        index = rows.index[0].numpy()
        error = -ae.score(X[index], sample_weight=w[index])
        assert abs(w[index].mean() / w.mean() - 1) > 0.02
        assert ae.loss_curve_[0] == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize(
    "loss", ["poisson", "cosine", {"huber": range(3), "poisson": range(3, 6)}]
)
def test_what_a_loss_knows_of_the_table_is_weighted(curved, loss):
    X, w, repeated = weighted(curved, 1500)
    low = X.min(axis=0)
    params = {"loss": loss, "hidden_layer_sizes": (), "max_epochs": 1, "lr": 1e-9}
    one = autoencoder(**params).fit(X - low, sample_weight=w)
    other = autoencoder(**params).fit(repeated - low)
    for name, value in one._loss_statistics.items():
        np.testing.assert_allclose(value, other._loss_statistics[name], rtol=1e-10)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "poisson"])
def test_many_rows_nearly_as_repeated(curved, loss):
    """Other batches, of equal number, and other held-out rows: errors agree, not bits."""
    X, w, repeated = weighted(curved, 1500)
    if loss == "poisson":
        X, repeated = (np.round(20 * (T - X.min(axis=0))) for T in (X, repeated))
    params = {"loss": loss, "max_epochs": 6, "lr": 1e-2}
    one = autoencoder(batch_size=32, **params).fit(X, sample_weight=w)
    other = autoencoder(batch_size=64, **params).fit(repeated)
    assert one.score(X, sample_weight=w) == pytest.approx(other.score(repeated), rel=0.08)
    assert one.validation_curve_[one.best_epoch_] <= one.validation_curve_[0]
    assert one.validation_curve_[0] == pytest.approx(-one.pca_score_, rel=1e-6)


@pytest.mark.parametrize("n_samples", [400, 1500])
def test_heavy_rows_are_served_better(curved, n_samples):
    rng = np.random.default_rng(0)
    heavy = np.arange(n_samples) % 2 == 0
    X = rng.normal(size=(n_samples, 6))
    X[heavy, 3:] = X[~heavy, :3] = 0.0
    w = np.where(heavy, 1.0, 0.03)
    ae = autoencoder(3).fit(X, sample_weight=w)
    scores = ae.score_samples(X)
    assert -scores[heavy].mean() < 0.02
    assert -scores[~heavy].mean() > 0.2


def test_own_held_out_rows_weigh_one_each(curved):
    X, w, _ = weighted(curved, 150)
    X_val = curved[150:]
    ae = autoencoder().fit(X, sample_weight=w + 0.5, X_val=X_val)
    best = ae.validation_curve_[ae.best_epoch_]
    assert -ae.score(X_val) == pytest.approx(best, rel=1e-5)


def test_targets_go_with_their_rows(curved):
    X, w, repeated = weighted(curved)
    target, repeated_target = X[:, ::-1] ** 2, repeated[:, ::-1] ** 2
    one = autoencoder().fit(X, sample_weight=w, X_target=target)
    other = autoencoder().fit(repeated, X_target=repeated_target)
    np.testing.assert_allclose(one.denoise(X), other.denoise(X), rtol=1e-6, atol=1e-7)


def test_score(curved):
    X, w, repeated = weighted(curved)
    ae = autoencoder().fit(curved)
    assert ae.score(X, sample_weight=w) == pytest.approx(ae.score(repeated))
    assert ae.score(X, sample_weight=np.ones(len(X))) == pytest.approx(ae.score(X))
    by_hand = (ae.score_samples(X) * w).sum() / w.sum()
    assert ae.score(X, None, w) == pytest.approx(by_hand)
    assert isinstance(ae.score(X, sample_weight=list(w)), float)


def test_routing(curved):
    X, w, _ = weighted(curved)
    w = w + 0.5
    with config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        ae = autoencoder().set_fit_request(sample_weight=True)
        ae = ae.set_score_request(sample_weight=True)
        pipe = make_pipeline(scaler, ae).fit(X, sample_weight=w)
        scaled = StandardScaler().fit(X, sample_weight=w).transform(X)
        direct = autoencoder().fit(scaled, sample_weight=w)
        np.testing.assert_array_equal(pipe.transform(X), direct.transform(scaled))
        assert pipe.score(X, sample_weight=w) == direct.score(scaled, sample_weight=w)
        search = GridSearchCV(ae, {"n_components": [1, 2]}, cv=2)
        search.fit(X, sample_weight=w)
        scores = cross_validate(ae, X, cv=2, params={"sample_weight": w})["test_score"]
        # A step that asks for no weights gets none.
        quiet = autoencoder().set_fit_request(sample_weight=False)
        pipe = Pipeline([("scaler", scaler), ("ae", quiet)]).fit(X, sample_weight=w)
    assert search.best_params_ == {"n_components": 2}
    np.testing.assert_array_equal(
        scores, [search.cv_results_[f"split{i}_test_score"][1] for i in (0, 1)]
    )
    unweighted = autoencoder().fit(scaled)
    np.testing.assert_array_equal(pipe.transform(X), unweighted.transform(scaled))


def test_fit_transform_takes_weights(curved):
    X, w, _ = weighted(curved)
    expected = autoencoder().fit(X, sample_weight=w).transform(X)
    np.testing.assert_array_equal(autoencoder().fit_transform(X, sample_weight=w), expected)


@pytest.mark.parametrize("n_samples", [50, 1500])
def test_refusals(curved, n_samples):
    X, w, _ = weighted(curved, n_samples)
    ae = autoencoder(max_epochs=1)
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_w"):
        ae.fit(X, sample_weight=-1.0 * w)
    # scikit-learn refuses weights that are all zero since 1.9.
    with pytest.raises(ValueError, match=r"least one non-zero number|leaves 0 rows"):
        ae.fit(X, sample_weight=0 * w)
    with pytest.raises(ValueError, match="leaves 1 rows, and a fit needs at least 2"):
        ae.fit(X, sample_weight=0.7 * (np.arange(n_samples) == 3))
    with pytest.raises(ValueError, match=r"sample_weight\.shape == "):
        ae.fit(X, sample_weight=w[1:])
    with pytest.raises(ValueError, match="NaN"):
        ae.fit(X, sample_weight=np.full(n_samples, np.nan))
    with pytest.raises(ValueError, match="1D array"):
        ae.fit(X, sample_weight=np.ones((n_samples, 2)))
    assert not hasattr(ae, "net_")
    ae.fit(X)
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_w"):
        ae.score(X, sample_weight=-1.0 * w)
    with pytest.raises((ValueError, ZeroDivisionError), match=r"non-zero|sum to zero"):
        ae.score(X, sample_weight=0 * w)
