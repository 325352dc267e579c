"""Words in pictures: none covers another, and none is outside the figure."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.text import Text
from sklearn.decomposition import PCA

from skae import AutoencoderOutlierDetector, AutoencoderTransformer, plotting
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

SLACK = 1.0  # pixels by which boxes may touch
LONG = "a_rather_long_name_of_something_measured"


@pytest.fixture(autouse=True)
def closed_figures():
    with mpl.rc_context({"backend": "Agg"}):
        yield
        plt.close("all")


def table(n_rows=60, n_features=12, factor=1.0, offset=0.0):
    """Rows of rank two with noise, in a frame."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 2)) * [5, 1] @ rng.normal(size=(2, n_features))
    X = factor * (X + 0.3 * rng.normal(size=X.shape)) + offset
    return pd.DataFrame(X, columns=[f"x{j}" for j in range(n_features)])


def with_long_names():
    X = table(n_features=5)
    X.columns = [f"{LONG}_{j}" for j in range(5)]
    X.index = [f"{LONG}_of_row_{i}" for i in range(len(X))]
    return X


# Rows, classes, and the shape of a row.
INPUTS = {
    "tiny": (table(factor=1e-9), np.repeat([0, 1], 30), None),
    "huge, with an offset": (table(n_features=4, factor=1e7, offset=1e9), None, None),
    "long names": (with_long_names(), np.repeat([f"{LONG} {k}" for k in "abc"], 20), None),
    "wide, many classes": (table(30, 300), [f"class {i % 14}" for i in range(30)], None),
    "channels": (table(20, 128), None, (4, 32)),
}


def draw(name, X, y, sample_shape):
    """Draw these rows on a Display with all its words."""
    pca, drawn = PCA(2).fit(X), {"sample_shape": sample_shape}
    if name == "CodesDisplay":
        return CodesDisplay.from_estimator(pca, X, y, loadings=10)
    if name == "ErrorDisplay":
        return ErrorDisplay.from_estimator(pca, X, **drawn)
    if name == "ExplainedVarianceDisplay":
        return ExplainedVarianceDisplay.from_estimator(
            pca, X, threshold=0.99, name=X.columns[0]
        )
    if name == "ReconstructionDisplay":
        return ReconstructionDisplay.from_estimator(pca, X, baseline=PCA(1).fit(X), **drawn)
    if name == "SamplesDisplay":
        values, names = X.to_numpy(), list(X.columns)
        return SamplesDisplay(values, values[::-1], feature_names=names, **drawn).plot()
    if name == "LoadingsDisplay":
        pca = PCA(4).fit(X)
        at_row = pca.components_[::-1]
        look = {"components_at_row": at_row, "row_name": X.index[3], **drawn}
        names = [f"code {k} (12.3 %)" for k in (1, 2, 3, 4)]
        look |= {"names": names, "feature_names": X.columns}
        return LoadingsDisplay(pca.components_, **look).plot()
    if name == "ScreeDisplay":
        other = ScreeDisplay.from_estimator(PCA(4).fit(X), X)
        return ScreeDisplay.from_estimator(pca, X, name=X.columns[0], ax=other.ax_)
    errors = np.square(X.to_numpy() - X.to_numpy().mean(axis=0))
    if name == "LossCurveDisplay":
        curve = np.sort(errors.mean(axis=1))[::-1]
        params = {"pca_error": curve[0], "best_epoch": 4, "name": X.columns[0]}
        return LossCurveDisplay(curve[1:], curve, **params).plot()
    assert name == "OutlierDisplay"
    distances = np.c_[errors.mean(axis=1), pca.transform(X)[:, 0] ** 2]
    params = {"row": 3, "alarm_rate": 0.05, "row_name": X.index[3]}
    alarms, limit = np.arange(len(X)) < 4, distances[distances[:, 0].argsort()]
    params["feature_names"] = X.columns
    blame = errors[3] - errors.mean(axis=0)
    return OutlierDisplay(distances, alarms, limit, errors[3], blame, **params).plot()


def words(figure, monkeypatch):
    """Draw the figure; return the texts that the renderer has got, and their boxes."""
    drawn, draw = [], Text.draw

    def recorded(text, renderer, *args, **kwargs):
        if text.get_visible() and text.get_text().strip():
            drawn.append(text)
        return draw(text, renderer, *args, **kwargs)

    monkeypatch.setattr(Text, "draw", recorded)
    figure.canvas.draw()
    boxes = [Text.get_window_extent(text) for text in dict.fromkeys(drawn)]
    return [text.get_text() for text in dict.fromkeys(drawn)], boxes


def faults(texts, boxes, frame):
    """Return pairs of texts that cover each other, and texts that leave the frame."""
    found = []
    for i, box in enumerate(boxes):
        if min(box.x0, box.y0) < -SLACK or box.x1 > frame.x1 + SLACK:
            found.append((texts[i], "is outside"))
        if box.y1 > frame.y1 + SLACK:
            found.append((texts[i], "is outside"))
        for j, other in enumerate(boxes[:i]):
            width = min(box.x1, other.x1) - max(box.x0, other.x0)
            height = min(box.y1, other.y1) - max(box.y0, other.y0)
            if min(width, height) > SLACK:
                found.append((texts[j], texts[i]))
    return found


@pytest.mark.parametrize("case", INPUTS)
@pytest.mark.parametrize("name", plotting.__all__)
def test_words_are_apart(name, case, monkeypatch):
    display = draw(name, *INPUTS[case])
    texts, boxes = words(display.figure_, monkeypatch)
    assert len(texts) > 3
    assert not faults(texts, boxes, display.figure_.bbox)


def mixed_table(n_more):
    """Rows of numbers and of categories with long names, in a frame."""
    X = table(200, 2).rename(columns={"x0": LONG})
    words = np.array([f"{LONG}_{k}" for k in "abc"] + ["d", "e"])
    for j in range(n_more):
        order = np.argsort(X.iloc[:, j % 2] + j).to_numpy()
        X[f"{LONG}_{j}" if j % 3 else f"c{j}"] = pd.Categorical(words[order % 5])
    return X


@pytest.fixture(scope="module", params=[3, 40], ids=["few columns", "many columns"])
def of_mixed_columns(request):
    X = mixed_table(request.param)
    ae = AutoencoderTransformer(2, max_epochs=1, early_stopping=False, random_state=0)
    detector = AutoencoderOutlierDetector(AutoencoderTransformer(2, max_epochs=1))
    return X, ae.fit(X), detector.fit(X)


@pytest.mark.parametrize("name", sorted({*plotting.__all__} - {"SamplesDisplay"}))
def test_words_of_mixed_columns_are_apart(of_mixed_columns, name, monkeypatch):
    X, ae, detector = of_mixed_columns
    params = {
        "CodesDisplay": {"decoded": 9},
        "ReconstructionDisplay": {"baseline": ae},
        "LoadingsDisplay": {"row": 3},
    }
    estimator = detector if name == "OutlierDisplay" else ae
    draw = getattr(plotting, name).from_estimator
    display = draw(estimator, X, **params.get(name, {}))
    texts, boxes = words(display.figure_, monkeypatch)
    assert len(texts) > 3
    assert not faults(texts, boxes, display.figure_.bbox)


def test_faults_are_found(monkeypatch):
    figure = plt.figure()
    for place, text in [(0.5, "one"), (0.505, "two"), (0.99, "a long way outside")]:
        figure.text(place, place, text)
    found = faults(*words(figure, monkeypatch), figure.bbox)
    assert found[0] == ("one", "two")
    assert found[-1] == ("a long way outside", "is outside")
