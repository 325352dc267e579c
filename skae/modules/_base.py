"""What every network can do."""

__all__ = ["decode", "encode", "reconstruct"]


def encode(module, X):
    """The code of X."""
    return module.encode(X)


def decode(module, Z):
    """The decoder's output for the code Z."""
    return module.decode(Z)


def reconstruct(module, X):
    """The decoder's output for X; a user's module need not have a `forward`."""
    return module.decode(module.encode(X))
