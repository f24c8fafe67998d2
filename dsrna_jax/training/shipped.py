"""The files of the trained networks that ship with the package."""

import os
from pathlib import Path

FOLDER = Path(__file__).with_name("networks")
"""NAME.safetensors, as `dsrna_jax export` writes it, and its model card NAME.md; `experiments.pretrained` makes both."""


def names() -> tuple[str, ...]:
    """The names of all of them."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.safetensors")))


def path_of(network: str) -> str:
    """The path of a trained network: `network` itself, or the file of the one that ships where no path has that name."""
    return str(FOLDER / f"{network}.safetensors") if network in names() and not os.path.exists(network) else network
