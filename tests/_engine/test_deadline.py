"""`time_limit`: when training ends, and what is kept then.

The clock of these tests goes on by a second each time it is read: once when a fit begins,
once after every step, and once between two epochs.
"""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

import skae._engine.deadline
import skae._tables.rows
from skae import AutoencoderTransformer
from skae._engine.callbacks import EpochBar
from skae._engine.deadline import Deadline
from skae.modules import DenseAutoencoder


class Clock:
    """A clock that goes on by `tick` seconds each time it is read."""

    def __init__(self, tick=1.0):
        self.now, self.tick = 0.0, tick

    def __call__(self):
        self.now += self.tick
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(skae._engine.deadline, "clock", clock)
    return clock


def estimator(**params):
    """An estimator that takes ten steps an epoch with 200 rows."""
    defaults = {"max_epochs": 6, "batch_size": 20, "random_state": 0}
    defaults |= {"n_components": 2, "hidden_layer_sizes": (16,)}
    return AutoencoderTransformer(**defaults | params)


def steps_of_epochs(ae):
    return ae.net_.history[:, "train_batch_count"]


def own(n_features, n_components):
    return DenseAutoencoder(n_features, n_components, n_features, (16,))


NETWORKS = {
    "cross-fitted": {},
    "one split": {"cv": [(np.arange(180), np.arange(180, 200))]},
    "every row": {"early_stopping": False},
    "random": {"init": "random"},
    "module": {"module": own},
    "plain module": {"module": own, "init": "random", "batch_size": 18},
    "autograd": {"dropout": 0.1, "ordered": True},
}


def test_deadline(clock):
    deadline = Deadline(3)  # the clock is at 1
    assert deadline.seconds_left == 2  # and now at 2
    assert not deadline.is_over
    assert deadline.is_over
    assert deadline.seconds_left == -1
    assert Deadline().seconds_left == np.inf
    assert not Deadline().is_over


@pytest.mark.parametrize("name", NETWORKS)
def test_an_epoch_is_cut_short(curved, clock, name):
    params = NETWORKS[name]
    whole = estimator(**params).fit(curved)
    ae = estimator(time_limit=25, **params).fit(curved)
    assert steps_of_epochs(whole) == [10] * 6
    assert steps_of_epochs(ae) == [10, 10, 3]
    assert ae.n_iter_ == len(ae.loss_curve_) == 3
    assert ae.loss_curve_[:2] == whole.loss_curve_[:2]
    assert ae.best_epoch_ <= 3
    assert ae._n_steps == sum(steps_of_epochs(ae)[: ae.best_epoch_])
    if ae.early_stopping:
        assert ae.validation_curve_[:3] == whole.validation_curve_[:3]
        assert len(ae.validation_curve_) == 4
    else:
        assert ae.best_epoch_ == 3


@pytest.mark.parametrize("name", NETWORKS)
def test_a_limit_that_is_over_at_once_leaves_a_step(curved, clock, name):
    ae = estimator(time_limit=0.1, **NETWORKS[name]).fit(curved)
    assert steps_of_epochs(ae) == [1]
    if ae.init == "pca" and ae.early_stopping:  # a step is no certain gain
        assert (ae.outcome_, ae.best_epoch_) == ("pca", 0)
        pca = PCA(2).fit(curved)
        np.testing.assert_allclose(ae.transform(curved), pca.transform(curved), atol=1e-5)
    else:
        assert (ae.outcome_, ae.best_epoch_) == ("trained", 1)


def test_a_limit_that_is_not_reached_changes_nothing(curved, clock):
    codes = [
        estimator(time_limit=limit).fit(curved).transform(curved) for limit in (None, 1e6)
    ]
    np.testing.assert_array_equal(*codes)


def test_the_limit_says_nothing_about_max_epochs(curved, clock):
    with pytest.warns(ConvergenceWarning, match="max_epochs=3"):
        estimator(max_epochs=3).fit(curved)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ae = estimator(max_epochs=3, time_limit=25).fit(curved)
    assert ae.n_iter_ == 3


def test_a_table_that_is_streamed(curved, clock, monkeypatch):
    monkeypatch.setattr(skae._tables.rows, "SMALL", 100)
    X = sparse.csr_matrix(np.tile(curved, (6, 1)) + np.repeat(np.arange(6), 200)[:, None])
    ae = estimator(time_limit=5, batch_size=120, max_epochs=2).fit(X)
    assert steps_of_epochs(ae) == [5]


def test_a_search_without_time_ends_with_the_number_of_pca(digits, clock):
    X = digits[0][:200]
    ae = estimator(n_components=0.7, time_limit=0.1).fit(X)
    assert ae.n_components_ == PCA(0.7, svd_solver="full").fit(X).n_components_
    assert steps_of_epochs(ae) == [1]


def test_partial_fit_ignores_it(curved, clock):
    codes = []
    for limit in (None, 0.1):
        ae = estimator(time_limit=limit)
        for chunk in np.tile(curved, (3, 1)).reshape(3, 200, -1):
            ae.partial_fit(chunk)
        codes.append(ae.transform(curved))
    np.testing.assert_array_equal(*codes)


# -- fits that go on -------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0.1, 25, 21.5], ids=["first", "within", "between"])
def test_a_checkpoint_goes_on_with_the_last_whole_epoch(curved, clock, tmp_path, limit):
    path = tmp_path / "fit.checkpoint"
    whole = estimator().fit(curved)
    some = estimator(checkpoint=path, time_limit=limit).fit(curved)
    assert some.n_iter_ < 6
    assert path.exists()
    again = estimator(checkpoint=path).fit(curved)
    assert not path.exists()
    assert again.loss_curve_ == whole.loss_curve_
    assert again.best_epoch_ == whole.best_epoch_
    np.testing.assert_array_equal(again.transform(curved), whole.transform(curved))


def test_parts_of_a_fit_one_after_the_other(curved, clock, tmp_path):
    path = tmp_path / "fit.checkpoint"
    whole = estimator().fit(curved)
    n_iter = []
    while not n_iter or path.exists():
        ae = estimator(checkpoint=path, time_limit=15).fit(curved)
        n_iter.append(ae.n_iter_)
    assert n_iter == sorted(n_iter)
    assert len(n_iter) > 3
    np.testing.assert_array_equal(ae.transform(curved), whole.transform(curved))


def test_a_warm_start_goes_on(curved, clock):
    ae = estimator(time_limit=25, warm_start=True, early_stopping=False).fit(curved)
    assert ae._n_steps == 23
    ae.set_params(time_limit=None).fit(curved)
    assert ae._n_steps == 23 + 60


# -- reports ---------------------------------------------------------------------------


def test_the_last_line_says_why_training_ended(curved, clock, capsys):
    estimator(verbose=1, time_limit=25).fit(curved)
    assert capsys.readouterr().out.endswith("; time_limit has ended training\n")
    estimator(verbose=1, time_limit=1e6).fit(curved)
    assert "time_limit" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds_left", "expected"), [(10.0, 6), (-1.0, 2), (1e6, 50), (np.inf, 50)]
)
def test_the_bar_is_as_long_as_there_is_time(seconds_left, expected):
    net = SimpleNamespace(
        history=[{"dur": 2.0}, {"dur": 4.0}],  # three seconds on average
        deadline=SimpleNamespace(seconds_left=seconds_left),
        max_epochs=50,
    )
    assert EpochBar._expected(net) == expected


def test_a_bar_that_is_drawn(curved, clock, capsys):
    ae = estimator(verbose=2, time_limit=25).fit(curved)
    last = capsys.readouterr().err.rstrip().split("\r")[-1]
    assert f"{ae.n_iter_}/{ae.n_iter_}" in last
