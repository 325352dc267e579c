"""
Sparse codes and the images of the decoder
==========================================

A sparse code has more numbers than are needed, of which only a few differ from zero in a
row (Olshausen and Field 1996). Each number then stands for a part that a row has or lacks,
and with a linear decoder this part is an image. :class:`~skae.regularizers.L1Code` makes
codes sparse, and ``code_activation="relu"`` makes small ones exactly zero.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer
from skae.regularizers import L1Code

X_train, X_test = train_test_split(load_digits().data / 16, random_state=0)

# %%
# The weight of the penalty
# -------------------------
# Without hidden layers the encoder is linear but for the activation of its codes, and the
# decoder is linear. Codes with an activation cannot be those of PCA, so that ``init`` is
# ``"random"``. The larger the weight of the penalty is, the fewer codes are active in a
# row, and the larger is the error. ``weight_decay`` keeps the decoder from making up for
# small codes by large weights.


def fitted(alpha):
    """Return an autoencoder with 49 codes of which `alpha` makes many zero."""
    return AutoencoderTransformer(
        49,
        hidden_layer_sizes=(),
        init="random",
        code_activation="relu",
        regularizer=L1Code(alpha),
        weight_decay=0.1,
        max_epochs=300,
        early_stopping=False,
        random_state=0,
    ).fit(X_train)


models = {alpha: fitted(alpha) for alpha in (0.0, 0.5, 2.0)}
for alpha, ae in models.items():
    Z = ae.transform(X_test)
    error = np.square(ae.inverse_transform(Z) - X_test).mean()
    active = np.sum(Z / Z.max() > 0.05, axis=1).mean()
    print(f"L1Code({alpha}): {active:4.1f} of 49 codes are active, error {error:.4f}")

# %%
# The images of the decoder
# -------------------------
# The image of a code is what the reconstruction gains when this code alone goes from zero
# to its usual size; red adds and blue takes away. Without a penalty the images are
# speckles, many of which together make a digit. Those of sparse codes are larger and
# smoother: strokes and the space beside them. Codes at the end of the list are never used.


def images(ae):
    """Return (49, 64) what each code adds, those of the largest codes first."""
    sizes = np.sqrt(np.square(ae.transform(X_train)).mean(axis=0))
    nothing = ae.inverse_transform(np.zeros((1, len(sizes))))
    parts = ae.inverse_transform(np.diag(sizes)) - nothing
    return parts[np.argsort(-np.square(parts).sum(axis=1))]


def show(ax, image, limit, cmap="RdBu_r"):
    """Draw an image (64,) whose values reach from -limit to limit."""
    ax.imshow(image.reshape(8, 8), cmap=cmap, vmin=-limit, vmax=limit)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_linewidth(0.4)


figure = plt.figure(figsize=(7.2, 3.8), layout="constrained")
for alpha, part in zip((0.0, 2.0), figure.subfigures(1, 2, wspace=0.05), strict=True):
    part.suptitle(f"L1Code({alpha:g})", fontsize="medium")
    drawn = images(models[alpha])
    for ax, image in zip(part.subplots(7, 7).flat, drawn, strict=True):
        show(ax, image, max(np.abs(image).max(), 0.05))

# %%
# A digit as a sum of parts
# -------------------------
# The reconstruction of a row is the sum of these images, each times a code, and what is
# there without any code. Here are the six largest terms of three digits, with the contrast
# doubled.

ae, n_parts = models[2.0], 6
figure, axes = plt.subplots(
    3, n_parts + 2, figsize=(7.2, 2.9), layout="constrained", sharex=True, sharey=True
)
for line, row in zip(axes, X_test[[0, 1, 4]], strict=True):
    z = ae.transform(row[None])[0]
    nothing = ae.inverse_transform(np.zeros((1, 49)))[0]
    parts = ae.inverse_transform(np.diag(z)) - nothing
    largest = np.argsort(-np.square(parts).sum(axis=1))[:n_parts]
    show(line[0], row, 1)
    show(line[1], nothing + parts[largest].sum(axis=0), 1)
    for ax, j in zip(line[2:], largest, strict=True):
        show(ax, parts[j], 0.5)
titles = ["digit", f"sum of {n_parts}"] + [f"part {i}" for i in range(1, n_parts + 1)]
for ax, title in zip(axes[0], titles, strict=True):
    ax.set_title(title, fontsize="small")

plt.show()
