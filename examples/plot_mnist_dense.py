"""
A dense autoencoder for handwritten digits
==========================================

The textbook network of 784-64-32-64-784 units: relu everywhere but in the output, which
is a sigmoid, trained for 100 epochs at batches of 256 to lower the binary cross-entropy
of the pixels. scikit-learn's words for it fit on ten lines.

The data are MNIST, from the folder that the environment variable ``SKAE_DATA`` names
(file ``mnist.npz``) or else from OpenML; where there is no network, the 8 x 8 digits
bundled with scikit-learn, and the network is then 64-64-32-64-64. With the bundled digits
the script takes seconds, with MNIST several minutes.
"""

import http.client
import os
import socket
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import fetch_openml, load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer

# %%
# The data
# --------
# Pixel values are scaled to [0, 1], as the cross-entropy asks for.


def from_openml():
    """MNIST from OpenML, or None where it cannot be reached within some seconds."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(10)
    try:
        with warnings.catch_warnings(action="ignore"):  # it warns when it tries again
            X, _ = fetch_openml(
                "mnist_784",
                version=1,
                as_frame=False,
                return_X_y=True,
                n_retries=1,
                delay=0.1,
            )
    except (OSError, ImportError, http.client.HTTPException):
        return None
    finally:
        socket.setdefaulttimeout(timeout)
    return X


def load_images():
    """X_train and X_test of shape (n_samples, n_pixels), values in [0, 1]."""
    if os.environ.get("SKAE_DATA"):
        with np.load(Path(os.environ["SKAE_DATA"]) / "mnist.npz") as file:
            images = file["X_train"], file["X_test"]
        return [X.reshape(len(X), -1) / np.float32(255) for X in images]
    X = from_openml()
    if X is not None:
        X = X.astype(np.float32) / 255
        return X[:60000], X[60000:]
    X = load_digits().data.astype(np.float32) / 16
    return train_test_split(X, test_size=0.25, random_state=0)


X_train, X_test = load_images()
side = int(np.sqrt(X_train.shape[1]))
print(f"{len(X_train)} images to fit, {len(X_test)} held out, {side} x {side} pixels")

# %%
# The network
# -----------
# A tenth of the training rows is set aside and watched after every epoch. The weights of
# the epoch that was best for them are kept; ``n_iter_no_change=100`` lets all 100 epochs
# run.

autoencoder = AutoencoderTransformer(
    32,
    hidden_layer_sizes=(64,),
    activation="relu",
    code_activation="relu",
    init="random",
    loss="binary_cross_entropy",
    batch_size=256,
    max_epochs=100,
    n_iter_no_change=100,
    random_state=0,
)
autoencoder.fit(X_train)

# %%
# Dropout at a rate of 0.5 after each hidden layer is one parameter. With only 64 hidden
# units it costs more than it gives: the network is too narrow to overfit by much.

with_dropout = clone(autoencoder).set_params(dropout=0.5).fit(X_train)

# %%
# What the epochs brought
# -----------------------
# The curve of the training batches lies above that of the held-out rows with dropout,
# for it is measured while half of the units are silent.

plt.rcParams.update({"font.size": 10, "axes.spines.right": False, "axes.spines.top": False})
figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
curves = [(autoencoder, "no dropout", "#0072B2"), (with_dropout, "dropout 0.5", "#D55E00")]
for model, name, color in curves:
    epochs = np.arange(1, model.n_iter_ + 1)
    ax.plot(epochs, model.loss_curve_, "--", color=color, lw=1.4, label=f"{name}, training")
    held_out = model.validation_curve_[1:]
    ax.plot(epochs, held_out, color=color, lw=1.8, label=f"{name}, held out")
ax.set(xlabel="epoch", ylabel="binary cross-entropy (nats per pixel)", xlim=(0, 100))
ax.legend(frameon=False)

# %%
# Errors of rows that had no part in the fit
# ------------------------------------------
# PCA with as many components minimises the squared error; the network was trained for
# another loss, and is compared on PCA's own ground here. With MNIST it wins clearly. With
# the 8 x 8 digits PCA does: it has a number for every second pixel, and a plain network
# that starts at random has few rows to learn from. That is what ``init="pca"``, the
# default, is for; see the example on PCA's place in a Pipeline.

pca = PCA(32).fit(X_train)
models = {"PCA": pca, "no dropout": autoencoder, "dropout 0.5": with_dropout}
print(f"{'':12} {'cross-entropy':>14} {'squared error':>14}")
print(f"{'':12} {'per pixel':>14} {'per image':>14}")
for name, model in models.items():
    X_hat = model.inverse_transform(model.transform(X_test))
    squared = np.square(X_hat - X_test).sum(axis=1).mean()
    # PCA's reconstructions are no probabilities.
    entropy = "" if model is pca else f"{-model.score(X_test):.4f}"
    print(f"{name:12} {entropy:>14} {squared:14.3f}")

# %%
# Originals over reconstructions
# ------------------------------

shown = X_test[:10]
rows = {
    "original": shown,
    "reconstruction": autoencoder.inverse_transform(autoencoder.transform(shown)),
}
figure, axes = plt.subplots(2, 10, figsize=(9, 1.75), layout="constrained")
for line, (name, images) in zip(axes, rows.items(), strict=True):
    for ax, image in zip(line, images, strict=True):
        ax.imshow(image.reshape(side, side), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(visible=True, linewidth=0.4)
    line[0].set_ylabel(name, rotation=0, ha="right", va="center")
plt.show()
