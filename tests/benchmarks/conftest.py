"""The measuring scripts are no package: they import one another from their own folder."""

import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).parents[2] / "benchmarks"))
