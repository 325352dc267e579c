"""Seconds of fits with missing cells, and for a share of the variance, beside plain fits.

A table with missing cells is compared with the same table complete, and a fit that finds
its number of components with a fit that is given this number (see README.md beside this
file).

    python examples/benchmarks/fit_ratios.py --markdown
"""

import argparse
import functools
import json
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from skae import AutoencoderTransformer

# Rows, columns, and missing cells: their number, or their share of all cells.
GAPS = (
    (7043, 40, 11),
    (7043, 40, 0.05),
    (7043, 40, 0.2),
    (1000, 20, 0.2),
    (300, 3000, 0.02),
    (300, 3000, 0.2),
    (700, 20_000, 0.02),
)
WIDTHS = tuple((200, p, 0.02) for p in (2500, 5000, 10_000, 20_000))
# A name, rows, columns of noise or None for the digits, and the share of the variance.
SHARES = (
    ("noise", 1000, 300, 0.9),
    ("noise", 1200, 600, 0.9),
    ("digits", 1797, None, 0.7),
    ("digits", 1797, None, 0.9),
    ("digits", 600, None, 0.85),
    ("digits", 600, None, 0.95),
)
N_COMPONENTS, RANK = 8, 8


def curved_table(n, p):
    """A table of `RANK` hidden variables, bent, with noise."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(n, RANK)) * np.geomspace(1, 0.3, RANK)
    return np.tanh(Z @ rng.normal(size=(RANK, p))) + 0.3 * rng.normal(size=(n, p))


def with_gaps(X, missing):
    """A copy of X with so many cells missing, or such a share of them."""
    n_missing = missing if missing >= 1 else int(missing * X.size)
    X = X.copy()
    X.flat[np.random.default_rng(1).choice(X.size, n_missing, replace=False)] = np.nan
    return X


def timed(X, seed, **params):
    """The fitted estimator, and the seconds of CPU time that the fit took."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ae = AutoencoderTransformer(random_state=seed, **params).fit(X)
    return ae, time.process_time() - start


def outcome(what, seconds, **others):
    """A result, from pairs of seconds (longer, plain)."""
    longer, plain = np.median(seconds, axis=0)
    figures = {"seconds": longer, "plain": plain, "ratio": longer / plain}
    return {"what": what} | figures | others


def gaps(repeats, tables=GAPS):
    """Fits of tables with missing cells, and of the same tables complete, by turns."""
    for n, p, missing in tables:
        X = curved_table(n, p)
        gapped, seconds = with_gaps(X, missing), []
        for seed in range(repeats):
            _, longer = timed(gapped, seed, n_components=N_COMPONENTS, allow_nan=True)
            _, plain = timed(X, seed, n_components=N_COMPONENTS)
            seconds.append((longer, plain))
        text = f"{missing} cells" if missing >= 1 else f"{100 * missing:g} %"
        yield outcome(f"{n} x {p}, {text} missing", seconds)


def shares(repeats):
    """Fits for a share of the variance, and with the number that they end with."""
    for name, n, p, share in SHARES:
        rng = np.random.default_rng(0)
        if p is None:
            X = rng.permutation(load_digits().data / 16)[:n]
        else:
            X = rng.normal(size=(n, p))
        seconds = []
        for seed in range(repeats):
            ae, longer = timed(X, seed, n_components=share)
            _, plain = timed(X, seed, n_components=ae.n_components_)
            seconds.append((longer, plain))
        what = f"{name} {X.shape[0]} x {X.shape[1]}, n_components={share:g}"
        yield outcome(what, seconds, n_components=ae.n_components_)


PARTS = {"gaps": gaps, "widths": functools.partial(gaps, tables=WIDTHS), "shares": shares}


def markdown(results):
    """The table of results."""
    lines = ["| fit | seconds | plain fit | ratio |", "|---|---|---|---|"]
    for r in results:
        found = f" (finds {r['n_components']})" if "n_components" in r else ""
        cells = f"{r['seconds']:.1f} | {r['plain']:.1f} | {r['ratio']:.2f}"
        lines.append(f"| {r['what']}{found} | {cells} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parts", default=",".join(PARTS), help="which, by commas")
    parser.add_argument("--repeats", type=int, default=1, help="medians of so many seeds")
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("--markdown", action="store_true", help="print the table")
    args = parser.parse_args()
    torch.set_num_threads(1)
    X = with_gaps(curved_table(50, 5), 10)
    timed(X, 0, n_components=2, max_epochs=1, allow_nan=True)  # imports
    results = []
    for part in args.parts.split(","):
        for result in PARTS[part](args.repeats):
            results.append(result)
            print(json.dumps(result), flush=True)
            if args.json:
                args.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if args.markdown:
        print(markdown(results))


if __name__ == "__main__":
    main()
