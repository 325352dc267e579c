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
def processes():
    """Processes that begin with skae and torch imported, and without threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["skae.persistence"])
    return context
