"""Graphs that NumPy functions of symbols make, run against the same functions of arrays."""

import numpy as np
import pytest

from skae._serving import functions
from skae._serving.symbols import Graph, Symbol


def test_a_graph_is_plain_data():
    graph = Graph(13)
    X = graph.input("X", np.float32, 3)
    Z = np.tanh(X @ np.ones((3, 2), dtype=np.float32) + 1) * 2.0
    assert [node.operator for node in graph.nodes] == ["MatMul", "Add", "Tanh", "Mul"]
    assert graph.nodes[0].inputs == ["X", "constant_0"]
    assert (Z.shape, Z.dtype, Z.name) == ((None, 2), np.float32, graph.nodes[-1].outputs[0])
    assert graph.constants["constant_1"].dtype == np.float32  # a number of Python's


def test_types_are_promoted_as_by_numpy():
    X = Graph(13).input("X", np.float32, 3)
    assert (X * 2.0).dtype == np.float32
    assert (X * np.ones(3)).dtype == np.float64
    assert (X == 0).dtype == np.bool_
    assert np.where(X == 0, 1.0, X).dtype == np.float32


def test_shapes():
    X = Graph(13).input("X", np.float64, 6)
    shapes = {
        (None, 2): X[:, :2],
        (None,): np.sum(X, axis=1),
        (None, 1): np.max(X, axis=-1, keepdims=True),
        (None, 9): np.concatenate([X, X[:, :3]], axis=1),
        (None, 3): np.take(X, [5, 0, 0], axis=1),
        (None, 2, 3): np.reshape(X, (-1, 2, 3)),
        (None, 3, 2): np.transpose(np.reshape(X, (-1, 2, 3)), (0, 2, 1)),
        (None, 6): X - np.mean(X, axis=-1, keepdims=True),
        (None, 5): functions.smallest(X, 5),
        (None, 4, 7): functions.rows_at(np.zeros((9, 7)), functions.smallest(X, 4)),
    }
    for shape, symbol in shapes.items():
        assert symbol.shape == shape


def test_truths_are_counted():
    X = Graph(13).input("X", np.float32, 3)
    assert (~np.isnan(X)).dtype == np.bool_
    assert np.sum(np.isnan(X), axis=1).dtype == np.float64
    assert np.where(X < 0, np.int64(-1), np.int64(1)).dtype == np.int64


def test_functions_of_symbols_give_what_those_of_arrays_give():
    """The rarer ones, run by ONNX's own reference implementation."""
    reference = pytest.importorskip("onnx.reference")
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5, 4))
    roots, limits = rng.normal(size=(4, 4, 4)), np.sort(rng.normal(size=7))

    def systems(X):
        matrices = np.reshape(np.reshape(X * X, (-1, 1, 4)) @ np.ones((4, 16)), (-1, 4, 4))
        both = matrices + 0.1 * np.eye(4) + sum(root.T @ root for root in roots)
        return np.linalg.solve(both, np.reshape(X, (-1, 4, 1)))

    for function in (
        systems,
        lambda X: np.searchsorted(limits, np.sum(X, axis=1), side="right"),
        lambda X: functions.smallest(X, 1),
        lambda X: functions.rows_at(roots, functions.smallest(X, 1)),
        functions.log_tail,
        functions.log_sum_exp,
    ):
        graph = Graph(17)
        out = function(graph.input("X", np.float64, 4))
        nodes = [
            helper.make_node(node.operator, node.inputs, node.outputs, **node.attributes)
            for node in graph.nodes
        ]
        constants = [numpy_helper.from_array(a, n) for n, a in graph.constants.items()]
        ends = [
            helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None)
            for name in ("X", out.name)
        ]
        made = helper.make_graph(nodes, "made", ends[:1], ends[1:], constants)
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
        (found,) = reference.ReferenceEvaluator(model).run(None, {"X": rows})
        expected = function(rows)
        assert (found.shape, found.dtype) == (expected.shape, out.dtype)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_what_cannot_be_recorded():
    graph = Graph(13)
    X = graph.input("X", np.float64, 3)
    for call in (lambda: np.sin(X), lambda: np.linalg.inv(X), lambda: np.add.reduce(X)):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(NotImplementedError):
        X[:, 1:]
    with pytest.raises(ValueError, match="target_opset >= 13, got 12"):
        Graph(12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", functions.ACTIVATIONS)
def test_every_activation_can_be_recorded(name, dtype):
    X = Graph(13).input("X", dtype, 3)
    out = functions.ACTIVATIONS[name](X)
    assert isinstance(out, Symbol)
    assert (out.shape, out.dtype) == ((None, 3), dtype)
