"""The arrows of the house: imports go down the stairs."""

import ast
from pathlib import Path

import pytest

import skae

# Files on one floor do not import each other; each may import the floors before it.
FLOORS = [
    [
        "_compat",
        "_training.messages",
        "losses._starts",
        "_tables.ranges",
        "_tables.rows",
        "_engine.threads",
        "exceptions",
    ],
    [
        "losses._counts",
        "_tables.dependence",
        "_tables.missing",
        "modules._own",
        "_tables.pca",
        "modules._dense",
        "noise",
        "regularizers",
    ],
    ["modules"],
    ["losses._named"],
    ["losses"],
    ["losses._mixed"],
    ["losses._resolve", "_model.canonical", "_engine.batches", "_files.container"],
    ["_training.linear_start"],
    ["_engine.backprop", "_engine.objective"],
    ["_engine.skorch_net"],
    ["_engine.checkpoint", "_model.model", "_engine.callbacks"],
    ["_training.training"],
    ["_training.stream", "_tables.fit_data"],
    ["_autoencoders.fitting"],
    ["_autoencoders.base"],
    ["_autoencoders.dense", "metrics"],
    ["_compare", "_versions", "persistence", "plotting._drawing"],
    [
        "plotting._arrows",
        "plotting._errors",
        "plotting._explained_variance",
        "plotting._groups",
        "plotting._loss_curve",
        "plotting._reconstruction",
    ],
    ["plotting._codes"],
    ["plotting"],
    ["__init__"],
    ["__main__"],
]
LEVEL = {name: level for level, floor in enumerate(FLOORS) for name in floor}
ROOT = Path(skae.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


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
    parts = name.split(".")[1:]
    while parts and ".".join(parts) not in LEVEL:
        parts.pop()
    return ".".join(parts) or "__init__"


def own(path):
    """The name of a file in `FLOORS`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts if len(parts) == 1 else [p for p in parts if p != "__init__"])


@pytest.mark.parametrize("path", FILES, ids=own)
def test_arrows(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    everywhere, at_top = list(imports(ast.walk(tree))), list(imports(tree.body))
    packages = {name.split(".")[0] for name in everywhere}
    rooms = {house(name) for name in everywhere if name.split(".")[0] == "skae"}
    name = own(path)
    assert all(LEVEL[room] < LEVEL[name] for room in rooms), rooms
    assert "skorch" not in packages or name == "_engine.skorch_net"
    assert not name.startswith("modules") or not packages & {"numpy", "sklearn", "scipy"}
    assert not any(name.startswith("matplotlib") for name in at_top)
