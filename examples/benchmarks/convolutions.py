"""Convolutional corrections against dense ones and PCA, on images and signals.

All three get the same rows and the same number of components, and skae its defaults; the
convolutional one is also told the `sample_shape`. Of each set a few rows are drawn, so that
the whole takes minutes (see README.md beside this file).

    SKAE_DATA=path/to/data python examples/benchmarks/convolutions.py --json conv.json
"""

import argparse
import copy
import json
import math
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from engine import hand_written_epoch, seconds, skae_epoch
from reconstruction import available, held_out_error, make_split, n_components
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from skae import AutoencoderTransformer
from skae.modules import ConvolutionalAutoencoder

SHAPES = {
    "digits": (1, 8, 8),
    "mnist": (1, 28, 28),
    "fashion_mnist": (1, 28, 28),
    "frey_faces": (1, 28, 20),
    "olivetti_faces_64": (1, 64, 64),
    "fsdd_logmel_48x32": (1, 48, 32),
    "fsdd_logmel_frames": (1, 32),
    "nir_tecator_meats": (1, 100),
    "nir_gasoline": (1, 401),
    "ftir_coffee": (1, 1841),
}
FEW_ROWS = 300  # sets with fewer rows are split ten times
# Shape of a sample, channels of the stages, batch size.
STEPS = {
    "1 x 28 x 28, 32-64": ((1, 28, 28), (32, 64), 64),
    "3 x 32 x 32, 16-32-64": ((3, 32, 32), (16, 32, 64), 64),
    "4 x 128, 32-64": ((4, 128), (32, 64), 64),
}
HEADER = (
    f"{'set':20} {'rows':>6} {'k':>3} {'splits':>6} {'PCA error':>10} {'dense/PCA':>9} "
    f"{'conv/PCA':>9} {'conv/dense':>10} {'sd':>5} {'dense s':>8} {'conv s':>8} "
    f"{'epochs':>6}"
)


@dataclass
class Result:
    """A row of the table: means over splits. Errors are those of held-out rows."""

    name: str
    rows: int
    components: int
    splits: int
    pca_error: float
    dense_error: float
    convolutional_error: float
    dense_seconds: float  # of the processor
    convolutional_seconds: float
    best_epoch: float
    ratio_sd: float  # standard deviation of convolutional / dense of single splits


def measure(name, task, most_rows, n_splits):
    """Result of one set, with at most so many rows to fit and to test.

    Without a number of splits there are ten of a set of fewer than 300 rows, else three.
    """
    data = task.load()
    n_rows = len(data) if not isinstance(data, tuple) else sum(map(len, data))
    n_splits = n_splits or (10 if n_rows < FEW_ROWS else 3)
    found = []
    for seed in range(n_splits):
        X_train, X_test = make_split(data, task.kind, seed, most_rows or None)
        k = n_components(task.kind, X_train.shape[1])
        found.append(measure_split(X_train, X_test, k, SHAPES[name], seed))
    means = map(float, np.mean(found, axis=0))
    _, dense, convolutional, *_ = np.transpose(found)
    spread = float(np.std(convolutional / dense))
    return Result(name, len(X_train), k, n_splits, *means, spread)


def measure_split(X_train, X_test, k, sample_shape, seed):
    """Three errors, two numbers of seconds and the best epoch."""
    pca = PCA(k, random_state=seed).fit(X_train)
    errors, times = [held_out_error(pca, X_test)], []
    for shape in (None, sample_shape):
        ae = AutoencoderTransformer(k, sample_shape=shape, random_state=seed)
        start = time.process_time()
        ae.fit(X_train)
        times.append(time.process_time() - start)
        errors.append(held_out_error(ae, X_test))
    return *errors, *times, ae.best_epoch_


def line(result):
    """A Result as a line of the table."""
    pca, dense = result.pca_error, result.dense_error
    return (
        f"{result.name:20} {result.rows:6} {result.components:3} {result.splits:6} "
        f"{pca:10.3g} {dense / pca:9.3f} {result.convolutional_error / pca:9.3f} "
        f"{result.convolutional_error / dense:10.3f} {result.ratio_sd:5.2f} "
        f"{result.dense_seconds:8.1f} {result.convolutional_seconds:8.1f} "
        f"{result.best_epoch:6.0f}"
    )


def summary(results):
    """Geometric mean and worst of the ratios."""
    found = []
    for label, other in [("dense", "dense_error"), ("PCA", "pca_error")]:
        ratios = [r.convolutional_error / getattr(r, other) for r in results]
        mean = math.exp(np.mean(np.log(ratios)))
        found.append(f"against {label}: mean {mean:.3f}, worst {max(ratios):.4f}")
    return "; ".join(found)


def step_ratios(repeats):
    """Time of a step of skae over that of a hand-written loop, by network."""
    ratios, device = {}, torch.device("cpu")
    for name, (sample_shape, channels, batch_size) in STEPS.items():
        generator = torch.Generator().manual_seed(0)
        module = ConvolutionalAutoencoder(sample_shape, 8, channels, generator=generator)
        X = torch.randn(10 * batch_size, math.prod(sample_shape), generator=generator)
        functions = {
            "skae": skae_epoch(module, X, batch_size, device),
            "by hand": hand_written_epoch(copy.deepcopy(module), X, batch_size, device),
        }
        times = seconds(functions, repeats, clock=time.process_time)
        ratios[name] = times["skae"] / times["by hand"]
    return ratios


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", help="names with commas between them")
    parser.add_argument("--rows", type=int, default=1000, help="at most; 0 is all")
    parser.add_argument("--splits", type=int, default=0, help="of each set; 0: 10 or 3")
    parser.add_argument("--repeats", type=int, default=15, help="of steps; 0: none")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    names = args.sets.split(",") if args.sets else SHAPES
    tasks, results, ratios = available(), [], {}
    print(HEADER)
    for name in (name for name in names if name in tasks):
        results.append(measure(name, tasks[name], args.rows, args.splits))
        print(line(results[-1]), flush=True)
        if args.json:
            args.json.write_text(json.dumps([asdict(r) for r in results], indent=1))
    if results:
        print(summary(results))
    if args.repeats:
        with threadpool_limits(1):
            ratios = step_ratios(args.repeats)
    for name, ratio in ratios.items():
        print(f"step of {name}: {ratio:.3f} of a hand-written loop's")


if __name__ == "__main__":
    main()
