"""The methods of an autoencoder that is a density: scores, new rows, and deviations."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from skae._autoencoders.base import BaseAutoencoder
from skae._autoencoders.exposures import exposed_rows
from skae._compat import in_container
from skae._tables.checks import check_table

__all__ = ["Density"]


class Density(BaseAutoencoder):
    """What an autoencoder has, and what it returns, if it is a density of rows.

    The `_inference` of a subclass is a `DensityInference`.
    """

    # Not a value for each row that a Pipeline could pass on, but an option of the caller.
    __metadata_request__transform = {"return_std": UNUSED}

    def transform(self, X, return_std=False, exposure=None):
        """Encode X, as the means of the distributions of its codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        return_std : bool, default=False
            Whether to return the standard deviations too. One of zero is a code that the
            row determines, and one of 1 a code of which it says nothing.
        exposure : array-like of shape (n_samples,) or None, default=None
            Exposures of rows of counts, if `fit` was given exposures.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components_)
            Means of the codes, in float32 for float32 X and in float64 for everything else.
        Z_std : ndarray of shape (n_samples, n_components_)
            Standard deviations of the codes. Only returned with `return_std`.
        """
        Z = super().transform(X, exposure=exposure)
        if not return_std:
            return Z
        X = check_table(self, X, reset=False)
        exposed = exposed_rows(self, X, exposure)
        return Z, self._inference.deviations(X, self.n_components_, exposed)

    def get_covariance(self):
        """Compute the covariance of the rows if the decoder were linear.

        With `standardize` it is that of standardized features.

        Returns
        -------
        cov : ndarray of shape (n_features, n_features)
            J.T @ J + noise, where J is the Jacobian of the decoder at the mean code, and
            the noise has `noise_variance_` on its diagonal. For probabilistic PCA it is the
            covariance of `PCA`.
        """
        check_is_fitted(self)
        slopes = self._inference.jacobian(self._mean_code[None].astype(np.float64))[0]
        covariance = slopes.T @ slopes
        covariance.flat[:: len(covariance) + 1] += self.noise_variance_
        return covariance

    def score_samples(self, X, exposure=None):
        """Compute a lower bound of the log-density of each row.

        It is the bound of Burda et al. (2016) with 128 codes, log of the mean of
        p(x, z) / q(z | x), which are spread evenly over q(z | x) and are the same at every
        call. It is at least the evidence lower bound on average, and equal to the
        log-density if the decoder is linear.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        exposure : array-like of shape (n_samples,) or None, default=None
            Exposures of rows of counts, if `fit` was given exposures.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            Log-densities in the units of X, or for counts and zeros and ones
            log-probabilities. With `exposure` they are those of rows whose exposure is
            known.
        """
        return super().score_samples(X, exposure)

    def score(self, X, y=None, sample_weight=None, exposure=None):
        """Compute the mean of `score_samples`, the same number as `PCA.score`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the rows in the mean.
        exposure : array-like of shape (n_samples,) or None, default=None
            Exposures of rows of counts, if `fit` was given exposures.

        Returns
        -------
        score : float
            Mean lower bound of the log-density of the rows, in nats.
        """
        return super().score(X, y, sample_weight, exposure)

    def sample(self, n_samples=1, random_state=None):
        """Draw new rows from the density.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            Seed of the rows.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows in the units of the training data, with the noise of the likelihood, or a
            frame if `set_output` has asked for it. See `margins`. With `exposure` all of
            them have the typical exposure. `inverse_transform` of codes of your own gives
            means without noise.
        """
        check_is_fitted(self)
        name = f"n_samples of {type(self).__name__}.sample"
        check_scalar(n_samples, name, Integral, min_val=1)
        rng = check_random_state(random_state)
        X = self._inference.draw(n_samples, self.n_components_, rng)
        return in_container(self, X, _check_feature_names_in(self), X)
