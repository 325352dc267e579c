"""MNIST in 30 numbers: squared error of a test image, and the seconds of the fit.

The network of Hinton and Salakhutdinov (2006), "Reducing the Dimensionality of Data with
Neural Networks": hidden layers of 1000, 500 and 250 units and a code of 30, trained for
cross-entropy. They report 3.00 for it and 13.87 for PCA.

    SKAE_DATA=path/to/data python examples/benchmarks/hinton.py
    SKAE_DATA=path/to/data python examples/benchmarks/hinton.py --shifted --epochs 12
"""

import argparse
import time

import numpy as np
from reconstruction import available, held_out_error
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer

# Cross-entropy holds pixels in [0, 1]. With the defaults they are held by `clip`.
RECIPE = {"loss": "binary_cross_entropy"}
DENSE = {"hidden_layer_sizes": (1000, 500, 250)}
CONVOLUTIONAL = {"sample_shape": (1, 28, 28)}
MOVES = (0, 1), (1, 1), (-1, 1), (1, 2), (-1, 2)  # pixels, and the axis of the images
HELD_OUT = 1 / 12  # share of the images that choose the epoch where others are shifted


def shifted(X):
    """Return images (n, 784), and each moved by a pixel in four directions: (5 n, 784)."""
    images = X.reshape(-1, 28, 28)
    return np.concatenate([np.roll(images, *move) for move in MOVES]).reshape(-1, 784)


def split(X_train, is_shifted):
    """Return the arguments of `fit`: rows, and held-out rows if others are shifted."""
    if not is_shifted:
        return X_train, {}
    n_held_out = round(HELD_OUT * len(X_train))
    return shifted(X_train[:-n_held_out]), {"X_val": X_train[-n_held_out:]}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, help="most epochs; by default skae's")
    parser.add_argument(
        "--defaults", action="store_true", help="nothing set but the hidden layers"
    )
    parser.add_argument(
        "--convolutional", action="store_true", help="sample_shape, not hidden layers"
    )
    parser.add_argument(
        "--shifted",
        action="store_true",
        help="trains on the images moved by one pixel too, in batches of 512 rows",
    )
    parser.add_argument("--rows", type=int, help="training images; by default all")
    return parser, parser.parse_args()


def main():
    parser, arguments = parse_arguments()
    tasks = available()
    if "mnist" not in tasks:
        parser.error("set SKAE_DATA to a folder with mnist.npz")
    X_train, X_test = tasks["mnist"].load()
    rows, held_out = split(X_train[: arguments.rows], arguments.shifted)
    ae = AutoencoderTransformer(
        30,
        max_epochs=arguments.epochs or "auto",
        batch_size=512 if arguments.shifted else "auto",
        random_state=0,
        **(CONVOLUTIONAL if arguments.convolutional else DENSE),
        **({} if arguments.defaults else RECIPE),
    )
    pca = PCA(30, svd_solver="covariance_eigh")
    for name, model, fit_params in ("PCA", pca, {}), ("skae", ae, held_out):
        start = time.process_time()
        model.fit(rows if model is ae else X_train, **fit_params)
        seconds = time.process_time() - start
        errors = [X.shape[1] * held_out_error(model, X) for X in (X_test, X_train[:10_000])]
        print(
            f"{name}: squared error {errors[0]:.2f} (training images {errors[1]:.2f}) "
            f"after {seconds:.0f} CPU s",
            flush=True,
        )
    curve = np.array(ae.validation_curve_)
    print(
        f"{ae.n_iter_} epochs, the best {ae.best_epoch_}; held-out loss {curve.min():.5f}"
    )


if __name__ == "__main__":
    main()
