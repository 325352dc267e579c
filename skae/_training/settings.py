"""The settings of training, which are decided before the first step."""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch

from skae._engine.corruption import Corruption
from skae._engine.deadline import Deadline
from skae._engine.run import ALONE, Alone
from skae._engine.skorch_net import WARM_UP
from skae._engine.threads import Pace
from skae._torch import has_fast_bfloat16

__all__ = ["PATIENCE_CROSS_FITTED", "Settings", "Threads", "error_unit"]

STEPS = 2_000  # number of steps, approximately, that "auto" stands for, see `sizes`
FEWEST_EPOCHS, MOST_EPOCHS = 5, 200
PATIENCE, PATIENCE_CROSS_FITTED = 10, 4  # epochs that "auto" stands for, see `patience`
FEWEST_STEPS = 30  # fewest steps in these epochs
SMALLEST_BATCH, USUAL_BATCH, LARGEST_BATCH = 16, 512, 1024
SMALLEST_SHARE = 64  # batches are not made smaller than this by `batch_share`
WORTH_THREADS = 2e7  # products in the forward pass from which threads are worth it
WORTH_BFLOAT16 = 3e7  # the same for bfloat16
SAFE_FOR_BFLOAT16 = 1e-3  # smallest share of the variance left by PCA for which it is safe


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of training.

    Attributes that are not listed here are parameters of the estimator, of the same name.

    Attributes
    ----------
    from_pca : bool
        Whether the network has linear paths, which start from PCA.
    is_linear : bool
        Whether it has no other paths.
    is_stackable : bool
        Whether several networks can be trained as one.
    in_any_basis : bool
        Whether the network may take rows in the coordinates of their principal axes.
    batch_share : float
        Size of "auto" batches, as a share of the usual one.
    is_seeded : bool
        Whether the same call must end with the same bits every time.
    first_step : int
        Number of steps that the network was trained for before.
    holds_initial : bool
        Whether that network is held at the ends of features.
    unit : float
        Factor that turns an error, summed over the features, into the units of `score`.
    noise_and_units : tuple or None
        The noise and its `Units`.
    hide : Hide or None
        Hides cells, if the table has missing cells.
    penalties : tuple
        Regularizers.
    deadline : Deadline or None
        When training has to end. None is never.
    peers : Alone or Peers
        The processes that train the network.
    owner : str
        Name of the estimator's class, for messages.
    """

    n_components: int
    from_pca: bool
    is_linear: bool
    is_stackable: bool
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int | str
    tol: float
    batch_size: int | str
    max_epochs: int | str
    lr: float | str
    weight_decay: float | str
    precision: str
    callbacks: list | None
    verbose: int
    in_any_basis: bool = True
    batch_share: float = 1.0
    cv: int | str = "auto"
    is_seeded: bool = True
    warm_start: bool = False
    first_step: int = 0
    holds_initial: bool = True
    ordered: bool = False
    tied_weights: bool = False
    n_draws: int = 1
    beta: float = 1.0
    unit: float = 1.0
    noise_and_units: tuple | None = None
    hide: Callable | None = None
    penalties: tuple = ()
    deadline: Deadline | None = None
    peers: Alone = ALONE
    owner: str = "the estimator"

    def sizes(self, n_rows):
        """Return the batch size and the number of epochs for `n_rows` training rows."""
        batch_size, max_epochs = self.batch_size, self.max_epochs
        is_auto, share = batch_size == "auto", 1.0
        if is_auto:
            batch_size = 2 ** int(np.log2(min(4 * np.sqrt(n_rows), n_rows / 8)) + 0.5)
            batch_size, share = max(batch_size, SMALLEST_BATCH), self.batch_share
        batch_size = min(batch_size, n_rows)
        if max_epochs == "auto":  # smaller batches make more steps of fewer epochs
            max_epochs = int(STEPS * batch_size * share**0.5 / n_rows)
            max_epochs = min(max(max_epochs, FEWEST_EPOCHS), MOST_EPOCHS)
        if is_auto and batch_size > USUAL_BATCH:  # passes over large tables have more steps
            batch_size = min(batch_size // 2, LARGEST_BATCH)
        batch_size = min(batch_size, max(int(share * batch_size), SMALLEST_SHARE))
        return batch_size, max_epochs

    def patience(self, n_rows, is_cross_fitted):
        """Return after how many epochs without an improvement training stops.

        If the table is cross-fitted every row is held out from one network or another, so
        that their error goes up and down less from epoch to epoch than that of a tenth.
        Epochs of few steps are judged together. With corrupted inputs the error falls more
        slowly.
        """
        if self.n_iter_no_change != "auto":
            return self.n_iter_no_change
        is_plain = self.noise_and_units is None and self.hide is None
        if not (is_cross_fitted and is_plain):
            return PATIENCE
        return min(
            max(PATIENCE_CROSS_FITTED, self._n_epochs(n_rows, FEWEST_STEPS)), PATIENCE
        )

    @property
    def first_patience(self):
        """Number of epochs after which training stops if none has gained anything."""
        return PATIENCE if self.n_iter_no_change == "auto" else self.n_iter_no_change

    def hope(self, n_rows, is_cross_fitted):
        """Return when training with missing cells ends without hope, see `Choice`.

        The error often rises with the learning rate, over `WARM_UP` steps, and falls only
        afterwards. That of wide tables may stay as it is for many epochs before it falls.

        Returns
        -------
        dict with `hopes_until` and `hopeless`
        """
        hopeless = 2 * self.tol if is_cross_fitted else 0.0
        is_automatic = self.n_iter_no_change == "auto" and self.hide is not None
        until = self._n_epochs(n_rows, WARM_UP) if is_automatic else None
        return {"hopes_until": until, "hopeless": hopeless}

    def _n_epochs(self, n_rows, n_steps):
        """Return the number of epochs that have so many steps."""
        batch_size, _ = self.sizes(n_rows)
        return -(-n_steps // -(-n_rows // batch_size))

    def threads(self, module, batch_size, device):
        """Decide how many threads training may use.

        If steps are so small that several threads take longer than one, it is one thread.
        Otherwise there is no limit. The number depends on the load of the machine only if
        the outcome may differ from call to call, because with another number of threads
        some products, of matrices of a few rows, are rounded differently.

        Returns
        -------
        Threads
        """
        if device.type != "cpu":
            return Threads()
        if _n_products(module, batch_size) < WORTH_THREADS:
            return Threads(limit=1)
        has_choice = torch.get_num_threads() > 1 and not self.is_seeded
        return Threads(pace=Pace() if has_choice else None)

    def uses_bfloat16(self, module, batch_size, unexplained, device):
        """Whether products are computed in bfloat16.

        "auto" means that they are if this is faster and safe. Rounding to bfloat16 is an
        error of 0.2 % of a value. This is far below the error of PCA, unless PCA has nearly
        no error.

        Parameters
        ----------
        module : nn.Module
        batch_size : int
        unexplained : float
            Share of the variance that PCA leaves.
        device : torch.device

        Returns
        -------
        bool
        """
        if self.precision != "auto":
            return self.precision == "bfloat16"
        is_large = _n_products(module, batch_size) >= WORTH_BFLOAT16
        is_safe = bool(unexplained >= SAFE_FOR_BFLOAT16)  # autocast takes no bool of NumPy
        return is_large and is_safe and has_fast_bfloat16(device)

    def corruption(self, seed, device, means=None):
        """Return the corruption of the inputs, in the coordinates of the network.

        Parameters
        ----------
        seed : int
        device : torch.device
        means : list of m arrays of shape (n_features,), or None
            Origin of the coordinates of each member. None is the origin of the table.

        Returns
        -------
        Corruption or None
        """
        noise, units = self.noise_and_units or (None, None)
        hide = self.hide
        if hide is not None and hide.n_versions:
            hide = None  # there are versions of the rows in which cells are hidden
        if noise is None and hide is None:
            return None
        if units is not None and means is not None:
            origins = np.stack(means)
            origins = origins if len(origins) == 1 else origins[:, None]
            units = units.shifted(torch.from_numpy(origins))
        return Corruption(noise, units, hide, seed, device)


@dataclasses.dataclass(frozen=True)
class Threads:
    """The threads of a fit.

    Attributes
    ----------
    limit : int or None
        Largest number of threads. None is no limit.
    pace : Pace or None
        Chooses the number of threads for every step. None keeps the number constant.
    """

    limit: int | None = None
    pace: Pace | None = None

    @property
    def n_threads(self):
        """Number of threads in the last steps. None is no limit."""
        return self.limit if self.pace is None else self.pace.n_threads


def error_unit(loss, scale, n_features, standardize):
    """Return the factor that turns errors of the engine into the units of `score`."""
    if loss.is_likelihood:
        return 1.0
    unit = np.float64(1 / n_features)
    if loss.of_scaled and not standardize:
        with np.errstate(over="ignore", under="ignore"):
            unit *= np.float64(scale) ** loss.degree
    return float(unit)


def _n_products(module, batch_size):
    """Return the number of products in the forward pass of a step."""
    n_products = 0
    for part in module.modules():
        n_weights = sum(weight.numel() for weight in part.parameters(recurse=False))
        n_products += n_weights * getattr(part, "n_uses", 1)
    return batch_size * n_products
