"""
A code wider than the data
==========================

A network of 10-64-32-64-10 units encodes ten features as 32 numbers. Trained on 100 rows of
noise it reaches an error near zero, which looks like success. This example shows what such
a network has learned, and what any method could learn from such data.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer

# %%
# The training data are 100 rows of 10 independent features, uniform in [0, 1]. The test
# data are 2000 more such rows, which no model sees in `fit`. Errors are divided by the
# variance, so that 1 is the error of the mean of the training rows.

rng = np.random.default_rng(0)
X_train, X_test = rng.random((100, 10)), rng.random((2000, 10))


def share_left(model, X):
    """Return the mean squared error of X divided by that of the training mean."""
    X_hat = model.inverse_transform(model.transform(X))
    return np.square(X_hat - X).mean() / np.square(X_train.mean(axis=0) - X).mean()


# %%
# The wide network
# ----------------
# PCA of 10 features does not have 32 components to start from, so that ``init="random"`` is
# needed. With ``early_stopping=False`` the network is trained for 100 epochs on all rows.

wide = AutoencoderTransformer(
    32,
    hidden_layer_sizes=(64,),
    activation="relu",
    init="random",
    batch_size=10,
    max_epochs=100,
    early_stopping=False,
    random_state=0,
).fit(X_train)
wide_train, wide_test = share_left(wide, X_train), share_left(wide, X_test)
print(f"32 numbers for 10 features: {wide_train:.3f} left of the training rows' variance")
print(f"                            {wide_test:.3f} left of new rows' variance")

# %%
# Both errors are small, but this only means that the network copies its input. Nothing
# prevents that, because a code that is as wide as the data can hold the data. PCA with 10
# components copies its input as well, without error and without training:

copying = PCA(10).fit(X_train)
print(f"PCA, 10 components:         {share_left(copying, X_test):.3f} left")

# %%
# A narrow code
# -------------
# Now the code has fewer numbers than the data have features, so that something must be
# left out. The features are independent: no feature says anything about another one, and
# any k numbers keep about k tenths of the variance. PCA finds directions that are a little
# better than that for the 100 rows that it was fitted to, and a little worse for new rows.
# An autoencoder with ``early_stopping=False``, which trains on all rows, is even better on
# the training rows and even worse on new rows. With its defaults it measures on held-out
# rows whether training helps. If it does not help the result is PCA.

components = [1, 3, 5, 7, 9]
left = {}
for k in components:
    models = {
        "PCA": PCA(k),
        "skae, trained regardless": AutoencoderTransformer(
            k, early_stopping=False, max_epochs=100, random_state=0
        ),
        "skae": AutoencoderTransformer(k, random_state=0),
    }
    for name, model in models.items():
        model.fit(X_train)
        left[name, k] = share_left(model, X_train), share_left(model, X_test)
    print(f"k={k}, new rows (skae kept epoch {model.best_epoch_}):", end=" ")
    print("; ".join(f"{name} {left[name, k][1]:.3f}" for name in models))

# %%
# The right panel shows errors on new rows, which tell what was learned. The left panel
# shows errors on training rows, which do not. The squares belong to the wide network.

plt.rcParams.update({"font.size": 10, "axes.spines.right": False, "axes.spines.top": False})
styles = {
    "PCA": {"color": "#000000", "marker": "o", "ms": 7, "mfc": "white", "lw": 1.2},
    "skae": {
        "color": "#0072B2",
        "marker": "x",
        "ms": 5,
        "mew": 1.6,
        "ls": "none",
        "zorder": 3,
    },
    "skae, trained regardless": {"color": "#D55E00", "marker": "^", "ms": 5, "lw": 1.2},
}
figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), sharey=True, layout="constrained")
for column, (ax, title) in enumerate(zip(axes, ["training rows", "new rows"], strict=True)):
    ax.plot([0, 10], [1, 0], ":", color="0.5", label="1 - k/10")
    for name, style in styles.items():
        ax.plot(
            components,
            [left[name, k][column] for k in components],
            label=name,
            clip_on=False,
            **style,
        )
    ax.plot(
        11.5,
        (wide_train, wide_test)[column],
        "s",
        color="#009E73",
        label="wide network",
        clip_on=False,
    )
    ax.set(title=title, xlabel="numbers in the code", xlim=(0, 12.2), ylim=(0, 1.15))
    ax.set_xticks([0, 2, 4, 6, 8, 10, 11.5], ["0", "2", "4", "6", "8", "10", "32"])
axes[0].set_ylabel("share of the variance left")
axes[0].legend(frameon=False, loc="upper right")
plt.show()

# %%
# With such data one can check that a network works and is able to fit. One cannot find a
# code that says more about a row than the same number of its features.
