"""The notebook of the examples, executed with tiny settings."""

import pathlib

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = pathlib.Path(__file__).resolve().parents[2] / "examples/quickstart.ipynb"
TINY = """
train_images, test_images = 4, 4
size, channels, layers = 24, 4, 4
epochs, steps_per_epoch = 2, 1
"""


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_it_is_committed_without_outputs():
    cells = code_cells(nbformat.read(NOTEBOOK, 4))
    assert [(cell.outputs, cell.execution_count) for cell in cells] == [([], None)] * len(cells)


@pytest.mark.slow
def test_every_stage_leaves_its_files_and_shows_its_pictures(tmp_path):
    notebook = nbformat.read(NOTEBOOK, 4)
    (settings,) = (index for index, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
    notebook.cells.insert(settings + 1, nbformat.v4.new_code_cell(TINY))  # as papermill does
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()

    folder = tmp_path / "quickstart"
    stages = {
        "demo/train?/*.png": 8,
        "run/checkpoint/step-*2.npz": 1,
        "run/samples/a2b_*2.png": 1,
        "run/export/ugatit_a2b_float16.tflite": 1,
        "translated/*.png": 1,
    }
    assert {pattern: len(list(folder.glob(pattern))) for pattern in stages} == stages
    shown = [sum("image/png" in output.get("data", ()) for output in cell.outputs) for cell in code_cells(notebook)]
    assert [count for count in shown if count] == [
        6,
        1,
        1,
        2,
    ]  # training images, a sheet, translations, a file's
