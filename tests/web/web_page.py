"""Where the web page is, and node to run its scripts with."""

import pathlib
import shutil

import pytest

HERE = pathlib.Path(__file__).parent
WEB = HERE.parents[1] / "examples" / "web"


def find_node():
    """The path of node; skips the test where there is none."""
    node = shutil.which("node")
    if not node:
        pytest.skip("node is missing: install Node.js 20 or newer to test the web page")
    return node
