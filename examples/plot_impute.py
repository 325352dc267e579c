"""
Filling missing cells of a table
================================

With ``allow_nan=True`` an autoencoder takes rows in which some cells are missing. In
training it hides observed cells and learns to predict them from the others. The method
``impute`` then fills missing cells, and leaves every other cell as it is.

The table in this example describes an arm: the positions of its elbow and its hand, the
distance of the hand from the shoulder, and the direction of the hand. Two angles determine
all of them, and no column is a linear function of the others.
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
# The six columns are functions of two angles, with a little noise. A quarter of the cells
# is missing.

rng = np.random.default_rng(0)
shoulder, bend = rng.uniform(-1.5, 1.5, 1500), rng.uniform(0.2, 2.5, 1500)
elbow = np.exp(1j * shoulder)  # complex numbers stand for points of the plane
hand = elbow + 0.8 * np.exp(1j * (shoulder + bend))
X = np.column_stack(
    [elbow.real, elbow.imag, hand.real, hand.imag, np.abs(hand), np.angle(hand)]
)
X += 0.02 * rng.normal(size=X.shape)
missing = rng.random(X.shape) < 0.25
X_gapped = np.where(missing, np.nan, X)
print(f"{missing.any(axis=1).mean():.0%} of the rows have missing cells")

# %%
# Four ways to fill missing cells
# -------------------------------
# scikit-learn's imputers fill a cell with the mean of the column, with the prediction of a
# linear regression on the other columns, or with the mean of the most similar rows. The
# number of components has its default here, which is all six. A narrower code would work as
# well: the error of an imputer hardly depends on it.

warnings.filterwarnings("ignore", category=ConvergenceWarning)  # by IterativeImputer
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
# The figure shows rows in which one of the two coordinates of the hand is missing. The arm
# can only reach the grey area. A line leads from the true position of the hand to the
# position with the filled coordinate.

plt.rcParams.update({"font.size": 10, "axes.spines.right": False, "axes.spines.top": False})
shown = np.flatnonzero(missing[:, 2] ^ missing[:, 3])[:60]
figure, axes = plt.subplots(
    1, 4, figsize=(9.2, 3.1), sharex=True, sharey=True, layout="constrained"
)
for ax, (name, F) in zip(axes, filled.items(), strict=True):
    ax.plot(X[:, 2], X[:, 3], "o", color="0.87", ms=3, mew=0, rasterized=True)
    ends = np.stack([X[shown, 2:4], F[shown, 2:4]])
    ax.plot(ends[..., 0], ends[..., 1], color="#D55E00", lw=0.8)
    ax.plot(*ends[1].T, "o", color="#0072B2", ms=3.5, mew=0)
    ax.set(title=f"{name}\nerror {errors[name]:.2f}", xlabel="hand, x", aspect="equal")
axes[0].set_ylabel("hand, y")
plt.show()

# %%
# New rows
# --------
# A fitted model also fills new rows, even if most of their cells are missing. If only the
# elbow is known the forearm may have any direction, and the result is a mean over the
# likely positions. ``transform`` takes such rows too.

row = X[:1].copy()
row[0, 2:] = np.nan
with np.printoptions(precision=2, suppress=True):
    print("complete row", X[0])
    print("filled row  ", ae.impute(row)[0])
    print("codes       ", ae.transform(row)[0])

# %%
# The model in a file
# -------------------
# ``save`` writes the model to one file. There is no code in it, so that :func:`skae.load`
# can safely open a file from anywhere. The loaded model fills cells with the same bits.

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "arm.skae"
    ae.save(path)
    print(f"{path.stat().st_size / 1000:.0f} kB")
    again = skae.load(path)
print("the same bits:", np.array_equal(again.impute(X_gapped), filled["skae"]))

# %%
# This is so on one machine. On another one the last digits may differ. A report of such a
# difference should begin with the output of :func:`skae.show_versions`.

skae.show_versions()
