"""Converts fitted autoencoders to ONNX, alone and in Pipelines.

`import skae.onnx` registers converters with skl2onnx, so that `skl2onnx.to_onnx` takes
Pipelines with skae's autoencoders in them.
"""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skae._autoencoders.dense import AutoencoderTransformer
from skae._autoencoders.fitted_attributes import exposure_of
from skae._autoencoders.saving import parts_of_file
from skae._autoencoders.variational import VariationalAutoencoder
from skae._serving.reading import model_of
from skae._serving.symbols import NUMBERS, Graph
from skae._tables.categories import columns_of

try:
    import skl2onnx
    from onnx import numpy_helper
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
except ImportError:  # the names of this module can be listed without it
    skl2onnx = None

__all__ = ["to_onnx"]

METHODS = {
    "transform": lambda model, X: model.encode(X),
    "inverse_transform": lambda model, Z: model.decode(Z),
    "denoise": lambda model, X: model.reconstruct(X),
    "score_samples": lambda model, X: model.row_scores(X).astype(X.dtype),
}
OPTIONS = [name for name in METHODS if name != "transform"]
ESTIMATORS = AutoencoderTransformer, VariationalAutoencoder


def to_onnx(estimator, X, *, method="transform", target_opset=None):
    """Convert a fitted autoencoder to a graph of ONNX.

    In a Pipeline, use `skl2onnx.to_onnx` after `import skae.onnx`. The graph is that of
    `transform`, unless `options={id(estimator): {"denoise": True}}` and the like name
    another method of the autoencoder.

    Parameters
    ----------
    estimator : AutoencoderTransformer or VariationalAutoencoder
        Fitted autoencoder.
    X : array-like of shape (n_samples, n_features) or (n_samples, n_components)
        At least one row of what the method takes. Its dtype decides whether the graph
        takes and returns float32 or float64, and its number of columns, for ordered codes,
        how many of them are decoded.
    method : {"transform", "inverse_transform", "denoise", "score_samples"}, \
            default="transform"
        What the graph computes.
    target_opset : int or None, default=None
        Version of the operators, at least 13. None is the newest that skl2onnx knows.

    Returns
    -------
    model : onnx.ModelProto
        A graph with the input "X", for any number of rows. It returns the numbers of the
        estimator up to rounding. It does not check rows: whatever is not finite or out of
        the range of a loss gives numbers without meaning.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If the estimator is of another class, or has a loss or a `module` of your own.
    NotImplementedError
        If it was fitted with `allow_nan=True`, because ONNX cannot fill missing cells, if
        it was fitted to columns of categories, or for scores of a `VariationalAutoencoder`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skae import AutoencoderTransformer
    >>> import skae.onnx
    >>> X, _ = load_iris(return_X_y=True)
    >>> ae = AutoencoderTransformer(2, random_state=0).fit(X)
    >>> graph = skae.onnx.to_onnx(ae, X, method="denoise")  # doctest: +SKIP
    """
    if skl2onnx is None:
        raise ImportError('skae.onnx needs skl2onnx: pip install "skae[onnx]".')
    if method not in METHODS:
        raise ValueError(f"method of to_onnx must be in {[*METHODS]}, got {method!r}.")
    if type(estimator) not in ESTIMATORS:
        raise TypeError(
            f"to_onnx takes {' and '.join(kind.__name__ for kind in ESTIMATORS)}, got "
            f"{type(estimator).__name__}. skl2onnx.to_onnx takes Pipelines."
        )
    check_is_fitted(estimator)
    X = np.asarray(X)
    X = X[:1].astype(np.float32 if X.dtype == np.float32 else np.float64)
    options = {} if method == "transform" else {id(estimator): {method: True}}
    return skl2onnx.to_onnx(estimator, X, options=options, target_opset=target_opset)


def _model(estimator, method):
    """Return what a fitted estimator computes, if `method` of it can be converted."""
    name, params = type(estimator).__name__, estimator._params_of_fit
    if params.get("module") is not None or callable(params.get("loss")):
        what = "module" if params.get("module") is not None else "loss"
        raise TypeError(
            f"{name} cannot be converted to ONNX, because its {what} is code of your own: "
            f"{params[what]!r}."
        )
    if columns_of(estimator) is not None:
        raise NotImplementedError(
            f"{name} with columns of categories cannot be converted to ONNX. Encode them "
            "yourself and set categorical_features=None, or use skae.load."
        )
    if estimator._filler is not None and method != "inverse_transform":
        raise NotImplementedError(
            f"{method} of {name} with allow_nan=True cannot be converted to ONNX, which "
            "cannot solve the linear systems that fill missing cells. Use skae.runtime or "
            "skae.load."
        )
    exposure = exposure_of(estimator)
    if exposure is not None and exposure.is_given:
        raise NotImplementedError(
            f"A {name} that was fitted with exposures of the rows cannot be converted to "
            "ONNX, because the graph takes X alone. Use skae.load."
        )
    return model_of(name, *parts_of_file(estimator))


# -- skl2onnx --------------------------------------------------------------------------


def _method(options_of, estimator):
    """Return the method that options of skl2onnx name for an estimator.

    `options_of` is the method `get_options` of skl2onnx, which fills in the dict it gets.
    """
    options = options_of(estimator, dict.fromkeys(OPTIONS, False))
    chosen = [name for name, is_chosen in options.items() if is_chosen]
    if len(chosen) > 1:
        raise ValueError(f"options of skl2onnx name more than one method: {chosen}.")
    return chosen[0] if chosen else "transform"


def _dtype(operator):
    """Return the dtype in which the rows of an operator of skl2onnx are computed."""
    is_single = isinstance(operator.inputs[0].type, FloatTensorType)
    return np.dtype(np.float32 if is_single else np.float64)


def _set_output(operator):
    """Set the type and the shape of the output of an operator."""
    estimator = operator.raw_operator
    method = _method(operator.scope_inst.get_options, estimator)
    n_columns = {"transform": [estimator.n_components_], "score_samples": []}
    kind = FloatTensorType if _dtype(operator) == np.float32 else DoubleTensorType
    shape = [None, *n_columns.get(method, [estimator.n_features_in_])]
    operator.outputs[0].type = kind(shape)


def _n_columns(estimator, method, given):
    """Return the number of columns of the input, after a check of it."""
    is_decoder = method == "inverse_transform"
    expected = estimator.n_components_ if is_decoder else estimator.n_features_in_
    is_cut = is_decoder and estimator._params_of_fit["ordered"]
    if given is None or given == expected or (is_cut and 0 < given < expected):
        return given or expected
    raise ValueError(
        f"X has {given} columns, but {method} of {type(estimator).__name__} is expecting "
        f"{expected}."
    )


def _convert(scope, operator, container):
    """Add the nodes of an estimator to the container of skl2onnx."""
    estimator, given = operator.raw_operator, operator.inputs[0]
    method = _method(container.get_options, estimator)
    graph = Graph(container.main_opset)
    n_columns = _n_columns(estimator, method, given.type.shape[1])
    X = graph.input("X", _dtype(operator), n_columns)
    output = METHODS[method](_model(estimator, method), X)
    names = {"X": scope.get_unique_variable_name("rows")}
    for name, array in graph.constants.items():
        names[name] = scope.get_unique_variable_name(name)
        tensor = numpy_helper.from_array(array, names[name])
        container.add_initializer(names[name], None, None, tensor)
    number = NUMBERS[_dtype(operator)]
    container.add_node("Cast", given.full_name, names["X"], to=number)
    for node in graph.nodes:
        names[node.output] = scope.get_unique_variable_name(node.output)
        inputs = [names[name] for name in node.inputs]
        container.add_node(node.operator, inputs, names[node.output], **node.attributes)
    container.add_node("Identity", names[output.name], operator.outputs[0].full_name)


if skl2onnx is not None:
    for kind in ESTIMATORS:
        skl2onnx.update_registered_converter(
            kind,
            f"Skae{kind.__name__}",
            _set_output,
            _convert,
            options={name: [False, True] for name in OPTIONS},
        )
