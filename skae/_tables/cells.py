"""The observed cells of rows, to which a `Filler` is fitted by expectation maximization."""

import dataclasses
import functools

import numpy as np
import torch
from sklearn.utils.extmath import randomized_svd

from skae._tables.missing import Filler, factor_precisions, pairs, symmetric
from skae._tables.pca import principal_axes

__all__ = ["SMALLEST_NOISE", "TOL", "Cells", "principal_filler"]

# Iterations end when they change the model by less than this share of it.
TOL = 1e-3
NARROW = 128  # most columns of which all axes are found faster than some
# Number of values that are computed at a time. They stay in the cache, and no new memory is
# asked of the system for them, which would take longer than the arithmetic.
CACHED = 2**16
SMALLEST_NOISE = 1e-6
# If rows have more patterns of missing cells than these, and many factors, the covariances
# of so many rows stand for those of all: they are alike, and are only summed.
MOST_PATTERNS = 256


def principal_filler(cells):
    """Return a function that gives the likeliest Filler (q) of complete rows.

    Tipping and Bishop (1999), equations 7 and 8.
    """
    X, w = cells.X, cells.w[:, 0]
    mean = (w / w.sum()) @ X
    spread, axes, _ = principal_axes((X - mean).numpy(), weights=w.numpy())
    variances, axes = torch.from_numpy(np.square(spread)), torch.from_numpy(axes)
    return functools.partial(_principal_filler, mean, variances, axes)


def _principal_filler(mean, variances, axes, q):
    p = len(mean)
    noise = max(float(variances[q:].sum()) / max(p - q, 1), SMALLEST_NOISE)
    weight = axes[:q].mT * (variances[:q] - noise).clamp(min=0).sqrt()
    return Filler(mean, weight, noise)


class Cells:
    """The observed cells of some rows, to which a `Filler` is fitted.

    The fit is the maximum a posteriori under a standard normal prior of the weights, found
    by expectation maximization: Ilin and Raiko (2010), "Practical approaches to principal
    component analysis in the presence of missing values". Rows with the same missing
    cells, such as all that are complete, share one covariance of the factors, and columns
    with the same missing cells share one system of equations.

    Parameters
    ----------
    X : Tensor of float64 of shape (n, p)
        Rows, with any values in missing cells.
    observed : Tensor of bool of shape (n, p)
    w : Tensor of float64 of shape (n,)
        Weights of the rows, which sum to n.
    """

    def __init__(self, X, observed, w):
        self.X, self.observed = torch.where(observed, X, 0.0), observed
        self.w = w.reshape(-1, 1)

    def rows(self, rows):
        """Return the Cells of some rows."""
        return Cells(self.X[rows], self.observed[rows], self.w[rows])

    def columns(self, columns):
        """Return the Cells of some columns."""
        return Cells(self.X[:, columns], self.observed[:, columns], self.w)

    def without(self, hidden):
        """Return the Cells that are not `hidden` (n, p)."""
        return Cells(self.X, self.observed & ~hidden, self.w)

    @functools.cached_property
    def n_cells(self):
        """Number of observed cells, weighted by row."""
        return float((self.w.mT @ self.observed.to(self.w)).sum().clamp(min=1))

    @functools.cached_property
    def weighted(self):
        """The rows times their weights."""
        return self.X if bool((self.w == 1).all()) else self.w * self.X

    @functools.cached_property
    def square(self):
        """Sum of the squares of the observed cells, weighted by row."""
        return float(torch.einsum("ij,ij->", self.weighted, self.X))

    @functools.cached_property
    def _row_patterns(self):
        return _distinct(self.observed)

    @property
    def row_patterns(self):
        """The different rows (u, p) of `observed`."""
        return self._row_patterns[0]

    @property
    def pattern_of_row(self):
        """The number (n,) of each row of `observed` in `row_patterns`."""
        return self._row_patterns[1]

    @functools.cached_property
    def _order(self):
        """Numbers (n,) of the rows in the order of their patterns."""
        return torch.argsort(self.pattern_of_row, stable=True)

    @property
    def _columns(self):
        """Numbers of the columns, in blocks that stay in the cache."""
        n, p = self.X.shape
        return torch.arange(p).split(max(1, 2 * CACHED // n))

    @functools.cached_property
    def _blocks(self):
        """Blocks of columns, each with its different columns of `observed`."""
        return [(b, *_distinct(self.observed[:, b].mT)) for b in self._columns]

    def _parts(self, n_values):
        """Yield (rows, patterns): numbers of rows, and the slice of their patterns.

        `n_values` are computed for each row, and `CACHED` for all of a part.
        """
        for rows in self._order.split(max(1, CACHED // n_values)):
            first, last = self.pattern_of_row[rows[[0, -1]]].tolist()
            yield rows, slice(first, last + 1)

    def error(self, filler, hidden):
        """Return the squared error in `hidden` cells that are filled from the others."""
        errors = filler.nearly(self.X, self.observed & ~hidden) - self.X
        return float((self.w * torch.square(errors))[hidden].sum())

    def grown(self, filler, q, seed):
        """Return a Filler of q factors: those of `filler`, and axes of what they leave.

        With None instead of a filler all q factors are axes of the rows.
        """
        left = self.X
        if filler is None:
            mean, weight = left.new_zeros(left.shape[1]), left.new_zeros(left.shape[1], 0)
            noise = 0.1 + float((self.w * torch.square(left)).sum()) / self.n_cells / 2
        else:
            mean, weight, noise = filler.mean, filler.weight, filler.noise
            Z = self.expected(filler).Z
            left = torch.where(self.observed, left - mean - Z @ weight.mT, 0.0)
        left, n_more = (self.w.sqrt() * left).numpy(), q - weight.shape[1]
        if left.shape[1] <= NARROW:
            spread, axes, _ = principal_axes(left)
        else:
            _, spread, axes = randomized_svd(left, n_more, random_state=seed)
            spread /= np.sqrt(len(left))
        more = torch.from_numpy(axes[:n_more].T * spread[:n_more])
        return Filler(mean, torch.cat([weight, more], dim=1), noise)

    def improved(self, filler, n_iter, tol=TOL):
        """Return the Filler after at most `n_iter` iterations, see `TOL`."""
        for _ in range(n_iter):
            before = filler
            filler = self.maximized(self.expected(before), before.noise)
            change = (filler.weight - before.weight).norm()
            is_still = change <= tol * before.weight.norm()
            if is_still and abs(filler.noise - before.noise) <= tol * before.noise:
                break
        return filler

    @functools.cached_property
    def _single(self):
        return self.X.float()

    def expected(self, filler):
        """Return what the rows let expect of their factors."""
        weight, noise = filler.weight, filler.noise
        patterns, q, products = self.row_patterns, weight.shape[1], pairs(weight)
        if len(patterns) > MOST_PATTERNS and filler.saves_time(len(patterns)):
            some = torch.linspace(0, len(self.X) - 1, MOST_PATTERNS).long()
            inverse = _inverse(self.observed[some], products, q, noise)
            Z = filler.factors(self._single, self.observed).double()
            return _Factors(Z, noise * _upper(inverse), some=some)
        goals, Z = self._products(filler), self.X.new_empty(len(self.X), q)
        covariances = self.X.new_empty(len(patterns), products.shape[1])
        for rows, block in self._parts(q**2):
            inverse = _inverse(patterns[block], products, q, noise)
            covariances[block] = noise * _upper(inverse)
            inverse = inverse[self.pattern_of_row[rows] - block.start]
            Z[rows] = (inverse @ goals[rows].unsqueeze(-1)).squeeze(-1)
        return _Factors(Z, covariances, self.pattern_of_row)

    def _products(self, filler):
        """Return the products (n, q) of centred rows and weights, over observed cells."""
        found = self.X.new_zeros(len(self.X), filler.weight.shape[1])
        for block in self._columns:
            some = slice(int(block[0]), int(block[-1]) + 1)
            left = self.X[:, some] - filler.mean[some]
            left = torch.where(self.observed[:, some], left, 0.0)
            found.addmm_(left, filler.weight[some])
        return found

    def maximized(self, factors, noise):
        """Return the Filler that is likeliest for these factors."""
        Z = factors.Z
        q = Z.shape[1]
        U = torch.cat([Z, torch.ones_like(Z[:, :1])], dim=1)
        found = [self._maximized(*block, U, factors, noise) for block in self._blocks]
        both, squares = zip(*found, strict=True)
        both = torch.cat(both)
        noise = (self.square + float(sum(squares))) / self.n_cells
        return Filler(both[:, q], both[:, :q], max(noise, SMALLEST_NOISE))

    def _maximized(self, block, patterns, place, U, factors, noise):
        """Return weights and means (b, q + 1) of columns, and their expected squares."""
        q = U.shape[1] - 1
        of_rows = patterns * self.w.mT
        upper = _summed_pairs(of_rows, U)
        is_of_factors = torch.triu_indices(q + 1, q + 1)[1] < q
        upper[:, is_of_factors] += factors.summed_covariances(of_rows)
        systems = symmetric(upper, q + 1) + noise * torch.eye(q + 1, dtype=U.dtype)
        products = self.weighted[:, block].mT @ U
        root = torch.linalg.cholesky(systems)[place]
        both = torch.cholesky_solve(products.unsqueeze(-1), root).squeeze(-1)
        i, j = torch.triu_indices(q + 1, q + 1)
        twice = torch.where(i == j, 1.0, 2.0).to(U)
        squares = (upper[place] * pairs(both)).sum(dim=0) @ twice
        return both, squares - 2 * (products * both).sum()


@dataclasses.dataclass
class _Factors:
    """What rows let expect of their factors.

    Attributes
    ----------
    Z : Tensor of shape (n, q)
        Their expectations.
    covariances : Tensor of shape (u, q (q + 1) / 2)
        Their covariances, as upper triangles.
    place : Tensor of int of shape (n,) or None
        Which of the covariances each row has.
    some : Tensor of int of shape (u,) or None
        Numbers of the rows whose covariances these are, if they stand for all rows.
    """

    Z: torch.Tensor
    covariances: torch.Tensor
    place: torch.Tensor | None = None
    some: torch.Tensor | None = None

    def summed_covariances(self, w):
        """Return the upper triangles (c, q (q + 1) / 2) of sums with weights w (c, n)."""
        covariances = self.covariances
        if self.some is None:
            counts = w.new_zeros(len(w), len(covariances)).index_add_(1, self.place, w)
            return counts @ covariances
        counts = w[:, self.some]
        counts = torch.where(counts.sum(dim=1, keepdim=True) == 0, 1.0, counts)
        share = counts.sum(dim=1, keepdim=True) / w.sum(dim=1, keepdim=True)
        return torch.where(share > 0, (counts @ covariances) / share, 0.0)


def _inverse(observed, products, q, noise):
    """Return the inverse (n, q, q) of `factor_precisions`."""
    precisions = factor_precisions(observed, products, q, noise)
    return torch.cholesky_inverse(torch.linalg.cholesky(precisions))


def _upper(A):
    """Return the upper triangles (n, q (q + 1) / 2) of matrices A (n, q, q)."""
    q = A.shape[-1]
    return A[:, *torch.triu_indices(q, q)]


def _summed_pairs(w, U):
    """Return the sums (c, q (q + 1) / 2) of the `pairs` of rows U (n, q), with w (c, n)."""
    q = U.shape[1]
    n_pairs = q * (q + 1) // 2
    sums = U.new_zeros(len(w), n_pairs)
    step = max(1, CACHED // n_pairs)
    for rows, weights in zip(U.split(step), w.split(step, dim=1), strict=True):
        sums.addmm_(weights, pairs(rows))
    return sums


def _distinct(rows):
    """Return the different rows (u, p) of a Tensor of bool (n, p), and which each is (n,).

    The rows are compared as strings of bits.
    """
    bits = np.packbits(rows.numpy(), axis=1)
    bits = np.ascontiguousarray(bits).view(f"V{bits.shape[1]}").ravel()
    _, first, place = np.unique(bits, return_index=True, return_inverse=True)
    return rows[torch.from_numpy(first)], torch.from_numpy(place)
