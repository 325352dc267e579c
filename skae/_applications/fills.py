"""The autoencoders that fill missing cells together, and the limits of what they fill."""

import copy

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from skae._autoencoders.held_out import fit_to_fill, reconstruction
from skae._compat import draw_seed

__all__ = ["OBSERVED", "fit_autoencoders", "limits", "mean_fill", "seeded_clones"]

OBSERVED = "observed"  # a limit: the smallest or the largest value of each feature
OF_CATEGORIES = 128, 64  # hidden layers without an estimator, with columns of categories
# Components of the narrow autoencoder without an estimator, as a share of the features.
NARROW = 0.3


def seeded_clones(autoencoder, n, random_state):
    """Return `n` clones of an autoencoder, with different seeds.

    Parameters
    ----------
    autoencoder : AutoencoderTransformer
    n : int
    random_state : RandomState or None
        What seeds are drawn from. None leaves the `random_state` of the autoencoder to the
        first clone, and draws those of the others from a copy of it.
    """
    clones = [clone(autoencoder) for _ in range(n)]
    own = autoencoder.random_state
    if random_state is None and own is None:
        return clones
    first = 0 if random_state is not None else 1
    source = check_random_state(copy.deepcopy(own)) if first else random_state
    for each in clones[first:]:
        each.set_params(random_state=draw_seed(source))
    return clones


def fit_autoencoders(autoencoders, rows, how, *, is_default):
    """Fit autoencoders, and return them, the best of them first.

    Without an estimator of the user's they have as many components as features. A narrow
    autoencoder, whose seed is that of the first, joins them if it was improved by training
    or is better than the first. The linear fill in few components adds nothing to theirs.

    Parameters
    ----------
    autoencoders : list of AutoencoderTransformer
    rows : array or frame of shape (n_samples, n_features)
    how : dict
        Other arguments of `fit_to_fill`.
    is_default : bool
        Whether there is no estimator of the user's.
    """
    columns = how.get("columns")
    if is_default and columns is not None:
        n_wide = min(columns.n_features, columns.rank, len(rows))
        for each in autoencoders:
            each.set_params(n_components=n_wide, hidden_layer_sizes=OF_CATEGORIES)
    first, *others = autoencoders
    fit_to_fill(first, rows, **how)
    for each in others:  # with a linear fill of their own, so that the mean is better
        fit_to_fill(each, rows, **how | {"filler_choice": None})
    n_features = rows.shape[1] if columns is None else columns.n_features
    n_components = int(np.ceil(NARROW * n_features))
    is_narrower = is_default and n_components < first.n_components_
    if not is_narrower or not first.validation_curve_:
        return autoencoders
    narrow = clone(first).set_params(n_components=n_components)
    fit_to_fill(narrow, rows, **how)
    if _error(narrow) < _error(first):
        return [narrow, *autoencoders]
    return [*autoencoders, narrow] if narrow.best_epoch_ else autoencoders


def _error(autoencoder):
    """Return the error in hidden cells of held-out rows."""
    return autoencoder.validation_curve_[autoencoder.best_epoch_]


def mean_fill(autoencoders, rows):
    """Return the mean of what autoencoders reconstruct of rows (n, p) with NaN."""
    return np.mean([reconstruction(each)(rows) for each in autoencoders], axis=0)


def limits(imputer, table, is_categorical):
    """Return `min_value` and `max_value` of an imputer, for each column of a table (n, p).

    Columns of categories, and those without values, have no limits.

    Returns
    -------
    low, high : ndarray of shape (n_features,)
    """
    p, ends = table.shape[1], []
    is_free = np.isnan(table).all(axis=0) | is_categorical
    known = np.where(is_free, 0.0, table)
    for name, extreme in ("min_value", np.nanmin), ("max_value", np.nanmax):
        limit = getattr(imputer, name)
        if isinstance(limit, str):
            end = np.where(is_free, np.nan, extreme(known, axis=0))
        else:
            end = np.asarray(limit, dtype=np.float64)
            if end.shape not in [(), (p,)]:
                raise ValueError(
                    f"{name!r} of {type(imputer).__name__} should be of shape ({p},) when "
                    f"an array-like is provided. Got {end.shape}, instead."
                )
            end = np.where(is_categorical, np.nan, np.broadcast_to(end, p))
        ends.append(end)
    low, high = np.fmax(ends[0], -np.inf), np.fmin(ends[1], np.inf)  # NaN is no limit
    if (low > high).any():
        raise ValueError(
            f"min_value of {type(imputer).__name__} is larger than max_value in columns "
            f"{np.flatnonzero(low > high)[:6].tolist()}. Set limits such that fills can "
            "lie between them."
        )
    return low, high
