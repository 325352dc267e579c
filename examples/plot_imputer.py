"""
Tables with gaps: in front of a classifier, and filled many times
=================================================================

``AutoencoderImputer`` fills missing values with what an autoencoder expects, given the
other values of the row. It has the conventions of scikit-learn's imputers and goes where
they go. With ``sample_posterior=True`` it draws values instead, so that later steps can see
how uncertain a filled value is.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import t
from sklearn.datasets import load_breast_cancer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderImputer

# %%
# Measurements of tumour cells, as a frame. We hide half of the values.

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
hidden = np.random.default_rng(0).random(X.shape) < 0.5
gapped = X.mask(hidden)
train, test = train_test_split(np.arange(len(X)), stratify=y, random_state=0)

# %%
# In front of a classifier
# ------------------------
# The imputer is fitted to the training rows, and fills the gaps of the test rows by what it
# has learned from them. The values are much nearer to the true ones than means are. The
# classifier does well with both, because many of the thirty features tell it the same.

for imputer in SimpleImputer(), AutoencoderImputer(random_state=0):
    model = make_pipeline(imputer, StandardScaler(), LogisticRegression())
    model.fit(gapped.iloc[train], y.iloc[train])
    filled = model[0].transform(gapped.iloc[test])
    errors = (np.asarray(filled) - X.iloc[test]) / X.std()
    error = np.sqrt(np.square(errors).to_numpy()[hidden[test]].mean())
    accuracy = model.score(gapped.iloc[test], y.iloc[test])
    name = type(imputer).__name__
    print(f"{name:20} error {error:.2f} standard deviations, accuracy {accuracy:.3f}")

# %%
# Multiple imputation
# -------------------
# A filled value is a guess, and the true one is somewhere around it. With
# ``sample_posterior=True`` every call of ``transform`` draws other values. Their spread is
# that of the errors in values that were hidden in rows that the autoencoder has not seen.
# From 20 draws we compute intervals in which a new draw falls with a probability of 95 %.

imputer = AutoencoderImputer(sample_posterior=True, random_state=0).set_output(
    transform="pandas"
)
imputer.fit(gapped.iloc[train])
draws = np.stack([imputer.transform(gapped.iloc[test]) for _ in range(20)])
center = draws.mean(axis=0)
width = t.ppf(0.975, 19) * np.sqrt(1 + 1 / 20) * draws.std(axis=0, ddof=1)
covered = np.abs(X.iloc[test].to_numpy() - center) <= width
print(f"{covered[hidden[test]].mean():.1%} of the hidden values are in their intervals")

# %%
# Each panel shows one feature, and a line for each test row in which it was hidden. The
# area of a tumour is nearly determined by its radius and its perimeter, so that the
# interval is short where one of them is known. No other feature tells as much about the
# texture.

names = ["mean area", "mean concavity", "mean texture"]
figure, axes = plt.subplots(1, 3, figsize=(9.2, 3.4), layout="constrained")
for ax, name in zip(axes, names, strict=True):
    j = X.columns.get_loc(name)
    rows = np.flatnonzero(hidden[test, j])
    true, middle, half = X.iloc[test, j].to_numpy()[rows], center[rows, j], width[rows, j]
    is_in = covered[rows, j]
    for inside, color in ((True, "#0072B2"), (False, "#D55E00")):
        some = is_in == inside
        label = "in its interval" if inside else "outside"
        style = {"fmt": "o", "ms": 3, "lw": 0.8, "color": color, "label": label}
        ax.errorbar(true[some], middle[some], half[some], **style)
    ends = [true.min(), true.max()]
    ax.plot(ends, ends, color="0.5", lw=1, zorder=0)
    ax.set(title=f"{name}\n{is_in.mean():.0%} inside", xlabel="true value")
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("mean of 20 draws, 95 % interval")
axes[0].legend(frameon=False, loc="upper left")
plt.show()
