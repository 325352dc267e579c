"""The public names of the package, which are loaded when they are first asked for."""

import inspect
import os
import pickle
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import skae

LARGE = "torch", "skorch", "sklearn", "scipy", "numpy", "pandas", "matplotlib"
MODULES = sorted(
    path.stem
    for path in Path(skae.__file__).parent.iterdir()
    if path.name[0] not in "_." and (path.suffix == ".py" or path.is_dir())
)


def output_of(program):
    """Run a program in a new process, and return what it prints."""
    root = str(Path(skae.__file__).parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", program]
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    )
    return ended.stdout


def test_import_loads_nothing_large():
    program = "import sys, skae; dir(skae), skae.__version__; print(*sys.modules)"
    loaded = output_of(program).split()
    assert "skae" in loaded
    assert not {*LARGE} & {*loaded}


def test_a_module_that_needs_no_torch_loads_none():
    program = "import sys, skae; print(skae.metrics.METRICS['r2']); print(*sys.modules)"
    figures, loaded = output_of(program).splitlines()
    assert figures.startswith("Metric(")
    assert not {"torch", "skorch", "matplotlib"} & {*loaded.split()}


def test_a_fit_to_an_array_loads_no_dask():
    program = (
        "import sys, numpy as np; from skae import AutoencoderTransformer\n"
        "X = np.eye(30); ae = AutoencoderTransformer(2, max_epochs=1).fit(X)\n"
        "ae.transform(X), ae.score(X); print(*sys.modules)"
    )
    loaded = output_of(program).split()
    assert "torch" in loaded
    assert not {"dask", "distributed"} & {*loaded}


def test_every_name_is_seen_and_found():
    assert {*skae.__all__, *MODULES, "__version__"} == {*dir(skae)}
    members = dict(inspect.getmembers(skae))
    for name in skae.__all__:
        assert members[name] is getattr(skae, name)
        assert pickle.loads(pickle.dumps(members[name])) is members[name]
    for name in MODULES:
        assert members[name] is sys.modules[f"skae.{name}"]


def test_star_brings_the_public_names():
    names = {}
    exec("from skae import *", names)
    assert names.keys() - {"__builtins__"} == {*skae.__all__}


def test_documentation_shows_every_name():
    text = pydoc.render_doc(skae, renderer=pydoc.plaintext)
    assert all(name in text for name in [*skae.__all__, *MODULES])


def test_type_checkers_see_every_name():
    """They read the imports of the file, and do not run it."""
    source = inspect.getsource(skae)
    block = source.partition("if TYPE_CHECKING:")[2].partition("__all__")[0]
    assert all(name in block for name in [*skae.__all__, *MODULES])


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'skae' has no attribute 'PCA'"):
        _ = skae.PCA
    with pytest.raises(ImportError, match="cannot import name 'PCA' from 'skae'"):
        from skae import PCA  # noqa: F401


@pytest.mark.parametrize("is_on", [True, False])
def test_garbage_collection_is_as_before(is_on):
    switch = "" if is_on else "gc.disable()"
    program = f"import gc, skae\n{switch}\nskae.AutoencoderTransformer"
    program += "\nprint(gc.isenabled())"
    assert output_of(program).strip() == str(is_on)
