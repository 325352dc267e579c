"""Held-out rows decide whether corrections are convolutional or dense."""

import dataclasses
import pickle

import numpy as np
import pytest
from sklearn.datasets import make_swiss_roll
from sklearn.preprocessing import StandardScaler

import skae
from skae import AutoencoderTransformer, VariationalAutoencoder, runtime
from skae._autoencoders.layer_choice import kept_layers
from skae._engine.run import ALONE
from skae.modules import ConvolutionalAutoencoder, DenseAutoencoder

QUICK = {"n_components": 2, "sample_shape": (1, -1), "random_state": 0, "max_epochs": 12}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What `kept_layers` uses of a Result, and of its Choice."""

    error: float
    outcome: str = "trained"
    interrupt: BaseException | None = None
    is_out_of_time: bool = False
    is_dense: bool = False

    @property
    def choice(self):
        return self

    def is_ahead_of(self, other):
        return self.error < other.error


@pytest.fixture(scope="module", name="X")
def without_neighbours():
    """Three columns whose order means nothing."""
    X = StandardScaler().fit_transform(make_swiss_roll(250, random_state=0)[0])
    X.flags.writeable = False
    return X


@pytest.fixture(scope="module", name="dense")
def dense_in_spite_of_shape(X):
    return AutoencoderTransformer(**QUICK).fit(X)


def kept(dense, convolutional, peers=ALONE):
    outcomes = {True: dense, False: convolutional}
    return kept_layers(lambda is_dense: outcomes[is_dense], peers, verbose=0)


def test_convolutions_have_to_be_ahead():
    assert kept(Outcome(1.0), Outcome(2.0)) == Outcome(1.0, is_dense=True)
    assert kept(Outcome(2.0), Outcome(1.0)) == Outcome(1.0)
    assert kept(Outcome(1.0), Outcome(1.0)) == Outcome(1.0, is_dense=True)


def test_pca_is_not_called_dense_layers():
    both = Outcome(1.0, outcome="pca"), Outcome(2.0, outcome="pca")
    assert kept(*both) == both[1]


def test_how_the_second_training_ended_is_told():
    stop = KeyboardInterrupt()
    found = kept(Outcome(1.0), Outcome(2.0, interrupt=stop, is_out_of_time=True))
    assert found == Outcome(1.0, interrupt=stop, is_out_of_time=True, is_dense=True)


def test_ctrl_c_in_the_first_ends_the_fit():
    stopped = Outcome(2.0, interrupt=KeyboardInterrupt())
    found = kept_layers(lambda is_dense: {True: stopped}[is_dense], ALONE, verbose=0)
    assert found == dataclasses.replace(stopped, is_dense=True)


def test_processes_follow_the_first():
    class Follower:
        number = 1

        def gather(self, is_better):
            assert is_better
            return [False, True]

    assert kept(Outcome(1.0), Outcome(2.0), Follower()) == Outcome(2.0)


def test_columns_without_neighbours_get_dense_layers(X, dense):
    """The network is that of a fit without `sample_shape`, to the bit."""
    assert not dense.is_convolutional_
    assert dense.outcome_ == "trained"
    assert dense.sample_shape_ == (1, 3)
    plain = AutoencoderTransformer(**QUICK | {"sample_shape": None}).fit(X)
    assert type(dense.net_.module_) is DenseAutoencoder
    assert dense.hidden_layer_sizes_ == plain.hidden_layer_sizes_
    assert dense.validation_curve_ == plain.validation_curve_
    np.testing.assert_array_equal(dense.transform(X), plain.transform(X))
    channels = QUICK | {"hidden_layer_sizes": (32, 64)}
    convolutional = AutoencoderTransformer(**channels).fit(X)
    assert convolutional.is_convolutional_
    assert min(convolutional.validation_curve_) > min(dense.validation_curve_)


def test_images_get_convolutions(digits, capsys):
    params = QUICK | {"n_components": 5, "sample_shape": (1, 8, 8), "verbose": 1}
    ae = AutoencoderTransformer(**params | {"max_epochs": 20}).fit(digits[0][:400])
    assert ae.is_convolutional_
    assert ae.hidden_layer_sizes_ == (32, 64)
    assert type(ae.net_.module_) is ConvolutionalAutoencoder
    assert capsys.readouterr().out.endswith("kept: convolutions\n")


def test_copies_of_dense_layers_answer_alike(X, dense, tmp_path):
    path = tmp_path / "model.skae"
    dense.save(path)
    expected = dense.transform(X)
    for copy in (pickle.loads(pickle.dumps(dense)), skae.load(path)):
        assert not copy.is_convolutional_
        np.testing.assert_array_equal(copy.transform(X), expected)
    np.testing.assert_allclose(runtime.load(path).transform(X), expected, atol=1e-5)


def test_training_goes_on_with_the_kind_that_was_kept(X, dense):
    again = pickle.loads(pickle.dumps(dense)).set_params(warm_start=True, max_epochs=1)
    again.fit(X)
    assert not again.is_convolutional_
    assert again.hidden_layer_sizes_ == dense.hidden_layer_sizes_
    stream = pickle.loads(pickle.dumps(dense)).partial_fit(X)
    assert not stream.is_convolutional_
    assert not np.array_equal(stream.transform(X), dense.transform(X))
    new = AutoencoderTransformer(**QUICK).partial_fit(X)
    assert new.is_convolutional_  # a stream has no rows to decide by


def test_a_checkpoint_changes_nothing(X, dense, tmp_path):
    path = tmp_path / "fit.checkpoint"
    ae = AutoencoderTransformer(**QUICK, checkpoint=path).fit(X)
    np.testing.assert_array_equal(ae.transform(X), dense.transform(X))
    assert not path.exists()


def test_a_share_of_the_variance(X):
    ae = AutoencoderTransformer(**QUICK | {"n_components": 0.7, "max_epochs": 6}).fit(X)
    assert not ae.is_convolutional_
    assert type(ae.net_.module_) is DenseAutoencoder
    assert ae.transform(X).shape == (250, ae.n_components_)


@pytest.mark.parametrize(
    "params",
    [{"early_stopping": False}, {"init": "random"}, {"hidden_layer_sizes": (4,)}],
    ids=str,
)
def test_where_nothing_is_decided(X, params):
    ae = AutoencoderTransformer(**QUICK | {"max_epochs": 1} | params).fit(X)
    assert ae.is_convolutional_


def test_densities(X):
    vae = VariationalAutoencoder(**QUICK | {"max_epochs": 5}).fit(X)
    name = type(vae.net_.module_).__name__
    assert name == (
        "ConvolutionalVariational" if vae.is_convolutional_ else "DenseVariational"
    )
    again = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(again.score_samples(X), vae.score_samples(X))
