"""Losses of counts whose rates are in proportion to the exposure of the row.

The target of such a loss is a row of counts followed by one more number: its exposure, as a
multiple of the typical one, see `skae._tables.exposure`. An output then stands for the rate
of a typical row.
"""

import dataclasses
from functools import partial

__all__ = ["exposed"]


def exposed(loss):
    """Return a loss of counts for targets (..., n, p + 1) that end with the exposure.

    Parameters
    ----------
    loss : Loss
        A loss of counts, whose functions take an argument `exposure`.

    Returns
    -------
    Loss
    """
    return dataclasses.replace(
        loss,
        function=partial(_function, loss.function),
        decoder_start=partial(_decoder_start, loss.decoder_start),
        constant=partial(_of_rows, loss.constant),
        statistics=partial(_of_rows, loss.statistics),
    )


def _function(function, output, X, **statistics):
    return function(output, X[..., :-1], exposure=X[..., -1:], **statistics)


def _decoder_start(start, Z, X, weights=None, **statistics):
    return start(Z, X[:, :-1], weights, exposure=X[:, -1:], **statistics)


def _of_rows(function, X, weights=None, **statistics):
    return function(X[:, :-1], weights, exposure=X[:, -1:], **statistics)
