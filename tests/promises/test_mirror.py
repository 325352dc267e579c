"""Where a test goes: the folders of the tests are those of the package.

A test of `skae/folder/_file.py` is in `tests/folder/test_file.py`. A test of what an
estimator promises, whichever files keep it, is in `tests/promises/`.
"""

import ast
from pathlib import Path

import pytest

import skae

PACKAGE = Path(skae.__file__).parent
TESTS = Path(__file__).parents[1]

# Files that have no test file of their own name, and the one that tests them instead.
ELSEWHERE = {
    # What can only be seen through the estimator.
    "_applications/fills.py": "_applications/test_imputer.py",
    "_applications/saving.py": "_applications/test_outliers.py",
    "_autoencoders/arguments.py": "promises/test_validation_rows.py",
    "_autoencoders/before_training.py": "_autoencoders/test_dense.py",
    "_autoencoders/density.py": "_autoencoders/test_variational.py",
    "_autoencoders/fitting.py": "_autoencoders/test_dense.py",
    "_autoencoders/rollback.py": "promises/test_faults.py",
    "_autoencoders/saving.py": "test_persistence.py",
    "_autoencoders/widths.py": "_autoencoders/test_dense.py",
    "_autoencoders/together.py": "_engine/test_distributed.py",
    "_engine/run.py": "_engine/test_distributed.py",
    "_engine/corruption.py": "promises/test_combinations.py",
    "_engine/skorch_net.py": "promises/test_callbacks.py",
    "_tables/checks.py": "promises/test_input.py",
    "_tables/fit_data.py": "promises/test_input.py",
    "_tables/table.py": "_tables/test_rows.py",
    "_training/frame.py": "_training/test_stream.py",
    "_training/messages.py": "promises/test_messages.py",
    "_training/settings.py": "_training/test_training.py",
    "_training/stream_judge.py": "_training/test_stream.py",
    "_training/stream_result.py": "_training/test_stream.py",
    "_training/streamed_network.py": "_training/test_stream.py",
    "_rivals.py": "test_compare.py",
    "metrics/_metric.py": "metrics/test_errors.py",
    "_compat.py": "promises/test_pipeline.py",
    "_torch.py": "promises/test_modes.py",
    # Every part of a model that is answered from a file, against the estimator.
    "_serving/density.py": "test_runtime.py",
    "_serving/detection.py": "test_runtime.py",
    "_serving/filler.py": "test_runtime.py",
    "_serving/imputation.py": "test_runtime.py",
    "_serving/losses.py": "test_runtime.py",
    "_serving/model.py": "test_runtime.py",
    "_serving/network.py": "test_runtime.py",
    "_serving/reading.py": "test_runtime.py",
    "_serving/rows.py": "test_runtime.py",
    "_serving/steps.py": "test_runtime.py",
    # One family of checks, over every network.
    "modules/_linear_path.py": "modules/test_base.py",
    # One family of checks, over every name of a dictionary or of `CASES`.
    "losses/_base.py": "losses/test_named.py",
    "plotting/_arrows.py": "plotting/test_plotting.py",
    "plotting/_codes.py": "plotting/test_plotting.py",
    "plotting/_decoded.py": "plotting/test_plotting.py",
    "plotting/_drawing.py": "plotting/test_plotting.py",
    "plotting/_errors.py": "plotting/test_plotting.py",
    "plotting/_explained_variance.py": "plotting/test_plotting.py",
    "plotting/_groups.py": "plotting/test_plotting.py",
    "plotting/_layout.py": "plotting/test_plotting.py",
    "plotting/_legends.py": "plotting/test_plotting.py",
    "plotting/_loadings.py": "plotting/test_plotting.py",
    "plotting/_loss_curve.py": "plotting/test_plotting.py",
    "plotting/_named_places.py": "plotting/test_plotting.py",
    "plotting/_outliers.py": "plotting/test_plotting.py",
    "plotting/_reconstruction.py": "plotting/test_plotting.py",
    "plotting/_scree.py": "plotting/test_plotting.py",
    "plotting/_samples.py": "plotting/test_plotting.py",
    # Read back by what is written in files.
    "_files/values.py": "_files/test_container.py",
}


def has_logic(path):
    """Whether a file defines a function, or a method of a class."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) for node in ast.walk(tree))


def mirrored(name):
    """`losses/_named.py` is "losses/test_named.py"."""
    path = Path(name)
    return str(path.with_name(f"test_{path.stem.strip('_')}.py"))


FILES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))
MIRRORS = {mirrored(name): name for name in FILES}


@pytest.mark.parametrize("name", [name for name in FILES if has_logic(PACKAGE / name)])
def test_a_file_has_its_tests(name):
    here = TESTS / mirrored(name)
    there = TESTS / ELSEWHERE.get(name, "nowhere")
    assert here.exists() != there.is_file(), f"tests of skae/{name} go to {here}"


def test_the_list_of_others_is_of_files_that_exist():
    assert ELSEWHERE.keys() <= set(FILES)


def test_a_test_file_is_named_after_what_it_tests():
    names = [str(path.relative_to(TESTS)) for path in TESTS.rglob("test_*.py")]
    family = "plotting/test_plotting.py"  # of the folder
    others = {n for n in names if not n.startswith("promises/")} - {family}
    assert others - MIRRORS.keys() == set()
