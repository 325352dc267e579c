"""Whether two states of the code give the same bits: digests of many seeded fits.

    python examples/benchmarks/same_bits.py --json before.json
    python examples/benchmarks/same_bits.py --against before.json

The first line notes digests, the second compares with them, on the same machine and with
the same versions of the libraries. The fits are small and go through every loss, every
way that rows can be held (few, many, wide, sparse, streamed, missing) and every option that
takes a path of its own. Only public methods and attributes are used, so that the script
runs before and after the insides have been changed.

For each fit there is one digest (SHA-256) for each of: codes, reconstructions, row scores,
weights, curves and attributes. Where they differ the script ends with exit code 1 and says
in what. One thread is used: with more of them products of few rows are rounded otherwise.
"""

import argparse
import contextlib
import hashlib
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits
from torch import nn

from skae import AutoencoderTransformer
from skae.noise import GaussianNoise, MaskingNoise, SaltAndPepperNoise, SwapNoise
from skae.regularizers import Contractive, KLSparsity, L1Code, OrthogonalDecoder

ATTRIBUTES = [
    *("components_", "explained_variance_", "explained_variance_ratio_"),
    *("singular_values_", "noise_variance_", "mean_", "n_components_", "n_samples_"),
    *("n_iter_", "best_epoch_", "pca_score_"),
]


# -- tables ----------------------------------------------------------------------------


def curved(n, p, seed=0):
    """A bent surface with noise: X (n, p) of float64."""
    rng = np.random.default_rng(seed)
    Z = rng.uniform(-1, 1, (n, 2))
    bent = np.c_[Z, Z**2, Z[:, :1] * Z[:, 1:], np.sin(3 * Z[:, :1])]
    return bent @ rng.normal(size=(6, p)) + 0.05 * rng.normal(size=(n, p))


def counts(n, p, seed=0):
    """Counts (n, p) whose rates bend with one latent number."""
    rng = np.random.default_rng(seed)
    rates = np.exp(1 + np.sin(3 * rng.uniform(-1, 1, (n, 1)) + np.arange(p)))
    return rng.poisson(rates).astype(float)


def shares(n, p, seed=0):
    """Values in [0, 1]."""
    return 1 / (1 + np.exp(-2 * curved(n, p, seed)))


def gaps(X, seed=0):
    """X with one cell in ten missing."""
    X = X.copy()
    X[np.random.default_rng(seed).random(X.shape) < 0.1] = np.nan
    return X


def scattered(n, p, seed=0):
    """A sparse table (n, p), one cell in fifty filled, in CSR format."""
    rng = np.random.default_rng(seed)
    table = sparse.random(n, p, density=0.02, format="csr", random_state=rng)
    table.data += rng.integers(0, 3, len(table.data))
    return table


class Lazy:
    """A table that gives its rows when asked, as one of h5py does."""

    def __init__(self, X):
        self.X, self.shape, self.dtype = X, X.shape, X.dtype

    def __getitem__(self, rows):
        return self.X[rows]

    def __len__(self):
        return len(self.X)


def mapped(folder, n, p, dtype, seed=0):
    """A memory map of whole numbers (n, p) in a file of the folder."""
    rng = np.random.default_rng(seed)
    X = np.memmap(Path(folder) / f"{n}-{p}", mode="w+", shape=(n, p), dtype=dtype)
    for start in range(0, n, 8192):
        part = rng.integers(0, 100, (min(8192, n - start), 1))
        X[start : start + 8192] = part + rng.integers(0, 40, (len(part), p))
    return X


class Own(nn.Module):
    """A network of a user's own, which draws from torch's global generator."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(n_features, 16), nn.Tanh(), nn.Dropout(0.1))
        self.code, self.decoder = nn.Linear(16, n_components), nn.Linear(n_components, 16)
        self.output = nn.Linear(16, n_features)

    def encode(self, X):
        return self.code(self.encoder(X))

    def decode(self, Z):
        return self.output(torch.tanh(self.decoder(Z)))


# -- fits ------------------------------------------------------------------------------


def to_the_power(X_hat, X):
    """A user's loss."""
    return torch.abs(X_hat - X).pow(1.5).sum(-1)


def fits(folder):
    """Of each fit: name, parameters, table, and what else the method is given.

    "then" is one of the methods of `once`, `in_chunks`, `again`, `cut_short` below.
    """
    few, many, wide = curved(150, 8), curved(1500, 8), curved(40, 120)
    noisy = few + 0.3 * np.random.default_rng(1).normal(size=few.shape)
    weights = np.random.default_rng(2).uniform(0.5, 2, len(many))
    columns = {"squared_error": [0, 1, 2], "poisson": [3, 4]}
    mixed = np.c_[curved(300, 3), counts(300, 2)]
    sets = [
        ("cross-fitted", {}, few, {}),
        ("tiny", {}, few[:15], {}),
        ("thirty rows", {}, few[:30], {}),
        ("one held-out part", {}, many, {}),
        ("wide", {"n_components": 4}, wide, {}),
        ("wide, more rows", {}, curved(120, 150), {}),
        ("float32", {}, many.astype(np.float32), {}),
        ("large units", {}, 1e6 + 1e3 * many, {}),
        ("absolute_error", {"loss": "absolute_error"}, few, {}),
        ("huber", {"loss": "huber"}, many, {}),
        ("binary_cross_entropy", {"loss": "binary_cross_entropy"}, shares(200, 6), {}),
        ("poisson", {"loss": "poisson"}, counts(200, 6), {}),
        ("negative_binomial", {"loss": "negative_binomial"}, counts(1200, 6), {}),
        ("cosine", {"loss": "cosine"}, few, {}),
        ("loss of a user", {"loss": to_the_power}, few, {}),
        ("loss for some columns each", {"loss": columns}, mixed, {}),
        ("ordered", {"ordered": True, "n_components": 4}, few, {"then": cut_short}),
        ("ordered, many rows", {"ordered": True, "n_components": 3}, many, {}),
        ("whiten", {"whiten": True}, few, {}),
        ("standardize", {"standardize": True}, many * np.arange(1, 9), {}),
        ("gaps", {"allow_nan": True}, gaps(few), {}),
        ("gaps, many rows", {"allow_nan": True, "whiten": True}, gaps(many), {}),
        (
            "gaps and counts",
            {"allow_nan": True, "loss": "poisson"},
            gaps(counts(150, 6)),
            {},
        ),
        ("dropout", {"dropout": 0.2}, many, {}),
        ("noise", {"noise": GaussianNoise(0.2)}, few, {}),
        ("masking noise", {"noise": MaskingNoise(0.2)}, many, {}),
        ("swap noise", {"noise": SwapNoise(0.2)}, many, {}),
        ("salt and pepper", {"noise": SaltAndPepperNoise(0.1)}, few, {}),
        ("contractive", {"regularizer": Contractive(0.01)}, few, {}),
        (
            "two penalties",
            {"regularizer": [L1Code(0.01), OrthogonalDecoder(0.01)], "init": "random"},
            *(many, {}),
        ),
        (
            "sparse codes",
            {
                "regularizer": KLSparsity(0.01),
                "code_activation": "logistic",
                "init": "random",
            },
            *(many, {}),
        ),
        ("layer norm", {"normalization": "layer"}, few, {}),
        ("batch norm", {"normalization": "batch"}, many, {}),
        ("tied", {"tied_weights": True, "init": "random"}, many, {}),
        ("random", {"init": "random"}, few, {}),
        ("linear", {"hidden_layer_sizes": ()}, few, {}),
        ("two layers", {"hidden_layer_sizes": (16, 8), "activation": "relu"}, many, {}),
        ("no early stopping", {"early_stopping": False}, few, {}),
        ("small batches", {"batch_size": 7}, few, {}),
        ("bfloat16", {"precision": "bfloat16"}, many, {}),
        ("share of the variance", {"n_components": 0.9}, few, {}),
        ("module of a user", {"module": Own, "init": "random"}, many, {}),
        ("X_val", {}, few, {"X_val": curved(60, 8, seed=5)}),
        ("X_target", {}, noisy, {"X_target": few}),
        ("weights", {}, many, {"sample_weight": weights}),
        ("whole weights", {}, few, {"sample_weight": np.arange(150) % 3}),
        ("partial_fit", {}, many, {"then": in_chunks}),
        ("partial_fit with gaps", {"allow_nan": True}, gaps(many), {"then": in_chunks}),
        ("warm_start", {"warm_start": True}, many, {"then": again}),
        ("sparse", {}, scattered(300, 40), {}),
        ("sparse, streamed", {"max_epochs": 2}, scattered(2400, 900), {}),
        ("lazy, streamed", {"max_epochs": 2}, Lazy(curved(4300, 500)), {}),
        ("memmap", {}, mapped(folder, 1200, 10, np.float32), {}),
        (
            "memmap, streamed",
            {"max_epochs": 1, "batch_size": 1024, "hidden_layer_sizes": (8,)},
            *(mapped(folder, 140_000, 480, np.uint8), {}),
        ),
    ]
    for name, params, X, rest in sets:
        yield (
            name,
            {"n_components": 2, "max_epochs": 6, "random_state": 0} | params,
            X,
            rest,
        )


def once(ae, X, **rest):
    """A fit."""
    return ae.fit(X, **rest)


def in_chunks(ae, X):
    """A stream, a chunk at a time, three times over."""
    for _ in range(3):
        for part in np.array_split(X, 4):
            ae.partial_fit(part)
    return ae


def again(ae, X):
    """A fit, and another that goes on."""
    return ae.fit(X).fit(X)


def cut_short(ae, X):
    """A fit, of whose ordered codes the last is then dropped."""
    return ae.fit(X).truncate(ae.n_components - 1)


# -- digests ---------------------------------------------------------------------------


def digest(*values):
    """Sixteen hexadecimal digits of the SHA-256 of arrays, their types and shapes."""
    sha256 = hashlib.sha256()
    for value in values:
        array = np.ascontiguousarray(value)
        sha256.update(f"{array.dtype.str} {array.shape} ".encode() + array.tobytes())
    return sha256.hexdigest()[:16]


def rows_to_ask(X):
    """The first 200 rows of X, as an array or a sparse matrix."""
    rows = X[:200]
    return rows if sparse.issparse(rows) else np.array(rows)


def digests(ae, X):
    """Digest of each part of a fitted estimator."""
    rows = rows_to_ask(X)
    Z = ae.transform(rows)
    weights = ae.net_.module_.state_dict()
    return {
        "codes": digest(Z),
        "reconstructions": digest(ae.inverse_transform(Z)),
        "row scores": digest(ae.score_samples(rows)),
        "weights": digest(*(weights[name].cpu().numpy() for name in sorted(weights))),
        "curves": digest(ae.loss_curve_, ae.validation_curve_),
        "attributes": digest(*(getattr(ae, name) for name in ATTRIBUTES)),
    }


def run(device, only):
    """Name and digests of every fit, printed as they come."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, params, X, rest in fits(folder):
            if only and only not in name:
                continue
            method = rest.pop("then", once)
            start = time.perf_counter()
            ae = method(AutoencoderTransformer(**params, device=device), X, **rest)
            seconds = time.perf_counter() - start
            found[name] = digests(ae, X)
            of_all = digest(*(found[name][part].encode() for part in found[name]))
            print(
                f"{name:28s}{of_all}  epoch {ae.best_epoch_:2d} of {ae.n_iter_:2d}"
                f"  {seconds:5.1f} s",
                flush=True,
            )
    return found


def compare(found, before):
    """Print what differs; the number of fits that do."""
    differing = {}
    for name, parts in found.items():
        if name not in before:
            print(f"new: {name}")
            continue
        differs = [part for part in parts if parts[part] != before[name].get(part)]
        if differs:
            differing[name] = differs
            print(f"differs: {name}: {', '.join(differs)}")
    print(f"{len(found) - len(differing)} of {len(found)} fits gave the same bits")
    return len(differing)


def main():
    """Run, print, write and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="writes the digests")
    parser.add_argument("--against", help="compares with digests written earlier")
    parser.add_argument("--only", default="", help="fits whose name has this text")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with contextlib.ExitStack() as stack:
        stack.enter_context(threadpool_limits(1))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = run(args.device, args.only)
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1))
    if args.against:
        before = json.loads(Path(args.against).read_text())
        sys.exit(min(1, compare(found, before)))


if __name__ == "__main__":
    main()
