"""Errors of the package's own."""

__all__ = ["DivergenceError", "ModelFileError"]


class DivergenceError(RuntimeError):
    """Training met NaN or inf, and there are no finite weights to fall back on."""


class ModelFileError(ValueError):
    """A file is no model file of skae, or not as skae wrote it.

    The message says what is wrong with it: cut short, altered, of a newer format, a
    pickle or another kind of file, or of contents that make no model. A file that is
    not there raises FileNotFoundError instead.
    """
