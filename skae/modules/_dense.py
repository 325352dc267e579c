"""Fully connected autoencoders: a linear map plus a correction."""

import itertools

import torch
from torch import nn

from skae._torch import NoStates
from skae.modules._base import copied, suitable_weight_decay
from skae.modules._layers import ACTIVATIONS, NORMALIZATIONS, Dropout, Linear
from skae.modules._linear_path import LinearPathAutoencoder
from skae.modules._tied import Tied

__all__ = ["DenseAutoencoder", "Mapping"]


class Mapping(nn.Module):
    """A linear map plus a perceptron that corrects it.

    f(x) = A x + a + V h(x), where h(x) is the output of the hidden layers. V starts at
    zero, so that before training f is the linear map alone. Zhang, Dauphin and Ma (2019),
    "Fixup Initialization", start residual branches in the same way.

    Parameters
    ----------
    n_in, n_out : int
        Widths of the input and the output.
    hidden_layer_sizes : tuple of int
        Widths of the hidden layers. Without hidden layers f is the linear map.
    activation : key of ACTIVATIONS
    dropout : float in [0, 1)
        Rate of dropout after every hidden layer.
    linear_path : bool
        Whether to have the linear map. Without it f is a plain perceptron with a bias in
        its last layer.
    generator : torch.Generator or None
        Generator from which the weights are drawn.
    normalization : key of NORMALIZATIONS or None
        Normalization of every hidden layer, before its activation.
    """

    def __init__(
        self,
        n_in,
        n_out,
        hidden_layer_sizes,
        activation,
        dropout,
        linear_path,
        generator,
        normalization=None,
    ):
        super().__init__()
        sizes = (n_in, *hidden_layer_sizes)
        layers = []
        for size_in, size_out in itertools.pairwise(sizes):
            layers.append(Linear(size_in, size_out, generator=generator))
            if normalization is not None:
                layers.append(NORMALIZATIONS[normalization](size_out))
            layers.append(ACTIVATIONS[activation]())
            if dropout:
                layers.append(Dropout(dropout))
        self.hidden = nn.Sequential(*layers)
        self.linear = self.correction = None
        if linear_path or not layers:
            self.linear = Linear(n_in, n_out, generator=generator)
        if layers:
            self.correction = Linear(
                sizes[-1],
                n_out,
                bias=not linear_path,
                zero=linear_path,
                generator=generator,
            )

    def forward(self, X):
        return self.join(X, self.hidden(X))

    def join(self, X, H):
        """Return the output for the input X and the last hidden layer H."""
        return joined(self.linear, self.correction, X, H)

    @torch.no_grad()
    def absorb_input(self, weight, shift=None):
        """Replace f(x) by f(weight x + shift).

        `weight` has shape (n_in, n_new), or (n_in,) if it is the diagonal of a matrix.
        `shift` has shape (n_in,). None stands for the identity or zero.
        """
        for layer in (self.linear, self.hidden[0] if len(self.hidden) else None):
            if layer is not None:
                layer.absorb_input(weight, shift)

    @torch.no_grad()
    def absorb_output(self, weight, shift=None):
        """Replace f(x) by weight f(x) + shift.

        `weight` has shape (n_new, n_out), or (n_out,) for a diagonal matrix, and `shift`
        has shape (n_new,). None stands for the identity or zero.
        """
        for layer in (self.linear, self.correction):
            if layer is not None:
                layer.absorb_output(weight, None)
        if shift is not None:
            (self.correction if self.linear is None else self.linear).bias += shift


def joined(linear, correction, X, H):
    """Return the output of a `Mapping` for its input X and its last hidden layer H.

    `linear` and `correction` are functions, either of which may be None.
    """
    if correction is None:
        return linear(X)
    out = correction(H)
    return out if linear is None else linear(X).add_(out)


class DenseAutoencoder(LinearPathAutoencoder):
    """Fully connected autoencoder.

    Parameters
    ----------
    n_inputs, n_components, n_outputs : int
        Widths of the input, the code and the output.
    hidden_layer_sizes : tuple of int
        Widths of the hidden layers of the encoder; the decoder mirrors them.
    activation : key of ACTIVATIONS
        Activation of the hidden layers.
    code_activation : key of ACTIVATIONS
        Activation of the code.
    dropout : float in [0, 1)
        Rate of dropout after every hidden layer.
    normalization : key of NORMALIZATIONS or None
        Normalization of every hidden layer.
    linear_path : bool
        Whether encoder and decoder have a linear map, see `Mapping`.
    n_constants : int
        How many learned numbers follow the output of every row.
    ordered : bool
        Whether any number of the first codes can be decoded, see `Nested`.
    generator : torch.Generator or None
        Generator from which the weights are drawn; None is torch's global generator.
    """

    in_any_basis = True

    def __init__(
        self,
        n_inputs,
        n_components,
        n_outputs,
        hidden_layer_sizes=(),
        *,
        activation="gelu",
        code_activation="identity",
        dropout=0.0,
        normalization=None,
        linear_path=True,
        n_constants=0,
        ordered=False,
        generator=None,
    ):
        super().__init__(n_components, n_constants=n_constants, ordered=ordered)
        options = {
            "activation": activation,
            "dropout": dropout,
            "linear_path": linear_path,
            "generator": generator,
            "normalization": normalization,
        }
        mirrored = hidden_layer_sizes[::-1]
        n_encoded = self.numbers_per_code * n_components
        self.encoder = Mapping(n_inputs, n_encoded, hidden_layer_sizes, **options)
        self.code = ACTIVATIONS[code_activation]()
        n_seen = self.n_seen(n_components)
        self.decoder = Mapping(n_seen, n_outputs, mirrored, **options)

    def lr(self, batch_size):
        # With one rate for all widths, networks with layers of 1000 units are worse for
        # epochs than before training. Larger batches bear more.
        hidden = [*self.encoder.hidden, *self.decoder.hidden]
        widths = [layer.bias.shape[-1] for layer in hidden if isinstance(layer, Linear)]
        share = 256 / max(widths, default=1) * (batch_size / 256) ** 0.5
        return super().lr(batch_size) * min(share, 1.0)

    @property
    def n_outputs(self):
        """Number of features that the decoder returns."""
        last = getattr(self.decoder, "linear", None) or self.decoder.correction
        return last.bias.shape[-1]

    @property
    def weight_decay(self):
        return suitable_weight_decay(self.n_outputs)

    @property
    def warm_up(self):
        # The first steps change a sum over many features by more than one over few.
        return min(max(3 * self.n_outputs, 30), 100)

    @property
    def paths(self):
        # A subclass may do something else or something more.
        is_all = type(self) is DenseAutoencoder and self.constants is self.nested is None
        return (self.encoder, self.code, self.decoder) if is_all else None

    def private_states(self, seed, device, training=False):
        if type(self) is DenseAutoencoder:  # its layers have generators of their own
            return NoStates()
        return super().private_states(seed, device, training)

    def encode(self, X):
        """Return the codes (..., n, k) of X (..., n, p)."""
        return self.code(self.encoder(X))

    def decode(self, Z):
        """Return the output (..., n, p) for codes Z (..., n, k), before the inverse link.

        The last of ordered codes may be missing.
        """
        return self.with_constants(self.decoder(self.seen(Z)))

    def decoding_copy(self):
        # A network that does something else may need its encoder for that.
        left_out = {} if self.paths is None else {id(self.encoder): nn.Identity()}
        return copied(self, left_out)

    def folded_encoder(self, weight, shift):
        encoder = copied(self.encoder).double()
        encoder.absorb_input(weight, shift)
        return nn.Sequential(encoder, self.code)

    def tie(self):
        self.decoder = Tied(self.encoder, self.decoder)
        return self

    def untie(self):
        if isinstance(self.decoder, Tied):
            empty = Mapping(
                n_in=1,
                n_out=1,
                hidden_layer_sizes=(),
                activation="identity",
                dropout=0.0,
                linear_path=True,
                generator=torch.Generator(),
            )
            empty.linear = None
            self.decoder = self.decoder.untie(empty)
        return self
