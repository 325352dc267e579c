"""Displays: one family of checks for all of them, then what each one draws."""

import functools
import itertools
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import load_iris
from sklearn.decomposition import NMF, PCA, TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skae import AutoencoderOutlierDetector, AutoencoderTransformer, plotting
from skae.metrics import (
    make_hidden_cell_scorer,
    make_reconstruction_scorer,
    one_standard_error,
    reconstruction_error,
)
from skae.plotting import (
    CodesDisplay,
    ErrorDisplay,
    ExplainedVarianceDisplay,
    LoadingsDisplay,
    LossCurveDisplay,
    OutlierDisplay,
    ReconstructionDisplay,
    SamplesDisplay,
    ScreeDisplay,
)
from skae.plotting._drawing import two_figures

# Parameters of from_estimator, and the shape of axes_; None is a Display with ax_.
CASES = {
    "ReconstructionDisplay": ({"n_shown": 3}, (2, 3)),
    "LossCurveDisplay": ({}, None),
    "ExplainedVarianceDisplay": ({"threshold": 0.5}, None),
    "CodesDisplay": ({}, (3, 3)),
    "ErrorDisplay": ({"n_worst": 2}, (1, 2)),
    "SamplesDisplay": ({"random_state": 0}, (4, 4)),
    "OutlierDisplay": ({"alarm_rate": 0.1}, (1, 2)),
    "LoadingsDisplay": ({"codes": (0, 1)}, (1, 2)),
    "ScreeDisplay": ({}, None),
}


@pytest.fixture(autouse=True)
def closed_figures():
    """Draw without a screen, and leave no figure behind."""
    with mpl.rc_context({"backend": "Agg"}):
        yield
        plt.close("all")


@pytest.fixture(scope="module")
def iris():
    return load_iris(as_frame=True)


def autoencoder(n_components=3, **params):
    params = {"max_epochs": 1, "random_state": 0} | params
    return AutoencoderTransformer(n_components, **params)


def model_of(name):
    """The model of `fitted` that a Display is for."""
    return "detector" if name == "OutlierDisplay" else "autoencoder"


@pytest.fixture(scope="module")
def fitted(iris):
    """Fitted estimators and the X (150, 4) of each: an array, a frame."""
    X = iris.data.to_numpy()
    detector = AutoencoderOutlierDetector(autoencoder())
    return {
        "detector": (clone(detector).fit(X), X),
        "Pipeline of a detector": (
            make_pipeline(StandardScaler(), detector).fit(iris.data),
            iris.data,
        ),
        "autoencoder": (autoencoder().fit(X), X),
        "frames": (
            autoencoder().set_output(transform="pandas").fit(iris.data),
            iris.data,
        ),
        "Pipeline": (make_pipeline(StandardScaler(), autoencoder()).fit(X), X),
        "PCA": (PCA(3).fit(X), X),
        "Pipeline of PCA": (
            make_pipeline(StandardScaler(), PCA(3)).fit(iris.data),
            iris.data,
        ),
    }


@pytest.fixture(scope="module")
def pca8(digits):
    return PCA(8).fit(digits[0])


def axes_of(display):
    return display.axes_.ravel() if hasattr(display, "axes_") else np.array([display.ax_])


def labels(ax):
    """Words of the legend."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_cases_are_complete():
    assert set(CASES) == set(plotting.__all__)


FAMILY = [
    (name, model)
    for name in CASES
    for model in (
        ("detector", "Pipeline of a detector")
        if name == "OutlierDisplay"
        else ("autoencoder", "frames", "Pipeline", "Pipeline of PCA")
    )
    if not (name == "LossCurveDisplay" and "PCA" in model)
]


@pytest.mark.parametrize(("name", "model"), FAMILY)
def test_from_estimator(fitted, name, model):
    params, shape = CASES[name]
    estimator, X = fitted[model]
    before = set(vars(estimator))
    display = getattr(plotting, name).from_estimator(estimator, X, **params)
    assert type(display).__name__ == name
    assert len(plt.get_fignums()) == 1
    if shape is None:
        assert isinstance(display.ax_, mpl.axes.Axes)
    else:
        assert display.axes_.shape == shape
    assert all(ax.figure is display.figure_ for ax in axes_of(display))
    assert all(ax.has_data() for ax in axes_of(display) if ax.axison)
    assert vars(estimator).keys() == before
    # The data are in the Display: it can be drawn again.
    assert display.plot() is display
    assert len(plt.get_fignums()) == 2


@pytest.mark.parametrize("name", CASES)
def test_ax(fitted, name):
    params, shape = CASES[name]
    shape = shape or (1, 1)
    Display = getattr(plotting, name)
    figure, axes = plt.subplots(*shape, squeeze=False)
    display = Display.from_estimator(*fitted[model_of(name)], **params, ax=axes)
    assert (axes_of(display) == axes.ravel()).all()
    assert display.figure_ is figure
    display.plot(list(axes.ravel()))
    assert (axes_of(display) == axes.ravel()).all()
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 5), layout="constrained")
    display = Display.from_estimator(*fitted[model_of(name)], **params, ax=left)
    assert display.figure_ is figure
    assert len(axes_of(display)) == np.prod(shape)
    assert not right.has_data()
    figure.draw_without_rendering()
    edge = right.get_position().x0
    assert all(ax.get_position().x1 <= edge for ax in axes_of(display))
    part = plt.figure(layout="constrained").subfigures(1, 2)[0]
    display = Display.from_estimator(*fitted[model_of(name)], **params, ax=part.subplots())
    assert display.figure_ is part
    assert len(plt.get_fignums()) == 3


@pytest.mark.parametrize("name", CASES)
def test_bad_ax(fitted, name):
    params, shape = CASES[name]
    figure = plt.figure()
    wrong = {f"{n} Axes": figure.subplots(n, 1) for n in (5, 7)} | {"Figure size": figure}
    if shape is not None:  # one Axes without a place that could be divided
        wrong["<Axes: >"] = figure.add_axes([0, 0, 1, 1])
    for got, ax in wrong.items():
        with pytest.raises(ValueError, match=f"^ax of {name} must be None, .*got.*{got}"):
            getattr(plotting, name).from_estimator(*fitted[model_of(name)], **params, ax=ax)


@pytest.mark.parametrize("name", CASES)
def test_unfitted(iris, name):
    Display = getattr(plotting, name)
    unfitted = autoencoder()
    if name == "OutlierDisplay":
        unfitted = AutoencoderOutlierDetector(unfitted)
    for estimator in unfitted, make_pipeline(StandardScaler(), unfitted):
        with pytest.raises(NotFittedError):
            Display.from_estimator(estimator, iris.data)
    assert not plt.get_fignums()


@pytest.mark.parametrize("name", CASES)
def test_without_matplotlib(fitted, name, monkeypatch):
    params, _ = CASES[name]
    Display = getattr(plotting, name)
    display = Display.from_estimator(*fitted[model_of(name)], **params)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for method, call in [
        ("from_estimator", lambda: Display.from_estimator(*fitted[model_of(name)])),
        ("plot", display.plot),
    ]:
        message = f"^{name}.{method} requires matplotlib. You can install matplotlib"
        with pytest.raises(ImportError, match=message):
            call()


class Forward(TransformerMixin, BaseEstimator):
    """Fitted from the start, no way back."""

    def __sklearn_is_fitted__(self):
        return True

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.asarray(X)[:, :2]


@pytest.mark.parametrize(
    ("name", "params", "lacks"),
    [
        ("ReconstructionDisplay", {}, "inverse_transform"),
        ("ErrorDisplay", {}, "inverse_transform"),
        ("CodesDisplay", {"decoded": 3}, "inverse_transform"),
        ("CodesDisplay", {"loadings": 3}, "components_"),
        ("LossCurveDisplay", {}, "loss_curve_"),
        ("LoadingsDisplay", {}, "components_"),
        ("ScreeDisplay", {}, "inverse_transform"),
        ("ExplainedVarianceDisplay", {}, "explained_variance_ratio_"),
        ("SamplesDisplay", {}, "sample"),
    ],
)
def test_what_an_estimator_lacks(iris, name, params, lacks):
    with pytest.raises(TypeError, match=rf"{lacks}.*Forward|Forward has no {lacks}"):
        getattr(plotting, name).from_estimator(Forward(), iris.data, **params)


@pytest.mark.parametrize(
    "draw",
    [
        lambda pca, X, **kw: ReconstructionDisplay.from_estimator(pca, X, **kw),
        lambda pca, X, **kw: ErrorDisplay.from_estimator(pca, X, **kw),
        lambda pca, X, **kw: CodesDisplay.from_estimator(
            pca, X, codes=(0, 1), decoded=2, **kw
        ),
    ],
    ids=["ReconstructionDisplay", "ErrorDisplay", "CodesDisplay"],
)
def test_bad_shape(digits, pca8, draw):
    X = digits[0][:20]
    with pytest.raises(ValueError, match=r"shape=\(7, 9\) of .*Display multiplies to 63"):
        draw(pca8, X, shape=(7, 9))
    with pytest.raises(ValueError, match=r"shape of .*Display must be \(height, width\)"):
        draw(pca8, X, shape=64)
    with pytest.raises(ValueError, match=r"shape of .*Display must be .*got 'square'"):
        draw(pca8, X, shape="square")


def test_reconstructions_of_images(digits, pca8):
    X = digits[0][:4]
    display = ReconstructionDisplay.from_estimator(
        autoencoder(8).fit(digits[0]), X, baseline=pca8, shape=(8, 8)
    )
    assert display.axes_.shape == (3, 4)
    first, last = "PCA, 8 components", "AutoencoderTransformer, 8 components"
    assert list(display.reconstructions) == [first, last]
    np.testing.assert_allclose(
        display.reconstructions[first], pca8.inverse_transform(pca8.transform(X))
    )
    for row, images in enumerate([X, *display.reconstructions.values()]):
        for column, image in enumerate(images):
            (drawn,) = display.axes_[row, column].images
            np.testing.assert_allclose(drawn.get_array(), image.reshape(8, 8))
            assert drawn.get_clim() == (X.min(), X.max())
    error = np.square(display.reconstructions[last][1] - X[1]).mean()
    assert display.axes_[2, 1].get_xlabel() == f"{error:#.2g}"
    assert [ax.get_ylabel() for ax in display.axes_[:, 0]] == [
        "original",
        "PCA\n8 components",
        "Autoencoder\nTransformer\n8 components",
    ]


def test_two_of_a_kind_and_a_name(digits, pca8):
    X = digits[0][:2]
    display = ReconstructionDisplay.from_estimator(pca8, X, baseline=pca8)
    assert list(display.reconstructions) == ["PCA, 8 components", "PCA, 8 components (2)"]
    display = ReconstructionDisplay.from_estimator(pca8, X, baseline=pca8, name="ours")
    assert list(display.reconstructions) == ["PCA, 8 components", "ours"]


@pytest.mark.parametrize(
    ("n_features", "params", "shape"),
    [
        (64, {}, None),  # a table of 64 features is no picture
        (64, {"shape": (8, 8)}, (8, 8)),
        (64, {"sample_shape": (1, 4, 16)}, (4, 16)),
        (64, {"sample_shape": (2, 4, -1)}, (8, 8)),  # one channel below the other
        (64, {"sample_shape": (1, 4, 16), "shape": (16, 4)}, (16, 4)),
        (64, {"sample_shape": (1, 64)}, None),
        (64, {"shape": (4, 16)}, (4, 16)),
        (64, {"shape": (4, 16, 1)}, (4, 16)),
        (48, {"shape": (4, 4, 3)}, (4, 4, 3)),
        (65, {}, None),
        (64, {"shape": None}, None),
        (64, {"x": np.arange(64)}, None),
    ],
)
def test_shapes(n_features, params, shape):
    rng = np.random.default_rng(0)
    X, X_hat = rng.random((2, 5, n_features)) * 3 - 1
    display = ReconstructionDisplay.from_reconstructions(X, {"half": X_hat}, **params)
    images = display.axes_[0, 0].images
    if shape is None:
        assert not images
        original, reconstruction = display.axes_[0, 4].lines
        np.testing.assert_array_equal(original.get_ydata(), X[4])
        np.testing.assert_array_equal(reconstruction.get_ydata(), X_hat[4])
        difference = display.axes_[1, 4].lines[-1]
        np.testing.assert_allclose(difference.get_ydata(), X_hat[4] - X[4])
    else:
        assert images[0].get_array().shape == shape
    if len(shape or ()) == 3:  # colours are brought to [0, 1] together
        expected = (X[0] - X.min()) / np.ptp(X)
        np.testing.assert_allclose(images[0].get_array().ravel(), expected)


def test_channels_of_images_are_colours():
    rng = np.random.default_rng(0)
    X = rng.random((2, 3, 5, 4))
    rows, params = X.reshape(2, -1), {"sample_shape": (3, 5, 4)}
    display = ReconstructionDisplay.from_reconstructions(rows, {"same": rows}, **params)
    expected = (X[1].transpose(1, 2, 0) - X.min()) / np.ptp(X)
    np.testing.assert_allclose(display.axes_[1, 1].images[0].get_array(), expected)
    errors = ErrorDisplay.from_reconstruction(rows, rows + X.mean(), **params)
    assert errors.axes_[0, 0].images[0].get_array().shape == (5, 4)


def test_a_channel_of_signals_is_a_line_of_axes():
    rng = np.random.default_rng(0)
    X, X_hat = rng.random((2, 2, 24))
    params = {"sample_shape": (3, 8), "x": pd.Series(np.arange(8), name="seconds")}
    reconstructions = {"a": X_hat, "b": X}
    display = ReconstructionDisplay.from_reconstructions(X, reconstructions, **params)
    assert display.axes_.shape == (3, 2)
    rows = [X[1], X_hat[1], X[1]]
    for channel, ax in enumerate(display.axes_[:, 1]):
        for line, row in zip(ax.lines, rows, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), row.reshape(3, 8)[channel])
        assert len({line.get_color() for line in ax.lines}) == 3
        assert {line.get_linestyle() for line in ax.lines[1:]} == {"-", "--"}
    assert labels(display.axes_[0, 1]) == ["original", "a", "b"]
    assert display.axes_[2, 0].get_ylabel() == "channel\n2"
    assert display.axes_[2, 0].get_xlabel() == "seconds"
    errors = ErrorDisplay.from_reconstruction(X, X_hat, sample_shape=(3, 8))
    curves = errors.axes_[0, 0].lines
    expected = np.square(X - X_hat).mean(axis=0).reshape(3, 8)
    np.testing.assert_allclose([line.get_ydata() for line in curves], expected)
    assert errors.axes_[0, 0].get_xlabel() == "position"
    samples = SamplesDisplay(X, X_hat, sample_shape=(3, 8)).plot()
    assert samples.axes_.shape == (3, 2)
    drawn = samples.axes_[2, 1].lines[1].get_ydata()
    np.testing.assert_array_equal(drawn, X_hat[1].reshape(3, 8)[2])


def test_the_shape_of_an_estimator(digits):
    """Also of the last step of a Pipeline, unless the number of features changes."""
    X = digits[0][:60]
    ae = autoencoder(2, sample_shape=(1, 4, 16), hidden_layer_sizes=(2,))
    pipe = make_pipeline(MinMaxScaler(), ae).fit(X)
    for model in (pipe, pipe[-1]):
        display = ReconstructionDisplay.from_estimator(model, X, n_shown=1)
        assert display.axes_[0, 0].images[0].get_array().shape == (4, 16)
        assert ErrorDisplay.from_estimator(model, X).sample_shape == (1, 4, 16)
    codes = CodesDisplay.from_estimator(ae, X, decoded=3)
    assert codes.axes_[0, 1].images[0].get_array().shape == (3 * 5, 3 * 17)
    other = autoencoder(2, sample_shape=(1, 3), hidden_layer_sizes=(2,))
    narrower = make_pipeline(PCA(3), other).fit(X)
    display = ReconstructionDisplay.from_estimator(narrower, X, n_shown=1)
    assert not display.axes_[0, 0].images
    signal = autoencoder(2, sample_shape=(2, 32), hidden_layer_sizes=(2,)).fit(X)
    codes = CodesDisplay.from_estimator(signal, X, decoded=3)
    assert len(codes.axes_[0, 1].lines) == 9 * 3  # a zero line and two channels each


def test_curves_are_labelled(iris):
    pca = PCA(2).fit(iris.data)
    display = ReconstructionDisplay.from_estimator(pca, iris.data)
    assert display.axes_.shape == (2, 3)
    ticks = [tick.get_text() for tick in display.axes_[1, 0].get_xticklabels()]
    assert ticks == list(iris.data.columns)
    assert labels(display.axes_[0, -1]) == ["original", "PCA\n2 components"]
    x = pd.Series([400, 500, 600, 700], name="wavelength (nm)")
    display = ReconstructionDisplay.from_estimator(pca, iris.data, x=x)
    assert display.axes_[1, 0].get_xlabel() == "wavelength (nm)"
    with pytest.raises(ValueError, match="n_shown of ReconstructionDisplay must be 1"):
        ReconstructionDisplay.from_estimator(pca, iris.data, n_shown=0)
    with pytest.raises(ValueError, match=r"X has the shape \(2, 4\) and X_hat"):
        ReconstructionDisplay.from_reconstructions(np.eye(4)[:2], {"other": np.eye(3)})


def test_samples_beside_rows(digits, iris, pca8):
    X = digits[0][:30]
    display = SamplesDisplay.from_estimator(
        pca8, X, n_shown=4, random_state=0, shape=(8, 8)
    )
    assert display.axes_.shape == (2, 4)
    for row, images in enumerate([X[:4], display.drawn]):
        for column, image in enumerate(images):
            (drawn,) = display.axes_[row, column].images
            np.testing.assert_allclose(drawn.get_array(), image.reshape(8, 8))
    assert display.axes_[1, 0].get_ylabel() == "drawn by PCA"
    display = SamplesDisplay.from_estimator(pca8, X, x=np.arange(64), random_state=0)
    assert display.axes_.shape == (1, 2)
    np.testing.assert_array_equal(display.axes_[0, 0].lines[3].get_ydata(), X[3])
    np.testing.assert_array_equal(
        display.axes_[0, 1].lines[3].get_ydata(), display.drawn[3]
    )
    mixture = GaussianMixture(3, random_state=0).fit(iris.data.to_numpy())
    for model in mixture, KernelDensity(bandwidth=0.1).fit(iris.data.to_numpy()):
        display = SamplesDisplay.from_estimator(model, iris.data, random_state=0)
        assert display.drawn.shape == (150, 4)
        real, new = display.axes_[2, 1].lines
        np.testing.assert_array_equal(real.get_ydata(), iris.data.to_numpy()[:, 2])
        np.testing.assert_array_equal(new.get_xdata(), display.drawn[:, 1])
        assert real.get_marker() != new.get_marker()
        assert not display.axes_[1, 2].axison
    assert display.axes_[3, 0].get_ylabel() == "petal width (cm)"
    with pytest.raises(ValueError, match="n_shown of SamplesDisplay must be 1"):
        SamplesDisplay.from_estimator(pca8, X, n_shown=0)


def test_samples_are_in_the_units_of_the_rows(iris):
    X = 100 + 10 * iris.data.to_numpy()
    for model in (
        make_pipeline(StandardScaler(), PCA(2)),
        autoencoder(2, standardize=True),
        PCA(2),
    ):
        drawn = SamplesDisplay.from_estimator(model.fit(X), X, random_state=0).drawn
        np.testing.assert_allclose(drawn.mean(axis=0), X.mean(axis=0), rtol=0.02)
        np.testing.assert_allclose(drawn.std(axis=0), X.std(axis=0), rtol=0.25)


def test_nmf_and_sparse(digits):
    X = sparse.csr_array(digits[0][:100])
    nmf = NMF(4, init="nndsvda", max_iter=20, tol=0.1).fit(X)
    display = ReconstructionDisplay.from_estimator(nmf, X, n_shown=2)
    np.testing.assert_array_equal(display.X, digits[0][:2])
    assert ErrorDisplay.from_estimator(nmf, X).worst_.size == 5
    display = CodesDisplay.from_estimator(nmf, X, codes=(0, 1), decoded=3)
    assert display.decoded.shape == (3, 3, 64)
    pipe = make_pipeline(MinMaxScaler(clip=True), nmf).fit(digits[0][:100])
    assert CodesDisplay.from_estimator(pipe, digits[0]).axes_.shape == (4, 4)


def pinball_loss(X_hat, X, share=0.5):
    return torch.maximum(share * (X - X_hat), (share - 1) * (X - X_hat))


LOSSES_OF_USERS = [
    ({"squared_error": [0, 1], "huber": [2, 3]}, "mixed loss"),
    (pinball_loss, "pinball loss"),
    (functools.partial(pinball_loss, share=0.9), "pinball loss"),
    (lambda X_hat, X: torch.abs(X_hat - X), "loss"),
    (torch.nn.L1Loss(reduction="none"), "L1Loss"),
    ("binary_cross_entropy", "binary cross entropy"),
]


@pytest.mark.parametrize(("loss", "words"), LOSSES_OF_USERS)
def test_losses_of_users(iris, loss, words):
    """Every Display takes an autoencoder of any loss, and the axis has its name."""
    X = (iris.data / 8).to_numpy()
    ae = autoencoder(2, loss=loss, hidden_layer_sizes=(4,), max_epochs=1).fit(X)
    displays = {
        name: getattr(plotting, name).from_estimator(ae, X, **params)
        for name, (params, _) in CASES.items()
        if name != "OutlierDisplay"
    }
    label = displays["LossCurveDisplay"].ax_.get_ylabel()
    assert label == f"{words} per feature"


def test_loss_curves(digits):
    X = digits[0][:1200]
    ae = autoencoder(2, max_epochs=3).fit(X)
    ax = LossCurveDisplay.from_estimator(ae).ax_
    training, held_out, pca, best = ax.lines
    np.testing.assert_allclose(training.get_xydata(), np.c_[[1, 2, 3], ae.loss_curve_])
    np.testing.assert_allclose(held_out.get_xydata()[:, 0], [0, 1, 2, 3])
    np.testing.assert_allclose(held_out.get_ydata(), ae.validation_curve_)
    np.testing.assert_allclose(pca.get_ydata(), -ae.pca_score_)
    kept = [[ae.best_epoch_, ae.validation_curve_[ae.best_epoch_]]]
    np.testing.assert_allclose(best.get_xydata(), kept)
    assert labels(ax) == ["training", "held out", "PCA", f"kept: epoch {ae.best_epoch_}"]
    assert ax.get_ylabel() == "squared error per feature"
    styles = {line.get_linestyle() for line in (training, held_out, pca)}
    assert len(styles) == 3
    # A second model on the same Axes is told apart.
    LossCurveDisplay.from_estimator(ae, ax=ax, name="twin")
    assert "twin, held out" in labels(ax)
    assert ax.lines[5].get_color() != held_out.get_color()


def test_powers_of_ten_are_named_once():
    """Also of two curves on the same Axes, of which the second is much larger."""
    low = LossCurveDisplay([], [3e-7, 1e-7], best_epoch=1).plot()
    label = "squared error per feature, in $10^{-7}$"
    assert low.ax_.get_ylabel() == label
    assert low.ax_.yaxis.get_major_formatter()(2e-7) == "2"
    low.plot(low.ax_)
    assert low.ax_.get_ylabel() == label
    LossCurveDisplay([], [3e3, 1.0], best_epoch=1).plot(low.ax_, yscale="linear")
    assert low.ax_.get_ylabel() == "squared error per feature"  # 3000 needs no power
    assert low.ax_.yaxis.get_major_formatter()(2000.0) == "2000"


def test_loss_curves_of_a_fit_that_did_not_train(digits):
    X = digits[0]
    for n_rows, params in [(15, {}), (100, {"hidden_layer_sizes": ()})]:
        display = LossCurveDisplay.from_estimator(autoencoder(2, **params).fit(X[:n_rows]))
        assert [text.get_text() for text in display.ax_.texts] == [
            "not trained: the model is PCA"
        ]
        assert labels(display.ax_) == ["PCA"]
        low, high = display.ax_.get_ylim()
        assert low < display.pca_error < high
        display.figure_.draw_without_rendering()
    display = LossCurveDisplay.from_estimator(
        autoencoder(2, early_stopping=False).fit(X[:50])
    )
    assert labels(display.ax_) == ["training", "PCA"]
    assert not display.ax_.texts


@pytest.mark.parametrize(
    ("curve", "yscale", "expected"),
    [
        ([1.0, 0.3], "auto", "linear"),
        ([1.0, 0.2], "auto", "log"),
        ([1.0, 0.0], "auto", "linear"),
        ([1.0, -0.1], "auto", "linear"),
        ([1.0, 0.2], "linear", "linear"),
        ([1.0, 0.9], "log", "log"),
    ],
)
def test_yscale(curve, yscale, expected):
    display = LossCurveDisplay([], curve, best_epoch=1).plot(yscale=yscale)
    assert display.ax_.get_yscale() == expected
    with pytest.raises(
        ValueError, match=r"yscale of LossCurveDisplay\.plot must be 'auto'"
    ):
        display.plot(yscale="symlog")


def test_explained_variance(digits, pca8):
    X = digits[0]
    full = PCA().fit(X).explained_variance_ratio_
    display = ExplainedVarianceDisplay.from_estimator(pca8, X, threshold=0.9)
    reached = int((np.cumsum(full) < 0.9).sum()) + 1
    assert display.n_components_ == {"PCA of X": reached, "PCA": None}
    np.testing.assert_allclose(display.ratios["PCA of X"], full[:reached])
    curves = {line.get_label(): line for line in display.ax_.lines}
    drawn = curves["PCA (does not reach it)"].get_xydata()
    expected = np.c_[np.arange(1, 9), np.cumsum(pca8.explained_variance_ratio_)]
    np.testing.assert_allclose(drawn, expected)
    assert [text.get_text() for text in display.ax_.texts] == [str(reached)]
    alone = ExplainedVarianceDisplay.from_estimator(pca8, name="mine")
    assert alone.n_components_ == {}
    assert labels(alone.ax_) == ["mine"]
    # 0.7 + 0.2 is 0.8999999999999999 in floating point.
    exact = ExplainedVarianceDisplay({"all": [0.7, 0.2, 0.1]}, threshold=0.9).plot()
    assert exact.n_components_ == {"all": 2}
    for threshold in (0, 1, 95):
        with pytest.raises(ValueError, match="threshold of ExplainedVarianceDisplay must"):
            ExplainedVarianceDisplay({"all": [1.0]}, threshold=threshold).plot()


def test_explained_variance_in_a_pipeline(iris):
    """The PCA beside it sees what the last step sees."""
    pipe = make_pipeline(StandardScaler(), autoencoder(2)).fit(iris.data)
    display = ExplainedVarianceDisplay.from_estimator(pipe, iris.data)
    scaled = PCA().fit(StandardScaler().fit_transform(iris.data))
    np.testing.assert_allclose(display.ratios["PCA"], scaled.explained_variance_ratio_[:2])


@pytest.mark.parametrize(
    ("y", "explained"),
    [
        (None, None),
        (np.repeat([0, 1, 2], 50), ["0", "1", "2"]),
        (np.repeat([0.0, 1.0, 2.0], 50), ["0", "1", "2"]),
        (np.repeat(["a", "b"], 75), ["a", "b"]),
        (np.arange(150) > 70, ["False", "True"]),
        (np.arange(150) % 10, [str(digit) for digit in range(10)]),
        (np.arange(150), "y"),
        (pd.Series(np.linspace(0, 1, 150), name="pH"), "pH"),
    ],
    ids=["none", "int", "float", "str", "bool", "digits", "many", "scale"],
)
def test_colours(fitted, y, explained):
    many = isinstance(explained, str) or y is None or len(explained) == 10
    codes = (0, 1, 2) if many else (0, 1)
    display = CodesDisplay.from_estimator(*fitted["autoencoder"], y, codes=codes)
    display.figure_.draw_without_rendering()
    legend = display.axes_[0, 0].get_legend()
    data = [ax for ax in display.axes_.ravel() if ax.axison]
    if isinstance(explained, str):
        (box,) = display.axes_[0, int(many)].child_axes
        assert box.get_ylabel() == explained
        covering = box.get_window_extent()
    elif explained is None:
        assert legend is None
        return
    else:
        assert labels(display.axes_[0, 0]) == explained
        covering = legend.get_window_extent()
        (scatter,) = display.axes_[-1, 0].collections
        colors = [tuple(color) for color in scatter.get_facecolor()]
        paths = [path.vertices.tobytes() for path in scatter.get_paths()]
        assert len(colors) == len(paths) == len(y)
        looks = set(zip(colors, paths, strict=True))  # one of each class
        assert len(looks) == len(set(colors)) == len(set(paths)) == len(explained)
        assert colors != sorted(colors, key=colors.index)  # no class covers the others
    assert not any(covering.overlaps(ax.get_window_extent()) for ax in data)


def test_codes(fitted, iris):
    estimator, X = fitted["PCA"]
    Z = estimator.transform(X)
    display = CodesDisplay.from_estimator(estimator, X, codes=(2, 0))
    np.testing.assert_array_equal(display.Z, Z[:, [2, 0]])
    drawn = display.axes_[0, 0].collections[0].get_offsets()
    np.testing.assert_array_equal(drawn, Z[:, [2, 0]])
    share = 100 * estimator.explained_variance_ratio_[2]
    assert display.axes_[0, 0].get_xlabel() == f"code 3 ({share:.1f} %)"
    pairs = CodesDisplay.from_estimator(estimator, X)
    drawn = pairs.axes_[2, 1].collections[0].get_offsets()
    np.testing.assert_array_equal(drawn, Z[:, [1, 2]])
    one = CodesDisplay.from_estimator(estimator, X, iris.target, codes=[1])
    assert one.axes_.shape == (1, 1)
    assert labels(one.axes_[0, 0]) == ["0", "1", "2"]
    size = CodesDisplay.from_estimator(
        estimator, X, codes=(0, 1), scatter_kwargs={"s": 3, "color": "red"}
    )
    assert size.axes_[0, 0].collections[0].get_sizes() == [3]
    for codes in [(0, 3), (-1, 0), ()]:
        with pytest.raises(ValueError, match=r"codes of CodesDisplay must be among 0\.\.2"):
            CodesDisplay.from_estimator(estimator, X, codes=codes)
    for option in ("decoded", "loadings"):
        with pytest.raises(ValueError, match=f"{option} of CodesDisplay takes two codes"):
            CodesDisplay.from_estimator(estimator, X, **{option: 2})
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        CodesDisplay.from_estimator(estimator, X, iris.target[:10])


def test_decoded(digits, pca8):
    X = digits[0]
    display = CodesDisplay.from_estimator(
        pca8, X, digits[1], codes=(0, 1), decoded=4, shape=(8, 8)
    )
    assert display.axes_.shape == (1, 2)
    Z = pca8.transform(X)
    ends = np.percentile(Z[:, :2], [1, 99], axis=0)
    code = np.r_[ends[1, 0], ends[0, 1], Z[:, 2:].mean(axis=0)]  # right, below
    expected = pca8.inverse_transform(code[None])[0]
    np.testing.assert_allclose(display.decoded[0, 3], expected, atol=1e-12)
    (mosaic,) = display.axes_[0, 1].images
    lowest_right = mosaic.get_array()[-9:-1, -9:-1]
    np.testing.assert_allclose(lowest_right, expected.reshape(8, 8), atol=1e-12)
    left, right, low, high = mosaic.get_extent()
    assert left < ends[0, 0] < ends[1, 0] < right
    assert low < ends[0, 1] < ends[1, 1] < high
    curves = CodesDisplay.from_estimator(pca8, X, codes=(0, 1), decoded=2, shape=None)
    assert len(curves.axes_[0, 1].lines) == 8


@pytest.mark.parametrize("whiten", [False, True])
def test_loadings(iris, whiten):
    """In the direction of an arrow the feature rises, in proportion to its length."""
    pipe = make_pipeline(StandardScaler(), PCA(2, whiten=whiten)).fit(iris.data)
    display = CodesDisplay.from_estimator(pipe, iris.data, iris.target, loadings=3)
    step = np.eye(2)
    base = pipe[-1].inverse_transform(np.zeros((1, 2)))
    np.testing.assert_allclose(
        display.loadings, (pipe[-1].inverse_transform(step) - base).T
    )
    ax = display.axes_[0, 0]
    written = [text.get_text() for text in ax.texts if text.get_text()]
    order = np.argsort(-np.hypot(*display.loadings.T))[:3]
    assert written == list(iris.data.columns[order])
    display.figure_.draw_without_rendering()
    frame = ax.get_window_extent()
    texts = [text for text in ax.texts if text.get_text()]
    boxes = [text.get_window_extent() for text in texts]
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)
    data, view = display.Z.max(axis=0), [ax.get_xlim()[1], ax.get_ylim()[1]]
    assert (data / view).max() > 0.8  # arrows do not widen the view
    named = CodesDisplay.from_estimator(
        pipe, iris.data, loadings=2, feature_names=["a", "b", "c", "d"]
    )
    found = {text.get_text() for text in named.axes_[0, 0].texts} - {""}
    assert found == {"abcd"[j] for j in order[:2]}
    assert ax.get_aspect() == 1.0  # angles are read


def test_labels_of_bundled_arrows_are_apart():
    """Features that go the same way have names that can be read."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(50, 2))
    angles = np.linspace(0.1, 0.3, 8)
    loadings = np.c_[np.cos(angles), np.sin(angles)] * np.linspace(0.7, 1, 8)[:, None]
    display = CodesDisplay(Z, loadings=loadings).plot()
    display.figure_.draw_without_rendering()
    texts = [text for text in display.axes_[0, 0].texts if text.get_text()]
    assert sorted(text.get_text() for text in texts) == [f"x{j}" for j in range(8)]
    renderer = display.figure_.canvas.get_renderer()
    # Of the words alone, without the lines that lead to them.
    boxes = [mpl.text.Text.get_window_extent(text, renderer) for text in texts]
    heights = np.sort([(box.y0 + box.y1) / 2 for box in boxes])
    assert np.diff(heights).min() > 8 * display.figure_.dpi / 72


def test_loadings_display(iris, digits, pca8):
    pipe = make_pipeline(StandardScaler(), PCA(2)).fit(iris.data)
    components = pipe[-1].components_
    bars = LoadingsDisplay.from_estimator(pipe, iris.data, n_bars=3).axes_[0]
    for component, ax in zip(components, bars, strict=True):
        order = np.argsort(-np.abs(component))[:3]
        widths = [bar.get_width() for bar in ax.patches]
        np.testing.assert_allclose(widths, component[order])
        written = [tick.get_text() for tick in ax.get_yticklabels()]
        assert written == list(iris.data.columns[order])
    x = pd.Series([400, 500, 600, 700], name="wavelength (nm)")
    curves = LoadingsDisplay.from_estimator(pipe, x=x).axes_
    assert curves.shape == (2, 1)
    np.testing.assert_array_equal(
        curves[1, 0].lines[0].get_xydata(), np.c_[x, components[1]]
    )
    assert curves[1, 0].get_xlabel() == "wavelength (nm)"
    share = 100 * pipe[-1].explained_variance_ratio_[0]
    assert curves[0, 0].get_ylabel() == f"code 1\n({share:.1f} %)"
    images = LoadingsDisplay.from_estimator(pca8, codes=[2], shape=(8, 8)).axes_
    (drawn,) = images[0, 0].images
    np.testing.assert_allclose(drawn.get_array().ravel(), pca8.components_[2])
    assert drawn.get_clim()[0] == -drawn.get_clim()[1]  # zero is in the middle
    channels = LoadingsDisplay.from_estimator(pca8, codes=[0, 1], sample_shape=(2, 32))
    assert channels.axes_.shape == (2, 2)
    line = channels.axes_[1, 1].lines[0].get_ydata()
    np.testing.assert_allclose(line, pca8.components_[1, 32:])


def long_named(rows, columns=30):
    """Correlated numbers in a frame with names as long as those of real tables."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 4)) @ rng.normal(size=(4, columns))
    X += 0.1 * rng.normal(size=X.shape)
    names = [f"standard error of feature {j}" for j in range(columns)]
    return pd.DataFrame(X, columns=names)


def draw_outliers(X, ax):
    distances = np.abs(X.to_numpy()[:, :2]) + 0.01
    limit = np.c_[np.geomspace(2, 0.1, 20), np.geomspace(0.01, 2, 20)]
    shares = np.abs(X.to_numpy()[0])
    signs = np.where(np.arange(len(shares)) % 2, -1.0, 1.0)
    params = {"row": 3, "alarm_rate": 0.05, "feature_names": list(X.columns)}
    alarms = distances[:, 0] > 1
    return OutlierDisplay(distances, alarms, limit, shares, signs, **params).plot(ax)


def draw_loadings(X, ax):
    return LoadingsDisplay.from_estimator(PCA(3).fit(X), X, ax=ax)


def draw_errors(X, ax):
    pipe = make_pipeline(StandardScaler(), PCA(2)).fit(X)
    return ErrorDisplay.from_estimator(pipe, X, n_bars=8, ax=ax)


@pytest.mark.parametrize("font_size", [8, 10])
@pytest.mark.parametrize("draw", [draw_outliers, draw_loadings, draw_errors])
def test_one_column_of_a_page(draw, font_size):
    """At the width of a column bars have room, and no words are cut or cover others."""
    with mpl.rc_context({"font.size": font_size}):
        figure, ax = plt.subplots(figsize=(3.3, 3.2), layout="constrained")
        axes = draw(long_named(200), ax).axes_
        figure.draw_without_rendering()
        for each in axes.flat:
            assert each.get_window_extent().width > 0.35 * figure.dpi
            names = each.get_xticklabels() if each.get_xscale() == "linear" else []
            low, high = each.get_xlim()
            places = [name for name in names if low <= name.get_position()[0] <= high]
            boxes = [name.get_window_extent() for name in places]
            for left, right in itertools.pairwise(boxes):
                assert left.x1 < right.x0
        words = [words_of(each) for each in axes.flat]
        for box in itertools.chain(*words):
            assert box.x0 >= 0
            assert box.x1 <= figure.bbox.x1
        for left, right in itertools.pairwise(words):
            assert not any(box.overlaps(other) for box in left for other in right)


def words_of(ax):
    """Return the boxes of the label, the names on the left and the words above."""
    labels = [ax.xaxis.get_label(), ax.yaxis.get_label(), *ax.get_yticklabels()]
    legend = [] if ax.get_legend() is None else [ax.get_legend()]
    boxes = [each.get_window_extent() for each in labels + legend]
    return [box for box in boxes if box.width > 0]


def test_loadings_at_a_row(iris):
    X = iris.data.set_index(iris.data.index + 1000)
    pipe = make_pipeline(StandardScaler(), autoencoder(2, early_stopping=False)).fit(X)
    display = LoadingsDisplay.from_estimator(pipe, X, row=70)
    at_row = pipe[-1].components_at(pipe[:-1].transform(X))[70]
    expected = at_row / np.linalg.norm(at_row, axis=1, keepdims=True)
    np.testing.assert_allclose(display.components_at_row, expected, atol=1e-6)
    np.testing.assert_allclose(display.components, pipe[-1].components_)
    widths = [bar.get_width() for bar in display.axes_[0, 1].patches]
    order = np.argsort(-np.abs(display.components_at_row[1]), kind="stable")
    both = np.r_[display.components[1, order], display.components_at_row[1, order]]
    np.testing.assert_allclose(widths, both)
    (legend,) = display.figure_.legends
    assert [text.get_text() for text in legend.get_texts()][1] == "at row 1070"
    images = LoadingsDisplay.from_estimator(pipe, X, row=70, shape=(2, 2))
    assert images.axes_.shape == (2, 2)
    drawn = images.axes_[1, 0].images[0].get_array().ravel()
    np.testing.assert_array_equal(drawn, images.components_at_row[0])
    with pytest.raises(ValueError, match=r"row of LoadingsDisplay.*Pass X"):
        LoadingsDisplay.from_estimator(pipe, row=70)
    with pytest.raises(TypeError, match="PCA has no components_at"):
        LoadingsDisplay.from_estimator(PCA(2).fit(X), X, row=70)
    with pytest.raises(ValueError, match=r"codes of LoadingsDisplay must be among 0\.\.1"):
        LoadingsDisplay.from_estimator(pipe, codes=[2])


def test_scree_of_one_fit(digits, pca8):
    train, test = digits[0][:300], digits[0][300:400]
    ordered = autoencoder(3, ordered=True).fit(train)
    for model in (PCA(3).fit(train), ordered):
        display = ScreeDisplay.from_estimator(model, test)
        Z = model.transform(test)
        for k in (1, 2, 3):
            if model is ordered:
                X_hat = ordered.inverse_transform(Z[:, :k])
            else:
                kept = np.where(np.arange(3) < k, Z, Z.mean(axis=0))
                X_hat = model.inverse_transform(kept)
            rows = np.square(X_hat - test).mean(axis=1)
            assert display.errors[k - 1] == pytest.approx(rows.mean(), rel=1e-5)
            error = rows.std(ddof=1) / 10
            assert display.standard_errors[k - 1] == pytest.approx(error, rel=1e-4)
    several = [PCA(k).fit(train) for k in (5, 2)]
    display = ScreeDisplay.from_estimators(several, test, name="PCA, several")
    np.testing.assert_array_equal(display.n_components, [2, 5])
    expected = [
        reconstruction_error(test, model.inverse_transform(model.transform(test)))
        for model in several[::-1]
    ]
    np.testing.assert_allclose(display.errors, expected)


def test_scree_of_a_search(iris):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2)) @ rng.normal(size=(2, 10)) + 0.1 * rng.normal(
        size=(80, 10)
    )
    scoring = {"cells": make_hidden_cell_scorer(), "rows": make_reconstruction_scorer()}
    search = GridSearchCV(
        PCA(), {"n_components": [1, 2, 3, 4]}, scoring=scoring, refit=False
    )
    results = search.fit(X).cv_results_
    display = ScreeDisplay.from_cv_results(results, score="cells", name="PCA")
    assert display.n_components_ == 2 == one_standard_error(results, score="cells") + 1
    np.testing.assert_allclose(display.errors, -results["mean_test_cells"])
    splits = [results[f"split{i}_test_cells"] for i in range(5)]
    spread = np.std(splits, axis=0, ddof=1) / np.sqrt(5)
    np.testing.assert_allclose(display.standard_errors, spread)
    assert labels(display.ax_) == ["PCA", "2: within one standard error"]
    ScreeDisplay.from_cv_results(results, score="rows", name="rows", ax=display.ax_)
    assert labels(display.ax_)[2] == "rows"
    with pytest.raises(ValueError, match="score of ScreeDisplay must be the name of a sc"):
        ScreeDisplay.from_cv_results(results)
    bare = ScreeDisplay([1, 2, 3], [3.0, 1.0, 2.0]).plot()
    assert bare.n_components_ == 2
    assert labels(bare.ax_) == ["held out", "2: smallest"]


@pytest.mark.parametrize(
    "metric", ["squared_error", "absolute_error", "root_mean_squared_error"]
)
def test_errors(iris, metric):
    X = iris.data.set_index(np.arange(1000, 1150))
    pca = PCA(1).fit(X)
    X_hat = pca.inverse_transform(pca.transform(X))
    display = ErrorDisplay.from_estimator(pca, X, metric=metric, n_worst=3, n_bars=2)
    params = {"metric": metric, "multioutput": "raw_values"}
    expected = reconstruction_error(X, X_hat, **params)
    np.testing.assert_allclose(display.feature_errors, expected)
    row = reconstruction_error(X[:1], X_hat[:1], metric=metric)
    if metric == "root_mean_squared_error":
        row = np.sqrt(np.square(X_hat[0] - X.iloc[0]).mean())
    np.testing.assert_allclose(display.row_errors[0], row)
    worst = np.argsort(-display.row_errors)[:3]
    np.testing.assert_array_equal(display.worst_, worst)
    left, right = display.axes_[0]
    assert {text.get_text() for text in right.texts} == {str(1000 + i) for i in worst}
    widths = [bar.get_width() for bar in left.patches]
    np.testing.assert_allclose(widths, np.sort(expected)[::-1][:2])
    bars = [tick.get_text() for tick in left.get_yticklabels()]
    assert bars == list(X.columns[np.argsort(-expected)[:2]])
    assert labels(right)[1] == "3 worst rows"


def test_errors_of_images_and_curves(digits, pca8):
    X = digits[0][:50]
    X_hat = pca8.inverse_transform(pca8.transform(X))
    image = ErrorDisplay.from_reconstruction(X, X_hat, shape=(8, 8))
    expected = np.square(X_hat - X).mean(axis=0)
    (drawn,) = image.axes_[0, 0].images
    np.testing.assert_allclose(drawn.get_array(), expected.reshape(8, 8))
    colours = ErrorDisplay.from_reconstruction(X[:, :48], X_hat[:, :48], shape=(4, 4, 3))
    (drawn,) = colours.axes_[0, 0].images
    means = expected[:48].reshape(4, 4, 3).mean(axis=2)
    np.testing.assert_allclose(drawn.get_array(), means)
    curve = ErrorDisplay.from_reconstruction(X, X_hat, x=np.arange(64), n_worst=0)
    np.testing.assert_allclose(curve.axes_[0, 0].lines[0].get_ydata(), expected)
    assert not curve.axes_[0, 1].texts
    with pytest.raises(ValueError, match="metric of ErrorDisplay must be an error"):
        ErrorDisplay.from_reconstruction(X, X_hat, metric="r2")
    with pytest.raises(ValueError, match="X_hat is to reconstruct X"):
        ErrorDisplay.from_reconstruction(X, X_hat[1:])


def test_outlier_does_not_break_the_histogram():
    display = ErrorDisplay(np.ones(3), np.r_[np.full(500, 1e-6), 1e6]).plot()
    assert display.worst_[0] == 500
    assert len(display.axes_[0, 1].patches) <= 50
    same = ErrorDisplay(np.ones(3), np.zeros(5)).plot()  # a perfect reconstruction
    same.figure_.draw_without_rendering()
    assert same.worst_.size == 5


# -- incomplete and sparse rows --------------------------------------------------------


@pytest.fixture(scope="module")
def gaps(digits):
    """Digits (200, 64) with missing pixels and an autoencoder that takes them."""
    X = digits[0][:200]
    X = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    return X, autoencoder(4, allow_nan=True).fit(X)


def test_missing_pixels_have_a_colour(gaps):
    X, ae = gaps
    display = ReconstructionDisplay.from_estimator(ae, X, n_shown=3, shape=(8, 8))
    X_hat = ae.inverse_transform(ae.transform(X[:3]))
    for column, ax in enumerate(display.axes_[0]):
        image = ax.images[0]
        np.testing.assert_array_equal(image.get_array().mask.ravel(), np.isnan(X[column]))
        assert image.cmap.get_bad().tolist() == list(mpl.colors.to_rgba("#E69F00"))
        assert image.get_clim() == (np.nanmin(X[:3]), np.nanmax(X[:3]))
        error = np.nanmean((X[column] - X_hat[column]) ** 2)
        assert display.axes_[1, column].get_xlabel() == two_figures(error)
    legend = display.axes_[0, -1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["missing"]
    whole = ReconstructionDisplay.from_estimator(
        ae, np.nan_to_num(X), n_shown=3, shape=(8, 8)
    )
    assert whole.axes_[0, -1].get_legend() is None


def test_missing_pixels_of_coloured_images():
    X = np.linspace(0, 1, 48).reshape(1, 48)
    X_gaps = X.copy()
    X_gaps[0, 4] = np.nan
    display = ReconstructionDisplay.from_reconstructions(
        X_gaps, {"a": X, "b": X + 0.1}, shape=(4, 4, 3)
    )
    image = display.axes_[0, 0].images[0].get_array()
    assert image.shape == (4, 4, 4)
    np.testing.assert_allclose(image[0, 1], mpl.colors.to_rgba("#E69F00"))
    np.testing.assert_allclose(image[0, 0], [*X[0, :3], 1])
    errors = [ax.get_xlabel() for ax in display.axes_[1:, 0]]
    assert errors == ["0.0", "0.010"]


def test_gaps_in_curves(gaps):
    X, ae = gaps
    display = ReconstructionDisplay.from_estimator(ae, X, shape=None)
    for column in range(3):
        top, bottom = display.axes_[:, column]
        np.testing.assert_array_equal(top.lines[0].get_ydata(), X[column])
        np.testing.assert_array_equal(
            np.isnan(bottom.lines[1].get_ydata()), np.isnan(X[column])
        )
        assert top.lines[0].get_marker() == "."  # so that lone values are seen
        assert np.isfinite(top.lines[1].get_ydata()).all()


def test_codes_of_incomplete_rows(gaps):
    X, ae = gaps
    display = CodesDisplay.from_estimator(ae, X, codes=(0, 1), decoded=3, loadings=2)
    np.testing.assert_array_equal(display.Z, ae.transform(X)[:, :2])
    assert display.limits == (np.nanmin(X), np.nanmax(X))
    assert CodesDisplay.from_estimator(ae, X).axes_.shape == (4, 4)


def test_errors_of_incomplete_rows(gaps):
    X, ae = gaps
    X = X.copy()
    X[7], X[:, 3] = np.nan, np.nan
    squares = (X - ae.inverse_transform(ae.transform(X))) ** 2
    display = ErrorDisplay.from_estimator(ae, X, n_worst=500, shape=None)
    known = np.arange(64) != 3
    features = np.nanmean(squares[:, known], axis=0)
    np.testing.assert_allclose(display.feature_errors[known], features)
    assert np.isnan(display.feature_errors[3])
    known = np.arange(200) != 7
    np.testing.assert_allclose(
        display.row_errors[known], np.nanmean(squares[known], axis=1)
    )
    assert 7 not in display.worst_
    assert len(display.worst_) == 199
    assert sum(bar.get_height() for bar in display.axes_[0, 1].patches) == 199
    with pytest.raises(ValueError, match="no values to score"):
        ErrorDisplay.from_reconstruction(np.full((2, 3), np.nan), np.zeros((2, 3)))


def test_explained_variance_of_incomplete_rows(gaps):
    X, ae = gaps
    assert list(ExplainedVarianceDisplay.from_estimator(ae).ratios) == [
        "AutoencoderTransformer"
    ]
    text = "X of ExplainedVarianceDisplay has missing cells, and PCA.*impute of an Auto"
    with pytest.raises(ValueError, match=text):
        ExplainedVarianceDisplay.from_estimator(ae, X)
    filled = make_pipeline(SimpleImputer(), PCA(3)).fit(X)
    ratios = ExplainedVarianceDisplay.from_estimator(filled, X).ratios["PCA of X"]
    np.testing.assert_allclose(ratios[:3], filled[-1].explained_variance_ratio_)


@pytest.mark.parametrize("draw", [ErrorDisplay, CodesDisplay, ReconstructionDisplay])
def test_an_estimator_that_takes_no_gaps_says_so(gaps, digits, draw):
    pca = PCA(2).fit(digits[0])
    with pytest.raises(ValueError, match="PCA does not accept missing values"):
        draw.from_estimator(pca, gaps[0])


@pytest.mark.parametrize("form", ["csr_array", "coo_matrix"])
def test_sparse_rows_are_drawn_as_dense_ones(digits, form, monkeypatch):
    dense = digits[0][:100]
    X = getattr(sparse, form)(dense)
    svd = TruncatedSVD(3, random_state=0).fit(X)
    monkeypatch.setattr("skae._tables.rows.BLOCK", 640)
    monkeypatch.setattr("skae._tables.rows.SMALL", 0)
    monkeypatch.setattr("skae._tables.rows.FEW_ROWS", 10)
    ours, theirs = (ErrorDisplay.from_estimator(svd, each) for each in (X, dense))
    np.testing.assert_allclose(ours.row_errors, theirs.row_errors)
    np.testing.assert_allclose(ours.feature_errors, theirs.feature_errors)
    ours, theirs = (ReconstructionDisplay.from_estimator(svd, each) for each in (X, dense))
    np.testing.assert_array_equal(ours.X, theirs.X)
    params = {"codes": (0, 1), "decoded": 3, "loadings": 2}
    ours, theirs = (CodesDisplay.from_estimator(svd, each, **params) for each in (X, dense))
    np.testing.assert_allclose(ours.Z, theirs.Z)
    assert ours.limits == theirs.limits
    for n_rows in (100, 30):  # more rows than features, and fewer
        ours, theirs = (
            ExplainedVarianceDisplay.from_estimator(svd, each, threshold=0.95)
            for each in (sparse.csr_array(X)[:n_rows], dense[:n_rows])
        )
        assert ours.n_components_ == theirs.n_components_
        np.testing.assert_allclose(ours.ratios["PCA"], theirs.ratios["PCA"])


def test_outlier_display(iris):
    X = iris.data.set_index(iris.data.index + 1000)
    detector = AutoencoderOutlierDetector(autoencoder(2)).fit(X[:50])
    display = OutlierDisplay.from_estimator(detector, X, alarm_rate=0.2)
    np.testing.assert_array_equal(display.distances, detector.distances(X))
    np.testing.assert_array_equal(display.is_alarm, detector.p_values(X) <= 0.2)
    row = int(np.argmin(detector.score_samples(X)))
    assert (display.row, display.row_name) == (row, 1000 + row)
    expected = detector.contributions(X).to_numpy()[row]
    np.testing.assert_allclose(display.contributions, expected)
    left, right = display.axes_[0]
    normal, alarms = left.lines[:2]
    assert len(normal.get_xdata()) + len(alarms.get_xdata()) == 150
    assert len(alarms.get_xdata()) == display.is_alarm.sum() > 90
    # The lines of the limit: its residuals are those that `residual_limit` returns.
    limit, distance = display.limit.T
    np.testing.assert_allclose(limit, detector.residual_limit(distance, 0.2))
    names = [label.get_text() for label in right.get_yticklabels()]
    order = np.argsort(-display.contributions)
    assert names == list(X.columns[order])
    widths = [bar.get_width() for bar in right.patches]
    assert sum(widths) == pytest.approx(-detector.score_samples(X)[row])
    chosen = OutlierDisplay.from_estimator(detector, X, row=3, n_bars=2)
    assert chosen.row_name == 1003
    assert len(chosen.axes_[0, 1].patches) == 2


def test_outlier_display_of_another_estimator(iris):
    message = "must be an AutoencoderOutlierDetector, or a Pipeline that ends.*got PCA"
    with pytest.raises(TypeError, match=message):
        OutlierDisplay.from_estimator(PCA(2).fit(iris.data), iris.data)
