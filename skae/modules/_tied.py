"""Decoders that share the weights of an encoder."""

import torch
from torch import nn

from skae.modules._layers import Linear

__all__ = ["Tied"]


class Tied(nn.Module):
    """A decoder with the transposed weights of an encoder, and biases of its own.

    Parameters
    ----------
    encoder : Mapping
        A plain perceptron.
    decoder : Mapping
        A perceptron with the mirrored widths, whose activations, normalizations and
        dropout are used.
    """

    def __init__(self, encoder, decoder):
        super().__init__()
        # No submodule, because the encoder has a parent already.
        self.__dict__["encoder"] = encoder
        self.hidden, self.correction = decoder.hidden, decoder.correction
        for layer in self._layers():
            layer.weight = None

    def _layers(self):
        layers = [layer for layer in self.hidden if isinstance(layer, Linear)]
        return [*layers, self.correction]

    def _weights(self):
        """Return the encoder's weights (..., n_out, n_in), from the code to the data."""
        layers = [layer for layer in self.encoder.hidden if isinstance(layer, Linear)]
        return [layer.weight for layer in (self.encoder.correction, *layers[::-1])]

    def forward(self, Z):
        weights = iter(self._weights())
        for layer in (*self.hidden, self.correction):
            if isinstance(layer, Linear):
                Z = Z @ next(weights) + layer.bias.unsqueeze(-2)
            else:
                Z = layer(Z)
        return Z

    def untie(self, decoder):
        """Turn `decoder` into one with weights of its own, and return it."""
        decoder.hidden, decoder.correction = self.hidden, self.correction
        for layer, weight in zip(self._layers(), self._weights(), strict=True):
            # In the order of cells that a copy from a file has: the order changes bits.
            weight = weight.detach().mT.clone(memory_format=torch.contiguous_format)
            layer.weight = nn.Parameter(weight)
        return decoder
