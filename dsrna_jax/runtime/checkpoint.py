"""Checkpoints of a run: saved whole or not at all, restored bit for bit or not at all.

A checkpoint folder holds one folder a step, named by its number. Each is an orbax checkpoint of host arrays, so it
opens on any number of devices, here or by orbax alone; the step and the caller's metadata are its custom metadata.
`SHA256SUMS` in it (`sha256sum -c` reads it too) catches what orbax lets pass: a flipped bit in the data of an array,
a truncated metadata file. It also keeps orbax from meeting a damaged file, which its threads report in pages of
tracebacks.
"""

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from dsrna_jax.errors import InputError
from dsrna_jax.runtime.checkpoint_files import (
    check_reads_back,
    claim_space,
    description,
    is_disk_full,
    loaded,
    quiet_orbax,
    saved_as,
)
from dsrna_jax.runtime.checksums import SUMS, damage, write_sums
from dsrna_jax.runtime.paths import check_path
from dsrna_jax.runtime.processes import current

FOLDER = "checkpoints"  # where a run folder keeps them
BEST = "best"  # where a training keeps the one that did best on held-out images
VARIABLES = ("weights", "batch_stats", "alphas", "average")  # the parts of a state that evaluation needs
_UNFINISHED = ".unfinished"  # a folder for writing and deleting; nothing in it is ever read


class Resumed(NamedTuple):
    """The newest undamaged checkpoint; `skipped` has a line for each newer one, which says how it is damaged."""

    step: int
    state: Any
    metadata: dict
    skipped: list[str]


class Restored(NamedTuple):
    """A checkpoint without the optimiser's state; `variables` holds trees of np.ndarray, by the names in `VARIABLES`."""

    step: int
    metadata: dict
    variables: dict[str, Any]


class Checkpoints:
    """The checkpoint folder of a run; the newest `keep` steps stay in it. Nothing is created before the first save.

    lasts: step -> whether its checkpoint stays as one of them; another goes as soon as a later one is there.
    """

    def __init__(self, folder: str | os.PathLike, keep: int = 3):
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        self.folder = Path(folder).absolute()
        self.keep = keep
        self.lasts: Callable[[int], bool] = lambda step: True

    @property
    def steps(self) -> list[int]:
        """The steps that have a finished checkpoint, ascending."""
        return _steps(self.folder)

    @quiet_orbax()
    def save(self, step: int, state: Any, metadata: dict) -> None:
        """Saves `state` as the checkpoint of `step`, in place of an older one of that step; returns when it is on the disk.

        If the process is killed meanwhile, earlier checkpoints stay as they were, and the next save removes the unfinished one.
        All processes of a run call this, with a folder that they share.

        Args:
          state: any pytree of arrays that this process holds in full (replicated over devices); no typed keys.
          metadata: JSON values: the resolved configuration, the genotype, the name of the experiment.
        Raises: OSError, in one line, if the disk is full; TypeError if `metadata` is not JSON.
        """
        arrays = jax.tree.map(np.asarray, jax.device_get(state))
        custom = {"step": step, "metadata": metadata}
        # With room for what orbax adds to an array and to a checkpoint; data may not compress.
        size = sum(1024 + leaf.nbytes for leaf in jax.tree.leaves(arrays)) + len(json.dumps(custom)) + 2**16
        unfinished, processes = self.folder / _UNFINISHED, current()
        try:
            if processes.is_first:
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir(parents=True)
                claim_space(unfinished, size)
            processes.decided(None)  # the others wait for the folder
            ocp.save(str(unfinished / str(step)), arrays, custom_metadata=custom)
            check_reads_back(unfinished / str(step), arrays)
            processes.gathered(None)  # all have read it
            if processes.is_first:
                write_sums(unfinished / str(step))
                self._publish(step)
        except Exception as error:
            if processes.is_first:
                shutil.rmtree(unfinished, ignore_errors=True)
            if not is_disk_full(error):
                raise
            good = [s for s in self.steps if not damage(self.folder / str(s))]
            last = f"the last good one, step {good[-1]}, is untouched" if good else "there is none before it"
            raise OSError(
                f"the disk is full: the checkpoint of step {step} ({size / 1e6:.1f} MB) could not be written to "
                f"{self.folder}; {last}; free some space and resume"
            ) from None

    def try_out(self) -> None:
        """Raises: OSError unless checkpoints that are saved here can be read back; leaves nothing behind.

        InputError, in all processes of a run, unless they share the folder.
        """
        if current().count > 1:
            self._check_shared()
        Checkpoints(self.folder / _UNFINISHED / "trial").save(0, {"trial": np.arange(3)}, {})
        if not current().is_first:
            return
        shutil.rmtree(self.folder / _UNFINISHED, ignore_errors=True)
        with contextlib.suppress(OSError):  # it holds checkpoints
            self.folder.rmdir()

    def _check_shared(self) -> None:
        """Raises: InputError, in all processes, unless each sees the file that process 0 writes."""
        processes, folder = current(), self.folder.parent
        sign = folder / f".{processes.decided(secrets.token_hex(8))}"
        if processes.is_first:
            folder.mkdir(parents=True, exist_ok=True)
            sign.touch()
        processes.decided(None)
        expected = f"{folder} is not the folder of process 0: expected one on a file system that all hosts share"
        try:
            processes.fail_together(None if sign.exists() else InputError(expected))
        finally:
            if processes.is_first:
                sign.unlink()

    def _publish(self, step: int) -> None:
        """Moves a finished checkpoint to its place and deletes the oldest, by renames: deleting is not atomic."""
        unfinished, target = self.folder / _UNFINISHED, self.folder / str(step)
        if target.exists():
            os.replace(target, unfinished / "replaced")
        os.replace(unfinished / str(step), target)
        # A later step can only be a damaged one that `latest` passed over: it must not count as one of the newest.
        earlier = [s for s in self.steps if s < step]
        lasting = [*filter(self.lasts, earlier), *([step] if self.lasts(step) else [])]
        for old in {*earlier} - {*lasting[-self.keep :]}:
            os.replace(self.folder / str(old), unfinished / f"old-{old}")
        shutil.rmtree(unfinished, ignore_errors=True)

    @quiet_orbax()
    def latest(
        self, abstract_state: Any, misfit: Callable[[int, dict], str | None] = lambda step, metadata: None
    ) -> Resumed | None:
        """The newest checkpoint that can be used, its state in the structure of `abstract_state`; None if none was ever saved.

        Args:
          abstract_state: arrays or ShapeDtypeStructs. A leaf is placed by its `sharding` if it has one, else on the
            default device, on however many devices it was saved.
          misfit: (step, metadata) -> the reason why an undamaged checkpoint does not fit this run, or None if it fits.
        Raises: InputError if all are damaged, or if the arrays are not those of `abstract_state`.

        Of several processes of a run all call this, and process 0 chooses.
        """
        chosen = current().decided(self._newest(misfit) if current().is_first else None)
        if chosen is None:
            return None
        step, metadata, skipped = chosen
        path = self.folder / str(step)
        return Resumed(step, loaded(path, abstract_state), metadata, skipped)

    @quiet_orbax()
    def at(self, step: int, abstract_state: Any) -> Resumed:
        """The checkpoint of that step, as `latest` gives the newest.

        Raises: InputError if it is absent or damaged, or if its arrays are not those of `abstract_state`.
        """
        path = self.folder / str(step)
        harm = "it is not there" if step not in self.steps else damage(path)
        if reason := current().decided(harm if current().is_first else None):
            raise InputError(f"the checkpoint of step {step} in {self.folder} cannot be used: {reason}")
        return Resumed(step, loaded(path, abstract_state), saved_as(path)[1], [])

    def _newest(self, misfit: Callable[[int, dict], str | None]) -> tuple[int, dict, list[str]] | None:
        """Step and metadata of what `latest` restores, and a line for each newer checkpoint."""
        skipped = []
        for step in reversed(self.steps):
            path = self.folder / str(step)
            saved = None if (harm := damage(path)) else saved_as(path)
            if saved is not None:
                harm = misfit(step, saved[1]) if saved[0] == step else f"it is that of step {saved[0]}"
            if harm or saved is None:
                skipped.append(f"skipped the checkpoint of step {step}: {harm}")
                continue
            return step, saved[1], skipped
        if skipped:
            raise InputError(
                f"no checkpoint in {self.folder} can be used ({'; '.join(skipped)}); "
                "put back what was changed, or start a new run"
            )
        return None


@quiet_orbax(alone=True)
def metadata(path: str | os.PathLike) -> tuple[int, dict]:
    """The step and the metadata of a checkpoint; `path` and errors as in `restore_for_eval`."""
    return saved_as(_checkpoint(path))


@quiet_orbax(alone=True)
def restore_for_eval(path: str | os.PathLike) -> Restored:
    """The variables and the metadata of a checkpoint, without the optimiser's state; needs nothing but the path.

    Args:
      path: a run folder, its checkpoint folder (of both, the newest step) or the folder of one step.
    Raises: InputError if there is no checkpoint, if it is damaged (never an older one in its place: the caller would
      evaluate something else than it believes), or if its state has no `weights`.
    """
    path = _checkpoint(path)
    saved = description(path)
    wanted = {name: saved.metadata[name] for name in VARIABLES if name in saved.metadata}
    if "weights" not in wanted:
        raise InputError(f"{path} holds {', '.join(saved.metadata)}: expected weights among them")
    with quiet_orbax(alone=True, partially=True):
        variables: Any = ocp.load(str(path), wanted)
    return Restored(saved.custom_metadata["step"], saved.custom_metadata["metadata"], variables)


def _steps(folder: Path) -> list[int]:
    return sorted(int(entry.name) for entry in folder.glob("[0-9]*") if entry.name.isdecimal() and entry.is_dir())


def _checkpoint(path: str | os.PathLike) -> Path:
    """The folder of one step, undamaged, by a path as `restore_for_eval` takes it."""
    check_path(path, "checkpoint")
    path = Path(path).absolute()
    newest = [folder / str(_steps(folder)[-1]) for folder in (path / FOLDER, path) if _steps(folder)]
    if not newest and not (path / SUMS).exists():
        raise InputError(f"no checkpoint in {path}: expected a run folder, its {FOLDER} folder or one step's folder")
    checkpoint = newest[0] if newest else path
    if harm := damage(checkpoint):
        others = [str(step) for step in _steps(checkpoint.parent) if str(step) != checkpoint.name]
        hint = f"name the folder of another step: {', '.join(others)}" if others else "restore it from a copy"
        raise InputError(f"the checkpoint {checkpoint} is damaged: {harm}; {hint}")
    return checkpoint
