"""Makes the encoder and the decoder of a saved network out of its weights."""

import math
from itertools import pairwise

import numpy as np

from skae._serving.functions import ACTIVATIONS
from skae._serving.steps import (
    Affine,
    Apply,
    Chain,
    Constant,
    Convolution,
    First,
    LayerNorm,
    Nested,
    Scaling,
    Shaped,
    Sum,
)
from skae._tables.sample_shape import resolved_shape
from skae.exceptions import ModelFileError

__all__ = ["Weights", "network_of"]

KERNEL = 3


class Weights:
    """The weights of a file, each of which is taken once, by name, and checked."""

    def __init__(self, arrays):
        self.left = dict(arrays)

    def take(self, name, *shape):
        """Return the weight of this name in float64, which must have this shape."""
        if name not in self.left:
            raise ModelFileError(f"does not have the weights {name!r} of its network.")
        array = self.left.pop(name)
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            raise ModelFileError(f"has weights {name!r} that are not an array of float32.")
        if array.shape != shape:
            raise ModelFileError(
                f"has weights {name!r} of shape {array.shape}, but its network has {shape}."
            )
        if not np.isfinite(array).all():
            raise ModelFileError(f"has weights {name!r} that are not finite.")
        return array.astype(np.float64)

    def affine(self, name, n_in, n_out, bias=True):
        """Return the step of a linear layer."""
        weight = self.take(f"{name}.weight", n_out, n_in).T
        return Affine(weight, self.take(f"{name}.bias", n_out) if bias else None)

    def normalization(self, name, kind, width):
        """Return the step of a normalization, in evaluation mode."""
        weight, bias = self.take(f"{name}.weight", width), self.take(f"{name}.bias", width)
        if kind == "layer":
            return LayerNorm(weight, bias)
        mean = self.take(f"{name}.mean", width)
        variance = self.take(f"{name}.variance", width)
        factor = weight / np.sqrt(variance + 1e-5)
        return Scaling(factor, bias - mean * factor)

    def finish(self):
        """Refuse weights that were not taken."""
        if self.left:
            raise ModelFileError(f"has surplus weights: {sorted(self.left)[:6]}.")


def network_of(params, fitted, n_constants):
    """Return the encoder, the decoder and the constants of the network of a file.

    Parameters
    ----------
    params : dict
        Parameters that the fit was made with.
    fitted : dict
        Fitted attributes, whose widths have been checked.
    n_constants : int
        How many constants the network has for each feature.

    Returns
    -------
    encoder, decoder : steps
        The encoder takes scaled rows, followed by marks of missing cells if the network
        has them. If it is variational it returns the means of the codes, followed by the
        logits of their variances. The decoder returns its output, without constants.
    constants : ndarray of shape (n_constants * n_features,)
    """
    weights = Weights(fitted["net_"])
    sizes = tuple(fitted["hidden_layer_sizes_"])
    if any(type(size) is not int or size < 1 for size in sizes):
        raise ModelFileError("has widths of layers that are not positive integers.")
    if len(sizes) > len(weights.left):
        raise ModelFileError("has more layers than weights.")
    n_constants *= fitted["n_features_in_"]
    constants = weights.take("constants", n_constants) if n_constants else np.empty(0)
    is_dense = params["sample_shape"] is None or fitted["_is_dense"]
    make = _dense if is_dense else _convolutional
    encoder, decoder = make(weights, sizes, params, fitted)
    weights.finish()
    code = Apply(ACTIVATIONS[params["code_activation"]])
    if params["code_activation"] != "identity":
        encoder = Chain((encoder, code))
    return encoder, decoder, constants


def _nested(weights, params, k):
    """Return what comes before the decoder, and how many numbers that takes."""
    if not params["ordered"]:
        return (), k
    weight, shift = weights.take("nested.weight", k, k), weights.take("nested.shift", k)
    return (Nested(weight.T, shift),), 2 * k


def _encoder_width(fitted):
    """Return how many numbers the encoder returns."""
    return fitted["n_components_"] * (2 if fitted["is_variational"] else 1)


# -- dense -----------------------------------------------------------------------------


def _dense(weights, sizes, params, fitted):
    k, p = fitted["n_components_"], fitted["n_features_in_"]
    n_inputs = 2 * p if fitted["_has_marks"] else p
    n_out = _encoder_width(fitted)
    encoder = _mapping(weights, "encoder", n_inputs, n_out, sizes, params)
    nested, n_seen = _nested(weights, params, k)
    decoder = _mapping(weights, "decoder", n_seen, p, sizes[::-1], params)
    return encoder, Chain((*nested, decoder))


def _mapping(weights, name, n_in, n_out, sizes, params):
    """Return the linear map plus its correction, see `skae.modules.Mapping`."""
    has_linear_path, steps, place = params["init"] == "pca", [], 0
    for size_in, size_out in pairwise((n_in, *sizes)):
        steps.append(weights.affine(f"{name}.hidden.{place}", size_in, size_out))
        hidden, n_layers = _hidden(
            weights, f"{name}.hidden.", place + 1, size_out, params, ""
        )
        steps += hidden
        place += 1 + n_layers
    linear = None
    if has_linear_path or not sizes:
        linear = weights.affine(f"{name}.linear", n_in, n_out)
    if not sizes:
        return Chain((linear,))
    last = weights.affine(f"{name}.correction", sizes[-1], n_out, bias=not has_linear_path)
    steps = Chain((*steps, last))
    return steps if linear is None else Sum(linear, steps)


def _hidden(weights, prefix, place, width, params, layer):
    """Return the steps after an affine map, and the number of layers that they are."""
    steps, n_layers = [], 1
    if params["normalization"] is not None:
        name = f"{prefix}{place}{layer}"
        steps.append(weights.normalization(name, params["normalization"], width))
        n_layers += 1
    steps.append(Apply(ACTIVATIONS[params["activation"]]))
    return steps, n_layers + (params["dropout"] != 0)


# -- convolutional ---------------------------------------------------------------------


def _convolutional(weights, sizes, params, fitted):
    k, p = fitted["n_components_"], fitted["n_features_in_"]
    shape = resolved_shape(params["sample_shape"], p, "the model")
    shapes = [shape]
    for size in sizes:
        shapes.append((size, *(-(-n // 2) for n in shapes[-1][1:])))
    n_encoded, n_codes = math.prod(shapes[-1]), k + fitted["_n_left_out"]
    n_out = _encoder_width(fitted)
    nested, n_seen = _nested(weights, params, k)
    entrance = Scaling(
        weights.take("encoder.entrance.weight", p),
        weights.take("encoder.entrance.shift", p),
    )
    gate = Affine(weights.take("encoder.correction.weight", n_out, n_encoded).T)
    down = _stages(weights, "corrections.encoder.", shapes, params, is_up=False)
    first = (First(p),) if fitted["_has_marks"] else ()
    n_inputs = 2 * p if fitted["_has_marks"] else p
    encoder = _gated(
        _linear(weights, "encoder", n_inputs, n_out, params),
        (*first, entrance, Shaped(shape), *down, Shaped(shapes[-1], to_rows=True)),
        gate,
        gate.weight,
    )
    entrance = Affine(
        weights.take("decoder.entrance.weight", n_codes, n_seen).T,
        weights.take("decoder.entrance.shift", n_codes),
    )
    flat = weights.affine("corrections.decoder.0", n_codes, n_encoded)
    up = _stages(weights, "corrections.decoder.", shapes[::-1], params, is_up=True)
    gate = weights.take("decoder.correction.weight", p)
    decoder = _gated(
        _linear(weights, "decoder", n_seen, p, params),
        (entrance, flat, Shaped(shapes[-1]), *up, Shaped(shape, to_rows=True)),
        Scaling(gate, np.zeros(p)),
        gate,
    )
    return encoder, Chain((*nested, decoder))


def _linear(weights, name, n_in, n_out, params):
    if params["init"] == "pca":
        return weights.affine(f"{name}.linear", n_in, n_out)
    return Constant(weights.take(f"{name}.linear.bias", n_out))


def _gated(linear, correction, gate, numbers):
    """Return the linear map alone if the gate is closed, as the network does."""
    if not numbers.any():
        return Chain((linear,))
    return Sum(linear, Chain((*correction, gate)))


def _stages(weights, prefix, shapes, params, is_up):
    """Return the steps of the stages of an encoder, or with `is_up` of a decoder."""
    steps, place = [], 2 if is_up else 1
    for shape_in, shape_out in pairwise(shapes):
        width = shape_in[0] if is_up else shape_out[0]
        if is_up:
            hidden, n_layers = _hidden(weights, prefix, place, width, params, ".layer")
            steps += hidden
            place += n_layers
        steps.append(_convolution(weights, f"{prefix}{place}", shape_in, shape_out, is_up))
        place += 1
        if not is_up:
            hidden, n_layers = _hidden(weights, prefix, place, width, params, ".layer")
            steps += hidden
            place += n_layers
    return steps


def _convolution(weights, name, shape_in, shape_out, is_up):
    (n_in, *sizes_in), (n_out, *sizes_out) = shape_in, shape_out
    channels = (n_in, n_out) if is_up else (n_out, n_in)
    kernel = [KERNEL] * len(sizes_in)
    weight = weights.take(f"{name}.weight", *channels, *kernel)
    weight = np.moveaxis(weight, (0, 1), (-2, -1) if is_up else (-1, -2))
    bias = weights.take(f"{name}.bias", n_out)
    return Convolution(weight, bias, tuple(sizes_in), tuple(sizes_out), is_up)
