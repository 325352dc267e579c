"""The gradient of a dense autoencoder by the chain rule, written out.

Autograd's bookkeeping costs more than the arithmetic of a small network: here a step is
the products themselves. What is computed is the same, operation by operation.
"""

import copy

import torch
from torch import nn

from skae.modules import DenseAutoencoder, Linear, Mapping

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


def is_plain(module):
    """Whether `Backprop` knows all that a module consists of.

    Dropout, normalizations, ordered codes, tied weights and constants are autograd's, as
    are parameters that are frozen or that somebody has hooks on.
    """
    return (
        type(module) is DenseAutoencoder
        and type(module.decoder) is Mapping
        and module.nested is None
        and module.constants is None
        and {*map(type, module.encoder.hidden), *map(type, module.decoder.hidden)}
        <= {Linear, *BACKWARD}
        and all(p.requires_grad and not p._backward_hooks for p in module.parameters())
    )


class Backprop:
    """Loss of a batch, and its gradient by the weights of a module.

    Parameters
    ----------
    module : DenseAutoencoder
        One that `is_plain`, or a stack of them.
    criterion : Criterion
    bfloat16 : bool
        Whether to compute with a copy of the weights that is rounded to bfloat16. Loss,
        weights and their gradients are of float32 all the same, as with
        `torch.autocast`, which rounds the weights over and over.
    """

    def __init__(self, module, criterion, bfloat16=False):
        self.criterion, self.worker = criterion, module
        if bfloat16:
            self.worker = copy.deepcopy(module).bfloat16()
        self.bfloat16 = bfloat16
        self.weights, self.its_weights = (
            list(network.parameters()) for network in (module, self.worker)
        )
        for weight in (*self.weights, *self.its_weights):
            weight.grad = torch.empty_like(weight)

    @torch.no_grad()
    def __call__(self, inputs, batch):
        """Write `grad` of the module's parameters.

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
        if not self.bfloat16:
            return self._pass(inputs, batch)
        torch._foreach_copy_(self.its_weights, self.weights)
        outcome = self._pass(inputs.bfloat16(), batch)
        torch._foreach_copy_(
            [weight.grad for weight in self.weights],
            [weight.grad for weight in self.its_weights],
        )
        return outcome

    def _pass(self, inputs, batch):
        worker = self.worker
        code, of_encoder = _forward(worker.encoder, inputs)
        Z = worker.code(code)
        output, of_decoder = _forward(worker.decoder, Z)
        output = output.float()
        loss, gradient = self.criterion.gradient(output, batch)
        gradient = _backward(worker.decoder, of_decoder, gradient.to(Z))
        gradient = BACKWARD[type(worker.code)](gradient, code, Z)
        _backward(worker.encoder, of_encoder, gradient, is_first=True)
        return loss, output


def _forward(mapping, X):
    """What a mapping makes of X, and the input of every layer, the last one's too."""
    seen = [X]
    for layer in mapping.hidden:
        seen.append(layer(seen[-1]))
    return mapping.join(X, seen[-1]), seen


def _backward(mapping, seen, gradient, is_first=False):
    """Gradient by the input of a mapping; None of the first, for nobody asks for it."""
    by_input = None
    if mapping.linear is not None:
        by_input = _of_linear(mapping.linear, seen[0], gradient, is_first)
    if mapping.correction is None:
        return by_input
    gradient = _of_linear(mapping.correction, seen[-1], gradient, False)
    for i in reversed(range(len(mapping.hidden))):
        layer = mapping.hidden[i]
        if type(layer) is Linear:
            gradient = _of_linear(layer, seen[i], gradient, is_first and i == 0)
        else:
            gradient = BACKWARD[type(layer)](gradient, seen[i], seen[i + 1])
    return gradient if by_input is None or is_first else gradient.add_(by_input)


def _of_linear(layer, X, gradient, is_first):
    """Write the gradients of a layer's parameters; return that by its input."""
    torch.matmul(gradient.mT, X, out=layer.weight.grad)
    if layer.bias is not None:
        torch.sum(gradient, -2, out=layer.bias.grad)
    return None if is_first else torch.matmul(gradient, layer.weight)
