"""
Filling the gaps of a table
===========================

With ``allow_nan=True`` an autoencoder takes rows of which some cells are missing. In
training it hides cells that are there, so that it learns to tell them from the others; the
method ``impute`` then fills what is missing, and leaves every other cell as it is.

The table here holds positions of an arm: of its elbow and its hand, how far the hand is
from the shoulder, and in which direction. Two angles decide them all, and no column is a
linear function of the others.
"""

import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

import skae
from skae import AutoencoderTransformer

# %%
# Six columns that should say the same as two angles, with a little noise. A quarter of
# the cells gets lost.

rng = np.random.default_rng(0)
shoulder, bend = rng.uniform(-1.5, 1.5, 1500), rng.uniform(0.2, 2.5, 1500)
elbow = np.exp(1j * shoulder)  # points of the plane as complex numbers
hand = elbow + 0.8 * np.exp(1j * (shoulder + bend))
X = np.column_stack(
    [elbow.real, elbow.imag, hand.real, hand.imag, np.abs(hand), np.angle(hand)]
)
X += 0.02 * rng.normal(size=X.shape)
missing = rng.random(X.shape) < 0.25
X_gapped = np.where(missing, np.nan, X)
print(f"{missing.any(axis=1).mean():.0%} of the rows lack something")

# %%
# Four ways to fill the gaps
# --------------------------
# scikit-learn's imputers fill a gap with the mean of the column, with a linear regression
# on the other columns, or with the mean of the most similar rows. The number of
# components is left at its default here, all six: a narrower code would serve as well, but
# it is not what the error of an imputer depends on.

warnings.filterwarnings("ignore", category=ConvergenceWarning)  # of IterativeImputer
ae = AutoencoderTransformer(allow_nan=True, random_state=0).fit(X_gapped)
filled = {
    "mean": SimpleImputer().fit_transform(X_gapped),
    "linear regressions": IterativeImputer(random_state=0).fit_transform(X_gapped),
    "nearest neighbours": KNNImputer().fit_transform(X_gapped),
    "skae": ae.impute(X_gapped),
}
deviation = X.std(axis=0)
errors = {
    name: np.sqrt(np.square((F - X) / deviation)[missing].mean())
    for name, F in filled.items()
}
for name, error in errors.items():
    print(f"{name:20} {error:.3f} standard deviations")

# %%
# Rows whose hand has lost one of its two coordinates. The arm can reach the grey area
# only; lines lead from where the hand is to where it is put.

plt.rcParams.update({"font.size": 10, "axes.spines.right": False, "axes.spines.top": False})
lacking = np.flatnonzero(missing[:, 2] ^ missing[:, 3])[:60]
figure, axes = plt.subplots(
    1, 4, figsize=(9.2, 3.1), sharex=True, sharey=True, layout="constrained"
)
for ax, (name, F) in zip(axes, filled.items(), strict=True):
    ax.plot(X[:, 2], X[:, 3], "o", color="0.87", ms=3, mew=0, rasterized=True)
    ends = np.stack([X[lacking, 2:4], F[lacking, 2:4]])
    ax.plot(ends[..., 0], ends[..., 1], color="#D55E00", lw=0.8)
    ax.plot(*ends[1].T, "o", color="#0072B2", ms=3.5, mew=0)
    ax.set(title=f"{name}\nerror {errors[name]:.2f}", xlabel="hand, x", aspect="equal")
axes[0].set_ylabel("hand, y")
plt.show()

# %%
# Rows to come
# ------------
# A fitted model fills rows that it has not seen, and rows that lack much: with nothing
# but the elbow known, the forearm may be anywhere, and a mean of what is likely comes out.
# ``transform`` takes them as well.

row = X[:1].copy()
row[0, 2:] = np.nan
with np.printoptions(precision=2, suppress=True):
    print("as it was   ", X[0])
    print("filled      ", ae.impute(row)[0])
    print("its codes   ", ae.transform(row)[0])

# %%
# In a file
# ---------
# ``save`` writes the model to one file, without any code in it, so that
# :func:`skae.load` may open it wherever it is from. It fills the gaps with the same bits.

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "arm.skae"
    ae.save(path)
    print(f"{path.stat().st_size / 1000:.0f} kB")
    again = skae.load(path)
print("the same bits:", np.array_equal(again.impute(X_gapped), filled["skae"]))

# %%
# That holds on one machine. Another one may differ in the last digits; what a report of
# such a difference should begin with is printed by :func:`skae.show_versions`.

skae.show_versions()
