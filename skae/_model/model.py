"""Applies a trained network to arrays: scaling, precision and batches."""

import numpy as np
import torch

from skae._model.canonical import Codes, canonical_map, decoder_jacobian, matched
from skae._model.precisions import Precisions
from skae._tables.exposure import Exposed
from skae._tables.missing import with_marks
from skae._tables.rows import rows_of
from skae._torch import in_own_modes, is_out_of_memory
from skae.losses._counts import LOG_THETA
from skae.modules import Linear
from skae.modules._base import decode, encode, reconstruct

__all__ = ["Inference", "float_of"]

BATCH = 2**19  # number of values in the widest layer for a batch; more leave the cache
FAR = 10.0  # ratio of a feature's mean to its scale that costs float32 a digit
EXTREME = {"float32": 1e12, "float64": 1e280}  # largest scales that leave weights finite
SEED = 0  # seed of the random numbers that a network draws outside of training


class Inference:
    """Applies the network of a fitted estimator to arrays.

    It is made in steps, which change it: the constructor, then `canonize` if codes are to
    be canonical, the attribute `code_scale` if they are to be whitened, and `fold` for
    networks that absorb. Once the estimator is fitted it is not changed any more, so that
    threads may share it. Arrays of float64 pass through a copy of the network in float64.
    The code of a row is then the same, to twelve digits, whatever the other rows are.

    Parameters
    ----------
    network : Network
        Network in float32, on `device`.
    loss : Loss
    mean : ndarray of shape (p,)
    scale : float or ndarray of shape (p,)
    unit : float
        Factor that brings scaled values into the units in which an estimator reports
        codes, scores, components and variances: `scale` for the units of X, and 1 for
        standardized units.
    device : torch.device
    filler : Filler or None
        Filler of missing cells.
    has_marks : bool
        Whether the network is told which cells are missing.
    ends : (low, high), ndarrays of shape (p,), or None
        Ends at which reconstructions are held, in the units of X. The loss has them in its
        own units.
    columns : Columns or None
        Which of the p columns are of one feature, if some features are categories.
    exposure : Exposure or None
        Exposure of rows of counts. Rows are adjusted by it before they are centred.

    Attributes
    ----------
    code_scale : float or ndarray of shape (k,)
        Factors of the network's codes, `unit` unless they are whitened.
    modules : Precisions
        The network in float32 and in float64.
    folded : dict of str to nn.Module or None
        Names of dtypes, and networks that encode X without centring and scaling, see
        `fold`. They are made when they are first used, and None until then.
    """

    def __init__(
        self,
        network,
        loss,
        mean,
        scale,
        unit,
        device,
        filler=None,
        has_marks=False,
        ends=None,
        columns=None,
        exposure=None,
    ):
        self.filler, self.has_marks, self.ends = filler, has_marks, ends
        self.features = slice(None) if columns is None else columns.starts
        self.exposure = exposure
        self.loss, self.mean, self.scale = loss, mean, scale
        self.unit = self.code_scale = unit
        self.device = device
        self.width = max(len(mean), *map(_width, network.modules()))
        self.modules = Precisions(network)
        self.folded = {}

    def fold(self):
        """Have rows encoded by a copy of the encoder that centres and scales them itself.

        This is for networks that absorb. If means are far from zero, compared with the
        scale, nothing is done, because float32 would lose the digits that centring in
        float64 keeps.
        """
        scale = np.broadcast_to(self.scale, self.mean.shape)
        is_near = (np.abs(self.mean) <= FAR * scale).all()
        if not is_near or self.has_marks:
            return
        for dtype, extreme in EXTREME.items():
            if 1 / extreme <= scale.min() <= scale.max() <= extreme:
                self.folded[dtype] = None

    def _folded(self, dtype):
        """Return an encoder that takes X without centring and scaling."""
        if self.folded[dtype] is None:
            scale = np.broadcast_to(self.scale, self.mean.shape)
            weight, shift = (
                torch.from_numpy(a).to(self.device) for a in (1 / scale, -self.mean / scale)
            )
            encoder = self.modules[torch.float32].folded_encoder(weight, shift)
            self.folded[dtype] = encoder.to(getattr(torch, dtype))
        return self.folded[dtype]

    def exposed(self, X, given=None):
        """Return the `Exposed` of X (n, p), or None for a model without exposures.

        `given` are the exposures (n,) that the model asks for if users give them.
        """
        if self.exposure is None:
            return None
        return Exposed(self.exposure, self.exposure.relative(X, given))

    def encode(self, X, n_components, exposed=None):
        """Return the codes (n, k) of X (n, p), in float32 for float32, else in float64.

        `exposed` is what the method of that name returns; None computes it.
        """
        exposed = self.exposed(X) if exposed is None else exposed
        return self.codes_of_seen(X, n_components, exposed)

    def _codes(self, rows, dtype):
        """Return the network's own codes of rows that are neither centred nor scaled."""
        has_gaps = self.filler is not None and np.isnan(rows).any()
        if dtype.name in self.folded and not has_gaps:
            folded = self._folded(dtype.name)
            return self.run(torch.nn.Module.__call__, rows, dtype, folded)
        rows = rows - self.mean
        rows /= self.scale
        return self.run(encode, self._inputs(rows), dtype)

    def decode(self, Z, exposed=None):
        """Return the reconstruction (n, p) from codes Z (n, k), in the dtype of Z.

        The last of ordered codes may be missing. Counts are those of rows with the
        exposures of `exposed`, or of typical rows.
        """
        scale = np.ravel(self.code_scale)[: Z.shape[1]]

        def step(rows, numbers):
            X_hat = self._in_units(self.run(decode, rows / scale, Z.dtype))
            return X_hat if exposed is None else exposed.times(X_hat, numbers)

        return self._in_batches(step, Z, self.mean.shape, Z.dtype)

    def reconstruct(self, X, n_components, exposed=None):
        """Return the reconstruction (n, p) of X (n, p); `exposed` is as in `encode`."""
        exposed = self.exposed(X) if exposed is None else exposed
        return self.decode(self.encode(X, n_components, exposed), exposed)

    def row_scores(self, X, exposed=None):
        """Return minus the mean error of each row, (n,), of X (n, p).

        Losses of scaled rows are brought to `unit`; all others refer to X in its own units.
        `exposed` is as in `encode`.
        """
        dtype = float_of(X.dtype)
        exposed = self.exposed(X) if exposed is None else exposed

        def step(rows, numbers):
            return self._row_scores(rows, *self._seen(rows, numbers, exposed, dtype), dtype)

        return self._in_batches(step, X, (), np.float64)

    def _seen(self, X, numbers, exposed, dtype):
        """Return the inputs (n, p) of the network for rows of X, and the loss's targets."""
        seen = X if exposed is None else exposed.seen(X, numbers)
        scaled = ((seen - self.mean) / self.scale).astype(dtype)
        goal = scaled if self.loss.of_scaled else self.loss.within(X).astype(dtype)
        return scaled, goal if exposed is None else exposed.followed(goal, numbers)

    def _row_scores(self, X, scaled, goal, dtype):
        output = self.run(reconstruct, self._inputs(scaled), dtype)
        unit = np.float64(self.unit if self.loss.of_scaled else 1.0)
        output, goal = self.loss.hold(torch.from_numpy(output)), torch.from_numpy(goal)
        cells = X[:, self.features]
        n_cells = cells.shape[1]
        if self.filler is not None:
            observed = torch.from_numpy(~np.isnan(X))
            output, goal = self.loss.observed(output, goal, observed)
            n_cells = np.maximum((~np.isnan(cells)).sum(axis=1), 1)
        errors = self.loss.function(output, goal).double().numpy()
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            # The square of the unit may overflow, but an error of zero remains zero.
            errors = np.where(errors == 0, 0.0, errors * unit**self.loss.degree)
        return -errors / n_cells

    def _inputs(self, rows, nearly=False):
        """Return the input of the network for scaled rows (n, p): filled, with marks."""
        if self.filler is None:
            return rows
        rows = torch.from_numpy(np.require(rows, requirements=["C", "W"]))
        observed = ~rows.isnan()
        fill = self.filler.nearly if nearly else self.filler
        filled = rows if observed.all() else fill(rows.double(), observed).to(rows)
        return (with_marks(filled, observed) if self.has_marks else filled).numpy()

    def codes_of_seen(self, X, n_components, exposed=None):
        """Return the codes (n, k) of rows (n, p) as the encoder sees them with `exposed`.

        None stands for rows that are adjusted by their exposures already, or have none.
        """
        dtype = float_of(X.dtype)

        def step(rows, numbers):
            rows = rows if exposed is None else exposed.seen(rows, numbers)
            return self._codes(rows, dtype) * self.code_scale

        return self._in_batches(step, X, (n_components,), dtype)

    def scaled_codes(self, X, n_components):
        """Return the network's own codes (n, k) of centred and scaled X (n, p).

        They are for statistics of many rows: missing cells are filled nearly.
        """

        def step(rows, numbers):
            return self.run(encode, self._inputs(rows, nearly=True), X.dtype)

        return self._in_batches(step, X, (n_components,), X.dtype)

    def decode_scaled(self, Z):
        """Return the scaled reconstruction (n, p) of the network's own codes.

        It is computed in float32, for statistics, and in the units of the network's input,
        with exposures that of typical rows.
        """
        with self._private_states():
            output = self.run(decode, Z, np.float32)
        if self.loss.of_scaled and self.exposure is None:
            # The same without multiplying by the scale and dividing by it.
            X_hat = self.loss.reconstruction(torch.from_numpy(output)).numpy()
            if self.ends is None:
                return X_hat
            ends = ((end - self.mean) / self.scale for end in self.ends)
            return X_hat.clip(*(end.astype(np.float32) for end in ends))
        X_hat = self._in_units(output.astype(np.float64))
        if self.exposure is not None:
            X_hat = self.exposure.seen(X_hat, np.ones(len(X_hat)))
        return (X_hat - self.mean) / self.scale

    def dispersion(self, n_components):
        """Return the dispersions (p,) of overdispersed counts."""
        with self._private_states():
            output = self.run(decode, np.zeros((1, n_components)), np.float64)
        return np.exp(-output[0, len(self.mean) :].clip(*LOG_THETA))

    @in_own_modes()
    def jacobian(self, Z):
        """Return the derivatives (n, k, p) of the reconstruction at codes (n, k).

        The codes are the network's own. The derivatives are those of the reconstruction by
        the codes when both are in the units of X, or both in standardized units, and before
        it is held at the ends of features. With exposures the units are those of the
        logarithms that the encoder sees.
        """
        module, loss = self.modules.decoder(), self.loss

        def output(Z):
            return loss.reconstruction(module.decode(Z))

        with self._private_states():
            jacobian = decoder_jacobian(output, torch.from_numpy(Z).to(self.device))
        factor = 1.0 if self.loss.of_scaled else 1 / self.scale
        jacobian = jacobian.cpu().numpy() * factor
        if self.exposure is None:
            return jacobian
        with self._private_states():
            rates = self._in_units(self.run(decode, Z, np.float64))
        return jacobian * self.exposure.slopes(rates)[:, None]

    def canonize(self, inputs, X, n_components, weights=None):
        """Fold into the network the map that makes its codes of `inputs` canonical.

        Parameters
        ----------
        inputs, X : ndarray of shape (n, p)
            Rows that are encoded, and their targets, both centred and scaled.
        n_components : int
        weights : ndarray of shape (n,) or None
            Weights of the rows, with mean one.
        """
        is_ordered = self.modules[torch.float32].is_ordered
        Z = Codes(self, inputs, n_components)

        def jacobian(z):
            z = torch.from_numpy(z[None]).to(self.device)
            return decoder_jacobian(self.modules.decoder().decode, z)[0].cpu().numpy()

        self._recode(*canonical_map(Z, X, jacobian, is_ordered, weights))

    def match(self, before, inputs, n_components):
        """Give the codes the order and the signs of those of another Inference.

        Parameters
        ----------
        before : Inference
            Inference with the same number of features and codes.
        inputs : ndarray of shape (n, p)
            Centred and scaled rows, whose codes are compared.
        n_components : int

        Returns
        -------
        order : ndarray of int of shape (k,)
            Numbers that the codes had before this call.
        """
        k, is_ordered = n_components, self.modules[torch.float32].is_ordered
        Z_before = before.codes_of_seen(inputs * self.scale + self.mean, k)
        order, signs = matched(Z_before, self.scaled_codes(inputs, k), is_ordered)
        self._recode(signs[:, None] * np.eye(k)[order], np.zeros(k))
        return order

    def _recode(self, weight, mean):
        """Replace the codes z of the network by weight (z - mean)."""
        weight, mean = (torch.from_numpy(a).to(self.device) for a in (weight, mean))
        self.modules.forget()
        # In float64 for a while, and not in a copy, because this saves memory.
        network = self.modules[torch.float32].double()
        network.recode(weight, mean)
        network.float()
        self.modules.forget()

    def _private_states(self):
        """Return a context in which the network draws the same random numbers each time."""
        return self.modules[torch.float32].private_states(SEED, self.device)

    def _in_units(self, output):
        """Return the reconstruction, in the units of X, for a decoder's output (n, q)."""
        X_hat = self.loss.reconstruction(torch.from_numpy(output)).numpy()
        X_hat = X_hat * self.scale + self.mean if self.loss.of_scaled else X_hat
        return X_hat if self.ends is None else X_hat.clip(*self.ends)

    @in_own_modes()
    def _in_batches(self, step, table, shape, dtype):
        """Apply `step` to batches of `table`, and return its results in one array.

        It is given the rows of a batch and their numbers, as a slice. The result of each
        row has the shape `shape`. If memory is not sufficient, batches are halved, down to
        one row.
        """
        with self._private_states():
            return self._batch_by_batch(step, table, shape, dtype)

    def _batch_by_batch(self, step, table, shape, dtype):
        n_samples, width = table.shape
        out = np.empty((n_samples, *shape), dtype=dtype)
        n_rows, i = max(1, BATCH // max(self.width, width)), 0
        while i < n_samples:
            block = slice(i, min(i + n_rows, n_samples))
            try:
                out[block] = step(np.ascontiguousarray(rows_of(table, block)), block)
            except Exception as error:
                n_rows = (block.stop - i) // 2
                if n_rows == 0 or not is_out_of_memory(error):
                    raise
            else:
                i = block.stop
        return out

    def run(self, step, array, dtype, module=None):
        """Return step(network, array), computed in `dtype` on the device."""
        array = np.require(array, dtype, ["C", "W"])  # torch warns of read-only memory
        tensor = torch.from_numpy(array)
        module = module or self.modules[tensor.dtype]
        with torch.inference_mode():
            return step(module, tensor.to(self.device)).cpu().numpy()


def _width(layer):
    """Return the number of outputs of a linear layer, and 0 for other layers."""
    is_linear = isinstance(layer, torch.nn.Linear | Linear)
    return len(layer.weight) if is_linear else 0


def float_of(dtype):
    """Return the dtype of results for a table of this dtype."""
    return np.dtype(np.float32 if dtype == np.float32 else np.float64)
