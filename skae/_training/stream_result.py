"""What came of the chunks of a stream so far."""

import dataclasses

from skae._training.frame import FramedNetwork
from skae._training.linear_start import Start

__all__ = ["StreamResult"]


@dataclasses.dataclass(frozen=True)
class StreamResult:
    """The outcome of a stream so far.

    Attributes
    ----------
    network : FramedNetwork
    start : Start
        PCA of all rows so far, in the frame of the network.
    loss_statistics : dict of str and ndarray
    n_components, n_samples, n_iter, best_epoch, train_errors, held_out_errors, pca_error
        As those of `Result`; an epoch is a round of training.
    outcome, is_pca, keeps_codes, n_steps, n_threads
        Likewise.
    is_matched : bool
        Whether codes are to keep their order and signs.
    squares : float
        Sum of the squares of all centred and scaled rows.
    rows : tuple
        Arrays (inputs, X, weights) of rows that codes are described by.
    """

    network: FramedNetwork
    start: Start
    loss_statistics: dict
    n_components: int
    n_samples: int
    n_iter: int
    best_epoch: int
    train_errors: list
    held_out_errors: list
    pca_error: float
    outcome: str
    is_pca: bool
    keeps_codes: bool
    is_matched: bool
    n_steps: int
    n_threads: int | None
    squares: float
    rows: tuple

    @property
    def pca_shares(self):
        """Shares (k,) of PCA's components in the variance, where the network is PCA."""
        start = self.start
        return start.variances / (start.total or 1.0) if self.is_pca else None

    def sample(self):
        return self.rows
