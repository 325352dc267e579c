"""The base class of autoencoders: fit, transform, inverse_transform, score and more."""

import copy
import os
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import check_array
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import (
    _check_feature_names_in,
    _check_sample_weight,
    check_is_fitted,
)

from skae._autoencoders import fitting
from skae._autoencoders.before_training import wants_share
from skae._autoencoders.exposures import (
    check_no_exposure,
    exposed_codes,
    exposed_rows,
)
from skae._autoencoders.fitted_attributes import restore
from skae._autoencoders.inspection import InspectionMixin
from skae._autoencoders.lazy import lazily
from skae._autoencoders.parameters import params_of_fit, takes
from skae._autoencoders.rollback import as_before_on_error
from skae._autoencoders.saving import parts_of_file
from skae._compat import (
    Hidden,
    Interval,
    RealNotInt,
    StrOptions,
    _fit_context,
    in_container,
)
from skae._engine.callbacks import CallbackSupportMixin, FitTasks
from skae._engine.distributed import processes
from skae._engine.skorch_net import Interrupted, StopTraining
from skae._files.container import write_model
from skae._tables.blocks import is_dask
from skae._tables.categories import columns_of
from skae._tables.checks import FLOATS, check_features, check_rows, check_table
from skae._tables.rows import row_blocks, rows_of
from skae._tables.sample_shape import resolved_shape
from skae._torch import in_own_modes, resolve_device
from skae._training.messages import interrupted, warn_of_target, warn_of_units
from skae.losses import LOSSES
from skae.modules import ACTIVATIONS
from skae.modules._own import make_own

__all__ = ["BaseAutoencoder"]


def _is_streamable(estimator):
    """Whether the network can be trained on a stream, where its units change."""
    if estimator._has_streams:
        return True
    raise AttributeError(
        f"{type(estimator).__name__} has no partial_fit, because the variances in its "
        "likelihood are in units that would change with every chunk. Call fit, with an "
        "np.memmap or an array of h5py or zarr if the rows do not fit into memory."
    )


class BaseAutoencoder(
    InspectionMixin,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Base class of the autoencoders of the package.

    A subclass has a docstring, and an `__init__` that takes the parameters in the table
    below and its own. It adds its own parameters to `_parameter_constraints`, and to
    `_network_parameters` those that decide which network is made. It has the three hooks
    `_decide_widths`, `_network_kind` and `_make_module`.

    There are more than twenty methods because the public ones are those of PCA, of
    scikit-learn's estimators and of pickles; each checks its arguments and delegates.
    """

    # All parameters of a subclass that this class reads.
    _parameter_constraints: dict = {
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            Hidden(StrOptions({"mle"})),
            None,
        ],
        "init": [StrOptions({"pca", "random"})],
        "loss": [StrOptions(set(LOSSES)), callable, dict],
        "exposure": [StrOptions({"auto", "total"}), None],
        "code_activation": [StrOptions(set(ACTIVATIONS))],
        "ordered": ["boolean"],
        "whiten": ["boolean"],
        "standardize": ["boolean"],
        "clip": ["boolean", Hidden(StrOptions({"auto"}))],
        "allow_nan": ["boolean"],
        "sample_shape": [tuple, list, None],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "handle_unknown": [StrOptions({"error", "ignore"})],
        "tied_weights": ["boolean"],
        "noise": [Interval(Real, 0, None, closed="left"), callable, None],
        "regularizer": [callable, list, tuple, None],
        "weight_decay": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "early_stopping": ["boolean"],
        "cv": ["cv_object", StrOptions({"auto"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "lr": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "module": [callable, None],
        "callbacks": [list, None],
        "checkpoint": [str, os.PathLike, None],
        "device": [str, torch.device],
        "distributed": ["boolean"],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }
    # Parameters that decide which network is made, or in which units it works. A network
    # that was made with other values cannot be trained further. A subclass adds its own.
    _network_parameters: tuple = (
        "allow_nan",
        "categorical_features",
        "code_activation",
        "exposure",
        "init",
        "loss",
        "module",
        "ordered",
        "sample_shape",
        "standardize",
        "tied_weights",
    )
    # Parameters in the table that a subclass does not take. Their values are attributes of
    # the subclass, and methods that serve them alone are missing.
    _fixed_parameters: tuple = ()
    _has_streams = True  # whether there is `partial_fit`

    def _decide_widths(self, n_samples, n_features, n_expected=None):
        """Check the parameters of the layers, and decide the widths of the layers.

        Parameters
        ----------
        n_samples, n_features : int
        n_expected : int or None
            Rows that the network is to learn from, where these are but the first of them.

        Returns
        -------
        n_components : int
            Width of the code; 1 if `n_components` is a share of the variance.
        hidden_layer_sizes : tuple of int
        """
        raise NotImplementedError

    @property
    def _network_kind(self):
        """The subclass of `Network` that the fit used, or is going to use."""
        raise NotImplementedError

    def _make_module(self, n_inputs, n_outputs, generator):
        """Return an untrained network with `n_components_` codes.

        Only `_params_of_fit` and the fitted attributes that are set before training decide
        which network it is, so that a copy of the estimator can make the same network.

        Parameters
        ----------
        n_inputs, n_outputs : int
            Widths of the input and of the reconstruction, which the network has to make
            wider by the constants of `_loss`. They differ from the number of features if
            the network works in principal axes or is told which cells are missing.
        generator : torch.Generator or None
            Generator from which the weights are drawn. None leaves them as they are
            allocated.

        Returns
        -------
        Network
        """
        raise NotImplementedError

    @property
    def _n_codes(self):
        """Number of codes of the network before any was left out."""
        return self.n_components_ + self._n_left_out

    def _make_own(self, n_features, n_outputs, generator):
        """Return an untrained network of the user's.

        Parameters
        ----------
        n_features, n_outputs : int
            Widths of its rows and of its output.
        generator : torch.Generator or None
            See `_make_module`.
        """
        return make_own(
            self._params_of_fit["module"],
            n_features=n_features,
            n_components=self._n_codes,
            n_outputs=n_outputs,
            device=resolve_device(self.device, strict=False),
            owner=type(self).__name__,
            seed=0 if generator is None else generator.initial_seed(),
            numbers_per_code=2 if self._network_kind.is_variational else 1,
        )

    @property
    def is_convolutional_(self):
        """Whether the corrections are convolutions, see `sample_shape`."""
        params = self._params_of_fit
        has_shape = params["sample_shape"] is not None and params["module"] is None
        return has_shape and not getattr(self, "_is_dense", False)

    @property
    def sample_shape_(self):
        """The parameter `sample_shape` of the fit, without -1."""
        shape = self._params_of_fit["sample_shape"]
        return resolved_shape(shape, self.n_features_in_, type(self).__name__)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X,
        y=None,
        sample_weight=None,
        *,
        groups=None,
        X_val=None,
        X_target=None,
        exposure=None,
    ):
        """Fit the model to X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data: an array, or a frame of pandas or polars. A large `np.memmap`,
            and anything else that has a shape, a dtype and slices of rows, such as arrays
            of h5py and zarr, is read block by block; rows of a large sparse matrix are
            made dense a batch at a time. Tables that are read in parts may have missing
            cells in every other method, but not here: pass them to `partial_fit` in chunks.
            The blocks of a large dask array or frame are computed once in each epoch, and
            up to five times besides, by whatever scheduler is active.
        y : array-like of shape (n_samples,) or None, default=None
            Labels that are passed to the splitter `cv`, which may be a
            `StratifiedKFold`; otherwise ignored.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the rows in the loss, the mean, the scale and PCA. A weight of zero
            leaves a row out. In a table of up to 1000 rows, whole numbers repeat rows.
        groups : array-like of shape (n_samples,) or None, default=None
            Labels of rows that depend on each other, such as measurements of one person.
            Rows with the same label are all trained on or all held out. For equal rows
            this holds without labels. `cv` gets the labels too.
        X_val : array-like of shape (n_held_out, n_features) or None, default=None
            Held-out rows of your own. They choose the epoch, and all rows of X are
            trained on. In a Pipeline the steps before must transform them too, see
            `sklearn.pipeline.Pipeline(transform_input=["X_val"])`.
        X_target : array-like of shape (n_samples, n_features) or None, default=None
            Targets of the rows of X, such as clean versions of noisy rows. Mean, scale and
            PCA are then those of `X_target`.
        exposure : array-like of shape (n_samples,) or None, default=None
            Exposures of rows of counts: the time, the area or the effort in which they were
            counted, or the number of people among whom. Rates are in proportion to it. The
            methods that take rows then need the exposures of these. None leaves it to the
            parameter `exposure`.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X has fewer than two rows, is not finite, lies outside the range of the
            loss, or is too small for `n_components`.
        DivergenceError
            If training ends in numbers that are not finite and there are no earlier
            weights to go back to.
        MemoryError
            If the memory of the CPU or of the device is not sufficient.
        KeyboardInterrupt
            On Ctrl-C. The estimator is then as it was before the call. With
            `warm_start=True`, once training has begun, it is fitted instead, with the best
            epoch so far.

        Warns
        -----
        ConvergenceWarning
            If training ends in numbers that are not finite and earlier weights are kept,
            or if it reaches a `max_epochs` of your own while the error was still falling.
        UserWarning
            If y has the shape of X, because targets of the rows of X are passed as
            `X_target`.
        """
        warn_of_target(self, X, y, "fit")
        try:
            self._fit(X, y, sample_weight, groups, X_val, X_target, exposure)
        except Interrupted as error:
            # A traceback through the engine would hide the user's frames.
            raise KeyboardInterrupt(interrupted(self, "fit", error.is_kept)) from None
        return self

    def _fit(
        self,
        X,
        y,
        sample_weight,
        groups,
        X_val=None,
        X_target=None,
        exposure=None,
        **how,
    ):
        """Fit the model, and return what `fitting.fit` returns, which also takes `how`.

        Ctrl-C in training raises `Interrupted`, which is for `fit` to turn into the
        exception that users see.
        """
        owner = type(self).__name__
        with as_before_on_error(self), processes(self.distributed, owner) as peers:
            tasks = FitTasks(self, X, y, is_search=wants_share(self))
            if peers.number:  # the first process reports to callbacks
                tasks.callbacks = []
            with in_own_modes(), tasks:
                return fitting.fit(
                    self,
                    X,
                    y,
                    sample_weight,
                    groups,
                    X_val,
                    X_target,
                    exposure,
                    tasks.callbacks,
                    peers=peers,
                    **how,
                )

    @available_if(_is_streamable)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None, *, groups=None, exposure=None):
        """Train on the next chunk of a stream.

        PCA is updated with every chunk, as in `IncrementalPCA`. Once the stream has 256
        rows, a network is trained beside it, on new rows together with rows of earlier
        chunks, so that a stream that is sorted or changes is not forgotten. A share
        `validation_fraction` of the rows is held out, and a sample of it from the whole
        stream so far decides which of the two is kept: the network once its error is
        certainly smaller than that of PCA, and for as long as its mean error is smaller;
        otherwise PCA of all rows. `mean_` and `scale_` are those of all rows as well. With
        `allow_nan=True`, or a `module` and `init="random"`, they are those of the rows that
        came before the network was first trained.

        Rows of small chunks wait until there are 512 of them, or an eighth of the number
        of rows before. Until then the model remains as it is.

        After `fit`, training goes on with the fitted network. PCA of the stream can replace
        it once the stream has as many rows as the fit had.

        From the 256th row on, codes keep their order and their signs, if the codes of one
        model can be recognised in those of the next.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows of the chunk. The first chunk needs at least `n_components` rows.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the rows, which are comparable between chunks.
        groups : array-like of shape (n_samples,) or None, default=None
            Labels of rows that depend on each other, numbers or strings. Rows with the same
            label are either all trained on or all held out, in all chunks. The same is
            true of equal rows, without labels.
        exposure : array-like of shape (n_samples,) or None, default=None
            Exposures of rows of counts, see `fit`. Either all chunks have them or none. The
            typical exposure is that of the first chunk.

        Returns
        -------
        self : object
            The fitted estimator. `n_samples_seen_` counts the rows of all chunks and of a
            fit before them, and `n_samples_` those rows that the model was updated with.
            `n_iter_` counts the rounds of training. Each round has an entry in
            `loss_curve_` and `validation_curve_`, which is NaN if no row was held out yet.
            `best_epoch_` is the round whose network is kept, and 0 stands for PCA.

        Raises
        ------
        ValueError
            For the same reasons as in `fit`, if `n_components` is a share of the variance,
            or if the first chunk has fewer rows than there are components.
        DivergenceError
            If training ends in numbers that are not finite, and neither PCA nor an earlier
            network can be kept instead.
        KeyboardInterrupt
            On Ctrl-C, or if a callback raises it.

        Warns
        -----
        UserWarning
            If y has the shape of X, see `fit`.

        Notes
        -----
        The estimator keeps up to 2**22 values of rows for further training and up to 2**20
        values of held-out rows, which are 40 MB in float64; the state of the optimizer; and
        a matrix with n_features columns, which is square up to 256 features and has
        2 * n_components + 64 rows above. Pickles and copies contain all of this, and
        continue in the same way. A file written by `save` contains the model alone, and
        continues as after `fit`. Callbacks for epochs are not called. A call takes one pass
        over its rows, whatever `max_epochs` and `time_limit` are.
        """
        warn_of_target(self, X, y, "partial_fit")
        try:
            with as_before_on_error(self), in_own_modes():
                fitting.partial_fit(self, X, sample_weight, groups, exposure)
        except (Interrupted, StopTraining):
            raise KeyboardInterrupt(interrupted(self, "partial_fit")) from None
        return self

    @property
    def dispersion_(self):
        """Dispersion of each feature with `loss="negative_binomial"`.

        The variance of a count of rate r is r + dispersion * r².
        """
        check_is_fitted(self)
        if self._params_of_fit["loss"] != "negative_binomial":
            raise AttributeError(
                f"{type(self).__name__} has no dispersion_, which is that of "
                "loss='negative_binomial'."
            )
        return self._inference.dispersion(self.n_components_)

    def fit_transform(self, X, y=None, **fit_params):
        """Fit the model to X, and encode X.

        Parameters
        ----------
        X, y : as in `fit`
        **fit_params
            Other arguments of `fit`; `exposure` is passed to `transform` too.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components_)
            Codes.
        """
        of_rows = {k: v for k, v in fit_params.items() if k == "exposure"}
        return self.fit(X, y, **fit_params).transform(X, **of_rows)

    def transform(self, X, exposure=None):
        """Encode X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New data.
        exposure : array-like of shape (n_samples,) or None, default=None
            Exposures of rows of counts, if `fit` was given exposures.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components_)
            Codes, in float32 for float32 X and in float64 for everything else, and
            computed in that precision. If training gained nothing these are PCA's scores.
            For a dask array or frame they are a dask array, of which nothing is computed
            yet. The same is true of the other methods that return something for each row.
        """
        check_is_fitted(self)
        if is_dask(X):
            check_no_exposure(self, exposure, "transform")
            return lazily(self, "transform", X, self.n_components_)
        X = check_table(self, X, reset=False)
        exposed = exposed_rows(self, X, exposure)
        return self._inference.encode(X, self.n_components_, exposed)

    def inverse_transform(self, X, exposure=None):
        """Decode codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components_)
            Codes. With `ordered=True` the last ones may be left out.
        exposure : array-like of shape (n_samples,) or None, default=None
            Exposures of rows of counts, such as their totals. None stands for the typical
            exposure of the training rows, which is their geometric mean.

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features_in_)
            Reconstruction, in the units of the training data, also with `standardize`.
            With `loss="binary_cross_entropy"` these are probabilities, and for counts they
            are rates. In columns of categories it is the most probable one, see
            `categorical_features`.
        """
        check_is_fitted(self)
        Z = X if is_dask(X) else check_array(X, dtype=FLOATS, input_name="X")
        is_cut = self._params_of_fit["ordered"] and Z.shape[1] < self.n_components_
        if Z.shape[1] != self.n_components_ and not is_cut:
            raise ValueError(
                f"X has {Z.shape[1]} columns, but inverse_transform of "
                f"{type(self).__name__} takes codes: it expects "
                f"{self.n_components_} columns, one for each component."
            )
        if is_dask(X):
            check_no_exposure(self, exposure, "inverse_transform")
            how = {"n_columns": self.n_features_in_, "takes_codes": True}
            return lazily(self, "inverse_transform", X, **how)
        exposed = exposed_codes(self, Z, exposure)
        return self._given_back(self._inference.decode(Z, exposed), X)

    def denoise(self, X, exposure=None):
        """Reconstruct X: `inverse_transform(transform(X))` in one call.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        exposure : array-like of shape (n_samples,) or None, default=None
            Exposures of rows of counts, if `fit` was given exposures.

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features)
            Reconstruction, in the units of X. For rows of counts with exposures these are
            rates of rows with the exposures of X, whereas `inverse_transform` returns those
            of typical rows.
        """
        check_is_fitted(self)
        if is_dask(X):
            check_no_exposure(self, exposure, "denoise")
            return lazily(self, "denoise", X, self.n_features_in_)
        index = X
        X = check_table(self, X, reset=False)
        exposed = exposed_rows(self, X, exposure)
        X_hat = self._inference.reconstruct(X, self.n_components_, exposed)
        return self._given_back(X_hat, index)

    @available_if(takes("allow_nan"))
    def impute(self, X, exposure=None):
        """Fill the missing cells of X with their reconstruction.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows with NaN where a value is missing. The other cells stay as they are;
            cells that a sparse matrix does not store are zero. As in `fit`, X may be larger
            than memory, but the result is one array.
        exposure : array-like of shape (n_samples,) or None, default=None
            Exposures of rows of counts, if `fit` was given exposures.

        Returns
        -------
        X_filled : ndarray of shape (n_samples, n_features)
            X with its missing cells filled, in the units of X.

        Raises
        ------
        ValueError
            If X has missing cells and the estimator was not fitted with `allow_nan`.
        """
        check_is_fitted(self)
        if is_dask(X):
            check_no_exposure(self, exposure, "impute")
            return lazily(self, "impute", X, self.n_features_in_)
        index, columns = X, columns_of(self)
        X = check_features(self, X, reset=False)
        table = X if columns is None else columns.one_hot(X)
        exposed = exposed_rows(self, table, exposure)
        filled = self._inference.reconstruct(table, self.n_components_, exposed)
        filled = filled if columns is None else columns.most_probable(filled)
        for block in row_blocks(*X.shape):
            rows = rows_of(X, block)
            np.copyto(filled[block], rows, where=~np.isnan(rows))
        return self._in_container(filled, index)

    def _given_back(self, table, like):
        """Return what the network gives (n, n_encoded), in the user's columns."""
        columns = columns_of(self)
        table = table if columns is None else columns.most_probable(table)
        return self._in_container(table, like)

    def _in_container(self, table, like):
        """Return a table with codes as an array, or as a frame if `set_output` asks."""
        columns = columns_of(self)
        frame = in_container(self, table, _check_feature_names_in(self), like)
        if columns is None:
            return frame
        if frame is table:
            return columns.as_array(table)
        return columns.as_frame(table, frame)

    def score_samples(self, X, exposure=None):
        """Compute minus the reconstruction error of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        exposure : array-like of shape (n_samples,) or None, default=None
            Exposures of rows of counts, if `fit` was given exposures.

        Returns
        -------
        score : ndarray of shape (n_samples,)
            Minus the mean over the features of the squared error, or of the chosen loss,
            in the units of X, or with `standardize` in standardized ones. Losses that
            always refer to X in its own units, see `standardize`, do so here too. With
            columns of categories the error of each feature is divided by that of its best
            constant, such as the variance or the entropy of its categories. Higher is
            better.
        """
        check_is_fitted(self)
        if is_dask(X):
            check_no_exposure(self, exposure, "score_samples")
            return lazily(self, "score_samples", X)
        X = check_table(self, X, reset=False)
        check_rows(self._loss, X, self)
        return self._inference.row_scores(X, exposed_rows(self, X, exposure))

    def score(self, X, y=None, sample_weight=None, exposure=None):
        """Compute the mean of `score_samples`, which is minus the mean error.

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
            Mean score. Higher is better, and 0 is a perfect reconstruction. Unlike
            `PCA.score` it is not a log-likelihood.
        """
        scores = self.score_samples(X, exposure=exposure)
        if sample_weight is not None:
            scores = np.asarray(scores)  # dask may not know how many there are
            sample_weight = _check_sample_weight(
                sample_weight, scores, ensure_non_negative=True
            )
        return float(np.average(scores, weights=sample_weight))

    def save(self, path):
        """Write the fitted model to a file, which `skae.load` opens.

        It is a safetensors file with a digest of all its bytes. There is no code in it, so
        that it is safe to open wherever it comes from, which does not hold for pickle and
        joblib.

        Parameters
        ----------
        path : str or path-like
            Name of the file. A file of that name is replaced, and stays as it is if
            writing fails.

        Raises
        ------
        ImportError
            If safetensors is not installed.
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If the class is not one of skae's, or an attribute is not plain data.

        Notes
        -----
        The file holds the parameters that the estimator was fitted with, and those that
        it has now. All are kept with these exceptions: `callbacks`, `checkpoint` and a
        RandomState instance become None, a splitter in `cv` becomes "auto", the `device`
        is chosen by `load`, and only the weights of a custom `module` are written, so that
        `module` must be passed to `load` again. Metadata routing requests are left out.
        """
        check_is_fitted(self)
        if not type(self).__module__.startswith("skae."):
            raise TypeError(
                f"save of {type(self).__name__} takes classes of skae only, not one of "
                "your own. Use joblib, or save an AutoencoderTransformer."
            )
        write_model(path, type(self).__name__, *parts_of_file(self))

    # -- scikit-learn ------------------------------------------------------------------

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        # Like get_params, tags show the parameters that the next fit will use.
        tags.input_tags.allow_nan = self.allow_nan
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")

    @in_own_modes()
    def __getstate__(self):
        """Return the state, with only the weights of the net, as arrays.

        A user's module is kept whole, on the CPU, because it cannot be made anew.
        """
        state = super().__getstate__().copy()
        if "net_" in state:
            module = copy.deepcopy(self.net_.module_).cpu()
            arrays = {name: array.numpy() for name, array in module.state_dict().items()}
            state["net_"] = module if self._network_kind.has_own_code else arrays
            del state["_inference"], state["device_"], state["_loss"]
        return state

    @in_own_modes()
    def __setstate__(self, state):
        super().__setstate__(state)
        if "net_" in state:
            if "_params_of_fit" not in state:  # pickled by an earlier version
                self._params_of_fit = params_of_fit(self)
            if self._params_of_fit["standardize"] and "_score_unit" not in state:
                warn_of_units(type(self).__name__)
            restore(self, state["net_"])
