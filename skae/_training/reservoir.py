"""Rows of a stream that stay in memory."""

import dataclasses

import numpy as np

from skae._tables.dependence import is_held_out, row_keys
from skae._tables.rows import is_streamed, row_blocks, rows_of

__all__ = ["Memory", "Reservoir", "StreamRows", "joined", "stream_rows"]

# Values of rows that are kept to be trained on again, and rows at least.
MOST_KEPT, LEAST_KEPT = 2**22, 512
# Rows that are kept and held out, values of them, and rows at least.
MOST_JUDGES, VALUES_OF_JUDGES, LEAST_JUDGES = 4096, 2**20, 256


@dataclasses.dataclass(frozen=True)
class StreamRows:
    """Some rows of a stream.

    Attributes
    ----------
    X : ndarray of shape (n, n_features)
        In their own units, NaN where a value is missing.
    weights : ndarray of shape (n,)
    keys : ndarray of uint64 of shape (n,)
        Rows with the same key depend on each other.
    """

    X: np.ndarray
    weights: np.ndarray
    keys: np.ndarray

    def __len__(self):
        return len(self.X)

    def __getitem__(self, rows):
        return StreamRows(self.X[rows], self.weights[rows], self.keys[rows])

    def replaced(self, places, others):
        """With other rows in some places; where one is named twice, the last counts."""
        parts = {}
        for field in dataclasses.fields(self):
            mine, theirs = getattr(self, field.name), getattr(others, field.name)
            parts[field.name] = mine.astype(np.result_type(mine, theirs))
            parts[field.name][places] = theirs
        return StreamRows(**parts)


def stream_rows(given):
    """StreamRows of what a user gives, in parts where it is too large to be read whole.

    Parameters
    ----------
    given : Given
        Its groups are keys.

    Yields
    ------
    StreamRows
    """
    X, weights, groups = given.X, given.weights, given.groups
    blocks = row_blocks(*X.shape) if is_streamed(X) else [slice(None)]
    for block in blocks:
        rows = np.asarray(rows_of(X, block))
        w = np.ones(len(rows)) if weights is None else weights[block]
        yield StreamRows(rows, w, row_keys(rows) if groups is None else groups[block])


def joined(parts):
    """The rows of several `StreamRows`, one after another."""
    if len(parts) == 1:
        return parts[0]
    names = [field.name for field in dataclasses.fields(StreamRows)]
    return StreamRows(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))


@dataclasses.dataclass(frozen=True)
class Reservoir:
    """A sample of all rows so far, in which each row is as likely to be as any other.

    Algorithm R of Vitter (1985), "Random sampling with a reservoir".

    Attributes
    ----------
    size : int
        Most rows that it holds.
    seed : int
    rows : StreamRows or None
        None before the first.
    n_seen : int
        Rows that it is a sample of.
    """

    size: int
    seed: int
    rows: StreamRows | None = None
    n_seen: int = 0

    def __len__(self):
        return 0 if self.rows is None else len(self.rows)

    def _rng(self):
        """The same wherever the stream is where it is."""
        return np.random.default_rng([self.seed, self.n_seen])

    def updated(self, new):
        """With the rows `new` having been seen too."""
        n_seen = self.n_seen + len(new)
        n_free = self.size - len(self)
        rest = new[n_free:]
        rows = joined([part for part in (self.rows, new[:n_free]) if part is not None])
        # A row that is the i-th to come takes a place with probability size / i.
        places = self._rng().integers(np.arange(n_seen - len(rest), n_seen) + 1)
        stays = places < self.size
        rows = rows.replaced(places[stays], rest[stays]) if stays.any() else rows
        return dataclasses.replace(self, rows=rows, n_seen=n_seen)

    def spread(self, n):
        """Evenly spaced rows, n or all."""
        step = -(-len(self) // n)
        return self.rows[::step]

    def drawn(self, n):
        """n rows at random, each as often as any other, or once more."""
        order = self._rng().permutation(len(self))
        return self.rows[np.resize(order, n)]


@dataclasses.dataclass(frozen=True)
class Memory:
    """The rows of a stream that are kept: those to train on, and those held out.

    Attributes
    ----------
    train, judges : Reservoir
    seed : int
    """

    train: Reservoir
    judges: Reservoir
    seed: int

    @classmethod
    def begin(cls, n_features, seed):
        """Of no rows yet."""
        n_judges = min(MOST_JUDGES, VALUES_OF_JUDGES // n_features)
        sizes = max(LEAST_KEPT, MOST_KEPT // n_features), max(LEAST_JUDGES, n_judges)
        return cls(*(Reservoir(size, seed) for size in sizes), seed)

    def updated(self, new, share):
        """With the rows `new`, a share of which is held out, and those to train on."""
        is_judge = is_held_out(new.keys, share, self.seed)
        own = new[~is_judge]
        judges = self.judges.updated(new[is_judge])
        return Memory(self.train.updated(own), judges, self.seed), own

    def some(self, n):
        """At most about n rows of both sides, as they are mixed in the stream."""
        n_seen = self.train.n_seen + self.judges.n_seen
        return joined(
            [side.spread(-(-n * side.n_seen // n_seen)) for side in self._sides()]
        )

    @property
    def n_units(self):
        """Independent rows, or groups of rows, among those that are kept."""
        return len(np.unique(np.concatenate([s.rows.keys for s in self._sides()])))

    @property
    def has_judges(self):
        """Whether more than one independent row is held out."""
        return len(self.judges) > 0 and len(np.unique(self.judges.rows.keys)) > 1

    def _sides(self):
        return [side for side in (self.train, self.judges) if len(side)]
