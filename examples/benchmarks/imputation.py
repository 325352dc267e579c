"""Filling of missing cells: skae's imputers against scikit-learn's, and miceforest.

Cells of complete tables are hidden, at random or where another column is large. Each
method is fitted to some of the rows, and fills the gaps of these and of the others; the
errors are those of the hidden cells (see README.md beside this file).

    python examples/benchmarks/imputation.py --json imputation.json --markdown
"""

import argparse
import importlib.util
import json
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from reconstruction import available, check_sets, some_rows
from scipy.special import expit
from scipy.stats import rankdata, t
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

from skae import AutoencoderImputer, AutoencoderTransformer

SETS = (
    "annthyroid",
    "breast_cancer",
    "california_housing",
    "cardio",
    "diabetes",
    "Ionosphere",
    "iris",
    "letter",
    "magic.gamma",
    "pendigits",
    "wine",
    "yeast",
)
MOST_ROWS = 1000
SHARES = 0.05, 0.2, 0.5  # of the cells that are hidden
STEEP = 2.0  # rise of the log odds of being hidden with a standard deviation, see `depends`

N_DRAWS = 20  # of multiple imputation, and intervals that should cover so many cells
COVERAGE = 0.95


@dataclass
class Result:
    """A set with a share of its cells hidden, at random or depending on another column.

    `errors` are root mean squared errors of the hidden cells in rows of the fit, `new` in
    the other rows, both in standard deviations of the columns' visible cells; `seconds`
    are those of the processor for fitting and filling. All three are by method, and means
    over the seeds. `covered` is the share of hidden cells in all rows that are in the
    intervals of draws.
    """

    name: str
    rows: int
    columns: int
    share: float
    depends: bool
    errors: dict
    new: dict
    seconds: dict
    covered: float | None


class Impute(AutoencoderTransformer):
    """`AutoencoderTransformer.impute` with its defaults, in the place of an imputer."""

    def transform(self, X):
        """X with its gaps filled."""
        return self.impute(X)


def forest(seed):
    """Regressions of each column on the others, in turns, by 100 trees."""
    trees = ExtraTreesRegressor(100, random_state=seed, n_jobs=1)
    return IterativeImputer(trees, random_state=seed)


class MiceForest:
    """miceforest with its defaults, five rounds of gradient boosted trees."""

    def __init__(self, seed):
        self.seed = seed

    def fit(self, X):
        """Fit to the rows of X (n, p)."""
        import miceforest

        self.kernel = miceforest.ImputationKernel(
            self._frame(X), num_datasets=1, random_state=self.seed
        )
        self.kernel.mice(5)
        return self

    def transform(self, X):
        """X with its gaps filled."""
        new = self.kernel.impute_new_data(self._frame(X), random_state=self.seed)
        return new.complete_data(0).to_numpy()

    @staticmethod
    def _frame(X):
        return pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])


METHODS = {
    "imputer": lambda seed: AutoencoderImputer(random_state=seed),
    "impute": lambda seed: Impute(allow_nan=True, random_state=seed),
    "KNN": lambda seed: KNNImputer(),
    "iterative": lambda seed: IterativeImputer(random_state=seed),
    "forest": forest,
    "mean": lambda seed: SimpleImputer(),
}
if importlib.util.find_spec("miceforest") is not None:
    METHODS["miceforest"] = MiceForest


def chances(X, share, rng):
    """The chance (n, p) that a cell is hidden if that depends on another column.

    The first half of the columns, in random order, is always there. A cell of the others
    is hidden more often the larger the value of one of the first half is in its row. The
    share of hidden cells is that of the table, or as large as half of its columns allow.
    """
    n, p = X.shape
    order = rng.permutation(p)
    kept, gapped = order[: p // 2], order[p // 2 :]
    ranks = rankdata(X, axis=0) / (n + 1)
    scores = 2 * np.sqrt(3) * (ranks[:, rng.choice(kept, len(gapped))] - 0.5)
    target = min(0.9, share * p / len(gapped))
    low, high = -50.0, 50.0
    for _ in range(60):  # the intercept for which the mean chance is the target
        middle = (low + high) / 2
        is_low = expit(STEEP * scores + middle).mean() < target
        low, high = (middle, high) if is_low else (low, middle)
    out = np.zeros((n, p))
    out[:, gapped] = expit(STEEP * scores + middle)
    return out


def hide(X, share, seed, depends=False):
    """X (n, p) with a share of its cells NaN, standardized; which; and their values.

    Cells are hidden at random or, with `depends`, depending on another column (`chances`).
    A row keeps at least one cell; a column that keeps no two different ones is left out.
    """
    rng = np.random.default_rng(seed)
    hidden = rng.random(X.shape) < (chances(X, share, rng) if depends else share)
    kept = rng.integers(X.shape[1], size=len(X))
    if not depends:
        hidden[np.arange(len(X)), kept] = False
    visible = np.where(hidden, np.nan, X)
    varies = np.nanmax(visible, axis=0) > np.nanmin(visible, axis=0)
    X, visible, hidden = X[:, varies], visible[:, varies], hidden[:, varies]
    mean, scale = np.nanmean(visible, axis=0), np.nanstd(visible, axis=0)
    return (visible - mean) / scale, hidden, ((X - mean) / scale)[hidden]


def measure(name, task, share, depends, arguments):
    """Result of a set."""
    X = np.asarray(task.load(), dtype=np.float64)
    seeds = range(arguments.seeds)
    found = [measure_once(X, share, depends, seed, arguments) for seed in seeds]
    errors, new, seconds, covered, shapes = zip(*found, strict=True)
    covered = float(np.mean(covered)) if arguments.draws else None
    means = map(mean_of, (errors, new, seconds))
    return Result(name, *shapes[0], share, depends, *means, covered)


def measure_once(X, share, depends, seed, arguments):
    """Errors in rows of the fit and in others, seconds, coverage, and the shape."""
    X = some_rows(X, arguments.rows or None, seed)
    X = np.random.default_rng(seed).permutation(X)  # files are in the order of classes
    visible, hidden, values = hide(X, share, seed, depends)
    true = np.where(hidden, 0.0, visible)
    true[hidden] = values
    n = len(X) - int(arguments.new * len(X))
    errors, new, seconds = {}, {}, {}
    for method in arguments.methods:
        start = time.process_time()
        with warnings.catch_warnings():
            # Ten rounds are IterativeImputer's default, and it says so where they are few.
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = METHODS[method](seed).fit(visible[:n])
            filled = fitted.transform(visible)
        seconds[method] = time.process_time() - start
        deviations = np.where(hidden, filled - true, np.nan)
        errors[method] = root_mean_square(deviations[:n])
        new[method] = root_mean_square(deviations[n:]) if n < len(X) else np.nan
    covered = coverage(visible, hidden, true, n, seed) if arguments.draws else None
    return errors, new, seconds, covered, visible.shape


def root_mean_square(deviations):
    """Root of the mean of the squares that are not NaN."""
    return float(np.sqrt(np.nanmean(np.square(deviations))))


def coverage(visible, hidden, true, n, seed):
    """Share of the hidden cells that are in the intervals of draws."""
    fitted = AutoencoderImputer(sample_posterior=True, random_state=seed).fit(visible[:n])
    draws = np.stack([fitted.transform(visible) for _ in range(N_DRAWS)])
    width = t.ppf((1 + COVERAGE) / 2, N_DRAWS - 1) * np.sqrt(1 + 1 / N_DRAWS)
    far = np.abs(true - draws.mean(axis=0)) > width * draws.std(axis=0, ddof=1)
    return float(1 - far[hidden].mean())


def mean_of(dicts):
    """Of dicts with the same keys, key by key."""
    return {key: float(np.mean([d[key] for d in dicts])) for key in dicts[0]}


def geometric_means(results, rows="errors"):
    """Geometric mean over the sets of each method's error."""
    chosen = [getattr(r, rows) for r in results]
    methods = chosen[0]
    return {m: float(np.exp(np.mean([np.log(e[m]) for e in chosen]))) for m in methods}


def by_gaps(results):
    """The results by the share of hidden cells and what that depends on, as text."""
    parts = {}
    for r in sorted(results, key=lambda r: (r.depends, r.share)):
        how = ", depending on another column" if r.depends else ""
        parts.setdefault(f"{100 * r.share:g} % of the cells hidden{how}", []).append(r)
    return parts


def summary(results):
    """Geometric means, by rows and gaps."""
    return {
        rows: {how: geometric_means(part, rows) for how, part in by_gaps(results).items()}
        for rows in ("errors", "new")
    }


def markdown(results):
    """The tables of README.md, the smallest error of a row in bold."""
    lines = []
    for how, chosen in by_gaps(results).items():
        methods = [*chosen[0].errors]
        for rows, title in ("errors", "rows of the fit"), ("new", "other rows"):
            if np.isnan(getattr(chosen[0], rows)[methods[0]]):
                continue
            lines += [f"{how}, {title}:", ""]
            lines += [f"| set | rows x columns | {' | '.join(methods)} |"]
            lines += ["|---" * (len(methods) + 2) + "|"]
            for r in chosen:
                cells = in_bold(getattr(r, rows))
                cells = [r.name, f"{r.rows} x {r.columns}", *cells]
                lines.append(f"| {' | '.join(cells)} |")
            means = in_bold(geometric_means(chosen, rows))
            lines += [f"| geometric mean | | {' | '.join(means)} |", ""]
        lines += [f"{how}, seconds of the processor, and coverage:", ""]
        lines += [f"| set | {' | '.join(methods)} | covered |"]
        lines += ["|---" * (len(methods) + 2) + "|"]
        for r in chosen:
            covered = "" if r.covered is None else f"{r.covered:.1%}"
            seconds = [f"{r.seconds[m]:.1f}" for m in methods]
            lines.append(f"| {' | '.join([r.name, *seconds, covered])} |")
        lines.append("")
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
        "--shares",
        default=",".join(map(str, SHARES)),
        help="of the cells that are hidden at random (default: %(default)s)",
    )
    parser.add_argument(
        "--depending",
        default="0.2",
        help="of the cells that are hidden where another column is large",
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=MOST_ROWS,
        help="most rows of a set, drawn at random; 0 is all (default: %(default)s)",
    )
    parser.add_argument(
        "--seeds", type=int, default=1, help="of rows, gaps and networks: 0, 1, ..."
    )
    parser.add_argument(
        "--new", type=float, default=1 / 3, help="share of the rows that no fit gets"
    )
    parser.add_argument("--methods", default=",".join(METHODS), help="some of them")
    parser.add_argument("--draws", action="store_true", help="measure the coverage, too")
    arguments = parser.parse_args()
    arguments.methods = arguments.methods.split(",")
    unknown = sorted({*arguments.methods} - {*METHODS})
    if unknown:
        parser.error(f"unknown methods {unknown}; there are {[*METHODS]}")
    arguments.gaps = [
        (float(share), depends)
        for depends, shares in enumerate([arguments.shares, arguments.depending])
        for share in shares.split(",")
        if share
    ]
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
        for share, depends in arguments.gaps:
            r = measure(name, tasks[name], share, bool(depends), arguments)
            results.append(r)
            texts = [
                f"{m} {r.errors[m]:.3f} {r.new[m]:.3f} ({r.seconds[m]:.1f} s)"
                for m in arguments.methods
            ]
            texts += [f"covered {r.covered:.3f}"] if arguments.draws else []
            how = f"{100 * share:g} %{' depending' if depends else ''}"
            print(f"{name:20} {how}: {', '.join(texts)}", flush=True)
            # After every one, so that an interrupted run leaves what it has.
            if arguments.json:
                content = summary(results), [asdict(r) for r in results]
                content = dict(zip(("summary", "sets"), content, strict=True))
                arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    if arguments.markdown:
        print(markdown(results))


if __name__ == "__main__":
    main()
