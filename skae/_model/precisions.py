"""A network in several precisions, made when they are first asked for."""

import torch

from skae._torch import give_memory_back, in_own_modes
from skae.modules._base import copied

__all__ = ["Precisions"]

LARGE = 2**21  # number of weights from which freed memory is given back


class Precisions(dict):
    """Maps torch's dtypes to copies of a network, which hold the same numbers.

    A copy is made when it is first asked for, because with many features it may take as
    much memory as a table. Threads may make one at the same time, and then use the same.

    Parameters
    ----------
    network : Network
        Network in float32.
    """

    def __init__(self, network):
        super().__init__({torch.float32: network})
        self._decoder = None

    @in_own_modes()
    def __missing__(self, dtype):
        return self.setdefault(dtype, copied(self[torch.float32]).to(dtype))

    @in_own_modes()
    def decoder(self):
        """Return a network in float64 that can decode; it may lack the encoder."""
        if torch.float64 in self:
            return self[torch.float64]
        if self._decoder is None:
            self._decoder = self[torch.float32].decoding_copy().double()
        return self._decoder

    def forget(self):
        """Drop all copies, which can be made again."""
        self._decoder = None
        for dtype in [*self]:
            if dtype != torch.float32:
                del self[dtype]
        if sum(weight.numel() for weight in self[torch.float32].parameters()) > LARGE:
            give_memory_back()
