"""
A tour of the Displays
======================

:mod:`skae.plotting` draws fitted estimators in the style of scikit-learn. `from_estimator`
computes and draws, the Display that it returns keeps the numbers, and `plot` draws them
again. All Displays except the loss curve also take PCA, NMF and Pipelines.
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
    LoadingsDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
)

plt.rcParams.update({"font.size": 9})

X, y = load_digits(return_X_y=True)
X = X / 16  # all pixels have the same unit, so one scale for all
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.25, random_state=0, stratify=y
)
pca = PCA(8).fit(X_train)
autoencoder = AutoencoderTransformer(8, random_state=0).fit(X_train)

# %%
# Reconstructions
# ---------------
# The picture shows held-out digits, and their reconstructions from eight numbers by PCA and
# by the autoencoder. The number at an image is the mean squared error over its pixels.
# Rows are drawn as images because of ``shape``; otherwise they would be curves.

first_of_each = [list(y_test).index(digit) for digit in range(10)]
ReconstructionDisplay.from_estimator(
    autoencoder, X_test[first_of_each], baseline=pca, shape=(8, 8), cmap="gray_r"
)

# %%
# The same comparison in numbers, over all held-out digits. "r2" is a score, for which
# greater is better; the others are errors.

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
# Epoch 0 is PCA. The error of held-out rows chooses the epoch from which the weights are
# kept, which has a circle. If no epoch improves on PCA the circle is at epoch 0.

LossCurveDisplay.from_estimator(autoencoder)

# %%
# How many components
# -------------------
# A threshold marks how many components each model needs for that share of the variance.
# The curve of PCA is computed from the rows that are passed, that of the autoencoder was
# stored by `fit`. The first code of the autoencoder alone keeps less of the variance than
# the first component of PCA, because the codes were trained together.

ExplainedVarianceDisplay.from_estimator(autoencoder, X_train, threshold=0.75)

# %%
# Where the errors are
# --------------------
# The left panel shows the error of each pixel. It is largest in the middle, where the
# strokes are, and zero at the edges, which are always empty. The right panel shows the
# errors of the rows, and the five worst of the held-out digits with their row numbers.

worst = ErrorDisplay.from_estimator(autoencoder, X_test, shape=(8, 8)).worst_

# %%
# `worst_` holds these row numbers, so that the rows can be inspected. They are unusual
# digits, which PCA does not reconstruct well either.

ReconstructionDisplay.from_estimator(
    autoencoder, X_test[worst], baseline=pca, shape=(8, 8), cmap="gray_r"
)

# %%
# The plane of two codes
# ----------------------
# With two codes, every point of the plane stands for an image. The right half shows the
# decoded images of a grid of points in the dashed frame. From one cluster of digits to
# another the images change gradually.

plane = AutoencoderTransformer(2, random_state=0).fit(X_train)
CodesDisplay.from_estimator(
    plane, X_train, y_train, decoded=10, shape=(8, 8), cmap="gray_r"
)

# %%
# What a code means
# -----------------
# `components_` tells how the image changes with each code, red where it gets darker and
# blue where it gets lighter. With ``row=`` the components at the code of that row are drawn
# as well. They differ, because the decoder is curved.

LoadingsDisplay.from_estimator(autoencoder, X_test, row=0, shape=(8, 8))

# %%
# More than two codes
# -------------------
# For more codes the Display draws a pair plot, here of the first four of the eight codes.
# The colours may show a number instead of classes, here the amount of ink in a digit.

CodesDisplay.from_estimator(autoencoder, X_train, X_train.mean(axis=1))
plt.show()
