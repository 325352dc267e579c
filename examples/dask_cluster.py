"""Fit to a table that is computed in blocks by the workers of a Dask cluster.

Run it with `python examples/dask_cluster.py`; it takes about half a minute. A cluster of
machines has another `Client(...)`, and the rest stays as it is. Needs
`pip install "skae[dask]"`.
"""

import dask.array as da
import joblib
import numpy as np
from distributed import Client, LocalCluster
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV

from skae import AutoencoderTransformer


def surface(rows):
    """Return rows (n, 30) on a bent surface, for angles (n, 2)."""
    waves = np.arange(1, 4)[:, None] * rows[:, None]
    parts = np.concatenate([np.sin(waves), np.cos(waves)], axis=1)
    mix = np.random.default_rng(0).normal(size=(12, 30))
    return parts.reshape(len(rows), 12) @ mix


def main():
    angles = da.random.default_rng(0).uniform(-1, 1, (70_000, 2), chunks=(10_000, 2))
    X = angles.map_blocks(surface, dtype=float, chunks=(angles.chunks[0], (30,)))

    # Each block is computed once in an epoch, and none stays in memory. Small batches make
    # as many steps in fewer epochs.
    small = {"hidden_layer_sizes": (64, 32), "random_state": 0}
    ae = AutoencoderTransformer(2, batch_size=256, **small)
    ae.fit(X)
    some = X[:2400].compute()
    pca = PCA(2).fit(some)
    pca_error = np.square(pca.inverse_transform(pca.transform(some)) - some).mean()
    print(f"error of PCA: {pca_error:.3f}, of the autoencoder: {-ae.score(X):.3f}")

    # Codes and reconstructions are dask arrays, of which nothing is computed yet.
    Z = ae.transform(X)
    print(Z, Z[:2].compute(), sep="\n")

    # A search over the cluster needs nothing of skae: joblib sends it the fits.
    sizes = {"n_components": [1, 2]}
    search = GridSearchCV(AutoencoderTransformer(**small), sizes, cv=2)
    with joblib.parallel_backend("dask"):
        search.fit(some)
    scores = search.cv_results_["mean_test_score"].round(3)
    print("scores of 1 and 2 components:", scores)


if __name__ == "__main__":  # workers import this file
    with LocalCluster(n_workers=2, threads_per_worker=1) as cluster, Client(cluster):
        main()
