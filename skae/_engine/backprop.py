"""The gradient of a dense autoencoder by the chain rule, written out.

Autograd's bookkeeping costs more than the arithmetic of a small network: here a step is
the products themselves. What is computed is the same, operation by operation.
"""

import copy

import torch
from torch import nn

from skae.modules import Linear, Mapping

__all__ = ["Backprop", "is_plain"]

aten = torch.ops.aten

# Derivatives of activations: (gradient by the output, input, output) -> by the input.
BACKWARD = {
    nn.Identity: lambda gradient, X, Y: gradient,
    nn.ReLU: lambda gradient, X, Y: aten.threshold_backward(gradient, Y, 0),
    nn.GELU: lambda gradient, X, Y: aten.gelu_backward(gradient, X),
    nn.SiLU: lambda gradient, X, Y: aten.silu_backward(gradient, X),
    nn.ELU: lambda gradient, X, Y: aten.elu_backward(gradient, 1, 1, 1, False, X),
    nn.Tanh: lambda gradient, X, Y: aten.tanh_backward(gradient, Y),
    nn.Sigmoid: lambda gradient, X, Y: aten.sigmoid_backward(gradient, Y),
}

KNOWN = {Mapping, nn.Sequential, Linear, *BACKWARD}
HOOKS = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"


def is_plain(network):
    """Whether `Backprop` knows all that a network consists of.

    Dropout, normalizations, ordered codes, tied weights and constants are autograd's, as
    are subclasses, weights that are frozen, shared or computed, and whatever somebody has
    hooks on.
    """
    if network.paths is None:
        return False
    whole, *parts = network.unwrapped.modules()
    if not all(type(part) in KNOWN for part in parts):
        return False
    if any(getattr(part, hooks) for part in (whole, *parts) for hooks in HOOKS):
        return False
    affine = []
    for part in parts:
        if type(part) is Linear:
            affine += [part.weight] if part.bias is None else [part.weight, part.bias]
    weights = list(network.parameters())
    return (
        {*map(id, weights)} == {*map(id, affine)}
        and len(weights) == len(affine)
        and all(
            w.requires_grad and not w._backward_hooks and not w._post_accumulate_grad_hooks
            for w in weights
        )
    )


class Backprop:
    """Loss of a batch, and its gradient by the weights of a network.

    Parameters
    ----------
    network : Network
        One that `is_plain`, or a stack of them.
    objective : Objective
    bfloat16 : bool
        Whether to compute with a copy of the weights that is rounded to bfloat16. Loss,
        weights and their gradients are of float32 all the same, as with
        `torch.autocast`, which rounds the weights over and over.
    """

    def __init__(self, network, objective, bfloat16=False):
        self.objective, self.bfloat16 = objective, bfloat16
        worker = copy.deepcopy(network).bfloat16() if bfloat16 else network
        self.weights, self.its_weights = (
            list(which.parameters()) for which in (network, worker)
        )
        for weight in (*self.weights, *self.its_weights):
            weight.grad = torch.empty_like(weight)
        self.gradients, self.its_gradients = (
            [weight.grad for weight in weights]
            for weights in (self.weights, self.its_weights)
        )
        encoder, code, decoder = worker.paths
        self.encoder, self.decoder = _Path(encoder), _Path(decoder)
        self.activation = _Activation(code)

    @torch.no_grad()
    def __call__(self, inputs, batch):
        """Write `grad` of the network's parameters.

        Parameters
        ----------
        inputs : Tensor of shape (..., n, p)
            What the encoder sees.
        batch : Batch

        Returns
        -------
        loss : Tensor of shape ()
        output : Tensor of shape (..., n, q)
        """
        if self.bfloat16:
            torch._foreach_copy_(self.its_weights, self.weights)
            outcome = self._pass(inputs.bfloat16(), batch)
            torch._foreach_copy_(self.gradients, self.its_gradients)
        else:
            outcome = self._pass(inputs, batch)
        for weight, gradient in zip(self.weights, self.gradients, strict=True):
            weight.grad = gradient  # which a callback may have set to None
        return outcome

    def _pass(self, inputs, batch):
        code, of_encoder = self.encoder.forward(inputs)
        Z = self.activation.forward(code)
        output, of_decoder = self.decoder.forward(Z)
        output = output.float()
        loss, gradient = self.objective.gradient(output, batch)
        gradient = self.decoder.backward(of_decoder, gradient.to(Z))
        gradient = self.activation.backward(code, Z, gradient)
        self.encoder.backward(of_encoder, gradient, is_first=True)
        return loss, output


class _Path:
    """A mapping both ways. Layers are looked up once, for modules are slow to ask."""

    def __init__(self, mapping):
        self.hidden = [
            _Affine(layer) if type(layer) is Linear else _Activation(layer)
            for layer in mapping.hidden
        ]
        self.linear, self.correction = (
            None if layer is None else _Affine(layer)
            for layer in (mapping.linear, mapping.correction)
        )
        self.join = mapping.join

    def forward(self, X):
        """What the mapping makes of X, and the inputs of its layers, the last one's too."""
        seen = [X]
        for layer in self.hidden:
            seen.append(layer.forward(seen[-1]))
        return self.join(X, seen[-1]), seen

    def backward(self, seen, gradient, is_first=False):
        """Gradient by the input; None of the first mapping, for nobody asks for it."""
        by_input = None
        if self.linear is not None:
            by_input = self.linear.backward(seen[0], None, gradient, is_first)
        if self.correction is None:
            return by_input
        gradient = self.correction.backward(seen[-1], None, gradient)
        for i in reversed(range(len(self.hidden))):
            of_layer = seen[i], seen[i + 1], gradient, is_first and i == 0
            gradient = self.hidden[i].backward(*of_layer)
        return gradient if by_input is None or is_first else gradient.add_(by_input)


class _Affine:
    def __init__(self, layer):
        self.forward, self.weight = layer.forward, layer.weight.detach()
        self.by_weight = layer.weight.grad
        self.by_bias = None if layer.bias is None else layer.bias.grad
        self.product = torch.mm if self.weight.ndim == 2 else torch.bmm

    def backward(self, X, Y, gradient, is_first=False):
        """Write the gradients by weight and bias, and return that by X."""
        self.product(gradient.mT, X, out=self.by_weight)
        if self.by_bias is not None:
            torch.sum(gradient, -2, out=self.by_bias)
        return None if is_first else self.product(gradient, self.weight)


class _Activation:
    def __init__(self, layer):
        self.forward, self.derivative = layer.forward, BACKWARD[type(layer)]

    def backward(self, X, Y, gradient, is_first=False):
        return self.derivative(gradient, X, Y)
