"""What a notebook shows of an estimator."""

import html

import pytest
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EpochTimer
from torch import nn

from skae import AutoencoderTransformer

X = load_iris().data


class Small(nn.Module):
    """A network of the user's own."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = nn.Linear(n_features, n_components)
        self.decode = nn.Linear(n_components, n_features)


CASES = {
    "plain": {},
    "module": {"module": Small},
    "lambda": {"module": lambda n_features, n_components: Small(n_features, n_components)},
    "callbacks": {"callbacks": [EpochTimer()]},
    "layers": {"hidden_layer_sizes": (16, 8), "loss": "squared_error"},
}


def autoencoder(**params):
    return AutoencoderTransformer(2, **{"max_epochs": 2, "random_state": 0} | params)


def page(estimator):
    """The words of the representation, without the style sheet before them."""
    text = html.unescape(estimator._repr_html_())
    return text[text.index("</style>") :]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("is_fitted", [False, True])
def test_html(name, is_fitted):
    ae = autoencoder(**CASES[name])
    text = page(ae.fit(X) if is_fitted else ae)
    assert "AutoencoderTransformer" in text
    assert ("Not fitted" in text) != is_fitted
    for parameter in {"n_components", "max_epochs", "random_state", *CASES[name]}:
        default = parameter == "loss"  # older versions show what was set alone
        assert parameter in text or default
    assert ae._repr_mimebundle_().keys() == {"text/plain", "text/html"}


@pytest.mark.parametrize("is_fitted", [False, True])
def test_html_in_a_pipeline(is_fitted):
    pipe = make_pipeline(StandardScaler(), autoencoder(callbacks=[EpochTimer()]))
    text = page(pipe.fit(X) if is_fitted else pipe)
    for word in ("StandardScaler", "AutoencoderTransformer", "n_components"):
        assert word in text


def test_tables():
    """Parameters and fitted attributes, each by its name, and none of the private ones."""
    pytest.importorskip("sklearn.utils._repr_html.fitted_attributes")
    ae = autoencoder().fit(X)
    text = page(ae)
    for parameter in ae.get_params():
        assert f"copyToClipboard('{parameter}'" in text
    for attribute in ("components_", "best_epoch_", "n_iter_", "explained_variance_ratio_"):
        assert f">{attribute}</a>" in text
    assert "_inference" not in text


def test_descriptions_from_the_docstring():
    """scikit-learn shows them where the class says where its documentation is."""
    pytest.importorskip("sklearn.utils._repr_html.common")

    class Documented(AutoencoderTransformer):
        _doc_link_module = __name__.split(".")[0]
        _doc_link_template = "https://example.org/{estimator_name}.html"

    Documented.__doc__ = AutoencoderTransformer.__doc__
    text = page(Documented(2))
    assert 'href="https://example.org/Documented.html"' in text
    for parameter in Documented().get_params():
        start = text.index(f'position-anchor: --doc-link-{parameter};">')
        description = text[start : text.index("</span>", start)].split("<br>", 1)
        assert len(description) == 2, parameter
        assert parameter in description[0]
        assert description[1].strip("<br>"), parameter
