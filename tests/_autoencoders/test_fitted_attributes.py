"""Fitted attributes are set in one file, where a search for `name_ =` finds them."""

import re
from pathlib import Path

import pytest

import skae
from skae import AutoencoderTransformer

FOLDER = Path(skae.__file__).parent / "_autoencoders"
# Set by scikit-learn's own `validate_data`.
OF_SCIKIT_LEARN = {"n_features_in_", "feature_names_in_"}


def found(path):
    """Names of public fitted attributes that a file sets."""
    text = path.read_text(encoding="utf-8")
    return set(re.findall(r"^\s*(?:estimator|self)\.([a-z]\w*_) = ", text, re.MULTILINE))


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_each_is_found_by_a_search(curved, method):
    ae = AutoencoderTransformer(2, max_epochs=1, random_state=0)
    getattr(ae, method)(curved)
    public = {name for name in vars(ae) if re.fullmatch(r"[a-z]\w*_", name)}
    assert public - OF_SCIKIT_LEARN <= found(FOLDER / "fitted_attributes.py")


def test_no_other_file_sets_one():
    others = [path for path in FOLDER.glob("*.py") if path.stem != "fitted_attributes"]
    assert {path.name: found(path) for path in others if found(path)} == {}
