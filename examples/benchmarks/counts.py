"""Counts with their exposure: skae against PCA of logarithms.

Two tables (see README.md beside this file):

- `made`: counts of known groups, whose exposures do not depend on the group. Held-out
  log-likelihood per cell, the largest correlation of a code with the log exposure, and how
  well clusters of the codes agree with the groups;
- `cells`: the counts of 700 blood cells, which follow from their normalised logarithms, and
  the agreement of clusters of codes with the cell types.

PCA of log(1 + x), and of log(1 + x / total * typical total), are mapped back with the
factors and dispersions that are likeliest for the training rows. The environment variable
SKAE_DATA names the folder with the data.

    python examples/benchmarks/counts.py --markdown
"""

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from components import markdown
from objectives import FLOORS, THETAS, negative_binomial, poisson
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from skae import AutoencoderTransformer

LOSSES = "poisson", "negative_binomial"
N_ROWS, N_FEATURES, N_GROUPS, N_FACTORS = 2000, 2000, 6, 8
CELLS_K = 10
N_CLUSTERINGS = 20  # runs of k-means, over which the adjusted Rand index is averaged


@dataclass
class Result:
    """What one model makes of one table."""

    table: str
    model: str
    poisson: float | None  # mean log-likelihoods of held-out cells
    negative_binomial: float | None
    depth: float  # largest |correlation| of a code with the log exposure
    rand: float  # adjusted Rand index of clusters of the codes and the groups
    seconds: float


def made_counts(seed):
    """Counts (4000, 2000), exposures (4000,) and groups (4000,).

    The logarithms of the rates have 8 factors, of which the groups have different means.
    The dispersion is 0.5.
    """
    rng = np.random.default_rng(seed)
    n = 2 * N_ROWS
    groups, exposure = rng.integers(N_GROUPS, size=n), np.exp(rng.normal(7, 0.7, n))
    factors = rng.normal(size=(N_GROUPS, N_FACTORS))[groups] + 0.4 * rng.normal(
        size=(n, N_FACTORS)
    )
    loadings = 0.5 * rng.normal(size=(N_FACTORS, N_FEATURES))
    shares = np.exp(factors @ loadings + rng.normal(0, 1.5, N_FEATURES))
    shares /= shares.sum(axis=1, keepdims=True)
    noise = rng.gamma(2.0, 0.5, shares.shape)
    return rng.poisson(exposure[:, None] * shares * noise) * 1.0, exposure, groups


def cell_counts(folder):
    """Counts (700, 765), totals (700,) and cell types (700,).

    The smallest positive value of a row that was normalised is that of one molecule.
    """
    with np.load(folder / "pbmc68k_reduced.npz") as file:
        normalised, types = np.expm1(file["X_log"].astype(np.float64)), file["y"]
    smallest = np.where(normalised > 0, normalised, np.inf).min(axis=1, keepdims=True)
    X = np.round(normalised / smallest)
    return X, X.sum(axis=1), types


def totals(X):
    """Totals (n, 1) of rows, 1 for a row of zeros."""
    return np.maximum(X.sum(axis=1, keepdims=True), 1)


class LogPCA:
    """PCA of log(1 + x / exposure), mapped back to its best."""

    def __init__(self, n_components, is_adjusted, seed):
        self.pca = PCA(n_components, random_state=seed)
        self.is_adjusted = is_adjusted

    def exposure(self, X):
        """What the rows are divided by, (n, 1)."""
        return totals(X) / self.typical if self.is_adjusted else np.ones((len(X), 1))

    def fit(self, X):
        """Fit PCA, and find the floor of the rates, the factors and the dispersions."""
        self.typical = np.exp(np.log(totals(X)).mean())
        exposure = self.exposure(X)
        self.pca.fit(np.log1p(X / exposure))
        raw = self.raw(X)
        self.floor = max(
            FLOORS, key=lambda f: poisson(X, self.scaled(raw, X, exposure, f)).mean()
        )
        rates = self.scaled(raw, X, exposure, self.floor)
        self.factors = X.sum(axis=0) / np.maximum(
            (np.maximum(raw, self.floor) * exposure).sum(axis=0), 1e-300
        )
        likelihoods = [negative_binomial(X, rates, t).sum(axis=0) for t in THETAS]
        self.theta = THETAS[np.argmax(likelihoods, axis=0)]
        return self

    def raw(self, X):
        """Rates of rows of exposure one, before floor and factors."""
        logs = np.log1p(X / self.exposure(X))
        return np.expm1(self.pca.inverse_transform(self.pca.transform(logs)))

    def scaled(self, raw, X, exposure, floor):
        """Rates with the factors that give each feature its mean."""
        rates = np.maximum(raw, floor) * exposure
        means = np.maximum(X.sum(axis=0), 0.5)
        return rates * (means / rates.sum(axis=0))

    def transform(self, X):
        """Codes."""
        return self.pca.transform(np.log1p(X / self.exposure(X)))

    def likelihoods(self, X):
        """Mean log-likelihoods of cells: Poisson, negative binomial."""
        rates = np.maximum(self.raw(X), self.floor) * self.exposure(X)
        rates = np.maximum(rates * self.factors, 1e-12)
        both = poisson(X, rates), negative_binomial(X, rates, self.theta)
        return [float(cells.mean()) for cells in both]


def describe(Z, exposure, groups, seed):
    """Largest correlation with the log exposure, and the adjusted Rand index."""
    depth = max(abs(np.corrcoef(z, np.log(exposure))[0, 1]) for z in Z.T)
    n_groups = len(np.unique(groups))
    rand = [
        adjusted_rand_score(
            groups, KMeans(n_groups, n_init=10, random_state=seed + i).fit_predict(Z)
        )
        for i in range(N_CLUSTERINGS)
    ]
    return float(depth), float(np.mean(rand))


def measure(table, X_train, X_test, X, exposure, groups, k, seed):
    """A Result for each model; codes are those of X."""
    for is_adjusted in (False, True):
        start = time.process_time()
        model = LogPCA(k, is_adjusted, seed).fit(X_train)
        seconds = time.process_time() - start
        name = "PCA of log(1 + x / exposure)" if is_adjusted else "PCA of log(1 + x)"
        scores = model.likelihoods(X_test)
        found = describe(model.transform(X), exposure, groups, seed)
        yield Result(table, name, *scores, *found, seconds)
    for how in (None, "total"):
        for loss in LOSSES:
            model = AutoencoderTransformer(k, loss=loss, exposure=how, random_state=seed)
            start = time.process_time()
            model.fit(X_train)
            seconds = time.process_time() - start
            scores = dict.fromkeys(LOSSES) | {loss: model.score(X_test)}
            found = describe(model.transform(X), exposure, groups, seed)
            name = f"skae, loss={loss!r}, exposure={how!r}"
            yield Result(table, name, *scores.values(), *found, seconds)


def measure_made(seed):
    """Results on made counts."""
    X, exposure, groups = made_counts(seed)
    train, test = slice(None, N_ROWS), slice(N_ROWS, None)
    own = X[test], exposure[test], groups[test]
    yield from measure("made", X[train], X[test], *own, N_FACTORS, seed)


def measure_cells(folder, seed):
    """Results on blood cells; half of the cells are held out of the likelihoods."""
    X, total, types = cell_counts(folder)
    order = np.random.default_rng(seed).permutation(len(X))
    train, test = order[: len(X) // 2], order[len(X) // 2 :]
    yield from measure("cells", X[train], X[test], X, total, types, CELLS_K, seed)


def table_of(results):
    """Markdown."""
    head = ["model", "Poisson", "negative binomial", "depth", "adjusted Rand", "fit s"]
    rows = [
        [
            r.model,
            *("" if v is None else f"{v:.5f}" for v in (r.poisson, r.negative_binomial)),
            f"{r.depth:.2f}",
            f"{r.rand:.2f}",
            f"{r.seconds:.0f}",
        ]
        for r in results
    ]
    return markdown([head, *rows])


def main():
    """Measure both tables; print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markdown", action="store_true", help="print the tables")
    parser.add_argument("--parts", default="made,cells", help="separated by commas")
    parser.add_argument("--seed", type=int, default=0, help="of rows and networks")
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    if "SKAE_DATA" not in os.environ and "cells" in parts:
        parser.error("set the environment variable SKAE_DATA to the folder with the data")
    for part in parts:
        folder = Path(os.environ.get("SKAE_DATA", ""))
        how = (arguments.seed,) if part == "made" else (folder, arguments.seed)
        results = []
        for result in {"made": measure_made, "cells": measure_cells}[part](*how):
            results.append(result)
            print(result, flush=True)
        if arguments.markdown:
            print(table_of(results))


if __name__ == "__main__":
    main()
