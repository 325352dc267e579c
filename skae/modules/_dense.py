"""Fully connected autoencoders: a linear map plus a correction."""

import copy
import itertools
import math

import torch
from torch import nn
from torch.nn import functional as F

__all__ = [
    "ACTIVATIONS",
    "NORMALIZATIONS",
    "DenseAutoencoder",
    "Dropout",
    "Linear",
    "Mapping",
    "Nested",
]

ACTIVATIONS = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "logistic": nn.Sigmoid,
}


class Linear(nn.Module):
    """Affine map (..., n, n_in) -> (..., n, n_out), also of a stack of networks.

    `torch.nn.Linear` draws from the global generator and knows no stack.
    """

    def __init__(self, n_in, n_out, *, bias=True, zero=False, generator=None):
        super().__init__()
        bound = 0.0 if zero else 1 / math.sqrt(n_in)

        def draw(*shape):
            weights = torch.empty(shape, dtype=torch.float32)
            return nn.Parameter(weights.uniform_(-bound, bound, generator=generator))

        self.weight = draw(n_out, n_in)
        self.bias = draw(n_out) if bias else None

    def forward(self, X):
        if self.weight.ndim == 2:
            return F.linear(X, self.weight, self.bias)
        if self.bias is None:
            return torch.bmm(X, self.weight.mT)
        return torch.baddbmm(self.bias.unsqueeze(-2), X, self.weight.mT)


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) drawn from a private generator.

    `generator` is set for the time of a fit; without one torch's global generator is
    used, as `torch.nn.Dropout` does.
    """

    generator = None

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, X):
        if not self.training or self.p == 0.0:
            return X
        keep = torch.empty_like(X).bernoulli_(1 - self.p, generator=self.generator)
        return X * keep.div_(1 - self.p)


class Nested(nn.Module):
    """Codes of which the first b are known: what the decoder of ordered codes sees.

    Z (..., n, b) becomes (..., n, 2 k): the k codes, those after the b-th being zero,
    then a mark of one for each that is missing, so that the decoder can tell a code that
    is zero from one it does not have. In training the number of codes that stay is drawn
    for each row: nested dropout (Rippel, Gelbart and Adams 2014, "Learning Ordered
    Representations with Nested Dropout").

    Attributes
    ----------
    shares : Tensor of shape (k,) or None
        Probability in training that 1, 2, ..., k codes stay; None is uniform.
    generator : torch.Generator or None
        As in `Dropout`.
    weight, shift : Tensor of shape (k, k) and (k,)
        Codes pass z -> weight z + shift first; a lower triangular weight keeps what the
        first b codes know.
    """

    generator = None
    shares = None

    def __init__(self, n_components):
        super().__init__()
        # torch.eye would import the compiler where an outline on "meta" is made.
        self.register_buffer("weight", torch.zeros(n_components, n_components))
        self.weight.fill_diagonal_(1.0)
        self.register_buffer("shift", torch.zeros(n_components))

    def forward(self, Z):
        k = self.shift.shape[-1]
        if self.training:
            known = torch.arange(k, device=Z.device) < self._draw(Z)
        else:
            known = (torch.arange(k, device=Z.device) < Z.shape[-1]).expand(
                *Z.shape[:-1], k
            )
        known = known.to(Z.dtype)
        Z = Z @ self.weight[..., : Z.shape[-1]].mT + self.shift.unsqueeze(-2)
        return torch.cat([Z * known, 1 - known], dim=-1)

    def _draw(self, Z):
        """How many codes of each row stay, (..., n, 1).

        The draw is systematic, rows being in random order: every batch has its due of
        every number.
        """
        n, k = Z.shape[-2], self.shift.shape[-1]
        shares = torch.full((k,), 1 / k) if self.shares is None else self.shares
        bounds = shares.to(Z.device).cumsum(0)[:-1]
        start = torch.rand(*Z.shape[:-2], 1, generator=self.generator, device=Z.device)
        points = (start + torch.arange(n, device=Z.device)) / n
        return 1 + torch.bucketize(points, bounds, right=True).unsqueeze(-1)


class LayerNorm(nn.Module):
    """Layer normalization (Ba, Kiros and Hinton 2016), also of a stack of networks."""

    def __init__(self, n_units):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_units))
        self.bias = nn.Parameter(torch.zeros(n_units))

    def forward(self, X):
        X = F.layer_norm(X, X.shape[-1:])
        return X * self.weight.unsqueeze(-2) + self.bias.unsqueeze(-2)


class BatchNorm(LayerNorm):
    """Batch normalization (Ioffe and Szegedy 2015), also of a stack of networks."""

    def __init__(self, n_units, momentum=0.1):
        super().__init__(n_units)
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(n_units))
        self.register_buffer("variance", torch.ones(n_units))

    def forward(self, X):
        mean, variance = self.mean, self.variance
        if self.training:
            variance, mean = torch.var_mean(X, dim=-2, correction=0)
            with torch.no_grad():
                self.mean.lerp_(mean.to(self.mean), self.momentum)
                self.variance.lerp_(variance.to(self.mean), self.momentum)
        factor = self.weight / torch.sqrt(variance + 1e-5)
        return (X - mean.unsqueeze(-2)) * factor.unsqueeze(-2) + self.bias.unsqueeze(-2)


NORMALIZATIONS = {"layer": LayerNorm, "batch": BatchNorm}


class Mapping(nn.Module):
    """A linear map plus a perceptron that corrects it.

    f(x) = A x + a + V h(x), where h is the stack of hidden layers. V starts at zero, so
    that before training f is the linear map alone; this is the start of a residual
    branch in Zhang, Dauphin and Ma (2019), "Fixup Initialization".

    Parameters
    ----------
    n_in, n_out : int
    hidden_layer_sizes : tuple of int
        Without hidden layers f is the linear map.
    activation : key of ACTIVATIONS
    dropout : float in [0, 1)
        Rate after every hidden layer.
    linear_path : bool
        False leaves out A x + a: a plain perceptron with a bias in its last layer.
    generator : torch.Generator or None
    normalization : key of NORMALIZATIONS or None
        Of every hidden layer, before its activation.
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
        """Output for X whose last hidden layer is H: the sum of the two paths."""
        if self.correction is None:
            return self.linear(X)
        out = self.correction(H)
        return out if self.linear is None else self.linear(X).add_(out)

    @torch.no_grad()
    def absorb_input(self, weight, shift=None):
        """Let f(x) become f(weight x + shift).

        `weight` has shape (n_in, n_new), or (n_in,) for a diagonal matrix, `shift`
        (n_in,); None is the identity, zero.
        """
        for layer in (self.linear, self.hidden[0] if len(self.hidden) else None):
            if layer is not None:
                if shift is not None:
                    layer.bias += layer.weight @ shift
                if weight is not None:
                    product = torch.mul if weight.ndim == 1 else torch.matmul
                    layer.weight = nn.Parameter(product(layer.weight, weight))

    @torch.no_grad()
    def absorb_output(self, weight, shift=None):
        """Let f(x) become weight f(x) + shift.

        `weight` has shape (n_new, n_out), `shift` (n_new,); None is the identity, zero.
        """
        for layer in (self.linear, self.correction):
            if layer is not None and weight is not None:
                layer.weight = nn.Parameter(weight @ layer.weight)
                if layer.bias is not None:
                    layer.bias = nn.Parameter(weight @ layer.bias)
        if shift is not None:
            (self.correction if self.linear is None else self.linear).bias += shift


class Tied(nn.Module):
    """A decoder whose weights are those of an encoder, transposed, and biases its own.

    Parameters
    ----------
    encoder : Mapping
        A plain perceptron.
    decoder : Mapping
        Of the mirrored widths; its activations, normalizations and dropout are taken.
    """

    def __init__(self, encoder, decoder):
        super().__init__()
        self.__dict__["encoder"] = encoder  # no submodule, for it has a parent already
        self.hidden, self.correction = decoder.hidden, decoder.correction
        for layer in self._layers():
            layer.weight = None

    def _layers(self):
        layers = [layer for layer in self.hidden if isinstance(layer, Linear)]
        return [*layers, self.correction]

    def _weights(self):
        """The encoder's weights (..., n_out, n_in), from the code to the data."""
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
        """Write into `decoder`, as it was before, weights of its own."""
        decoder.hidden, decoder.correction = self.hidden, self.correction
        for layer, weight in zip(self._layers(), self._weights(), strict=True):
            layer.weight = nn.Parameter(weight.detach().mT.clone())
        return decoder


class DenseAutoencoder(nn.Module):
    """Fully connected autoencoder.

    Parameters
    ----------
    n_inputs, n_components, n_outputs : int
        Widths of data, code and reconstruction.
    hidden_layer_sizes : tuple of int
        Hidden layers of the encoder; the decoder mirrors them.
    activation : key of ACTIVATIONS
    code_activation : key of ACTIVATIONS
        Applied to the code.
    dropout : float in [0, 1)
    normalization : key of NORMALIZATIONS or None
    linear_path : bool
        See `Mapping`.
    n_constants : int
        Numbers that are learned and follow every row's output.
    ordered : bool
        Whether any number of first codes can be decoded, see `Nested`.
    generator : torch.Generator or None
        Source of the initial weights; None is torch's global generator.
    """

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
        super().__init__()
        shared = activation, dropout, linear_path, generator, normalization
        mirrored = hidden_layer_sizes[::-1]
        self.encoder = Mapping(n_inputs, n_components, hidden_layer_sizes, *shared)
        self.code = ACTIVATIONS[code_activation]()
        self.nested = Nested(n_components) if ordered else None
        n_seen = 2 * n_components if ordered else n_components
        self.decoder = Mapping(n_seen, n_outputs, mirrored, *shared)
        self.constants = nn.Parameter(torch.zeros(n_constants)) if n_constants else None

    def encode(self, X):
        """Codes (..., n, k) of X (..., n, p)."""
        return self.code(self.encoder(X))

    def decode(self, Z):
        """Output (..., n, p) of the codes Z (..., n, k), before the inverse link.

        Of ordered codes the last may be missing.
        """
        output = self.decoder(Z if self.nested is None else self.nested(Z))
        if self.constants is None:
            return output
        constants = self.constants.unsqueeze(-2).to(output.dtype)
        return torch.cat([output, constants.expand(*output.shape[:-1], -1)], dim=-1)

    def forward(self, X):
        return self.decode(self.encode(X))

    def tie(self):
        """Let the decoder have the encoder's weights, transposed, until `untie`."""
        self.decoder = Tied(self.encoder, self.decoder)
        return self

    def untie(self):
        """Give the decoder weights of its own, equal to those it shared."""
        if isinstance(self.decoder, Tied):
            empty = Mapping(1, 1, (), "identity", 0.0, True, torch.Generator())
            empty.linear = None
            self.decoder = self.decoder.untie(empty)
        return self

    @torch.no_grad()
    def recode(self, weight, mean):
        """Let the codes z become weight (z - mean), and the reconstruction stay.

        `weight` has shape (k, k) and is lower triangular where codes are ordered, `mean`
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
        """Keep the first codes only; the decoder takes the others for missing."""
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


def stack(modules):
    """One module that runs all `modules`, which differ in their weights only.

    Every parameter gains a leading axis. Training M small networks as one costs little
    more than training one of them: the time goes into the number of kernels launched.
    """
    stacked = copy.deepcopy(modules[0])
    states = [m.state_dict() for m in modules]
    for name, tensor in stacked.state_dict(keep_vars=True).items():
        tensor.data = torch.stack([state[name] for state in states])
    return stacked


def unstack(module, member):
    """The network `member` of a stack, as a module of its own."""
    module = copy.deepcopy(module)
    for tensor in module.state_dict(keep_vars=True).values():
        tensor.data = tensor.data[member].clone()
    return module
