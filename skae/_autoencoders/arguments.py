"""Checks of the arguments of `fit` and `partial_fit`."""

from numbers import Integral, Real

from scipy import sparse

from skae._autoencoders.exposures import check_exposure
from skae._autoencoders.fitted_attributes import set_columns
from skae._autoencoders.parameters import check_with_categories
from skae._tables.blocks import Blocks, is_dask
from skae._tables.categorical_features import find_columns
from skae._tables.categories import columns_of
from skae._tables.checks import check_table
from skae._tables.dependence import check_groups, label_keys, splits_of
from skae._tables.fit_data import Given
from skae._tables.rows import is_lazy, is_streamed
from skae.noise import resolve_noise

__all__ = [
    "columns_to_fit",
    "given_to_fit",
    "given_to_partial_fit",
    "holds_out_rows",
    "is_told_of_gaps",
]


def given_to_fit(
    estimator,
    X,
    y=None,
    sample_weight=None,
    groups=None,
    X_val=None,
    X_target=None,
    exposure=None,
    *,
    columns=None,
    is_new=True,
    splits=None,
    owner=None,
):
    """Check the arguments of `fit`, and return what they give to train on.

    Parameters
    ----------
    columns : Columns or None
        Columns of categories, if X has been made one-hot already.
    is_new : bool
        Whether X decides which columns are of categories.
    splits : list of (train, held_out) or None
        Arrays of row numbers that take the place of `cv`. If the list is empty no row is
        held out.
    owner : estimator or None
        See `check_table`.

    Returns
    -------
    Given
    """
    if is_new:
        set_columns(estimator, columns or columns_to_fit(estimator, X))
    if columns is None:
        least = 0 if estimator.distributed else 2  # others may have all rows
        how = {"reset": True, "ensure_min_samples": least, "is_read": False}
        X = check_table(estimator, X, for_fit=True, owner=owner, **how)
    if isinstance(X, Blocks):
        _check_single_network(estimator)
    given = Given(X, columns=columns_of(estimator))
    if given.columns is not None:
        check_with_categories(estimator)
    if X_target is not None:
        given.X_target = _check_target(estimator, X_target, X)
    if X_val is not None:
        given.X_val = _check_held_out_rows(estimator, X_val, given)
    if groups is not None:
        given.groups = check_groups(groups, X)
        if estimator.distributed:  # the same numbers in all processes
            given.groups = label_keys(groups)
    given.given_exposure = check_exposure(estimator, exposure, X)
    if exposure is not None and X_val is not None:
        raise ValueError(
            f"exposure of {type(estimator).__name__}.fit is that of the rows of X, and "
            "X_val has none. Leave out X_val or exposure."
        )
    if holds_out_rows(estimator, given):
        given.folds = _folds(estimator, X, y, groups) if splits is None else splits
    if sample_weight is not None and estimator.distributed:
        given.weigh_in_part(sample_weight)
    elif sample_weight is not None:
        given.weigh(sample_weight)
    if not estimator.distributed:  # each process would sort its own rows
        given.sort()
    return given


def columns_to_fit(estimator, X):
    """Return the Columns of a table of `fit`, or None if none of them holds categories."""
    chosen = estimator.categorical_features
    if sparse.issparse(X) or is_lazy(X) or is_dask(X):
        if chosen is None or isinstance(chosen, str):
            return None
        raise TypeError(
            f"categorical_features of {type(estimator).__name__} needs an array or a frame "
            f"that is held in memory, and X is a {type(X).__name__}. Make it an array, or "
            "set categorical_features=None."
        )
    return find_columns(X, chosen)


def given_to_partial_fit(estimator, X, sample_weight, groups, exposure, *, is_first):
    """Check the arguments of `partial_fit`, and return what they give to train on.

    Every chunk except the first may consist of one row.

    Returns
    -------
    Given
        Its groups are keys of 64 bits, the same in every chunk.
    """
    if is_first:
        set_columns(estimator, columns_to_fit(estimator, X))
    if columns_of(estimator) is not None:
        raise ValueError(
            f"partial_fit of {type(estimator).__name__} takes no columns of categories, "
            "because later chunks may have new ones. Call fit, or encode the categories "
            "yourself, with a OneHotEncoder that knows all of them."
        )
    least = 2 if is_first else 1
    sizes = {"reset": is_first, "ensure_min_samples": least}
    X = check_table(estimator, X, for_fit=True, **sizes)
    if is_first:
        _check_first_chunk(estimator, X)
    given = Given(X)
    if groups is not None:
        check_groups(groups, X)
        given.groups = label_keys(groups)
    given.given_exposure = check_exposure(estimator, exposure, X)
    if sample_weight is not None:
        given.weigh(sample_weight, least, is_part=True)
    given.sort()
    return given


def _check_first_chunk(estimator, X):
    """Refuse a share of the variance, and fewer rows than there are components."""
    name, k = type(estimator).__name__, estimator.n_components
    if isinstance(k, Real) and 0 < k < 1:
        raise ValueError(
            f"partial_fit of {name} needs a number of components, got n_components={k!r}."
        )
    begins_at_pca = estimator.init == "pca"
    if isinstance(k, Integral) and begins_at_pca and X.shape[0] < k <= X.shape[1]:
        raise ValueError(
            f"n_components={k} must be less or equal to the batch number of samples "
            f"{X.shape[0]} for the first partial_fit call."
        )


def holds_out_rows(estimator, given):
    """Whether held-out rows of X choose the epoch."""
    has_rule = given.groups is not None or not isinstance(estimator.cv, str)
    if given.X_val is not None and has_rule:
        raise ValueError(
            f"X_val of {type(estimator).__name__}.fit gives the held-out rows, and "
            "groups and cv decide which rows of X are held out. Leave out X_val, or leave "
            "out groups and set cv='auto'."
        )
    return estimator.early_stopping and given.X_val is None


def is_told_of_gaps(estimator, given, ends):
    """Whether the network is told which cells are missing, if some are.

    It is not if X has more columns than rows and can be rotated, so that the time of a step
    does not depend on the number of columns.

    Parameters
    ----------
    estimator : estimator
        An estimator whose loss is known.
    given : Given
    ends : (low, high) or None
        Ends at which features are held.
    """
    kind, (n_samples, n_features) = estimator._network_kind, given.X.shape
    can_rotate = (
        n_features > n_samples
        and estimator.init == "pca"
        and estimator._loss.rotation_invariant
        and kind.in_any_basis
        and kind.takes_marks
        and given.X_target is None
        and ends is None
        and not resolve_noise(estimator.noise, type(estimator).__name__)
    )
    return given.observed is not None and not can_rotate


def _check_single_network(estimator):
    """Refuse what needs several passes over the blocks in each epoch, or several fits."""
    name, k = type(estimator).__name__, estimator.n_components
    if not isinstance(estimator.cv, str):
        raise ValueError(
            f"cv of {name} trains several networks, each of which would compute all blocks "
            "of X in every epoch. Leave cv='auto', which holds out a share "
            "validation_fraction of the rows, or of the `groups`."
        )
    if isinstance(k, Real) and not isinstance(k, Integral):
        raise ValueError(
            f"n_components={k!r} of {name} needs several fits, each of which would compute "
            "all blocks of X anew. Set a number of components, and find it with a fit to "
            "some of the rows."
        )


def _folds(estimator, X, y, groups):
    """Return the splits of a splitter or an iterable, or None if skae makes its own."""
    cv = estimator.cv
    if cv is None or isinstance(cv, str | Integral):
        return None
    return splits_of(cv, X.shape[0], y, groups, type(estimator).__name__)


def _check_target(estimator, X_target, X):
    """Check the argument `X_target` of `fit`, and return it as an array."""
    name = type(estimator).__name__
    X_target = check_table(
        estimator, X_target, for_fit=True, reset=False, input_name="X_target"
    )
    if is_streamed(X) or is_streamed(X_target):
        raise ValueError(
            f"X_target of {name}.fit and its X must be held in "
            "memory, and one of them is too large: it would be read in parts. "
            "Take fewer rows, or leave out X_target."
        )
    if X_target.shape != X.shape:
        raise ValueError(
            f"X_target of {name}.fit has shape {X_target.shape} and X has {X.shape}, but "
            "each row of X needs a target."
        )
    return X_target


def _check_held_out_rows(estimator, X_val, given):
    """Check the argument `X_val` of `fit`, and return it as an array."""
    name = type(estimator).__name__
    if not estimator.early_stopping:
        raise ValueError(
            f"X_val of {name}.fit chooses the epoch, and early_stopping=False keeps "
            "the last one. Leave out X_val or set early_stopping=True."
        )
    if given.X_target is not None or is_streamed(given.X):
        raise ValueError(
            f"X_val of {name}.fit needs an X that is held in memory and is its own "
            "target. Leave out X_val; then validation_fraction of the rows is held out."
        )
    X_val = check_table(estimator, X_val, for_fit=True, reset=False, input_name="X_val")
    if is_streamed(X_val):
        raise ValueError(
            f"X_val of {name}.fit must be held in memory, and is so large that it "
            "would be read in parts. Take some of its rows."
        )
    return X_val.astype(given.X.dtype, copy=False)
