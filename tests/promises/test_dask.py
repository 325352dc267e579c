"""Fits to dask arrays and frames: each block once an epoch, and as good as in memory."""

import collections
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.decomposition import PCA

import skae._engine.block_rows
import skae._tables.rows
from skae import (
    AutoencoderOutlierDetector,
    AutoencoderTransformer,
    VariationalAutoencoder,
)

da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")

ROOT = Path(skae.__file__).parents[1]
MORE = 5  # computations of a block beyond one for each epoch
SECONDS = 180  # a cluster should take less than 20 where nothing else runs


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch):
    """Tables of more than 1000 rows are read in blocks, and mixed a few at a time."""
    monkeypatch.setattr(skae._tables.rows, "SMALL", 100)
    monkeypatch.setattr(skae._engine.block_rows, "WINDOW", 2**12)


@pytest.fixture(scope="module")
def rows():
    """Rows (2400, 8) on a bent surface, and others."""
    rng = np.random.default_rng(0)
    Z = rng.uniform(-1, 1, (3600, 2))
    X = np.c_[Z, Z**2, np.sin(3 * Z)] @ rng.normal(size=(6, 8)) + 2
    X += 0.6 * rng.normal(size=X.shape)
    return X[:2400], X[2400:]


@pytest.fixture
def counts():
    return collections.Counter()


@pytest.fixture
def blocks(counts):
    """Makes a dask array of an array; `counts` has the computations of its blocks."""

    def make(X, n_rows=500):
        def counted(rows, block_info=None):
            if block_info is not None:
                counts[block_info[0]["chunk-location"][0]] += 1
            return rows

        table = da.from_array(X, chunks=(n_rows, X.shape[1]))
        return table.map_blocks(counted, dtype=X.dtype, meta=np.empty((0, 0), X.dtype))

    return make


def autoencoder(**params):
    small = {"n_components": 2, "hidden_layer_sizes": (16, 8), "random_state": 0}
    return AutoencoderTransformer(**small | params)


def counted_from_zero(X):
    return np.round(10 * (X - X.min(axis=0)) / np.ptp(X, axis=0))


# Parameters of a fit that begins by reading rows for itself.
READERS = [
    {},
    {"standardize": True},
    {"early_stopping": False},
    {"noise": 0.1},
    {"ordered": True},
    {"loss": "poisson", "exposure": None},
    {"allow_nan": True},
    {"init": "random"},
    {"hidden_layer_sizes": ()},
]


@pytest.mark.parametrize("params", READERS, ids=str)
def test_every_block_once_an_epoch(rows, blocks, counts, params):
    X = counted_from_zero(rows[0])
    ae = autoencoder(max_epochs=3, **params).fit(blocks(X))
    assert set(counts) == set(range(5))
    assert max(counts.values()) <= ae.n_iter_ + MORE
    assert ae.n_samples_ == 2400
    np.testing.assert_allclose(ae.mean_, X.mean(axis=0), rtol=1e-12)


def test_unknown_numbers_of_rows(rows, blocks, counts):
    X, table = rows[0], blocks(rows[0])
    table = table[table[:, 0] > 1]
    ae = autoencoder(max_epochs=3, loss="huber").fit(table)
    assert max(counts.values()) <= ae.n_iter_ + MORE
    assert ae.n_samples_ == (X[:, 0] > 1).sum()


@pytest.mark.parametrize("is_sorted", [False, True])
@pytest.mark.parametrize(
    "params", [{}, {"standardize": True}, {"hidden_layer_sizes": ()}], ids=str
)
def test_as_good_as_in_memory(monkeypatch, rows, blocks, params, is_sorted):
    """Also if the rows are sorted, so that blocks are unlike each other."""
    X, X_test = rows
    if is_sorted:
        X = X[np.argsort(X[:, 0])]
        monkeypatch.setattr(skae._engine.block_rows, "WINDOW", 2**14)
    params = {"max_epochs": 40, "hidden_layer_sizes": (32, 16)} | params
    ae, other = autoencoder(**params).fit(blocks(X)), autoencoder(**params).fit(X)
    assert ae.outcome_ == other.outcome_
    assert ae.score(X_test) / other.score(X_test) <= 1.02
    if ae.outcome_ == "pca":
        pca = PCA(2).fit(X)
        np.testing.assert_allclose(ae.transform(X), pca.transform(X), atol=1e-4)


def test_a_table_of_one_window_gives_the_fit_in_memory(monkeypatch, rows, blocks):
    monkeypatch.setattr(skae._engine.block_rows, "WINDOW", 2**20)
    X, X_test = rows
    ae, other = (autoencoder(max_epochs=4).fit(table) for table in (blocks(X), X))
    np.testing.assert_allclose(ae.validation_curve_, other.validation_curve_, rtol=1e-4)
    np.testing.assert_allclose(ae.transform(X_test), other.transform(X_test), atol=1e-2)


def test_density(rows, blocks):
    X, X_test = rows
    params = {
        "n_components": 2,
        "random_state": 0,
        "max_epochs": 8,
        "hidden_layer_sizes": (16,),
    }
    models = (VariationalAutoencoder(**params).fit(table) for table in (blocks(X), X))
    mine, theirs = (model.score(X_test) for model in models)
    assert mine >= theirs - 0.05


def test_weights_and_groups(rows, blocks):
    X, rng = rows[0], np.random.default_rng(0)
    w, groups = rng.uniform(0.5, 2, len(X)), np.repeat(np.arange(800), 3)
    ae = autoencoder(max_epochs=20)
    ae.fit(blocks(X), sample_weight=da.from_array(w, chunks=99), groups=groups)
    np.testing.assert_allclose(ae.mean_, np.average(X, axis=0, weights=w), rtol=1e-12)
    assert ae.outcome_ == "trained"


def test_sparse_blocks(counts):
    rng = np.random.default_rng(0)
    X = np.where(rng.random((2000, 30)) < 0.1, rng.random((2000, 30)), 0.0)
    table = da.from_array(X, chunks=(300, 30)).map_blocks(sparse.csr_matrix)
    params = {"n_components": 3, "max_epochs": 3, "early_stopping": False}
    ae, other = (autoencoder(**params).fit(t) for t in (table, sparse.csr_matrix(X)))
    np.testing.assert_allclose(ae.mean_, X.mean(axis=0), atol=1e-15)
    assert ae.score(X) / other.score(X) <= 1.02


def test_frames_keep_their_names(rows):
    frame = pd.DataFrame(rows[0], columns=[*"abcdefgh"])
    frame = frame.astype({"a": "float32", "b": int})
    ae = autoencoder(max_epochs=2).fit(dd.from_pandas(frame, npartitions=4))
    assert ae.feature_names_in_.tolist() == [*"abcdefgh"]
    assert ae.transform(frame[:5]).shape == (5, 2)
    few = dd.from_pandas(frame[:500], npartitions=2)
    few, same = (
        autoencoder(max_epochs=2).fit(few),
        autoencoder(max_epochs=2).fit(frame[:500]),
    )
    assert few.feature_names_in_.tolist() == [*"abcdefgh"]
    np.testing.assert_array_equal(few.transform(frame), same.transform(frame))


def test_same_bits_and_checkpoints(rows, blocks, tmp_path):
    params = {"max_epochs": 3}
    ae = autoencoder(**params).fit(blocks(rows[0]))
    path = tmp_path / "fit.ckpt"
    again = autoencoder(**params, checkpoint=path).fit(blocks(rows[0]))
    np.testing.assert_array_equal(again.transform(rows[1]), ae.transform(rows[1]))
    again.fit(blocks(rows[0]))  # goes on from its end
    np.testing.assert_array_equal(again.transform(rows[1]), ae.transform(rows[1]))


def test_warm_start_and_streams(rows, blocks):
    X, X_test = rows
    ae = autoencoder(max_epochs=5, warm_start=True).fit(blocks(X))
    before = ae.score(X_test)
    assert ae.fit(blocks(X)).score(X_test) >= before - 1e-3
    stream = autoencoder().partial_fit(blocks(X))
    assert stream.n_samples_seen_ == len(X)


def test_bad_values_are_named_as_in_memory(rows, blocks):
    X = rows[0].copy()
    for value, allow_nan, message in [
        (np.nan, False, "Input X contains NaN.*Set allow_nan=True"),
        (np.nan, True, "only in tables that are held in memory"),
        (np.inf, False, "Input X contains infinity"),
    ]:
        X[2000, 3] = value
        with pytest.raises(ValueError, match=f"(?s){message}"):
            autoencoder(allow_nan=allow_nan).fit(blocks(X))
    with pytest.raises(ValueError, match=r"takes values in \[0, 1\], but feature 0 of X"):
        autoencoder(loss="binary_cross_entropy").fit(blocks(rows[0]))


def test_what_would_take_several_passes_an_epoch_is_refused(rows, blocks, counts):
    for params, message in [
        ({"cv": 5}, "cv of AutoencoderTransformer trains several networks"),
        ({"n_components": 0.9}, "n_components=0.9 of AutoencoderTransformer needs several"),
    ]:
        with pytest.raises(ValueError, match=message):
            autoencoder(**params).fit(blocks(rows[0]))
    detector = AutoencoderOutlierDetector()
    with pytest.raises(ValueError, match="OutlierDetector needs more passes over the rows"):
        detector.fit(blocks(rows[0]))
    assert not counts


def test_a_block_that_fails_leaves_the_estimator_as_it_was(rows, blocks, counts):
    def failing(rows):
        if counts[2] > 3:
            raise OSError("the disk is gone")
        return rows

    ae = autoencoder(max_epochs=3).fit(rows[0])
    expected = ae.transform(rows[1])
    table = blocks(rows[0]).map_blocks(failing, dtype=float, meta=np.empty((0, 0)))
    with pytest.raises(OSError, match="the disk is gone"):
        ae.fit(table)
    np.testing.assert_array_equal(ae.transform(rows[1]), expected)


CLUSTER = """
import sys, warnings
import dask.array as da, joblib, numpy as np
from distributed import Client, LocalCluster
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
import skae._tables.rows
from skae import AutoencoderTransformer

def search():
    ae = AutoencoderTransformer(random_state=0, max_epochs=2)
    grid = {"n_components": [2, 4], "lr": [1e-3, 1e-2]}
    return GridSearchCV(ae, grid, cv=2, refit=False)

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    X = load_digits().data[:300]
    kinds = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    kinds["processes"] = sys.argv[1] == "processes"
    with LocalCluster(**kinds) as cluster, Client(cluster):
        with joblib.parallel_backend("dask"):
            there = search().fit(X)
        here = search().fit(X)
        assert there.best_params_ == here.best_params_
        name = "mean_test_score"
        np.testing.assert_array_equal(there.cv_results_[name], here.cv_results_[name])
        skae._tables.rows.SMALL = 100
        table = da.random.default_rng(0).normal(size=(2000, 6), chunks=(600, 6))
        table = table.persist()
        ae = AutoencoderTransformer(2, max_epochs=2, random_state=0).fit(table)
        np.testing.assert_allclose(ae.mean_, table.mean(axis=0).compute())
        Z = ae.transform(table)
        np.testing.assert_allclose(Z.compute(), ae.transform(table.compute()))
    print("done")
"""


@pytest.mark.parametrize(
    "workers", ["threads", pytest.param("processes", marks=pytest.mark.nightly)]
)
def test_on_a_cluster(tmp_path, workers):
    """Grids by joblib's backend, and a fit whose blocks are computed by workers."""
    pytest.importorskip("distributed")
    script = tmp_path / "script.py"
    script.write_text(CLUSTER, encoding="utf-8")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, str(script), workers]
    ended = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.endswith("done\n")
