"""
A tour of the Displays
======================

:mod:`skae.plotting` draws fitted estimators the way scikit-learn does: `from_estimator`
computes and draws, the Display it returns keeps the numbers, and `plot` draws them again.
All but the curve of the losses take PCA, NMF and Pipelines too.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer
from skae.metrics import METRICS, reconstruction_error
from skae.plotting import (
    CodesDisplay,
    ErrorDisplay,
    ExplainedVarianceDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
)

plt.rcParams.update({"font.size": 9})

X, y = load_digits(return_X_y=True)
X = X / 16  # one scale for all pixels: they share a unit
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.25, random_state=0, stratify=y
)
pca = PCA(8).fit(X_train)
autoencoder = AutoencoderTransformer(8, random_state=0).fit(X_train)

# %%
# What is left of a row
# ---------------------
# Held-out digits, what PCA keeps of them in eight numbers, and what the autoencoder keeps.
# The figures are mean squared errors over the pixels of an image. The shape of the images
# is told from their 64 features; others are given as ``shape=(height, width)``.

first_of_each = [list(y_test).index(digit) for digit in range(10)]
ReconstructionDisplay.from_estimator(
    autoencoder, X_test[first_of_each], baseline=pca, cmap="gray_r"
)

# %%
# The same as numbers, over all held-out digits. "r2" is a score, the others are errors.

X_hat = {
    model: model.inverse_transform(model.transform(X_test)) for model in (pca, autoencoder)
}
print(f"{'':26}{'PCA':>8}{'autoencoder':>14}")
for metric in METRICS:
    errors = [reconstruction_error(X_test, X_hat[m], metric=metric) for m in X_hat]
    print(f"{metric:26}{errors[0]:8.4f}{errors[1]:14.4f}")

# %%
# How training went
# -----------------
# Epoch 0 is PCA. Rows that were held out choose the epoch whose weights are kept; where
# none of them improves on PCA, the circle is at epoch 0.

LossCurveDisplay.from_estimator(autoencoder)

# %%
# How many components
# -------------------
# A threshold marks how many components each model needs for that share of the variance.
# PCA's curve comes from the rows that are passed, the autoencoder's was stored by `fit`.
# Its codes share the work in another way: one alone keeps less than PCA's first component,
# for they were trained together.

ExplainedVarianceDisplay.from_estimator(autoencoder, X_train, threshold=0.75)

# %%
# Where the errors are
# --------------------
# Left, by pixel: most is lost in the middle, where the strokes are, and nothing at the
# edges, which are always empty. Right, by row: the five worst of the held-out digits, with
# their positions.

worst = ErrorDisplay.from_estimator(autoencoder, X_test).worst_

# %%
# `worst_` has the same positions, so that these rows can be looked at. They are odd
# digits, with which PCA has trouble too.

ReconstructionDisplay.from_estimator(
    autoencoder, X_test[worst], baseline=pca, cmap="gray_r"
)

# %%
# The plane of two codes
# ----------------------
# With two numbers for a digit, every point of the plane is an image. The right half decodes
# a grid of points from the dashed frame: going from one cloud of digits to another changes
# one image into another.

plane = AutoencoderTransformer(2, random_state=0).fit(X_train)
CodesDisplay.from_estimator(plane, X_train, y_train, decoded=10, cmap="gray_r")

# %%
# More than two codes
# -------------------
# A pair plot of the first four of the eight codes, here coloured by a scale and not by
# classes: how much ink a digit has.

CodesDisplay.from_estimator(autoencoder, X_train, X_train.mean(axis=1))
plt.show()
