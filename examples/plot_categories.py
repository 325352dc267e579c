"""
Frames with categories: codes, a frame back, and gaps filled
============================================================

``AutoencoderTransformer`` takes frames as they are: columns with a category dtype, and
booleans, become one-hot within, and each counts as much as a column of numbers. What comes
back is a frame with the same columns, dtypes and categories.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA

from skae import (
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    AutoencoderTransformer,
    compare,
)
from skae.plotting import CodesDisplay, ReconstructionDisplay

# %%
# A frame of wines: their grape, how deep their colour is, whether they are strong, and six
# measurements. The depth is an ordered category.

X, y = load_wine(return_X_y=True, as_frame=True)
depths = pd.cut(X["color_intensity"], [0, 3.5, 6, 15], labels=["pale", "medium", "deep"])
wines = pd.DataFrame(
    {
        "grape": pd.Categorical.from_codes(y, ["Nebbiolo", "Grignolino", "Barbera"]),
        "depth": pd.Categorical(depths),
        "strong": (X["alcohol"] > 13).astype("boolean"),
    }
)
names = ["malic_acid", "flavanoids", "hue", "proline", "ash", "magnesium"]
wines = wines.join(X[names])
print(wines.dtypes.astype(str).to_dict())

# %%
# Codes, and a frame back
# -----------------------
# Two codes hold much of the nine columns. ``set_output`` asks for frames; without it,
# arrays hold the position of each category in ``categories_``.

ae = AutoencoderTransformer(2, random_state=0).set_output(transform="pandas")
codes = ae.fit_transform(wines)
again = ae.inverse_transform(codes)
print(again.head(3).round(2))
for name in ("grape", "depth", "strong"):
    print(f"{name:8} right in {(again[name] == wines[name]).mean():.0%} of the rows")

# %%
# Rows and what is left of them after two codes, column by column. The darker a cell, the
# larger its error: in standard deviations for a number, and one minus the probability of
# the right one for a category.

ReconstructionDisplay.from_estimator(ae, wines[::60])

# %%
# ``components_`` have one entry for each column of the frame. In the plane of the codes a
# number has an arrow, and so has each category.

CodesDisplay.from_estimator(ae, wines, y=wines["grape"].astype(str), loadings=8)

# %%
# What the points of the plane are decoded into, by column.

CodesDisplay.from_estimator(ae, wines, decoded=24)

# %%
# The same loss for PCA of the standardized numbers and scaled indicators, from which the
# autoencoder starts, on rows that neither has seen.

rivals = {"AutoencoderTransformer": AutoencoderTransformer(2), "PCA": PCA(2)}
table = compare(wines, rivals, cv=3, random_state=0)
print(table.groupby("estimator")[["error", "r2"]].mean().round(2))

# %%
# Gaps
# ----
# A fifth of the cells is hidden, of numbers and categories alike. The imputer fills gaps
# with what it expects from the other cells of the row.

hidden = np.random.default_rng(0).random(wines.shape) < 0.2
gapped = wines.mask(hidden)
imputer = AutoencoderImputer(random_state=0).set_output(transform="pandas")
filled = imputer.fit_transform(gapped)

right = {}
for j, name in enumerate(wines.columns[:3]):
    there = hidden[:, j]
    most_frequent = gapped[name].mode()[0]
    right[name] = [
        (filled[name] == wines[name])[there].mean(),
        (wines[name] == most_frequent)[there].mean(),
    ]
right = pd.DataFrame(right, index=["AutoencoderImputer", "the most frequent"])
print(right.round(2))

# %%
fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
right.T.plot.bar(ax=ax, rot=0, color=["C0", "0.75"])
ax.set(ylabel="share filled right", ylim=(0, 1), title="Hidden categories of wines")
ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")
ax.spines[["top", "right"]].set_visible(False)

# %%
# Rows that do not go together
# ----------------------------
# We tell a wine that it is of another grape. The detector is fitted to all the others. It
# finds that the row is unlike them, and which columns are to blame.

odd = wines[:1].assign(grape=pd.Categorical(["Barbera"], dtype=wines["grape"].dtype))
detector = AutoencoderOutlierDetector(random_state=0).fit(wines[1:])
p_before, p_after = detector.p_values(pd.concat([wines[:1], odd]))
print(f"p = {p_before:.3f} as it is, and {p_after:.3f} with the other grape")
print(detector.contributions(odd).T[0].sort_values(ascending=False).head(3).round(2))

plt.show()
