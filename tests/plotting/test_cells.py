"""Displays of mixed columns: strips of cells, and the user's columns everywhere."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib import pyplot as plt
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from skae import AutoencoderOutlierDetector, AutoencoderTransformer, plotting
from skae.metrics import make_reconstruction_scorer
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
from skae.plotting._drawing import CATEGORY

# Displays and arguments of from_estimator, and the shape of axes_; None is `ax_`.
CASES = {
    "ReconstructionDisplay": ({"n_shown": 2}, (1, 2)),
    "LossCurveDisplay": ({}, None),
    "ExplainedVarianceDisplay": ({"threshold": 0.5}, None),
    "CodesDisplay": ({"decoded": 5, "loadings": 4}, (1, 2)),
    "ErrorDisplay": ({"n_worst": 2}, (1, 2)),
    "OutlierDisplay": ({"alarm_rate": 0.1}, (1, 2)),
    "LoadingsDisplay": ({"row": 1}, (1, 2)),
    "ScreeDisplay": ({}, None),
}
KINDS = [False, True, False, True, True]  # which columns of `mixed_frame` hold categories


@pytest.fixture(autouse=True)
def closed_figures():
    with mpl.rc_context({"backend": "Agg"}):
        yield
        plt.close("all")


def autoencoder(n_components=2, **params):
    params = {"max_epochs": 3, "hidden_layer_sizes": (16,), "random_state": 0} | params
    return AutoencoderTransformer(n_components, early_stopping=False, **params)


@pytest.fixture(scope="module")
def fitted(mixed_frame):
    return autoencoder().fit(mixed_frame)


@pytest.fixture(scope="module")
def detector(mixed_frame):
    ae = AutoencoderTransformer(2, max_epochs=1, random_state=0)
    return AutoencoderOutlierDetector(ae).fit(mixed_frame)


def in_polars(frame):
    columns = {name: column.astype(object).to_list() for name, column in frame.items()}
    kinds = {"color": pl.Categorical, "size": pl.Enum(["S", "M", "L", "XL"])}
    return pl.DataFrame(columns).cast(kinds)


def words(ax):
    return [text.get_text() for text in ax.texts]


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_cases_are_complete():
    assert {*CASES, "SamplesDisplay"} == set(plotting.__all__)


@pytest.mark.parametrize("form", ["pandas", "polars, a Pipeline, on Axes"])
@pytest.mark.parametrize("name", CASES)
def test_from_estimator(fitted, detector, mixed_frame, name, form):
    params, shape = CASES[name]
    estimator, X = detector if name == "OutlierDisplay" else fitted, mixed_frame
    if form != "pandas":
        X = in_polars(X)
        estimator = make_pipeline(FunctionTransformer().fit(X), estimator)
        params = params | {"ax": plt.figure(layout="constrained").subplots()}
    display = getattr(plotting, name).from_estimator(estimator, X, **params)
    axes = display.ax_ if shape is None else display.axes_
    assert shape is None or axes.shape == shape
    display.figure_.canvas.draw()
    assert display.plot() is display


def test_strips_of_a_frame(fitted, mixed_frame):
    smaller = autoencoder(1).fit(mixed_frame)
    frame = mixed_frame.set_index(mixed_frame.index + 50)
    draw = ReconstructionDisplay.from_estimator
    display = draw(fitted, frame, baseline=smaller, n_shown=2)
    assert ticks(display.axes_[0, 0].yaxis) == [*frame]
    assert display.axes_[0, 1].get_title(loc="left").startswith("row 51\nerror ")
    back = fitted.set_output(transform="pandas").denoise(frame)
    fitted.set_output(transform="default")
    cells = np.reshape(words(display.axes_[0, 0]), (5, 3))
    assert cells[1, 0] == frame["color"].iloc[0]
    assert cells[1, 2] == back["color"].iloc[0]
    assert cells[0, 2] == f"{back['age'].iloc[0]:.3g}"
    errors = display.cell_errors["AutoencoderTransformer, 2 components"]
    residuals = fitted.residuals(frame[:2]).to_numpy()
    scale = np.where(
        KINDS, 1.0, frame.std(ddof=0, numeric_only=True).reindex(frame.columns)
    )
    np.testing.assert_allclose(errors, np.abs(residuals) / scale, rtol=1e-6)
    mesh = display.axes_[0, 0].collections[0].get_array()
    assert np.ma.getmaskarray(np.ma.masked_invalid(mesh))[:, 0].all()
    np.testing.assert_allclose(mesh[:, 2], errors[0])


def test_strips_of_frames_without_an_estimator(mixed_frame):
    shown = mixed_frame[:2]
    back = shown.assign(
        color=pd.Categorical(["red", "green"], dtype=shown["color"].dtype),
        age=shown["age"] + 1,
    )
    draw, is_wrong = (
        ReconstructionDisplay.from_reconstructions,
        shown["color"] != back["color"],
    )
    display = draw(shown, {"mine": back}, scale=[2.0, 1, 1, 1, 1])
    errors = display.cell_errors["mine"]
    np.testing.assert_allclose(errors[:, 0], 0.5)
    np.testing.assert_array_equal(errors[:, 1], is_wrong)
    assert is_wrong.tolist() == [True, False]
    assert not errors[:, 2:].any()
    assert ticks(display.axes_[0, 0].xaxis) == ["original", "decoded"]


def test_strips_of_gaps_and_of_many_columns(gapped_frame):
    frame = gapped_frame.assign(**{f"n{j}": np.arange(300.0) for j in range(40)})
    ae = autoencoder(allow_nan=True, max_epochs=1).fit(frame)
    display = ReconstructionDisplay.from_estimator(ae, frame, n_shown=1)
    assert np.isnan(display.cell_errors[next(iter(display.cell_errors))][0, 0])
    assert len(display.axes_[0, 0].get_yticks()) == 30
    assert any("30 of 45 columns" in ax.get_xlabel() for ax in display.figure_.axes)
    few = ReconstructionDisplay.from_estimator(
        autoencoder(allow_nan=True, max_epochs=1).fit(gapped_frame), gapped_frame, n_shown=1
    )
    assert words(few.axes_[0, 0])[0] == "\N{EN DASH}"


def test_strips_of_a_loss_for_each_column(mixed_frame):
    """A dict of losses, and categories that the user has made one-hot."""
    encoder = OneHotEncoder(sparse_output=False).set_output(transform="pandas")
    table = mixed_frame[["age"]].join(encoder.fit_transform(mixed_frame[["color"]]))
    loss = {"squared_error": ["age"], "cross_entropy": [[*table.columns[1:]]]}
    ae = autoencoder(loss=loss).fit(table)
    display = ReconstructionDisplay.from_estimator(ae, table, n_shown=3)
    assert display.axes_.shape == (1, 3)
    assert ticks(display.axes_[0, 0].yaxis) == [*table]
    (errors,) = display.cell_errors.values()
    differences = np.abs(ae.denoise(table[:3]) - table[:3].to_numpy())
    differences[:, 0] /= table["age"].std(ddof=0)
    np.testing.assert_allclose(errors, differences, rtol=1e-6)
    curves = ReconstructionDisplay.from_estimator(ae, table, x=np.arange(4), n_shown=3)
    assert curves.axes_.shape == (2, 3)


def test_errors_have_the_columns_of_the_frame(fitted, mixed_frame):
    display = ErrorDisplay.from_estimator(fitted, mixed_frame)
    total = -make_reconstruction_scorer()(fitted, mixed_frame)
    assert display.feature_errors.mean() == pytest.approx(total)
    assert display.row_errors.mean() == pytest.approx(total)
    left = display.axes_[0, 0]
    order = np.argsort(-display.feature_errors)
    assert ticks(left.yaxis) == [*mixed_frame.columns[order]]
    is_green = [
        mpl.colors.to_hex(bar.get_facecolor()) == CATEGORY.lower() for bar in left.patches
    ]
    assert sum(is_green) == 3
    assert "best constant" in left.get_xlabel()
    doubled = {"metric": "root_mean_squared_error", "scale": 2 * np.ones(5)}
    roots = ErrorDisplay.from_estimator(fitted, mixed_frame, **doubled).feature_errors
    back = fitted.denoise(mixed_frame)
    assert roots[1] == (back[:, 1] != mixed_frame["color"].cat.codes).mean()
    residuals = fitted.residuals(mixed_frame)["age"]
    assert roots[0] == pytest.approx(np.sqrt(np.square(residuals).mean()) / 2)


def test_loadings_and_arrows(fitted, mixed_frame):
    display = LoadingsDisplay.from_estimator(fitted, mixed_frame)
    np.testing.assert_allclose(display.components, fitted.components_)
    assert [*display.is_categorical] == KINDS
    hatched = [bar.get_hatch() is not None for bar in display.axes_[0, 0].patches]
    assert sum(hatched) == 3
    biplot = CodesDisplay.from_estimator(fitted, mixed_frame, loadings=10)
    names = biplot.feature_names
    assert names[:4] == ["age", "color=blue", "color=green", "color=red"]
    # Together the categories of a column are as long as its component.
    lengths = np.sqrt(np.square(biplot.loadings[1:4]).sum(axis=0))
    np.testing.assert_allclose(lengths, fitted.components_[:, 1], rtol=1e-6)
    np.testing.assert_allclose(biplot.loadings[0], fitted.components_[:, 0], rtol=1e-6)
    # An arrow points to where its category is probable.
    Z, is_red = fitted.transform(mixed_frame), mixed_frame["color"] == "red"
    place = Z[is_red].mean(axis=0) - Z[~is_red].mean(axis=0)
    assert place @ biplot.loadings[3] > 0


def test_maps_of_the_plane(fitted, mixed_frame):
    display = CodesDisplay.from_estimator(fitted, mixed_frame, decoded=7)
    assert display.decoded_names == [*mixed_frame]
    assert display.decoded.shape == (7, 7, 5)
    horizontal, vertical = np.meshgrid(*display.grid)
    fitted.set_output(transform="pandas")
    back = fitted.inverse_transform(np.c_[horizontal.ravel(), vertical.ravel()])
    fitted.set_output(transform="default")
    assert [*display.decoded[:, :, 1].ravel()] == [*back["color"]]
    np.testing.assert_allclose(display.decoded[:, :, 0].ravel().astype(float), back["age"])
    maps = display.axes_[0, 1].child_axes
    assert [each.get_title(loc="left").split()[0] for each in maps] == [*mixed_frame]
    assert set(words(maps[1])) & {"red", "green", "blue"}
    wide = mixed_frame.assign(**{f"n{j}": mixed_frame["age"] * j for j in range(9)})
    ae = autoencoder(max_epochs=1).fit(wide)
    few = CodesDisplay.from_estimator(ae, wide, decoded=3)
    assert few.decoded.shape == (3, 3, 9)


def test_variances_beside_those_of_scaled_indicators(fitted, mixed_frame):
    ratios = ExplainedVarianceDisplay.from_estimator(fitted, mixed_frame).ratios
    encoder = OneHotEncoder(sparse_output=False)
    indicators = encoder.fit_transform(mixed_frame[["color", "old", "size"]])
    columns = [mixed_frame[["age", "income"]] / mixed_frame[["age", "income"]].std(ddof=0)]
    groups = np.split(indicators, [3, 5], axis=1)
    columns += [group / np.sqrt(group.var(axis=0).sum()) for group in groups]
    expected = PCA().fit(np.hstack(columns)).explained_variance_ratio_
    np.testing.assert_allclose(ratios["PCA"], expected[:2], rtol=1e-6)
    assert ratios["AutoencoderTransformer"] is fitted.explained_variance_ratio_


def test_curves_and_screes(fitted, mixed_frame):
    display = LossCurveDisplay.from_estimator(fitted)
    assert display.ax_.get_ylabel() == "mixed loss per feature"
    ordered = autoencoder(ordered=True).fit(mixed_frame)
    scree = ScreeDisplay.from_estimator(ordered, mixed_frame)
    np.testing.assert_allclose(scree.errors, ordered.truncation_errors(mixed_frame))
    assert scree.ax_.get_ylabel() == "mean loss (best constants: 1)"
    several = [autoencoder(k).fit(mixed_frame) for k in (1, 2)]
    scree = ScreeDisplay.from_estimators(several, mixed_frame)
    np.testing.assert_allclose(scree.errors, [-ae.score(mixed_frame) for ae in several])


def test_contributions_by_column(detector, mixed_frame):
    odd = mixed_frame.iloc[[0]].assign(size=pd.Categorical(["L"], categories=[*"SML"]))
    rows = pd.concat([mixed_frame[1:40], odd.astype(mixed_frame.dtypes)])
    display = OutlierDisplay.from_estimator(detector, rows, row=39)
    right = display.axes_[0, 1]
    assert sorted(ticks(right.yaxis)) == sorted(mixed_frame)
    texts = [text.get_text() for text in right.get_legend().get_texts()]
    assert "category" in texts
    n_hatched = sum(bar.get_hatch() == "...." for bar in right.patches)
    assert n_hatched == 3


def test_samples_are_of_numbers(fitted, mixed_frame):
    with pytest.raises(ValueError, match=r"has the columns of categories \[.color"):
        SamplesDisplay.from_estimator(fitted, mixed_frame)
