"""The units in which a network works, and the change from one to another."""

import copy
import dataclasses

import numpy as np
import torch

from skae._tables.exposure import Exposure
from skae._tables.missing import Filler
from skae._tables.table import make_table
from skae.modules._base import Network

__all__ = ["Frame", "FramedNetwork"]

SEED = 0  # seed of the random numbers that a network draws when its codes are counted


@dataclasses.dataclass(frozen=True)
class Frame:
    """The units of a table: (X - mean) / scale, with missing cells filled.

    Attributes
    ----------
    mean : ndarray of shape (n_features,)
    scale : float or ndarray of shape (n_features,)
    filler : Filler or None
        Filler of missing cells, if there may be any.
    has_marks : bool
        Whether networks are told which cells are missing.
    exposure : Exposure or None
        Exposure of rows of counts, by which they are adjusted before they are centred.
    """

    mean: np.ndarray
    scale: float | np.ndarray
    filler: Filler | None = None
    has_marks: bool = False
    exposure: Exposure | None = None

    def table(self, rows, loss, ends=None):
        """Return the Table of StreamRows, with features that are held at these ends."""
        weights = None if (rows.weights == rows.weights[0]).all() else rows.weights
        given = dataclasses.replace(rows.given(self.exposure), weights=weights)
        if not self.has_marks:
            given.X = self.filled(rows)
        table = make_table(given, loss, self.mean, self.scale, self.filler, ends=ends)
        if self.has_marks and table.observed is None:
            table.observed = np.ones(rows.X.shape, dtype=bool)
        return table

    def filled(self, rows):
        """Return the X of StreamRows, in its own units, with missing cells filled."""
        if self.filler is None:
            return rows.X
        exposed = rows.given(self.exposure).exposed(rows.X)
        filled = self.seen(rows)
        filled = filled if exposed is None else exposed.unseen(filled)
        return np.where(np.isnan(rows.X), filled, rows.X)

    def seen(self, rows):
        """Return StreamRows as the encoder sees them, filled, before they are centred."""
        X = rows.given(self.exposure).seen(rows.X)
        if self.filler is None:
            return X
        observed = ~np.isnan(X)
        scaled = torch.from_numpy((X - self.mean) / self.scale).double()
        filled = self.filler(scaled, torch.from_numpy(observed)).numpy()
        return np.where(observed, X, filled * self.scale + self.mean)


@dataclasses.dataclass(frozen=True)
class FramedNetwork:
    """A trained network and the frame of the rows that it takes.

    Attributes
    ----------
    module : Network
    frame : Frame
    holds : bool
        Whether its reconstruction is held at the ends of features, if there are ends.
    """

    module: Network
    frame: Frame
    holds: bool = True

    @torch.no_grad()
    def at(self, frame, loss):
        """Return a network for another frame, with the same reconstructions and codes.

        The difference of the frames is folded into the layers, which therefore must absorb.
        Both frames are without a filler. If there is one scale for all features, codes are
        multiples of it, and these change.
        """
        if frame is self.frame:
            return self
        device = next(self.module.parameters()).device
        module = copy.deepcopy(self.module).cpu().double()
        shape = self.frame.mean.shape
        ratio = np.broadcast_to(frame.scale / np.asarray(self.frame.scale), shape).copy()
        shift = (frame.mean - self.frame.mean) / self.frame.scale
        ratio, shift = torch.from_numpy(ratio), torch.from_numpy(shift)
        module.absorb_input(ratio, shift)
        if loss.of_scaled:
            module.absorb_output(1 / ratio, -shift / ratio)
        if np.ndim(frame.scale) == 0:
            with module.private_states(SEED, torch.device("cpu")):
                codes = module.encode(torch.zeros(1, *shape).double())
            (mean,) = torch.zeros_like(codes)
            module.recode(torch.ones_like(mean).diag() / ratio[0], mean)
        module = module.float().to(device).eval()
        return dataclasses.replace(self, module=module, frame=frame)
