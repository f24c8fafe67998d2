"""A search that goes on from an earlier epoch of another one, with another configuration: its folder is made, to be resumed."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax

from dsrna_jax import strict_json
from dsrna_jax.files import write_whole
from dsrna_jax.runtime import records
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.folder import SearchFolder
from dsrna_jax.search.setup import search_setup


def branch_off(source: Path, epoch: int, target: Path, config: SearchConfig, is_written: bool) -> None:
    """Makes `target` the folder of a search that has the first `epoch` epochs of the search in `source`.

    Its config.json, without which it counts as not begun, comes last. All processes of a run call this.

    Args:
      config: of the new search; it differs from that of the other in options that its state does not depend on.
      is_written: whether this process writes the files.
    Raises: InputError if `source` has no checkpoint of that epoch any more.
    """
    setup, before, after = search_setup(config), SearchFolder(source, False), SearchFolder(target, is_written)
    (step,) = [row["step"] for row in records.rows(before.metrics.path) if row["epoch"] == epoch]
    saved = before.checkpoints.at(step, jax.eval_shape(setup.functions.init, jax.random.key(0)))
    if is_written:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for record in before.records:
            shutil.copy(record.path, target)
        after.rewind(step)
        (target / "genotypes").mkdir()
        for number in range(1, epoch + 1):
            shutil.copy(source / "genotypes" / f"epoch_{number:03}.json", target / "genotypes")
    after.checkpoints.save(step, saved.state, saved.metadata | {"config": dataclasses.asdict(config)})
    if is_written:
        resolved = strict_json.read(source / "config.json", {}) | {"config": dataclasses.asdict(config)}
        write_whole(target / "config.json", json.dumps(resolved, indent=2) + "\n")
