"""
Removing noise
==============

A denoising autoencoder learns to reconstruct clean rows from corrupted ones. There are two
ways to train it. If clean versions of noisy rows are known, they are passed as
``fit(X_noisy, X_target=X_clean)``. If there are only clean rows, the parameter ``noise``
corrupts them in every training step, by a class of :mod:`skae.noise`.

This example removes noise from handwritten digits of 8 x 8 pixels, and at the end from a
table in which cells were swapped between rows.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer
from skae.noise import GaussianNoise, MaskingNoise, SaltAndPepperNoise, SwapNoise
from skae.regularizers import Contractive, KLSparsity, L1Code, OrthogonalDecoder

# %%
# Pixels are in [0, 1]. All of them get normal noise, and then a tenth of them is set to
# white or black. The number of epochs is small here, so that the script takes less than a
# minute. The warning that more epochs would help is therefore ignored.

warnings.filterwarnings("ignore", category=ConvergenceWarning)
rng = np.random.default_rng(0)
X_train, X_test = train_test_split(load_digits().data / 16, random_state=0)


def corrupt(X):
    """Add normal noise to X, and set a tenth of its cells to 0 or 1."""
    noisy = X + 0.2 * rng.normal(size=X.shape)
    return np.where(rng.random(X.shape) < 0.1, rng.integers(0, 2, X.shape), noisy)


noisy_train, noisy_test = corrupt(X_train), corrupt(X_test)


def error(X_hat, X=X_test):
    """Return the root mean squared error."""
    return np.sqrt(np.square(X_hat - X).mean())


# %%
# With clean versions of the rows
# -------------------------------
# PCA removes noise too, because it drops directions with little variance. The best number
# of components is chosen by the test rows here, which favours PCA.

pca_errors = {
    k: error(pca.inverse_transform(pca.transform(noisy_test)))
    for k in range(4, 33, 2)
    for pca in [PCA(k, random_state=0).fit(noisy_train)]
}
k_pca = min(pca_errors, key=pca_errors.get)
pca = PCA(k_pca).fit(noisy_train)
with_target = AutoencoderTransformer(32, max_epochs=40, random_state=0)
with_target.fit(noisy_train, X_target=X_train)

# %%
# With clean rows alone
# ---------------------
# The parameter ``noise`` makes the noise. It need not be exactly the noise of the rows that
# are restored later, but it must be similar. ``MaskingNoise`` trains the network to fill in
# pixels that were set to zero, which does not help here. All errors are measured on the
# *noisy* test digits.

noises = {
    "no noise in training": None,
    "GaussianNoise(0.3)": GaussianNoise(0.3),
    "MaskingNoise(0.3)": MaskingNoise(0.3),
    "SaltAndPepperNoise(0.2)": SaltAndPepperNoise(0.2),
}
models = {
    name: AutoencoderTransformer(32, noise=noise, max_epochs=40, random_state=0)
    for name, noise in noises.items()
}
errors = {"noisy digits": error(noisy_test), f"PCA({k_pca})": pca_errors[k_pca]}
for name, model in models.items():
    errors[name] = error(model.fit(X_train).denoise(noisy_test))
errors["X_target"] = error(with_target.denoise(noisy_test))
for name, value in errors.items():
    print(f"{name:28} {value:.3f}")

# %%
# Noise that is made in training is different in every step. Therefore it works better here
# than one noisy copy of every row, although it is not the noise of the test digits.

# %%
# Regularizers
# ------------
# Regularizers give codes desired properties, with noise or without it.
# :class:`~skae.regularizers.Contractive` makes codes change little when pixels change. With
# :class:`~skae.regularizers.L1Code` most codes of a row are small. With
# :class:`~skae.regularizers.KLSparsity` each code is active in few rows.
# :class:`~skae.regularizers.OrthogonalDecoder` keeps the components at right angles, as
# those of PCA are. The last column is the share of the codes that are below a tenth of the
# largest.

narrow = AutoencoderTransformer(32, noise=GaussianNoise(0.3), max_epochs=10, random_state=0)
relu = {"init": "random", "code_activation": "relu"}
logistic = {"init": "random", "code_activation": "logistic"}
shapes = {
    "none": {},
    "Contractive(1.0)": {"regularizer": Contractive(1.0)},
    "OrthogonalDecoder(1.0)": {"regularizer": OrthogonalDecoder(1.0)},
    "relu, no regularizer": relu,
    "relu, L1Code(0.02)": {"regularizer": L1Code(0.02)} | relu,
    "logistic, no regularizer": logistic,
    "logistic, KLSparsity(0.1)": {"regularizer": KLSparsity(0.1, beta=0.1)} | logistic,
}
print(f"{'regularizer':28} {'error':>6} {'small codes':>12}")
for name, params in shapes.items():
    model = clone(narrow).set_params(**params).fit(X_train)
    Z = np.abs(model.transform(X_test))
    small = np.mean(Z / Z.max(axis=0) < 0.1)
    print(f"{name:28} {error(model.denoise(noisy_test)):6.3f} {small:12.2f}")

# %%
# Digits
# ------

plt.rcParams.update({"font.size": 10, "axes.spines.right": False, "axes.spines.top": False})
shown = rng.choice(len(X_test), 10, replace=False)
rows = {
    "noisy": noisy_test,
    f"PCA, {k_pca} components": pca.inverse_transform(pca.transform(noisy_test)),
    "skae, noise made in training": models["SaltAndPepperNoise(0.2)"].denoise(noisy_test),
    "skae, clean rows known": with_target.denoise(noisy_test),
    "original": X_test,
}
figure, axes = plt.subplots(len(rows), 10, figsize=(8.4, 3.7), layout="constrained")
for line, (name, images) in zip(axes, rows.items(), strict=True):
    for ax, image in zip(line, images[shown], strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(visible=True, linewidth=0.4)
    label = name if name == "original" else f"{name}\nerror {error(images):.3f}"
    line[0].set_ylabel(label, rotation=0, ha="right", va="center")

# %%
# A table
# -------
# The columns of a table have no common scale of noise. :class:`~skae.noise.SwapNoise` gives
# a cell the value that another row has in the same column. Here about a seventh of the
# cells of new rows is swapped in this way. The columns are standardized.

X = StandardScaler().fit_transform(load_breast_cancer().data)
X_fit, X_new = train_test_split(X, random_state=0)
shuffled = np.stack([rng.permutation(column) for column in X_new.T], axis=1)
swapped = np.where(rng.random(X_new.shape) < 0.15, shuffled, X_new)
table_errors = {"swapped cells": error(swapped, X_new)}
for name, noise in {"no noise": None, "SwapNoise(0.15)": SwapNoise(0.15)}.items():
    model = AutoencoderTransformer(8, noise=noise, max_epochs=60, random_state=0)
    table_errors[name] = error(model.fit(X_fit).denoise(swapped), X_new)
for name, value in table_errors.items():
    print(f"{name:28} {value:.3f}")

# %%
# The figure compares all errors, measured on rows that were not used in a fit.

figure, axes = plt.subplots(
    1, 2, figsize=(8.4, 2.6), layout="constrained", width_ratios=[1.2, 1]
)
panels = ("digits", errors), ("breast cancer table", table_errors)
for ax, (title, values) in zip(axes, panels, strict=True):
    rivals = "noisy digits", "swapped cells", f"PCA({k_pca})"
    colors = ["#999999" if name in rivals else "#0072B2" for name in values]
    bars = ax.barh(list(values), values.values(), color=colors, height=0.7)
    ax.bar_label(bars, fmt="%.3f", padding=3)
    ax.set(
        title=title, xlabel="root mean squared error", xlim=(0, 1.3 * max(values.values()))
    )
    ax.invert_yaxis()
plt.show()
