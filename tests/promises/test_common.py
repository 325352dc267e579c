"""scikit-learn's own checks over every public estimator, with no expected failure."""

import inspect

import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

import skae

ESTIMATORS = [e for e in (getattr(skae, n) for n in skae.__all__) if inspect.isclass(e)]

# As many components as features is PCA exactly, which settles a fit before it trains;
# the instances with one component or init="random" train in every check.
SETTINGS = [
    {},
    {"init": "random", "max_epochs": 5},
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
]

# Defined in scikit-learn, but not among the checks that it runs.
UNYIELDED = [
    "check_param_validation",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_global_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_get_feature_names_out_error",
    "check_dataframe_column_names_consistency",
]


@parametrize_with_checks([E(**params) for E in ESTIMATORS for params in SETTINGS])
def test_check_estimator(estimator, check):
    check(estimator)


# The set_output checks fit frames and transform arrays, and the other way round, of
# which scikit-learn warns for PCA as well.
@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names")
@pytest.mark.parametrize("name", UNYIELDED)
@pytest.mark.parametrize("params", [{}, {"n_components": 1, "max_epochs": 3}], ids=str)
@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_unyielded_check(Estimator, params, name):
    getattr(estimator_checks, name)(Estimator.__name__, clone(Estimator(**params)))


def passed(transformer):
    """Names of the checks that the transformer passes behind a MinMaxScaler."""
    pipe = make_pipeline(MinMaxScaler(clip=True), transformer)
    results = check_estimator(pipe, on_fail=None, on_skip=None)
    return {r["check_name"] for r in results if r["status"] == "passed"}


# A Pipeline has no random_state, so that the checks cannot seed what is inside.
@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_binary_cross_entropy_in_pipeline(Estimator):
    ae = Estimator(loss="binary_cross_entropy", max_epochs=5, random_state=0)
    rival = passed(PCA())
    assert len(rival) > 30
    assert rival - passed(ae) == set()
