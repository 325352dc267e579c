"""What other defaults would bring: held-out error and time as multiples of the defaults'.

One parameter is changed at a time. Errors and seconds are means over a few splits, and
seconds are those of the processor, on one thread, so that other work matters little.

    python examples/benchmarks/defaults.py --json defaults.json
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from reconstruction import (
    available,
    check_sets,
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
        "batch_size / 2": {"batch_size": max(1, batch_size // 2)},
        "batch_size * 2": {"batch_size": 2 * batch_size},
        "batch_size * 4": {"batch_size": 4 * batch_size},
        "lr=5e-3": {"lr": 5e-3},
        "lr=3e-2": {"lr": 3e-2},
        "activation='gelu'": {"activation": "gelu"},
        "activation='relu'": {"activation": "relu"},
        "activation='tanh'": {"activation": "tanh"},
        "half the widths": {"hidden_layer_sizes": [max(1, w // 2) for w in widths]},
        "twice the widths": {"hidden_layer_sizes": [2 * w for w in widths]},
        "first layer alone": {"hidden_layer_sizes": widths[:1]},
        "weight_decay=0.01": {"weight_decay": 0.01},
        "weight_decay=0.5": {"weight_decay": 0.5},
        "n_iter_no_change=5": {"n_iter_no_change": 5},
        "n_iter_no_change=20": {"n_iter_no_change": 20},
    }


def measure(task, most_rows, seed):
    """Held-out error and seconds of every variant; those of the defaults are `{}`'s."""
    X_train, X_test = make_split(task.load(), task.kind, seed, most_rows)
    k = n_components(task.kind, X_train.shape[1])

    def fit(**params):
        ae = AutoencoderTransformer(k, random_state=seed, **params)
        start = time.process_time()
        ae.fit(X_train)
        seconds = time.process_time() - start
        return ae, held_out_error(ae, X_test), seconds

    fit()  # what is done once in a process is not timed
    ae, *of_defaults = fit()
    found = {"defaults": of_defaults}
    for name, params in variants(ae).items():
        found[name] = fit(**params)[1:]
    return found


def means(results):
    """Mean error and seconds of every variant over the splits of a set."""
    names = results[0]
    return {name: np.mean([of[name] for of in results], axis=0).tolist() for name in names}


def table(results):
    """Ratios to the defaults, a line for each variant, a column for each set."""
    names = [name for name in next(iter(results.values())) if name != "defaults"]
    lines = [
        "| changed | " + " | ".join(results) + " | error | time |",
        "|---" * (len(results) + 3) + "|",
    ]
    for name in names:
        ratios = [np.divide(of[name], of["defaults"]) for of in results.values()]
        error, seconds = np.exp(np.mean(np.log(ratios), axis=0))
        cells = [f"{error:.2f} / {seconds:.1f}" for error, seconds in ratios]
        lines.append(f"| {' | '.join([name, *cells])} | {error:.3f} | {seconds:.2f} |")
    return "\n".join(lines)


def parse_arguments(tasks):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sets", help="names, separated by commas")
    parser.add_argument("--rows", type=int, default=3000, help="most rows of a set")
    parser.add_argument("--seeds", type=int, default=3, help="splits of each set")
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
        seeds = range(arguments.seeds)
        results[name] = means([measure(tasks[name], arguments.rows, s) for s in seeds])
        fits = (f"{k}: {e:.4g} in {s:.1f} s" for k, (e, s) in results[name].items())
        print(name, *fits, sep="\n    ", flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
