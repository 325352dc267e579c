"""Rows of a stream, and those of them that stay in memory."""

import dataclasses

import numpy as np

from skae._tables.dependence import is_held_out, row_keys
from skae._tables.fit_data import Given
from skae._tables.rows import is_streamed, row_blocks, rows_of

__all__ = ["Memory", "Reservoir", "StreamRows", "joined", "stream_rows"]

# Largest number of values of training rows, and number of rows that are kept however wide.
MOST_VALUES, FEWEST_ROWS = 2**22, 512
# Largest numbers of held-out rows and of their values, and again a number of rows.
MOST_JUDGES, JUDGES_VALUES, FEWEST_JUDGES = 4096, 2**20, 256


@dataclasses.dataclass(frozen=True)
class StreamRows:
    """Some rows of a stream.

    Attributes
    ----------
    X : ndarray of shape (n, n_features)
        Rows in their own units, with NaN for missing values.
    weights : ndarray of shape (n,)
    keys : ndarray of uint64 of shape (n,)
        Rows with the same key depend on each other.
    exposures : ndarray of shape (n,)
        Exposures of rows of counts, NaN if the user has not given them.
    """

    X: np.ndarray
    weights: np.ndarray
    keys: np.ndarray
    exposures: np.ndarray

    def __len__(self):
        return len(self.X)

    def __getitem__(self, rows):
        return StreamRows(*(part[rows] for part in vars(self).values()))

    def given(self, exposure=None):
        """Return the rows as `Given`, for an Exposure or None."""
        return Given(
            self.X,
            weights=self.weights,
            given_exposure=self.exposures,
            exposure=exposure,
        )

    def replaced(self, places, others):
        """Return a copy with other rows in some places; the last row for a place counts."""
        parts = {}
        for field in dataclasses.fields(self):
            mine, theirs = getattr(self, field.name), getattr(others, field.name)
            parts[field.name] = mine.astype(np.result_type(mine, theirs))
            parts[field.name][places] = theirs
        return StreamRows(**parts)


def stream_rows(given):
    """Yield the StreamRows of a chunk, in parts if it is too large to be read whole.

    Parameters
    ----------
    given : Given
        Its groups are keys.
    """
    X, weights, groups = given.X, given.weights, given.groups
    blocks = row_blocks(*X.shape) if is_streamed(X) else [slice(None)]
    for block in blocks:
        rows = np.asarray(rows_of(X, block))
        w = np.ones(len(rows)) if weights is None else weights[block]
        keys = row_keys(rows) if groups is None else groups[block]
        exposures = given.given_exposure
        exposures = np.full(len(rows), np.nan) if exposures is None else exposures[block]
        yield StreamRows(rows, w, keys, exposures)


def joined(parts):
    """Return the StreamRows of a list or tuple of them, one after another."""
    if len(parts) == 1:
        return parts[0]
    names = [field.name for field in dataclasses.fields(StreamRows)]
    return StreamRows(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))


@dataclasses.dataclass(frozen=True)
class Reservoir:
    """A random sample of all rows so far, in which all rows are equally likely.

    This is algorithm R of Vitter (1985), "Random sampling with a reservoir".

    Attributes
    ----------
    size : int
        Largest number of rows.
    seed : int
    rows : StreamRows or None
        The sample; None if there were no rows yet.
    n_seen : int
        Number of rows of which it is a sample.
    """

    size: int
    seed: int
    rows: StreamRows | None = None
    n_seen: int = 0

    def __len__(self):
        return 0 if self.rows is None else len(self.rows)

    def updated(self, new):
        """Return the reservoir after the StreamRows `new`."""
        n_seen = self.n_seen + len(new)
        n_free = self.size - len(self)
        rest = new[n_free:]
        rows = joined([part for part in (self.rows, new[:n_free]) if part is not None])
        # The i-th row of the stream gets a place with probability size / i.
        places = self._rng().integers(np.arange(n_seen - len(rest), n_seen) + 1)
        has_place = places < self.size
        if has_place.any():
            rows = rows.replaced(places[has_place], rest[has_place])
        return dataclasses.replace(self, rows=rows, n_seen=n_seen)

    def spread(self, n):
        """Return at most n rows, evenly spaced."""
        return self.rows[:: -(-len(self) // n)]

    def drawn(self, n):
        """Return n rows in random order, each as often as any other, or once more."""
        order = self._rng().permutation(len(self))
        return self.rows[np.resize(order, n)]

    def _rng(self):
        """Return a generator that depends only on the seed and the number of rows."""
        return np.random.default_rng([self.seed, self.n_seen])


@dataclasses.dataclass(frozen=True)
class Memory:
    """The rows of a stream that are kept: some to train on again, and some held out.

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
        """Return a memory without rows."""
        n_judges = min(MOST_JUDGES, JUDGES_VALUES // n_features)
        sizes = max(FEWEST_ROWS, MOST_VALUES // n_features), max(FEWEST_JUDGES, n_judges)
        return cls(*(Reservoir(size, seed) for size in sizes), seed)

    def updated(self, new, share):
        """Add StreamRows, of which about a share `share` is held out.

        Returns
        -------
        memory : Memory
        own : StreamRows
            Those of the new rows that are not held out.
        """
        is_judge = is_held_out(new.keys, share, self.seed)
        own = new[~is_judge]
        judges = self.judges.updated(new[is_judge])
        return Memory(self.train.updated(own), judges, self.seed), own

    def some(self, n):
        """Return about n rows at most, of both kinds, in the proportions of the stream."""
        n_seen = self.train.n_seen + self.judges.n_seen
        return joined(
            [kind.spread(-(-n * kind.n_seen // n_seen)) for kind in self._kinds()]
        )

    @property
    def n_independent(self):
        """Number of independent rows, or groups of rows, in the memory."""
        return len(np.unique(np.concatenate([kind.rows.keys for kind in self._kinds()])))

    @property
    def has_judges(self):
        """Whether at least two independent rows are held out."""
        return len(self.judges) > 0 and len(np.unique(self.judges.rows.keys)) > 1

    def _kinds(self):
        return [kind for kind in (self.train, self.judges) if len(kind)]
