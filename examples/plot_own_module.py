"""
A network of one's own that starts as PCA
=========================================

The parameter ``module`` takes an architecture of your own: a class, or a function, that is
called with the number of features and of components, and returns a ``torch.nn.Module``
with methods or layers ``encode`` and ``decode``. The network then corrects linear maps that
start as PCA. Its output is multiplied by numbers that start at zero and are learned, so
that training begins at PCA, and is kept only as far as it helps rows that were not trained
on.

This example trains a small convolutional network on handwritten digits of 8 x 8 pixels, in
this way and on its own.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from torch import nn

from skae import AutoencoderTransformer

# %%
# The network
# -----------
# Rows stay flat outside, as scikit-learn wants them. The network gives them their shape.


class Convolutional(nn.Module):
    """Two convolutions of stride 2, and their mirror image."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)),
            nn.Conv2d(1, 16, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(32 * 2 * 2, n_components),
        )
        self.decode = nn.Sequential(
            nn.Linear(n_components, 32 * 2 * 2),
            nn.GELU(),
            nn.Unflatten(1, (32, 2, 2)),
            nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1),
            nn.GELU(),
            nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1),
            nn.Flatten(),
        )


X_train, X_test = train_test_split(load_digits().data / 16, random_state=0)

# %%
# Beside PCA, and on its own
# --------------------------
# With ``init="random"`` the network is trained without the linear maps. After few epochs it
# is worse than PCA. The number of epochs is small here, so that the script takes seconds.
# The warning that more epochs would help is therefore ignored.

warnings.filterwarnings("ignore", category=ConvergenceWarning)
params = {"module": Convolutional, "max_epochs": 40, "random_state": 0}
models = {
    'init="pca"': AutoencoderTransformer(8, **params),
    'init="random"': AutoencoderTransformer(8, init="random", **params),
}
pca = PCA(8).fit(X_train)


def error(model):
    """Return the mean squared error of a pixel of the test images."""
    return np.square(model.inverse_transform(model.transform(X_test)) - X_test).mean()


print(f"{'':15} {'error':>7} {'largest correlation of two codes':>34}")
for name, model in {"PCA": pca, **models}.items():
    Z = model.fit(X_train).transform(X_train)
    correlations = np.corrcoef(Z.T) - np.eye(8)
    print(f"{name:15} {error(model):7.4f} {np.abs(correlations).max():34.4f}")

# %%
# The curves show the error of the tenth of the training images that chooses the epoch. On
# its own the network needs some epochs to be as good as PCA. Beside PCA it begins there, is
# kept only if it gains, and its codes are uncorrelated and in order. After 40 epochs both
# have learned nearly the same; here the network on its own is slightly ahead.

plt.rcParams.update({"font.size": 10, "axes.spines.right": False, "axes.spines.top": False})
figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
for (name, model), color in zip(models.items(), ("#0072B2", "#D55E00"), strict=True):
    ax.plot(model.validation_curve_, color=color, lw=1.8, label=name)
pca_error = -models['init="pca"'].pca_score_
ax.axhline(pca_error, color="#666666", lw=1.2, ls="--", label="PCA")
ax.set(
    xlabel="epoch",
    ylabel="held-out squared error per pixel",
    xlim=(0, 40),
    ylim=(0, 2 * pca_error),
)
ax.legend(frameon=False)

# %%
# Components
# ----------
# ``components_`` are, as those of PCA, the changes of the image when a code changes, here
# at the mean code.

rows = {"PCA": pca.components_, "convolutional": models['init="pca"'].components_}
figure, axes = plt.subplots(2, 8, figsize=(8, 2.2), layout="constrained")
for line, (name, components) in zip(axes, rows.items(), strict=True):
    for ax, component in zip(line, components, strict=True):
        limit = np.abs(component).max()
        image = component.reshape(8, 8)
        ax.imshow(image, cmap="RdBu_r", vmin=-limit, vmax=limit)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(visible=True, linewidth=0.4)
    line[0].set_ylabel(name, rotation=0, ha="right", va="center")
plt.show()
