"""Fills missing cells with a linear Gaussian model of the cells that are observed."""

from dataclasses import dataclass

import torch

from skae._tables.scaling import shares
from skae._torch import make_generator

__all__ = ["Filler", "fit_filler", "with_marks"]

MOST_ROWS = 2048  # largest number of rows that the model is fitted to
MOST_FACTORS = 32
COSTLY = 16  # more factors than these are tried only as long as they improve the model
HELD_OUT = 0.1  # share of the cells that choose the number of factors
BLOCK = 2**22  # number of values that are processed at a time
N_ITER, N_TRIAL = 30, 15  # iterations of the final fit, and of one for each trial
SMALLEST_NOISE = 1e-6


@dataclass
class Filler:
    """Probabilistic PCA as a model of rows in which some cells are missing.

    The model is x = mean + weight z + noise, where z is standard normal. A missing cell is
    filled with its expectation given the observed cells of its row (Tipping and Bishop
    1999, "Probabilistic principal component analysis").

    Attributes
    ----------
    mean : Tensor of shape (p,)
    weight : Tensor of shape (p, q)
    noise : float
        Variance of the noise.
    """

    mean: torch.Tensor
    weight: torch.Tensor
    noise: float

    def __call__(self, X, observed):
        """Return X (..., n, p) with the cells filled that are not `observed`."""
        step = max(1, BLOCK // self.weight.shape[1] ** 2)
        parts = zip(X.split(step, dim=-2), observed.split(step, dim=-2), strict=True)
        return torch.cat([self._filled(*part) for part in parts], dim=-2)

    def _filled(self, X, observed):
        # This needs float64: where the observed cells do not determine the factors, only
        # the noise makes the system regular, and it may be smaller than the rounding
        # errors of float32.
        weight, mean = (a.to(X.device, torch.float64) for a in (self.weight, self.mean))
        Z, _ = _factors(X.double(), observed, mean, weight, self.noise)
        return torch.where(observed, X, (mean + Z @ weight.mT).to(X.dtype))


def _factors(X, observed, mean, weight, noise):
    """Return the expected factors (..., n, q) of each row, and their precision's root."""
    p, q = weight.shape
    outer = (weight[:, :, None] * weight[:, None, :]).reshape(p, q * q)
    precision = (observed.to(X.dtype) @ outer).reshape(*X.shape[:-1], q, q)
    precision = precision + noise * torch.eye(q, dtype=X.dtype, device=X.device)
    root = torch.linalg.cholesky(precision)
    centred = torch.where(observed, X - mean, 0.0)
    return torch.cholesky_solve((centred @ weight).unsqueeze(-1), root).squeeze(-1), root


def fit_filler(X, observed, seed, weights=None):
    """Fit a `Filler` to a table. Held-out cells choose its number of factors.

    Parameters
    ----------
    X : Tensor of float64 of shape (n, p)
        Centred and scaled rows, with any values in missing cells.
    observed : Tensor of bool of shape (n, p)
        True in cells that have a value.
    seed : int
        Seed of the choice of held-out cells.
    weights : Tensor of float64 of shape (n,) or None
        Weights of the rows.

    Returns
    -------
    Filler
    """
    n, p = X.shape
    some = torch.linspace(0, n - 1, min(n, MOST_ROWS)).long()
    X, observed = torch.where(observed, X, 0.0)[some], observed[some]
    w = len(some) * shares(X, None if weights is None else weights[some])[:, None]
    most = max(1, min(p - 1, MOST_FACTORS, len(X) // 4))
    drawn = torch.rand(X.shape, generator=make_generator(seed))
    hidden = observed & (drawn < HELD_OUT)
    is_complete = bool(observed.all())
    best, smallest, n_misses = 1, float("inf"), 0
    for q in [2**i for i in range(most.bit_length() if most > 1 else 0)]:
        error = (_error_of_rows if is_complete else _error)(X, observed, hidden, q, w)
        n_misses = 0 if error < smallest else n_misses + 1
        if n_misses >= 2 and q >= COSTLY:
            break
        if not n_misses:
            best, smallest = q, error
    if is_complete:
        return _principal_components(X, best, w)
    return _expectation_maximization(X, observed, best, N_ITER, w)


def _error(X, observed, hidden, q, w):
    """Return the error in hidden cells of a model with q factors fitted to the others.

    w (n, 1) are the weights of the rows.
    """
    filler = _expectation_maximization(X, observed & ~hidden, q, N_TRIAL, w)
    errors = filler(X, observed & ~hidden) - X
    return float((w * torch.square(errors))[hidden].sum())


def _error_of_rows(X, observed, hidden, q, w):
    """Return the error in hidden cells of every other row of a complete table.

    The model with q factors is fitted to the remaining rows.
    """
    filler, rest = _principal_components(X[::2], q, w[::2]), slice(1, None, 2)
    errors = filler(X[rest], ~hidden[rest]) - X[rest]
    return float((w[rest] * torch.square(errors))[hidden[rest]].sum())


def _principal_components(X, q, w):
    """Return the likeliest model of a complete table (Tipping and Bishop, eq. 7 and 8)."""
    p, w = X.shape[1], w / w.sum()
    mean = (w * X).sum(dim=0)
    axes = torch.linalg.svd(w.sqrt() * (X - mean), full_matrices=False)
    variances = torch.square(axes.S)
    noise = max(float(variances[q:].sum()) / max(p - q, 1), SMALLEST_NOISE)
    weight = axes.Vh[:q].mT * (variances[:q] - noise).clamp(min=0).sqrt()
    return Filler(mean, weight, noise)


def _expectation_maximization(X, observed, q, n_iter, w):
    """Return the maximum a posteriori under a standard normal prior of the weights.

    It is found by expectation maximization: Ilin and Raiko (2010), "Practical approaches
    to principal component analysis in the presence of missing values".
    """
    n, p = X.shape
    known = w * observed
    n_cells = known.sum().clamp(min=1)
    axes = torch.linalg.svd(w.sqrt() * X, full_matrices=False)
    weight = (axes.Vh[:q] * (axes.S[:q, None] / n**0.5)).mT
    mean, noise = X.new_zeros(p), 0.1 + float((w * torch.square(X)).sum() / n_cells) / 2
    prior = torch.eye(q + 1, dtype=X.dtype)
    for _ in range(n_iter):
        Z, root = _factors(X, observed, mean, weight, noise)
        spread = noise * torch.cholesky_inverse(root)
        U = torch.cat([Z, torch.ones_like(Z[:, :1])], dim=1)
        moments = U[:, :, None] * U[:, None, :]
        moments[:, :q, :q] += spread
        moments = (known.mT @ moments.reshape(n, -1)).reshape(p, q + 1, q + 1)
        products = (known * X).mT @ U
        both = torch.linalg.solve(moments + noise * prior, products.unsqueeze(-1))[..., 0]
        weight, mean = both[:, :q], both[:, q]
        residual = (known * torch.square(X - U @ both.mT)).sum()
        unsure = ((known.mT @ spread.reshape(n, -1)) * _outer(weight)).sum()
        noise = max(float((residual + unsure) / n_cells), SMALLEST_NOISE)
    return Filler(mean, weight, noise)


def _outer(weight):
    return (weight[:, :, None] * weight[:, None, :]).reshape(len(weight), -1)


def with_marks(X, observed):
    """Append to rows (..., n, p) the marks (..., n, p), which are 1 in missing cells."""
    return torch.cat([X, (~observed).to(X.dtype)], dim=-1)
