"""The linear autoencoder from which a network starts, and its coordinates."""

import dataclasses

import numpy as np
import torch

from skae._tables.pca import principal_axes
from skae._tables.row_axes import FLOOR, RowAxes, axes_of_rows
from skae._tables.rows import chunks
from skae._torch import make_generator
from skae._training.variational_start import with_normal_posterior, with_posterior
from skae.modules import DenseAutoencoder, DenseVariational

__all__ = ["NOTHING_LEFT", "Start", "ToFeatures", "hold", "make_start", "start_of_axes"]

# A linear decoder that needs iterations is fitted to at most so many evenly spaced rows. Of
# wide rows there are fewer: about so many values, but at least so many rows.
DECODER_ROWS, FEWEST_ROWS, DECODER_VALUES = 4096, 512, 2**25
TINY = 1e-12  # the size of rounding errors in a table that is scaled to a deviation of one
ROUNDING = 10  # so many rounding errors are what a row loses by its coordinates, or nothing
NOTHING_LEFT = (
    1e-10  # if PCA leaves less than this share of the variance, nothing is gained
)


@dataclasses.dataclass
class Start:
    """Coordinates x -> axes (x - mean), and a linear autoencoder in these coordinates.

    The encoder is that of PCA. The decoder is that of PCA, or the linear decoder of the
    loss, see `Loss.decoder_start`.

    Attributes
    ----------
    mean : ndarray of shape (n_features,)
    axes : ndarray or RowAxes of shape (r, n_features), or None
        Orthonormal rows, or rows of zeros. None stands for the identity.
    deviations : ndarray of shape (k,)
        Standard deviations of the k principal components, by which the codes are divided
        during training.
    encoder : ndarray of shape (k, r)
    decoder : ndarray of shape (q, k)
    bias : ndarray of shape (q,) or longer
        Bias of the decoder, followed by the constants that the loss learns. The encoder
        has no bias, because the coordinates are centred.
    rotates_output : bool
        Whether the reconstruction is in these coordinates too.
    variances : ndarray
        Variances along all principal axes, descending. For a wide streamed table they
        are only the first k.
    total : float
        Sum of the variances along all principal axes.
    n_marks : int
        Number of inputs of the network that follow the coordinates and mark missing
        cells. PCA ignores them.
    outer : Start or None
        Not None if the rows x are themselves in the coordinates of another start.
    logits : ndarray of shape (k,) or None
        Logits of the variances that the codes of a row have, if the start is a variational
        autoencoder. Its codes have a standard normal prior, so that `deviations` are one.
    """

    mean: np.ndarray
    axes: np.ndarray | None
    deviations: np.ndarray
    encoder: np.ndarray
    decoder: np.ndarray
    bias: np.ndarray
    rotates_output: bool
    variances: np.ndarray
    total: float
    n_marks: int = 0
    outer: "Start | None" = None
    logits: np.ndarray | None = None

    @property
    def unexplained(self):
        """Share of the variance that the k components leave unexplained."""
        k = len(self.deviations)
        if len(self.variances) > k:  # this is exact even if the share is tiny
            return self.variances[k:].sum() / (self.total or 1.0)
        return max(self.total - self.variances.sum(), 0.0) / (self.total or 1.0)

    def coordinates(self, X):
        """Return X in these coordinates, (n, r), and the squared error that they cause.

        The error has shape (n,), or is 0 if the coordinates lose nothing.
        """
        if self.outer is not None:
            X, _ = self.outer.coordinates(X)
        return self.within(X)

    def within(self, X):
        """Do the same for X (n, d) that is in the coordinates of `outer` already."""
        if self.axes is None:
            return X - self.mean if self.mean.any() else X, 0.0
        known = self.axes.coordinates(X) if isinstance(self.axes, RowAxes) else None
        inputs = np.zeros((len(X), len(self.axes))) if known is None else known
        whole = np.zeros(len(X))
        # Some columns at a time are converted to float64.
        for block in chunks(max(inputs.shape), X.shape[1]):
            centred = X[:, block] - self.mean[block]
            if known is None:
                inputs += centred @ self.axes[:, block].T.astype(np.float64, copy=False)
            whole += np.einsum("ij,ij->i", centred, centred)
        lost = whole - np.square(inputs).sum(axis=1)
        lost[lost <= ROUNDING * np.finfo(self.axes.dtype).eps * whole] = 0.0
        return inputs, lost

    def load(self, network):
        """Write the linear autoencoder into the linear path of `network`; return it."""
        parts = [self.encoder, self.decoder, self.bias]
        if self.logits is not None:
            parts.append(self.logits)
        network.set_linear(*map(torch.from_numpy, parts))
        return network

    def linear_module(self, ordered=False):
        """Return the linear autoencoder as a network without hidden layers."""
        (k, r), q = self.encoder.shape, len(self.decoder)
        kind, options = DenseVariational, {}
        if self.logits is None:
            kind, options = DenseAutoencoder, {"ordered": ordered}
        module = kind(
            n_inputs=r + self.n_marks,
            n_components=k,
            n_outputs=q,
            n_constants=len(self.bias) - q,
            generator=make_generator(0),
            **options,
        )
        return self.load(module).eval()

    def undo(self, network):
        """Fold the whitening and the coordinates into the layers of `network`; return it.

        The network then takes centred and scaled rows.
        """
        deviations = torch.from_numpy(self.deviations)
        network.recode(deviations.diag(), torch.zeros_like(deviations))
        self._undo_coordinates(network)
        if self.outer is not None:
            self.outer._undo_coordinates(network)
        return network

    def _undo_coordinates(self, network):
        """Fold the coordinates into the first and the last layers of `network`."""
        mean, factors = torch.from_numpy(self.mean), self._factors()
        if not factors:
            shift = torch.cat([-mean, torch.zeros(self.n_marks, dtype=mean.dtype)])
            network.absorb_input(None, shift)
        shift = None
        if factors and self.mean.any():
            shift = -(factors[0].to(mean) @ mean)
        for factor in factors:
            network.absorb_input(factor, shift)
            shift = None
            if self.rotates_output:
                network.absorb_output(factor.T)
        if self.rotates_output:
            network.absorb_output(None, mean)

    def _factors(self):
        """Return the matrices whose product is `axes`."""
        if self.axes is None:
            return []
        is_product = isinstance(self.axes, RowAxes)
        factors = [self.axes.weight, self.axes.X] if is_product else [self.axes]
        return [torch.from_numpy(factor) for factor in factors]


@dataclasses.dataclass(frozen=True)
class ToFeatures:
    """Turns rows in the coordinates of the starts of members into features.

    Attributes
    ----------
    inner : Tensor of shape (m, r, r), or None for one member
        Axes of each member, in the coordinates of the last one.
    means : Tensor of shape (m, 1, r) or None
        Means of each member, in these coordinates.
    axes : Tensor of shape (r, p)
        Axes of the last member.
    """

    inner: torch.Tensor | None
    means: torch.Tensor | None
    axes: torch.Tensor

    @classmethod
    def of(cls, starts, device):
        """Return the ToFeatures of starts, all but the last of which have an outer."""
        *folds, last = starts
        r = len(last.axes)
        inner = np.stack([*(s.axes for s in folds), np.eye(r)])
        means = np.stack([*(s.mean for s in folds), np.zeros(r)])[:, None]
        parts = inner, means, np.asarray(last.axes)
        parts = [torch.from_numpy(part).float().to(device) for part in parts]
        return cls(*parts) if folds else cls(None, None, parts[-1])

    def in_last(self, rows):
        """Return rows (..., n, r) in the coordinates of the last member."""
        if self.inner is None:
            return rows
        return torch.baddbmm(self.means, rows, self.inner)

    def __call__(self, rows):
        """Return features (..., n, p) of rows (..., n, r)."""
        return self.in_last(rows) @ self.axes


def make_start(table, rows, n_components, loss, rotate, n_axes=None):
    """Fit PCA to some rows of a table, as the start of a network.

    Parameters
    ----------
    table : Table
    rows : ndarray of int, or None
        Numbers of the rows that PCA is fitted to. None stands for all rows, which have
        mean zero.
    n_components : int
    loss : Loss
    rotate : bool
        Whether the network works in the coordinates of the principal axes. In a table
        with fewer rows than columns there are fewer of them than columns, and they hold
        everything that can be learned. The part of a row outside their span is neither
        encoded nor reconstructed, as in PCA.
    n_axes : int or None
        If there are fewer axes than this, rows of zeros are appended.

    Returns
    -------
    Start
    """
    if table.whole is not None:
        deviations, axes, total = table.whole.principal
        principal = np.zeros(table.X.shape[1]), deviations, axes.copy(), total
    else:
        X, weights, mean = _centred(table, rows)
        is_wide = not table.is_streamed and X.shape[1] > X.shape[0]
        find = axes_of_rows if is_wide else principal_axes
        deviations, axes, total = find(X, n_components, weights, table.axes_dtype)
        if isinstance(axes, RowAxes) and not (rotate and rows is None):
            axes = axes.first(len(axes) if rotate else n_components)
        principal = mean, deviations, axes, total
    has_marks = table.observed is not None and table.has_marks
    start = _start(principal, n_components, loss, has_marks, rotate, n_axes)
    return _of_loss(start, table, rows, loss)


def start_of_axes(principal, table, n_components, loss):
    """Return the start of a network whose PCA is known, in the coordinates of the table.

    Parameters
    ----------
    principal : (mean, deviations, axes, total)
        The mean in the units of the table, and what `principal_axes` returns.
    table : Table
        Rows that a decoder is fitted to where the loss needs one of its own.
    n_components : int
    loss : Loss

    Returns
    -------
    Start
    """
    start = _start(principal, n_components, loss, table.observed is not None)
    return _of_loss(start, table, None, loss)


def _centred(table, rows):
    """Return the rows that PCA is fitted to, centred, with their weights and their mean."""
    X, weights = table.X, table.weights
    mean = np.zeros(X.shape[1])
    if rows is None:
        return X, weights, mean
    if table.is_streamed:
        # A weight of zero leaves a row out. The mean remains that of all rows.
        weights = np.bincount(rows, weights=None if weights is None else weights[rows])
        return X, np.pad(weights.astype(float), (0, len(X) - len(weights))), mean
    X, weights = X[rows], None if weights is None else weights[rows]
    if table.observed is None:  # filled cells follow the mean of the filler
        mean = np.average(X.astype(np.float64, copy=False), axis=0, weights=weights)
        X = X - mean
    return X, weights, mean


def _start(principal, n_components, loss, has_marks, rotate=False, n_axes=None):
    """Return the Start for given principal axes, with the decoder of PCA."""
    mean, spread, axes, total = principal
    # A fold may have fewer rows than the table has components.
    short = max(0, n_components - len(spread))
    spread, axes = np.pad(spread, (0, short)), _with_rows(axes, short)
    largest = spread[0] if spread[0] > TINY else 1.0
    deviations = np.maximum(spread[:n_components], FLOOR * largest)
    if rotate and not isinstance(axes, RowAxes):
        # Along an axis without variance the network would learn rounding errors.
        axes[n_components:][spread[n_components:] <= FLOOR * largest] = 0.0
        axes = _with_rows(axes, (n_axes or len(axes)) - len(axes))
    basis = np.eye(n_components, len(axes)) if rotate else axes[:n_components]
    return Start(
        mean=mean,
        axes=axes if rotate else None,
        deviations=deviations,
        encoder=basis / deviations[:, None],
        decoder=basis.T * deviations,
        bias=np.zeros(basis.shape[1]),
        rotates_output=loss.of_scaled,
        variances=np.square(spread),
        total=total,
        n_marks=len(mean) if has_marks else 0,
    )


def _with_rows(axes, n_more):
    """Return axes (r, p) followed by n_more rows of zeros; without a copy if that is 0."""
    return np.pad(axes, ((0, n_more), (0, 0))) if n_more else axes


def _of_loss(start, table, rows, loss):
    """Return the start with what the loss needs instead of PCA's decoder and codes."""
    if loss.of_scaled:
        n_rows = len(table.X) if rows is None else len(rows)
        return with_normal_posterior(start, loss, n_rows) if loss.is_likelihood else start
    sample = _sample(start, table, rows)
    decoder, bias = loss.decoder_start(*sample)
    start = dataclasses.replace(start, decoder=decoder.numpy(), bias=bias.numpy())
    return with_posterior(start, loss, *sample) if loss.is_likelihood else start


def _sample(start, table, rows):
    """Return codes, targets and weights of evenly spaced rows, as tensors."""
    X, target, weights = table.X, table.target, table.weights
    if table.whole is not None and table.whole.shared is not None:
        X, target = table.whole.sample, table.whole.sample_target
        weights = table.whole.shared.sample_weights
    rows = np.arange(len(X)) if rows is None else rows
    n_rows = min(DECODER_ROWS, max(FEWEST_ROWS, DECODER_VALUES // X.shape[1]))
    some = rows[:: -(-len(rows) // n_rows)]
    codes = (X[some].astype(np.float64) - start.mean) @ start.encoder.T
    goal = torch.from_numpy(target[some].astype(np.float64))
    w = None if weights is None else torch.from_numpy(weights[some])
    return torch.from_numpy(codes), goal, w


def hold(loss, ends, starts=None):
    """Return the loss of networks whose outputs are held at the ends of features.

    Parameters
    ----------
    loss : Loss
    ends : (low, high), ndarrays of shape (n_features,), or None
        See `Table`.
    starts : list of Start, or None
        The starts whose coordinates the networks work in. They are not rotated.
    """
    if ends is None:
        return loss
    if starts is not None and loss.of_scaled:
        means = np.stack([start.mean for start in starts])
        means = means[0] if len(means) == 1 else means[:, None]
        ends = [end - means for end in ends]
    return loss.with_ends(*ends)
