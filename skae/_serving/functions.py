"""Activations and special functions, in NumPy alone.

Every function is written with functions and operators of NumPy that can also be traced,
see `skae.onnx`: arguments are arrays, or symbols that record what is done to them. An
exception are shortcuts for arrays, which return the same numbers.
"""

import math

import numpy as np

__all__ = [
    "ACTIVATIONS",
    "gelu",
    "has_gaps",
    "log_gamma",
    "log_softmax",
    "log_sum_exp",
    "log_tail",
    "rows_at",
    "sigmoid",
    "smallest",
    "softplus",
]

SMALL = 512  # number of values up to which `math.erfc` takes less time than a polynomial
CENTRE = 3.75
# Coefficients, from the constant upwards, of a polynomial in (x - 3.75) / (x + 3.75) that
# is (1 + 2 x) exp(x²) erfc(x) for x >= 0: Shepherd and Laframboise (1981), "Chebyshev
# approximation of (1 + 2 x) exp(x²) erfc x in 0 <= x < ∞". These interpolate
# scipy.special.erfcx in 19 Chebyshev points. The error of erfc is below 1e-13.
COEFFICIENTS = (
    1.237512630837827,
    -0.1402405985848508,
    0.003585415486933488,
    0.08227673844831379,
    -0.10880393022841331,
    0.09230432190258725,
    -0.05869339706182976,
    0.028362271390257,
    -0.009746591890505914,
    0.0017556526177693558,
    0.0002937679578221114,
    -0.0002902247956162802,
    5.1507381104592674e-05,
    2.24995899256292e-05,
    -1.1217111980505775e-05,
    -1.0899017836077518e-06,
    1.5290520662490854e-06,
    1.2881125593067785e-08,
    -1.308753302222804e-07,
)
# Coefficients of 1 / z, 1 / z³, ... in Stirling's series of log(Gamma(z)), Abramowitz and
# Stegun (1964), 6.1.41. From z = 8 on, what they leave out is below 1e-14.
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
SHIFT = 8


def polynomial(x, coefficients):
    """Return the polynomial with these coefficients, the constant first, by Horner."""
    value = x * coefficients[-1]
    for coefficient in coefficients[-2:0:-1]:
        value += coefficient
        value *= x
    value += coefficients[0]
    return value


def erfc(x):
    """Return the complementary error function of x >= 0, with an error below 1e-13."""
    return erfcx(x) * np.exp(-x * x)


def erfcx(x):
    """Return exp(x²) erfc(x) for x >= 0, with a relative error below 1e-12."""
    ratio = (x - CENTRE) / (x + CENTRE)
    return polynomial(ratio, COEFFICIENTS) / (1 + 2 * x)


def log_tail(x):
    """Return the logarithm of the probability that a standard normal number exceeds x."""
    size = np.abs(x) * math.sqrt(0.5)
    half = erfcx(size) * 0.5
    above = np.log(half) - size * size
    below = np.log1p(half * np.exp(-size * size) * -1)
    return np.where(x > 0, above, below)


def gelu(x):
    """Return x Φ(x), where Φ is the standard normal distribution function."""
    if hasattr(x, "gelu"):
        return x.gelu()
    if x.size <= SMALL:
        ends = map(math.erfc, (x.ravel() * -math.sqrt(0.5)).tolist())
        return np.fromiter(ends, x.dtype, x.size).reshape(x.shape) * x * 0.5
    return gelu_by_erfc(x)


def gelu_by_erfc(x):
    """Return `gelu` for any number of values, computed without branches."""
    size = np.abs(x)
    return np.maximum(x, 0) - size * erfc(size * math.sqrt(0.5)) * 0.5


def sigmoid(x):
    """Return the logistic function, with small relative errors at both ends."""
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


def softplus(x):
    """Return log(1 + exp(x))."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def log_gamma(x):
    """Return log(Gamma(x)) for x > 0."""
    product = x
    for i in range(1, SHIFT):
        product = product * (x + i)
    z = x + SHIFT
    inverse = 1 / z
    tail = polynomial(inverse * inverse, STIRLING) * inverse
    return (z - 0.5) * np.log(z) - z + math.log(2 * math.pi) / 2 + tail - np.log(product)


def log_sum_exp(x):
    """Return the logarithms of the sums of exp(x) over the last axis."""
    largest = np.max(x, axis=-1, keepdims=True)
    return np.log(np.sum(np.exp(x - largest), axis=-1)) + np.max(x, axis=-1)


def log_softmax(x):
    """Return the logarithms of the softmax over the last axis."""
    x = x - np.max(x, axis=-1, keepdims=True)
    return x - np.log(np.sum(np.exp(x), axis=-1, keepdims=True))


def has_gaps(X):
    """Whether cells of X are missing. Those of a symbol may be."""
    return hasattr(X, "rows_at") or bool(np.isnan(X).any())


def smallest(values, n):
    """Return the places (n_rows, n) of the n smallest values in each row."""
    if hasattr(values, "smallest"):
        return values.smallest(n)
    return np.argpartition(values, n - 1, axis=1)[:, :n]


def rows_at(array, places):
    """Return the rows of an array at some places, which may be a symbol."""
    return places.rows_at(array) if hasattr(places, "rows_at") else array[places]


def _identity(x):
    return x


def _relu(x):
    return np.maximum(x, 0)


def _silu(x):
    return x * sigmoid(x)


def _elu(x):
    return np.maximum(x, 0) + np.expm1(np.minimum(x, 0))


ACTIVATIONS = {
    "identity": _identity,
    "relu": _relu,
    "gelu": gelu,
    "silu": _silu,
    "elu": _elu,
    "tanh": np.tanh,
    "logistic": sigmoid,
}
