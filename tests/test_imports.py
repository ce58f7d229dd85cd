"""Imports point one way, and importing the package costs neither TensorFlow nor Keras."""

import ast
import importlib
import pathlib
import subprocess
import sys

import pytest

import ugatit_tf

PACKAGE = pathlib.Path(ugatit_tf.__file__).parent
# Each part, and the other parts that it may import; cli sees everything, and all see environment and text.
ALLOWED = {
    "environment": set(),
    "text": set(),
    "config": set(),
    "layers": set(),
    "models": {"layers"},
    "losses": {"config"},
    "metrics": {"config"},
    "evaluation": {"data", "metrics", "weights"},
    "data": {"config", "weights"},
    "weights": {"config", "models"},
    "ugatit": {"config", "models", "weights"},
    "training": {"config", "data", "losses", "models", "ugatit", "weights"},
    "inference": {"config", "data", "ugatit", "weights"},
    "export": {"config", "data", "ugatit"},
    "serving": {"data"},
    "__init__": set(),
    "__main__": {"cli"},
}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def part_of(module):
    return module.parts[0].removesuffix(".py")


def imported_parts(source):
    """The parts of the package that a module's text imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "ugatit_tf":
                part = rest.partition(".")[0]
                yield ugatit_tf._PUBLIC.get(part, f"ugatit_tf.{part}").split(".")[1]


def test_the_reader_of_imports():
    text = "import numpy\nimport ugatit_tf.cli.main\ndef f():\n    from ugatit_tf import losses, Trainer\n"
    text += "from ugatit_tf.data.images import FOLDERS"
    assert set(imported_parts(text)) == {"cli", "data", "losses", "training"}


@pytest.mark.parametrize("module", [m for m in MODULES if part_of(m) != "cli"], ids=str)
def test_imports_point_one_way(module):
    part = part_of(module)
    assert part in ALLOWED, "a new part: say here what it may import"
    assert set(imported_parts((PACKAGE / module).read_text())) - {part} <= ALLOWED[part] | {"environment", "text"}


@pytest.mark.parametrize(
    "name",
    [
        "ugatit_tf",
        "ugatit_tf.config",
        "ugatit_tf.environment",
        "ugatit_tf.cli.main",
        "ugatit_tf.cli.request",
        "ugatit_tf.cli.prepare",
        "ugatit_tf.cli.translate",
        "ugatit_tf.cli.evaluate",
        "ugatit_tf.cli.compare",
        "ugatit_tf.inference.generators",
        "ugatit_tf.inference.photo",
        "ugatit_tf.inference.prepare",
        "ugatit_tf.inference.sheets",
        "ugatit_tf.metrics.manifold",
        "ugatit_tf.metrics.pairs",
        "ugatit_tf.serving.client",
    ],
)
def test_importing_costs_neither_tensorflow_nor_keras(name):
    code = f"import sys, {name}; print(sorted({{'tensorflow', 'keras', 'torch'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_public_names():
    for name, module in ugatit_tf._PUBLIC.items():
        assert getattr(ugatit_tf, name) is getattr(importlib.import_module(module), name)
        assert name in dir(ugatit_tf)
    with pytest.raises(AttributeError, match="module 'ugatit_tf' has no attribute 'Nothing'"):
        ugatit_tf.Nothing  # noqa: B018
