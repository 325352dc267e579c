"""Callbacks of skorch, given through `callbacks=`: trackers, files, rates, scores."""

import copy

import numpy as np
import pytest
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    LRScheduler,
    PassthroughScoring,
    TensorBoard,
)

from skae import AutoencoderTransformer


def autoencoder(**params):
    params = {"max_epochs": 3, "random_state": 0} | params
    return AutoencoderTransformer(2, **params)


class Outside(Callback):
    """Reports to something that is the user's, as trackers and pruners do."""

    def __init__(self, seen):
        self.seen = seen

    def on_epoch_end(self, net, **kwargs):
        self.seen.append(net.history[-1, "valid_loss"])


def test_tensorboard(curved, tmp_path):
    """The curves of the board are those of the estimator."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(tmp_path)  # it has a thread, and cannot be copied
    ae = autoencoder(callbacks=[TensorBoard(writer)]).fit(curved)
    events = EventAccumulator(str(tmp_path)).Reload()
    for name, curve in ("train", ae.loss_curve_), ("valid", ae.validation_curve_[1:]):
        values = [event.value for event in events.Scalars(f"Loss/{name}_loss")]
        np.testing.assert_allclose(values, curve, rtol=1e-5)
    assert {"Loss/train_loss", "Loss/valid_loss"} <= set(events.Tags()["scalars"])


def test_a_callback_that_reports_outside(curved):
    """The callback is copied, what it reports to is not: a run, a trial, a list."""
    seen = []
    ae = autoencoder(callbacks=[("named", Outside(seen))]).fit(curved)
    assert seen == ae.validation_curve_[1:]
    assert len(seen) == ae.n_iter_


def test_an_error_in_a_callback_leaves_fit(curved):
    class Pruned(Exception):
        pass

    class Prune(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise Pruned

    ae = autoencoder(callbacks=[Prune()])
    with pytest.raises(Pruned):
        ae.fit(curved)
    assert not hasattr(ae, "net_")


def test_stopping_by_a_callback_of_skorch(curved):
    stop = EarlyStopping(
        "train_loss", patience=1, threshold=0.9, lower_is_better=True, sink=lambda _: None
    )
    before = copy.deepcopy(vars(stop))
    ae = autoencoder(callbacks=[stop], max_epochs=30, early_stopping=False).fit(curved)
    assert ae.n_iter_ < 30
    assert vars(stop).keys() == before.keys()  # it was copied


def test_checkpoint(curved, tmp_path):
    """It writes the epochs that are the best so far: `valid_loss_best` of the history."""
    checkpoint = Checkpoint(dirname=tmp_path)
    ae = autoencoder(callbacks=[checkpoint], max_epochs=20).fit(curved)
    written = np.flatnonzero(ae.net_.history[:, "event_cp"]) + 1
    assert written[-1] == ae.best_epoch_
    assert (tmp_path / "params.pt").exists()


def test_writing_the_weights_of_an_epoch(curved, tmp_path):
    """What the best so far is may be said by the training loss as well."""
    checkpoint = Checkpoint(dirname=tmp_path, monitor="train_loss_best")
    passed = PassthroughScoring("train_loss", on_train=True)
    ae = autoencoder(callbacks=[passed, checkpoint]).fit(curved)
    assert ae.net_.history[:, "train_loss"] == pytest.approx(ae.loss_curve_)
    assert (tmp_path / "params.pt").exists()


# -- one unit --------------------------------------------------------------------------


class Reads(Callback):
    """What a callback is told of every batch and every epoch."""

    batches, epochs = [], []

    def on_batch_end(self, net, loss, **kwargs):
        self.batches.append((float(loss), net.history[-1, "batches", -1, "train_loss"]))

    def on_epoch_end(self, net, **kwargs):
        self.epochs.append(net.history[-1, "train_loss"])


@pytest.mark.parametrize("n_samples", [200, 1200], ids=["six members", "one"])
@pytest.mark.parametrize("params", [{}, {"standardize": True}, {"loss": "huber"}], ids=str)
def test_everything_is_in_the_units_of_score(curved, n_samples, params):
    """Per feature, and of one network however many are trained."""
    X = 100 * np.resize(curved, (n_samples, 6))
    Reads.batches.clear()
    Reads.epochs.clear()
    settings = {"lr": 1e-9, "callbacks": [Reads()], "batch_size": n_samples // 4} | params
    ae = autoencoder(**settings).fit(X)
    history = ae.net_.history
    assert history[:, "valid_loss"] == ae.validation_curve_[1:]
    assert history[:, "train_loss"] == ae.loss_curve_ == Reads.epochs
    told, noted = np.transpose(Reads.batches)
    np.testing.assert_allclose(told, noted)
    of_epochs = noted.reshape(3, -1).mean(axis=1)
    np.testing.assert_allclose(of_epochs, ae.loss_curve_, rtol=1e-6)
    # A network that does not move has PCA's errors, in the rows it has seen or not.
    for errors in ae.loss_curve_, ae.validation_curve_, [-ae.pca_score_]:
        np.testing.assert_allclose(errors, -ae.score(X), rtol=0.2)


# -- rates -----------------------------------------------------------------------------


class SetsParams(Callback):
    def on_epoch_end(self, net, **kwargs):
        net.set_params(lr=net.lr / 2)


class SetsAttribute(Callback):
    def on_epoch_end(self, net, **kwargs):
        net.lr = net.lr / 2


class SetsGroups(Callback):
    def on_epoch_end(self, net, **kwargs):
        for group in net.optimizer_.param_groups:
            group["lr"] /= 2


class SetsAtTheBegin(Callback):
    def on_epoch_begin(self, net, **kwargs):
        net.lr = 1.5e-2 / 2 ** (len(net.history) - 1)


HALVING = {
    "step": lambda: LRScheduler("StepLR", step_size=1, gamma=0.5),
    "lambda": lambda: LRScheduler("LambdaLR", lr_lambda=lambda epoch: 0.5**epoch),
    "batches": lambda: LRScheduler("StepLR", step_every="batch", step_size=13, gamma=0.5),
    "plateau": lambda: LRScheduler(
        "ReduceLROnPlateau", monitor="valid_loss", patience=-1, factor=0.5, threshold=0.99
    ),
    "plateau of training": lambda: LRScheduler(
        "ReduceLROnPlateau", monitor="train_loss", patience=-1, factor=0.5, threshold=0.99
    ),
    "parameter": SetsParams,
    "attribute": SetsAttribute,
    "groups": SetsGroups,
    "begin": SetsAtTheBegin,
}


@pytest.fixture(scope="module")
def halved(curved):
    """Errors of a fit whose rate is halved after every epoch."""
    return autoencoder(callbacks=[SetsGroups()], batch_size=16).fit(curved).loss_curve_


@pytest.mark.parametrize("name", HALVING)
def test_a_rate_that_a_callback_sets_is_the_rate(curved, halved, name):
    """However it is set; what it comes to, by hand, is in the tests of the net."""
    ae = autoencoder(callbacks=[HALVING[name]()], batch_size=16).fit(curved)
    assert ae.loss_curve_ == halved
    assert len({*halved, *autoencoder(batch_size=16).fit(curved).loss_curve_}) == 5


# -- scores ----------------------------------------------------------------------------


def size(net, X, y=None):
    return float(sum(p.numel() for p in net.module_.parameters()))


def excess(net, X, y=None):
    """What held-out rows lose beyond those that train."""
    return net.history[-1, "valid_loss"] - net.history[-1, "train_loss"]


@pytest.mark.parametrize("use_caching", [True, False])
@pytest.mark.parametrize("on_train", [True, False])
def test_scores_of_a_callback_are_in_the_history(curved, use_caching, on_train):
    params = {"use_caching": use_caching, "on_train": on_train}
    scores = [EpochScoring(f, name=f.__name__, **params) for f in (size, excess)]
    ae = autoencoder(callbacks=scores).fit(curved)
    assert ae.net_.history[:, "size"][0] > 0
    expected = np.subtract(ae.validation_curve_[1:], ae.loss_curve_)
    np.testing.assert_allclose(ae.net_.history[:, "excess"], expected)


def test_scores_of_batches_are_in_the_history(curved):
    scoring = BatchScoring(size, name="size", on_train=True)
    ae = autoencoder(callbacks=[scoring]).fit(curved)
    assert len(ae.net_.history[:, "size"]) == 3


def mean_of_predictions(net, X, y=None):
    return net.predict(X).mean()


@pytest.mark.parametrize("Scoring", [EpochScoring, BatchScoring])
@pytest.mark.parametrize("scoring", [mean_of_predictions, "r2"])
def test_scores_of_predictions_say_what_to_do(curved, Scoring, scoring):
    """Rows inside the net are not those of X."""
    ae = autoencoder(callbacks=[Scoring(scoring, name="score", on_train=True)])
    with pytest.raises(NotImplementedError, match=r"net\.history, whose train_loss and"):
        ae.fit(curved)
    ae = autoencoder().fit(curved)
    with pytest.raises(NotImplementedError, match="methods of the fitted estimator"):
        ae.net_.predict(curved)
