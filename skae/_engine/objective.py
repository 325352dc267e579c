"""The loss of a step, and the errors of held-out rows."""

import numpy as np
import torch
from torch import nn

from skae._engine.batches import Batches
from skae.modules._base import decode, encode, fresh_generators

__all__ = ["Criterion", "batch_errors", "row_errors"]

HELD_OUT_BATCH = 2048
SEED = 0  # of what a network draws in evaluation mode


def batch_errors(loss, output, batch):
    """Loss (..., n) of each row of a batch; of the cells that are observed."""
    targets = batch.targets
    if batch.observed is not None:
        output, targets = loss.observed(output, targets, batch.observed)
    return loss.function(output, targets)


@torch.inference_mode()
def row_errors(network, loss, rows, cuts=(None,), spoil=None):
    """Loss of each row, in float64, members one after another where it is a stack.

    Parameters
    ----------
    network : Network
        What it draws at random is the same at every call.
    loss : Loss
    rows : Rows or StreamedRows
    cuts : sequence of n_cuts int or None
        How many of the first codes are decoded; None is all of them.
    spoil : Spoil or None
        Adds the same noise to the same rows at every call.

    Returns
    -------
    ndarray of shape (n_cuts, n_held_out)
    """
    network.eval()
    chance = SEED, rows.device
    with network.private_states(*chance), fresh_generators(network, *chance):
        errors = _row_errors(network, loss, rows, cuts, spoil)
    errors = errors.double().cpu().numpy()
    errors = errors.reshape(len(cuts), -1, len(rows))
    held_out = [errors[:, i, : len(index)] for i, index in enumerate(rows.index)]
    return np.concatenate(held_out, axis=1) + rows.lost


def _row_errors(network, loss, rows, cuts, spoil):
    """Errors (n_cuts, ..., n) on the device, "..." being nothing or the members."""
    errors = []
    generator = spoil.generator() if spoil else None
    for batch in Batches(rows, HELD_OUT_BATCH):
        inputs = spoil(batch.inputs, generator) if spoil else batch.inputs
        Z = encode(network, inputs)
        outputs = (decode(network, Z[..., :cut]) for cut in cuts)
        errors.append(torch.stack([batch_errors(loss, o, batch) for o in outputs]))
    return torch.cat(errors, dim=-1)


class Criterion(nn.Module):
    """Mean over the rows of a loss, summed over the members of a stack."""

    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, output, batch):
        errors = batch_errors(self.loss, output, batch)
        if batch.weights is not None:
            errors = errors * batch.weights
        return errors.mean(-1).sum()

    def gradient(self, output, batch):
        """The loss, and its gradient by the output, both detached."""
        if self.loss.slope is None or batch.observed is not None:
            output = output.detach().requires_grad_()
            with torch.enable_grad():
                loss = self(output, batch)
            return loss.detach(), *torch.autograd.grad(loss, output)
        gradient = self.loss.slope(output, batch.targets).div_(output.shape[-2])
        if batch.weights is not None:
            gradient *= batch.weights.unsqueeze(-1)
        return self(output, batch), gradient
