"""Fits the `Filler` of missing cells to the cells that are observed."""

import dataclasses
import functools

import torch

from skae._tables.cells import TOL, Cells, principal_filler
from skae._tables.covariance_fit import best_ridge, fit_covariance
from skae._tables.scaling import shares
from skae._torch import make_generator

__all__ = ["MOST_ROWS", "FillerChoice", "fit_filler"]

MOST_ROWS = 2048  # largest number of rows that the model is fitted to
# The number of factors is chosen by at most so many cells, of so many columns or more.
MOST_CELLS, FEWEST_COLUMNS = 2**17, 256
MOST_FACTORS = 32
# So many factors or more are tried only as long as they improve the model, which they do if
# they lower its squared error by this share.
COSTLY, WORTH = 16, 0.005
HELD_OUT = 0.1  # share of the cells that choose the number of factors
ENOUGH, MOST_TRIALS = 2000, 5  # cells that choose between models, and most trials for them
N_TRIAL, N_ITER = 4, 3  # most iterations of each trial, and of the final fit
# How often the best trial goes on, first with one iteration and then with as many as
# before, as long as it improves by this.
N_MORE, STILL = 5, 1e-3
N_WHOLE = 1  # and of those over all columns, if the final fit was to some of them
# A model of some of the columns only has to tell the number of factors, and their values to
# begin with.
COARSE_TOL = 1e-2


@dataclasses.dataclass
class FillerChoice:
    """What held-out cells have chosen, for further fits to the same rows or some of them.

    Attributes
    ----------
    n_factors : int or None
        None as long as nothing is chosen.
    ridge : float or None
        The ridge of `fit_covariance`; None for a model of few factors.
    """

    n_factors: int | None = None
    ridge: float | None = None


def fit_filler(
    X, observed, seed, weights=None, feature_of=None, any_covariance=False, choice=None
):
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
    choice : FillerChoice or None
        A choice that was made before, which saves most of the time, or an empty one, in
        which that of this fit is noted.

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
    tol = TOL if n_columns == p else COARSE_TOL
    is_complete = bool(observed[rows].all())
    most = max(1, min(n_columns - 1, MOST_FACTORS, n_rows // 4))
    choice = FillerChoice() if choice is None else choice
    if choice.n_factors is None:
        if feature_of is not None:
            feature_of = torch.from_numpy(feature_of)[columns]
        trials = _trials(some, seed, feature_of, several=any_covariance)
        has_all = any_covariance and n_columns == p
        filler = _choose(choice, trials, most, seed, tol, is_complete, has_all)
    elif choice.ridge is None and not is_complete:
        filler = _grown(some, min(choice.n_factors, most), seed, tol)
    if choice.ridge is not None:
        return fit_covariance(cells, choice.ridge)
    if is_complete:
        return principal_filler(cells)(min(choice.n_factors, most))
    filler = part.improved(filler, N_ITER, tol)
    if n_columns == p:
        return filler
    return cells.improved(
        cells.maximized(part.expected(filler), filler.noise), N_WHOLE, tol
    )


def _choose(choice, trials, most, seed, tol, is_complete, any_covariance):
    """Make the choice, and return the Filler of few factors of the first trial."""
    found = [_chosen(*trial, most, seed, tol, is_complete) for trial in trials]
    filler = found[0][0]
    choice.n_factors = filler.weight.shape[1]
    if any_covariance:
        ridge, smallest = best_ridge(trials)
        if smallest < sum(error for _, error in found):
            choice.ridge = ridge
    return filler


def _trials(cells, seed, feature_of, several):
    """Return pairs of Cells of a trial fit and a function for the error in other cells.

    If most rows have the same cells, such as all of them, the model is fitted to every
    other row. The hidden cells are in the remaining rows, so that the rows that it is
    fitted to stay alike, which saves time. Otherwise it is fitted to all other cells.

    `several` asks for more than one pair if a small table has too few cells to hide.
    """
    generator, trials = make_generator(seed), []
    if feature_of is None:
        feature_of = torch.arange(cells.X.shape[1])
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
    best, filler, smallest = None, None, float("inf")
    for q in _doubled(most):
        is_costly, n_iter = q >= COSTLY, N_TRIAL
        if is_complete:
            filler = fit(q)
        else:
            filler = trained.grown(filler, q, seed)
            if is_costly:  # the first iteration tells nearly always
                filler, n_iter = trained.improved(filler, 1, tol), N_TRIAL - 1
                if error(filler) >= smallest:
                    break
            filler = trained.improved(filler, n_iter, tol)
        found = error(filler)
        if found < (1 - WORTH * is_costly) * smallest:
            best, smallest = filler, found
        elif is_costly:
            break
    for number in range(0 if is_complete else N_MORE):
        filler = trained.improved(best, N_TRIAL if number else 1, tol)
        found, before = error(filler), smallest
        if found < smallest:
            best, smallest = filler, found
        if found >= (1 - STILL) * before:
            break
    return best, smallest


def _doubled(most):
    """Return 1, 2, 4, ... up to `most`."""
    return [2**i for i in range(most.bit_length())]


def _grown(cells, q, seed, tol):
    """Return the Filler of q factors as a trial finds it."""
    filler = None
    for n_factors in _doubled(q):
        filler = cells.improved(cells.grown(filler, n_factors, seed), N_TRIAL, tol)
    return filler
