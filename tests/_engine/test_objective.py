"""Objective: what counts in a step counts for held-out rows, in one unit."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from skae import AutoencoderTransformer
from skae._engine.batches import Batch, Rows
from skae._engine.objective import Objective
from skae.losses import LOSSES
from skae.losses._base import SLOPE
from skae.modules import DenseAutoencoder, DenseVariational
from skae.modules._base import Network, set_generators
from skae.modules._stack import stack
from skae.regularizers import L1Code

N, P, K = 20, 6, 2
SQUARED = LOSSES["squared_error"]


def draw(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


class WithTerm(DenseAutoencoder):
    """Adds to the loss of each row the length of its code."""

    def encode_with_loss(self, X):
        Z = self.encode(X)
        return Z, Z.square().sum(-1)


def network(kind=WithTerm, seed=0, **params):
    generator = torch.Generator().manual_seed(seed)
    return kind(P, K, P, (4,), generator=generator, **params).eval()


def errors_by_hand(module, X):
    Z = module.encode(X)
    return (module.decode(Z) - X).square().sum(-1) + Z.square().sum(-1)


def test_a_term_of_the_network_counts_in_both():
    module, X = network(), draw(N, P)
    expected = errors_by_hand(module, X).detach()
    objective = Objective(SQUARED)
    loss, output = objective.step(module, Batch(X, X))
    torch.testing.assert_close(loss.detach(), expected.mean())
    torch.testing.assert_close(output, module(X))
    errors = objective.row_errors(module, Rows(X, X, [np.arange(N)]))
    np.testing.assert_allclose(errors, expected[None].numpy(), rtol=1e-6)


def test_a_term_is_weighted_as_the_loss_is():
    module, X, weights = network(), draw(N, P), draw(N).square()
    expected = (errors_by_hand(module, X) * weights).mean()
    loss, _ = Objective(SQUARED).step(module, Batch(X, X, weights))
    torch.testing.assert_close(loss, expected)


def test_a_term_has_a_gradient():
    module, X = network(), draw(N, P)
    weights = list(module.parameters())
    expected = torch.autograd.grad(errors_by_hand(module, X).mean(), weights)
    loss, _ = Objective(SQUARED).step(module, Batch(X, X))
    torch.testing.assert_close(torch.autograd.grad(loss, weights), expected)


def test_a_term_of_a_stack():
    modules, X = [network(seed=seed) for seed in range(3)], draw(3, N, P)
    pairs = [*zip(modules, X, strict=True)]
    expected = torch.stack([errors_by_hand(*pair) for pair in pairs]).detach()
    joined, objective = stack(modules), Objective(SQUARED)
    loss, _ = objective.step(joined, Batch(X, X))
    torch.testing.assert_close(loss.detach(), expected.mean(-1).sum())
    index = [np.arange(5), np.arange(0), np.arange(7, N)]
    errors = objective.row_errors(joined, Rows(X, X, index))
    parts = [row[rows] for row, rows in zip(expected.numpy(), index, strict=True)]
    held_out = [row[: len(rows)] for row, rows in zip(parts, index, strict=True)]
    np.testing.assert_allclose(errors[0], np.concatenate(held_out), rtol=1e-5)


def test_a_term_at_every_number_of_ordered_codes():
    module, X = network(ordered=True), draw(N, P)
    objective = Objective(SQUARED, n_cuts=3, cuts=(1, 2))
    errors = objective.row_errors(module, Rows(X, X, [np.arange(N)]))
    Z = module.encode(X)
    for cut, found in zip((1, 2), errors, strict=True):
        loss = (module.decode(Z[:, :cut]) - X).square().sum(-1)
        expected = loss + Z.square().sum(-1)
        np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-5)
    loss, _ = objective.step(module, Batch(X, X))  # in evaluation mode all codes stay
    torch.testing.assert_close(loss, errors_by_hand(module, X).mean())


def test_held_outputs_have_a_slope():
    """Outputs of -2 are held at 0; the targets are 0, and 1 in the first column."""
    loss, X = SQUARED.with_ends(np.zeros(P), np.full(P, np.inf)), torch.zeros(N, P)
    X[:, 0] = 1.0
    output = torch.full((N, P), -2.0, requires_grad=True)
    objective, gradient = Objective(loss), torch.zeros(N, P)
    gradient[:, 0] = -2 * SLOPE / N
    error = objective(output, Batch(X, X))
    assert error.item() == 1.0
    (found,) = torch.autograd.grad(error, output)
    torch.testing.assert_close(found, gradient)

    class Constant(DenseAutoencoder):
        def decode(self, Z):
            return torch.full((*Z.shape[:-1], P), -2.0)

    module, rows = network(Constant), Rows(X, X, [np.arange(N)])
    assert (objective.row_errors(module, rows) == 1.0).all()
    assert (objective.row_errors(module, rows, holds=False) == 9 + 4 * (P - 1)).all()


@pytest.mark.parametrize("n_draws", [1, 3])
def test_codes_that_are_drawn_are_weighted_by_importance(n_draws):
    module, X, weights = network(DenseVariational), draw(N, P), draw(N).square()
    rows = Rows(X, X, [np.arange(N)])
    set_generators(module, 0, "cpu")
    with torch.no_grad():
        if n_draws == 1:
            Z, ratios = module.encode_with_loss(X)
        else:
            Z, ratios = module.draw(X, n_draws)
        errors = (module.decode(Z) - X.repeat(n_draws, 1)).square().sum(-1) + 0.5 * ratios
        bound = -(-errors.reshape(n_draws, N)).exp().mean(0).log()
    objective = Objective(SQUARED, n_draws=n_draws, beta=0.5)
    set_generators(module, 0, "cpu")
    loss, _ = objective.step(module, Batch(X, X, weights))
    torch.testing.assert_close(loss.detach(), (bound * weights).mean())
    found = objective.row_errors(module, rows)
    np.testing.assert_allclose(found, bound[None].numpy(), rtol=1e-5)


def test_more_codes_have_a_tighter_bound():
    module, X = network(DenseVariational), draw(N, P).repeat(50, 1)
    rows = Rows(X, X, [np.arange(len(X))])
    bounds = [
        Objective(SQUARED, n_draws=n).row_errors(module, rows).mean() for n in (1, 20)
    ]
    assert bounds[1] < bounds[0]


def test_penalties_count_in_a_step_alone():
    module, X = network(DenseAutoencoder), draw(N, P)
    rows = Rows(X, X, [np.arange(N)])
    plain, penalized = Objective(SQUARED), Objective(SQUARED, penalties=[L1Code(0.5)])
    batch = Batch(X, X)
    more = penalized.step(module, batch)[0] - plain.step(module, batch)[0]
    torch.testing.assert_close(more, 0.5 * module.encode(X).abs().sum(-1).mean())
    errors = penalized.row_errors(module, rows)
    assert np.array_equal(errors, plain.row_errors(module, rows))


def test_any_network_with_encode_and_decode():
    class Plain(Network):
        def __init__(self):
            super().__init__()
            self.encode, self.decode = nn.Linear(P, K), nn.Linear(K, P)

    module, X = Plain(), draw(N, P)
    loss, output = Objective(SQUARED).step(module, Batch(X, X))
    torch.testing.assert_close(loss, (module(X) - X).square().sum(-1).mean())
    torch.testing.assert_close(output, module(X))


# -- through the estimator -------------------------------------------------------------


def own(more):
    """A module that adds a number to the loss of every row."""

    class Own(nn.Module):
        def __init__(self, n_features, n_components):
            super().__init__()
            self.encode = nn.Linear(n_features, n_components)
            self.decode = nn.Linear(n_components, n_features)

        def encode_with_loss(self, X):
            return self.encode(X), torch.full(X.shape[:-1], more).to(X)

    return Own


class Notes(Callback):
    seen = []

    def on_epoch_end(self, net, **kwargs):
        self.seen.append((net.history[-1, "train_loss"], net.history[-1, "valid_loss"]))


@pytest.mark.parametrize("standardize", [False, True])
def test_curves_and_callbacks_have_the_term_in_the_units_of_score(curved, standardize):
    X, Notes.seen = 10 * curved, []
    params = {"max_epochs": 3, "batch_size": 16, "random_state": 0, "n_components": 2}
    params |= {"standardize": standardize, "callbacks": [Notes()], "init": "random"}
    fits = [AutoencoderTransformer(module=own(more), **params) for more in (0.0, 3.0)]
    without, with_term = (ae.fit(X) for ae in fits)
    unit = 1.0 if standardize else without.scale_**2
    for name in ("loss_curve_", "validation_curve_"):
        more = np.subtract(getattr(with_term, name), getattr(without, name))
        np.testing.assert_allclose(more, 3.0 * unit / 6, rtol=1e-4)
    train, held_out = np.transpose(Notes.seen[3:])
    np.testing.assert_array_equal(train, with_term.loss_curve_)
    np.testing.assert_array_equal(held_out, with_term.validation_curve_[1:])
    np.testing.assert_allclose(with_term.transform(X), without.transform(X), rtol=1e-5)
    assert with_term.pca_score_ == without.pca_score_


def test_a_term_counts_where_epochs_are_judged(curved):
    """It is no part of PCA, which a network with a large term therefore never beats."""
    params = {"module": own(1e6), "max_epochs": 3, "random_state": 0}
    ae = AutoencoderTransformer(2, **params).fit(curved)
    assert (ae.outcome_, ae.n_iter_) == ("pca", 3)
    assert min(ae.validation_curve_[1:]) > 1e5 * -ae.pca_score_
    assert ae.validation_curve_[0] == pytest.approx(-ae.pca_score_)
    assert ae.score(curved) > -1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda Z: Z,
        lambda Z: (Z, Z.sum()),
        lambda Z: (Z[:1], Z.sum(-1)),
        lambda Z: (Z, Z.sum(-1), None),
    ],
)
def test_a_term_of_another_shape(curved, wrong):
    class Wrong(own(0.0)):
        def encode_with_loss(self, X):
            return wrong(self.encode(X))

    text = r"encode_with_loss returns codes of shape \(2, 2\) and a loss of each row"
    with pytest.raises(ValueError, match=text):
        AutoencoderTransformer(2, module=Wrong).fit(curved)
