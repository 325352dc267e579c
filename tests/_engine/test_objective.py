"""Certainty: the quantile by which an error must be ahead."""

import numpy as np
import pytest

from skae._engine.objective import certainty


@pytest.mark.parametrize(
    ("level", "n_units", "expected"),
    # Tables of Student's t: 2.132 for 95 % and 4 degrees of freedom, 2.539 for 99 % and 19.
    [(1.6449, 5, 2.132 * 1.25**0.5), (2.3263, 20, 2.539 * (20 / 19) ** 0.5)],
)
def test_certainty_is_students_quantile(level, n_units, expected):
    assert certainty(level, n_units) == pytest.approx(expected, abs=1e-3)


def test_certainty_of_very_few_and_very_many():
    assert certainty(2.25, 1) == np.inf
    assert certainty(2.25, 10**7) == pytest.approx(2.25, abs=1e-5)
