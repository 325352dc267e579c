"""Bernoulli likelihood of binarised MNIST, by importance sampling.

A pixel is one if its value exceeds one half, always (static binarisation). The network has
one dense layer of 400 units on each side and 50 codes. The script prints minus the mean
log-likelihood of the test images. It is estimated here, from the network alone, by
importance samples that are drawn independently (Burda, Grosse and Salakhutdinov 2016,
"Importance Weighted Autoencoders"), and also given as `score` computes it.

With `--checkpoint` and `--seconds` the fit can be made in parts: the same command goes on
where the last one was stopped by the time limit. With `--model` the fitted model is kept,
and the same command estimates it again.

    SKAE_DATA=path/to/data python examples/benchmarks/binarised_mnist.py --draws 5
"""

import argparse
import math
import os
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from reconstruction import read_npz
from sklearn.exceptions import ConvergenceWarning
from torch.nn import functional as F

import skae

N_CODES = 50
BATCH = 500  # images of which the likelihood is estimated together


def images(n_training):
    """Return training and test images, (n, 784), of zeros and ones."""
    train, test = read_npz(Path(os.environ["SKAE_DATA"]) / "mnist.npz")
    train, test = ((X > 0.5).astype(np.float32) for X in (train, test))
    return train[:n_training], test


@torch.inference_mode()
def log_likelihoods(vae, X, n_samples, seed=0):
    """Estimate the log-likelihood of each row by importance sampling of its code.

    Returns
    -------
    ndarray of shape (n,)
        Logarithms of the means of p(x | z) p(z) / q(z | x) over `n_samples` codes.
    """
    network, generator = vae.net_.module_, torch.Generator().manual_seed(seed)
    results = []
    for start in range(0, len(X), BATCH):
        goal = X[start : start + BATCH]
        rows = torch.from_numpy(((goal - vae.mean_) / vae.scale_).astype(np.float32))
        goal, ratios = torch.from_numpy(goal), []
        mean, log_variance = network.posterior(rows)
        for _ in range(n_samples):
            noise = torch.randn(mean.shape, generator=generator)
            Z = mean + (log_variance / 2).exp() * noise
            logits = network.decode(Z)
            errors = F.binary_cross_entropy_with_logits(logits, goal, reduction="none")
            log_prior, log_posterior = -Z.square() / 2, -(noise.square() + log_variance) / 2
            ratios.append((log_prior - log_posterior).sum(1) - errors.sum(1))
        results.append(torch.stack(ratios).logsumexp(0) - math.log(n_samples))
    return torch.cat(results).double().numpy()


def fitted(arguments, X):
    """Return the model that is fitted to X, or that was kept in a file before."""
    if arguments.model is not None and arguments.model.exists():
        return skae.load(arguments.model)
    vae = skae.VariationalAutoencoder(
        N_CODES,
        hidden_layer_sizes=(400,),
        loss="binary_cross_entropy",
        n_draws=arguments.draws,
        max_epochs=arguments.epochs,
        time_limit=arguments.seconds,
        checkpoint=arguments.checkpoint,
        random_state=arguments.seed,
        verbose=1,
    )
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        vae.fit(X)
    print(f"{time.process_time() - start:.0f} s of the processor in this call")
    if arguments.model is not None:
        vae.save(arguments.model)
    return vae


def main():
    """Fit, estimate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1, help="the parameter n_draws")
    parser.add_argument("--epochs", type=int, default=60, help="most epochs")
    parser.add_argument("--rows", type=int, default=60_000, help="training images")
    parser.add_argument("--images", type=int, default=10_000, help="test images")
    parser.add_argument("--samples", type=int, default=200, help="importance samples")
    parser.add_argument("--seed", type=int, default=0, help="the parameter random_state")
    parser.add_argument("--seconds", type=float, help="the parameter time_limit")
    parser.add_argument("--checkpoint", help="the parameter checkpoint")
    parser.add_argument("--model", type=Path, help="file to keep the fitted model in")
    arguments = parser.parse_args()
    X_train, X_test = images(arguments.rows)
    vae = fitted(arguments, X_train)
    X_test = X_test[: arguments.images]
    losses = -log_likelihoods(vae, X_test, arguments.samples)
    error = losses.std() / math.sqrt(len(losses))
    print(
        f"{vae.n_samples_} images, n_draws={vae.n_draws}, epoch {vae.best_epoch_} of "
        f"{vae.n_iter_}: {losses.mean():.2f} nats per test image by {arguments.samples} "
        f"importance samples (standard error over the {len(X_test)} images {error:.2f}), "
        f"{-vae.score(X_test):.2f} by `score`; held-out bound before training "
        f"{-vae.pca_score_:.2f}"
    )


if __name__ == "__main__":
    main()
