"""Columns of categories in arrays and in frames of pandas and polars."""

import numpy as np

from skae._compat import is_pandas_na, is_scalar_nan

__all__ = ["coded", "holds_categories", "kind_of", "library_of", "with_columns"]


def library_of(X):
    """Return the name of the library whose frame X is, "pandas" or "polars", or None."""
    library = type(X).__module__.partition(".")[0]
    is_frame = library in ("pandas", "polars") and hasattr(X, "columns")
    return library if is_frame else None


def holds_categories(X):
    """Return which columns (p,) of a frame have a dtype of categories, or of booleans.

    These are the dtype "category" and booleans, also nullable ones, of pandas, and
    Categorical, Enum and Boolean of polars.
    """
    if library_of(X) == "polars":
        names = [dtype.base_type().__name__ for dtype in X.dtypes]
        return np.isin(names, ["Categorical", "Enum", "Boolean"])
    return np.array([d.name == "category" or d.kind == "b" for d in X.dtypes], dtype=bool)


def kind_of(column):
    """Return what a column is given back as, see `with_columns`.

    Parameters
    ----------
    column : ndarray, or Series of pandas or polars, of shape (n_samples,)

    Returns
    -------
    {"category", "ordered", "boolean", "values"}
    """
    dtype = getattr(column, "dtype", None)
    if hasattr(dtype, "base_type"):  # of polars
        name = dtype.base_type().__name__
        return {"Categorical": "category", "Enum": "ordered"}.get(name, "values")
    if getattr(dtype, "name", None) == "category":
        return "ordered" if dtype.ordered else "category"
    return "boolean" if str(dtype) == "boolean" else "values"


def coded(column):
    """Return the categories of a column, and the position of each cell's among them.

    Parameters
    ----------
    column : ndarray, or Series of pandas or polars, of shape (n_samples,)

    Returns
    -------
    categories : list
        In the order of the dtype if it has one, and sorted otherwise.
    codes : ndarray of int of shape (n_samples,)
        -1 in missing cells.

    Raises
    ------
    TypeError
        If values cannot be sorted, such as numbers and strings in one column.
    """
    dtype = getattr(column, "dtype", None)
    if getattr(dtype, "name", None) == "category":
        return column.cat.categories.tolist(), column.cat.codes.to_numpy()
    if hasattr(dtype, "base_type") and dtype.base_type().__name__ == "Enum":
        known = dtype.categories.to_list()
        return _placed(known, *_sorted(np.asarray(column.to_list(), dtype=object)))
    if hasattr(dtype, "base_type"):
        column = np.asarray(column.to_list(), dtype=object)
    return _sorted(np.asarray(column))


def _placed(known, categories, codes):
    """Return codes of sorted categories as positions in `known`."""
    places = [known.index(category) for category in categories]
    return known, np.array([*places, -1], dtype=int)[codes]


def _sorted(values):
    """Return the sorted categories of an array (n,), and the code of each cell."""
    if values.dtype.kind == "f":
        is_missing = np.isnan(values)
    elif values.dtype.kind == "O":
        is_missing = np.fromiter(map(_is_missing, values), dtype=bool, count=len(values))
    else:
        is_missing = np.zeros(len(values), dtype=bool)
    codes = np.full(len(values), -1)
    try:
        categories, codes[~is_missing] = np.unique(values[~is_missing], return_inverse=True)
    except TypeError:
        kinds = sorted({type(value).__qualname__ for value in values[~is_missing]})
        raise TypeError(
            "Encoders require their input argument must be uniformly strings or numbers. "
            f"Got {kinds}"
        ) from None
    return categories.tolist(), codes


def _is_missing(value):
    return value is None or is_pandas_na(value) or is_scalar_nan(value)


def with_columns(frame, columns):
    """Return a frame in which columns of codes are replaced by those of categories.

    Parameters
    ----------
    frame : frame of pandas or polars
    columns : dict of str to (kind, categories, codes)
        By the name of the column: what it becomes, a list of all its categories, and an
        array (n_samples,) of their positions, which is -1 in missing cells. "category" and
        "ordered" become a dtype with these categories, "boolean" the nullable boolean of
        pandas, and "values" the categories themselves.
    """
    if library_of(frame) == "polars":
        return frame.with_columns(**{n: _of_polars(*c) for n, c in columns.items()})
    return frame.assign(**{n: _of_pandas(frame.index, *c) for n, c in columns.items()})


def _of_pandas(index, kind, categories, codes):
    import pandas as pd

    if kind in ("category", "ordered"):
        dtype = pd.CategoricalDtype(categories, ordered=kind == "ordered")
        return pd.Series(pd.Categorical.from_codes(codes, dtype=dtype), index=index)
    dtype = "boolean" if kind == "boolean" else None
    return pd.Series(_values(categories, codes), index=index, dtype=dtype)


def _of_polars(kind, categories, codes):
    import polars as pl

    values = pl.Series(_values(categories, codes).tolist())
    if kind == "values" or not all(isinstance(c, str) for c in categories):
        return values
    return values.cast(pl.Categorical if kind == "category" else pl.Enum(categories))


def _values(categories, codes):
    """Return the categories of cells (n,), None where they are missing."""
    values = np.empty(len(categories) + 1, dtype=object)
    values[:-1] = categories
    chosen = values[codes]
    return chosen if (codes < 0).any() else np.array(chosen.tolist())
