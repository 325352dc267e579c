"""Tables that are sparse, or too large to be read whole."""

import itertools
import tracemalloc

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.utils import get_tags

import skae._autoencoders.before_training
import skae._engine.batches
import skae._engine.objective
import skae._model.model
import skae._tables.pca
import skae._tables.rows
import skae._tables.table
import skae._training.linear_start
from skae import AutoencoderTransformer
from skae._engine.batches import RUN, StreamedRows
from skae._tables.dependence import Dependence, equal_rows
from skae._tables.pca import principal_axes
from skae._tables.rows import (
    Followed,
    Scaled,
    Selected,
    is_lazy,
    is_streamed,
    row_blocks,
    rows_of,
)
from skae._training.members import split
from skae.noise import MaskingNoise

N_ROWS = 1500


def autoencoder(n_components=3, **params):
    params = {"hidden_layer_sizes": (16,), "max_epochs": 2, "random_state": 0} | params
    return AutoencoderTransformer(n_components, **params)


class Stored:
    """As arrays of h5py and zarr: a shape, a dtype, and slices of rows without steps."""

    def __init__(self, X):
        self._X = X
        self.shape, self.dtype = X.shape, X.dtype
        self.largest = 0  # rows read at once

    def __getitem__(self, rows):
        assert isinstance(rows, slice), "slices are all there is"
        assert rows.step in (None, 1)
        part = self._X[rows].copy()
        self.largest = max(self.largest, len(part))
        return part


@pytest.fixture
def small(monkeypatch):
    """Whatever has more than 1000 rows is large, and read in several blocks."""
    monkeypatch.setattr(skae._tables.rows, "SMALL", 100)
    monkeypatch.setattr(skae._tables.rows, "SMALL_MAP", 100)
    monkeypatch.setattr(skae._tables.rows, "BLOCK", 2000)
    monkeypatch.setattr(skae._engine.batches, "WINDOW", 4000)


@pytest.fixture
def narrow(small, monkeypatch):
    """And what describes a table, or is asked of a model, is few rows at once."""
    monkeypatch.setattr(skae._tables.table, "SAMPLED", 2000)
    monkeypatch.setattr(skae._tables.table, "FEWEST_SAMPLED", 100)
    monkeypatch.setattr(skae._autoencoders.before_training, "MEASURED", 2000)
    monkeypatch.setattr(skae._model.model, "BATCH", 2000)
    monkeypatch.setattr(skae._training.linear_start, "DECODER_ROWS", 200)


@pytest.fixture
def table(curved):
    """Rows (1500, 6) with a little noise, so that no two are equal."""
    rng = np.random.default_rng(0)
    X = curved[rng.integers(0, len(curved), N_ROWS)]
    return X + 0.01 * rng.normal(size=X.shape)


def mapped(X, folder, name="X.npy"):
    """The table as a memory map that is only read."""
    np.save(folder / name, X)
    return np.load(folder / name, mmap_mode="r")


def sparse_table(n_samples, n_features, seed=0, dtype=np.float64):
    """Rows of words (CSR) from five topics, as texts are."""
    rng = np.random.default_rng(seed)
    topics = rng.dirichlet(np.full(n_features, 0.05), 5)
    rates = 30 * rng.dirichlet(np.full(5, 0.3), n_samples) @ topics
    return sparse.csr_array(np.log1p(rng.poisson(rates))).astype(dtype)


# -- sparse matrices -------------------------------------------------------------------


def test_tags():
    assert get_tags(AutoencoderTransformer()).input_tags.sparse is True


@pytest.mark.parametrize(
    "kind",
    [
        sparse.csr_array,
        sparse.csr_matrix,
        sparse.csc_array,
        sparse.coo_array,
        sparse.lil_matrix,
        sparse.dok_array,
        sparse.bsr_array,
    ],
)
def test_small_sparse_tables_are_dense_ones(kind):
    X = sparse_table(60, 12)
    dense = X.toarray()
    expected = autoencoder().fit(dense)
    ae = autoencoder().fit(kind(X))
    Z = expected.transform(dense)
    np.testing.assert_array_equal(ae.transform(kind(X)), Z)
    np.testing.assert_array_equal(ae.transform(dense), Z)
    assert ae.score(kind(X)) == expected.score(dense)
    np.testing.assert_array_equal(ae.denoise(kind(X)), expected.denoise(dense))


def test_large_sparse_tables():
    """More than 2**21 values: PCA as of the dense table."""
    X = sparse_table(3600, 600, dtype=np.float32)
    assert is_streamed(X)
    dense = X.toarray()
    ae = autoencoder(5, hidden_layer_sizes=()).fit(X)
    pca = PCA(5, svd_solver="full").fit(dense.astype(np.float64))
    np.testing.assert_allclose(ae.mean_, pca.mean_, atol=1e-7)
    np.testing.assert_allclose(ae.components_, pca.components_, atol=1e-4)
    np.testing.assert_allclose(
        ae.explained_variance_ratio_, pca.explained_variance_ratio_, rtol=1e-4
    )
    np.testing.assert_allclose(ae.explained_variance_, pca.explained_variance_, rtol=1e-4)
    expected = pca.transform(dense)
    np.testing.assert_allclose(ae.transform(X), expected, atol=1e-4 * expected.std())
    assert ae.transform(X).dtype == np.float32


def test_a_fit_of_a_large_sparse_table_is_close(small, table):
    train, test = sparse.csr_array(table[:1200]), table[1200:]
    params = {"max_epochs": 8, "lr": 1e-2}
    fits = [autoencoder(**params).fit(T) for T in (train, train.toarray())]
    errors = [-ae.score(test) for ae in fits]
    starts = [-ae.pca_score_ for ae in fits]
    assert fits[0].best_epoch_ > 0
    assert errors[0] == pytest.approx(errors[1], rel=0.1)
    assert starts[0] == pytest.approx(starts[1], rel=0.25)  # of other held-out rows
    assert fits[0].validation_curve_[fits[0].best_epoch_] < starts[0]
    again = autoencoder(**params).fit(sparse.csc_array(train))
    np.testing.assert_array_equal(
        again.transform(sparse.coo_array(test)), fits[0].transform(sparse.csr_array(test))
    )


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_large_sparse_tables_are_never_dense(narrow, monkeypatch, loss):
    """Rows are made dense a block or a batch at a time, whatever is asked for."""
    X = sparse_table(3000, 100)
    most = []
    plain = sparse.csr_array.toarray

    def watched(self, *args, **kwargs):
        most.append(self.shape[0])
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(sparse.csr_array, "toarray", watched)
    ae = autoencoder(2, loss=loss, max_epochs=1, batch_size=64).fit(X)
    ae.transform(X), ae.score(X), ae.denoise(X)
    assert 64 <= max(most) <= 300  # those that are held out, at once


def test_memory_of_a_large_sparse_table(monkeypatch):
    """NumPy's share of the peak; the table would take 96 MB, and once more in float32."""
    monkeypatch.setattr(skae._tables.rows, "BLOCK", 2**18)
    monkeypatch.setattr(skae._tables.table, "SAMPLED", 2**18)
    monkeypatch.setattr(skae._tables.table, "FEWEST_SAMPLED", 100)
    monkeypatch.setattr(skae._engine.objective, "HELD_OUT_BATCH", 256)
    monkeypatch.setattr(skae._model.model, "BATCH", 2**18)
    X = sparse.random_array((30_000, 400), density=0.01, rng=np.random.default_rng(0))
    tracemalloc.start()
    ae = autoencoder(2, max_epochs=1, batch_size=512).fit(X.tocsr())
    ae.score(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 48e6


@pytest.mark.parametrize("loss", ["poisson", "cosine", "absolute_error"])
def test_losses_of_large_sparse_tables(small, loss):
    X = sparse_table(N_ROWS, 30)
    params = {"loss": loss, "noise": MaskingNoise(0.2), "max_epochs": 4, "lr": 1e-2}
    ae = autoencoder(clip=False, **params).fit(X)
    dense = X.toarray()
    assert ae.validation_curve_[0] == pytest.approx(-ae.pca_score_, rel=1e-6)
    assert ae.validation_curve_[ae.best_epoch_] <= ae.validation_curve_[0]
    assert ae.score(X) == pytest.approx(ae.score(dense), rel=1e-9)
    np.testing.assert_allclose(ae.transform(X), ae.transform(dense), rtol=1e-9)


# -- files -----------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "dtype"), [("map", np.float32), ("store", np.float64)])
def test_a_file_is_as_an_array(small, table, tmp_path, kind, dtype):
    X = table.astype(dtype)
    stored = mapped(X, tmp_path) if kind == "map" else Stored(X)
    assert is_streamed(stored)
    start = autoencoder(hidden_layer_sizes=()).fit(stored)
    pca = PCA(3, svd_solver="full").fit(X.astype(np.float64))
    np.testing.assert_allclose(start.components_, pca.components_, atol=1e-5)
    np.testing.assert_allclose(start.mean_, pca.mean_, rtol=1e-9)
    np.testing.assert_allclose(start.singular_values_, pca.singular_values_, rtol=1e-5)
    np.testing.assert_allclose(start.noise_variance_, pca.noise_variance_, rtol=1e-4)
    ours, whole = (autoencoder(max_epochs=8, lr=1e-2).fit(T) for T in (stored, X))
    assert ours.score(X) == pytest.approx(whole.score(X), rel=0.1)
    assert ours.best_epoch_ > 0
    # What is asked of a fitted model is the same from a file and from memory.
    np.testing.assert_array_equal(ours.transform(stored), ours.transform(X))
    np.testing.assert_array_equal(ours.score_samples(stored), ours.score_samples(X))
    np.testing.assert_array_equal(ours.denoise(stored), ours.denoise(X))
    assert ours.transform(stored).dtype == dtype
    assert ours.score(stored, sample_weight=np.ones(N_ROWS)) == ours.score(X)


@pytest.mark.parametrize("loss", ["squared_error", "huber", "cosine"])
def test_a_file_is_read_in_parts(narrow, table, loss):
    stored = Stored(table)
    ae = autoencoder(loss=loss, noise=0.1).fit(stored)
    ae.score(stored), ae.transform(stored), ae.denoise(stored)
    assert 0 < stored.largest <= 400


def test_attributes_from_a_sample(narrow, table):
    """They are those of the whole table, as far as a part of the rows can tell."""
    w = np.random.default_rng(0).random(N_ROWS) + 0.5
    for weights in None, w:
        part = autoencoder(hidden_layer_sizes=()).fit(Stored(table), sample_weight=weights)
        whole = autoencoder(hidden_layer_sizes=()).fit(table, sample_weight=weights)
        assert part.n_samples_ == N_ROWS
        for name in "explained_variance_", "singular_values_", "noise_variance_":
            np.testing.assert_allclose(
                getattr(part, name), getattr(whole, name), rtol=0.1, err_msg=name
            )


def test_the_same_seed_gives_the_same_bits(small, table):
    fits = [autoencoder(dropout=0.1, noise=0.1).fit(Stored(table)) for _ in range(2)]
    np.testing.assert_array_equal(*[ae.transform(table) for ae in fits])
    other = autoencoder(dropout=0.1, noise=0.1, random_state=1).fit(Stored(table))
    assert not np.array_equal(other.transform(table), fits[0].transform(table))


def test_pixels_of_one_byte(small, digits):
    X = np.round(255 * digits[0]).astype(np.uint8)[:, :40]
    ae = autoencoder(5).fit(Stored(X))
    whole = autoencoder(5, max_epochs=1).fit(X)
    np.testing.assert_allclose(ae.mean_, X.mean(axis=0), rtol=1e-12)
    assert ae.scale_ == pytest.approx(whole.scale_, rel=1e-9)
    assert ae.transform(Stored(X)).dtype == np.float64
    np.testing.assert_array_equal(ae.transform(Stored(X)), ae.transform(X.astype(float)))
    with pytest.raises(ValueError, match=r"takes values in \[0, 1\], but feature"):
        autoencoder(loss="binary_cross_entropy").fit(Stored(X))


def test_small_files_are_read_whole(table, tmp_path):
    expected = autoencoder().fit(table)
    for stored in mapped(table, tmp_path), Stored(table):
        assert not is_streamed(stored)
        ae = autoencoder().fit(stored)
        np.testing.assert_array_equal(ae.transform(stored), expected.transform(table))


def test_few_wide_rows_of_a_file(small, tmp_path):
    """A thousand rows, however long, are cross-fitted as those in memory are."""
    X = np.random.default_rng(0).normal(size=(40, 30))
    ae = autoencoder(max_epochs=1).fit(mapped(X, tmp_path))
    np.testing.assert_array_equal(
        ae.transform(X), autoencoder(max_epochs=1).fit(X).transform(X)
    )


def test_weights_of_streamed_rows(small, table):
    w = np.random.default_rng(0).integers(1, 4, N_ROWS)
    repeated = np.repeat(table, w, axis=0)
    pca = PCA(3, svd_solver="full").fit(repeated)
    for X in Stored(table), sparse.csr_array(table):
        ae = autoencoder(hidden_layer_sizes=()).fit(X, sample_weight=w)
        np.testing.assert_allclose(ae.mean_, pca.mean_, rtol=1e-9)
        np.testing.assert_allclose(ae.components_, pca.components_, atol=1e-5)
        np.testing.assert_allclose(
            ae.explained_variance_ratio_, pca.explained_variance_ratio_, rtol=1e-5
        )
    streamed = autoencoder(max_epochs=6).fit(Stored(table), sample_weight=w)
    whole = autoencoder(max_epochs=6).fit(table, sample_weight=w)
    scores = [ae.score(table, sample_weight=w) for ae in (streamed, whole)]
    assert scores[0] == pytest.approx(scores[1], rel=0.1)


# -- axes of wide tables ---------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, "some"])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, Stored])
def test_randomized_axes(monkeypatch, kind, weights):
    monkeypatch.setattr(skae._tables.pca, "MOST_FEATURES", 50)
    monkeypatch.setattr(skae._tables.rows, "BLOCK", 2**14)
    X = sparse_table(400, 120).toarray()
    w = None
    if weights:
        w = np.random.default_rng(0).random(400) + 0.5
    mean, scale = np.average(X, axis=0, weights=w), 0.3
    centred = (X - mean) / scale
    deviations, axes, total = principal_axes(Scaled(kind(X), mean, scale), 4, w)
    exact, exact_axes, exact_total = principal_axes(centred, 4, w)
    assert axes.shape == (4, 120)
    np.testing.assert_allclose(deviations, exact[:4], rtol=1e-3)
    assert total == pytest.approx(exact_total, rel=1e-5)
    np.testing.assert_allclose(axes @ axes.T, np.eye(4), atol=1e-10)
    # The subspace, whose last direction mixes with the next where variances are close.
    np.testing.assert_allclose(
        np.abs((axes[:2] * exact_axes[:2]).sum(axis=1)), 1, atol=1e-4
    )


@pytest.mark.parametrize("standardize", [False, True])
def test_wide_streamed_tables(small, monkeypatch, standardize):
    monkeypatch.setattr(skae._tables.pca, "MOST_FEATURES", 30)
    X = sparse_table(N_ROWS, 60)
    params = {"hidden_layer_sizes": (), "standardize": standardize}
    wide, exact = (autoencoder(**params).fit(T) for T in (X, X.toarray()))
    np.testing.assert_allclose(
        wide.explained_variance_ratio_, exact.explained_variance_ratio_, rtol=1e-3
    )
    assert wide.score(X) == pytest.approx(exact.score(X), rel=1e-4)
    trained = autoencoder(max_epochs=4).fit(X)
    assert trained.validation_curve_[trained.best_epoch_] <= trained.validation_curve_[0]


def test_a_share_of_a_wide_streamed_table(small, monkeypatch):
    """All axes are never computed: as many as the share takes."""
    X = sparse_table(N_ROWS, 60)
    params = {"max_epochs": 1, "hidden_layer_sizes": (4,)}
    expected = autoencoder(0.5, **params).fit(X.toarray()).n_components_
    monkeypatch.setattr(skae._tables.pca, "MOST_FEATURES", 30)
    ae = autoencoder(0.5, **params).fit(X)
    assert 1 < expected == ae.n_components_


# -- batches ---------------------------------------------------------------------------


def streamed_rows(X, rows=None, weights=None):
    rows = np.arange(X.shape[0]) if rows is None else rows
    X = Scaled(X)
    return StreamedRows(X, X, [rows], torch.device("cpu"), weights)


@pytest.mark.parametrize("kind", [Stored, sparse.csr_array])
@pytest.mark.parametrize("n_batches", [1, 7, 48])
@pytest.mark.parametrize("window", [10, 700, 2**24])
def test_every_row_once_an_epoch(monkeypatch, kind, n_batches, window):
    monkeypatch.setattr(skae._engine.batches, "WINDOW", window)
    X = 1.0 + np.arange(1100)[:, None] * np.ones(2)
    rows = np.setdiff1d(np.arange(1100), np.arange(128, 192))
    weights = np.arange(1100) / 7
    dataset = streamed_rows(kind(X), rows, weights)
    orders = []
    for seed in 0, 0, 1, None:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        batches = list(dataset.batches(n_batches, generator))
        sizes = [len(batch.inputs) for batch in batches]
        assert len(batches) == n_batches
        assert max(sizes) - min(sizes) <= 1
        order = torch.cat([batch.inputs[:, 0] for batch in batches]).numpy() - 1
        np.testing.assert_array_equal(np.sort(order), rows)
        of_rows = torch.cat([batch.weights for batch in batches]).numpy()
        np.testing.assert_allclose(of_rows, order / 7, rtol=1e-6)
        assert all(batch.targets is batch.inputs for batch in batches)
        orders.append(order)
    np.testing.assert_array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    np.testing.assert_array_equal(orders[3], rows)
    # Neighbours in a file do not stay neighbours.
    steps = np.diff(orders[0])
    assert (steps == 1).mean() < 0.2 or window == 10


def test_held_out_rows_of_a_file_are_runs(small, table):
    """Runs of neighbours are held out, so that a file is read in slices."""
    (train, held_out), *others = split(Dependence.none(5000), run=RUN)
    assert not others
    np.testing.assert_array_equal(np.sort(np.r_[train, held_out]), np.arange(5000))
    assert len(held_out) == pytest.approx(500, abs=RUN)
    assert np.isin(held_out + 1, held_out).mean() > 0.9


@pytest.mark.parametrize("kind", [Stored, sparse.csr_array])
def test_a_stack_reads_each_members_rows(small, kind):
    X = 1.0 + np.arange(1100)[:, None] * np.ones(2)
    index = [np.arange(0, 1100, 2), np.arange(1100), np.arange(0)]
    target = Scaled(kind(X))
    rows = StreamedRows(
        target, target, index, torch.device("cpu"), np.tile(np.arange(1100) / 7, (3, 1))
    )
    batches = list(rows.batches(9, torch.Generator().manual_seed(0)))
    order = torch.cat([batch.inputs[..., 0] for batch in batches], dim=-1).numpy() - 1
    assert order.shape == (3, 1100)
    assert set(order[0]) == set(index[0])
    np.testing.assert_array_equal(np.sort(order[1]), index[1])
    of_rows = torch.cat([batch.weights for batch in batches], dim=-1).numpy()
    np.testing.assert_allclose(of_rows, order / 7, rtol=1e-6)
    assert all(batch.targets is batch.inputs for batch in batches)


@pytest.mark.parametrize("kind", [Stored, sparse.csr_array])
def test_equal_rows_of_a_streamed_table(small, kind):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 9, (700, 5)).astype(float)
    X = rng.permutation(np.r_[X, X[:400]])
    np.testing.assert_array_equal(equal_rows(kind(X)), equal_rows(X))


@pytest.mark.parametrize("kind", [Stored, sparse.csr_array])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_folds_of_a_streamed_table(small, table, kind, loss):
    """As those of the array: members have the same errors, to the rounding of float32."""
    X = np.abs(np.round(4 * table))
    streamed = autoencoder(cv=3, loss=loss).fit(kind(X))
    whole = autoencoder(cv=3, loss=loss).fit(X)
    assert streamed.validation_curve_[0] == pytest.approx(
        whole.validation_curve_[0], rel=0.02
    )
    best = streamed.validation_curve_[streamed.best_epoch_]
    assert best == pytest.approx(whole.validation_curve_[whole.best_epoch_], rel=0.1)


def test_rows_of():
    X = np.arange(40.0).reshape(20, 2)
    for wanted in slice(3, 9), slice(None, None, 3), np.array([5, 6, 7, 2, 19, 2]):
        for table in X, sparse.csr_array(X), Stored(X):
            np.testing.assert_array_equal(rows_of(table, wanted), X[wanted])
    assert rows_of(Stored(X), np.arange(0)).shape == (0, 2)
    assert [*row_blocks(5, 2**22)] == [slice(i, i + 1) for i in range(5)]


@pytest.mark.parametrize("rows", [slice(None), slice(2, 9), slice(3, 3), [4, 7, 8]])
def test_selected_rows_of_a_table(rows):
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    numbers = np.flatnonzero(np.arange(40) % 3)
    some = Selected(X, numbers)
    assert (some.shape, len(some), some.dtype) == ((26, 3), 26, np.float32)
    assert np.array_equal(rows_of(some, rows), X[numbers][rows])
    assert is_lazy(some)


def test_what_is_lazy():
    X = np.ones((3, 2))
    assert is_lazy(Stored(X))
    assert not any(map(is_lazy, [X, sparse.csr_array(X), torch.ones(3, 2), X.tolist()]))


# -- refusals --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Stored, sparse.csr_array, "map"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(small, table, tmp_path, kind, value):
    clean = table.copy()
    table[N_ROWS // 2, 3] = value
    bad, good = (
        mapped(X, tmp_path, name) if kind == "map" else kind(X)
        for name, X in (("bad.npy", table), ("good.npy", clean))
    )
    text = "NaN" if np.isnan(value) else "infinity"
    with pytest.raises(ValueError, match=text):
        autoencoder().fit(bad)
    ae = autoencoder(max_epochs=1).fit(clean)
    with pytest.raises(ValueError, match=text):
        ae.transform(bad)
    assert np.isfinite(ae.transform(good)).all()


def test_refusals(small, table):
    ae, stored = autoencoder(max_epochs=1), Stored(table)
    for X in stored, sparse.csr_array(table):
        with pytest.raises(ValueError, match=r"X_val of .* held in memory"):
            ae.fit(X, X_val=table[:50])
        with pytest.raises(ValueError, match=r"X_target of .* must be held in memory"):
            ae.fit(X, X_target=table)
        with pytest.raises(ValueError, match=r"X_target of .* must be held in memory"):
            ae.fit(table, X_target=X)
        with pytest.raises(ValueError, match=r"X_val of .* must be held in memory"):
            ae.fit(table[:500], X_val=X)
        with pytest.raises(ValueError, match="read in parts must be positive"):
            ae.fit(X, sample_weight=np.arange(N_ROWS))
    with pytest.raises(ValueError, match="must hold numbers, got dtype"):
        ae.fit(Stored(table.astype("S8")))
    assert not hasattr(ae, "net_")
    ae.fit(stored)
    with pytest.raises(ValueError, match="X has 5 features, but"):
        ae.transform(Stored(table[:, :5]))
    with pytest.raises(ValueError, match=r"Expected 2D array|must be 2"):
        ae.transform(Stored(table[:, 0]))


# -- missing cells of tables that are read in parts ------------------------------------


def gaps_in(X, kind, folder):
    """A table that is read in parts, with missing cells, and what it holds."""
    gapped = np.where(np.random.default_rng(1).random(X.shape) < 0.1, np.nan, X)
    if kind == "memmap":
        return gapped, mapped(gapped, folder)
    if kind == "stored":
        return gapped, Stored(gapped)
    gapped[:, 2] = np.where(gapped[:, 2] > 0, 0.0, gapped[:, 2])
    return gapped, sparse.csr_array(gapped)


KINDS = ["memmap", "stored", "sparse"]


@pytest.mark.parametrize("kind", KINDS)
def test_missing_cells_in_parts(narrow, table, tmp_path, kind):
    """Whatever is fitted in memory takes large tables, block by block, to the same end."""
    gapped, X = gaps_in(table, kind, tmp_path)
    ae = autoencoder(allow_nan=True).fit(gapped[:300])
    assert is_streamed(X)
    for method in ("transform", "impute", "denoise", "score_samples"):
        found, expected = getattr(ae, method)(X), getattr(ae, method)(gapped)
        assert isinstance(found, np.ndarray)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    if kind == "stored":
        assert X.largest <= 2000 // 6 + 1
    known, filled = ~np.isnan(gapped), ae.impute(X)
    assert np.array_equal(filled[known], gapped[known])
    error = np.square(filled - table)[~known].mean()
    assert kind == "sparse" or error < 0.3 * table.var(axis=0).mean()


@pytest.mark.parametrize("kind", KINDS)
def test_fit_says_what_is_possible(small, table, tmp_path, kind):
    _, X = gaps_in(table, kind, tmp_path)
    ae = autoencoder(allow_nan=True)
    text = r"(?s)Input X contains NaN.*held in memory.*partial_fit with one chunk of rows"
    for fit in (ae.fit, ae.partial_fit):
        with pytest.raises(ValueError, match=text):
            fit(X)
    for begin in (0, 300):
        chunk = X[begin : begin + 300]
        ae.partial_fit(np.array(chunk) if kind == "memmap" else chunk)
    assert np.isfinite(ae.transform(X)).all()
    with pytest.raises(ValueError, match=text):
        ae.partial_fit(X)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_cells_and_a_fit_that_does_not_take_them(small, table, tmp_path, kind):
    _, X = gaps_in(table, kind, tmp_path)
    ae = autoencoder()
    for method in ("fit", "transform", "impute", "score"):
        with pytest.raises(ValueError, match=r"(?s)Input X contains NaN.*allow_nan=True"):
            getattr(ae, method)(X)
        ae.fit(table[:300])


def test_a_fit_to_a_large_table_fills_rows_to_come(small, table, tmp_path):
    """It has learned to, although no cell of the table is missing."""
    gapped, X = gaps_in(table, "memmap", tmp_path)
    ae = autoencoder(allow_nan=True).fit(mapped(table, tmp_path, "whole.npy"))
    for Y in (gapped, X):
        filled = ae.impute(Y)
        error = np.square(filled - table)[np.isnan(gapped)].mean()
        assert error < 0.3 * table.var(axis=0).mean()
        assert np.isfinite(ae.score(Y))


def test_what_fit_has_learned_decides_over_missing_cells(table):
    gapped = np.where(np.random.default_rng(1).random(table.shape) < 0.1, np.nan, table)
    ae = autoencoder().fit(table[:300]).set_params(allow_nan=True)
    with pytest.raises(ValueError, match="once it is fitted with allow_nan=True"):
        ae.transform(gapped)


def test_impute_of_a_sparse_matrix(table):
    gapped, X = gaps_in(table, "sparse", None)
    ae = autoencoder(allow_nan=True).fit(gapped[:300])
    few = ae.impute(X[:50])
    np.testing.assert_allclose(few, ae.impute(gapped[:50]), rtol=1e-12)
    assert isinstance(few, np.ndarray)
    assert not np.isnan(few).any()


@pytest.mark.parametrize("shape", [(1, 1), (100, 3), (3, 2**23), (2**23, 1)], ids=str)
def test_row_blocks_cover_every_row_once(shape):
    blocks = row_blocks(*shape)
    assert blocks[0].start == 0
    assert blocks[-1].stop == shape[0]
    assert all(a.stop == b.start for a, b in itertools.pairwise(blocks))


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, Stored])
def test_rows_followed_by_others(kind):
    X, others = np.arange(60.0).reshape(20, 3), -np.ones((4, 3), dtype=np.float32)
    own = np.array([0, 1, 5, 6, 19])
    table, expected = Followed(kind(X), own, others), np.concatenate([X[own], others])
    assert (len(table), table.dtype) == (9, np.float64)
    assert is_streamed(table)
    for rows in [slice(None), slice(4, 7), slice(0, 4), np.array([8, 2, 0, 6, 2])]:
        np.testing.assert_array_equal(rows_of(table, rows), expected[rows])


def test_rows_of_an_array_are_drawn_one_by_one():
    X = np.arange(1000.0)[:, None]
    rows = StreamedRows(Scaled(X), None, [np.arange(1000)], torch.device("cpu"))
    rows.target = rows.X
    batches = list(rows.batches(10, torch.Generator().manual_seed(0)))
    found = torch.cat([batch.inputs for batch in batches])[:, 0].numpy()
    assert [len(batch.inputs) for batch in batches] == 10 * [100]
    assert sorted(found) == list(range(1000))
    assert (np.diff(found) == 1).mean() < 0.01
