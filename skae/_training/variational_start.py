"""The linear variational autoencoder from which a variational network starts."""

import dataclasses

import numpy as np
import torch
from scipy import special

__all__ = ["with_normal_posterior", "with_posterior"]

LEAST = (
    0.05  # smallest share of a code's variance in its means, with losses of the units of X
)
CERTAIN = 1e-9  # distance from 0 and 1 of a share, whose logit is finite then


def with_normal_posterior(start, loss, n_rows):
    """Return probabilistic PCA as a variational autoencoder.

    With principal axes U, variances L and the noise variance s, probabilistic PCA (Tipping
    and Bishop 1999) has the decoder U (L - s)^(1/2), and codes of mean
    (L - s)^(1/2) / L * U'(x - mean) and variance s / L. Its evidence lower bound is equal
    to the log-likelihood (Lucas et al. 2019, "Don't Blame the ELBO!").

    Parameters
    ----------
    start : Start
        PCA.
    loss : Likelihood
        A normal likelihood.
    n_rows : int
        Number of rows that PCA was fitted to. Variances are divided by n_rows - 1, as those
        of scikit-learn's PCA.

    Returns
    -------
    Start
    """
    k, freedom = len(start.deviations), n_rows / max(n_rows - 1, 1)
    variances = freedom * start.variances[:k]
    noise = max(_noise_variance(start, n_rows), 2 * loss.floor)
    excess = np.sqrt((variances - noise).clip(min=0))
    divisor = np.where(excess > 0, variances, 1.0)
    basis = start.encoder * start.deviations[:, None]
    share = np.where(excess > 0, noise / divisor, 1.0)
    return dataclasses.replace(
        start,
        deviations=np.ones(k),
        encoder=basis * (excess / divisor)[:, None],
        decoder=(start.decoder / start.deviations) * excess,
        bias=np.append(start.bias, np.full_like(start.bias, np.log(noise - loss.floor))),
        logits=_logits(share),
    )


def _noise_variance(start, n_rows):
    """Return the noise variance of probabilistic PCA, in scaled units.

    It is the mean of the variances along the axes that are left. If none is left, every
    value up to the smallest variance gives the same density of rows.
    """
    k = len(start.deviations)
    n_left = min(n_rows, len(start.mean)) - k
    if n_left > 0:
        noise = start.unexplained * start.total / n_left
    else:
        noise = start.variances[k - 1] / 2
    return noise * n_rows / max(n_rows - 1, 1)


def _logits(share):
    return special.logit(share.clip(CERTAIN, 1 - CERTAIN))


def with_posterior(start, loss, codes, goal, weights):
    """Return a variational autoencoder around a linear decoder with any likelihood.

    The codes that the decoder was fitted to have variance one. In a basis in which the
    information about them is diagonal, with q on the diagonal, the variance of a code given
    its row is 1 / q, and the decoder and the means are multiplied by (1 - 1 / q)^(1/2). For
    a normal likelihood this is probabilistic PCA.

    Parameters
    ----------
    start : Start
        Start with the decoder of the loss.
    loss : Likelihood
    codes, goal : Tensor of shape (n, k) and (n, p)
        Codes, and rows in the units of X.
    weights : Tensor of shape (n,) or None

    Returns
    -------
    Start
    """
    information = start.decoder.T @ (
        _curvature(start, loss, codes, goal, weights) * start.decoder
    )
    q, axes = np.linalg.eigh(information)
    q, axes = q[::-1], axes[:, ::-1]
    explained = np.maximum(1 - 1 / np.maximum(q, 1.0), LEAST)
    factor = np.sqrt(explained)
    return dataclasses.replace(
        start,
        deviations=np.ones(len(q)),
        encoder=factor[:, None] * (axes.T @ start.encoder),
        decoder=(start.decoder @ axes) * factor,
        logits=_logits(1 - explained),
    )


def _curvature(start, loss, codes, goal, weights):
    """Return the mean second derivatives (p, 1) of the loss by the decoder's outputs."""
    p = len(start.decoder)
    output = codes @ torch.from_numpy(start.decoder).T + torch.from_numpy(start.bias[:p])
    output.requires_grad_()
    constants = torch.from_numpy(start.bias[p:]).expand(len(codes), -1)
    errors = loss.function(torch.cat([output, constants], dim=-1), goal)
    (slope,) = torch.autograd.grad(errors.sum(), output, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), output)
    mean = np.average(curvature.numpy(), axis=0, weights=weights)
    return mean.clip(min=0)[:, None]
