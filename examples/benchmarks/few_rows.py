"""One fit on few rows of a large set, judged by thousands of its other rows.

Few rows are where "never worse than PCA" is hardest to keep: the rows that choose the epoch
are as few as the rows that are trained on. Every fit has skae's defaults; its error on the
other rows is divided by that of PCA with as many components, fitted to the same rows.

    SKAE_DATA=path/to/data python examples/benchmarks/few_rows.py --json few_rows.json
"""

import argparse
import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from reconstruction import (
    available,
    check_sets,
    held_out_error,
    n_components,
    standardized,
)
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer

SETS = (
    *("letter", "magic.gamma", "musk", "pendigits", "annthyroid", "yeast", "cardio"),
    *("adult", "ames", "california_housing", "fashion_mnist", "frey_faces", "mnist"),
    *("fsdd_logmel_48x32", "fsdd_logmel_frames"),
)
N_ROWS = 20, 50, 100, 200, 400
MOST_JUDGES = 3000  # other rows
ROWS_PER_COMPONENT = 4  # at least
CLEAR = 0.01  # share of PCA's error, from which a difference counts


@dataclass
class Fit:
    """One fit; `ratio` is its error divided by PCA's, both of rows not seen in `fit`."""

    name: str
    n_rows: int
    components: int
    seed: int
    ratio: float
    best_epoch: int


def few_of(data, kind, n_rows, seed):
    """Few rows of a set, and at most MOST_JUDGES of the others.

    Columns that are constant in the few rows are left out: what they are elsewhere would
    be most of the error of every model.
    """
    X = np.concatenate(data) if isinstance(data, tuple) else data
    n_judges = min(MOST_JUDGES, len(X) - n_rows)
    X_train, X_test = train_test_split(
        X, train_size=n_rows, test_size=n_judges, random_state=seed
    )
    varies = np.ptp(X_train, axis=0) > 0
    return standardized(X_train[:, varies], X_test[:, varies], kind)


def few_components(kind, n_features, n_rows):
    """As many as in `reconstruction.py`, but no more than the rows allow."""
    return min(n_components(kind, n_features), n_rows // ROWS_PER_COMPONENT)


def measure(name, task, sizes, seeds):
    """The fits to one set."""
    data = task.load()
    shape = data[0].shape if isinstance(data, tuple) else data.shape
    fits = []
    for n_rows in sizes:
        k = few_components(task.kind, shape[1], n_rows)
        for seed in seeds:
            X_train, X_test = few_of(data, task.kind, n_rows, seed)
            pca = PCA(k, svd_solver="full").fit(X_train)
            ours = AutoencoderTransformer(k, random_state=seed).fit(X_train)
            ratio = held_out_error(ours, X_test) / held_out_error(pca, X_test)
            fits.append(Fit(name, n_rows, k, seed, ratio, ours.best_epoch_))
    return fits


def summary(fits):
    """Worst ratio, shares of fits clearly worse and better than PCA, geometric mean."""
    ratios = np.array([fit.ratio for fit in fits])
    return {
        "fits": len(fits),
        "worst": float(ratios.max()),
        "worse": float(np.mean(ratios > 1 + CLEAR)),
        "better": float(np.mean(ratios < 1 - CLEAR)),
        "geometric_mean": float(np.exp(np.log(ratios).mean())),
    }


def table(fits):
    """A line for every number of rows and every set, and one for all fits."""
    groups = {}
    for fit in fits:
        groups.setdefault(f"{fit.n_rows} rows", []).append(fit)
    for fit in fits:
        groups.setdefault(fit.name, []).append(fit)
    groups["all"] = fits
    lines = [
        "| | fits | worst ratio | worse by > 1 % | better by > 1 % | geometric mean |",
        "|---|---|---|---|---|---|",
    ]
    for label, group in groups.items():
        s = summary(group)
        lines.append(
            f"| {label} | {s['fits']} | {s['worst']:.4f} | {100 * s['worse']:.1f} % | "
            f"{100 * s['better']:.1f} % | {s['geometric_mean']:.4f} |"
        )
    return "\n".join(lines)


def parse_arguments(tasks):
    """The command line; --sets is checked against the sets that there are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", help="names, separated by commas; default: fifteen")
    parser.add_argument("--rows", default=",".join(map(str, N_ROWS)), help="of a fit")
    parser.add_argument("--seeds", type=int, default=5, help="fits of each size")
    parser.add_argument("--first-seed", type=int, default=0, help="of rows and networks")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    arguments = parser.parse_args()
    there = [name for name in SETS if name in tasks]
    arguments.sets = arguments.sets.split(",") if arguments.sets else there
    check_sets(parser, arguments.sets, tasks)
    arguments.rows = [int(n) for n in arguments.rows.split(",")]
    return arguments


def main():
    """Measure set after set; print and write."""
    tasks = available()
    arguments = parse_arguments(tasks)
    # Whether more epochs would help is not the question.
    warnings.simplefilter("ignore", ConvergenceWarning)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    fits = []
    for name in arguments.sets:
        fits += measure(name, tasks[name], arguments.rows, seeds)
        own = summary([fit for fit in fits if fit.name == name])
        print(name, *(f"{key} {value:.4g}" for key, value in own.items()), flush=True)
        if arguments.json:
            content = {"summary": summary(fits), "fits": [asdict(fit) for fit in fits]}
            arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    print(table(fits))


if __name__ == "__main__":
    main()
