"""`sample_shape`: convolutional corrections keep every promise of dense ones."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

import skae
from skae import AutoencoderTransformer
from skae.modules import ConvolutionalAutoencoder

SMALL = {
    "n_components": 3,
    "sample_shape": (1, 8, 8),
    "hidden_layer_sizes": (4, 8),
    "max_epochs": 2,
    "batch_size": 8,
    "random_state": 0,
}
# Each is trained, and kept.
SETTINGS = {
    "plain": {"early_stopping": False},
    "random": {"init": "random"},
    "ordered": {"ordered": True, "whiten": True, "early_stopping": False},
    "random, ordered": {"init": "random", "ordered": True},
    "missing": {"allow_nan": True, "early_stopping": False},
    "counts": {"loss": "negative_binomial", "early_stopping": False},
    "normalized": {"normalization": "batch", "dropout": 0.2, "early_stopping": False},
    "channels last but one": {"sample_shape": [4, -1], "early_stopping": False},
}


def small(**params):
    return AutoencoderTransformer(**SMALL | params)


@pytest.fixture(scope="module", name="X")
def counts(digits):
    X = 16 * digits[0][:120]
    X.flags.writeable = False
    return X


def with_gaps(X):
    X = X.copy()
    X[::3, 5] = np.nan
    return X


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_codes_and_copies(X, settings, tmp_path):
    """Codes are canonical, and copies in memory and in a file are the same to the bit."""
    rows = with_gaps(X) if "allow_nan" in settings else X
    ae = small(**settings).fit(rows)
    assert ae.outcome_ == "trained"
    assert isinstance(ae.net_.module_, ConvolutionalAutoencoder)
    Z = ae.transform(rows)
    correlations = np.corrcoef(Z.T) - np.eye(3)
    assert np.abs(correlations).max() < 1e-4
    ae.save(tmp_path / "model.skae")
    for copy in (pickle.loads(pickle.dumps(ae)), skae.load(tmp_path / "model.skae")):
        np.testing.assert_array_equal(copy.transform(rows), Z)
        np.testing.assert_array_equal(copy.inverse_transform(Z), ae.inverse_transform(Z))
        assert copy.sample_shape_ == ae.sample_shape_


def test_it_starts_at_pca_and_gets_better(digits):
    X = digits[0]
    pca = PCA(8).fit(X[:1500])
    expected = np.square(pca.inverse_transform(pca.transform(X)) - X)[1500:].mean()
    params = {"n_components": 8, "max_epochs": 8, "hidden_layer_sizes": (8, 16)}
    ae = small(clip=False, **params).fit(X[:1500])
    assert ae.validation_curve_[0] == pytest.approx(-ae.pca_score_, rel=1e-5)
    assert -ae.score(X[1500:]) < 0.9 * expected


def test_few_rows_are_cross_fitted_in_features(X):
    """Not in principal axes, in which neighbours are no neighbours any more."""
    ae = small(max_epochs=1).fit(X)
    network = ae.net_.network
    assert network.encoder.entrance.weight.shape == (64,)
    assert len(ae.validation_curve_) == 2
    assert ae.outcome_ == "pca"
    pca = PCA(3, svd_solver="full").fit(X)
    np.testing.assert_allclose(ae.transform(X), pca.transform(X), atol=1e-5)


def test_streams_and_warm_starts(X):
    ae = small(early_stopping=False, warm_start=True).fit(X)
    before = ae.score(X)
    assert ae.fit(X).score(X) > before
    stream = small()
    for rows in (X[:60], X[60:]):
        stream.partial_fit(rows)
    assert stream.transform(X).shape == (120, 3)
    ae.set_params(sample_shape=(1, 4, 16))
    with pytest.raises(ValueError, match=r"made with sample_shape=\(1, 8, 8\)"):
        ae.fit(X)


def test_a_truncated_model_and_its_copies(X):
    ae = small(ordered=True, early_stopping=False).fit(X)
    Z = ae.transform(X)
    ae = ae.truncate(2)
    np.testing.assert_allclose(ae.transform(X), Z[:, :2], rtol=1e-4, atol=1e-4)
    copy = pickle.loads(pickle.dumps(ae))
    np.testing.assert_array_equal(copy.transform(X), ae.transform(X))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"sample_shape": (1, 8, 7)}, r"\(1, 8, 7\) of .* is for samples of 56 values"),
        ({"sample_shape": (64,)}, r"must be \(channels, length\) or"),
        ({"tied_weights": True, "init": "random"}, "needs .*sample_shape=None"),
    ],
)
def test_refused(X, params, message):
    with pytest.raises(ValueError, match=message):
        small(**params).fit(X)


def test_auto_and_the_weight_decay_that_suits(X):
    ae = small(hidden_layer_sizes="auto", max_epochs=1).fit(X)
    assert len(ae.hidden_layer_sizes_) >= 1
    rates = [
        model.fit(X).net_.optimizer_.param_groups[-1]["weight_decay"]
        for model in (ae, small(sample_shape=None), small(weight_decay=0.2))
    ]
    assert rates == [2 * 64 / 164, 64 / 164, 0.2]


@pytest.mark.parametrize(("rows", "share"), [(2000, 1.0), (8000, 0.5)])
def test_many_rows_want_less_weight_decay(rows, share):
    X = np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)
    params = {"sample_shape": (1, 4), "early_stopping": False, "batch_size": 1000}
    decays = [
        small(**params, **more).fit(X).net_.optimizer_.param_groups[-1]["weight_decay"]
        for more in ({}, {"weight_decay": 0.3})
    ]
    assert decays == pytest.approx([2 * 4 / 104 * share, 0.3])


class Own(nn.Module):
    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = nn.Linear(n_features, n_components)
        self.decode = nn.Linear(n_components, n_features)


def test_with_a_module_it_is_for_displays(X):
    params = {"module": Own, "hidden_layer_sizes": "auto", "random_state": 0}
    with_shape = small(**params).fit(X)
    assert with_shape.sample_shape_ == (1, 8, 8)
    without = small(**params, sample_shape=None).fit(X)
    assert without.sample_shape_ is None
    np.testing.assert_array_equal(with_shape.transform(X), without.transform(X))


def test_n_products_count_every_use(X):
    """Otherwise one thread would be taken where several are faster."""
    from skae._training.settings import _n_products

    f = ConvolutionalAutoencoder((1, 8, 8), 3, (4,), generator=torch.Generator())
    convolutions = 16 * (4 * 9 + 4) + 16 * (4 * 9 + 1)
    maps = 64 * 3 + 3 + 64 * 3 + 64 + 64 * 3 + 64 + (3 + 1) * 64
    assert _n_products(f, 10) == 10 * (convolutions + maps)
