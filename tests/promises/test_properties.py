"""Any table with any parameters: a documented error, or a model that holds its promises."""

import re
from collections import Counter

import numpy as np
import pytest

from skae import AutoencoderTransformer
from skae.losses import LOSSES
from skae.modules import ACTIVATIONS

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

# Errors name the estimator, or are those of scikit-learn's checks of X.
DOCUMENTED = re.compile(
    r"of AutoencoderTransformer\b|^Found array with|^Input X contains (NaN|infinity)"
)
SWITCHES = sorted(
    name
    for name, allowed in AutoencoderTransformer._parameter_constraints.items()
    if "boolean" in allowed and name not in {"warm_start", "distributed"}
)


def laid_out(X, layout):
    """The same numbers in another place in memory."""
    if layout == "F":
        return np.asfortranarray(X)
    if layout == "strided":
        return np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]
    if layout == "reversed":
        return np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1]
    if layout == "read-only":
        X.flags.writeable = False
    return X


@st.composite
def tables(draw):
    """X (n, p) of low rank and noise, of a drawn kind, scale, offset, dtype and layout."""
    n, p = draw(st.integers(1, 45)), draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    rank = draw(st.integers(0, p))
    X = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, p))
    X = X + draw(st.sampled_from([0.0, 0.1, 1.0])) * rng.normal(size=(n, p))
    constant = draw(st.lists(st.integers(0, p - 1), max_size=3))
    X[:, constant] = X[:1, constant]
    if draw(st.booleans()):
        X = X[rng.integers(0, n, n)]  # some rows more than once
    kind = draw(st.sampled_from(["any", "any", "unit", "counts"]))
    if kind == "unit":
        X = (X - X.min()) / (np.ptp(X) or 1.0)
    elif kind == "counts":
        X = rng.poisson(np.exp(X.clip(-3, 3))).astype(float)
    else:
        scale = 10.0 ** draw(st.integers(-30, 30))
        X = scale * (X + draw(st.sampled_from([0.0, 1.0, -1e4, 1e8])))
    dtypes = [np.float32, np.float64, "int"]
    dtype = draw(st.sampled_from(dtypes))
    if dtype == "int":
        X = np.rint(X.clip(-1e9, 1e9)).astype(np.int64)
    else:
        X = X.astype(dtype)
    return laid_out(
        X, draw(st.sampled_from(["C", "F", "strided", "reversed", "read-only"]))
    )


@st.composite
def cases(draw):
    """An estimator and X; in most cases the two go together."""
    X = draw(tables())
    is_wild = draw(st.integers(0, 9)) == 9
    lies_in_unit = X.min() >= 0 and X.max() <= 1
    init = draw(st.sampled_from(["pca", "pca", "random"]))
    losses = sorted(LOSSES) if is_wild or lies_in_unit else ["squared_error"]
    codes = sorted(ACTIVATIONS) if is_wild or init == "random" else ["identity"]
    loss = draw(st.sampled_from(losses))
    widths = [None, 1, 1, max(1, X.shape[1] // 2)]
    widths += [0.5, 0.99] if is_wild or loss == "squared_error" else []
    widths += [9] if is_wild or init == "random" else []
    params = {
        "n_components": st.sampled_from(widths),
        "hidden_layer_sizes": st.sampled_from(["auto", (), (3,), (5, 4), [6]]),
        "activation": st.sampled_from(sorted(ACTIVATIONS)),
        "code_activation": st.sampled_from(codes),
        "dropout": st.sampled_from([0.0, 0.0, 0.5]),
        "weight_decay": st.sampled_from([0.0, 0.01]),
        "batch_size": st.sampled_from(["auto", 1, 7, 1000]),
        "lr": st.sampled_from(["auto", 1e-6, 0.1]),
        "validation_fraction": st.sampled_from([0.01, 0.1, 0.9]),
        "precision": st.sampled_from(["auto", "auto", "bfloat16"]),
        **{name: st.booleans() for name in SWITCHES},
    }
    params = {name: draw(values) for name, values in params.items()}
    can_tie = init == "random" and not params["ordered"] and params["hidden_layer_sizes"]
    params["tied_weights"] &= is_wild or bool(can_tie and not params.get("warm_start"))
    params |= {"init": init, "loss": loss, "max_epochs": 2, "random_state": 0}
    return AutoencoderTransformer(**params), X


def check_outputs(ae, X):
    """Shapes, dtypes and finite numbers wherever a user looks."""
    n, p = X.shape
    k = ae.n_components_
    dtype = X.dtype if X.dtype == np.float32 else np.float64
    Z = ae.transform(X)
    X_hat = ae.inverse_transform(Z)
    assert (Z.shape, Z.dtype) == ((n, k), dtype)
    assert (X_hat.shape, X_hat.dtype) == ((n, p), dtype)
    scores = ae.score_samples(X)
    assert (scores.shape, scores.dtype) == ((n,), np.float64)
    assert ae.components_.shape == (k, p)
    described = {
        name: value
        for name, value in vars(ae).items()
        if name.endswith("_") and isinstance(value, float | list | np.ndarray)
    }
    assert "explained_variance_" in described
    for name, value in {"Z": Z, "X_hat": X_hat, "scores": scores, **described}.items():
        assert np.isfinite(value).all(), name
    assert (ae.explained_variance_ >= 0).all()
    assert ae.noise_variance_ >= -1e-9 * ae.explained_variance_.sum()
    lengths = np.linalg.norm(ae.components_, axis=1)
    assert np.all((lengths == 0) | (abs(lengths - 1) < 1e-6))
    return X_hat


def check_promise(ae, X, X_hat):
    """From PCA, and where held-out rows choose, nothing is kept that did not help them."""
    if ae.init != "pca" or not ae.early_stopping:
        return False
    curve = ae.validation_curve_
    if ae.best_epoch_ > 0:
        assert curve[ae.best_epoch_] < curve[0]
        return True
    if ae.loss != "squared_error":
        return False
    dtype = X_hat.dtype
    # The model is PCA of all rows: the singular values that are left are its error.
    X = X.astype(np.float64)
    X_hat = X_hat.astype(np.float64)
    scale = np.broadcast_to(ae.scale_, X.shape[1])
    goal = (X - X.mean(axis=0)) / scale
    left = np.linalg.svd(goal, compute_uv=False)[ae.n_components_ :]
    error = np.sqrt(np.square((X - X_hat) / scale).mean())
    # What rounding adds: of float32 weights, and of the offset in the dtype of X_hat.
    offset = (abs(X).max(axis=0) / scale).max()
    rounding = 1e-5 * goal.std() + 4 * np.finfo(dtype).eps * offset
    assert error <= np.sqrt(np.square(left).sum() / X.size) + rounding
    return True


def search(n_examples, derandomize):
    """Run the property on so many examples; how many fitted, failed and showed what."""
    outcomes = Counter()

    @hypothesis.settings(
        max_examples=n_examples,
        derandomize=derandomize,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=cases())
    def any_fit(case):
        ae, X = case
        outcomes["all"] += 1
        before = X.copy()
        try:
            ae.fit(X)
        except ValueError as error:
            if not DOCUMENTED.search(str(error)):
                raise
            outcomes["refused"] += 1
            return
        assert np.array_equal(X, before)
        X_hat = check_outputs(ae, X)
        outcomes["fitted"] += 1
        outcomes["promise"] += check_promise(ae, X, X_hat)
        outcomes["trained"] += ae.best_epoch_ > 0

    any_fit()
    return outcomes


def test_any_table_and_any_parameters():
    outcomes = search(100, derandomize=True)
    assert outcomes["fitted"] > 70, outcomes
    assert outcomes["promise"] > 5, outcomes
    assert outcomes["refused"] > 1, outcomes


@pytest.mark.nightly
def test_many_tables_and_parameters():
    outcomes = search(2000, derandomize=False)
    assert outcomes["fitted"] > 750, outcomes
    assert outcomes["promise"] > 200, outcomes
