"""
A code wider than the data
==========================

A network of 10-64-32-64-10 units gives ten features a code of 32 numbers. Trained on 100
rows of noise it reports an error near zero, which looks like success. This example asks
what such a network has learnt, and what any method could learn from such data.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer

# %%
# 100 rows of 10 independent features, uniform in [0, 1], and 2000 more rows from the same
# source that no model sees in `fit`. Errors are given as a share of the variance, so that
# 1 is what the mean of the training rows achieves.

rng = np.random.default_rng(0)
X_train, X_test = rng.random((100, 10)), rng.random((2000, 10))


def share_left(model, X):
    """Mean squared error of X over that of the training mean."""
    X_hat = model.inverse_transform(model.transform(X))
    return np.square(X_hat - X).mean() / np.square(X_train.mean(axis=0) - X).mean()


# %%
# The wide network
# ----------------
# PCA has no 32 components of 10 features to start from, so that ``init="random"`` is
# needed. ``early_stopping=False`` trains 100 epochs on all rows.

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
# Both errors are small, and that says only that the network copies. Nothing stood in its
# way: a code as wide as the data can hold the data. PCA with 10 components copies as
# well, without error and without training:

copying = PCA(10).fit(X_train)
print(f"PCA, 10 components:         {share_left(copying, X_test):.3f} left")

# %%
# A narrow code
# -------------
# Now the code has fewer numbers than the data have features, so that something must be
# left out. The features are independent: none tells anything of another, and k numbers
# keep about k tenths of the variance, whichever they are. PCA finds directions that are a
# little better than that for the 100 rows it was fitted on, and a little worse for new
# rows. An autoencoder that is made to train on every row (``early_stopping=False``)
# learns the training rows better still and new rows worse. With its defaults, it asks
# held-out rows whether training helps, and where they say no it is PCA.

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
# The picture: held-out rows on the right tell what was learnt, training rows on the left
# do not. The squares on the far right are the wide network.

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
# What such data can give: a check that a network is wired up and able to fit. What it
# cannot give: a code that says more about a row than as many of its features do.
