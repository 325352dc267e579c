"""Model files: what comes back is what was saved, and nothing else is opened."""

import ast
import copy
import hashlib
import json
import os
import pickle
import sys
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold
from torch import nn

import skae
from skae import AutoencoderTransformer, persistence
from skae._files import container
from skae._files.values import OBJECT_MODULES, SCALARS, SavedObject
from skae.exceptions import ModelFileError
from skae.persistence import load

pytest.importorskip("safetensors")

DATA = Path(__file__).parents[1] / "data"
SETTINGS = {
    "default": {},
    "whiten": {"whiten": True},
    "standardize": {"standardize": True},
    "binary_cross_entropy": {"loss": "binary_cross_entropy"},
    "random": {"n_components": 8, "init": "random", "code_activation": "tanh"},
    "linear": {"hidden_layer_sizes": ()},
    "share": {"n_components": 0.8, "n_iter_no_change": np.int64(5)},
    "no early stopping": {"early_stopping": False, "dropout": 0.2, "lr": np.float32(1e-3)},
    "list": {"hidden_layer_sizes": [8, 4], "random_state": None, "tol": 1},
}


class Plain(nn.Module):
    """A user's network, with a buffer of whole numbers in its BatchNorm."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(n_features, n_components), nn.BatchNorm1d(2))
        self.decode = nn.Linear(n_components, n_features)

    def forward(self, X):
        return self.decode(self.encode(X))


class WithoutNorm(Plain):
    def __init__(self, n_features, n_components):
        super().__init__(n_features, n_components)
        del self.encode[1]


class Sentinel:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def fit(X, **params):
    params = {"n_components": 2, "max_epochs": 2, "random_state": 0, **params}
    return AutoencoderTransformer(**params).fit(X)


@pytest.fixture(scope="module")
def table(curved):
    return (curved - curved.min()) / (curved.max() - curved.min())


@pytest.fixture(scope="module")
def small():
    """A fitted estimator of a few numbers."""
    X = np.random.default_rng(0).normal(size=(30, 3))
    return fit(X, hidden_layer_sizes=(4,))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.skae"


@pytest.fixture(scope="module")
def data(small, tmp_path_factory):
    """The bytes of its file."""
    path = tmp_path_factory.mktemp("small") / "model.skae"
    small.save(path)
    return path.read_bytes()


def same(a, b):
    """Whether two values are equal to the bit, their types included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray) and a.dtype != object:
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, np.ndarray):
        return same(a.tolist(), b.tolist())
    return a == b or (a != a and b != b)


# -- round trips -----------------------------------------------------------------------


@pytest.mark.parametrize("name", SETTINGS)
def test_round_trip(name, table, path):
    ae = fit(table, **SETTINGS[name])
    ae.save(path)
    again = load(path)
    for dtype in (np.float32, np.float64):
        X = table.astype(dtype)
        Z = ae.transform(X)
        assert same(again.transform(X), Z)
        assert same(again.inverse_transform(Z), ae.inverse_transform(Z))
        assert same(again.score_samples(X), ae.score_samples(X))
    assert same(again.__getstate__(), ae.__getstate__())
    assert vars(again).keys() == vars(ae).keys()
    assert again.device_ == ae.device_


def test_equal_models_make_equal_files(table, path):
    fit(table).save(path)
    first = path.read_bytes()
    fit(table).save(path)
    assert path.read_bytes() == first
    load(path).save(path)
    assert path.read_bytes() == first
    assert len(first) < 35_000


def test_feature_names_and_set_output(table, path):
    pandas = pytest.importorskip("pandas")
    names = ['"sha256":"' + 64 * "0" + '"', "größe", "\\", "\x00", "", "{"]
    frame = pandas.DataFrame(table, columns=names)
    ae = fit(frame).set_output(transform="pandas")
    ae.save(path)
    again = load(path)
    assert same(again.feature_names_in_, ae.feature_names_in_)
    pandas.testing.assert_frame_equal(again.transform(frame), ae.transform(frame))
    with pytest.raises(ValueError, match="feature names"):
        again.transform(frame.rename(columns={"{": "}"}))


def test_custom_module(table, path):
    ae = fit(table, module=Plain, init="random")
    ae.save(path)
    with pytest.raises(ModelFileError, match="Pass module= to load"):
        load(path)
    state = torch.get_rng_state()
    again = load(path, module=Plain)
    assert torch.equal(torch.get_rng_state(), state)
    assert again.module is Plain
    assert same(again.transform(table), ae.transform(table))
    assert again.net_.module_.encode[1].num_batches_tracked.dtype == torch.int64
    with pytest.raises(ModelFileError, match=r"\[\] are missing, \['encode\.1\.bias'"):
        load(path, module=WithoutNorm)
    with pytest.raises(ModelFileError, match="of shape"):
        load(path, module=lambda p, k: Plain(p + 1, k))


@pytest.mark.parametrize("k", [2, 1])
def test_custom_module_beside_a_linear_path(table, path, k):
    """Its weights are in the file, under the name that it has in the network."""
    params = {"module": Plain, "ordered": True, "early_stopping": False}
    ae = fit(table, **params).truncate(k)
    ae.save(path)
    again = load(path, module=Plain)
    assert same(again.transform(table), ae.transform(table))
    assert same(again.denoise(table), ae.denoise(table))
    load(path, module=Plain).save(path)
    assert same(load(path, module=Plain).transform(table), ae.transform(table))
    own = again.net_.module_.corrections.module
    assert own.encode[1].num_batches_tracked.dtype == torch.int64
    missing = r"\['corrections\.module\.encode\.1\.bias'"
    with pytest.raises(ModelFileError, match=rf"\[\] are missing, {missing}"):
        load(path, module=WithoutNorm)


def test_a_module_where_none_belongs(small, path):
    small.save(path)
    with pytest.raises(ModelFileError, match="Leave out module="):
        load(path, module=Plain)


def test_what_is_not_saved(table, path):
    class Mine(AutoencoderTransformer):
        pass

    ae = fit(table, random_state=np.random.RandomState(0), device=torch.device("cpu"))
    ae.callbacks, ae.cv = [print], KFold(3)
    ae.save(path)
    again = load(path)
    assert (again.random_state, again.callbacks, again.device) == (None, None, "auto")
    assert again.cv == "auto"
    assert load(path, device="cpu").device == "cpu"
    with pytest.raises(NotFittedError):
        AutoencoderTransformer().save(path)
    with pytest.raises(TypeError, match="save of Mine"):
        Mine(2, max_epochs=1).fit(table).save(path)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device of load must be"):
            load(path, device="cuda")


def test_warm_start_afterwards(table, path):
    ae = fit(table, early_stopping=False, warm_start=True, max_epochs=20)
    ae.save(path)
    again = load(path).fit(table)
    assert again.loss_curve_[0] < ae.loss_curve_[0]
    assert same(again.transform(table), ae.fit(table).transform(table))


def test_every_public_estimator_can_be_loaded():
    public = {name for name in skae.__all__ if isinstance(getattr(skae, name), type)}
    assert set(persistence.CLASSES) == public


def test_values():
    array = np.arange(24.0).reshape(2, 3, 4)
    values = {
        "plain": [None, True, False, 0, -(2**70), "ü\x00\ud800", 0.1, 5e-324, -0.0],
        "floats": [np.inf, -np.inf, np.nan],
        "nested": ((1, [2.0, ()]), {"sha256": "0" * 64, "": (None,)}),
        "scalars": [
            np.dtype(name).type(value)
            for name in SCALARS
            for value in (0, 1, *([np.nan, np.inf, 0.1] if "float" in name else []))
        ],
        "arrays": [array, np.array(1.5), np.zeros((0, 3)), array.astype(np.float16)],
        "odd": {"big": array.astype(">f4"), "cut": array[:, ::-1, ::2], "f": array.T},
        "whole": [array.astype(int), array > 3],
        "names": np.array(["a", '"', ""], dtype=object),
    }
    name, params, fitted = container.unpack(container.pack("A", {}, values))
    assert (name, params) == ("A", {})
    values["odd"]["big"] = values["odd"]["big"].astype("f4")
    assert same(fitted, values)
    assert np.signbit(fitted["plain"][-1])
    fitted["arrays"][0][0] = 0  # may be written to


@pytest.mark.parametrize("recipe", [kind() for kind in persistence.OBJECTS.values()])
def test_noises_and_regularizers(recipe):
    """Noises and regularizers come back as what they were, alone and in a list."""
    data = container.pack("A", {"recipe": recipe, "recipes": [recipe]}, {})
    found = container.unpack(data)[1]
    for again in (
        persistence._made(found["recipe"]),
        persistence._made(found["recipes"])[0],
    ):
        assert type(again) is type(recipe)
        assert same(again.get_params(), recipe.get_params())


def test_every_noise_and_regularizer_is_known():
    homes = [getattr(skae, file.removeprefix("skae.")) for file in OBJECT_MODULES]
    public = [getattr(home, name) for home in homes for name in home.__all__]
    assert set(persistence.OBJECTS.values()) == {
        kind
        for kind in public
        if isinstance(kind, type) and issubclass(kind, BaseEstimator)
    }


@pytest.mark.parametrize(
    "recipe",
    [
        ("Popen", {}),
        ("L1Code", {"beta": 1}),
        ("L1Code", {"alpha": -1}),
        ("L1Code", {"a": {}}),
    ],
    ids=str,
)
def test_forged_noises_and_regularizers(recipe, data, path):
    for value in ({"recipe": [*recipe]}, [{"recipe": [*recipe]}], {"recipe": recipe[0]}):
        header, _ = parts(data)
        parameters = header["__metadata__"]["skae"]["parameters"] | {"tol": value}
        forged_model(data, path, None, parameters=parameters)
    with pytest.raises((ModelFileError, ValueError)):
        persistence._made(SavedObject(*recipe))


@pytest.mark.parametrize(
    "value",
    [print, ..., {1: 2}, np.array([1, "a"], dtype=object), np.zeros(2, dtype="M8[s]"),
     1j, b"", np.array(["a"]), torch.zeros(2), [{3}], np.longdouble(1)],
    ids=repr,
)  # fmt: skip
def test_values_that_are_refused(value):
    with pytest.raises(TypeError, match=r"fitted_(/0)? cannot be saved"):
        container.pack("A", {}, {"fitted_": value})


def test_safetensors_is_named_where_it_is_missing(small, path, monkeypatch):
    small.save(path)
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    for call in (small.save, load):
        with pytest.raises(ImportError, match=r'pip install "skae\[safetensors\]"'):
            call(path)


def test_a_header_too_long_to_be_read_is_not_written(monkeypatch):
    monkeypatch.setattr(container, "LONGEST_HEADER", 1000)
    with pytest.raises(ValueError, match="Save it with joblib"):
        container.pack("A", {}, {"names": np.array(["x" * 1000], dtype=object)})


# -- writing ---------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("no space"), KeyboardInterrupt()], ids=repr)
def test_a_failed_save_changes_nothing(small, path, monkeypatch, step, error):
    def fail(*args):
        raise error

    path.write_bytes(b"before")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)):
        small.save(path)
    assert [file.name for file in path.parent.iterdir()] == ["model.skae"]
    assert path.read_bytes() == b"before"


def test_what_cannot_be_saved_changes_nothing(small, path):
    ae = copy.deepcopy(small)
    ae.extra_ = print
    path.write_bytes(b"before")
    with pytest.raises(TypeError, match="extra_ cannot be saved"):
        ae.save(path)
    assert [file.read_bytes() for file in path.parent.iterdir()] == [b"before"]


def test_saving_replaces_a_file_and_keeps_a_link(small, path):
    path.write_bytes(b"before")
    link = path.with_name("link")
    link.symlink_to(path)
    small.save(link)
    assert link.is_symlink()
    assert load(path).n_features_in_ == 3
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


# -- damage ----------------------------------------------------------------------------


def test_missing_file(path):
    with pytest.raises(FileNotFoundError):
        load(path)


def test_truncation(data, path):
    lengths = {len(data) * share // 64 for share in range(64)} | {*range(120)}
    for length in lengths:
        path.write_bytes(data[:length])
        with pytest.raises(ModelFileError, match=r"model\.skae.*truncated"):
            load(path)
        with pytest.raises(ModelFileError):
            container.unpack(data[:length])


def test_every_flipped_byte_is_found(data):
    rng = np.random.default_rng(0)
    assert container.unpack(data)[0] == "AutoencoderTransformer"
    positions = rng.permutation(np.resize(np.arange(len(data)), max(5000, len(data))))
    for position, change in zip(
        positions, rng.integers(1, 256, len(positions)), strict=True
    ):
        altered = bytearray(data)
        altered[position] ^= int(change)
        with pytest.raises(ModelFileError):
            container.unpack(altered)


def test_random_and_swapped_bytes(data, path):
    rng = np.random.default_rng(0)
    files = [rng.bytes(n) for n in (0, 1, 8, 9, 200, 5000)]
    files += [data + b"\0", data + data, data[::-1], b"\0" * 500, data[:500] + data[600:]]
    for content in files:
        path.write_bytes(content)
        with pytest.raises(ModelFileError):
            load(path)


def test_only_the_start_of_another_file_is_read(path, monkeypatch):
    with open(path, "wb") as file:
        file.write(b"\x80\x05")
        file.truncate(2**40)  # a sparse file of a terabyte
    with pytest.raises(ModelFileError, match="it is a pickle"):
        load(path)
    with open(path, "r+b") as file:
        file.write((2**39).to_bytes(8, "little") + b"{")
    with pytest.raises(ModelFileError, match="claims a header of 549755813888 bytes"):
        load(path)


# -- malice: the digest is right -------------------------------------------------------


def forge(header, body):
    """A file of any header and body, with the digest that belongs to it."""
    if not isinstance(header, bytes):
        header["__metadata__"]["skae"] = json.dumps(
            header["__metadata__"]["skae"], separators=(",", ":")
        )
        header = json.dumps(header, separators=(",", ":")).encode()
    data = len(header).to_bytes(8, "little") + header + body
    data = data[: container.DIGEST.start] + container.ZEROS + data[container.DIGEST.stop :]
    digest = hashlib.sha256(data).hexdigest().encode()
    return data[: container.DIGEST.start] + digest + data[container.DIGEST.stop :]


def parts(data):
    """Header, its metadata opened, and body of a file."""
    n_header = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + n_header])
    header["__metadata__"]["skae"] = json.loads(header["__metadata__"]["skae"])
    return header, data[8 + n_header :]


def refused(path, content, match=None):
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=match):
        load(path)
    return 1


def test_a_forgery_without_changes_loads(data, small, path):
    path.write_bytes(forge(*parts(data)))
    assert same(load(path).__getstate__(), small.__getstate__())


TENSOR_FORGERIES = [
    lambda t: t.update(data_offsets=[-8, t["data_offsets"][1]]),
    lambda t: t.update(data_offsets=t["data_offsets"][::-1]),
    lambda t: t.update(data_offsets=[0, 2**63]),
    lambda t: t.update(data_offsets=[i + 4 for i in t["data_offsets"]]),
    lambda t: t.update(data_offsets=[0, t["data_offsets"][1] + 4]),
    lambda t: t.update(data_offsets=t["data_offsets"][:1]),
    lambda t: t.update(data_offsets="0,8"),
    lambda t: t.update(shape=[2**62, 2**62]),
    lambda t: t.update(shape=[-1]),
    lambda t: t.update(shape=[*t["shape"], 2]),
    lambda t: t.update(shape="3"),
    lambda t: t.update(dtype="OBJECT"),
    lambda t: t.update(dtype={"F32": "I32", "F64": "F32"}[t["dtype"]]),
    lambda t: t.update(dtype=None),
    lambda t: t.update(dtype=[]),
    lambda t: t.pop("shape"),
    lambda t: t.update(code="print()"),
    lambda t: t.clear(),
]


def test_forged_tensors(data, path):
    """Some 340 malformed headers."""
    names = [name for name in parts(data)[0] if name != "__metadata__"]
    count = 0
    for forgery in TENSOR_FORGERIES:
        for name in names:
            header, body = parts(data)
            before = copy.deepcopy(header[name])
            forgery(header[name])
            if header[name] != before:
                count += refused(path, forge(header, body))
    assert count > 200


def test_missing_surplus_and_exchanged_tensors(data, path):
    names = [name for name in parts(data)[0] if name != "__metadata__"]
    for i, name in enumerate(names):
        header, body = parts(data)
        header["other"] = header.pop(name)
        refused(path, forge(header, body))
        header, body = parts(data)
        other = names[i - 1]
        header[name], header[other] = header[other], header[name]
        if header[name]["shape"] != header[other]["shape"]:
            refused(path, forge(header, body))
    header, body = parts(data)
    header["more"] = {
        "dtype": "U8",
        "shape": [4],
        "data_offsets": [len(body), len(body) + 4],
    }
    refused(path, forge(header, body + b"code"), "nothing refers to: 'more'")
    header, body = parts(data)
    refused(path, forge(header, body + b"code"), "cannot be read")


def test_forged_text(data, path):
    header, body = parts(data)
    text = forge(header, body)
    text = text[8 : 8 + int.from_bytes(text[:8], "little")]
    entry = b'{"dtype":"F64","shape":[0],"data_offsets":[0,0]}'
    # The name of each forgery is what its error says.
    forgeries = [
        ("a key is repeated", text[:-1] + b',"__metadata__":{}}'),
        ("a key is repeated", text[:-1] + b',"a":' + entry + b',"a":' + entry + b"}"),
        ("more than 32 levels", text[:-1] + b',"a":' + b"[" * 10**6 + b"]" * 10**6 + b"}"),
        ("more than 32 levels", text[:-1] + b',"a":' + b'{"a":' * 99 + b"1" + b"}" * 100),
        ("NaN, which is not JSON", text[:-1] + b',"a":NaN}'),
        ("not JSON", text[:-1]),
        ("not JSON", text + b"}"),
        ("not JSON", text[:-1] + b',"\xff":1}'),
        ("not JSON", text[:-1] + b',"a":' + b"9" * 10_000 + b"}"),
        ("not JSON", text + b'"' + b'\\"' * 10**6),
        ("unknown metadata", text.replace(b'}"},', b'}","more":"1"},', 1)),
        ("does not describe its arrays", text[:-1] + b',"a":1}'),
        ("cannot be read", text[:-1] + b',"a":' + entry.replace(b"0,0", b"0,9") + b"}"),
        ("not a model file", text.replace(b"skae", b"sakae", 1)),
        ("not a model file", text.replace(b'\\"sha256\\":', b'\\"sha256\\": ', 1)),
    ]
    for match, forged in forgeries:
        refused(path, forge(forged, body), match)


def forged_model(data, path, match, **changes):
    header, body = parts(data)
    header["__metadata__"]["skae"].update(changes)
    return refused(path, forge(header, body), match)


def test_forged_metadata(data, path):
    forged_model(data, path, "'OtherTransformer'", **{"class": "OtherTransformer"})
    forged_model(data, path, "'os.system'", **{"class": "os.system"})
    forged_model(data, path, "'class' of the wrong type", **{"class": ["A"]})
    forged_model(
        data, path, "Install skae 9.1 or newer", format=2, versions={"skae": "9.1"}
    )
    for version in (0, -1, True, None, "1", 1.0, [1], {}):
        forged_model(data, path, "invalid format version", format=version)
    forged_model(data, path, "has the keys", more=1)
    forged_model(data, path, "wrong type", parameters=[])
    forged_model(data, path, "wrong type", fitted=None)
    header, body = parts(data)
    del header["__metadata__"]["skae"]["versions"]
    refused(path, forge(header, body), "has the keys")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"module": "os.system"}, "unknown module"),
        ({"module": "custom"}, "Pass module="),
        ({"callbacks": ["print"]}, "does not have: .'callbacks'"),
        ({"device": "cuda"}, "does not have"),
        ({"__class__": "str"}, "does not have"),
        ({"lr": -1.0}, "lr"),
        ({"activation": "os.system"}, "activation"),
        ({"n_components": "two"}, "n_components"),
    ],
    ids=str,
)
def test_forged_parameters(data, path, change, match):
    header, _ = parts(data)
    params = header["__metadata__"]["skae"]["parameters"]
    forged_model(data, path, match, parameters={**params, **change})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"module": "os.system"}, "module"),
        ({"device": "cuda"}, "does not have: .'device'"),
        ({"__class__": "str"}, "does not have"),
        ({"lr": -1.0}, "lr"),
        ({"activation": "os.system"}, "activation"),
        ({"normalization": "batch"}, "does not have the weights of its network"),
    ],
    ids=str,
)
def test_forged_parameters_of_the_fit(data, path, change, match):
    header, _ = parts(data)
    fitted = header["__metadata__"]["skae"]["fitted"]
    params = {**fitted["_params_of_fit"]["dict"], **change}
    forged = {**fitted, "_params_of_fit": {"dict": params}}
    forged_model(data, path, match, fitted=forged)
    for other in (None, 1, "lr", [["lr", 1.0]]):
        forged = {**fitted, "_params_of_fit": other}
        forged_model(data, path, "parameters of its fit that are not a dict", fitted=forged)


@pytest.mark.parametrize(
    "change",
    [
        {"transform": 1},
        {"__class__": "x"},
        {"__dict__": {"dict": {}}},
        {"_validate_params": None},
        {"lr": 0.1},
        {"net_": None},
        {"net_": {"dict": {}}},
        {"net_": {"dict": {"encoder": 1}}},
        {"n_components_": 10**15},
        {"n_components_": 0},
        {"n_components_": True},
        {"n_components_": 2.0},
        {"n_features_in_": 10**15},
        {"n_features_in_": -3},
        {"hidden_layer_sizes_": {"tuple": [10**9]}},
        {"hidden_layer_sizes_": {"tuple": [10**30]}},
        {"hidden_layer_sizes_": {"tuple": [4] * 10**6}},
        {"hidden_layer_sizes_": {"tuple": ["4"]}},
        {"hidden_layer_sizes_": "4"},
        {"hidden_layer_sizes_": 4},
        {"mean_": 0.0},
        {"mean_": {"names": ["a", "b", "c"]}},
        {"mean_": {"array": "components_"}},
        {"scale_": 0.0},
        {"scale_": "1"},
        {"scale_": {"float": "nan"}},
        {"scale_": {"tuple": [1.0, 1.0]}},
        {"x_": {"exec": "print()"}},
        {"x_": {"tuple": "abc"}},
        {"x_": {"names": "abc"}},
        {"x_": {"names": [1]}},
        {"x_": {"dict": [1]}},
        {"x_": {"float": "1"}},
        {"x_": {"float": []}},
        {"x_": {"float64": "1"}},
        {"x_": {"float64": True}},
        {"x_": {"int8": 300}},
        {"x_": {"int64": 1.5}},
        {"x_": {"array": "absent"}},
        {"x_": {"array": ["mean_"]}},
        {"x_": {"array": "mean_"}},
        {"x_": {}},
        {"x_": {"tuple": [], "dict": {}}},
        {"x_": [[[{"tuple": [{}]}]]]},
    ],
    ids=lambda change: str(change)[:60],
)
@pytest.mark.filterwarnings("ignore:(divide|invalid):RuntimeWarning")
def test_forged_attributes(data, path, change):
    header, _ = parts(data)
    fitted = header["__metadata__"]["skae"]["fitted"]
    forged_model(data, path, None, fitted={**fitted, **change})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(small, path, value):
    ae = copy.deepcopy(small)
    with torch.no_grad():
        ae.net_.module_.decoder.linear.bias[0] = value
    ae.save(path)
    with pytest.raises(ModelFileError, match="not finite"):
        load(path)


def nodes(tree, path=()):
    """Paths to all values in nested lists and dicts."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in pairs:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from nodes(value, (*path, key))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_any_value_in_place_of_any_other(data, path):
    """A file that loads all the same makes a model that works."""
    rng = np.random.default_rng(0)
    strange = [None, True, -1, 0, 2**40, 1e300, "", "auto", [], {}, {"tuple": []}, [[0]]]
    everywhere = [*nodes(parts(data)[0]["__metadata__"]["skae"])][1:]
    n_refused, trials = 0, 300
    for _ in range(trials):
        header, body = parts(data)
        *way, last = everywhere[rng.integers(len(everywhere))]
        place = header["__metadata__"]["skae"]
        for key in way:
            place = place[key]
        place[last] = strange[rng.integers(len(strange))]
        path.write_bytes(forge(header, body))
        try:
            model = load(path)
        except ModelFileError:
            n_refused += 1
        else:
            X = np.zeros((2, 3))
            assert np.isfinite(model.inverse_transform(model.transform(X))).all()
            assert np.isfinite(model.score(X))
    assert trials // 4 < n_refused < trials


# -- no code ---------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_does_not_run(tmp_path, path, protocol):
    sentinel = tmp_path / "ran"
    path.write_bytes(pickle.dumps(Sentinel(sentinel), protocol=protocol))
    with pytest.raises(ModelFileError, match=r"not a model file|truncated"):
        load(path)
    assert not sentinel.exists()
    pickle.loads(path.read_bytes())
    assert sentinel.exists()  # else the payload would prove nothing


def test_other_files_do_not_run(tmp_path, path, small):
    sentinel = tmp_path / "ran"
    for compress in (0, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)):
        joblib.dump(Sentinel(sentinel), path, compress=compress)
        with pytest.raises(ModelFileError, match=r"not a model file|truncated"):
            load(path)
    torch.save(Sentinel(sentinel), path)
    with pytest.raises(ModelFileError, match="it is a zip archive"):
        load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(ModelFileError, match="it is a zip archive"):
        load(path)
    joblib.dump(small, path)
    with pytest.raises(ModelFileError, match="it is a pickle, which may run code"):
        load(path)
    assert not sentinel.exists()


def test_loading_does_not_unpickle(data, path, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("unpickled")

    path.write_bytes(data)
    for module, name in [(pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")]:
        monkeypatch.setattr(module, name, fail)
    monkeypatch.setattr(torch, "load", fail)
    monkeypatch.setattr(joblib, "load", fail)
    assert load(path).n_features_in_ == 3


@pytest.mark.parametrize("module", [container, persistence])
def test_no_name_that_runs_code(module):
    forbidden = {
        *("pickle", "joblib", "cloudpickle", "dill", "marshal", "shelve", "skops"),
        *("eval", "exec", "compile", "__import__", "importlib", "runpy", "getattr"),
        *("globals", "allow_pickle", "subprocess", "system"),
    }
    names = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {part for alias in node.names for part in alias.name.split(".")}
            names |= set((getattr(node, "module", None) or "").split("."))
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
            assert ast.unparse(node) not in {"torch.load", "np.load", "torch.jit"}
        elif isinstance(node, ast.keyword):
            names.add(node.arg)
    assert len(names) > 20
    assert not names & forbidden


# -- files of earlier versions ---------------------------------------------------------


@pytest.mark.parametrize("version", range(1, container.FORMAT + 1))
def test_files_of_every_format_are_read(version):
    model = load(DATA / f"format_{version}.skae")
    expected = np.load(DATA / f"format_{version}.npz", allow_pickle=False)
    assert [*model.feature_names_in_] == ["a", "b", "c", "d"]
    assert model.n_components == 2
    assert model.hidden_layer_sizes_ == (6, 4)
    names = model.feature_names_in_
    frame = pytest.importorskip("pandas").DataFrame(expected["X"], columns=names)
    close = {"rtol": 1e-9, "atol": 1e-12}
    np.testing.assert_allclose(model.transform(frame), expected["Z"], **close)
    X_hat = model.inverse_transform(expected["Z"])
    np.testing.assert_allclose(X_hat, expected["X_hat"], **close)
    np.testing.assert_allclose(model.score_samples(frame), expected["scores"], **close)
    np.testing.assert_allclose(model.components_, expected["components"], **close)
    assert isinstance(model.loss_curve_, list)
