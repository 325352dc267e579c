"""Networks: `nn.Module` classes with `encode` and `decode`.

Letters in shapes: n samples, p features, k components; "..." is nothing, or one leading
axis over the members of a stack of equally shaped networks (see `stack`).
"""

import copy
import itertools
import math

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["ACTIVATIONS", "DenseAutoencoder", "Dropout", "Linear", "Mapping"]

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
    """

    def __init__(
        self, n_in, n_out, hidden_layer_sizes, activation, dropout, linear_path, generator
    ):
        super().__init__()
        sizes = (n_in, *hidden_layer_sizes)
        layers = []
        for size_in, size_out in itertools.pairwise(sizes):
            layers.append(Linear(size_in, size_out, generator=generator))
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
        if self.correction is None:
            return self.linear(X)
        out = self.correction(self.hidden(X))
        return out if self.linear is None else self.linear(X).add_(out)

    @torch.no_grad()
    def absorb_input(self, weight, shift=None):
        """Let f(x) become f(weight x + shift).

        `weight` has shape (n_in, n_new), `shift` (n_in,); None is the identity, zero.
        """
        for layer in (self.linear, self.hidden[0] if len(self.hidden) else None):
            if layer is not None:
                if shift is not None:
                    layer.bias += layer.weight @ shift
                if weight is not None:
                    layer.weight = nn.Parameter(layer.weight @ weight)

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
    linear_path : bool
        See `Mapping`.
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
        linear_path=True,
        generator=None,
    ):
        super().__init__()
        shared = activation, dropout, linear_path, generator
        mirrored = hidden_layer_sizes[::-1]
        self.encoder = Mapping(n_inputs, n_components, hidden_layer_sizes, *shared)
        self.code = ACTIVATIONS[code_activation]()
        self.decoder = Mapping(n_components, n_outputs, mirrored, *shared)

    def encode(self, X):
        """Codes (..., n, k) of X (..., n, p)."""
        return self.code(self.encoder(X))

    def decode(self, Z):
        """Output (..., n, p) of the codes Z (..., n, k), before the inverse link."""
        return self.decoder(Z)

    def forward(self, X):
        return self.decode(self.encode(X))


def stack(modules):
    """One module that runs all `modules`, which differ in their weights only.

    Every parameter gains a leading axis. Training M small networks as one costs little
    more than training one of them: the time goes into the number of kernels launched.
    """
    stacked = copy.deepcopy(modules[0])
    for name, parameter in stacked.named_parameters():
        parameter.data = torch.stack([m.get_parameter(name).data for m in modules])
    return stacked


def unstack(module, member):
    """The network `member` of a stack, as a module of its own."""
    module = copy.deepcopy(module)
    for parameter in module.parameters():
        parameter.data = parameter.data[member].clone()
    return module
