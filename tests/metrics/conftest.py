"""Sparse tables, which errors and scorers take block by block."""

import numpy as np
import pytest
from scipy import sparse


@pytest.fixture
def counts():
    """A sparse table (40, 12) of shares."""
    dense = np.random.default_rng(0).poisson(0.3, (40, 12)) / 5
    return sparse.csr_array(dense.clip(0, 1)), dense.clip(0, 1)


@pytest.fixture
def small_blocks(monkeypatch):
    """Tables are read ten rows at a time, and none of them becomes dense as a whole."""
    monkeypatch.setattr("skae._tables.rows.BLOCK", 120)
    monkeypatch.setattr("skae._tables.rows.SMALL", 300)
    monkeypatch.setattr("skae._tables.rows.FEW_ROWS", 20)
    toarray = sparse.csr_array.toarray

    def watched(self, *args, **kwargs):
        assert self.shape[0] <= 20
        return toarray(self, *args, **kwargs)

    monkeypatch.setattr(sparse.csr_array, "toarray", watched)
