"""One checkpoint on the disk: arrays and metadata, written and read by orbax."""

import contextlib
import errno
import logging
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

from dsrna_jax.errors import InputError
from dsrna_jax.runtime.processes import current
from dsrna_jax.runtime.sharding import placed


@contextlib.contextmanager
def quiet_orbax(alone: bool = False, partially: bool = False):
    """Lets orbax read and write without its log of each, which absl prints at its default level (INFO) in a command.

    alone: whether this process reads without the other processes of a run.
    partially: whether it may read a part of the arrays.
    """
    logger = logging.getLogger("absl")
    level = logger.level
    if logger.getEffectiveLevel() == logging.INFO:
        logger.setLevel(logging.WARNING)
    context = ocp.Context()
    context.pytree.loading.partial_load = partially
    if alone and current().count > 1:
        context.multiprocessing.primary_host = jax.process_index()
        context.multiprocessing.active_processes = {jax.process_index()}
        context.multiprocessing.barrier_sync_key_prefix = f"process_{jax.process_index()}"
    try:
        with context:
            yield
    finally:
        logger.setLevel(level)


def description(path: Path) -> Any:
    """Orbax's description of a checkpoint: `metadata` of its arrays, and our `custom_metadata`."""
    return ocp.metadata(str(path))


def saved_as(path: Path) -> tuple[int, dict]:
    """The step and the metadata that a checkpoint was saved with. Raises: InputError if it is none of ours."""
    custom: Any = description(path).custom_metadata
    if not isinstance(custom, dict) or not isinstance(custom.get("metadata"), dict) or "step" not in custom:
        raise InputError(f"{path} is not a checkpoint of a run: expected its step and configuration in it; remove that folder")
    return custom["step"], custom["metadata"]


def loaded(path: Path, abstract_state: Any) -> Any:
    """The arrays of a checkpoint, in the containers of `abstract_state` in place of orbax's dicts and lists, and placed as there.

    Raises: InputError if they are others than those of `abstract_state`.
    """
    saved, wanted = _leaves(ocp.load(str(path))), _leaves(abstract_state)
    for name in [*wanted, *saved]:
        there, here = (f"{x[name].dtype}{list(x[name].shape)}" if name in x else "absent" for x in (saved, wanted))
        if there != here:
            raise InputError(
                f"{path} was saved with another configuration: {name} is {there} in it, expected {here}; "
                "resume with the configuration that saved it, or start a new run"
            )
    arrays = []
    for name, leaf in wanted.items():
        sharding = getattr(leaf, "sharding", None)
        arrays.append(jnp.asarray(saved[name]) if sharding is None else placed(saved[name], sharding))
    return jax.tree.unflatten(jax.tree.structure(abstract_state), arrays)


def _leaves(tree: Any) -> dict[str, Any]:
    """Leaves by path: "opt/0/mu/kernel", whatever the containers."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in paths}


def claim_space(folder: Path, size: int) -> None:
    """Raises: OSError unless `size` bytes fit, quotas included: here, before orbax's threads run out of space."""
    claim = folder / "claim"
    with open(claim, "wb") as file:
        file.write(bytes(size))
    claim.unlink()


def check_reads_back(path: Path, arrays: Any) -> None:
    """Raises: OSError unless the checkpoint at `path` holds those arrays."""
    try:
        saved = _leaves(ocp.load(str(path)))
        is_whole = all(np.asarray(saved[name]).tobytes() == leaf.tobytes() for name, leaf in _leaves(arrays).items())
        reason = "other numbers come back"
    except Exception as error:  # orbax and tensorstore raise many types
        if is_disk_full(error):
            raise
        is_whole, reason = False, " ".join(str(error).split())[:150]
    if not is_whole:
        raise OSError(
            f"the checkpoint in {path} cannot be read back ({reason}): give a --run_dir on another disk, or with a name of "
            "letters and digits"
        )


def is_disk_full(error: Exception) -> bool:
    """Whether the disk or a quota is exhausted; tensorstore says so only in the text of a ValueError."""
    codes = (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "errno", None) in codes or any(os.strerror(code) in str(error) for code in codes)
