"""What a fitted autoencoder tells about itself and about rows."""

import copy
import html
from numbers import Integral

import numpy as np
from scipy import linalg
from sklearn.utils import check_scalar
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from skae._autoencoders import diagnosis
from skae._autoencoders.exposures import check_no_exposure, exposed_rows
from skae._autoencoders.fitted_attributes import truncate
from skae._autoencoders.lazy import lazily
from skae._autoencoders.parameters import takes
from skae._compat import in_frame_like
from skae._tables.blocks import is_dask
from skae._tables.categories import columns_of
from skae._tables.checks import check_table
from skae._tables.rows import row_blocks, rows_of
from skae._torch import in_own_modes

__all__ = ["InspectionMixin"]


class InspectionMixin:
    """Methods of fitted autoencoders beyond those of scikit-learn's transformers."""

    def __repr__(self, N_CHAR_MAX=700):
        """Return the constructor call and, as a comment, what the fit has gained."""
        text, gain = super().__repr__(N_CHAR_MAX), self._outcome_in_words()
        return f"{text}  # {gain}" if gain else text

    def _html_repr(self):
        """Return scikit-learn's diagram and, below it, what the fit has gained."""
        diagram, gain = super()._html_repr(), self._outcome_in_words()
        return f"{diagram}<p>{html.escape(gain)}</p>" if gain else diagram

    def _outcome_in_words(self):
        return diagnosis.outcome(self) if self.__sklearn_is_fitted__() else ""

    @available_if(takes("ordered"))
    @in_own_modes()
    def truncate(self, n_components):
        """Make a smaller estimator that keeps only the first codes.

        Parameters
        ----------
        n_components : int
            Number of codes to keep, from 1 to `n_components_`.

        Returns
        -------
        estimator : object
            Fitted estimator, which is independent of this one. It encodes to
            `Z[:, :n_components]`, and decodes these codes as `inverse_transform` does.
            Attributes about the course of training are those of this estimator.

        Raises
        ------
        ValueError
            If the codes are not `ordered`, or if there are fewer than `n_components`.
        """
        check_is_fitted(self)
        name = type(self).__name__
        if not self._params_of_fit["ordered"]:
            raise ValueError(
                f"truncate of {name} needs codes of which the first are of use without the "
                "others. Set ordered=True and fit again."
            )
        check_scalar(
            n_components,
            f"n_components of {name}.truncate",
            Integral,
            min_val=1,
            max_val=self.n_components_,
        )
        smaller = copy.deepcopy(self)
        truncate(smaller, int(n_components))
        return smaller

    @available_if(takes("ordered"))
    def truncation_errors(self, X, exposure=None):
        """Compute the error of X for every number of first codes.

        It is the curve by which the number of codes is chosen with a single fit.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows that were not in `fit`.
        exposure : array-like of shape (n_samples,) or None, default=None
            Exposures of rows of counts, if `fit` was given exposures.

        Returns
        -------
        errors : ndarray of shape (n_components_,)
            Element k - 1 is `-truncate(k).score(X)`, the mean error of the reconstruction
            from the first k codes.

        Raises
        ------
        ValueError
            If the codes are not `ordered`.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skae import AutoencoderTransformer
        >>> X, _ = load_iris(return_X_y=True)
        >>> ae = AutoencoderTransformer(3, ordered=True, random_state=0).fit(X[::2])
        >>> ae.truncation_errors(X[1::2]).round(3)
        array([0.091, 0.023, 0.007])
        """
        numbers = range(1, 1 + self.n_components_)
        scores = [self.truncate(k).score(X, exposure=exposure) for k in numbers]
        return -np.array(scores)

    def residuals(self, X, exposure=None):
        """Compute the differences between rows and their reconstructions.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        exposure : array-like of shape (n_samples,) or None, default=None
            Exposures of rows of counts, if `fit` was given exposures.

        Returns
        -------
        residuals : ndarray of shape (n_samples, n_features)
            `X - denoise(X)`, in the units of X, and NaN in missing cells; a frame, with the
            names and the index of X, if X is one. In a column of categories it is one minus
            the probability of the category that is there.
        """
        check_is_fitted(self)
        if is_dask(X):
            check_no_exposure(self, exposure, "residuals")
            return lazily(self, "residuals", X, self.n_features_in_)
        table, columns = check_table(self, X, reset=False), columns_of(self)
        exposed = exposed_rows(self, table, exposure)
        out = np.empty((table.shape[0], self.n_features_in_), dtype=table.dtype)
        for block in row_blocks(*table.shape):
            rows = rows_of(table, block)
            some = None if exposed is None else exposed[block]
            left = rows - self._inference.reconstruct(rows, self.n_components_, some)
            out[block] = left if columns is None else columns.left(left)
        return in_frame_like(X, out, _check_feature_names_in(self))

    def components_at(self, X, exposure=None):
        """Differentiate the reconstruction by the codes, at each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        exposure : array-like of shape (n_samples,) or None, default=None
            Exposures of rows of counts, if `fit` was given exposures.

        Returns
        -------
        jacobian : ndarray of shape (n_samples, n_components_, n_features_in_)
            Derivative of each feature of the reconstruction (of a feature of categories the
            length of that of their probabilities), or with `standardize` of each
            standardized feature, with respect to each code as it is without `whiten`, at
            the code of each row of X. It is that before features are held at ends, see
            `clip`: where one is, its reconstruction does not change. At the mean code these
            vectors, scaled to unit length, are `components_`. Of counts with exposures they
            are derivatives of the logarithm that the encoder sees, see `exposure`.
        """
        check_is_fitted(self)
        X = check_table(self, X, reset=False, dtype=np.float64)
        exposed = exposed_rows(self, X, exposure)
        Z = self._inference.encode(X, self.n_components_, exposed)
        Z /= self._inference.code_scale
        jacobian, columns = self._inference.jacobian(Z), columns_of(self)
        return jacobian if columns is None else columns.lengths(jacobian)

    def get_covariance(self):
        """Compute the covariance of the data under the linear Gaussian model of the codes.

        With `standardize` it is that of standardized features.

        Returns
        -------
        cov : ndarray of shape (n_features, n_features)
            Covariance of probabilistic PCA (Tipping and Bishop 1999):
            components_.T @ S @ components_ + noise_variance_ * I, where S is diagonal
            and holds explained_variance_ - noise_variance_, or zero if that is negative.
        """
        check_is_fitted(self)
        if columns_of(self) is not None:
            raise ValueError(
                f"get_covariance of {type(self).__name__} is for tables of numbers, and "
                "the fit had columns of categories."
            )
        excess = np.maximum(self.explained_variance_ - self.noise_variance_, 0.0)
        covariance = (self.components_.T * excess) @ self.components_
        covariance.flat[:: len(covariance) + 1] += self.noise_variance_
        return covariance

    def get_precision(self):
        """Compute the inverse of `get_covariance()`.

        Returns
        -------
        precision : ndarray of shape (n_features, n_features)
            Inverse of the covariance, or its pseudo-inverse if `noise_variance_` is zero
            and there are fewer components than features.
        """
        return linalg.pinvh(self.get_covariance())

    def diagnose(self, X=None):
        """List what is worth knowing about the fit, with a remedy for each finding.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Rows in the order in which they were measured, such as the training data. At
            most the first 10 000 are examined. Without them only training and codes are.

        Returns
        -------
        findings : list
            Each finding has the attributes `name`, `evidence` and `remedy`. The list is
            printed one finding after another, and its method `records` returns a list of
            dicts, for a frame. It is empty if there is nothing to report.

            - Training: it ended as PCA, and why; it ended at `max_epochs` or `time_limit`
              while the held-out error was falling; rows were memorised, so that the
              held-out error is four times that of training or more.
            - The model: codes that do not vary, or that carry nothing in a density; codes
              that are alike (needs X); a reconstruction that is constant; one column that
              holds nine tenths of the variance because of its units.
            - Rows (need X): many that repeat; neighbouring rows whose residuals are
              correlated, so that held-out rows are not independent; a mean that is far
              from that of the fit; cells at 0 and 1 under "binary_cross_entropy".

        Examples
        --------
        >>> from sklearn.datasets import load_wine
        >>> from skae import AutoencoderTransformer
        >>> X, _ = load_wine(return_X_y=True)
        >>> AutoencoderTransformer(2, random_state=0).fit(X).diagnose()[0].name
        'one column is the loss'
        """
        check_is_fitted(self)
        X = None if X is None else check_table(self, X, reset=False)
        return diagnosis.diagnose(self, X)
