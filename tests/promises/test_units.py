"""`standardize=True` is a `StandardScaler` in front: all that is told is in its units."""

import pickle

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from scipy import sparse, stats
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skae import AutoencoderTransformer, compare
from skae._engine.corruption import noise_units
from skae.metrics import make_reconstruction_scorer, reconstruction_error
from skae.noise import MaskingNoise, SaltAndPepperNoise
from skae.plotting import (
    CodesDisplay,
    ErrorDisplay,
    ExplainedVarianceDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
)
from skae.regularizers import Contractive

UNLIKE = np.array([1.0, 10.0, 100.0, 1e-3, 1.0, 1e4])
ATTRIBUTES = [
    *("components_", "explained_variance_", "explained_variance_ratio_"),
    *("singular_values_", "noise_variance_", "n_components_", "n_iter_", "best_epoch_"),
    *("pca_score_", "loss_curve_", "validation_curve_"),
]


def autoencoder(n_components=2, **params):
    params = {"max_epochs": 3, "random_state": 0, "hidden_layer_sizes": (16, 8)} | params
    return AutoencoderTransformer(n_components, **params)


def close(actual, expected, rtol=1e-6):
    """Equal to `rtol` of the largest entry."""
    expected = np.asarray(expected)
    atol = rtol * np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


@pytest.fixture(name="X", scope="module")
def in_unlike_units(curved):
    """The bent surface (200, 6), its features in unlike units and away from zero."""
    return (curved + 2.0) * UNLIKE


def with_gaps(X):
    X = X.copy()
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    return X


# -- the same as the Pipeline ----------------------------------------------------------

BY_COLUMN = {"squared_error": [0, 1], "absolute_error": [2, 3], "huber": [4, 5]}
SETTINGS = {
    "plain": {},
    "linear": {"hidden_layer_sizes": ()},
    "whiten": {"whiten": True},
    "ordered": {"ordered": True, "n_components": 3},
    "ordered and whitened": {"ordered": True, "whiten": True, "n_components": 3},
    "share": {"n_components": 0.9},
    "absolute_error": {"loss": "absolute_error"},
    "huber": {"loss": "huber"},
    "losses by column": {"loss": BY_COLUMN},
    "random": {"init": "random"},
    "noise": {"noise": 0.2},
    "masking": {"noise": MaskingNoise(0.2)},
    "salt and pepper": {"noise": SaltAndPepperNoise(0.1)},
    "contractive": {"regularizer": Contractive(0.1)},
    "no early stopping": {"early_stopping": False},
    "takes gaps": {"allow_nan": True},
    "dropout and normalization": {"dropout": 0.1, "normalization": "layer"},
}


def pair(params, X, **of_fit):
    """An estimator that standardizes, and the Pipeline, both fitted."""
    inside = autoencoder(**params, standardize=True).fit(X, **of_fit)
    w = of_fit.pop("sample_weight", None)
    of_fit = {f"autoencodertransformer__{name}": value for name, value in of_fit.items()}
    if w is not None:
        of_fit["autoencodertransformer__sample_weight"] = w
        of_fit["standardscaler__sample_weight"] = w
    pipe = make_pipeline(StandardScaler(), autoencoder(**params))
    return inside, pipe.fit(X, **of_fit)


def check_same(inside, pipe, X, rtol=1e-6):
    """Everything that is told, in the units that the Pipeline tells it in."""
    scaler, outside = pipe
    scaled = scaler.transform(X)
    for name in ATTRIBUTES:
        close(getattr(inside, name), getattr(outside, name), rtol)
    Z = pipe.transform(X)
    close(inside.transform(X), Z, rtol)
    centred = inside.inverse_transform(Z) - scaler.mean_
    close(centred / scaler.scale_, outside.inverse_transform(Z), 10 * rtol)
    close(inside.score_samples(X), outside.score_samples(scaled), rtol)
    close(inside.score(X), pipe.score(X), rtol)
    some = slice(20)
    close(inside.components_at(X[some]), outside.components_at(scaled[some]), rtol)
    close(inside.get_covariance(), outside.get_covariance(), rtol)
    close(inside.denoise(X), scaler.inverse_transform(outside.denoise(scaled)), rtol)
    if inside.allow_nan:
        close(inside.impute(X), scaler.inverse_transform(outside.impute(scaled)), rtol)


@pytest.mark.parametrize("params", SETTINGS.values(), ids=SETTINGS)
def test_standardize_is_a_scaler_in_front(X, params):
    inside, pipe = pair(params, X)
    check_same(inside, pipe, X)
    close(inside.mean_, pipe[0].mean_)
    close(inside.scale_, pipe[0].scale_)
    close(inside.get_precision(), pipe[1].get_precision(), 1e-6)
    if inside.ordered:
        close(inside.truncate(2).components_, pipe[1].truncate(2).components_)
        smaller = pipe[1].truncate(1).explained_variance_
        close(inside.truncate(1).explained_variance_, smaller)


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_with_weights(X, loss):
    weights = np.random.default_rng(0).uniform(0.5, 2, len(X))
    inside, pipe = pair({"loss": loss}, X, sample_weight=weights)
    check_same(inside, pipe, X)
    expected = pipe.score(X, sample_weight=weights)
    assert inside.score(X, sample_weight=weights) == pytest.approx(expected)


@pytest.mark.parametrize("params", [{}, {"loss": "absolute_error", "ordered": True}])
def test_with_gaps(X, params):
    gapped = with_gaps(X)
    check_same(*pair({"allow_nan": True} | params, gapped), gapped, 1e-6)


def test_with_float32(X):
    rows = X.astype(np.float32)
    check_same(*pair({}, rows), rows, 1e-3)


def test_with_many_rows(X):
    rows = (
        np.tile(X, (6, 1)) + 0.1 * np.random.default_rng(0).normal(size=(1200, 6)) * UNLIKE
    )
    check_same(*pair({"max_epochs": 1}, rows), rows, 1e-5)


def test_with_rows_of_ones_own(X):
    """Held-out rows are given in the units of X."""
    scaler = StandardScaler().fit(X[:150])
    inside = autoencoder(standardize=True).fit(X[:150], X_val=X[150:])
    outside = autoencoder().fit(scaler.transform(X[:150]), X_val=scaler.transform(X[150:]))
    for name in ATTRIBUTES:
        close(getattr(inside, name), getattr(outside, name))


def test_targets_are_given_in_units_of_their_own(X):
    noisy = X + 0.1 * np.random.default_rng(0).normal(size=X.shape) * UNLIKE
    scaler = StandardScaler().fit(X)
    inside = autoencoder(standardize=True).fit(noisy, X_target=X)
    scaled = scaler.transform(noisy)
    outside = autoencoder().fit(scaled, X_target=scaler.transform(X))
    for name in ATTRIBUTES:
        close(getattr(inside, name), getattr(outside, name))
    close(inside.denoise(noisy), scaler.inverse_transform(outside.denoise(scaled)))


def test_constant_columns_are_pcas(X):
    """A constant has no unit; where nothing is trained all is that of PCA."""
    rows = np.insert(X, [0, 3], [7.0, 0.0], axis=1)
    inside, pipe = pair({"hidden_layer_sizes": ()}, rows)
    check_same(inside, pipe, rows)
    pca = PCA(2, svd_solver="full").fit(StandardScaler().fit_transform(rows))
    for name in ATTRIBUTES[:5]:
        close(np.abs(getattr(inside, name)), np.abs(getattr(pca, name)), 1e-6)
    close(inside.get_covariance(), pca.get_covariance(), 1e-6)
    trained = autoencoder(standardize=True, early_stopping=False).fit(rows)
    check_definitions(trained, rows)


def check_definitions(ae, X):
    """What is told of a trained estimator follows from what comes out, and `scale_`."""
    Z = ae.transform(X)
    residual = (ae.inverse_transform(Z) - X) / ae.scale_
    close(ae.score_samples(X), -np.square(residual).mean(axis=1), 1e-6)
    mean = Z.mean(axis=0)
    steps = 1e-4 * np.eye(len(mean))
    ends = (ae.inverse_transform(mean + sign * steps) for sign in (1, -1))
    slopes = np.subtract(*ends) / ae.scale_
    close(ae.components_, slopes / np.linalg.norm(slopes, axis=1)[:, None], 1e-5)


def test_a_stream():
    rng = np.random.default_rng(0)
    X = np.tanh(rng.normal(size=(600, 2)) @ rng.normal(size=(2, 6))) * UNLIKE
    ae = autoencoder(standardize=True)
    for chunk in np.split(X, 3):
        ae.partial_fit(chunk)
    residual = (ae.denoise(X) - X) / ae.scale_
    close(ae.score(X), -np.square(residual).mean(), 1e-6)
    # The last chunk was held out before it was trained on.
    assert 0.2 < ae.validation_curve_[-1] / -ae.score(X) < 5
    assert ae.explained_variance_ratio_.sum() == pytest.approx(1 + ae.score(X), abs=0.1)


def test_a_sparse_table_and_large_units(X):
    small = np.where(X / UNLIKE > 2.0, X / UNLIKE, 0.0)
    expected = autoencoder(standardize=True).fit(small)
    table = autoencoder(standardize=True).fit(sparse.csr_array(small))
    huge = autoencoder(standardize=True).fit(np.ldexp(small, 900))
    for ae, rows in (table, sparse.csr_array(small)), (huge, np.ldexp(small, 900)):
        close(ae.score(rows), expected.score(small))
        for name in ATTRIBUTES:
            close(getattr(ae, name), getattr(expected, name))


# -- losses of X in its own units ------------------------------------------------------


def poisson_errors(X, X_hat):
    return -stats.poisson.logpmf(X, X_hat).mean(axis=1)


def cosines(X, X_hat):
    lengths = np.linalg.norm(X, axis=1) * np.linalg.norm(X_hat, axis=1)
    return (1 - (X * X_hat).sum(axis=1) / lengths) / X.shape[1]


def cross_entropies(X, X_hat):
    return -(X * np.log(X_hat) + (1 - X) * np.log(1 - X_hat)).mean(axis=1)


def fourth_powers(X_hat, X):
    return ((X_hat - X) ** 4).sum(-1)


def means_of_fourth_powers(X, X_hat):
    return ((X_hat - X) ** 4).mean(axis=1)


OWN_UNITS = {
    "poisson": ("poisson", poisson_errors),
    "cosine": ("cosine", cosines),
    "binary_cross_entropy": ("binary_cross_entropy", cross_entropies),
    "of a user": (fourth_powers, means_of_fourth_powers),
}


@pytest.mark.parametrize(("loss", "errors"), OWN_UNITS.values(), ids=OWN_UNITS)
def test_losses_of_own_units(X, loss, errors):
    """The score is of X as it is, variances and components are of standardized X."""
    if loss == "poisson":
        rows = np.random.default_rng(0).poisson(3 * np.exp(X / UNLIKE / 2)).astype(float)
    else:
        rows = MinMaxScaler().fit_transform(X) * np.array([1, 0.9, 0.5, 0.1, 0.01, 1])
    ae = autoencoder(loss=loss, exposure=None, standardize=True, early_stopping=False).fit(
        rows
    )
    Z = ae.transform(rows)
    X_hat = ae.inverse_transform(Z)
    close(ae.score_samples(rows), -errors(rows, X_hat), 1e-5)
    steps = 1e-4 * np.eye(2)
    ends = (ae.inverse_transform(Z.mean(axis=0) + sign * steps) for sign in (1, -1))
    slopes = np.subtract(*ends) / ae.scale_
    close(ae.components_, slopes / np.linalg.norm(slopes, axis=1)[:, None], 1e-4)
    unexplained = np.square((X_hat - rows) / ae.scale_).mean()
    r2 = ae.explained_variance_ratio_.sum()
    assert r2 == pytest.approx(max(1 - unexplained, 0.0), abs=1e-4)
    total = ae.explained_variance_.sum() / r2
    assert total == pytest.approx(6 * 200 / 199)


# -- noise -----------------------------------------------------------------------------


def test_noise_is_in_standardized_units(X):
    mean, scale = X.mean(axis=0), X.std(axis=0)
    units = noise_units(X, mean, scale, standardize=True)
    close(units.zero, np.zeros(6))
    close(units.one, np.ones(6))
    close(units.low, (X.min(axis=0) - mean) / scale)
    units = noise_units(X, mean, scale)
    close(units.zero, -mean / scale)
    close(units.one, 1 / scale)


# -- ranks -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outliers():
    """Rows whose smallest feature does not go with the others, and which they are."""
    rng = np.random.default_rng(0)
    y = np.arange(400) < 20
    X = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 6))
    X += 0.3 * rng.normal(size=X.shape)
    X[y, 3] += 3 * X[:, 3].std() * rng.choice([-1, 1], size=20)
    return X * UNLIKE, y


def test_outliers_of_a_small_feature_are_found(outliers):
    X, y = outliers
    inside, pipe = pair({}, X[~y])
    scores = inside.score_samples(X)
    assert roc_auc_score(y, -scores) == 1.0
    raw = np.square(inside.denoise(X) - X).mean(axis=1)
    assert roc_auc_score(y, raw) < 0.7
    close(scores, pipe[1].score_samples(pipe[0].transform(X)))


def test_compare_ranks_in_the_units_that_all_rivals_take(X):
    inside = autoencoder(standardize=True)
    pipe = make_pipeline(StandardScaler(), autoencoder())
    tables = [
        compare(X, {"a": inside, "b": pipe}, cv=2, random_state=0, **how)
        for how in ({}, {"standardize": True}, {"standardize": False})
    ]
    for table in tables:
        first, second = (table[table["estimator"] == name] for name in "ab")
        close(first["error"], second["error"], 1e-6)
        close(first["r2"], second["r2"], 1e-6)
    close(tables[0]["error"], tables[1]["error"])
    # In the units of X one feature decides.
    assert tables[2]["error"].min() > 1e6 * tables[1]["error"].max()
    folds = [(np.arange(100), np.arange(100, 200))]
    table = compare(X, [pipe], cv=folds)
    scaler = StandardScaler().fit(X[:100])
    scaled = scaler.transform(X)
    ae = autoencoder().fit(scaled[:100])
    close(table["error"][0], -ae.score(scaled[100:]))
    total = np.square(scaled[100:] - scaled[100:].mean(axis=0)).mean()
    close(table["r2"][0], 1 + ae.score(scaled[100:]) / total)


def test_compare_says_where_rivals_take_unlike_units(X):
    rivals = {"PCA": PCA(2), "net": autoencoder(standardize=True, max_epochs=1)}
    with pytest.warns(UserWarning, match=r"standardize \(net\) and others do not\."):
        table = compare(X, rivals, cv=2, random_state=0)
    raw, same = (
        compare(X, rivals, cv=2, random_state=0, standardize=value)
        for value in (False, True)
    )
    close(table["error"], raw["error"])
    pca = same[same["estimator"] == "PCA"]
    assert (pca["r2"] < 0.9).all()
    assert (raw.loc[pca.index, "r2"] > 0.99).all()
    # Incomplete and sparse rows have deviations too.
    gapped = compare(with_gaps(X), [autoencoder(allow_nan=True, standardize=True)], cv=2)
    assert gapped["error"].between(0, 1).all()
    table = compare(sparse.csr_array(X), {"net": rivals["net"]}, cv=2, random_state=0)
    close(table["error"], same.loc[same["estimator"] == "net", "error"], 1e-4)
    # Probabilities have no unit.
    rows = MinMaxScaler().fit_transform(X)
    ae = autoencoder(loss="binary_cross_entropy", standardize=True)
    table = compare(rows, [ae], cv=2, metric="binary_cross_entropy", random_state=0)
    folds = compare(rows, [ae], cv=2, metric="binary_cross_entropy", random_state=0)
    close(table["error"], folds["error"])
    assert (table["error"] < 1).all()


def test_the_scale_of_a_metric(X):
    inside, pipe = pair({}, X)
    scale = pipe[0].scale_
    X_hat = inside.denoise(X)
    error = reconstruction_error(X, X_hat, scale=scale)
    assert error == pytest.approx(-inside.score(X))
    params = {"metric": "root_mean_squared_error", "multioutput": "raw_values"}
    by_feature = reconstruction_error(X, X_hat, **params)
    close(reconstruction_error(X, X_hat, scale=scale, **params), by_feature / scale)
    scorer = make_reconstruction_scorer(scale=scale)
    for model in inside, pipe:
        assert scorer(model, X) == pytest.approx(inside.score(X))
    assert make_reconstruction_scorer()(pipe, X) < 1e3 * scorer(pipe, X)
    assert repr(make_reconstruction_scorer("r2", scale=[1.0])).endswith("scale=[1.0])")
    with pytest.raises(ValueError, match="scale of reconstruction_error must be one pos"):
        reconstruction_error(X, X_hat, scale=[1.0, 2.0])
    with pytest.raises(ValueError, match="got array"):
        make_reconstruction_scorer(scale=-scale)(pipe, X)
    with pytest.raises(ValueError, match="computed from probabilities"):
        reconstruction_error(X * 0, X * 0, metric="binary_cross_entropy", scale=scale)


# -- pictures --------------------------------------------------------------------------


@pytest.fixture
def no_screen():
    """Draw without a screen, and leave no figure behind."""
    with mpl.rc_context({"backend": "Agg"}):
        yield
        plt.close("all")


@pytest.fixture(scope="module")
def fitted(X):
    return pair({"n_components": 2}, X)


def test_explained_variance_of_wine(no_screen):
    """PCA beside it is of the same units: 0.36 for the first component, not 0.998."""
    X = load_wine().data
    expected = PCA().fit(StandardScaler().fit_transform(X)).explained_variance_ratio_
    inside, pipe = pair({"hidden_layer_sizes": ()}, X)
    for model in inside, pipe:
        drawn = ExplainedVarianceDisplay.from_estimator(model, X, threshold=0.9)
        kept = drawn.ratios["PCA"]
        close(kept, expected[: len(kept)])
        close(drawn.ratios["AutoencoderTransformer"], expected[:2], 1e-6)
        assert drawn.n_components_["PCA"] == 8
    rows = sparse.csr_array(X)
    drawn = ExplainedVarianceDisplay.from_estimator(inside, rows)
    close(drawn.ratios["PCA"], expected[:2], 1e-6)


@pytest.mark.parametrize("metric", ["squared_error", "root_mean_squared_error"])
def test_errors_are_drawn_in_the_units_of_the_estimator(X, fitted, no_screen, metric):
    inside, _ = fitted
    drawn, expected = (
        ErrorDisplay.from_estimator(model, X, metric=metric) for model in fitted
    )
    close(drawn.row_errors, expected.row_errors)
    close(drawn.feature_errors, expected.feature_errors)
    if metric == "squared_error":
        close(drawn.row_errors, -inside.score_samples(X))
    worst = np.argsort(inside.score_samples(X))[:5]
    np.testing.assert_array_equal(drawn.worst_, worst)
    words = [ax.get_xlabel() for ax in drawn.axes_[0]]
    assert words[0] == "mean squared error\nof the feature, standardized"
    assert words[1] == "mean squared error\nof the row, standardized"
    params = {"multioutput": "raw_values", "metric": metric}
    raw = ErrorDisplay.from_estimator(inside, X, metric=metric, scale=None)
    close(raw.feature_errors, reconstruction_error(X, inside.denoise(X), **params))
    label = raw.axes_[0, 0].get_xlabel()
    assert label.startswith("mean squared error\nof the feature")
    assert "standardized" not in label
    # What comes after another step is not a feature of X.
    later = make_pipeline(MinMaxScaler(), autoencoder(standardize=True)).fit(X)
    assert not ErrorDisplay.from_estimator(later, X).standardized


def test_errors_of_probabilities_have_no_unit(X, no_screen):
    rows = MinMaxScaler().fit_transform(X)
    ae = autoencoder(loss="binary_cross_entropy", standardize=True).fit(rows)
    drawn = ErrorDisplay.from_estimator(ae, rows, metric="binary_cross_entropy")
    assert not drawn.standardized
    close(drawn.row_errors, -ae.score_samples(rows), 1e-5)


def test_reconstructions(X, fitted, no_screen):
    """Rows are drawn in the units of X, differences in standardized ones."""
    inside, _ = fitted
    pca = PCA(2).fit(X)
    for model in fitted:
        display = ReconstructionDisplay.from_estimator(model, X, baseline=pca)
        close(display.scale, X.std(axis=0))
        top, bottom = display.axes_[:, 1]
        close(top.lines[0].get_ydata(), X[1])
        close(top.lines[2].get_ydata(), inside.denoise(X[1:2])[0])
        close(bottom.lines[2].get_ydata(), (inside.denoise(X)[1] - X[1]) / X.std(axis=0))
        other = pca.inverse_transform(pca.transform(X[1:2]))[0]
        close(bottom.lines[1].get_ydata(), (other - X[1]) / X.std(axis=0))
        assert display.axes_[1, 0].get_ylabel() == "standardized\ndifference"
        text = top.get_title(loc="left")
        name, _, figures = text.rpartition("MSE ")
        assert name == "standardized "
        error = -inside.score_samples(X[1:2])[0]
        assert float(figures.split(", ")[1]) == pytest.approx(error, rel=0.06)
    raw = ReconstructionDisplay.from_reconstructions(X[:2], {"net": inside.denoise(X[:2])})
    assert raw.axes_[1, 0].get_ylabel() == "difference"
    images = ReconstructionDisplay.from_estimator(inside, X, shape=(2, 3), n_shown=2)
    close(images.axes_[0, 0].images[0].get_array(), X[0].reshape(2, 3))
    assert [text.get_text() for text in images.axes_[1, 0].texts] == ["standardized MSE"]


def test_arrows_and_decoded_curves(X, fitted, no_screen):
    displays = [
        CodesDisplay.from_estimator(model, X, loadings=4, decoded=3, shape=None)
        for model in fitted
    ]
    close(displays[0].loadings, displays[1].loadings)
    close(displays[0].loadings, fitted[0].components_.T)
    curves = [
        [line.get_ydata() for line in display.axes_[0, 1].lines] for display in displays
    ]
    close(curves[0], curves[1])
    # No feature is drawn larger than another for its unit.
    heights = np.ptp(np.reshape(curves[0], (9, 2, 6))[:, 1], axis=0)
    assert heights.max() < 20 * heights.min()


def test_loss_curves(fitted, no_screen):
    drawn, expected = (LossCurveDisplay.from_estimator(model) for model in fitted)
    close(drawn.pca_error, expected.pca_error)
    close(drawn.loss_curve, expected.loss_curve)


# -- copies of earlier versions --------------------------------------------------------


def test_a_copy_that_tells_other_units_says_so(X):
    ae = autoencoder(standardize=True, max_epochs=1).fit(X)
    again = pickle.loads(pickle.dumps(ae))
    close(again.score(X), ae.score(X))
    del ae._score_unit
    data = pickle.dumps(ae)
    with pytest.warns(UserWarning, match="was fitted by an earlier version of skae"):
        again = pickle.loads(data)
    close(again.score(X), ae.score(X))
    plain = autoencoder(max_epochs=1).fit(X)
    del plain._score_unit
    pickle.loads(pickle.dumps(plain))
