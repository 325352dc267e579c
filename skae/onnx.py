"""Converts fitted estimators to ONNX, alone and in Pipelines.

`import skae.onnx` registers converters with skl2onnx, so that `skl2onnx.to_onnx` takes
Pipelines with skae's estimators in them.
"""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skae._applications.imputer import AutoencoderImputer
from skae._applications.outliers import AutoencoderOutlierDetector
from skae._applications.saving import parts_with_autoencoder
from skae._autoencoders.dense import AutoencoderTransformer
from skae._autoencoders.fitted_attributes import exposure_of
from skae._autoencoders.saving import parts_of_file
from skae._autoencoders.variational import VariationalAutoencoder
from skae._serving.detection import detector_of
from skae._serving.imputation import imputer_of
from skae._serving.reading import model_of
from skae._serving.symbols import NUMBERS, Graph
from skae._tables.categories import columns_of

try:
    import skl2onnx
    from onnx import numpy_helper
    from skl2onnx.common.data_types import (
        DoubleTensorType,
        FloatTensorType,
        Int64TensorType,
    )
except ImportError:  # the names of this module can be listed without it
    skl2onnx = None

__all__ = ["to_onnx"]

# What a graph computes, by the method that it stands for.
METHODS = {
    "transform": lambda model, X: model.encode(X),
    "inverse_transform": lambda model, Z: model.decode(Z),
    "denoise": lambda model, X: model.reconstruct(X),
    "score_samples": lambda model, X: model.row_scores(X).astype(X.dtype),
}
DETECTION = {
    "predict": lambda detector, X: detector.labels(X),
    "decision_function": lambda detector, X: detector.decisions(X).astype(X.dtype),
    "score_samples": lambda detector, X: detector.row_scores(X).astype(X.dtype),
    "p_values": lambda detector, X: detector.p_values(X).astype(X.dtype),
}
METHODS_OF = {
    AutoencoderTransformer: METHODS | {"impute": lambda model, X: model.impute(X)},
    VariationalAutoencoder: METHODS,
    AutoencoderOutlierDetector: DETECTION,
    AutoencoderImputer: {"transform": lambda imputer, X: imputer.filled(X)},
}


def to_onnx(estimator, X, *, method=None, target_opset=None):
    """Convert a fitted estimator to a graph of ONNX.

    In a Pipeline, use `skl2onnx.to_onnx` after `import skae.onnx`. The graph is that of
    `method=None`, unless `options={id(estimator): {"denoise": True}}` and the like name
    another method of the estimator.

    Parameters
    ----------
    estimator : AutoencoderTransformer, VariationalAutoencoder, \
            AutoencoderOutlierDetector or AutoencoderImputer
        Fitted estimator.
    X : array-like of shape (n_samples, n_features) or (n_samples, n_components)
        At least one row of what the method takes. Its dtype decides whether the graph
        takes and returns float32 or float64, and its number of columns, for ordered codes,
        how many of them are decoded.
    method : str or None, default=None
        What the graph computes: "transform", "inverse_transform", "denoise", "impute" or
        "score_samples" of an autoencoder, "transform" of an imputer, and "predict",
        "decision_function", "score_samples" or "p_values" of a detector. None is
        "transform"; for a detector it is both "predict" and "decision_function", as outputs
        "label" and "scores", which is what skl2onnx makes of scikit-learn's detectors.
    target_opset : int or None, default=None
        Version of the operators, at least 13. None is the newest that skl2onnx knows.

    Returns
    -------
    model : onnx.ModelProto
        A graph with the input "X", for any number of rows. It returns the numbers of the
        estimator up to rounding. It does not check rows: whatever is not finite or out of
        the range of a loss gives numbers without meaning. After `allow_nan=True` NaN is a
        missing cell, and is filled as the estimator fills it.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If the estimator is of another class, or has a loss or a `module` of your own.
    NotImplementedError
        If it was fitted to columns of categories, or with exposures of the rows, or if it
        draws values (`sample_posterior=True`).

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
    if type(estimator) not in METHODS_OF:
        *names, last = (kind.__name__ for kind in METHODS_OF)
        raise TypeError(
            f"to_onnx takes {', '.join(names)} and {last}, got "
            f"{type(estimator).__name__}. skl2onnx.to_onnx takes Pipelines."
        )
    methods = METHODS_OF[type(estimator)]
    if method is not None and method not in methods:
        raise ValueError(
            f"method of to_onnx for {type(estimator).__name__} must be in {[*methods]}, "
            f"got {method!r}."
        )
    check_is_fitted(estimator)
    X = np.asarray(X)
    X = X[:1].astype(np.float32 if X.dtype == np.float32 else np.float64)
    options = {} if method in (None, "transform") else {id(estimator): {method: True}}
    return skl2onnx.to_onnx(estimator, X, options=options, target_opset=target_opset)


def _model(estimator):
    """Return what `skae._serving` makes of an estimator, if it can be converted."""
    name = type(estimator).__name__
    if isinstance(estimator, AutoencoderOutlierDetector):
        _check(estimator.estimator_, name)
        return detector_of(name, *parts_with_autoencoder(estimator))
    if isinstance(estimator, AutoencoderImputer):
        if estimator.sample_posterior:
            raise NotImplementedError(
                f"{name} with sample_posterior=True cannot be converted to ONNX, because a "
                "graph does not draw. Set sample_posterior=False, or use skae.load."
            )
        if estimator.estimator_ is not None:
            _check(estimator.estimator_, name)
        return imputer_of(name, *estimator._parts_of_file())
    _check(estimator, name)
    return model_of(name, *parts_of_file(estimator))


def _check(estimator, name):
    """Refuse an autoencoder that cannot be converted; messages call it `name`."""
    params = estimator._params_of_fit
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
    exposure = exposure_of(estimator)
    if exposure is not None and exposure.is_given:
        raise NotImplementedError(
            f"A {name} that was fitted with exposures of the rows cannot be converted to "
            "ONNX, because the graph takes X alone. Use skae.load."
        )


# -- skl2onnx --------------------------------------------------------------------------


def _method(options_of, estimator):
    """Return the method that options of skl2onnx name for an estimator, or None.

    `options_of` is the method `get_options` of skl2onnx, which fills in the dict it gets.
    """
    options = options_of(estimator, dict.fromkeys(_options(type(estimator)), False))
    chosen = [name for name, is_chosen in options.items() if is_chosen]
    if len(chosen) > 1:
        raise ValueError(f"options of skl2onnx name more than one method: {chosen}.")
    return chosen[0] if chosen else None


def _options(kind):
    """Return the methods of a class that options can name."""
    return [name for name in METHODS_OF[kind] if name != "transform"]


def _parse(scope, estimator, inputs, custom_parsers=None):
    """Declare the operator of a detector, and its outputs."""
    operator = scope.declare_local_operator(f"Skae{type(estimator).__name__}", estimator)
    operator.inputs = inputs
    method = _method(scope.get_options, estimator)
    for name in ["label", "scores"] if method is None else [method]:
        operator.outputs.append(scope.declare_local_variable(name, FloatTensorType()))
    return operator.outputs


def _dtype(operator):
    """Return the dtype in which the rows of an operator of skl2onnx are computed."""
    is_single = isinstance(operator.inputs[0].type, FloatTensorType)
    return np.dtype(np.float32 if is_single else np.float64)


def _set_output(operator):
    """Set the type and the shape of the output of a transformer's operator."""
    estimator = operator.raw_operator
    method = _method(operator.scope_inst.get_options, estimator)
    kind = FloatTensorType if _dtype(operator) == np.float32 else DoubleTensorType
    if method is None:
        shape = [len(estimator.get_feature_names_out())]
    else:
        shape = [] if method == "score_samples" else [estimator.n_features_in_]
    operator.outputs[0].type = kind([None, *shape])


def _set_outputs_of_detector(operator):
    """Set the types and the shapes of the outputs of a detector's operator."""
    method = _method(operator.scope_inst.get_options, operator.raw_operator)
    is_single = _dtype(operator) == np.float32
    kinds = [FloatTensorType if is_single else DoubleTensorType]
    if method in (None, "predict"):
        kinds = [Int64TensorType, *kinds]
    for output, kind in zip(operator.outputs, kinds, strict=False):
        output.type = kind([None])


def _n_columns(estimator, method, given):
    """Return the number of columns of the input, after a check of it."""
    is_decoder = method == "inverse_transform"
    expected = estimator.n_components_ if is_decoder else estimator.n_features_in_
    is_cut = is_decoder and estimator._params_of_fit["ordered"]
    if given is None or given == expected or (is_cut and 0 < given < expected):
        return given or expected
    name = type(estimator).__name__
    owner = name if method is None else f"{method} of {name}"
    raise ValueError(f"X has {given} columns, but {owner} is expecting {expected}.")


def _computed(estimator, method, X):
    """Return symbols of what a method computes of the symbol X."""
    model = _model(estimator)
    if method is not None:
        return [METHODS_OF[type(estimator)][method](model, X)]
    if not isinstance(estimator, AutoencoderOutlierDetector):
        return [METHODS_OF[type(estimator)]["transform"](model, X)]
    decisions = model.decisions(X)
    return [model.labels_of(decisions), decisions.astype(X.dtype)]


def _convert(scope, operator, container):
    """Add the nodes of an estimator to the container of skl2onnx."""
    estimator, given = operator.raw_operator, operator.inputs[0]
    method = _method(container.get_options, estimator)
    graph = Graph(container.main_opset)
    n_columns = _n_columns(estimator, method, given.type.shape[1])
    found = _computed(estimator, method, graph.input("X", _dtype(operator), n_columns))
    names = {"X": scope.get_unique_variable_name("rows")}
    for name, array in graph.constants.items():
        names[name] = scope.get_unique_variable_name(name)
        tensor = numpy_helper.from_array(array, names[name])
        container.add_initializer(names[name], None, None, tensor)
    number = NUMBERS[_dtype(operator)]
    container.add_node("Cast", given.full_name, names["X"], to=number)
    for node in graph.nodes:
        for name in node.outputs:
            names[name] = scope.get_unique_variable_name(name)
        inputs, outputs = ([names[n] for n in each] for each in (node.inputs, node.outputs))
        container.add_node(node.operator, inputs, outputs, **node.attributes)
    for symbol, output in zip(found, operator.outputs, strict=True):
        container.add_node("Identity", names[symbol.name], output.full_name)


if skl2onnx is not None:
    for kind in METHODS_OF:
        is_detector = kind is AutoencoderOutlierDetector
        skl2onnx.update_registered_converter(
            kind,
            f"Skae{kind.__name__}",
            _set_outputs_of_detector if is_detector else _set_output,
            _convert,
            parser=_parse if is_detector else None,
            options={name: [False, True] for name in _options(kind)},
        )
