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

    return {
        "plain": X * [1, 10, 1, 1, 3, 1],
        "far": X + 1e4,
        "shares": shares,
        "counts": np.round(20 * shares),
        "mixed": np.c_[X[:, :2], shares[:, 2], one_hot],
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
