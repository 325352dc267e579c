"""Seconds and held-out errors of default fits by two states of the code, as ratios.

Both states fit the same rows in turns, each in a process of its own that has imported what
it needs before anything is timed. Sets, splits and numbers of components are those of
`reconstruction.py`, but for the number of rows. Seconds are of the processor, on one
thread, so that other work on the machine matters little.

    python examples/benchmarks/default_fits.py --old path/to/other/checkout --markdown
"""

import argparse
import contextlib
import json
import os
import pickle
import subprocess
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from components import geometric_mean, markdown
from reconstruction import (
    available,
    check_sets,
    held_out_error,
    make_split,
    n_components,
)

HERE = Path(__file__).resolve().parents[2]
MOST_ROWS = 10_000


@dataclass
class Result:
    """Means over the seeds, of the old code and the new. `rows` are those fitted to."""

    name: str
    rows: int
    columns: int
    components: int
    old_seconds: float
    new_seconds: float
    old_error: float
    new_error: float

    @property
    def ratios(self):
        """Seconds and error of the new code as multiples of the old code's."""
        return self.new_seconds / self.old_seconds, self.new_error / self.old_error


def fit(X_train, X_test, k, seed):
    """Seconds of a default fit, and the error of the reconstruction of X_test."""
    from skae import AutoencoderTransformer

    estimator = AutoencoderTransformer(k, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.process_time()
        estimator.fit(X_train)
        seconds = time.process_time() - start
    return seconds, held_out_error(estimator, X_test)


@contextlib.contextmanager
def process(checkout):
    """A process that fits with the code of a checkout; yields `fit`."""
    paths = [str(checkout), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, __file__, "--worker"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=env, **pipes) as worker:

        def ask(*arguments):
            pickle.dump(arguments, worker.stdin)
            worker.stdin.flush()
            return pickle.load(worker.stdout)

        ask(np.random.default_rng(0).normal(size=(128, 8)), np.eye(8), 2, 0)
        yield ask
        worker.stdin.close()


def answer():
    """The other end of `process`: fit until nothing more is asked."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with contextlib.suppress(EOFError):
        while True:
            pickle.dump(fit(*pickle.load(sys.stdin.buffer)), answers)
            answers.flush()


def measure(name, task, old, new, seeds, most_rows):
    """Result of one set."""
    data, found = task.load(), []
    for seed in range(seeds):
        X_train, X_test = make_split(data, task.kind, seed, most_rows)
        k = n_components(task.kind, X_train.shape[1])
        found.append([ask(X_train, X_test, k, seed) for ask in (old, new)])
    (old_seconds, old_error), (new_seconds, new_error) = np.mean(found, axis=0).tolist()
    return Result(
        name=name,
        rows=len(X_train),
        columns=X_train.shape[1],
        components=k,
        old_seconds=old_seconds,
        new_seconds=new_seconds,
        old_error=old_error,
        new_error=new_error,
    )


def summary(results):
    """Geometric mean and largest of the ratios of seconds and of errors."""
    found = {"sets": len(results)}
    ratios = zip(*(r.ratios for r in results), strict=True)
    for what, values in zip(("seconds", "error"), ratios, strict=True):
        found[what] = {"geometric_mean": geometric_mean(values), "worst": max(values)}
        found[what]["worst_set"] = results[int(np.argmax(values))].name
    return found


def table(results):
    """A line for each set and one with the geometric means."""
    head = ["set", "rows x columns", "k", "old s", "new s", "ratio"]
    lines = [[*head, "old error", "new error", "ratio"]]
    for r in results:
        seconds, error = r.ratios
        shape = f"{r.rows} x {r.columns}"
        line = [r.name, shape, r.components, f"{r.old_seconds:.2f}", f"{r.new_seconds:.2f}"]
        errors = f"{r.old_error:.4g}", f"{r.new_error:.4g}", f"{error:.3f}"
        lines.append([*map(str, line), f"{seconds:.2f}", *errors])
    means = (summary(results)[of]["geometric_mean"] for of in ("seconds", "error"))
    seconds, error = means
    lines.append(
        ["geometric mean", "", "", "", "", f"{seconds:.2f}", "", "", f"{error:.3f}"]
    )
    return markdown(lines)


def parse_arguments(tasks):
    """The command line; --sets is checked against the sets that there are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", type=Path, required=True, help="checkout to compare with")
    parser.add_argument("--new", type=Path, default=HERE, help="default: this one")
    parser.add_argument("--sets", help="names, separated by commas; default: all")
    rows_help = "most rows of a set, drawn at random; 0 is all (default: %(default)s)"
    parser.add_argument("--rows", type=int, default=MOST_ROWS, help=rows_help)
    parser.add_argument("--seeds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    parser.add_argument(
        "--markdown", action="store_true", help="print the table at the end"
    )
    arguments = parser.parse_args()
    arguments.sets = arguments.sets.split(",") if arguments.sets else list(tasks)
    check_sets(parser, arguments.sets, tasks)
    return arguments


def main():
    """Measure set after set; print and write."""
    tasks, results = available(), []
    arguments = parse_arguments(tasks)
    with process(arguments.old) as old, process(arguments.new) as new:
        for name in arguments.sets:
            of_run = arguments.seeds, arguments.rows or None
            results.append(measure(name, tasks[name], old, new, *of_run))
            print(name, *(f"{ratio:.3f}" for ratio in results[-1].ratios), flush=True)
            # After every set, so that an interrupted run leaves what it has.
            if arguments.json:
                content = {
                    "summary": summary(results),
                    "sets": [asdict(r) for r in results],
                }
                arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(summary(results)))
    if arguments.markdown:
        print("", table(results), sep="\n")


if __name__ == "__main__":
    if "--worker" in sys.argv:
        answer()
    else:
        main()
