"""A mixture of normal distributions as the prior of codes."""

import warnings

import numpy as np
from scipy import linalg
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GroupKFold

__all__ = ["Mixture", "fit_mixture"]

SIZES = 1, 2, 4, 8, 16, 32  # numbers of components that are tried
MOST_ROWS = 10_000  # largest number of rows that mixtures are fitted to
FULL = 16  # largest number of codes for which covariance matrices are full
N_FOLDS, FEWEST_ROWS = 5, 20  # folds, and fewest rows for which there are any
MARGIN = 2.0  # standard errors by which a mixture must be better than the normal prior
RIDGE = 1e-3  # added to the variances, of which those of the normal prior are one
SEED = 0


class Mixture:
    """A mixture of normal distributions.

    Parameters
    ----------
    weights : ndarray of shape (m,)
    means : ndarray of shape (m, k)
    covariances : ndarray of shape (m, k, k), or (m, k) for diagonal matrices
    """

    def __init__(self, weights, means, covariances):
        self.arrays = weights, means, covariances

    def _model(self, random_state=None):
        """Return the GaussianMixture of scikit-learn with these parameters."""
        weights, means, covariances = self.arrays
        if covariances.ndim == 3:
            kind = "full"
            roots = [linalg.cholesky(matrix, lower=True) for matrix in covariances]
            eye = np.eye(means.shape[1])
            roots = [linalg.solve_triangular(r, eye, lower=True).T for r in roots]
        else:
            kind, roots = "diag", 1 / np.sqrt(covariances)
        model = _mixture(len(weights), kind, random_state=random_state)
        model.weights_, model.means_, model.covariances_ = self.arrays
        model.precisions_cholesky_ = np.array(roots)
        return model

    def log_densities(self, Z):
        """Return the log-densities (n,) of codes Z (n, k)."""
        return self._model().score_samples(Z)

    def draw(self, n_samples, rng):
        """Return codes (n_samples, k), drawn from a RandomState."""
        Z, _ = self._model(rng).sample(n_samples)
        return Z[rng.permutation(n_samples)]  # they come in the order of the components


def fit_mixture(mean, log_variance, groups, held_out=None, weights=None):
    """Fit a mixture to the codes of rows, if it is better than the standard normal prior.

    Codes are drawn from the posterior of each row. Held-out codes choose the number of
    components; their mean log-density is a term of the evidence lower bound. Mixtures as
    priors that are fitted after training are due to Dai and Wipf (2019), "Diagnosing and
    Enhancing VAE Models", and Ghosh et al. (2020), "From Variational to Deterministic
    Autoencoders".

    Parameters
    ----------
    mean, log_variance : ndarray of shape (n, k)
        Posteriors of the rows.
    groups : ndarray of int of shape (n,)
        Rows of one group are on the same side of each split.
    held_out : ndarray of bool of shape (n,) or None
        Rows that the network has not seen, which are then the only ones held out.
    weights : ndarray of shape (n,) or None
        Weights of the rows. They are drawn in proportion.

    Returns
    -------
    Mixture
        The standard normal distribution if no mixture is certainly better.
    """
    rng = np.random.RandomState(SEED)
    rows = _rows(len(mean), weights, rng)
    mean, log_variance, groups = (
        a[rows].astype(float) for a in (mean, log_variance, groups)
    )
    held_out = None if held_out is None else held_out[rows]
    Z = mean + np.exp(log_variance / 2) * rng.standard_normal(mean.shape)
    n_components = _best_size(Z, _splits(groups, held_out))
    if n_components is None:
        k = Z.shape[1]
        return Mixture(np.ones(1), np.zeros((1, k)), np.ones((1, k)))
    model = _fitted(n_components, Z)
    return Mixture(model.weights_, model.means_, model.covariances_)


def _rows(n_samples, weights, rng):
    """Return numbers of rows: all, or some of them drawn in proportion to the weights."""
    if weights is None and n_samples <= MOST_ROWS:
        return np.arange(n_samples)
    shares = None if weights is None else weights / weights.sum()
    size = min(n_samples, MOST_ROWS)
    return np.sort(rng.choice(n_samples, size, replace=weights is not None, p=shares))


def _splits(groups, held_out):
    """Return pairs (train, held_out) of row numbers; none if there are too few rows."""
    n_groups = len(np.unique(groups))
    if n_groups < FEWEST_ROWS:
        return []
    if held_out is not None:
        return [(np.flatnonzero(~held_out), np.flatnonzero(held_out))]
    return list(GroupKFold(N_FOLDS).split(groups, groups=groups))


def _best_size(Z, splits):
    """Return the best number of components, or None if the normal prior is as good."""
    k, best, best_gains = Z.shape[1], None, None
    normal = -(np.square(Z).sum(axis=1) + k * np.log(2 * np.pi)) / 2
    for size in SIZES:
        if not splits or 2 * size > min(len(train) for train, _ in splits):
            break
        gains = np.concatenate(
            [
                _fitted(size, Z[train]).score_samples(Z[test]) - normal[test]
                for train, test in splits
            ]
        )
        if best_gains is not None and gains.mean() <= best_gains.mean():
            break
        best, best_gains = size, gains
    if best is None:
        return None
    error = best_gains.std() / np.sqrt(len(best_gains))
    return best if best_gains.mean() > MARGIN * error else None


def _mixture(n_components, kind, **others):
    """Return an unfitted GaussianMixture, whose module loads many others."""
    from sklearn.mixture import GaussianMixture

    return GaussianMixture(n_components, covariance_type=kind, **others)


def _fitted(n_components, Z):
    """Return a GaussianMixture that is fitted to codes Z (n, k)."""
    kind = "full" if Z.shape[1] <= FULL else "diag"
    model = _mixture(n_components, kind, reg_covar=RIDGE, random_state=SEED)
    with warnings.catch_warnings():
        # A mixture that has not converged is as good as its held-out density says.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(Z)
