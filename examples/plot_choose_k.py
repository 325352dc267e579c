"""
One fit, any number of components
=================================

PCA is fitted once, and then truncated to as many components as a task can afford. With
``ordered=True`` an autoencoder can be truncated in the same way. Training hides a random
number of the last codes of each row (nested dropout, Rippel, Gelbart and Adams 2014), so
that for every k the first k codes can be used without the others.
"""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from skae import AutoencoderTransformer
from skae.metrics import (
    make_hidden_cell_scorer,
    make_reconstruction_scorer,
    one_standard_error,
)
from skae.plotting import ScreeDisplay

X, y = load_digits(return_X_y=True)
X = X / 16  # all pixels have the same unit, so one scale for all
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.25, random_state=0, stratify=y
)

# %%
# The fit
# -------
# The autoencoder has sixteen codes; all other parameters have their defaults. An epoch of
# training is kept only if held-out rows are reconstructed no worse than by PCA for each of
# several k.

n_components = 16
ae = AutoencoderTransformer(n_components, ordered=True, random_state=0).fit(X_train)
pca = PCA(n_components).fit(X_train)
print(f"kept: epoch {ae.best_epoch_} of {ae.n_iter_}")

# %%
# What the codes explain
# ----------------------
# ``explained_variance_ratio_`` has the same meaning as in PCA: it is the share of the
# variance that a code adds to the codes before it. Its cumulative sum tells how many codes
# are needed.

explained = np.cumsum(ae.explained_variance_ratio_)
explained_by_pca = np.cumsum(pca.explained_variance_ratio_)
for share in 0.5, 0.7, 0.8:
    ours, theirs = (int(np.argmax(e >= share)) + 1 for e in (explained, explained_by_pca))
    print(f"{share:.0%} of the variance: {ours} codes, {theirs} principal components")

# %%
# These are shares of the variance of the training rows. What matters is the error on rows
# that neither model has seen. For each k, ``inverse_transform`` takes the first k codes.

Z, scores = ae.transform(X_test), pca.transform(X_test)
components = np.arange(1, n_components + 1)
errors = [np.square(ae.inverse_transform(Z[:, :k]) - X_test).mean() for k in components]
pca_errors = [
    np.square(scores[:, :k] @ pca.components_[:k] + pca.mean_ - X_test).mean()
    for k in components
]
for k in 1, 2, 4, 8, 16:
    ratio = errors[k - 1] / pca_errors[k - 1]
    print(f"k={k:2}: error {errors[k - 1]:.4f}, {ratio:.2f} times PCA's")

# %%
# A smaller estimator
# -------------------
# ``truncate(k)`` returns a fitted estimator that has the first k codes. It can be used like
# any other transformer. Here only the classifier after it is fitted. For comparison the
# result of a separate fit with four components is printed: one fit for all k has a price at
# each k.

four = ae.truncate(4)
print(f"{four.n_components_} codes, R² = {four.explained_variance_ratio_.sum():.2f}")
reducers = {
    "PCA": PCA(4).fit(X_train),
    "ordered, truncated to 4": four,
    "separate fit with 4": AutoencoderTransformer(4, random_state=0).fit(X_train),
}
for name, reducer in reducers.items():
    classifier = KNeighborsClassifier().fit(reducer.transform(X_train), y_train)
    pipe = make_pipeline(reducer, classifier)
    X_hat = reducer.inverse_transform(reducer.transform(X_test))
    print(
        f"{name:24} error {np.square(X_hat - X_test).mean():.4f}, "
        f"accuracy of 5 nearest neighbours {pipe.score(X_test, y_test):.3f}"
    )

# %%
# The figure
# ----------
# The figure shows the explained variance of the training rows, the errors of held-out
# rows, and reconstructions of one of these from more and more codes.

plt.rcParams.update({"font.size": 9, "axes.spines.right": False, "axes.spines.top": False})
figure = plt.figure(figsize=(7.2, 4.8), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=[1.7, 1], hspace=0.06)
styles = {
    "PCA": {"color": "0.2", "marker": "o", "ls": "--", "mfc": "white", "ms": 4},
    "ordered autoencoder": {"color": "#0072B2", "marker": "s", "ms": 4},
}
left, right = above.subplots(1, 2)
panels = [
    (left, [explained_by_pca, explained], "cumulative explained variance"),
    (right, [pca_errors, errors], "mean squared error per pixel"),
]
for ax, curves, label in panels:
    for curve, (name, style) in zip(curves, styles.items(), strict=True):
        ax.plot(components, curve, label=name, lw=1.2, clip_on=False, **style)
    ax.set(xlabel="components k", ylabel=label, xlim=(0.5, 16.5), ylim=(0, None))
    ax.set_xticks([1, 2, 4, 6, 8, 10, 12, 14, 16])
left.set_ylim(0, 1)
left.set_title("training rows", fontsize=9)
right.set_title("held-out rows", fontsize=9)
left.legend(frameon=False, loc="lower right")

shown = [1, 2, 4, 8, 16]
row = int(np.argmax(y_test == 5))
axes = below.subplots(2, len(shown) + 1)
for k, column in zip(shown, axes.T, strict=False):
    by_pca = scores[row, :k] @ pca.components_[:k] + pca.mean_
    images = by_pca, ae.inverse_transform(Z[row : row + 1, :k])[0]
    for ax, image in zip(column, images, strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
    column[0].set_title(f"k = {k}", fontsize=9)
axes[0, -1].imshow(X_test[row].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
axes[0, -1].set_title("the row", fontsize=9)
axes[1, -1].set_visible(False)
for ax, name in zip(axes[:, 0], ["PCA", "ordered"], strict=True):
    ax.set_ylabel(name, rotation=0, ha="right", va="center")
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color="0.8", lw=0.5)

# %%
# How many components there are
# -----------------------------
# Neither curve says where to stop, because the error of held-out rows falls with every
# component. Hidden cells do. They are predicted from the other cells of their row, which
# components that describe noise make worse. This table is a curved surface of two
# dimensions, with noise, in twenty columns.

rng = np.random.default_rng(0)
position = rng.normal(size=(300, 2))
bent = np.tanh(position @ rng.normal(size=(2, 10))) @ rng.normal(size=(10, 20))
surface = (
    position @ rng.normal(size=(2, 20)) + 0.5 * bent + 0.2 * rng.normal(size=(300, 20))
)
scorers = {"rows": make_reconstruction_scorer(), "cells": make_hidden_cell_scorer()}
ax = None
for model in PCA(), AutoencoderTransformer(allow_nan=True, random_state=0):
    search = GridSearchCV(
        model,
        {"n_components": [1, 2, 3, 4, 5, 6]},
        scoring=scorers,
        refit=partial(one_standard_error, score="cells"),
        cv=3,
    ).fit(surface)
    display = ScreeDisplay.from_cv_results(
        search.cv_results_, score="cells", name=type(model).__name__, ax=ax
    )
    ax = display.ax_
    for name in scorers:
        scores = -search.cv_results_[f"mean_test_{name}"]
        print(f"{type(model).__name__}, {name}: " + " ".join(f"{s:.3f}" for s in scores))
    print(f"chosen: {search.best_params_['n_components']}")
plt.show()

# %%
# PCA needs more components than the surface has dimensions, because the surface is curved.
# In the figure a ring marks the fewest components within one standard error of the best.
#
# One fit that can be truncated to any k has a higher error than a separate fit at each k.
# The reason is that the best single code follows a curve that winds through the rows,
# and such a curve is not a smooth coordinate of the best surface with two codes. If k is
# known beforehand, fit with that k and without `ordered`. If k is to be chosen, or if
# several k are needed, `ordered` replaces many fits by one. The benchmarks beside this
# example say what it costs.
