"""Threads of the test processes, and what several test files share."""

import gc
import multiprocessing
import os

import numpy as np
import pytest
from sklearn.datasets import load_digits


def pytest_configure(config):
    """Where tests run side by side, a process with threads for every core delays others."""
    if getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # for workers, which start later


def pytest_collection_finish():
    """What is imported by now stays: the garbage collector need not look at it again."""
    gc.freeze()


@pytest.fixture(scope="session")
def digits():
    """Bundled digits, pixels in [0, 1]: X (1797, 64), y (1797,)."""
    X, y = load_digits(return_X_y=True)
    X = X / 16
    X.flags.writeable = False
    return X, y


@pytest.fixture(scope="session")
def curved():
    """A bent surface (200, 6) that two linear components cannot hold."""
    rng = np.random.default_rng(0)
    Z = rng.uniform(-1, 1, (200, 2))
    bent = np.c_[Z, Z**2, Z[:, :1] * Z[:, 1:], np.sin(3 * Z[:, :1])]
    X = bent @ rng.normal(size=(6, 6)) + 0.02 * rng.normal(size=(200, 6))
    X.flags.writeable = False
    return X


@pytest.fixture(scope="session")
def mixed_frame():
    """A frame (300, 5): two numbers, two columns of categories, and one of booleans."""
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(300, 2))
    colors = np.array(["red", "green", "blue"])[(Z[:, 0] > 0) + 1 * (Z[:, 1] > 0.5)]
    sizes = np.array(["S", "M", "L"])[np.digitize(Z[:, 1], [-0.5, 0.5])]
    columns = {
        "age": 50 + 10 * Z[:, 0] + rng.normal(size=300),
        "color": pd.Categorical(colors),
        "income": 1e4 + 3e3 * Z[:, 1],
        "old": Z[:, 0] + 0.3 * rng.normal(size=300) > 0,
        "size": pd.Categorical(sizes, categories=["S", "M", "L", "XL"], ordered=True),
    }
    return pd.DataFrame(columns)


@pytest.fixture(scope="session")
def gapped_frame(mixed_frame):
    """The same with missing cells in each column."""
    frame = mixed_frame.astype({"old": "boolean"})
    for j, name in enumerate(frame):
        frame.loc[frame.index[j :: 4 + j], name] = None
    return frame


@pytest.fixture(scope="session")
def processes():
    """Processes that begin with skae and torch imported, and without threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["skae.persistence"])
    return context


# -- models that are answered without torch --------------------------------------------

MIXED = {
    "squared_error": [0],
    "huber": [1],
    "binary_cross_entropy": [2],
    "cross_entropy": [[3, 4, 5]],
}
# Name, kind of table, and parameters; every part of a model that a file can hold.
SERVED = {
    "default": ("plain", {}),
    "stopped": ("plain", {"early_stopping": True}),
    "identity": ("plain", {"activation": "identity"}),
    "relu": ("plain", {"activation": "relu"}),
    "silu": ("plain", {"activation": "silu"}),
    "elu": ("plain", {"activation": "elu"}),
    "tanh": ("plain", {"activation": "tanh"}),
    "logistic": ("plain", {"activation": "logistic"}),
    "code": ("plain", {"init": "random", "code_activation": "gelu"}),
    "tied": ("plain", {"init": "random", "tied_weights": True}),
    "linear": ("plain", {"hidden_layer_sizes": ()}),
    "ordered": ("plain", {"ordered": True, "whiten": True}),
    "standardize": ("plain", {"standardize": True, "normalization": "layer"}),
    "batch": ("plain", {"normalization": "batch", "dropout": 0.1}),
    "far": ("far", {}),
    "absolute_error": ("plain", {"loss": "absolute_error"}),
    "huber": ("plain", {"loss": "huber", "standardize": True}),
    "clip": ("plain", {"clip": True}),
    "mixed ends": ("mixed", {"loss": MIXED, "clip": True}),
    "cosine": ("plain", {"loss": "cosine"}),
    "binary_cross_entropy": ("shares", {"loss": "binary_cross_entropy"}),
    "poisson": ("counts", {"loss": "poisson"}),
    "negative_binomial": ("counts", {"loss": "negative_binomial"}),
    "mixed": ("mixed", {"loss": MIXED}),
    "incomplete": ("incomplete", {"allow_nan": True}),
    "incomplete mixed": ("incomplete mixed", {"loss": MIXED, "allow_nan": True}),
    "incomplete counts": ("incomplete counts", {"loss": "poisson", "allow_nan": True}),
    "incomplete whitened": (
        "incomplete",
        {"allow_nan": True, "standardize": True, "whiten": True, "loss": "huber"},
    ),
    "complete": ("plain", {"allow_nan": True}),
    "images": ("images", {"sample_shape": (1, 5, 6)}),
    "signals": (
        "images",
        {"sample_shape": (2, 15), "normalization": "batch", "dropout": 0.1},
    ),
    "ordered images": (
        "incomplete images",
        {
            "sample_shape": (2, 3, 5),
            "normalization": "layer",
            "ordered": True,
            "allow_nan": True,
        },
    ),
    "random images": ("images", {"sample_shape": (1, 5, 6), "init": "random"}),
    "variational": ("plain", {}),
    "variational spherical": (
        "constant",
        {"covariance_type": "spherical", "standardize": True},
    ),
    "variational constant": ("constant", {"prior": "mixture"}),
    "variational zeros and ones": ("zeros and ones", {"loss": "binary_cross_entropy"}),
    "variational images": (
        "images",
        {"sample_shape": (2, 3, 5), "normalization": "batch"},
    ),
    "variational counts": ("counts", {"loss": "negative_binomial", "prior": "mixture"}),
}


@pytest.fixture(scope="session")
def served_tables(curved):
    """Tables of each kind, by name."""
    rng = np.random.default_rng(0)
    X = curved[:80]
    shares = (X - X.min(axis=0)) / np.ptp(X, axis=0)
    one_hot = np.eye(3)[rng.integers(0, 3, len(X))]
    images = rng.normal(size=(80, 4)) @ rng.normal(size=(4, 30)) + 0.1

    def with_gaps(table):
        return np.where(rng.random(table.shape) < 0.1, np.nan, table)

    mixed, counts = np.c_[X[:, :2], shares[:, 2], one_hot], np.round(20 * shares)
    incomplete_mixed = with_gaps(mixed)
    incomplete_mixed[:, 3:] = np.where(np.isnan(incomplete_mixed[:, 3:4]), np.nan, one_hot)
    return {
        "plain": X * [1, 10, 1, 1, 3, 1],
        "far": X + 1e4,
        "shares": shares,
        "counts": counts,
        "zeros and ones": (X > 0).astype(float),
        "constant": np.c_[X, np.full(len(X), 3.0)],
        "mixed": mixed,
        "incomplete mixed": incomplete_mixed,
        "incomplete counts": with_gaps(counts),
        "incomplete": with_gaps(X),
        "images": images,
        "incomplete images": with_gaps(images),
    }


@pytest.fixture(scope="session", params=SERVED)
def served(request, served_tables):
    """A fitted estimator and its table, for every part of a model that a file can hold."""
    from skae import AutoencoderTransformer, VariationalAutoencoder

    kind, params = SERVED[request.param]
    Estimator = AutoencoderTransformer
    if request.param.startswith("variational"):
        Estimator = VariationalAutoencoder
    short = {"early_stopping": False, "hidden_layer_sizes": (8, 5), "max_epochs": 2}
    ae = Estimator(2, **short | params, random_state=0)
    return ae.fit(served_tables[kind]), served_tables[kind]


# Name, kind of table, and parameters of the autoencoder, or None for the default.
DETECTORS = {
    "default": ("plain", None),
    "incomplete": ("incomplete", {"allow_nan": True, "n_components": 2}),
    "standardized": ("plain", {"n_components": 3, "standardize": True}),
    "few": ("few", {"n_components": 1}),
    "variational": ("plain", {"n_components": 2, "covariance_type": "spherical"}),
}


@pytest.fixture(scope="session", params=DETECTORS)
def served_detector(request, served_tables):
    """A fitted detector, its table, and rows that are unlike these."""
    from skae import (
        AutoencoderOutlierDetector,
        AutoencoderTransformer,
        VariationalAutoencoder,
    )

    kind, params = DETECTORS[request.param]
    ae, short = None, {"hidden_layer_sizes": (8, 5), "max_epochs": 2}
    if params is not None:
        is_density = request.param == "variational"
        Estimator = VariationalAutoencoder if is_density else AutoencoderTransformer
        ae = Estimator(**short | params)
    X = served_tables["plain"][:12] if kind == "few" else served_tables[kind]
    centre = np.nanmean(X, axis=0)
    others = centre + 3 * (X[::-1] - centre)
    return AutoencoderOutlierDetector(ae, random_state=0).fit(X), X, others


IMPUTERS = {
    "default": {},
    "marked": {"add_indicator": True},
    "kept": {"keep_empty_features": True, "add_indicator": True},
    "number": {"missing_values": -99, "keep_empty_features": True},
}


@pytest.fixture(scope="session", params=IMPUTERS)
def served_imputer(request, served_tables):
    """A fitted imputer and its table, one column of which is empty."""
    from skae import AutoencoderImputer, AutoencoderTransformer

    params = IMPUTERS[request.param]
    X = np.insert(served_tables["incomplete"], 2, np.nan, axis=1)
    X[np.isnan(X)] = params.get("missing_values", np.nan)
    ae = AutoencoderTransformer(2, hidden_layer_sizes=(8, 5), max_epochs=2)
    return AutoencoderImputer(ae, random_state=0, **params).fit(X), X
