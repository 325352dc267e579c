"""What other defaults would bring: held-out error and time as multiples of the defaults'.

One parameter is changed at a time. Every set is split once; the fits of one set follow
each other, the defaults first and last, so that a load that comes and goes is seen.

    python examples/benchmarks/defaults.py --json defaults.json
"""

import argparse
import json
from pathlib import Path

import numpy as np
from reconstruction import (
    available,
    check_sets,
    fit_timed,
    held_out_error,
    make_split,
    n_components,
)

from skae import AutoencoderTransformer

SETS = "digits", "breast_cancer", "cardio", "letter", "magic.gamma", "pendigits", "mnist"


def variants(ae):
    """Parameters to try, from those that a fitted estimator came to by itself."""
    batch_size, widths = ae.net_.batch_size, ae.hidden_layer_sizes_
    return {
        "the same again": {},
        "batch_size / 2": {"batch_size": max(1, batch_size // 2)},
        "batch_size * 2": {"batch_size": 2 * batch_size},
        "batch_size * 4": {"batch_size": 4 * batch_size},
        "lr=2e-3": {"lr": 2e-3},
        "lr=1e-2": {"lr": 1e-2},
        "activation='silu'": {"activation": "silu"},
        "activation='relu'": {"activation": "relu"},
        "activation='tanh'": {"activation": "tanh"},
        "half the widths": {"hidden_layer_sizes": [max(1, w // 2) for w in widths]},
        "twice the widths": {"hidden_layer_sizes": [2 * w for w in widths]},
        "first layer alone": {"hidden_layer_sizes": widths[:1]},
        "weight_decay=0": {"weight_decay": 0.0},
        "weight_decay=0.1": {"weight_decay": 0.1},
        "n_iter_no_change=10": {"n_iter_no_change": 10},
        "n_iter_no_change=40": {"n_iter_no_change": 40},
    }


def measure(task, most_rows, seed):
    """Held-out error and seconds of every variant; those of the defaults are `{}`'s."""
    X_train, X_test = make_split(task.load(), task.kind, seed, most_rows)
    k = n_components(task.kind, X_train.shape[1])

    def fit(**params):
        ae = AutoencoderTransformer(k, random_state=seed, **params)
        seconds = fit_timed(ae, X_train)
        return ae, held_out_error(ae, X_test), seconds

    ae, *of_defaults = fit()
    found = {"defaults": of_defaults}
    for name, params in variants(ae).items():
        found[name] = fit(**params)[1:]
    again = found.pop("the same again")
    found["defaults"][1] = (of_defaults[1] + again[1]) / 2
    return found


def table(results):
    """Ratios to the defaults, a line for each variant, a column for each set."""
    names = [name for name in next(iter(results.values())) if name != "defaults"]
    lines = [
        "| changed | " + " | ".join(results) + " | error | time |",
        "|---" * (len(results) + 3) + "|",
    ]
    for name in names:
        ratios = [np.divide(of[name], of["defaults"]) for of in results.values()]
        means = np.exp(np.mean(np.log(ratios), axis=0))
        cells = [f"{error:.2f} / {time:.1f}" for error, time in ratios]
        lines.append(f"| {' | '.join([name, *cells])} | {means[0]:.3f} | {means[1]:.2f} |")
    return "\n".join(lines)


def parse_arguments(tasks):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sets", help="names, separated by commas")
    parser.add_argument("--rows", type=int, default=3000, help="most rows of a set")
    parser.add_argument("--seed", type=int, default=0, help="of split and networks")
    parser.add_argument("--json", type=Path, help="file for the results")
    arguments = parser.parse_args()
    names = arguments.sets.split(",") if arguments.sets else set(SETS) & set(tasks)
    check_sets(parser, names, tasks)
    arguments.sets = [name for name in tasks if name in names]
    return arguments


def main():
    tasks = available()
    arguments = parse_arguments(tasks)
    results = {}
    for name in arguments.sets:
        results[name] = measure(tasks[name], arguments.rows, arguments.seed)
        fits = (f"{k}: {e:.4g} in {s:.1f} s" for k, (e, s) in results[name].items())
        print(name, *fits, sep="\n    ", flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
