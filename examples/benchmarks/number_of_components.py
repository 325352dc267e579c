"""Does a search find the number of components that a table was made with?

Tables of 30 columns are made of 2, 3 or 5 components and noise. They are flat, or a curved
surface, on which only a nonlinear model needs no more components than there are. A search
over 1 to 10 components takes the best error of held-out rows, the best error of hidden
cells, or the fewest components within a standard error of the best (see README.md beside
this file).

    python examples/benchmarks/number_of_components.py --markdown
"""

import argparse
from functools import partial

import numpy as np
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, KFold

from skae import AutoencoderTransformer
from skae.metrics import (
    make_hidden_cell_scorer,
    make_reconstruction_scorer,
    one_standard_error,
)

PLANTED = 2, 3, 5
NOISES = 0.1, 0.3, 0.6  # in standard deviations of what the components make
N_ROWS, N_COLUMNS, MOST = 400, 30, 10
SCORERS = {"rows": make_reconstruction_scorer(), "cells": make_hidden_cell_scorer()}
RULES = {
    "best of rows": lambda results: int(np.argmax(results["mean_test_rows"])),
    "rows, one standard error": partial(one_standard_error, score="rows"),
    "best of cells": lambda results: int(np.argmax(results["mean_test_cells"])),
    "cells, one standard error": partial(one_standard_error, score="cells"),
}
MODELS = {
    "PCA, flat": (PCA(), False),
    "PCA, curved": (PCA(), True),
    "skae, flat": (AutoencoderTransformer(allow_nan=True, random_state=0), False),
    "skae, curved": (AutoencoderTransformer(allow_nan=True, random_state=0), True),
}


def table(n_components, noise, is_curved, seed):
    """Return a table (N_ROWS, N_COLUMNS) made of so many components and noise."""
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(N_ROWS, n_components))
    X = Z @ rng.normal(size=(n_components, N_COLUMNS))
    if is_curved:
        bent = np.tanh(0.7 * Z @ rng.normal(size=(n_components, 20)))
        X += 0.35 * bent @ rng.normal(size=(20, N_COLUMNS))
    return X / X.std() + noise * rng.normal(size=X.shape)


def chosen(model, X, seed):
    """Return the number of components that each rule chooses."""
    search = GridSearchCV(
        model,
        {"n_components": range(1, MOST + 1)},
        scoring=SCORERS,
        refit=False,
        cv=KFold(3, shuffle=True, random_state=seed),
        error_score="raise",
    ).fit(X)
    n_components = search.cv_results_["param_n_components"]
    return {name: n_components[rule(search.cv_results_)] for name, rule in RULES.items()}


def shares(name, noises, n_seeds):
    """Return how often each rule finds the number of components, for one model."""
    model, is_curved = MODELS[name]
    hits = {rule: [] for rule in RULES}
    for planted in PLANTED:
        for noise in noises:
            for seed in range(n_seeds):
                found = chosen(model, table(planted, noise, is_curved, seed), seed)
                for rule, n_components in found.items():
                    hits[rule].append(n_components == planted)
                print(f"{name}: {planted} planted, noise {noise}, {found}", flush=True)
    return {rule: np.mean(found) for rule, found in hits.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=[*MODELS])
    parser.add_argument("--noises", nargs="+", type=float, default=NOISES)
    parser.add_argument("--seeds", type=int, default=10, help="tables of each kind")
    parser.add_argument("--markdown", action="store_true", help="print a table")
    args = parser.parse_args()
    found = {name: shares(name, args.noises, args.seeds) for name in args.models}
    lines = [f"| model, table | {' | '.join(RULES)} |", "|---" * (len(RULES) + 1) + "|"]
    lines += [
        f"| {name} | {' | '.join(f'{share:.0%}' for share in row.values())} |"
        for name, row in found.items()
    ]
    if args.markdown:
        print("\n".join(lines))
    else:
        print(found)


if __name__ == "__main__":
    main()
