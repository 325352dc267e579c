"""Writes plain values and arrays to one safetensors file, and reads them.

A file is data. Opening one does not import any name that the file holds, and does not
call anything that runs code. A value that is not of one of the kinds below is refused,
both in writing and in reading.

The file has the safetensors format: eight bytes with the length of the header, the header
as JSON, and the arrays. The metadata in the header has one entry, "skae", which is JSON
again, with these keys:

sha256      SHA-256 of the whole file, computed with zeros for these 64 digits
format      version of the format that is described here, an int
class       name of the estimator's class
versions    versions of the libraries that wrote the file
parameters  parameters of the estimator's constructor
fitted      attributes that `fit` has set

They are always in this order, so that equal models give equal files. In the last two,
numbers, strings, booleans, None and lists stand for themselves. Every other value is an
object with one key:

{"tuple": [...]}, {"dict": {...}}     with values of any kind
{"float": "nan" | "inf" | "-inf"}     a float that JSON cannot express
{"float64": 0.5}                      a NumPy scalar, by the name of its type
{"names": [...]}                      a one-dimensional object array of strings
{"array": "mean_"}                    the tensor of that name; each is used once
{"recipe": ["L1Code", {...}]}         a noise or regularizer, with its parameters
"""

import contextlib
import glob
import hashlib
import json
import os
import re
import secrets
import sys

from skae._files.values import decode_items, encode_items, first_few
from skae.exceptions import ModelFileError

__all__ = ["loaded_versions", "pack", "read_model", "remove_model", "unpack", "write_model"]

FORMAT = 1
LONGEST_HEADER = 2**24  # bytes; enough for a million feature names of a dozen letters
DEEPEST = 32  # largest number of nested lists and objects in a header
ZEROS = b"0" * 64
PREFIX = rb'{"__metadata__":{"skae":"{\"sha256\":\"'
DIGEST = slice(8 + len(PREFIX), 8 + len(PREFIX) + len(ZEROS))
KEYS = ["sha256", "format", "class", "versions", "parameters", "fitted"]
LIBRARIES = ["skae", "numpy", "torch", "sklearn", "skorch"]
OTHER_FILES = {
    b"\x80": "a pickle, which may run code when it is opened; open it with pickle or "
    "joblib, and only if you trust whoever wrote it",
    b"PK": "a zip archive, as torch.save and skops write them",
    b"\x1f\x8b": "compressed with gzip",
    b"\x78": "compressed with zlib, as joblib writes it",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
}


# -- files -----------------------------------------------------------------------------


def write_model(path, class_name, parameters, fitted):
    """Write a model to a file, either completely or not at all.

    Parameters
    ----------
    path : str or path-like
        An existing file is replaced when the new one is complete.
    class_name : str
    parameters, fitted : dict of str and values
        The docstring of this module lists the kinds of value.

    Raises
    ------
    ImportError
        If safetensors is not installed.
    TypeError
        If a value is of another kind.
    """
    data = pack(class_name, parameters, fitted)
    path = os.path.realpath(path)  # the target of a link is replaced, not the link
    # open() is used because other users cannot read the files that tempfile makes.
    temporary = _temporary(path, secrets.token_hex(8))
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


def remove_model(path):
    """Delete a file, and temporary files of writes to it that were killed."""
    path = os.path.realpath(path)
    folder, name = os.path.split(_temporary(path, "*"))
    for left in [path, *glob.glob(os.path.join(glob.escape(folder), name))]:
        with contextlib.suppress(FileNotFoundError):
            os.remove(left)


def _temporary(path, mark):
    """Return a temporary name of fixed length that belongs to a file, in its folder."""
    folder, name = os.path.split(path)
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return os.path.join(folder, f".skae-{digest}-{mark}.tmp")


def read_model(path):
    """Read a file that `write_model` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    class_name : str
    parameters, fitted : dict of str and values

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If the file is not a model file exactly as skae wrote it.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            # The start shows a file of another kind, which is then not read as a whole.
            _check_start(file.read(16), size)
            file.seek(0)
            return unpack(file.read(size))
        except ModelFileError as error:
            raise ModelFileError(f"{os.fspath(path)!r} {error}") from error.__cause__


def pack(class_name, parameters, fitted):
    """Return the bytes of a model file. The parameters are those of `write_model`."""
    tensors = {}
    model = {
        "sha256": ZEROS.decode(),
        "format": FORMAT,
        "class": class_name,
        "versions": loaded_versions(),
        "parameters": encode_items(parameters, "", tensors),
        "fitted": encode_items(fitted, "", tensors),
    }
    text = json.dumps(model, separators=(",", ":"), allow_nan=False)
    data = _safetensors().save(tensors, metadata={"skae": text})
    n_header = int.from_bytes(data[:8], "little")
    if n_header > LONGEST_HEADER:
        raise ValueError(
            f"The model without its arrays, its names and numbers, takes {n_header} bytes, "
            f"but a model file has room for {LONGEST_HEADER}. Save it with joblib."
        )
    if data[8 : DIGEST.stop] != PREFIX + ZEROS:
        raise RuntimeError("This version of safetensors has a new layout of headers.")
    digest = hashlib.sha256(data).hexdigest().encode()
    return b"".join([data[: DIGEST.start], digest, data[DIGEST.stop :]])


def unpack(data):
    """Read what `pack` returned; the result and the errors are those of `read_model`."""
    data = memoryview(data)
    n_header = _check_start(bytes(data[:16]), len(data))
    header = bytes(data[8 : 8 + n_header])
    if not header.startswith(PREFIX):
        raise ModelFileError("is not a model file of skae, or its header was altered.")
    _check_length(header, len(data))
    _check_digest(data)
    header = _read_json(header)
    model = _read_metadata(header.pop("__metadata__"))
    if not all(_is_tensor(entry) for entry in header.values()):
        raise ModelFileError("has a header that does not describe its arrays correctly.")
    try:
        tensors = _safetensors().load(bytes(data))
    except ImportError:
        raise
    except Exception as error:  # SafetensorError, or KeyError for an unknown dtype
        raise ModelFileError(f"holds arrays that cannot be read: {error}") from error
    parameters = decode_items(model["parameters"], tensors)
    fitted = decode_items(model["fitted"], tensors)
    if tensors:
        raise ModelFileError(f"holds arrays that nothing refers to: {first_few(tensors)}.")
    return model["class"], parameters, fitted


def _safetensors():
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            'Model files need safetensors: pip install "skae[safetensors]".'
        ) from error
    return safetensors.numpy


def loaded_versions():
    """Return the versions of `LIBRARIES` that are imported, without importing any."""
    loaded = [name for name in LIBRARIES if name in sys.modules]
    return {name: str(sys.modules[name].__version__) for name in loaded}


# -- checks, from the outside to the inside --------------------------------------------


def _check_start(start, size):
    """Return the length of the header, from the first 16 bytes and the size of a file."""
    if size > 8 and start[8:9] != b"{":
        for magic, kind in OTHER_FILES.items():
            if start.startswith(magic):
                raise ModelFileError(f"is not a model file of skae: it is {kind}.")
        raise ModelFileError("is not a model file of skae.")
    if size < DIGEST.stop:
        raise ModelFileError(f"is truncated, or not a model file of skae: {size} bytes.")
    n_header = int.from_bytes(start[:8], "little")
    if n_header > LONGEST_HEADER:
        raise ModelFileError(
            f"claims a header of {n_header} bytes, but at most {LONGEST_HEADER} are "
            "allowed: it is not a model file of skae, or was altered."
        )
    if 8 + n_header > size:
        raise ModelFileError(
            f"is truncated: its header ends at byte {8 + n_header} and the file at {size}."
        )
    return n_header


def _check_length(header, size):
    """Refuse a file that is too short. Its digest is wrong too, but this says why."""
    ends = [
        int(end) for end in re.findall(rb'"data_offsets":\[\d{1,20},(\d{1,20})\]', header)
    ]
    expected = 8 + len(header) + max(ends, default=0)
    if size < expected:
        raise ModelFileError(
            f"is truncated, or was altered: it has {size} bytes of {expected}."
        )


def _check_digest(data):
    sha256 = hashlib.sha256(data[: DIGEST.start])
    sha256.update(ZEROS)
    sha256.update(data[DIGEST.stop :])
    if sha256.hexdigest().encode() != bytes(data[DIGEST]):
        raise ModelFileError("was altered after it was written: its SHA-256 differs.")


def _read_json(text):
    """Read JSON from bytes; NaN, repeated keys and deep nesting are refused."""
    depth = 0
    # A string is one match, even if its closing quotation mark is missing.
    for mark in re.finditer(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[]}]', text, flags=re.DOTALL):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(mark[0], 0)
        if depth > DEEPEST:
            raise ModelFileError(f"has a header nested more than {DEEPEST} levels deep.")
    try:
        return json.loads(
            text, object_pairs_hook=_without_repeats, parse_constant=_refuse_constant
        )
    except ModelFileError:
        raise
    except ValueError as error:
        raise ModelFileError(f"has a header that is not JSON: {error}.") from error


def _without_repeats(pairs):
    items = dict(pairs)
    if len(items) < len(pairs):
        raise ModelFileError("has a header in which a key is repeated.")
    return items


def _refuse_constant(name):
    raise ModelFileError(f"has a header with {name}, which is not JSON.")


def _is_tensor(entry):
    return isinstance(entry, dict) and entry.keys() == {"dtype", "shape", "data_offsets"}


def _read_metadata(metadata):
    """Return the entry "skae" of the metadata, after a check of its keys."""
    if [*metadata] != ["skae"]:
        raise ModelFileError(f"has unknown metadata: {first_few(metadata)}.")
    model = _read_json(metadata["skae"].encode("utf-8", "surrogatepass"))
    version, versions = model.get("format"), model.get("versions")
    if type(version) is not int or version < 1:
        raise ModelFileError(f"has the invalid format version {version!r}.")
    if version > FORMAT:
        writer = versions.get("skae") if isinstance(versions, dict) else None
        raise ModelFileError(
            f"has format {version}, but this version of skae reads formats up to {FORMAT}. "
            f"Install skae {writer} or newer."
        )
    if [*model] != KEYS:
        raise ModelFileError(f"has the keys {first_few(model)}, not {first_few(KEYS)}.")
    kinds = {"class": str, "versions": dict, "parameters": dict, "fitted": dict}
    for key, kind in kinds.items():
        if not isinstance(model[key], kind):
            raise ModelFileError(f"has an entry {key!r} of the wrong type.")
    return model
