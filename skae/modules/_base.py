"""The base class of networks, in which a network declares what it can do."""

import contextlib
import copy
import math

import torch
from torch import nn

from skae._torch import PrivateStates, make_generator

__all__ = [
    "Network",
    "copied",
    "decode",
    "encode",
    "fresh_generators",
    "layers_that_draw",
    "reconstruct",
    "set_generators",
    "suitable_weight_decay",
]


def suitable_weight_decay(n_features):
    """Return the weight decay that suits dense layers for rows of so many features.

    Rows of many features have more noise to learn. One value for all tables was too small
    for images or too large for tables of ten columns.
    """
    return n_features / (n_features + 100)


class Network(nn.Module):
    """Base class of autoencoders, with everything that the rest of the package uses of one.

    A subclass has `encode`, which turns X (..., n, p) into codes (..., n, k), and `decode`,
    which turns codes into an output (..., n, q). Both are methods or layers. The attributes
    below declare what else it can do. Their values here hold for every network that has
    these two methods.

    The letters in shapes are explained in `skae.modules`.

    Attributes
    ----------
    has_own_code : bool
        Whether the code of the network was written by a user. Such a network is tried on
        two rows before anything is computed, and copies keep the module itself, because it
        cannot be made anew from its weights.
    has_linear_path : bool
        Whether the network can have a linear path, to which `set_linear` writes PCA.
    is_stackable : bool
        Whether several such networks can be run as one, by a leading axis of their weights,
        see `stack`. Parts of a network that are no `Network` must be so in any case.
    in_any_basis : bool
        Whether the network treats all features alike, so that it may as well take rows, and
        return them, in the coordinates of their principal axes.
    takes_marks : bool
        Whether the inputs may be followed by marks of missing cells.
    absorbs : bool
        Whether affine maps of the input, the output and the codes can be folded into the
        layers, by `absorb_input`, `absorb_output`, `recode` and `folded_encoder`.
    is_ordered : bool
        Whether the network can decode any number of the first codes.
    weight_decay : float
        Weight decay that suits the network, as a multiple of the learning rate.
    batch_share : float
        Size of the batches that suit the network, as a share of those that suit dense ones.
    many_rows : float
        Number of training rows from which the weight decay falls with the square root of
        their number.
    warm_up : int
        Number of steps in which the learning rate rises, if one network is trained, and
        rows that are held out choose the epoch.
    cautious_layers : tuple of str
        Names, with wildcards, of the weights that act on the codes or on the reconstruction
        directly. Their steps are small if PCA leaves little to gain.
    is_variational : bool
        Whether a row has a distribution of codes, which `posterior` returns. The codes can
        then only change places and signs.
    paths : tuple of (Mapping, nn.Module, Mapping) or None
        Encoder, activation of the code and decoder, if the network does nothing but apply
        them one after another. `Backprop` may then be able to compute the gradient.
    unwrapped : nn.Module
        The module that users see. In an adapter it is the user's own module.
    """

    has_own_code = False
    has_linear_path = False
    is_stackable = False
    in_any_basis = False
    takes_marks = False
    absorbs = False
    is_ordered = False
    weight_decay = 0.01
    batch_share = 1.0
    many_rows = math.inf
    warm_up = 30
    cautious_layers = ("[ed][ne]coder.[lc]*",)  # `linear` and `correction` of both
    is_variational = False
    paths = None

    @property
    def unwrapped(self):
        return self

    def encode_with_loss(self, X):
        """Return the codes of X, and numbers that are added to the loss of each row.

        This method replaces `encode` in training and for held-out rows. A network with a
        distribution of codes, for example, draws the codes here and returns the divergence
        of the distribution from its prior.

        Parameters
        ----------
        X : Tensor of shape (..., n, p)

        Returns
        -------
        Z : Tensor of shape (..., n, k)
        added : Tensor of shape (..., n) or None
            Numbers in the units of the loss, which is summed over the features. None adds
            nothing.
        """
        return self.encode(X), None

    def forward(self, X):
        return self.decode(self.encode(X))

    def lr(self, batch_size):
        """Return the largest learning rate that suits the network and the batches."""
        return 1.5e-2

    def private_states(self, seed, device, training=False):
        """Return a context that keeps the global generators from being changed.

        Parameters
        ----------
        seed : int
            Seed of the random numbers that the network draws within the context.
        device : torch.device
        training : bool
            Whether the network is in training mode within the context.
        """
        return PrivateStates(seed, device)

    def set_linear(self, encoder, decoder, bias):
        """Set the linear path to x -> decoder @ encoder @ x + bias.

        Parameters
        ----------
        encoder : Tensor of shape (k, r)
            Weights of the first r inputs. Those of the others become zero.
        decoder : Tensor of shape (p, k)
        bias : Tensor of shape (p,) or longer
            Bias of the output, followed by the constants of the output.
        """
        raise NotImplementedError

    def absorb_input(self, weight, shift=None):
        """Replace f(x) by f(weight x + shift). None stands for the identity or zero."""
        raise NotImplementedError

    def absorb_output(self, weight, shift=None):
        """Replace f(x) by weight f(x) + shift. None stands for the identity or zero."""
        raise NotImplementedError

    def decoding_copy(self):
        """Return a copy of the network. It may lack what only `encode` needs."""
        return copied(self)

    def folded_encoder(self, weight, shift):
        """Return a module that encodes x as this network encodes diag(weight) x + shift.

        The module is a copy in float64, like `weight` and `shift` of shape (n_inputs,).
        """
        raise NotImplementedError

    def recode(self, weight, mean):
        """Replace the codes z by weight (z - mean), without changing the reconstruction."""
        raise NotImplementedError

    def truncate(self, n_components):
        """Keep only the first of ordered codes."""
        raise NotImplementedError

    def tie(self):
        """Give the decoder the transposed weights of the encoder, until `untie`."""
        raise NotImplementedError

    def untie(self):
        """Give the decoder weights of its own, equal to those it shared."""
        return self


def encode(module, X):
    """Return the codes of X."""
    return module.encode(X)


def decode(module, Z):
    """Return the output of the decoder for the codes Z."""
    return module.decode(Z)


def reconstruct(module, X):
    """Return the output of the decoder for X. The module may lack a `forward`."""
    return module.decode(module.encode(X))


# Packages whose modules are copied attribute by attribute, see `copied`.
KNOWN = "skae.modules.", "torch.nn.modules."
PLAIN = bool, int, float, str, type(None)


def copied(module, known=None):
    """Return a deep copy of a module.

    `known` may map ids of parts to what takes their place in the copy.

    `copy.deepcopy` takes a millisecond for a network of ten layers, mostly for the dicts of
    hooks, which are empty. A small fit makes about twenty copies. If there is a part that
    may copy itself in another way, such as a user's module, `copy.deepcopy` is used.
    """
    kinds = {type(part) for part in module.modules()}
    if not all(kind.__module__.startswith(KNOWN) for kind in kinds):
        return copy.deepcopy(module, dict(known or {}))
    return _copied(module, dict(known or {}))


def _copied(value, memo):
    """Return a copy of a module, of a dict of one, or of another value in a module."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if isinstance(value, dict | set) and not value:
        return kind()
    if id(value) in memo:
        return memo[id(value)]
    if kind is nn.Parameter:
        data = value.detach().clone(memory_format=torch.preserve_format)
        new = memo[id(value)] = nn.Parameter(data, value.requires_grad)
    elif isinstance(value, nn.Module):
        new = memo[id(value)] = kind.__new__(kind)
        items, of_copy = vars(value).items(), vars(new)
        for name, item in items:
            # Most of a module are flags and empty dicts of hooks.
            is_plain = item is True or item is False or item is None
            of_copy[name] = item if is_plain else _copied(item, memo)
    elif kind is dict:
        new = {name: _copied(item, memo) for name, item in value.items()}
    else:
        new = copy.deepcopy(value, memo)
    return new


def layers_that_draw(module):
    """Return the layers whose attribute `generator` is a `torch.Generator` or None.

    Every layer of the package that draws random numbers has this attribute. It is set
    during a fit.
    """
    kinds = torch.Generator | None
    layers = module.modules()
    return [m for m in layers if isinstance(getattr(m, "generator", 0), kinds)]


def set_generators(module, seed, device):
    """Give each layer that draws random numbers its own generator, seeded with `seed`.

    If `seed` is None the generators are removed.
    """
    for layer in layers_that_draw(module):
        layer.generator = None if seed is None else make_generator(seed, device)


@contextlib.contextmanager
def fresh_generators(module, seed, device):
    """Replace the generators of layers in this context by others, seeded with `seed`."""
    layers = [(layer, layer.generator) for layer in layers_that_draw(module)]
    for layer, _ in layers:
        layer.generator = make_generator(seed, device)
    try:
        yield
    finally:
        for layer, generator in layers:
            layer.generator = generator
