"""Fitted attributes of an estimator; no other file sets public ones.

Each public attribute can be found by a search for its name and " =". The private ones are

    _columns          the fields of the `Columns`, if some are of categories, or None
    _params_of_fit    the parameters that the fit was made with, see `parameters`
    _has_marks        whether the network is told which cells are missing
    _filler           arrays of the `Filler` of missing cells, or None
    _exposure         the fields of the `Exposure` of rows of counts, or None
    _loss_statistics  arrays that the loss has computed from the rows
    _extremes         the fields of the `Extremes` of the rows, or None
    _holds            whether the reconstruction is held at the ends of features
    _loss             the loss with these statistics, and with the ends of features
    _fitted_widths    the widths of the network
    _mean_code, _code_deviations, _falls, _squares
                      statistics of the codes, which `truncate` needs
    _is_dense         whether layers are dense in spite of `sample_shape`
    _n_left_out       number of codes of the network that `truncate` has left out
    _drawn_quantiles  quantiles of rows that a variational autoencoder draws
    _seed             the seed of the fit
    _n_steps          number of training steps so far, which the learning rate depends on
    _score_unit       the unit of components and variances, see `Inference.unit`
    _inference        the `Inference`, which applies the network to arrays
    _ongoing          the stream of `partial_fit`, or None; files do not contain it
"""

import warnings

import numpy as np
import torch

from skae._autoencoders.diagnosis import collapsed
from skae._engine.objective import Objective
from skae._engine.skorch_net import build_net
from skae._model.density import DensityInference
from skae._model.explained_variance import attributes, describe
from skae._model.margins import Margins, fit_margins, number_of_draws
from skae._model.model import Inference
from skae._model.prior import Mixture, fit_mixture
from skae._tables.categories import columns_of
from skae._tables.exposure import Exposure
from skae._tables.missing import Filler
from skae._tables.ranges import Extremes
from skae._tables.table import ends_of_target
from skae._torch import make_generator, resolve_device, thread_limit
from skae._training.frame import Frame
from skae._training.linear_start import hold
from skae.losses._likelihoods import resolve_likelihood
from skae.losses._mixed import loss_of_columns
from skae.losses._resolve import resolve_loss
from skae.modules._own import adapted

__all__ = [
    "ends_of",
    "exposure_of",
    "extremes_of",
    "filler_of",
    "frame_of",
    "inference_around",
    "is_standardized",
    "n_encoded",
    "net_around",
    "outline",
    "restore",
    "set_codes",
    "set_columns",
    "set_device",
    "set_ends",
    "set_exposure",
    "set_filler",
    "set_inference",
    "set_layers",
    "set_loss",
    "set_result",
    "set_statistics",
    "set_stream",
    "set_width",
    "truncate",
    "unfitted_loss",
    "widths_of",
]

MATCHED = 256  # number of rows on which new codes are compared with earlier ones
SEED = 0  # seed of rows that are drawn to learn the margins of a model
# Attributes that a variational autoencoder has only with certain parameters.
OF_AN_OPTION = "weights_", "means_", "covariances_", "quantiles_", "_drawn_quantiles"
SMALLEST = 1e-6  # smallest deviation of a code that is whitened, as a share of the largest


# -- before training -------------------------------------------------------------------


def set_layers(estimator, is_dense, hidden_layer_sizes):
    """Set whether layers are dense in spite of `sample_shape`, and their widths."""
    estimator._is_dense = is_dense
    estimator.hidden_layer_sizes_ = hidden_layer_sizes


def set_width(estimator, n_components, is_new=False):
    """Set the width of the code; a new network is one that no code was taken out of."""
    estimator.n_components_ = n_components
    if is_new:
        estimator._n_left_out = 0


def set_columns(estimator, columns):
    """Set the columns of categories, and what else is known of the features with them."""
    estimator._columns = columns and vars(columns)
    if columns is None:
        return
    estimator.n_features_in_ = columns.n_features
    vars(estimator).pop("feature_names_in_", None)  # of an earlier fit
    if columns.names is not None:
        estimator.feature_names_in_ = np.array(columns.names, dtype=object)


def n_encoded(estimator):
    """Return the number of columns of the table that the network sees."""
    columns = columns_of(estimator)
    return estimator.n_features_in_ if columns is None else columns.n_encoded


def is_standardized(estimator):
    """Whether the fit has standardized the features."""
    return estimator._params_of_fit["standardize"] or estimator._columns is not None


def set_device(estimator):
    """Set the device that the parameter stands for."""
    estimator.device_ = resolve_device(estimator.device, owner=type(estimator).__name__)


def set_statistics(estimator, mean, scale):
    """Set the mean and the scale of the features."""
    estimator.mean_ = mean
    estimator.scale_ = scale


def set_exposure(estimator, exposure):
    """Set the Exposure of rows of counts, or None."""
    estimator._exposure = exposure and vars(exposure)


def exposure_of(estimator):
    """Return the Exposure of rows of counts, or None."""
    fields = getattr(estimator, "_exposure", None)  # models of earlier versions have none
    return fields and Exposure(**fields)


def unfitted_loss(estimator):
    """Return the loss that the parameter stands for, without statistics of the rows."""
    names = getattr(estimator, "feature_names_in_", None)
    params, loss = estimator._params_of_fit, estimator._params_of_fit["loss"]
    has_exposure = exposure_of(estimator) is not None
    if estimator._network_kind.is_variational:
        return resolve_likelihood(loss, params["covariance_type"], has_exposure)
    columns = columns_of(estimator)
    if columns is not None:
        return loss_of_columns(columns.terms(loss), columns.n_encoded, has_exposure)
    owner = type(estimator).__name__
    return resolve_loss(loss, estimator.n_features_in_, names, owner, has_exposure)


def set_loss(estimator, loss, statistics):
    """Set the loss, with its statistics of the rows."""
    estimator._loss_statistics = statistics
    estimator._loss = loss.fitted(statistics)


def set_ends(estimator, extremes, holds):
    """Set the ends of features.

    Parameters
    ----------
    estimator : estimator
        An estimator whose loss is set.
    extremes : Extremes or None
        Smallest and largest values of the rows; None in models of earlier versions.
    holds : bool
        Whether the reconstruction is held at the ends, if there are any.
    """
    estimator._extremes = extremes and vars(extremes)
    estimator._holds = holds
    loss, units = estimator._loss, (estimator.mean_, estimator.scale_)
    estimator._loss = hold(loss, ends_of_target(ends_of(estimator), loss, *units))


def extremes_of(estimator):
    """Return the `Extremes` of the rows that an estimator has seen, or None."""
    return estimator._extremes and Extremes(**estimator._extremes)


def ends_of(estimator):
    """Return the ends (low, high) of features in the units of X, or None if none hold."""
    extremes = extremes_of(estimator)
    if extremes is None or not estimator._holds:
        return None
    return extremes.ends(estimator._params_of_fit["clip"], estimator._loss.can_hold)


def widths_of(estimator, X):
    """Return the numbers that the shape of a network for X depends on."""
    n_inputs = X.shape[1] * (2 if estimator._has_marks else 1)
    return n_inputs, estimator.n_components_, estimator.hidden_layer_sizes_


def set_filler(estimator, filler):
    """Set the arrays of the `Filler` of missing cells, or None."""
    estimator._filler = filler and (
        filler.mean.numpy(),
        filler.weight.numpy(),
        filler.noise,
    )


def frame_of(estimator):
    """Return the Frame in which the fitted network works."""
    statistics = estimator.mean_, estimator.scale_
    exposure = exposure_of(estimator)
    return Frame(*statistics, filler_of(estimator), estimator._has_marks, exposure)


def filler_of(estimator):
    """Return the `Filler` of missing cells, or None."""
    if estimator._filler is None:
        return None
    mean, weight, noise = estimator._filler
    return Filler(torch.from_numpy(mean.copy()), torch.from_numpy(weight.copy()), noise)


# -- after training --------------------------------------------------------------------


def set_result(estimator, net, result):
    """Set the net and the attributes about training, in the units of `score`."""
    estimator.net_ = net
    estimator.n_components_ = result.n_components
    estimator.n_samples_ = result.n_samples
    estimator.n_iter_ = result.n_iter
    estimator.best_epoch_ = result.best_epoch
    estimator.outcome_ = result.outcome
    estimator.loss_curve_ = [*result.train_errors]
    estimator.validation_curve_ = [*result.held_out_errors]
    estimator.pca_score_ = -result.pca_error
    estimator._n_steps = result.n_steps


def set_stream(estimator, stream, result):
    """Set what a chunk of a stream changes; the result is None while its rows wait."""
    estimator._ongoing = stream
    estimator.n_samples_seen_ = stream.n_samples
    if result is None:
        return
    before = getattr(estimator, "_inference", None) if result.is_matched else None
    frame = result.network.frame
    set_statistics(estimator, frame.mean, frame.scale)
    set_filler(estimator, frame.filler)
    set_exposure(estimator, frame.exposure)
    set_loss(estimator, unfitted_loss(estimator), result.loss_statistics)
    set_ends(estimator, result.extremes, result.network.holds)
    set_result(estimator, net_around(estimator, result.network.module), result)
    set_codes(estimator, result, before)
    stream.settle(estimator.net_.network)


def set_codes(estimator, result, before=None):
    """Make the codes canonical if the network has changed; set the attributes of codes.

    Parameters
    ----------
    estimator : estimator
    result : Result or StreamResult
    before : Inference or None
        The codes keep the order and the signs of its codes.
    """
    with thread_limit(result.n_threads):
        inputs, X, weights = result.sample()
        estimator._fitted_widths = widths_of(estimator, X)
        k = estimator.n_components_
        estimator._n_features_out = k
        inference, shares = (
            inference_around(estimator, estimator.net_.network),
            result.pca_shares,
        )
        params = estimator._params_of_fit
        absorbs = estimator._network_kind.absorbs
        is_linear_code = absorbs and params["code_activation"] == "identity"
        if is_linear_code and not result.keeps_codes:
            if not result.is_pca:
                inference.canonize(inputs, X, k, weights)
            if before is not None:
                order = inference.match(before, inputs[:MATCHED], k)
                shares = None if shares is None else shares[:k][order]
            estimator.net_.initialize_optimizer()  # of the weights that are new
        description = describe(
            inference,
            inputs,
            X,
            k,
            shares,
            params["ordered"],
            weights,
            result.n_samples,
            result.squares,
        )
        _set_description(estimator, description)
        if estimator._network_kind.is_variational:
            _set_density(estimator, inference, inputs, weights, result)
        set_inference(estimator, inference)
        if params.get("margins") == "data":
            _set_margins(estimator, X * estimator.scale_ + estimator.mean_, weights)


def _set_density(estimator, inference, inputs, weights, result):
    """Set the attributes of a variational autoencoder."""
    for name in OF_AN_OPTION:  # of an earlier fit
        vars(estimator).pop(name, None)
    estimator.kl_ = inference.divergences(inputs, weights)
    noise_variance = inference.noise_variance(estimator.n_components_)
    if noise_variance is not None:
        estimator.noise_variance_ = noise_variance
    if estimator._params_of_fit["prior"] == "mixture":
        mean, log_variance = inference.posterior(inputs)
        sides = result.groups_and_held_out(len(inputs))
        mixture = fit_mixture(mean, log_variance, *sides, weights)
        estimator.weights_, estimator.means_, estimator.covariances_ = mixture.arrays
    finding = collapsed(estimator)
    if finding is not None:
        name = type(estimator).__name__
        warnings.warn(f"{name} has a {finding}", UserWarning, stacklevel=2)


def _set_margins(estimator, X, weights):
    """Set quantiles of each feature, of rows that the model draws and of rows X."""
    rng = np.random.RandomState(SEED)
    n_rows, k = number_of_draws(X.shape[1]), estimator.n_components_
    drawn = estimator._inference.draw(n_rows, k, rng)
    estimator._drawn_quantiles, estimator.quantiles_ = fit_margins(drawn, X, weights)
    estimator._inference.margins = _margins_of(estimator)


def _margins_of(estimator):
    """Return the `Margins` that rows which are drawn get, or None."""
    if not hasattr(estimator, "quantiles_"):
        return None
    return Margins(estimator._drawn_quantiles, estimator.quantiles_)


def _set_description(estimator, description):
    """Set the attributes that `describe` or `attributes` has computed."""
    components, columns = description["components_"], columns_of(estimator)
    if columns is not None:
        components = columns.lengths(components)
    estimator.components_ = components
    estimator.explained_variance_ = description["explained_variance_"]
    estimator.explained_variance_ratio_ = description["explained_variance_ratio_"]
    estimator.singular_values_ = description["singular_values_"]
    estimator.noise_variance_ = description["noise_variance_"]
    estimator._mean_code = description["_mean_code"]
    estimator._code_deviations = description["_code_deviations"]
    estimator._falls = description["_falls"]
    estimator._squares = description["_squares"]
    estimator._score_unit = description["_score_unit"]


def net_around(estimator, network):
    """Return an initialized net, without callbacks, around a trained network."""
    net = build_net(
        network,
        Objective(estimator._loss),
        seed=0,
        device=estimator.device_,
        callbacks=None,
        weight_decay=estimator._params_of_fit["weight_decay"],
        lr=estimator._params_of_fit["lr"],
    )
    net.initialize().module_.eval()
    return net


def inference_around(estimator, network):
    """Return an `Inference` of a network, in the units that `standardize` asks for.

    Parameters
    ----------
    estimator : estimator
        Fitted estimator, whose frame the network works in.
    network : Network
    """
    is_variational = estimator._network_kind.is_variational
    kind = DensityInference if is_variational else Inference
    return kind(
        network,
        estimator._loss,
        estimator.mean_,
        estimator.scale_,
        1.0 if is_standardized(estimator) else estimator.scale_,
        estimator.device_,
        filler_of(estimator),
        estimator._has_marks,
        ends_of(estimator),
        columns_of(estimator),
        exposure_of(estimator),
    )


def set_inference(estimator, inference):
    """Set the `Inference` that the methods of the estimator use."""
    if estimator._params_of_fit["whiten"]:
        deviations = estimator._code_deviations
        varies = deviations > SMALLEST * deviations.max()
        inference.code_scale = 1 / np.where(varies, deviations, 1.0)
    if estimator._network_kind.absorbs:
        inference.fold()
    if estimator._network_kind.is_variational:
        inference.margins = _margins_of(estimator)
        if hasattr(estimator, "weights_"):
            mixture = estimator.weights_, estimator.means_, estimator.covariances_
            inference.prior = Mixture(*mixture)
    inference.modules.forget()
    estimator._inference = inference


# -- copies ----------------------------------------------------------------------------


def truncate(estimator, n_components):
    """Keep only the first codes of a fitted estimator."""
    k = n_components
    estimator._ongoing = None
    estimator._n_left_out += estimator.n_components_ - k
    estimator.n_components = k
    estimator.n_components_ = k
    estimator._n_features_out = k
    estimator._params_of_fit["n_components"] = k
    estimator.net_.network.truncate(k)
    inference = inference_around(estimator, estimator.net_.network)
    description = attributes(
        inference,
        shape=(estimator.n_samples_, n_encoded(estimator)),
        mean=estimator._mean_code[:k],
        deviations=estimator._code_deviations[:k],
        falls=estimator._falls[:k],
        squares=estimator._squares,
    )
    _set_description(estimator, description)
    n_inputs, _, hidden_layer_sizes = estimator._fitted_widths
    estimator._fitted_widths = n_inputs, k, hidden_layer_sizes
    set_inference(estimator, inference)


def restore(estimator, network):
    """Set the attributes that a pickle or a file does not keep.

    Parameters
    ----------
    estimator : estimator
        An estimator with the other attributes.
    network : nn.Module, or dict of str and ndarray
        The user's own module, or the weights of a network of the package.
    """
    params = estimator._params_of_fit
    estimator.device_ = resolve_device(params["device"], strict=False)
    vars(estimator).setdefault("_ongoing", None)
    vars(estimator).setdefault("_columns", None)  # in models of earlier versions
    vars(estimator).setdefault("_extremes", None)  # in models of earlier versions
    vars(estimator).setdefault("_holds", True)
    set_loss(estimator, unfitted_loss(estimator), estimator._loss_statistics)
    set_ends(estimator, extremes_of(estimator), estimator._holds)
    if isinstance(network, dict):
        # Copied, because joblib may pass arrays that are read-only maps of a file.
        weights = {name: torch.tensor(array) for name, array in network.items()}
        network = outline(estimator, make_generator(0))
        network.load_state_dict(weights)
    else:
        network = adapted(network, estimator.n_features_in_)
    estimator.net_ = net_around(estimator, network)
    set_inference(estimator, inference_around(estimator, estimator.net_.network))


def outline(estimator, generator=None):
    """Return a network of the same shape as the fitted one."""
    n_outputs = n_encoded(estimator)
    n_inputs = n_outputs * (2 if estimator._has_marks else 1)
    return estimator._make_module(n_inputs, n_outputs, generator)
