"""Progress: tasks of scikit-learn's callbacks, lines, the bar, and how a fit is ended."""

import copy
import importlib.util
import logging
import pickle
import sys

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

import skae._engine.callbacks as progress
from skae import AutoencoderTransformer

has_callbacks = pytest.mark.skipif(
    not hasattr(AutoencoderTransformer, "set_callbacks"),
    reason="scikit-learn has callbacks from 1.9 on",
)
X = load_iris().data


def autoencoder(n_components=2, **params):
    params = {"max_epochs": 3, "random_state": 0} | params
    return AutoencoderTransformer(n_components, **params)


class Recorder:
    """Writes a line per event to a file, from whatever process it is copied to."""

    max_propagation_depth = None

    def __init__(self, path):
        self.path = path

    def setup(self, estimator, context):
        self.write("setup", context)

    def teardown(self, estimator, context):
        self.write("teardown", context)

    def on_fit_task_begin(self, estimator, context):
        self.write("begin", context)

    def on_fit_task_end(self, estimator, context):
        self.write("end", context)

    def write(self, event, context):
        names = context.estimator_name, context.task_name, context.task_id
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(" ".join(map(str, [event, *names, context.max_subtasks])) + "\n")

    def events(self):
        with open(self.path, encoding="utf-8") as file:
            return [line.split() for line in file]


class StopAt(Recorder):
    """Asks for the end of training after the second epoch."""

    def on_fit_task_end(self, estimator, context):
        super().on_fit_task_end(estimator, context)
        return context.task_name == "epoch" and context.task_id == 1


class CtrlC(Recorder):
    """As if the user pressed it while the callback runs."""

    def __init__(self, path, hook):
        super().__init__(path)
        self.hook = hook

    def write(self, event, context):
        super().write(event, context)
        if self.hook == (event, context.task_name):
            raise KeyboardInterrupt


class Stop(Callback):
    """A callback of skorch that ends training in an epoch, before others hear of it."""

    def __init__(self, hook):
        self.hook = hook

    def on_epoch_begin(self, net, **kwargs):
        self.end("on_epoch_begin", net)

    def on_epoch_end(self, net, **kwargs):
        self.end("on_epoch_end", net)

    def end(self, hook, net):
        if hook == self.hook and len(net.history) == 2:
            raise KeyboardInterrupt


@pytest.fixture
def recorder(tmp_path):
    return Recorder(str(tmp_path / "events"))


def counted(events, event, task):
    return sum(line[0] == event and line[2] == task for line in events)


# -- tasks -----------------------------------------------------------------------------


@has_callbacks
@pytest.mark.parametrize(
    ("params", "announced"),
    [
        ({}, "3"),
        ({"early_stopping": False}, "3"),
        ({"max_epochs": 9, "n_iter_no_change": 1, "tol": 0.9}, "9"),
        ({"hidden_layer_sizes": ()}, "0"),
        ({"n_components": 0.99}, "None"),
        ({"callbacks": [Stop("on_epoch_begin")]}, "3"),
        ({"callbacks": [Stop("on_epoch_end")]}, "3"),
    ],
    ids=["all", "no rows", "early", "settled", "share", "begin", "end"],
)
def test_every_task_that_begins_ends(recorder, params, announced):
    n_components = params.get("n_components", 2)
    params = {k: v for k, v in params.items() if k != "n_components"}
    ae = autoencoder(n_components, **params).set_callbacks(recorder).fit(X)
    events = recorder.events()
    assert events[0] == ["setup", "AutoencoderTransformer", "fit", "0", announced]
    assert [line[0] for line in events[-2:]] == ["end", "teardown"]
    for task in ("fit", "train", "epoch"):
        assert counted(events, "begin", task) == counted(events, "end", task)
    if announced == "None":
        assert counted(events, "begin", "train") > 1
        assert {line[4] for line in events if line[2] == "train"} == {"3"}
    else:
        assert counted(events, "begin", "epoch") == ae.n_iter_
    if announced == "9":
        assert ae.n_iter_ < 9
    assert ae.net_.module_ is not None
    plain = autoencoder(n_components, **params).fit(X)
    np.testing.assert_array_equal(ae.transform(X), plain.transform(X))


@has_callbacks
@pytest.mark.parametrize("n_jobs", [None, pytest.param(2, marks=pytest.mark.nightly)])
def test_tasks_through_grid_search_and_pipeline(recorder, n_jobs):
    pipe = make_pipeline(StandardScaler(), autoencoder())
    grid = {"autoencodertransformer__hidden_layer_sizes": [(8,), (4,)]}
    search = GridSearchCV(pipe, grid, cv=2, n_jobs=n_jobs)
    search.set_callbacks(recorder).fit(X)
    events = [line for line in recorder.events() if line[1] == "AutoencoderTransformer"]
    # Two candidates on two folds, and the best on all rows.
    assert counted(events, "begin", "fit") == counted(events, "end", "fit") == 5
    assert counted(events, "begin", "epoch") == counted(events, "end", "epoch") == 15
    assert {line[4] for line in events if line[2] == "fit"} == {"3"}
    assert "_parent_callback_ctx" not in vars(search.best_estimator_[-1])


@has_callbacks
def test_bar_of_scikit_learn(capsys):
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar

    params = {"max_epochs": 50, "n_iter_no_change": 1, "tol": 0.9}
    pipe = make_pipeline(StandardScaler(), autoencoder(**params))
    grid = {"autoencodertransformer__hidden_layer_sizes": [(8,), (4,)]}
    search = GridSearchCV(pipe, grid, cv=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X)
    assert search.best_estimator_[-1].n_iter_ < 50
    output = capsys.readouterr().out
    assert "AutoencoderTransfo" in output
    last = output.rstrip().splitlines()
    assert all("100%" in line for line in last if " - " in line)


@has_callbacks
@pytest.mark.parametrize("in_pipeline", [False, True])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_stop(tmp_path, in_pipeline, early_stopping):
    stop = StopAt(str(tmp_path / "events"))
    ae = autoencoder(max_epochs=20, early_stopping=early_stopping)
    model = make_pipeline(StandardScaler(), ae) if in_pipeline else ae
    model.set_callbacks(stop).fit(X)
    assert ae.n_iter_ == len(ae.loss_curve_) == 2
    assert ae.best_epoch_ <= 2
    assert np.isfinite(ae.transform(X)).all()


@has_callbacks
def test_fitted_estimator_at_the_end():
    seen = []

    class Score(Recorder):
        def write(self, event, context):
            pass

        def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
            if fitted_estimator is not None:
                seen.append((context.task_name, fitted_estimator.score(X)))

    ae = autoencoder().set_callbacks(Score(None)).fit(X)
    assert seen == [("fit", ae.score(X))]


@has_callbacks
@pytest.mark.parametrize(
    "hook",
    [
        ("setup", "fit"),
        ("begin", "fit"),
        ("begin", "epoch"),
        ("end", "epoch"),
        ("end", "fit"),
    ],
    ids=" ".join,
)
def test_ctrl_c_in_a_callback(tmp_path, hook):
    interrupt = CtrlC(str(tmp_path / "events"), hook)
    ae = autoencoder().set_callbacks(interrupt)
    with pytest.raises(KeyboardInterrupt):
        ae.fit(X)
    assert interrupt.events()[-1][0] == "teardown"
    with pytest.raises(NotFittedError):
        ae.transform(X)
    assert not progress.FIT_STATE & set(vars(ae))
    ae.set_callbacks().fit(X)
    np.testing.assert_array_equal(ae.transform(X), autoencoder().fit(X).transform(X))


# -- words -----------------------------------------------------------------------------


def test_nothing_is_said_by_default(capfd):
    autoencoder().fit(X)
    autoencoder(0.9).fit(X)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("params", [{}, {"standardize": True}, {"early_stopping": False}])
@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_lines(capsys, params, scale):
    """The figures are those of the fitted attributes, in the units of `score`."""
    ae = autoencoder(verbose=1, **params).fit(scale * X)
    header, *lines, kept = capsys.readouterr().out.splitlines()
    columns = [ae.loss_curve_, ae.validation_curve_[1:], [-ae.pca_score_] * 3]
    columns = [column for column in columns if len(column)]
    names = ["training", "held out", "PCA"] if len(columns) == 3 else ["training", "PCA"]
    assert header.split() == ["epoch", *" ".join(names).split(), "seconds"]
    table = np.array([line.split() for line in lines], dtype=float)
    np.testing.assert_array_equal(table[:, 0], [1, 2, 3])
    np.testing.assert_allclose(table[:, 1:-1], np.transpose(columns), rtol=1e-4)
    assert (table[:, -1] >= 0).all()
    assert (table[:, -1] < 60).all()
    if params == {"early_stopping": False}:
        assert kept == "kept: the last epoch"
    elif ae.best_epoch_:
        assert kept == f"kept: epoch {ae.best_epoch_}"
    else:
        assert kept == "kept: PCA, because no epoch was certainly better"


def test_a_line_where_nothing_is_trained(capsys):
    autoencoder(hidden_layer_sizes=(), verbose=1).fit(X)
    assert capsys.readouterr().out == "kept: PCA, without training\n"


def test_lines_go_to_a_log_that_takes_them(capsys, caplog):
    with caplog.at_level(logging.INFO, logger="skae"):
        autoencoder(verbose=1).fit(X)
    assert {record.name for record in caplog.records} == {"skae"}
    assert {record.levelno for record in caplog.records} == {logging.INFO}
    assert len(caplog.records) == 5
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("max_epochs", [3, 50])
def test_bar(capsys, max_epochs):
    ae = autoencoder(verbose=2, max_epochs=max_epochs, n_iter_no_change=2, tol=0.5).fit(X)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    last = err.rstrip().split("\r")[-1]
    assert last.startswith("100%")
    assert f"{ae.n_iter_}/{ae.n_iter_}" in last
    assert f"PCA={-ae.pca_score_:.4g}" in last
    assert f"/{max_epochs} [" in err
    assert pickle.dumps(ae.net_.callbacks_)  # the bar is no longer there


# -- the mixin -------------------------------------------------------------------------


@has_callbacks
@pytest.mark.parametrize("is_fitted", [False, True])
def test_copies(recorder, tmp_path, is_fitted):
    ae = autoencoder().set_callbacks(recorder)
    if is_fitted:
        ae.fit(X)
    assert set(ae.get_params()) == set(autoencoder().get_params())
    for twin in pickle.loads(pickle.dumps(ae)), copy.deepcopy(ae), clone(ae):
        (callback,) = twin._skl_callbacks
        assert callback.path == recorder.path
        twin.fit(X)
    with pytest.raises(TypeError, match="FitCallback protocol"):
        ae.set_callbacks(Stop("on_epoch_end"))
    if is_fitted:
        pytest.importorskip("safetensors")
        from skae.persistence import load

        ae.save(tmp_path / "model")
        loaded = load(tmp_path / "model")
        assert not hasattr(loaded, "_skl_callbacks")
        np.testing.assert_array_equal(loaded.transform(X), ae.transform(X))


@has_callbacks
def test_a_fitted_estimator_holds_neither_data_nor_task(recorder):
    ae = autoencoder().set_callbacks(recorder).fit(X)
    (tasks,) = [c for _, c in ae.net_.callbacks_ if isinstance(c, progress.FitTasks)]
    assert tasks.data is tasks.estimator is None
    assert tasks.open == []
    n_events = len(recorder.events())
    ae.net_.notify("on_epoch_begin")
    ae.net_.notify("on_epoch_end")
    assert len(recorder.events()) == n_events


def test_without_callbacks_of_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    spec = importlib.util.spec_from_file_location("older", progress.__file__)
    older = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(older)

    class Estimator(older.CallbackSupportMixin, BaseEstimator):
        """As with scikit-learn 1.6."""

    assert not hasattr(Estimator, "set_callbacks")
    with older.FitTasks(Estimator(), X) as tasks:
        assert tasks.callbacks == []
