"""Autoencoders that take the place of PCA in scikit-learn.

Public names are loaded when they are first asked for (PEP 562), and torch and scikit-learn
with them. `import skae` by itself therefore takes a few milliseconds, which is what a
command line, a worker process or a program that may not need a network waits for.
"""

import gc
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # type checkers and editors do not run `__getattr__`
    from skae import (  # noqa: F401
        exceptions,
        losses,
        metrics,
        modules,
        noise,
        onnx,
        persistence,
        plotting,
        regularizers,
        runtime,
    )
    from skae._applications.imputer import AutoencoderImputer
    from skae._applications.outliers import AutoencoderOutlierDetector
    from skae._autoencoders.dense import AutoencoderTransformer
    from skae._autoencoders.variational import VariationalAutoencoder
    from skae._compare import compare
    from skae._versions import show_versions
    from skae.persistence import load

__all__ = [
    "AutoencoderImputer",
    "AutoencoderOutlierDetector",
    "AutoencoderTransformer",
    "VariationalAutoencoder",
    "compare",
    "load",
    "show_versions",
]

__version__ = "0.1.0"

_HOMES = {  # public names, and the modules in which they are
    "AutoencoderImputer": "skae._applications.imputer",
    "AutoencoderOutlierDetector": "skae._applications.outliers",
    "AutoencoderTransformer": "skae._autoencoders.dense",
    "VariationalAutoencoder": "skae._autoencoders.variational",
    "compare": "skae._compare",
    "load": "skae.persistence",
    "show_versions": "skae._versions",
}
_MODULES = {
    "exceptions",
    "losses",
    "metrics",
    "modules",
    "noise",
    "onnx",
    "persistence",
    "plotting",
    "regularizers",
    "runtime",
}


if not TYPE_CHECKING:  # a type checker would take every name to be there

    def __getattr__(name):
        """Load a public name or module when it is first asked for."""
        if name in _MODULES:
            return _imported(f"skae.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module 'skae' has no attribute {name!r}")
        found = getattr(_imported(_HOMES[name]), name)
        globals()[name] = found  # so that this function is called once for each name
        return found


def _imported(name):
    """Import a module, and with it torch and scikit-learn, without garbage collection.

    Modules stay, so that there is nothing to collect, and looking for it takes a sixth of
    the time of their import.
    """
    is_on = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        if is_on:
            gc.enable()


def __dir__():
    """Return the public names of the package, also of what is not loaded yet."""
    return sorted({*__all__, *_MODULES, "__version__"})
