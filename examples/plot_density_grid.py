"""
PCA and a variational autoencoder in one search
===============================================

How many components does a table have? ``PCA.score`` is the log-likelihood of rows, so that
a grid search can choose the number by the likelihood of held-out rows. The score of a
:class:`~skae.VariationalAutoencoder` is a lower bound of the same quantity, in the same
units. One search can therefore choose the model and the number of components together.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skae import VariationalAutoencoder

X, _ = load_breast_cancer(return_X_y=True)

# %%
# The search
# ----------
# The last step of the Pipeline is a parameter of the search.

vae = VariationalAutoencoder(hidden_layer_sizes=(64,), max_epochs=40, random_state=0)
n_components = [2, 4, 8, 12]
pipe = Pipeline([("scaler", StandardScaler()), ("model", PCA())])
grid = {"model": [PCA(), vae], "model__n_components": n_components}
search = GridSearchCV(pipe, grid, cv=3).fit(X)
print(f"chosen: {search.best_estimator_['model']}")

# %%
# Held-out likelihood
# -------------------
# Bars are the standard deviations of the folds.

results = search.cv_results_
models = np.array([type(model).__name__ for model in results["param_model"]])
figure, ax = plt.subplots(figsize=(5, 3), layout="constrained")
for name, marker, style in [("PCA", "s", "--"), ("VariationalAutoencoder", "o", "-")]:
    own = models == name
    ax.errorbar(
        results["param_model__n_components"][own].astype(int),
        results["mean_test_score"][own],
        results["std_test_score"][own],
        label=name,
        marker=marker,
        ls=style,
        capsize=3,
    )
ax.set(xlabel="number of components", ylabel="held-out log-likelihood\n(nats per row)")
ax.legend(frameon=False)
plt.show()
