"""Denoising, text and counts: skae's other objectives against PCA and its kin.

Three tables, all of rows that no model has seen in `fit` (see README.md beside this file):

- `denoising`: images corrupted by noise, the error against the clean images;
- `text`: accuracy of classifiers on codes of tf-idf rows, kept sparse;
- `counts`: log-likelihood of word counts.

The environment variable SKAE_DATA names the folder with the data.

    python examples/benchmarks/objectives.py --json objectives.json --markdown
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from components import markdown
from reconstruction import fit_timed, read_npz, some_rows
from scipy import sparse, special
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from skae import AutoencoderTransformer
from skae.noise import GaussianNoise, MaskingNoise, Units

IMAGES = "mnist", "fashion_mnist"
NOISES = {"Gaussian 0.5": GaussianNoise(0.5), "masking 50 %": MaskingNoise(0.5)}
TEST_IMAGES = 5000
WIDTHS = (64,)  # components of the denoising autoencoders
N_WORDS, COUNT_ROWS, COUNT_CODES = 1000, 3000, 10
TEXT_CODES = 50
FLOORS = np.geomspace(1e-5, 0.1, 21)  # of rates that are mapped back from logarithms
THETAS = np.geomspace(1e-3, 1e3, 61)
PIXELS = Units(zero=0.0, low=0.0, high=1.0, one=1.0)


@dataclass
class Denoising:
    """Errors against the clean image, means over rows and columns."""

    images: str
    noise: str
    rows: int
    noisy_error: float  # of the corrupted images as they are
    pca_error: float  # smallest over the numbers of components and both tables
    pca_components: int
    pca_fitted_to: str
    components: int
    skae_error: float
    ratio: float
    seconds: float


@dataclass
class Text:
    """Accuracies of classifiers on the codes."""

    model: str
    components: int
    neighbours: float
    logistic: float
    seconds: float
    peak_megabytes: float  # of the whole process
    best_epoch: int | None


@dataclass
class Counts:
    """Mean log-likelihoods of a cell."""

    model: str
    components: int
    poisson: float | None
    negative_binomial: float | None
    seconds: float


# -- denoising -------------------------------------------------------------------------


def corrupted(X, noise, seed):
    """X (n, p) with noise in every row, as a new array."""
    generator = torch.Generator().manual_seed(seed)
    return noise(torch.from_numpy(X), PIXELS, generator).numpy()


def pca_errors(X_fit, X_noisy, X_clean):
    """Errors (p,) against the clean rows of PCA with 1, 2, ..., p components."""
    pca = PCA(svd_solver="covariance_eigh").fit(X_fit)
    seen, wanted = pca.transform(X_noisy), pca.transform(X_clean)
    total = np.square(X_clean - pca.mean_).sum(dtype=np.float64)
    change = np.square(seen) - 2 * seen * wanted
    return (total + np.cumsum(change.sum(axis=0, dtype=np.float64))) / X_clean.size


def measure_denoising(path, name, most_rows, seed):
    """A Denoising for each noise and width."""
    X_train, X_test = (X.astype(np.float32) for X in read_npz(path))
    X_train = some_rows(X_train, most_rows, seed)
    X_test = some_rows(X_test, TEST_IMAGES, seed)
    for label, noise in NOISES.items():
        noisy = corrupted(X_test, noise, seed + 1)
        tables = {"clean": X_train, "noisy": corrupted(X_train, noise, seed + 2)}
        errors = {key: pca_errors(X, noisy, X_test) for key, X in tables.items()}
        best = min(errors, key=lambda key: errors[key].min())
        for width in WIDTHS:
            model = AutoencoderTransformer(width, noise=noise, random_state=seed)
            seconds = fit_timed(model, X_train)
            error = float(np.square(model.denoise(noisy) - X_test).mean(dtype=np.float64))
            yield Denoising(
                images=name,
                noise=label,
                rows=len(X_train),
                noisy_error=float(np.square(noisy - X_test).mean(dtype=np.float64)),
                pca_error=float(errors[best].min()),
                pca_components=int(errors[best].argmin()) + 1,
                pca_fitted_to=best,
                components=width,
                skae_error=error,
                ratio=error / float(errors[best].min()),
                seconds=seconds,
            )


# -- text ------------------------------------------------------------------------------


def text_models(max_epochs, seed):
    """Estimators by name."""
    ours = {"random_state": seed, "max_epochs": max_epochs}
    return {
        "TruncatedSVD": TruncatedSVD(TEXT_CODES, random_state=seed),
        "skae, PCA start alone": AutoencoderTransformer(
            TEXT_CODES, hidden_layer_sizes=(), random_state=seed
        ),
        "skae": AutoencoderTransformer(TEXT_CODES, **ours),
        'skae, loss="cosine"': AutoencoderTransformer(TEXT_CODES, loss="cosine", **ours),
    }


def peak_megabytes():
    """Most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts in `ru_maxrss` what the parent process held
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def measure_text(folder, name, max_epochs, seed):
    """Text of one model; run in a process of its own, for the peak of its memory."""
    X_train, X_test = (
        sparse.load_npz(folder / f"20ng_tfidf_{part}.npz") for part in ("train", "test")
    )
    with np.load(folder / "20ng_y.npz") as file:
        y_train, y_test = file["y_train"], file["y_test"]
    model = text_models(max_epochs, seed)[name]
    seconds = fit_timed(model, X_train)
    Z_train, Z_test = model.transform(X_train), model.transform(X_test)
    peak = peak_megabytes()
    classifiers = KNeighborsClassifier(5), LogisticRegression(C=10, max_iter=2000)
    # Lengths of codes are those of texts: directions are compared, as is the custom.
    accuracies = [
        make_pipeline(Normalizer(), c).fit(Z_train, y_train).score(Z_test, y_test)
        for c in classifiers
    ]
    return Text(
        model=name,
        components=TEXT_CODES,
        neighbours=accuracies[0],
        logistic=accuracies[1],
        seconds=seconds,
        peak_megabytes=peak,
        best_epoch=getattr(model, "best_epoch_", None),
    )


def measure_texts(folder, max_epochs, seed):
    """A Text for each model."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        for name in text_models(max_epochs, seed):
            yield pool.submit(measure_text, folder, name, max_epochs, seed).result()


# -- counts ----------------------------------------------------------------------------


def word_counts(folder, seed):
    """Counts of the commonest words, as arrays of float64: training and held-out rows."""
    tables = [
        sparse.load_npz(folder / f"20ng_counts_{p}.npz").tocsr() for p in ("train", "test")
    ]
    words = np.argsort(-np.asarray(tables[0].sum(axis=0)).ravel(), kind="stable")[:N_WORDS]
    rng = np.random.default_rng(seed)
    some = [rng.choice(X.shape[0], COUNT_ROWS, replace=False) for X in tables]
    return [
        X[rows][:, words].toarray().astype(np.float64)
        for X, rows in zip(tables, some, strict=True)
    ]


def poisson(X, rates):
    """Log-likelihood of every cell of X (n, p)."""
    return special.xlogy(X, rates) - rates - special.gammaln(X + 1)


def negative_binomial(X, rates, theta):
    """The same where a cell's variance is rate + rate² / theta."""
    return (
        special.gammaln(X + theta)
        - special.gammaln(theta)
        - special.gammaln(X + 1)
        + theta * np.log(theta / (theta + rates))
        + special.xlogy(X, rates / (theta + rates))
    )


def log_pca(X_train, X_test, seed):
    """Two Counts of PCA of log(1 + x): mapped back as it is, and to the words' means.

    The floor of the rates, the factors and the thetas are those most likely for the
    training rows.
    """
    pca = PCA(COUNT_CODES, random_state=seed)
    seconds = fit_timed(pca, np.log1p(X_train))
    raw = [
        np.expm1(pca.inverse_transform(pca.transform(np.log1p(X))))
        for X in (X_train, X_test)
    ]
    for name, is_scaled in (("PCA of log1p", False), ("... times the words' means", True)):

        def rates(X_hat, floor, is_scaled=is_scaled):
            rates = np.maximum(X_hat, floor)
            means = X_train.mean(axis=0) / np.maximum(raw[0], floor).mean(axis=0)
            return rates * means if is_scaled else rates

        floor = max(FLOORS, key=lambda f: poisson(X_train, rates(raw[0], f)).mean())
        of_train, of_test = (rates(X_hat, floor) for X_hat in raw)
        likelihoods = [negative_binomial(X_train, of_train, t).sum(axis=0) for t in THETAS]
        theta = THETAS[np.argmax(likelihoods, axis=0)]
        yield Counts(
            model=name,
            components=COUNT_CODES,
            poisson=float(poisson(X_test, of_test).mean()),
            negative_binomial=float(negative_binomial(X_test, of_test, theta).mean()),
            seconds=seconds,
        )


def measure_counts(folder, seed):
    """A Counts for each model."""
    X_train, X_test = word_counts(folder, seed)
    yield from log_pca(X_train, X_test, seed)
    for loss in "poisson", "negative_binomial":
        model = AutoencoderTransformer(COUNT_CODES, loss=loss, random_state=seed)
        seconds = fit_timed(model, X_train)
        scores = {"poisson": None, "negative_binomial": None, loss: model.score(X_test)}
        yield Counts(f"skae, loss={loss!r}", COUNT_CODES, seconds=seconds, **scores)


# -- command ---------------------------------------------------------------------------


def denoising_table(results):
    """Markdown."""
    head = ["images", "noise", "PCA error (k, fitted to)", "k", "skae error", "ratio", "s"]
    rows = [
        [
            r.images,
            r.noise,
            f"{r.pca_error:.5f} ({r.pca_components}, {r.pca_fitted_to})",
            str(r.components),
            f"{r.skae_error:.5f}",
            f"{r.ratio:.3f}",
            f"{r.seconds:.0f}",
        ]
        for r in results
    ]
    return markdown([head, *rows])


def text_table(results):
    """Markdown."""
    head = ["codes", "5-NN", "logistic regression", "epoch kept", "fit s", "peak MB"]
    rows = [
        [
            r.model,
            f"{r.neighbours:.4f}",
            f"{r.logistic:.4f}",
            "" if r.best_epoch is None else str(r.best_epoch),
            f"{r.seconds:.0f}",
            f"{r.peak_megabytes:.0f}",
        ]
        for r in results
    ]
    return markdown([head, *rows])


def counts_table(results):
    """Markdown."""
    head = ["model", "Poisson", "negative binomial", "fit s"]
    rows = [
        [
            r.model,
            *("" if v is None else f"{v:.5f}" for v in (r.poisson, r.negative_binomial)),
            f"{r.seconds:.0f}",
        ]
        for r in results
    ]
    return markdown([head, *rows])


TABLES = {"denoising": denoising_table, "text": text_table, "counts": counts_table}


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file to write the results to")
    parser.add_argument("--markdown", action="store_true", help="print the tables")
    parser.add_argument(
        "--parts", default=",".join(TABLES), help="separated by commas; default: all"
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=10_000,
        help="training images; 0 is all (default: %(default)s)",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        default=5,
        help="most epochs on the texts, half a minute each (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of rows, noise and networks")
    arguments = parser.parse_args()
    arguments.parts = arguments.parts.split(",")
    unknown = sorted(set(arguments.parts) - set(TABLES))
    if unknown:
        parser.error(f"no part named {', '.join(unknown)}; there are {', '.join(TABLES)}")
    if "SKAE_DATA" not in os.environ:
        parser.error("set the environment variable SKAE_DATA to the folder with the data")
    arguments.folder = Path(os.environ["SKAE_DATA"])
    return arguments


def measure(part, arguments):
    """Results of a part, one after another."""
    if part == "denoising":
        for name in IMAGES:
            path = arguments.folder / f"{name}.npz"
            yield from measure_denoising(path, name, arguments.rows or None, arguments.seed)
    elif part == "text":
        yield from measure_texts(
            arguments.folder / "text", arguments.epochs, arguments.seed
        )
    else:
        yield from measure_counts(arguments.folder / "text", arguments.seed)


def main():
    """Measure part after part; print and write."""
    arguments = parse_arguments()
    start, results = time.perf_counter(), {part: [] for part in arguments.parts}
    for part in arguments.parts:
        for result in measure(part, arguments):
            results[part].append(result)
            print(f"{time.perf_counter() - start:6.0f} s", result, flush=True)
            # After every result, so that an interrupted run leaves what it has.
            if arguments.json:
                content = {key: [asdict(r) for r in rs] for key, rs in results.items()}
                arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    if arguments.markdown:
        print(*(TABLES[part](results[part]) for part in results), sep="\n\n")


if __name__ == "__main__":
    main()
