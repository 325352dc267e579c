"""Symbols that record what NumPy functions do to them, as operators of ONNX.

`skae._serving.model` is written with NumPy. If its methods are called with a `Symbol` in
the place of an array, NumPy passes every operation on to the symbol, by the protocols
`__array_ufunc__` and `__array_function__`, and the symbol adds a node to its graph. What a
model computes is therefore written once. ONNX is not imported here: a graph is plain data.

Operators are those of opset 13 and later. Types are promoted as by NumPy 2: what would be
computed in float64 is computed in float64 in the graph, too.
"""

from typing import NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from skae._serving.functions import gelu_by_erfc

__all__ = ["NUMBERS", "Graph", "Node", "Symbol"]

FIRST_OPSET = 13
AXES_ARE_INPUTS = 18  # first opset in which the axes of ReduceMax are an input
NUMBERS = {
    np.dtype(np.float32): 1,
    np.dtype(np.int64): 7,
    np.dtype(np.bool_): 9,
    np.dtype(np.float64): 11,
}
OF_TRUTH = {np.equal, np.greater, np.invert, np.isnan, np.less}  # they return booleans
UFUNCS = {
    np.absolute: "Abs",
    np.add: "Add",
    np.divide: "Div",
    np.equal: "Equal",
    np.exp: "Exp",
    np.greater: "Greater",
    np.invert: "Not",
    np.isnan: "IsNaN",
    np.less: "Less",
    np.log: "Log",
    np.matmul: "MatMul",
    np.maximum: "Max",
    np.minimum: "Min",
    np.multiply: "Mul",
    np.negative: "Neg",
    np.sqrt: "Sqrt",
    np.subtract: "Sub",
    np.tanh: "Tanh",
}


class Node(NamedTuple):
    """An operator of ONNX with the names of its inputs and of its outputs."""

    operator: str
    inputs: list
    outputs: list
    attributes: dict


class Graph:
    """Nodes in the order in which they are computed, and constants by name.

    Parameters
    ----------
    opset : int
        Version of the operators.
    """

    def __init__(self, opset):
        if opset < FIRST_OPSET:
            raise ValueError(f"skae needs target_opset >= {FIRST_OPSET}, got {opset}.")
        self.opset, self.nodes, self.constants = opset, [], {}

    def input(self, name, dtype, n_columns):
        """Return a symbol for an input (n, n_columns)."""
        return Symbol(self, name, np.dtype(dtype), (None, n_columns))

    def constant(self, array):
        """Return the name of a constant."""
        name = f"constant_{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def aligned(self, values):
        """Return the names of values in one dtype, and that dtype."""
        # Python's numbers take the dtype of the others, as in NumPy.
        dtype = np.result_type(*(v.dtype for v in values if hasattr(v, "dtype")))
        names = [
            value.astype(dtype).name
            if isinstance(value, Symbol)
            else self.constant(np.asarray(value, dtype=dtype))
            for value in values
        ]
        return names, dtype

    def add(self, operator, inputs, dtype, shape, **attributes):
        """Add a node, and return a symbol for its output."""
        return self.add_all(operator, inputs, [(dtype, shape)], **attributes)[0]

    def add_all(self, operator, inputs, outputs, **attributes):
        """Add a node, and return symbols for its outputs, pairs of dtype and shape."""
        names = [f"value_{len(self.nodes)}_{i}" for i in range(len(outputs))]
        self.nodes.append(Node(operator, inputs, names, attributes))
        pairs = zip(names, outputs, strict=True)
        return [Symbol(self, name, np.dtype(kind), shape) for name, (kind, shape) in pairs]


class Symbol(NDArrayOperatorsMixin):
    """A value in a graph, which NumPy functions take in the place of an array.

    Parameters
    ----------
    graph : Graph
    name : str
    dtype : dtype
    shape : tuple of int
        The first is None: a graph takes any number of rows.
    """

    def __init__(self, graph, name, dtype, shape):
        self.graph, self.name, self.dtype, self.shape = graph, name, dtype, shape

    def __array_ufunc__(self, ufunc, method, *inputs, out=None):
        """Record a ufunc. Operators such as *= pass `out`, and make a new symbol."""
        if method != "__call__":
            return NotImplemented
        if ufunc is np.log1p:
            return _log1p(*inputs)
        if ufunc is np.expm1:
            return np.exp(*inputs) - 1
        if ufunc not in UFUNCS:
            return NotImplemented
        names, dtype = self.graph.aligned(inputs)
        if ufunc is np.matmul:
            shape = (*inputs[0].shape[:-1], inputs[1].shape[-1])
        else:
            shape = _broadcast(inputs)
        dtype = np.bool_ if ufunc in OF_TRUTH else dtype
        return self.graph.add(UFUNCS[ufunc], names, dtype, shape)

    def __array_function__(self, function, types, args, kwargs):
        if function not in FUNCTIONS:
            return NotImplemented
        return FUNCTIONS[function](*args, **kwargs)

    def __getitem__(self, key):
        """Return the columns of a slice that begins with the first."""
        rows, columns = key
        if rows != slice(None) or columns != slice(columns.stop):
            raise NotImplementedError(f"a symbol has no item {key}")
        ends = [np.array([number]) for number in (0, columns.stop, 1)]
        inputs = [self.name, *map(self.graph.constant, ends)]
        width = min(columns.stop, self.shape[1])
        return self.graph.add("Slice", inputs, self.dtype, (None, width))

    def astype(self, dtype, copy=True):
        """Return the values in another dtype."""
        dtype = np.dtype(dtype)
        if dtype == self.dtype:
            return self
        return self.graph.add("Cast", [self.name], dtype, self.shape, to=NUMBERS[dtype])

    def gelu(self):
        """Return `functions.gelu`; ONNX Runtime has the operator Erf in float32 alone."""
        if self.dtype == np.float64:
            return gelu_by_erfc(self)
        scaled = self * np.float32(np.sqrt(0.5))
        erf = self.graph.add("Erf", [scaled.name], self.dtype, self.shape)
        return (erf + 1) * self * 0.5

    def smallest(self, n):
        """Return the places (None, n) of the n smallest values in each row."""
        names = [self.name, self.graph.constant(np.array([n]))]
        shape = (*self.shape[:-1], n)
        outputs = [(self.dtype, shape), (np.int64, shape)]
        return self.graph.add_all("TopK", names, outputs, largest=0)[1]

    def rows_at(self, array):
        """Return the rows of an array (m, *sizes) at these places."""
        names = [self.graph.constant(array), self.name]
        shape = (*self.shape, *array.shape[1:])
        return self.graph.add("Gather", names, array.dtype, shape, axis=0)

    def convolution(self, step):
        """Return the values after a `Convolution`, which is computed in float32.

        ONNX Runtime has no convolutions in float64 on the CPU.
        """
        n_axes = len(step.sizes_in)
        places = (-2, -1) if step.transposed else (-1, -2)
        weight = np.moveaxis(step.weight, places, (0, 1)).astype(np.float32)
        X = np.transpose(self, (0, n_axes + 1, *range(1, n_axes + 1))).astype(np.float32)
        constants = [self.graph.constant(a) for a in (weight, np.float32(step.bias))]
        options = {
            "strides": [2] * n_axes,
            "pads": [k // 2 for k in step.kernel] * 2,
        }
        if step.transposed:
            options["output_padding"] = [1 - n % 2 for n in step.sizes_out]
        operator = "ConvTranspose" if step.transposed else "Conv"
        shape = (None, step.weight.shape[-1], *step.sizes_out)
        inputs = [X.name, *constants]
        out = self.graph.add(operator, inputs, np.float32, shape, **options)
        return np.transpose(out, (0, *range(2, n_axes + 2), 1)).astype(self.dtype)


def _broadcast(values):
    """Return the common shape of symbols, arrays and numbers."""
    shapes = [getattr(value, "shape", ()) for value in values]
    rows = [tuple(1 if n is None else n for n in shape) for shape in shapes]
    return (None, *np.broadcast_shapes(*rows)[1:])


def _log1p(x):
    """Return log(1 + x) without loss of digits (Kahan's formula)."""
    u = x + 1.0
    return _where(u == 1.0, x, np.log(u) * x / (u - 1.0))


def _where(condition, first, second):
    graph = _graph_of([condition, first, second])
    names, dtype = graph.aligned([first, second])
    (name,), _ = graph.aligned([condition])
    shape = _broadcast([condition, first, second])
    return graph.add("Where", [name, *names], dtype, shape)


def _graph_of(values):
    return next(value.graph for value in values if isinstance(value, Symbol))


def _concatenate(parts, axis=0):
    graph = _graph_of(parts)
    names, dtype = graph.aligned(parts)
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    return graph.add("Concat", names, dtype, tuple(shape), axis=axis)


def _take(x, indices, axis):
    indices = np.asarray(indices, dtype=np.int64)
    shape = list(x.shape)
    shape[axis] = len(indices)
    names = [x.name, x.graph.constant(indices)]
    return x.graph.add("Gather", names, x.dtype, tuple(shape), axis=axis)


def _reduced(operator, x, axis, keepdims=False):
    axis %= len(x.shape)
    shape = [*x.shape]
    shape[axis : axis + 1] = [1] if keepdims else []
    names, attributes = [x.name], {"keepdims": int(keepdims)}
    if operator == "ReduceSum" or x.graph.opset >= AXES_ARE_INPUTS:
        names.append(x.graph.constant(np.array([axis])))
    else:
        attributes["axes"] = [axis]
    return x.graph.add(operator, names, x.dtype, tuple(shape), **attributes)


def _sum(x, axis, keepdims=False):
    x = x.astype(np.float64) if x.dtype == np.bool_ else x
    return _reduced("ReduceSum", x, axis, keepdims)


def _max(x, axis, keepdims=False):
    return _reduced("ReduceMax", x, axis, keepdims)


def _mean(x, axis, keepdims=False):
    return _sum(x, axis, keepdims) / x.shape[axis]


def _transpose(x, axes):
    shape = tuple(x.shape[axis] for axis in axes)
    return x.graph.add("Transpose", [x.name], x.dtype, shape, perm=[*axes])


def _reshape(x, shape):
    names = [x.name, x.graph.constant(np.array(shape, dtype=np.int64))]
    return x.graph.add("Reshape", names, x.dtype, (None, *shape[1:]))


def _searchsorted(a, v, side):
    """Return how many values of the sorted array a (m,) are at most those of v (n,)."""
    if side != "right":
        raise NotImplementedError(f"a symbol has no place on the side {side!r}")
    return _sum(~(np.reshape(v, (-1, 1)) < a), axis=1).astype(np.int64)


def _solve(a, b):
    """Return the solutions (n, q, 1) of positive definite systems a (n, q, q), b (n, q, 1).

    This is the method of Gauss and Jordan, which needs no pivots for such systems.
    """
    q = a.shape[1]
    both = np.concatenate([a, b], axis=2)
    for j in range(q):
        row = np.take(both, [j], axis=1)
        row = row / np.take(row, [j], axis=2)
        others = both - np.take(both, [j], axis=2) * row
        is_own = np.arange(q)[:, None] == j
        both = np.where(is_own[None], row, others)
    return np.take(both, [q], axis=2)


FUNCTIONS = {
    np.concatenate: _concatenate,
    np.linalg.solve: _solve,
    np.max: _max,
    np.mean: _mean,
    np.reshape: _reshape,
    np.searchsorted: _searchsorted,
    np.sum: _sum,
    np.take: _take,
    np.transpose: _transpose,
    np.where: _where,
}
