"""AutoencoderTransformer: dense autoencoders that start at PCA."""

from numbers import Integral, Real

import numpy as np

from skae._autoencoders.base import BaseAutoencoder
from skae._autoencoders.widths import AUTO_CHANNELS, auto_widths, given_widths
from skae._compat import Interval, StrOptions
from skae._tables.categories import columns_of
from skae._tables.sample_shape import resolved_shape
from skae.modules import (
    ACTIVATIONS,
    NORMALIZATIONS,
    ConvolutionalAutoencoder,
    DenseAutoencoder,
)
from skae.modules._own import GatedOwnNetwork, OwnNetwork

__all__ = ["AutoencoderTransformer"]


class AutoencoderTransformer(BaseAutoencoder):
    """Autoencoder that takes the place of PCA.

    A network encodes each row x into `n_components` numbers, z = encode(x), and decodes
    them again, such that the mean loss of the rows is small:

        minimize  sum_i loss(decode(encode(x_i)), x_i)

    With `init="pca"` the encoder and the decoder are each the sum of a linear map and a
    perceptron that corrects it,

        encode(x) = A x + a + f(x),    decode(z) = B z + b + g(z).

    Before training (A, a, B, b) is PCA, and f and g are zero. They can also be
    convolutions, see `sample_shape`, or a network of your own, see `module`. Training is
    kept only as far as it improves the reconstruction of rows that it has not seen, see
    `early_stopping`. If it never does, the model is PCA of all rows.

    Parameters
    ----------
    n_components : int, float or None, default=None
        Width of the code. A float in (0, 1) is a share of the variance: the model then has
        the fewest components with which an autoencoder keeps this share on held-out rows.
        They are found in a few fits, and are never more than `PCA` takes with the same
        float, which counts the training rows. None stands for
        `min(n_samples, n_features)`, as in PCA. A wider code needs `init="random"`.
    hidden_layer_sizes : array-like of int or "auto", default="auto"
        Hidden layers of the encoder; the decoder mirrors them. `()` is a linear
        autoencoder, which is PCA if it starts from PCA. "auto" stands for two layers of
        (h, h/2) units, where h is the power of two nearest to the smaller of
        4 sqrt(n_samples) and 16 n_features, but at least 64 and at most 512. With
        `ordered` the layers are twice as wide. With `init="random"` no layer is narrower
        than the code.
    sample_shape : sequence of int or None, default=None
        Shape of a row of X as torch takes it, channels first: (channels, length) for
        signals, such as spectra or windows of a series, or (channels, height, width) for
        images. One of the numbers may be -1, and is then found from the number of features.
        X keeps its two axes. The corrections are then convolutional: each stage of the
        encoder is a convolution of stride 2, which halves the sizes of the sample, and the
        decoder mirrors the stages. `hidden_layer_sizes` are the channels of the stages.
        With "auto" they are (32, 64), and with `init="pca"` a fit also trains dense layers,
        which take a small part of the time, and keeps these unless convolutions are
        certainly better on held-out rows, see `is_convolutional_`. A pass over the rows
        takes eight to thirty times as long as with dense layers. Displays draw rows in this
        shape, also with a `module`, for which it has no other effect.
    activation : {"silu", "gelu", "relu", "elu", "tanh", "logistic", "identity"}, \
            default="silu"
        Activation of the hidden layers.
    init : {"pca", "random"}, default="pca"
        Start of training. "random" is a plain autoencoder, which consists of perceptrons,
        or of your `module`, alone and has random weights at the start. A narrow random
        network often ends worse than PCA.
    loss : {"squared_error", "absolute_error", "huber", "binary_cross_entropy", \
            "poisson", "negative_binomial", "cosine"}, callable or dict, \
            default="squared_error"
        Loss that is minimized; `score` is minus this loss. "binary_cross_entropy" takes X
        in [0, 1] and makes `inverse_transform` return probabilities, which for pixels often
        have the smaller *squared* error too. "poisson" and "negative_binomial" take counts
        and return rates; "negative_binomial" also learns a dispersion for each feature.
        "cosine" is for texts. Each of these four has a linear start of its own on the
        scores of PCA, such as a logistic regression, and `init="pca"` promises that the
        model is never worse than this start. A callable takes tensors `(X_hat, X)` in the
        units of X and returns one error for each row, or for each cell. A dict gives the
        columns of each loss, by index or name, {"squared_error": ["age"], "poisson":
        ["visits"], "cross_entropy": [["red", "green"]]}. Here "cross_entropy" is for groups
        of one-hot columns, with one column for each class (`OneHotEncoder(drop=None)`).
        Every column, or group, then has the same weight.
    exposure : {"auto", "total"} or None, default="auto"
        What the rates of counts are in proportion to: rate = exposure * share, as in every
        regression of counts. "total" takes the sum of the counts of the row, so that codes
        tell what a row consists of and not how much of it was counted: word counts of long
        and short texts, or molecules in cells of different sequencing depths. The encoder
        then sees log(1 + x / exposure * typical exposure), where the typical exposure is
        the geometric mean of those of the training rows, and `init="pca"` starts from PCA
        of these logarithms. They are also what `mean_`, `components_`,
        `explained_variance_`, `noise` and `standardize` refer to. "auto" is "total" if
        `loss` is "poisson" or "negative_binomial" and X has several columns, otherwise
        None: no exposure, unless `fit` is given one for each row. A row without counts has
        the exposure 1.
    code_activation : {"identity", "relu", "gelu", "silu", "elu", "tanh", "logistic"}, \
            default="identity"
        Activation of the code. Any but "identity" needs `init="random"`.
    ordered : bool, default=False
        Whether to train for truncation, by nested dropout (Rippel, Gelbart and Adams 2014),
        so that for every k the first k codes are of use without the others:
        `inverse_transform` takes `Z[:, :k]`, and `truncate(k)` returns the smaller
        estimator. The decoder is told which codes are missing. An epoch is kept only if it
        reconstructs held-out rows no worse than PCA with k components, for each of up to
        eight values of k. The error is higher than that of a separate fit with k
        components, see `examples/benchmarks/README.md`.
    whiten : bool, default=False
        Whether to divide every code by its standard deviation; `inverse_transform` undoes
        this.
    standardize : bool, default=False
        Whether to divide every feature by its standard deviation, and to undo this in the
        output: the same as a Pipeline with `StandardScaler`. Codes, `score`,
        `score_samples`, `components_`, `components_at`, `explained_variance_` and the
        attributes that follow from it, `get_covariance`, curves, displays, the share of the
        variance in `n_components`, and `noise` are then in standardized units. Rows that
        are passed or returned are in the units of X: `X_target`, `X_val`,
        `inverse_transform`, `denoise`, `impute`. With "binary_cross_entropy", "poisson",
        "negative_binomial", "cosine" or a callable the loss, and therefore also `score` and
        the curves, always refer to X in its own units; everything else is as described. If
        it is False the estimator centres the features and keeps their scales, as PCA does.
        Features in different units should be scaled, here or in a Pipeline.
    clip : bool or "auto", default="auto"
        Whether the reconstruction of a feature is held at its ends: values beyond an end
        are set to it, in training (with a derivative of 0.1 beyond the end, so that they
        can come back) and in everything after. "auto" holds an end if at least 5 % of the
        rows, and at least 100 rows, lie exactly on the smallest or largest value, as
        pixels, counts, shares and one-hot columns do. New rows hardly ever go beyond such
        an end: in 32 sets a single cell did, features that were constant aside. True holds
        every feature in the range of the training rows, whatever new rows may do. False
        holds nothing. It is for "squared_error", "absolute_error", "huber" and columns with
        these in a dict; with other losses "auto" holds nothing, and True is refused. The
        ends are those of all rows of `fit`, of `X_target` if there is one, and move if rows
        of a warm start or of a stream go beyond. PCA as the outcome is held only if
        held-out rows of `fit` say that this alone is a gain; its codes and all attributes
        are PCA's, also then. The error on new rows, as a share of PCA's, fell from 0.82 to
        0.68 on 2000 images of MNIST, from 1.00 to 0.85 on 400 of them, and from 0.57 to
        0.55 on ames (1500 x 34).
    allow_nan : bool, default=False
        Whether X may have missing cells. They are filled by probabilistic PCA. If the X of
        `fit` has some, the network is told which cells are missing and learns to correct
        the filled values, from cells that are hidden in training. `impute` fills the
        missing cells. Only observed cells count in the loss and in `score`. With more
        columns than rows the network is not told which cells are missing, and trains on
        filled rows, but its epoch is chosen by observed cells. Tables that are
        so large that they are read in parts may have missing cells in every method except
        `fit`.
    categorical_features : "from_dtype", array-like of bool, int or str, or None, \
            default="from_dtype"
        Columns of X that hold categories, as in `HistGradientBoostingClassifier`.
        "from_dtype" finds the columns of frames of pandas (category, and booleans, also
        nullable ones) and polars (Categorical, Enum, Boolean). A mask, indices or, for
        frames, names choose columns of any table. None treats all columns as numbers.
        Within, each of these columns becomes one-hot columns with a cross-entropy of their
        own, all features are standardized, whatever `standardize` is, and every feature,
        of numbers or categories, counts alike in the loss. `loss` is then that of the
        columns of numbers, and a missing category is a missing cell, see `allow_nan`. What
        comes back has the columns of X: `inverse_transform`, `denoise` and `impute` choose
        the most probable category. Frames, see `set_output`, have the dtypes of these
        columns and their categories. Arrays have codes, the positions in `categories_`, or
        if X was an array of numbers the categories themselves. If a column has more than
        100 categories, the rarest ones share one of 100 one-hot columns, and what comes
        back as this is the most frequent of them. These tables cannot be sparse or passed
        to `partial_fit`.
    handle_unknown : {"error", "ignore"}, default="error"
        What happens if X has a category that was not in the rows of `fit`. "ignore" takes
        it as a missing value, which needs `allow_nan=True`.
    dropout : float in [0, 1), default=0.0
        Rate of dropout after each hidden layer.
    normalization : {"layer", "batch"} or None, default=None
        Normalization of each hidden layer, before its activation.
    tied_weights : bool, default=False
        Whether the decoder has the transposed weights of the encoder during training
        (Vincent et al. 2010, "Stacked denoising autoencoders"), which halves the number of
        weights. It needs `init="random"` and hidden layers, because the perceptrons that
        `init="pca"` adds to PCA begin with weights of zero, and zero tied to zero never
        changes.
    noise : float, noise of skae.noise or None, default=None
        Noise that corrupts the rows that the encoder sees in training, anew in every step,
        while the target stays clean: a denoising autoencoder. A float is the standard
        deviation of `GaussianNoise`, in the units of X or, with `standardize`, in standard
        deviations of each feature. Held-out rows are corrupted once, and PCA, with which
        the network is compared, sees the same corrupted rows.
    regularizer : regularizer of skae.regularizers, list of them or None, default=None
        Regularizers that are added to the loss in training. The epoch is chosen, and the
        curves of held-out rows are computed, by the loss alone.
    weight_decay : float or "auto", default="auto"
        Weight decay of AdamW, as a multiple of the learning rate. "auto" is more for rows
        of more features: p / (p + 100) for p features, or principal axes if there are
        fewer rows than features. It is twice that with `sample_shape`, where it falls with
        the square root of the number of training rows beyond 2000, and 0.01 with `module`.
    early_stopping : bool, default=True
        Whether held-out rows choose the epoch whose weights are kept. The gain of an epoch
        over PCA must exceed two standard errors, 2.25 if the table is cross-fitted, and
        slightly more if there are few rows, by Student's t. Among such epochs that with the
        largest gain is kept; but as long as a gain is not beyond doubt, an epoch must be
        clearly ahead of an earlier one to replace it. If there is no such epoch the model
        is PCA of all rows. `cv` decides which rows are held out. Tables with fewer than 20
        different rows end as PCA. False trains `max_epochs` epochs on all rows and keeps
        the last one.
    cv : "auto", int, splitter of scikit-learn, iterable or None, default="auto"
        Rule that decides which rows are held out. With "auto", a table of up to 1000
        different rows, or groups, is cross-fitted: five networks are trained on four fifths
        of the rows each, a sixth is trained on all rows, and the sixth is kept at the epoch
        that was best for the rows that the five had not seen. For larger tables, and for a
        `module` with `init="random"`, `validation_fraction` of the rows is held out. An int
        cross-fits with that many folds for tables of every size (None is 5, as in
        scikit-learn); a splitter or an iterable of (train, held_out) cross-fits with its
        own splits. A held-out row that equals a training row is ignored. Leave "auto" if
        rows are independent: equal rows, and the copies that a weight of 2 stands for, are
        never separated. Pass `fit(X, groups=...)`, with "auto" or a `GroupKFold`, if
        several rows come from one source, such as a person, a device or a batch. Set
        `cv=TimeSeriesSplit(gap=...)` if rows follow each other in time and neighbours are
        alike, such as overlapping windows of a series.
    validation_fraction : float in (0, 1), default=0.1
        Share of the rows that is held out if nothing is cross-fitted, but at most 10 000
        rows.
    n_iter_no_change : int or "auto", default="auto"
        Number of epochs without an improvement of `tol` after which training stops. "auto"
        is 10. If the table is cross-fitted, without `noise` and missing cells, it is 4 as
        soon as an epoch is better than PCA, or more, up to 10, if 4 epochs have fewer than
        30 steps. With missing cells training also stops if the rate has ceased to rise, no
        epoch was better than PCA, the last is worse by more than chance, and worse than two
        epochs before, by 2 `tol` if the table is cross-fitted. If it is not, a fall of the
        geometric mean of the errors of rows by 5 % (50 times `tol`) is an improvement too,
        because a few rows far from the others may rule the mean.
    tol : float, default=1e-3
        Smallest improvement of the held-out error that counts, as a share of the error of
        PCA.
    max_epochs : int or "auto", default="auto"
        Largest number of passes over the rows. "auto" stands for about 2 000 steps,
        or more if there are over 33 000 rows, but at least 5 and at most 200 epochs.
        Convolutions have half as many epochs.
    time_limit : float or None, default=None
        Number of seconds after which `fit` ends training, if it has not ended before, and
        keeps the best epoch so far, or PCA. An epoch that the limit cuts short counts as
        one. PCA of all rows is always computed, however long it takes, and at least one
        step is taken. If `n_components` is a share of the variance the limit is for the
        whole search, which ends with the smallest number of components that it knows to be
        enough. With a limit results depend on the speed and the load of the machine, also
        for the same seed. `partial_fit` ignores it.
    batch_size : int or "auto", default="auto"
        Number of rows in a step. "auto" stands for the power of two nearest to
        4 sqrt(n_samples) or, below 1024 rows, to n_samples / 8, but at least 16. From about
        33 000 rows it stands for half of that, but at most 1024. Convolutions have a
        quarter of these rows, but at least 64 if there are as many.
    lr : float or "auto", default="auto"
        Largest learning rate of AdamW. "auto" stands for 0.015, and for dense networks with
        wide layers for 0.015 * 256 / units * sqrt(batch_size / 256), if that is less [6]_
        [7]_. It is also less where a few rows of counts have most of the `exposure`. The
        rate rises over the first 30 steps or, in a dense network for a table without
        missing cells that is not cross-fitted, over 3 n_features steps if that is more, but
        at most 100. It falls with 1 / sqrt(1 + step / 500), and from the first to the last
        of `max_epochs` also with half a wave of the cosine, to nearly zero. A rate that one
        of the `callbacks` sets replaces this one, and is multiplied by the same rise and
        fall.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of the matrix products in training. Weights, losses, the choice of the
        epoch and everything after `fit` are in float32 or float64 in any case. "auto" takes
        bfloat16 for steps of 3e7 products or more on CPUs with AVX512-BF16 or AMX and on
        GPUs that support it, unless PCA leaves less than a thousandth of the variance.
    module : callable or None, default=None
        Architecture of your own: a function `(n_features, n_components) ->
        torch.nn.Module`, which returns a new module with methods `encode` and `decode`. It
        takes centred and scaled rows (n, n_features), which `encode` may reshape to (n, C,
        L) or (n, C, H, W), and takes the place of the perceptrons: with `init="pca"` its
        codes and its reconstruction are added to those of linear maps that start as PCA,
        each after multiplication by a number that is trained and starts at zero [4]_ [5]_.
        Everything else is then as with perceptrons. The module gets missing cells as they
        were filled, missing codes (`ordered`) as zeros, and returns one output for each
        feature with every loss. With `init="random"` it is the whole network: codes are
        those that it returns, it is not cross-fitted by `cv="auto"`, `ordered=True` and
        rows with missing cells are refused in `fit`, it returns two outputs for each
        feature for "negative_binomial", and nothing is promised about PCA. The parameters
        of the layers have no effect with a module.

        Before anything is computed two rows pass through it, in evaluation mode, so that
        wrong shapes are found at once and lazy layers get their widths. It may also have a
        method `encode_with_loss`, which replaces `encode` in training and for held-out
        rows: it returns the codes, and a number for each row that is added to the loss,
        such as a divergence from a prior. An epoch is then kept only if the sum of both is
        below the error of PCA. What the module draws from the global generators of torch,
        NumPy and Python is determined by `random_state`, and a module that also draws in
        evaluation mode draws the same numbers at every call.
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
        deleted once the fit has succeeded; but if `time_limit` has ended training it stays,
        and the same call goes on with the last whole epoch. A file of another fit is
        refused and never replaced. Therefore fits with the same parameters, such as those
        of a search, need a folder; a search that was killed then goes on with the fits that
        were under way. The file is as safe to open as those of `save`, and needs
        safetensors.
    device : str or torch.device, default="auto"
        Device of the network. "auto" is CUDA where there is a CUDA device, otherwise the
        CPU.
    distributed : bool, default=False
        Whether the processes of `torch.distributed`, which torchrun starts, fit one model
        together. All call `fit`, each with rows of its own, of which there may be none, and
        all end with the same model. Up to a million rows are held out, and put into
        batches, as if one process had those of all, one process after another; of more, or
        of files, each process trains on its own rows, and a row is held out by its value or
        its group, at most 10 000 of all. Each process gets all held-out rows. An error,
        Ctrl-C or the end of one process ends the fit of the others with a
        `skae.exceptions.PeerError`.
        Only the first prints, warns, writes the checkpoint, from which all go on, and runs
        `callbacks`: what these change, or that they end training, holds in all processes.
        A regularizer is computed of the rows of each process, and averaged. A table of more
        than two million values is read where it is, be it an array or a file, and not
        copied. A `module` must not keep statistics of the rows that it has seen, as batch
        normalization does. Refused are `allow_nan=True`, columns of categories,
        `normalization="batch"`, a `cv`, `X_target`, exposures (counts need
        `exposure=None`), `partial_fit`, large dask tables, detectors and imputers, and a
        share as `n_components` with `early_stopping=False` or more than 1024 features.
    warm_start : bool, default=False
        Whether to go on with the network of the last `fit` instead of a new one. Training
        goes on at the learning rate of so many steps, which then falls to zero again, and
        with the same rows held out if the table is the same. Small tables are cross-fitted,
        which leaves no row that the network has not seen: a further fit to the same rows
        will keep it as it is.
    random_state : int, RandomState instance or None, default=None
        Seed of the weights, the order of the rows, the splits and dropout. The same seed
        gives the same bits on the CPU of one machine. A global generator is used with None
        only. With None a fit of many threads also depends on the load of the machine, and
        takes one thread where several are slower.
    verbose : int, default=0
        Verbosity. 1 prints a line for each epoch, 2 draws a bar (tqdm), whose length is the
        number of epochs that `time_limit` leaves time for.

    Attributes
    ----------
    n_components_ : int
        Width of the code.
    hidden_layer_sizes_ : tuple of int
        Hidden layers of the encoder.
    is_convolutional_ : bool
        Whether the corrections are convolutions, see `sample_shape`.
    mean_ : ndarray of shape (n_features,)
        Means of the features. With categories it is that of the one-hot table, which has in
        the place of each such column a column for each category, sorted by name.
    scale_ : float or ndarray of shape (n_features,)
        Divisor of the centred features, in the units of X: one number for all features, or
        with `standardize` the standard deviation of each, and 1 for a constant feature. The
        one-hot columns of a feature are divided by one number, such that their variances
        sum to one.
    components_ : ndarray of shape (n_components_, n_features)
        Jacobian of the decoder at the mean code, before features are held at ends (see
        `clip`), with rows scaled to unit length, and with `standardize` for standardized
        features. If training gained nothing these are the components of PCA. A feature
        of categories has the length of the entries of its one-hot columns.
    explained_variance_ : ndarray of shape (n_components_,)
        Decrease of the summed squared error, divided by n_samples - 1, when code j joins
        codes 0..j-1 while the others are at their mean, in the units of X or with
        `standardize` in standardized ones. Isotonic regression makes it non-increasing and
        keeps the sum. It is computed from evenly spaced rows if there are more than
        2**15 / n_components_ of them, but from at least 1024 and at most 4096.
    explained_variance_ratio_ : ndarray of shape (n_components_,)
        The same, divided by the total variance. The sum is the R² of the reconstruction.
    singular_values_ : ndarray of shape (n_components_,)
        Singular values, sqrt((n_samples - 1) * explained_variance_).
    dispersion_ : ndarray of shape (n_features,)
        Dispersions of counts, with `loss="negative_binomial"`: the variance of a count of
        rate r is r + dispersion_ * r².
    noise_variance_ : float
        Variance that is not reconstructed, divided by min(n_samples, n_features) -
        n_components_; 0 if that is 0.
    n_iter_ : int
        Number of epochs trained; 0 if the outcome was PCA from the start.
    best_epoch_ : int
        Epoch whose weights are kept; 0 is PCA.
    outcome_ : {"trained", "pca", "unchanged"}
        Model that is kept: the network of an epoch; PCA, or for losses with units of their
        own the linear model that starts from it; or, with a warm start, the network as it
        was before, if no epoch was certainly better.
    loss_curve_ : list of float
        Mean loss of the batches of each epoch, per feature and in the units of `score`.
    validation_curve_ : list of float
        The same for held-out rows, beginning with epoch 0, the untrained network: PCA, with
        features held at their ends if that alone is a gain, see `clip`.
    pca_score_ : float
        Minus the error of PCA with the same number of components, in the units of
        `validation_curve_` and for the same rows. For "binary_cross_entropy" it is that of
        the logistic decoder of PCA's scores.
    net_ : skorch.NeuralNet
        Net of skorch, whose `module_` is the network that is kept. The network takes
        centred and scaled rows. A `module` of your own is `module_` itself with
        `init="random"`, otherwise `module_.corrections.module`. The `history` of the net
        holds what `callbacks` saw of each epoch: `train_loss`, the mean over the networks
        that are trained together, and `valid_loss`, both in the units of `score`, and
        `dur`, in seconds. In a copy from pickle or a file it is empty.
    device_ : torch.device
        Device of the network.
    is_categorical_ : ndarray of bool of shape (n_features,), or None
        Which features hold categories. None if there are none.
    categories_ : list of ndarray
        The categories of each of these features, in the order of their codes, which is that
        of their dtype in a frame, or sorted. Not defined if there are none.
    n_samples_ : int
        Number of rows of the training data.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if X had string names.

    See Also
    --------
    sklearn.decomposition.PCA : The linear model that training starts from.

    Notes
    -----
    The weights that are validated and kept are averages over the last part of the
    optimizer's trajectory [3]_, so that training may stop at any time.

    The defaults were chosen by seconds and held-out error together, see "Default fits" and
    "Other defaults" in `examples/benchmarks/README.md`.

    Parameters that `set_params` changes after a fit take effect with the next `fit`, or
    with the first `partial_fit` after a `fit`. Until then the fitted estimator and all
    copies of it, made with pickle, joblib, `copy.deepcopy` or `save`, use the parameters
    of the last fit, whereas `get_params`, `clone` and scikit-learn's tags show the new
    ones. `partial_fit`, and `fit` with `warm_start`, refuse to go on with a network if
    the new parameters would have made another one.

    A dense network is trained in the coordinates of the principal axes if the table is
    cross-fitted or has fewer rows than columns. If there are fewer axes than columns, they
    hold everything that can be learned from the table.

    References
    ----------
    .. [1] Hinton and Salakhutdinov (2006), "Reducing the Dimensionality of Data with
       Neural Networks", Science 313.
    .. [2] Goodfellow, Bengio and Courville (2016), "Deep Learning", chapter 14.
    .. [3] Shamir and Zhang (2013), "Stochastic Gradient Descent for Non-smooth
       Optimization: Convergence Results and Optimal Averaging Schemes", ICML.
    .. [4] Bachlechner, Majumder, Mao, Cottrell and McAuley (2021), "ReZero is All You Need:
       Fast Convergence at Large Depth", UAI.
    .. [5] De and Smith (2020), "Batch Normalization Biases Residual Blocks Towards the
       Identity Function in Deep Networks", NeurIPS.
    .. [6] Yang et al. (2021), "Tuning Large Neural Networks via Zero-Shot Hyperparameter
       Transfer", NeurIPS.
    .. [7] Malladi, Lyu, Panigrahi and Arora (2022), "On the SDEs and Scaling Rules for
       Adaptive Gradient Algorithms", NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
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

    What is kept, and when: the epoch that is best for rows which were not trained on, or
    PCA, which is epoch 0.

    >>> ae.best_epoch_ == int(np.argmin(ae.validation_curve_)), ae.outcome_
    (True, 'trained')
    >>> AutoencoderTransformer(8, hidden_layer_sizes=()).fit(X).outcome_
    'pca'

    Rows that depend on each other, such as those of one patient: rows of a group are never
    on both sides.

    >>> of_patient = np.arange(len(X)) // 10
    >>> quick = AutoencoderTransformer(8, max_epochs=3, random_state=0)
    >>> quick = quick.fit(X, groups=of_patient)

    Units: `score` and `inverse_transform` are in those of X. With `standardize` scores and
    components are in standardized units, and `inverse_transform` still is in those of X.

    >>> standardized = AutoencoderTransformer(8, standardize=True, max_epochs=3).fit(X)
    >>> standardized.inverse_transform(standardized.transform(X)).max() > 10
    np.True_

    `net_` takes rows that are centred and scaled, and its errors are in units of `score`.

    >>> scaled = torch.tensor((X - quick.mean_) / quick.scale_, dtype=torch.float32)
    >>> X_hat = quick.net_.module_(scaled).detach().numpy() * quick.scale_ + quick.mean_
    >>> np.allclose(X_hat.clip(0, 16), quick.denoise(X).clip(0, 16), atol=1e-3)
    True

    Convolutions for images, whose rows keep their two axes; and a network of one's own,
    here a single layer on each side.

    >>> image = AutoencoderTransformer(8, sample_shape=(1, 8, 8), max_epochs=1).fit(X)
    >>> image.transform(X).shape
    (1797, 8)
    >>> class Own(torch.nn.Module):
    ...     def __init__(self, n_inputs, n_components, generator=None):
    ...         super().__init__()
    ...         self.encoder = torch.nn.Linear(n_inputs, n_components)
    ...         self.decoder = torch.nn.Linear(n_components, n_inputs)
    ...
    ...     def encode(self, X):
    ...         return self.encoder(X).tanh()
    ...
    ...     def decode(self, Z):
    ...         return self.decoder(Z)
    >>> AutoencoderTransformer(8, module=Own, max_epochs=1).fit(X).transform(X).shape
    (1797, 8)
    """

    _parameter_constraints: dict = BaseAutoencoder._parameter_constraints | {
        "hidden_layer_sizes": [tuple, list, np.ndarray, StrOptions({"auto"})],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
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
        sample_shape=None,
        activation="silu",
        init="pca",
        loss="squared_error",
        exposure="auto",
        code_activation="identity",
        ordered=False,
        whiten=False,
        standardize=False,
        clip="auto",
        allow_nan=False,
        categorical_features="from_dtype",
        handle_unknown="error",
        dropout=0.0,
        normalization=None,
        tied_weights=False,
        noise=None,
        regularizer=None,
        weight_decay="auto",
        early_stopping=True,
        cv="auto",
        validation_fraction=0.1,
        n_iter_no_change="auto",
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
        distributed=False,
        warm_start=False,
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.sample_shape = sample_shape
        self.activation = activation
        self.init = init
        self.loss = loss
        self.exposure = exposure
        self.code_activation = code_activation
        self.ordered = ordered
        self.whiten = whiten
        self.standardize = standardize
        self.clip = clip
        self.allow_nan = allow_nan
        self.categorical_features = categorical_features
        self.handle_unknown = handle_unknown
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
        self.time_limit = time_limit
        self.batch_size = batch_size
        self.lr = lr
        self.precision = precision
        self.module = module
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.device = device
        self.distributed = distributed
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def _decide_widths(self, n_samples, n_features, n_expected=None):
        most = min(n_samples, n_features)
        n_components = self._as_int(most)
        if self.init == "pca":
            self._check_pca(n_components, most)
        sample_shape = resolved_shape(self.sample_shape, n_features, type(self).__name__)
        is_plain = self.init == "random" and self.module is None and sample_shape is None
        if self.tied_weights and (not is_plain or self.ordered or self.warm_start):
            raise ValueError(
                f"tied_weights=True of {type(self).__name__} needs init='random', "
                "ordered=False, warm_start=False, sample_shape=None and module=None. Set "
                "these, or tied_weights=False."
            )
        if self.ordered and self.init == "random" and self.module is not None:
            raise ValueError(
                f"ordered=True of {type(self).__name__} needs a decoder that takes "
                "any number of codes, and a module of your own may not do so by itself. "
                "Set init='pca', ordered=False or module=None."
            )
        if isinstance(self.hidden_layer_sizes, str) and self.is_convolutional_:
            hidden_layer_sizes = AUTO_CHANNELS
        elif isinstance(self.hidden_layer_sizes, str):
            n_rows = max(n_samples, n_expected or 0)
            least = n_components if self.init == "random" else 1
            sizes = auto_widths(n_rows, n_features, 2 if self.ordered else 1)
            hidden_layer_sizes = tuple(max(size, least) for size in sizes)
        else:
            hidden_layer_sizes = given_widths(self)
        if self.tied_weights and not hidden_layer_sizes:
            raise ValueError(
                f"tied_weights=True of {type(self).__name__} needs hidden layers, got "
                f"hidden_layer_sizes={self.hidden_layer_sizes!r}."
            )
        return n_components, hidden_layer_sizes

    def _as_int(self, most):
        """Return `n_components` as an int; 1 as a first value if it is a share."""
        if self.n_components == "mle":
            raise ValueError(
                f"n_components='mle' of {type(self).__name__} is not allowed, because "
                "Minka's estimate is for PCA's Gaussian model. Set a share of the variance "
                "to keep, such as n_components=0.95."
            )
        if self.n_components is None:
            return most
        if self.n_components >= 1:
            return int(self.n_components)
        if self._columns is not None:
            raise ValueError(
                f"n_components={self.n_components!r} of {type(self).__name__} is a share "
                "of the variance, which columns of categories do not have. Set a number "
                "of components."
            )
        if self.loss != "squared_error":
            raise ValueError(
                f"n_components={self.n_components!r} of {type(self).__name__} is a share "
                f"of the variance, which needs loss='squared_error', got {self.loss!r}."
            )
        return 1

    def _check_pca(self, n_components, most):
        """Refuse parameters that contradict a start from PCA."""
        if n_components > most:
            raise ValueError(
                f"n_components={self.n_components!r} of {type(self).__name__} must be "
                f"between 1 and min(n_samples, n_features)={most} with init='pca', because "
                "PCA has no more. Set init='random' for a code wider than the data."
            )
        if self.code_activation != "identity":
            raise ValueError(
                f"code_activation={self.code_activation!r} of {type(self).__name__} "
                "needs init='random', because PCA's codes are linear. Set init='random' or "
                "code_activation='identity'."
            )

    @property
    def is_categorical_(self):
        """Which features hold categories; None if there are none."""
        columns = columns_of(self)
        return None if columns is None else columns.is_categorical

    @property
    def categories_(self):
        """The categories of each of these features, by their codes."""
        columns = columns_of(self)
        if columns is None:
            raise AttributeError(
                f"{type(self).__name__} has categories_ only once it is fitted to a table "
                "with columns of categories."
            )
        return [np.array(values) for values in columns.categories]

    @property
    def _network_kind(self):
        params = self._params_of_fit
        if params["module"] is not None:
            return GatedOwnNetwork if params["init"] == "pca" else OwnNetwork
        return ConvolutionalAutoencoder if self.is_convolutional_ else DenseAutoencoder

    def _make_module(self, n_inputs, n_outputs, generator):
        kind = self._network_kind
        if kind is OwnNetwork:
            width = n_outputs * (1 + self._loss.n_constants)
            return self._make_own(n_outputs, width, generator)
        params = self._params_of_fit
        options = {
            "n_constants": self._loss.n_constants * self.n_features_in_,
            "ordered": params["ordered"],
        }
        if kind is DenseAutoencoder:
            return DenseAutoencoder(
                n_inputs,
                self.n_components_,
                n_outputs,
                self.hidden_layer_sizes_,
                **self._layer_options(generator),
                **options,
            )
        options |= {"n_marks": n_inputs - n_outputs}
        if kind is GatedOwnNetwork:
            own = self._make_own(n_outputs, n_outputs, generator)
            network = GatedOwnNetwork(own, n_outputs, self._n_codes, **options)
        else:
            network = ConvolutionalAutoencoder(
                self.sample_shape_,
                self._n_codes,
                self.hidden_layer_sizes_,
                **self._layer_options(generator),
                **options,
            )
        if self._n_left_out:
            network.truncate(self.n_components_)
        return network

    def _layer_options(self, generator):
        """Return the arguments of the layers of a network of the package."""
        names = "activation", "code_activation", "dropout", "normalization"
        params = {name: self._params_of_fit[name] for name in names}
        linear_path = self._params_of_fit["init"] == "pca"
        return params | {"linear_path": linear_path, "generator": generator}
