"""Convolutional autoencoders of signals and images, which start as linear ones."""

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from skae._torch import NoStates
from skae.modules._base import Network, suitable_weight_decay
from skae.modules._gated import GatedAutoencoder
from skae.modules._layers import ACTIVATIONS, NORMALIZATIONS, Dropout, Linear

__all__ = ["Convolution", "ConvolutionalAutoencoder", "Convolutions"]

KERNEL = 3  # width of the kernels, which is odd
CONVOLUTIONS = {
    (1, False): F.conv1d,
    (2, False): F.conv2d,
    (1, True): F.conv_transpose1d,
    (2, True): F.conv_transpose2d,
}


class Convolution(nn.Module):
    """Convolution of stride 2, or its transpose, which also works in a stack.

    It turns (..., n, *shape_in) into (..., n, *shape_out), where a shape consists of the
    number of channels and one or two sizes. Of the sizes those of one shape are half of the
    others, rounded up: those of the output, or those of the input if it is transposed.

    The layers of torch draw from the global generator and cannot be stacked.

    Parameters
    ----------
    shape_in, shape_out : tuple of int
    transposed : bool
    zero : bool
        Whether all weights are zero.
    generator : torch.Generator or None
        Generator from which the weights are drawn.

    Attributes
    ----------
    n_uses : int
        How many times each weight is used for a row in one call of the function. In a
        stack there is one call after another for the members.
    """

    def __init__(
        self, shape_in, shape_out, *, transposed=False, zero=False, generator=None
    ):
        super().__init__()
        (n_in, *sizes_in), (n_out, *sizes_out) = shape_in, shape_out
        n_axes = len(sizes_in)
        self.n_positions = math.prod(sizes_in if transposed else sizes_out)
        self.function = CONVOLUTIONS[n_axes, transposed]
        self.options = {"stride": 2, "padding": KERNEL // 2}
        n_seen, channels = n_in * KERNEL**n_axes, (n_out, n_in)
        if transposed:
            # Without it the output would end one element before an even size.
            self.options["output_padding"] = [1 - size % 2 for size in sizes_out]
            # An element of the output sees only a part of the kernel.
            n_seen, channels = n_seen / 2**n_axes, (n_in, n_out)
        bound = 0.0 if zero else 1 / math.sqrt(n_seen)

        def draw(*shape):
            weights = torch.empty(shape, dtype=torch.float32)
            return nn.Parameter(weights.uniform_(-bound, bound, generator=generator))

        self.weight = draw(*channels, *[KERNEL] * n_axes)
        self.bias = draw(n_out)

    @property
    def n_uses(self):
        n_members = 1 if self.bias.ndim == 1 else len(self.bias)
        return self.n_positions / n_members

    def forward(self, X):
        if self.bias.ndim == 1:
            return self.function(X, self.weight, self.bias, **self.options)
        # A grouped convolution of all members at once takes longer.
        members = zip(X, self.weight, self.bias, strict=True)
        return torch.stack([self.function(*member, **self.options) for member in members])


class ByChannel(nn.Module):
    """Applies a layer to every position of (..., n, n_channels, *sizes) as to a row."""

    def __init__(self, layer, n_axes):
        super().__init__()
        self.layer, self.n_axes = layer, n_axes

    def forward(self, X):
        X = X.movedim(-1 - self.n_axes, -1)
        last = -2 - self.n_axes
        rows = self.layer(X.flatten(last, -2))
        return rows.reshape(X.shape).movedim(-1, -1 - self.n_axes)


class Reshaped(nn.Module):
    """Gives each row (..., n, p) the shape of a sample, (..., n, *shape)."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape

    def forward(self, X):
        return X.unflatten(-1, self.shape)


class Flattened(nn.Module):
    """Makes samples (..., n, *shape) rows (..., n, p) again."""

    def __init__(self, shape):
        super().__init__()
        self.n_axes = len(shape)

    def forward(self, X):
        return X.flatten(-self.n_axes)


class Convolutions(Network):
    """The convolutional layers of an encoder and a decoder.

    Each stage of the encoder is a convolution of stride 2 and an activation, which halves
    the sizes of the sample. What the last stage returns is a row again. The decoder begins
    with an affine map of the codes to such a row, and mirrors the stages with transposed
    convolutions.

    Parameters
    ----------
    sample_shape : tuple of int
        Shape of a sample, (channels, length) or (channels, height, width).
    n_components : int
        Width of the code.
    hidden_layer_sizes : tuple of int
        Numbers of channels after each stage of the encoder.
    activation, dropout, normalization : see `DenseAutoencoder`
        Batch normalization is that of each channel (Ioffe and Szegedy 2015), and layer
        normalization is that of each position over its channels.
    zero : bool
        Whether the weights of the last layer of the decoder are zero.
    generator : torch.Generator or None
        Generator from which the weights are drawn.

    Attributes
    ----------
    n_features : int
        Number of values of a sample.
    n_encoded : int
        Width of what the encoder returns.
    """

    is_stackable = True

    def __init__(
        self,
        sample_shape,
        n_components,
        hidden_layer_sizes,
        *,
        activation="gelu",
        dropout=0.0,
        normalization=None,
        zero=False,
        generator=None,
    ):
        super().__init__()
        shapes = _shapes(sample_shape, hidden_layer_sizes)
        self.n_features, self.n_encoded = math.prod(sample_shape), math.prod(shapes[-1])
        n_axes = len(sample_shape) - 1

        def hidden(shape):
            return _hidden(shape[0], n_axes, activation, dropout, normalization)

        down, up = [], []
        for larger, smaller in pairwise(shapes):
            down += [Convolution(larger, smaller, generator=generator), *hidden(smaller)]
        self.encoder = nn.Sequential(Reshaped(shapes[0]), *down, Flattened(shapes[-1]))
        is_last = not hidden_layer_sizes
        start = {"zero": zero and is_last, "generator": generator}
        flat = Linear(n_components, self.n_encoded, **start)
        for smaller, larger in pairwise(shapes[::-1]):
            options = {"transposed": True, "zero": zero and larger is shapes[0]}
            layer = Convolution(smaller, larger, **options, generator=generator)
            up += [*hidden(smaller), layer]
        self.decoder = nn.Sequential(flat, Reshaped(shapes[-1]), *up, Flattened(shapes[0]))

    def private_states(self, seed, device, training=False):
        return NoStates()  # its layers have generators of their own

    def encode(self, X):
        """Return features (..., n, n_encoded) of X (..., n, p)."""
        return self.encoder(X)

    def decode(self, Z):
        """Return the output (..., n, p) for codes Z (..., n, k)."""
        return self.decoder(Z)


class ConvolutionalAutoencoder(GatedAutoencoder):
    """Linear autoencoder that convolutions correct, see `GatedAutoencoder`.

    The gate of the codes is a matrix that turns what the last stage returns into codes.

    Parameters
    ----------
    sample_shape : tuple of int
        Shape of a sample, (channels, length) or (channels, height, width).
    n_components : int
        Width of the code.
    hidden_layer_sizes, activation, dropout, normalization, generator
        See `Convolutions`.
    code_activation : key of ACTIVATIONS
        Activation of the code.
    linear_path, n_marks, n_constants, ordered
        See `GatedAutoencoder`.
    """

    # It makes errors of images 1 to 15 % smaller, most in large tables.
    batch_share = 0.25
    many_rows = 2000  # less weight decay is no better on 5000 images, but on 20 000 it is

    def __init__(
        self,
        sample_shape,
        n_components,
        hidden_layer_sizes,
        *,
        code_activation="identity",
        linear_path=True,
        n_marks=0,
        n_constants=0,
        ordered=False,
        generator=None,
        **options,
    ):
        start = {"zero": linear_path, "generator": generator}
        layers = Convolutions(
            sample_shape, n_components, hidden_layer_sizes, **start, **options
        )
        to_codes = Linear(layers.n_encoded, self.numbers_per_code * n_components, **start)
        n_features = math.prod(sample_shape)
        super().__init__(
            layers,
            n_features,
            n_components,
            linear_path=linear_path,
            code_gate=to_codes.weight.detach(),
            output_gate=torch.ones(n_features),
            n_marks=n_marks,
            n_constants=n_constants,
            ordered=ordered,
        )
        self.code = ACTIVATIONS[code_activation]()

    @property
    def weight_decay(self):
        # That of dense layers was too small, because a kernel is used at many positions.
        return 2 * suitable_weight_decay(self.corrections.n_features)

    @property
    def cautious_layers(self):
        # The last convolution starts at zero in place of the gate of the output.
        name = list(self.corrections.decoder.named_parameters())[-1][0]
        last = name.split(".")[0]
        return (*super().cautious_layers, f"corrections.decoder.{last}.*")

    def encode(self, X):
        """Return the codes (..., n, k) of X (..., n, n_inputs)."""
        return self.code(super().encode(X))

    def encode_with_loss(self, X):
        return self.encode(X), None


def _shapes(sample_shape, hidden_layer_sizes):
    """Return the shapes of a sample before the first stage and after each stage."""
    shapes = [tuple(sample_shape)]
    for width in hidden_layer_sizes:
        shapes.append((width, *(-(-size // 2) for size in shapes[-1][1:])))
    return shapes


def _hidden(n_channels, n_axes, activation, dropout, normalization):
    """Return the layers that follow the affine map of a stage."""
    layers = [ACTIVATIONS[activation]()]
    if normalization is not None:
        layer = NORMALIZATIONS[normalization](n_channels)
        layers.insert(0, ByChannel(layer, n_axes))
    return [*layers, Dropout(dropout)] if dropout else layers
