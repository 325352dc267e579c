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
    assert (Z.shape, Z.dtype, Z.name) == ((None, 2), np.float32, graph.nodes[-1].output)
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
    }
    for shape, symbol in shapes.items():
        assert symbol.shape == shape


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
