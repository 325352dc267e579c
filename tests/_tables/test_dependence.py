"""Rows that depend on each other: what is equal, what is held out, what it is good for."""

import numpy as np
import pytest
from sklearn import config_context, datasets
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    StratifiedKFold,
    TimeSeriesSplit,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_random_state

from skae import AutoencoderTransformer
from skae._tables.dependence import Dependence, equal_rows
from skae._training.members import split


def autoencoder(n_components=2, **params):
    return AutoencoderTransformer(n_components, **{"random_state": 0} | params)


def joined(pairs):
    """The rows of each side of all pairs, in one array each."""
    return [np.concatenate(side) for side in zip(*pairs, strict=True)]


# -- which rows are equal --------------------------------------------------------------


def by_hand(X):
    """Numbers of the distinct rows by comparing all pairs."""
    same = (X[:, None] == X) | (np.isnan(X[:, None]) & np.isnan(X))
    first = same.all(axis=2).argmax(axis=1)
    return np.unique(first, return_inverse=True)[1]


@pytest.mark.parametrize("n_features", [1, 3, 70, 200])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8])
def test_equal_rows(n_features, dtype):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 200, (40, n_features)).astype(dtype)
    X = rng.permutation(np.r_[X, X[:25], X[:3]])
    # A row that differs in one cell alone, and that far from the columns compared first.
    X = np.r_[X, X[:1]]
    X[-1, n_features // 2] += 1
    np.testing.assert_array_equal(equal_rows(X), by_hand(X.astype(float)))


def test_equal_rows_with_gaps_and_signs():
    nan, other_nan = np.nan, -np.nan
    X = np.array([[0.0, nan], [-0.0, other_nan], [0.0, 1.0], [nan, 0.0], [nan, -0.0]])
    np.testing.assert_array_equal(equal_rows(X), [0, 0, 1, 2, 2])


def test_rows_without_copies_are_numbered_as_they_come():
    X = np.random.default_rng(0).normal(size=(500, 90))
    np.testing.assert_array_equal(equal_rows(X), np.arange(500))


def test_hashes_rarely_collide():
    """Rows that differ in few bits, of which a poor hash makes few numbers."""
    X = np.stack(np.meshgrid(*[np.arange(30.0)] * 3), axis=-1).reshape(-1, 3)
    assert len(np.unique(equal_rows(X))) == len(X)
    assert len(np.unique(equal_rows(2.0**-X))) == len(X)


# -- which rows are held out -----------------------------------------------------------


@pytest.mark.parametrize("n", [20, 21, 150, 1000])
def test_folds_are_disjoint(n):
    *folds, last = split(Dependence.none(n))
    assert len(folds) == 5
    held_out = np.concatenate([rows for _, rows in folds])
    assert sorted(held_out) == list(range(n))
    for train, rest in folds:
        assert sorted([*train, *rest]) == list(range(n))
    assert sorted(last[0]) == list(range(n))
    assert len(last[1]) == 0


@pytest.mark.parametrize(
    ("n", "can_cross_fit", "held_out"),
    [(1001, True, 101), (5000, True, 500), (200_000, True, 10_000), (50, False, 5)],
)
def test_one_holdout(n, can_cross_fit, held_out):
    ((train, rest),) = split(Dependence.none(n), can_cross_fit=can_cross_fit)
    assert len(rest) == held_out
    assert sorted([*train, *rest]) == list(range(n))


@pytest.mark.parametrize("n", [2, 19])
def test_no_row_is_held_out_of_tiny_tables(n):
    copies = np.tile(np.arange(n), 3)
    ((train, rest),) = split(Dependence(copies), validation_fraction=0.5)
    assert sorted(train) == list(range(3 * n))
    assert len(rest) == 0


@pytest.mark.parametrize("cv", ["auto", 2, 7])
@pytest.mark.parametrize(("n_units", "n_copies"), [(100, 3), (400, 5), (1200, 4)])
@pytest.mark.parametrize("kind", ["copies", "groups"])
def test_what_belongs_together_is_on_one_side(cv, n_units, n_copies, kind):
    units = np.random.default_rng(0).permutation(np.arange(n_units * n_copies) % n_units)
    everyone = np.arange(len(units))
    of_kind = [units] if kind == "copies" else [everyone, units]
    pairs = split(Dependence(*of_kind), cv=cv)
    is_cross_fitted = cv != "auto" or n_units <= 1000
    assert len(pairs) == 1 + is_cross_fitted * (5 if cv == "auto" else cv)
    for train, held_out in pairs:
        assert not np.isin(units[held_out], units[train]).any()
        assert sorted([*train, *held_out]) == list(everyone)
    if is_cross_fitted:
        assert sorted(joined(pairs)[1]) == list(everyone)
    else:
        assert len(pairs[0][1]) == pytest.approx(0.1 * len(units), rel=0.02)


@pytest.mark.parametrize("n_groups", [2, 3, 8])
def test_few_groups_are_folds_of_their_own(n_groups):
    groups = np.arange(300) % n_groups
    *folds, last = split(Dependence(np.arange(300), groups))
    assert len(folds) == min(5, n_groups)
    assert len(last[0]) == 300


def test_one_group_leaves_no_row_to_be_held_out():
    ((train, held_out),) = split(Dependence(np.arange(300), np.zeros(300, dtype=int)))
    assert len(train) == 300
    assert len(held_out) == 0


def test_copies_in_two_groups_are_not_asked():
    """A held-out row that training knows from another group has nothing to tell."""
    copies, groups = np.r_[np.arange(60), np.arange(30)], np.arange(90) // 10
    pairs = split(Dependence(copies, groups))
    for train, held_out in pairs:
        assert not np.isin(copies[held_out], copies[train]).any()
        assert not np.isin(groups[held_out], groups[train]).any()
    assert 0 < len(joined(pairs)[1]) < 90


def test_only_copies_in_all_groups():
    copies, groups = np.tile(np.arange(50), 4), np.repeat(np.arange(4), 50)
    ((train, held_out),) = split(Dependence(copies, groups))
    assert len(train) == 200
    assert len(held_out) == 0


# -- `cv` and `groups` -----------------------------------------------------------------


@pytest.fixture(scope="module")
def people():
    """Twenty noisy measurements of each of 40 people, in eight features: X, labels."""
    rng = np.random.default_rng(0)
    labels = np.repeat([f"person {i}" for i in range(40)], 20)
    X = np.repeat(rng.normal(size=(40, 8)), 20, axis=0) + rng.normal(0, 0.1, (800, 8))
    order = rng.permutation(800)
    return X[order], labels[order]


def ratio(ae, X, X_train, k=2):
    """Error of unseen rows over that of PCA with as many components."""
    pca = PCA(k).fit(X_train)
    return -ae.score(X) / np.square(pca.inverse_transform(pca.transform(X)) - X).mean()


@pytest.mark.parametrize("cv", ["auto", 4, None, GroupKFold(4), LeaveOneGroupOut(), "rows"])
def test_groups_keep_the_promise(people, cv):
    """Without them, measurements of one person on both sides reward memorising."""
    X, labels = people
    is_train = np.isin(labels, np.unique(labels)[:24])
    train, groups, unseen = X[is_train], labels[is_train], X[~is_train]
    params = {"max_epochs": 60, "hidden_layer_sizes": (32,), "lr": 2e-2}
    if cv == "rows":
        rows = KFold(4, shuffle=True, random_state=0)
        careless = autoencoder(cv=rows, **params).fit(train)
        assert ratio(careless, unseen, train) > 1.1
    else:
        ae = autoencoder(cv=cv, **params).fit(train, groups=groups)
        assert ratio(ae, unseen, train) <= 1.01


def test_time_series():
    """Overlapping windows: neighbours are nearly copies."""
    steps = np.cumsum(np.random.default_rng(0).normal(size=2500))
    series = steps - np.convolve(steps, np.ones(50) / 50, "same")
    windows = np.lib.stride_tricks.sliding_window_view(series, 40)
    train, unseen = windows[:700], windows[740:]
    careless = autoencoder(4, max_epochs=30).fit(train)
    assert ratio(careless, unseen, train, 4) > 1.1
    ae = autoencoder(4, cv=TimeSeriesSplit(4, gap=40), max_epochs=30).fit(train)
    assert ratio(ae, unseen, train, 4) <= 1.01


def test_what_splitters_may_be(curved):
    """The same folds, however they are told, give the same bits."""
    y = np.arange(200) // 50
    splitter = StratifiedKFold(4, shuffle=True, random_state=0)
    pairs = list(splitter.split(curved, y))
    masks = [tuple(np.isin(np.arange(200), side) for side in pair) for pair in pairs]
    params = {"max_epochs": 4, "hidden_layer_sizes": (8,)}
    fits = [autoencoder(cv=cv, **params).fit(curved, y) for cv in (splitter, pairs, masks)]
    assert len({tuple(ae.validation_curve_) for ae in fits}) == 1
    other = autoencoder(cv=KFold(4), **params).fit(curved, y)
    assert other.validation_curve_ != fits[0].validation_curve_


@pytest.mark.parametrize("cv", [3, KFold(3)])
@pytest.mark.parametrize("n_samples", [150, 1500])
def test_folds_for_tables_of_every_size(n_samples, cv):
    """Held-out errors at the start are those of PCA fitted to the other folds."""
    X = np.random.default_rng(0).normal(size=(n_samples, 5)) @ np.diag([3, 2, 1, 1, 1])
    ae = autoencoder(cv=cv, max_epochs=1, hidden_layer_sizes=(8,)).fit(X)
    if isinstance(cv, KFold):
        errors = []
        for train, held_out in cv.split(X):
            pca = PCA(2).fit(X[train])
            X_hat = pca.inverse_transform(pca.transform(X[held_out]))
            errors.append(np.square(X_hat - X[held_out]).mean(axis=1))
        expected = np.concatenate(errors).mean()
        assert ae.validation_curve_[0] == pytest.approx(expected, rel=1e-5)
    assert ae.n_samples_ == n_samples


def test_whole_weights_are_copies_on_one_side():
    """The same bits, and the promise kept: 1.498 of PCA's error when it was not."""
    X = StandardScaler().fit_transform(datasets.load_diabetes().data)
    rows = np.random.default_rng(0).permutation(442)
    train, unseen = X[rows[:294]], X[rows[294:]]
    params = {"n_components": 3, "max_epochs": 15}
    one = autoencoder(**params).fit(train, sample_weight=np.full(294, 3.0))
    other = autoencoder(**params).fit(np.tile(train, (3, 1)))
    np.testing.assert_array_equal(one.transform(unseen), other.transform(unseen))
    assert ratio(one, unseen, train, 3) < 1.0


def test_a_share_of_the_variance_of_copies():
    """Components are chosen by rows of which training has no copy."""
    X = np.random.default_rng(0).normal(size=(60, 12)) * np.linspace(2, 1, 12)
    k = autoencoder(0.7, max_epochs=10).fit(X).n_components_
    copied = autoencoder(0.7, max_epochs=10).fit(np.tile(X, (5, 1))).n_components_
    assert copied == k == PCA(0.7).fit(X).n_components_


def test_groups_in_a_search(people):
    X, labels = people
    with config_context(enable_metadata_routing=True):
        ae = autoencoder(max_epochs=2, hidden_layer_sizes=(8,)).set_fit_request(groups=True)
        pipe = make_pipeline(StandardScaler(), ae)
        grid = {"autoencodertransformer__n_components": [1, 2]}
        search = GridSearchCV(pipe, grid, cv=GroupKFold(2)).fit(X, groups=labels)
        direct = clone(search.best_estimator_).fit(X, groups=labels)
    curves = [p[-1].validation_curve_ for p in (search.best_estimator_, direct)]
    assert curves[0] == curves[1]


def test_checks_of_cv_and_groups(curved):
    with pytest.raises(ValueError, match="Found input variables with inconsistent numbers"):
        autoencoder().fit(curved, groups=np.arange(199))
    with pytest.raises(
        ValueError, match=r"X_val of AutoencoderTransformer.fit gives the held-out"
    ):
        autoencoder().fit(curved, groups=np.arange(200), X_val=curved)
    with pytest.raises(
        ValueError, match=r"X_val of AutoencoderTransformer.fit gives the held-out"
    ):
        autoencoder(cv=3).fit(curved, X_val=curved)
    with pytest.raises(
        ValueError, match=r"pairs \(train, held_out\) of row numbers from 0"
    ):
        autoencoder(cv=[([0, 1], [200])]).fit(curved)
    with pytest.raises(ValueError, match="with 0 rows to train on and 2 to hold out"):
        autoencoder(cv=[([], [0, 1])]).fit(curved)
    with pytest.raises(ValueError, match="The 'groups' parameter should not be None"):
        autoencoder(cv=GroupKFold(3)).fit(curved)
    with pytest.raises(ValueError, match="The 'cv' parameter of AutoencoderTransformer"):
        autoencoder(cv=1).fit(curved)


# -- promise 1 where rows depend on each other -----------------------------------------

SETS = {
    "iris": lambda: datasets.load_iris().data,
    "wine": lambda: datasets.load_wine().data,
    "breast cancer": lambda: datasets.load_breast_cancer().data,
    "diabetes": lambda: datasets.load_diabetes().data,
    "digits": lambda: datasets.load_digits().data[:, 10:40],
    "swiss roll": lambda: datasets.make_swiss_roll(1200, noise=0.5, random_state=0)[0],
    "s curve": lambda: datasets.make_s_curve(1200, noise=0.1, random_state=0)[0],
    "friedman": lambda: np.c_[datasets.make_friedman1(1200, random_state=0)],
    "blobs": lambda: datasets.make_blobs(1200, 6, centers=5, random_state=0)[0],
    "classes": lambda: datasets.make_classification(1200, 12, random_state=0)[0],
    "low rank": lambda: datasets.make_low_rank_matrix(1200, 20, random_state=0),
    "heavy tails": lambda: check_random_state(0).standard_t(3, size=(1200, 8)),
}


KINDS = ["copies", "weights", "groups"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=[] if i % 3 == j else pytest.mark.nightly)
        for i, name in enumerate(SETS)
        for j, kind in enumerate(KINDS)
    ],
)
def test_dependent_rows(name, kind):
    """Unseen rows are reconstructed at least as well as by PCA, to one percent."""
    rng = np.random.default_rng(0)
    X = StandardScaler().fit_transform(SETS[name]())
    X = rng.permutation(X)
    train, unseen = np.split(X, [min(160, 2 * len(X) // 3)])
    given = {}
    if kind == "weights":
        given["sample_weight"] = rng.integers(1, 5, len(train)).astype(float)
    else:
        counts = rng.integers(1, 5, len(train))
        given["groups"] = np.repeat(np.arange(len(train)), counts)
        train = np.repeat(train, counts, axis=0)
        if kind == "groups":
            train = train + rng.normal(0, 0.02, train.shape)
        else:
            del given["groups"]
    ae = autoencoder(max_epochs=15).fit(train, **given)
    pca = PCA(2).fit(
        np.repeat(train, given.get("sample_weight", np.ones(1)).astype(int), 0)
    )
    error = np.square(pca.inverse_transform(pca.transform(unseen)) - unseen).mean()
    assert -ae.score(unseen) <= 1.01 * error
