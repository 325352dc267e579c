"""The walk of X through fit, transform, inverse_transform and score."""

import contextlib
import copy

import numpy as np
import torch
from scipy import linalg
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from skae._codes import SMALLEST, canonical_map, decoder_jacobian, explained_shares
from skae._compat import (
    _fit_context,
    draw_seed,
    in_container,
    make_generator,
    resolve_device,
    seeded_scope,
)
from skae._net import Interrupted, build_net, decode, encode, reconstruct
from skae._pca import location_and_scale, scaled
from skae._training import Recipe, Training, fewest_components
from skae.losses import LOSSES

__all__ = ["BaseAutoencoder"]

FLOATS = [np.float64, np.float32]
DESCRIBED_ROWS = 4096  # evenly spaced, that explained variance is computed from
BATCH = 2**21  # values of X that a batch of transform holds


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
        X_hat = self._in_batches(self._decode, Z, self.n_features_in_)
        return in_container(self, X_hat, self._feature_names_in(), X)

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
        Z = self._in_batches(self._encode, X, True) / self._code_scale
        return self._jacobian(Z)

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

    def _train(self, X, X_val, seed, initial):
        loss = LOSSES[self.loss]
        # Small tables stay in float64 until their principal axes are known.
        dtype = np.float64 if X.size < BATCH else np.float32
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
        unit = np.float64(1 / X.shape[1])
        if loss.of_scaled and not self.standardize:
            with np.errstate(over="ignore", under="ignore"):
                unit *= np.square(self.scale_)
        self.n_components_ = training.recipe.n_components
        self.n_samples_ = X.shape[0]
        self.n_iter_ = training.n_iter
        self.best_epoch_ = training.best_epoch
        self.loss_curve_ = [unit * error for error in training.train_errors]
        self.validation_curve_ = [unit * error for error in training.held_out_errors]
        self.pca_score_ = -unit * training.pca_error
        self._fitted_widths = self._widths(X)
        self._set_net(net)
        is_pca = training.is_pca(initial)
        if not is_pca and self.module is None and self.code_activation == "identity":
            self._canonize(X_scaled)
        self._describe_codes(X, X_scaled, training.starts[-1].variances if is_pca else None)

    @property
    def _wants_share(self):
        return self.n_components is not None and 0 < self.n_components < 1

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

    # -- codes -------------------------------------------------------------------------

    def _canonize(self, X):
        """Fold a map into the network that makes its codes for X canonical."""
        module = self._modules[torch.float64]
        Z = self._in_batches(lambda rows: self._run(encode, rows, rows.dtype), X, True)

        def jacobian(z):
            z = torch.from_numpy(z[None]).to(self.device_)
            return decoder_jacobian(module.decode, z)[0].cpu().numpy()

        weight, mean = canonical_map(Z.astype(np.float64), X, jacobian)
        weight = torch.from_numpy(weight).to(self.device_)
        mean = torch.from_numpy(mean).to(self.device_)
        module.encoder.absorb_output(weight, -weight @ mean)
        module.decoder.absorb_input(torch.linalg.inv(weight), mean)
        self.net_.module_.load_state_dict(module.state_dict())

    def _describe_codes(self, X, X_scaled, pca_variances):
        """Set the attributes about codes and variance.

        `pca_variances` are those of all principal components, in scaled units, where
        the model is PCA, else None.
        """
        n_samples, unit = len(X), np.max(self.scale_)
        Z = self._in_batches(
            lambda rows: self._run(encode, rows, rows.dtype), X_scaled, True
        )
        self._mean_code = Z.mean(axis=0, dtype=np.float64)
        self._code_deviations = Z.std(axis=0, ddof=1, dtype=np.float64)

        def reconstruct_centred(C):
            output = self._run(decode, C + self._mean_code, np.float64)
            return (self._reconstruct(output) - self.mean_) / unit

        if pca_variances is None:
            some = slice(None, None, -(-n_samples // DESCRIBED_ROWS))
            C, goal = Z[some] - self._mean_code, (X[some] - self.mean_) / unit
            shares = explained_shares(reconstruct_centred, C, goal)
        else:
            shares = pca_variances[: self.n_components_] / (pca_variances.sum() or 1.0)
        total = np.square(X_scaled * (self.scale_ / unit)).sum(dtype=np.float64)
        total /= n_samples - 1
        left = min(X.shape) - self.n_components_
        with np.errstate(over="ignore", under="ignore"):
            total *= np.square(np.float64(unit))
        self.explained_variance_ratio_ = shares
        self.explained_variance_ = shares * total
        self.singular_values_ = unit * np.sqrt(
            shares * (n_samples - 1) * (total / unit / unit)
        )
        self.noise_variance_ = float((1 - shares.sum()) * total / left) if left > 0 else 0.0
        self.components_ = self._jacobian(self._mean_code[None])[0]
        lengths = np.linalg.norm(self.components_, axis=1, keepdims=True)
        self.components_ /= np.where(lengths == 0, 1.0, lengths)

    def _jacobian(self, Z):
        """Derivatives (n, k, p) of the reconstruction at codes (n, k) of the network."""
        module, loss = self._modules[torch.float64], LOSSES[self.loss]

        def output(Z):
            link = loss.inverse_link or (lambda output: output)
            return link(module.decode(Z))

        jacobian = decoder_jacobian(output, torch.from_numpy(Z).to(self.device_))
        jacobian = jacobian.cpu().numpy()
        return jacobian * (self.scale_ / self._code_unit) if loss.of_scaled else jacobian

    # -- inference ---------------------------------------------------------------------

    def _in_batches(self, step, array, n_columns):
        """`step` of the rows of `array`, written into one array, batch by batch."""
        n_columns = self.n_components_ if n_columns is True else n_columns
        shape = (len(array),) if n_columns is None else (len(array), n_columns)
        out = np.empty(shape, dtype=array.dtype)
        n_rows = max(1, BATCH // max(self.n_features_in_, self.n_components_))
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
        with torch.inference_mode():
            return step(module, tensor.to(self.device_)).cpu().numpy()

    @property
    def _code_unit(self):
        """Codes are in the units of X, unless its features have units of their own."""
        return 1.0 if self.standardize else self.scale_

    @property
    def _code_scale(self):
        """What the network's codes are multiplied by: a number, or (k,) to whiten."""
        if not self.whiten:
            return self._code_unit
        least = SMALLEST * self._code_deviations.max()
        return 1 / np.where(self._code_deviations > least, self._code_deviations, 1.0)

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
