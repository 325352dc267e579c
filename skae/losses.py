"""Losses: one number per sample, summed over the features.

Every function takes the decoder's output and the target, both of shape
(..., n_samples, n_features), and returns (..., n_samples). A `Loss` says in addition
how the output becomes a reconstruction, which data the loss is defined for, and which
linear decoder is the best start.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

__all__ = ["LOSSES", "Loss", "binary_cross_entropy", "squared_error"]


def squared_error(X_hat, X):
    """Squared error.

    Parameters
    ----------
    X_hat, X : Tensor of shape (..., n_samples, n_features)
        Reconstruction and target.

    Returns
    -------
    Tensor of shape (..., n_samples)
    """
    return torch.square(X_hat - X).sum(-1)


def binary_cross_entropy(logits, X):
    """Cross-entropy of values in [0, 1], read as probabilities.

    Parameters
    ----------
    logits : Tensor of shape (..., n_samples, n_features)
        The reconstruction is the logistic function of it. Working on logits keeps the
        loss finite where a probability would round to 0 or 1.
    X : Tensor of shape (..., n_samples, n_features)
        Target.

    Returns
    -------
    Tensor of shape (..., n_samples)
    """
    return F.binary_cross_entropy_with_logits(logits, X, reduction="none").sum(-1)


def _logistic_start(Z, X, n_iter=50):
    """Weights (n_features, k) and bias (n_features,) of a logistic decoder of Z.

    Ascent on the quadratic bound of Böhning and Lindsay (1988), "Monotonicity of
    quadratic-approximation algorithms": a logistic Hessian never exceeds a quarter of
    the design's Gram matrix. That matrix is the identity here, for the codes Z
    (n_samples, k) have zero mean and unit covariance, so each step is one product and
    none can make the likelihood worse.
    """
    bias = torch.logit(X.mean(0), eps=1e-3)
    weight = Z.new_zeros(X.shape[1], Z.shape[1])
    for _ in range(n_iter):
        residual = X - torch.sigmoid(Z @ weight.T + bias)
        weight = weight + 4 / len(Z) * residual.T @ Z
        bias = bias + 4 * residual.mean(0)
    return weight, bias


@dataclass(frozen=True)
class Loss:
    """What training and scoring need to know of a loss.

    Attributes
    ----------
    function : callable (output, X) -> (..., n_samples)
    inverse_link : callable or None
        Turns the decoder's output into the reconstruction; None is the identity.
    bounds : (float, float)
        Smallest and largest value that X may hold.
    decoder_start : callable (Z, X) -> (weight, bias) or None
        The linear decoder to start from. None: PCA's, in the centred and scaled
        units of the network; the loss is then measured in those units, and only such
        a loss may be measured in rotated coordinates.
    """

    function: Callable
    inverse_link: Callable | None = None
    bounds: tuple = (-float("inf"), float("inf"))
    decoder_start: Callable | None = None

    @property
    def of_scaled(self):
        """Whether output and target are in the network's centred and scaled units."""
        return self.decoder_start is None


LOSSES = {
    "squared_error": Loss(squared_error),
    "binary_cross_entropy": Loss(
        binary_cross_entropy, torch.sigmoid, (0.0, 1.0), _logistic_start
    ),
}
