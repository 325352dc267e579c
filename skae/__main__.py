"""The demonstration `python -m skae`: PCA and AutoencoderTransformer on digits."""

import argparse
import math
import platform
import time
from importlib.metadata import version

import skae
from skae import AutoencoderTransformer  # first, because skae imports faster, see there

# isort: split
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from skae._torch import resolve_device

COMPONENTS = 2, 4, 8, 16, 32
PICTURED = 8  # number of components of the reconstructions in the picture
PICTURE = "skae_digits.png"
CROSS_ENTROPY = {"loss": "binary_cross_entropy"}  # suits pixels in [0, 1]
# Channels, height and width of the digits. With "auto" layers held-out rows would decide
# between convolutions and dense layers.
CONVOLUTIONAL = {"sample_shape": (1, 8, 8), "hidden_layer_sizes": (32, 64)}
# Width of a pixel of the digits, size of letters and space, in pixels of the picture.
MAGNIFIED, LETTERS, SPACE = 14, 22, 8
HEADER = (
    "                   error              seconds        accuracy\n"
    "components      PCA     skae   gain   PCA  skae     PCA   skae"
)


def print_versions():
    """Print the versions that the figures are made with."""
    packages = ["numpy", "scikit-learn", "torch", "skorch"]
    found = [f"skae {skae.__version__}", f"python {platform.python_version()}"]
    print(", ".join(found + [f"{name} {version(name)}" for name in packages]))
    print(f"device: {resolve_device('auto')}\n")


def load_split():
    """Return X_train, X_test, y_train, y_test: 8 x 8 pixels in [0, 1] and digits."""
    X, y = load_digits(return_X_y=True)
    return train_test_split(X / 16, y, test_size=0.25, random_state=0, stratify=y)


def reconstruct(pipe, X):
    """Reconstruct X (n_samples, n_features) by the first step of a Pipeline."""
    return pipe[0].inverse_transform(pipe[0].transform(X))


def rate(reducer, X_train, X_test, y_train, y_test):
    """Fit a Pipeline; return it, its error per pixel, its accuracy, and the seconds."""
    pipe = make_pipeline(reducer, KNeighborsClassifier())
    start = time.perf_counter()
    pipe.fit(X_train, y_train)
    seconds = time.perf_counter() - start
    error = np.square(reconstruct(pipe, X_test) - X_test).mean()
    return pipe, error, pipe.score(X_test, y_test), seconds


def table_row(k, pca, ours):
    """Return a line of the table from what `rate` returns for PCA and for skae."""
    _, pca_error, pca_accuracy, pca_seconds = pca
    _, error, accuracy, seconds = ours
    return (
        f"{k:10d}  {pca_error:.5f}  {error:.5f}  {1 - error / pca_error:4.0%}  "
        f"{pca_seconds:4.1f}  {seconds:4.1f}  {pca_accuracy:6.1%} {accuracy:6.1%}"
    )


def draw(X, pipes, path):
    """Write a picture of X (n_samples, 64) above its reconstructions by each Pipeline.

    `pipes` maps names to fitted Pipelines.
    """
    from PIL import Image, ImageDraw, ImageFont  # matplotlib takes a second to load

    rows = {"original": X} | {name: reconstruct(pipe, X) for name, pipe in pipes.items()}
    strips = [strip(images) for images in rows.values()]
    (height, width), font = strips[0].shape, ImageFont.load_default(LETTERS)
    measure = ImageDraw.Draw(Image.new("L", (1, 1)))
    left = 2 * SPACE + math.ceil(
        max(measure.multiline_textbbox((0, 0), name, font)[2] for name in rows)
    )
    size = left + width + SPACE, len(rows) * (height + SPACE) + SPACE
    picture = Image.new("L", size, "white")
    canvas = ImageDraw.Draw(picture)
    for number, (name, pixels) in enumerate(zip(rows, strips, strict=True)):
        top = SPACE + number * (height + SPACE)
        gray = np.uint8(255 * (1 - pixels.clip(0, 1)))
        picture.paste(Image.fromarray(gray), (left, top))
        place = left - SPACE, top + height / 2
        canvas.multiline_text(place, name, "black", font, anchor="rm", align="right")
    picture.save(path)


def strip(images):
    """Return images (n, 64) side by side, each in a frame, as one array of pixels."""
    pixels = np.ones((MAGNIFIED, MAGNIFIED))
    framed = [
        np.pad(np.kron(image.reshape(8, 8), pixels), 1, constant_values=1)
        for image in images
    ]
    return np.hstack([np.pad(image, ((0, 0), (4, 4))) for image in framed])


def parse(arguments):
    """Return the options of the command."""
    parser = argparse.ArgumentParser(prog="python -m skae", description=__doc__)
    what = "also fit convolutions, which double the time on so small images"
    parser.add_argument("--convolutional", action="store_true", help=what)
    return parser.parse_args(arguments)


def main(arguments=None):
    """Print the table and write the picture."""
    options = parse(arguments)
    print_versions()
    data = X_train, X_test, _, y_test = load_split()
    print(f"{len(X_train)} digits of 8 x 8 pixels in [0, 1] to fit, {len(X_test)} held out")
    print("error: mean squared error per pixel; accuracy: k-nearest neighbours on codes\n")
    print(HEADER)
    for k in COMPONENTS:
        pca = rate(PCA(k), *data)
        ours = rate(AutoencoderTransformer(k, random_state=0), *data)
        print(table_row(k, pca, ours), flush=True)
        if k == PICTURED:
            pictured = pca, ours
    variants = {"cross-entropy": CROSS_ENTROPY}
    if options.convolutional:
        variants["convolutional"] = CONVOLUTIONAL
    pipes = {"PCA": pictured[0][0], "skae": pictured[1][0]}
    for name, params in variants.items():
        print("the same with", ", ".join(f"{k}={v!r}" for k, v in params.items()))
        ours = AutoencoderTransformer(PICTURED, random_state=0, **params)
        ours = rate(ours, *data)
        print(table_row(PICTURED, pictured[0], ours), flush=True)
        pipes[f"skae,\n{name}"] = ours[0]
    one_of_each = X_test[[int(np.argmax(y_test == digit)) for digit in range(10)]]
    try:
        draw(one_of_each, pipes, PICTURE)
    except ImportError:
        print("\nno picture, because Pillow is not installed")
    else:
        print(
            f"\nwrote {PICTURE}: digits above their reconstructions from {PICTURED} numbers"
        )


if __name__ == "__main__":
    main()
