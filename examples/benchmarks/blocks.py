"""Fits to dask arrays, and by two processes, against fits of one process in memory.

For some data sets the table has the errors of held-out rows over that of PCA, as geometric
means over seeds: of a fit to a dask array of twelve blocks, of two processes of gloo with
half of the rows each, and of one process in memory, also with another seed, which tells how
much is due to chance; then how often a block was computed beyond once an epoch, and CPU
seconds of each. A table of dask that is as small as these gives the fit in memory, up to
rounding. Here a third of its rows is shuffled at a time, as if it were larger.

With --gigabyte, a line has the largest memory of a process that fits to blocks of a table
of 1 GB beyond what it held before. The blocks are made when they are computed. Further
lines have the largest memory of each of two processes of gloo beyond what it held before it
had its half of 1 GB, over this half, in a fit of one epoch, for halves in memory of float32
and float64, and for memory maps.

    SKAE_DATA=path/to/data python examples/benchmarks/blocks.py [--seeds 3] [--sets letter]
"""

import argparse
import collections
import multiprocessing
import socket
import tempfile
import time
import warnings
from pathlib import Path

import dask
import dask.array as da
import numpy as np
from objectives import peak_megabytes
from reconstruction import available, held_out_error, make_split, n_components
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from torch import distributed

import skae._engine.block_rows
import skae._tables.rows
from skae import AutoencoderTransformer

SETS = "pendigits", "magic.gamma", "annthyroid", "california_housing"
N_BLOCKS = 12
OTHER_SEED = 1000
HEADER = (
    "| data set | rows x columns | one process | dask | two processes | another seed | "
    "dask / one | two / one | other seed / one | more computations | CPU s of one | "
    "of dask | of two |\n" + 13 * "|---" + "|"
)
GIGABYTE = (1_250_000, 100)  # rows and columns of float64
SMALL_FIT = {"hidden_layer_sizes": (64, 32), "max_epochs": 2, "random_state": 0}


def in_blocks(X, counts):
    """X as a dask array; `counts` has the number of computations of each block."""

    def counted(rows, block_info=None):
        if block_info is not None:
            counts[block_info[0]["chunk-location"][0]] += 1
        return rows

    table = da.from_array(X, chunks=(-(-len(X) // N_BLOCKS), X.shape[1]))
    return table.map_blocks(counted, dtype=X.dtype, meta=np.empty((0, 0), X.dtype))


def fit(X, X_test, k, seed, **params):
    """Held-out error, CPU seconds and number of epochs of a fit."""
    begin = time.process_time()
    ae = AutoencoderTransformer(k, random_state=seed, **params).fit(X)
    return held_out_error(ae, X_test), time.process_time() - begin, ae.n_iter_


def fit_to_half(number, X, *others):
    """Fit to half of the rows, as one of two processes."""
    return fit(np.array_split(X, 2)[number], *others, distributed=True)


def join(work, number, port, answers, *arguments):
    """Put in `answers` what `work` returns in one of two processes."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    place = {"init_method": f"tcp://127.0.0.1:{port}", "rank": number, "world_size": 2}
    distributed.init_process_group("gloo", **place)
    answers.put(work(number, *arguments))
    distributed.destroy_process_group()


def in_two(work, *arguments):
    """What a function returns in two processes that know each other."""
    context = multiprocessing.get_context("spawn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answers = context.SimpleQueue()
    both = [
        context.Process(target=join, args=(work, number, port, answers, *arguments))
        for number in range(2)
    ]
    for process in both:
        process.start()
    found = answers.get(), answers.get()
    for process in both:
        process.join()
    return found


def by_two(*arguments):
    """What `fit` returns in two processes; their errors are equal, seconds are added."""
    one, other = in_two(fit_to_half, *arguments)
    assert one[0] == other[0], "the processes have different models"
    return one[0], one[1] + other[1], one[2]


def compared(X, X_test, k, seed):
    """Errors over that of PCA, CPU seconds, and computations beyond the epochs."""
    counts, others = collections.Counter(), (X_test, k, seed)
    skae._engine.block_rows.WINDOW = X.size // 3
    found = [fit(in_blocks(X, counts), *others), by_two(X, *others), fit(X, *others)]
    found.append(fit(X, X_test, k, seed + OTHER_SEED))
    errors, seconds, n_epochs = zip(*found, strict=True)
    pca_error = held_out_error(PCA(k).fit(X), X_test)
    ratios = [error / pca_error for error in errors]
    return ratios, seconds, max(counts.values()) - n_epochs[0]


def line(name, task, n_seeds):
    """A row of the table for one data set."""
    kind, X, found = task.kind, task.load(), []
    for seed in range(n_seeds):
        X_train, X_test = make_split(X, kind, seed)
        k = n_components(kind, X_train.shape[1])
        found.append(compared(X_train, X_test, k, seed))
    ratios, seconds, more = (np.array(part) for part in zip(*found, strict=True))
    blocks, two, one, other = np.exp(np.log(ratios).mean(axis=0))
    cpu, (n_rows, n_features) = seconds.mean(axis=0), X_train.shape
    return (
        f"| {name} | {n_rows} x {n_features} | {one:.3f} | {blocks:.3f} | {two:.3f} | "
        f"{other:.3f} | {blocks / one:.3f} | {two / one:.3f} | {other / one:.3f} | "
        f"{more.max()} | "
        f"{cpu[2]:.1f} | {cpu[0]:.1f} | {cpu[1]:.1f} |"
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
    AutoencoderTransformer(2, **SMALL_FIT).fit(table[: 3 * chunk])  # imports and buffers
    before = peak_megabytes()
    AutoencoderTransformer(2, **SMALL_FIT).fit(table)
    return peak_megabytes() - before, before


def memory_of_half(number, dtype, folder=None):
    """Largest memory of a process with half of 1 GB over this half, and seconds of `fit`.

    What the process held before it had the half, after a fit to a few rows, does not count.
    """
    p, size = GIGABYTE[1], GIGABYTE[0] * GIGABYTE[1] * np.dtype(float).itemsize // 2
    n_rows, rng = size // (p * np.dtype(dtype).itemsize), np.random.default_rng(number)
    ae = AutoencoderTransformer(2, distributed=True, **SMALL_FIT | {"max_epochs": 1})
    ae.fit(made(rng.uniform(-1, 1, (2000, 2))).astype(dtype))  # imports and buffers
    before = reset_peak()
    how = {"dtype": dtype, "shape": (n_rows, p)}
    X = np.empty(**how)
    if folder is not None:
        X = np.memmap(Path(folder) / f"{number}.bin", mode="w+", **how)
    for rows in np.array_split(np.arange(n_rows), 2000):
        X[rows[0] : rows[-1] + 1] = made(rng.uniform(-1, 1, (len(rows), 2)))
    begin = time.monotonic()
    ae.fit(X)
    share = (peak_megabytes() - before) * 2**20 / X.nbytes
    return share, time.monotonic() - begin


def reset_peak():
    """Begin anew to measure `peak_megabytes`, on Linux, and return what is held now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak_megabytes()


def memory_of_two():
    """Print the memory of each of two processes with half of 1 GB each."""
    print("process with half of 1 GB | most memory over the half | seconds of fit")
    for dtype in ("float32", "float64"):
        with tempfile.TemporaryDirectory() as folder:
            for name, where in {"in memory": None, "memory map": folder}.items():
                for share, seconds in in_two(memory_of_half, dtype, where):
                    print(f"{dtype} {name} | {share:.2f} | {seconds:.0f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--gigabyte", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    dask.config.set(scheduler="threads", num_workers=2)
    if arguments.gigabyte:
        more, before = memory_of_a_gigabyte(GIGABYTE[0], 62_500)
        print(f"1 GB in 20 blocks: {more:.0f} MB beyond {before:.0f} MB", flush=True)
        memory_of_two()
    skae._tables.rows.SMALL = 0  # small tables are read in blocks too
    print(HEADER)
    data = available()
    for name in arguments.sets:
        print(line(name, data[name], arguments.seeds), flush=True)


if __name__ == "__main__":
    main()
