"""The .ipynb files of the notebooks hold the cells of their sources, and results; `make notebooks` runs them."""

import json
import re
from pathlib import Path

import jupytext
import pytest

FOLDER = Path(__file__).parents[2] / "experiments" / "notebooks"
SOURCES = sorted(FOLDER.glob("[a-z]*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_rendered_notebook_has_the_cells_of_its_source(path):
    """If not, `make notebooks` renders it anew."""
    source, rendered = jupytext.read(path), jupytext.read(path.with_suffix(".ipynb"))
    assert [(cell.cell_type, cell.source) for cell in rendered.cells] == [(cell.cell_type, cell.source) for cell in source.cells]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_rendered_notebook_shows_results_that_depend_on_no_machine(path):
    notebook = json.loads(path.with_suffix(".ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in code for output in cell["outputs"]]
    kinds = {output["output_type"] for output in outputs}
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1)) and "error" not in kinds
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert all(output.get("name") != "stderr" for output in outputs), "warnings name paths"
    texts = json.dumps([{**output, "data": {**output.get("data", {}), "image/png": ""}} for output in outputs])
    assert not re.search(r"0x[0-9a-f]{6,}|(?<![\w.])/(?:home|root|Users)/|site-packages|\d+ ms\b", texts)
