"""Outliers in the tables of ADBench: AutoencoderOutlierDetector beside five other methods.

Every method has its defaults, and gets the same standardized rows. In the protocol
"one-class" the training rows are half of the normal rows, and all other rows are scored; in
"contaminated" they are 70 % of all rows, with their outliers, and the rest is scored.

    SKAE_DATA=path/to/data python examples/benchmarks/outliers.py --json outliers.json

The second table says how far the alarms and the contributions can be trusted, in the
protocol "one-class": the share of fresh normal rows with a p value of at most 1, 5 and
10 %; the share of false discoveries among the rows that the procedure of Benjamini and
Hochberg reports at 10 %; and how often a shift of six standard deviations, which was
planted in one feature of a normal row, has the largest contribution.

With `--octane` only spectra are measured: the detectors are fitted to 39 near-infrared
spectra of gasoline, and score the same spectra. Six of them, numbers 25, 26 and 36 to 39,
are of gasoline with alcohol (Hubert, Rousseeuw and Vanden Branden 2005, "ROBPCA: A new
approach to robust principal component analysis", Technometrics 47). The file has a line
without a header for each spectrum: its octane number and 226 absorbances, separated by
commas.
"""

import argparse
import json
import os
import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from scipy.stats import false_discovery_control
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from skae import AutoencoderOutlierDetector, AutoencoderTransformer

LEVELS = 0.01, 0.05, 0.1
SHIFT = 6  # standard deviations
N_SHIFTED = 500  # most rows in which a shift is planted
PROTOCOLS = "one-class", "contaminated"
ALCOHOL = 24, 25, 35, 36, 37, 38  # positions of the spectra with alcohol


class Residual:
    """Error of the reconstruction of PCA with 90 % of the variance."""

    def __init__(self, seed):
        self.pca = PCA(0.9)

    def fit(self, X):
        self.pca.fit(X)
        return self

    def score_samples(self, X):
        X_hat = self.pca.inverse_transform(self.pca.transform(X))
        return -np.square(X - X_hat).sum(axis=1)


class Neighbors:
    """Distance to the fifth neighbour."""

    def __init__(self, seed):
        self.search = NearestNeighbors(n_neighbors=5)

    def fit(self, X):
        self.search.fit(X)
        return self

    def score_samples(self, X):
        return -self.search.kneighbors(X)[0][:, -1]


OURS = "skae"
METHODS = {
    OURS: lambda seed: AutoencoderOutlierDetector(random_state=seed),
    "PCA residual": Residual,
    "isolation forest": lambda seed: IsolationForest(random_state=seed),
    "local outlier factor": lambda seed: LocalOutlierFactor(novelty=True),
    "one-class SVM": lambda seed: OneClassSVM(),
    "nearest neighbours": Neighbors,
}


def residual_of(estimator, X):
    """Squared errors of rows by which the estimator was fitted."""
    estimator.fit(X)
    X_hat = estimator.inverse_transform(estimator.transform(X))
    return np.square(X - X_hat).sum(axis=1)


def two_components(seed, **params):
    return AutoencoderTransformer(2, random_state=seed, **params)


OF_SPECTRA = {
    "skae": lambda X, seed: -METHODS[OURS](seed).fit(X).score_samples(X),
    "skae, k = 2": lambda X, seed: (
        -AutoencoderOutlierDetector(two_components(seed)).fit(X).score_samples(X)
    ),
    "residual of PCA, k = 2": lambda X, seed: residual_of(PCA(2), X),
    "of an autoencoder, k = 2": lambda X, seed: residual_of(two_components(seed), X),
    "of one that trains to the end": lambda X, seed: residual_of(
        two_components(seed, early_stopping=False), X
    ),
    "isolation forest": lambda X, seed: (
        -METHODS["isolation forest"](seed).fit(X).score_samples(X)
    ),
    "nearest neighbours": lambda X, seed: (
        NearestNeighbors(n_neighbors=5).fit(X).kneighbors()[0][:, -1]
    ),
}


@dataclass
class Run:
    """One split of one set; figures by method, and those of the detector alone."""

    name: str
    protocol: str
    seed: int
    rows: int
    columns: int
    outliers: int  # among the rows that are scored
    auroc: dict = field(default_factory=dict)
    precision: dict = field(default_factory=dict)
    seconds: float = 0.0  # of processor time of the detector's fit
    seconds_of_estimator: float = 0.0
    components: int = 0
    alarms: list = field(default_factory=list)
    false_discoveries: float = 0.0
    blamed: float = 0.0


def load(path, rows):
    """The table and its labels, 1 for outliers; at most so many rows."""
    data = np.load(path)
    X, y = data["X"].astype(np.float64), data["y"].astype(int)
    if rows and len(X) > rows:
        X, _, y, _ = train_test_split(X, y, train_size=rows, stratify=y, random_state=0)
    return X, y


def divided(X, y, protocol, seed):
    """Training rows, other rows and their labels, standardized by the training rows."""
    if protocol == "one-class":
        normal = np.random.default_rng(seed).permutation(np.flatnonzero(y == 0))
        train = normal[: len(normal) // 2]
        test = np.setdiff1d(np.arange(len(X)), train)
    else:
        train, test = train_test_split(
            np.arange(len(X)), train_size=0.7, stratify=y, random_state=seed
        )
    scaler = StandardScaler().fit(X[train])
    return scaler.transform(X[train]), scaler.transform(X[test]), y[test]


def measure(name, data, protocol, seed):
    """All methods on one split."""
    X_train, X_test, y_test = divided(*data, protocol, seed)
    run = Run(name, protocol, seed, *X_train.shape, int(y_test.sum()))
    for method, make in METHODS.items():
        start = time.process_time()
        fitted = make(seed).fit(X_train)
        seconds = time.process_time() - start
        scores = -fitted.score_samples(X_test)
        run.auroc[method] = float(roc_auc_score(y_test, scores))
        run.precision[method] = float(average_precision_score(y_test, scores))
        if method == OURS:
            run.seconds, detector = seconds, fitted
    start = time.process_time()
    clone(detector.estimator_).fit(X_train[detector.support_])
    run.seconds_of_estimator = time.process_time() - start
    run.components = int(detector.estimator_.n_components_)
    if protocol == "one-class":
        judge(run, detector, X_test, y_test, seed)
    return run


def judge(run, detector, X, y, seed):
    """Add how far the alarms and contributions of the detector can be trusted."""
    p = detector.p_values(X)
    run.alarms = [float((p[y == 0] <= level).mean()) for level in LEVELS]
    found = false_discovery_control(p) <= 0.1
    run.false_discoveries = float((y[found] == 0).sum() / max(found.sum(), 1))
    rng = np.random.default_rng(seed)
    shifted = X[y == 0][:N_SHIFTED].copy()
    rows = np.arange(len(shifted))
    features = rng.integers(X.shape[1], size=len(shifted))
    shifted[rows, features] += SHIFT * rng.choice([-1, 1], size=len(shifted))
    blamed = detector.contributions(shifted).argmax(axis=1)
    run.blamed = float((blamed == features).mean())


def spectra(path, seeds):
    """A table of the area under the ROC curve, mean and range over the seeds."""
    X = np.loadtxt(path, delimiter=",")[:, 1:]
    is_outlier = np.isin(np.arange(len(X)), ALCOHOL)
    lines = ["| | mean | least | greatest |", "|---|---|---|---|"]
    for name, score in OF_SPECTRA.items():
        areas = [roc_auc_score(is_outlier, score(X, seed)) for seed in range(seeds)]
        shown = [f"{v:.3f}" for v in (np.mean(areas), min(areas), max(areas))]
        lines.append(f"| {name} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def mean_of(runs, read):
    """Mean over the sets of the mean over the seeds."""
    names = sorted({run.name for run in runs})
    return np.mean([np.mean([read(r) for r in runs if r.name == n]) for n in names])


def table_of_methods(runs, kind):
    """A line for each set, and the mean; `kind` is "auroc" or "precision"."""
    lines = [
        "| | " + " | ".join(METHODS) + " |",
        "|---" * (len(METHODS) + 1) + "|",
    ]
    for name in [*sorted({run.name for run in runs}), "mean"]:
        own = runs if name == "mean" else [run for run in runs if run.name == name]
        means = [mean_of(own, lambda r, m=m: getattr(r, kind)[m]) for m in METHODS]
        shown = [f"**{v:.3f}**" if v == max(means) else f"{v:.3f}" for v in means]
        lines.append(f"| {name} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def table_of_trust(runs):
    """A line for each set, and the mean."""
    lines = [
        "| | rows x columns | k | alarms at 1 % | 5 % | 10 % | false discoveries at 10 % "
        "| shift is blamed | time of fit / of its estimator's |",
        "|---" * 9 + "|",
    ]
    for name in [*sorted({run.name for run in runs}), "mean"]:
        own = runs if name == "mean" else [run for run in runs if run.name == name]
        shape = "" if name == "mean" else f"{own[0].rows} x {own[0].columns}"
        components = "" if name == "mean" else f"{own[0].components}"
        alarms = [100 * mean_of(own, lambda r, i=i: r.alarms[i]) for i in range(3)]
        discoveries = 100 * mean_of(own, lambda r: r.false_discoveries)
        blamed = 100 * mean_of(own, lambda r: r.blamed)
        ratio = sum(r.seconds for r in own) / sum(r.seconds_of_estimator for r in own)
        lines.append(
            f"| {name} | {shape} | {components} | "
            + " | ".join(f"{alarm:.1f} %" for alarm in alarms)
            + f" | {discoveries:.1f} % | {blamed:.0f} % | {ratio:.2f} |"
        )
    return "\n".join(lines)


def summary(runs):
    """All tables."""
    parts = []
    for protocol in PROTOCOLS:
        own = [run for run in runs if run.protocol == protocol]
        if own:
            for kind, title in ("auroc", "AUROC"), ("precision", "average precision"):
                parts += [f"{protocol}, {title}", table_of_methods(own, kind)]
    own = [run for run in runs if run.protocol == "one-class"]
    return "\n\n".join([*parts, "alarms and contributions", table_of_trust(own)])


def main():
    """Measure set after set; print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", help="names, separated by commas; default: all")
    parser.add_argument("--rows", type=int, help="most rows of a set; default: all")
    parser.add_argument("--seeds", type=int, default=3, help="splits of each set")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    parser.add_argument("--octane", type=Path, help="file of spectra; measures these alone")
    arguments = parser.parse_args()
    if arguments.octane:
        print(spectra(arguments.octane, arguments.seeds))
        return
    folder = Path(os.environ.get("SKAE_DATA", ".")) / "adbench"
    paths = {path.stem.split("_", 1)[1]: path for path in sorted(folder.glob("*.npz"))}
    names = arguments.sets.split(",") if arguments.sets else [*paths]
    if not paths or not paths.keys() >= set(names):
        parser.error(f"SKAE_DATA/adbench has {', '.join(paths) or 'no tables'}.")
    warnings.simplefilter("ignore", ConvergenceWarning)
    runs = []
    for name in names:
        data = load(paths[name], arguments.rows)
        for protocol in PROTOCOLS:
            for seed in range(arguments.seeds):
                run = measure(name, data, protocol, seed)
                runs.append(run)
                auroc = {method: round(value, 3) for method, value in run.auroc.items()}
                print(name, protocol, seed, auroc, round(run.seconds, 1), flush=True)
        if arguments.json:
            content = json.dumps([asdict(run) for run in runs], indent=1)
            arguments.json.write_text(content + "\n", encoding="utf-8")
    print(summary(runs))


if __name__ == "__main__":
    main()
