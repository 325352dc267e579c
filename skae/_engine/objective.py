"""The objective: the loss of a training step and the errors of held-out rows."""

import math

import numpy as np
import torch
from torch import nn

from skae._engine.batches import Batches
from skae.losses._base import SLOPE
from skae.modules._base import fresh_generators

__all__ = ["Objective", "mean_over_rows"]

HELD_OUT_BATCH = 2048  # number of held-out rows in a batch
SEED = 0  # seed of the random numbers that a network draws for held-out rows


class Objective(nn.Module):
    """The loss of a training step and the errors of held-out rows.

    The error of a row is the loss of its reconstruction, plus the number that the network
    itself adds for this row, see `Network.encode_with_loss`. Both are summed over the
    features, and both count in a step and for held-out rows, so that the epoch is chosen by
    the quantity that training minimizes. A term that belongs to rows is added here or by
    the network, and nowhere else.

    Penalties, the regularizers of `skae.regularizers`, are added only to the loss of a
    step. They guide training, whereas the epoch is chosen by the loss, and the loss is
    reported, for three reasons. Otherwise an epoch could be kept that has a smaller penalty
    but reconstructs rows worse than PCA: with `L1Code(3.0)` on the diabetes data the error
    on new rows was up to 1.013 of PCA's if the penalty counted, and 1.0 if not. Codes are
    scaled anew after training, which undoes most of what a penalty on their size or their
    slope has gained. And `validation_curve_` is to be compared with `pca_score_` and
    `score`, which include no penalty.

    Parameters
    ----------
    loss : Loss
    penalties : sequence of callables (module, inputs, codes) -> scalar Tensor
        Regularizers.
    n_cuts : int
        How often a row is decoded in a step, each time with another number of ordered
        codes.
    cuts : sequence of int or None
        Numbers of ordered codes with which held-out rows are decoded. None is all codes.
    corruption : Corruption or None
        Corruption of the inputs. The targets stay as they are.
    n_draws : int
        Number of codes that are drawn for a row. With more than one the error is that of
        the importance-weighted bound of Burda, Grosse and Salakhutdinov (2016),
        "Importance Weighted Autoencoders". The network then needs a method `draw`.
    beta : float
        Factor of the number that the network adds for a row.
    unit : float
        Factor that turns an error, summed over the features, into the units of `score`.
        `step` and `row_errors` do not use it, but histories and callbacks get errors times
        this factor.
    """

    def __init__(
        self,
        loss,
        *,
        penalties=(),
        n_cuts=1,
        cuts=(None,),
        corruption=None,
        n_draws=1,
        beta=1.0,
        unit=1.0,
    ):
        super().__init__()
        self.loss, self.penalties, self.corruption = loss, penalties, corruption
        self.n_cuts, self.cuts, self.unit = n_cuts, cuts, unit
        self.n_draws, self.beta = n_draws, beta

    # -- a step of training ------------------------------------------------------------

    @property
    def is_plain(self):
        """Whether the loss is that of a reconstruction and one code, without penalties."""
        return not self.penalties and self.n_draws == 1

    def generator(self):
        """Return a new generator for the corruption, or None without corruption."""
        return None if self.corruption is None else self.corruption.generator()

    def inputs(self, batch, generator):
        """Return the rows that the encoder sees of a batch, (..., n, p)."""
        if self.corruption is None:
            return batch.inputs
        return self.corruption(batch.inputs, generator)

    def step(self, network, batch, generator=None, bfloat16=False):
        """Compute the loss of a batch, such that its gradient can be computed.

        Parameters
        ----------
        network : Network
        batch : Batch
        generator : torch.Generator or None
            Generator of the corruption, see the method `generator`.
        bfloat16 : bool
            Whether matrix products are computed in bfloat16.

        Returns
        -------
        loss : Tensor of shape ()
            Mean over the rows, summed over the members of a stack.
        output : Tensor of shape (..., n, q)
        """
        inputs = self.inputs(batch, generator)
        with torch.autocast(inputs.device.type, torch.bfloat16, bfloat16):
            Z, added = self._codes(network, inputs)
            seen = Z if self.n_cuts == 1 else torch.cat([Z] * self.n_cuts, dim=-2)
            output = network.decode(seen)
        output = output.float() if bfloat16 else output
        if self.n_draws > 1:
            loss = mean_over_rows(self._weighted(output, added, batch), batch.weights)
        else:
            goal = batch if self.n_cuts == 1 else batch.repeat(self.n_cuts)
            loss = self(output, goal)
            if added is not None:
                loss = loss + self.beta * mean_over_rows(added.float(), batch.weights)
        for penalty in self.penalties:
            loss = loss + penalty(network.unwrapped, inputs, Z)
        return loss, output

    def _codes(self, network, inputs):
        """Return codes and what is added to the errors of their rows."""
        if self.n_draws == 1:
            return network.encode_with_loss(inputs)
        return network.draw(inputs, self.n_draws)

    def _weighted(self, output, ratios, batch):
        """Return the error of each row, (..., n), by importance weighting of its codes."""
        errors = self._errors(output, batch.repeat(self.n_draws)) + self.beta * ratios
        of_draws = errors.unflatten(-1, (self.n_draws, -1))
        return math.log(self.n_draws) - (-of_draws).logsumexp(-2)

    def forward(self, output, batch):
        """Return the mean loss of a reconstruction, summed over the members of a stack."""
        return self._mean_loss(self.loss.hold(output), batch)

    def _mean_loss(self, output, batch):
        return mean_over_rows(self._errors(output, batch), batch.weights)

    def gradient(self, output, batch):
        """Return the mean loss and its gradient for the output, both detached."""
        if self.loss.slope is None:
            output = output.detach().requires_grad_()
            with torch.enable_grad():
                loss = self(output, batch)
            return loss.detach(), *torch.autograd.grad(loss, output)
        held = self.loss.hold(output)
        gradient = self.loss.slope(held, batch.targets).div_(output.shape[-2])
        if batch.observed is not None:
            gradient = torch.where(batch.observed, gradient, 0.0)
        if batch.weights is not None:
            gradient *= batch.weights.unsqueeze(-1)
        if held is not output:
            gradient *= torch.where(held == output, 1.0, SLOPE)
        return self._mean_loss(held, batch), gradient

    def _errors(self, output, batch):
        """Return the loss of each row of a batch, (..., n), over its observed cells."""
        targets = batch.targets
        if batch.judge is not None:
            return batch.judge(output, self.loss.function(output, targets))
        if batch.observed is not None:
            output, targets = self.loss.observed(output, targets, batch.observed)
        return self.loss.function(output, targets)

    # -- held-out rows -----------------------------------------------------------------

    @torch.inference_mode()
    def row_errors(self, network, rows, holds=True):
        """Return the error of each row, in float64, and of one member after another.

        The corruption, and all random numbers that the network draws, are the same in
        every call.

        Parameters
        ----------
        network : Network
        rows : Rows or StreamedRows
        holds : bool
            Whether outputs are held at the ends of features, see `Loss.hold`.

        Returns
        -------
        ndarray of shape (n_cuts, n_held_out)
        """
        if network.training or network.unwrapped.training:
            network.eval()
        if not len(rows):
            return np.zeros((len(self.cuts), 0))
        with (
            network.private_states(SEED, rows.device),
            fresh_generators(network, SEED, rows.device),
        ):
            generator = self.generator()
            batches = Batches(rows, HELD_OUT_BATCH)
            errors = [
                self._errors_at_cuts(network, batch, generator, holds) for batch in batches
            ]
        errors = torch.cat(errors, dim=-1).double().cpu().numpy()
        errors = errors.reshape(len(self.cuts), -1, len(rows))
        held_out = [errors[:, i, : len(index)] for i, index in enumerate(rows.index)]
        return np.concatenate(held_out, axis=1) + rows.lost

    def _errors_at_cuts(self, network, batch, generator, holds):
        """Return the error of each row of a batch at all cuts, (n_cuts, ..., n)."""
        Z, added = self._codes(network, self.inputs(batch, generator))
        if self.n_draws > 1:
            return self._weighted(network.decode(Z), added, batch).unsqueeze(0)
        outputs = (network.decode(Z[..., :cut]) for cut in self.cuts)
        outputs = map(self.loss.hold, outputs) if holds else outputs
        errors = torch.stack([self._errors(output, batch) for output in outputs])
        return errors if added is None else errors + self.beta * added

    # -- after training ----------------------------------------------------------------

    def forget(self):
        """Drop what may be large or refer to anything."""
        self.corruption, self.penalties = None, ()


def mean_over_rows(errors, weights):
    """Return the weighted mean over rows of errors (..., n), summed over the members."""
    if weights is not None:
        errors = errors * weights
    return errors.mean(-1).sum()
