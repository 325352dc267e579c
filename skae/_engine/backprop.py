"""The gradient of a dense autoencoder by the chain rule, written out.

For a small network the bookkeeping of autograd takes longer than the arithmetic. Here a
step consists of the arithmetic alone. The operations are the same as those of autograd.
"""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from skae._engine.objective import mean_over_rows
from skae.modules import Linear, Mapping
from skae.modules._base import layers_that_draw
from skae.modules._dense import joined
from skae.modules._layers import affine
from skae.modules._variational import LOGITS, divergence

__all__ = ["Backprop", "is_plain"]

aten = torch.ops.aten

# Derivatives of activations: functions of the gradient with respect to the output, the
# input and the output, which return the gradient with respect to the input.
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
    """Whether `Backprop` knows every part of a network.

    Autograd is used for dropout, normalizations, ordered codes, tied weights and
    constants, and also for subclasses, for weights that are frozen, shared or computed,
    and for anything that has hooks.
    """
    if network.paths is None:
        return False
    whole, *parts = network.unwrapped.modules()
    if not all(type(part) in KNOWN for part in parts):
        return False
    if any(getattr(part, hooks) for part in (whole, *parts) for hooks in HOOKS):
        return False
    affine = [w for w in [getattr(whole, "constants", None)] if w is not None]
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
    """Computes the loss of a batch and its gradient for the weights of a network.

    Parameters
    ----------
    network : Network
        A network for which `is_plain` is true, or a stack of such networks.
    objective : Objective
    bfloat16 : bool
        Whether to compute with a copy of the weights that is rounded to bfloat16. The
        loss, the weights and their gradients are in float32 nevertheless, as with
        `torch.autocast`, which rounds the weights anew for every product.
    """

    def __init__(self, network, objective, bfloat16=False):
        self.objective, self.bfloat16 = objective, bfloat16
        worker = _copied(network).bfloat16() if bfloat16 else network
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
        if network.is_variational:
            self.code = _DrawnCode(network, objective.beta)
        else:
            self.code = _Code(code)
        self.by_constants = None
        if getattr(network, "constants", None) is not None:
            self.with_constants = network.with_constants
            self.by_constants = worker.constants.grad

    @torch.no_grad()
    def __call__(self, inputs, batch):
        """Compute the loss, and write the `grad` of the network's parameters.

        Parameters
        ----------
        inputs : Tensor of shape (..., n, p)
            The rows that the encoder sees.
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
            weight.grad = gradient  # a callback may have set it to None
        return outcome

    def _pass(self, inputs, batch):
        """Go forward and back through the network; return the loss and the output."""
        code, encoder_inputs = self.encoder.forward(inputs)
        Z, memory = self.code.forward(code)
        output, decoder_inputs = self.decoder.forward(Z)
        output = output.float()
        if self.by_constants is None:
            loss, gradient = self.objective.gradient(output, batch)
        else:
            output = self.with_constants(output)
            loss, gradient = self.objective.gradient(output, batch)
            gradient, of_constants = gradient.tensor_split(2, dim=-1)
            self.by_constants.copy_(of_constants.sum(-2))
        gradient = self.decoder.backward(decoder_inputs, gradient.to(Z))
        gradient, added = self.code.backward(memory, gradient, batch.weights)
        self.encoder.backward(encoder_inputs, gradient, is_first=True)
        return loss + added, output


class _Path:
    """A `Mapping` forward and backward.

    Its layers are looked up only once, because attributes of modules are slow.
    """

    def __init__(self, mapping):
        self.hidden = [
            _Affine(layer) if type(layer) is Linear else _Activation(layer)
            for layer in mapping.hidden
        ]
        self.linear, self.correction = (
            None if layer is None else _Affine(layer)
            for layer in (mapping.linear, mapping.correction)
        )
        # The call of a module takes as long as a small product.
        self.maps = [part and part.forward for part in (self.linear, self.correction)]

    def forward(self, X):
        """Return the output for X, and a list of the inputs of all layers."""
        layer_inputs = [X]
        for layer in self.hidden:
            layer_inputs.append(layer.forward(layer_inputs[-1]))
        return joined(*self.maps, X, layer_inputs[-1]), layer_inputs

    def backward(self, layer_inputs, gradient, is_first=False):
        """Write the gradients of the weights, and return the gradient of the input.

        With `is_first` this is the mapping at the input of the network, where no gradient
        is needed: the result is None.
        """
        by_input = None
        if self.linear is not None:
            by_input = self.linear.backward(layer_inputs[0], None, gradient, is_first)
        if self.correction is None:
            return by_input
        gradient = self.correction.backward(layer_inputs[-1], None, gradient)
        for i in reversed(range(len(self.hidden))):
            gradient = self.hidden[i].backward(
                X=layer_inputs[i],
                Y=layer_inputs[i + 1],
                gradient=gradient,
                is_first=is_first and i == 0,
            )
        return gradient if by_input is None or is_first else gradient.add_(by_input)


class _Affine:
    """A `Linear` layer forward and backward."""

    def __init__(self, layer):
        self.weight = layer.weight.detach()
        self.bias = None if layer.bias is None else layer.bias.detach()
        self.by_weight = layer.weight.grad
        self.by_bias = None if layer.bias is None else layer.bias.grad
        self.product = torch.mm if self.weight.ndim == 2 else torch.bmm

    def forward(self, X):
        return affine(X, self.weight, self.bias)

    def backward(self, X, Y, gradient, is_first=False):
        """Write the gradients of weight and bias, and return that of X, None if first."""
        self.product(gradient.mT, X, out=self.by_weight)
        if self.by_bias is not None:
            torch.sum(gradient, -2, out=self.by_bias)
        return None if is_first else self.product(gradient, self.weight)


class _Activation:
    """An activation forward and backward."""

    def __init__(self, layer):
        self.forward, self.derivative = layer.forward, BACKWARD[type(layer)]

    def backward(self, X, Y, gradient, is_first=False):
        """Return the gradient of the input X for that of the output Y."""
        return self.derivative(gradient, X, Y)


class _Code:
    """The activation of the code forward and backward."""

    def __init__(self, layer):
        self.activation = _Activation(layer)

    def forward(self, code):
        """Return the codes, and what `backward` needs."""
        Z = self.activation.forward(code)
        return Z, (code, Z)

    def backward(self, memory, gradient, weights):
        """Return the gradient of the input, and what the code adds to the mean loss."""
        return self.activation.backward(*memory, gradient), 0.0


class _DrawnCode:
    """Codes that are drawn from a normal distribution, forward and backward.

    Parameters
    ----------
    network : DenseVariational
    beta : float
        Factor of the divergence of the distribution from the prior.
    """

    def __init__(self, network, beta):
        self.network, self.beta = network, beta

    def forward(self, both):
        """Return codes for means and logits (..., n, 2 k), and what `backward` needs."""
        mean, logits = both.float().tensor_split(2, dim=-1)
        is_free = (logits > LOGITS[0]) & (logits < LOGITS[1])
        log_variance = F.logsigmoid(logits.clamp(*LOGITS))
        spread = (log_variance / 2).exp_()
        noise = torch.empty_like(mean).normal_(generator=self.network.generator)
        Z = torch.addcmul(mean, spread, noise)
        return Z.to(both.dtype), (mean, log_variance, spread, noise, is_free)

    def backward(self, memory, gradient, weights):
        """Return the gradient of means and logits, and what they add to the mean loss."""
        mean, log_variance, spread, noise, is_free = memory
        added = mean_over_rows(divergence(mean, log_variance).sum(-1), weights)
        share = self.beta / mean.shape[-2]
        if weights is not None:
            share = share * weights.unsqueeze(-1)
        left = 1 - spread.square()  # derivative of the log-variance by its logit
        by_logit = (gradient.float() * noise).mul_(spread).sub_(share * left).mul_(left / 2)
        by_mean = gradient + share * mean
        both = torch.cat([by_mean, by_logit.mul_(is_free)], dim=-1)
        return both.to(gradient.dtype), self.beta * added


def _copied(network):
    """Return a copy of a network that draws from the same generators."""
    generators = [layer.generator for layer in layers_that_draw(network)]
    return copy.deepcopy(network, {id(g): g for g in generators if g is not None})
