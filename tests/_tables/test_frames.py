"""Columns of categories: read from arrays, pandas and polars, and made of codes."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skae._tables.frames import coded, holds_categories, kind_of, with_columns

VALUES = ["b", "a", None, "b", "c"]
ORDERED = pd.CategoricalDtype(["c", "b", "a", "z"], ordered=True)
CODES, OF_DTYPE = [1, 0, -1, 1, 2], [1, 2, -1, 1, 0]
# Column, what it is given back as, its categories by code, and its codes.
COLUMNS = {
    "pandas category": (pd.Series(VALUES, dtype="category"), "category", "abc", CODES),
    "pandas ordered": (pd.Series(VALUES, dtype=ORDERED), "ordered", "cbaz", OF_DTYPE),
    "pandas object": (pd.Series(VALUES, dtype=object), "values", "abc", CODES),
    "pandas str": (pd.Series(VALUES, dtype="string"), "values", "abc", CODES),
    "pandas bool": (pd.Series([True, False]), "values", [False, True], [1, 0]),
    "pandas boolean": (
        pd.Series([True, None, False], dtype="boolean"),
        "boolean",
        [False, True],
        [1, -1, 0],
    ),
    "pandas int": (pd.Series([7, 3, 7]), "values", [3, 7], [1, 0, 1]),
    "polars categorical": (
        pl.Series(VALUES, dtype=pl.Categorical),
        "category",
        "abc",
        CODES,
    ),
    "polars enum": (
        pl.Series(VALUES, dtype=pl.Enum([*"cbaz"])),
        "ordered",
        "cbaz",
        OF_DTYPE,
    ),
    "polars bool": (pl.Series([True, None, False]), "values", [False, True], [1, -1, 0]),
    "polars str": (pl.Series(VALUES), "values", "abc", CODES),
    "numbers": (np.array([7.0, np.nan, 3.0]), "values", [3.0, 7.0], [1, -1, 0]),
    "objects": (np.array(VALUES, dtype=object), "values", "abc", CODES),
    "letters": (np.array(["b", "a"]), "values", "ab", [1, 0]),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_coded(name):
    column, kind, categories, codes = COLUMNS[name]
    found = coded(column)
    assert found[0] == [*categories]
    np.testing.assert_array_equal(found[1], codes)
    assert kind_of(column) == kind


@pytest.mark.parametrize("name", [n for n in COLUMNS if n.startswith("p")])
def test_a_column_comes_back(name):
    column, kind, categories, codes = COLUMNS[name]
    library = pd if name.startswith("pandas") else pl
    frame = library.DataFrame({"x": np.zeros(len(column)), "y": np.zeros(len(column))})
    again = with_columns(frame, {"y": (kind, [*categories], np.array(codes))})["y"]
    assert (
        [*again.isna()] if library is pd else [*again.is_null()] == [c < 0 for c in codes]
    )
    if name in ("pandas object", "pandas str"):
        column = column.astype(again.dtype)
    if library is pd:
        pd.testing.assert_series_equal(again, column, check_names=False)
    else:
        assert again.to_list() == column.to_list()
        assert again.dtype == column.dtype


def test_frames_know_their_columns_of_categories():
    expected = {"category", "ordered", "bool", "boolean", "categorical", "enum"}
    for name, (column, *_) in COLUMNS.items():
        library, _, kind = name.partition(" ")
        if library in ("pandas", "polars"):
            make = pd.DataFrame if library == "pandas" else pl.DataFrame
            found = holds_categories(make({"x": column, "y": np.arange(len(column))}))
            assert [*found] == [kind in expected, False]


def test_values_of_several_kinds_are_refused():
    with pytest.raises(TypeError, match=r"uniformly .* Got \['int', 'str'\]"):
        coded(np.array(["a", 1], dtype=object))
