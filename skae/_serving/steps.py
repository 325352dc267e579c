"""The steps of a network, each a function of rows, in NumPy alone.

A step is called with rows (n, p), or with samples (n, *sizes, n_channels), and returns
others. Everything that it knows is in its fields, so that threads may share it.
"""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np

__all__ = [
    "Affine",
    "Apply",
    "Chain",
    "Convolution",
    "First",
    "LayerNorm",
    "Nested",
    "Scaling",
    "Shaped",
    "Sum",
    "cast",
]

STRIDE = 2  # of convolutions


def cast(step, dtype):
    """Return a step whose arrays have another dtype."""
    if isinstance(step, tuple):
        return tuple(cast(part, dtype) for part in step)
    if isinstance(step, np.ndarray):
        return np.ascontiguousarray(step, dtype=dtype)
    if not dataclasses.is_dataclass(step):
        return step
    values = {name: cast(value, dtype) for name, value in vars(step).items()}
    return dataclasses.replace(step, **values)


@dataclasses.dataclass(frozen=True)
class Affine:
    """x -> x @ weight + bias, with a weight of shape (n_in, n_out)."""

    weight: np.ndarray
    bias: np.ndarray | None = None

    def __call__(self, X):
        X = X @ self.weight
        return X if self.bias is None else X + self.bias

    def after(self, factor, shift):
        """Return the step that does to x what this one does to x * factor + shift."""
        bias = shift @ self.weight
        bias = bias if self.bias is None else bias + self.bias
        return Affine(factor[:, None] * self.weight, bias)


@dataclasses.dataclass(frozen=True)
class Scaling:
    """x -> x * factor + shift, feature by feature."""

    factor: np.ndarray
    shift: np.ndarray

    def __call__(self, X):
        return X * self.factor + self.shift

    def after(self, factor, shift):
        return Scaling(factor * self.factor, shift * self.factor + self.shift)


@dataclasses.dataclass(frozen=True)
class Constant:
    """x -> bias, the same for all rows; added to other paths."""

    bias: np.ndarray

    def __call__(self, X):
        return X[:, :1] * 0 + self.bias

    def after(self, factor, shift):
        return self


@dataclasses.dataclass(frozen=True)
class Apply:
    """An activation."""

    function: Callable

    def __call__(self, X):
        return self.function(X)


@dataclasses.dataclass(frozen=True)
class Chain:
    """Steps one after another."""

    steps: tuple

    def __call__(self, X):
        for step in self.steps:
            X = step(X)
        return X

    def after(self, factor, shift):
        first, *others = self.steps
        return Chain((first.after(factor, shift), *others))


@dataclasses.dataclass(frozen=True)
class Sum:
    """The sum of two paths from the same rows."""

    first: Callable
    second: Callable

    def __call__(self, X):
        return self.second(X) + self.first(X)

    def after(self, factor, shift):
        return Sum(self.first.after(factor, shift), self.second.after(factor, shift))


@dataclasses.dataclass(frozen=True)
class First:
    """Takes the first columns."""

    n: int

    def __call__(self, X):
        return X[:, : self.n]


@dataclasses.dataclass(frozen=True)
class LayerNorm:
    """Layer normalization over the last axis (Ba, Kiros and Hinton 2016)."""

    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, X):
        X = X - np.mean(X, axis=-1, keepdims=True)
        variance = np.mean(X * X, axis=-1, keepdims=True)
        return X / np.sqrt(variance + 1e-5) * self.weight + self.bias


@dataclasses.dataclass(frozen=True)
class Nested:
    """Turns the first b of k codes into the 2 k inputs of the decoder of ordered codes.

    They are k codes, of which those after the b-th are zero, and k marks, which are one for
    each missing code.
    """

    weight: np.ndarray  # (k, k), by which codes are multiplied from the right
    shift: np.ndarray  # (k,)

    def __call__(self, Z):
        b, k = Z.shape[1], len(self.shift)
        known = (np.arange(k) < b).astype(self.shift.dtype)
        codes = (Z @ self.weight[:b] + self.shift) * known
        return np.concatenate([codes, codes * 0 + (1 - known)], axis=1)


@dataclasses.dataclass(frozen=True)
class Shaped:
    """Gives rows (n, p) the shape (n, *sizes, n_channels), or makes them rows again."""

    shape: tuple  # (n_channels, *sizes)
    to_rows: bool = False

    def __call__(self, X):
        axes = (0, *range(2, len(self.shape) + 1), 1)
        if not self.to_rows:
            return np.transpose(np.reshape(X, (-1, *self.shape)), axes)
        back = np.transpose(X, tuple(np.argsort(axes).tolist()))
        return np.reshape(back, (-1, int(np.prod(self.shape))))


@dataclasses.dataclass(frozen=True)
class Convolution:
    """Convolution of stride 2 with an odd kernel, or its transpose.

    The weight has the shape (*kernel, n_in, n_out). Samples have their channels last, so
    that every offset of the kernel is one matrix product.
    """

    weight: np.ndarray
    bias: np.ndarray
    sizes_in: tuple
    sizes_out: tuple
    transposed: bool

    def __call__(self, X):
        if hasattr(X, "convolution"):
            return X.convolution(self)
        return self._up(X) if self.transposed else self._down(X)

    @property
    def kernel(self):
        return self.weight.shape[:-2]

    def _down(self, X):
        margins = [(k // 2, k // 2) for k in self.kernel]
        X = np.pad(X, [(0, 0), *margins, (0, 0)])
        parts = (X[self._places(o, self.sizes_out)] @ self.weight[o] for o in self._offsets)
        return sum(parts, start=self.bias)

    def _up(self, X):
        n_out = self.weight.shape[-1]
        # Offsets of the kernel write beyond the edges, and this is cut off.
        width = [STRIDE * n + k for n, k in zip(self.sizes_in, self.kernel, strict=True)]
        out = np.zeros((len(X), *width, n_out), dtype=X.dtype)
        for offset in self._offsets:
            out[self._places(offset, self.sizes_in)] += X @ self.weight[offset]
        inside = (
            slice(k // 2, k // 2 + n)
            for k, n in zip(self.kernel, self.sizes_out, strict=True)
        )
        return out[(slice(None), *inside)] + self.bias

    @property
    def _offsets(self):
        return itertools.product(*map(range, self.kernel))

    @staticmethod
    def _places(offset, sizes):
        """Return the places in the wider array that meet one offset of the kernel."""
        ends = zip(offset, sizes, strict=True)
        return (slice(None), *(slice(o, o + STRIDE * n, STRIDE) for o, n in ends))
