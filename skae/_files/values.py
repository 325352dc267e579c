"""Converts plain values to JSON and arrays, and back. `container` lists the kinds."""

import math
from typing import NamedTuple

import numpy as np

from skae.exceptions import ModelFileError

__all__ = ["SavedObject", "decode_items", "encode_items", "first_few"]

OBJECT_MODULES = ("skae.noise", "skae.regularizers")
INTEGERS = [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
SCALARS = {
    name: np.dtype(name).type
    for name in ("bool", "float16", "float32", "float64", *INTEGERS)
}


class SavedObject(NamedTuple):
    """A noise or a regularizer as a file holds it: the name of its class, and parameters.

    `skae.persistence` makes the object, because it knows the classes.
    """

    name: str
    parameters: dict


def first_few(names):
    """Return text with the first few names, short enough for a message."""
    text = ", ".join(repr(name)[:40] for name in [*names][:6])
    return text + (", ..." if len(names) > 6 else "")


def encode_items(items, where, tensors):
    """Return JSON for the values of a dict; `where` is the path to the dict."""
    return {
        name: _encode(value, f"{where}/{name}".lstrip("/"), tensors)
        for name, value in items.items()
    }


def _encode(value, where, tensors):
    """Return JSON for a value. Its arrays are added to `tensors`, named by their path."""
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if kind in (list, tuple):
        values = [_encode(v, f"{where}/{i}", tensors) for i, v in enumerate(value)]
        return values if kind is list else {"tuple": values}
    if kind is dict and all(type(key) is str for key in value):
        return {"dict": encode_items(value, where, tensors)}
    if isinstance(value, np.generic) and value.dtype.name in SCALARS:
        return {value.dtype.name: _encode(value.item(), where, tensors)}
    if kind is np.ndarray:
        return _encode_array(value, where, tensors)
    if kind.__module__ in OBJECT_MODULES and hasattr(value, "get_params"):
        parameters = value.get_params(deep=False)
        return {"recipe": [kind.__name__, encode_items(parameters, where, tensors)]}
    raise TypeError(f"{where} cannot be saved: {_name(kind)} is not plain data.")


def _encode_array(array, where, tensors):
    if array.dtype.name in SCALARS:
        if where in tensors:
            raise TypeError(f"Two arrays of the model have the path {where}.")
        native = array.astype(array.dtype.newbyteorder("="), copy=False)
        tensors[where] = np.asarray(native, order="C")
        return {"array": where}
    if array.dtype == object and array.ndim == 1 and all(type(v) is str for v in array):
        return {"names": [*array]}
    raise TypeError(f"{where} cannot be saved: arrays of {array.dtype} are not plain data.")


def _name(kind):
    """Return the full name of a class."""
    return f"{kind.__module__}.{kind.__qualname__}"


def decode_items(items, tensors):
    """Return the dict for which `encode_items` returned the JSON `items`."""
    return {name: _decode(value, tensors) for name, value in items.items()}


def _decode(value, tensors):
    """Return the value that JSON stands for. Its arrays are removed from `tensors`."""
    if isinstance(value, list):
        return [_decode(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise ModelFileError(f"has a value of an unknown kind: {first_few(value)}.")
    ((kind, content),) = value.items()
    try:
        if kind in SCALARS:
            return _decode_scalar(SCALARS[kind], _decode(content, tensors))
        return DECODERS[kind](content, tensors)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        shown = f"{kind}: {content!r}"[:60]
        raise ModelFileError(f"has a value that cannot be read: {shown}.") from error


def _decode_scalar(kind, number):
    if type(number) is not type(kind(0).item()):
        raise TypeError
    with np.errstate(over="ignore"):
        return kind(number)


def _decode_tuple(values, tensors):
    if not isinstance(values, list):
        raise TypeError
    return tuple(_decode(value, tensors) for value in values)


def _decode_float(name, tensors):
    return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[name]


def _decode_names(names, tensors):
    if not isinstance(names, list) or not all(type(name) is str for name in names):
        raise TypeError
    return np.array(names, dtype=object)


def _decode_array(name, tensors):
    return tensors.pop(name)


def _decode_object(content, tensors):
    if not isinstance(content, list) or [*map(type, content)] != [str, dict]:
        raise TypeError
    return SavedObject(content[0], decode_items(content[1], tensors))


DECODERS = {
    "tuple": _decode_tuple,
    "dict": decode_items,
    "float": _decode_float,
    "names": _decode_names,
    "array": _decode_array,
    "recipe": _decode_object,
}
