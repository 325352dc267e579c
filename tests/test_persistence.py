"""Round trips: clone, pickle, joblib, skops, MLflow; and devices that are not there."""

import copy
import io
import os
import pickle
import tempfile

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone

from skae import AutoencoderTransformer

SETTINGS = [
    {"n_components": 2},
    {"n_components": 8, "init": "random", "dropout": 0.2},
    {"n_components": 2, "standardize": True},
    {"n_components": 2, "loss": "binary_cross_entropy"},
]


def through_pickle(ae):
    return pickle.loads(pickle.dumps(ae))


def through_joblib(ae):
    file = io.BytesIO()
    joblib.dump(ae, file)
    file.seek(0)
    return joblib.load(file)


def through_cloudpickle(ae):
    cloudpickle = pytest.importorskip("cloudpickle")
    return pickle.loads(cloudpickle.dumps(ae))


def through_compressed_joblib(ae):
    file = io.BytesIO()
    joblib.dump(ae, file, compress=("lzma", 6))
    file.seek(0)
    return joblib.load(file)


def through_joblib_map(ae):
    """Arrays stay in the file, read-only, as in the workers of joblib."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = os.path.join(folder, "model.joblib")
        joblib.dump(ae, path)
        again = joblib.load(path, mmap_mode="r")
    assert isinstance(again.mean_, np.memmap)
    return again


def through_skops(ae):
    """One trusted type, and it is the estimator's own."""
    skops = pytest.importorskip("skops.io")
    data = skops.dumps(ae)
    trusted = ["skae._autoencoders.dense.AutoencoderTransformer"]
    assert skops.get_untrusted_types(data=data) == trusted
    return skops.loads(data, trusted=trusted)


def through_mlflow(ae):
    mlflow = pytest.importorskip("mlflow.sklearn")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model")
        how = {
            "serialization_format": "skops",
            "skops_trusted_types": ["skae._autoencoders.dense.AutoencoderTransformer"],
        }
        mlflow.save_model(ae, path, pip_requirements=["skae"], **how)
        return mlflow.load_model(path)


TRIPS = [
    through_pickle,
    through_joblib,
    through_compressed_joblib,
    through_joblib_map,
    through_cloudpickle,
    through_skops,
    through_mlflow,
    copy.deepcopy,
]


@pytest.fixture(scope="module", params=SETTINGS, ids=str)
def fitted(request, curved):
    X = (curved - curved.min()) / (curved.max() - curved.min())
    ae = AutoencoderTransformer(**request.param, max_epochs=3, random_state=0)
    return ae.fit(X), X


@pytest.mark.parametrize("trip", TRIPS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(fitted, trip, dtype):
    ae, X = fitted
    X = X.astype(dtype)
    again = trip(ae)
    Z = ae.transform(X)
    assert np.array_equal(again.transform(X), Z)
    assert np.array_equal(again.inverse_transform(Z), ae.inverse_transform(Z))
    assert np.array_equal(again.score_samples(X), ae.score_samples(X))
    assert again.get_params() == ae.get_params()
    assert set(vars(again)) == set(vars(ae))
    for name in ("n_iter_", "best_epoch_", "loss_curve_", "validation_curve_"):
        assert getattr(again, name) == getattr(ae, name)
    # A trip of a trip, and a fit afterwards.
    assert np.array_equal(trip(again).transform(X), Z)
    if dtype is np.float64:  # that of its fit
        assert np.array_equal(again.fit_transform(X), Z)


def test_clone_is_unfitted_and_equal(fitted):
    ae, X = fitted
    again = clone(ae)
    assert again.get_params() == ae.get_params()
    assert not hasattr(again, "net_")
    assert np.array_equal(again.fit_transform(X), ae.transform(X))


def test_a_copy_is_independent(curved):
    ae = AutoencoderTransformer(2, max_epochs=2, random_state=0).fit(curved)
    Z, again = ae.transform(curved), copy.deepcopy(ae)
    again.set_params(random_state=1, init="random").fit(curved)
    assert np.array_equal(ae.transform(curved), Z)


def test_no_training_data_in_the_pickle():
    X = np.random.default_rng(0).normal(size=(20_000, 10))
    params = {"hidden_layer_sizes": (8,), "max_epochs": 1, "random_state": 0}
    ae = AutoencoderTransformer(2, **params).fit(X)
    assert len(pickle.dumps(ae)) < 30_000


def test_the_pickle_of_a_pickle_is_the_same(fitted):
    ae, _ = fitted
    assert joblib.hash(ae) == joblib.hash(through_pickle(ae))


def test_equal_fits_are_equal_objects(fitted):
    """joblib.Memory and content-addressed stores see one model, not two."""
    ae, X = fitted
    again = clone(ae).fit(X)
    assert joblib.hash(again) == joblib.hash(ae)
    assert joblib.hash(again.set_params(random_state=1).fit(X)) != joblib.hash(ae)


@pytest.mark.parametrize("trip", TRIPS[:5])
def test_use_and_trips_leave_the_hash(fitted, trip):
    ae, X = fitted
    before = joblib.hash(ae)
    ae.score(X)
    trip(ae)
    assert joblib.hash(ae) == before


def test_a_module_through_cloudpickle(curved):
    """A function of the user's own goes along, which pickle cannot do."""
    cloudpickle = pytest.importorskip("cloudpickle")

    def two_maps(n_features, n_components):
        module = torch.nn.Module()
        module.encode = torch.nn.Linear(n_features, n_components)
        module.decode = torch.nn.Linear(n_components, n_features)
        module.forward = lambda X: module.decode(module.encode(X))
        return module

    ae = AutoencoderTransformer(2, module=two_maps, max_epochs=2, random_state=0).fit(
        curved
    )
    again = pickle.loads(cloudpickle.dumps(ae))
    assert np.array_equal(again.transform(curved), ae.transform(curved))


def test_files_are_small(fitted):
    """Little more than the weights, of four bytes each."""
    ae, _ = fitted
    weights = 4 * sum(p.numel() for p in ae.net_.module_.parameters())
    joblib_file, compressed = io.BytesIO(), io.BytesIO()
    joblib.dump(ae, joblib_file)
    joblib.dump(ae, compressed, compress=3)
    assert len(pickle.dumps(ae)) < weights + 6_000
    assert joblib_file.tell() < weights + 12_000
    assert compressed.tell() < weights + 3_000


def test_warm_start_after_a_round_trip(curved):
    params = {"early_stopping": False, "warm_start": True, "random_state": 0}
    ae = AutoencoderTransformer(2, max_epochs=3, **params).fit(curved)
    again = through_pickle(ae).fit(curved)
    assert again.loss_curve_[0] < ae.loss_curve_[0]
    assert np.array_equal(again.transform(curved), ae.fit(curved).transform(curved))


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without CUDA")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", torch.device("cuda")], ids=repr)
def test_saved_with_cuda_and_opened_without(fitted, device):
    ae, X = fitted
    again = through_pickle(copy.deepcopy(ae).set_params(device=device))
    assert again.device_ == torch.device("cpu")
    assert np.array_equal(again.transform(X), ae.transform(X))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda(curved):
    params = {"max_epochs": 3, "random_state": 0}
    ae = AutoencoderTransformer(2, **params).fit(curved)
    assert ae.device_.type == "cuda"
    cpu = AutoencoderTransformer(2, device="cpu", **params).fit(curved)
    scale = np.abs(cpu.transform(curved)).max()
    Z = ae.transform(curved)
    np.testing.assert_allclose(Z, cpu.transform(curved), atol=0.05 * scale)
    assert np.array_equal(through_pickle(ae).transform(curved), Z)
    assert b"cuda" not in pickle.dumps(ae)
