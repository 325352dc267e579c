"""
The density of digits
=====================

``PCA.score`` is the log-likelihood of rows under probabilistic PCA, a normal distribution.
A :class:`~skae.VariationalAutoencoder` starts as this model, and training raises the
likelihood of rows that it has not seen. The score stays comparable, and the model can draw
new rows and say which rows are unlikely.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skae import VariationalAutoencoder

X, y = load_digits(return_X_y=True)
rng = np.random.default_rng(0)
X = X + rng.uniform(
    -0.5, 0.5, X.shape
)  # pixels are whole numbers, and these have no density
X_train, X_test, _, y_test = train_test_split(X, y, test_size=0.25, random_state=0)

# %%
# Two densities
# -------------
# Both models have eight components, and both scores are in nats per row.

pca = PCA(8).fit(X_train)
vae = VariationalAutoencoder(8, random_state=0).fit(X_train)
print(f"PCA {pca.score(X_test):.1f}, variational autoencoder {vae.score(X_test):.1f}")
print(f"nats that each code carries: {vae.kl_.round(2)}")

# %%
# New rows, and the least likely ones
# -----------------------------------
# The first line holds rows that the model has drawn, the second the eight test rows with
# the lowest density.

order = np.argsort(vae.score_samples(X_test))
images = {
    "drawn": vae.sample(8, random_state=0),
    "least likely": X_test[order[:8]],
}
figure, axes = plt.subplots(2, 8, figsize=(7, 2), layout="constrained")
for line, (name, rows) in zip(axes, images.items(), strict=True):
    for ax, row in zip(line, rows, strict=True):
        ax.imshow(row.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(name, rotation=0, ha="right", va="center")
plt.show()
