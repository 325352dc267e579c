"""A row's code is its own: rows beside it and their order do not change it."""

import numpy as np
import pytest

from skae import AutoencoderTransformer
from skae._model import model

TOLERANCE = {np.float32: 1e-6, np.float64: 1e-7}


@pytest.fixture(scope="module", params=[8, 64, 1024])
def fitted(request):
    rng = np.random.default_rng(0)
    X = np.tanh(rng.normal(size=(300, 4)) @ rng.normal(size=(4, 12)))
    params = {"hidden_layer_sizes": (request.param,), "early_stopping": False}
    ae = AutoencoderTransformer(3, max_epochs=2, random_state=0, **params)
    return ae.fit(X), X


def outputs(ae, X):
    """All that is computed row by row, each with the size of its largest value."""
    Z = ae.transform(X)
    values = {
        "transform": Z,
        "inverse_transform": ae.inverse_transform(Z),
        "score_samples": ae.score_samples(X),
    }
    return {name: (value, np.abs(value).max()) for name, value in values.items()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_rows", [1, 2, 3, 16, 17, 31, 255])
def test_rows_beside(fitted, dtype, n_rows):
    ae, X = fitted
    X = X.astype(dtype)
    together = outputs(ae, X)
    for name, (part, _) in outputs(ae, X[:n_rows]).items():
        whole, largest = together[name]
        np.testing.assert_allclose(
            part, whole[:n_rows], rtol=0, atol=TOLERANCE[dtype] * largest, err_msg=name
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_order_of_the_rows(fitted, dtype):
    ae, X = fitted
    X = X.astype(dtype)
    order = np.random.default_rng(1).permutation(len(X))
    together = outputs(ae, X)
    for name, (part, _) in outputs(ae, X[order]).items():
        whole, largest = together[name]
        np.testing.assert_allclose(
            part, whole[order], rtol=0, atol=TOLERANCE[dtype] * largest, err_msg=name
        )


@pytest.mark.parametrize("n_threads", [1, 2])
def test_seams_between_batches(fitted, n_threads, monkeypatch):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    ae, X = fitted
    whole = outputs(ae, X)
    monkeypatch.setattr(model, "BATCH", 7 * ae._inference.width)
    with threadpoolctl.threadpool_limits(n_threads):
        parts = outputs(ae, X)
    for name, (value, largest) in whole.items():
        np.testing.assert_allclose(
            parts[name][0], value, rtol=0, atol=1e-7 * largest, err_msg=name
        )


def test_a_batch_has_so_many_values_in_the_widest_layer(fitted, monkeypatch):
    ae, X = fitted
    sizes, run = [], model.Inference.run

    def noted(self, step, array, dtype, module=None):
        sizes.append(len(array))
        return run(self, step, array, dtype, module)

    monkeypatch.setattr(model, "BATCH", 4096)
    monkeypatch.setattr(model.Inference, "run", noted)
    ae.transform(X)
    widest = max(X.shape[1], *ae.hidden_layer_sizes_)
    assert sum(sizes) == len(X)
    assert max(sizes) == min(4096 // widest, len(X))
