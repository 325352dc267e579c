"""How a fit goes: from checked arguments to a network and what is read of it."""

import contextlib
import copy
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator

from skae._compat import draw_seed
from skae._engine.checkpoint import Checkpoint, described, fingerprint
from skae._engine.corruption import Hide, noise_units
from skae._engine.skorch_net import build_net, check_callbacks
from skae._model.explained_variance import attributes, describe
from skae._model.model import Inference
from skae._tables.checks import check_rows, check_table
from skae._tables.dependence import check_groups, splits_of
from skae._tables.fit_data import Given
from skae._tables.missing import Filler
from skae._tables.rows import is_streamed, rows_of
from skae._tables.table import make_table
from skae._torch import (
    memory_explained,
    random_states_kept,
    resolve_device,
    seeded_scope,
    thread_limit,
)
from skae._training.component_search import fewest_components
from skae._training.settings import Recipe
from skae._training.stream import Ongoing
from skae._training.training import Training
from skae.losses._resolve import resolve_loss
from skae.noise import resolve_noise
from skae.regularizers import resolve_regularizers

__all__ = ["FittingSteps"]

MEASURED = 2**23  # values, at most, that statistics for a loss are computed from
SMALLEST = 1e-6  # deviation of a code that is whitened, as a share of the largest
# Parameters that are of no use once a fit has ended. They may hold anything, such as an
# open file, so that an estimator keeps them nowhere but in the parameter itself.
OF_THE_FIT_ALONE = {
    "callbacks",
    "checkpoint",
    "cv",
    "noise",
    "random_state",
    "regularizer",
    "verbose",
    "warm_start",
}
# Parameters that decide which network is made, and in which units it works.
OF_THE_NETWORK = (
    "activation",
    "allow_nan",
    "code_activation",
    "dropout",
    "init",
    "loss",
    "module",
    "normalization",
    "ordered",
    "standardize",
    "tied_weights",
)
WIDTHS = {"n_components": "n_components_", "hidden_layer_sizes": "hidden_layer_sizes_"}


class FittingSteps(BaseEstimator):
    """The private steps of `BaseAutoencoder`, which has the public methods.

    A user may change parameters of a fitted estimator, for the next fit. So everything
    that is done with the fitted network, and every copy that is made of it, goes by
    `_params_of_fit`, a dict of the parameters that the last fit was made with.
    """

    def _parameter_names(self):
        """Names of all parameters, also of those that a subclass does not hand on.

        A subclass whose `__init__` takes some of the parameters, and gives values of its
        own to the others, has only the former in `get_params`.
        """
        kinds = [kind for kind in type(self).__mro__ if issubclass(kind, BaseEstimator)]
        return sorted({name for kind in kinds for name in kind._get_param_names()})

    def _note_parameters(self):
        """Note the parameters as those that this fit is made with."""
        self._params_of_fit = {
            name: _contents(getattr(self, name))
            for name in self._parameter_names()
            if name not in OF_THE_FIT_ALONE
        }

    def _check_network(self, who, remedy, names=OF_THE_NETWORK):
        """Refuse to go on with a network that other parameters had made."""
        changed = [name for name in names if not self._is_as_fitted(name)]
        if changed:
            before = ", ".join(f"{n}={self._params_of_fit[n]!r}" for n in changed)
            now = ", ".join(f"{n}={getattr(self, n)!r}" for n in changed)
            raise ValueError(
                f"{who} of {type(self).__name__} goes on with the network of the last "
                f"fit, which was made with {before}, but now {now}. Set the parameters "
                f"back, or {remedy}."
            )

    def _is_as_fitted(self, name):
        now, before = getattr(self, name), self._params_of_fit[name]
        if callable(now) or callable(before):
            return now == before
        values = [before, getattr(self, WIDTHS[name])] if name in WIDTHS else [before]
        return described(_contents(now)) in map(described, values)

    def _fit(self, X, y, sample_weight, groups, X_val, X_target, callbacks):
        if self.warm_start and hasattr(self, "net_"):
            self._check_network("warm_start=True", "set warm_start=False to start anew")
        self._note_parameters()
        given = self._given(X, sample_weight, X_val, X_target, y=y, groups=groups)
        self._begin(given)
        seed = draw_seed(self.random_state)
        self._has_marks = given.observed is not None
        initial = self._initial(given.X)
        checkpoint = self._open_checkpoint(given, seed, initial)
        seed = seed if checkpoint is None else checkpoint.seed
        self._set_statistics(given, seed, is_new=initial is None)
        nothing = contextlib.nullcontext()
        scope = nothing if self.module is None else seeded_scope(seed)
        with memory_explained(self, given.X.shape) as sizes, scope, checkpoint or nothing:
            self._train(given, seed, initial, callbacks, checkpoint, sizes)

    def _go_on(self, X, sample_weight):
        is_first = not hasattr(self, "net_")
        if not is_first:
            names = *OF_THE_NETWORK, *WIDTHS
            self._check_network("partial_fit", "call fit to start anew", names)
        if is_first or self._ongoing is None:
            self._note_parameters()
            self.device_ = resolve_device(self.device, owner=type(self).__name__)
        given = self._given(X, sample_weight, is_first=is_first)
        if is_first:
            if self._wants_share:
                raise ValueError(
                    f"partial_fit of {type(self).__name__} needs a number of components, "
                    f"got n_components={self.n_components!r}."
                )
            self._has_marks = self.allow_nan
            self._begin(given)
            self._set_statistics(given, draw_seed(self.random_state))
        else:
            check_rows(self._loss, given.goal, self, given.numbers)
        filler = self._make_filler()
        table = make_table(given, self._loss, self.mean_, self.scale_, filler)
        if self._has_marks and table.observed is None:
            table.observed = np.ones(given.X.shape, dtype=bool)
        if self._ongoing is None:
            of_data = {
                "spoiling": self._spoiling(given),
                "hide": Hide(filler, 0.0) if self._has_marks else None,
                "unit": self._unit(),
            }
            seed, recipe = draw_seed(self.random_state), self._recipe(**of_data)
            initial = None if is_first else copy.deepcopy(self.net_.module_)
            of_fit = seed, self.device_, self._make_module, initial
            self._ongoing = Ongoing(table, self._loss, recipe, *of_fit)
            self._ongoing.n_seen = 0 if is_first else self.n_samples_
        self.net_ = self._net_of(self._ongoing.take(table))
        self._read_curves(self._ongoing)
        self.n_samples_seen_ = self.n_samples_
        initial = None if self._ongoing.in_coordinates else self.net_
        with thread_limit(self._ongoing.n_threads):
            self._read_codes(self._ongoing, initial)

    def _begin(self, given):
        """Forget a stream, and decide widths, device and loss."""
        self._ongoing = None
        check_callbacks(self.callbacks, type(self).__name__)
        self._check_widths(*given.X.shape)
        self.device_ = resolve_device(self.device, owner=type(self).__name__)
        self._loss = self._resolve_loss()
        if self.module is not None:  # its mistakes show before anything is computed
            with random_states_kept():
                self._make_module(self.n_features_in_, self.n_features_in_, None)

    def _set_statistics(self, given, seed, is_new=True):
        """What is computed of the rows before training; a warm start keeps its scale."""
        if is_new:
            self.mean_, self.scale_ = given.location_and_scale(self.standardize)
        self._set_filler(given, seed)
        self._set_loss(given)

    def _given(
        self,
        X,
        sample_weight,
        X_val=None,
        X_target=None,
        is_first=True,
        y=None,
        groups=None,
    ):
        """The arguments of `fit`, checked."""
        least = 2 if is_first else 1
        sizes = {"reset": is_first, "ensure_min_samples": least}
        given = Given(check_table(self, X, for_fit=True, **sizes))
        if X_target is not None:
            named = {"for_fit": True, "input_name": "X_target"}
            given.X_target = check_table(self, X_target, reset=False, **named)
            if is_streamed(given.X) or is_streamed(given.X_target):
                raise ValueError(
                    f"X_target of {type(self).__name__}.fit and its X must be held in "
                    "memory, and one of them is too large: it would be read in parts. "
                    "Take fewer rows, or leave out X_target."
                )
            if given.X_target.shape != given.X.shape:
                raise ValueError(
                    f"X_target of {type(self).__name__}.fit has shape "
                    f"{given.X_target.shape}, X has {given.X.shape}: each row of X needs "
                    "its own."
                )
        if X_val is not None:
            given.X_val = self._check_own_rows(X_val, given)
        if groups is not None:
            given.groups = check_groups(groups, given.X)
        if self._holds_out_rows(given):
            given.folds = self._folds(given.X, y, groups)
        if sample_weight is not None:
            given.weigh(sample_weight, least)
        given.sort()
        return given

    def _holds_out_rows(self, given):
        """Whether rows of X itself choose the epoch."""
        has_rule = given.groups is not None or not isinstance(self.cv, str)
        if given.X_val is not None and has_rule:
            raise ValueError(
                f"X_val of {type(self).__name__}.fit holds out rows of its own, and groups "
                "and cv tell which rows of X to hold out. Leave out X_val, or leave out "
                "groups and set cv='auto'."
            )
        return self.early_stopping and given.X_val is None

    def _folds(self, X, y, groups):
        """The splits of a splitter or an iterable; None where skae makes its own."""
        if self.cv is None or isinstance(self.cv, str | Integral):
            if self.module is not None and not isinstance(self.cv, str):
                raise ValueError(
                    f"cv={self.cv!r} of {type(self).__name__} trains several networks, "
                    "and a module of your own is trained once. Set cv='auto', or to a "
                    "splitter with one split, such as ShuffleSplit(1)."
                )
            return None
        folds = splits_of(self.cv, X.shape[0], y, groups, type(self).__name__)
        if self.module is not None and len(folds) > 1:
            raise ValueError(
                f"cv of {type(self).__name__} makes {len(folds)} splits, and a module of "
                "your own is trained once. Pass a splitter with one split, such as "
                "ShuffleSplit(1), or set cv='auto'."
            )
        return folds

    def _check_own_rows(self, X_val, given):
        name = type(self).__name__
        if not self.early_stopping:
            raise ValueError(
                f"X_val of {name}.fit chooses the epoch, and early_stopping=False keeps "
                "the last one. Leave out X_val or set early_stopping=True."
            )
        if given.X_target is not None or is_streamed(given.X):
            raise ValueError(
                f"X_val of {name}.fit goes with an X that is held in memory and is its "
                "own target. Leave out X_val: validation_fraction of the rows is held out."
            )
        named = {"for_fit": True, "input_name": "X_val"}
        X_val = check_table(self, X_val, reset=False, **named)
        if is_streamed(X_val):
            raise ValueError(
                f"X_val of {name}.fit must be held in memory, and is so large that it "
                "would be read in parts. Take some of its rows."
            )
        return X_val.astype(given.X.dtype, copy=False)

    def _set_filler(self, given, seed):
        """What fills missing cells; where X has none it is for rows to come."""
        self._filler = None
        if self._has_marks and (self.module is not None or given.X_target is not None):
            raise ValueError(
                f"X of {type(self).__name__}.fit has missing cells, of which neither a "
                "module of your own nor X_target know. Fill them first, or leave these out."
            )
        target = given.X_target if self.allow_nan else None
        if isinstance(target, np.ndarray) and np.isnan(target).any():
            raise ValueError(
                f"X_target of {type(self).__name__}.fit has missing cells, and what X is "
                "to become must be known. Leave out X_target, or the rows that lack it."
            )
        if self.allow_nan:
            filler = given.filler(self.mean_, self.scale_, seed)
            self._filler = filler.mean.numpy(), filler.weight.numpy(), filler.noise

    def _make_filler(self):
        if self._filler is None:
            return None
        mean, weight, noise = self._filler
        return Filler(torch.from_numpy(mean.copy()), torch.from_numpy(weight.copy()), noise)

    def _outline(self, generator):
        """A network of the shape of the fitted one."""
        n_inputs = self.n_features_in_ * (2 if self._has_marks else 1)
        return self._make_module(n_inputs, self.n_features_in_, generator)

    def _set_loss(self, given=None):
        """The loss for this data; without data, from statistics of an earlier fit."""
        loss = self._resolve_loss()
        if given is not None:
            X = given.goal
            check_rows(loss, X, self, given.numbers)
            if given.X_val is not None:
                check_rows(loss, given.X_val, self)
            some = slice(None, None, -(-X.shape[0] * X.shape[1] // MEASURED))
            needs_rows = loss.statistics is not None
            w = None if given.weights is None else given.weights[some]
            self._loss_statistics = loss.measure(rows_of(X, some), w) if needs_rows else {}
        self._loss = loss.fitted(self._loss_statistics)

    def _resolve_loss(self):
        """The loss as the parameter says it, which knows nothing of the data yet."""
        names = getattr(self, "feature_names_in_", None)
        loss = self._params_of_fit["loss"]
        return resolve_loss(loss, self.n_features_in_, names, type(self).__name__)

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

    def _open_checkpoint(self, given, seed, initial):
        """The file that training is noted in, and goes on from."""
        if self.checkpoint is None:
            return None
        name = type(self).__name__
        if self._wants_share:
            raise ValueError(
                f"checkpoint={self.checkpoint!r} of {name} is of one fit, and "
                f"n_components={self.n_components!r} asks for several. Set n_components "
                "to a number or checkpoint=None."
            )
        others = {"callbacks", "checkpoint", "device", "verbose"}
        names = [name for name in self._parameter_names() if name not in others]
        parameters = {name: getattr(self, name) for name in names}
        if isinstance(self.random_state, np.random.RandomState):
            parameters["random_state"] = f"RandomState that gives {seed}"
        items = fingerprint(name, parameters, given.tables, initial, self.device_)
        return Checkpoint(self.checkpoint, name, items, seed)

    def _widths(self, X):
        n_inputs = X.shape[1] * (2 if self._has_marks else 1)
        return n_inputs, self.n_components_, self.hidden_layer_sizes_

    def _train(self, given, seed, initial, callbacks, checkpoint, sizes):
        filler = self._make_filler()
        dependence = given.dependence() if self._holds_out_rows(given) else None
        of_loss = self._loss, self.mean_, self.scale_, filler
        table = make_table(given, *of_loss, dependence)
        share = table.observed_share
        of_data = {
            "spoiling": self._spoiling(given),
            "hide": Hide(filler, 1 - share) if self._has_marks else None,
            "unit": self._unit() / share,
            "callbacks": [*(self.callbacks or []), *callbacks],
        }

        def prepare(n_components):
            self.n_components_ = n_components
            recipe = self._recipe(**of_data)
            of_fit = seed, self.device_, checkpoint
            training = Training(table, self._loss, recipe, *of_fit)
            sizes["batch_size"] = training.batch_size
            return training

        def run(training):
            return training, training.run(self._make_module, initial)

        if self._wants_share:
            training, net = fewest_components(prepare, run, self.n_components)
        else:
            training, net = run(prepare(self.n_components_))
        self.n_components_ = training.recipe.n_components
        self.net_ = net
        self._read_curves(training)
        with thread_limit(training.n_threads):
            self._read_codes(training, initial)
        if training.interrupt is not None:
            training.interrupt.is_kept = True
            raise training.interrupt

    def _spoiling(self, given):
        noise = resolve_noise(self.noise, type(self).__name__)
        landmarks = given.goal, self.mean_, self.scale_, self._params_of_fit["standardize"]
        return noise and (noise, noise_units(*landmarks))

    def _unit(self):
        """What the engine's errors are multiplied by to be in the units of `score`."""
        unit = np.float64(1 / self.n_features_in_)
        if self._loss.of_scaled and not self._params_of_fit["standardize"]:
            with np.errstate(over="ignore", under="ignore"):
                unit *= np.float64(self.scale_) ** self._loss.degree
        return float(unit)

    def _read_curves(self, training):
        """Attributes about the course of training, in the units of `score`."""
        self.n_samples_ = training.n_seen
        self.n_iter_ = training.n_iter
        self.best_epoch_ = training.best_epoch
        self.loss_curve_ = [*training.train_errors]
        self.validation_curve_ = [*training.held_out_errors]
        self.pca_score_ = -training.pca_error

    def _read_codes(self, training, initial):
        """Attributes about codes, made canonical where the network has changed."""
        inputs, X, weights = training.sample()
        self._fitted_widths = self._widths(X)
        self._n_features_out = self.n_components_
        inference = self._make_inference()
        is_pca = training.is_pca(initial)
        is_as_it_was = initial is not None and self.best_epoch_ == 0
        params = self._params_of_fit
        is_ours = params["module"] is None
        is_linear_code = is_ours and params["code_activation"] == "identity"
        if is_linear_code and not (is_pca or is_as_it_was):
            inference.canonize(inputs, X, self.n_components_, weights)
        start = training.starts[-1]
        shares = start.variances / (start.total or 1.0) if is_pca else None
        of_data = inputs, X, self.n_components_, shares, params["ordered"], weights
        vars(self).update(describe(inference, *of_data, training.n_seen))
        self._set_inference(inference)

    @property
    def _wants_share(self):
        return isinstance(self.n_components, Real) and 0 < self.n_components < 1

    def _recipe(self, **of_data):
        names = set(Recipe.__dataclass_fields__) & set(self._parameter_names())
        params = {name: getattr(self, name) for name in names}
        params["n_components"] = self.n_components_
        is_ours = self.module is None
        from_pca = is_ours and self.init == "pca"
        penalties = resolve_regularizers(
            self.regularizer, self.code_activation, type(self).__name__
        )
        return Recipe(
            is_ours=is_ours,
            from_pca=from_pca,
            is_linear=not self.hidden_layer_sizes_,
            is_seeded=self.random_state is not None or self.checkpoint is not None,
            penalties=tuple(penalties),
            owner=type(self).__name__,
            **(params | of_data),
        )

    def _net_of(self, module):
        """An initialized net around a trained module; there is nothing to call back of."""
        net = build_net(
            module,
            self._loss,
            seed=0,
            device=self.device_,
            callbacks=None,
            weight_decay=self._params_of_fit["weight_decay"],
            lr=self._params_of_fit["lr"],
        )
        net.initialize().module_.eval()
        return net

    def _cut(self, k):
        self.n_components = self.n_components_ = self._n_features_out = k
        self._params_of_fit["n_components"] = k
        self.net_.module_.truncate(k)
        inference = self._make_inference()
        statistics = (a[:k] for a in (self._mean_code, self._code_deviations, self._falls))
        shape = self.n_samples_, self.n_features_in_
        vars(self).update(attributes(inference, shape, *statistics, self._squares))
        self._fitted_widths = (self._fitted_widths[0], k, self.hidden_layer_sizes_)
        self._set_inference(inference)

    def _make_inference(self):
        """The network, told in the units of X or with `standardize` in scaled ones."""
        unit = 1.0 if self._params_of_fit["standardize"] else self.scale_
        of_net = self.net_.module_, self._loss
        of_data = self.mean_, self.scale_, unit, self.device_
        return Inference(*of_net, *of_data, self._make_filler(), self._has_marks)

    def _set_inference(self, inference):
        if self._params_of_fit["whiten"]:
            deviations = self._code_deviations
            varies = deviations > SMALLEST * deviations.max()
            inference.code_scale = 1 / np.where(varies, deviations, 1.0)
        if self._params_of_fit["module"] is None:
            inference.fold()
        self._inference = inference


def _contents(value):
    """A parameter's value, in lists, dicts and arrays that the user does not hold."""
    if type(value) is np.ndarray:
        return value.copy()
    if type(value) is dict:
        return {key: _contents(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_contents, value))
    return value
