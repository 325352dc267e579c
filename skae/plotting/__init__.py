"""Displays: pictures of fitted estimators, in the style of scikit-learn.

Each Display stores arrays, which `from_estimator` computes and `plot` draws. All Displays
take PCA, NMF and Pipelines as well as autoencoders, and sparse and incomplete rows if the
estimator takes them. Only the spectrum of PCA needs complete rows. New figures are made
with pyplot of matplotlib; showing or saving them is left to the user.

Classes and models differ by marker or line style in addition to colour, so that the
pictures can be read in grey. The colours are those of Okabe and Ito (2008), "Color
Universal Design".
"""

from skae.plotting._codes import CodesDisplay
from skae.plotting._errors import ErrorDisplay
from skae.plotting._explained_variance import ExplainedVarianceDisplay
from skae.plotting._loadings import LoadingsDisplay
from skae.plotting._loss_curve import LossCurveDisplay
from skae.plotting._outliers import OutlierDisplay
from skae.plotting._reconstruction import ReconstructionDisplay
from skae.plotting._samples import SamplesDisplay
from skae.plotting._scree import ScreeDisplay

__all__ = [
    "CodesDisplay",
    "ErrorDisplay",
    "ExplainedVarianceDisplay",
    "LoadingsDisplay",
    "LossCurveDisplay",
    "OutlierDisplay",
    "ReconstructionDisplay",
    "SamplesDisplay",
    "ScreeDisplay",
]
