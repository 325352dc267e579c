"""Networks: `nn.Module` classes with `encode` and `decode`.

Letters in shapes: n samples, p features, k components; "..." is nothing, or one leading
axis over the members of a stack of equally shaped networks (see `stack`).
"""

from skae.modules._dense import DenseAutoencoder, Mapping
from skae.modules._layers import ACTIVATIONS, NORMALIZATIONS, Dropout, Linear, Nested

__all__ = [
    "ACTIVATIONS",
    "NORMALIZATIONS",
    "DenseAutoencoder",
    "Dropout",
    "Linear",
    "Mapping",
    "Nested",
]
