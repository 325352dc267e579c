"""Networks: `nn.Module` classes with `encode` and `decode`.

Letters in shapes: n is the number of samples, p of features, and k of components. "..."
stands for no axis, or for one leading axis over the members of a stack of networks of the
same shape (see `stack`).
"""

from skae.modules._convolutional import ConvolutionalAutoencoder
from skae.modules._dense import DenseAutoencoder, Mapping
from skae.modules._layers import ACTIVATIONS, NORMALIZATIONS, Dropout, Linear, Nested
from skae.modules._variational import ConvolutionalVariational, DenseVariational

__all__ = [
    "ACTIVATIONS",
    "NORMALIZATIONS",
    "ConvolutionalAutoencoder",
    "ConvolutionalVariational",
    "DenseAutoencoder",
    "DenseVariational",
    "Dropout",
    "Linear",
    "Mapping",
    "Nested",
]
