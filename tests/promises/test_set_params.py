"""A fitted estimator goes by the parameters of its fit, and so do all of its copies."""

import copy
import io
import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback

from skae import AutoencoderTransformer, load, noise, regularizers

DATA = Path(__file__).parents[1] / "data"


class Plain(torch.nn.Module):
    """A user's network."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = torch.nn.Linear(n_features, n_components)
        self.decode = torch.nn.Linear(n_components, n_features)

    def forward(self, X):
        return self.decode(self.encode(X))


class Nonsense:
    """No value of any parameter: whatever reads it fails."""


FITS = {
    "default": {},
    "ordered": {"ordered": True, "whiten": True, "allow_nan": True},
    "random": {
        **{"init": "random", "code_activation": "tanh", "normalization": "batch"},
        **{"dropout": 0.2, "tied_weights": True, "activation": "relu"},
    },
    "bounded": {"loss": "binary_cross_entropy", "standardize": True, "whiten": True},
    "by column": {"loss": {"squared_error": [0, 1, 2], "huber": [3, 4, 5]}},
    "module": {"module": Plain},
}
PARAMETERS = sorted(AutoencoderTransformer().get_params())
# Another value that is allowed, for parameters that are not switches.
OTHERS = {
    "n_components": [3, None, 0.5],
    "hidden_layer_sizes": [(), (3,), [5, 4]],
    "activation": ["tanh", "silu"],
    "init": ["random", "pca"],
    "loss": ["absolute_error", "squared_error", {"huber": [0, 1, 2, 3, 4, 5]}, "poisson"],
    "exposure": ["total", None],
    "code_activation": ["relu", "identity"],
    "dropout": [0.5, 0.0],
    "normalization": ["layer", None],
    "sample_shape": [(1, 6), None],
    "clip": [True, False, "auto"],
    "categorical_features": [None, [0, 2], "from_dtype"],
    "handle_unknown": ["ignore", "error"],
    "noise": [0.5, noise.SwapNoise(0.1), None],
    "regularizer": [regularizers.L1Code(0.1), None],
    "weight_decay": [0.5],
    "validation_fraction": [0.5],
    "n_iter_no_change": [1],
    "tol": [0.5],
    "max_epochs": [1],
    "batch_size": [1],
    "lr": [10.0],
    "precision": ["bfloat16"],
    "module": [Plain, None],
    "callbacks": [None, [print]],
    "cv": [3, "auto", None],
    "checkpoint": ["nowhere/at/all", None],
    "time_limit": [1e-9, None],
    "device": ["meta", "cuda", "cpu"],
    "distributed": [True],
    "random_state": [1, np.random.RandomState(0), None],
    "verbose": [2],
}


@pytest.fixture(scope="module")
def table(curved):
    return (curved - curved.min()) / (curved.max() - curved.min())


def fit(X, **params):
    params = {"n_components": 2, "max_epochs": 2, "random_state": 0} | params
    return AutoencoderTransformer(hidden_layer_sizes=(6,), **params).fit(X)


@pytest.fixture(scope="module", params=FITS)
def fitted(request, table):
    return fit(table, **FITS[request.param])


def answers(ae, X, of_fit):
    """All that an estimator fitted with the parameters `of_fit` says of X and codes."""
    Z = ae.transform(X)
    found = [Z, ae.inverse_transform(Z), ae.denoise(X), ae.score_samples(X)]
    found += [ae.score(X), ae.components_at(X[:3]), ae.get_covariance()]
    if of_fit["ordered"]:
        found += [ae.inverse_transform(Z[:, :1]), ae.truncate(1).transform(X)]
    if of_fit["allow_nan"]:
        found.append(ae.impute(np.where(np.arange(X.shape[1]) == 2, np.nan, X)))
    return found


@pytest.fixture(scope="module")
def expected(fitted, table):
    """What the fitted estimator answers before any change."""
    return answers(fitted, table, fitted.get_params())


@pytest.fixture
def agrees(fitted, table, expected):
    """Whether an estimator answers as the fitted one did before any change."""
    of_fit = fitted.get_params()
    yield lambda ae: all(map(np.array_equal, answers(ae, table, of_fit), expected))
    fitted.set_params(**of_fit)


def through_pickle(ae):
    return pickle.loads(pickle.dumps(ae))


def through_joblib(ae):
    file = io.BytesIO()
    joblib.dump(ae, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize("name", PARAMETERS)
def test_nothing_after_the_fit_reads_a_parameter(fitted, agrees, name):
    value = Nonsense()
    fitted.set_params(**{name: value})
    assert agrees(fitted)
    again = through_pickle(fitted)
    assert agrees(again)
    assert isinstance(again.get_params()[name], Nonsense)
    assert fitted.get_params()[name] is value


@pytest.mark.parametrize("trip", [through_pickle, through_joblib, copy.deepcopy])
def test_all_parameters_at_once(fitted, agrees, trip):
    fitted.set_params(**{name: Nonsense() for name in PARAMETERS})
    assert agrees(trip(fitted))
    assert agrees(trip(trip(fitted)))


@pytest.mark.parametrize("which", range(3))
def test_files_are_of_the_fit(fitted, agrees, which, tmp_path):
    """All parameters but those that are no plain data, with the values of OTHERS."""
    pytest.importorskip("safetensors")
    before = fitted.get_params()
    changed = {
        name: OTHERS[name][which % len(OTHERS[name])]
        if name in OTHERS
        else bool(which % 2) ^ (not before[name])
        for name in PARAMETERS
    }
    path, module = tmp_path / "model.skae", before["module"]
    fitted.set_params(**changed).save(path)
    again = load(path, module=module)
    assert agrees(again)
    unsaved = {"module", "callbacks", "checkpoint", "device", "noise", "regularizer"}
    for name in set(PARAMETERS) - unsaved - {"random_state"}:
        assert again.get_params()[name] == changed[name]
    # The parameters of the fit are in the file of a copy too.
    again.save(path)
    assert agrees(load(path, module=module))


def test_a_file_of_format_1_and_set_params():
    pytest.importorskip("safetensors")
    model = load(DATA / "format_1.skae")
    X = np.load(DATA / "format_1.npz", allow_pickle=False)["X"]
    model.set_params(activation="tanh", whiten=True, loss="cosine", init="random")
    frame = pytest.importorskip("pandas").DataFrame(X, columns=model.feature_names_in_)
    again = through_pickle(model)
    assert np.array_equal(again.transform(frame), model.transform(frame))
    assert np.array_equal(again.score_samples(frame), model.score_samples(frame))


def test_the_next_fit_goes_by_the_parameters(table):
    changed = {"activation": "tanh", "whiten": True, "standardize": True, "loss": "huber"}
    ae = fit(table).set_params(**changed)
    new = fit(table, **changed)
    assert clone(ae).get_params() == new.get_params()
    assert np.array_equal(clone(ae).fit_transform(table), new.transform(table))
    assert np.array_equal(ae.fit_transform(table), new.transform(table))
    assert joblib.hash(ae) == joblib.hash(new)


@pytest.mark.parametrize(
    "changed",
    [
        {"activation": "tanh", "whiten": True, "loss": "huber", "lr": 1e300},
        {"ordered": True, "module": Plain},
        {"init": "random", "standardize": True, "n_components": 7, "allow_nan": True},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_after_a_fit_that_failed(table, changed):
    ae = fit(table)
    expected = ae.transform(table), ae.score_samples(table)
    ae.set_params(**changed)
    broken = np.where(np.arange(6) == 2, np.inf, table)
    for method in (ae.fit, ae.partial_fit):
        with pytest.raises(ValueError, match=r"infinity|ordered=True|partial_fit of"):
            method(broken)
    for copied in (ae, through_pickle(ae), copy.deepcopy(ae)):
        assert np.array_equal(copied.transform(table), expected[0])
        assert np.array_equal(copied.score_samples(table), expected[1])
        assert copied.get_params()["whiten"] == changed.get("whiten", False)


def test_an_unfitted_estimator_has_nothing_of_a_fit(table):
    ae = AutoencoderTransformer(2)
    with pytest.raises(ValueError, match="infinity"):
        ae.fit(np.where(np.arange(6) == 2, np.inf, table))
    assert vars(ae).keys() == ae.get_params().keys()
    with pytest.raises(NotFittedError):
        ae.transform(table)


def test_what_is_changed_in_place(table):
    """Lists and dicts that are handed over stay the user's own."""
    loss = {"squared_error": [0, 1, 2], "huber": np.array([3, 4, 5])}
    widths = [6]
    ae = AutoencoderTransformer(2, loss=loss, hidden_layer_sizes=widths, max_epochs=2)
    expected = ae.fit(table).score_samples(table)
    loss["huber"][:] = 0
    loss["squared_error"].append(5)
    widths[:] = [3, 3]
    for copied in (ae, through_pickle(ae), copy.deepcopy(ae)):
        assert np.array_equal(copied.score_samples(table), expected)


def test_a_callback_that_cannot_be_pickled_is_let_go(table):
    """It is asked for nothing after the fit, and set_params gets rid of it."""
    callback = Callback()
    callback.tell = lambda: None
    ae = fit(table, callbacks=[callback])
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
        pickle.dumps(ae)
    again = through_pickle(ae.set_params(callbacks=None))
    assert np.array_equal(again.transform(table), ae.transform(table))


def test_the_display_names_the_loss_of_the_fit(table):
    pytest.importorskip("matplotlib")
    from skae.plotting import LossCurveDisplay

    ae = fit(table, loss="huber").set_params(loss="cosine")
    assert LossCurveDisplay.from_estimator(ae).ax_.get_ylabel().startswith("huber")


# -- going on with a network -----------------------------------------------------------

SAME_NETWORK = [
    *({"activation": "tanh"}, {"normalization": "layer"}, {"dropout": 0.3}),
    *({"init": "random"}, {"ordered": True}, {"standardize": True}, {"loss": "huber"}),
    *({"module": Plain}, {"init": "random", "code_activation": "relu"}),
    {"allow_nan": True},
]


@pytest.mark.parametrize("changed", SAME_NETWORK, ids=str)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_another_network_is_refused(table, changed, method):
    ae = fit(table, warm_start=True)
    if method == "partial_fit":
        ae.partial_fit(table)
    expected = ae.transform(table)
    ae.set_params(**changed)
    name, value = [*changed.items()][-1]
    who = "partial_fit" if method == "partial_fit" else "warm_start=True"
    message = f"{who} of AutoencoderTransformer goes on with .* now .*{name}="
    with pytest.raises(ValueError, match=message):
        getattr(ae, method)(table)
    assert np.array_equal(ae.transform(table), expected)
    assert ae.get_params()[name] == value
    ae.set_params(warm_start=False).fit(table)
    assert np.array_equal(ae.transform(table), fit(table, **changed).transform(table))


@pytest.mark.parametrize(
    "changed", [{"n_components": 3}, {"hidden_layer_sizes": (7,)}], ids=str
)
def test_other_widths_are_refused(table, changed):
    ae = fit(table).set_params(**changed)
    with pytest.raises(ValueError, match=r"partial_fit of .* made with \w+="):
        ae.partial_fit(table)
    with pytest.raises(ValueError, match=r"warm_start=True of .* goes on"):
        ae.set_params(warm_start=True).fit(table)


def test_equal_values_are_the_same_network(table):
    """Another way to say the same, as after a search or a file, is no change."""
    loss = {"squared_error": [0, 1, 2], "huber": (3, 4, 5)}
    ae = AutoencoderTransformer(None, loss=loss, max_epochs=1, random_state=0).fit(table)
    ae.set_params(
        n_components=np.int64(ae.n_components_),
        hidden_layer_sizes=[*ae.hidden_layer_sizes_],
        loss={name: [*columns] for name, columns in loss.items()},
        dropout=np.float32(0),
    )
    assert ae.partial_fit(table).n_samples_seen_ == 400
    ae.set_params(warm_start=True).fit(table)
    own = fit(table, module=Plain, warm_start=True)
    assert through_pickle(own).fit(table).n_components_ == 2


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_how_to_train_may_change(table, method):
    """And what is read of the network after training, such as the unit of its codes."""
    changed = {"warm_start": True, "whiten": True, "lr": 1e-9, "early_stopping": False}
    ae = fit(table, early_stopping=False)
    X_hat, Z = ae.denoise(table), ae.transform(table)
    getattr(ae.set_params(**changed), method)(table)
    np.testing.assert_allclose(ae.denoise(table), X_hat, atol=1e-4)
    assert not np.allclose(ae.transform(table), Z, atol=0.1)
    np.testing.assert_allclose(ae.transform(table).std(axis=0), 1, rtol=1e-2)
    assert np.array_equal(through_pickle(ae).transform(table), ae.transform(table))


def test_a_stream_keeps_its_parameters(table):
    ae = fit(table[:100]).partial_fit(table[100:150])
    ae.set_params(whiten=True, lr=10.0).partial_fit(table[150:])
    same = fit(table[:100]).partial_fit(table[100:150]).partial_fit(table[150:])
    for copied in (ae, through_pickle(ae)):
        assert np.array_equal(copied.transform(table), same.transform(table))


def test_truncated_and_changed(table):
    ae = fit(table, ordered=True, n_components=3)
    expected = ae.truncate(2).transform(table)
    smaller = ae.set_params(ordered=False, n_components=1, whiten=True).truncate(2)
    for copied in (smaller, through_pickle(smaller)):
        assert np.array_equal(copied.transform(table), expected)
        assert copied.n_components == copied.n_components_ == 2
