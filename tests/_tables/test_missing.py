"""Missing cells: the filler, what training hides, and every method with NaN in X."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.utils import get_tags

import skae
import skae._autoencoders.fitting
from skae import AutoencoderTransformer
from skae._autoencoders.fitted_attributes import filler_of
from skae._engine.corruption import LARGEST_RATE, SMALLEST_RATE, Hide
from skae._tables import missing
from skae._tables.cells import SMALLEST_NOISE
from skae._tables.missing import Filler, with_marks
from skae._training.training import train

METHODS = ["transform", "score", "score_samples", "impute", "denoise"]


def autoencoder(n_components=2, **params):
    params = {"max_epochs": 2, "n_iter_no_change": 3, "random_state": 0} | params
    return AutoencoderTransformer(n_components, **{"allow_nan": True} | params)


def with_gaps(X, share=0.2, seed=0):
    """A copy of X with a share of its cells missing."""
    gaps = np.random.default_rng(seed).random(X.shape) < share
    return np.where(gaps, X.dtype.type(np.nan), X)


@pytest.fixture(scope="module")
def gapped(curved):
    X = with_gaps(curved)
    X.flags.writeable = False
    return X


@pytest.fixture(scope="module")
def fitted(gapped):
    """Trained, its best epoch not PCA."""
    ae = autoencoder(max_epochs=15, n_iter_no_change=15).fit(gapped)
    assert ae.best_epoch_ > 0
    return ae


def random_filler(p, q, noise=0.3, seed=0):
    rng = np.random.default_rng(seed)
    mean, weight = torch.tensor(rng.normal(size=p)), torch.tensor(rng.normal(size=(p, q)))
    return Filler(mean, weight, noise)


def rmse(filled, X, gapped):
    return np.sqrt(np.square(filled - X)[np.isnan(gapped)].mean())


def linear_fill(ae, X):
    """X with its gaps filled by the model that training starts from."""
    scaled = torch.from_numpy((X - ae.mean_) / ae.scale_)
    filled = filler_of(ae)(scaled, ~scaled.isnan())
    return filled.numpy() * ae.scale_ + ae.mean_


# -- the filler ------------------------------------------------------------------------


def conditional_expectation(filler, X, observed):
    """X with its missing cells as the density of the filler expects them."""
    mean, weight = filler.mean.numpy(), filler.weight.numpy()
    covariance = weight @ weight.T + filler.noise * np.eye(len(mean))
    expected = X.copy()
    for x, o in zip(expected, observed, strict=True):
        known = np.linalg.solve(covariance[np.ix_(o, o)], (x - mean)[o])
        x[~o] = mean[~o] + covariance[np.ix_(~o, o)] @ known
    return expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("p", "q", "noise"), [(1, 1, 0.3), (5, 2, 0.3), (30, 8, 0.01)])
@pytest.mark.parametrize("long", [0, missing.LONG], ids=["long", "short"])
def test_what_is_nearly_filled(long, p, q, noise, dtype, monkeypatch):
    """Within a thousandth of the columns' spread; rows with all or no values are exact."""
    filler = random_filler(p, q, noise)
    X = (torch.randn(2, 60, q).double() @ filler.weight.mT + filler.mean).to(dtype)
    observed = torch.rand(X.shape) < 0.6
    observed[:, 0], observed[:, 1] = True, False
    monkeypatch.setattr(missing, "LONG", long)
    filled, expected = filler.nearly(X, observed), filler(X, observed)
    assert filled.dtype == dtype
    spread = float(filler.weight.norm(dim=1).max())
    torch.testing.assert_close(filled, expected, atol=1e-4 * spread, rtol=0)
    assert torch.equal(filled[observed], X[observed])
    torch.testing.assert_close(filled[:, 1], filler.mean.expand(2, p).to(dtype))
    monkeypatch.setattr(missing, "ROWS_BLOCK", 7 * p)
    torch.testing.assert_close(filler.nearly(X, observed), filled, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("p", "q"), [(1, 1), (5, 2), (12, 3), (6, 6)])
def test_filler_is_the_conditional_expectation(p, q):
    filler = random_filler(p, q)
    rng = np.random.default_rng(1)
    X, observed = rng.normal(size=(40, p)), rng.random((40, p)) < 0.6
    expected = conditional_expectation(filler, X, observed)
    filled = filler(torch.tensor(X), torch.tensor(observed))
    np.testing.assert_allclose(filled.numpy(), expected, rtol=1e-10, atol=1e-12)


def test_rows_without_and_with_all_values():
    filler, X = random_filler(5, 2), torch.randn(4, 5, dtype=torch.float64)
    nothing = filler(torch.full_like(X, float("nan")), torch.zeros_like(X).bool())
    np.testing.assert_allclose(nothing.numpy(), filler.mean.expand(4, 5).numpy())
    assert torch.equal(filler(X, torch.ones_like(X).bool()), X)


def test_what_is_in_a_missing_cell_does_not_matter():
    filler, observed = random_filler(5, 2), torch.rand(20, 5) < 0.5
    fills = [
        filler(torch.where(observed, torch.ones(20, 5), value), observed)
        for value in (0.0, float("nan"), float("inf"))
    ]
    assert torch.equal(fills[0], fills[1])
    assert torch.equal(fills[0], fills[2])


def test_blocks_and_stacks_of_rows(monkeypatch):
    filler, X = random_filler(5, 2), torch.randn(3, 20, 5)
    observed = torch.rand(3, 20, 5) < 0.6
    filled = filler(X, observed)
    assert filled.dtype == torch.float32
    for part, rows, known in zip(filled, X, observed, strict=True):
        torch.testing.assert_close(part, filler(rows, known))
    monkeypatch.setattr(missing, "BLOCK", 28)  # seven rows
    torch.testing.assert_close(filler(X, observed), filled)


def test_float32_rows_of_columns_that_cannot_be_told_apart(monkeypatch):
    """The noise is below the rounding errors of float32 in what the columns share."""
    copies = 100
    apart = np.zeros((copies + 1, 2))
    apart[:copies, 0], apart[copies, 1] = 1, copies**0.5
    weight = torch.tensor(apart @ [[0.8, -0.6], [0.6, 0.8]])
    filler = Filler(torch.zeros(copies + 1).double(), weight, SMALLEST_NOISE)
    X = torch.randn(50, 2, dtype=torch.float64) @ weight.mT
    observed = torch.rand(X.shape) < 0.8
    observed[:, -1] = False
    expected = filler(X, observed)
    monkeypatch.setattr(missing, "LONG", 0)
    for fill in filler, filler.nearly:
        filled = fill(X.float(), observed)
        torch.testing.assert_close(filled.double(), expected, atol=1e-3, rtol=0)


def test_a_share_of_the_variance_is_one_of_the_cells_that_are_there(curved, monkeypatch):
    """Of held-out cells: those that are missing have no error, and no variance."""
    X, seen = with_gaps(curved, 0.4), []

    def noted(*args, **params):
        seen.append(train(*args, **params))
        return seen[-1]

    monkeypatch.setattr(skae._autoencoders.fitting, "train", noted)
    ae = autoencoder(0.9, hidden_layer_sizes=()).fit(X)
    (kept,) = (r for r in seen if r.n_components == ae.n_components_)
    assert kept.r2 >= 0.9 or ae.n_components_ == max(r.n_components for r in seen)
    variance = np.square(X - ae.mean_)[~np.isnan(X)].mean()
    error = ae.validation_curve_[ae.best_epoch_]
    assert kept.r2 == pytest.approx(1 - error / variance, rel=1e-5)


def test_versions_hide_other_cells_of_the_same_rows():
    filler, X = random_filler(10, 2), torch.randn(50, 10)
    observed = torch.rand(X.shape) < 0.7
    inputs = with_marks(filler(X, observed), observed)
    versions = Hide(filler, 0.2, n_versions=3).versions(inputs, 0)
    assert versions.shape == (150, 20)
    for version in versions.split(50):
        rows, marks = version[:, :10], version[:, 10:].bool()
        torch.testing.assert_close(rows[~marks], X[~marks])
        assert marks[~observed].all()
        assert 0.05 < marks[observed].float().mean() < 0.4
    first, second, _ = versions.split(50)
    assert not torch.equal(first[:, 10:], second[:, 10:])
    assert torch.equal(Hide(filler, 0.2, n_versions=3).versions(inputs, 0), versions)


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.9])
def test_hide(rate):
    filler = random_filler(10, 2)
    X, observed = torch.randn(2000, 10), torch.rand(2000, 10) < 0.7
    inputs = with_marks(filler(X, observed), observed)
    hidden = Hide(filler, rate)(inputs, torch.Generator().manual_seed(0))
    rows, marks = hidden[:, :10], hidden[:, 10:].bool()
    assert marks[~observed].all()
    torch.testing.assert_close(rows[~marks], X[~marks])
    torch.testing.assert_close(rows, filler(X, ~marks))
    wanted = min(max(rate, SMALLEST_RATE), LARGEST_RATE)
    assert marks[observed].float().mean() == pytest.approx(wanted, rel=0.15)
    again = Hide(filler, rate)(inputs, torch.Generator().manual_seed(0))
    assert torch.equal(hidden, again)


# -- data that lack nothing ------------------------------------------------------------


@pytest.mark.parametrize("repeats", [1, 6], ids=["cross-fitting", "one split"])
def test_complete_data_change_no_bit(curved, repeats):
    X = np.concatenate([curved + 0.1 * i for i in range(repeats)])
    plain = autoencoder(allow_nan=False).fit(X)
    ae = autoencoder().fit(X)
    assert ae.best_epoch_ == plain.best_epoch_ > 0
    Z = plain.transform(X)
    assert np.array_equal(ae.transform(X), Z)
    assert np.array_equal(ae.inverse_transform(Z), plain.inverse_transform(Z))
    assert ae.score(X) == plain.score(X)
    names = {n for n in vars(plain) if n.endswith("_") and not n.startswith("_")}
    assert names == {n for n in vars(ae) if n.endswith("_") and not n.startswith("_")}
    for name in names - {"net_"}:
        np.testing.assert_array_equal(getattr(ae, name), getattr(plain, name))
    weights = [model.net_.module_.state_dict() for model in (ae, plain)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    gapped = with_gaps(X[:20])
    assert np.isfinite(ae.transform(gapped)).all()
    assert np.isfinite(ae.impute(gapped)).all()


def test_nan_is_an_error_by_default(curved, gapped):
    plain = autoencoder(allow_nan=False)
    assert not get_tags(plain).input_tags.allow_nan
    assert get_tags(autoencoder()).input_tags.allow_nan
    with pytest.raises(ValueError, match="Input X contains NaN") as caught:
        plain.fit(gapped)
    assert "allow_nan=True" in str(caught.value)
    assert "HistGradientBoosting" not in str(caught.value)
    plain.fit(curved)
    for method in METHODS:
        with pytest.raises(ValueError, match="Input X contains NaN"):
            getattr(plain, method)(gapped)
    filled = plain.impute(curved)
    assert np.array_equal(filled, curved)


def test_inf_is_an_error(gapped):
    X = np.where(np.eye(*gapped.shape, dtype=bool), np.inf, gapped)
    with pytest.raises(ValueError, match="Input X contains infinity"):
        autoencoder().fit(X)


# -- every method ----------------------------------------------------------------------


def test_shapes_and_values(fitted, gapped, curved):
    Z = fitted.transform(gapped)
    assert Z.shape == (200, 2)
    assert np.isfinite(Z).all()
    denoised, imputed = fitted.denoise(gapped), fitted.impute(gapped)
    assert np.array_equal(denoised, fitted.inverse_transform(Z))
    assert np.isfinite(imputed).all()
    there = ~np.isnan(gapped)
    assert np.array_equal(imputed[there], gapped[there])
    assert np.array_equal(imputed[~there], denoised[~there])
    squares = np.where(there, np.square(denoised - gapped), 0.0)
    expected = -squares.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    np.testing.assert_allclose(fitted.score_samples(gapped), expected)
    assert fitted.score(gapped) == pytest.approx(expected.mean())


def wide_table(n=60, p=200, noise=0.1):
    """Few rows of many columns that follow an angle, with a deviation of one, and noise."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(-np.pi, np.pi, (n, 1))
    X = np.cos(angle * rng.integers(1, 3, p) + rng.uniform(0, 7, p)) * 2**0.5
    return X + noise * rng.normal(size=X.shape)


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_wide_tables_are_filled_up_to_the_noise(share):
    """They are of rank four, and noise of 0.1 cannot be foretold."""
    X = wide_table()
    gapped = with_gaps(X, share)
    ae = autoencoder(8).fit(gapped)
    assert not ae._has_marks
    assert ae.net_.module_.encoder.linear.weight.shape == (8, 200)
    assert rmse(ae.impute(gapped), X, gapped) < 0.12
    assert ae.score(gapped) > -(0.1**2)


@pytest.mark.parametrize("n_components", [1, 3])
def test_wide_tables_are_judged_by_observed_cells(n_components, monkeypatch):
    monkeypatch.setattr(Hide, "__call__", lambda hide, inputs, generator: inputs)
    X = with_gaps(wide_table(n=150), 0.3)
    X, X_val = X[:100], X[100:]
    params = {"max_epochs": 25, "hidden_layer_sizes": (64,)}
    ae = autoencoder(n_components, **params).fit(X, X_val=X_val)
    assert ae.best_epoch_ > 0
    share = np.mean(~np.isnan(np.concatenate([X, X_val])))
    error = np.nansum(np.square(ae.denoise(X_val) - X_val)) / X_val.size / share
    assert ae.validation_curve_[ae.best_epoch_] == pytest.approx(error, rel=1e-3)
    assert -error > ae.pca_score_


@pytest.mark.parametrize("way", ["again", "float32", "warm", "load", "weights"])
def test_wide_tables_in_every_way(way, tmp_path):
    X = with_gaps(wide_table(), 0.1)
    ae = autoencoder(2, warm_start=way == "warm").fit(X)
    Z = ae.transform(X)
    if way == "again":
        assert np.array_equal(autoencoder(2).fit(X).transform(X), Z)
    elif way == "float32":
        as_float32 = autoencoder(2).fit(X.astype(np.float32)).transform(X)
        np.testing.assert_allclose(as_float32, Z, atol=1e-3 * np.abs(Z).max())
    elif way == "warm":
        score = ae.score(X)
        assert ae.fit(X).score(X) >= score - 0.01 * abs(score)
    elif way == "load":
        ae.save(tmp_path / "model.skae")
        assert np.array_equal(skae.load(tmp_path / "model.skae").impute(X), ae.impute(X))
    else:
        w = np.arange(60) % 3
        weighted = autoencoder(2).fit(X, sample_weight=w).transform(X)
        repeated = autoencoder(2).fit(np.repeat(X, w, axis=0)).transform(X)
        assert np.array_equal(weighted, repeated)


def test_impute_learns_what_is_curved():
    """Better than the linear model it starts from, in rows of `fit` and in new ones."""
    angle = np.random.default_rng(0).uniform(-np.pi, np.pi, 1500)
    table = np.stack([f(m * angle) for m in (1, 2) for f in (np.cos, np.sin)], axis=1)
    gapped = with_gaps(table)
    ae = autoencoder(None, max_epochs="auto", n_iter_no_change=10).fit(gapped[:1200])
    for rows in (slice(1200), slice(1200, None)):
        X, incomplete = table[rows], gapped[rows]
        start = rmse(linear_fill(ae, incomplete), X, incomplete)
        assert rmse(ae.impute(incomplete), X, incomplete) < 0.7 * start


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_impute_keeps_the_linear_fill_where_nothing_is_gained(share):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 2)) @ rng.normal(size=(2, 8))
    X += 0.5 * rng.normal(size=X.shape)
    gapped = with_gaps(X, share)
    ae = autoencoder(None, max_epochs=10).fit(gapped)
    start = rmse(linear_fill(ae, gapped), X, gapped)
    assert rmse(ae.impute(gapped), X, gapped) <= 1.02 * start


def test_no_epoch_kept_is_the_linear_fill_exactly(gapped):
    ae = autoencoder(None).fit(gapped[:15])  # too few rows to hold any out
    assert ae.best_epoch_ == 0
    # The weights of the network are in float32.
    expected = linear_fill(ae, gapped)
    np.testing.assert_allclose(ae.impute(gapped), expected, atol=1e-5)


def test_rows_and_columns_without_values(gapped):
    X = gapped.copy()
    X[3], X[:, 2] = np.nan, np.nan
    ae = autoencoder().fit(X)
    filled = ae.impute(X)
    assert np.isfinite(ae.transform(X)).all()
    assert np.isfinite(filled).all()
    np.testing.assert_allclose(filled[:, 2], 0.0, atol=0.2)  # nothing is known of it
    assert ae.mean_[2] == 0
    assert ae.score_samples(X)[3] == 0


def test_float32(gapped):
    X = gapped.astype(np.float32)
    ae, double = autoencoder().fit(X), autoencoder().fit(X.astype(np.float64))
    for method in ("transform", "impute", "denoise"):
        out, expected = getattr(ae, method)(X), getattr(double, method)(X)
        assert out.dtype == np.float32
        np.testing.assert_allclose(out, expected, atol=1e-3 * np.abs(expected).max())


def test_rows_do_not_depend_on_each_other(fitted, gapped):
    alone = np.concatenate([fitted.impute(row[None]) for row in gapped[:9]])
    np.testing.assert_allclose(fitted.impute(gapped)[:9], alone, rtol=1e-9)


def test_order_of_rows_changes_no_bit(gapped):
    order = np.random.default_rng(1).permutation(len(gapped))
    Z = autoencoder().fit(gapped).transform(gapped)
    assert np.array_equal(autoencoder().fit(gapped[order]).transform(gapped), Z)


def test_frames(fitted, gapped):
    frame = pd.DataFrame(gapped, columns=list("abcdef"), index=np.arange(200) + 7)
    frame = frame.astype({"b": "Float64", "c": "Float64"})
    assert frame["b"].isna().any()
    ae = clone(fitted).set_params(max_epochs=3).set_output(transform="pandas").fit(frame)
    filled = ae.impute(frame)
    assert list(filled.columns) == list("abcdef")
    assert list(filled.index) == list(frame.index)
    assert filled.notna().all(axis=None)
    known = ~np.isnan(gapped)
    assert np.array_equal(filled.to_numpy()[known], gapped[known])
    assert ae.score(frame) < 0


@pytest.mark.parametrize("way", ["pickle", "load"])
def test_round_trips(fitted, gapped, way, tmp_path):
    if way == "pickle":
        again = pickle.loads(pickle.dumps(fitted))
    else:
        fitted.save(tmp_path / "model.skae")
        again = skae.load(tmp_path / "model.skae")
    for method in METHODS:
        out = getattr(again, method)(gapped)
        assert np.array_equal(out, getattr(fitted, method)(gapped))


# -- together with other parameters ----------------------------------------------------

COMBINATIONS = {
    "absolute_error": {"loss": "absolute_error"},
    "huber": {"loss": "huber"},
    "poisson": {"loss": "poisson"},
    "negative_binomial": {"loss": "negative_binomial"},
    "binary_cross_entropy": {"loss": "binary_cross_entropy"},
    "cosine": {"loss": "cosine"},
    "mixed": {"loss": {"squared_error": [0, 1, 2], "binary_cross_entropy": [3, 4, 5]}},
    "standardize": {"standardize": True},
    "noise": {"noise": 0.1},
    "masking": {"noise": skae.noise.MaskingNoise(0.2)},
    "ordered": {"ordered": True},
    "whiten": {"whiten": True},
    "share": {"n_components": 0.7},
    "random": {"init": "random"},
    "one split": {"validation_fraction": 0.2, "dropout": 0.1},
    "no early stopping": {"early_stopping": False},
    "contractive": {"regularizer": skae.regularizers.Contractive(0.01)},
}


@pytest.mark.parametrize("params", COMBINATIONS.values(), ids=COMBINATIONS)
def test_combinations(curved, params):
    scaled = (curved - curved.min(0)) / np.ptp(curved, axis=0)
    X = with_gaps(scaled)
    ae = autoencoder(**params).fit(X)
    filled = ae.impute(X)
    known = ~np.isnan(X)
    assert np.array_equal(filled[known], X[known])
    assert np.isfinite(ae.transform(X)).all()
    assert np.isfinite(ae.score_samples(X)).all()
    assert np.isfinite(ae.loss_curve_).all()
    # A cosine knows directions alone; others are better than the worst constant.
    if params.get("loss") != "cosine":
        assert rmse(filled, scaled, X) < 0.4
    if ae.whiten:
        np.testing.assert_allclose(ae.transform(X).std(axis=0, ddof=1), 1, rtol=1e-2)


def test_weights_repeat_rows(gapped):
    weights = np.arange(200) % 3
    weighted = autoencoder().fit(gapped, sample_weight=weights)
    repeated = autoencoder().fit(np.repeat(gapped, weights, axis=0))
    assert np.array_equal(weighted.impute(gapped), repeated.impute(gapped))


@pytest.mark.parametrize("standardize", [False, True])
def test_weights_of_fractions(gapped, standardize):
    weights = np.random.default_rng(0).uniform(0.1, 2, 200)
    ae = autoencoder(standardize=standardize).fit(gapped, sample_weight=weights)
    kept = ~np.isnan(gapped) * weights[:, None]
    filled = np.nan_to_num(gapped)
    mean = (kept * filled).sum(0) / kept.sum(0)
    variance = (kept * np.square(filled - mean)).sum(0) / kept.sum(0)
    np.testing.assert_allclose(ae.mean_, mean)
    expected = np.sqrt(variance) if standardize else np.sqrt(variance.mean())
    np.testing.assert_allclose(ae.scale_, expected)
    assert np.isfinite(ae.impute(gapped)).all()


@pytest.mark.parametrize("where", ["X", "X_val", "both"])
def test_rows_of_ones_own(curved, gapped, where, monkeypatch):
    """They judge, by the cells that are there, and are not trained on."""
    X = curved[:150] if where == "X_val" else gapped[:150]
    X_val = curved[150:] if where == "X" else gapped[150:]
    # Cells that are hidden from the network are another matter.
    monkeypatch.setattr(Hide, "__call__", lambda hide, inputs, generator: inputs)
    ae = autoencoder(max_epochs=12).fit(X, X_val=X_val)
    np.testing.assert_allclose(ae.mean_, np.nanmean(X, axis=0))
    assert ae.n_samples_ == 150
    assert ae.best_epoch_ > 0
    # The start: PCA about the mean of the cells that are there, of filled rows.
    centred, new = linear_fill(ae, X) - ae.mean_, linear_fill(ae, X_val) - ae.mean_
    axes = np.linalg.svd(centred)[2][:2]
    start = new @ axes.T @ axes + ae.mean_
    errors = [np.nansum(np.square(out - X_val)) for out in (start, ae.denoise(X_val))]
    curve = ae.validation_curve_
    ratio = curve[ae.best_epoch_] / curve[0]
    assert ratio == pytest.approx(errors[1] / errors[0], rel=1e-4)


def test_curves_are_in_the_units_of_score(gapped):
    ae = autoencoder(early_stopping=False, init="random").fit(gapped)
    assert 0.2 < ae.loss_curve_[-1] / -ae.score(gapped) < 5


def test_warm_start(gapped):
    ae = autoencoder(warm_start=True).fit(gapped)
    score = ae.score(gapped)
    assert ae.fit(gapped).score(gapped) >= score - 0.01 * abs(score)


def own_module(n_features, n_components):
    return skae.modules.DenseAutoencoder(
        *(n_features, n_components, n_features), generator=torch.Generator()
    )


def test_errors(curved, gapped):
    with pytest.raises(ValueError, match=r"missing cells.*module of your own"):
        autoencoder(module=own_module, init="random").fit(gapped)
    with pytest.raises(ValueError, match=r"missing cells.*X_target"):
        autoencoder().fit(gapped, X_target=curved)
    with pytest.raises(ValueError, match=r"X_target .* has missing cells"):
        autoencoder().fit(curved, X_target=gapped)
    with pytest.raises(ValueError, match="X has no values"):
        autoencoder().fit(np.full((30, 3), np.nan))


def test_module_of_ones_own_fills_rows_to_come(curved, gapped):
    ae = autoencoder(module=own_module).fit(curved)
    start = linear_fill(ae, gapped)
    known = ~np.isnan(gapped)
    np.testing.assert_allclose(start[known], gapped[known])
    assert rmse(start, curved, gapped) < 0.9 * rmse(curved.mean(axis=0), curved, gapped)
    expected = np.where(known, gapped, ae.inverse_transform(ae.transform(start)))
    np.testing.assert_allclose(ae.impute(gapped), expected, atol=1e-6)
