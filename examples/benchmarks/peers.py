"""Autoencoders of other packages, each fitted as its own documentation shows.

`process` fits one of them in a process of its own. A package is imported when it is first
needed there, so that one that is missing is missed by nobody else, and TensorFlow never
shares a process with PyTorch.

Every fit takes rows X (n_samples, n_features), the width k of the code, the number of
epochs, None being what the documentation has, and a seed. It returns a function that
reconstructs rows. Hidden layers, batch sizes, optimizers and numbers of epochs are those
of the sources that the docstrings name; only the width of the code is the set's.
"""

import contextlib
import io
import logging
import os
import pickle
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler


def fit_mlp(X, k, epochs, seed):
    """`MLPRegressor(X, X)` with its defaults, its one layer of 100 on both sides."""
    from sklearn.neural_network import MLPRegressor

    sizes = {"hidden_layer_sizes": (100, k, 100), "random_state": seed}
    model = MLPRegressor(**sizes, **({"max_iter": epochs} if epochs else {}))
    return model.fit(X, X).predict


def fit_skorch(X, k, epochs, seed):
    """The autoencoder of skorch's notebook "Advanced usage", with Adam.

    One hidden layer of half as many units as there are columns, ReLU at the code too,
    rows shuffled as in the README, 20 epochs as in the quickstart. Rate, batch size and
    the held-out fifth are skorch's defaults.
    """
    import torch
    from skorch import NeuralNetRegressor
    from torch import nn

    torch.manual_seed(seed)
    n_features = X.shape[1]
    h = max(n_features // 2, k)
    encoder = nn.Linear(n_features, h), nn.ReLU(), nn.Linear(h, k), nn.ReLU()
    net = NeuralNetRegressor(
        nn.Sequential(*encoder, nn.Linear(k, h), nn.ReLU(), nn.Linear(h, n_features)),
        optimizer=torch.optim.Adam,
        max_epochs=epochs or 20,
        iterator_train__shuffle=True,
        verbose=0,
    )
    return net.fit(X, X).predict


def fit_keras(X, k, epochs, seed, hidden=(128, 64)):
    """The deep autoencoder of Keras's "Building Autoencoders in Keras".

    Dense layers of 128, 64, k, 64 and 128 units, ReLU at the code too, a sigmoid at the
    end, binary cross-entropy, Adam, 100 epochs of batches of 256. Its test rows are not
    watched in training, which takes time.
    """
    import keras
    from keras.layers import Dense

    keras.utils.set_random_seed(seed)
    n_features = X.shape[1]
    widths = *hidden, k, *hidden[::-1]
    layers = [Dense(width, activation="relu") for width in widths]
    model = keras.Sequential(
        [keras.Input((n_features,)), *layers, Dense(n_features, activation="sigmoid")]
    )
    model.compile(optimizer="adam", loss="binary_crossentropy")
    model.fit(X, X, epochs=epochs or 100, batch_size=256, shuffle=True, verbose=0)
    return lambda rows: model.predict(rows, batch_size=1024, verbose=0)


def fit_pyod(X, k, epochs, seed):
    """PyOD's example `auto_encoder_example.py`: 30 epochs.

    All else is its default: a hidden layer of 64 units, ReLU at the code too, batch
    normalization, dropout, batches of 32, and features that it standardizes itself.
    Pixels it does not, for it would divide those that are always black by 1e-8.
    """
    import torch
    from pyod.models.auto_encoder import AutoEncoder

    detector = AutoEncoder(
        epoch_num=epochs or 30,
        hidden_neuron_list=[64, k],
        preprocessing=not are_pixels(X),
        random_state=seed,
        verbose=0,
    ).fit(X)

    def reconstruct(rows):
        mean, scale = 0.0, 1.0
        if detector.preprocessing:
            mean, scale = detector.X_mean, detector.X_std + 1e-8  # as its own scores
        scaled = torch.from_numpy(((rows - mean) / scale).astype(np.float32))
        with torch.inference_mode():
            scaled = detector.model.eval()(scaled.to(detector.device)).cpu().numpy()
        return scaled * scale + mean

    return reconstruct


def fit_pythae(X, k, epochs, seed):
    """The training pipeline of pythae's documentation, with `AE` in place of `VAE`.

    50 epochs, a rate of 1e-3, batches of 64, and the default network: a hidden layer of
    512 units and a sigmoid at the end. The model is the one of the best training loss,
    which pythae writes to a folder.
    """
    from pythae.models import AE, AEConfig, AutoModel
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig

    folder = tempfile.TemporaryDirectory()
    config = BaseTrainerConfig(
        output_dir=folder.name,
        num_epochs=epochs or 50,
        learning_rate=1e-3,
        per_device_train_batch_size=64,
        seed=seed,
    )
    network = AE(AEConfig(input_dim=(X.shape[1],), latent_dim=k))
    TrainingPipeline(model=network, training_config=config)(train_data=X)

    def reconstruct(rows):
        import torch

        with folder:
            (written,) = Path(folder.name).glob("*/final_model")
            model = AutoModel.load_from_folder(str(written)).eval()
        with torch.inference_mode():
            return model.reconstruct(torch.from_numpy(rows)).numpy()

    return reconstruct


def fit_skae(X, k, epochs, seed, **params):
    """AutoencoderTransformer, with its defaults but for `params`."""
    from skae import AutoencoderTransformer

    params = {"max_epochs": epochs or "auto", "random_state": seed} | params
    model = AutoencoderTransformer(k, **params).fit(X)

    def reconstruct(rows):
        return model.inverse_transform(model.transform(rows))

    reconstruct.n_epochs = model.n_iter_
    return reconstruct


FITS = {
    "skae": fit_skae,
    "MLPRegressor": fit_mlp,
    "skorch": fit_skorch,
    "Keras": fit_keras,
    "PyOD": fit_pyod,
    "pythae": fit_pythae,
}
PACKAGES = {"MLPRegressor": "sklearn", "Keras": "keras", "PyOD": "pyod"}  # else its name
# What a documentation asks of the data, where pixels in [0, 1] serve as they are.
SCALERS = {
    "MLPRegressor": StandardScaler,
    "skorch": StandardScaler,
    "Keras": MinMaxScaler,
    "pythae": MinMaxScaler,
}


def are_pixels(X):
    """Whether all values lie in [0, 1], as nobody asks for more."""
    return X.min() >= 0 and X.max() <= 1


def scaler_for(name, X):
    """What brings X to the form that the model's documentation asks for."""
    wanted = SCALERS.get(name, FunctionTransformer)
    return FunctionTransformer() if are_pixels(X) else wanted()


def squared_error(X_hat, X):
    """Mean over rows and columns."""
    return float(np.square(X_hat - X).mean(dtype=np.float64))


def binary_cross_entropy(X_hat, X):
    """Mean over rows and columns, in nats, of probabilities clipped as Keras does."""
    X_hat = np.clip(X_hat.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-(X * np.log(X_hat) + (1 - X) * np.log(1 - X_hat)).mean())


@contextlib.contextmanager
def silence():
    """No bars, tables and warnings of peers that know no other way."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.disable(logging.WARNING)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def measure(
    name,
    X_train,
    X_test,
    k,
    epochs=None,
    seed=0,
    error=squared_error,
    clock="perf_counter",
    **params,
):
    """Fit once.

    Parameters
    ----------
    name : str
        A key of FITS.
    X_train, X_test : ndarrays of shape (n_samples, n_features)
    k : int
    epochs : int or None
    error : callable (X_hat, X) -> float
    clock : str
        Name of the function of `time` that tells the seconds.
    **params
        More arguments of the fit.

    Returns
    -------
    outcome : dict
        "seconds" of the fit alone; "error" of the reconstruction of X_test, in the units
        of X; "epochs" trained, where the model chooses their number itself.
    """
    scaler = scaler_for(name, X_train)
    rows, test_rows = scaler.fit_transform(X_train), scaler.transform(X_test)
    if name != "skae":
        # What all peers compute in, and no conversion on their account.
        rows, test_rows = (np.ascontiguousarray(x, np.float32) for x in (rows, test_rows))
    with silence():
        now = getattr(time, clock)
        start = now()
        reconstruct = FITS[name](rows, k, epochs, seed, **params)
        seconds = now() - start
        X_hat = scaler.inverse_transform(reconstruct(test_rows))
    return {
        "seconds": seconds,
        "error": error(X_hat, X_test),
        "epochs": getattr(reconstruct, "n_epochs", None),
    }


@contextlib.contextmanager
def process(name):
    """A process that fits one model to one set after the other.

    Parameters
    ----------
    name : str
        A key of FITS.

    Yields
    ------
    on : callable (X_train, X_test, k) -> callable (**params) -> dict
        What it returns is `measure` with these three and the given arguments, until it is
        called for another set.
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen([sys.executable, __file__], stderr=errors, **pipes) as worker,
    ):
        pickle.dump(name, worker.stdin)

        def on(*of_set):
            pickle.dump(of_set, worker.stdin)
            return fit

        def fit(**params):
            pickle.dump(params, worker.stdin)
            worker.stdin.flush()
            try:
                return pickle.load(worker.stdout)
            except EOFError as error:
                errors.seek(0)
                said = errors.read().decode(errors="replace")
                raise RuntimeError(f"The process of {name} has died:\n{said}") from error

        yield on


def main():
    """The other end of `process`: read sets, and answer until nobody asks.

    The package is imported, and does what it does only once, on a few random rows.
    """
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    name = pickle.load(requests)
    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        if isinstance(request, tuple):
            X_train, _, k = of_set = request
            X = np.random.default_rng(0).uniform(size=(128, X_train.shape[1]))
            measure(name, X, X, k, epochs=1)
        else:
            pickle.dump(measure(name, *of_set, **request), answers)
            answers.flush()


if __name__ == "__main__":
    main()
