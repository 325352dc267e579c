"""Fits the `Filler` of missing cells to the cells that are observed."""

import functools

import numpy as np
import torch
from sklearn.utils.extmath import randomized_svd

from skae._tables.covariance_fit import best_ridge, fit_covariance
from skae._tables.missing import Filler, factor_precisions, pairs, symmetric
from skae._tables.pca import principal_axes
from skae._tables.scaling import shares
from skae._torch import make_generator

__all__ = ["MOST_ROWS", "Cells", "fit_filler", "principal_filler"]

MOST_ROWS = 2048  # largest number of rows that the model is fitted to
# The number of factors is chosen by at most so many cells, of so many columns or more.
MOST_CELLS, FEWEST_COLUMNS = 2**17, 256
MOST_FACTORS = 32
COSTLY = 16  # more factors than these are tried only as long as they improve the model
HELD_OUT = 0.1  # share of the cells that choose the number of factors
ENOUGH, MOST_TRIALS = 2000, 5  # cells that choose between models, and most trials for them
N_TRIAL, N_ITER = 5, 8  # most iterations of each trial, and of the final fit
N_MORE = 4  # how often the best trial goes on, as long as it improves
N_WHOLE = 1  # and of those over all columns, if the final fit was to some of them
# Iterations end when they change the model by less than this share of it. A model of some
# of the columns only has to tell the number of factors, and their values to begin with.
TOL, COARSE_TOL = 1e-3, 1e-2
N_COLUMNS = 2048  # number of columns whose weights are computed at a time
SMALLEST_NOISE = 1e-6


def fit_filler(X, observed, seed, weights=None, feature_of=None, any_covariance=False):
    """Fit a `Filler` to a table. Held-out cells choose its number of factors.

    The time is linear in the number of columns.

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
    feature_of : ndarray of int of shape (p,) or None
        Columns with the same number are missing together, and are held out together.
    any_covariance : bool
        Whether a normal distribution with any covariance may take the place of the one of
        few factors, if that is better in the held-out cells. This is for tables of few
        columns only, because its time grows with the cube of their number.

    Returns
    -------
    Filler
    """
    n, p = X.shape
    rows = torch.linspace(0, n - 1, min(n, MOST_ROWS)).long()
    w = len(rows) * shares(X[rows], None if weights is None else weights[rows])
    cells = Cells(X[rows], observed[rows], w)
    n_columns = min(p, max(FEWEST_COLUMNS, MOST_CELLS // len(rows)))
    columns = torch.linspace(0, p - 1, n_columns).long()
    part = cells.columns(columns)
    n_rows = min(len(rows), MOST_CELLS // n_columns)
    some = part.rows(torch.linspace(0, len(rows) - 1, n_rows).long())
    if feature_of is None:
        feature_of = torch.arange(n_columns)
    else:
        feature_of = torch.from_numpy(feature_of)[columns]
    tol = TOL if n_columns == p else COARSE_TOL
    is_complete = bool(observed[rows].all())
    most = max(1, min(n_columns - 1, MOST_FACTORS, n_rows // 4))
    trials = _trials(some, seed, feature_of, several=any_covariance)
    found = [_chosen(*trial, most, seed, tol, is_complete) for trial in trials]
    filler = found[0][0]
    if any_covariance and n_columns == p:
        ridge, smallest = best_ridge(trials)
        if smallest < sum(error for _, error in found):
            return fit_covariance(cells, ridge)
    if is_complete:
        return principal_filler(cells)(filler.weight.shape[1])
    filler = part.improved(filler, N_ITER, tol)
    if n_columns == p:
        return filler
    return cells.improved(
        cells.maximized(*part.expected(filler), filler.noise), N_WHOLE, tol
    )


def _trials(cells, seed, feature_of, several):
    """Return pairs of Cells of a trial fit and a function for the error in other cells.

    If most rows have the same cells, such as all of them, the model is fitted to every
    other row. The hidden cells are in the remaining rows, so that the rows that it is
    fitted to stay alike, which saves time. Otherwise it is fitted to all other cells.

    `several` asks for more than one pair if a small table has too few cells to hide.
    """
    generator, trials = make_generator(seed), []
    shape = len(cells.X), int(feature_of.max()) + 1
    n_trials = round(ENOUGH / max(1, HELD_OUT * int(cells.observed.sum())))
    for _ in range(min(max(n_trials, 1), MOST_TRIALS) if several else 1):
        drawn = torch.rand(shape, generator=generator)[:, feature_of]
        hidden = cells.observed & (drawn < HELD_OUT)
        judged, trained = slice(None), cells.without(hidden)
        if 2 * len(cells.row_patterns) <= len(cells.X):
            judged, trained = slice(1, None, 2), cells.rows(slice(None, None, 2))
        error = functools.partial(cells.rows(judged).error, hidden=hidden[judged])
        trials.append((trained, error))
    return trials


def _chosen(trained, error, most, seed, tol, is_complete):
    """Return the Filler with the best number of factors up to `most`, and its error.

    The best is iterated further as long as its error in these cells falls, because some
    tables need more iterations, and others are fitted too closely by more.
    """
    fit = principal_filler(trained) if is_complete else None
    best, filler, smallest, n_misses = None, None, float("inf"), 0
    for q in [2**i for i in range(most.bit_length() if most > 1 else 1)]:
        if is_complete:
            filler = fit(q)
        else:
            filler = trained.improved(trained.grown(filler, q, seed), N_TRIAL, tol)
        found = error(filler)
        n_misses = 0 if found < smallest else n_misses + 1
        if n_misses >= 2 and q >= COSTLY:
            break
        if not n_misses:
            best, smallest = filler, found
    for _ in range(0 if is_complete else N_MORE):
        filler = trained.improved(best, N_TRIAL, tol)
        found = error(filler)
        if found >= smallest:
            break
        best, smallest = filler, found
    return best, smallest


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
    def _blocks(self):
        """Blocks of columns, each with its different columns of `observed`."""
        blocks = torch.arange(self.X.shape[1]).split(N_COLUMNS)
        return [(b, *_distinct(self.observed[:, b].mT)) for b in blocks]

    def error(self, filler, hidden):
        """Return the squared error in `hidden` cells that are filled from the others."""
        errors = filler(self.X, self.observed & ~hidden) - self.X
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
            Z, _ = self.expected(filler)
            left = torch.where(self.observed, left - mean - Z @ weight.mT, 0.0)
        left = (self.w.sqrt() * left).numpy()
        _, spread, axes = randomized_svd(left, q - weight.shape[1], random_state=seed)
        more = torch.from_numpy(axes.T * (spread / np.sqrt(len(left))))
        return Filler(mean, torch.cat([weight, more], dim=1), noise)

    def improved(self, filler, n_iter, tol=TOL):
        """Return the Filler after at most `n_iter` iterations, see `TOL`."""
        for _ in range(n_iter):
            before = filler
            filler = self.maximized(*self.expected(before), before.noise)
            change = (filler.weight - before.weight).norm()
            is_still = change <= tol * before.weight.norm()
            if is_still and abs(filler.noise - before.noise) <= tol * before.noise:
                break
        return filler

    def expected(self, filler):
        """Return the expected factors (n, q) of rows, and their covariances (n, q, q)."""
        patterns, pattern_of_row = self.row_patterns, self.pattern_of_row
        weight, noise = filler.weight, filler.noise
        precisions = factor_precisions(patterns, pairs(weight), weight.shape[1], noise)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(precisions))[pattern_of_row]
        products = torch.where(self.observed, self.X - filler.mean, 0.0) @ filler.weight
        return (inverse @ products.unsqueeze(-1)).squeeze(-1), filler.noise * inverse

    def maximized(self, Z, covariances, noise):
        """Return the Filler that is likeliest for these factors."""
        q = Z.shape[1]
        U = torch.cat([Z, torch.ones_like(Z[:, :1])], dim=1)
        moments = pairs(U)
        is_of_factors = torch.triu_indices(q + 1, q + 1)[1] < q
        moments[:, is_of_factors] += covariances[:, *torch.triu_indices(q, q)]
        found = [self._maximized(*block, U, moments, noise) for block in self._blocks]
        both, squares = zip(*found, strict=True)
        both, noise = torch.cat(both), float(sum(squares)) / self.n_cells
        return Filler(both[:, q], both[:, :q], max(noise, SMALLEST_NOISE))

    def _maximized(self, block, patterns, place, U, moments, noise):
        """Return weights and means (b, q + 1) of columns, and their expected squares."""
        q = U.shape[1] - 1
        upper = (patterns * self.w.mT) @ moments
        systems = symmetric(upper, q + 1) + noise * torch.eye(q + 1, dtype=U.dtype)
        weighted = self.w * self.X[:, block]
        products = weighted.mT @ U
        root = torch.linalg.cholesky(systems)[place]
        both = torch.cholesky_solve(products.unsqueeze(-1), root).squeeze(-1)
        i, j = torch.triu_indices(q + 1, q + 1)
        twice = torch.where(i == j, 1.0, 2.0).to(U)
        squares = (weighted * self.X[:, block]).sum() - 2 * (products * both).sum()
        return both, squares + (upper[place] * pairs(both)).sum(dim=0) @ twice


def _distinct(rows):
    """Return the different rows (u, p) of a Tensor of bool (n, p), and which each is (n,).

    The rows are compared as strings of bits.
    """
    bits = np.packbits(rows.numpy(), axis=1)
    bits = np.ascontiguousarray(bits).view(f"V{bits.shape[1]}").ravel()
    _, first, place = np.unique(bits, return_index=True, return_inverse=True)
    return rows[torch.from_numpy(first)], torch.from_numpy(place)
