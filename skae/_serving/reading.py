"""Makes a `Model` out of the plain values of a file, and checks them."""

import contextlib

import numpy as np

from skae._serving.density import Density, NormalLoss, prior_of
from skae._serving.exposure import Exposure
from skae._serving.filler import Filler
from skae._serving.losses import loss_of
from skae._serving.model import Model
from skae._serving.network import network_of
from skae._serving.steps import Chain, First, cast
from skae._tables import ranges
from skae.exceptions import ModelFileError

__all__ = ["array_of", "columns_refused", "model_of", "names_of", "read_as"]

CLASSES = {"AutoencoderTransformer": False, "VariationalAutoencoder": True}
TAKEN = [*CLASSES, "AutoencoderImputer", "AutoencoderOutlierDetector"]
# Parameters that decide what a model computes, and what they are in files without them.
DEFAULTS = {
    "activation": "gelu",
    "clip": "auto",
    "code_activation": "identity",
    "covariance_type": "diag",
    "dropout": 0.0,
    "init": "pca",
    "loss": "squared_error",
    "normalization": None,
    "ordered": False,
    "sample_shape": None,
    "standardize": False,
    "whiten": False,
}
FLAGS = ("ordered", "standardize", "whiten")
FAR = 10.0  # as in `skae._model.model`, like `EXTREME`
EXTREME = {"float32": 1e12, "float64": 1e280}
SMALLEST = 1e-6


def model_of(name, parameters, fitted):
    """Return the Model of an estimator that plain values describe.

    Parameters
    ----------
    name : str
        Name of its class.
    parameters, fitted : dict
        What a file holds, see `skae._files.container`.

    Raises
    ------
    ModelFileError
        If these values do not make a model.
    """
    if not isinstance(name, str) or name not in CLASSES:
        raise ModelFileError(
            f"holds a {str(name)[:60]!r}, but skae.runtime takes {sorted(TAKEN)}. Open it "
            "with skae.load, which needs torch and scikit-learn."
        )
    if parameters.get("module") is not None:
        raise ModelFileError(
            "holds the weights of a custom module but not its code. Open it with "
            "skae.load and module=, which needs torch."
        )
    if fitted.get("_columns") is not None:
        raise ModelFileError(columns_refused())
    with read_as(name):
        model = _model(name, parameters, fitted)
        _check_use(model)
    return model


@contextlib.contextmanager
def read_as(name):
    """Turn errors in this context, which wrong contents cause, into a ModelFileError."""
    try:
        yield
    except ModelFileError:
        raise
    except Exception as error:
        raise ModelFileError(
            f"holds no valid {name}: {type(error).__name__}: {error}"
        ) from error


def columns_refused():
    """Return what is said of a file with columns of categories."""
    return (
        "has columns of categories, which skae.runtime does not read. Open it with "
        "skae.load, which needs torch and scikit-learn."
    )


def _model(name, parameters, fitted):
    params = _params_of_fit(parameters, fitted)
    is_variational = CLASSES[name]
    k, p = (_width(fitted[size]) for size in ("n_components_", "n_features_in_"))
    fitted = {
        "_exposure": None,
        "_extremes": None,
        "_filler": None,
        "_holds": True,
        "_has_marks": False,
        "_is_dense": False,
        "_n_left_out": 0,
        "_points": None,
        **fitted,
        "is_variational": is_variational,
    }
    for flag in ("_holds", "_has_marks", "_is_dense"):
        _check_flag(flag, fitted[flag])
    array_of(fitted["components_"], (k, p), "components_")
    names = names_of(fitted.get("feature_names_in_"), p)
    loss = _loss(params, fitted, p, names)
    encoder, decoder, constants = network_of(params, fitted, loss.n_constants)
    kind, more = Model, {}
    if is_variational:
        kind, more = Density, _of_density(fitted, encoder, k)
        encoder = Chain((encoder, First(k)))
    mean, scale = array_of(fitted["mean_"], (p,), "mean_"), _scale(fitted["scale_"], p)
    filler = _filler(fitted["_filler"], p)
    return kind(
        name=name,
        mean=mean,
        scale=scale,
        unit=1.0 if params["standardize"] else scale,
        code_scale=_code_scale(params, fitted, scale, k),
        encoders={dtype: cast(encoder, dtype) for dtype in EXTREME},
        decoders={dtype: cast(decoder, dtype) for dtype in EXTREME},
        folded=_folded(encoder, mean, scale, fitted["_has_marks"]),
        constants=constants,
        loss=loss,
        ends=_ends(params, fitted, loss, p),
        exposure=_exposure(fitted["_exposure"], p, filler is not None),
        filler=filler,
        has_marks=fitted["_has_marks"] and filler is not None,
        is_ordered=params["ordered"],
        feature_names=names,
        **more,
    )


def _loss(params, fitted, p, names):
    """Return the loss, which for a density of numbers is a normal distribution."""
    statistics = fitted["_loss_statistics"]
    if not fitted["is_variational"] or params["loss"] != "squared_error":
        return loss_of(params["loss"], statistics, p, names)
    if params["covariance_type"] not in ("spherical", "diag"):
        raise ModelFileError("has an invalid parameter covariance_type.")
    return NormalLoss(statistics, p, params["covariance_type"] == "spherical")


def _of_density(fitted, encoder, k):
    """Return what a Density has besides what a Model has."""
    prior, points = None, fitted["_points"]
    if "weights_" in fitted:
        names = "weights_", "means_", "covariances_"
        prior = prior_of(*(array_of(fitted[n], fitted[n].shape, n) for n in names), k)
    if points is not None:
        points = array_of(points, (len(points), k), "_points")
    posteriors = {dtype: cast(encoder, dtype) for dtype in EXTREME}
    return {"prior": prior, "points": points, "posteriors": posteriors}


def _params_of_fit(parameters, fitted):
    """Return the parameters of the last fit; early files have those of the estimator."""
    made_with = fitted.get("_params_of_fit") or parameters
    params = DEFAULTS | {name: made_with[name] for name in DEFAULTS & made_with.keys()}
    for flag in FLAGS:
        _check_flag(flag, params[flag])
    if params["init"] not in ("pca", "random"):
        raise ModelFileError("has an invalid parameter init.")
    if params["normalization"] not in ("batch", "layer", None):
        raise ModelFileError("has an invalid parameter normalization.")
    return params


def _folded(encoder, mean, scale, has_marks):
    """Return encoders of X by dtype, where centring and scaling cost no digits."""
    scale = np.broadcast_to(scale, mean.shape)
    if has_marks or not (np.abs(mean) <= FAR * scale).all():
        return {}
    folded = encoder.after(1 / scale, -mean / scale)
    return {
        dtype: cast(folded, dtype)
        for dtype, extreme in EXTREME.items()
        if 1 / extreme <= scale.min() <= scale.max() <= extreme
    }


def _code_scale(params, fitted, scale, k):
    if params["whiten"]:
        deviations = array_of(fitted["_code_deviations"], (k,), "_code_deviations")
        varies = deviations > SMALLEST * deviations.max()
        return 1 / np.where(varies, deviations, 1.0)
    if fitted["is_variational"] or params["standardize"]:
        return np.ones(k)
    return np.full(k, scale)


def _ends(params, fitted, loss, p):
    """Return the ends at which reconstructions are held, or None."""
    is_held = fitted["_holds"] and not fitted["is_variational"]
    if fitted["_extremes"] is None or not is_held:
        return None
    extremes = ranges.Extremes(**fitted["_extremes"])
    arrays = {name: array for name, array in vars(extremes).items() if name != "n_rows"}
    for array in arrays.values():
        if array.shape != (p,) or np.isnan(array).any():
            raise ModelFileError("has ends of features that are not valid.")
    _width(extremes.n_rows)
    if params["clip"] not in (True, False, "auto"):
        raise ModelFileError("has an invalid parameter clip.")
    return extremes.ends(params["clip"], loss.can_hold)


def _exposure(fields, p, has_gaps):
    """Return the Exposure of rows of counts, or None."""
    if fields is None:
        return None
    if fields["shares"] is None:
        raise ModelFileError(
            "was fitted with exposures of the rows, which skae.runtime does not take. Open "
            "it with skae.load, which needs torch and scikit-learn."
        )
    columns, (is_count, shares) = fields["columns"], np.zeros((2, p))
    is_count[columns], shares[columns] = (
        1.0,
        array_of(fields["shares"], columns.shape, "shares"),
    )
    typical = float(fields["typical"])
    if not 0 < typical < np.inf:
        raise ModelFileError("has an exposure that is not valid.")
    return Exposure(is_count, shares, typical, has_gaps)


def _filler(parts, p):
    if parts is None:
        return None
    mean, weight, noise = parts
    filler = Filler(
        array_of(mean, (p,), "_filler"),
        array_of(weight, (p, weight.shape[1]), "_filler"),
        float(noise),
    )
    if not 0 <= filler.noise < np.inf:
        raise ModelFileError("has a filler of missing cells that is not valid.")
    return filler


# -- checks ----------------------------------------------------------------------------


def _check_flag(name, value):
    if not isinstance(value, bool | np.bool_):
        raise ModelFileError(f"has a value {name!r} that is not a bool.")


def _width(value):
    if type(value) is not int or value < 1:
        raise ModelFileError("has widths that are not positive integers.")
    return value


def array_of(value, shape, name):
    if not isinstance(value, np.ndarray) or value.shape != shape:
        raise ModelFileError(f"has an attribute {name!r} that does not have shape {shape}.")
    if not np.isfinite(value).all():
        raise ModelFileError(f"has an attribute {name!r} that is not finite.")
    return value.astype(np.float64)


def _scale(value, p):
    scale = np.asarray(value)
    if scale.shape not in ((), (p,)) or scale.dtype.kind != "f":
        raise ModelFileError("has an attribute 'scale_' that is not valid.")
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise ModelFileError("has an attribute 'scale_' that is not positive.")
    return scale.astype(np.float64)


def names_of(names, p):
    if names is None:
        return None
    names = [*names]
    if len(names) != p or not all(type(name) is str for name in names):
        raise ModelFileError("has feature names that are not one string for each feature.")
    return names


def _check_use(model):
    """Pass one row through the model, which fails if values do not fit together."""
    row = model.mean[None].clip(*model.loss.bounds)
    with np.errstate(all="ignore"):
        Z = model.encode(row)
        results = [Z, model.decode(Z)]
        if not isinstance(model, Density) or model.points is not None:
            results.append(model.row_scores(np.maximum(row, model.loss.bounds[0])))
    if not np.isfinite(results[0]).all() or not np.isfinite(results[1]).all():
        raise ModelFileError("gives codes or reconstructions that are not finite.")
    if np.isnan(results[-1]).any():
        raise ModelFileError("gives scores that are not numbers.")
