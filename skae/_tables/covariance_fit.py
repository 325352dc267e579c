"""Fits a normal distribution with any covariance to the cells that are observed."""

import torch

from skae._tables.missing import Filler

__all__ = ["MOST_PRODUCTS", "best_ridge", "fit_covariance"]

# The prior counts as much as so many rows. Held-out cells choose among these numbers.
RIDGES = 300.0, 100.0, 30.0, 10.0, 3.0, 1.0
N_TRIAL, N_FINAL = 8, 16  # iterations with each of them, and of the final fit
MOST_PRODUCTS = 2**27  # products of an iteration, above which it is not worth its time
SMALLEST_SHARE = 1e-3  # smallest variance of the prior, as a share of their mean


def best_ridge(trials):
    """Return the ridge with the smallest error, and that error.

    Each fit goes on from the one before, whose prior is stronger.

    Parameters
    ----------
    trials : list of (Cells, error)
        Cells to fit to, all of the same table, and a function that returns the error of a
        Filler in others. Errors are added up.

    Returns
    -------
    ridge, smallest : float
        `smallest` is inf if the fit would take too long, or the rows do not vary.
    """
    best, smallest, n_misses = RIDGES[0], float("inf"), 0
    priors = [_prior(cells) for cells, _ in trials]
    cells, _ = trials[0]
    n, p = cells.row_patterns.shape
    is_long = not 2 <= p <= len(cells.X) or n * p**3 > MOST_PRODUCTS
    if is_long or not all(map(torch.Tensor.any, priors)):
        return best, smallest
    fits = [(torch.zeros_like(prior), prior.diag()) for prior in priors]
    for ridge in RIDGES:
        fits = [
            _improved(cells, *fit, ridge, prior, N_TRIAL)
            for (cells, _), fit, prior in zip(trials, fits, priors, strict=True)
        ]
        errors = (error for _, error in trials)
        found = sum(
            error(_as_filler(*fit)) for error, fit in zip(errors, fits, strict=True)
        )
        n_misses = 0 if found < smallest else n_misses + 1
        if n_misses >= 2:
            break
        if not n_misses:
            best, smallest = ridge, found
    return best, smallest


def fit_covariance(cells, ridge):
    """Return the Filler with the covariance that is likeliest with this ridge."""
    prior = _prior(cells)
    mean, S = torch.zeros_like(prior), prior.diag()
    for r in (r for r in RIDGES if r > ridge):
        mean, S = _improved(cells, mean, S, r, prior, 2)
    return _as_filler(*_improved(cells, mean, S, ridge, prior, N_FINAL))


def _prior(cells):
    """Return the variances (p,) of the columns, none of which is zero if any is not."""
    w = cells.w * cells.observed
    n = w.sum(dim=0).clamp(min=1)
    mean = (w * cells.X).sum(dim=0) / n
    variances = (w * torch.square(cells.X - mean)).sum(dim=0) / n
    return variances.clamp(min=SMALLEST_SHARE * float(variances.mean()))


def _improved(cells, mean, S, ridge, prior, n_iter):
    """Return mean (p,) and covariance (p, p) after iterations of expectation maximization.

    See Little and Rubin (2002), "Statistical analysis with missing data", section 11.2.
    The prior counts as `ridge` rows, whose covariance has the diagonal `prior` (p,).
    """
    patterns, pattern_of_row = cells.row_patterns, cells.pattern_of_row
    both = patterns.unsqueeze(-1) & patterns.unsqueeze(-2)
    ones = torch.diag_embed((~patterns).to(S))
    n_rows = torch.zeros(len(patterns), 1, 1, dtype=S.dtype)
    n_rows[:, 0, 0].index_add_(0, pattern_of_row, cells.w[:, 0])
    n = float(cells.w.sum())
    for _ in range(n_iter):
        root = torch.linalg.cholesky(torch.where(both, S, ones))
        precisions = torch.where(both, torch.cholesky_inverse(root), 0.0)
        deviations = torch.where(cells.observed, cells.X - mean, 0.0)
        shares = (precisions[pattern_of_row] @ deviations.unsqueeze(-1)).squeeze(-1)
        deviations = torch.where(cells.observed, deviations, shares @ S)
        unknown = n * S - S @ (n_rows * precisions).sum(dim=0) @ S
        shift = (cells.w * deviations).sum(dim=0) / n
        squares = deviations.mT @ (cells.w * deviations) - n * torch.outer(shift, shift)
        S = (squares + unknown + ridge * prior.diag()) / (n + ridge)
        S, mean = (S + S.mT) / 2, mean + shift
    return mean, S


def _as_filler(mean, S):
    """Return the Filler with a covariance (p, p): its smallest eigenvalue is the noise."""
    variances, axes = torch.linalg.eigh(S)
    noise = float(variances[0])
    weight = axes[:, 1:] * (variances[1:] - noise).clamp(min=0).sqrt()
    return Filler(mean, weight, noise)
