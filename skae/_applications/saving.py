"""The parts of a fitted estimator that has an autoencoder, which `save` writes."""

from numbers import Integral

from skae._autoencoders.saving import parts_of_file

__all__ = ["described", "parts_with_autoencoder"]


def parts_with_autoencoder(model):
    """Return parameters and fitted attributes, with those of `estimator_` among the latter.

    Parameters
    ----------
    model : estimator
        Fitted estimator with a parameter `estimator`, an attribute `estimator_`, which is
        a fitted autoencoder or None, and a `random_state`.

    Returns
    -------
    params : dict
        The parameter `estimator` is left out, and "has_own_estimator" says whether there
        was one. A RandomState instance becomes None.
    fitted : dict

    Raises
    ------
    TypeError
        If a class is not one of skae's.
    """
    autoencoder = model.estimator_
    for part in (model, autoencoder):
        if part is not None and not type(part).__module__.startswith("skae."):
            raise TypeError(
                f"save of {type(part).__name__} takes classes of skae only, not one "
                "of your own. Use joblib."
            )
    params = model.get_params(deep=False)
    fitted = {name: value for name, value in vars(model).items() if name not in params}
    fitted.pop("_metadata_request", None)
    if autoencoder is not None:
        fitted["estimator_"] = described(autoencoder)
    params["has_own_estimator"] = params.pop("estimator") is not None
    if not isinstance(params["random_state"], Integral):
        params["random_state"] = None
    return params, fitted


def described(autoencoder):
    """Return a fitted autoencoder as a dict of its class, parameters and attributes."""
    parameters, fitted = parts_of_file(autoencoder)
    return {"class": type(autoencoder).__name__, "parameters": parameters, "fitted": fitted}
