"""A search from beginning to end, or from where it stopped, with its records in a run folder."""

import os
from collections.abc import Sequence
from typing import TextIO

from dsrna_jax.genotypes import RobNet
from dsrna_jax.genotypes.architecture import Searched
from dsrna_jax.runtime import run as runtime_run
from dsrna_jax.runtime.joining import joined
from dsrna_jax.runtime.lock import locked
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.kinds import kind_of


def run(
    config: SearchConfig,
    path: str | os.PathLike,
    *,
    resume: bool = False,
    devices: int = 0,
    file: TextIO | None = None,
    log: Sequence[str] = (),
) -> Searched | RobNet:
    """Searches, with every genotype and record in the run folder `path`; returns the genotype found.

    Each step of a search by gradients moves the alphas, except in the warm-up epochs, and then the weights. A sampled search
    trains a supernet, tries the children of its strategy, and finds the best. A checkpoint follows every epoch, and every round
    of children. With `resume` the run goes on from its newest good checkpoint, and ends as if it had never stopped, bit for bit
    on one machine and one number of CPU cores.

    In several processes that JAX has joined (`runtime.joining`, or `jax.distributed.initialize`) all call this alike.

    Args:
      resume: go on with the run in `path`.
      devices: number of devices that share a batch; 0 for all.
      file: where progress is printed, by default standard output.
      log: names of logs that follow metrics.jsonl, of "tensorboard", "wandb" and "mlflow"; whatever they lack is sent to them.
    Raises: InputError; FloatingPointError as soon as a loss or gradient is not finite; OSError if the disk is full;
      Stopped after SIGTERM or Ctrl-C, once the step has ended and been saved.
    """
    kind = kind_of(config)
    folder = kind.folder(path, is_written=joined().is_first)
    options = {"resume": resume, "devices": devices, "file": file, "log": log}
    with locked(folder.path, "run_dir"):
        end = runtime_run.run(lambda: kind.setup(config), kind.loop, folder, config, **options)
        if folder.is_written:
            end.conclude()
    return end.genotype
