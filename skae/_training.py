"""One fit: who is held out, where the networks start, which weights are kept."""

import copy
import dataclasses

import numpy as np
import torch

from skae._compat import has_fast_bfloat16, make_generator, thread_limit
from skae._data import Rows, split
from skae._net import Choice, build_net, row_errors
from skae._pca import row_blocks
from skae._start import make_start
from skae.modules import stack, unstack

__all__ = ["Recipe", "Training", "fewest_components"]

MARGIN = 2.5  # standard errors by which held-out rows must be better than PCA's
STEPS = 6_000  # about how many steps "auto" allows
FEWEST_EPOCHS, MOST_EPOCHS = 10, 200
SMALLEST_BATCH, LARGEST_BATCH = 16, 1024
WORTH_THREADS = 2e7  # products of a step's forward pass
WORTH_BFLOAT16 = 5e7
SAFE_FOR_BFLOAT16 = 1e-3  # share of the variance that PCA leaves
NOTHING_LEFT = 1e-10  # share of the variance that PCA leaves when nothing can be gained


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train: what the engine reads of an estimator's parameters.

    `from_pca`: the network has linear paths, which start at PCA. `is_linear`: it has no
    other. `is_ours`: its layers are those of `skae.modules`, which can be stacked. The
    rest are parameters of the same name.
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


class Training:
    """One fit.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Centred and scaled.
    target : ndarray of shape (n_samples, n_features)
        In the units of the loss; X itself where `loss.of_scaled`.
    loss : Loss
    recipe : Recipe
    seed : int
    device : torch.device
    n_held_out : int
        The last rows of X are the user's own choice of rows to hold out.

    Attributes
    ----------
    best_epoch, n_iter : int
    train_errors, held_out_errors : list of float
        Mean errors after each epoch, summed over features. `held_out_errors` begins
        with the untrained network's, and is empty where nobody is held out.
    pca_error : float
        PCA's, for the rows that `held_out_errors` is of, else for all.
    """

    def __init__(self, X, target, loss, recipe, seed, device, n_held_out=0):
        self.X, self.target = X, target
        self.loss, self.recipe = loss, recipe
        self.seed, self.device = seed, device
        self.best_epoch = self.n_iter = 0
        self.train_errors, self.held_out_errors = [], []
        self.n_own = len(X) - n_held_out
        self._split()
        self._set_starts()

    def _split(self):
        recipe, everyone = self.recipe, np.arange(len(self.X))
        self.members = [(everyone[: self.n_own], everyone[self.n_own :])]
        if recipe.early_stopping and self.n_own == len(everyone):
            self.members = split(
                self.n_own, recipe.validation_fraction, self.seed, recipe.is_ours
            )
        self.held_out = [rows for _, rows in self.members]
        self.is_watched = any(map(len, self.held_out))
        self.n_rows = min(len(rows) for rows, _ in self.members)

    def _set_starts(self):
        """PCA of each member's rows; of all rows for the last, which is kept.

        Where one network trains and some rows are held out, its PCA has seen these,
        so that the network has to beat it by more than it would otherwise; in return
        the outcome, when it does not, is PCA of all rows.
        """
        X, target = self.X[: self.n_own], self.target[: self.n_own]
        n_samples, n_features = X.shape
        recipe, loss = self.recipe, self.loss
        crossed = len(self.members) > 1
        rotate = recipe.from_pca and loss.of_scaled and (crossed or n_features > n_samples)
        k = min(recipe.n_components, self.n_rows, n_features)
        fitted_to = [rows for rows, _ in self.members[:-1]] + [None]
        self.starts = [
            make_start(X, target, rows, k, loss, rotate, n_axes=min(X.shape))
            for rows in fitted_to
        ]
        pairs = list(zip(self.starts, self.held_out, strict=True))
        if not self.is_watched:
            pairs = [(self.starts[-1], np.arange(n_samples))]
        self.reference = np.concatenate([self._linear_errors(*pair) for pair in pairs])
        self.pca_error = float(self.reference.mean())

    def _linear_errors(self, start, rows):
        """Errors of PCA, or its kin for the loss, in `rows`."""
        errors = np.empty(len(rows))
        module = start.linear_module(torch.float64)
        for block in row_blocks(len(rows), self.X.shape[1]):
            inputs, lost = start.coordinates(self.X[rows[block]].astype(np.float64))
            inputs = torch.from_numpy(inputs)
            goal = inputs
            if not self.loss.of_scaled:
                goal = torch.from_numpy(self.target[rows[block]].astype(np.float64))
            with torch.inference_mode():
                errors[block] = self.loss.function(module(inputs), goal).numpy() + lost
        return errors

    @property
    def is_settled(self):
        """Whether PCA is the outcome before any training.

        It is where PCA is exact, or the best that a linear network can be; where the
        folds have too few rows for so many components; and where the table is too small
        to hold any row out.
        """
        recipe = self.recipe
        if not (recipe.from_pca and recipe.early_stopping):
            return False
        is_exact = recipe.is_linear or self.starts[-1].unexplained <= NOTHING_LEFT
        is_best = self.loss.of_scaled and is_exact
        return is_best or not self.is_watched or recipe.n_components >= self.n_rows - 1

    @property
    def r2(self):
        """1 - SSE / SST of the held-out rows, or of all where nobody is held out."""
        rows = np.concatenate(self.held_out) if self.is_watched else slice(self.n_own)
        total = np.square(self.X[rows]).sum(dtype=np.float64) / len(self.X[rows])
        errors = self.held_out_errors
        error = errors[self.best_epoch] if errors else self.pca_error
        return 1 - error / total if total else 1.0

    def is_pca(self, initial):
        """Whether the outcome is PCA of all rows."""
        from_pca = self.recipe.from_pca and self.loss.of_scaled
        return from_pca and self.best_epoch == 0 and initial is None

    def run(self, make_module, initial=None):
        """Train and return the skorch net, its `module_` that of the best epoch.

        Parameters
        ----------
        make_module : callable (n_inputs, n_outputs, generator) -> nn.Module
        initial : nn.Module or None
            A trained network to go on from.
        """
        is_new = initial is None
        modules = [
            self._untrained(make_module, s) if is_new else initial for s in self.starts
        ]
        module = stack(modules) if len(modules) > 1 else copy.deepcopy(modules[0])
        self._set_rows(is_new)
        choice = self._choice(module, is_new) if self.is_watched else None
        net = self._build(module, choice)
        if self.is_settled and is_new:
            net.initialize()
        else:
            with thread_limit(self._n_threads(module, net.batch_size)):
                net.fit(self.train_rows)
            self._read(net, choice)
        net.module_ = self._kept(net, choice, modules[-1], is_new).eval()
        net.forget()
        return net

    def _untrained(self, make_module, start):
        """A network of one member; all members draw the same weights."""
        d = len(start.bias) if start.rotates_output else start.encoder.shape[1]
        module = make_module(d, len(start.bias), make_generator(self.seed))
        return start.load(module) if self.recipe.from_pca else module

    def _set_rows(self, is_new):
        """Tensors on the device, and who trains on and who is watched in them."""
        if self.recipe.from_pca and is_new:
            inputs, lost = zip(*(s.coordinates(self.X) for s in self.starts), strict=True)
        else:
            inputs, lost = [self.X], [np.zeros(len(self.X))]
            inputs, lost = inputs * len(self.members), lost * len(self.members)
        lost = np.concatenate([row[i] for row, i in zip(lost, self.held_out, strict=True)])
        inputs = [self._tensor(array) for array in inputs]
        inputs = torch.stack(inputs) if len(inputs) > 1 else inputs[0]
        targets = inputs if self.loss.of_scaled else self._tensor(self.target)
        self.train_rows = Rows(inputs, targets, [rows for rows, _ in self.members])
        self.held_out_rows = Rows(inputs, targets, self.held_out, lost)

    def _tensor(self, array):
        array = np.require(array, dtype=np.float32, requirements=["C", "W"])
        return torch.from_numpy(array).to(self.device)

    def _choice(self, module, is_new):
        """PCA is the rival of a network that starts there, and so it may be kept."""
        recipe = self.recipe
        reference = start_errors = self.reference
        if not (recipe.from_pca and is_new):
            function = self.loss.function
            start_errors = row_errors(module.to(self.device), function, self.held_out_rows)
            reference = reference if is_new else start_errors
        self.held_out_errors.append(float(start_errors.mean()))
        return Choice(
            reference,
            margin=MARGIN if recipe.from_pca else 0.0,
            allow_start=recipe.from_pca or not is_new,
            patience=recipe.n_iter_no_change,
            tol=recipe.tol,
        )

    def _build(self, module, choice):
        recipe = self.recipe
        batch_size, max_epochs = self._sizes()
        return build_net(
            module,
            self.loss,
            seed=self.seed,
            device=self.device,
            callbacks=recipe.callbacks,
            weight_decay=recipe.weight_decay,
            held_out=self.held_out_rows if choice else None,
            choice=choice,
            caution=self._caution(),
            bfloat16=self._uses_bfloat16(module, batch_size),
            lr=recipe.lr,
            max_epochs=max_epochs,
            batch_size=batch_size,
            verbose=recipe.verbose,
        )

    def _caution(self):
        """Share of the learning rate for the layers whose change is seen at once.

        Linear paths and corrections act on the reconstruction directly. Where PCA has
        left a thousandth of the variance, steps that suit a half would shake the model
        by more than there is to gain: their size goes with the deviation that is left.
        """
        if not self.recipe.from_pca:
            return 1.0
        return float(min(1.0, 2 * np.sqrt(max(self.starts[-1].unexplained, NOTHING_LEFT))))

    def _n_threads(self, module, batch_size):
        """1 for steps so small that threads cost more than they bring, else None."""
        is_small = _n_products(module, batch_size) < WORTH_THREADS
        return 1 if is_small and self.device.type == "cpu" else None

    def _uses_bfloat16(self, module, batch_size):
        """Whether products are of bfloat16; "auto" asks what is faster and does no harm.

        Rounding to bfloat16 is an error of 0.2 % of a value. That is far below what PCA
        leaves, unless it leaves next to nothing.
        """
        if self.recipe.precision != "auto":
            return self.recipe.precision == "bfloat16"
        is_large = _n_products(module, batch_size) >= WORTH_BFLOAT16
        is_safe = self.starts[-1].unexplained >= SAFE_FOR_BFLOAT16
        return is_large and is_safe and has_fast_bfloat16(self.device)

    def _sizes(self):
        """Batch size and number of epochs, where they are left to us."""
        n_rows = len(self.members[-1][0])
        batch_size, max_epochs = self.recipe.batch_size, self.recipe.max_epochs
        if batch_size == "auto":
            batch_size = 2 ** int(np.log2(n_rows) / 2 + 0.5)
            batch_size = min(max(batch_size, SMALLEST_BATCH), LARGEST_BATCH)
        batch_size = min(batch_size, n_rows)
        if max_epochs == "auto":
            max_epochs = STEPS * batch_size // n_rows
            max_epochs = min(max(max_epochs, FEWEST_EPOCHS), MOST_EPOCHS)
        return batch_size, max_epochs

    def _read(self, net, choice):
        # A callback may have stopped training at the beginning of an epoch.
        self.n_iter = sum("train_loss" in epoch for epoch in net.history)
        self.train_errors = [
            e / len(self.members) for e in net.history[: self.n_iter, "train_loss"]
        ]
        if choice is None:
            self.best_epoch = self.n_iter
        else:
            self.best_epoch = choice.best_epoch
            self.held_out_errors += net.history[: self.n_iter, "valid_loss"]

    def _kept(self, net, choice, untrained, is_new):
        """The network of the last member and the best epoch, in the units of X."""
        recipe = self.recipe
        kept = untrained
        if self.n_iter and (choice is None or choice.best_weights):
            net.load(net.averages_ if choice is None else choice.best_weights)
            kept = unstack(net.module_, -1) if len(self.members) > 1 else net.module_
        if recipe.from_pca and is_new:
            start = self.starts[-1]
            kept = kept.double()
            kept = start.undo(kept if self.best_epoch else start.load(kept)).float()
        return kept.to(self.device)


def _n_products(module, batch_size):
    return batch_size * sum(parameter.numel() for parameter in module.parameters())


def fewest_components(prepare, run, share):
    """The smallest network that keeps a share of the variance of held-out rows.

    Bisection between no component and as many as PCA needs on the training rows,
    which is the outcome when fewer do not do.

    Parameters
    ----------
    prepare : callable (n_components) -> Training
    run : callable (Training) -> (Training, net)
    share : float
        In (0, 1).

    Returns
    -------
    training, net
    """
    variances = prepare(1).starts[-1].variances
    ratios = np.cumsum(variances) / (variances.sum() or 1.0)
    enough = min(int(np.searchsorted(ratios, share, side="right")) + 1, len(ratios))
    too_few, outcome = 0, None
    while enough - too_few > 1:
        n_components = (too_few + enough) // 2
        attempt = run(prepare(n_components))
        if attempt[0].r2 >= share:
            enough, outcome = n_components, attempt
        else:
            too_few = n_components
    return outcome or run(prepare(enough))
