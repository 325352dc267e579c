"""Convolutional autoencoders of signals and images, which start as linear ones."""

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from skae._torch import NoStates
from skae.modules._base import Network
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

    It turns (..., n, n_in, *sizes) into (..., n, n_out, *halves), where a half is rounded
    up, and a transposed one turns (..., n, n_in, *halves) into (..., n, n_out, *sizes).

    The layers of torch draw from the global generator and cannot be stacked.

    Parameters
    ----------
    n_in, n_out : int
        Numbers of channels.
    sizes : tuple of int
        The larger sizes: those of the input, or those of the output if it is transposed.
    transposed : bool
    generator : torch.Generator or None
        Generator from which the weights are drawn.

    Attributes
    ----------
    n_uses : int
        How many times each weight is used for a row.
    """

    def __init__(self, n_in, n_out, sizes, *, transposed=False, generator=None):
        super().__init__()
        n_axes = len(sizes)
        self.n_uses = math.prod(halves(sizes))
        self.function = CONVOLUTIONS[n_axes, transposed]
        self.options = {"stride": 2, "padding": KERNEL // 2}
        # With odd kernels the transpose would end one element before an even size.
        last = tuple(1 - size % 2 for size in sizes)
        self.options |= {"output_padding": last} if transposed else {}
        # Of a transposed kernel an element of the output sees only a part.
        n_seen = n_in * KERNEL**n_axes / (2**n_axes if transposed else 1)
        bound = 1 / math.sqrt(n_seen)

        def draw(*shape):
            weights = torch.empty(shape, dtype=torch.float32)
            return nn.Parameter(weights.uniform_(-bound, bound, generator=generator))

        channels = (n_in, n_out) if transposed else (n_out, n_in)
        self.weight = draw(*channels, *(KERNEL for _ in sizes))
        self.bias = draw(n_out)

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
    """Plain convolutional autoencoder.

    Each stage of the encoder is a convolution of stride 2 and an activation, which halves
    the sizes of the sample, and after the last stage an affine map gives the codes. The
    decoder mirrors this, with transposed convolutions.

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
    generator : torch.Generator or None
        Generator from which the weights are drawn.
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
        generator=None,
    ):
        super().__init__()
        n_channels, *sizes = sample_shape
        shapes = [tuple(sample_shape)]
        for width in hidden_layer_sizes:
            shapes.append((width, *halves(shapes[-1][1:])))
        narrowest = shapes[-1]

        def hidden(width):
            layers = [ACTIVATIONS[activation]()]
            if normalization is not None:
                layer = NORMALIZATIONS[normalization](width)
                layers.insert(0, ByChannel(layer, len(sizes)))
            return [*layers, Dropout(dropout)] if dropout else layers

        down, up = [], []
        for (n_in, *larger), (n_out, *_) in pairwise(shapes):
            down.append(Convolution(n_in, n_out, larger, generator=generator))
            down += hidden(n_out)
        n_flat = math.prod(narrowest)
        flat = Linear(n_flat, n_components, generator=generator)
        self.encoder = nn.Sequential(
            Reshaped(shapes[0]), *down, Flattened(narrowest), flat
        )
        flat = Linear(n_components, n_flat, generator=generator)
        for (n_in, *_), (n_out, *larger) in pairwise(shapes[::-1]):
            up += hidden(n_in)
            up.append(
                Convolution(n_in, n_out, larger, transposed=True, generator=generator)
            )
        self.decoder = nn.Sequential(flat, Reshaped(narrowest), *up, Flattened(shapes[0]))

    def private_states(self, seed, device, training=False):
        return NoStates()  # its layers have generators of their own

    def encode(self, X):
        """Return the codes (..., n, k) of X (..., n, p)."""
        return self.encoder(X)

    def decode(self, Z):
        """Return the output (..., n, p) for codes Z (..., n, k)."""
        return self.decoder(Z)


class ConvolutionalAutoencoder(GatedAutoencoder):
    """Linear autoencoder that convolutions correct.

    Parameters
    ----------
    sample_shape : tuple of int
        Shape of a sample, (channels, length) or (channels, height, width).
    n_inputs, n_components : int
        Widths of the input and the code.
    hidden_layer_sizes, activation, dropout, normalization, generator
        See `Convolutions`.
    code_activation : key of ACTIVATIONS
        Activation of the code.
    linear_path, n_constants, ordered
        See `GatedAutoencoder`.
    """

    def __init__(
        self,
        sample_shape,
        n_inputs,
        n_components,
        hidden_layer_sizes,
        *,
        code_activation="identity",
        linear_path=True,
        n_constants=0,
        ordered=False,
        **options,
    ):
        n_features = math.prod(sample_shape)
        super().__init__(
            Convolutions(sample_shape, n_components, hidden_layer_sizes, **options),
            n_features,
            n_components,
            n_marks=n_inputs - n_features,
            linear_path=linear_path,
            n_constants=n_constants,
            ordered=ordered,
        )
        self.code = ACTIVATIONS[code_activation]()

    def encode(self, X):
        """Return the codes (..., n, k) of X (..., n, n_inputs)."""
        return self.code(super().encode(X))


def halves(sizes):
    """Return half of each size, rounded up."""
    return tuple(-(-size // 2) for size in sizes)
