"""
A dense autoencoder for handwritten digits
==========================================

This example trains the textbook network of 784-64-32-64-784 units. It has relu activations
everywhere except in the output, which is a sigmoid. It is trained for 100 epochs with
batches of 256 rows to minimise the binary cross-entropy of the pixels. In the style of
scikit-learn this takes ten lines.

The data are MNIST, from the file ``mnist.npz`` in the folder that the environment variable
``SKAE_DATA`` names, or otherwise from OpenML. Without access to the internet they are the
8 x 8 digits bundled with scikit-learn, and the network then has 64-64-32-64-64 units. With
the bundled digits the script takes seconds, with MNIST several minutes.
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
# Pixel values are scaled to [0, 1], because the cross-entropy needs values in this range.


def from_openml():
    """Return MNIST from OpenML, or None if it cannot be reached within some seconds."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(10)
    try:
        with warnings.catch_warnings(action="ignore"):  # it warns before it tries again
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
    """Return X_train and X_test of shape (n_samples, n_pixels), with values in [0, 1]."""
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
# A tenth of the training rows is held out, and its error is measured after every epoch.
# The weights of the epoch with the least error are kept. With ``n_iter_no_change=100``
# training runs for all 100 epochs.

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
# Dropout with a rate of 0.5 after each hidden layer takes one parameter. With only 64
# hidden units it makes the network worse, because such a narrow network hardly overfits.

with_dropout = clone(autoencoder).set_params(dropout=0.5).fit(X_train)

# %%
# The loss curves
# ---------------
# With dropout the curve of the training batches lies above that of the held-out rows,
# because it is measured while half of the hidden units are dropped.

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
# Errors on rows that were not used in the fit
# --------------------------------------------
# PCA with the same number of components minimises the squared error, whereas the network
# was trained for another loss. It is compared by PCA's criterion here. With MNIST it is
# clearly better than PCA. With the 8 x 8 digits PCA is better, because it has one component
# for every two pixels, and a plain network with a random start has few rows to learn from.
# The default, ``init="pca"``, avoids this; see the example with PCA in a Pipeline.

pca = PCA(32).fit(X_train)
models = {"PCA": pca, "no dropout": autoencoder, "dropout 0.5": with_dropout}
print(f"{'':12} {'cross-entropy':>14} {'squared error':>14}")
print(f"{'':12} {'per pixel':>14} {'per image':>14}")
for name, model in models.items():
    X_hat = model.inverse_transform(model.transform(X_test))
    squared = np.square(X_hat - X_test).sum(axis=1).mean()
    # The reconstructions of PCA are not probabilities.
    entropy = "" if model is pca else f"{-model.score(X_test):.4f}"
    print(f"{name:12} {entropy:>14} {squared:14.3f}")

# %%
# Originals above their reconstructions
# -------------------------------------

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
