"""Docstrings in numpydoc's form, and files of which the guides speak."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

MODULES = ["skae", "skae.metrics", "skae.plotting", "skae.runtime"]
ROOT = Path(__file__).parents[2]
GUIDES = ["README.md", ".github/CONTRIBUTING.md", "examples/benchmarks/README.md"]

# What numpydoc asks for and the house does otherwise.
IGNORED = {
    "GL01": "the summary begins on the line of the quotes",
    "ES01": "a good summary may be all there is to say",
    "SA01": "not everything has a relative",
    "SA04": "nor needs its relatives described",
    "EX01": "methods are shown in the example of their class",
    "RT02": "what is returned has a name, as in scikit-learn",
    "SS05": "it takes every first word that ends with s for a verb: codes, minus",
}
# Parameters whose names and types say it all, by scikit-learn's custom for X and y.
SELF_EVIDENT = re.compile(r'Parameter "(X|y|X_hat|sample_weight)" has no description')


def public_names():
    """Public functions and classes, and the classes' own public methods, dotted."""
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            thing = getattr(module, name)
            if not callable(thing):
                continue
            yield f"{module_name}.{name}"
            if inspect.isclass(thing):
                yield from (f"{module_name}.{name}.{m}" for m in own_methods(thing))


def own_methods(cls):
    """Public methods of the class that are written in this package."""
    for name, member in inspect.getmembers(cls, callable):
        function = inspect.unwrap(getattr(member, "__func__", member))
        ours = (getattr(function, "__module__", None) or "").startswith("skae")
        if ours and not name.startswith("_"):
            yield name


@pytest.mark.parametrize("name", sorted(public_names()))
def test_docstring(name):
    validate = pytest.importorskip("numpydoc.validate").validate
    errors = [
        f"{code}: {message}"
        for code, message in validate(name)["errors"]
        if code not in IGNORED and not SELF_EVIDENT.match(message)
    ]
    assert not errors, "\n".join([name, *errors])


def test_something_is_public():
    names = set(public_names())
    for name in [
        "skae.AutoencoderTransformer.fit",
        "skae.AutoencoderTransformer.inverse_transform",
        "skae.compare",
        "skae.metrics.reconstruction_error",
        "skae.plotting.CodesDisplay.from_estimator",
    ]:
        assert name in names


def named_files(text):
    """Relative links of a Markdown text, and paths in its code that end like a file."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose)
    yield from (link for link in links if not re.match(r"[a-z]+:", link))
    for code in re.findall(r"`([^`\n]+)`", prose):
        if re.fullmatch(r"[\w./-]+\.(py|md|toml|txt|sh|png|yml)|[\w./-]+/", code):
            yield code


@pytest.mark.parametrize("guide", GUIDES)
def test_named_files_exist(guide):
    path = ROOT / guide
    files = set(named_files(path.read_text(encoding="utf-8")))
    assert files, "the guide speaks of no file: has the pattern gone blind?"
    # A name may be relative to the guide, to the root, or to a folder of the root.
    places = [path.parent, ROOT, *(ROOT / f for f in ("examples", "skae", "tests"))]
    missing = {f for f in files if not any((place / f).exists() for place in places)}
    assert not missing


def test_commands_of_the_guides_name_files_that_exist():
    for guide in GUIDES:
        text = (ROOT / guide).read_text(encoding="utf-8")
        blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
        scripts = {s for b in blocks for s in re.findall(r"[\w./-]+\.(?:py|sh|txt)\b", b)}
        assert all((ROOT / script).exists() for script in scripts), scripts
