"""Fills missing cells with a linear Gaussian model of the cells that are observed."""

from dataclasses import dataclass

import torch

__all__ = ["Filler", "factor_precisions", "pairs", "symmetric", "with_marks"]

# Number of values that are processed at a time: of the systems of equations of rows, and of
# the rows themselves, for which new memory is then not asked for each time.
BLOCK, ROWS_BLOCK = 2**16, 2**20
LONG = 2**18  # values of systems of equations from which `saves_time` is true
MANY, WIDE = 16, 2**20  # number of factors, and values of rows, from which it is, too
REGULAR = 1e-4  # least noise, as a share of the variance of the largest factor, for float32
NEAR = 1e-6  # relative error of the equations that `Filler.nearly` solves
TINY = 1e-30  # divides in the place of zero


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
        """Return X (..., n, p) with the cells filled that are not `observed`.

        This needs float64: where the observed cells do not determine the factors, only the
        noise makes the system regular, and it may be smaller than the rounding errors of
        float32.
        """
        return self._exactly(X, observed, torch.float64)

    def _exactly(self, X, observed, dtype):
        """Return X with cells filled, computed in `dtype`."""
        has_gaps = ~observed.all(dim=-1)
        filled, rows, known = X.clone(), X[has_gaps], observed[has_gaps]
        weight, mean = (a.to(X.device, dtype) for a in (self.weight, self.mean))
        p, q = weight.shape
        step = max(1, min(BLOCK // q**2, ROWS_BLOCK // p))
        parts = zip(rows.split(step), known.split(step), strict=True)
        products = pairs(weight)
        filled[has_gaps] = torch.cat(
            [self._filled(*part, mean, weight, products) for part in parts]
        )
        return filled

    @property
    def is_regular(self):
        """Whether the noise is more than a rounding error of float32 beside the factors."""
        largest = float(torch.linalg.eigvalsh(self.weight.mT @ self.weight)[-1])
        return self.noise > REGULAR * largest

    def saves_time(self, n):
        """Whether conjugate gradients are faster for n rows, and exact enough."""
        p, q = self.weight.shape
        is_long = n * q**2 > LONG or (q >= MANY and n * p > WIDE)
        return is_long and self.is_regular

    def nearly(self, X, observed):
        """Return X (..., n, p) filled about as `self` does, within `NEAR`, in less time.

        It is for training, where cells are filled many times and need not be exact.
        """
        has_gaps = ~observed.all(dim=-1)
        rows, known = X[has_gaps], observed[has_gaps]
        if not self.saves_time(len(rows)):
            dtype = X.dtype if self.is_regular else torch.float64
            return self._exactly(X, observed, dtype)
        filled, solver = X.clone(), _NearFactors(self, X)
        parts = self._blocks(rows, known)
        filled[has_gaps] = torch.cat([solver.filled(*part) for part in parts])
        return filled

    def factors(self, X, observed):
        """Return the expected factors (n, q) of rows X (n, p), within `NEAR`."""
        solver, parts = _NearFactors(self, X), self._blocks(X, observed)
        found = torch.cat([solver.factors(*part) for part in parts])
        return torch.linalg.solve_triangular(solver.root.mT, found.mT, upper=True).mT

    def _blocks(self, X, observed):
        step = max(1, ROWS_BLOCK // max(self.weight.shape))
        return zip(X.split(step), observed.split(step), strict=True)

    def _filled(self, X, observed, mean, weight, products):
        """Return X (n, p) with cells filled; `products` are the pairs of `weight`."""
        precisions = factor_precisions(observed, products, weight.shape[1], self.noise)
        root = torch.linalg.cholesky(precisions)
        centred = torch.where(observed, X.to(mean) - mean, 0.0)
        Z = torch.cholesky_solve((centred @ weight).unsqueeze(-1), root).squeeze(-1)
        return torch.where(observed, X, (mean + Z @ weight.mT).to(X.dtype))


class _NearFactors:
    """Finds factors by conjugate gradients, which need no system of equations of each row.

    The precisions of complete rows are the preconditioner: in the coordinates `root.T z`
    they are the identity.
    """

    def __init__(self, filler, like):
        weight = filler.weight.to(like.device, torch.float64)
        q = weight.shape[1]
        eye = torch.eye(q, dtype=weight.dtype, device=weight.device)
        root = torch.linalg.cholesky(weight.mT @ weight + filler.noise * eye)
        axes = torch.linalg.solve_triangular(root, weight.mT, upper=False).mT
        ridge = torch.linalg.solve_triangular(root, eye, upper=False)
        self.axes, self.ridge = axes.to(like), (filler.noise * ridge @ ridge.mT).to(like)
        self.mean, self.root, self.n_iter = filler.mean.to(like), root.to(like), 2 * q

    def filled(self, X, observed):
        """Return X (n, p) with cells filled."""
        Z = self.factors(X, observed)
        return torch.where(observed, X, self.mean + Z @ self.axes.mT)

    def factors(self, X, observed):
        """Return the factors (n, q) of rows, in the coordinates of the preconditioner."""
        left = torch.where(observed, X - self.mean, 0.0) @ self.axes
        found, rows, Z = torch.zeros_like(left), None, torch.zeros_like(left)
        direction, size, known = left, torch.square(left).sum(dim=1), observed
        enough = NEAR**2 * size
        for _ in range(self.n_iter):
            image = torch.where(known, direction @ self.axes.mT, 0.0) @ self.axes
            image += direction @ self.ridge
            step = (size / (direction * image).sum(dim=1).clamp(min=TINY)).unsqueeze(1)
            Z, left = Z + step * direction, left - step * image
            before, size = size, torch.square(left).sum(dim=1)
            is_left = size > enough
            n_left = int(is_left.sum())
            if n_left == 0:
                break
            direction = left + (size / before.clamp(min=TINY)).unsqueeze(1) * direction
            if 2 * n_left < len(size):  # the others are good enough
                found, rows = _put(found, rows, Z)
                rows = is_left.nonzero()[:, 0] if rows is None else rows[is_left]
                parts = Z, left, direction, known, size, enough
                Z, left, direction, known, size, enough = (a[is_left] for a in parts)
        return _put(found, rows, Z)[0]


def _put(found, rows, Z):
    """Put the rows Z into `found`, and return it with their numbers."""
    if rows is None:
        return Z, None
    found[rows] = Z
    return found, rows


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
    columns = A.mT.contiguous()  # each is then read and written as a whole
    return (columns[i] * columns[j]).mT


def symmetric(upper, q):
    """Return symmetric matrices (n, q, q) from their `upper` triangles, as in `pairs`."""
    i, j = torch.triu_indices(q, q, device=upper.device)
    place = torch.empty(q, q, dtype=torch.long, device=upper.device)
    place[i, j] = place[j, i] = torch.arange(len(i), device=upper.device)
    return upper[:, place]


def with_marks(X, observed):
    """Append to rows (..., n, p) the marks (..., n, p), which are 1 in missing cells."""
    return torch.cat([X, (~observed).to(X.dtype)], dim=-1)
