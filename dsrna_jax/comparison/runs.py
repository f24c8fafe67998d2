"""Trainings with their evaluations, read from their folders and checked to be of one checkpoint."""

import dataclasses
import os
import re
import shlex
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dsrna_jax import genotypes, strict_json
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation import shapes
from dsrna_jax.evaluation.folder import results_of
from dsrna_jax.networks.multiplications import multiply_adds
from dsrna_jax.runtime import records
from dsrna_jax.runtime.invocation import command_line
from dsrna_jax.runtime.options import in_todays_names, interval
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.strict_json import Optional
from dsrna_jax.training import restore
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.restore import TrainedNetwork
from dsrna_jax.training.result import RESULT, saved_result, stopped_after

_SHAPES = {"attack": shapes.ATTACK, "certify": shapes.CERTIFY, "verify": shapes.VERIFY}
_TIMES = {"setup_s": interval("[0, 1e9]"), "search_s": interval("[0, 1e9]"), "devices": Optional(str),
          "cores": Optional((int, interval("[1, 1e6]")))}  # fmt: skip
# Values, such as names of measures, may be those of another version: only types are checked.
_SEARCH = {"experiment": str, "config": {field.name: Optional(field.type) for field in dataclasses.fields(SearchConfig)}}
NOT_RECORDED = "devices not recorded"
STOPPED = "stopped after epoch"  # in the settings of a search or a training that has not come to its end


class SearchPart(NamedTuple):
    """A part of a search, from its start or resumption until it ended or was stopped: its devices and duration.

    kind: of the devices, as JAX names it, or `NOT_RECORDED`.
    count: number of devices; 0 if not recorded.
    cores: of a CPU; 0 if not recorded, as in version 0.1.0.
    """

    kind: str
    count: int
    cores: int
    seconds: float

    @property
    def device(self) -> str:
        """The devices as text: "1 NVIDIA H100", "cpu, 2 cores"."""
        if self.kind == "cpu":
            return f"cpu, {self.cores} cores" if self.cores else "cpu"
        return f"{self.count} {self.kind}" if self.count else self.kind


class FoundBy(NamedTuple):
    """The search that found an architecture: its folder, its configuration (with `STOPPED` if it has not ended), its parts."""

    path: Path
    config: dict[str, Any]
    parts: tuple[SearchPart, ...]


class FinishedTraining(NamedTuple):
    """A training run, which has ended unless `stopped` says otherwise, and the evaluations of its checkpoint.

    result: content of result.json; None for trainings of version 0.1.0, which had none.
    attacks, certificates: contents of attack.json and certify.json files, those on most images first.
    radii: by the position in `certificates`, the arrays of radii.npz.
    verifications: contents of verify.json files.
    search: the search that found the architecture, if its folder is known.
    stopped: the number of epochs after which the training was stopped; None if it has ended.
    """

    path: Path
    config: TrainingConfig
    architecture: genotypes.Architecture
    weights: int
    multiply_adds: int
    result: dict[str, Any] | None
    attacks: list[dict[str, Any]]
    certificates: list[dict[str, Any]]
    radii: list[dict[str, np.ndarray]]
    search: FoundBy | None
    verifications: Sequence[dict[str, Any]] = ()
    stopped: int | None = None


def read(path: str | os.PathLike) -> FinishedTraining:
    """The training in a run folder, with whether it has ended; or that of another checkpoint, with the results of its network.

    Raises: InputError if there is no checkpoint, or if a result is damaged or of another checkpoint than the one in the folder.
    """
    path = Path(path)
    network = restore.load(path)
    evaluations: dict[str, list[tuple[dict, Path]]] = {}
    for kind in _SHAPES:
        own, shared = ([(_result(file, kind), file.parent) for file in files] for files in results_of(path, f"{kind}.json"))
        for result, folder in own:
            if result["checkpoint"]["digest"] != network.digest:
                raise _of_another(folder, result, path, network, f"run {command_line(kind)} again")
        own += [pair for pair in shared if pair[0]["checkpoint"]["digest"] == network.digest]
        evaluations[kind] = sorted(own, key=lambda pair: -pair[0]["examples"])
    measured = saved_result(path)
    if measured and measured["checkpoint"]["digest"] != network.digest:
        again = f"run {command_line('train')} --resume {shlex.quote(f'--run_dir={path}')}"
        raise _of_another(path / RESULT, measured, path, network, again)
    return FinishedTraining(
        path,
        network.config,
        network.architecture,
        network.weight_count,
        multiply_adds(network.network, network.image_shape),
        measured,
        [result for result, _ in evaluations["attack"]],
        [result for result, _ in evaluations["certify"]],
        [_arrays(folder / "radii.npz") for _, folder in evaluations["certify"]],
        _search(path, network.config.genotype, network.architecture),
        [result for result, _ in evaluations["verify"]],
        stopped_after(path, network.config.epochs),
    )


def _of_another(where: Path, result: dict[str, Any], path: Path, network: TrainedNetwork, cure: str) -> InputError:
    return InputError(
        f"{where} measured another checkpoint (step {result['checkpoint']['step']}) than {path} holds now (step "
        f"{network.step}), but clean and robust accuracy must be of one; delete it and {cure}"
    )


def _result(file: Path, kind: str) -> dict[str, Any]:
    """The content of attack.json, certify.json or verify.json. Raises: InputError if it is damaged."""
    try:
        return strict_json.read(file, _SHAPES[kind])
    except InputError as error:
        raise InputError(f"{error}; this is no result of {command_line(kind)}: delete its folder and run that again") from None


def _arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of radii.npz, among them `minimum`; {} if there is no file. Raises: InputError if it is damaged."""
    if not file.is_file():
        return {}
    try:
        with open(file, "rb") as content, np.load(content) as arrays:
            radii = dict(arrays)
        is_whole = radii["minimum"].ndim == 1 and bool((radii["minimum"] >= 0).all())
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile):
        is_whole = False
    if not is_whole:
        raise InputError(f"{file} is damaged: delete its folder and run {command_line('certify')} again")
    return radii


def _search(path: Path, genotype: str, architecture: genotypes.Architecture) -> FoundBy | None:
    """The search in the folder that `--genotype` named, or that holds the file it named, if it found this cell; else None.

    A relative name is looked for from here, beside the training, and from every folder above it: it was started in one of them.

    Raises: InputError if one of its files is damaged.
    """
    named = Path(os.path.expanduser(genotype))
    above = [parent / named for parent in path.absolute().parents]  # an absolute name stays as it is
    for folder in (named, path.parent / named.name, *above, *([named.parent] if named.suffix == ".json" else [])):
        files = [folder / file for file in ("config.json", "genotype.json", "timing.jsonl")]
        if not all(file.is_file() for file in files):
            continue
        resolved = strict_json.read(files[0], _SEARCH)
        if resolved["experiment"] != SearchConfig.experiment or genotypes.load(files[1]) != architecture:
            continue
        if not (parts := tuple(_part(row) for row in records.rows(files[2], lambda row: _TIMES))):
            raise InputError(f"{files[2]} is empty: expected a row for each part of the search")
        # Settings that an earlier version did not have were as their defaults are.
        defaults = {field.name: field.default for field in dataclasses.fields(SearchConfig)}
        config = defaults | in_todays_names(SearchConfig, resolved["config"])
        done = records.rows(metrics)[-1:] if (metrics := folder / "metrics.jsonl").is_file() else []
        if done and done[0].get("epoch", config["epochs"]) != config["epochs"]:
            config[STOPPED] = done[0]["epoch"]
        return FoundBy(folder, config, parts)
    return None


def _part(row: dict[str, Any]) -> SearchPart:
    """The part of a search in a row of timing.jsonl, which describes devices like "2 cpu devices"."""
    seconds = row["setup_s"] + row["search_s"]
    described = re.fullmatch(r"(\d+) (.+?) devices?", row.get("devices", ""))
    kind, count = (described[2], int(described[1])) if described else (NOT_RECORDED, 0)
    return SearchPart(kind, count, row.get("cores", 0), seconds)
