"""
Hyper-parameters by Optuna with pruning
=======================================

Optuna proposes layer widths, dropout rates and weight decays. After each epoch a callback
reports the error of held-out rows to Optuna, which ends a trial that is not among the best
third so far. This example needs Optuna: ``pip install optuna``.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from skorch.callbacks import Callback

from skae import AutoencoderTransformer

try:
    import optuna
except ImportError:
    print("This example needs Optuna, which is not installed: pip install optuna")
    raise SystemExit(0) from None

X = load_digits().data / 16  # all pixels have the same unit, so one scale for all
X_rest, X_test = train_test_split(X, test_size=0.4, random_state=0)
X_train, X_val = train_test_split(X_rest, test_size=0.3, random_state=0)

# %%
# A callback that ends bad trials
# -------------------------------
# Callbacks are those of skorch. They find the losses of all epochs in `net.history`. If a
# callback raises an error, `fit` raises it too, and Optuna ends the trial at a
# `TrialPruned`. Estimators and searches copy their callbacks; a copy of this one reports to
# the same trial.


class Prune(Callback):
    """Reports the error of each epoch to a trial, and ends the fit of a bad trial."""

    def __init__(self, trial):
        self.trial = trial

    def __deepcopy__(self, memo):
        return Prune(self.trial)

    def on_epoch_end(self, net, **kwargs):
        epoch = net.history[-1]
        self.trial.report(epoch["valid_loss"], epoch["epoch"])
        if self.trial.should_prune():
            raise optuna.TrialPruned


# %%
# The study
# ---------
# With `X_val`, all rows of `X_train` are trained on, and the rows of `X_val` choose the
# epoch. The same rows score a trial here. The test rows are only used at the end.

N_COMPONENTS, MAX_EPOCHS = 8, 30


def autoencoder(params, **more):
    """Return an estimator with parameters that are named as in the study."""
    params = dict(params)
    width = params.pop("width")
    layers = (width, width // 2)
    return AutoencoderTransformer(
        N_COMPONENTS, hidden_layer_sizes=layers, random_state=0, **params, **more
    )


def objective(trial):
    """Return the mean squared error of the validation rows."""
    params = {
        "width": trial.suggest_int("width", 16, 256, step=16),
        "dropout": trial.suggest_float("dropout", 0, 0.4),
        "weight_decay": trial.suggest_float("weight_decay", 1e-4, 1, log=True),
    }
    model = autoencoder(params, max_epochs=MAX_EPOCHS, callbacks=[Prune(trial)])
    model.fit(X_train, X_val=X_val)
    trial.set_user_attr("curve", model.validation_curve_)
    return -model.score(X_val)


optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(
    sampler=optuna.samplers.TPESampler(n_startup_trials=6, seed=0),
    pruner=optuna.pruners.PercentilePruner(33.0, n_startup_trials=4, n_warmup_steps=4),
)
study.optimize(objective, n_trials=14)
pruned = [t for t in study.trials if t.state == optuna.trial.TrialState.PRUNED]
n_epochs = sum(len(trial.intermediate_values) for trial in study.trials)
print(f"{len(pruned)} of {len(study.trials)} trials pruned")
print(f"{n_epochs} epochs instead of {MAX_EPOCHS * len(study.trials)} at most")
for name, value in study.best_params.items():
    print(f"best {name:13} {value:.4g}")

# %%
# Is it worth it?
# ---------------
# The best parameters, the defaults and PCA are fitted to the training rows and compared on
# rows that no trial has seen. Both autoencoders get twice as many epochs as in the trials.

models = {
    "PCA": PCA(N_COMPONENTS).fit(X_train),
    "defaults": AutoencoderTransformer(N_COMPONENTS, max_epochs=60, random_state=0),
    "tuned": autoencoder(study.best_params, max_epochs=60),
}
errors = {}
for name, model in models.items():
    if name != "PCA":
        model.fit(X_train, X_val=X_val)
    X_hat = model.inverse_transform(model.transform(X_test))
    errors[name] = np.square(X_hat - X_test).mean()
    print(f"{name:9} test error {errors[name]:.5f} per pixel")

# %%
# The left panel shows the held-out error of each trial divided by that of PCA. Pruned
# trials are grey. The right panel shows the test errors divided by that of PCA.

plt.rcParams.update({"font.size": 9, "axes.spines.right": False, "axes.spines.top": False})
figure, (left, right) = plt.subplots(
    1, 2, figsize=(6.9, 3.0), layout="constrained", width_ratios=[2.2, 1]
)
pca_loss = study.best_trial.user_attrs["curve"][0]  # epoch 0 is PCA
unit = study.best_trial.user_attrs["curve"][1] / study.best_trial.intermediate_values[1]
for trial in study.trials:
    epochs, losses = zip(*trial.intermediate_values.items(), strict=True)
    shares = np.array(losses) * unit / pca_loss
    is_best, is_pruned = trial.number == study.best_trial.number, trial in pruned
    color = "#0072B2" if is_best else "0.6" if is_pruned else "#56B4E9"
    left.plot(epochs, shares, color=color, lw=2.2 if is_best else 0.9, zorder=2 + is_best)
    if is_pruned:
        left.plot(epochs[-1], shares[-1], "x", color="#D55E00", ms=5, zorder=4)
for style, label in [
    ({"color": "#0072B2", "lw": 2.2}, "best trial"),
    ({"color": "#56B4E9", "lw": 0.9}, "other trials"),
    ({"color": "0.6", "marker": "x", "mec": "#D55E00", "lw": 0.9}, "pruned"),
]:
    left.plot([], [], label=label, **style)
left.axhline(1, color="black", ls="--", lw=1)
left.annotate("PCA", (MAX_EPOCHS, 1), (0, 3), textcoords="offset points", ha="right")
left.set(xlabel="epoch", ylabel="held-out error / PCA's", yscale="log")
left.set_yticks([0.4, 0.6, 0.8, 1.0, 1.2], ["0.4", "0.6", "0.8", "1.0", "1.2"])
left.minorticks_off()
left.legend(frameon=False, loc="upper center", ncols=3, bbox_to_anchor=(0.5, 1.16))

shares = [error / errors["PCA"] for error in errors.values()]
bars = right.bar(list(errors), shares, color=["0.6", "#56B4E9", "#0072B2"], width=0.65)
right.bar_label(bars, [f"{share:.2f}" for share in shares], padding=2)
right.set(ylabel="test error / PCA's", ylim=(0, 1.12))
plt.show()
