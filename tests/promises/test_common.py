"""scikit-learn's own checks over every public estimator, with no expected failure."""

import inspect

import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

import skae
from skae.noise import MaskingNoise, SwapNoise
from skae.regularizers import L1Code


class Convolutional(torch.nn.Module):
    """A module of a user's, of neighbouring features, that normalizes and draws."""

    def __init__(self, n_features, n_components):
        super().__init__()
        inside = torch.nn.Unflatten(1, (4, n_features))
        self.encode = torch.nn.Sequential(
            torch.nn.Unflatten(1, (1, n_features)),
            torch.nn.Conv1d(1, 4, 3, padding=1),
            torch.nn.BatchNorm1d(4),
            torch.nn.GELU(),
            torch.nn.Dropout(0.1),
            torch.nn.Flatten(),
            torch.nn.Linear(4 * n_features, n_components),
        )
        self.decode = torch.nn.Sequential(
            torch.nn.Linear(n_components, 4 * n_features),
            inside,
            torch.nn.GELU(),
            torch.nn.Conv1d(4, 1, 3, padding=1),
            torch.nn.Flatten(),
        )


TINY = {"n_components": 1, "hidden_layer_sizes": (8,), "max_epochs": 2, "batch_size": 64}
ESTIMATORS = [e for e in (getattr(skae, n) for n in skae.__all__) if inspect.isclass(e)]

# By estimator, settings that the checks are run with: the first `BY_DEFAULT` in every run
# of the tests, the others in the nightly one. A setting comes first if it takes a path of
# the code that those before it do not take. An estimator that is not here is checked as it
# comes, so that a new one adds one run of the checks, and `BY_DEFAULT` at most.
# As many components as features is PCA exactly, which settles a fit before it trains;
# the instances with one component or init="random" train in every check.
BY_DEFAULT = 8
SETTINGS = {
    "AutoencoderImputer": [
        {},
        {"estimator": skae.AutoencoderTransformer(**TINY), "sample_posterior": True},
    ],
    "AutoencoderOutlierDetector": [
        {},
        {"estimator": skae.AutoencoderTransformer(**TINY), "contamination": 0.1},
    ],
    "AutoencoderTransformer": [
        {},
        TINY | {"dropout": 0.2, "standardize": True},
        TINY | {"module": Convolutional, "ordered": True},
        TINY | {"sample_shape": (1, -1), "hidden_layer_sizes": (4, 4), "dropout": 0.1},
        TINY | {"ordered": True, "whiten": True},
        {
            "init": "random",
            "hidden_layer_sizes": (1024,),
            "early_stopping": False,
            "max_epochs": 3,
        },
        TINY | {"allow_nan": True},
        TINY | {"loss": "absolute_error", "noise": SwapNoise(), "regularizer": [L1Code()]},
        TINY | {"loss": "cosine", "init": "random", "noise": 0.1, "normalization": "batch"},
        {"init": "random", "max_epochs": 5},
        TINY | {"module": Convolutional},
        TINY | {"module": Convolutional, "allow_nan": True, "whiten": True},
        TINY | {"module": Convolutional, "standardize": True, "early_stopping": False},
        TINY | {"module": Convolutional, "init": "random"},
        {"dropout": 0.2, "max_epochs": 5},
        {"standardize": True, "max_epochs": 5},
        {"hidden_layer_sizes": (1024,), "max_epochs": 3},
        {"early_stopping": False, "max_epochs": 3},
        {"n_components": 1, "max_epochs": 5},
        {"n_components": 1, "dropout": 0.2, "standardize": True, "max_epochs": 5},
        {"n_components": 1, "hidden_layer_sizes": (1024,), "max_epochs": 3},
        {"init": "random", "hidden_layer_sizes": (1024,), "max_epochs": 3},
        {"whiten": True},
        {"n_components": 1, "whiten": True, "max_epochs": 3},
        {"ordered": True},
        {"n_components": 1, "ordered": True, "max_epochs": 3},
        {"n_components": 1, "ordered": True, "whiten": True, "max_epochs": 3},
        {"init": "random", "ordered": True, "whiten": True, "max_epochs": 3},
    ],
    "VariationalAutoencoder": [
        {"max_epochs": 2},
        TINY | {"covariance_type": "spherical", "n_draws": 3, "prior": "mixture"},
        TINY | {"sample_shape": (1, -1), "hidden_layer_sizes": (4, 4), "dropout": 0.1},
    ],
}

# Defined in scikit-learn, but not among the checks that it runs.
UNYIELDED = ["check_param_validation", "check_dataframe_column_names_consistency"]
UNYIELDED_OF_TRANSFORMERS = [
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_global_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_get_feature_names_out_error",
]


def settings(some):
    """Every estimator, with a part of its settings."""
    return [E(**p) for E in ESTIMATORS for p in SETTINGS.get(E.__name__, [{}])[some]]


@parametrize_with_checks(settings(slice(BY_DEFAULT)))
def test_check_estimator(estimator, check):
    check(estimator)


@pytest.mark.nightly
@parametrize_with_checks(settings(slice(BY_DEFAULT, None)))
def test_check_estimator_with_more_settings(estimator, check):
    check(estimator)


# The set_output checks fit frames and transform arrays, and the other way round, of
# which scikit-learn warns for PCA as well.
@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names")
@pytest.mark.parametrize("estimator", settings(slice(1, 4)) or settings(slice(1)), ids=str)
@pytest.mark.parametrize("name", UNYIELDED + UNYIELDED_OF_TRANSFORMERS)
def test_unyielded_check(estimator, name):
    if name in UNYIELDED_OF_TRANSFORMERS and not hasattr(estimator, "transform"):
        return
    getattr(estimator_checks, name)(type(estimator).__name__, clone(estimator))


def passed(transformer):
    """Names of the checks that the transformer passes behind a MinMaxScaler."""
    pipe = make_pipeline(MinMaxScaler(clip=True), transformer)
    results = check_estimator(pipe, on_fail=None, on_skip=None)
    return {r["check_name"] for r in results if r["status"] == "passed"}


@pytest.fixture(scope="module")
def passed_by_pca():
    """A Pipeline fails some of the checks, whatever is in it."""
    names = passed(PCA())
    assert len(names) > 30
    return names


# A Pipeline has no random_state, so that the checks cannot seed what is inside.
@pytest.mark.parametrize(
    "params",
    [
        {"loss": "binary_cross_entropy", "max_epochs": 5},
        pytest.param(
            TINY | {"loss": "negative_binomial", "noise": MaskingNoise(0.2)},
            marks=pytest.mark.nightly,
        ),
    ],
    ids=lambda params: params["loss"],
)
def test_losses_with_a_range_in_a_pipeline(passed_by_pca, params):
    ae = skae.AutoencoderTransformer(random_state=0, **params)
    assert passed_by_pca - passed(ae) == set()
