"""Losses, noises, regularizers and normalizations together, as parameters of a fit."""

import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer
from skae.losses import LOSSES
from skae.modules import NORMALIZATIONS
from skae.noise import GaussianNoise, MaskingNoise, SaltAndPepperNoise, SwapNoise
from skae.regularizers import Contractive, KLSparsity, L1Code, OrthogonalDecoder

SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}


def autoencoder(n_components=2, **params):
    return AutoencoderTransformer(n_components, **SMALL | params)


MIXED = {
    "squared_error": [0, 1],
    "absolute_error": [2],
    "huber": [3],
    "binary_cross_entropy": [4],
    "poisson": [5],
}
ALL_LOSSES = [*LOSSES, torch.nn.SmoothL1Loss(reduction="none"), MIXED]
NOISES = [None, 0.2, MaskingNoise(0.3), SaltAndPepperNoise(0.2), SwapNoise(0.2)]
REGULARIZERS = [
    None,
    L1Code(1e-2),
    [Contractive(0.1), OrthogonalDecoder(0.5)],
    KLSparsity(0.2, 0.1),
    (L1Code(),),
]
NORMS = [None, *NORMALIZATIONS]
# Any two members of two families meet once at least.
COVER = [
    (i, j, (i + j) % len(REGULARIZERS), (i + 2 * j) % len(NORMS))
    for i in range(len(ALL_LOSSES))
    for j in range(len(NOISES))
]


def test_the_cover_is_pairwise():
    sizes = len(ALL_LOSSES), len(NOISES), len(REGULARIZERS), len(NORMS)
    for a, b in itertools.combinations(range(4), 2):
        met = {(row[a], row[b]) for row in COVER}
        assert met == set(itertools.product(range(sizes[a]), range(sizes[b])))


def in_range_of(loss, X):
    """The table X, brought into the range of a loss."""
    scaled = (X - X.min(axis=0)) / np.ptp(X, axis=0)
    if loss == "binary_cross_entropy":
        return scaled
    if loss in ("poisson", "negative_binomial"):
        return np.round(20 * scaled)
    if isinstance(loss, dict):
        return np.c_[X[:, :4], scaled[:, 4], np.round(20 * scaled[:, 5])]
    return X


def bounds_of(loss, X):
    """Smallest and largest value that a reconstruction may have, by feature."""
    if isinstance(loss, str):
        return LOSSES[loss].bounds
    inf = float("inf")
    if isinstance(loss, dict):
        return np.array([-inf] * 4 + [0, 0]), np.array([inf] * 4 + [1, inf])
    return -inf, inf


def combination(loss, noise, regularizer, normalization):
    """The estimator that a row of COVER stands for."""
    params = {"regularizer": REGULARIZERS[regularizer], "noise": NOISES[noise]}
    if isinstance(params["regularizer"], KLSparsity):
        params |= {"init": "random", "code_activation": "logistic"}
    return autoencoder(loss=ALL_LOSSES[loss], normalization=NORMS[normalization], **params)


@pytest.mark.parametrize("row", COVER, ids=str)
def test_combinations(curved, row):
    ae = combination(*row)
    X = in_range_of(ae.loss, curved)[:40]
    ae.fit(X)
    curves = ae.loss_curve_, ae.validation_curve_, ae.score_samples(X)
    assert all(np.isfinite(curve).all() for curve in curves)
    assert len(ae.validation_curve_) == 1 + ae.n_iter_ == 3
    if ae.init == "pca":
        assert ae.validation_curve_[0] == pytest.approx(-ae.pca_score_, rel=1e-6)
        assert ae.validation_curve_[ae.best_epoch_] <= ae.validation_curve_[0]
    Z = ae.transform(X)
    X_hat = ae.inverse_transform(Z)
    low, high = bounds_of(ae.loss, X)
    assert np.isfinite(X_hat).all()
    assert np.all((X_hat >= low) & (X_hat <= high))
    copy = pickle.loads(pickle.dumps(ae))
    np.testing.assert_array_equal(copy.transform(X), Z)
    np.testing.assert_array_equal(copy.score_samples(X), ae.score_samples(X))


@pytest.mark.parametrize("row", COVER[::4], ids=str)
def test_the_same_seed_gives_the_same_bits(curved, row):
    X = in_range_of(ALL_LOSSES[row[0]], curved)[:40]
    one, other = (combination(*row).fit(X) for _ in range(2))
    assert one.loss_curve_ == other.loss_curve_
    assert one.validation_curve_ == other.validation_curve_
    np.testing.assert_array_equal(one.transform(X), other.transform(X))


def test_a_function_is_a_loss(curved):
    """One number per cell or per row; it is asked for the score as well."""

    def by_cell(X_hat, X):
        return (X_hat - X).abs() ** 1.5

    def by_row(X_hat, X):
        return by_cell(X_hat, X).sum(-1)

    fits = [autoencoder(loss=loss).fit(curved[:60]) for loss in (by_cell, by_row)]
    X, X_hat = curved[60:], fits[0].denoise(curved[60:])
    np.testing.assert_array_equal(X_hat, fits[1].denoise(X))
    np.testing.assert_allclose(
        fits[0].score_samples(X), -(np.abs(X_hat - X) ** 1.5).mean(axis=1), rtol=1e-9
    )


@pytest.mark.parametrize("loss", ALL_LOSSES, ids=str)
def test_never_worse_than_the_linear_start(curved, loss):
    """Held-out rows by the loss itself, where there is much to gain and where not."""
    fit = autoencoder(loss=loss, max_epochs=12, hidden_layer_sizes=(32,), lr=2e-2).fit
    for table, has_gain in (
        (curved, True),
        (np.random.default_rng(0).random((99, 6)), False),
    ):
        X = in_range_of(loss, table)
        ae = fit(X[:80], X_val=X[80:])
        best = ae.validation_curve_[ae.best_epoch_]
        assert -ae.score(X[80:]) == pytest.approx(best, rel=1e-4)
        assert ae.validation_curve_[0] == pytest.approx(-ae.pca_score_, rel=1e-6)
        assert best <= ae.validation_curve_[0]
        assert not has_gain or best < ae.validation_curve_[0]


def test_squared_error_starts_at_pca(curved):
    ae = autoencoder(noise=0.0, max_epochs=1).fit(curved[:150], X_val=curved[150:])
    pca = PCA(2, svd_solver="full").fit(curved[:150])
    X_hat = pca.inverse_transform(pca.transform(curved[150:]))
    assert -ae.pca_score_ == pytest.approx(np.square(X_hat - curved[150:]).mean(), rel=1e-6)


# -- noise -----------------------------------------------------------------------------


@pytest.mark.parametrize("n_samples", [60, 1100])
def test_noise_is_fresh_in_training_alone(monkeypatch, digits, n_samples):
    """Every row of every batch of every epoch has noise of its own; no other rows do."""
    calls = {True: [], False: []}  # by whether gradients are taken: training, held out
    plain = GaussianNoise.__call__

    def spy(self, X, units, generator):
        out = plain(self, X, units, generator)
        calls[torch.is_grad_enabled()].append((out - X).reshape(-1, X.shape[-1]).numpy())
        return out

    monkeypatch.setattr(GaussianNoise, "__call__", spy)
    X = digits[0][:n_samples]
    ae = autoencoder(noise=0.3, clip=False, max_epochs=3, batch_size=32).fit(X)
    trained = np.concatenate(calls[True])
    # Six networks train on a small table, whose longest order the others follow.
    n_rows = 6 * n_samples if n_samples <= 1000 else n_samples - 110
    assert len(trained) == 3 * n_rows
    assert len(np.unique(trained, axis=0)) == len(trained)
    assert trained.std() * ae.scale_ == pytest.approx(0.3, rel=0.02)
    # PCA and three epochs are compared on the same spoilt rows.
    assert len(calls[False]) == 4
    for held_out in calls[False][1:]:
        np.testing.assert_allclose(held_out, calls[False][0], atol=1e-6)
    n_calls = len(calls[True]) + len(calls[False])
    ae.transform(X), ae.score(X), ae.denoise(X)
    assert len(calls[True]) + len(calls[False]) == n_calls


def test_noise_makes_a_denoiser(digits):
    """Trained with noise it removes noise better than trained without, and than PCA."""
    X, rng = digits[0], np.random.default_rng(0)
    train, test = X[:1400], X[1400:]
    noisy = test + rng.normal(scale=0.3, size=test.shape)
    params = {"hidden_layer_sizes": (64,), "max_epochs": 10}
    plain, taught = (autoencoder(20, noise=n, **params).fit(train) for n in (None, 0.3))
    errors = [np.square(ae.denoise(noisy) - test).mean() for ae in (taught, plain)]
    pcas = [PCA(k).fit(train) for k in range(2, 40, 3)]
    rivals = [
        np.square(p.inverse_transform(p.transform(noisy)) - test).mean() for p in pcas
    ]
    assert errors[0] < 0.85 * min(rivals)
    assert errors[0] < 0.85 * errors[1]
    assert taught.best_epoch_ > 0


def test_denoise_is_transform_and_back(curved):
    ae = autoencoder(noise=MaskingNoise(0.2), whiten=True).fit(curved)
    X_hat = ae.denoise(curved)
    np.testing.assert_array_equal(X_hat, ae.inverse_transform(ae.transform(curved)))
    assert ae.denoise(curved.astype(np.float32)).dtype == np.float32
    names = [f"column {j}" for j in range(6)]
    frame = pd.DataFrame(curved, columns=names, index=np.arange(200) * 7)
    ae = autoencoder().set_output(transform="pandas").fit(frame)
    out = ae.denoise(frame)
    pd.testing.assert_frame_equal(out, ae.inverse_transform(ae.transform(frame)))
    assert list(out.columns) == names
    assert list(out.index) == list(frame.index)


# -- targets of one's own --------------------------------------------------------------


def noisy_pairs(curved, n_samples=1200):
    """Rows with two broken sensors, and the clean rows."""
    rng = np.random.default_rng(1)
    clean = curved[rng.integers(0, len(curved), n_samples)]
    noisy = clean.copy()
    noisy[:, :2] += rng.normal(scale=2 * clean.std(), size=(n_samples, 2))
    return noisy, clean


def test_targets_teach(curved):
    noisy, clean = noisy_pairs(curved)
    train, test = slice(0, 1050), slice(1050, None)
    params = {"n_components": 3, "max_epochs": 15, "hidden_layer_sizes": (32,)}
    plain = autoencoder(**params).fit(noisy[train])
    taught = autoencoder(**params).fit(noisy[train], X_target=clean[train])
    errors = [np.square(ae.denoise(noisy[test]) - clean[test]).mean() for ae in
              (plain, taught)]  # fmt: skip
    assert errors[1] < 0.6 * errors[0]
    np.testing.assert_allclose(taught.mean_, clean[train].mean(axis=0), rtol=1e-9)
    # Held-out pairs: as PCA of the clean rows, to begin with, takes the noisy ones.
    assert taught.best_epoch_ > 0
    assert taught.validation_curve_[0] == pytest.approx(-taught.pca_score_, rel=1e-6)
    assert taught.validation_curve_[taught.best_epoch_] < taught.validation_curve_[0]


def test_a_target_that_is_x_is_none(curved):
    """The same objective, in other coordinates."""
    X = curved[:100]
    params = {"max_epochs": 1, "hidden_layer_sizes": ()}
    same, plain = autoencoder(**params).fit(X, X_target=X), autoencoder(**params).fit(X)
    assert same.pca_score_ == pytest.approx(plain.pca_score_, rel=1e-6)
    assert same.score(X) == pytest.approx(plain.score(X), rel=1e-3)


def test_inputs_of_targets_may_be_anything(curved):
    """The range of the loss is asked of the targets alone."""
    X_target = in_range_of("binary_cross_entropy", curved)[:80]
    X = 10 * curved[:80] - 3
    ae = autoencoder(loss="binary_cross_entropy").fit(X, X_target=X_target)
    X_hat = ae.denoise(X)
    assert X_hat.min() >= 0
    assert X_hat.max() <= 1
    with pytest.raises(ValueError, match=r"takes values in \[0, 1\], but feature 0"):
        autoencoder(loss="binary_cross_entropy").fit(X_target, X_target=X)


def test_targets_in_a_pipeline(curved):
    noisy, clean = noisy_pairs(curved, 80)
    with config_context(enable_metadata_routing=True):
        ae = autoencoder().set_fit_request(X_target=True)
        pipe = Pipeline([("scale", StandardScaler()), ("ae", ae)],
                        transform_input=["X_target"])  # fmt: skip
        pipe.fit(noisy, X_target=clean)
        scale = StandardScaler().fit(noisy)
        direct = autoencoder().fit(scale.transform(noisy), X_target=scale.transform(clean))
    assert pipe[-1].validation_curve_ == direct.validation_curve_


def test_targets_are_checked(curved):
    ae, X = autoencoder(), curved[:30]
    with pytest.raises(ValueError, match=r"X_target .* has shape \(29, 6\) and X has \(30"):
        ae.fit(X, X_target=X[:29])
    with pytest.raises(ValueError, match="X_target has 5 features, but"):
        ae.fit(X, X_target=X[:, :5])
    with pytest.raises(ValueError, match=r"is its own target\. Leave out X_val"):
        ae.fit(X, X_target=X, X_val=X)
    with pytest.raises(ValueError, match="NaN"):
        ae.fit(X, X_target=np.full_like(X, np.nan))
    assert not hasattr(ae, "net_")


# -- searches, columns by name, errors -------------------------------------------------


def test_grid_over_recipes(curved):
    grid = {"regularizer__alpha": [0.0, 10.0], "noise__scale": [0.0, 0.5]}
    ae = autoencoder(
        noise=GaussianNoise(), regularizer=L1Code(), init="random", max_epochs=5
    )
    search = GridSearchCV(ae, grid, cv=2).fit(curved[:100])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(np.unique(search.cv_results_["mean_test_score"])) == 4
    # Codes that are made small reconstruct worse.
    assert search.best_params_["regularizer__alpha"] == 0.0
    assert search.best_estimator_.noise.scale == search.best_params_["noise__scale"]
    assert ae.noise.scale == GaussianNoise().scale


def test_regularizers_act_on_the_fit(curved):
    """More zeros in the code, and components nearer to a right angle."""
    params = {"init": "random", "early_stopping": False, "max_epochs": 20}

    def zeros(alpha):
        code = {"code_activation": "relu", "regularizer": L1Code(alpha)}
        return (autoencoder(4, **params, **code).fit_transform(curved) == 0).mean()

    assert zeros(1.0) > zeros(0.0)

    def cosine(alpha):
        """Of the columns of the layer that two codes enter."""
        code = {"code_activation": "tanh", "regularizer": OrthogonalDecoder(alpha)}
        module = autoencoder(**params, **code).fit(curved).net_.module_
        a, b = module.decoder.hidden[0].weight.detach().numpy().T
        return abs(a @ b) / (np.linalg.norm(a) * np.linalg.norm(b))

    assert cosine(10.0) < 0.3 * cosine(0.0)


@pytest.fixture
def customers():
    """A frame of mixed columns (120 rows), and what its columns are."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 120)
    frame = pd.DataFrame(
        {
            "red": kind == 0,
            "age": 30 + 8 * kind + rng.normal(size=120),
            "green": kind == 1,
            "visits": rng.poisson(1 + 4 * kind),
            "member": rng.random(120) < 0.1 + 0.4 * kind,
            "blue": kind == 2,
        }
    ).astype(float)
    loss = {
        "cross_entropy": [["red", "green", "blue"]],
        "squared_error": ["age"],
        "poisson": ["visits"],
        "binary_cross_entropy": ["member"],
    }
    return frame, loss, kind


def test_columns_by_name(customers):
    frame, loss, kind = customers
    ae = autoencoder(loss=loss, max_epochs=10).set_output(transform="pandas").fit(frame)
    out = ae.denoise(frame)
    assert list(out.columns) == list(frame.columns)
    np.testing.assert_allclose(out[["red", "green", "blue"]].sum(axis=1), 1, rtol=1e-6)
    classes = out[["red", "green", "blue"]].to_numpy().argmax(axis=1)
    assert (classes == kind).mean() > 0.95
    assert out["member"].between(0, 1).all()
    assert (out["visits"] >= 0).all()
    # By index it is the same model.
    indices = {
        "cross_entropy": [[0, 2, 5]],
        "squared_error": [1],
        "poisson": [3],
        "binary_cross_entropy": [4],
    }
    other = autoencoder(loss=indices, max_epochs=10).fit(frame.to_numpy())
    np.testing.assert_array_equal(out, other.denoise(frame.to_numpy()))
    # Every column counts alike: no column does worse than its best constant.
    assert -ae.score(frame) * 6 < 4


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"loss": "mse"}, ValueError, "'loss' parameter of AutoencoderTransformer must"),
        ({"loss": torch.nn.MSELoss()}, ValueError, "must have reduction='none'"),
        ({"loss": torch.nn.MSELoss}, TypeError, "Give an instance, not the class"),
        ({"loss": {"squared_error": [0]}}, ValueError, r"not named: \['1', '2', '3'"),
        ({"loss": {"cosine": [0]}}, ValueError, r"got \['cosine'\]"),
        ({"loss": lambda a, b: (a - b).mean()}, ValueError, r"got shape \(\)"),
        ({"loss": "binary_cross_entropy"}, ValueError, r"takes values in \[0, 1\]"),
        ({"loss": "poisson"}, ValueError, r"takes values in \[0, 1e\+13\]"),
        ({"noise": -0.1}, ValueError, "'noise' parameter of AutoencoderTransformer"),
        ({"noise": GaussianNoise(-1)}, ValueError, "'scale' parameter of GaussianNoise"),
        ({"noise": MaskingNoise}, TypeError, "an instance of a class of skae.noise"),
        ({"noise": "swap"}, ValueError, "'noise' parameter of AutoencoderTransformer"),
        ({"regularizer": L1Code}, TypeError, "an instance of a class"),
        ({"regularizer": [0.1]}, TypeError, "or a list of them, got 0.1"),
        ({"regularizer": Contractive(-1)}, ValueError, "'alpha' parameter of Contractive"),
        ({"regularizer": KLSparsity()}, ValueError, "Set code_activation='logistic'"),
        ({"normalization": "group"}, ValueError, "'normalization' parameter"),
    ],
)
def test_errors(curved, params, error, text):
    ae = autoencoder(**params)
    with pytest.raises(error, match=text):
        ae.fit(curved[:40])
    assert not hasattr(ae, "net_")


def test_columns_are_checked(customers):
    frame, loss, _ = customers
    with pytest.raises(ValueError, match=r"unknown: \['income'\]"):
        autoencoder(loss=loss | {"huber": ["income"]}).fit(frame)
    with pytest.raises(ValueError, match=r"named twice: \['age'\]"):
        autoencoder(loss=loss | {"huber": ["age"]}).fit(frame)
    with pytest.raises(ValueError, match=r"sum to 1.* row 0 of the columns \['red'"):
        autoencoder(loss=loss).fit(frame.assign(red=0.5))
    with pytest.raises(ValueError, match=r"feature 3 \('visits'\)"):
        autoencoder(loss=loss).fit(frame - [0, 0, 0, 9, 0, 0])
