"""The filler of missing cells: what it learns from the cells that are observed."""

import numpy as np
import pytest
import torch

from skae._tables import cells, filler_fit
from skae._tables.filler_fit import FillerChoice, fit_filler

from .test_cells import blocks_missing, few_missing, planted
from .test_missing import conditional_expectation, rmse, with_gaps


def test_fit_recovers_a_table_of_low_rank():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 20))
    X /= X.std()
    noisy = X + 0.05 * rng.normal(size=X.shape)
    gapped = torch.tensor(with_gaps(noisy, 0.3))
    filler = fit_filler(gapped, ~gapped.isnan(), 0)
    assert filler.weight.shape == (20, 4)
    assert filler.noise == pytest.approx(0.05**2, rel=0.1)
    assert rmse(filler(gapped, ~gapped.isnan()).numpy(), noisy, gapped.numpy()) < 0.065


TABLES = {
    "long": ((2500, 20), with_gaps),
    "wide": ((60, 3000), with_gaps),
    "square": ((300, 300), with_gaps),
    "few missing": ((2500, 20), few_missing),
    "few missing, wide": ((60, 3000), few_missing),
    "blocks": ((500, 30), blocks_missing),
}


@pytest.mark.parametrize(("shape", "hide"), TABLES.values(), ids=TABLES)
def test_hidden_cells_of_planted_tables_are_found_up_to_the_noise(shape, hide, monkeypatch):
    monkeypatch.setattr(filler_fit, "MOST_CELLS", 2**15)  # some of the columns of most
    X = planted(*shape, rank=4)
    gapped = torch.tensor(hide(X))
    observed = ~gapped.isnan()
    filler = fit_filler(gapped, observed, 0)
    assert rmse(filler(gapped, observed).numpy(), X, gapped.numpy()) < 0.13
    assert filler.noise == pytest.approx(0.1**2, rel=0.15)


def test_many_factors_are_tried_only_as_long_as_they_are_worth_it(monkeypatch):
    tried = []
    grown = cells.Cells.grown

    def noted(self, filler, q, seed):
        tried.append(q)
        return grown(self, filler, q, seed)

    monkeypatch.setattr(cells.Cells, "grown", noted)
    gapped = torch.tensor(with_gaps(planted(400, 80, rank=4), 0.1))
    assert fit_filler(gapped, ~gapped.isnan(), 0).weight.shape[1] == 4
    assert tried == [1, 2, 4, 8, 16]  # not 32


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("n", [2, 9])
def test_small_tables_have_a_filler(n, p, share):
    X = with_gaps(np.random.default_rng(0).normal(size=(n, p)), share)
    observed = ~np.isnan(X)
    filler = fit_filler(torch.tensor(X), torch.tensor(observed), 0)
    filled = filler(torch.tensor(X), torch.tensor(observed)).numpy()
    assert filler.weight.shape == (p, 1)
    assert np.array_equal(filled[observed], X[observed])
    expected = conditional_expectation(filler, X, observed)
    np.testing.assert_allclose(filled, expected, rtol=1e-6, atol=1e-9)
    if share == 0:
        np.testing.assert_allclose(filler.mean, X.mean(axis=0))
        variance = float(filler.weight.square().sum()) + p * filler.noise
        assert variance == pytest.approx(X.var(axis=0).sum(), abs=1e-5)
    if share == 1:
        assert not filled.any()  # nothing is known but the prior's mean


@pytest.mark.parametrize("any_covariance", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_choice_is_noted_and_taken(any_covariance, share, monkeypatch):
    X = torch.tensor(with_gaps(planted(120, 8, rank=4, noise=0.5), share))
    choice = FillerChoice()
    how = {"any_covariance": any_covariance, "choice": choice}
    first = fit_filler(X, ~X.isnan(), 0, **how)
    assert choice.n_factors >= 1
    monkeypatch.setattr(filler_fit, "_trials", None)  # nothing is tried again
    again = fit_filler(X, ~X.isnan(), 1, **how)
    assert again.weight.shape == first.weight.shape
    observed = ~X.isnan() & (torch.rand(X.shape) < 0.7)
    filled = [f(X, observed) for f in (first, again)]
    assert (filled[0] - filled[1]).std() < 0.05 * filled[0].std()
    few = fit_filler(X[:9], ~X[:9].isnan(), 1, **how)
    assert few.weight.shape[1] <= first.weight.shape[1]
