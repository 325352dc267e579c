"""The arrows of the house: imports go down the stairs."""

import ast
import graphlib
from pathlib import Path

import pytest

import skae

# From the ground to the roof: a folder, or a file beside the folders, imports only what is
# written above it here, and files of its own folder without going round in a circle.
FLOORS = [
    "exceptions",  # errors of the package's own
    "_compat",  # scikit-learn's private doors
    "_torch",  # devices, generators, threads, memory
    "_files",  # model files
    "modules",  # networks: weights
    "noise",  # recipes
    "regularizers",  # recipes
    "_tables",  # what users give, made ready
    "_serving",  # what a saved model computes, in NumPy alone
    "runtime",  # files answered with NumPy alone
    "metrics",  # errors of any estimator
    "losses",  # formulae, and where they start
    "_model",  # a trained network between arrays
    "_engine",  # batches, objective, optimizer, skorch
    "_training",  # one fit, from table to result
    "_autoencoders",  # the estimators that own a network
    "_applications",  # the estimators that have an autoencoder
    "onnx",  # estimators as graphs of ONNX
    "persistence",  # estimators in files
    "_rivals",  # estimators without categories, on frames that have them
    "_compare",  # estimators side by side
    "_versions",  # what a report of a bug begins with
    "plotting",  # pictures
    "__init__",  # public names
    "__main__",  # the demonstration
]
ROOT = Path(skae.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def file_name(path):
    """`modules/_dense.py` is "modules._dense", `modules/__init__.py` is "modules"."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


NAMES = {file_name(path): path for path in FILES}


def floor(name):
    """The entry of `FLOORS` that a file of the package belongs to."""
    return name.split(".")[0]


def imports(nodes):
    """Dotted names that the nodes import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_of(dotted):
    """The file of the package that an imported name is from."""
    parts = dotted.split(".")[1:]
    while parts and ".".join(parts) not in NAMES:
        parts.pop()
    return ".".join(parts) or "__init__"


def house(nodes):
    """The files of the package that the nodes import."""
    return {file_of(name) for name in imports(nodes) if name.split(".")[0] == "skae"}


@pytest.mark.parametrize("name", NAMES)
def test_arrows(name):
    tree = ast.parse(NAMES[name].read_text(encoding="utf-8"))
    everywhere = list(ast.walk(tree))
    packages = {imported.split(".")[0] for imported in imports(everywhere)}
    level = FLOORS.index(floor(name))
    lower = {floor(file) for file in house(everywhere)} - {floor(name)}
    assert lower <= set(FLOORS[:level]), f"{name} imports what is not below it"
    assert "skorch" not in packages or floor(name) == "_engine"
    assert floor(name) != "modules" or not packages & {"numpy", "sklearn", "scipy"}
    at_top = {imported.split(".")[0] for imported in imports(tree.body)}
    assert "matplotlib" not in at_top, "matplotlib is imported inside the plot"


def test_no_circles():
    graph = {
        name: house(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        for name, path in NAMES.items()
    }
    assert [*graphlib.TopologicalSorter(graph).static_order()]


def test_every_floor_is_there():
    assert {floor(name) for name in NAMES} == set(FLOORS)
