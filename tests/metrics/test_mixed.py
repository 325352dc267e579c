"""Errors of frames with categories, by the user's columns."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skae import AutoencoderTransformer
from skae._tables.categorical_features import find_columns
from skae.metrics import (
    METRICS,
    make_hidden_cell_scorer,
    make_reconstruction_scorer,
    one_standard_error,
    reconstruction_error,
)
from skae.metrics._errors import errors_by_feature_and_row, own_scale, reconstructed
from skae.metrics._mixed import Mixed, MixedTally, codes_of, reader_of

SHORT = {"hidden_layer_sizes": (16,), "max_epochs": 3, "early_stopping": False}


def autoencoder(n_components=2, **params):
    return AutoencoderTransformer(n_components, **SHORT | {"random_state": 0} | params)


@pytest.fixture(scope="module")
def fitted(mixed_frame):
    return autoencoder().fit(mixed_frame)


def in_polars(frame):
    """The frame in polars; of pandas' nullable booleans only those without gaps."""
    columns = {name: column.astype(object).to_list() for name, column in frame.items()}
    kinds = {"color": pl.Categorical, "size": pl.Enum(["S", "M", "L", "XL"])}
    return pl.DataFrame(columns).cast(kinds)


def test_errors_of_each_column(fitted, mixed_frame):
    """Each by its definition."""
    columns, back = reader_of(fitted).columns, fitted.denoise(mixed_frame)
    pairs = reconstructed(fitted, mixed_frame)
    ((rows, X_hat),) = pairs
    deviations = (back[:, [0, 2]] - rows[:, [0, 2]]) / rows[:, [0, 2]].std(axis=0)
    is_wrong = back[:, [1, 3, 4]] != rows[:, [1, 3, 4]]
    surprises = []
    for j, group in zip([1, 3, 4], columns.groups, strict=True):
        codes = np.unique(rows[:, j], return_inverse=True)[1]
        codes = 2 - codes if j == 4 else codes  # one-hot columns are sorted by name
        shares = np.bincount(codes) / 300
        assert X_hat[:, group].sum(axis=1) == pytest.approx(1)
        entropy = -(shares * np.log(shares)).sum()
        surprises.append(-np.log(X_hat[np.arange(300), np.array(group)[codes]]) / entropy)
    expected = {
        "squared_error": np.c_[np.square(deviations), np.array(surprises).T],
        "absolute_error": np.c_[np.abs(deviations), is_wrong],
    }
    for metric, cells in expected.items():
        found = errors_by_feature_and_row([(rows, X_hat)], metric, own_scale(fitted))
        np.testing.assert_allclose(found[0], cells.mean(axis=0)[[0, 2, 1, 3, 4]], rtol=1e-6)
        np.testing.assert_allclose(found[1], cells.mean(axis=1), rtol=1e-6)
        score = make_reconstruction_scorer(metric)(fitted, mixed_frame)
        assert score == pytest.approx(-cells.mean())
    roots = np.sqrt(np.square(deviations).mean(axis=0))
    by_column = [roots[0], is_wrong[:, 0].mean(), roots[1], *is_wrong[:, 1:].mean(axis=0)]
    for like in (back, fitted.set_output(transform="pandas").denoise(mixed_frame)):
        found = reconstruction_error(
            mixed_frame,
            like,
            metric="root_mean_squared_error",
            multioutput="raw_values",
        )
        np.testing.assert_allclose(found, by_column, rtol=1e-9)
        total = reconstruction_error(mixed_frame, like, metric="root_mean_squared_error")
        assert total == pytest.approx(np.mean(by_column))
        shares = reconstruction_error(mixed_frame, like, metric="absolute_error")
        assert shares == pytest.approx(expected["absolute_error"].mean())
    fitted.set_output(transform="default")


def test_the_default_is_the_loss(fitted, mixed_frame):
    score = make_reconstruction_scorer()(fitted, mixed_frame[:50])
    assert score == pytest.approx(fitted.score(mixed_frame[:50]))
    pipe = make_pipeline(FunctionTransformer(), fitted, StandardScaler())
    pipe[2].fit(fitted.transform(mixed_frame))
    assert make_reconstruction_scorer()(pipe, mixed_frame[:50]) == pytest.approx(score)


def test_r2_of_constants_and_of_truth(mixed_frame):
    columns = find_columns(mixed_frame, "from_dtype")
    rows = codes_of(columns, mixed_frame, "test")
    table, mixed = columns.one_hot(rows), Mixed.of_rows(columns, rows)
    for X_hat, r2, error in [
        (table, 1.0, 0.0),
        (np.tile(table.mean(axis=0), (300, 1)), 0.0, 1.0),
    ]:
        for metric, expected in ("r2", r2), ("squared_error", error):
            tally = MixedTally(metric, mixed)
            tally.add(rows, X_hat, np.ones(300))
            assert tally.overall() == pytest.approx(expected, abs=1e-9)
            np.testing.assert_allclose(tally.by_feature(), expected, atol=1e-9)


def test_weights_and_scale_of_frames(fitted, mixed_frame):
    back = fitted.denoise(mixed_frame)
    weights, how = np.arange(300) % 3, {"metric": "absolute_error", "scale": np.ones(5) * 2}
    repeated = np.repeat(np.arange(300), weights)
    expected = reconstruction_error(mixed_frame.iloc[repeated], back[repeated], **how)
    found = reconstruction_error(mixed_frame, back, sample_weight=weights, **how)
    assert found == pytest.approx(expected)
    scorer = make_reconstruction_scorer("absolute_error", scale=np.ones(5) * 2)
    by_column = reconstruction_error(mixed_frame, back, multioutput="raw_values", **how)
    assert scorer(fitted, mixed_frame) == pytest.approx(-by_column.mean())


@pytest.mark.parametrize("allow_nan", [False, True])
def test_searches_on_frames(mixed_frame, allow_nan):
    found = []
    for frame in mixed_frame, in_polars(mixed_frame):
        search = GridSearchCV(
            autoencoder(allow_nan=allow_nan),
            {"n_components": [1, 2]},
            scoring={
                "score": make_hidden_cell_scorer("absolute_error"),
                "seen": make_reconstruction_scorer(),
            },
            refit=one_standard_error,
            cv=2,
            error_score="raise",
        )
        search.fit(frame)
        found.append(
            [search.cv_results_[f"mean_test_{name}"] for name in ("score", "seen")]
        )
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(*found)
    assert search.cv_results_["mean_test_seen"].argmax() == 1


def test_hidden_cells_are_not_seen(mixed_frame):
    """Where they are, what stands in the cells changes the score and nothing else."""
    ae = autoencoder(allow_nan=True).fit(mixed_frame)
    scorer = make_hidden_cell_scorer("absolute_error", random_state=1)
    ((rows, X_hat),) = scorer._pairs(ae, mixed_frame)
    is_hidden = ~np.isnan(rows)
    assert 0.15 < is_hidden.mean() < 0.25
    other = mixed_frame.mask(is_hidden, mixed_frame[::-1].reset_index(drop=True))
    ((_, again),) = scorer._pairs(ae, other.astype(mixed_frame.dtypes))
    np.testing.assert_array_equal(X_hat, again)
    constants = MixedTally("absolute_error", own_scale(ae))
    constants.add(rows, np.tile(ae.mean_, (300, 1)))
    assert -scorer(ae, mixed_frame) < 0.7 * constants.overall()


def test_gaps_are_left_out(gapped_frame):
    ae = autoencoder(allow_nan=True).fit(gapped_frame)
    for metric in set(METRICS) - {"binary_cross_entropy"}:
        assert np.isfinite(make_reconstruction_scorer(metric)(ae, gapped_frame))
    empty = gapped_frame.assign(color=pd.Categorical([None] * 300, categories=["red"]))
    pairs = reconstructed(ae, empty)
    by_feature, by_row = errors_by_feature_and_row(pairs, "r2", own_scale(ae))
    assert np.isnan(by_feature).tolist() == [False, True, False, False, False]
    has_values = empty.notna().any(axis=1)
    np.testing.assert_array_equal(np.isfinite(by_row), has_values)
    with pytest.raises(ValueError, match="X has no values to score"):
        make_reconstruction_scorer()(ae, empty[:0].reindex([0, 1]).astype(empty.dtypes))


def test_refused(fitted, mixed_frame):
    back = fitted.denoise(mixed_frame)
    with pytest.raises(ValueError, match="takes tables of shares"):
        make_reconstruction_scorer("binary_cross_entropy")(fitted, mixed_frame)
    with pytest.raises(ValueError, match=r"X has the shape \(300, 5\) and X_hat"):
        reconstruction_error(mixed_frame, back[:9], metric="absolute_error")
    back[3, 1] = np.nan
    with pytest.raises(ValueError, match="X_hat contains NaN"):
        reconstruction_error(mixed_frame, back, metric="absolute_error")
    with pytest.raises(ValueError, match="unknown categories"):
        make_reconstruction_scorer()(
            fitted, mixed_frame.assign(size=pd.Categorical(["XL"] * 300))
        )


def test_a_category_that_only_the_reconstruction_has(mixed_frame):
    few = mixed_frame[mixed_frame["color"] != "red"][["color", "age"]]
    few = few.assign(color=few["color"].cat.remove_categories("red"))
    back = few.assign(color=pd.Categorical(["red"] * len(few)))
    how = {"metric": "absolute_error", "multioutput": "raw_values"}
    assert reconstruction_error(few, back, **how).tolist() == [1.0, 0.0]
