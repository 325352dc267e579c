"""AutoencoderTransformer: what its parameters do, and its promise about PCA."""

import copy

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EarlyStopping
from torch import nn

from skae import AutoencoderTransformer


def autoencoder(n_components=2, **params):
    params = {"max_epochs": 3, "random_state": 0} | params
    return AutoencoderTransformer(n_components, **params)


def pca_of(X, k):
    return PCA(k, svd_solver="full").fit(X)


def error(model, X):
    return np.mean(np.square(model.inverse_transform(model.transform(X)) - X))


def noise(n=60, p=20, seed=0):
    return np.random.default_rng(seed).normal(size=(n, p))


def check_is_pca(ae, X, k, new=None):
    """Codes and reconstructions are PCA's to 1e-5 of their size."""
    pca = pca_of(X, k)
    for rows in (X, X if new is None else new):
        Z, expected = ae.transform(rows), pca.transform(rows)
        np.testing.assert_allclose(Z, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
        X_hat, expected = ae.inverse_transform(Z), pca.inverse_transform(expected)
        np.testing.assert_allclose(
            X_hat, expected, rtol=0, atol=1e-5 * np.abs(expected).max()
        )


# -- the start -------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [5, 15, 19])
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("hidden", ["auto", (), (7,), (30, 20, 10)])
def test_a_tiny_table_is_pca(digits, rows, k, hidden):
    X, new = digits[0][:rows], digits[0][100:200]
    ae = autoencoder(k, hidden_layer_sizes=hidden).fit(X)
    assert ae.n_iter_ == ae.best_epoch_ == 0
    check_is_pca(ae, X, k, new)


@pytest.mark.parametrize("k", [None, 6])
def test_as_many_components_as_features_is_pca(curved, k):
    ae = autoencoder(k).fit(curved)
    assert ae.n_components_ == 6
    assert ae.n_iter_ == 0
    check_is_pca(ae, curved, 6)
    np.testing.assert_allclose(
        ae.inverse_transform(ae.transform(curved)), curved, atol=1e-6
    )


class NeverTrain(Callback):
    """Freezes every weight, so that a fit goes its whole way with the untrained net."""

    def on_train_begin(self, net, **kwargs):
        net.lr = 0.0


@pytest.mark.parametrize("shape", [(200, 6), (1500, 30), (40, 64)], ids=str)
@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("hidden", ["auto", ()])
def test_an_untrained_network_is_pca(shape, early_stopping, hidden):
    rng = np.random.default_rng(0)
    X = rng.normal(size=shape) @ rng.normal(size=(shape[1], shape[1])) + 3.0
    ae = autoencoder(
        3,
        hidden_layer_sizes=hidden,
        early_stopping=early_stopping,
        callbacks=[NeverTrain()],
        max_epochs=2,
    ).fit(X)
    settled = hidden == () and early_stopping  # PCA is the best linear network
    assert ae.n_iter_ == (0 if settled else 2)
    check_is_pca(ae, X, 3)


@pytest.mark.parametrize("hidden", ["auto", ()])
@pytest.mark.parametrize("seed", [0, 1])
def test_noise_ends_as_pca(hidden, seed):
    X = noise(seed=seed)
    ae = autoencoder(4, hidden_layer_sizes=hidden, max_epochs=20).fit(X)
    if ae.best_epoch_ == 0:
        check_is_pca(ae, X, 4, noise(seed=100))
    assert (ae.n_iter_ > 0) == (hidden == "auto")
    assert len(ae.validation_curve_) == ae.n_iter_ + 1
    assert error(ae, noise(seed=100)) < 1.02 * error(pca_of(X, 4), noise(seed=100))


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("n", [200, 1500])
def test_curves_start_at_pca(curved, standardize, n):
    X = np.tile(curved, (8, 1))[:n]
    X = X + 0.1 * noise(*X.shape)
    ae = autoencoder(2, standardize=standardize).fit(X)
    assert len(ae.loss_curve_) == ae.n_iter_ == 3
    assert len(ae.validation_curve_) == 4
    assert ae.validation_curve_[0] == pytest.approx(-ae.pca_score_, rel=1e-4)
    assert 0 < ae.best_epoch_ <= 5
    assert min(ae.validation_curve_) < ae.validation_curve_[0]


# -- never worse than PCA --------------------------------------------------------------

TABLES = {
    "iris": (lambda: load_iris(return_X_y=True)[0], 2),
    "wine": (lambda: load_wine(return_X_y=True)[0], 3),
    "diabetes": (lambda: load_diabetes(return_X_y=True)[0][:200], 3),
    "breast cancer": (lambda: load_breast_cancer(return_X_y=True)[0], 5),
    "noise": (noise, 4),
    "spectra": (lambda: noise(45, 5) @ noise(5, 300, seed=1) + 0.1 * noise(45, 300), 4),
}


@pytest.mark.parametrize("name", TABLES)
def test_never_worse_than_pca(name):
    load, k = TABLES[name]
    ratios = []
    for seed in range(2):
        train, test = train_test_split(load(), test_size=0.3, random_state=seed)
        scaler = StandardScaler().fit(train)
        train, test = scaler.transform(train), scaler.transform(test)
        ae = AutoencoderTransformer(k, random_state=seed, max_epochs=30).fit(train)
        ratios.append(error(ae, test) / error(pca_of(train, k), test))
    assert np.mean(ratios) <= 1.005, ratios


def test_digits_are_reconstructed_much_better(digits):
    train, test = train_test_split(digits[0], test_size=0.2, random_state=0)
    ae = AutoencoderTransformer(16, random_state=0, max_epochs=20).fit(train)
    assert error(ae, test) < 0.7 * error(pca_of(train, 16), test)
    assert -ae.validation_curve_[ae.best_epoch_] > ae.pca_score_


# -- widths ----------------------------------------------------------------------------


@pytest.mark.parametrize("k", [7, 20])
def test_code_wider_than_the_data(curved, k):
    ae = autoencoder(k, init="random", max_epochs=30).fit(curved)
    assert ae.transform(curved).shape == (200, k)
    assert min(ae.hidden_layer_sizes_) >= k
    assert ae.score(curved) > -0.3 * curved.var()
    with pytest.raises(ValueError, match=rf"n_components={k} .*=6.*init='random'"):
        autoencoder(k).fit(curved)


@pytest.mark.parametrize("code_activation", ["relu", "logistic", "tanh"])
def test_code_activation(curved, code_activation):
    ae = autoencoder(4, init="random", code_activation=code_activation, max_epochs=20)
    codes = ae.fit(curved).net_.module_.encode(torch.zeros(3, 6))
    low, high = {"relu": (0, np.inf), "logistic": (0, 1), "tanh": (-1, 1)}[code_activation]
    Z = ae.transform(curved) / ae.scale_
    assert Z.min() >= low
    assert Z.max() <= high
    assert codes.shape == (3, 4)
    assert ae.score(curved) > -np.mean(np.square(curved - curved.mean(axis=0)))
    with pytest.raises(ValueError, match=f"code_activation='{code_activation}'.*random"):
        autoencoder(4, code_activation=code_activation).fit(curved)


@pytest.mark.parametrize(
    "sizes", [(), (5,), [9, 4], (np.int64(8),), np.array([9, 4])], ids=str
)
def test_hidden_layers_are_mirrored(curved, sizes):
    ae = autoencoder(2, hidden_layer_sizes=sizes, max_epochs=1).fit(curved)
    assert ae.hidden_layer_sizes_ == tuple(sizes)
    module = ae.net_.module_
    for mapping, expected in ((module.encoder, sizes), (module.decoder, sizes[::-1])):
        weights = [layer.weight for layer in mapping.hidden if hasattr(layer, "weight")]
        assert [len(w) for w in weights] == list(expected)


WRONG_SIZES = [(0,), (5, -1), (8.5,), [[8]], ("8",), (True,), (None,), (np.inf,)]


@pytest.mark.parametrize("sizes", [*WRONG_SIZES, np.array([[8]]), np.array(["8"])], ids=str)
def test_hidden_layers_must_be_positive(curved, sizes):
    text = "hidden_layer_sizes of AutoencoderTransformer must be positive whole numbers"
    with pytest.raises(ValueError, match=text) as caught:
        autoencoder(hidden_layer_sizes=sizes).fit(curved)
    assert str(caught.value).endswith(f"got {sizes!r}.")


@pytest.mark.parametrize("activation", ["gelu", "silu", "relu", "elu", "tanh", "logistic"])
def test_every_activation_trains(curved, activation):
    ae = autoencoder(activation=activation, early_stopping=False, max_epochs=120)
    assert ae.fit(curved).score(curved) > 0.95 * ae.pca_score_


# -- an architecture of one's own ------------------------------------------------------


class Torchs(nn.Module):
    def __init__(self, n_features, n_components):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(n_features, 32), nn.BatchNorm1d(32), nn.Tanh()
        )
        self.code = nn.Linear(32, n_components)
        self.decoder = nn.Sequential(nn.Linear(n_components, 32), nn.Tanh())
        self.out = nn.Linear(32, n_features)

    def encode(self, X):
        return self.code(self.encoder(X))

    def decode(self, Z):
        return self.out(self.decoder(Z))

    def forward(self, X):
        return self.decode(self.encode(X))


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("n", [65, 200])
def test_module(curved, early_stopping, n):
    params = {"early_stopping": early_stopping, "batch_size": 16}
    params |= {"module": Torchs, "init": "random"}
    ae = autoencoder(max_epochs=40, **params).fit(curved[:n])
    assert isinstance(ae.net_.module_, Torchs)
    assert ae.loss_curve_[-1] < 0.5 * ae.loss_curve_[0]
    assert ae.score(curved[:n]) > -0.5 * curved.var(axis=0).mean()
    if early_stopping:
        assert ae.best_epoch_ > 0
        assert min(ae.validation_curve_) < 0.5 * ae.validation_curve_[0]
        assert ae.validation_curve_[ae.best_epoch_] == min(ae.validation_curve_)


@pytest.mark.parametrize("made", [None, 3, nn.Linear(2, 2), "network"], ids=repr)
def test_module_must_return_an_autoencoder(curved, made):
    text = f"methods encode and decode, got {type(made).__name__}"
    with pytest.raises(TypeError, match=text):
        autoencoder(module=lambda n_features, n_components: made).fit(curved)


class Interrupts(Torchs):
    def encode(self, X):
        if self.training:
            raise KeyboardInterrupt
        return super().encode(X)


def test_ctrl_c_is_not_swallowed(curved):
    with pytest.raises(KeyboardInterrupt):
        autoencoder(module=Interrupts).fit(curved)


# -- losses ----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-0.1, 1.1])
@pytest.mark.parametrize("method", ["fit", "score", "score_samples"])
def test_binary_cross_entropy_refuses_what_is_out_of_range(digits, value, method):
    ae, bad = autoencoder(loss="binary_cross_entropy"), digits[0][:100].copy()
    ae.fit(digits[0][:100])
    bad[7, 13] = value
    with pytest.raises(ValueError, match=r"\[0, 1\], but feature 13 of X"):
        getattr(ae, method)(bad)


@pytest.mark.parametrize("init", ["pca", "random"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_cross_entropy_returns_probabilities(digits, init, dtype):
    X = digits[0][:300].astype(dtype)
    ae = autoencoder(8, loss="binary_cross_entropy", init=init).fit(X)
    X_hat = ae.inverse_transform(10 * ae.transform(X))
    assert X_hat.dtype == dtype
    assert X_hat.min() >= 0
    assert X_hat.max() <= 1
    P = ae.inverse_transform(ae.transform(X)).astype(float).clip(1e-12, 1 - 1e-12)
    expected = (X * np.log(P) + (1 - X) * np.log1p(-P)).mean(axis=1)
    np.testing.assert_allclose(ae.score_samples(X), expected, rtol=1e-3)


def test_binary_cross_entropy_beats_its_linear_start(digits):
    X = digits[0][:500]
    params = {"loss": "binary_cross_entropy", "early_stopping": False}
    ae = autoencoder(8, max_epochs=30, **params).fit(X)
    assert ae.score(X) > ae.pca_score_
    mean = X.mean(axis=0).clip(1e-3, 1 - 1e-3)
    assert ae.pca_score_ > (X * np.log(mean) + (1 - X) * np.log(1 - mean)).mean()


def test_binary_cross_entropy_falls_back_to_its_linear_start():
    X = (noise(80, 10) > 0).astype(float)
    ae = autoencoder(3, loss="binary_cross_entropy").fit(X)
    if ae.best_epoch_ == 0:
        check_codes, expected = ae.transform(X), pca_of(X, 3).transform(X)
        np.testing.assert_allclose(
            check_codes, expected, atol=1e-5 * np.abs(expected).max()
        )
    assert ae.score(X) > np.log(0.5)


# -- the score -------------------------------------------------------------------------


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_score_is_minus_the_mean_squared_error(curved, standardize, dtype):
    X = (7 * curved + 5).astype(dtype)
    ae = autoencoder(standardize=standardize).fit(X)
    residual = ae.inverse_transform(ae.transform(X)) - X
    residual = residual / (ae.scale_ if standardize else 1.0)
    expected = -np.square(residual).mean(axis=1)
    scores = ae.score_samples(X)
    assert scores.dtype == np.float64
    assert scores.shape == (200,)
    rtol = 1e-9 if dtype == np.float64 else 1e-3
    np.testing.assert_allclose(scores, expected, rtol=rtol, atol=rtol * -expected.mean())
    assert type(ae.score(X)) is float
    assert ae.score(X) == scores.mean()


@pytest.mark.parametrize("n", [200, 1500])
def test_pca_score_is_pcas(curved, n):
    """Of the training rows, where nobody is held out."""
    X = np.tile(curved, (8, 1))[:n]
    ae = autoencoder(early_stopping=False, max_epochs=1).fit(X)
    assert ae.pca_score_ == pytest.approx(-error(pca_of(X, 2), X))
    assert ae.validation_curve_ == []


# -- training --------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [1, 7])
@pytest.mark.parametrize("n", [10, 200])
@pytest.mark.parametrize("init", ["pca", "random"])
def test_without_early_stopping_every_epoch_is_trained(curved, epochs, n, init):
    params = {"early_stopping": False, "init": init, "n_iter_no_change": 1}
    ae = autoencoder(max_epochs=epochs, **params).fit(curved[:n])
    assert ae.n_iter_ == ae.best_epoch_ == len(ae.loss_curve_) == epochs


def test_early_stopping_stops(curved):
    ae = autoencoder(max_epochs=50, n_iter_no_change=2, tol=0.5).fit(curved)
    assert ae.n_iter_ < 50
    assert ae.best_epoch_ <= ae.n_iter_


@pytest.mark.parametrize(
    ("params", "patience"),
    [
        ({"batch_size": 20}, 4),
        ({"batch_size": 34}, 5),  # six steps an epoch
        ({"batch_size": 200}, 10),
        ({"noise": 0.1, "batch_size": 20}, 10),
        ({"cv": [(np.arange(50, 200), np.arange(50))], "batch_size": 20}, 4),
        ({"n_iter_no_change": 2, "batch_size": 200}, 2),
    ],
)
def test_cross_fitted_tables_need_less_patience(curved, params, patience):
    ae = autoencoder(max_epochs=40, tol=0.9, **params).fit(curved)
    assert ae.n_iter_ == 1 + patience  # the first epoch is the best in any case


def test_tables_of_one_split_need_more_patience(curved):
    X = np.tile(curved, (6, 1)) + 0.01 * np.random.default_rng(0).normal(size=(1200, 6))
    ae = autoencoder(max_epochs=40, tol=0.9).fit(X)
    assert ae.n_iter_ == 11


@pytest.mark.parametrize(
    ("n", "p", "steps"), [(300, 20, 30), (1200, 6, 30), (1200, 20, 60), (1200, 40, 100)]
)
def test_the_rate_rises_for_longer_if_one_network_has_many_features(n, p, steps):
    X = np.random.default_rng(0).normal(size=(n, p))
    assert autoencoder(max_epochs=1).fit(X).net_.warm_up == steps
    X[::50, 0] = np.nan
    assert autoencoder(max_epochs=1, allow_nan=True).fit(X).net_.warm_up == 30


def layers(ae, kind):
    return [layer for layer in ae.net_.module_.modules() if type(layer).__name__ == kind]


def test_dropout(curved):
    ae = autoencoder(dropout=0.4, early_stopping=False).fit(curved)
    assert [layer.p for layer in layers(ae, "Dropout")] == [0.4] * 4
    assert not layers(autoencoder().fit(curved), "Dropout")
    # It regularises training and is off afterwards.
    assert np.array_equal(ae.transform(curved), ae.transform(curved))
    plain = autoencoder(early_stopping=False).fit(curved)
    assert plain.loss_curve_[-1] < ae.loss_curve_[-1]


def test_the_learning_rate_that_suits(curved):
    for width, lr in ((64, 1.5e-2), (2048, 1.5e-2 / 16)):
        ae = autoencoder(hidden_layer_sizes=(width,), batch_size=64, max_epochs=1)
        assert ae.fit(curved).net_.lr == lr
    assert autoencoder(lr=1e-3, max_epochs=1).fit(curved).net_.lr == 1e-3
    with pytest.raises(ValueError, match="'lr' parameter"):
        autoencoder(lr="fast").fit(curved)


def test_weight_decay_shrinks_the_weights(curved):
    norms = []
    for weight_decay in (0.0, 10.0):
        ae = autoencoder(init="random", early_stopping=False, weight_decay=weight_decay)
        parameters = ae.set_params(max_epochs=20).fit(curved).net_.module_.parameters()
        norms.append(sum(float(p.detach().square().sum()) for p in parameters))
    assert norms[1] < 0.5 * norms[0]


@pytest.mark.parametrize("early_stopping", [True, False])
def test_warm_start_goes_on(curved, early_stopping):
    params = {"warm_start": True, "early_stopping": early_stopping, "max_epochs": 10}
    ae = autoencoder(**params).fit(curved)
    first, score = ae.loss_curve_, ae.score(curved)
    ae.fit(curved)
    assert ae.loss_curve_[0] < first[0]
    assert ae.score(curved) >= score
    cold = autoencoder(**params).fit(curved).set_params(warm_start=False)
    assert cold.fit(curved).loss_curve_ == first


def test_warm_start_of_another_shape(curved):
    ae = autoencoder(warm_start=True).fit(curved)
    with pytest.raises(ValueError, match=r"warm_start=True .*Set warm_start=False"):
        ae.set_params(n_components=3).fit(curved)


# -- callbacks and output --------------------------------------------------------------


class Counts(Callback):
    """Counts in a list of the class: the instance is copied before it is used."""

    seen = []

    def on_epoch_end(self, net, **kwargs):
        self.seen.append(net.history[-1, "train_loss"])
        self.state = "used"


class CountsBatches(Counts):
    seen = []

    def on_epoch_end(self, net, **kwargs):
        pass

    def on_batch_end(self, net, batch, training, **kwargs):
        self.seen.append(len(batch[0]))
        self.state = "used"


@pytest.mark.parametrize(("Kind", "calls"), [(Counts, 3), (CountsBatches, 3 * 13)])
def test_callbacks_are_honoured_and_never_changed(curved, Kind, calls):
    Kind.seen.clear()
    callbacks = [Kind(), ("named", Kind())]
    before = copy.deepcopy([vars(callbacks[0]), vars(callbacks[1][1])])
    params = {"max_epochs": 3, "batch_size": 16, "early_stopping": False}
    ae = autoencoder(callbacks=callbacks, **params).fit(curved)
    assert len(Kind.seen) == 2 * calls
    assert [vars(callbacks[0]), vars(callbacks[1][1])] == before
    assert ae.callbacks is callbacks
    assert len(callbacks) == 2
    plain = autoencoder(**params).fit(curved)
    assert np.array_equal(ae.transform(curved), plain.transform(curved))
    assert ae.loss_curve_ == pytest.approx(plain.loss_curve_)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_skorchs_early_stopping_stops_the_fit(curved, early_stopping):
    monitor = "valid_loss" if early_stopping else "train_loss"
    stop = EarlyStopping(monitor=monitor, patience=2, threshold=0.9)
    before = copy.deepcopy(vars(stop))
    ae = autoencoder(max_epochs=30, callbacks=[stop], early_stopping=early_stopping)
    ae.fit(curved)
    assert ae.n_iter_ == 3
    assert len(ae.loss_curve_) == 3
    assert vars(stop) == before
    assert np.isfinite(ae.transform(curved)).all()


class Breaks(Callback):
    def on_epoch_end(self, net, **kwargs):
        raise RuntimeError("of the callback")


def test_errors_of_callbacks_are_raised(curved):
    with pytest.raises(RuntimeError, match="of the callback"):
        autoencoder(callbacks=[Breaks()]).fit(curved)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_verbose(curved, capsys, early_stopping):
    ae = autoencoder(max_epochs=4, early_stopping=early_stopping).fit(curved)
    ae.inverse_transform(ae.transform(curved))
    assert capsys.readouterr() == ("", "")
    ae.set_params(verbose=1).fit(curved)
    lines = capsys.readouterr().out.splitlines()
    epochs = [line.split()[0] for line in lines if line.strip()[:1].isdigit()]
    assert epochs == ["1", "2", "3", "4"]
    assert len(lines) == 6  # with a header and its rule
    copy.deepcopy(ae).transform(curved)
    assert capsys.readouterr() == ("", "")


def test_training_stops_at_values_that_are_not_finite(curved):
    with pytest.warns(ConvergenceWarning, match="met NaN or inf"):
        ae = autoencoder(lr=1e30, max_epochs=50, early_stopping=True).fit(curved)
    assert ae.best_epoch_ == 0
    check_is_pca(ae, curved, 2)


# -- attributes ------------------------------------------------------------------------


@pytest.mark.parametrize("standardize", [False, True])
def test_fitted_attributes(curved, standardize):
    ae = autoencoder(standardize=standardize).fit(curved)
    assert (ae.n_samples_, ae.n_features_in_, ae.n_components_) == (200, 6, 2)
    np.testing.assert_allclose(ae.mean_, curved.mean(axis=0), atol=1e-12)
    expected = curved.std(axis=0) if standardize else np.sqrt(curved.var(axis=0).mean())
    np.testing.assert_allclose(ae.scale_, expected)
    assert ae.device_ == torch.device("cuda" if torch.cuda.is_available() else "cpu")
    assert type(ae.net_).__mro__[1].__module__ == "skorch.net"
    assert not ae.net_.module_.training


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_device(curved, device):
    ae = autoencoder(device=device, max_epochs=1).fit(curved)
    assert ae.device_ == torch.device("cpu")
    assert ae.get_params()["device"] == device


# -- tied weights ----------------------------------------------------------------------


@pytest.mark.parametrize("n", [200, 1500])
def test_tied_weights(digits, n):
    X = digits[0][:n]
    params = {"init": "random", "tied_weights": True, "random_state": 0}
    ae = AutoencoderTransformer(8, max_epochs=3, **params).fit(X)
    again = AutoencoderTransformer(8, max_epochs=3, **params).fit(X)
    assert np.array_equal(ae.transform(X), again.transform(X))
    assert ae.loss_curve_[-1] < ae.loss_curve_[0]
    X_hat = ae.inverse_transform(ae.transform(X))
    assert ae.score(X) == pytest.approx(-np.square(X_hat - X).mean())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"init": "pca"}, "needs init='random'"),
        ({"ordered": True}, "ordered=False"),
        ({"warm_start": True}, "warm_start=False"),
        ({"hidden_layer_sizes": ()}, "needs hidden layers"),
    ],
    ids=str,
)
def test_what_tied_weights_do_not_go_with(curved, params, message):
    params = {"init": "random", "tied_weights": True} | params
    with pytest.raises(ValueError, match=message):
        AutoencoderTransformer(2, **params).fit(curved)


# -- warm_start ------------------------------------------------------------------------


def test_a_warm_start_goes_on_at_the_rate_where_the_last_fit_ended(digits):
    """And with the same rows held out, also where there is no seed."""
    rates = []

    class Rates(Callback):
        def on_grad_computed(self, net, **kwargs):
            rates.append(net.lr * net.optimizer_.factor)

    params = {"max_epochs": 3, "warm_start": True, "hidden_layer_sizes": (32,)}
    ae = AutoencoderTransformer(4, callbacks=[Rates()], **params).fit(digits[0])
    n_steps = len(rates)
    assert ae.best_epoch_ == 3
    error = ae.validation_curve_[-1]
    ae.fit(digits[0])
    rise = min(1, (n_steps + 1) / 100)  # for 64 features
    assert rates[n_steps] == pytest.approx(1.5e-2 * rise / np.sqrt(1 + n_steps / 500))
    assert ae.validation_curve_[0] == pytest.approx(error, rel=1e-4)
    assert ae.outcome_ == "trained"
    assert ae.validation_curve_[-1] < error


def test_what_is_kept_is_told(curved, capsys, caplog):
    noise = np.random.default_rng(0).normal(size=(100, 5))
    params = {"max_epochs": 5, "random_state": 0, "verbose": 1}
    ae = AutoencoderTransformer(2, warm_start=True, lr=2e-2, **params).fit(curved)
    assert ae.outcome_ == "trained"
    assert capsys.readouterr().out.endswith(f"kept: epoch {ae.best_epoch_}\n")
    ae.set_params(lr=1e-12).fit(curved)
    assert ae.outcome_ == "unchanged"
    kept = "kept: the network as it was before, because no epoch was certainly better"
    assert capsys.readouterr().out.endswith(kept + "\n")
    assert AutoencoderTransformer(2, **params).fit(noise).outcome_ == "pca"
    kept = "kept: PCA, because no epoch was certainly better"
    assert capsys.readouterr().out.endswith(kept + "\n")
    with caplog.at_level("INFO", logger="skae"):
        AutoencoderTransformer(2, random_state=0, max_epochs=5).fit(noise)
    assert [record.message for record in caplog.records] == [kept]
