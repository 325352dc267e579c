"""The base class of autoencoders with a linear path in the encoder and the decoder."""

import torch
from torch import nn

from skae.modules._base import Network
from skae.modules._layers import Nested

__all__ = ["LinearPathAutoencoder"]


class LinearPathAutoencoder(Network):
    """Base class of autoencoders whose encoder and decoder each have a linear path.

    A subclass sets `encoder` and `decoder`. These are mappings with a layer `linear` and
    with the methods `absorb_input` and `absorb_output`, see `Mapping`.

    Parameters
    ----------
    n_components : int
    n_constants : int
        How many learned numbers follow the output of every row.
    ordered : bool
        Whether any number of the first codes can be decoded, see `Nested`.

    Attributes
    ----------
    numbers_per_code : int
        How many numbers `encoder` returns for each code, one block of them after another.
    """

    numbers_per_code = 1
    has_linear_path = True
    is_stackable = True
    takes_marks = True
    absorbs = True

    def __init__(self, n_components, *, n_constants=0, ordered=False):
        super().__init__()
        self.nested = Nested(n_components) if ordered else None
        self.constants = nn.Parameter(torch.zeros(n_constants)) if n_constants else None

    @property
    def is_ordered(self):
        return self.nested is not None

    def n_seen(self, n_components):
        """Return how many numbers the decoder takes: the codes, and marks if ordered."""
        return 2 * n_components if self.is_ordered else n_components

    def seen(self, Z):
        """Return what the decoder takes for codes Z (..., n, b), (..., n, n_seen)."""
        return Z if self.nested is None else self.nested(Z)

    def with_constants(self, output):
        """Return the output (..., n, p) of the decoder, followed by the constants."""
        if self.constants is None:
            return output
        constants = self.constants.unsqueeze(-2).to(output.dtype)
        return torch.cat([output, constants.expand(*output.shape[:-1], -1)], dim=-1)

    @torch.no_grad()
    def set_linear(self, encoder, decoder, bias):
        (k, r), p = encoder.shape, len(decoder)
        self.encoder.linear.weight.zero_()
        self.encoder.linear.weight[:, :r] = encoder
        self.encoder.linear.bias.zero_()
        # Inputs after the k-th mark the codes that are missing. PCA ignores them.
        self.decoder.linear.weight.zero_()
        self.decoder.linear.weight[:, :k] = decoder
        self.decoder.linear.bias.copy_(bias[:p])
        if self.constants is not None:
            self.constants.copy_(bias[p:])

    def absorb_input(self, weight, shift=None):
        self.encoder.absorb_input(weight, shift)

    def absorb_output(self, weight, shift=None):
        self.decoder.absorb_output(weight, shift)

    @torch.no_grad()
    def recode(self, weight, mean):
        """Replace the codes z by weight (z - mean), without changing the reconstruction.

        `weight` has shape (k, k), and is lower triangular if the codes are ordered. `mean`
        has shape (k,).
        """
        inverse = torch.linalg.inv(weight)
        self.encoder.absorb_output(weight, -weight @ mean)
        if self.nested is None:
            self.decoder.absorb_input(inverse, mean)
        else:
            self.nested.shift += self.nested.weight @ mean
            self.nested.weight = self.nested.weight @ inverse

    @torch.no_grad()
    def truncate(self, n_components):
        """Keep only the first codes. To the decoder the others are missing."""
        k, first = len(self.nested.shift), torch.arange(n_components)
        eye = torch.eye(
            2 * k, dtype=self.nested.weight.dtype, device=self.nested.weight.device
        )
        self.decoder.absorb_input(
            eye[:, torch.cat([first, k + first])], eye[k + n_components :].sum(0)
        )
        self.encoder.absorb_output(eye[:n_components, :k])
        self.nested.weight = self.nested.weight[:n_components, :n_components].clone()
        self.nested.shift = self.nested.shift[:n_components].clone()
