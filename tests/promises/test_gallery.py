"""The examples: each public name is in one, and `pytest -m gallery` runs them all."""

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))
MODULES = ["skae", "skae.metrics", "skae.plotting"]
SECONDS = 180  # an example should take less than 60 where nothing else runs
# Runs a script as `python script.py` does, with every warning an error, but for the one
# that `plt.show()` gives where there is no screen.
RUN = """
import runpy, sys, warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")
warnings.filterwarnings("ignore", message=".*reached max_epochs")  # for want of time
warnings.filterwarnings("ignore", category=ResourceWarning)
runpy.run_path(sys.argv[1], run_name="__main__")
from matplotlib import pyplot
assert pyplot.get_fignums(), "the example draws nothing"
for number in pyplot.get_fignums():
    pyplot.figure(number).draw_without_rendering()
"""


@pytest.mark.gallery
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path, tmp_path):
    environment = os.environ | {"MPLBACKEND": "Agg"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    # The bundled digits take the place of MNIST, which takes minutes; so they do where
    # there is no network.
    environment.pop("SKAE_DATA", None)
    environment["https_proxy"] = environment["HTTPS_PROXY"] = "http://127.0.0.1:9"
    environment["SCIKIT_LEARN_DATA"] = str(tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", RUN, str(path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def names_in(path):
    """Every name that a script's code has: imported, called, or an attribute."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_an_example(module):
    used = {name for path in EXAMPLES for name in names_in(path)}
    assert set(importlib.import_module(module).__all__) - used == set()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_for_the_gallery(path):
    """sphinx-gallery takes a title with its underline, and text between `# %%`."""
    source = path.read_text(encoding="utf-8")
    title, underline = ast.get_docstring(ast.parse(source)).splitlines()[:2]
    assert set(underline) == {"="}
    assert len(underline) == len(title)
    assert "\n# %%\n" in source
    assert source.count("plt.show()") == 1
