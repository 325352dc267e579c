"""A small convolutional module of one's own, for three epochs, against PCA.

With `init="pca"` the module corrects PCA, and is kept only as far as that helps rows that
it has not seen. With `init="random"` it is the whole network. Both get the same rows and as
many components as PCA, and three epochs, which are too few for most networks.

    SKAE_DATA=path/to/data python examples/benchmarks/own_modules.py --json own_modules.json
"""

import argparse
import functools
import itertools
import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from reconstruction import (
    available,
    check_sets,
    held_out_error,
    make_split,
    n_components,
    some_rows,
)
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from skae import AutoencoderTransformer

# Images, by the shape of their rows. Rows of the other sets are signals of one channel.
SHAPES = {
    "digits": (8, 8),
    "fashion_mnist": (28, 28),
    "frey_faces": (28, 20),
    "fsdd_logmel_48x32": (48, 32),
    "mnist": (28, 28),
    "olivetti_faces_64": (64, 64),
}
SIGNALS = "fsdd_logmel_frames", "ftir_coffee", "nir_gasoline", "nir_tecator_meats"
CHANNELS = 1, 8, 16
MOST_ROWS = 1500  # of which a quarter, or the set's own test rows, is held out
SEEDS = range(3)
HEADER = (
    f"{'set':20} {'rows':>5} {'columns':>7} {'k':>3} {'PCA error':>10} "
    f"{'pca ratio':>9} {'random ratio':>12} {'best epochs':>12}"
)


@dataclass
class Result:
    """A row of the table. Errors are means over splits, rows and columns."""

    name: str
    rows: int
    columns: int
    components: int
    pca_error: float
    ratio: float  # of the error with init="pca" to PCA's
    random_ratio: float  # of that with init="random"
    best_epochs: list  # with init="pca"


class Convolutional(nn.Module):
    """Two convolutions of stride 2, and their mirror image.

    Parameters
    ----------
    n_features, n_components : int
        Widths of rows and codes.
    shape : tuple of (length,) or (height, width)
        Shape of a row.
    """

    def __init__(self, n_features, n_components, shape):
        super().__init__()
        convolve, expand = {
            1: (nn.Conv1d, nn.ConvTranspose1d),
            2: (nn.Conv2d, nn.ConvTranspose2d),
        }[len(shape)]
        shapes = [shape]
        for _ in CHANNELS[1:]:
            shapes.append(tuple(-(-size // 2) for size in shapes[-1]))
        down, up = [nn.Unflatten(1, (1, *shape))], []
        pairs = zip(itertools.pairwise(CHANNELS), shapes, strict=False)
        for (n_in, n_out), sizes in pairs:
            down += [convolve(n_in, n_out, 3, stride=2, padding=1), nn.GELU()]
            more = tuple(1 - size % 2 for size in sizes)
            options = {"stride": 2, "padding": 1, "output_padding": more}
            up = [nn.GELU(), expand(n_out, n_in, 3, **options), *up]
        inside = CHANNELS[-1], *shapes[-1]
        width = int(np.prod(inside))
        self.encode = nn.Sequential(*down, nn.Flatten(), nn.Linear(width, n_components))
        first = nn.Linear(n_components, width), nn.Unflatten(1, inside)
        self.decode = nn.Sequential(*first, *up, nn.Flatten())


def measure(name, task, most_rows, max_epochs):
    """Result of all splits of one set."""
    data = task.load()
    columns = (data[0] if isinstance(data, tuple) else data).shape[1]
    k = n_components(task.kind, columns)
    module = functools.partial(Convolutional, shape=SHAPES.get(name, (columns,)))
    errors, best_epochs, n_rows = [], [], 0
    for seed in SEEDS:
        X_train, X_test = make_split(data, task.kind, seed, most_rows)
        X_test = some_rows(X_test, most_rows // 4, seed)
        n_rows = len(X_train)
        models = [PCA(k, random_state=seed)]
        models += [
            AutoencoderTransformer(
                k, module=module, init=init, max_epochs=max_epochs, random_state=seed
            )
            for init in ("pca", "random")
        ]
        errors.append([held_out_error(model.fit(X_train), X_test) for model in models])
        best_epochs.append(models[1].best_epoch_)
    pca_error, error, random_error = np.mean(errors, axis=0).tolist()
    return Result(
        name=name,
        rows=n_rows,
        columns=columns,
        components=k,
        pca_error=pca_error,
        ratio=error / pca_error,
        random_ratio=random_error / pca_error,
        best_epochs=best_epochs,
    )


def format_row(r):
    """A line of the table."""
    epochs = ", ".join(map(str, r.best_epochs))
    return (
        f"{r.name:20} {r.rows:5d} {r.columns:7d} {r.components:3d} {r.pca_error:10.4g} "
        f"{r.ratio:9.4f} {r.random_ratio:12.2f} {epochs:>12}"
    )


def parse_arguments(tasks):
    """The command line; --sets is checked against the sets that there are."""
    names = [name for name in (*SHAPES, *SIGNALS) if name in tasks]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file to write the results to")
    parser.add_argument("--sets", help="names, separated by commas; default: all")
    parser.add_argument("--rows", type=int, default=MOST_ROWS, help="of a set, at most")
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    arguments.sets = arguments.sets.split(",") if arguments.sets else names
    check_sets(parser, arguments.sets, dict.fromkeys(names))
    return arguments


def main():
    """Measure set after set; print and write."""
    warnings.simplefilter("ignore", ConvergenceWarning)  # three epochs are few
    tasks = available()
    arguments = parse_arguments(tasks)
    print(HEADER, flush=True)
    results = []
    for name in arguments.sets:
        results.append(measure(name, tasks[name], arguments.rows, arguments.epochs))
        print(format_row(results[-1]), flush=True)
        if arguments.json:
            content = json.dumps([asdict(r) for r in results], indent=1)
            arguments.json.write_text(content + "\n")
    ratios = np.array([r.ratio for r in results])
    mean = np.exp(np.log(ratios).mean())
    print(f"{len(ratios)} sets: worst ratio {ratios.max():.4f}, geometric mean {mean:.3f}")


if __name__ == "__main__":
    main()
