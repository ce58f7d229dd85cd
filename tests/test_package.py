"""The package as a whole: which parts may import which, what importing it costs, and its configuration."""

import ast
import pathlib
import subprocess
import sys

import pytest

from ugatit_tf.config import DataConfig, ModelConfig, RunConfig, TrainConfig

PACKAGE = pathlib.Path(__file__).parents[1] / "ugatit_tf"
# Who may import whom; nobody else's name may appear.
ALLOWED = {
    "config": set(),
    "layers": set(),
    "models": {"layers"},
    "losses": {"config"},
    "data": {"config"},
    "weights": {"config", "models"},
    "ugatit": {"config", "models", "weights"},
    "training": {"config", "losses", "data", "models", "weights", "ugatit"},
    "inference": {"config", "data", "ugatit"},
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("ugatit_tf."))


@pytest.mark.parametrize("part", ALLOWED)
def test_imports_point_one_way(part):
    paths = [PACKAGE / f"{part}.py"] if (PACKAGE / f"{part}.py").exists() else (PACKAGE / part).glob("*.py")
    found = {name for path in paths for name in imported(path)} - {part}
    assert found <= ALLOWED[part]


def test_importing_the_package_imports_no_tensorflow():
    code = "import sys, ugatit_tf, ugatit_tf.inference.sheets; ugatit_tf.TrainConfig(); "
    code += "print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_configuration_round_trip_and_differences():
    run = RunConfig(ModelConfig(light=True, ch=8), TrainConfig(lr=0.5, ema=0.9), DataConfig("x", "/data"), keep=7)
    assert RunConfig.from_json(run.to_json()) == run
    other = RunConfig(ModelConfig(light=True, ch=8), TrainConfig(lr=0.25, ema=0.9), DataConfig("x", "/elsewhere"))
    assert run.differences(other) == ["lr: 0.5, not 0.25"]
    with pytest.raises(ValueError, match="Not a run configuration of this version"):
        RunConfig.from_json(run.to_json().replace('"keep"', '"kept"'))


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        (ModelConfig, {"flavor": "tf2"}, "flavor must be one of tf1, pytorch; received 'tf2'"),
        (ModelConfig, {"ch": 0}, "ch must be at least 1; received 0"),
        (ModelConfig, {"n_dis": 3}, "n_dis must be at least 4"),
        (ModelConfig, {"img_size": 32, "n_dis": 4, "flavor": "pytorch", "sn": False}, "tf1 flavor only"),
        (ModelConfig, {"img_size": 20, "n_dis": 4}, "at least 24"),
        (TrainConfig, {"lr": 0.0}, "lr must be above 0"),
        (TrainConfig, {"decay_epoch": 101}, "decay_epoch must be between 0 and epoch"),
        (TrainConfig, {"seed": 2**31}, "seed must be below"),
        (TrainConfig, {"cycle_weight": -1.0}, "cycle_weight must be at least 0"),
    ],
)
def test_values_out_of_range_are_named(part, values, message):
    with pytest.raises(ValueError, match=message):
        part(**values)


def test_readme_names_the_commands_that_ci_runs():
    readme = (PACKAGE.parent / "README.md").read_text()
    assert "python3 bootstrap.py test" in readme
    assert "python3 bootstrap.py test" in (PACKAGE.parent / ".ci/run").read_text()
