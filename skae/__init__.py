"""Autoencoders that take the place of PCA in scikit-learn."""

from skae._autoencoder import AutoencoderTransformer

__all__ = ["AutoencoderTransformer"]

__version__ = "0.1.0"
