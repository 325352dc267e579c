"""show_versions: names and figures are those of this process."""

import platform
from importlib.metadata import version

import sklearn
import torch

import skae
from skae import _versions


def test_show_versions(capsys):
    _versions.show_versions()
    lines = capsys.readouterr().out.splitlines()
    sections = [line for line in lines if not line.startswith(" ")]
    assert sections == ["System", "Packages", "Threads"]
    packages = lines[lines.index("Packages") + 1 : lines.index("Threads")]
    found = dict(line.split(maxsplit=1) for line in packages)
    assert found["skae"] == skae.__version__
    assert found["scikit-learn"] == sklearn.__version__
    assert found["torch"] == version("torch")
    assert set(found) == {"skae", *_versions.PACKAGES}
    assert platform.python_version() in lines[1]
    assert any(line.split() == ["torch", str(torch.get_num_threads())] for line in lines)
    assert any(line.startswith("  fast bfloat16       ") for line in lines)


def test_a_package_that_is_not_there(capsys, monkeypatch):
    monkeypatch.setattr(_versions, "PACKAGES", ["no-such-package"])
    _versions.show_versions()
    assert "  no-such-package     not installed\n" in capsys.readouterr().out


def test_a_graphics_card(capsys, monkeypatch):
    """Named where there is one; the card itself is not asked for anything else."""
    monkeypatch.setattr(_versions, "resolve_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "H100")
    monkeypatch.setattr(_versions, "has_fast_bfloat16", lambda _: True)
    _versions.show_versions()
    words = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["GPU", "H100"] in words
    assert ["fast", "bfloat16", "yes"] in words
