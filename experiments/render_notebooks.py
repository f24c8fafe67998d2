"""Runs the notebooks and keeps each as .ipynb, with what it printed and drew, beside the .py file that is its source.

python -m experiments.render_notebooks                           two minutes on two cores
python -m experiments.render_notebooks bounds_of_any_function    one of them
"""

import re
from collections.abc import Sequence
from pathlib import Path

from dsrna_jax.commands.flags import no_flags, parse
from dsrna_jax.commands.process import execute
from dsrna_jax.errors import InputError, shown
from experiments.pictures import COLOURS

FOLDER = Path(__file__).parent / "notebooks"


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`. Raises: InputError if there is no such notebook."""
    values = no_flags()
    names, known = parse(values, argv, takes_arguments=True), [path.stem for path in sorted(FOLDER.glob("[a-z]*.py"))]
    if values.help:
        print(f"{__doc__}\n{values.get_help()}")
        return
    if strange := sorted(set(names) - set(known)):
        raise InputError(f"there is no notebook {shown(strange[0])}: expected some of {', '.join(known)}")
    import nbformat

    for path in (FOLDER / f"{name}.py" for name in names or known):
        nbformat.write(rendered(path), path.with_suffix(".ipynb"))
        print(path.with_suffix(".ipynb"))


def rendered(path: Path):
    """The notebook of a percent file after a run. It depends on the file alone: no times, no random identifiers."""
    import jupytext
    from nbclient import NotebookClient

    notebook = jupytext.read(path)
    quiet = ["--log-level=ERROR"]
    NotebookClient(notebook, timeout=1200, kernel_name="python3", coalesce_streams=True, extra_arguments=quiet).execute()
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number:02}", {}
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data = {"image/png": small(output.data["image/png"])}
        # The value of the last expression of a cell that draws, such as `<Legend at 0x7f...>`, tells a reader nothing.
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_representation(output)]
    return notebook


def is_representation(output) -> bool:
    """Whether an output is only the default `repr` of an object, with its address, or of a list of them."""
    return bool(re.search(r"0x[0-9a-f]{6,}", output.get("data", {}).get("text/plain", ""))) and "image/png" not in output.data


def small(png: str) -> str:
    """A PNG in base64, with a palette."""
    import base64
    import io

    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        palette = picture.convert("RGB").quantize(COLOURS, kmeans=3, dither=Image.Dither.NONE)
    out = io.BytesIO()
    palette.save(out, "png", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


if __name__ == "__main__":
    execute(main)
