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
from skae.plotting import SamplesDisplay

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
# New rows
# --------
# ``prior="mixture"`` fits a mixture of normal distributions to the codes, as far as this
# raises the likelihood of held-out codes. New rows then resemble the digits more, because
# there are gaps between the codes of different digits.

mixture = VariationalAutoencoder(8, prior="mixture", random_state=0).fit(X_train)
print(f"mixture of {len(mixture.weights_)} as the prior: {mixture.score(X_test):.1f}")
SamplesDisplay.from_estimator(pca, X_test, shape=(8, 8), random_state=0)
SamplesDisplay.from_estimator(mixture, X_test, shape=(8, 8), random_state=0)

# %%
# The least likely rows
# ---------------------
# These test rows have the lowest density, and those below them the highest.

order = np.argsort(mixture.score_samples(X_test))
figure, axes = plt.subplots(2, 10, figsize=(7, 1.7), layout="constrained")
lines = {"least likely": order[:10], "most likely": order[-10:]}
for line, (name, rows) in zip(axes, lines.items(), strict=True):
    for ax, row in zip(line, rows, strict=True):
        ax.imshow(X_test[row].reshape(8, 8), cmap="gray", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[], xlabel=y_test[row])
    line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize="small")
plt.show()
