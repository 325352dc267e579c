"""VariationalAutoencoder: a density of rows that starts at probabilistic PCA."""

from numbers import Integral, Real

import numpy as np

from skae._autoencoders.base import BaseAutoencoder
from skae._autoencoders.density import Density
from skae._autoencoders.widths import AUTO_CHANNELS, auto_widths, given_widths
from skae._compat import Interval, StrOptions
from skae._tables.sample_shape import resolved_shape
from skae.losses._likelihoods import LIKELIHOODS
from skae.modules import (
    ACTIVATIONS,
    NORMALIZATIONS,
    ConvolutionalVariational,
    DenseVariational,
)
from skae.modules._own import OwnVariational

__all__ = ["VariationalAutoencoder"]

# Parameters of autoencoders that are not taken here, see `_fixed_parameters`.
FIXED = (
    "allow_nan",
    "categorical_features",
    "clip",
    "code_activation",
    "distributed",
    "handle_unknown",
    "init",
    "noise",
    "ordered",
    "regularizer",
    "tied_weights",
    "whiten",
)


class VariationalAutoencoder(Density):
    """Density of rows that starts at probabilistic PCA and becomes nonlinear.

    A row x comes from a code z of `n_components` numbers, which has a standard normal
    distribution, by a network that decodes it, and noise. A second network encodes the row
    into a normal distribution of codes with independent components. Both are trained to
    maximize the evidence lower bound of the log-density of the rows [1]_,

        log p(x) >= E[log p(x | z)] - KL(q(z | x) || p(z)),    z ~ q(z | x).

    Each network is the sum of a linear map and a perceptron that corrects it, or
    convolutions, see `sample_shape`, or a network of your own, see `module`. Before
    training the corrections are zero, and the linear maps are those of probabilistic PCA,
    for which the bound equals the log-likelihood [2]_: `score` is then that of `PCA`.
    Training is kept only as far as it raises the bound of rows that it has not seen, see
    `early_stopping`. If it never does, the model is probabilistic PCA of all rows.

    `score`, `score_samples` and `sample` mean the same as those of `PCA` and
    `GaussianMixture`, so that `GridSearchCV` can choose between them.

    Parameters
    ----------
    n_components : int or None, default=None
        Width of the code. None stands for half of min(n_samples, n_features), rounded up:
        with as many codes as features the noise of PCA is zero, and training has nothing to
        start from. Codes that are not needed carry nothing, see `kl_`.
    hidden_layer_sizes : array-like of int or "auto", default="auto"
        Hidden layers of the encoder; the decoder mirrors them. `()` is linear: with
        `covariance_type="spherical"` it is probabilistic PCA, with "diag" factor analysis.
        "auto" stands for two layers of (h, h/2) units, where h is the power of two nearest
        to the smaller of 4 sqrt(n_samples) and 16 n_features, but at least 64 and at most
        512.
    sample_shape : sequence of int or None, default=None
        Shape of a row of X as torch takes it, channels first: (channels, length) for
        signals, or (channels, height, width) for images. One of the numbers may be -1, and
        is then found from the number of features. X keeps its two axes. The corrections are
        then convolutional: each stage of the encoder is a convolution of stride 2, and the
        decoder mirrors the stages. `hidden_layer_sizes` are the channels of the stages.
        With "auto" they are (32, 64), and a fit also trains dense layers, and keeps these
        unless the bound of convolutions on held-out rows is certainly higher. Displays draw
        rows in this shape, also with a `module`, for which it has no other effect.
    activation : {"silu", "gelu", "relu", "elu", "tanh", "logistic", "identity"}, \
            default="silu"
        Activation of the hidden layers.
    loss : {"squared_error", "binary_cross_entropy", "poisson", "negative_binomial"}, \
            default="squared_error"
        Loss of the reconstruction, which is minus the log-likelihood of a row given its
        code. "squared_error" is the normal distribution with variances that are learned.
        "binary_cross_entropy" is the Bernoulli distribution, for X of zeros and ones; a
        value in between is the probability of a one. "poisson" and "negative_binomial" are
        for counts, and the latter also learns a dispersion for each feature. The other
        distributions start from the generalized linear model that `AutoencoderTransformer`
        starts from, with the posterior that it has around the mean.
    exposure : {"auto", "total"} or None, default=None
        What the rates of counts are in proportion to, see `AutoencoderTransformer`. With
        "total" the density is that of rows whose total is known, as in models of single
        cells (Lopez et al. 2018, "Deep generative modeling for single-cell
        transcriptomics"). None is the density of the whole row, unless `fit` is given an
        exposure for each row.
    covariance_type : {"spherical", "diag"}, default="diag"
        Covariance of the noise of "squared_error", in the words of `GaussianMixture`. With
        "spherical" all features have the same variance in the units that are used in
        training, as in probabilistic PCA. With "diag" each feature has its own, as in
        `FactorAnalysis`.
    beta : float, default=1.0
        Weight of the divergence KL in training (Higgins et al. 2017, "beta-VAE"). More than
        1 gives fewer codes that carry something, less than 1 better reconstructions.
        Held-out rows choose the epoch by the bound with this weight. `score` always has
        weight 1.
    n_draws : int, default=1
        Number of codes that are drawn for a row in a step of training. More than one train
        the importance-weighted bound [3]_, which is nearer to the log-density, and take
        longer: most of a step is proportional to this number.
    prior : {"normal", "mixture"}, default="normal"
        Distribution of the codes. "mixture" fits a mixture of normal distributions to the
        codes after training, for `score`, `score_samples` and `sample`. Held-out codes
        choose the number of its components, and the standard normal distribution is kept
        if no mixture is certainly better.
    margins : {"model", "data"}, default="model"
        Distribution of each feature of the rows that `sample` draws. "data" moves every
        feature, by an increasing function, such that its quantiles are those of the
        training rows: a drawn row has then no value beyond their ends, and what the model
        has learned is how features go together, as with a copula. It needs
        `loss="squared_error"`, and has no effect on `score` and `score_samples`, which are
        those of the density before.
    standardize : bool, default=False
        Whether to divide every feature by its standard deviation, and to undo this in the
        output. `components_`, `explained_variance_` and the attributes that follow from it,
        `noise_variance_` and `get_covariance` are then in standardized units. `score`,
        `score_samples`, curves and `sample` are always in the units of X, so that models
        with and without it can be compared. Features in different units should be
        standardized.
    dropout : float in [0, 1), default=0.0
        Rate of dropout after each hidden layer.
    normalization : {"layer", "batch"} or None, default=None
        Normalization of each hidden layer, before its activation.
    weight_decay : float or "auto", default="auto"
        Weight decay of AdamW, as a multiple of the learning rate. "auto" stands for 0.1,
        with `sample_shape` for 0.5, and with `module` for 0.01.
    early_stopping : bool, default=True
        Whether held-out rows choose the epoch whose weights are kept. The gain of an epoch
        over probabilistic PCA, in the bound with one code drawn for each row, must exceed
        two standard errors, 2.25 if the table is cross-fitted, and slightly more if there
        are few rows, by Student's t. If there is no such epoch the model is probabilistic
        PCA of all rows. `cv` decides which rows are held out. Tables with fewer than 20
        different rows end as PCA. False trains `max_epochs` epochs on all rows and keeps
        the last one.
    cv : "auto", int, splitter of scikit-learn, iterable or None, default="auto"
        Rule that decides which rows are held out. With "auto", a table of up to 1000
        different rows, or groups, is cross-fitted: five networks are trained on four fifths
        of the rows each, a sixth is trained on all rows, and the sixth is kept at the epoch
        that was best for the rows that the five had not seen. For larger tables
        `validation_fraction` of the rows is held out. An int cross-fits with that
        many folds for tables of every size (None is 5, as in scikit-learn); a splitter or
        an iterable of (train, held_out) cross-fits with its own splits. A held-out row that
        equals a training row is ignored. Leave "auto" if rows are independent: equal rows,
        and the copies that a weight of 2 stands for, are never separated. Pass
        `fit(X, groups=...)`, with "auto" or a `GroupKFold`, if several rows come from one
        source, such as a person, a device or a batch. Set `cv=TimeSeriesSplit(gap=...)` if
        rows follow each other in time and neighbours are alike, such as overlapping windows
        of a series.
    validation_fraction : float in (0, 1), default=0.1
        Share of the rows that is held out if nothing is cross-fitted, but at most 10 000
        rows.
    n_iter_no_change : int, default=10
        Number of epochs without an improvement of `tol` after which training stops.
    tol : float, default=1e-3
        Smallest improvement of the held-out bound that counts, in nats per feature.
    max_epochs : int or "auto", default="auto"
        Largest number of passes over the rows. "auto" stands for about 2 000 steps,
        or more if there are over 33 000 rows, but at least 5 and at most 200 epochs.
    time_limit : float or None, default=None
        Number of seconds after which `fit` ends training, if it has not ended before, and
        keeps the best epoch so far, or PCA. An epoch that the limit cuts short counts as
        one. PCA of all rows is always computed, however long it takes, and at least one
        step is taken. With a limit results depend on the speed and the load of the machine,
        also for the same seed.
    batch_size : int or "auto", default="auto"
        Number of rows in a step. "auto" stands for the power of two nearest to
        4 sqrt(n_samples) or, below 1024 rows, to n_samples / 8, but at least 16. From about
        33 000 rows it stands for half of that, but at most 1024.
    lr : float or "auto", default="auto"
        Largest learning rate of AdamW. "auto" stands for 0.015, and for dense networks with
        wide layers for 0.015 * 256 / units * sqrt(batch_size / 256), if that is less. The
        rate rises over the first 30 steps and falls with 1 / sqrt(1 + step / 500), and from
        the first to the last of `max_epochs` also with half a wave of the cosine, to nearly
        zero. A rate that one of the `callbacks` sets replaces this one, and is multiplied
        by the same rise and fall.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of the matrix products in training. Weights, losses, the choice of the
        epoch and everything after `fit` are in float32 or float64 in any case. "auto" takes
        bfloat16 for steps of 3e7 products or more on CPUs with AVX512-BF16 or AMX and on
        GPUs that support it, unless PCA leaves less than a thousandth of the variance.
    module : callable or None, default=None
        Architecture of your own: a function `(n_features, n_components) ->
        torch.nn.Module`, which returns a new module with methods `encode` and `decode`,
        which takes the place of the perceptrons. `encode` turns centred and scaled rows (n,
        n_features) into two numbers for each code, (n, 2 * n_components): first the
        corrections of all means, then those of the logits of all variances. `decode` turns
        codes (n, n_components) into one correction for each feature. Both are multiplied by
        a number that is trained and starts at zero. Everything else is as with the `module`
        of `AutoencoderTransformer` that corrects PCA. The parameters of the layers have no
        effect with a module.
    callbacks : list of skorch callbacks or None, default=None
        Callbacks of training: skorch's trackers `TensorBoard(SummaryWriter())`,
        `MlflowLogger()`, `WandbLogger(wandb.init())`, its `Checkpoint`, `LRScheduler` and
        `EarlyStopping`, or your own. Each is copied, but a writer or run that it holds is
        shared; in a search, where estimators are cloned, open it in `on_train_begin`.
        `train_loss` and `valid_loss` of `net.history` are in the units of `score`. The
        learning rate is `net.lr`, or the `lr` of each of `net.optimizer_.param_groups`,
        whichever is set; see `lr`. `EpochScoring` takes functions that look at the net, as
        in `lambda net, X, y: net.history[-1, "valid_loss"]`, but no functions of
        predictions. A KeyboardInterrupt that a callback raises ends training, any other
        error ends `fit`. scikit-learn's callbacks are given to `set_callbacks`
        (scikit-learn 1.9).
    checkpoint : str, path-like or None, default=None
        File that keeps the state of training, or an existing folder in which every fit has
        a file of its own. It is written every half minute and on Ctrl-C, so that a fit that
        was killed can go on: the same call, on the same machine, resumes after the last
        epoch in the file and ends with the same bits as a fit that was never interrupted.
        (With `random_state=None` it takes the seed of the fit that was killed. The file
        holds learning rates, but nothing else that belongs to `callbacks`.) The file is
        deleted once the fit has succeeded. A file of another fit is refused and never
        replaced. Therefore fits with the same parameters, such as those of a search, need a
        folder; a search that was killed then goes on with the fits that were under way. The
        file is as safe to open as those of `save`, and needs safetensors.
    device : str or torch.device, default="auto"
        Device of the network. "auto" is CUDA where there is a CUDA device, otherwise the
        CPU.
    warm_start : bool, default=False
        Whether to go on with the network of the last `fit` instead of a new one. Training
        goes on at the learning rate that it had come to, and with the same rows held out if
        the table is the same. Small tables are cross-fitted, which leaves no row that the
        network has not seen: a further fit to the same rows will keep it as it is.
    random_state : int, RandomState instance or None, default=None
        Seed of the weights, the order of the rows, the splits and dropout. The same seed
        gives the same bits on the CPU of one machine. A global generator is used with None
        only. With None a fit of many threads also depends on the load of the machine, and
        takes one thread where several are slower.
    verbose : int, default=0
        Verbosity. 1 prints a line for each epoch, 2 draws a bar (tqdm).

    Attributes
    ----------
    n_components_ : int
        Width of the code.
    hidden_layer_sizes_ : tuple of int
        Hidden layers of the encoder.
    is_convolutional_ : bool
        Whether the corrections are convolutions, see `sample_shape`.
    kl_ : ndarray of shape (n_components_,)
        Mean divergence of each code from its prior over the training rows, in nats, in
        descending order. A code of zero nats carries nothing. (After a warm start the codes
        keep their places.)
    weights_, means_, covariances_ : ndarrays of shape (m,), (m, k) and (m, k, k) or (m, k)
        Mixture of m normal distributions of k codes, in the words of `GaussianMixture`.
        Covariances are diagonal if there are more than 16 codes. Only set with
        `prior="mixture"`.
    quantiles_ : ndarray of shape (n_quantiles, n_features)
        Evenly spaced quantiles of the training rows, at most 1000, as in
        `QuantileTransformer`. Only set with `margins="data"`.
    noise_variance_ : float or ndarray of shape (n_features,)
        Variance of the noise, one number or with `covariance_type="diag"` one for each
        feature, in the units of X or with `standardize` in standardized ones. It cannot
        fall below 1e-6 of the smallest variance of a feature, because the density of copies
        of a feature would have no bound. Constant features have the geometric mean of the
        others. For other losses it is the variance that is not reconstructed, as in
        `AutoencoderTransformer`.
    dispersion_ : ndarray of shape (n_features,)
        Dispersions of counts, see `AutoencoderTransformer`.
    mean_ : ndarray of shape (n_features,)
        Means of the features.
    scale_ : float or ndarray of shape (n_features,)
        Divisor of the centred features, in the units of X: one number for all features, or
        with `standardize` the standard deviation of each, and 1 for a constant feature.
    components_ : ndarray of shape (n_components_, n_features)
        Jacobian of the decoder at the mean code, with rows scaled to unit length, and with
        `standardize` for standardized features. If training gained nothing these are the
        components of PCA.
    explained_variance_ : ndarray of shape (n_components_,)
        Decrease of the summed squared error, divided by n_samples - 1, when the mean of
        code j joins those of codes 0..j-1 while the others are at their mean. See
        `AutoencoderTransformer`.
    explained_variance_ratio_ : ndarray of shape (n_components_,)
        The same, divided by the total variance.
    singular_values_ : ndarray of shape (n_components_,)
        Singular values, sqrt((n_samples - 1) * explained_variance_).
    n_iter_ : int
        Number of epochs trained; 0 if the outcome was PCA from the start.
    best_epoch_ : int
        Epoch whose weights are kept; 0 is PCA.
    outcome_ : {"trained", "pca", "unchanged"}
        Model that is kept: the network of an epoch; probabilistic PCA, or for other losses
        the linear model that starts from it; or, with a warm start, the network as it was
        before, if no epoch was certainly better.
    loss_curve_ : list of float
        Minus the mean bound of the rows in the batches of each epoch, in nats.
    validation_curve_ : list of float
        The same for held-out rows, beginning with epoch 0, the untrained network.
    pca_score_ : float
        Bound of probabilistic PCA, or for other losses of the start, on the rows of
        `validation_curve_`, with the same codes drawn.
    net_ : skorch.NeuralNet
        Net of skorch, whose `module_` is the network that is kept, see
        `AutoencoderTransformer`.
    device_ : torch.device
        Device of the network.
    n_samples_ : int
        Number of rows of the training data.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if X had string names.

    See Also
    --------
    AutoencoderTransformer : Codes and reconstructions without a density.
    sklearn.decomposition.PCA : The linear model that training starts from.
    sklearn.mixture.GaussianMixture : A density without codes.

    Notes
    -----
    The codes have the order of `kl_` and PCA's signs. They are not rotated, because the
    components of rotated codes would not be independent given the row.

    Rows must be complete and come in one call: there is neither `allow_nan` nor
    `partial_fit`, because the density of the observed cells alone, and units that change
    with every chunk of a stream, would need other formulae. `AutoencoderImputer` fills
    missing cells. `loss` is one for all columns, because the columns of a dict of losses
    are weighted, and their sum is no log-likelihood.

    References
    ----------
    .. [1] Kingma and Welling (2014), "Auto-Encoding Variational Bayes", ICLR.
    .. [2] Lucas, Tucker, Grosse and Norouzi (2019), "Don't Blame the ELBO! A Linear VAE
       Perspective on Posterior Collapse", NeurIPS.
    .. [3] Burda, Grosse and Salakhutdinov (2016), "Importance Weighted Autoencoders",
       ICLR.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skae import VariationalAutoencoder
    >>> X, _ = load_digits(return_X_y=True)
    >>> vae = VariationalAutoencoder(8, max_epochs=10, random_state=0).fit(X)
    >>> bool(vae.score(X) > PCA(8).fit(X).score(X) + 10)
    True
    >>> vae.sample(3, random_state=0).shape
    (3, 64)
    """

    _fixed_parameters: tuple = FIXED
    allow_nan = False
    categorical_features = None
    clip = False
    code_activation = "identity"
    distributed = False
    handle_unknown = "error"
    init = "pca"
    noise = None
    ordered = False
    regularizer = None
    tied_weights = False
    whiten = False
    _has_streams = False

    _parameter_constraints: dict = {
        name: constraints
        for name, constraints in BaseAutoencoder._parameter_constraints.items()
        if name not in FIXED
    } | {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "hidden_layer_sizes": [tuple, list, np.ndarray, StrOptions({"auto"})],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "loss": [StrOptions(set(LIKELIHOODS))],
        "covariance_type": [StrOptions({"spherical", "diag"})],
        "beta": [Interval(Real, 0, None, closed="left")],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "prior": [StrOptions({"normal", "mixture"})],
        "margins": [StrOptions({"model", "data"})],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "normalization": [StrOptions(set(NORMALIZATIONS)), None],
    }
    _network_parameters: tuple = (
        *BaseAutoencoder._network_parameters,
        "activation",
        "covariance_type",
        "dropout",
        "normalization",
    )

    def __init__(
        self,
        n_components=None,
        *,
        hidden_layer_sizes="auto",
        sample_shape=None,
        activation="silu",
        loss="squared_error",
        exposure=None,
        covariance_type="diag",
        beta=1.0,
        n_draws=1,
        prior="normal",
        margins="model",
        standardize=False,
        dropout=0.0,
        normalization=None,
        weight_decay="auto",
        early_stopping=True,
        cv="auto",
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-3,
        max_epochs="auto",
        time_limit=None,
        batch_size="auto",
        lr="auto",
        precision="auto",
        module=None,
        callbacks=None,
        checkpoint=None,
        device="auto",
        warm_start=False,
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.sample_shape = sample_shape
        self.activation = activation
        self.loss = loss
        self.exposure = exposure
        self.covariance_type = covariance_type
        self.beta = beta
        self.n_draws = n_draws
        self.prior = prior
        self.margins = margins
        self.standardize = standardize
        self.dropout = dropout
        self.normalization = normalization
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.cv = cv
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.max_epochs = max_epochs
        self.time_limit = time_limit
        self.batch_size = batch_size
        self.lr = lr
        self.precision = precision
        self.module = module
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.device = device
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def _decide_widths(self, n_samples, n_features, n_expected=None):
        if self.margins == "data" and self.loss != "squared_error":
            raise ValueError(
                f"margins='data' of {type(self).__name__} needs loss='squared_error', got "
                f"loss={self.loss!r}, whose rows are drawn as whole numbers. Set "
                "margins='model'."
            )
        most = min(n_samples, n_features)
        n_components = int(self.n_components or -(-most // 2))
        if n_components > most:
            raise ValueError(
                f"n_components={self.n_components!r} of {type(self).__name__} must be "
                f"between 1 and min(n_samples, n_features)={most}, because it starts from "
                "PCA, which has no more."
            )
        resolved_shape(self.sample_shape, n_features, type(self).__name__)
        if not isinstance(self.hidden_layer_sizes, str):
            return n_components, given_widths(self)
        if self.is_convolutional_:
            return n_components, AUTO_CHANNELS
        return n_components, auto_widths(n_samples, n_features)

    @property
    def _network_kind(self):
        params = self._params_of_fit
        if params["module"] is not None:
            return OwnVariational
        return ConvolutionalVariational if self.is_convolutional_ else DenseVariational

    def _make_module(self, n_inputs, n_outputs, generator):
        kind, params = self._network_kind, self._params_of_fit
        options = {"n_constants": self._loss.n_constants * self.n_features_in_}
        if kind is OwnVariational:
            own = self._make_own(n_outputs, n_outputs, generator)
            return OwnVariational(own, n_outputs, self.n_components_, **options)
        names = "activation", "dropout", "normalization"
        options |= {name: params[name] for name in names} | {"generator": generator}
        sizes = self.n_components_, self.hidden_layer_sizes_
        if kind is ConvolutionalVariational:
            return ConvolutionalVariational(self.sample_shape_, *sizes, **options)
        k, hidden_layer_sizes = sizes
        return DenseVariational(n_inputs, k, n_outputs, hidden_layer_sizes, **options)

    def fit(self, X, y=None, sample_weight=None, *, groups=None, X_val=None, exposure=None):
        """Fit the model to X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data. A large `np.memmap`, and anything else that has a shape, a
            dtype and slices of rows, such as arrays of h5py and zarr, is read block by
            block; rows of a large sparse matrix are made dense a batch at a time.
        y : array-like of shape (n_samples,) or None, default=None
            Labels that are passed to the splitter `cv`, which may be a
            `StratifiedKFold`; otherwise ignored.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the rows in the bound, the mean, the scale and PCA. A weight of zero
            leaves a row out. In a table of up to 1000 rows, whole numbers repeat rows.
        groups : array-like of shape (n_samples,) or None, default=None
            Labels of rows that depend on each other, such as measurements of one person.
            Rows with the same label are all trained on or all held out. For equal rows
            this holds without labels. `cv` gets the labels too.
        X_val : array-like of shape (n_held_out, n_features) or None, default=None
            Held-out rows of your own. They choose the epoch, and all rows of X are
            trained on.
        exposure : array-like of shape (n_samples,) or None, default=None
            Exposures of rows of counts, see `AutoencoderTransformer.fit`.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X has fewer than two rows, is not finite, lies outside the range of the
            loss, or is too small for `n_components`.
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
            or if it reaches a `max_epochs` of your own while the bound was still rising.
        UserWarning
            If no code carries anything, or if y has the shape of X.
        """
        how = {"groups": groups, "X_val": X_val, "exposure": exposure}
        return super().fit(X, y, sample_weight, **how)
