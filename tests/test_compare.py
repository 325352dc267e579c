"""skae.compare: the table of several estimators."""

import sys

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import NMF, PCA, KernelPCA, TruncatedSVD
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler

import skae
from skae import AutoencoderTransformer, compare
from skae.metrics import make_reconstruction_scorer

COLUMNS = [
    "estimator",
    "fold",
    "error",
    "r2",
    "fit_seconds",
    "transform_seconds",
    "n_parameters",
]


def autoencoder(n_components=2, **params):
    params = {"max_epochs": 2, "random_state": 0} | params
    return AutoencoderTransformer(n_components, **params)


def test_table(curved, capsys):
    kernel = KernelPCA(2, kernel="rbf", fit_inverse_transform=True)
    estimators = [PCA(2), make_pipeline(StandardScaler(), PCA(2)), kernel, autoencoder()]
    table = compare(curved, estimators, cv=3, standardize=False, random_state=0)
    assert list(table.columns) == COLUMNS
    assert list(table["fold"]) == [0, 1, 2] * 4
    assert list(table["estimator"].unique()) == [
        "PCA(n_components=2)",
        "Pipeline(steps=[('standardscaler', StandardScaler()), "
        "('pca', PCA(n_components=2))])",
        "KernelPCA(fit_inverse_transform=True, kernel='rbf', n_components=2)",
        "AutoencoderTransformer(max_epochs=2, n_components=2, random_state=0)",
    ]
    assert pd.api.types.is_string_dtype(table["estimator"])
    assert list(table.dtypes.iloc[1:].astype(str)) == [
        "int64",
        *4 * ["float64"],
        "Int64",
    ]
    assert (table["error"] > 0).all()
    assert table["r2"].between(0, 1).all()
    assert (table[["fit_seconds", "transform_seconds"]] > 0).all(axis=None)
    assert table.drop(columns="n_parameters").notna().all(axis=None)
    assert not any(vars(e).keys() & {"mean_", "net_", "X_fit_"} for e in estimators)
    assert capsys.readouterr() == ("", "")


def test_same_rows_and_errors_as_cross_val_score(curved):
    cv = KFold(4, shuffle=True, random_state=3)
    estimators = {"one": PCA(1), "two": PCA(2)}
    for metric in ["absolute_error", "r2"]:
        table = compare(curved, estimators, cv=4, metric=metric, random_state=3)
        for name, estimator in estimators.items():
            scorer = make_reconstruction_scorer(metric)
            scores = cross_val_score(estimator, curved, cv=cv, scoring=scorer)
            errors = table.loc[table["estimator"] == name, "error"]
            np.testing.assert_allclose(errors, scores if metric == "r2" else -scores)
    np.testing.assert_array_equal(table["error"], table["r2"])
    own = compare(curved, estimators, cv=list(cv.split(curved)), metric="r2")
    np.testing.assert_allclose(own["r2"], table["r2"])
    in_order = compare(curved, [PCA(1)], cv=None)
    scores = cross_val_score(PCA(1), curved, cv=5, scoring=make_reconstruction_scorer())
    np.testing.assert_allclose(in_order["error"], -scores)


def test_random_state(curved):
    estimators = [
        autoencoder(1, random_state=None, init="random"),
        make_pipeline(MinMaxScaler(clip=True), NMF(1, init="random", max_iter=2, tol=10.0)),
    ]
    first, second, other = (
        compare(curved, estimators, cv=2, random_state=seed)["error"] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).all()
    assert estimators[0].random_state is None
    # A seed that the user has chosen stays.
    fixed = [autoencoder(1, init="random", random_state=seed) for seed in (5, 6)]
    table = compare(
        curved, fixed, cv=[(np.arange(100), np.arange(100, 200))], random_state=0
    )
    assert table["error"].nunique() == 2
    generator = np.random.RandomState(0)
    assert len(compare(curved, [PCA(1)], cv=2, random_state=generator)) == 2


@pytest.mark.parametrize(
    ("estimator", "count"),
    [
        (PCA(2), 2 * 6 + 6),
        (make_pipeline(StandardScaler(), PCA(2)), 2 * 6 + 6 + 12),
        (make_pipeline(StandardScaler(with_std=False), PCA(2)), 2 * 6 + 6 + 6),
        (make_pipeline("passthrough", MinMaxScaler(clip=True), NMF(2)), 12 + 12),
        (KernelPCA(2, fit_inverse_transform=True), None),
        (make_pipeline(KernelPCA(2, fit_inverse_transform=True)), None),
        (autoencoder(hidden_layer_sizes=()), None),
    ],
    ids=lambda value: str(value)[:50],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_n_parameters(curved, estimator, count):
    found = compare(curved, [estimator], cv=2)["n_parameters"]
    if isinstance(estimator, AutoencoderTransformer):
        weights = estimator.fit(curved).net_.module_.parameters()
        count = sum(weight.numel() for weight in weights)
        assert count >= 2 * 6 + 2 + 2 * 6 + 6
    assert found.isna().all() if count is None else (found == count).all()


def test_names(curved):
    names = compare(curved, [PCA(2), PCA(2), PCA(1), PCA(2)], cv=2)["estimator"].unique()
    short = "PCA(n_components=2)"
    assert list(names) == [short, f"{short} #2", "PCA(n_components=1)", f"{short} #3"]
    scalers = [StandardScaler() for _ in range(25)]
    long = [make_pipeline(*scalers, PCA(k), PCA(k)) for k in (1, 2)]
    for name in compare(curved, long, cv=2)["estimator"]:
        assert "\n" not in name
        assert "..." not in name
        assert "#" not in name


def test_frames(curved):
    frame = pd.DataFrame(curved, columns=list("abcdef"))
    index = np.random.default_rng(0).permutation(200)
    shuffled = frame.set_axis(index)  # folds are positions, not labels
    estimators = [PCA(2).set_output(transform="pandas"), autoencoder()]
    ours = compare(shuffled, estimators, cv=2, random_state=0)
    expected = compare(curved, estimators, cv=2, random_state=0)
    np.testing.assert_allclose(ours["error"], expected["error"])


def test_progress(curved, capsys):
    compare(curved, [PCA(1), PCA(2)], cv=3, verbose=1)
    out, err = capsys.readouterr()
    assert out == ""
    assert "compare: 100%" in err
    assert "6/6" in err


class Forward(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        raise AssertionError("compare looks before it fits")

    def transform(self, X):
        return X


def test_bad_arguments(curved):
    with pytest.raises(TypeError, match="Forward has no inverse_transform"):
        compare(curved, [Forward(), PCA(2)])
    with pytest.raises(TypeError, match=r"Pipeline \(its Normalizer\)"):
        compare(curved, [make_pipeline(Normalizer(), PCA(2))])
    with pytest.raises(ValueError, match="pass one estimator or more"):
        compare(curved, [])
    with pytest.raises(TypeError, match="'estimators' parameter of compare must"):
        compare(curved, PCA(2))
    with pytest.raises(ValueError, match="'metric' parameter of compare must"):
        compare(curved, [PCA(2)], metric="mse")
    with pytest.raises(ValueError, match="'cv' parameter of compare must"):
        compare(curved, [PCA(2)], cv=1)
    with pytest.raises(ValueError, match="'n_components' parameter of PCA"):
        compare(curved, [PCA(-2)])


# -- rivals that fail, and tables that some of them refuse -----------------------------


class Fails(PCA):
    """PCA that fails in one of its steps, on rows that have a mark."""

    def __init__(self, n_components=None, step="fit"):
        super().__init__(n_components)
        self.step = step

    def _fail(self, step, X):
        if step == self.step and np.max(X) > 50:
            raise RuntimeError(f"no {step} today")

    def fit(self, X, y=None):
        self._fail("fit", X)
        return super().fit(X)

    def transform(self, X):
        self._fail("transform", X)
        return super().transform(X)

    def inverse_transform(self, X):
        self._fail("inverse_transform", X)
        return super().inverse_transform(X)


@pytest.mark.parametrize("step", ["fit", "transform", "inverse_transform"])
def test_a_rival_that_fails(curved, step):
    X = curved.copy()
    X[0] = 100.0
    cv = [(np.arange(100), np.arange(100, 200)), (np.arange(100, 200), np.arange(100))]
    fold = 0 if step == "fit" else 1
    rivals = {"PCA": PCA(2), "unlucky": Fails(2, step=step), "autoencoder": autoencoder()}
    text = rf"unlucky failed on 1 of 2 folds .*\[{fold}\]: RuntimeError: no {step} today"
    with pytest.warns(FitFailedWarning, match=text) as caught:
        table = compare(X, rivals, cv=cv)
    (warning,) = (w for w in caught if w.category is FitFailedWarning)
    assert warning.filename == __file__
    assert list(table.columns) == COLUMNS
    assert str(table["n_parameters"].dtype) == "Int64"
    failed = (table["estimator"] == "unlucky") & (table["fold"] == fold)
    assert table.loc[failed, COLUMNS[2:]].isna().all(axis=None)
    assert table.loc[~failed].notna().all(axis=None)
    pca, unlucky = (table.loc[table["estimator"] == name] for name in ["PCA", "unlucky"])
    kept = 1 - fold
    assert unlucky["error"].iloc[kept] == pca["error"].iloc[kept]


def test_several_rivals_that_fail(curved):
    rivals = [PCA(7), PCA(2), PCA(8)]
    with pytest.warns(FitFailedWarning, match=r"failed on 3 of 3 folds") as caught:
        table = compare(curved, rivals, cv=3)
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == 2
    for k, text in zip((7, 8), texts, strict=True):
        assert text.startswith(f"PCA(n_components={k}) failed on 3 of 3 folds of compare")
        assert text.count("ValueError: n_components") == 1  # told once
    assert table["error"].isna().tolist() == [True] * 3 + [False] * 3 + [True] * 3
    with pytest.raises(ValueError, match=r"All fits .* failed\. PCA.*n_components=7"):
        compare(curved, [PCA(7)], cv=3)
    text = r"All fits .*takes X in \[0, 1\]"
    with pytest.raises(ValueError, match=text):
        compare(curved, [PCA(1), PCA(2)], cv=2, metric="binary_cross_entropy")


def test_incomplete_rows(curved):
    X = np.where(np.random.default_rng(0).random(curved.shape) < 0.1, np.nan, curved)
    rivals = {"PCA": PCA(2), "autoencoder": autoencoder(allow_nan=True)}
    with pytest.warns(FitFailedWarning, match="^PCA .* contains NaN") as caught:
        table = compare(X, rivals, cv=KFold(2))
    assert len(caught) == 1
    assert table["error"].isna().tolist() == [True, True, False, False]
    ae = autoencoder(allow_nan=True).fit(X[100:])
    errors = np.square(X[:100] - ae.inverse_transform(ae.transform(X[:100])))
    assert table["error"][2] == pytest.approx(np.nanmean(errors), rel=1e-6)


def test_sparse_rows(curved):
    dense = np.where(curved > 0.5, curved, 0.0)
    rivals = {"svd": TruncatedSVD(2, random_state=0), "autoencoder": autoencoder()}
    expected = compare(dense, rivals, cv=2, random_state=0)
    for form in (sparse.csr_array, sparse.coo_array, sparse.csc_matrix):
        table = compare(form(dense), rivals, cv=2, random_state=0)
        np.testing.assert_allclose(table["error"], expected["error"], rtol=1e-4)
        np.testing.assert_allclose(table["r2"], expected["r2"], rtol=1e-4)
    centred = {"scaled": make_pipeline(StandardScaler(), TruncatedSVD(2))}
    how = {"standardize": False, "random_state": 0}
    with pytest.warns(FitFailedWarning, match="^scaled .*Cannot center sparse"):
        table = compare(sparse.csr_array(dense), rivals | centred, cv=2, **how)
    assert table["error"].notna().sum() == 4


def test_without_pandas(curved, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        compare(curved, [PCA(2)])


def test_public_names():
    assert skae.compare is compare
    assert skae.metrics.make_reconstruction_scorer is make_reconstruction_scorer


def test_a_convolutional_estimator(digits):
    ae = autoencoder(sample_shape=(1, 8, 8), hidden_layer_sizes=(2,), max_epochs=1)
    table = compare(digits[0][:60], [ae], cv=2, random_state=0)
    assert "sample_shape=(1, 8, 8)" in table["estimator"][0]
    ae.fit(digits[0][:60])
    weights = ae.net_.module_.parameters()
    assert (table["n_parameters"] == sum(weight.numel() for weight in weights)).all()


def test_frames_with_categories(mixed_frame):
    """PCA of the same table is the start of an autoencoder, and scored in the same loss."""
    rivals = {"PCA": PCA(1), "autoencoder": autoencoder(1)}
    table = compare(mixed_frame, rivals, cv=2, random_state=0)
    errors = table["error"].to_numpy().reshape(2, 2)
    train, test = next(KFold(2, shuffle=True, random_state=0).split(mixed_frame))
    ae = autoencoder(1).fit(mixed_frame.iloc[train])
    assert errors[1, 0] == pytest.approx(-ae.score(mixed_frame.iloc[test]), rel=1e-6)
    untrained = autoencoder(1, early_stopping=False, max_epochs=1, lr=1e-12)
    untrained.fit(mixed_frame.iloc[train])
    assert errors[0, 0] == pytest.approx(-untrained.score(mixed_frame.iloc[test]), rel=1e-3)
    assert table["n_parameters"][0] == 10 + 10 + 2 * 10
    wrong = compare(mixed_frame, rivals, cv=2, random_state=0, metric="absolute_error")
    assert (wrong["error"] != table["error"]).all()
    assert (wrong["r2"] == table["r2"]).all()


def test_gaps_and_rare_categories_of_frames(gapped_frame):
    frame = gapped_frame.assign(rare=pd.Categorical(["a", "b"] * 149 + ["b", "c"]))
    rivals = [PCA(1), autoencoder(1, allow_nan=True, handle_unknown="ignore")]
    table = compare(frame, rivals, cv=KFold(2))
    assert table["error"].notna().all()
    strict = autoencoder(1, allow_nan=True)
    with pytest.warns(
        FitFailedWarning, match=r"unknown categories \['c'\] in column 'rare'"
    ):
        table = compare(frame, [*rivals, strict], cv=KFold(2))
    assert table["error"].isna().tolist() == [False] * 5 + [True]


def test_which_columns_are_of_categories(mixed_frame):
    numbers = mixed_frame.assign(
        color=mixed_frame["color"].cat.codes, size=mixed_frame["size"].cat.codes
    )
    by_name = autoencoder(1, categorical_features=["color", "size"])
    table = compare(numbers, [by_name, PCA(1)], cv=2, random_state=0)
    X = numbers.to_numpy(dtype=float)
    by_index = autoencoder(1, categorical_features=[1, 4])
    of_array = compare(X, [by_index, PCA(1)], cv=2, random_state=0)
    np.testing.assert_allclose(table["error"], of_array["error"], rtol=1e-6)
    with pytest.raises(ValueError, match="must agree on the columns of categories"):
        compare(X, [by_index, autoencoder(1)], cv=2)
    with pytest.raises(ValueError, match=r"standardize=False .* of categories"):
        compare(X, [by_index], cv=2, standardize=False)
    assert compare(numbers[["age", "old"]], [PCA(1)], cv=2)["error"].notna().all()
