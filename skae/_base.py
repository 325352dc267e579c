"""The walk of X through fit, transform, inverse_transform and score."""

import contextlib
import copy

import numpy as np
import torch
from scipy import linalg
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from skae._codes import describe
from skae._compat import (
    _fit_context,
    draw_seed,
    in_container,
    make_generator,
    resolve_device,
    seeded_scope,
)
from skae._inference import Inference
from skae._net import Interrupted, build_net
from skae._pca import location_and_scale, scaled
from skae._training import Recipe, Training, fewest_components
from skae.losses import LOSSES

__all__ = ["BaseAutoencoder"]

FLOATS = [np.float64, np.float32]
SMALL = 2**21  # values; so many or fewer stay in float64 while training is prepared
SMALLEST = 1e-6  # deviation of a code that is whitened, as a share of the largest


class BaseAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What every autoencoder of the package does with X.

    A subclass has a parameter table, an `__init__`, and two hooks:
    `_check_widths(n_samples, n_features)` sets `n_components_` and
    `hidden_layer_sizes_`; `_make_module(n_inputs, n_outputs, generator)` returns the
    untrained network.
    """

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, X_val=None):
        """Fit the model to X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training data.
        y : None
            Ignored.
        X_val : array-like of shape (n_held_out, n_features) or None, default=None
            Held-out rows of your own: they choose the epoch, with every row of X
            training. In a Pipeline the steps before must transform them too, see
            `sklearn.pipeline.Pipeline(transform_input=["X_val"])`.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X has fewer than two rows, is not finite, lies outside the range of the
            loss, or is too small for `n_components`.
        """
        X = validate_data(self, X, dtype=FLOATS, ensure_min_samples=2)
        self._check_range(X)
        if X_val is not None:
            if not self.early_stopping:
                raise ValueError(
                    f"X_val of {type(self).__name__}.fit chooses the epoch, and "
                    "early_stopping=False keeps the last one. Leave out X_val or set "
                    "early_stopping=True."
                )
            X_val = validate_data(self, X_val, dtype=X.dtype, reset=False)
            self._check_range(X_val)
        self._check_widths(*X.shape)
        self.device_ = resolve_device(self.device)
        seed = draw_seed(self.random_state)
        initial = self._initial(X)
        if initial is None:
            self.mean_, self.scale_ = location_and_scale(X, self.standardize)
        with seeded_scope(seed) if self.module is not None else contextlib.nullcontext():
            self._train(X, X_val, seed, initial)
        return self

    def transform(self, X):
        """Codes of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New data.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components_)
            float32 for float32 X, float64 for everything else; computed in that
            precision. Where training gained nothing these are PCA's scores.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=FLOATS, reset=False)
        return self._inference.encode(X, self.n_components_)

    def inverse_transform(self, X):
        """Reconstruction from codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components_)
            Codes.

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features_in_)
            In the units of the training data; probabilities for
            `loss="binary_cross_entropy"`.
        """
        check_is_fitted(self)
        Z = check_array(X, dtype=FLOATS, input_name="X")
        if Z.shape[1] != self.n_components_:
            raise ValueError(
                f"X has {Z.shape[1]} columns, but inverse_transform of "
                f"{type(self).__name__} takes codes: it expects "
                f"{self.n_components_} columns, one for each component."
            )
        return in_container(self, self._inference.decode(Z), self._feature_names_in(), X)

    def components_at(self, X):
        """What a code does to the reconstruction, near each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        jacobian : ndarray of shape (n_samples, n_components_, n_features_in_)
            Derivative of each feature of the reconstruction by each code, as it is
            without `whiten`, at the code of each row. At the mean code its rows, brought
            to unit length, are `components_`.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        Z = self._inference.encode(X, self.n_components_) / self._inference.code_scale
        return self._inference.jacobian(Z)

    def get_covariance(self):
        """Covariance of the data under the linear Gaussian model of the codes.

        Returns
        -------
        cov : ndarray of shape (n_features, n_features)
            components_.T @ S @ components_ + noise_variance_ * I, where S is diagonal
            and holds explained_variance_ - noise_variance_, or zero where that is
            negative: the covariance of probabilistic PCA (Tipping and Bishop 1999).
        """
        check_is_fitted(self)
        excess = np.maximum(self.explained_variance_ - self.noise_variance_, 0.0)
        covariance = (self.components_.T * excess) @ self.components_
        covariance.flat[:: len(covariance) + 1] += self.noise_variance_
        return covariance

    def get_precision(self):
        """Inverse of `get_covariance()`.

        Returns
        -------
        precision : ndarray of shape (n_features, n_features)
            The pseudo-inverse where `noise_variance_` is zero and there are fewer
            components than features.
        """
        return linalg.pinvh(self.get_covariance())

    def score_samples(self, X):
        """Minus the reconstruction error of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        score : ndarray of shape (n_samples,)
            Minus the mean over the features of the squared error in the units of X, or
            of the chosen loss. Higher is better.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=FLOATS, reset=False)
        self._check_range(X)
        return self._inference.row_scores(X)

    def score(self, X, y=None):
        """Mean of `score_samples`: minus the mean reconstruction error.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : None
            Ignored.

        Returns
        -------
        score : float
            Higher is better; 0 is a perfect reconstruction. Unlike `PCA.score` it is no
            log-likelihood.
        """
        return float(np.mean(self.score_samples(X)))

    # -- training ----------------------------------------------------------------------

    def _check_range(self, X):
        low, high = LOSSES[self.loss].bounds
        if low == -np.inf and high == np.inf:
            return
        outside = ~((X.min(axis=0) >= low) & (X.max(axis=0) <= high))
        if outside.any():
            j = int(outside.argmax())
            raise ValueError(
                f"loss={self.loss!r} of {type(self).__name__} takes values in "
                f"[{low:g}, {high:g}], but feature {j} of X has values in "
                f"[{X[:, j].min():g}, {X[:, j].max():g}]. Scale X with "
                "MinMaxScaler(clip=True) or use loss='squared_error'."
            )

    def _initial(self, X):
        """The network to go on from when `warm_start` is set and there is one."""
        if not (self.warm_start and hasattr(self, "net_")):
            return None
        widths = self._widths(X)
        if widths != self._fitted_widths:
            raise ValueError(
                f"warm_start=True of {type(self).__name__} goes on with a network of "
                f"(n_features, n_components, hidden_layer_sizes) = {self._fitted_widths}, "
                f"but this fit asks for {widths}. Set warm_start=False to start anew."
            )
        return copy.deepcopy(self.net_.module_)

    def _widths(self, X):
        return X.shape[1], self.n_components_, self.hidden_layer_sizes_

    def _train(self, X, X_val, seed, initial):
        loss = LOSSES[self.loss]
        # Small tables stay in float64 until their principal axes are known.
        dtype = np.float64 if X.size <= SMALL else np.float32
        rows = X if X_val is None else np.concatenate([X, X_val])
        everything = scaled(rows, self.mean_, self.scale_, dtype)
        X_scaled = everything[: len(X)]
        target = everything if loss.of_scaled else rows

        def prepare(n_components):
            self.n_components_ = n_components
            data = everything, target, loss
            n_held_out = len(rows) - len(X)
            return Training(*data, self._recipe(), seed, self.device_, n_held_out)

        def run(training):
            return training, training.run(self._make_module, initial)

        try:
            if self._wants_share:
                training, net = fewest_components(prepare, run, self.n_components)
            else:
                training, net = run(prepare(self.n_components_))
        except Interrupted as interrupt:
            raise KeyboardInterrupt from interrupt
        self.n_components_ = training.recipe.n_components
        self.net_ = net
        self._read_curves(training, X)
        self._read_codes(training, X, X_scaled, initial)

    def _read_curves(self, training, X):
        """Attributes about the course of training, in the units of `score`."""
        unit = np.float64(1 / X.shape[1])
        if training.loss.of_scaled and not self.standardize:
            with np.errstate(over="ignore", under="ignore"):
                unit *= np.square(self.scale_)
        self.n_samples_ = X.shape[0]
        self.n_iter_ = training.n_iter
        self.best_epoch_ = training.best_epoch
        self.loss_curve_ = [unit * error for error in training.train_errors]
        self.validation_curve_ = [unit * error for error in training.held_out_errors]
        self.pca_score_ = -unit * training.pca_error

    def _read_codes(self, training, X, X_scaled, initial):
        """Attributes about codes, made canonical where the network has changed."""
        self._fitted_widths = self._widths(X)
        self._n_features_out = self.n_components_
        inference = self._make_inference()
        is_pca = training.is_pca(initial)
        is_as_it_was = initial is not None and self.best_epoch_ == 0
        is_linear_code = self.module is None and self.code_activation == "identity"
        if is_linear_code and not (is_pca or is_as_it_was):
            inference.canonize(X_scaled, self.n_components_)
        variances = training.starts[-1].variances if is_pca else None
        attributes = describe(inference, X, X_scaled, self.n_components_, variances)
        vars(self).update(attributes)
        self._set_inference(inference)

    @property
    def _wants_share(self):
        return self.n_components is not None and 0 < self.n_components < 1

    def _recipe(self):
        names = set(Recipe.__dataclass_fields__) & set(self.get_params(deep=False))
        params = {name: getattr(self, name) for name in names}
        params["n_components"] = self.n_components_
        is_ours = self.module is None
        from_pca = is_ours and self.init == "pca"
        is_linear = not self.hidden_layer_sizes_
        return Recipe(is_ours=is_ours, from_pca=from_pca, is_linear=is_linear, **params)

    def _net_of(self, module):
        """An initialized net around a trained module."""
        recipe = self._recipe()
        net = build_net(
            module,
            LOSSES[self.loss],
            seed=0,
            device=self.device_,
            callbacks=recipe.callbacks,
            weight_decay=recipe.weight_decay,
            lr=recipe.lr,
            verbose=0,
        )
        net.initialize().module_.eval()
        net.verbose = recipe.verbose
        return net

    # -- inference ---------------------------------------------------------------------

    def _make_inference(self):
        """The network in the units of X; with `standardize` codes have no unit."""
        unit = 1.0 if self.standardize else self.scale_
        of_net = self.net_.module_, LOSSES[self.loss]
        return Inference(*of_net, self.mean_, self.scale_, unit, self.device_)

    def _set_inference(self, inference):
        if self.whiten:
            deviations = self._code_deviations
            varies = deviations > SMALLEST * deviations.max()
            inference.code_scale = 1 / np.where(varies, deviations, 1.0)
        self._inference = inference

    def _feature_names_in(self):
        generic = [f"x{j}" for j in range(self.n_features_in_)]
        return getattr(self, "feature_names_in_", np.array(generic, dtype=object))

    # -- scikit-learn ------------------------------------------------------------------

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")

    def __getstate__(self):
        """Of the net only weights are kept, as arrays: no device, no optimizer.

        A user's module is kept whole, on the CPU, for we cannot make it anew.
        """
        state = super().__getstate__().copy()
        if "net_" in state:
            module = copy.deepcopy(self.net_.module_).cpu()
            arrays = {name: array.numpy() for name, array in module.state_dict().items()}
            state["net_"] = arrays if self.module is None else module
            del state["_inference"], state["device_"]
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if "net_" in state:
            self.device_ = resolve_device(self.device, strict=False)
            module = state["net_"]
            if self.module is None:
                # A copy: joblib may hand out read-only maps of a file.
                arrays = {name: torch.tensor(array) for name, array in module.items()}
                module = self._make_module(
                    self.n_features_in_, self.n_features_in_, make_generator(0)
                )
                module.load_state_dict(arrays)
            self.net_ = self._net_of(module)
            self._set_inference(self._make_inference())
