"""How to train: what is decided before the first step."""

import dataclasses
from collections.abc import Callable

__all__ = ["Recipe"]

STEPS = 6_000  # about how many steps "auto" allows
FEWEST_EPOCHS, MOST_EPOCHS = 10, 200
SMALLEST_BATCH, LARGEST_BATCH = 16, 1024
WORTH_THREADS = 2e7  # products of a step's forward pass
WORTH_BFLOAT16 = 3e7
SAFE_FOR_BFLOAT16 = 1e-3  # share of the variance that PCA leaves


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train: what the engine reads of an estimator's parameters.

    `from_pca`: the network has linear paths, which start at PCA. `is_linear`: it has no
    other. `is_ours`: its layers are those of `skae.modules`, which can be stacked.
    `is_seeded`: the same call is to end with the same bits every time. `unit`: what an
    error summed over the features is multiplied by to be in the units of `score`.
    `spoiling`: the noise and its `Units`. `hide`: what hides cells where some are
    missing. `penalties`: regularizers. `owner`: name of the estimator's class. The rest
    are parameters of the same name.
    """

    n_components: int
    from_pca: bool
    is_linear: bool
    is_ours: bool
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    tol: float
    batch_size: int | str
    max_epochs: int | str
    lr: float
    weight_decay: float
    precision: str
    callbacks: list | None
    verbose: int
    cv: int | str = "auto"
    is_seeded: bool = True
    warm_start: bool = False
    ordered: bool = False
    tied_weights: bool = False
    unit: float = 1.0
    spoiling: tuple | None = None
    hide: Callable | None = None
    penalties: tuple = ()
    owner: str = "the estimator"


def _n_products(module, batch_size):
    return batch_size * sum(parameter.numel() for parameter in module.parameters())
