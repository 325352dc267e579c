"""Fills missing cells with a linear Gaussian model of the cells that are observed."""

from dataclasses import dataclass

import torch

__all__ = ["Filler", "factor_precisions", "pairs", "symmetric", "with_marks"]

# Number of values that are processed at a time: of the systems of equations of rows, and of
# the rows themselves, for which new memory is then not asked for each time.
BLOCK, ROWS_BLOCK = 2**22, 2**20


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
        has_gaps = ~observed.all(dim=-1)
        filled, rows, known = X.clone(), X[has_gaps], observed[has_gaps]
        # This needs float64: where the observed cells do not determine the factors, only
        # the noise makes the system regular, and it may be smaller than the rounding
        # errors of float32.
        weight, mean = (a.to(X.device, torch.float64) for a in (self.weight, self.mean))
        p, q = weight.shape
        step = max(1, min(BLOCK // q**2, ROWS_BLOCK // p))
        parts = zip(rows.split(step), known.split(step), strict=True)
        products = pairs(weight)
        filled[has_gaps] = torch.cat(
            [self._filled(*part, mean, weight, products) for part in parts]
        )
        return filled

    def _filled(self, X, observed, mean, weight, products):
        """Return X (n, p) with cells filled; `products` are the pairs of `weight`."""
        precisions = factor_precisions(observed, products, weight.shape[1], self.noise)
        root = torch.linalg.cholesky(precisions)
        centred = torch.where(observed, X.double() - mean, 0.0)
        Z = torch.cholesky_solve((centred @ weight).unsqueeze(-1), root).squeeze(-1)
        return torch.where(observed, X, (mean + Z @ weight.mT).to(X.dtype))


def factor_precisions(observed, products, q, noise):
    """Return the precisions (n, q, q) of the factors of rows, times the noise.

    Parameters
    ----------
    observed : Tensor of bool of shape (n, p)
    products : Tensor of shape (p, q (q + 1) / 2)
        The `pairs` of the weights (p, q) of the factors.
    q : int
    noise : float
    """
    precisions = symmetric(observed.to(products) @ products, q)
    return precisions + noise * torch.eye(q, dtype=products.dtype, device=products.device)


def pairs(A):
    """Return the products (n, q (q + 1) / 2) of each two columns i <= j of A (n, q)."""
    i, j = torch.triu_indices(A.shape[1], A.shape[1], device=A.device)
    return A[:, i] * A[:, j]


def symmetric(upper, q):
    """Return symmetric matrices (n, q, q) from their `upper` triangles, as in `pairs`."""
    i, j = torch.triu_indices(q, q, device=upper.device)
    place = torch.empty(q, q, dtype=torch.long, device=upper.device)
    place[i, j] = place[j, i] = torch.arange(len(i), device=upper.device)
    return upper[:, place]


def with_marks(X, observed):
    """Append to rows (..., n, p) the marks (..., n, p), which are 1 in missing cells."""
    return torch.cat([X, (~observed).to(X.dtype)], dim=-1)
