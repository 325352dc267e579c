"""Findings of `diagnose`: each on data made for it, and none on well-behaved data."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_iris,
    load_wine,
    make_swiss_roll,
)
from torch import nn

from skae import AutoencoderTransformer


def autoencoder(n_components=2, **params):
    """An autoencoder that is fitted in a moment."""
    fast = {"hidden_layer_sizes": (16,), "max_epochs": 30, "random_state": 0}
    return AutoencoderTransformer(n_components, **(fast | params))


def names(findings):
    return [finding.name for finding in findings]


def shuffled(X, seed=0):
    return np.random.default_rng(seed).permutation(X)


class Twins(nn.Module):
    """A network whose two codes are the same number."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.layer, self.n = nn.Linear(n_features, 1), n_components
        self.back = nn.Linear(n_components, n_features)

    def encode(self, X):
        return self.layer(X).repeat(1, self.n)

    def decode(self, Z):
        return self.back(Z)


class Silent(Twins):
    """A network whose output hardly depends on its input."""

    def decode(self, Z):
        return 1e-4 * self.back(Z)


def walk():
    """Rows (400, 6) of a random walk, which are hardly independent."""
    rng = np.random.default_rng(0)
    return np.cumsum(rng.normal(size=(400, 6)), axis=0)


def noise(n=300, p=6):
    return np.random.default_rng(0).normal(size=(n, p))


def torus():
    """Rows (300, 8) of a surface that two angles describe."""
    u, v = np.random.default_rng(0).uniform(0, 6, (2, 300))
    ring = np.c_[np.cos(u), np.sin(u), np.cos(v), np.sin(v), np.cos(u + v)]
    return ring @ np.random.default_rng(1).normal(size=(5, 8))


# Name of the finding, words of its evidence, the data, and parameters.
CASES = [
    ("ended as PCA without training", "without an error", noise(), {"n_components": 6}),
    (
        "ended as PCA without training",
        "no hidden layers",
        noise(),
        {"hidden_layer_sizes": ()},
    ),
    ("ended as PCA without training", "10 rows too few", noise(10), {}),
    ("ended as PCA", "of that of PCA", noise(), {}),
    (
        "one column is the loss",
        "'x3'",
        noise() * np.array([1, 1, 1, 100, 1, 1]),
        {},
    ),
    ("rows repeat", "50% of the 300 rows", np.tile(noise(150), (2, 1)), {}),
    ("neighbouring rows depend on each other", "correlation of 0.", walk(), {}),
    (
        "codes that are alike",
        "codes 0 and 1",
        noise(),
        {"module": Twins, "init": "random", "max_epochs": 2},
    ),
    (
        "constant reconstruction",
        "0.0",
        noise(),
        {"module": Silent, "init": "random", "max_epochs": 1},
    ),
    (
        "dead codes",
        "1 of 3 codes do not vary: 2.",
        noise(p=2) @ np.random.default_rng(1).normal(size=(2, 6)),
        {"n_components": 3},
    ),
    (
        "cells at the ends of the range",
        "are 0 or 1",
        (0.5 + 0.4 * noise()).clip(0, 1),
        {"loss": "binary_cross_entropy"},
    ),
]


@pytest.mark.parametrize(("name", "evidence", "X", "params"), CASES)
def test_finding(name, evidence, X, params):
    findings = autoencoder(**params).fit(X).diagnose(X)
    assert name in names(findings)
    finding = findings[names(findings).index(name)]
    assert evidence in finding.evidence
    assert finding.remedy.endswith(".")


def test_memorised_rows(digits):
    """A network with room for all rows, and nothing that keeps it from learning them."""
    ae = autoencoder(16, hidden_layer_sizes=(256,), init="random", lr=3e-3)
    ae.set_params(weight_decay=0, max_epochs=60).fit(digits[0][:100], X_val=digits[0][300:])
    assert "rows were memorised" in names(ae.diagnose())


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_epochs_that_were_too_few(digits):
    ae = autoencoder(8, max_epochs=3, batch_size=16, hidden_layer_sizes=(64,))
    ae.fit(digits[0][:1100])
    (finding,) = ae.diagnose()
    assert finding.name == "ended while the error was falling"
    assert "max_epochs=3" in finding.evidence
    assert finding.remedy == "Set a larger max_epochs."


def test_rows_that_have_moved(curved):
    ae = autoencoder().fit(curved)
    assert "the rows have moved" not in names(ae.diagnose(curved))
    (finding,) = [f for f in ae.diagnose(curved + 9) if f.name == "the rows have moved"]
    assert "standard deviations from the mean" in finding.evidence


CLEAN = {
    "iris": lambda: load_iris().data,
    "wine": lambda: load_wine().data,
    "breast cancer": lambda: load_breast_cancer().data,
    "diabetes": lambda: load_diabetes().data,
    "swiss roll": lambda: make_swiss_roll(250, noise=0.3, random_state=0)[0],
    "torus": lambda: torus() + 0.05 * noise(300, 8),
    "curved": None,
    "digits": None,
    "parabola": lambda: np.c_[noise(300, 2), noise(300, 2) ** 2, noise(300, 3)],
    "waves": lambda: np.sin(noise(300, 2) @ np.linspace(0.2, 2, 16).reshape(2, 8)),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", CLEAN)
def test_nothing_is_found_on_good_data(name, digits, curved):
    given = {"curved": curved, "digits": digits[0][:1000]}
    X = shuffled(given[name] if name in given else CLEAN[name]())
    k = {"iris": 1, "digits": 8, "breast cancer": 8}.get(name, 2)
    is_pixels = name == "digits"
    ae = AutoencoderTransformer(k, standardize=not is_pixels, random_state=0).fit(X)
    assert ae.diagnose(X) == []


def test_findings_are_printed_and_are_records():
    X = noise()
    findings = autoencoder(hidden_layer_sizes=()).fit(X).diagnose()
    (record,) = findings.records()
    assert record["name"] == "ended as PCA without training"
    assert repr(findings).startswith("1. ended as PCA without training: The network has")
    assert "<li><b>ended as PCA without training</b>" in findings._repr_html_()
    assert repr(type(findings)()) == "Nothing was found."


def test_frames_sparse_rows_and_streams(curved):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(curved, columns=list("abcdef")) * [1, 1, 1e3, 1, 1, 1]
    ae = autoencoder().fit(frame)
    assert "'c'" in ae.diagnose(frame)[0].evidence
    table = sparse.csr_array(noise() * [1, 1, 1e3, 1, 1, 1])
    assert "one column is the loss" in names(autoencoder().fit(table).diagnose(table))
    stream = autoencoder(allow_nan=True).partial_fit(noise(300))
    assert "the rows have moved" in names(stream.diagnose(noise() + 5))
