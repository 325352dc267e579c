"""Fits to dask arrays against fits to the same rows in memory.

For some data sets the table has the errors of held-out rows of both fits, each over that of
PCA, as geometric means over seeds, how often a block was computed beyond once an epoch, and
CPU seconds. A last line has the largest memory of a process that fits to blocks of a table
of 1 GB, which are made when they are computed, beyond what it held before.

    SKAE_DATA=path/to/data python examples/benchmarks/blocks.py [--seeds 3] [--sets letter]
"""

import argparse
import collections
import time
import warnings

import dask
import dask.array as da
import numpy as np
from objectives import peak_megabytes
from reconstruction import available, held_out_error, make_split, n_components
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

import skae._tables.rows
from skae import AutoencoderTransformer

SETS = "letter", "pendigits", "USPS"
N_BLOCKS = 12
GIGABYTE = (1_250_000, 100)  # rows and columns of float64


def in_blocks(X, counts):
    """X as a dask array; `counts` has the number of computations of each block."""

    def counted(rows, block_info=None):
        if block_info is not None:
            counts[block_info[0]["chunk-location"][0]] += 1
        return rows

    table = da.from_array(X, chunks=(-(-len(X) // N_BLOCKS), X.shape[1]))
    return table.map_blocks(counted, dtype=X.dtype, meta=np.empty((0, 0), X.dtype))


def compared(X, X_test, k, seed):
    """Errors over that of PCA, CPU seconds, and computations beyond the epochs."""
    counts, seconds, errors = collections.Counter(), [], []
    for table in in_blocks(X, counts), X:
        begin = time.process_time()
        ae = AutoencoderTransformer(k, random_state=seed).fit(table)
        seconds.append(time.process_time() - begin)
        errors.append(held_out_error(ae, X_test))
        if table is not X:
            more = max(counts.values()) - ae.n_iter_
    pca_error = held_out_error(PCA(k).fit(X), X_test)
    return [error / pca_error for error in errors], seconds, more


def line(name, task, n_seeds):
    """A row of the table for one data set."""
    kind, X, found = task.kind, task.load(), []
    for seed in range(n_seeds):
        X_train, X_test = make_split(X, kind, seed)
        k = n_components(kind, X_train.shape[1])
        found.append(compared(X_train, X_test, k, seed))
    ratios, seconds, more = (np.array(part) for part in zip(*found, strict=True))
    blocks, memory = np.exp(np.log(ratios).mean(axis=0))
    cpu, (n_rows, n_features) = seconds.mean(axis=0), X_train.shape
    return (
        f"| {name} | {n_rows} x {n_features} | {blocks:.3f} | {memory:.3f} | "
        f"{blocks / memory:.3f} | {more.max()} | {cpu[0]:.1f} | {cpu[1]:.1f} |"
    )


def made(rows):
    """Rows of a bent surface for angles (n, 2)."""
    waves = np.arange(1, 4)[:, None] * rows[:, None]
    parts = np.concatenate([np.sin(waves), np.cos(waves)], axis=1).reshape(len(rows), 12)
    return parts @ np.random.default_rng(0).normal(size=(12, GIGABYTE[1]))


def memory_of_a_gigabyte(n_rows, chunk):
    """Peak of the memory of this process in a fit, beyond what it held before, in MB."""
    angles = da.random.default_rng(0).uniform(-1, 1, (n_rows, 2), chunks=(chunk, 2))
    table = angles.map_blocks(made, dtype=float, chunks=(angles.chunks[0], GIGABYTE[1:]))
    params = {"hidden_layer_sizes": (64, 32), "max_epochs": 2, "random_state": 0}
    AutoencoderTransformer(2, **params).fit(table[: 3 * chunk])  # imports and buffers
    before = peak_megabytes()
    AutoencoderTransformer(2, **params).fit(table)
    return peak_megabytes() - before, before


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="*", default=SETS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    dask.config.set(scheduler="threads", num_workers=2)
    before = memory_of_a_gigabyte(GIGABYTE[0], 62_500)
    print(f"1 GB in 20 blocks: {before[0]:.0f} MB beyond {before[1]:.0f} MB", flush=True)
    skae._tables.rows.SMALL = 0  # small tables are read in blocks too
    print(
        "| data set | rows | blocks / PCA | memory / PCA | blocks / memory | more | s | s |"
    )
    data = available()
    for name in arguments.sets:
        print(line(name, data[name], arguments.seeds), flush=True)


if __name__ == "__main__":
    main()
