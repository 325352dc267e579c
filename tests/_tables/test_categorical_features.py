"""The parameter `categorical_features`, as in HistGradientBoostingClassifier."""

import numpy as np
import pandas as pd
import pytest

from skae._tables.categorical_features import MOST_COLUMNS, find_columns

FRAME = pd.DataFrame(
    {"age": [1.0, 2.0, 3.0], "b": pd.Categorical([*"xyx"]), "c": [3, 4, 3]}
)
# The parameter, and which columns hold categories.
CHOICES = {
    "dtype": ("from_dtype", [1]),
    "mask": ([True, False, True], [0, 2]),
    "indices": ([2, 1], [1, 2]),
    "names": (["c"], [2]),
    "array of names": (np.array(["b", "c"]), [1, 2]),
    "tuple": ((0,), [0]),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_choices(choice):
    parameter, expected = CHOICES[choice]
    columns = find_columns(FRAME, parameter)
    assert [*np.flatnonzero(columns.is_categorical)] == expected
    assert columns.names == ["age", "b", "c"]
    if choice not in ("dtype", "names", "array of names"):
        of_array = find_columns(FRAME.to_numpy(), parameter)
        assert [*np.flatnonzero(of_array.is_categorical)] == expected
        assert of_array.names is None


@pytest.mark.parametrize("parameter", [None, [], [False] * 3, "from_dtype"])
def test_none(parameter):
    table = FRAME[["age", "c", "c"]] if parameter == "from_dtype" else FRAME
    assert find_columns(table, parameter) is None
    assert find_columns(np.eye(3), parameter) is None


REFUSED = {
    "mask": ([True], r"must have shape \(n_features,\), got: \(1,\)"),
    "index": ([3], r"must be in \[0, n_features - 1\]"),
    "negative": ([-1], r"must be in \[0, n_features - 1\]"),
    "name": (["hue"], "an item value 'hue' which is not a valid feature name"),
    "float": ([0.5], "bool, int or str, got: float64"),
    "several": (["age", None], "bool, int or str, got: NoneType, str"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    parameter, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        find_columns(FRAME, parameter)


def test_names_need_a_frame():
    with pytest.raises(ValueError, match="without feature names"):
        find_columns(np.eye(3), ["a"])


def test_rare_categories_share_a_column():
    """Thousands of categories do not take thousands of columns."""
    rng = np.random.default_rng(0)
    values = np.r_[np.repeat(np.arange(120), np.arange(120, 0, -1)), rng.permutation(3000)]
    X = np.c_[rng.normal(size=len(values)), values]
    columns = find_columns(X, [1])
    assert columns.n_encoded == 1 + MOST_COLUMNS
    codes = columns.with_codes(X, X[:, :1], "AE")
    table = columns.one_hot(codes)
    assert (table[:, 1:].sum(axis=1) == 1).all()
    again = columns.as_array(columns.most_probable(table))[:, 1]
    is_own = np.isin(values, np.arange(MOST_COLUMNS - 1))
    np.testing.assert_array_equal(again[is_own], values[is_own])
    assert len(np.unique(again[~is_own])) == 1
