"""
In place of PCA: Pipeline and GridSearchCV
==========================================

:class:`~skae.AutoencoderTransformer` can be used wherever
:class:`~sklearn.decomposition.PCA` is used. In this example both reduce digits for the same
classifier, and a grid search tries several hidden layers. A figure compares the errors of
both for the same numbers of components.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from skae import AutoencoderTransformer, show_versions

X, y = load_digits(return_X_y=True)
X = X / 16  # all pixels have the same unit, so one scale for all
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.25, random_state=0, stratify=y
)

# %%
# One Pipeline, either reducer
# ----------------------------
# The grid replaces a whole step of the Pipeline: it is PCA, or the autoencoder with one of
# two choices of hidden layers, always with four components. The criterion of the search is
# the accuracy of the classifier.

pipe = Pipeline([("reduce", PCA(4)), ("classify", KNeighborsClassifier())])
hidden = [(32,), (64, 32)]
grid = [
    {"reduce": [PCA(4)]},
    {
        "reduce": [AutoencoderTransformer(4, max_epochs=10, random_state=0)],
        "reduce__hidden_layer_sizes": hidden,
    },
]
search = GridSearchCV(pipe, grid, cv=2).fit(X_train, y_train)


def name_of(params):
    """Return a short name for a candidate of the grid."""
    sizes = params.get("reduce__hidden_layer_sizes")
    return "PCA" if sizes is None else f"autoencoder {sizes}"


results = search.cv_results_
for params, accuracy in zip(results["params"], results["mean_test_score"], strict=True):
    print(f"{name_of(params):24} accuracy {accuracy:.3f}")
print(f"best: {name_of(search.best_params_)}, {search.score(X_test, y_test):.3f} held out")

# %%
# Without a classifier
# --------------------
# The score of the transformer is minus the mean squared error of the reconstruction. A
# search over the transformer alone therefore needs no `scoring`.

search = GridSearchCV(
    AutoencoderTransformer(4, max_epochs=10, random_state=0),
    {"hidden_layer_sizes": hidden},
    cv=2,
).fit(X_train)
print(f"best: {search.best_params_}, error {-search.score(X_test):.4f} per pixel")

# %%
# Errors for several numbers of components
# ----------------------------------------


def held_out_error(model):
    """Return the mean squared error per pixel of the held-out rows."""
    X_hat = model.inverse_transform(model.transform(X_test))
    return np.square(X_hat - X_test).mean()


components = [2, 4, 8, 16]
pca_errors = [held_out_error(PCA(k).fit(X_train)) for k in components]
autoencoders = [
    AutoencoderTransformer(k, max_epochs=30, random_state=0).fit(X_train)
    for k in components
]
errors = [held_out_error(autoencoder) for autoencoder in autoencoders]

plt.rcParams.update({"font.size": 10, "axes.spines.right": False, "axes.spines.top": False})
figure, ax = plt.subplots(figsize=(5.4, 3.6), layout="constrained")
ax.plot(components, pca_errors, "o--", color="0.2", mfc="white", label="PCA")
ax.plot(components, errors, "s-", color="#0072B2", label="AutoencoderTransformer")
ax.set_xscale("log", base=2)
ax.set_xticks(components, [str(k) for k in components])
ax.set(xlabel="components", ylabel="mean squared error per pixel", ylim=(0, None))
ax.set_title("held-out digits, pixels in [0, 1]", fontsize=10)
ax.legend(frameon=False)
plt.show()

# %%
# The autoencoder gains most where the error of PCA is large. With as many components as
# features there is nothing to gain, and PCA is the better choice long before that, because
# it is faster.

# %%
# The versions that this page was made with. A bug report should include the same output.

show_versions()
