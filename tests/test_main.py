"""`python -m skae`: the table that it prints is right, and the picture is written."""

import functools
import sys

import numpy as np
import pytest
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer, __main__


@pytest.mark.parametrize("has_pillow", [True, False])
@pytest.mark.parametrize("options", [[], ["--convolutional"]])
def test_demonstration(monkeypatch, tmp_path, capsys, options, has_pillow):
    quick = functools.partial(AutoencoderTransformer, max_epochs=1)
    monkeypatch.setattr(__main__, "AutoencoderTransformer", quick)
    monkeypatch.setattr(__main__, "COMPONENTS", (8,))
    monkeypatch.chdir(tmp_path)
    if not has_pillow:
        monkeypatch.setitem(sys.modules, "PIL", None)
    __main__.main(options)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("skae ")
    X_train, X_test, _, _ = __main__.load_split()
    pca = PCA(8).fit(X_train)
    expected = np.square(pca.inverse_transform(pca.transform(X_test)) - X_test).mean()
    channels = "sample_shape=(1, 8, 8), hidden_layer_sizes=(32, 64)"
    names = ["loss='binary_cross_entropy'", channels]
    n_variants = 1 + len(options)
    titles, rows = lines[-2 - 2 * n_variants : -2 : 2], lines[-3 - 2 * n_variants : -1 : 2]
    assert titles == [f"the same with {name}" for name in names[:n_variants]]
    for line in rows:
        k, error, ours, gain, *_, pca_accuracy, accuracy = line.replace("%", "").split()
        assert k == "8"
        assert float(error) == pytest.approx(expected, abs=1e-5)
        assert float(ours) <= float(error)
        expected_gain = 100 * (1 - float(ours) / float(error))
        assert float(gain) == pytest.approx(expected_gain, abs=0.6)
        assert 80 < float(pca_accuracy) < 100
        assert 80 < float(accuracy) < 100
    assert len({line.split()[2] for line in rows}) == 1 + n_variants  # other errors
    assert (tmp_path / __main__.PICTURE).exists() == has_pillow
    assert lines[-1].startswith("wrote" if has_pillow else "no picture")
