"""Exceptions that only this package raises."""

__all__ = ["DivergenceError", "ModelFileError", "PeerError"]


class DivergenceError(RuntimeError):
    """Training ended in NaN or inf, and there are no finite weights to fall back on."""


class ModelFileError(ValueError):
    """A file is not a model file of skae, or was changed since skae wrote it.

    The message says what is wrong: the file was cut short or altered, has a newer format,
    is a pickle or another kind of file, or its contents do not make a model. A file that
    does not exist raises FileNotFoundError instead.
    """


class PeerError(RuntimeError):
    """Another process of a fit with `distributed=True` has failed, or has been killed."""
