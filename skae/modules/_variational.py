"""Variational autoencoders: a normal distribution of codes for each row."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from skae._torch import NoStates
from skae.modules._convolutional import ConvolutionalAutoencoder
from skae.modules._dense import DenseAutoencoder
from skae.modules._linear_path import LinearPathAutoencoder

__all__ = [
    "ConvolutionalVariational",
    "DenseVariational",
    "Variational",
    "divergence",
]

# Range of the logits of the variances of codes. A variance is then never below 1e-8, and
# never so near to one that its gradient vanishes.
LOGITS = -18.0, 10.0


def divergence(mean, log_variance):
    """Return how far normal distributions of codes are from the standard normal prior.

    Parameters
    ----------
    mean, log_variance : Tensor of shape (..., k)

    Returns
    -------
    Tensor of shape (..., k)
        Kullback-Leibler divergences of the codes, in nats.
    """
    return (mean.square() + log_variance.exp() - 1 - log_variance) / 2


class Variational(LinearPathAutoencoder):
    """What makes a network with a linear path a variational autoencoder.

    It is the first base class of a subclass, before that of the network (Kingma and Welling
    2014). The encoder of the network then returns two numbers for each code, a mean and the
    logit of a variance. The code of a row is the mean, which is what `encode` returns. In
    training the code is drawn from the normal distribution with this mean and variance. As
    in every linear model with a standard normal prior, no variance exceeds that of the
    prior.

    Attributes
    ----------
    generator : torch.Generator or None
        Generator from which codes are drawn, see `layers_that_draw`.
    """

    numbers_per_code = 2
    is_variational = True
    takes_marks = False
    in_any_basis = False
    generator = None

    def posterior(self, X):
        """Return the means of the codes of X, and the logarithms of their variances.

        Parameters
        ----------
        X : Tensor of shape (..., n, p)

        Returns
        -------
        mean, log_variance : Tensor of shape (..., n, k)
        """
        mean, logits = super().encode(X).tensor_split(2, dim=-1)
        if mean.dtype == torch.bfloat16:
            mean, logits = mean.float(), logits.float()
        return mean, F.logsigmoid(logits.clamp(*LOGITS))

    def encode(self, X):
        """Return the means (..., n, k) of the codes of X (..., n, p)."""
        return super().encode(X).tensor_split(2, dim=-1)[0]

    def encode_with_loss(self, X):
        """Return codes of X that are drawn, and the divergences from the prior.

        This is the reparametrization of Kingma and Welling (2014), "Auto-Encoding
        Variational Bayes".
        """
        mean, log_variance = self.posterior(X)
        noise = torch.empty_like(mean).normal_(generator=self.generator)
        Z = mean + (log_variance / 2).exp() * noise
        return Z, divergence(mean, log_variance).sum(-1)

    def draw(self, X, n_draws):
        """Return several codes for each row of X, that are drawn from its distribution.

        Parameters
        ----------
        X : Tensor of shape (..., n, p)
        n_draws : int

        Returns
        -------
        Z : Tensor of shape (..., n_draws * n, k)
            One code for each row, then another one for each row, and so on.
        ratios : Tensor of shape (..., n_draws * n)
            Logarithms of the density of each code, over its density in the prior.
        """
        mean, log_variance = (torch.cat([t] * n_draws, dim=-2) for t in self.posterior(X))
        noise = torch.empty_like(mean).normal_(generator=self.generator)
        Z = mean + (log_variance / 2).exp() * noise
        return Z, (Z.square() - noise.square() - log_variance).sum(-1) / 2

    @torch.no_grad()
    def set_linear(self, encoder, decoder, bias, logits=None):
        """Set the linear path, see `Network.set_linear`.

        The variances get the logits (k,), or of zeros, which are the same for every row.
        """
        super().set_linear(torch.cat([encoder, torch.zeros_like(encoder)]), decoder, bias)
        if logits is not None:
            self.encoder.linear.bias[len(logits) :] = logits

    @torch.no_grad()
    def recode(self, weight, mean):
        """Replace the codes z by weight (z - mean), without changing the reconstruction.

        Codes with independent distributions stay independent only if they change places
        and signs: `weight` has one entry of 1 or -1 in each row and in each column.
        """
        places = weight.abs()
        both = torch.block_diag(weight, places)
        shift = torch.cat([-weight @ mean, torch.zeros_like(mean)])
        self.encoder.absorb_output(both, shift)
        self.decoder.absorb_input(weight.T, mean)


class DenseVariational(Variational, DenseAutoencoder):
    """Fully connected variational autoencoder, with the parameters of `DenseAutoencoder`.

    Its code has no activation and no order.
    """

    weight_decay, warm_up = 0.1, 30

    @property
    def paths(self):
        is_all = type(self) is DenseVariational  # a subclass may do something else
        return (self.encoder, self, self.decoder) if is_all else None

    def private_states(self, seed, device, training=False):
        return NoStates()  # its layers have generators of their own

    def folded_encoder(self, weight, shift):
        return nn.Sequential(super().folded_encoder(weight, shift), FirstHalf())


class ConvolutionalVariational(Variational, ConvolutionalAutoencoder):
    """Linear variational autoencoder that convolutions correct.

    The parameters are those of `ConvolutionalAutoencoder`. Its code has no activation and
    no order.
    """

    weight_decay, many_rows, batch_share = 0.5, math.inf, 1.0


class FirstHalf(nn.Module):
    """Returns the first half of the last axis."""

    def forward(self, X):
        return X.tensor_split(2, dim=-1)[0]
