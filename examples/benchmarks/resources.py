"""What a fit takes of a machine: memory, the first fit of a process, and threads.

Every figure comes from a process of its own, which is this script once more:

    python examples/benchmarks/resources.py --json resources.json --markdown

memory: peak anonymous memory (Linux, `RssAnon` of `/proc/PID/status`, read some hundred
times a second by the parent) beyond what the process has just before; pages of files
that are mapped are not anonymous. start: the first `fit` of a process against its second.
neighbour: a fit on all cores beside a process that keeps all of them busy, against the same
fit alone. search: `GridSearchCV` with two workers that are warm against none. large: a fit
to 2 000 000 x 30 in memory and from a file, and its error against that of ten epochs. wide:
memory of fits to tables with more columns than rows, in a process that has fitted before.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from skae import AutoencoderTransformer

MEGABYTE = 10**6
POLL = 0.003  # seconds between two looks at a process
ROWS_WRITTEN = 20_000  # that differ, in tables of which only the size counts
N_NEURONS = 2048  # of the products that keep a neighbour busy
WIDE = [(300, 30_000), (1200, 8000), (800, 20_000), (1000, 40_000)]  # rows, columns
MOST_OF_WIDE = 2.5
LIMITS = {
    "memory of fit / 1 GB array": 1.2,
    "memory of fit, transform on a 4 GB memmap, MB": 600,
    "first fit / second": 2.0,
    "beside a busy process / alone": 2.5,
    "search, n_jobs=2 / n_jobs=1": 0.62,
    "fit of 2 000 000 x 30, s": 150,
    "the same from a memmap, s": 200,
    "its error / after ten epochs": 1.02,
}


def curved(n_samples, n_features):
    """Rows (n, p) of float32 on a curved sheet of four dimensions, with a little noise."""
    rng = np.random.default_rng(0)
    slopes = rng.standard_normal((4, n_features), dtype=np.float32)
    X = np.tanh(rng.standard_normal((n_samples, 4), dtype=np.float32) @ slopes)
    X += 0.1 * rng.standard_normal(X.shape, dtype=np.float32)
    return X


def fill(table):
    """Write the rows of `curved` into a table, over and over."""
    X = curved(min(len(table), ROWS_WRITTEN), table.shape[1])
    for i in range(0, len(table), len(X)):
        table[i : i + len(X)] = X[: len(table) - i]
    return table


# What a process of its own does: a generator that yields once when it is ready to be
# measured, and then a dictionary of figures.


def fit_array(rows, columns, params):
    """Fit to an array in memory."""
    X = fill(np.empty((rows, columns), dtype=np.float32))
    yield
    start = time.perf_counter()
    AutoencoderTransformer(random_state=0, **params).fit(X)
    yield {"seconds": time.perf_counter() - start, "bytes": X.nbytes}


def fit_wide(rows, columns, dtype):
    """Fit to an array after another fit, to a table of a few hundred kilobytes."""
    X = curved(rows, columns).astype(dtype)
    AutoencoderTransformer(8, max_epochs=2, random_state=0).fit(curved(200, 1000))
    yield
    start = time.process_time()
    model = AutoencoderTransformer(8, max_epochs=2, random_state=0).fit(X)
    cpu = time.process_time() - start
    yield {"cpu_seconds": cpu, "bytes": X.nbytes, "best_epoch": model.best_epoch_}


def fit_map(path, params):
    """Fit to a file, and transform it."""
    X = np.load(path, mmap_mode="r")
    yield
    start = time.perf_counter()
    AutoencoderTransformer(random_state=0, **params).fit(X).transform(X)
    yield {"seconds": time.perf_counter() - start, "bytes": X.nbytes}


def fit_large(path, params, in_memory):
    """Fit to all rows of a file but the last, and reconstruct these."""
    X = np.load(path, mmap_mode=None if in_memory else "r")
    X, held_out = X[:-ROWS_WRITTEN], np.array(X[-ROWS_WRITTEN:])
    model = AutoencoderTransformer(8, random_state=0, **params)
    yield
    start, start_cpu = time.perf_counter(), time.process_time()
    model.fit(X)
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    error = float(np.square(model.denoise(held_out) - held_out).mean(dtype=np.float64))
    yield {"seconds": seconds, "cpu_seconds": cpu, "error": error}


def fit_twice(rows, columns):
    """Seconds of the first and the second fit of the process."""
    X, seconds = curved(rows, columns).astype(np.float64), []
    yield
    for _ in range(2):
        start = time.perf_counter()
        AutoencoderTransformer(2, random_state=0).fit(X)
        seconds.append(time.perf_counter() - start)
    yield {"first": seconds[0], "second": seconds[1]}


def fit_timed(rows, columns, params):
    """Seconds of a fit, imports and a first fit being behind it.

    It has no seed, for only then does the number of threads follow the load.
    """
    X = curved(rows, columns)
    AutoencoderTransformer(**{**params, "max_epochs": 1}).fit(X[:2000])
    yield
    start = time.perf_counter()
    AutoencoderTransformer(**params).fit(X)
    yield {"seconds": time.perf_counter() - start}


def multiply_timed(n_products):
    """Seconds of matrix products, which share the cores as the system lets them."""
    A = np.ones((N_NEURONS, N_NEURONS), dtype=np.float32)
    A @ A
    yield
    start = time.perf_counter()
    for _ in range(n_products):
        A @ A
    yield {"seconds": time.perf_counter() - start}


def keep_busy():
    """Products on all cores, until the process is ended or its parent has."""
    A, parent = np.ones((N_NEURONS, N_NEURONS), dtype=np.float32), os.getppid()
    yield
    while os.getppid() == parent:
        A @ A


def search(rows, columns, params, n_repeats):
    """Seconds of a grid search with one job and with two, whose workers are warm."""
    from sklearn.model_selection import GridSearchCV

    X = curved(rows, columns)
    model = AutoencoderTransformer(random_state=0, **params)
    grid = {"n_components": [3, 4], "weight_decay": [0.01, 0.02]}

    def run(X, n_jobs, model=model):
        start = time.perf_counter()
        GridSearchCV(model, grid, cv=2, n_jobs=n_jobs, refit=False).fit(X)
        return time.perf_counter() - start

    run(X[:200], 2)
    yield
    seconds = {n_jobs: [run(X, n_jobs) for _ in range(1)] for n_jobs in (1, 2)}
    for _ in range(n_repeats - 1):
        for n_jobs in (1, 2):
            seconds[n_jobs].append(run(X, n_jobs))
    one, two = (float(np.median(seconds[n_jobs])) for n_jobs in (1, 2))
    yield {"one": one, "two": two, "fits": 2 * 4}


TASKS = {
    task.__name__: task
    for task in (
        fit_array,
        fit_wide,
        fit_map,
        fit_large,
        fit_twice,
        fit_timed,
        multiply_timed,
        keep_busy,
        search,
    )
}


def perform(call):
    """In a process of its own: be ready, wait for the word, and print the figures."""
    call = json.loads(call)
    steps = TASKS[call.pop("task")](**call)
    next(steps)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(next(steps)), flush=True)


class Process:
    """A process that performs a task."""

    def __init__(self, task, **params):
        call = json.dumps({"task": task, **params})
        command = [sys.executable, __file__, "--perform", call]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, **pipes)
        self._expect("ready")

    def _expect(self, word=None):
        line = self.process.stdout.readline().strip()
        if not line or line != (word or line):
            raise RuntimeError(f"a process of the benchmark ended with {line!r}")
        return line

    def start(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self

    def figures(self):
        figures = json.loads(self._expect())
        self.process.wait()
        return figures

    def end(self):
        self.process.kill()
        self.process.wait()

    def anonymous(self):
        """Bytes of anonymous memory that the process has now; 0 when it has ended."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        except (FileNotFoundError, ProcessLookupError):
            return 0
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return 1024 * int(fields.get("RssAnon", "0 kB").split()[0])


def measured(task, **params):
    """Figures of a task."""
    return Process(task, **params).start().figures()


def measured_memory(task, **params):
    """Figures of a task, with the peak of its anonymous memory beyond the start's."""
    process = Process(task, **params)
    before = peak = process.anonymous()
    is_over = threading.Event()

    def watch():
        nonlocal peak
        while not is_over.is_set():
            peak = max(peak, process.anonymous())
            time.sleep(POLL)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        figures = process.start().figures()
    finally:
        is_over.set()
        watcher.join()
    return {**figures, "before": before, "extra": peak - before}


def memory(scale, _):
    """Memory of fits to an array and to a file."""
    params = {"n_components": 16, "max_epochs": 1}
    rows = int(2_000_000 * scale)
    array = measured_memory("fit_array", rows=rows, columns=125, params=params)
    what = "memory of fit / 1 GB array"
    yield {"what": what, "value": array["extra"] / array["bytes"]} | array
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "X.npy")
        shape = int(1_000_000 * scale), 1024
        mapped = np.lib.format.open_memmap(path, "w+", np.float32, shape)
        fill(mapped).flush()
        del mapped
        of_map = measured_memory("fit_map", path=path, params=params)
    what = "memory of fit, transform on a 4 GB memmap, MB"
    yield {"what": what, "value": of_map["extra"] / MEGABYTE} | of_map


def start(_, repeats):
    """First fit of a process against the second."""
    runs = [measured("fit_twice", rows=60, columns=4) for _ in range(repeats)]
    first, second = (float(np.median([r[of] for r in runs])) for of in ("first", "second"))
    value = float(np.median([r["first"] / r["second"] for r in runs]))
    yield {"what": "first fit / second", "value": value, "first": first, "second": second}


def beside(task, repeats, **params):
    """Median seconds of a task alone and beside a busy process, taking turns."""
    alone, beside = [], []
    for _ in range(repeats):
        alone.append(measured(task, **params)["seconds"])
        neighbour = Process("keep_busy").start()
        try:
            beside.append(measured(task, **params)["seconds"])
        finally:
            neighbour.end()
    figures = {"alone": float(np.median(alone)), "beside": float(np.median(beside))}
    return {"value": figures["beside"] / figures["alone"], **figures}


def neighbour(scale, repeats):
    """Fits on all cores and on one, and plain products, beside a busy process."""
    of_fit = {"rows": int(20_000 * scale), "columns": 256}
    wide = {"n_components": 16, "hidden_layer_sizes": [512, 256], "batch_size": 512}
    narrow = {"n_components": 4, "hidden_layer_sizes": [32], "batch_size": 128}
    wide["max_epochs"], narrow["max_epochs"] = 10, 20
    what = "beside a busy process / alone"
    for net, params in {"": wide, ", small net": narrow}.items():
        figures = beside("fit_timed", repeats, **of_fit, params=params)
        yield {"what": what + net} | figures
    figures = beside("multiply_timed", repeats, n_products=int(200 * scale))
    yield {"what": what + ", products of NumPy"} | figures


def searched(scale, repeats):
    """A grid search with two jobs against one."""
    params = {"max_epochs": 100, "n_iter_no_change": 100}
    of_data = {"rows": int(4000 * scale), "columns": 32, "params": params}
    figures = measured("search", n_repeats=repeats, **of_data)
    value = figures["two"] / figures["one"]
    yield {"what": "search, n_jobs=2 / n_jobs=1", "value": value} | figures


def large(scale, _):
    """Seconds of a fit to a table of many rows and few columns, and its error."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "X.npy")
        np.save(path, curved(int(2_000_000 * scale) + ROWS_WRITTEN, 30))
        default = measured("fit_large", path=path, params={}, in_memory=True)
        yield {"what": "fit of 2 000 000 x 30, s", "value": default["seconds"]} | default
        mapped = measured("fit_large", path=path, params={}, in_memory=False)
        yield {"what": "the same from a memmap, s", "value": mapped["seconds"]} | mapped
        ten = {"max_epochs": 10}
        longer = measured("fit_large", path=path, params=ten, in_memory=True)
    ratio = default["error"] / longer["error"]
    yield {"what": "its error / after ten epochs", "value": ratio} | longer


def wide(scale, _):
    """Memory of fits to tables with more columns than rows, as shares of their own."""
    for dtype in ("float32", "float64"):
        for rows, columns in WIDE:
            shape = {"rows": rows, "columns": int(columns * scale)}
            figures = measured_memory("fit_wide", **shape, dtype=dtype)
            what = f"memory of fit / table of {rows} x {shape['columns']}, {dtype}"
            value = figures["extra"] / figures["bytes"]
            yield {"what": what, "value": value, "limit": MOST_OF_WIDE} | figures


PARTS = {
    "memory": memory,
    "start": start,
    "neighbour": neighbour,
    "search": searched,
    "large": large,
    "wide": wide,
}


def markdown(results):
    """The table of results."""
    lines = ["| | measured | at most |", "|---|---|---|"]
    for r in results:
        limit = LIMITS.get(r["what"], r.get("limit", ""))
        lines.append(f"| {r['what']} | {r['value']:.3g} | {limit} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--perform", help=argparse.SUPPRESS)
    parser.add_argument("--parts", default=",".join(PARTS), help="which, by commas")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", help="file for the results")
    parser.add_argument("--markdown", action="store_true", help="print the table")
    args = parser.parse_args()
    if args.perform:
        perform(args.perform)
        return
    results = []
    for part in args.parts.split(","):
        for result in PARTS[part](args.scale, args.repeats):
            results.append(result)
            print(json.dumps(result), flush=True)
            if args.json:
                Path(args.json).write_text(json.dumps(results, indent=1), encoding="utf-8")
    if args.markdown:
        print(markdown(results))


if __name__ == "__main__":
    main()
