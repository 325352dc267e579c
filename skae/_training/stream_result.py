"""The result of the chunks of a stream so far."""

import dataclasses

from skae._tables.ranges import Extremes
from skae._training.frame import FramedNetwork
from skae._training.linear_start import Start

__all__ = ["StreamResult"]


@dataclasses.dataclass(frozen=True)
class StreamResult:
    """The result of the chunks of a stream so far.

    Attributes that are not listed here are those of `Result`, with rounds of training in
    the place of epochs.

    Attributes
    ----------
    network : FramedNetwork
    start : Start
        PCA of all rows so far, in the frame of the network.
    loss_statistics : dict of str and ndarray
    extremes : Extremes
        Smallest and largest values of all rows so far.
    keeps_codes : bool
        Whether the network, and therefore its codes, are those of the result before.
    is_matched : bool
        Whether codes get the order and the signs of those before.
    squares : float
        Sum of the squares of all rows, in the frame.
    rows : tuple
        Arrays (inputs, X, weights) of rows for statistics of the codes.
    """

    network: FramedNetwork
    start: Start
    loss_statistics: dict
    extremes: Extremes
    n_components: int
    n_samples: int
    n_iter: int
    best_epoch: int
    train_errors: list
    held_out_errors: list
    pca_error: float
    outcome: str
    is_pca: bool
    n_steps: int
    squares: float
    rows: tuple
    n_threads: int | None = None
    keeps_codes: bool = False
    is_matched: bool = False

    @property
    def pca_shares(self):
        """Shares of the variance that PCA's components have, None if it is not PCA."""
        start = self.start
        return start.variances / (start.total or 1.0) if self.is_pca else None

    def sample(self):
        """Return arrays (inputs, X, weights) of rows for statistics of the codes."""
        return self.rows
