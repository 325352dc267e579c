"""What `save` writes of a fitted estimator."""

from numbers import Integral

__all__ = ["parts_of_file"]


def parts_of_file(estimator):
    """Parameters and fitted attributes in plain values, without what no file keeps.

    Returns
    -------
    params : dict
        The parameters as they are now.
    fitted : dict
        The attributes of a pickle. The parameters that the fit was made with are among
        them, and the weights of a user's module in the place of the module.
    """
    fitted = estimator.__getstate__()
    fitted.pop("_ongoing", None)  # it has rows, which are not to leave with the model
    fitted.pop("_metadata_request", None)
    fitted.pop("_skl_callbacks", None)
    params = {name: fitted.pop(name) for name in estimator.get_params(deep=False)}
    del params["callbacks"], params["checkpoint"], params["device"]
    if not isinstance(params["random_state"], Integral):
        params["random_state"] = None
    if not isinstance(params["cv"], Integral | str | None):
        params["cv"] = "auto"
    of_fit = fitted["_params_of_fit"].copy()
    del of_fit["device"]
    params["module"] = None
    if of_fit.pop("module") is not None:
        params["module"] = "custom"
        tensors = fitted["net_"].state_dict()
        fitted["net_"] = {name: tensor.numpy() for name, tensor in tensors.items()}
    return params, fitted | {"_params_of_fit": of_fit}
