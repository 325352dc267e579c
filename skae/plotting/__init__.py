"""Displays: pictures of fitted estimators, in the style of scikit-learn's.

Each Display stores arrays, `from_estimator` computes them, and `plot` draws them. All of
them take PCA, NMF and Pipelines as well as autoencoders, and sparse and incomplete rows
where these do; PCA's own spectrum alone needs complete ones. They use matplotlib's own
pyplot for new figures and leave it to the caller to show or save them.

Classes and models differ by marker or line style besides colour, so that the pictures can
be read in grey. The colours are those of Okabe and Ito (2008), "Color Universal Design".
"""

from skae.plotting._codes import CodesDisplay
from skae.plotting._errors import ErrorDisplay
from skae.plotting._explained_variance import ExplainedVarianceDisplay
from skae.plotting._loss_curve import LossCurveDisplay
from skae.plotting._reconstruction import ReconstructionDisplay

__all__ = [
    "CodesDisplay",
    "ErrorDisplay",
    "ExplainedVarianceDisplay",
    "LossCurveDisplay",
    "ReconstructionDisplay",
]
