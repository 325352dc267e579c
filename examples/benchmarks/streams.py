"""Streams of chunks: `partial_fit` against IncrementalPCA that gets the same chunks.

The error is that of rows that neither has seen, drawn as all rows of the stream were. A
flip is a chunk after which the outcome is PCA and was a network before, or the other way
round. Seconds are of the processor, on one thread where OMP_NUM_THREADS=1 is set.

    SKAE_DATA=path/to/data python examples/benchmarks/streams.py --json streams.json
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from reconstruction import available, held_out_error, n_components
from sklearn.datasets import load_digits
from sklearn.decomposition import IncrementalPCA

from skae import AutoencoderTransformer

N_UNSEEN = 3000  # rows of a made stream that models are judged by
N_FEATURES = 12
SETS = "digits", "letter", "pendigits"
CHUNKS = 10, 64, 500


@dataclass
class Stream:
    """Rows in their order, the sizes of chunks, and rows that are not in it."""

    X: np.ndarray
    chunk: int
    unseen: np.ndarray
    k: int
    last: int = 0  # rows of the last chunk; 0 is what is left

    def chunks(self):
        """The first has at least k rows, which is the least for IncrementalPCA."""
        ends = [max(self.chunk, self.k)]
        while ends[-1] < len(self.X) - self.last:
            ends.append(min(ends[-1] + self.chunk, len(self.X) - self.last))
        return np.split(self.X, ends[: -1 if not self.last else None])


@dataclass
class Outcome:
    """Of one stream."""

    name: str
    seed: int
    ratio: float
    flips: int
    rounds: int
    seconds: float
    pca_seconds: float


def curved(n, seed, shift=0.0, spread=1.0):
    """Rows on a bent surface of two dimensions, around `shift` (n,) along the first."""
    rng = np.random.default_rng(seed)
    Z = rng.uniform(-1, 1, (n, 2))
    Z[:, 0] = spread * Z[:, 0] + shift
    bent = np.c_[Z, Z**2, Z[:, :1] * Z[:, 1:], np.sin(3 * Z)]
    turn = np.random.default_rng(99).normal(size=(bent.shape[1], N_FEATURES))
    return bent @ turn + 0.1 * rng.normal(size=(n, N_FEATURES))


def flat(n, seed):
    """Gaussian rows for which no model with two codes is better than PCA."""
    rng = np.random.default_rng(seed)
    axes = np.random.default_rng(99).normal(size=(2, N_FEATURES))
    return rng.normal(size=(n, 2)) * (2, 1) @ axes + 0.3 * rng.normal(size=(n, N_FEATURES))


def drifting(n, seed):
    """Rows of which the place on the surface moves with time."""
    return curved(n, seed, shift=np.linspace(-1, 1, n), spread=0.3)


def made(seed):
    """Streams of made rows."""
    X, unseen = curved(3000, seed), curved(N_UNSEEN, seed + 1000)
    by_place = np.argsort(X @ np.random.default_rng(5).normal(size=N_FEATURES))
    drift, of_drift = drifting(3000, seed), drifting(N_UNSEEN, seed + 1000)
    long = curved(40_000, seed)
    linear = flat(3000 + N_UNSEEN, seed)
    noise = np.random.default_rng(seed).normal(size=(3000 + N_UNSEEN, N_FEATURES))
    return {
        "curved, 400, last 5": Stream(X, 400, unseen, 2, last=5),
        "curved, 10": Stream(X, 10, unseen, 2),
        "curved, sorted, 100": Stream(X[by_place], 100, unseen, 2),
        "drift, 100": Stream(drift, 100, of_drift, 2),
        "linear, 10": Stream(linear[:3000], 10, linear[3000:], 2),
        "linear, 64": Stream(linear[:3000], 64, linear[3000:], 2),
        "noise, 64": Stream(noise[:3000], 64, noise[3000:], 2),
        "curved, 40 000 rows, 64": Stream(long, 64, unseen, 2),
    }


def real(seed):
    """Streams of the rows of sets, a quarter of which is not in the stream."""
    streams = {}
    for name in SETS:
        task = available().get(name)
        if task is None:
            continue
        X = task.load()
        order = np.random.default_rng(seed).permutation(len(X))
        n_unseen = len(X) // 4
        unseen, X = X[order[:n_unseen]], X[order[n_unseen:]]
        mean, spread = X.mean(axis=0), X.std(axis=0)
        spread = np.where(spread == 0, 1.0, spread) if task.kind == "table" else 1.0
        X, unseen = (X - mean) / spread, (unseen - mean) / spread
        k = n_components(task.kind, X.shape[1])
        for chunk in CHUNKS:
            streams[f"{name}, {chunk}"] = Stream(X, chunk, unseen, k)
        if name == "digits":
            y = load_digits().target[order[n_unseen:]]
            by_class = X[np.argsort(y, kind="stable")]
            streams["digits, sorted, 64"] = Stream(by_class, 64, unseen, k)
    return streams


def outcome(name, stream, seed):
    """Both models on one stream."""
    ae = AutoencoderTransformer(stream.k, random_state=seed)
    pca, kept, flips = IncrementalPCA(stream.k), None, 0
    seconds = pca_seconds = 0.0
    for chunk in stream.chunks():
        begin = time.process_time()
        ae.partial_fit(chunk)
        middle = time.process_time()
        pca.partial_fit(chunk)
        seconds += middle - begin
        pca_seconds += time.process_time() - middle
        is_network = ae.best_epoch_ > 0
        flips += kept is not None and is_network != kept
        kept = is_network
    ratio = held_out_error(ae, stream.unseen) / held_out_error(pca, stream.unseen)
    return Outcome(name, seed, ratio, flips, ae.n_iter_, seconds, pca_seconds)


def table(outcomes):
    """Lines of Markdown, one for each kind of stream."""
    yield "| stream | streams | median ratio | worst | flips | seconds | PCA seconds |"
    yield "|---|---|---|---|---|---|---|"
    for name in dict.fromkeys(o.name for o in outcomes):
        some = [o for o in outcomes if o.name == name]
        ratios = [o.ratio for o in some]
        means = (np.mean([getattr(o, n) for o in some]) for n in ("flips", "seconds"))
        flips, seconds = means
        pca = np.mean([o.pca_seconds for o in some])
        yield (
            f"| {name} | {len(some)} | {np.median(ratios):.3f} | {max(ratios):.3f} | "
            f"{flips:.1f} | {seconds:.1f} | {pca:.1f} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="of the first made stream")
    parser.add_argument("--few", type=int, default=3, help="seeds of all others")
    parser.add_argument("--only", default="", help="a part of the names of streams")
    parser.add_argument("--json", type=Path, help="write the results there")
    arguments = parser.parse_args()
    outcomes = []
    for seed in range(arguments.seeds):
        for name, stream in (made(seed) | real(seed)).items():
            is_first = name.startswith("curved, 400")
            if arguments.only not in name or not (is_first or seed < arguments.few):
                continue
            outcomes.append(outcome(name, stream, seed))
            print(outcomes[-1], flush=True)
            if arguments.json:
                rows = [asdict(o) for o in outcomes]
                arguments.json.write_text(json.dumps(rows, indent=1))
    print(*table(sorted(outcomes, key=lambda o: o.seed)), sep="\n")


if __name__ == "__main__":
    main()
