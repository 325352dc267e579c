"""What a network can do, as the network itself says it."""

import contextlib

import torch
from torch import nn

from skae._torch import PrivateStates, make_generator

__all__ = [
    "Network",
    "decode",
    "encode",
    "fresh_generators",
    "layers_that_draw",
    "reconstruct",
    "set_generators",
]


class Network(nn.Module):
    """An autoencoder, and what the rest of the package asks of it.

    A subclass has `encode` and `decode`, and declares what else it can do. What is written
    here holds for every network with these two methods.

    Letters in shapes: see `skae.modules`.

    Attributes
    ----------
    has_own_code : bool
        Whether its code is a user's. Such a network is tried on two rows before anything
        is computed, and copies keep the module itself, because it cannot be made anew
        from numbers.
    has_linear_path : bool
        Whether it can be made with a linear path, to which `set_linear` writes PCA.
    is_stackable : bool
        Whether several of them can be run as one, see `stack`.
    takes_marks : bool
        Whether the inputs may be followed by marks of missing cells.
    absorbs : bool
        Whether affine maps before it, behind it and of its codes can be folded into its
        layers, by `absorb_input`, `absorb_output`, `recode` and `folded_encoder`.
    is_ordered : bool
        Whether any number of first codes can be decoded.
    paths : tuple of (Mapping, nn.Module, Mapping) or None
        Encoder, activation of the code and decoder, where the network does nothing else
        than to apply them one after another; then `Backprop` may know its gradient.
    unwrapped : nn.Module
        What users see of it: their own module, where this is an adapter around one.
    """

    has_own_code = False
    has_linear_path = False
    is_stackable = False
    takes_marks = False
    absorbs = False
    is_ordered = False
    paths = None

    @property
    def unwrapped(self):
        return self

    def encode(self, X):
        """Codes (..., n, k) of X (..., n, p)."""
        raise NotImplementedError

    def decode(self, Z):
        """Output (..., n, q) of the codes Z (..., n, k)."""
        raise NotImplementedError

    def forward(self, X):
        return self.decode(self.encode(X))

    def private_states(self, seed, device, training=False):
        """A context in which nothing is drawn from the states of the global generators.

        Parameters
        ----------
        seed : int
        device : torch.device
        training : bool
            Whether the network runs in training mode within it.
        """
        return PrivateStates(seed, device)

    def set_linear(self, encoder, decoder, bias):
        """Let the linear path be x -> decoder @ encoder @ x + bias.

        Parameters
        ----------
        encoder : Tensor of shape (k, r)
            Of the first r inputs; the others are without effect.
        decoder : Tensor of shape (p, k)
        bias : Tensor of shape (p,) or longer
            Constants of the output come after the p-th number.
        """
        raise NotImplementedError

    def absorb_input(self, weight, shift=None):
        """Let f(x) become f(weight x + shift); None is the identity, zero."""
        raise NotImplementedError

    def absorb_output(self, weight, shift=None):
        """Let f(x) become weight f(x) + shift; None is the identity, zero."""
        raise NotImplementedError

    def folded_encoder(self, weight, shift):
        """A module that encodes x as this network does diag(weight) x + shift."""
        raise NotImplementedError

    def recode(self, weight, mean):
        """Let the codes z become weight (z - mean), and the reconstruction stay."""
        raise NotImplementedError

    def truncate(self, n_components):
        """Keep the first of ordered codes only."""
        raise NotImplementedError

    def tie(self):
        """Let the decoder have the encoder's weights, transposed, until `untie`."""
        raise NotImplementedError

    def untie(self):
        """Give the decoder weights of its own, equal to those it shared."""
        return self


def encode(module, X):
    """The code of X."""
    return module.encode(X)


def decode(module, Z):
    """The decoder's output for the code Z."""
    return module.decode(Z)


def reconstruct(module, X):
    """The decoder's output for X; a user's module need not have a `forward`."""
    return module.decode(module.encode(X))


def layers_that_draw(module):
    """The layers with an attribute `generator`, which is a `torch.Generator` or None.

    A layer that draws random numbers has one. It is set for the time of a fit.
    """
    kinds = torch.Generator | None
    layers = module.modules()
    return [m for m in layers if isinstance(getattr(m, "generator", 0), kinds)]


def set_generators(module, seed, device):
    """Give each layer that draws a generator of its own, seeded with `seed`.

    Where `seed` is None the layers have none afterwards.
    """
    for layer in layers_that_draw(module):
        layer.generator = None if seed is None else make_generator(seed, device)


@contextlib.contextmanager
def fresh_generators(module, seed, device):
    """Within it the layers that draw have other generators, seeded with `seed`."""
    layers = [(layer, layer.generator) for layer in layers_that_draw(module)]
    set_generators(module, seed, device)
    try:
        yield
    finally:
        for layer, generator in layers:
            layer.generator = generator
