"""Applies a trained variational network to arrays: densities of rows, and new rows."""

import math

import numpy as np
import torch

from skae._model.model import Inference, float_of
from skae._torch import make_generator
from skae.modules._variational import divergence

__all__ = ["N_DRAWS", "DensityInference"]

N_DRAWS = 128  # number of codes that are drawn for the density of a row
MOST_DIMENSIONS = torch.quasirandom.SobolEngine.MAXDIM
SEED = 0  # seed of these codes, which are the same for every row, apart from its posterior


class DensityInference(Inference):
    """Applies the variational network of a fitted estimator to arrays.

    Codes have a standard normal prior and therefore no units. They may change places and
    signs, but they are neither rotated nor scaled.

    Attributes
    ----------
    prior : Mixture or None
        Prior of the codes. None is the standard normal distribution.
    margins : Margins or None
        Gives drawn rows the margins of the training rows. None leaves them as they are.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.code_scale = 1.0
        self.prior = self.margins = None

    def jacobian(self, Z):
        return super().jacobian(Z) * self.unit

    def posterior(self, inputs):
        """Return means and logarithms of variances, (n, k), of the codes of scaled rows."""

        def step(module, rows):
            return torch.cat(module.posterior(rows), dim=-1)

        with self._private_states():
            both = self.run(step, inputs, inputs.dtype)
        return np.split(both, 2, axis=1)

    def deviations(self, X, n_components, exposed=None):
        """Return the standard deviations (n, k) of the codes of rows X (n, p).

        `exposed` is as in `encode`.
        """
        dtype = float_of(X.dtype)
        exposed = self.exposed(X) if exposed is None else exposed

        def step(rows, numbers):
            scaled, _ = self._seen(rows, numbers, exposed, dtype)
            return np.exp(self.posterior(scaled)[1] / 2)

        return self._in_batches(step, X, (n_components,), dtype)

    def divergences(self, inputs, weights=None):
        """Return the mean divergences (k,) of the codes of scaled rows from the prior."""
        mean, log_variance = map(torch.from_numpy, self.posterior(inputs))
        of_rows = divergence(mean.double(), log_variance.double()).numpy()
        return np.average(of_rows, axis=0, weights=weights)

    def canonize(self, inputs, X, n_components, weights=None):
        """Sort the codes by their divergences, and give them the signs of PCA."""
        order = np.argsort(-self.divergences(inputs, weights), kind="stable")
        k = n_components
        center = np.average(self.scaled_codes(inputs, k), axis=0, weights=weights)
        rows = self.jacobian(center[None].astype(np.float64))[0][order]
        largest = np.abs(rows).argmax(axis=1)
        signs = np.where(rows[np.arange(k), largest] < 0, -1.0, 1.0)
        self._recode(signs[:, None] * np.eye(k)[order], np.zeros(k))

    def noise_variance(self, n_components):
        """Return the noise variances (p,), or one for all, in squared units of `unit`.

        None is returned if the likelihood has no variance of its own.
        """
        if self.loss.variance is None:
            return None
        output = self.run(
            lambda module, Z: self.loss.variance(module.decode(Z)),
            np.zeros((1, n_components)),
            np.float64,
        )
        variances = np.square(self.unit) * output[0]
        return variances if len(variances) > 1 else float(variances[0])

    # -- densities ---------------------------------------------------------------------

    def _row_scores(self, X, scaled, goal, dtype):
        """Return lower bounds (n,) of the log-density of rows X (n, p), in units of X."""
        module = self.modules[getattr(torch, dtype.name)]
        rows, goal = (torch.from_numpy(a).to(self.device) for a in (scaled, goal))
        with torch.inference_mode():
            mean, log_variance = module.posterior(rows)
            spread, ratios = (log_variance / 2).exp(), []
            log_spreads = log_variance.double().sum(-1) / 2
            for noise in normal_draws(mean.shape[-1]).to(self.device):
                Z = mean + spread * noise.to(mean)
                errors = self.loss.function(module.decode(Z), goal).double()
                surprise = noise.square().sum() / 2 + log_spreads
                ratios.append(self._log_prior(Z) + surprise - errors)
            bounds = torch.stack(ratios).logsumexp(0) - math.log(N_DRAWS)
        return bounds.cpu().numpy()

    def _log_prior(self, Z):
        """Return the log-density (n,) of codes, without the constant of a normal one."""
        if self.prior is None:
            return -Z.double().square().sum(-1) / 2
        log_densities = self.prior.log_densities(Z.double().cpu().numpy())
        constant = Z.shape[-1] / 2 * math.log(2 * math.pi)
        return torch.from_numpy(log_densities + constant).to(self.device)

    # -- new rows ----------------------------------------------------------------------

    def draw(self, n_samples, n_components, rng):
        """Return n_samples new rows (n_samples, p), drawn from a RandomState."""
        if self.prior is None:
            Z = rng.standard_normal((n_samples, n_components))
        else:
            Z = self.prior.draw(n_samples, rng)

        def step(codes, numbers):
            output = self.run(lambda module, Z: module.decode(Z), codes, np.float64)
            rows = self.loss.draw(output, rng)
            rows = rows * self.scale + self.mean if self.loss.of_scaled else rows
            return rows if self.margins is None else self.margins(rows)

        return self._in_batches(step, Z, self.mean.shape, np.float64)


def normal_draws(n_components):
    """Return points (N_DRAWS, k) that fill a standard normal distribution evenly.

    They are a scrambled Sobol sequence (Owen 1998, "Scrambling Sobol and Niederreiter-Xing
    points"), which is the same at every call.
    """
    if n_components > MOST_DIMENSIONS:
        shape, generator = (N_DRAWS, n_components), make_generator(SEED)
        return torch.randn(shape, generator=generator, dtype=torch.float64)
    sobol = torch.quasirandom.SobolEngine(n_components, scramble=True, seed=SEED)
    half_step = 0.5 / 2**30  # the points are multiples of 2**-30, and may be zero
    uniform = sobol.draw(N_DRAWS, dtype=torch.float64) + half_step
    return torch.special.ndtri(uniform)
