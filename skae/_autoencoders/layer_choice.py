"""Decides by held-out rows whether corrections are convolutional or dense.

Neighbouring values of an image have much in common that convolutions know of and dense
layers have to learn. What PCA leaves of a smooth spectrum, in contrast, lies along axes of
tiny variance. Dense layers see these one by one, and convolutions do not.
"""

import dataclasses

from skae._autoencoders.fitted_attributes import set_layers
from skae._engine.callbacks import tell

__all__ = ["decides_layers", "kept_layers", "use_layers"]


def use_layers(estimator, is_dense, n_samples, n_features, n_expected=None):
    """Set whether layers are dense in spite of `sample_shape`, and the widths for that.

    Returns
    -------
    n_components : int
        See `_decide_widths`.
    """
    set_layers(estimator, is_dense, ())
    widths = estimator._decide_widths(n_samples, n_features, n_expected)
    n_components, hidden_layer_sizes = widths
    set_layers(estimator, is_dense, hidden_layer_sizes)
    return n_components


def decides_layers(estimator, is_new):
    """Whether a fit tries dense layers too, because `sample_shape` alone was given."""
    is_auto = isinstance(estimator.hidden_layer_sizes, str)
    can_compare = estimator.init == "pca" and estimator.early_stopping
    return is_new and is_auto and can_compare and estimator.is_convolutional_


def kept_layers(train, peers, verbose):
    """Train with dense layers and with convolutions; return the Result that is better.

    Dense layers are kept unless convolutions are certainly better. They come first because
    they take a small part of the time.

    Parameters
    ----------
    train : callable (is_dense) -> Result
    peers : Alone or Peers
        The processes of the fit, which follow the first.
    verbose : int
        See the parameter `verbose`.
    """
    dense = dataclasses.replace(train(is_dense=True), is_dense=True)
    if dense.interrupt is not None:
        return dense
    convolutional = train(is_dense=False)
    is_enough = dense.outcome == "trained"
    is_enough = is_enough and not convolutional.choice.is_ahead_of(dense.choice)
    is_enough = peers.gather(is_enough)[0]
    kept = "dense layers" if is_enough else "convolutions"
    tell(f"kept: {kept}", verbose == 1 and not peers.number)
    if not is_enough:
        return convolutional
    ends = {name: getattr(convolutional, name) for name in ("interrupt", "is_out_of_time")}
    return dataclasses.replace(dense, **ends)
