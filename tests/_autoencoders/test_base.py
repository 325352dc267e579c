"""Subclasses whose `__init__` takes some parameters, or more, as those of PCA may."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer

QUICK = {"max_epochs": 2, "hidden_layer_sizes": (6,), "random_state": 0}


class Small(AutoencoderTransformer):
    """One parameter of AutoencoderTransformer's, and values of its own for the others."""

    def __init__(self, n_components=2):
        super().__init__(n_components, whiten=True, **QUICK)


class Smaller(Small):
    """No parameter at all."""

    def __init__(self):
        super().__init__(1)


class Renamed(AutoencoderTransformer):
    """A parameter under another name, which decides over one of the others."""

    def __init__(self, width=2):
        super().__init__(width, **QUICK)
        self.width = width

    def fit(self, X, y=None):
        self.n_components = self.width
        return super().fit(X)


class Scaled(AutoencoderTransformer):
    """A parameter more."""

    def __init__(self, n_components=2, *, factor=3.0, lr=1e-3):
        super().__init__(n_components, lr=lr, **QUICK)
        self.factor = factor

    def transform(self, X):
        return self.factor * super().transform(X)


class Open(AutoencoderTransformer):
    """All the other parameters, which get_params does not see."""

    def __init__(self, n_components=2, **kwargs):
        super().__init__(n_components, **QUICK | kwargs)


class SmallPCA(PCA):
    def __init__(self, n_components=2):
        super().__init__(n_components, whiten=True)


EQUAL = [  # what a subclass is, written out
    (Small(), {"whiten": True}),
    (Small(3), {"n_components": 3, "whiten": True}),
    (Smaller(), {"n_components": 1, "whiten": True}),
    (Renamed(3), {"n_components": 3}),
    (Scaled(factor=1.0), {"lr": 1e-3}),
    (Open(loss="huber", ordered=True), {"loss": "huber", "ordered": True}),
]


@pytest.mark.parametrize(("subclass", "params"), EQUAL, ids=lambda value: str(value)[:30])
def test_fits_as_what_it_stands_for(curved, subclass, params):
    ae = AutoencoderTransformer(**{"n_components": 2} | QUICK | params).fit(curved)
    expected = ae.transform(curved), ae.score_samples(curved)
    short = copy.deepcopy(subclass).fit(curved)
    for copied in (short, pickle.loads(pickle.dumps(short)), copy.deepcopy(short)):
        assert np.array_equal(copied.transform(curved), expected[0])
        assert np.array_equal(copied.score_samples(curved), expected[1])
        assert copied.get_params() == subclass.get_params()
        assert type(copied) is type(subclass)
    short.partial_fit(curved)
    assert np.array_equal(ae.partial_fit(curved).transform(curved), short.transform(curved))


def test_is_used_as_a_subclass_of_pca_is(curved):
    for short in (SmallPCA(), Small()):
        assert short.get_params() == {"n_components": 2}
        assert clone(short).set_params(n_components=3).fit(curved).n_components_ == 3
        with pytest.raises(ValueError, match="Invalid parameter 'whiten'"):
            short.set_params(whiten=False)
        np.testing.assert_allclose(short.fit_transform(curved).std(axis=0), 1, rtol=0.01)
        search = GridSearchCV(make_pipeline(StandardScaler(), short), {}, cv=2)
        step = type(short).__name__.lower()
        search.set_params(param_grid={f"{step}__n_components": [1, 2]}).fit(curved)
        assert search.best_params_ == {f"{step}__n_components": 2}
        assert repr(clone(short)) == f"{type(short).__name__}()"


def test_set_params_after_the_fit(curved):
    """Attributes that are no parameters of the subclass are noted with the fit too."""
    short = Small().fit(curved)
    Z = short.transform(curved)
    short.set_params(n_components=3)
    short.activation, short.whiten = "tanh", False
    for copied in (short, pickle.loads(pickle.dumps(short))):
        assert np.array_equal(copied.transform(curved), Z)
        assert copied.n_components == 3


def test_a_parameter_more(curved):
    ae = Scaled(factor=2.0).fit(curved)
    Z = ae.transform(curved)
    again = pickle.loads(pickle.dumps(ae.set_params(factor=4.0)))
    # Its meaning is the subclass's own: here it is read in transform.
    assert np.array_equal(again.transform(curved), 2 * Z)
    assert clone(ae).get_params() == {"n_components": 2, "factor": 4.0, "lr": 1e-3}


class Careful(AutoencoderTransformer):
    def __init__(self, checkpoint=None, n_components=2):
        super().__init__(n_components, checkpoint=checkpoint, warm_start=True, **QUICK)


def test_checkpoint_and_warm_start(curved, tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "fit"
    ae = Careful(path).fit(curved)
    full = AutoencoderTransformer(2, warm_start=True, **QUICK).fit(curved)
    assert np.array_equal(ae.transform(curved), full.transform(curved))
    ae.fit(curved)
    assert np.array_equal(ae.transform(curved), full.fit(curved).transform(curved))
    assert not path.exists()
    ae.init = "random"
    with pytest.raises(ValueError, match="warm_start=True of Careful"):
        ae.fit(curved)
