"""The walk of X through fit, transform, inverse_transform and score."""

import contextlib
import copy

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from skae._compat import (
    _fit_context,
    draw_seed,
    make_generator,
    resolve_device,
    seeded_scope,
)
from skae._net import Interrupted, build_net, decode, encode, reconstruct
from skae._pca import location_and_scale, scaled
from skae._training import Recipe, Training
from skae.losses import LOSSES

__all__ = ["BaseAutoencoder"]

FLOATS = [np.float64, np.float32]
BATCH = 2**21  # values of X that a batch of transform holds


class BaseAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What every autoencoder of the package does with X.

    A subclass has a parameter table, an `__init__`, and two hooks:
    `_check_widths(n_samples, n_features)` sets `n_components_` and
    `hidden_layer_sizes_`; `_make_module(n_inputs, n_outputs, generator)` returns the
    untrained network.
    """

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Fit the model to X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training data.
        y : None
            Ignored.

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
        self._check_widths(*X.shape)
        self.device_ = resolve_device(self.device)
        seed = draw_seed(self.random_state)
        initial = self._initial(X)
        if initial is None:
            self.mean_, self.scale_ = location_and_scale(X, self.standardize)
        with seeded_scope(seed) if self.module is not None else contextlib.nullcontext():
            self._train(X, seed, initial)
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
        return self._in_batches(self._encode, X, self.n_components_)

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
        return self._in_batches(self._decode, Z, self.n_features_in_)

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
        return self._in_batches(self._row_scores, X, None).astype(np.float64)

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

    def _train(self, X, seed, initial):
        loss = LOSSES[self.loss]
        # Small tables stay in float64 until their principal axes are known.
        dtype = np.float64 if X.size < BATCH else np.float32
        X_scaled = scaled(X, self.mean_, self.scale_, dtype)
        target = X_scaled if loss.of_scaled else X
        training = Training(X_scaled, target, loss, self._recipe(), seed, self.device_)
        try:
            net = training.run(self._make_module, initial)
        except Interrupted as interrupt:
            raise KeyboardInterrupt from interrupt
        unit = np.float64(1 / X.shape[1])
        if loss.of_scaled and not self.standardize:
            with np.errstate(over="ignore", under="ignore"):
                unit *= np.square(self.scale_)
        self.n_samples_ = X.shape[0]
        self.n_iter_ = training.n_iter
        self.best_epoch_ = training.best_epoch
        self.loss_curve_ = [unit * error for error in training.train_errors]
        self.validation_curve_ = [unit * error for error in training.held_out_errors]
        self.pca_score_ = -unit * training.pca_error
        self._fitted_widths = self._widths(X)
        self._set_net(net)

    def _recipe(self):
        names = set(Recipe.__dataclass_fields__) & set(self.get_params(deep=False))
        params = {name: getattr(self, name) for name in names}
        params["n_components"] = self.n_components_
        is_ours = self.module is None
        return Recipe(is_ours=is_ours, from_pca=is_ours and self.init == "pca", **params)

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

    def _set_net(self, net):
        self.net_ = net
        double = copy.deepcopy(net.module_).double()
        self._modules = {torch.float32: net.module_, torch.float64: double}
        self._n_features_out = self.n_components_

    # -- inference ---------------------------------------------------------------------

    def _in_batches(self, step, array, n_columns):
        """`step` of the rows of `array`, written into one array, batch by batch."""
        shape = (len(array),) if n_columns is None else (len(array), n_columns)
        out = np.empty(shape, dtype=array.dtype)
        n_rows = max(1, BATCH // max(self.n_features_in_, self.n_components_))
        with torch.inference_mode():
            for i in range(0, len(array), n_rows):
                out[i : i + n_rows] = step(array[i : i + n_rows])
        return out

    def _encode(self, X):
        """Codes (n, k) of X (n, p), both arrays of one dtype."""
        Z = self._run(encode, (X - self.mean_) / self.scale_, X.dtype)
        return Z * self._code_scale

    def _decode(self, Z):
        """Reconstruction (n, p) of the codes Z (n, k), both arrays of one dtype."""
        return self._reconstruct(self._run(decode, Z / self._code_scale, Z.dtype))

    def _reconstruct(self, output):
        loss = LOSSES[self.loss]
        if not loss.of_scaled:
            return loss.inverse_link(torch.from_numpy(output)).numpy()
        return output * self.scale_ + self.mean_

    def _row_scores(self, X):
        """Minus the mean error of each row (n,) of X (n, p)."""
        loss = LOSSES[self.loss]
        scaled_X = ((X - self.mean_) / self.scale_).astype(X.dtype)
        output = torch.from_numpy(self._run(reconstruct, scaled_X, X.dtype))
        if not loss.of_scaled:
            goal = torch.from_numpy(np.require(X, requirements=["C", "W"]))
            return -loss.function(output, goal).numpy() / X.shape[1]
        residual = (output.numpy() - scaled_X) * self.scale_
        with np.errstate(over="ignore"):
            return -np.square(residual).mean(axis=1)

    def _run(self, step, array, dtype):
        """step(network, array) in `dtype`, on the device."""
        array = np.ascontiguousarray(array, dtype=dtype)
        tensor = torch.from_numpy(array)
        module = self._modules[tensor.dtype]
        return step(module, tensor.to(self.device_)).cpu().numpy()

    @property
    def _code_scale(self):
        """Codes are in the units of X, unless its features have units of their own."""
        return 1.0 if self.standardize else self.scale_

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
            del state["_modules"], state["device_"]
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
            self._set_net(self._net_of(module))
