"""A trained network between arrays: scaling, precision, batches."""

import copy

import numpy as np
import torch

from skae._codes import canonical_map, decoder_jacobian
from skae._net import decode, encode, reconstruct

__all__ = ["Inference"]

BATCH = 2**21  # values of a row's width that a batch holds


class Inference:
    """What a fitted estimator computes with.

    Nothing is written after construction and `canonize`, so that threads may share it.
    Arrays of float64 pass through a copy of the network in float64: a row's code is
    then the same, to twelve digits, whatever rows are beside it.

    Parameters
    ----------
    module : nn.Module
        In float32, on `device`.
    loss : Loss
    mean : ndarray of shape (p,)
    scale : float or ndarray of shape (p,)
    code_unit : float
        The codes of the network are in this unit.
    device : torch.device

    Attributes
    ----------
    code_scale : float or ndarray of shape (k,)
        What the network's codes are multiplied by; `code_unit` unless they are whitened.
    """

    def __init__(self, module, loss, mean, scale, code_unit, device):
        self.loss, self.mean, self.scale = loss, mean, scale
        self.code_unit = self.code_scale = code_unit
        self.device = device
        double = copy.deepcopy(module).double()
        self.modules = {torch.float32: module, torch.float64: double}

    def encode(self, X, n_components):
        """Codes (n, k) of X (n, p), both arrays of one dtype."""

        def step(rows):
            return (
                self.run(encode, (rows - self.mean) / self.scale, X.dtype) * self.code_scale
            )

        return self._in_batches(step, X, (n_components,))

    def decode(self, Z):
        """Reconstruction (n, p) of the codes Z (n, k), both arrays of one dtype."""

        def step(rows):
            return self._in_units(self.run(decode, rows / self.code_scale, Z.dtype))

        return self._in_batches(step, Z, self.mean.shape)

    def row_scores(self, X):
        """Minus the mean error of each row (n,) of X (n, p)."""
        return self._in_batches(self._row_scores, X, ()).astype(np.float64)

    def _row_scores(self, X):
        scaled = ((X - self.mean) / self.scale).astype(X.dtype)
        output = self.run(reconstruct, scaled, X.dtype)
        if not self.loss.of_scaled:
            goal = torch.from_numpy(np.require(X, requirements=["C", "W"]))
            return -self.loss.function(torch.from_numpy(output), goal).numpy() / X.shape[1]
        with np.errstate(over="ignore"):
            return -np.square((output - scaled) * self.scale).mean(axis=1)

    def scaled_codes(self, X, n_components):
        """Codes (n, k), in the network's unit, of centred and scaled X (n, p)."""
        return self._in_batches(
            lambda rows: self.run(encode, rows, X.dtype), X, (n_components,)
        )

    def decode_scaled(self, Z):
        """Reconstruction (n, p), in float64, of codes (n, k) in the network's unit."""
        return self._in_units(self.run(decode, Z, np.float64))

    def jacobian(self, Z):
        """Derivatives (n, k, p) of the reconstruction at codes (n, k) of the network."""
        module, link = self.modules[torch.float64], self.loss.inverse_link

        def output(Z):
            return link(module.decode(Z)) if link else module.decode(Z)

        jacobian = decoder_jacobian(output, torch.from_numpy(Z).to(self.device))
        factor = self.scale / self.code_unit if self.loss.of_scaled else 1 / self.code_unit
        return jacobian.cpu().numpy() * factor

    def canonize(self, X, n_components):
        """Fold into the network the map that makes its codes for X canonical."""
        module = self.modules[torch.float64]
        Z = self.scaled_codes(X, n_components).astype(np.float64)

        def jacobian(z):
            z = torch.from_numpy(z[None]).to(self.device)
            return decoder_jacobian(module.decode, z)[0].cpu().numpy()

        weight, mean = canonical_map(Z, X, jacobian)
        weight = torch.from_numpy(weight).to(self.device)
        mean = torch.from_numpy(mean).to(self.device)
        module.encoder.absorb_output(weight, -weight @ mean)
        module.decoder.absorb_input(torch.linalg.inv(weight), mean)
        # Both copies hold the same numbers, which are those that are saved.
        self.modules[torch.float32].load_state_dict(module.state_dict())
        module.load_state_dict(self.modules[torch.float32].state_dict())

    def _in_units(self, output):
        """The reconstruction that a decoder's output (n, p) stands for."""
        if not self.loss.of_scaled:
            return self.loss.inverse_link(torch.from_numpy(output)).numpy()
        return output * self.scale + self.mean

    def _in_batches(self, step, array, shape):
        """`step` of the rows of `array`, each of `shape`, batch by batch, in one array."""
        out = np.empty((len(array), *shape), dtype=array.dtype)
        n_rows = max(1, BATCH // max(len(self.mean), array.shape[1]))
        for i in range(0, len(array), n_rows):
            out[i : i + n_rows] = step(array[i : i + n_rows])
        return out

    def run(self, step, array, dtype):
        """step(network, array) in `dtype`, on the device."""
        tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=dtype))
        module = self.modules[tensor.dtype]
        with torch.inference_mode():
            return step(module, tensor.to(self.device)).cpu().numpy()
