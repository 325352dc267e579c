"""The arrows of the house: imports go down the stairs."""

import ast
from pathlib import Path

import pytest

import skae

# Files on one floor do not import each other; each may import the floors before it.
FLOORS = [
    ["_compat", "_faults", "_linear", "_ranges", "_streams", "_threads", "exceptions"],
    [
        "_counts",
        "_dependence",
        "_missing",
        "_own_module",
        "_pca",
        "modules",
        "noise",
        "regularizers",
    ],
    ["losses"],
    ["_mixed"],
    ["_resolve", "_codes", "_data", "_files"],
    ["_start"],
    ["_backprop", "_errors"],
    ["_net"],
    ["_checkpoint", "_inference", "_progress"],
    ["_training"],
    ["_ongoing", "_prepare"],
    ["_fitting"],
    ["_base"],
    ["_autoencoder", "metrics"],
    ["_compare", "_versions", "persistence", "_drawing"],
    [
        "_display_arrows",
        "_display_errors",
        "_display_explained_variance",
        "_display_groups",
        "_display_loss_curve",
        "_display_reconstruction",
    ],
    ["_display_codes"],
    ["plotting"],
    ["__init__"],
    ["__main__"],
]
LEVEL = {name: level for level, floor in enumerate(FLOORS) for name in floor}
FILES = sorted(Path(skae.__file__).parent.rglob("*.py"))


def imports(nodes):
    """Dotted names that the nodes import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def house(name):
    """The file of the package that a dotted name is from."""
    room = [*name.split("."), "__init__"][1]
    return room if room in LEVEL else "__init__"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_arrows(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    everywhere, at_top = list(imports(ast.walk(tree))), list(imports(tree.body))
    packages = {name.split(".")[0] for name in everywhere}
    rooms = {house(name) for name in everywhere if name.split(".")[0] == "skae"}
    assert all(LEVEL[room] < LEVEL[path.stem] for room in rooms), rooms
    assert not rooms or path.stem not in {"_compat", "_streams", "_linear", "modules"}
    assert "skorch" not in packages or path.stem == "_net"
    assert path.stem != "modules" or not packages & {"numpy", "sklearn", "scipy"}
    assert not any(name.startswith("matplotlib") for name in at_top)
