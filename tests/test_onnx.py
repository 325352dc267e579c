"""Graphs of ONNX, run by ONNX Runtime, against the estimators they are from."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import skae.onnx
from skae import (
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    AutoencoderTransformer,
    VariationalAutoencoder,
)

skl2onnx = pytest.importorskip("skl2onnx")
onnxruntime = pytest.importorskip("onnxruntime")

QUICK = {"early_stopping": False, "max_epochs": 1, "hidden_layer_sizes": (4,)}


def run(graph, X):
    """Return the outputs of a graph for the rows X."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options)
    return session.run(None, {session.get_inputs()[0].name: X})


def check_equal(found, expected, tolerance=1e-4):
    scale = np.abs(expected).max() or 1.0
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize(
    ("method", "dtype"),
    [
        ("transform", np.float64),
        ("inverse_transform", np.float64),
        ("denoise", np.float32),
        ("impute", np.float64),
        ("score_samples", np.float32),
        ("score_samples", np.float64),
    ],
)
def test_answers_are_those_of_the_estimator(served, method, dtype):
    ae, X = served
    X = X.astype(dtype)
    rows = ae.transform(X) if method == "inverse_transform" else X
    if method == "impute" and isinstance(ae, VariationalAutoencoder):
        with pytest.raises(ValueError, match="method of to_onnx for Var"):
            skae.onnx.to_onnx(ae, rows, method=method)
        return
    graph = skae.onnx.to_onnx(ae, rows, method=method)
    (found,) = run(graph, rows)
    expected = getattr(ae, method)(rows)
    assert found.dtype == dtype
    assert found.shape == expected.shape
    check_equal(found, expected, 1e-5 if dtype == np.float32 else 1e-6)
    check_equal(run(graph, rows[:1])[0], expected[:1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_detector_answers_as_the_estimator(served_detector, dtype):
    detector, X, others = served_detector
    for rows in (X.astype(dtype), others.astype(dtype)):
        expected = detector.decision_function(rows)
        labels, decisions = run(skae.onnx.to_onnx(detector, rows), rows)
        assert (labels.dtype, decisions.dtype) == (np.int64, dtype)
        check_equal(decisions, expected, 1e-5 if dtype == np.float32 else 1e-9)
        is_apart = np.abs(expected) > 1e-4
        assert (labels == detector.predict(rows))[is_apart].all()
        for method in ("predict", "decision_function", "score_samples", "p_values"):
            (found,) = run(skae.onnx.to_onnx(detector, rows, method=method), rows)
            if method == "predict":
                assert np.array_equal(found, labels)
            elif method != "p_values" or rows is not X:
                check_equal(found, getattr(detector, method)(rows), 1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_imputer_answers_as_the_estimator(served_imputer, dtype):
    imputer, X = served_imputer
    X = X.astype(dtype)
    (found,) = run(skae.onnx.to_onnx(imputer, X), X)
    assert found.dtype == dtype
    check_equal(found, imputer.transform(X), 1e-5 if dtype == np.float32 else 1e-9)


def test_an_imputer_and_a_detector_in_pipelines(served_tables):
    X = served_tables["incomplete"]
    y = np.nan_to_num(X[:, 0]) > 0
    ae = AutoencoderTransformer(2, **QUICK)
    pipe = make_pipeline(AutoencoderImputer(ae, random_state=0), LogisticRegression())
    graph = skl2onnx.to_onnx(pipe.fit(X, y), X[:1], options={"zipmap": False})
    check_equal(run(graph, X)[1], pipe.predict_proba(X))
    X = served_tables["plain"]
    detector = AutoencoderOutlierDetector(ae, random_state=0)
    pipe = make_pipeline(StandardScaler(), detector).fit(X)
    labels, decisions = run(skl2onnx.to_onnx(pipe, X[:1]), X)
    check_equal(decisions, pipe.decision_function(X))
    assert np.array_equal(labels, pipe.predict(X))
    graph = skl2onnx.to_onnx(pipe, X[:1], options={id(detector): {"p_values": True}})
    assert [output.name for output in graph.graph.output] == ["p_values"]


@pytest.mark.parametrize("opset", [13, 17, 18, None])
def test_versions_of_the_operators(served_tables, opset):
    loss = {"squared_error": [0, 1, 2], "cross_entropy": [[3, 4, 5]]}
    X = served_tables["mixed"].astype(np.float32)
    ae = AutoencoderTransformer(2, loss=loss, normalization="layer", **QUICK).fit(X)
    for method in ("denoise", "score_samples"):
        graph = skae.onnx.to_onnx(ae, X, method=method, target_opset=opset)
        used = {entry.domain: entry.version for entry in graph.opset_import}
        assert opset is None or used[""] <= opset
        check_equal(run(graph, X)[0], getattr(ae, method)(X))
    X = served_tables["incomplete"].astype(np.float32)
    ae = AutoencoderTransformer(2, allow_nan=True, **QUICK)
    detector = AutoencoderOutlierDetector(ae, random_state=0).fit(X)
    graph = skae.onnx.to_onnx(detector, X, method="p_values", target_opset=opset)
    check_equal(run(graph, 2 * X)[0], detector.p_values(2 * X))


@pytest.mark.parametrize("params", [{}, {"sample_shape": (2, 3)}], ids=str)
def test_the_first_of_ordered_codes(curved, params):
    ae = AutoencoderTransformer(3, ordered=True, **QUICK, **params).fit(curved)
    Z = ae.transform(curved)
    for k in (1, 2, 3):
        graph = skae.onnx.to_onnx(ae, Z[:, :k], method="inverse_transform")
        check_equal(run(graph, Z[:, :k])[0], ae.inverse_transform(Z[:, :k]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_graph_for_a_pipeline(digits, dtype):
    X, y = digits[0][:200].astype(dtype), digits[1][:200]
    pipe = make_pipeline(
        StandardScaler(), AutoencoderTransformer(8, **QUICK), LogisticRegression()
    ).fit(X, y)
    graph = skl2onnx.to_onnx(pipe, X[:1], options={"zipmap": False})
    labels, probabilities = run(graph, X)
    assert np.array_equal(labels, pipe.predict(X))
    check_equal(probabilities, pipe.predict_proba(X))


def test_options_of_skl2onnx_name_the_method(curved):
    X = curved.astype(np.float32)
    ae = AutoencoderTransformer(2, **QUICK).fit(X)
    pipe = make_pipeline(StandardScaler(), ae).fit(X)
    graph = skl2onnx.to_onnx(pipe, X[:1], options={id(ae): {"denoise": True}})
    check_equal(run(graph, X)[0], ae.denoise(pipe[0].transform(X)))
    both = {id(ae): {"denoise": True, "score_samples": True}}
    with pytest.raises(ValueError, match="more than one method"):
        skl2onnx.to_onnx(pipe, X[:1], options=both)
    with pytest.raises(NameError, match="components"):
        skl2onnx.to_onnx(pipe, X[:1], options={id(ae): {"components": True}})


def test_whole_numbers_become_float64(curved):
    X = np.round(10 * curved).astype(np.int64)
    ae = AutoencoderTransformer(2, **QUICK).fit(X)
    (found,) = run(skl2onnx.to_onnx(ae, X[:1]), X)
    assert found.dtype == np.float64
    check_equal(found, ae.transform(X), 1e-9)
    graph = skae.onnx.to_onnx(ae, X.tolist())  # takes float64
    check_equal(run(graph, X.astype(np.float64))[0], ae.transform(X), 1e-9)


# -- what is refused -------------------------------------------------------------------


class Own(nn.Module):
    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = nn.Linear(n_features, n_components)
        self.decode = nn.Linear(n_components, n_features)


def test_what_cannot_be_converted(curved):
    own = AutoencoderTransformer(2, module=Own, **QUICK).fit(curved)
    with pytest.raises(TypeError, match="because its module is code of your own"):
        skae.onnx.to_onnx(own, curved)
    loss = nn.SmoothL1Loss(reduction="none")
    own = AutoencoderTransformer(2, loss=loss, **QUICK).fit(curved)
    with pytest.raises(TypeError, match="because its loss is code of your own"):
        skae.onnx.to_onnx(own, curved)
    for other in (StandardScaler().fit(curved), BaseEstimator()):
        with pytest.raises(TypeError, match=r"skl2onnx\.to_onnx takes Pipelines"):
            skae.onnx.to_onnx(other, curved)
    with pytest.raises(ValueError, match="not fitted"):
        skae.onnx.to_onnx(AutoencoderTransformer(), curved)
    X = np.where(np.arange(200)[:, None] % 7 == np.arange(6), np.nan, curved)
    draws = AutoencoderImputer(AutoencoderTransformer(2, **QUICK), sample_posterior=True)
    with pytest.raises(NotImplementedError, match="a graph does not draw"):
        skae.onnx.to_onnx(draws.fit(X), X)


@pytest.mark.parametrize("kind", [AutoencoderOutlierDetector, AutoencoderImputer, None])
def test_columns_of_categories(mixed_frame, kind):
    ae = AutoencoderTransformer(2, **QUICK)
    ae = (ae if kind is None else kind(ae)).fit(mixed_frame)
    with pytest.raises(NotImplementedError, match="columns of categories cannot be"):
        skae.onnx.to_onnx(ae, np.zeros((1, 5)))


def test_arguments_that_are_not_valid(curved):
    ae = AutoencoderTransformer(2, **QUICK).fit(curved)
    with pytest.raises(ValueError, match="method of to_onnx for AutoencoderTransformer"):
        skae.onnx.to_onnx(ae, curved, method="fit")
    with pytest.raises(ValueError, match="X has 5 columns, but AutoencoderTransformer is"):
        skae.onnx.to_onnx(ae, curved[:, :5])
    with pytest.raises(ValueError, match="X has 1 columns, but inverse_transform"):
        skae.onnx.to_onnx(ae, curved[:, :1], method="inverse_transform")
    with pytest.raises(ValueError, match="target_opset >= 13"):
        skae.onnx.to_onnx(ae, curved, target_opset=12)


def test_without_skl2onnx(curved, monkeypatch):
    monkeypatch.setattr(skae.onnx, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"skae\[onnx\]"):
        skae.onnx.to_onnx(AutoencoderTransformer(), curved)
