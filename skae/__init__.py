"""Autoencoders that take the place of PCA in scikit-learn."""

from skae._autoencoder import AutoencoderTransformer
from skae._compare import compare

__all__ = ["AutoencoderTransformer", "compare"]

__version__ = "0.1.0"
