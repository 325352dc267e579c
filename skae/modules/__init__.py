"""Networks: `nn.Module` classes with `encode` and `decode`.

Letters in shapes: n samples, p features, k components; "..." is nothing, or one leading
axis over the members of a stack of equally shaped networks (see `stack`).
"""

from skae.modules._dense import (
    ACTIVATIONS,
    NORMALIZATIONS,
    DenseAutoencoder,
    Dropout,
    Linear,
    Mapping,
    Nested,
)

__all__ = [
    "ACTIVATIONS",
    "NORMALIZATIONS",
    "DenseAutoencoder",
    "Dropout",
    "Linear",
    "Mapping",
    "Nested",
]
