"""Errors of held-out rows in some of their cells, for networks in principal coordinates."""

import warnings

import numpy as np
import torch

__all__ = ["JudgedCells"]

BLOCK = 2**20  # number of features that are computed at a time
FEW = 0.06  # a share of the cells that is sooner looked at cell by cell than as a whole
MOST_LEFT_OUT = 64  # cells of a row, on average, that stand for all that are left out


class JudgedCells:
    """Computes squared errors of rows in those of their cells that judge them.

    The networks return rows in the coordinates of principal axes, in which the error over
    all cells is known without the features. If less than half of the cells are left out,
    their errors are subtracted. If these are many, those in some of the columns, evenly
    spaced, stand for all, the same in every epoch. If few cells judge, only these are
    computed. Otherwise all features are, which takes much longer than the other work of an
    epoch.

    Parameters
    ----------
    to_features : ToFeatures
    targets : Tensor of shape (n, p)
        Features of the rows.
    judged : Tensor of bool of shape (n, p)
        True in the cells that judge.
    rows : ndarray of int
        Numbers of the rows whose errors will be asked for.
    lost : list of m arrays of shape (n,) or floats
        Error of each row that the coordinates of each member cause.
    """

    def __init__(self, to_features, targets, judged, rows, lost):
        self.to_features, self.targets, self.judged = to_features, targets, judged
        self.lost = [
            torch.from_numpy(np.broadcast_to(a, len(targets)).copy()) for a in lost
        ]
        share = float(judged[rows].float().mean()) if len(rows) else 1.0
        self.subtracts, self.cells, p = share >= 0.5, None, targets.shape[1]
        n_cells, n_columns = min(share, 1 - share) * p, p
        if self.subtracts and n_cells > MOST_LEFT_OUT:
            n_columns = int(p * MOST_LEFT_OUT / n_cells)
        if n_cells * n_columns <= FEW * p**2 and targets.device.type == "cpu":
            mask = ~judged if self.subtracts else judged
            self.cells = _Cells(targets, mask, to_features.axes, n_columns)

    def errors(self, order, output, errors):
        """Return the error (..., n) of each row in the cells that judge.

        Parameters
        ----------
        order : Tensor of int of shape (..., n)
            Numbers of the rows.
        output : Tensor of shape (..., n, r)
            The rows that the networks return, in their coordinates.
        errors : Tensor of shape (..., n)
            Errors in these coordinates.
        """
        rows = self.to_features.in_last(output).flatten(0, -2)
        numbers, axes = order.flatten(), self.to_features.axes
        if self.cells is not None and rows.device.type == "cpu":
            found = self.cells.errors(rows, numbers).reshape(errors.shape)
            return self._of_all(order, errors) - found if self.subtracts else found
        step = max(1, BLOCK // axes.shape[1])
        parts = zip(rows.split(step), numbers.split(step), strict=True)
        return torch.cat([self._dense(*part) for part in parts]).reshape(errors.shape)

    def _of_all(self, order, errors):
        """Return the errors in all cells, which are those in the coordinates and others."""
        pairs = zip(self.lost, order.reshape(len(self.lost), -1), strict=True)
        lost = torch.stack([of_rows[numbers] for of_rows, numbers in pairs])
        return errors + lost.reshape(errors.shape).to(errors)

    def _dense(self, rows, numbers):
        """Return the errors (n,) of rows (n, r), from all of their features."""
        left = rows @ self.to_features.axes
        left -= self.targets[numbers].to(left)
        left *= self.judged[numbers].to(left.device)
        return torch.einsum("ij,ij->i", left, left)


class _Cells:
    """Some cells of rows, and the products that are needed in these.

    Parameters
    ----------
    targets : Tensor of shape (n, p)
    mask : Tensor of bool of shape (n, p)
        True in the cells.
    axes : Tensor of shape (r, p)
    n_columns : int
        Number of columns, evenly spaced, whose cells stand for all of a row.
    """

    def __init__(self, targets, mask, axes, n_columns):
        counts = mask.sum(dim=1)
        if n_columns < targets.shape[1]:
            columns = torch.linspace(0, targets.shape[1] - 1, n_columns).long()
            targets, mask = targets[:, columns], mask[:, columns]
            axes = axes[:, columns].mT.contiguous().mT  # a product reads columns
        kept = mask.sum(dim=1)
        self.axes, self.weights = axes, counts / kept.clamp(min=1)
        _, self.columns = mask.nonzero(as_tuple=True)
        self.ends = torch.nn.functional.pad(kept.cumsum(0), (1, 0))
        self.targets = targets[mask]

    def errors(self, rows, numbers):
        """Return the errors (n,) of rows (n, r) that have these numbers."""
        first, counts = self.ends[numbers], self.ends.diff()[numbers]
        ends = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
        places = torch.arange(int(ends[-1])) + (first - ends[:-1]).repeat_interleave(counts)
        with warnings.catch_warnings():  # the interface of sparse tensors may change
            warnings.simplefilter("ignore", UserWarning)
            cells = torch.sparse_csr_tensor(
                ends,
                self.columns[places],
                self.targets[places],
                (len(rows), self.axes.shape[1]),
            )
            left = torch.sparse.sampled_addmm(cells, rows, self.axes, beta=-1.0)
        sums = torch.square(left.values()).double().cumsum(0)
        sums = torch.nn.functional.pad(sums, (1, 0))[ends].diff()
        return (self.weights[numbers] * sums).to(rows)
