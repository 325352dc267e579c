"""Opens the model files that the method `save` of an estimator writes: `skae.load`."""

import numpy as np
import torch
from sklearn.base import clone

from skae._applications.imputer import AutoencoderImputer
from skae._applications.outliers import AutoencoderOutlierDetector
from skae._applications.unknown_cells import N_LEVELS
from skae._autoencoders.base import BaseAutoencoder
from skae._autoencoders.dense import AutoencoderTransformer
from skae._autoencoders.fitted_attributes import (
    n_encoded,
    outline,
    set_loss,
    unfitted_loss,
)
from skae._autoencoders.parameters import params_of_fit
from skae._autoencoders.variational import VariationalAutoencoder
from skae._compat import validate_parameter_constraints
from skae._files.container import read_model
from skae._files.values import SavedObject
from skae._tables.categories import Columns, columns_of
from skae._torch import in_own_modes, resolve_device
from skae.exceptions import ModelFileError
from skae.noise import NOISES
from skae.regularizers import REGULARIZERS

__all__ = ["load"]

# Files can name these classes and no others.
CLASSES = {
    kind.__name__: kind
    for kind in (
        AutoencoderImputer,
        AutoencoderOutlierDetector,
        AutoencoderTransformer,
        VariationalAutoencoder,
    )
}
OBJECTS = NOISES | REGULARIZERS
UNSAVED = {"callbacks", "checkpoint", "device"}  # parameters that no file holds


@in_own_modes()
def load(path, *, module=None, device="auto"):
    """Open a model file that the method `save` of an estimator has written.

    Opening a file does not run any code from it, whoever made it: a file holds numbers
    and words, and can name only classes of this package. The SHA-256 in a file reveals
    damage but not forgery, because anyone who changes a file can compute it anew.

    Parameters
    ----------
    path : str or path-like
        The file.
    module : callable or None, default=None
        The parameter `module` that the estimator was fitted with, if it had one. A file
        holds the weights of such a network, but not the code, which this callable brings.
    device : str or torch.device, default="auto"
        The parameter `device` of the returned estimator. Files do not hold one.

    Returns
    -------
    estimator : estimator
        The fitted estimator. On the CPU of one machine it gives the same bits as the
        estimator that was saved.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If the file was cut short or altered, has a newer format, is not a model file, or
        if its contents do not make a model. This error is a ValueError.
    ValueError
        If torch cannot use `device` on this machine.

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
        # Wrong contents may cause any error, in the estimator or below it.
        raise ModelFileError(f"{str(path)!r} holds no valid {name}: {error}") from error


def _rebuild(name, parameters, fitted, module, device):
    """Return the fitted estimator that plain values describe."""
    if name not in CLASSES:
        raise ModelFileError(
            f"holds a {name[:60]!r}, but this version of skae knows {sorted(CLASSES)}."
        )
    if not issubclass(CLASSES[name], BaseAutoencoder):
        return _rebuild_with_autoencoder(name, parameters, fitted, module, device)
    _check_module(parameters.pop("module", None), module)
    fitted.pop("_points", None)  # for skae.runtime; others compute them
    model = _unfitted(CLASSES[name], parameters, module, device)
    of_fit = _params_of_fit(model, fitted)
    taken = [attribute for attribute in fitted if hasattr(model, attribute)]
    if taken:
        raise ModelFileError(f"has attributes that fit does not set: {taken[:6]}.")
    weights = fitted["net_"]
    vars(model).update(fitted | of_fit)
    _check_sizes(model, weights)
    net = _trained_module(model, weights)
    model.__setstate__({**vars(model), "net_": weights if module is None else net})
    _check_use(model)
    return model


def _rebuild_with_autoencoder(name, parameters, fitted, module, device):
    """Return the fitted estimator that plain values describe, with its autoencoder."""
    inner, autoencoder = fitted.pop("estimator_"), None
    if inner is not None:
        autoencoder = _rebuild_inner(inner, module, device)
    has_own = parameters.pop("has_own_estimator") and autoencoder is not None
    unfitted = clone(autoencoder) if has_own else None
    model = CLASSES[name](estimator=unfitted, **parameters)
    model._validate_params()
    taken = [attribute for attribute in fitted if hasattr(model, attribute)]
    if taken:
        raise ModelFileError(f"has attributes that fit does not set: {taken[:6]}.")
    fitted["estimator_"] = autoencoder
    if name == "AutoencoderImputer":
        fitted["_others"] = [_rebuild_inner(o, module, device) for o in fitted["_others"]]
    check = _check_imputer if name == "AutoencoderImputer" else _check_detector
    check(fitted)
    if name == "AutoencoderImputer":
        model._take_from_file(fitted)
    else:
        vars(model).update(fitted)
    return model


def _rebuild_inner(inner, module, device):
    """Return the fitted autoencoder of an estimator, which plain values describe."""
    kinds = inner["class"], inner["parameters"], inner["fitted"]
    autoencoder = _rebuild(*kinds, module, device)
    if not isinstance(autoencoder, BaseAutoencoder):
        raise ModelFileError("has an estimator_ that is not an autoencoder.")
    return autoencoder


def _check_detector(fitted):
    """Check the fitted attributes of a detector."""
    autoencoder = fitted["estimator_"]
    n_features = autoencoder.n_features_in_
    n_held_out = len(fitted["held_out_rows_"])
    shapes = {
        "_references": (len(fitted["_references"]), n_encoded(autoencoder)),
        "_tails": (2, 3),
        "held_out_distances_": (n_held_out, 2),
        "held_out_scores_": (n_held_out,),
        "held_out_weights_": (n_held_out,),
    }
    _check_arrays(fitted, shapes)
    if fitted["n_features_in_"] != n_features or not np.isfinite(fitted["offset_"]):
        raise ModelFileError("has attributes that do not fit together.")


def _check_imputer(fitted):
    """Check the fitted attributes of an imputer."""
    n_features, autoencoder = fitted["n_features_in_"], fitted["estimator_"]
    _check_arrays(fitted, {"_is_empty": (n_features,)})
    n_inside = 0 if autoencoder is None else autoencoder.n_features_in_
    are_wrong = fitted["_is_empty"].dtype != bool
    are_wrong |= int((~fitted["_is_empty"]).sum()) != n_inside
    for name in ("_features_out", "indicator_"):
        columns = fitted[name]
        if columns is not None:
            are_wrong |= columns.ndim != 1 or not np.isin(columns, range(n_features)).all()
    ends = fitted["min_value_"], fitted["max_value_"]
    are_wrong |= not all(end.shape == (n_features,) for end in ends)
    are_wrong |= not (ends[0] <= ends[1]).all()
    autoencoders = [] if autoencoder is None else [autoencoder, *fitted["_others"]]
    are_wrong |= not all(each.allow_nan for each in autoencoders)
    are_wrong |= any(n_encoded(each) != n_encoded(autoencoder) for each in autoencoders)
    if are_wrong:
        raise ModelFileError("has attributes that do not fit together.")
    if fitted["_error_quantiles"] is not None:
        _check_arrays(fitted, {"_error_quantiles": (N_LEVELS, n_encoded(autoencoder))})
    if fitted.get("_columns") is not None:
        columns = Columns(**fitted["_columns"])
        columns.check()
        inside = columns.of(np.flatnonzero(~fitted["_is_empty"]))
        widths = 0 if inside is None else inside.n_encoded
        of_autoencoder = columns_of(autoencoder)
        has = 0 if of_autoencoder is None else of_autoencoder.n_encoded
        if columns.n_features != n_features or widths != has:
            raise ModelFileError("has columns of categories that are not its features.")


def _check_arrays(fitted, shapes):
    """Refuse arrays that do not have these shapes, or are not finite."""
    for attribute, shape in shapes.items():
        array = fitted[attribute]
        if array.shape != shape or not np.isfinite(array).all():
            raise ModelFileError(f"has an attribute {attribute!r} that is not valid.")


def _check_module(kind, module):
    """Refuse a `module` that does not fit the kind of network that the file holds."""
    if kind not in (None, "custom"):
        raise ModelFileError(f"has the unknown module {kind!r}.")
    if kind is not None and module is None:
        raise ModelFileError(
            "holds the weights of a custom module but not its code. Pass module= to "
            "load, with the callable that the estimator was fitted with."
        )
    if kind is None and module is not None:
        raise ModelFileError(
            "holds a network made of skae's own layers. Leave out module=."
        )


def _unfitted(Estimator, parameters, module, device):
    """Return an unfitted estimator with these parameters, after a check of them."""
    taken = Estimator().get_params(deep=False).keys()
    known = taken - UNSAVED
    unknown = sorted(set(parameters) - known)
    if unknown:
        raise ModelFileError(
            f"has parameters that {Estimator.__name__} does not have: {unknown[:6]}."
        )
    made = {name: _made(value) for name, value in parameters.items()}
    given = {"module": module, "device": device}
    model = Estimator(**made, **{name: given[name] for name in given.keys() & taken})
    model._validate_params()
    return model


def _params_of_fit(model, fitted):
    """Return the parameters of the last fit as a dict with the key `_params_of_fit`.

    They are checked as parameters. Early files of skae 0.1 do not hold them; the
    estimator's own parameters are then returned.
    """
    made_with = fitted.get("_params_of_fit", {})
    if type(made_with) is not dict:
        raise ModelFileError("has parameters of its fit that are not a dict.")
    if made_with:
        model = _unfitted(type(model), made_with, model.module, model.device)
    return {"_params_of_fit": params_of_fit(model)}


def _made(value):
    """Return a parameter, with noises and regularizers in the place of `SavedObject`s."""
    if type(value) in (list, tuple):
        return type(value)(_made(item) for item in value)
    if not isinstance(value, SavedObject):
        return value
    if value.name not in OBJECTS:
        known = ", ".join(OBJECTS)
        raise ModelFileError(f"holds a {value.name[:60]!r}, but skae knows {known}.")
    made = OBJECTS[value.name]().set_params(**value.parameters)
    validate_parameter_constraints(
        made._parameter_constraints, made.get_params(deep=False), value.name
    )
    return made


def _check_sizes(model, weights):
    """Check widths against arrays before memory is taken for a network of these widths."""
    shape = model.n_components_, model.n_features_in_
    if any(type(size) is not int for size in shape):
        raise ModelFileError("has widths that are not integers.")
    columns = columns_of(model)
    if columns is not None:
        columns.check()
        if columns.n_features != model.n_features_in_:
            raise ModelFileError("has columns of categories that are not its features.")
    width = (n_encoded(model),)
    if model.components_.shape != shape or model.mean_.shape != width:
        raise ModelFileError(f"has arrays that do not have the model's widths {shape}.")
    extremes = vars(model).get("_extremes") or {}
    if any(np.shape(v) != width for k, v in extremes.items() if k != "n_rows"):
        raise ModelFileError("has ends of features that do not have the model's widths.")
    _check_exposure(vars(model).get("_exposure"), model.n_features_in_)
    if not all(isinstance(array, np.ndarray) for array in weights.values()):
        raise ModelFileError("has weights that are not arrays.")
    if len(model.hidden_layer_sizes_) > len(weights):
        raise ModelFileError("has more layers than weights.")


def _check_exposure(fields, n_features):
    """Refuse fields that do not make an Exposure of rows of counts."""
    if fields is None:
        return
    columns, shares = fields["columns"], fields["shares"]
    is_valid = columns.ndim == 1 and np.isin(columns, range(n_features)).all()
    is_valid &= 0 < fields["typical"] < np.inf
    if shares is not None:
        is_valid &= shares.shape == columns.shape and bool((shares >= 0).all())
    if not is_valid or set(fields) != {"columns", "typical", "shares"}:
        raise ModelFileError("has an exposure that is not valid.")


def _trained_module(model, weights):
    """Return the network of the file, after a check of its weights.

    A user's module has these weights. A network of skae's own is only an outline on the
    device "meta", which takes no memory.
    """
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
    """Refuse weights that do not belong to the network `module`."""
    expected = module.state_dict()
    missing, surplus = set(expected) - set(weights), set(weights) - set(expected)
    if missing or surplus:
        raise ModelFileError(
            f"does not have the weights of its network: {sorted(missing)[:6]} are missing, "
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
    """Pass one row through the model, which fails if attributes do not fit together."""
    row = np.array(model.mean_[None], dtype=np.float64).clip(*model._loss.bounds)
    exposed = model._inference.exposed(row, np.ones(1))
    Z = model._inference.encode(row, model.n_components_, exposed)
    X_hat = model._inference.decode(Z)
    scores = model._inference.row_scores(row, exposed)
    are_finite = np.isfinite(Z).all() and np.isfinite(X_hat).all()
    if not are_finite or np.isnan(scores).any():
        raise ModelFileError("gives codes or reconstructions that are not finite.")
