"""
Texts as sparse tables
======================

A collection of texts becomes a sparse table of word frequencies, tf-idf, which
:class:`~sklearn.decomposition.TruncatedSVD` is the usual way to compress (latent semantic
analysis). The autoencoder takes the same sparse table, of which only batches become dense.
With ``loss="cosine"`` it is trained for what texts are compared by: the angle between rows.

The texts are those of 20 Newsgroups, which scikit-learn downloads, or which are in the
folder that the environment variable ``SKAE_DATA`` names. Where there is neither they are
the descriptions of scikit-learn's own data sets, passage by passage.
"""

import os
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy import sparse
from sklearn import datasets
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skae import AutoencoderTransformer

GROUPS = ["comp.graphics", "rec.autos", "sci.med", "sci.space", "talk.politics.guns"]
BUNDLED = ["breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine"]


def passages():
    """Return passages of three lines from descriptions of data sets, and their sets."""
    texts, labels = [], []
    for label, name in enumerate(BUNDLED):
        lines = getattr(datasets, f"load_{name}")().DESCR.split("\n")
        lines = [line for line in lines if len(line.split()) > 3]
        found = ["\n".join(lines[i : i + 3]) for i in range(0, len(lines) - 2, 3)]
        texts += found
        labels += [label] * len(found)
    return texts, np.array(labels), BUNDLED


def documents():
    """Return texts, their labels and the names of the labels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it tries once more
            news = datasets.fetch_20newsgroups(
                subset="all",
                categories=GROUPS,
                remove=("headers", "footers", "quotes"),
                n_retries=1,
                delay=0.1,
            )
    except OSError:
        return passages()
    return news.data, news.target, news.target_names


def tables():
    """Return X_train, X_test, y_train, y_test and the names of the labels."""
    folder = Path(os.environ.get("SKAE_DATA", "")) / "text"
    if not (folder / "20ng_y.npz").is_file():
        texts, labels, names = documents()
        words = TfidfVectorizer(
            stop_words="english", sublinear_tf=True, min_df=2, max_features=2000
        )
        X = words.fit_transform(texts)
        is_used = X.getnnz(axis=1) > 0
        return *train_test_split(X[is_used], labels[is_used], random_state=0), names
    parts = "train", "test"
    tables = [sparse.load_npz(folder / f"20ng_tfidf_{part}.npz") for part in parts]
    with np.load(folder / "20ng_y.npz") as file:
        labels, names = [file[f"y_{part}"] for part in parts], [*file["names"]]
    chosen = [names.index(group) for group in GROUPS]
    is_used = [
        np.isin(y, chosen) & (X.getnnz(axis=1) > 0)
        for X, y in zip(tables, labels, strict=True)
    ]
    tables = [X[used].tocsc() for X, used in zip(tables, is_used, strict=True)]
    frequent = np.argsort(-tables[0].getnnz(axis=0))[:2000]
    tables = [X[:, frequent].tocsr() for X in tables]
    labels = [
        np.searchsorted(chosen, y[used]) for y, used in zip(labels, is_used, strict=True)
    ]
    return *tables, *labels, GROUPS


X_train, X_test, y_train, y_test, names = tables()
share = X_train.nnz / np.prod(X_train.shape)
print(f"{X_train.shape[0]} texts, {X_train.shape[1]} words, {share:.2%} are not zero")

# %%
# Two numbers or ten
# ------------------
# Both methods get the same sparse rows. What counts is the cosine between a text that was
# not trained on and its reconstruction, and how often the nearest texts, found by the codes
# alone, are about the same subject.


def cosines(model, X):
    """Return the cosine (n,) between each row and its reconstruction."""
    X_hat = np.asarray(model.inverse_transform(model.transform(X)))
    norms = np.linalg.norm(X_hat, axis=1) * np.sqrt(X.multiply(X).sum(axis=1)).A1
    return np.asarray(X.multiply(X_hat).sum(axis=1)).ravel() / np.maximum(norms, 1e-12)


def share_right(model):
    """Return how often the nearest training texts have the label of a test text."""
    neighbors = KNeighborsClassifier(5).fit(model.transform(X_train), y_train)
    return neighbors.score(model.transform(X_test), y_test)


models = {}
for k in (2, 10):
    models[f"TruncatedSVD, {k}"] = TruncatedSVD(k, random_state=0).fit(X_train)
    ae = AutoencoderTransformer(k, loss="cosine", random_state=0)
    models[f"autoencoder, {k}"] = ae.fit(X_train)
for name, model in models.items():
    cosine, right = cosines(model, X_test).mean(), share_right(model)
    print(f"{name:16} cosine {cosine:.3f}, nearest texts of the same subject {right:.1%}")

# %%
# The map of two numbers
# ----------------------

figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.4), layout="constrained")
for ax, name in zip(axes, ["TruncatedSVD, 2", "autoencoder, 2"], strict=True):
    Z = models[name].transform(X_test)
    for label, marker in zip(range(len(names)), "osD^vP", strict=False):
        chosen = y_test == label
        ax.scatter(
            *Z[chosen].T, s=14, marker=marker, label=names[label], alpha=0.8, linewidths=0
        )
    ax.set_title(name, fontsize="medium")
    ax.set(xlabel="code 0", ylabel="code 1")
    ax.spines[["top", "right"]].set_visible(False)
handles, shown = axes[0].get_legend_handles_labels()
figure.legend(handles, shown, loc="outside lower center", ncols=3, fontsize="small")

plt.show()
