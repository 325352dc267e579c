"""One fit of the engine: members, settled cases, and the weights that are kept."""

import dataclasses

import numpy as np
import pytest
import torch

from skae import AutoencoderTransformer
from skae._tables.table import Table
from skae._training.members import make_members
from skae._training.networks import make_networks
from skae._training.settings import FEWEST_EPOCHS, MOST_EPOCHS, STEPS
from skae._training.training import Training, train
from skae.losses import LOSSES
from skae.modules import DenseAutoencoder

from .test_members import SETTINGS

LOSS, CPU = LOSSES["squared_error"], torch.device("cpu")


def table_of(X):
    X = (X - X.mean(axis=0)) / X.std()
    return Table(X, X)


def make_module(n_inputs, n_outputs, generator, width=2):
    return DenseAutoencoder(n_inputs, width, n_outputs, (8,), generator=generator)


def trained(X, initial=None, **changes):
    settings = dataclasses.replace(SETTINGS, **changes)
    return train(
        table_of(X), LOSS, settings, make_module, seed=0, device=CPU, initial=initial
    )


def members_of(X, **changes):
    return make_members(table_of(X), LOSS, dataclasses.replace(SETTINGS, **changes), 0)


@pytest.mark.parametrize(
    ("rows", "columns", "changes", "settled"),
    [
        (200, 6, {}, False),
        (200, 2, {}, True),  # PCA is exact
        (200, 6, {"n_components": 6}, True),
        (19, 6, {}, True),  # nobody is held out
        (19, 6, {"early_stopping": False}, False),
        (200, 2, {"from_pca": False}, False),
    ],
)
def test_is_settled(curved, rows, columns, changes, settled):
    settings = dataclasses.replace(SETTINGS, **changes)
    members = members_of(curved[:rows, :columns], **changes)
    width = settings.n_components
    networks = make_networks(
        members, settings, lambda *sizes: make_module(*sizes, width=width), None, 0
    )
    fit = Training(members, LOSS, settings, networks, 0, CPU)
    assert fit.is_settled == settled


@pytest.mark.parametrize("early_stopping", [True, False])
def test_curves(curved, early_stopping):
    fit = trained(curved, early_stopping=early_stopping)
    assert fit.n_iter == len(fit.train_errors) == len(fit.net.history) == 4
    assert len(fit.held_out_errors) == (5 if early_stopping else 0)
    assert not fit.net.module_.training
    if early_stopping:
        assert fit.held_out_errors[0] == pytest.approx(fit.pca_error)
        assert fit.best_epoch == np.argmin(fit.held_out_errors)


def test_the_network_is_in_the_units_of_x(curved):
    fit = trained(curved, early_stopping=False)
    module = fit.net.module_
    X = torch.from_numpy(fit.members.table.X).float()
    with torch.inference_mode():
        error = float(LOSSES["squared_error"].function(module(X), X).mean())
    assert error < fit.pca_error
    assert error == pytest.approx(fit.train_errors[-1], rel=0.5)


def test_a_trained_network_goes_on(curved):
    first = trained(curved, early_stopping=False)
    module = first.net.module_
    kept = [p.clone() for p in module.parameters()]
    second = trained(curved, module, early_stopping=False)
    assert second.train_errors[0] < first.train_errors[0]
    assert all(map(torch.equal, kept, module.parameters()))


@pytest.mark.parametrize("n", [20, 100, 2000, 10_000, 100_000, 400_000, 2_000_000])
def test_auto_sizes(n):
    settings = dataclasses.replace(SETTINGS, batch_size="auto", max_epochs="auto")
    batch_size, max_epochs = settings.sizes(n)
    usual = max(16, min(4 * np.sqrt(n), n / 8))
    times = 2 if usual > 724 else 1  # half the batches, and therefore twice the steps
    assert batch_size <= 1024
    assert batch_size == 1024 or 0.7 < batch_size / (usual / times) < 1.5
    steps = max_epochs * n / batch_size
    assert FEWEST_EPOCHS <= max_epochs <= MOST_EPOCHS
    is_bound = max_epochs in (FEWEST_EPOCHS, MOST_EPOCHS)
    times = max(times, 4 * np.sqrt(n) / 1024)
    assert is_bound or steps == pytest.approx(times * STEPS, rel=0.3)


@pytest.mark.parametrize(
    ("n", "batch_size"), [(160, 16), (600, 64), (1000, 64), (5000, 64), (20_000, 128)]
)
def test_smaller_batches(n, batch_size):
    auto = dataclasses.replace(SETTINGS, batch_size="auto", max_epochs="auto")
    smaller = dataclasses.replace(auto, batch_share=0.25)
    _, usual_epochs = auto.sizes(n)
    found, max_epochs = smaller.sizes(n)
    assert found == batch_size
    assert usual_epochs == MOST_EPOCHS or max_epochs == usual_epochs // 2
    own = dataclasses.replace(smaller, batch_size=48)
    assert own.sizes(n) == dataclasses.replace(auto, batch_size=48).sizes(n)


def test_steps_are_smaller_where_few_rows_have_most_of_the_exposure():
    rng = np.random.default_rng(0)
    rates = {}
    for name, exposure in {"even": np.ones(60), "uneven": np.r_[np.ones(59), 1e3]}.items():
        X = rng.poisson(20 * exposure[:, None] * rng.dirichlet(np.ones(5), 60))
        how = {"loss": "poisson", "early_stopping": False, "max_epochs": 1}
        ae = AutoencoderTransformer(2, random_state=0, **how).fit(X, exposure=exposure)
        rates[name] = ae.net_.lr
    share = np.r_[np.ones(59), 1e3].mean() ** 2 / np.square(np.r_[np.ones(59), 1e3]).mean()
    assert rates["uneven"] == pytest.approx(rates["even"] * np.sqrt(share))
