"""
Layer sizes and regularization by successive halving
====================================================

A grid search trains every candidate to the end. Successive halving trains all candidates
for a few epochs, keeps the best third, trains these for three times as many epochs, and so
on. :class:`~sklearn.model_selection.HalvingGridSearchCV` does this with
:class:`~skae.AutoencoderTransformer` as with any other estimator; the resource is
`max_epochs`.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV, KFold, train_test_split

from skae import AutoencoderTransformer

X = load_digits().data / 16  # all pixels have the same unit, so one scale for all
X_train, X_test = train_test_split(X, test_size=0.3, random_state=0)
N_COMPONENTS = 8

# %%
# The search
# ----------
# The score is minus the mean squared error of the reconstruction. The folds of the search
# already hold rows out, so that candidates can train on all rows that they are given: they
# have `early_stopping=False`.

grid = {
    "hidden_layer_sizes": [(32,), (64, 32), (128, 64)],
    "dropout": [0.0, 0.1, 0.3],
    "weight_decay": [0.01, 0.3],
}
candidate = AutoencoderTransformer(N_COMPONENTS, early_stopping=False, random_state=0)
folds = KFold(2, shuffle=True, random_state=0)
search = HalvingGridSearchCV(
    candidate,
    grid,
    cv=folds,
    resource="max_epochs",
    min_resources=4,
    max_resources=36,
    factor=3,
    refit=False,
    random_state=0,
).fit(X_train)
for n_candidates, n_epochs in zip(search.n_candidates_, search.n_resources_, strict=True):
    print(f"{n_candidates:3} candidates, {n_epochs:3} epochs each")
spent = np.dot(search.n_candidates_, search.n_resources_)
print(f"{spent} epochs per fold; the whole grid takes {36 * search.n_candidates_[0]}")
print("best:", search.best_params_)

# %%
# The best candidate, with early stopping
# ---------------------------------------
# The best candidate is fitted to all training rows. This time held-out rows choose the
# epoch, out of the default number of epochs, and on these rows the result cannot be worse
# than PCA.

best = {name: search.best_params_[name] for name in grid}
model = AutoencoderTransformer(N_COMPONENTS, **best, random_state=0).fit(X_train)
pca = PCA(N_COMPONENTS).fit(X_train)


def error(model, X):
    """Return the mean squared error per pixel."""
    return np.square(model.inverse_transform(model.transform(X)) - X).mean()


print(f"test error {error(model, X_test):.5f}, PCA {error(pca, X_test):.5f} per pixel")

# %%
# The course of the search
# ------------------------
# Each line is a candidate. It ends where the search dropped the candidate. The widest
# network is best from the first round on. Weight decay makes no difference in the first
# round and decides the last one. A parameter with a late effect can only be judged among
# the candidates that are still there.

results = search.cv_results_
pca_errors = [
    error(PCA(N_COMPONENTS).fit(X_train[kept]), X_train[left_out])
    for kept, left_out in folds.split(X_train)
]
pca_error = np.mean(pca_errors)
colors = dict(
    zip(
        grid["hidden_layer_sizes"],
        ["#009E73", "#56B4E9", "#0072B2"],
        strict=True,
    )
)
styles = dict(zip(grid["dropout"], ["-", "--", ":"], strict=True))
markers = dict(zip(grid["weight_decay"], ["o", "^"], strict=True))
curves = {}
for params, epochs, score in zip(
    results["params"], results["n_resources"], results["mean_test_score"], strict=True
):
    key = tuple(params[name] for name in grid)
    curves.setdefault(key, []).append((epochs, -score / pca_error))

plt.rcParams.update({"font.size": 9, "axes.spines.right": False, "axes.spines.top": False})
figure, ax = plt.subplots(figsize=(6.2, 3.6), layout="constrained")
for (sizes, dropout, decay), points in curves.items():
    style = {"color": colors[sizes], "ls": styles[dropout], "marker": markers[decay]}
    ax.plot(*zip(*points, strict=True), **style, lw=1.3, ms=4.5, mfc="white")
ax.axhline(1, color="black", lw=1, ls="-.")
ax.annotate("PCA", (36, 1), (0, 3), textcoords="offset points", ha="right")
for color, sizes in zip(colors.values(), colors, strict=True):
    ax.plot([], [], color=color, lw=3, label=f"hidden layers {sizes}")
for dropout, style in styles.items():
    ax.plot([], [], color="0.3", ls=style, label=f"dropout {dropout:g}")
for decay, marker in markers.items():
    ax.plot([], [], marker, color="0.3", mfc="white", label=f"weight decay {decay:g}")
ax.set(xscale="log", xlabel="epochs", ylabel="cross-validated error / PCA's")
ax.set_xticks(search.n_resources_, [str(n) for n in search.n_resources_])
ax.minorticks_off()
ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
plt.show()
