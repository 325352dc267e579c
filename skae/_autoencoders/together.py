"""What the processes of a distributed fit tell each other before training."""

import numpy as np

from skae._tables.block_summary import summary_of_rows
from skae._tables.categories import columns_of
from skae._tables.checks import check_finite, explained
from skae._tables.dependence import is_held_out, row_keys
from skae._tables.fit_data import Given
from skae._tables.rows import is_streamed
from skae._tables.table import distance_of_sampled
from skae._training.members import MOST_HELD_OUT

__all__ = ["check_together", "given_together"]

# Parameters that a distributed fit takes with these values alone.
ONLY = {
    "allow_nan": False,
    "callbacks": None,
    "checkpoint": None,
    "early_stopping": True,
    "module": None,
    "regularizer": None,
    "time_limit": None,
    "warm_start": False,
}


def check_together(estimator, **arguments):
    """Refuse parameters and arguments of `fit` that need one process.

    Parameters
    ----------
    estimator : estimator
    **arguments : dict of str and (array-like or None)
        Optional arguments of `fit`.

    Raises
    ------
    ValueError
    """
    owner, k = type(estimator).__name__, estimator.n_components
    others = [f"{n}={getattr(estimator, n)!r}" for n in ONLY if not _is_only(estimator, n)]
    others += [name for name, value in arguments.items() if value is not None]
    if not isinstance(estimator.cv, str):
        others.append(f"cv={estimator.cv!r}")
    if isinstance(k, float):
        others.append(f"n_components={k!r}")
    if getattr(estimator, "normalization", None) == "batch":
        others.append("normalization='batch'")
    if not estimator._loss.of_scaled or estimator._loss.statistics is not None:
        others.append(f"loss={estimator.loss!r}")
    if columns_of(estimator) is not None:
        others.append("columns of categories")
    if others:
        raise ValueError(
            f"distributed=True of {owner} does not take {', '.join(others)}. Leave it out, "
            "or fit in one process."
        )


def _is_only(estimator, name):
    value = getattr(estimator, name)
    return value is ONLY[name] or value == ONLY[name]


def given_together(estimator, given, peers, seed):
    """Return the arguments of `fit` for this process, with what is known of all rows.

    Rows are held out by their values, so that equal rows are on the same side in all
    processes. All processes get all held-out rows, and make the same choices with them.

    Parameters
    ----------
    estimator : estimator
    given : Given
        The rows of this process, of which there may be none.
    peers : Peers
    seed : int

    Returns
    -------
    Given
    """
    owner = type(estimator).__name__
    if is_streamed(given.X):
        raise ValueError(
            f"X of {owner}.fit with distributed=True must be held in memory, and it is so "
            "large that it would be read in parts. Use more processes."
        )
    sizes = np.array(peers.gather(given.X.shape))
    if len(set(sizes[:, 1])) > 1:
        raise ValueError(
            f"X of {owner}.fit with distributed=True must have the same columns in all "
            f"processes, got {sizes[:, 1].tolist()}."
        )
    start, n_samples = sizes[: peers.number, 0].sum(), sizes[:, 0].sum()
    share = min(estimator.validation_fraction, MOST_HELD_OUT / max(n_samples, 1))
    judges = is_held_out(row_keys(given.X), share, seed)
    own = _own_summary(estimator, given.X, int(start), int(n_samples))
    found = peers.gather((own, given.X[judges]))
    summaries = [summary for summary, _ in found if summary is not None]
    held_out = np.concatenate([rows for _, rows in found])
    if len(held_out) < 2:
        raise ValueError(
            f"distributed=True of {owner} holds out a share validation_fraction of the "
            f"rows, which are {n_samples} in all processes, and needs at least 2 held-out "
            "rows. Fit so few rows in one process."
        )
    summary = summaries[0]
    for other in summaries[1:]:
        summary = summary.joined(other)
    return Given(given.X[~judges], X_val=held_out, summary=summary)


def _own_summary(estimator, X, start, n_samples):
    """Return the Summary of the rows X of this process, or None if it has none.

    Parameters
    ----------
    estimator : estimator
    X : ndarray of shape (n, n_features)
    start : int
        Number of rows of the processes before this one.
    n_samples : int
        Number of rows of all processes.
    """
    if not len(X):
        return None
    owner = type(estimator).__name__
    with explained(estimator, X, "X", estimator.allow_nan):
        return summary_of_rows(
            X,
            start,
            np.ones(len(X)),
            check=lambda rows, _: check_finite(rows, owner),
            standardize=estimator._params_of_fit["standardize"],
            n_components=estimator.n_components_,
            every=distance_of_sampled(n_samples, X.shape[1]),
        )
