"""The filler with any covariance: what it maximises, and when it is taken."""

import numpy as np
import pytest
import torch
from scipy import stats

from skae._tables import covariance_fit
from skae._tables.cells import Cells
from skae._tables.covariance_fit import RIDGES, best_ridge, fit_covariance
from skae._tables.filler_fit import fit_filler

from .test_missing import rmse, with_gaps


def unequal(n=400, p=8, seed=0):
    """A table in which the noise of the columns differs by a factor of twenty."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)) @ rng.normal(size=(3, p))
    X += np.geomspace(0.1, 2, p) * rng.normal(size=(n, p))
    return (X - X.mean(axis=0)) / X.std(axis=0)


def cells_of(X, weights=None):
    X = torch.tensor(X)
    w = torch.ones(len(X)).double() if weights is None else torch.tensor(weights)
    return Cells(X, ~X.isnan(), w)


def covariance_of(filler):
    p = len(filler.mean)
    return filler.weight @ filler.weight.mT + filler.noise * torch.eye(p)


def objective(cells, mean, S, ridge, prior):
    """Log of the posterior density, up to a constant: that of the rows and the prior."""
    mean, S = mean.numpy(), S.numpy()
    of_prior = np.linalg.slogdet(S)[1] + prior.numpy() @ np.linalg.inv(S).diagonal()
    total = -ridge / 2 * of_prior
    for x, o, w in zip(cells.X.numpy(), cells.observed.numpy(), cells.w[:, 0], strict=True):
        if o.any():
            total += w * stats.multivariate_normal.logpdf(x[o], mean[o], S[np.ix_(o, o)])
    return float(total)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.6])
def test_no_iteration_lowers_the_density(share, weighted):
    X = with_gaps(unequal(100, 5), share)
    cells = cells_of(X, np.linspace(0.1, 1.9, 100) if weighted else None)
    prior = covariance_fit._prior(cells)
    mean, S = torch.zeros(5).double(), prior.diag()
    values = [objective(cells, mean, S, 3.0, prior)]
    for _ in range(10):
        mean, S = covariance_fit._improved(cells, mean, S, 3.0, prior, 1)
        values.append(objective(cells, mean, S, 3.0, prior))
    assert np.diff(values).min() > -1e-8 * abs(values[0])
    assert values[-1] > values[0] + 10


def test_complete_rows_give_their_covariance():
    X = unequal(50, 4)
    filler = fit_covariance(cells_of(X), ridge=10.0)
    expected = (X.T @ X + 10 * np.eye(4)) / 60
    np.testing.assert_allclose(covariance_of(filler), expected, atol=1e-9)
    np.testing.assert_allclose(filler.mean, np.zeros(4), atol=1e-12)


def test_whole_weights_are_copies():
    X, weights = with_gaps(unequal(60, 5)), np.arange(60.0) % 3
    one = fit_covariance(cells_of(X, weights), 3.0)
    other = fit_covariance(cells_of(np.repeat(X, weights.astype(int), axis=0)), 3.0)
    torch.testing.assert_close(covariance_of(one), covariance_of(other))


def test_columns_of_unequal_noise_are_filled_better():
    X = unequal()
    gapped = torch.tensor(with_gaps(X))
    observed = ~gapped.isnan()
    few, any_ = (fit_filler(gapped, observed, 0, any_covariance=a) for a in (False, True))
    errors = [rmse(f(gapped, observed).numpy(), X, gapped.numpy()) for f in (few, any_)]
    assert errors[1] < 0.95 * errors[0]


@pytest.mark.parametrize(
    ("X", "limit"),
    [(unequal(100, 5), 2**5), (unequal(6, 7), 2**27), (np.ones((40, 3)) - 1, 2**27)],
    ids=["too much work", "more columns than rows", "constant"],
)
def test_tables_without_a_covariance(X, limit, monkeypatch):
    monkeypatch.setattr(covariance_fit, "MOST_PRODUCTS", limit)
    cells = cells_of(with_gaps(X))
    assert best_ridge([(cells, lambda filler: 0.0)]) == (RIDGES[0], np.inf)
    gapped = torch.tensor(with_gaps(X))
    found = [fit_filler(gapped, ~gapped.isnan(), 0, any_covariance=a) for a in (0, 1)]
    assert torch.equal(found[0].weight, found[1].weight)


def test_the_ridge_with_the_smallest_error_is_chosen():
    cells = cells_of(with_gaps(unequal()))
    errors = iter([1.0, 5.0, 3.0, 2.0, 1.5, 0.5, 4.0, 0.0, 3.0, 0.0])
    assert best_ridge([(cells, lambda filler: next(errors))] * 2) == (RIDGES[2], 2.0)
