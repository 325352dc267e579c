"""Parameters that a fit was made with: what is noted of them."""

import numpy as np
import pytest

from skae import AutoencoderTransformer
from skae._autoencoders.base import BaseAutoencoder
from skae._autoencoders.parameters import contents, parameter_names, params_of_fit


class Short(AutoencoderTransformer):
    def __init__(self, n_components=2, *, share=0.5):
        super().__init__(n_components)
        self.share = share


class Declared(Short):
    _network_parameters: tuple = (*Short._network_parameters, "share")


def test_names_are_those_of_all_classes():
    whole = AutoencoderTransformer().get_params(deep=False)
    assert parameter_names(Short()) == sorted([*whole, "share"])


def test_what_is_noted_is_not_held_by_the_user():
    loss = {"squared_error": [0, 1], "poisson": np.array([2])}
    noted = params_of_fit(AutoencoderTransformer(2, loss=loss))
    loss["squared_error"].append(3)
    loss["poisson"][0] = 5
    assert noted["loss"]["squared_error"] == [0, 1]
    assert noted["loss"]["poisson"].tolist() == [2]
    assert "callbacks" not in noted


def test_contents_keep_kinds():
    value = (1, [2, {"a": np.arange(3)}])
    copied = contents(value)
    assert type(copied) is tuple
    assert type(copied[1]) is list
    assert copied[1][1]["a"].tolist() == [0, 1, 2]
    assert copied[1][1]["a"] is not value[1][1]["a"]


@pytest.mark.parametrize("Estimator", [BaseAutoencoder, AutoencoderTransformer])
def test_parameters_of_the_network_are_declared(Estimator):
    """The base goes by no parameter that a subclass need not have."""
    assert set(Estimator._network_parameters) <= set(Estimator._parameter_constraints)


@pytest.mark.parametrize("Estimator", [Short, Declared])
def test_a_subclass_declares_parameters_of_its_network(curved, Estimator):
    ae = Estimator()
    ae.max_epochs, ae.hidden_layer_sizes = 1, (4,)
    ae.fit(curved).partial_fit(curved).set_params(share=0.7)
    if Estimator is Short:
        ae.partial_fit(curved)
    else:
        with pytest.raises(ValueError, match=r"made with share=0\.5, but now share=0\.7"):
            ae.partial_fit(curved)
