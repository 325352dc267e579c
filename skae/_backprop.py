"""The gradient of a dense autoencoder by the chain rule, written out.

Autograd's bookkeeping costs more than the arithmetic of a small network: here a step is
the products themselves. What is computed is the same, operation by operation.
"""

import torch
from torch import nn

from skae.modules import DenseAutoencoder, Linear, Mapping

__all__ = ["backpropagate", "is_plain"]

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
    """Whether `backpropagate` knows all that a module consists of.

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


@torch.no_grad()
def backpropagate(module, criterion, inputs, batch):
    """Loss of a batch and the decoder's output; writes `grad` of the parameters.

    Parameters
    ----------
    module : DenseAutoencoder
        One that `is_plain`, or a stack of them.
    criterion : Criterion
    inputs : Tensor of shape (..., n, p)
        What the encoder sees.
    batch : Batch

    Returns
    -------
    loss : Tensor of shape ()
    output : Tensor of shape (..., n, q)
    """
    code, of_encoder = _forward(module.encoder, inputs)
    Z = module.code(code)
    output, of_decoder = _forward(module.decoder, Z)
    loss, gradient = criterion.gradient(output, batch)
    gradient = _backward(module.decoder, of_decoder, gradient)
    gradient = BACKWARD[type(module.code)](gradient, code, Z)
    _backward(module.encoder, of_encoder, gradient, is_first=True)
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
    weight, bias = layer.weight, layer.bias
    if weight.grad is None:
        weight.grad = torch.empty_like(weight)
    torch.matmul(gradient.mT, X, out=weight.grad)
    if bias is not None:
        if bias.grad is None:
            bias.grad = torch.empty_like(bias)
        torch.sum(gradient, -2, out=bias.grad)
    return None if is_first else torch.matmul(gradient, weight)
