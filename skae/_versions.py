"""show_versions: prints the information that a bug report should begin with."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import torch
from threadpoolctl import threadpool_info

from skae._torch import has_fast_bfloat16, resolve_device

__all__ = ["show_versions"]

PACKAGES = [
    "scikit-learn",
    "torch",
    "skorch",
    "numpy",
    "scipy",
    "pandas",
    "polars",
    "matplotlib",
    "safetensors",
]


def show_versions():
    """Print versions, devices and numbers of threads for a bug report.

    Examples
    --------
    >>> from skae import show_versions
    >>> show_versions()  # doctest: +ELLIPSIS
    System
      python              ...
    """
    sections = {"System": _system(), "Packages": _packages(), "Threads": _threads()}
    for title, entries in sections.items():
        print(title)
        for name, value in entries.items():
            print(f"  {name:<20}{value}")


def _system():
    found = {
        "python": sys.version.replace("\n", " "),
        "executable": sys.executable,
        "platform": platform.platform(),
    }
    device = resolve_device("auto")
    found["device"] = str(device)
    if device.type == "cuda":
        found["GPU"] = torch.cuda.get_device_name(device)
    found["CUDA of torch"] = torch.version.cuda or "none"
    found["fast bfloat16"] = "yes" if has_fast_bfloat16(device) else "no"
    return found


def _packages():
    # A package that runs from its sources has no metadata.
    return {"skae": sys.modules["skae"].__version__} | {
        name: _version(name) for name in PACKAGES
    }


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _threads():
    """Return the number of threads of torch and of every library with its own threads."""
    pools = {
        pool.get("prefix") or pool["internal_api"]: f"{pool['num_threads']}"
        for pool in threadpool_info()
    }
    return {"torch": str(torch.get_num_threads())} | pools
