"""The parameter `sample_shape`: what it stands for, and what it may not be."""

import numpy as np
import pytest

from skae._tables.sample_shape import resolved_shape


@pytest.mark.parametrize(
    ("sample_shape", "n_features", "expected"),
    [
        (None, 7, None),
        ((1, 7), 7, (1, 7)),
        ([3, 2, 4], 24, (3, 2, 4)),
        ((1, -1), 7, (1, 7)),
        ((-1, 2, 4), 24, (3, 2, 4)),
        (tuple(np.array([1, 28, 28])), 784, (1, 28, 28)),
    ],
)
def test_resolved(sample_shape, n_features, expected):
    shape = resolved_shape(sample_shape, n_features, "Name")
    assert shape == expected
    assert all(type(size) is int for size in shape or ())


@pytest.mark.parametrize(
    ("sample_shape", "message"),
    [
        ((1, 28, 27), r"\(1, 28, 27\) of Name is for samples of 756 values, but .* 784"),
        ((3, -1), "of Name is for samples of a multiple of 3 values, but each row has 784"),
        ((1, 1000, -1), "a multiple of 1000 values"),
        ((784,), r"sample_shape of Name must be \(channels, length\) or .*got \(784,\)"),
        ((1, 1, 28, 28), "must be"),
        ((1, -1, -1), "must be"),
        ((0, 784), "must be"),
        ((1.0, 784), "must be"),
        (("1", 784), "must be"),
    ],
)
def test_refused(sample_shape, message):
    with pytest.raises(ValueError, match=message):
        resolved_shape(sample_shape, 784, "Name")
