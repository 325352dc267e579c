"""At which numbers of ordered codes a network is trained and judged."""

import numpy as np
import pytest

from skae._tables.table import Table
from skae._training.linear_start import make_start
from skae._training.truncation import cut_shares, cuts_of
from skae.losses import LOSSES


@pytest.mark.parametrize(
    ("n_components", "cuts"),
    [
        (1, (1,)),
        (5, (1, 2, 3, 4, 5)),
        (16, (1, 2, 3, 5, 7, 11, 16)),
        (300, (1, 2, 5, 12, 26, 59, 133, 300)),
    ],
)
def test_cuts_are_few_and_end_with_all_codes(n_components, cuts):
    assert cuts_of(n_components) == cuts


def test_cuts_have_the_same_weight_as_shares_of_pcas_error():
    """Four codes, of which PCA has three: variances of 8, 4 and 1 in three columns."""
    rng = np.random.default_rng(0)
    X = np.linalg.qr(rng.normal(size=(50, 4)) - 0.0)[0][:, :3]
    X = (X - X.mean(axis=0)) @ np.diag([8, 4, 1])
    start = make_start(Table(X, X), None, 3, LOSSES["squared_error"], False)
    left = start.total - np.cumsum(start.variances)
    expected = 1 / np.maximum(np.r_[left, 0.0], 1e-2 * start.total)
    shares = cut_shares(start, 4).numpy()
    np.testing.assert_allclose(shares, expected / expected.sum(), rtol=1e-6)
