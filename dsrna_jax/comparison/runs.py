"""A finished training with its evaluations, read from its folder and checked to be of one checkpoint."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dsrna_jax import genotypes
from dsrna_jax.errors import InputError
from dsrna_jax.files import expanded
from dsrna_jax.networks.multiply_adds import multiply_adds
from dsrna_jax.runtime import records
from dsrna_jax.runtime.invocation import command_line
from dsrna_jax.training import restore
from dsrna_jax.training.config import TrainingConfig

_RESULTS = ("attack", "certify")


class FinishedTraining(NamedTuple):
    """A training run and the evaluations of its checkpoint.

    attacks, certificates: contents of attack.json and certify.json files, those on most images first.
    radii: by the position in `certificates`, the arrays of radii.npz.
    search: configuration and seconds of the search that found the architecture, where its folder is known.
    """

    path: Path
    config: TrainingConfig
    architecture: genotypes.Architecture
    weights: int
    multiply_adds: int
    attacks: list[dict[str, Any]]
    certificates: list[dict[str, Any]]
    radii: list[dict[str, np.ndarray]]
    search: tuple[dict[str, Any], float] | None


def read(path: str | os.PathLike) -> FinishedTraining:
    """The finished training in a run folder.

    Raises: InputError if there is none, if a result is damaged, or is that of another checkpoint than the folder holds.
    """
    path = Path(path)
    network = restore.load(path)
    evaluations: dict[str, list[tuple[dict, Path]]] = {}
    for kind in _RESULTS:
        results = [(_result(file, kind), file.parent) for file in sorted(path.glob(f"*/{kind}.json"))]
        for result, folder in results:
            if result["checkpoint"]["digest"] != network.digest:
                raise InputError(
                    f"{folder} measured another checkpoint (step {result['checkpoint']['step']}) than {path} holds now (step "
                    f"{network.step}), but clean and robust accuracy must be of one; delete it and run {command_line(kind)} again"
                )
        evaluations[kind] = sorted(results, key=lambda pair: -pair[0]["examples"])
    return FinishedTraining(
        path,
        network.config,
        network.architecture,
        network.weight_count,
        multiply_adds(network.network, network.image_shape),
        [result for result, _ in evaluations["attack"]],
        [result for result, _ in evaluations["certify"]],
        [_arrays(folder / "radii.npz") for _, folder in evaluations["certify"]],
        _search(path, network.config.genotype, network.architecture),
    )


def _result(file: Path, kind: str) -> dict[str, Any]:
    """The content of attack.json or certify.json. Raises: InputError if it is damaged."""
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        is_whole = result["experiment"] == kind and result["checkpoint"]["digest"] and result["clean"]["accuracy"] is not None
    except (ValueError, KeyError, TypeError):
        is_whole = False
    if not is_whole:
        raise InputError(f"{file} is damaged: expected the result of {command_line(kind)}; delete its folder and run that again")
    return result


def _arrays(file: Path) -> dict[str, np.ndarray]:
    if not file.is_file():
        return {}
    with np.load(file) as arrays:
        return dict(arrays)


def _search(path: Path, genotype: str, architecture: genotypes.Architecture) -> tuple[dict[str, Any], float] | None:
    """Configuration and seconds of the search in the folder that `--genotype` named, if it is there and ended in this cell."""
    for folder in (expanded(genotype), path.parent / Path(genotype).name):
        try:
            resolved = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            if resolved.get("experiment") != "search" or genotypes.load(folder / "genotype.json") != architecture:
                continue
            rows = records.rows(folder / "timing.jsonl")
            return resolved["config"], sum(row["setup_s"] + row["search_s"] for row in rows)
        except (OSError, ValueError, KeyError):  # InputError is a ValueError
            continue
    return None
