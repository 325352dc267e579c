"""Ends that hold: no reconstruction beyond an end on which many rows lie."""

import copy
import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.preprocessing import OneHotEncoder

from skae import AutoencoderTransformer, load


def cut_off(n_samples=300, seed=0):
    """A bent surface (n_samples, 8), of which negative values are zero."""
    rng = np.random.default_rng(seed)
    Z = rng.uniform(-1, 1, (n_samples, 2))
    bent = np.c_[Z, Z**2, np.sin(3 * Z[:, :1])]
    X = bent @ np.random.default_rng(1).normal(size=(5, 8))
    return np.maximum(X - np.median(X, axis=0), 0.0)


@pytest.fixture(scope="module")
def X():  # noqa: N802
    return cut_off()


@pytest.fixture(scope="module")
def X_test():  # noqa: N802
    return cut_off(1000, seed=2)


def autoencoder(**params):
    defaults = {"n_components": 2, "max_epochs": 8, "random_state": 0}
    return AutoencoderTransformer(**(defaults | params))


def error(model, X):
    return np.square(model.inverse_transform(model.transform(X)) - X).mean()


# Codes far from those of the rows, so that the decoder goes beyond every end.
FAR = 30 * np.random.default_rng(0).normal(size=(500, 2))


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"loss": "absolute_error"},
        {"loss": "huber", "standardize": True},
        {"loss": {"squared_error": [0, 1, 2, 3, 4], "huber": [5, 6, 7]}},
        {"standardize": True, "whiten": True},
        {"ordered": True},
        {"dropout": 0.1},
        {"noise": 0.1},
        {"cv": 3},
        {"early_stopping": False},
        {"init": "random", "tied_weights": True},
        {"allow_nan": True},
        {"n_components": 0.9},
    ],
    ids=str,
)
def test_nothing_beyond_the_ends(X, params):
    ae = autoencoder(**params).fit(X)
    assert ae.outcome_ == "trained"
    codes = np.resize(FAR, (500, ae.n_components_))
    for X_hat in (ae.inverse_transform(codes), ae.denoise(X)):
        assert X_hat.min() == 0.0
        assert X_hat.max() > 0.5
    # The score is that of the same reconstruction.
    if ae.loss == "squared_error" and not ae.standardize:
        expected = -np.square(ae.denoise(X) - X).mean(axis=1)
        np.testing.assert_allclose(ae.score_samples(X), expected, rtol=1e-6)


def test_other_losses_of_columns_are_as_they_were(X):
    columns = {"squared_error": [0, 1, 2], "poisson": [3, 4, 5, 6, 7]}
    models = [autoencoder(loss=columns, clip=clip).fit(X) for clip in ("auto", False)]
    held, free = (model.inverse_transform(FAR) for model in models)
    assert held[:, :3].min() == 0 > free[:, :3].min()
    assert held[:, 3:].min() >= 0


def test_missing_cells_are_filled_within_the_ends(X):
    X = X.copy()
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    ae = autoencoder(allow_nan=True).fit(X)
    assert ae.outcome_ == "trained"
    filled = ae.impute(X)
    assert filled.min() == 0.0
    assert np.isfinite(filled).all()


def test_held_out_error_falls(X, X_test):
    held, free = (autoencoder(clip=clip).fit(X) for clip in ("auto", False))
    assert free.inverse_transform(FAR).min() < 0
    assert error(held, X_test) < 0.9 * error(free, X_test)
    assert -held.score(X_test) == pytest.approx(error(held, X_test))


def test_curves_are_those_of_the_reconstruction(X, X_test):
    ae = autoencoder().fit(X, X_val=X_test)
    best = ae.validation_curve_[ae.best_epoch_]
    assert best == pytest.approx(error(ae, X_test), rel=1e-4)
    assert ae.pca_score_ == pytest.approx(-error(PCA(2).fit(X), X_test), rel=1e-4)


@pytest.mark.parametrize(
    "params", [{"hidden_layer_sizes": ()}, {"n_iter_no_change": 1, "tol": 0.9, "lr": 1e-9}]
)
def test_pca_stays_pca(X, X_test, params):
    ae, pca = autoencoder(**params).fit(X[:19]), PCA(2).fit(X[:19])
    assert ae.outcome_ == "pca"
    expected = pca.inverse_transform(pca.transform(X_test))
    assert expected.min() < 0
    np.testing.assert_allclose(ae.denoise(X_test), expected, atol=1e-5)
    assert -ae.score(X_test) == pytest.approx(np.square(expected - X_test).mean(), rel=1e-5)


def test_explained_variance_is_that_of_the_reconstruction(X):
    ae = autoencoder().fit(X)
    share = 1 - error(ae, X) / X.var(axis=0).mean()
    assert ae.explained_variance_ratio_.sum() == pytest.approx(share, rel=1e-3)


def test_few_rows_on_an_end_are_no_end(X):
    X = X.copy()
    X[:4] -= 1.0  # four rows beyond zero, on different values
    ae = autoencoder().fit(X)
    assert ae.inverse_transform(FAR).min() < 0
    X[:3, 0] = -2.0  # three rows on the same value
    assert autoencoder().fit(X).inverse_transform(FAR)[:, 0].min() < -2.0


def test_every_end_holds_if_asked(X):
    X = X + 0.01 * np.random.default_rng(0).normal(size=X.shape)
    free, held = (autoencoder(clip=clip).fit(X) for clip in ("auto", True))
    assert (free.inverse_transform(FAR) > X.max(axis=0)).any()
    X_hat = held.inverse_transform(FAR)
    assert (X_hat >= X.min(axis=0)).all()
    assert (X_hat <= X.max(axis=0)).all()


@pytest.mark.parametrize("loss", ["poisson", "cosine"])
def test_losses_without_ends(X, loss):
    results = [autoencoder(loss=loss, clip=c).fit(X).denoise(X) for c in ("auto", False)]
    np.testing.assert_array_equal(*results)
    with pytest.raises(ValueError, match="clip=True of AutoencoderTransformer needs"):
        autoencoder(loss=loss, clip=True).fit(X)


def test_sparse_tables_and_both_dtypes(X):
    ae = autoencoder().fit(X)
    of_sparse = autoencoder().fit(sparse.csr_array(X))
    np.testing.assert_array_equal(of_sparse.denoise(X), ae.denoise(X))
    for dtype in (np.float32, np.float64):
        X_hat = ae.inverse_transform(FAR.astype(dtype))
        assert X_hat.dtype == dtype
        assert X_hat.min() == 0.0


def test_one_hot_columns(X):
    labels = np.digitize(X[:, :1], [0.05])
    one_hot = OneHotEncoder(sparse_output=False).fit_transform(labels)
    X_hat = autoencoder().fit(np.c_[X, one_hot]).inverse_transform(FAR)[:, 8:]
    assert X_hat.min() == 0.0
    assert X_hat.max() == 1.0


def test_weights_count_as_copies(X):
    weights = np.where(np.arange(len(X)) < 2, 100.0, 1.0)
    X = X.copy()
    X[0, 0] = X[1, 0] = -1.0
    held = autoencoder(cv=2).fit(X, sample_weight=weights)
    assert held.inverse_transform(FAR)[:, 0].min() == -1.0
    assert autoencoder().fit(X).inverse_transform(FAR)[:, 0].min() < -1.0


@pytest.mark.parametrize("outcome", ["trained", "pca"])
def test_copies_answer_alike(X, tmp_path, outcome):
    ae = autoencoder().fit(X if outcome == "trained" else X[:19])
    assert ae.outcome_ == outcome
    ae.save(tmp_path / "model.skae")
    for other in (
        pickle.loads(pickle.dumps(ae)),
        copy.deepcopy(ae),
        load(tmp_path / "model.skae"),
    ):
        np.testing.assert_array_equal(
            other.inverse_transform(FAR), ae.inverse_transform(FAR)
        )
        np.testing.assert_array_equal(other.score_samples(X), ae.score_samples(X))


def test_a_truncated_copy_is_held(X):
    ae = autoencoder(ordered=True).fit(X)
    assert ae.truncate(1).inverse_transform(FAR[:, :1]).min() == 0.0


def test_a_warm_start_that_changes_nothing(X):
    ae = autoencoder(warm_start=True).fit(X)
    before = ae.inverse_transform(FAR)
    again = ae.set_params(lr=1e-30).fit(X)
    assert again.outcome_ == "unchanged"
    np.testing.assert_array_equal(again.inverse_transform(FAR), before)


def test_rows_beyond_an_end_move_it(X):
    ae = autoencoder(warm_start=True, early_stopping=False).fit(X)
    assert ae.inverse_transform(FAR).min() == 0.0
    ae.fit(X - 0.5)
    assert (ae.inverse_transform(FAR).min(axis=0) <= -0.5).all()


class TestStreams:
    X = cut_off(900)

    def fed(self, *chunks, **params):
        ae = autoencoder(**params)
        for chunk in chunks:
            ae.partial_fit(chunk)
        return ae

    def test_ends_hold(self):
        ae = self.fed(*np.array_split(self.X, 3))
        assert ae.outcome_ == "trained"
        assert ae.inverse_transform(FAR).min() == 0.0
        best = -ae.validation_curve_[ae.best_epoch_]
        assert ae.score(self.X) == pytest.approx(best, rel=0.2)

    def test_a_chunk_beyond_an_end_moves_it(self):
        ae = self.fed(self.X, np.maximum(self.X, 0.2) - 0.3)
        lowest = ae.inverse_transform(FAR).min(axis=0)
        assert (lowest >= -0.1 - 1e-12).all()
        assert (lowest < 0).all()

    def test_it_does_not_matter_where_chunks_end(self):
        ends = [
            self.fed(*np.array_split(self.X[:512], n))._extremes["at_low"] for n in (1, 2)
        ]
        np.testing.assert_array_equal(*ends)

    def test_after_fit_and_in_copies(self, tmp_path):
        ae = autoencoder(early_stopping=False).fit(self.X)
        ae.save(tmp_path / "model.skae")
        others = clone(ae).fit(self.X), load(tmp_path / "model.skae")
        others = [pickle.loads(pickle.dumps(ae)), *others]
        for other in others:
            other.partial_fit(self.X[:300])
            assert other.inverse_transform(FAR).min() == 0.0

    def test_pca_goes_on_as_pca(self):
        ae = autoencoder().fit(self.X[:19])
        before = ae.denoise(self.X)
        assert before.min() < 0
        ae.partial_fit(self.X[: 0 + 1].repeat(2, axis=0))
        assert ae.outcome_ != "trained"
        assert ae.denoise(self.X).min() < 0
