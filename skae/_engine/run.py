"""The processes that train a network: one, or several that exchange what they found."""

__all__ = ["ALONE", "Alone"]


class Alone:
    """One process, which has all rows. `Peers` has the same attributes and methods.

    Attributes
    ----------
    number : int
        Number of this process.
    are_several : bool
    """

    number, are_several = 0, False

    def shared(self, deadline):
        """Return a Deadline that is over at the same step in all processes."""
        return deadline

    def gather(self, value):
        """Return a list of the values that all processes call this with."""
        return [value]

    def reduce(self, weights, loss, n_rows):
        """Return the mean loss over the rows of a step, and make gradients theirs too."""
        return loss


ALONE = Alone()
