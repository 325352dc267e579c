"""Layers, also of a stack of networks."""

import math

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["ACTIVATIONS", "NORMALIZATIONS", "Dropout", "Linear", "Nested"]

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
