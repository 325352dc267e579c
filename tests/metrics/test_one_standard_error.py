"""The fewest components within one standard error of the best."""

import functools

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae.metrics import (
    make_hidden_cell_scorer,
    make_reconstruction_scorer,
    one_standard_error,
)


def results(scores, n_components, name="score"):
    """`cv_results_` of a search with these scores (n_candidates, n_splits)."""
    scores = np.array(scores, dtype=float)
    splits = {f"split{i}_test_{name}": scores[:, i] for i in range(scores.shape[1])}
    means = {f"mean_test_{name}": scores.mean(axis=1)}
    return splits | means | {"param_n_components": np.ma.array(n_components)}


BEST = [0.0, -2.0]  # mean -1 and standard error 1


@pytest.mark.parametrize(
    ("mean", "chosen"), [(-1.9, 2), (-2.0, 2), (-2.1, 4)], ids=["in", "just", "out"]
)
def test_rule(mean, chosen):
    n_components = [8, 4, 2, 1]
    scores = [[-1.5, -1.5], BEST, [mean, mean], [-9.0, -9.0]]
    best = one_standard_error(results(scores, n_components))
    assert n_components[best] == chosen


def test_of_equally_few_components_the_best_is_chosen():
    scores = [BEST, [-1.8, -1.8], [-1.2, -1.2], [np.nan, np.nan]]
    assert one_standard_error(results(scores, [3, 2, 2, 1])) == 2


def test_search():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3)) @ rng.normal(size=(3, 12))
    X += 0.3 * rng.normal(size=X.shape)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), PCA()),
        {"pca__n_components": range(1, 6)},
        cv=3,
        scoring={"cells": make_hidden_cell_scorer(), "rows": make_reconstruction_scorer()},
        refit=functools.partial(one_standard_error, score="cells"),
    ).fit(X)
    assert search.best_params_ == {"pca__n_components": 3}
    assert search.best_estimator_[-1].n_components_ == 3
    by_rows = one_standard_error(search.cv_results_, score="rows")
    assert search.cv_results_["param_pca__n_components"][by_rows] > 3


@pytest.mark.parametrize(
    ("cv_results", "message"),
    [
        (results([BEST], [2], name="r2"), "must be the name of a score .* got 'score'"),
        (results([[np.nan] * 2], [2]), "no candidate with a finite mean_test_score"),
        (results([BEST, BEST], [2, 0.9]), "a candidate has n_components=0.9"),
        (results([BEST], [2]) | {"param_a__n_components": [2]}, "a__n_components'"),
        (
            {k: v for k, v in results([BEST], [2]).items() if k[:5] != "param"},
            "this search has none",
        ),
    ],
)
def test_bad_results(cv_results, message):
    if "param_n_components" in cv_results and "0.9" in message:
        values = np.ma.array([2, 0.9], dtype=object)
        cv_results = cv_results | {"param_n_components": values}
    with pytest.raises(ValueError, match=message):
        one_standard_error(cv_results)
