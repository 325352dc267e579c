"""Programs around PCA, run with PCA and with the class that takes its place.

They are in the spirit of scikit-learn's gallery: each takes a class, `Reducer`, and
nothing but that class differs between the two runs.
"""

import functools

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris, load_wine, make_circles
from sklearn.decomposition import PCA, KernelPCA
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import gen_batches

from skae import AutoencoderTransformer

REDUCERS = {
    "PCA": PCA,
    "AutoencoderTransformer": functools.partial(
        AutoencoderTransformer,
        hidden_layer_sizes=(32,),
        max_epochs=6,
        random_state=0,
    ),
}


@pytest.fixture(params=REDUCERS, name="Reducer")
def reducer(request):
    return REDUCERS[request.param]


@pytest.fixture(scope="module")
def wine():
    return load_wine(return_X_y=True, as_frame=True)


def test_pipeline_of_digits(Reducer, digits):
    """Chaining a reduction and a classifier, and searching over both."""
    X, y = digits[0][:700], digits[1][:700]
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    pipe = Pipeline(
        [
            ("reduce", Reducer()),
            ("scale", StandardScaler()),
            ("classify", LogisticRegression(max_iter=300)),
        ]
    )
    grid = {"reduce__n_components": [2, 16], "classify__C": [1.0]}
    search = GridSearchCV(pipe, grid, cv=2).fit(X_train, y_train)
    assert search.best_params_["reduce__n_components"] == 16
    assert search.score(X_test, y_test) > 0.9
    best = search.best_estimator_["reduce"]
    assert 0.6 < np.cumsum(best.explained_variance_ratio_)[-1] < 1


def test_decomposition_into_images(Reducer, digits):
    """Components of pictures are pictures."""
    X = digits[0][:500]
    model = Reducer(n_components=6, whiten=True).fit(X)
    images = model.components_.reshape(6, 8, 8)
    np.testing.assert_allclose(np.square(images).sum(axis=(1, 2)), 1, rtol=1e-5)
    assert model.mean_.reshape(8, 8).max() <= 1
    # Adding a component to the mean picture moves the reconstruction along it, except for
    # pixels that are held at zero.
    step = 0.01 * np.eye(6)
    moved = model.inverse_transform(step) - model.inverse_transform(0 * step)
    cosines = (moved * model.components_).sum(axis=1) / np.linalg.norm(moved, axis=1)
    assert cosines.min() > 0.95
    residual = X - model.inverse_transform(model.transform(X))
    assert np.square(residual).sum() < 0.55 * np.square(X - X.mean(axis=0)).sum()


def test_iris_in_a_plane(Reducer):
    """Data for a scatter plot, one species apart from the others."""
    X, y = load_iris(return_X_y=True)
    model = Reducer(n_components=2)
    Z = model.fit_transform(X)
    np.testing.assert_allclose(Z, model.transform(X), atol=1e-6)
    assert Z.shape == (150, 2)
    assert model.explained_variance_ratio_[0] > 0.85
    setosa, others = Z[y == 0, 0], Z[y != 0, 0]
    assert setosa.max() < others.min() or setosa.min() > others.max()
    assert cross_val_score(LogisticRegression(), Z, y).mean() > 0.93


def test_reduction_of_some_columns(Reducer, wine):
    """One part of a table is reduced, another is scaled, a third is left out."""
    X, y = wine
    chemistry = [c for c in X if "phenol" in c or c in ("flavanoids", "proanthocyanins")]
    columns = ColumnTransformer(
        [
            ("reduced", make_pipeline(StandardScaler(), Reducer(2)), chemistry),
            ("scaled", StandardScaler(), ["alcohol", "color_intensity"]),
        ],
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    table = columns.fit_transform(X)
    name = columns.named_transformers_["reduced"][-1].get_feature_names_out()
    assert list(table.columns) == [*name, "alcohol", "color_intensity"]
    pd.testing.assert_index_equal(table.index, X.index)
    model = make_pipeline(columns, LogisticRegression())
    assert cross_val_score(model, X, y, cv=3).mean() > 0.85


def test_union_with_selected_features(Reducer, wine):
    """Codes beside the best of the original columns."""
    X, y = wine[0].to_numpy(), wine[1]
    X = StandardScaler().fit_transform(X)
    union = FeatureUnion([("reduce", Reducer(n_components=2)), ("best", SelectKBest(k=1))])
    features = union.fit_transform(X, y)
    assert features.shape == (178, 3)
    assert any(np.array_equal(features[:, 2], column) for column in X.T)
    pipe = Pipeline([("features", union), ("classify", LogisticRegression())])
    grid = {"features__reduce__n_components": [1, 3], "features__best__k": [1, 2]}
    search = GridSearchCV(pipe, grid, cv=2).fit(X, y)
    assert search.best_params_["features__reduce__n_components"] == 3
    assert search.best_score_ > 0.92


def test_number_of_components_by_score(Reducer):
    """Held-out score against the number of components: it rises up to the true rank."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 4)) @ rng.normal(size=(4, 10))
    X += 0.1 * rng.normal(size=X.shape)
    widths = [1, 3, 4, 6]
    scores = [cross_val_score(Reducer(n_components=k), X, cv=2).mean() for k in widths]
    gains = np.diff(scores)
    assert (gains[:2] > 0).all()
    assert gains[2] < 0.05 * gains[:2].sum()


def test_denoising(Reducer, digits):
    """What few codes cannot hold is mostly noise."""
    X_train, X_test = train_test_split(digits[0], random_state=0, test_size=0.2)
    rng = np.random.default_rng(0)
    noisy_train, noisy_test = (X + rng.normal(0, 0.25, X.shape) for X in (X_train, X_test))
    model = Reducer(n_components=16).fit(noisy_train)
    denoised = model.inverse_transform(model.transform(noisy_test))
    before, after = (np.square(X - X_test).mean() for X in (noisy_test, denoised))
    assert after < 0.5 * before


def test_chunk_by_chunk(Reducer, tmp_path):
    """A table on disk, and codes computed of one part of it after another."""
    X = load_iris(return_X_y=True)[0]
    on_disk = np.memmap(tmp_path / "X.dat", X.dtype, "w+", shape=X.shape)
    on_disk[:] = X
    model = Reducer(n_components=2).fit(on_disk)
    whole = model.transform(X)
    chunks = [model.transform(on_disk[rows]) for rows in gen_batches(150, 40)]
    assert [len(chunk) for chunk in chunks] == [40, 40, 40, 30]
    np.testing.assert_allclose(np.concatenate(chunks), whole, rtol=1e-6, atol=1e-9)
    in_memory = Reducer(n_components=2).fit(np.concatenate(np.array_split(X, 4)))
    np.testing.assert_allclose(in_memory.transform(X), whole)


def test_beside_a_kernel(Reducer):
    """Circles within circles: both take the same calls and give the same shapes."""
    X, _ = make_circles(200, factor=0.3, noise=0.05, random_state=0)
    X_train, X_test = train_test_split(X, random_state=0)
    kernel = KernelPCA(2, kernel="rbf", gamma=10, fit_inverse_transform=True, alpha=0.1)
    codes, images = [], []
    for model in (Reducer(n_components=2), kernel):
        codes.append(model.fit(X_train).transform(X_test))
        images.append(model.inverse_transform(codes[-1]))
    assert codes[0].shape == codes[1].shape == (50, 2)
    # As many codes as features lose nothing, which the kernel's pre-images do.
    np.testing.assert_allclose(images[0], X_test, atol=1e-5)
    assert np.abs(images[1] - X_test).max() > 1e-3


def test_whitening_before_neighbours(Reducer, wine):
    """Distances in which every code weighs the same."""
    X, y = wine[0].to_numpy(), wine[1]
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    accuracies = {}
    for whiten in (False, True):
        reducer = Reducer(n_components=8, whiten=whiten)
        pipe = make_pipeline(reducer, KNeighborsClassifier()).fit(X_train, y_train)
        accuracies[whiten] = pipe.score(X_test, y_test)
    Z = pipe[0].transform(X_train)
    np.testing.assert_allclose(Z.std(axis=0, ddof=1), 1, rtol=1e-4)
    np.testing.assert_allclose(Z.T @ Z / (len(Z) - 1), np.eye(8), atol=1e-3)
    # Wine's columns have units of their own, of which proline's is by far the largest.
    assert accuracies[True] > max(accuracies[False], 0.85)


def test_cached_pipeline(Reducer, digits, tmp_path):
    """A search over the last step fits the first one once for each fold."""
    X, y = digits[0][:150], digits[1][:150]
    steps = [("reduce", Reducer(n_components=10)), ("classify", LogisticRegression())]
    grid = {"classify__C": [0.1, 1.0, 10.0]}
    cached = GridSearchCV(Pipeline(steps, memory=str(tmp_path)), grid, cv=2).fit(X, y)
    assert len(list(tmp_path.rglob("output.pkl"))) == 3  # two folds and the refit
    plain = GridSearchCV(Pipeline(steps), grid, cv=2).fit(X, y)
    np.testing.assert_allclose(
        cached.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"]
    )
    np.testing.assert_allclose(cached.decision_function(X), plain.decision_function(X))
    again = GridSearchCV(Pipeline(steps, memory=str(tmp_path)), grid, cv=2).fit(X, y)
    assert len(list(tmp_path.rglob("output.pkl"))) == 3
    np.testing.assert_array_equal(again.predict(X), cached.predict(X))


def test_biplot(Reducer):
    """Loadings: arrows for the features, in the plane of the codes."""
    iris = load_iris(as_frame=True).data
    X = StandardScaler().set_output(transform="pandas").fit_transform(iris)
    model = Reducer(n_components=2).fit(X)
    Z = model.transform(X)
    loadings = model.components_.T * np.sqrt(model.explained_variance_)
    loadings = pd.DataFrame(loadings, index=model.feature_names_in_)
    assert loadings.shape == (4, 2)
    assert list(loadings.index) == list(iris.columns)
    # An arrow points to where its feature grows: loadings go with correlations.
    correlations = np.corrcoef(X.T, Z.T)[:4, 4:]
    assert np.corrcoef(loadings.to_numpy().ravel(), correlations.ravel())[0, 1] > 0.95
    petals = loadings.filter(like="petal", axis=0).to_numpy()
    cosine = petals[0] @ petals[1] / np.prod(np.linalg.norm(petals, axis=1))
    assert cosine > 0.95
