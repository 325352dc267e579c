"""
Biplots: how the codes depend on the features
=============================================

A biplot draws the rows as points and the features as arrows. For PCA it is exact: the
projection of a point onto an arrow is proportional to that feature in the reconstruction.
For :class:`~skae.AutoencoderTransformer` the arrows show `components_`, the slope of the
decoder at the mean code. Near the middle of the plot they are read in the same way as
those of PCA. Away from it the decoder bends, and `components_at` tells how much.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer
from skae.plotting import CodesDisplay

plt.rcParams.update({"font.size": 9})

# %%
# Two Pipelines
# -------------
# The data are 178 wines of three cultivars with 13 measurements. These have different units
# and are therefore standardized. The first codes of both models keep about the same share
# of the variance. The second code of the autoencoder keeps more than that of PCA, because
# the decoder is curved.

wine = load_wine(as_frame=True)
X = wine.data.rename(columns={"od280/od315_of_diluted_wines": "od280/od315"})
X = X.rename(columns=lambda name: name.replace("_", " "))
cultivar = wine.target.rename("cultivar")

models = {
    "PCA": make_pipeline(StandardScaler(), PCA(2)),
    "autoencoder": make_pipeline(
        StandardScaler(), AutoencoderTransformer(2, random_state=0)
    ),
}
for name, model in models.items():
    first, second = model.fit(X)[-1].explained_variance_ratio_
    print(f"{name:12} {first:.2f} + {second:.2f} = {first + second:.2f} of the variance")

# %%
# One biplot of each
# ------------------
# The eight longest arrows are drawn, because all 13 would cover each other. Features whose
# arrows point in the same direction rise together. Features whose arrows are at right
# angles are unrelated, as far as two codes can tell.

figure, axes = plt.subplots(2, 1, figsize=(5.2, 8.4), layout="constrained")
displays = {}
for ax, (name, model) in zip(axes, models.items(), strict=True):
    displays[name] = CodesDisplay.from_estimator(model, X, cultivar, loadings=8, ax=ax)
    ax.set_title(name, loc="right")

# %%
# How far the arrows can be trusted
# ---------------------------------
# The figure shows the cosine between the arrow of a feature in the biplot and its arrow at
# the code of each wine. For PCA it is 1, because the decoder has the same slope everywhere.
# Features whose arrows turn by more than a right angle for many wines should not be read
# from the biplot.

scaler, autoencoder = models["autoencoder"]
slopes = autoencoder.components_at(scaler.transform(X))  # (n_samples, 2, n_features)
arrows = autoencoder.components_  # (2, n_features)
products = np.einsum("ikj,kj->ij", slopes, arrows)
lengths = np.linalg.norm(slopes, axis=1) * np.linalg.norm(arrows, axis=0)
cosines = products / lengths  # (n_samples, n_features)

order = np.argsort(np.median(cosines, axis=0))
figure, ax = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
low, lower, median, upper, high = np.percentile(cosines, [5, 25, 50, 75, 95], axis=0)
places = np.arange(len(order))
ax.hlines(places, low[order], high[order], color="0.4", lw=1.2, label="5 to 95 %")
ax.hlines(places, lower[order], upper[order], color="#56B4E9", lw=7, label="25 to 75 %")
ax.plot(median[order], places, "k|", ms=9, mew=2, label="median")
ax.set_yticks(places, X.columns[order])
ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, frameon=False)
ax.axvline(0, color="0.5", ls=":", lw=1)
ax.set(xlabel="cosine of the arrows at the wines and at the mean", xlim=(-1.05, 1.05))
ax.spines[["top", "right"]].set_visible(False)
plt.show()
