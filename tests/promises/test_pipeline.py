"""Inside scikit-learn: pipelines, searches, unions, columns, output containers."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer


def autoencoder(n_components=2, **params):
    params = {"max_epochs": 10, "random_state": 0} | params
    return AutoencoderTransformer(n_components, **params)


@pytest.fixture
def frame(curved):
    return pd.DataFrame(curved, columns=list("abcdef"))


def test_grid_search_picks_by_score(curved):
    pipe = Pipeline([("scale", StandardScaler()), ("reduce", autoencoder())])
    # A network without hidden layers is linear: on this bent surface the other wins.
    grid = {"reduce__hidden_layer_sizes": [(), (64, 32)]}
    search = GridSearchCV(pipe, grid, cv=3).fit(curved)
    scores = search.cv_results_["mean_test_score"]
    assert search.best_params_ == {"reduce__hidden_layer_sizes": (64, 32)}
    assert scores[1] > scores[0]
    Z = search.transform(curved)
    assert Z.shape == (200, 2)
    expected = cross_val_score(search.best_estimator_, curved, cv=3).mean()
    assert search.best_score_ == pytest.approx(expected)


def test_drop_in_before_a_classifier(digits):
    X_train, X_test, y_train, y_test = train_test_split(*digits, random_state=0)
    pipes = [
        make_pipeline(reduce, StandardScaler(), LogisticRegression(max_iter=300))
        for reduce in (PCA(16), autoencoder(16))
    ]
    pca, ae = (pipe.fit(X_train, y_train).score(X_test, y_test) for pipe in pipes)
    assert ae > 0.9
    assert ae > pca - 0.03
    Z = pipes[1][:-1].transform(X_test)
    assert pipes[1][:-1].inverse_transform(Z).shape == X_test.shape


def test_feature_names(frame):
    ae = autoencoder().fit(frame)
    names = ["autoencodertransformer0", "autoencodertransformer1"]
    assert list(ae.get_feature_names_out()) == names
    assert list(ae.feature_names_in_) == list("abcdef")
    with pytest.raises(ValueError, match="feature names"):
        ae.transform(frame.rename(columns={"a": "z"}))


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_set_output(frame, container):
    ae = autoencoder().set_output(transform=container)
    out = ae.fit_transform(frame)
    assert type(out).__module__.split(".")[0] == container
    assert list(out.columns) == list(ae.get_feature_names_out())
    assert np.array_equal(out, ae.set_output(transform="default").transform(frame))
    if container == "pandas":
        shuffled = frame.sample(frac=1, random_state=0)
        out = ae.set_output(transform="pandas").transform(shuffled)
        assert list(out.index) == list(shuffled.index)


def test_column_transformer(frame):
    parts = [("ae", autoencoder(1), ["a", "b", "c"]), ("rest", "passthrough", ["f"])]
    columns = ColumnTransformer(parts)
    out = columns.fit_transform(frame)
    alone = autoencoder(1).fit_transform(frame[["a", "b", "c"]])
    assert np.array_equal(out, np.c_[alone, frame[["f"]]])
    names = ["ae__autoencodertransformer0", "rest__f"]
    assert list(columns.get_feature_names_out()) == names


def test_feature_union(curved):
    union = FeatureUnion([("pca", PCA(2)), ("ae", autoencoder())])
    out = union.fit_transform(curved)
    assert np.array_equal(out[:, 2:], autoencoder().fit_transform(curved))
    assert len(union.get_feature_names_out()) == out.shape[1] == 4


def test_score_takes_no_names_twice(frame):
    """`score` and `score_samples` walk a frame without a warning about its names."""
    ae = autoencoder().fit(frame)
    assert ae.score(frame) == ae.score(frame, y=np.arange(len(frame)))
    assert ae.score(frame) == np.mean(ae.score_samples(frame))
