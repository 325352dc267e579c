"""Estimators in files that are safe to open: `skae.load`, and what `save` writes."""

import numpy as np
import torch

from skae._autoencoders.dense import AutoencoderTransformer
from skae._autoencoders.fitted_attributes import outline, set_loss, unfitted_loss
from skae._autoencoders.parameters import params_of_fit
from skae._compat import validate_parameter_constraints
from skae._files.container import read_model
from skae._files.values import Recipe
from skae._torch import in_own_modes, resolve_device
from skae.exceptions import ModelFileError
from skae.noise import GaussianNoise, MaskingNoise, SaltAndPepperNoise, SwapNoise
from skae.regularizers import Contractive, KLSparsity, L1Code, OrthogonalDecoder

__all__ = ["load"]

# The only names a file can ask for.
CLASSES = {"AutoencoderTransformer": AutoencoderTransformer}
RECIPES = {
    kind.__name__: kind
    for kind in (
        *(GaussianNoise, MaskingNoise, SaltAndPepperNoise, SwapNoise),
        *(Contractive, KLSparsity, L1Code, OrthogonalDecoder),
    )
}
UNSAVED = {"callbacks", "checkpoint", "device"}  # parameters that no file holds


@in_own_modes()
def load(path, *, module=None, device="auto"):
    """Open a model file that the method `save` of an estimator has written.

    Opening a file runs no code that it holds, whoever made it: a file is numbers and
    words, and names no class but those of this package. Its SHA-256 tells damage, not
    forgery: whoever changes a file on purpose can compute it anew.

    Parameters
    ----------
    path : str or path-like
        The file.
    module : callable or None, default=None
        The parameter `module` that the estimator was fitted with, if it had one. A file
        holds its weights and not its code, which is run here.
    device : str or torch.device, default="auto"
        Parameter `device` of the estimator that is returned; no file holds one.

    Returns
    -------
    estimator : estimator
        Fitted. On one machine's CPU it gives the same bits as the one that was saved.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If the file was cut short or altered, is of a newer format, is no model file, or
        if its contents make no model. It is a ValueError.
    ValueError
        If `device` is a CUDA device and there is none.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from skae import AutoencoderTransformer
    >>> from skae.persistence import load
    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> ae = AutoencoderTransformer(2, max_epochs=2, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.skae")
    ...     ae.save(path)
    ...     again = load(path)
    >>> bool((again.transform(X) == ae.transform(X)).all())
    True
    """
    resolve_device(device, owner="load")
    name, parameters, fitted = read_model(path)
    try:
        return _rebuild(name, parameters, fitted, module, device)
    except ModelFileError as error:
        raise ModelFileError(f"{str(path)!r} {error}") from error.__cause__
    except Exception as error:
        # What a file holds may fail in any way, in the estimator and below.
        raise ModelFileError(f"{str(path)!r} holds no {name}: {error}") from error


def _rebuild(name, parameters, fitted, module, device):
    """The fitted estimator that plain values describe."""
    if name not in CLASSES:
        raise ModelFileError(
            f"holds a {name[:60]!r}, and this version of skae knows {sorted(CLASSES)}."
        )
    _check_module(parameters.pop("module", None), module)
    model = _unfitted(CLASSES[name], parameters, module, device)
    of_fit = _params_of_fit(model, fitted)
    taken = [attribute for attribute in fitted if hasattr(model, attribute)]
    if taken:
        raise ModelFileError(f"sets what no fit sets: {taken[:6]}.")
    weights = fitted["net_"]
    vars(model).update(fitted | of_fit)
    _check_sizes(model, weights)
    net = _trained_module(model, weights)
    model.__setstate__({**vars(model), "net_": weights if module is None else net})
    _check_use(model)
    return model


def _check_module(of_file, module):
    if of_file not in (None, "custom"):
        raise ModelFileError(f"has the unknown module {of_file!r}.")
    if of_file is not None and module is None:
        raise ModelFileError(
            "holds the weights of a custom module and not its code. Pass module= to "
            "load, the callable that the estimator was fitted with."
        )
    if of_file is None and module is not None:
        raise ModelFileError(
            "holds a network of skae's own, which takes no module. Leave out module=."
        )


def _unfitted(Estimator, parameters, module, device):
    known = set(Estimator().get_params(deep=False)) - UNSAVED
    unknown = sorted(set(parameters) - known)
    if unknown:
        raise ModelFileError(
            f"has parameters that {Estimator.__name__} does not have: {unknown[:6]}."
        )
    made = {name: _made(value) for name, value in parameters.items()}
    model = Estimator(**made, module=module, device=device)
    model._validate_params()
    return model


def _params_of_fit(model, fitted):
    """The entry of `fitted` that says what the fit was made with, checked as parameters.

    Files of skae 0.1 before it had this entry hold the parameters alone.
    """
    made_with = fitted.get("_params_of_fit", {})
    if type(made_with) is not dict:
        raise ModelFileError("has no parameters of its fit, but something else.")
    if made_with:
        model = _unfitted(type(model), made_with, model.module, model.device)
    return {"_params_of_fit": params_of_fit(model)}


def _made(value):
    """A parameter, the recipes in it made."""
    if type(value) in (list, tuple):
        return type(value)(_made(item) for item in value)
    if not isinstance(value, Recipe):
        return value
    if value.name not in RECIPES:
        known = ", ".join(RECIPES)
        raise ModelFileError(f"holds a {value.name[:60]!r}, and skae knows {known}.")
    recipe = RECIPES[value.name]().set_params(**value.parameters)
    validate_parameter_constraints(
        recipe._parameter_constraints, recipe.get_params(deep=False), value.name
    )
    return recipe


def _check_sizes(model, weights):
    """Nothing is made from a number of the file before an array has confirmed it."""
    shape = model.n_components_, model.n_features_in_
    if any(type(size) is not int for size in shape):
        raise ModelFileError("has widths that are not whole numbers.")
    if model.components_.shape != shape or model.mean_.shape != shape[1:]:
        raise ModelFileError(f"has arrays of other widths than the model's {shape}.")
    if not all(isinstance(array, np.ndarray) for array in weights.values()):
        raise ModelFileError("has weights that are no arrays.")
    if len(model.hidden_layer_sizes_) > len(weights):
        raise ModelFileError("has more layers than weights.")


def _trained_module(model, weights):
    """The network, its weights loaded; of skae's own only the outline, without memory."""
    set_loss(model, unfitted_loss(model), model._loss_statistics)
    if not model._network_kind.has_own_code:
        with torch.device("meta"):
            module = outline(model)
        _check_weights(module, weights)
        return module
    module = outline(model).unwrapped
    _check_weights(module, weights)
    module.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    return module


def _check_weights(module, weights):
    expected = module.state_dict()
    missing, surplus = set(expected) - set(weights), set(weights) - set(expected)
    if missing or surplus:
        raise ModelFileError(
            f"has not the weights of its network: {sorted(missing)[:6]} are missing, "
            f"{sorted(surplus)[:6]} are surplus."
        )
    for name, tensor in expected.items():
        array = weights[name]
        dtype = str(tensor.dtype).removeprefix("torch.")
        if array.shape != tuple(tensor.shape) or array.dtype.name != dtype:
            raise ModelFileError(
                f"has weights {name!r} of shape {array.shape} and type {array.dtype}, but "
                f"its network has {tuple(tensor.shape)} and {dtype}."
            )
        if not np.isfinite(array).all():
            raise ModelFileError(f"has weights {name!r} that are not finite.")


def _check_use(model):
    """Pass one row through the model: attributes that do not go together show here."""
    row = np.array(model.mean_[None], dtype=np.float64)
    Z = model._inference.encode(row, model.n_components_)
    X_hat = model._inference.decode(Z)
    scores = model._inference.row_scores(row)
    are_finite = np.isfinite(Z).all() and np.isfinite(X_hat).all()
    if not are_finite or np.isnan(scores).any():
        raise ModelFileError("gives no finite codes and reconstructions.")
