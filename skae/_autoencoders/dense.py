"""AutoencoderTransformer: dense autoencoders that start at PCA."""

from numbers import Real

import numpy as np

from skae._autoencoders.base import BaseAutoencoder
from skae._compat import Interval, StrOptions
from skae._torch import resolve_device
from skae.modules import ACTIVATIONS, NORMALIZATIONS, DenseAutoencoder
from skae.modules._own import OwnNetwork, make_own

__all__ = ["AutoencoderTransformer"]


class AutoencoderTransformer(BaseAutoencoder):
    """Autoencoder that takes the place of PCA.

    A network encodes each row x into `n_components` numbers, z = encode(x), and decodes
    them, so that the rows' mean loss is small:

        minimize  sum_i loss(decode(encode(x_i)), x_i)

    With `init="pca"` encoder and decoder are each a linear map plus a perceptron that
    corrects it,

        encode(x) = A x + a + f(x),    decode(z) = B z + b + g(z),

    where (A, a, B, b) is PCA before training and f and g are zero. Training is kept only
    as far as rows it has not seen are reconstructed better for it, see `early_stopping`;
    where that is never so the model is PCA of all rows.

    Parameters
    ----------
    n_components : int, float or None, default=None
        Width of the code. A float in (0, 1) is a share of the variance: the fewest
        components whose autoencoder keeps it on held-out rows, found by bisection, and
        never more than `PCA` takes with the same float, which counts the training rows.
        None is `min(n_samples, n_features)`, as in PCA. More than that needs
        `init="random"`.
    hidden_layer_sizes : array-like of int or "auto", default="auto"
        Hidden layers of the encoder; the decoder mirrors them. `()` is a linear
        autoencoder, which from PCA is PCA. "auto" is two layers of (h, h/2) units, h
        being the power of two nearest to the smaller of 4 sqrt(n_samples) and
        16 n_features, 64 at least and 512 at most, and twice that with `ordered`; with
        `init="random"` no layer is narrower than the code.
    activation : {"gelu", "silu", "relu", "elu", "tanh", "logistic", "identity"}, \
            default="gelu"
        Of the hidden layers.
    init : {"pca", "random"}, default="pca"
        "random" is a plain autoencoder: perceptrons alone, random at the start. A narrow
        random network often ends worse than PCA.
    loss : {"squared_error", "absolute_error", "huber", "binary_cross_entropy", \
            "poisson", "negative_binomial", "cosine"}, callable or dict, \
            default="squared_error"
        What is minimized, and minus what `score` is. "binary_cross_entropy" takes X in
        [0, 1] and makes `inverse_transform` return probabilities, which for pixels often
        have the smaller *squared* error too; "poisson" and
        "negative_binomial", whose dispersion is learned for each feature, take counts
        and return rates; "cosine" is for texts. Each has a linear start of its own on
        PCA's scores, such as a logistic regression, and `init="pca"` promises never to
        be worse than that. A callable takes tensors `(X_hat, X)` in the units of X and
        returns one error per row, or per cell. A dict names the columns of each loss,
        by index or name, {"squared_error": ["age"], "poisson": ["visits"],
        "cross_entropy": [["red", "green"]]}: the last is for groups of one-hot columns,
        one for each class (`OneHotEncoder(drop=None)`). Every column, or group, then
        counts alike.
    code_activation : {"identity", "relu", "gelu", "silu", "elu", "tanh", "logistic"}, \
            default="identity"
        Applied to the code. Any but "identity" needs `init="random"`.
    ordered : bool, default=False
        Train for truncation, by nested dropout (Rippel, Gelbart and Adams 2014), so that
        the first k codes serve on their own for every k: `inverse_transform` takes
        `Z[:, :k]` and `truncate(k)` gives the smaller estimator. The decoder is told
        which codes are missing, and an epoch is only kept if at none of up to eight k
        held-out rows are reconstructed worse than by PCA with k components. The price is
        a higher error than that of a separate fit with k components, see
        `examples/benchmarks/README.md`.
    whiten : bool, default=False
        Divide every code by its standard deviation; `inverse_transform` undoes it.
    standardize : bool, default=False
        Divide every feature by its standard deviation, and undo it on the way out: the
        same as a Pipeline with `StandardScaler`. Codes, `score`, `score_samples`,
        `components_`, `components_at`, `explained_variance_` and its kin,
        `get_covariance`, curves, displays, the share that `n_components` may be, and
        `noise` are then in standardized units. Rows that go in or come out are in the
        units of X: `X_target`, `X_val`, `inverse_transform`, `denoise`, `impute`. With
        "binary_cross_entropy", "poisson", "negative_binomial", "cosine" or a callable
        the loss, and with it `score` and the curves, is of X in its own units in any
        case; everything else is as said. As PCA, the estimator otherwise centres the
        features and leaves their scales alone; features of unlike units should be
        scaled, here or in a Pipeline.
    allow_nan : bool, default=False
        Whether X may have missing cells. They are filled by probabilistic PCA, and where
        X has some in `fit` the network is told which they are and learns to correct what
        was filled in, from cells that are hidden in training. `impute` fills them. Only
        cells that are there count in loss and `score`. Tables so large that they are read
        in parts may have missing cells in every method but `fit`.
    dropout : float in [0, 1), default=0.0
        Rate of dropout after each hidden layer.
    normalization : {"layer", "batch"} or None, default=None
        Of each hidden layer, before its activation.
    tied_weights : bool, default=False
        Let the decoder have the encoder's weights, transposed, in training (Vincent et
        al. 2010, "Stacked denoising autoencoders"): half the weights. It goes with
        `init="random"` and hidden layers, for what `init="pca"` adds to PCA begins with
        weights of zero, and zero tied to zero never changes.
    noise : float, recipe of skae.noise or None, default=None
        What spoils the rows that the encoder sees in training, anew in every step, while
        the target stays clean: a denoising autoencoder. A float is the standard deviation
        of `GaussianNoise`, in the units of X or with `standardize` of each feature, in
        its standard deviations. Held-out rows are spoilt once, and PCA, to
        which the network is compared, sees them so too.
    regularizer : recipe of skae.regularizers, list of them or None, default=None
        What is added to the loss.
    weight_decay : float, default=0.01
        Of AdamW, as a multiple of the learning rate.
    early_stopping : bool, default=True
        Whether held-out rows choose the epoch whose weights are kept. The gain over PCA
        must exceed two standard errors, a little more where rows are few, by Student's t.
        Of the epochs where it does that with the largest gain is kept; while a gain is
        not beyond doubt, an epoch must be clearly ahead of an earlier one to take its
        place. If there is no such epoch the model is PCA of all rows. Which rows are held
        out is told by `cv`. Tables below 20 different rows end as PCA.
        False trains `max_epochs` epochs on every row and keeps the last.
    cv : "auto", int, splitter of scikit-learn, iterable or None, default="auto"
        Which rows are held out. With "auto", up to 1000 different rows, or groups, are
        cross-fitted: five networks train on four fifths of the rows each, a sixth on all
        rows, and the sixth is kept at the epoch that served best the rows that the five
        had not seen; above, and with `module`, `validation_fraction` is held out. An int
        cross-fits that many folds, whatever the size of the table (None is 5, as in
        scikit-learn); a splitter or an iterable of (train, held_out) does so with its own
        splits. Held-out rows of which training has an equal one are not asked.
        Leave "auto" where rows are independent: equal rows, and a row of weight 2, are on
        one side in any case. Pass `fit(X, groups=...)`, with "auto" or a `GroupKFold`,
        where several rows come from one source, such as a person, a device or a batch.
        Set `cv=TimeSeriesSplit(gap=...)` where rows follow each other in time and
        neighbours are alike, as overlapping windows of a series are.
    validation_fraction : float in (0, 1), default=0.1
        Share of the rows that is held out where nothing is cross-fitted. No more than
        10 000 rows are.
    n_iter_no_change : int, default=20
        Training stops after that many epochs without an improvement of `tol`.
    tol : float, default=1e-3
        Improvement of the held-out error that counts, as a share of PCA's.
    max_epochs : int or "auto", default="auto"
        Most passes over the rows. "auto" is about 6 000 steps, at least 10 and at most
        200 epochs.
    batch_size : int or "auto", default="auto"
        Rows per step. "auto" is the power of two nearest to sqrt(n_samples), 16 at least
        and 1024 at most.
    lr : float, default=5e-3
        Largest learning rate of AdamW. It rises over the first 100 steps and falls with
        1 / sqrt(1 + step / 500). A rate that one of the `callbacks` sets takes the place of
        this one: rise and fall multiply it.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Of the matrix products in training; weights, losses, the choice of the epoch and
        everything after `fit` are in float32 or float64 in any case. "auto" takes
        bfloat16 for steps of 3e7 products or more on CPUs with AVX512-BF16 or AMX and
        GPUs that have it, unless PCA leaves less than a thousandth of the variance.
    module : callable or None, default=None
        `(n_features, n_components) -> torch.nn.Module` with methods `encode` and
        `decode`: an architecture of your own. It sees
        centred and scaled data. Before anything is computed two rows pass through it, in
        evaluation mode, so that wrong shapes are found at once and lazy layers know
        their widths. It may have a method `encode_with_loss` too, which takes the place of
        `encode` in training and for held-out rows: it returns the codes, and a number
        for each row that is added to the loss, such as a divergence from a prior.
        What it draws from the global generators of torch, NumPy and Python
        comes from `random_state`, and a module that also draws in evaluation mode draws
        the same numbers at every call. `init` and the parameters of the layers are then
        without effect, and so is the promise about PCA.
    callbacks : list of skorch callbacks or None, default=None
        Called in training: skorch's trackers `TensorBoard(SummaryWriter())`,
        `MlflowLogger()`, `WandbLogger(wandb.init())`, its `Checkpoint`, `LRScheduler` and
        `EarlyStopping`, or your own. Each is copied, but a writer or run that it holds is
        shared; in a search, where estimators are cloned, open it in `on_train_begin`.
        `train_loss` and `valid_loss` of `net.history` are in the units of `score`. The
        learning rate is `net.lr`, or the `lr` of each of
        `net.optimizer_.param_groups`, whichever is set; see `lr`. `EpochScoring` takes
        functions that look at the net, as in `lambda net, X, y: net.history[-1,
        "valid_loss"]`, and none of predictions. KeyboardInterrupt raised in
        one ends training, any other error ends `fit`. scikit-learn's callbacks go to
        `set_callbacks` (scikit-learn 1.9).
    checkpoint : str, path-like or None, default=None
        File that training is noted in, or a folder that is there, in which every fit
        has a file of its own. It is written every half minute and on Ctrl-C, so that a fit
        that was killed can go on: the same call, on the same machine, resumes after the
        last epoch noted and ends with the same bits as one that was never interrupted.
        (With `random_state=None` it takes the seed of the fit that was killed; learning
        rates are in the file, anything else that `callbacks` hold is not.) The file is
        deleted once the fit has succeeded; one of another fit is refused and never
        replaced, so that fits with the same parameters, such as those of a search, need a
        folder: a search that was killed then goes on with the fits that it was in. The
        file is as safe to open as those of `save`, and needs safetensors.
    device : str or torch.device, default="auto"
        "auto" is CUDA where there is a device, else the CPU.
    warm_start : bool, default=False
        Go on with the network of the last `fit` instead of a new one, at the learning
        rate that its training had come to, and with the same rows held out where the
        table is the same. Small tables are cross-fitted, which leaves no row that the
        network has not seen: a further fit to the same rows will keep it as it is.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, order of rows, splits and dropout. The same seed gives the same
        bits on one machine's CPU; no global generator is drawn from, but for None. With
        None a fit of many threads also follows the load of the machine, and takes one
        thread where several are slower.
    verbose : int, default=0
        1 tells of each epoch in a line, 2 draws a bar (tqdm).

    Attributes
    ----------
    n_components_ : int
        Width of the code.
    hidden_layer_sizes_ : tuple of int
        Hidden layers of the encoder.
    mean_ : ndarray of shape (n_features,)
        Means of the features.
    scale_ : float or ndarray of shape (n_features,)
        What centred features are divided by, in the units of X: one number for all, or
        with `standardize` the standard deviation of each, 1 where it is constant.
    components_ : ndarray of shape (n_components_, n_features)
        Jacobian of the decoder at the mean code, its rows brought to unit length, with
        `standardize` of standardized features. PCA's where training gained nothing.
    explained_variance_ : ndarray of shape (n_components_,)
        Fall of the summed squared error, over n_samples - 1 and in the units of X or
        with `standardize` in standardized ones, when code j joins codes
        0..j-1, the others being at their mean; made non-increasing by isotonic
        regression, which keeps the sum. Of evenly spaced rows where there are more than
        2**15 / n_components_, but at least 1024 and at most 4096.
    explained_variance_ratio_ : ndarray of shape (n_components_,)
        The same over the total variance. The sum is the R² of the reconstruction.
    singular_values_ : ndarray of shape (n_components_,)
        sqrt((n_samples - 1) * explained_variance_).
    noise_variance_ : float
        Variance that is not reconstructed, over min(n_samples, n_features) -
        n_components_; 0 where that is 0.
    n_iter_ : int
        Epochs trained; 0 where the outcome was PCA from the start.
    best_epoch_ : int
        Epoch whose weights are kept; 0 is PCA.
    outcome_ : {"trained", "pca", "unchanged"}
        What is kept: the network of an epoch, PCA (for losses of their own units the
        linear model that starts from it), or, by a warm start, the network as it was
        before, where no epoch was certainly better.
    loss_curve_ : list of float
        Mean loss of the batches of each epoch, per feature and in the units of `score`.
    validation_curve_ : list of float
        The same for held-out rows, from epoch 0, the untrained network, on.
    pca_score_ : float
        Minus the error of PCA with as many components, in the units of
        `validation_curve_`, for the rows it is of. For "binary_cross_entropy": of the
        logistic decoder of PCA's scores.
    net_ : skorch.NeuralNet
        The net, whose `module_` is the network that is kept, for centred and scaled rows.
        Its `history` holds what `callbacks` saw of each epoch: `train_loss`, the mean over
        the networks that are trained together, and `valid_loss`, both in the units of
        `score`, and `dur`, in seconds. Of a copy from pickle or a file it is empty.
    device_ : torch.device
        Where the network is.
    n_samples_ : int
        Number of rows of the training data.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string names.

    See Also
    --------
    sklearn.decomposition.PCA : The linear model that training starts from.

    Notes
    -----
    The weights that are validated and kept are averages over the last part of the
    optimiser's trajectory [3]_, so that training may stop at any time. On five tables of
    1600 to 20 000 rows their held-out error was between 3 % above and 34 % below that of
    a one-cycle schedule of the same length.

    Defaults were compared with others on five tables of 426 to 1125 rows, one parameter
    changed at a time: half, twice and four times the batch size, `lr` of 2e-3 and 1e-2,
    three other activations, half and twice the widths and one layer, `weight_decay` of
    0 and 0.1, `n_iter_no_change` of 10 and 40. Mean held-out errors were between 2.7 %
    below (twice the widths; `weight_decay=0.1`) and 10.5 % above ("tanh") the defaults'.

    Parameters that `set_params` changes after a fit take effect with the next `fit`, or
    with the first `partial_fit` after a `fit`. Until then the fitted estimator and all
    copies of it, made with pickle, joblib, `copy.deepcopy` or `save`, go by the
    parameters of the last fit, whereas `get_params`, `clone` and scikit-learn's tags tell
    of the new ones. `partial_fit`, and `fit` with `warm_start`, refuse to go on with a
    network that the new parameters would not have made.

    A table that is cross-fitted, or has fewer rows than columns, is trained in the
    coordinates of its principal axes. Where there are fewer axes than columns, they hold
    all that can be learnt of it.

    References
    ----------
    .. [1] Hinton and Salakhutdinov (2006), "Reducing the Dimensionality of Data with
       Neural Networks", Science 313.
    .. [2] Goodfellow, Bengio and Courville (2016), "Deep Learning", chapter 14.
    .. [3] Shamir and Zhang (2013), "Stochastic Gradient Descent for Non-smooth
       Optimization: Convergence Results and Optimal Averaging Schemes", ICML.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skae import AutoencoderTransformer
    >>> X, _ = load_digits(return_X_y=True)
    >>> ae = AutoencoderTransformer(8, max_epochs=10, random_state=0).fit(X)
    >>> ae.transform(X).shape
    (1797, 8)
    >>> pca = PCA(8).fit(X)
    >>> pca_error = ((pca.inverse_transform(pca.transform(X)) - X) ** 2).mean()
    >>> bool(-ae.score(X) < 0.9 * pca_error)
    True
    """

    _parameter_constraints: dict = BaseAutoencoder._parameter_constraints | {
        "hidden_layer_sizes": [tuple, list, np.ndarray, StrOptions({"auto"})],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "normalization": [StrOptions(set(NORMALIZATIONS)), None],
    }
    _network_parameters: tuple = (
        *BaseAutoencoder._network_parameters,
        "activation",
        "dropout",
        "normalization",
    )

    def __init__(
        self,
        n_components=None,
        *,
        hidden_layer_sizes="auto",
        activation="gelu",
        init="pca",
        loss="squared_error",
        code_activation="identity",
        ordered=False,
        whiten=False,
        standardize=False,
        allow_nan=False,
        dropout=0.0,
        normalization=None,
        tied_weights=False,
        noise=None,
        regularizer=None,
        weight_decay=0.01,
        early_stopping=True,
        cv="auto",
        validation_fraction=0.1,
        n_iter_no_change=20,
        tol=1e-3,
        max_epochs="auto",
        batch_size="auto",
        lr=5e-3,
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
        self.activation = activation
        self.init = init
        self.loss = loss
        self.code_activation = code_activation
        self.ordered = ordered
        self.whiten = whiten
        self.standardize = standardize
        self.allow_nan = allow_nan
        self.dropout = dropout
        self.normalization = normalization
        self.tied_weights = tied_weights
        self.noise = noise
        self.regularizer = regularizer
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.cv = cv
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.max_epochs = max_epochs
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
        most = min(n_samples, n_features)
        n_components = self._as_int(most)
        if self.init == "pca" and self.module is None:
            self._check_pca(n_components, most)
        is_plain = self.init == "random" and self.module is None
        if self.tied_weights and (not is_plain or self.ordered or self.warm_start):
            raise ValueError(
                f"tied_weights=True of {type(self).__name__} goes with init='random', "
                "ordered=False, warm_start=False and module=None. Set these, or "
                "tied_weights=False."
            )
        if self.ordered and self.module is not None:
            raise ValueError(
                f"ordered=True of {type(self).__name__} asks for a decoder that takes "
                "any number of codes, which a module of your own is not known to do. Set "
                "ordered=False or module=None."
            )
        if isinstance(self.hidden_layer_sizes, str):
            n_rows = max(n_samples, n_expected or 0)
            hidden_layer_sizes = self._auto_widths(n_rows, n_features, n_components)
        else:
            hidden_layer_sizes = self._given_widths()
        if self.tied_weights and not hidden_layer_sizes:
            raise ValueError(
                f"tied_weights=True of {type(self).__name__} needs hidden layers, got "
                f"hidden_layer_sizes={self.hidden_layer_sizes!r}."
            )
        return n_components, hidden_layer_sizes

    def _given_widths(self):
        """`hidden_layer_sizes` as a tuple of int."""
        sizes = self.hidden_layer_sizes
        if getattr(sizes, "ndim", 1) != 1 or not all(map(_is_width, sizes)):
            raise ValueError(
                f"hidden_layer_sizes of {type(self).__name__} must be positive whole "
                "numbers, one for each hidden layer of the encoder, such as (64, 32), or "
                f"'auto', got {sizes!r}."
            )
        return tuple(map(int, sizes))

    def _as_int(self, most):
        """`n_components` as a number, to begin with 1 where it is a share."""
        if self.n_components == "mle":
            raise ValueError(
                f"n_components='mle' of {type(self).__name__}: Minka's estimate is for "
                "PCA's Gaussian model. Set a share of the variance to keep, such as "
                "n_components=0.95."
            )
        if self.n_components is None:
            return most
        if self.n_components >= 1:
            return int(self.n_components)
        if self.loss != "squared_error":
            raise ValueError(
                f"n_components={self.n_components!r} of {type(self).__name__} is a share "
                f"of the variance: it goes with loss='squared_error', got {self.loss!r}."
            )
        return 1

    def _check_pca(self, n_components, most):
        if n_components > most:
            raise ValueError(
                f"n_components={self.n_components!r} of {type(self).__name__} must be "
                f"between 1 and min(n_samples, n_features)={most} with init='pca', for "
                "PCA has no more. Set init='random' for a code wider than the data."
            )
        if self.code_activation != "identity":
            raise ValueError(
                f"code_activation={self.code_activation!r} of {type(self).__name__} "
                "goes with init='random': PCA's codes are linear. Set init='random' or "
                "code_activation='identity'."
            )

    def _auto_widths(self, n_samples, n_features, n_components):
        width = 2 ** int(np.log2(min(4 * np.sqrt(n_samples), 16 * n_features)) + 0.5)
        width = min(max(width, 64), 512) * (2 if self.ordered else 1)
        least = n_components if self.init == "random" else 1
        return max(width, least), max(width // 2, least)

    @property
    def _network_kind(self):
        has_module = self._params_of_fit["module"] is not None
        return OwnNetwork if has_module else DenseAutoencoder

    def _make_module(self, n_inputs, n_outputs, generator):
        params = self._params_of_fit
        if params["module"] is not None:
            n_outputs *= 1 + self._loss.n_constants
            widths = n_inputs, self.n_components_, n_outputs
            device = resolve_device(self.device, strict=False)
            seed = 0 if generator is None else generator.initial_seed()
            return make_own(params["module"], *widths, device, type(self).__name__, seed)
        return DenseAutoencoder(
            n_inputs,
            self.n_components_,
            n_outputs,
            self.hidden_layer_sizes_,
            activation=params["activation"],
            code_activation=params["code_activation"],
            dropout=params["dropout"],
            normalization=params["normalization"],
            n_constants=self._loss.n_constants * self.n_features_in_,
            linear_path=params["init"] == "pca",
            ordered=params["ordered"],
            generator=generator,
        )


def _is_width(size):
    is_number = isinstance(size, Real) and not isinstance(size, bool)
    return is_number and size >= 1 and float(size).is_integer()
