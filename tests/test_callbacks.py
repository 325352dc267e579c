"""Callbacks of skorch, given through `callbacks=`: trackers, files, reports to others."""

import copy

import numpy as np
import pytest
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
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
    """The curves of the board are those of the estimator, but for the units."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(tmp_path)  # it has a thread, and cannot be copied
    ae = autoencoder(callbacks=[TensorBoard(writer)]).fit(curved)
    events = EventAccumulator(str(tmp_path)).Reload()
    unit = ae.scale_**2 / curved.shape[1]
    held_out = [event.value * unit for event in events.Scalars("Loss/valid_loss")]
    np.testing.assert_allclose(held_out, ae.validation_curve_[1:], rtol=1e-5)
    assert {"Loss/train_loss", "Loss/valid_loss"} <= set(events.Tags()["scalars"])


def test_a_callback_that_reports_outside(curved):
    """The callback is copied, what it reports to is not: a run, a trial, a list."""
    seen = []
    ae = autoencoder(callbacks=[("named", Outside(seen))]).fit(curved)
    assert len(seen) == ae.n_iter_
    unit = ae.scale_**2 / curved.shape[1]
    np.testing.assert_allclose(np.array(seen) * unit, ae.validation_curve_[1:])


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


def test_scores_of_a_callback_are_in_the_history(curved):
    def size(net, X, y=None):
        return float(sum(p.numel() for p in net.module_.parameters()))

    scoring = EpochScoring(size, name="size", use_caching=False, on_train=True)
    ae = autoencoder(callbacks=[scoring], early_stopping=False).fit(curved)
    assert len(ae.net_.history[:, "size"]) == 3
    assert (np.array(ae.net_.history[:, "size"]) > 0).all()
