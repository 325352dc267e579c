"""Round trips: clone, pickle, joblib, deepcopy; and devices that are not there."""

import copy
import io
import pickle

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


@pytest.fixture(params=SETTINGS, ids=str)
def fitted(request, curved):
    X = (curved - curved.min()) / (curved.max() - curved.min())
    ae = AutoencoderTransformer(**request.param, max_epochs=3, random_state=0)
    return ae.fit(X), X


@pytest.mark.parametrize("trip", [through_pickle, through_joblib, copy.deepcopy])
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
    assert np.array_equal(again.fit_transform(X), clone(ae).fit_transform(X))


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
    again = through_pickle(ae.set_params(device=device))
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
