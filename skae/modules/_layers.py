"""Layers that also work in a stack of networks."""

import math

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["ACTIVATIONS", "NORMALIZATIONS", "Dropout", "Linear", "Nested", "affine"]

CONVERTED = 2**17  # number of values of a matrix that are converted at a time

ACTIVATIONS = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "logistic": nn.Sigmoid,
}


def affine(X, weight, bias):
    """Return X @ weight.mT + bias, of one network or of each of a stack; bias may be None.

    Attributes of modules are slow to look up, so that loops keep the weights instead.
    """
    if weight.ndim == 2:
        return F.linear(X, weight, bias)
    if bias is None:
        return torch.bmm(X, weight.mT)
    return torch.baddbmm(bias.unsqueeze(-2), X, weight.mT)


class Linear(nn.Module):
    """Affine map (..., n, n_in) -> (..., n, n_out), which also works in a stack.

    `torch.nn.Linear` draws from the global generator and cannot be stacked.
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
        return affine(X, self.weight, self.bias)

    @torch.no_grad()
    def absorb_input(self, weight, shift):
        """Replace f(x) by f(weight x + shift).

        `weight` has shape (n_in, n_new), or (n_in,) if it is the diagonal of a matrix.
        `shift` has shape (n_in,). None stands for the identity or zero.
        """
        if shift is not None:
            self.bias += self.weight @ shift
        if weight is not None:
            product = torch.mul if weight.ndim == 1 else _product
            self.weight = nn.Parameter(product(self.weight, weight))

    @torch.no_grad()
    def absorb_output(self, weight, shift):
        """Replace f(x) by weight f(x) + shift.

        `weight` has shape (n_new, n_out), or (n_out,) for a diagonal matrix, and `shift`
        has shape (n_new,). None stands for the identity or zero.
        """
        if weight is not None:
            is_diagonal = weight.ndim == 1
            by_row = weight[:, None] if is_diagonal else weight
            product = torch.mul if is_diagonal else _product
            self.weight = nn.Parameter(product(by_row, self.weight))
            if self.bias is not None:
                self.bias = nn.Parameter(product(weight, self.bias))
        if shift is not None:
            self.bias += shift


def _product(A, B):
    """Return A (n, r) @ B (r, p) or B (r,) in the lower precision of the two.

    It is computed in the higher one. Some rows of A, or some columns of B, are converted at
    a time, because they may take as much memory as a table.
    """
    if A.dtype == B.dtype:
        return A @ B
    if B.ndim == 1:
        return _product(A, B[:, None])[:, 0]
    high = torch.promote_types(A.dtype, B.dtype)
    axis = 0 if B.dtype == high else 1
    low = (A, B)[axis]
    product, step = low.new_empty((len(A), B.shape[1])), max(1, CONVERTED // max(1, len(B)))
    parts = (tensor.split(step, axis) for tensor in (product, low))
    for part, values in zip(*parts, strict=True):
        values = values.to(high)
        part.copy_(values @ B if axis == 0 else A @ values)
    return product


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) that is drawn from a private generator.

    `generator` is set during a fit. If it is None torch's global generator is used, as in
    `torch.nn.Dropout`.
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
    """Turns the first b of k codes into the input of the decoder of ordered codes.

    Z (..., n, b) becomes (..., n, 2 k): k codes, of which those after the b-th are zero,
    followed by k marks, which are one for each missing code. The marks allow the decoder to
    tell a code of zero from a missing one. In training the number of codes that are kept is
    drawn for each row: nested dropout (Rippel, Gelbart and Adams 2014, "Learning Ordered
    Representations with Nested Dropout").

    Attributes
    ----------
    shares : Tensor of shape (k,) or None
        Probabilities in training that 1, 2, ..., k codes are kept. None is uniform.
    generator : torch.Generator or None
        See `Dropout`.
    weight, shift : Tensor of shape (k, k) and (k,)
        Affine map z -> weight z + shift that is applied to the codes first. If the weight
        is lower triangular, the first b results depend on the first b codes only.
    """

    generator = None
    shares = None

    def __init__(self, n_components):
        super().__init__()
        # torch.eye would import torch's compiler for a network on the device "meta".
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
        """Return how many codes of each row are kept, (..., n, 1).

        The draw is systematic, because the rows are in random order: in every batch every
        number occurs as often as its probability says.
        """
        n, k = Z.shape[-2], self.shift.shape[-1]
        shares = torch.full((k,), 1 / k) if self.shares is None else self.shares
        bounds = shares.to(Z.device).cumsum(0)[:-1]
        start = torch.rand(*Z.shape[:-2], 1, generator=self.generator, device=Z.device)
        points = (start + torch.arange(n, device=Z.device)) / n
        return 1 + torch.bucketize(points, bounds, right=True).unsqueeze(-1)


class LayerNorm(nn.Module):
    """Layer normalization (Ba, Kiros and Hinton 2016) that also works in a stack."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, X):
        X = F.layer_norm(X, X.shape[-1:])
        return X * self.weight.unsqueeze(-2) + self.bias.unsqueeze(-2)


class BatchNorm(LayerNorm):
    """Batch normalization (Ioffe and Szegedy 2015) that also works in a stack."""

    def __init__(self, width, momentum=0.1):
        super().__init__(width)
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

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
