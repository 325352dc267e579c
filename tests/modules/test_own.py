"""A network of the user's own: the dry run, and what is said of a wrong one."""

import copy
import pickle
import random

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler
from torch import nn

import skae
from skae import AutoencoderTransformer
from skae.modules._own import OwnNetwork, make_own

CALLED = r"module was called with \(n_features, n_components\) = \(6, 2\)"


class Own(nn.Module):
    """Linear maps; a subclass makes one mistake."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.first = nn.Linear(n_features, n_components)
        self.last = nn.Linear(n_components, n_features)

    def encode(self, X):
        return self.first(X)

    def decode(self, Z):
        return self.last(Z)


def autoencoder(module, n_components=2, **params):
    params = {"init": "random", "max_epochs": 2, "random_state": 0} | params
    return AutoencoderTransformer(n_components, module=module, **params)


def narrow(n_features, n_components):
    network = Own(n_features, n_components)
    network.last = nn.Linear(n_components, 1)
    return network


def wide_code(n_features, n_components):
    network = Own(n_features, n_components + 1)
    network.last = nn.Linear(n_components + 1, n_features)
    return network


def wide_rows(n_features, n_components):
    return Own(n_features + 1, n_components)


def other_code(n_features, n_components):
    network = Own(n_features, n_components)
    network.last = nn.Linear(n_components + 3, n_features)
    return network


class Images(Own):
    def decode(self, Z):
        return self.last(Z)[:, None]


class WithOwnCopy(Own):
    """Holds a matrix that no conversion of the network reaches."""

    def __init__(self, n_features, n_components):
        super().__init__(n_features, n_components)
        self.matrices = [torch.eye(n_features)]

    def encode(self, X):
        return self.first(X @ self.matrices[0])


ENCODE = r"encode turns rows of shape \(2, 6\) into codes of shape \(2, 2\), but it "
DECODE = r"decode turns codes of shape \(2, 2\) into rows of shape \(2, 6\), but it "
WRONG = {
    "narrow": (narrow, DECODE + r"returned the shape \(2, 1\)"),
    "wide code": (wide_code, ENCODE + r"returned the shape \(2, 3\)"),
    "wide rows": (wide_rows, ENCODE + "raised RuntimeError for torch.float32: mat1 and"),
    "other code": (other_code, DECODE + "raised RuntimeError for torch.float32: mat1 and"),
    "images": (Images, DECODE + r"returned the shape \(2, 1, 6\)"),
    "float32": (WithOwnCopy, ENCODE + "raised RuntimeError for torch.float64: expected"),
}


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_shapes(curved, monkeypatch, name, method):
    """They are found before anything else is computed."""
    module, text = WRONG[name]
    monkeypatch.setattr("skae._tables.fit_data.location_and_scale", None)
    ae = autoencoder(module)
    before = vars(ae).copy()
    text = f"^module of AutoencoderTransformer must make a network whose {text}"
    with pytest.raises(ValueError, match=f"(?s){text}.*{CALLED}"):
        getattr(ae, method)(curved)
    assert vars(ae) == before


class Variational(Own):
    def encode(self, X):
        return self.first(X), self.first(X)


class WithLoss(Own):
    def decode(self, Z):
        return self.last(Z), 0.0


class NumPys(Own):
    def encode(self, X):
        return self.first(X).detach().numpy()


class Classes(Own):
    def encode(self, X):
        return self.first(X).argsort()


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (Variational, ENCODE + "returned no tensor of floats, but tuple"),
        (WithLoss, DECODE + "returned no tensor of floats, but tuple"),
        (NumPys, ENCODE + "returned no tensor of floats, but ndarray"),
        (Classes, ENCODE + "returned no tensor of floats, but torch.int64"),
    ],
)
def test_no_tensors_of_floats(curved, module, text):
    with pytest.raises(TypeError, match=text):
        autoencoder(module).fit(curved)


def test_an_instance(curved):
    text = (
        r"module of AutoencoderTransformer is called as module\(n_features, n_components\)"
        ".*new network each time, got an instance of Own. Give the class"
    )
    with pytest.raises(TypeError, match=text):
        autoencoder(Own(6, 2)).fit(curved)


@pytest.mark.parametrize(
    "module",
    [lambda: Own(6, 2), lambda n_features: Own(n_features, 2), lambda a, b, c: Own(a, b)],
)
def test_other_arguments(curved, module):
    text = r"<lambda>\(.*\) does not take these two numbers: (too many|missing a required)"
    with pytest.raises(TypeError, match=text):
        autoencoder(module).fit(curved)


def test_defaults_and_partials_are_fine(curved):
    ae = autoencoder(lambda n_features, n_components, n_more=3: Own(n_features, 2))
    assert ae.fit(curved).n_iter_ == 2


class Frozen(Own):
    def __init__(self, n_features, n_components):
        super().__init__(n_features, n_components)
        self.requires_grad_(False)


class Detached(Own):
    def decode(self, Z):
        return self.last(Z).detach()


class WithoutParameters(nn.Module):
    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = nn.Identity()
        self.decode = nn.Identity()


@pytest.mark.parametrize(
    ("module", "k"), [(Frozen, 2), (Detached, 2), (WithoutParameters, 6)]
)
def test_nothing_to_train(curved, module, k):
    text = "module of AutoencoderTransformer must make a network with parameters to train"
    with pytest.raises(ValueError, match=text):
        autoencoder(module, k).fit(curved)


def test_a_loss_with_constants(curved):
    """Each feature has a rate and a dispersion: half as many outputs are no half of it."""
    X = np.random.default_rng(0).poisson(np.exp(curved))
    with pytest.raises(ValueError, match="takes 2 outputs for each feature"):
        autoencoder(Own, loss="negative_binomial").fit(X)

    def twice(n_features, n_components):
        network = Own(n_features, n_components)
        network.last = nn.Linear(n_components, 2 * n_features)
        return network

    ae = autoencoder(twice, loss="negative_binomial", max_epochs=5).fit(X)
    assert ae.denoise(X).shape == X.shape
    assert ae.validation_curve_[-1] < ae.validation_curve_[0]


# -- lazy layers -----------------------------------------------------------------------


class Lazy(nn.Module):
    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = nn.Sequential(
            nn.LazyLinear(9), nn.LazyBatchNorm1d(), nn.Tanh(), nn.LazyLinear(n_components)
        )
        self.decode = nn.LazyLinear(n_features)


def test_lazy_layers(curved, tmp_path):
    pytest.importorskip("safetensors")
    ae = autoencoder(Lazy, max_epochs=20, lr=0.02).fit(curved)
    weights = [tuple(w.shape) for w in ae.net_.module_.parameters() if w.ndim == 2]
    assert weights == [(9, 6), (2, 9), (6, 2)]
    assert min(ae.validation_curve_) < 0.7 * ae.validation_curve_[0]
    again = autoencoder(Lazy, max_epochs=20, lr=0.02).fit(curved)
    assert np.array_equal(again.transform(curved), ae.transform(curved))
    ae.save(tmp_path / "model.skae")
    again = skae.load(tmp_path / "model.skae", module=Lazy)
    assert np.array_equal(again.transform(curved), ae.transform(curved))


def test_a_lazy_layer_that_is_not_used(curved):
    def module(n_features, n_components):
        network = Own(n_features, n_components)
        network.more = nn.LazyLinear(3)
        return network

    with pytest.raises(ValueError, match=r"module of .* lazy layers that neither"):
        autoencoder(module).fit(curved)


# -- what the dry run leaves -----------------------------------------------------------


class Noted(nn.Module):
    """Counts its calls, normalizes, and draws from every global generator."""

    def __init__(self, n_features, n_components, lazy=False):
        super().__init__()
        self.norm = nn.BatchNorm1d(n_features)
        self.first = nn.Linear(n_features, n_components)
        self.last = nn.LazyLinear(n_features) if lazy else nn.Linear(2, n_features)
        self.register_buffer("calls", torch.zeros(1))
        self.seen = []

    def encode(self, X):
        self.calls += 1
        self.seen.append(len(X))
        random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
        return self.first(self.norm(X))

    def decode(self, Z):
        return self.last(Z)


def world():
    numpys = np.random.get_state()[1].tolist()  # noqa: NPY002
    return random.getstate(), numpys, torch.get_rng_state().tolist()


@pytest.mark.parametrize("lazy", [False, True])
def test_the_run_leaves_no_trace(lazy):
    made = []

    def module(n_features, n_components):
        made.append(Noted(n_features, n_components, lazy))
        return made[-1]

    before = world()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        start = copy.deepcopy(Noted(6, 2).state_dict())
    assert world() == before
    adapter = make_own(module, 6, 2, 6, torch.device("cpu"), "Owner", seed=3)
    assert world() == before
    network = adapter.unwrapped
    assert network is made[0]
    assert adapter.draws
    assert network.training
    assert network.norm.training
    assert int(network.norm.num_batches_tracked) == 0
    assert torch.equal(network.norm.running_mean, start["norm.running_mean"])
    assert torch.equal(network.norm.running_var, start["norm.running_var"])
    assert torch.equal(network.first.weight, start["first.weight"])
    if not lazy:
        assert (network.seen, float(network.calls)) == ([], 0.0)
        assert all(map(torch.equal, network.state_dict().values(), start.values()))


def test_fit_leaves_the_global_generators_alone(curved):
    class Quiet(Noted):
        def encode(self, X):
            return self.first(self.norm(X))

    before = world()
    ae = autoencoder(Quiet).fit(curved)
    assert world() == before
    assert np.isfinite(ae.transform(curved)).all()


def test_a_network_of_float64_is_trained_in_float32(curved):
    ae = autoencoder(lambda *widths: Own(*widths).double(), max_epochs=20).fit(curved)
    expected = autoencoder(Own, max_epochs=20).fit(curved)
    assert ae.net_.module_.first.weight.dtype == torch.float32
    assert ae.score(curved) == pytest.approx(expected.score(curved), rel=0.5)


def test_an_error_of_the_module_itself_is_left_alone(curved):
    def broken(n_features, n_components):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        autoencoder(broken).fit(curved)


# -- beside a linear path --------------------------------------------------------------


class Gelu(nn.Module):
    """Normalizes over the batch, draws, and overwrites the rows that it gets."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.norm = nn.BatchNorm1d(n_features)
        layers = nn.Linear(n_features, 32), nn.GELU(), nn.Dropout(0.05)
        self.first = nn.Sequential(*layers, nn.Linear(32, n_components))
        layers = nn.Linear(n_components, 32), nn.GELU()
        self.last = nn.Sequential(*layers, nn.Linear(32, n_features))

    def encode(self, X):
        X *= 0.9
        return self.first(self.norm(X))

    def decode(self, Z):
        return self.last(Z)


def gated(**params):
    params = {"init": "pca", "batch_size": 32} | params
    return autoencoder(Gelu, params.pop("n_components", 2), **params)


def untrained(**params):
    """An estimator that keeps a network after one step of no length."""
    return gated(lr=1e-30, max_epochs=1, early_stopping=False, **params)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("params", [{}, {"ordered": True}, {"allow_nan": True}], ids=str)
def test_it_starts_as_pca(curved, params, whiten):
    ae, pca = untrained(whiten=whiten, **params), PCA(2, whiten=whiten)
    X = curved + 3.0
    np.testing.assert_allclose(ae.fit_transform(X), pca.fit_transform(X), atol=1e-5)
    assert ae.outcome_ == "trained"
    expected = pca.inverse_transform(pca.transform(X))
    np.testing.assert_allclose(ae.denoise(X), expected, atol=1e-5)
    for name in ("components_", "explained_variance_", "noise_variance_"):
        np.testing.assert_allclose(getattr(ae, name), getattr(pca, name), rtol=1e-4)


def test_it_starts_as_pca_of_standardized_rows(curved):
    X = StandardScaler().fit_transform(curved)
    Z = untrained(standardize=True).fit_transform(curved * 7 + 1)
    np.testing.assert_allclose(Z, PCA(2).fit_transform(X), atol=1e-5)


@pytest.mark.parametrize("params", [{}, {"ordered": True, "noise": 0.02}], ids=str)
def test_few_rows_are_cross_fitted(curved, params):
    """Six modules are made, each with statistics of its own rows."""
    ae = gated(max_epochs=12, **params).fit(curved)
    assert ae.outcome_ == "trained"
    assert ae.validation_curve_[ae.best_epoch_] < -ae.pca_score_
    assert type(ae.net_.module_.corrections) is OwnNetwork
    norm = ae.net_.module_.corrections.module.norm
    expected = ae._inference.scale * np.ones(6)
    rows = 0.9 * (curved - ae.mean_) / expected
    np.testing.assert_allclose(norm.running_mean, rows.mean(0), atol=0.1)
    np.testing.assert_allclose(norm.running_var, rows.var(0), rtol=0.2)
    Z = ae.transform(curved)
    assert abs(np.corrcoef(Z.T)[0, 1]) < 1e-4
    again = pickle.loads(pickle.dumps(ae))
    assert np.array_equal(again.transform(curved), Z)
    again = gated(max_epochs=12, **params).fit(curved)
    assert np.array_equal(again.transform(curved), Z)


def test_folds_of_ones_own(curved):
    for init in ("pca", "random"):
        Z = gated(cv=3, max_epochs=3, init=init).fit_transform(curved)
        assert np.isfinite(Z).all()
        folds = KFold(3, shuffle=True, random_state=0)
        assert (
            gated(cv=folds, max_epochs=3, init=init).fit_transform(curved).shape == Z.shape
        )
    ae = gated(cv=3, max_epochs=20, init="random").fit(curved)
    assert ae.validation_curve_[-1] < ae.validation_curve_[0]
    assert ae.net_.module_.norm.running_var.shape == (6,)


def test_a_share_of_the_variance(curved):
    ae = gated(n_components=0.8, max_epochs=5).fit(curved)
    assert ae.n_components_ <= PCA(0.8).fit(curved).n_components_
    assert ae.explained_variance_ratio_.sum() > 0.75


def test_missing_cells(curved):
    X = curved.copy()
    X[::3, 2] = np.nan
    ae = gated(allow_nan=True, max_epochs=12).fit(X)
    assert ae.best_epoch_ > 0
    missing = np.isnan(X)
    errors = [ae.impute(X) - curved, np.where(missing, np.nanmean(X, 0), X) - curved]
    error, by_mean = (np.square(e[missing]).mean() for e in errors)
    assert error < 0.5 * by_mean
    assert ae.impute(X).shape == X.shape


def test_constants_of_the_loss_are_not_the_modules(curved):
    """The decoder returns a number for each feature, whatever the loss learns beside."""
    X = np.random.default_rng(0).poisson(np.exp(curved))
    ae = gated(loss="negative_binomial", max_epochs=10).fit(X)
    assert ae.score(X) >= ae.pca_score_ - 0.05 * abs(ae.pca_score_)
    assert ae.denoise(X).shape == X.shape


def test_truncate(curved):
    ae = gated(n_components=3, ordered=True, early_stopping=False, max_epochs=5)
    Z = ae.fit_transform(curved)
    smaller = ae.truncate(2)
    np.testing.assert_allclose(smaller.transform(curved), Z[:, :2], atol=1e-5)
    expected = ae.inverse_transform(Z[:, :2])
    np.testing.assert_allclose(smaller.denoise(curved), expected, atol=1e-5)
    copied = pickle.loads(pickle.dumps(smaller))
    assert np.array_equal(copied.denoise(curved), smaller.denoise(curved))


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"tied_weights": True}, r"tied_weights=True .* module=None"),
        ({"code_activation": "tanh"}, r"code_activation='tanh' .* needs init='random'"),
        ({"n_components": 7}, r"n_components=7 .*with init='pca'"),
    ],
)
def test_what_it_refuses(curved, params, text):
    with pytest.raises(ValueError, match=text):
        gated(**params).fit(curved)
