"""The parts of a fitted estimator that `save` writes."""

from numbers import Integral

from skae._model.density import normal_draws

__all__ = ["parts_of_file"]


def parts_of_file(estimator):
    """Return parameters and fitted attributes, without those that a file cannot keep.

    Returns
    -------
    params : dict
        The parameters as they are now.
    fitted : dict
        The attributes that a pickle has, including the parameters that the fit was made
        with. A user's module is replaced by its weights.
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
    fitted_with = fitted["_params_of_fit"].copy()
    del fitted_with["device"]
    params["module"] = None
    if fitted_with.pop("module") is not None:
        params["module"] = "custom"
        tensors = fitted["net_"].state_dict()
        fitted["net_"] = {name: tensor.numpy() for name, tensor in tensors.items()}
    for name in set(fitted_with).intersection(estimator._fixed_parameters):
        del fitted_with[name]
    if estimator._network_kind.is_variational:
        fitted["_points"] = normal_draws(estimator.n_components_).numpy()
    return params, fitted | {"_params_of_fit": fitted_with}
