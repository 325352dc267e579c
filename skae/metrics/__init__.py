"""Reconstruction errors of any estimator that has transform and inverse_transform.

What is here works for PCA, autoencoders and Pipelines of them alike: errors, scorers for
scikit-learn's searches, and a rule by which a search chooses the number of components.
"""

from skae.metrics._errors import reconstruction_error
from skae.metrics._metric import METRICS
from skae.metrics._one_standard_error import one_standard_error
from skae.metrics._scorers import make_hidden_cell_scorer, make_reconstruction_scorer

__all__ = [
    "METRICS",
    "make_hidden_cell_scorer",
    "make_reconstruction_scorer",
    "one_standard_error",
    "reconstruction_error",
]
