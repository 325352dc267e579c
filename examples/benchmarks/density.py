"""Density and samples of VariationalAutoencoder against those of scikit-learn's models.

Three parts, of which `--part` runs one: held-out log-likelihood of tables, samples of
tables, and the time of a fit. Sets are those of `reconstruction.py`, and the eight tables
of the folder `uci` in SKAE_DATA.

    SKAE_DATA=path/to/data python examples/benchmarks/density.py --part likelihood
"""

import argparse
import json
import os
import time
import warnings
from pathlib import Path

import numpy as np
from reconstruction import available
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import norm, rankdata
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KernelDensity, NearestNeighbors
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skae import AutoencoderTransformer, VariationalAutoencoder

TABLES = [
    "iris",
    "wine",
    "diabetes",
    "breast_cancer",
    "digits",
    "Hepatitis",
    "Ionosphere",
    "letter",
    "magic.gamma",
    "musk",
    "pendigits",
    "Pima",
    "annthyroid",
    "yeast",
    "breastw",
    "cardio",
    "california_housing",
    "adult",
]
BUNDLED = "iris", "wine", "diabetes", "breast_cancer"
COVARIANCES = "full", "tied", "diag", "spherical"
MOST_COMPONENTS, PATIENCE = 20, 3
NEIGHBOURS = 5  # of the coverage


# -- tables ----------------------------------------------------------------------------


def dequantized(X, rng):
    """Add uniform noise as wide as the smallest distance between two values of a column.

    Whole numbers, for example, have no density. Constant columns are left out.
    """
    X = X[:, np.ptp(X, axis=0) > 0]
    steps = np.array([np.diff(np.unique(column)).min() for column in X.T])
    return X + steps * (rng.random(X.shape) - 0.5)


def split_table(X, seed, most_rows):
    """Dequantized training and test rows, standardized by the training rows."""
    rng = np.random.default_rng(seed)
    X = np.concatenate(X) if isinstance(X, tuple) else X
    if len(X) > most_rows:
        X = X[rng.choice(len(X), most_rows, replace=False)]
    X = dequantized(X.astype(np.float64), rng)
    X_train, X_test = train_test_split(X, test_size=0.25, random_state=seed)
    scaler = StandardScaler().fit(X_train)
    return scaler.transform(X_train), scaler.transform(X_test)


def read_uci(path):
    """A table of the folder uci, without the row number in its first column."""
    import pandas as pd

    return pd.read_csv(path).to_numpy(dtype=np.float64)[:, 1:]


# -- models ----------------------------------------------------------------------------


def best_mixture(X):
    """The GaussianMixture with the lowest BIC, over sizes and covariances."""
    best, lowest = None, np.inf
    for kind in COVARIANCES:
        criteria = []
        for size in range(1, MOST_COMPONENTS + 1):
            if size > len(X) // 2:
                break
            mixture = GaussianMixture(size, covariance_type=kind, random_state=0).fit(X)
            criteria.append(mixture.bic(X))
            if criteria[-1] < lowest:
                best, lowest = mixture, criteria[-1]
            if len(criteria) - 1 - int(np.argmin(criteria)) >= PATIENCE:
                break
    return best


class Copula:
    """Gaussian copula: normal scores of the columns, and their own quantiles back."""

    def fit(self, X):
        scores = norm.ppf(np.apply_along_axis(rankdata, 0, X) / (len(X) + 1))
        self.sorted, self.covariance = np.sort(X, axis=0), np.corrcoef(scores.T)
        return self

    def sample(self, n, random_state):
        rng = np.random.default_rng(random_state)
        scores = rng.multivariate_normal(np.zeros(len(self.covariance)), self.covariance, n)
        levels = np.linspace(0, 1, len(self.sorted))
        columns = zip(norm.cdf(scores).T, self.sorted.T, strict=True)
        return np.stack([np.interp(u, levels, values) for u, values in columns], axis=1)


def kernel_density(X):
    """A KernelDensity, whose bandwidth cross-validation has chosen."""
    grid = {"bandwidth": np.geomspace(0.05, 2, 15)}
    return GridSearchCV(KernelDensity(), grid, cv=5).fit(X).best_estimator_


def variational(n_components=None, seed=0, **params):
    """The model that is compared."""
    params = {"prior": "mixture"} | params
    return VariationalAutoencoder(n_components, random_state=seed, **params)


# -- held-out likelihood ---------------------------------------------------------------


def densities(k, n_draws):
    """Functions that fit each density to rows, by name."""
    return {
        "PCA": PCA(k).fit,
        "FA": FactorAnalysis(k).fit,
        "mixture": best_mixture,
        "skae": variational(k, n_draws=n_draws).fit,
    }


def likelihood(arguments):
    """Mean log-likelihood of held-out rows, in nats per row."""
    tasks, rows = available(), []
    print(
        f"{'set':20}{'rows':>6}{'columns':>8}{'k':>4}{'PCA':>9}{'FA':>9}{'mixture':>9}"
        f"{'skae':>9}{'s':>6}",
        flush=True,
    )
    for name in arguments.sets or TABLES:
        X_train, X_test = split_table(tasks[name].load(), 0, arguments.rows)
        k = -(-min(X_train.shape) // 2)
        makers = densities(k, arguments.draws)
        scores = dict.fromkeys(makers, np.nan)
        for model in arguments.models or makers:
            start = time.process_time()
            scores[model] = makers[model](X_train).score(X_test)
            seconds = time.process_time() - start
        n, p = len(X_train) + len(X_test), X_train.shape[1]
        rows.append({"name": name, "rows": n, "columns": p, "k": k, **scores})
        figures = "".join(f"{score:9.2f}" for score in scores.values())
        print(f"{name:20}{n:6}{p:8}{k:4}{figures}{seconds:6.0f}", flush=True)
    gains = np.array([(r["skae"] - r["PCA"]) / r["columns"] for r in rows])
    large = [r for r in rows if r["rows"] >= 1000]
    ahead = sum(r["skae"] > r["mixture"] for r in large)
    print(
        f"{len(rows)} sets: nats per feature above PCA: smallest {gains.min():.3f}, mean "
        f"{gains.mean():.3f}; above the best mixture on {ahead} of {len(large)} sets with "
        "1000 rows or more"
    )
    return rows


# -- samples ---------------------------------------------------------------------------


def distance(A, B):
    """Wasserstein distance (L1) of two tables of the same number of rows."""
    costs = cdist(A, B, "cityblock")
    return costs[linear_sum_assignment(costs)].mean()


def coverage(real, drawn):
    """Share of real rows with a drawn row nearer than their fifth neighbour.

    Naeem et al. (2020), "Reliable Fidelity and Diversity Metrics for Generative Models".
    """
    radii = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(real).kneighbors()[0][:, -1]
    return float((cdist(real, drawn).min(axis=1) < radii).mean())


def samples(arguments):
    """Samples of each model against held-out rows, over those of the training rows."""
    folder = Path(os.environ["SKAE_DATA"]) / "uci"
    tables = {path.stem: read_uci(path) for path in sorted(folder.glob("*.csv"))}
    tables |= {name: available()[name].load() for name in BUNDLED}
    results = []
    for name in arguments.sets or tables:
        X_train, X_test = split_table(tables[name], 0, arguments.rows)
        box = MinMaxScaler().fit(X_train)
        makers = {
            "mixture": best_mixture,
            "kernel": kernel_density,
            "copula": Copula().fit,
            "skae": variational(n_draws=arguments.draws).fit,
            "margins": variational(n_draws=arguments.draws, margins="data").fit,
        }
        real, n = box.transform(X_test), len(X_test)
        own = box.transform(X_train)
        rng = np.random.default_rng(0)
        figures = {"rows": _figures(own[rng.choice(len(own), n, replace=False)], real, own)}
        for model in arguments.models or makers:
            drawn = _sampled(makers[model](X_train), n)
            figures[model] = _figures(box.transform(drawn), real, own)
        results.append({"name": name, **figures})
        shown = "  ".join(
            f"{m} {f[0]:.3f}/{f[1]:.2f}/{f[2]:.3f}" for m, f in figures.items()
        )
        print(f"{name:15} {shown}", flush=True)
    for model in figures:
        distances, shares, nearest = np.transpose([r[model] for r in results])
        print(
            f"{model:10} Wasserstein {np.exp(np.log(distances).mean()):.3f}, coverage "
            f"{shares.mean():.3f}, distance to the nearest training row, over that of "
            f"held-out rows: mean {np.exp(np.log(nearest).mean()):.2f}, smallest "
            f"{nearest.min():.2f}"
        )
    return results


def _sampled(model, n):
    """n rows that a fitted model draws."""
    if isinstance(model, GaussianMixture):
        return model.sample(n)[0]
    return model.sample(n, random_state=0)


def _figures(drawn, real, own):
    """Wasserstein distance, coverage, and the distance to the nearest training row.

    The latter is the mean over that of the held-out rows. Below one, rows are copies or
    nearly so.
    """
    nearest = _to_nearest(drawn, own) / _to_nearest(real, own)
    return distance(drawn, real), coverage(real, drawn), float(nearest)


def _to_nearest(rows, own):
    """Mean distance (L1) of rows to the nearest training row other than themselves."""
    distances = cdist(rows, own, "cityblock")
    return np.where(distances == 0, np.inf, distances).min(axis=1).mean()


# -- time ------------------------------------------------------------------------------


def seconds_of_fits(arguments):
    """CPU seconds of a fit, over those of AutoencoderTransformer, for as many epochs."""
    results = []
    for n, p, hidden in [(1500, 16, (64, 32)), (6000, 32, (256, 128)), (6000, 784, (400,))]:
        X = np.random.default_rng(0).normal(size=(n, p))
        params = {"hidden_layer_sizes": hidden, "max_epochs": 5, "n_iter_no_change": 100}
        params |= {"random_state": 0, "batch_size": 128, "cv": "auto"}
        ratios = []
        for _ in range(5):
            taken = []
            for kind in (AutoencoderTransformer, VariationalAutoencoder):
                start = time.process_time()
                kind(8, **params).fit(X)
                taken.append(time.process_time() - start)
            ratios.append(taken[1] / taken[0])
        results.append({"rows": n, "columns": p, "ratio": float(np.median(ratios))})
        print(f"{n} x {p}, hidden layers {hidden}: {results[-1]['ratio']:.2f}", flush=True)
    return results


PARTS = {
    "likelihood": likelihood,
    "samples": samples,
    "time": seconds_of_fits,
}


def main():
    """Run one part; print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--sets", type=lambda names: names.split(","), help="some of them")
    parser.add_argument("--models", type=lambda names: names.split(","), help="the same")
    parser.add_argument("--rows", type=int, default=4000, help="most rows of a table")
    parser.add_argument("--draws", type=int, default=1, help="the parameter n_draws")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    arguments = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        results = PARTS[arguments.part](arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
