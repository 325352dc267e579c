"""MNIST in 30 numbers: squared error of a test image, and the seconds of the fit.

The network of Hinton and Salakhutdinov (2006), "Reducing the Dimensionality of Data with
Neural Networks": hidden layers of 1000, 500 and 250 units and a code of 30, trained for
cross-entropy. They report 3.00 for it and 13.87 for PCA.

    SKAE_DATA=path/to/data python examples/benchmarks/hinton.py
"""

import argparse

import numpy as np
from reconstruction import available, fit_timed, held_out_error
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer

# Cross-entropy holds pixels in [0, 1]. With the defaults they are held by `clip`.
RECIPE = {"loss": "binary_cross_entropy"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, help="most epochs; by default skae's")
    parser.add_argument(
        "--defaults", action="store_true", help="nothing set but the hidden layers"
    )
    parser.add_argument("--rows", type=int, help="training images; by default all")
    arguments = parser.parse_args()
    tasks = available()
    if "mnist" not in tasks:
        parser.error("set SKAE_DATA to a folder with mnist.npz")
    X_train, X_test = tasks["mnist"].load()
    X_train = X_train[: arguments.rows]
    ae = AutoencoderTransformer(
        30,
        hidden_layer_sizes=(1000, 500, 250),
        max_epochs=arguments.epochs or "auto",
        random_state=0,
        **({} if arguments.defaults else RECIPE),
    )
    models = {"PCA": PCA(30, svd_solver="covariance_eigh"), "skae": ae}
    for name, model in models.items():
        seconds = fit_timed(model, X_train)
        error = X_test.shape[1] * held_out_error(model, X_test)
        print(f"{name}: squared error {error:.2f} after {seconds:.0f} s", flush=True)
    curve = np.array(ae.validation_curve_)
    print(
        f"{ae.n_iter_} epochs, the best {ae.best_epoch_}; held-out loss {curve.min():.5f}"
    )


if __name__ == "__main__":
    main()
