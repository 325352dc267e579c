"""
Comparing PCA, the autoencoder and other estimators
===================================================

`PCA.score` is a log-likelihood, `NMF` and `KernelPCA` have no `score`, and the `score` of
:class:`~skae.AutoencoderTransformer` measures its reconstruction. To compare them,
:func:`skae.metrics.make_reconstruction_scorer` measures the same error for all: the
distance of `inverse_transform(transform(X))` from held-out rows X, in the units of X.
:func:`skae.compare` returns a table of errors, fit times and numbers of parameters.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import NMF, PCA, KernelPCA
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae import AutoencoderTransformer
from skae.metrics import make_reconstruction_scorer

X = load_digits().data / 16  # all pixels have the same unit, so one scale for all
folds = KFold(3, shuffle=True, random_state=0)

# %%
# One grid
# --------
# A step of a Pipeline is a parameter like any other. The grid sets it to PCA or to the
# autoencoder, with several numbers of components for each.

components = [2, 4, 8, 16]
autoencoder = AutoencoderTransformer(max_epochs=30, random_state=0)
search = GridSearchCV(
    Pipeline([("reduce", PCA())]),
    {"reduce": [PCA(), autoencoder], "reduce__n_components": components},
    scoring=make_reconstruction_scorer("squared_error"),
    cv=folds,
    refit=False,
).fit(X)

grid = {}
names = [type(reducer).__name__ for reducer in search.cv_results_["param_reduce"]]
for name, score in zip(names, search.cv_results_["mean_test_score"], strict=True):
    grid.setdefault(name, []).append(-score)
print(f"{'components':24}" + "".join(f"{k:8d}" for k in components))
for name, errors in grid.items():
    print(f"{name:24}" + "".join(f"{error:8.4f}" for error in errors))
print(f"best: {search.best_params_}")

# %%
# More components always improve a reconstruction. Such a grid is therefore useful for
# choosing between models of the same size, or for seeing how the error depends on the size.
# If a classifier follows, its accuracy is a better criterion.
#
# One table for several estimators
# --------------------------------
# The table has one row per estimator and fold. All estimators have the same folds, so that
# their errors can be compared fold by fold. The keys of the dict are the names of the
# estimators; in a list their names are their reprs. `gamma` and `alpha` of kernel PCA were
# found by a grid search with the same scorer. As one of the estimators standardizes the
# pixels, `standardize=False` says that errors are compared in the units of X.

estimators = {
    "NMF": NMF(8, init="nndsvda", max_iter=1000),
    "scaled PCA": make_pipeline(StandardScaler(), PCA(8)),
    "PCA": PCA(8),
    "kernel PCA": KernelPCA(
        8, kernel="rbf", gamma=0.1, alpha=1e-5, fit_inverse_transform=True
    ),
    "autoencoder": autoencoder.set_params(n_components=8),
}
table = skae.compare(X, estimators, cv=folds, standardize=False, random_state=0)
columns = ["error", "r2", "fit_seconds", "transform_seconds", "n_parameters"]
print(table.groupby("estimator", sort=False)[columns].mean().round(4).to_string())

# %%
# Errors, sizes and fit times
# ---------------------------
# Panel a shows the grid: for the same error the autoencoder needs about half as many
# components. Panels b and c show the table: a circle is a fold, a bar is the mean. The
# autoencoder takes seconds to fit where PCA takes milliseconds.

BLUE, GREY = "#0072B2", "0.35"
plt.rcParams.update({"font.size": 9, "axes.spines.right": False, "axes.spines.top": False})
figure, (left, middle, right) = plt.subplots(
    1, 3, figsize=(9.2, 3), layout="constrained", width_ratios=[1.25, 1, 1]
)
figure.get_layout_engine().set(wspace=0.1)

styles = {
    "PCA": {"fmt": "o--", "color": GREY, "mfc": "white", "label": "PCA"},
    "AutoencoderTransformer": {"fmt": "s-", "color": BLUE, "label": "autoencoder"},
}
for name, errors in grid.items():
    style = dict(styles[name])
    left.plot(components, errors, style.pop("fmt"), **style)
left.legend(frameon=False)
left.set_xscale("log", base=2)
left.set_xticks(components, [str(k) for k in components])
left.set(xlabel="components", ylabel="mean squared error per pixel", ylim=(0, None))
left.set_title("a   one grid", loc="left")

for place, (name, rows) in enumerate(table.groupby("estimator", sort=False)):
    color = BLUE if name == "autoencoder" else GREY
    for ax, column in [(middle, "error"), (right, "fit_seconds")]:
        jitter = place + np.linspace(-0.16, 0.16, len(rows))
        ax.plot(rows[column], jitter, "o", color=color, ms=4.5, mfc="white", mew=1.2)
        mean = rows[column].mean()
        ax.plot([mean, mean], [place - 0.34, place + 0.34], color=color, lw=2)
for ax in (middle, right):
    ax.grid(axis="x", color="0.9", lw=0.7)
    ax.set_axisbelow(True)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(estimators) - 0.5, -0.5)
middle.set_yticks(range(len(estimators)), list(estimators))
right.set_yticks([])
middle.set(xlabel="mean squared error per pixel", xlim=(0, None))
middle.set_title("b   8 components", loc="left")
right.set(xlabel="seconds to fit", xscale="log", xlim=(3e-4, 10))
right.set_title("c   fit times", loc="left")
plt.show()
