"""
Images and signals
==================

Neighbouring pixels of an image, and neighbouring values of a signal, are alike. A dense
network has to learn this from the rows. With ``sample_shape`` the estimator is told the
shape of a row, and the corrections that it adds to PCA are convolutional: they look at
neighbours, and do the same everywhere. X keeps its two axes, so that the estimator still
fits into Pipelines and searches.

Without other arguments held-out rows decide between convolutions and dense layers, see
``is_convolutional_``. Here ``hidden_layer_sizes`` are given, for which the corrections are
convolutional in any case.

This example compares both kinds of corrections with PCA, on images of one channel and on
signals of two.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer
from skae.plotting import ErrorDisplay, ReconstructionDisplay

# The number of epochs is small here, so that the script takes less than a minute.
warnings.filterwarnings("ignore", category=ConvergenceWarning)


def fitted(X, n_components, **params):
    """Return PCA, a dense and a convolutional autoencoder, all fitted to X."""
    dense = AutoencoderTransformer(n_components, random_state=0)
    params |= {"hidden_layer_sizes": (32, 64), "random_state": 0}
    convolutional = AutoencoderTransformer(n_components, **params)
    return PCA(n_components).fit(X), dense.fit(X), convolutional.fit(X)


def print_errors(models, X):
    """Print the mean squared errors of held-out rows X."""
    for name, model in zip(("PCA", "dense", "convolutional"), models, strict=True):
        X_hat = model.inverse_transform(model.transform(X))
        print(f"{name:14} {np.square(X_hat - X).mean():.5f}")


# %%
# Images
# ------
# The shape of a sample begins with the number of channels, as in torch: digits have one
# channel and 8 x 8 pixels. The hidden layers are then stages, each of which halves the
# height and the width, and ``hidden_layer_sizes`` are their numbers of channels.

X_train, X_test = train_test_split(load_digits().data / 16, random_state=0)
images = fitted(X_train, 16, sample_shape=(1, 8, 8), max_epochs=40)
print_errors(images, X_test)

# %%
# Displays draw the rows of an estimator in its ``sample_shape``.

pca, _, convolutional = images
ReconstructionDisplay.from_estimator(
    convolutional, X_test, baseline=pca, name="convolutional"
)

# %%
# Signals
# -------
# Each row is a recording of two sensors, one after the other: the same pulse, which comes
# at any time, reaches the second sensor later and weaker. PCA needs a component for every
# time at which the pulse may come.

rng = np.random.default_rng(0)
seconds = np.linspace(0, 2, 64)


def recordings(n):
    """Make signals (n, 128) of two channels with 64 values each."""
    time, height, pitch = rng.uniform([0.3, 0.5, 2], [1.3, 1, 4], (n, 3)).T[..., None]

    def pulse(delay):
        since = seconds - time - delay
        return height * np.exp(-((since / 0.15) ** 2)) * np.cos(2 * np.pi * pitch * since)

    X = np.hstack([pulse(0.0), 0.6 * pulse(0.3)])
    return X + 0.02 * rng.normal(size=X.shape)


S_train, S_test = recordings(1200), recordings(400)
signals = fitted(S_train, 4, sample_shape=(2, 64), max_epochs=120)
print_errors(signals, S_test)

# %%
# Both kinds of corrections are far ahead of PCA here. A channel is a line, and ``x`` gives
# the positions of the values.

pca, _, convolutional = signals
ReconstructionDisplay.from_estimator(
    convolutional, S_test, baseline=pca, n_shown=2, name="convolutional", x=seconds
)
ErrorDisplay.from_estimator(convolutional, S_test, x=seconds, n_worst=3)

plt.show()
