"""Held-out reconstruction error of AutoencoderTransformer against PCA's.

Both get the same rows and the same number of components, and skae its defaults. Runs
over the sets bundled with scikit-learn and, where the environment variable SKAE_DATA
names a folder, over the sets in it (see README.md beside this file).

    python examples/benchmarks/reconstruction.py --json reconstruction.json
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer

# Values up to which PCA's full solver takes seconds. Above, "auto" is as exact for the
# sets here: it takes the eigenvectors of the covariance matrix.
AFFORDABLE = 5000 * 4096
QUICK_ROWS = 5000
HEADER = (
    f"{'set':24} {'rows':>6} {'columns':>7} {'k':>3} {'PCA error':>11} {'skae error':>11} "
    f"{'ratio':>7} {'sd':>6} {'PCA s':>7} {'skae s':>7}"
)


@dataclass
class Task:
    """A set: `load` returns X, or X_train and X_test; `kind` is the source's nature."""

    load: Callable
    kind: str  # "table", "image", "spectrum"


@dataclass
class Result:
    """A row of the table. Errors are means over splits, rows and columns."""

    name: str
    rows: int
    columns: int
    components: int
    pca_error: float
    skae_error: float
    ratio: float
    ratio_sd: float  # of single splits
    pca_seconds: float
    skae_seconds: float
    best_epochs: list


def bundled():
    """The sets that come with scikit-learn."""
    tables = "breast_cancer", "diabetes", "iris", "linnerud", "wine"
    tasks = {
        name: Task(lambda name=name: getattr(datasets, f"load_{name}")().data, "table")
        for name in tables
    }
    return tasks | {"digits": Task(lambda: datasets.load_digits().data / 16, "image")}


def read_npz(path):
    """X, or X_train and X_test, of an .npz file; rows flattened, pixels in [0, 1]."""
    with np.load(path, allow_pickle=False) as file:
        names = ["X"] if "X" in file else ["X_train", "X_test"]
        arrays = [file[name] for name in names]
    arrays = [X.reshape(len(X), -1) for X in arrays]
    arrays = [X / np.float32(255) if X.dtype == np.uint8 else X for X in arrays]
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def read_csv(path):
    """The numeric columns of a .csv.gz file, without incomplete rows.

    A column that lacks more than a tenth of its cells is left out first.
    """
    import pandas as pd

    frame = pd.read_csv(path).select_dtypes("number")
    frame = frame.dropna(axis=1, thresh=int(0.9 * len(frame))).dropna()
    return frame.to_numpy(dtype=np.float64)


def kind_of(path):
    """Nature of a file, by the folder it is in."""
    by_folder = {"adbench": "table", "tabular": "table", "spectra": "spectrum"}
    return by_folder.get(path.parent.name, "image")


def in_folder(folder):
    """The sets in SKAE_DATA; text is left out."""
    folder, tasks = Path(folder), {}
    for pattern in "adbench/*.npz", "tabular/*.csv.gz", "spectra/*.npz", "*.npz":
        read = read_csv if pattern.endswith(".csv.gz") else read_npz
        for path in sorted(folder.glob(pattern)):
            name = path.name.removesuffix(".npz").removesuffix(".csv.gz")
            # ADBench numbers its files.
            name = name.split("_", 1)[1] if pattern.startswith("adbench") else name
            tasks[name] = Task(lambda path=path, read=read: read(path), kind_of(path))
    return tasks


def n_components(kind, n_features):
    """The number of components, by one rule for all sets."""
    if kind == "spectrum":
        return 4
    if kind == "image" and n_features >= 500:
        return 30
    return max(1 if n_features <= 3 else 2, min(16, n_features // 4))


def available():
    """All sets by name: bundled ones, and those in SKAE_DATA where that is set."""
    folder = os.environ.get("SKAE_DATA")
    return bundled() | (in_folder(folder) if folder else {})


def some_rows(X, most_rows, seed):
    """At most so many rows of X, drawn at random; None is all."""
    if most_rows is None or len(X) <= most_rows:
        return X
    return X[np.random.default_rng(seed).choice(len(X), most_rows, replace=False)]


def make_split(data, kind, seed, most_rows=None):
    """X_train and X_test: the set's own, or a random quarter held out.

    Tables are standardized with the statistics of the training rows.
    """
    if isinstance(data, tuple):
        X_train, X_test = (some_rows(X, most_rows, seed) for X in data)
    else:
        data = some_rows(data, most_rows, seed)
        X_train, X_test = train_test_split(data, test_size=0.25, random_state=seed)
    return standardized(X_train, X_test, kind)


def standardized(X_train, X_test, kind):
    """Tables with the statistics of the training rows; all else as it is."""
    if kind != "table":
        return X_train, X_test
    scaler = StandardScaler().fit(X_train)
    return scaler.transform(X_train), scaler.transform(X_test)


def fit_timed(estimator, X):
    """Seconds that `fit` takes."""
    start = time.perf_counter()
    estimator.fit(X)
    return time.perf_counter() - start


def held_out_error(estimator, X):
    """Mean squared error of X (n_samples, n_features) over rows and features."""
    X_hat = estimator.inverse_transform(estimator.transform(X))
    return float(np.square(X_hat - X).mean(dtype=np.float64))


def measure(name, task, quick=False):
    """Result of all splits of one set: three seeds, ten below 500 rows."""
    data = task.load()
    shape = data.shape if not isinstance(data, tuple) else data[0].shape
    n_rows = len(data) if not isinstance(data, tuple) else sum(map(len, data))
    k = n_components(task.kind, shape[1])
    seeds = 1 if quick else 10 if n_rows < 500 else 3
    errors, seconds, best_epochs = [], [], []
    for seed in range(seeds):
        X_train, X_test = make_split(data, task.kind, seed, QUICK_ROWS if quick else None)
        solver = "full" if X_train.size <= AFFORDABLE else "auto"
        pca = PCA(k, svd_solver=solver, random_state=seed)
        ours = AutoencoderTransformer(k, random_state=seed)
        seconds.append([fit_timed(pca, X_train), fit_timed(ours, X_train)])
        errors.append([held_out_error(pca, X_test), held_out_error(ours, X_test)])
        best_epochs.append(ours.best_epoch_)
    pca_error, skae_error = np.mean(errors, axis=0)
    pca_seconds, skae_seconds = np.mean(seconds, axis=0)
    return Result(
        name=name,
        rows=n_rows,
        columns=shape[1],
        components=k,
        pca_error=float(pca_error),
        skae_error=float(skae_error),
        ratio=float(skae_error / pca_error),
        ratio_sd=float(np.std(np.divide(*np.transpose(errors)[::-1]))),
        pca_seconds=float(pca_seconds),
        skae_seconds=float(skae_seconds),
        best_epochs=best_epochs,
    )


def format_row(r):
    """A line of the table."""
    return (
        f"{r.name:24} {r.rows:6d} {r.columns:7d} {r.components:3d} {r.pca_error:11.4g} "
        f"{r.skae_error:11.4g} {r.ratio:7.4f} {r.ratio_sd:6.3f} {r.pca_seconds:7.2f} "
        f"{r.skae_seconds:7.2f}"
    )


def summary(results):
    """Worst ratio and geometric mean of the ratios."""
    ratios = np.array([r.ratio for r in results])
    return {
        "sets": len(results),
        "worst_ratio": float(ratios.max()),
        "worst_set": results[int(ratios.argmax())].name,
        "geometric_mean": float(np.exp(np.log(ratios).mean())),
    }


def parse_arguments(tasks):
    """The command line; --sets is checked against the sets that there are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file to write the results to")
    parser.add_argument("--sets", help="names, separated by commas; default: all")
    parser.add_argument(
        "--quick", action="store_true", help=f"one split, at most {QUICK_ROWS} rows"
    )
    arguments = parser.parse_args()
    arguments.sets = arguments.sets.split(",") if arguments.sets else list(tasks)
    check_sets(parser, arguments.sets, tasks)
    return arguments


def check_sets(parser, names, tasks):
    """Leave with a message where a set is not there."""
    unknown = sorted(set(names) - set(tasks))
    if unknown:
        parser.error(f"no set named {', '.join(unknown)}; there are {', '.join(tasks)}")


def main():
    """Measure set after set; print and write."""
    tasks = available()
    arguments = parse_arguments(tasks)
    print(HEADER, flush=True)
    results = []
    for name in arguments.sets:
        results.append(measure(name, tasks[name], arguments.quick))
        print(format_row(results[-1]), flush=True)
        # After every set, so that an interrupted run leaves what it has.
        if arguments.json:
            content = {"summary": summary(results), "sets": [asdict(r) for r in results]}
            arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    total = summary(results)
    print(
        f"{total['sets']} sets: worst ratio {total['worst_ratio']:.4f} "
        f"({total['worst_set']}), geometric mean {total['geometric_mean']:.4f}"
    )


if __name__ == "__main__":
    main()
