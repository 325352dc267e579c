"""What is worth knowing about a fit: findings, each with its evidence and a remedy.

Each check is a function of the fitted estimator and of a `Sample` of rows, or None. It
returns a `Finding`, or None if there is nothing to report. `CHECKS` lists the functions.
"""

import dataclasses
import html

import numpy as np
from sklearn.utils.validation import _check_feature_names_in

from skae._engine.epoch_choice import LOOK_BACK
from skae._tables.categories import columns_of
from skae._tables.rows import rows_of
from skae._training.settings import PATIENCE_CROSS_FITTED

__all__ = ["Finding", "Findings", "Sample", "collapsed", "diagnose", "outcome"]

MOST_ROWS, MOST_VALUES = 10_000, 2**24  # rows and values that are examined, at most
GAP = 4.0  # held-out error over training error from which a network has memorised rows
WORTH_IT = 0.1  # share of the error of PCA from which less memorising would be worth it
SWALLOWED = 0.9  # share of the variance in one of three or more columns
CONSTANT = 0.01  # share of the variance below which a reconstruction is constant
DEAD = 1e-6  # deviation of a code, as a share of the largest
ALIKE = 0.999  # correlation of two codes that hold the same
REPEATED = 0.2  # share of rows that equal another one
IN_SERIES = 0.5  # correlation of the residuals of neighbouring rows
SHIFTED = 1.0  # distance of a mean from the mean of the fit, in standard deviations
AT_ENDS = 0.05  # share of cells at the ends of (0, 1), and within, that make a mixture
STILL_FALLING = 0.9  # the best epoch is in the last tenth of all
SMALL_GAIN = 0.01  # a fall of the error in the last tenth that is worth more epochs
NATS = 0.01  # divergence below which a code of a density carries nothing


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something worth knowing about a fit.

    Attributes
    ----------
    name : str
        What was found, in a few words.
    evidence : str
        The numbers that show it.
    remedy : str
        What to do about it.
    """

    name: str
    evidence: str
    remedy: str

    def __str__(self):
        return f"{self.name}: {self.evidence} {self.remedy}"


class Findings(list):
    """A list of `Finding`, which is printed one finding after another."""

    def __repr__(self):
        lines = [f"{i}. {finding}" for i, finding in enumerate(self, start=1)]
        return "\n".join(lines) or "Nothing was found."

    def _repr_html_(self):
        items = [
            f"<li><b>{html.escape(finding.name)}</b>: "
            f"{html.escape(f'{finding.evidence} {finding.remedy}')}</li>"
            for finding in self
        ]
        return f"<ol>{''.join(items)}</ol>" if items else "<p>Nothing was found.</p>"

    def records(self):
        """Return a dict with name, evidence and remedy for each finding."""
        return [dataclasses.asdict(finding) for finding in self]


@dataclasses.dataclass(frozen=True)
class Sample:
    """Neighbouring rows that are examined.

    Attributes
    ----------
    X, X_hat : ndarray of shape (n, n_features)
        The rows and their reconstruction.
    seen : ndarray of shape (n, n_features)
        The rows as the encoder sees them, before they are centred.
    Z : ndarray of shape (n, n_components)
        Their codes.
    """

    X: np.ndarray
    X_hat: np.ndarray
    seen: np.ndarray
    Z: np.ndarray


def diagnose(estimator, X):
    """Return the Findings of a fitted estimator, and of some rows unless X is None."""
    sample = None if X is None else _sample(estimator, X)
    found = [check(estimator, sample) for check in CHECKS]
    return Findings(finding for finding in found if finding is not None)


def outcome(estimator):
    """Return in a few words how the last fit ended, or "" if no rows were held out."""
    errors, best = estimator.validation_curve_, estimator.best_epoch_
    if estimator.outcome_ == "pca":
        return "ended as PCA"
    if estimator.outcome_ == "unchanged":
        return "as it was before the last fit"
    pca_error = -estimator.pca_score_
    if len(errors) <= best or not np.isfinite(pca_error) or pca_error == 0:
        return ""
    if _is_density(estimator):
        return f"{pca_error - errors[best]:.3g} nats per row above PCA, on held-out rows"
    return f"{errors[best] / pca_error:.3g} times the error of PCA, on held-out rows"


def _sample(estimator, X):
    """Return a Sample of the first rows of a table."""
    n_rows = min(MOST_ROWS, max(1, MOST_VALUES // X.shape[1]))
    X = rows_of(X, slice(0, min(n_rows, X.shape[0]))).astype(np.float64)
    inference, k = estimator._inference, estimator.n_components_
    exposed = inference.exposed(X)
    seen = X if exposed is None else exposed.seen(X)
    Z = inference.codes_of_seen(seen, k)
    return Sample(X, inference.decode(Z, exposed), seen, Z)


# -- training --------------------------------------------------------------------------


def _no_training(estimator, sample):
    """PCA was kept before the first epoch."""
    if estimator.outcome_ != "pca" or estimator.n_iter_:
        return None
    name, n_samples = "ended as PCA without training", estimator.n_samples_
    n_axes = min(n_samples - 1, estimator.n_features_in_)
    if estimator.n_components_ >= n_axes or not estimator.noise_variance_:
        return Finding(
            name,
            f"PCA with {estimator.n_components_} components reconstructs the "
            f"{n_samples} x {estimator.n_features_in_} training table without an error.",
            "Set a smaller n_components.",
        )
    if not estimator.hidden_layer_sizes_:
        return Finding(
            name,
            "The network has no hidden layers, and PCA is the best linear network.",
            "Set hidden_layer_sizes.",
        )
    return Finding(
        name,
        f"Of {n_samples} rows too few are different, or independent, to hold some out.",
        "Fit more rows, pass X_val, or set early_stopping=False to train without a check.",
    )


def _no_gain(estimator, sample):
    """PCA was kept after training."""
    errors = np.array(estimator.validation_curve_, dtype=float)
    if estimator.outcome_ != "pca" or not estimator.n_iter_ or len(errors) < 2:
        return None
    name, gain = "ended as PCA", errors[0] - np.nanmin(errors[1:])
    evidence = (
        f"The smallest held-out error of an epoch was {1 - gain / (errors[0] or 1.0):.4f} "
        "of that of PCA"
    )
    if _is_density(estimator):
        evidence = f"The bound of held-out rows rose by at most {gain:.3g} nats per row"
    if gain > 0:
        return Finding(
            name,
            f"{evidence}, which {estimator.n_samples_} rows are too few to be certain of.",
            "Fit more rows, or regularise with weight_decay, dropout or noise.",
        )
    return Finding(
        name,
        f"{evidence}: the table is linear, or what is not linear in it is noise.",
        "Use PCA, or fit more rows.",
    )


def _still_falling(estimator, sample):
    """Training ended while the error of held-out rows was falling."""
    n_iter, best = estimator.n_iter_, estimator.best_epoch_
    limit = _limit(estimator)
    errors = np.array(estimator.validation_curve_, dtype=float)
    if limit is None or best <= STILL_FALLING * n_iter or len(errors) <= best:
        return None
    before = np.nanmin(errors[: int(STILL_FALLING * n_iter) + 1])
    unit = estimator.n_features_in_ if _is_density(estimator) else before
    gain = (before - errors[best]) / (unit or 1.0)
    if not gain > max(estimator._params_of_fit["tol"], SMALL_GAIN):
        return None
    return Finding(
        "ended while the error was falling",
        f"Training ended at {limit}={getattr(estimator, limit)}, and the last tenth of its "
        f"{n_iter} epochs reduced the held-out error by {_amount(estimator, gain)}.",
        f"Set a larger {limit}.",
    )


def _is_density(estimator):
    """Whether errors are minus log-densities, in nats, of which there are no shares."""
    return hasattr(estimator, "kl_")


def _amount(estimator, gain):
    """Return a gain as text: a share, or nats for each feature."""
    return f"{gain:.2g} nats per feature" if _is_density(estimator) else f"{gain:.1%}"


def _limit(estimator):
    """Return the name of the parameter that has ended training, or None."""
    params, n_iter = estimator._params_of_fit, estimator.n_iter_
    if n_iter == params["max_epochs"]:
        return "max_epochs"
    patience = params["n_iter_no_change"]
    if patience == "auto":
        # The smallest number that it stands for.
        patience = PATIENCE_CROSS_FITTED if estimator.best_epoch_ else LOOK_BACK + 1
    was_patient = n_iter - estimator.best_epoch_ >= patience
    return None if estimator.time_limit is None or was_patient else "time_limit"


def _memorised(estimator, sample):
    """Training rows are reconstructed far better than held-out rows."""
    best, errors = estimator.best_epoch_, estimator.validation_curve_
    if not best or len(errors) <= best or _is_density(estimator):
        return None
    ratio = errors[best] / (estimator.loss_curve_[best - 1] or np.inf)
    if ratio < GAP or errors[best] < WORTH_IT * -estimator.pca_score_:
        return None
    return Finding(
        "rows were memorised",
        f"The error of held-out rows is {ratio:.1f} times that of training rows.",
        "Set smaller hidden_layer_sizes, or regularise with weight_decay, dropout or "
        "noise.",
    )


# -- codes and reconstructions ---------------------------------------------------------


def _dead_codes(estimator, sample):
    """Codes that do not vary."""
    deviations = estimator._code_deviations
    dead = np.flatnonzero(deviations <= DEAD * deviations.max())
    if not len(dead):
        return None
    return Finding(
        "dead codes",
        f"{len(dead)} of {len(deviations)} codes do not vary: {_listed(dead)}.",
        "Set a smaller n_components. With a code_activation or a module of your own, "
        "also try a smaller lr.",
    )


def collapsed(estimator, sample=None):
    """Codes of a density that carry nothing."""
    if not _is_density(estimator) or estimator.kl_.max() >= NATS:
        return None
    return Finding(
        "posterior collapse",
        f"No code is more than {estimator.kl_.max():.2g} nats from its prior, so that the "
        "model is noise around the mean.",
        "Set a smaller beta, or standardize=True if the features have different units; "
        "otherwise the features may be independent of each other.",
    )


def _alike_codes(estimator, sample):
    """Two codes that hold the same."""
    if sample is None or sample.Z.shape[1] < 2 or len(sample.Z) < 3:
        return None
    varies = np.flatnonzero(sample.Z.std(axis=0) > 0)
    correlations = np.corrcoef(sample.Z[:, varies].T).reshape(len(varies), -1)
    pairs = np.argwhere(np.triu(np.abs(correlations) > ALIKE, k=1))
    if not len(pairs):
        return None
    first, second = varies[pairs[0]]
    return Finding(
        "codes that are alike",
        f"{len(pairs)} pairs of codes have a correlation above {ALIKE}, such as codes "
        f"{first} and {second}.",
        "Set a smaller n_components, or init='pca', whose codes are uncorrelated.",
    )


def _constant_output(estimator, sample):
    """A reconstruction that hardly varies."""
    share = float(np.sum(estimator.explained_variance_ratio_))
    if share >= CONSTANT:
        return None
    return Finding(
        "constant reconstruction",
        f"The reconstruction holds {share:.2%} of the variance.",
        "Set init='pca', a smaller lr, or a larger n_components.",
    )


def _swallowed(estimator, sample):
    """A column in larger units than the others, which the loss consists of."""
    params = estimator._params_of_fit
    is_table = estimator.n_features_in_ > 2 and not isinstance(params["loss"], dict)
    if params["standardize"] or not is_table or columns_of(estimator) is not None:
        return None
    weights = np.square(estimator.components_.T) @ estimator.explained_variance_
    variances = weights + estimator.noise_variance_
    share = variances.max() / (variances.sum() or 1.0)
    if share < SWALLOWED:
        return None
    column = _check_feature_names_in(estimator)[variances.argmax()]
    return Finding(
        "one column is the loss",
        f"{share:.1%} of the variance is in the column {column!r}.",
        "Set standardize=True, or scale the columns in a Pipeline.",
    )


# -- rows ------------------------------------------------------------------------------


def _repeated_rows(estimator, sample):
    """Many rows that equal others."""
    if sample is None or len(sample.X) < 2:
        return None
    share = 1 - len(np.unique(sample.X, axis=0)) / len(sample.X)
    if share < REPEATED:
        return None
    return Finding(
        "rows repeat",
        f"{share:.0%} of the {len(sample.X)} rows equal an earlier row.",
        "Equal rows are held out together. If nearly equal rows come from one source, "
        "pass groups to fit. Pass how often a row occurs as sample_weight.",
    )


def _rows_in_series(estimator, sample):
    """Neighbouring rows with the same residuals, so that they are not independent."""
    params = estimator._params_of_fit
    is_known = estimator.cv != "auto" or not params["early_stopping"]
    if sample is None or len(sample.X) < 20 or is_known:
        return None
    residual = np.nan_to_num(sample.X_hat - sample.X)
    residual -= residual.mean(axis=0)
    total = np.square(residual).sum()
    shared = (residual[1:] * residual[:-1]).sum() / (total or 1.0)
    if shared < IN_SERIES or len(np.unique(sample.X, axis=0)) < len(sample.X) / 2:
        return None
    return Finding(
        "neighbouring rows depend on each other",
        f"The residuals of rows that follow each other have a correlation of {shared:.2f}.",
        "Pass groups to fit, or set cv=TimeSeriesSplit(gap=...): otherwise held-out rows "
        "are not independent of the training rows.",
    )


def _shifted(estimator, sample):
    """A mean that is far from that of the fit."""
    if sample is None or len(sample.X) < 20:
        return None
    mean, deviation = np.nanmean(sample.seen, axis=0), np.nanstd(sample.seen, axis=0)
    with np.errstate(invalid="ignore"):
        shift = np.abs(mean - estimator.mean_) / np.where(deviation > 0, deviation, np.inf)
    if not np.nanmax(shift) > SHIFTED:
        return None
    columns = columns_of(estimator)
    names = _check_feature_names_in(estimator)
    names = names if columns is None else columns.encoded_names
    column = names[np.nanargmax(shift)]
    return Finding(
        "the rows have moved",
        f"The mean of {column!r} is {np.nanmax(shift):.1f} standard deviations from the "
        "mean that the model subtracts.",
        "Fit again. In a stream with missing cells, a module or a code_activation, the "
        "mean is that of the first chunk: begin with a larger one.",
    )


def _at_ends(estimator, sample):
    """Cells at 0 and 1, which no finite output of a logistic function reaches."""
    if sample is None or estimator._params_of_fit["loss"] != "binary_cross_entropy":
        return None
    share = np.mean((sample.X <= 0) | (sample.X >= 1))
    if min(share, 1 - share) < AT_ENDS:
        return None
    return Finding(
        "cells at the ends of the range",
        f"{share:.0%} of the cells are 0 or 1, and the others lie between. Of these the "
        "binary cross-entropy never becomes zero, however good the reconstruction.",
        "Compare errors with pca_score_ rather than with zero, or use the default loss.",
    )


def _listed(numbers, most=8):
    """Return some numbers as text."""
    shown = ", ".join(map(str, numbers[:most]))
    return shown if len(numbers) <= most else f"{shown}, ..."


CHECKS = (
    _no_training,
    _no_gain,
    _still_falling,
    _memorised,
    _dead_codes,
    collapsed,
    _alike_codes,
    _constant_output,
    _swallowed,
    _repeated_rows,
    _rows_in_series,
    _shifted,
    _at_ends,
)
