"""The observed cells of rows: rounds of expectation maximization, and their short cuts."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.decomposition import PCA

from skae._tables import cells as cells_module
from skae._tables import missing
from skae._tables.cells import Cells, principal_filler
from skae._tables.filler_fit import fit_filler

from .test_missing import with_gaps


def objective(filler, X, observed, weights):
    """Log of the posterior density, up to a constant: that of the rows and the prior."""
    mean, weight = filler.mean.numpy(), filler.weight.numpy()
    covariance = weight @ weight.T + filler.noise * np.eye(len(mean))
    total = -(np.square(weight).sum() + np.square(mean).sum()) / 2
    for x, o, w in zip(X, observed, weights, strict=True):
        if o.any():
            total += w * stats.multivariate_normal.logpdf(
                x[o], mean[o], covariance[np.ix_(o, o)]
            )
    return total


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.6])
def test_no_round_lowers_the_likelihood(curved, share, weighted):
    X = (curved - curved.mean(0)) / curved.std(0)
    observed = np.random.default_rng(0).random(X.shape) > share
    w = np.linspace(0.1, 1.9, len(X)) ** (3 if weighted else 0)
    cells = Cells(*map(torch.tensor, (X, observed, w)))
    fillers = [cells.grown(None, 2, 0)]
    fillers += [cells.improved(fillers[0], n) for n in range(1, 12)]
    values = [objective(filler, X, observed, w) for filler in fillers]
    assert np.diff(values).min() > -1e-8 * abs(values[0])
    assert values[-1] > values[0] + 10


def planted(n, p, rank, noise=0.1, seed=0):
    """A table of low rank with a variance of one, plus noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, p))
    return X / X.std() + noise * rng.normal(size=X.shape)


def few_missing(X):
    """A copy of X with eleven cells missing, each in a row of its own."""
    X = X.copy()
    X[np.arange(11) * (len(X) // 11), np.arange(11) % X.shape[1]] = np.nan
    return X


def blocks_missing(X):
    """A copy of X in which a third of the columns is missing in a third of the rows."""
    X = X.copy()
    X[: len(X) // 3, : X.shape[1] // 3] = np.nan
    return X


@pytest.mark.parametrize("hide", [few_missing, blocks_missing])
def test_equal_rows_and_columns_of_cells_change_nothing(hide, monkeypatch):
    """The outcome is that of each row and each column for itself."""
    X = hide(planted(60, 12, rank=3))
    tensors = torch.tensor(X), ~torch.tensor(X).isnan(), torch.ones(60).double()
    assert len(Cells(*tensors).row_patterns) <= 12

    def fitted():
        cells = Cells(*tensors)
        return cells.improved(cells.grown(None, 3, 0), 4)

    def undivided(rows):
        return rows, torch.arange(len(rows))

    together = fitted()
    monkeypatch.setattr(cells_module, "_distinct", undivided)
    alone = fitted()
    assert alone.noise == pytest.approx(together.noise)
    torch.testing.assert_close(alone.weight, together.weight)
    torch.testing.assert_close(alone.mean, together.mean)


def test_blocks_of_rows_and_columns_change_nothing(monkeypatch):
    X = with_gaps(planted(60, 12, rank=3))
    cells = [Cells(torch.tensor(X), ~torch.tensor(X).isnan(), torch.ones(60).double())]
    cells += [cells[0].columns(slice(None))]
    whole = cells[0].improved(cells[0].grown(None, 3, 0), 4)
    monkeypatch.setattr(cells_module, "CACHED", 100)  # three columns, and eleven rows
    parts = cells[1].improved(cells[1].grown(None, 3, 0), 4)
    assert parts.noise == pytest.approx(whole.noise)
    torch.testing.assert_close(parts.weight, whole.weight)


def test_complete_table_gives_probabilistic_pca(curved):
    X = torch.tensor((curved - curved.mean(0)) / curved.std())
    filler = fit_filler(X, torch.ones_like(X).bool(), 0)
    q, n = filler.weight.shape[1], len(X)
    covariance = filler.weight @ filler.weight.mT + filler.noise * torch.eye(6)
    expected = PCA(q).fit(X.numpy()).get_covariance() * (n - 1) / n
    np.testing.assert_allclose(covariance.numpy(), expected, atol=1e-12)


def test_weights_of_the_rows_of_a_complete_table(curved):
    """Probabilistic PCA of the rows as often as they weigh, and of as many factors."""
    X = torch.tensor((curved - curved.mean(0)) / curved.std())
    w = torch.arange(len(X)) % 4
    repeated = X.repeat_interleave(w, dim=0)
    models = [
        principal_filler(Cells(rows, torch.ones_like(rows).bool(), weights.double()))(2)
        for rows, weights in ((X, w), (repeated, torch.ones(len(repeated))))
    ]
    torch.testing.assert_close(*(m.mean for m in models))
    assert models[0].noise == pytest.approx(models[1].noise)
    torch.testing.assert_close(*(m.weight @ m.weight.mT for m in models))
    filler = fit_filler(X, torch.ones_like(X).bool(), 0, w)
    torch.testing.assert_close(filler.mean, models[1].mean)


@pytest.mark.parametrize("weighted", [False, True])
def test_covariances_of_some_rows_stand_for_those_of_all(weighted, monkeypatch):
    """Where every row has its own pattern, the fill is as good as with all covariances."""
    X = torch.tensor(with_gaps(planted(400, 12, rank=3), 0.3))
    w = torch.linspace(0.2, 1.8, 400).double() if weighted else torch.ones(400).double()
    fitted = []
    monkeypatch.setattr(missing, "LONG", 100)
    for most in 400, 60:
        monkeypatch.setattr(cells_module, "MOST_PATTERNS", most)
        cells = Cells(X, ~X.isnan(), w)
        assert len(cells.row_patterns) > 60
        fitted.append(cells.improved(cells.grown(None, 3, 0), 20))
    exact, some = fitted
    assert some.noise == pytest.approx(exact.noise, rel=0.02)
    products = [f.weight @ f.weight.mT for f in fitted]
    assert (products[0] - products[1]).norm() < 0.02 * products[0].norm()
    filled = [f(X, ~X.isnan()) for f in fitted]
    assert (filled[0] - filled[1]).std() < 0.01 * filled[0].std()
