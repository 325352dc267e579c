"""What a network is trained for, and what held-out rows are judged by."""

import numpy as np
import torch
from scipy.special import ndtr, stdtrit
from torch import nn

from skae._engine.batches import Batches
from skae.modules._base import fresh_generators

__all__ = ["Objective", "certainty"]

HELD_OUT_BATCH = 2048
SEED = 0  # of what a network draws in evaluation mode


class Objective(nn.Module):
    """The loss of a training step and the errors of held-out rows.

    The error of a row is the loss of its reconstruction, and what the network itself adds
    for this row, see `Network.encode_with_loss`. Both are summed over the features, and
    both count in a step and for held-out rows, so that an epoch is chosen by what training
    minimizes. A term that belongs to rows is added here, or by the network, and nowhere
    else.

    Penalties, the recipes of `skae.regularizers`, are added to the loss of a step alone.
    They are there to guide training; what is chosen and reported is the loss, for three
    reasons. An epoch that reconstructs rows worse than PCA and has a smaller penalty would
    be kept otherwise: with `L1Code(3.0)` on the diabetes data the error on new rows was up
    to 1.013 of PCA's where the penalty counted, and 1.0 where it did not. Codes are scaled
    anew after training, so that most of what a penalty on their size or their slope has
    gained is undone. And `validation_curve_` is to be compared with `pca_score_` and
    `score`, which know of no penalty.

    Parameters
    ----------
    loss : Loss
    penalties : sequence of callables (module, inputs, codes) -> scalar Tensor
    n_cuts : int
        How often a row is decoded in a step, each time with another number of ordered
        codes.
    cuts : sequence of int or None
        How many of the first codes of held-out rows are decoded; None is all of them.
    corruption : Spoil or None
        What is done to the inputs. The targets stay as they are.
    unit : float
        What an error is multiplied by to be in the units of `score`. `step` and
        `row_errors` do not use it; histories and callbacks get errors times this number.
    """

    def __init__(
        self,
        loss,
        *,
        penalties=(),
        n_cuts=1,
        cuts=(None,),
        corruption=None,
        unit=1.0,
    ):
        super().__init__()
        self.loss, self.penalties, self.corruption = loss, penalties, corruption
        self.n_cuts, self.cuts, self.unit = n_cuts, cuts, unit

    # -- a step of training ------------------------------------------------------------

    def generator(self):
        """A new generator that noise is drawn from, or None where there is no noise."""
        return None if self.corruption is None else self.corruption.generator()

    def inputs(self, batch, generator):
        """What the encoder sees of a batch, (..., n, p)."""
        if self.corruption is None:
            return batch.inputs
        return self.corruption(batch.inputs, generator)

    def step(self, network, batch, generator=None, bfloat16=False):
        """The loss of a batch, through which gradients flow.

        Parameters
        ----------
        network : Network
        batch : Batch
        generator : torch.Generator or None
            See the method `generator`.
        bfloat16 : bool
            Whether products are of bfloat16.

        Returns
        -------
        loss : Tensor of shape ()
            The mean over the rows, summed over the members of a stack.
        output : Tensor of shape (..., n, q)
        """
        inputs = self.inputs(batch, generator)
        with torch.autocast(inputs.device.type, torch.bfloat16, bfloat16):
            Z, added = network.encode_with_loss(inputs)
            seen = Z if self.n_cuts == 1 else torch.cat([Z] * self.n_cuts, dim=-2)
            output = network.decode(seen)
        goal = batch if self.n_cuts == 1 else batch.repeat(self.n_cuts)
        loss = self(output.float() if bfloat16 else output, goal)
        if added is not None:
            loss = loss + _mean(added.float(), batch.weights)
        for penalty in self.penalties:
            loss = loss + penalty(network.unwrapped, inputs, Z)
        return loss, output

    def forward(self, output, batch):
        """Mean loss of a reconstruction, summed over the members of a stack."""
        return _mean(self._errors(output, batch), batch.weights)

    def gradient(self, output, batch):
        """The mean loss, and its gradient by the output, both detached."""
        if self.loss.slope is None or batch.observed is not None:
            output = output.detach().requires_grad_()
            with torch.enable_grad():
                loss = self(output, batch)
            return loss.detach(), *torch.autograd.grad(loss, output)
        gradient = self.loss.slope(output, batch.targets).div_(output.shape[-2])
        if batch.weights is not None:
            gradient *= batch.weights.unsqueeze(-1)
        return self(output, batch), gradient

    def _errors(self, output, batch):
        """Loss (..., n) of each row of a batch; of the cells that are observed."""
        targets = batch.targets
        if batch.observed is not None:
            output, targets = self.loss.observed(output, targets, batch.observed)
        return self.loss.function(output, targets)

    # -- held-out rows -----------------------------------------------------------------

    @torch.inference_mode()
    def row_errors(self, network, rows):
        """Error of each row, in float64, members one after another where it is a stack.

        Noise, and what the network draws at random, are the same at every call.

        Parameters
        ----------
        network : Network
        rows : Rows or StreamedRows

        Returns
        -------
        ndarray of shape (n_cuts, n_held_out)
        """
        network.eval()
        chance = SEED, rows.device
        with network.private_states(*chance), fresh_generators(network, *chance):
            generator = self.generator()
            batches = Batches(rows, HELD_OUT_BATCH)
            errors = [self._errors_at_cuts(network, batch, generator) for batch in batches]
        errors = torch.cat(errors, dim=-1).double().cpu().numpy()
        errors = errors.reshape(len(self.cuts), -1, len(rows))
        held_out = [errors[:, i, : len(index)] for i, index in enumerate(rows.index)]
        return np.concatenate(held_out, axis=1) + rows.lost

    def _errors_at_cuts(self, network, batch, generator):
        """Error (n_cuts, ..., n) of each row of a batch."""
        Z, added = network.encode_with_loss(self.inputs(batch, generator))
        outputs = (network.decode(Z[..., :cut]) for cut in self.cuts)
        errors = torch.stack([self._errors(output, batch) for output in outputs])
        return errors if added is None else errors + added

    # -- after training ----------------------------------------------------------------

    def forget(self):
        """Let go of noises and penalties, which may hold anything."""
        self.corruption, self.penalties = None, ()


def _mean(errors, weights):
    """Weighted mean over the rows of errors (..., n), summed over the members."""
    if weights is not None:
        errors = errors * weights
    return errors.mean(-1).sum()


def certainty(level, n_units):
    """Standard errors by which a mean of few observations must exceed zero.

    The quantile of Student's t distribution at the one-sided level that `level` standard
    deviations of a normal distribution have. It is for standard errors that divide by
    n_units, not by n_units - 1.

    Parameters
    ----------
    level : float
    n_units : float
        Number of independent observations.
    """
    if n_units <= 1:
        return np.inf
    quantile = stdtrit(n_units - 1, ndtr(level))
    return quantile * np.sqrt(n_units / (n_units - 1))
