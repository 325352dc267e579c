"""Filling of missing cells: AutoencoderTransformer.impute against scikit-learn's imputers.

Cells of complete tables are hidden at random, each method is fitted to what is left and
fills the gaps of the same rows; the error is that of the hidden cells (see README.md
beside this file).

    python examples/benchmarks/imputation.py --json imputation.json --markdown
"""

import argparse
import json
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from reconstruction import available, check_sets, some_rows
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

from skae import AutoencoderTransformer

SETS = (
    "breast_cancer",
    "california_housing",
    "cardio",
    "diabetes",
    "letter",
    "magic.gamma",
    "pendigits",
    "wine",
)
MOST_ROWS = 3000
SHARES = 0.2, 0.5  # of the cells that are hidden


@dataclass
class Result:
    """A set with a share of its cells hidden.

    `errors` are root mean squared errors of the hidden cells, in standard deviations of
    the columns' visible cells, `seconds` those of fitting and filling; both by method,
    and means over the seeds.
    """

    name: str
    rows: int
    columns: int
    share: float
    errors: dict
    seconds: dict


def by_skae(X, seed):
    """X with its gaps filled by skae's defaults."""
    return AutoencoderTransformer(allow_nan=True, random_state=seed).fit(X).impute(X)


def by_iterations(X, seed):
    """X with its gaps filled by regressions of each column on the others, in turns."""
    with warnings.catch_warnings():
        # Ten rounds are its default, and it says so where they are few.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return IterativeImputer(random_state=seed).fit_transform(X)


METHODS = {
    "skae": by_skae,
    "KNN": lambda X, seed: KNNImputer().fit_transform(X),
    "iterative": by_iterations,
    "mean": lambda X, seed: SimpleImputer().fit_transform(X),
}


def hide(X, share, seed):
    """X (n, p) with a share of its cells NaN, standardized; which; and their values.

    A row keeps at least one cell; a column that keeps no two different ones is left out.
    """
    rng = np.random.default_rng(seed)
    hidden = rng.random(X.shape) < share
    kept = rng.integers(X.shape[1], size=len(X))
    hidden[np.arange(len(X)), kept] = False
    visible = np.where(hidden, np.nan, X)
    varies = np.nanmax(visible, axis=0) > np.nanmin(visible, axis=0)
    X, visible, hidden = X[:, varies], visible[:, varies], hidden[:, varies]
    mean, scale = np.nanmean(visible, axis=0), np.nanstd(visible, axis=0)
    return (visible - mean) / scale, hidden, ((X - mean) / scale)[hidden]


def measure(name, task, share, most_rows, seeds):
    """Result of a set."""
    X = np.asarray(task.load(), dtype=np.float64)
    errors, seconds = [], []
    for seed in range(seeds):
        visible, hidden, values = hide(some_rows(X, most_rows, seed), share, seed)
        errors.append({})
        seconds.append({})
        for method, fill in METHODS.items():
            start = time.perf_counter()
            filled = fill(visible, seed)
            seconds[-1][method] = time.perf_counter() - start
            errors[-1][method] = np.sqrt(np.square(filled[hidden] - values).mean())
    return Result(name, *visible.shape, share, mean_of(errors), mean_of(seconds))


def mean_of(dicts):
    """Of dicts with the same keys, key by key."""
    return {key: float(np.mean([d[key] for d in dicts])) for key in dicts[0]}


def geometric_means(results, share):
    """Geometric mean over the sets of each method's error with a share hidden."""
    chosen = [r.errors for r in results if r.share == share]
    return {m: float(np.exp(np.mean([np.log(e[m]) for e in chosen]))) for m in METHODS}


def summary(results):
    """Geometric means, by share."""
    return {share: geometric_means(results, share) for share in {r.share for r in results}}


def markdown(results):
    """The tables of README.md, the smallest error of a row in bold."""
    lines = []
    for share in sorted({r.share for r in results}):
        heads = [*METHODS, *(f"{method} s" for method in METHODS if method != "mean")]
        lines += [f"{100 * share:g} % of the cells hidden:", ""]
        lines += [f"| set | rows x columns | {' | '.join(heads)} |"]
        lines += ["|---" * (len(heads) + 2) + "|"]
        for r in results:
            if r.share == share:
                seconds = [f"{r.seconds[m]:.1f}" for m in METHODS if m != "mean"]
                cells = [r.name, f"{r.rows} x {r.columns}", *in_bold(r.errors), *seconds]
                lines.append(f"| {' | '.join(cells)} |")
        means = in_bold(geometric_means(results, share))
        lines += [f"| geometric mean | | {' | '.join(means)} | | | |", ""]
    return "\n".join(lines)


def in_bold(errors):
    """The errors as text, the smallest of them in bold."""
    texts = [f"{error:.3f}" for error in errors.values()]
    smallest = min(texts)
    return [f"**{text}**" if text == smallest else text for text in texts]


def parse_arguments(tasks):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file to write the results to")
    parser.add_argument(
        "--markdown", action="store_true", help="print the tables of README.md at the end"
    )
    parser.add_argument("--sets", help="names, separated by commas")
    parser.add_argument(
        "--rows",
        type=int,
        default=MOST_ROWS,
        help="most rows of a set, drawn at random; 0 is all (default: %(default)s)",
    )
    parser.add_argument(
        "--seeds", type=int, default=1, help="of rows, gaps and networks: 0, 1, ..."
    )
    arguments = parser.parse_args()
    if arguments.sets:
        arguments.sets = arguments.sets.split(",")
    else:
        arguments.sets = [name for name in SETS if name in tasks]
    tables = {name: task for name, task in tasks.items() if task.kind == "table"}
    check_sets(parser, arguments.sets, tables)
    return arguments


def main():
    """Measure set after set; print and write."""
    tasks = available()
    arguments = parse_arguments(tasks)
    results = []
    for name in arguments.sets:
        for share in SHARES:
            of_rows = arguments.rows or None, arguments.seeds
            r = measure(name, tasks[name], share, *of_rows)
            results.append(r)
            errors = [f"{m} {r.errors[m]:.3f} ({r.seconds[m]:.1f} s)" for m in METHODS]
            print(f"{name:20} {100 * share:g} %: {', '.join(errors)}", flush=True)
            # After every one, so that an interrupted run leaves what it has.
            if arguments.json:
                content = summary(results), [asdict(r) for r in results]
                content = dict(zip(("summary", "sets"), content, strict=True))
                arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    if arguments.markdown:
        print(markdown(results))


if __name__ == "__main__":
    main()
