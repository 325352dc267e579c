"""Autoencoders that take the place of PCA in scikit-learn."""

from skae._autoencoders.dense import AutoencoderTransformer
from skae._compare import compare
from skae._versions import show_versions
from skae.persistence import load

__all__ = ["AutoencoderTransformer", "compare", "load", "show_versions"]

__version__ = "0.1.0"
