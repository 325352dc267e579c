"""Networks of a fit, and the rows that they have not seen."""

import numpy as np
import pytest
from scipy import sparse

from skae import AutoencoderTransformer
from skae._autoencoders.held_out import (
    fit_to_fill,
    fit_with_folds,
    reconstruction,
    splits_of_rows,
)
from skae._tables.fit_data import Given

PARAMS = {"hidden_layer_sizes": (8,), "max_epochs": 5, "random_state": 0}


def folds_of(X, *args, groups=None, **params):
    ae = AutoencoderTransformer(**({"n_components": 2} | PARAMS | params))
    return ae, fit_with_folds(ae, X, *args, groups=groups)


def mean_error(X, folds):
    """Mean squared error of the held-out rows, each by its own network."""
    errors = [np.square(X[f.held_out] - f.reconstruct(X[f.held_out])) for f in folds]
    return np.concatenate(errors).mean()


@pytest.fixture(scope="module")
def shuffled(curved):
    return np.random.default_rng(1).permutation(curved)


@pytest.mark.parametrize("params", [{}, {"standardize": True}, {"noise": 0.0}], ids=str)
def test_folds_are_those_that_chose_the_epoch(shuffled, params):
    ae, folds = folds_of(shuffled, **params)
    assert ae.best_epoch_ > 0
    held_out = np.concatenate([fold.held_out for fold in folds])
    assert sorted(held_out) == [*range(200)]
    assert all(not set(fold.trained) & set(fold.held_out) for fold in folds)
    X = shuffled / ae.scale_ if params.get("standardize") else shuffled
    found = [(f, f.reconstruct(shuffled[f.held_out])) for f in folds]
    unit = ae.scale_ if params.get("standardize") else 1.0
    errors = [np.square(X[f.held_out] - X_hat / unit) for f, X_hat in found]
    expected = ae.validation_curve_[ae.best_epoch_]
    assert np.concatenate(errors).mean() == pytest.approx(expected, rel=1e-4)


def test_the_fit_is_that_of_fit(shuffled):
    ae, _ = folds_of(shuffled)
    alone = AutoencoderTransformer(2, **PARAMS).fit(shuffled)
    assert np.array_equal(ae.transform(shuffled), alone.transform(shuffled))
    np.testing.assert_array_equal(reconstruction(ae)(shuffled), ae.denoise(shuffled))


def test_pca_of_each_fold(shuffled):
    """Where PCA is the outcome, each network is PCA of its own rows."""
    ae, folds = folds_of(shuffled, hidden_layer_sizes=())
    assert ae.outcome_ == "pca"
    for fold in folds:
        X = shuffled[fold.trained]
        mean, axes = X.mean(axis=0), np.linalg.svd(X - X.mean(axis=0))[2][:2]
        new = shuffled[fold.held_out]
        expected = mean + (new - mean) @ axes.T @ axes
        np.testing.assert_allclose(fold.reconstruct(new), expected, atol=1e-4)


def test_a_single_split(shuffled):
    X = np.tile(shuffled, (6, 1)) + 0.01 * np.random.default_rng(0).normal(size=(1200, 6))
    ae, folds = folds_of(X)
    assert [(len(fold.trained), len(fold.held_out)) for fold in folds] == [(1080, 120)]
    expected = ae.validation_curve_[ae.best_epoch_]
    assert mean_error(X, folds) == pytest.approx(expected, rel=1e-4)


def test_row_numbers_are_those_of_x_with_weights_and_groups(shuffled):
    weights = np.tile([2.0, 0.0, 1.0, 1.0], 50)
    groups = np.repeat(np.arange(20), 10)
    _, folds = folds_of(shuffled, None, weights, groups=groups)
    held_out = np.concatenate([fold.held_out for fold in folds])
    assert np.array_equal(np.bincount(held_out, minlength=200), weights)
    for fold in folds:
        assert not set(groups[fold.trained]) & set(groups[fold.held_out])


@pytest.mark.parametrize(
    "params", [{"early_stopping": False}, {"cv": [([*range(190)], [195])]}]
)
def test_clones_where_the_fit_holds_out_too_few(shuffled, params):
    _, folds = folds_of(sparse.csr_matrix(shuffled), **params)
    assert sorted(np.concatenate([fold.held_out for fold in folds])) == [*range(200)]
    X = shuffled
    for fold in folds:
        same = AutoencoderTransformer(2, **(PARAMS | params | {"cv": "auto"}))
        expected = same.fit(X[fold.trained]).denoise(X[fold.held_out])
        np.testing.assert_allclose(fold.reconstruct(X[fold.held_out]), expected, rtol=1e-9)


@pytest.mark.parametrize(("n", "n_folds"), [(2, 0), (3, 3), (12, 5)])
def test_few_rows(shuffled, n, n_folds):
    _, folds = folds_of(shuffled[:n])
    assert len(folds) == n_folds


def test_equal_rows_cannot_be_held_out():
    assert folds_of(np.ones((30, 3)), n_components=1)[1] == []


def test_an_autoencoder_that_fills_cells_is_judged_by_hidden_ones():
    """With as many codes as features, no visible cell has an error at the start."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 5)) + 0.3 * rng.normal(
        size=(300, 5)
    )
    params = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}
    gapped = np.where(rng.random(X.shape) < 0.3, np.nan, X)
    for table in X, gapped:
        ae = AutoencoderTransformer(allow_nan=True, **params)
        fit_to_fill(ae, table)
        assert ae.validation_curve_[0] > 1e-3
        assert ae.loss_curve_[0] > 1e-3
    assert AutoencoderTransformer(allow_nan=True, **params).fit(X).pca_score_ > -1e-9


@pytest.mark.parametrize("early_stopping", [True, False])
def test_given_splits_take_the_place_of_cv(shuffled, early_stopping):
    rows = np.arange(200)
    splits = [(rows[:100], rows[150:]), (rows[100:], rows[:40])]
    params = PARAMS | {"early_stopping": early_stopping}
    folds = fit_with_folds(AutoencoderTransformer(2, **params), shuffled, splits=splits)
    for fold, (train, held_out) in zip(folds, splits, strict=True):
        assert np.array_equal(np.sort(fold.trained), train)
        assert np.array_equal(np.sort(fold.held_out), held_out)


def test_too_few_rows_of_a_split_choose_no_epoch(shuffled):
    rows = np.arange(200)
    ae = AutoencoderTransformer(2, **PARAMS)
    (fold,) = fit_with_folds(ae, shuffled, splits=[(rows[10:], rows[:10])])
    assert ae.outcome_ == "pca"
    assert np.array_equal(fold.held_out, rows[:10])


@pytest.mark.parametrize("params", [{}, {"cv": 3}, {"early_stopping": False}], ids=str)
def test_splits_of_rows_are_those_of_a_fit(shuffled, params):
    ae, folds = folds_of(shuffled, **params)
    given = Given(shuffled)
    given.sort()
    splits = splits_of_rows(ae, given, ae._seed)
    expected = [set(given.numbers[held_out]) for _, held_out in splits]
    if params.get("early_stopping", True):
        assert [set(fold.held_out) for fold in folds] == expected
    assert set().union(*expected) == {*range(200)}


@pytest.mark.parametrize(("n", "n_splits"), [(1, 0), (2, 0), (3, 3), (12, 5), (1200, 1)])
def test_tables_of_every_size_have_splits(shuffled, n, n_splits):
    X = np.random.default_rng(0).normal(size=(n, 3))
    splits = splits_of_rows(AutoencoderTransformer(2), Given(X), 0)
    assert len(splits) == n_splits
    assert all(len(train) > 1 and len(held_out) for train, held_out in splits)
