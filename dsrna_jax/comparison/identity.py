"""Kinds of trainings: those of one kind are merged into one row, over seeds and searches."""

from dataclasses import asdict
from typing import Any

from dsrna_jax import genotypes
from dsrna_jax.comparison.runs import STOPPED, FinishedTraining

_SAME = ("seed", "data_dir", "genotype", "loading", "workers", "remat")  # fields in which trainings of one row may differ
_RECORDS = ("eigenvalue_every",)  # and these, in their searches
_OF_ADVERSARIES = ("radius", "norm", "attack_steps", "attack_step", "attack_statistics", "radius_warmup_epochs", "replays",
                   "beta", "val_attack_steps", "collapse")  # and these, in standard training  # fmt: skip


def kind(run: FinishedTraining) -> str:
    """Equal for trainings with the same settings of one architecture, or of architectures by searches with the same settings."""
    return repr((settings(run), search_settings(run) if run.search else genotypes.to_json(run.architecture)))


def origin(run: FinishedTraining) -> str:
    """Equal for trainings of one architecture by one search."""
    return repr((run.search and run.search.config.get("seed"), genotypes.to_json(run.architecture)))


def settings(run: FinishedTraining) -> dict[str, Any]:
    """The fields of the configuration that tell trainings apart: not the seed, nor those of attacks without any.

    A training that was stopped has `STOPPED` beside them.
    """
    unused = _SAME if run.config.is_adversarial else _SAME + _OF_ADVERSARIES
    stopped = {} if run.stopped is None else {STOPPED: run.stopped}
    return {name: value for name, value in asdict(run.config).items() if name not in unused} | stopped


def search_settings(run: FinishedTraining) -> dict[str, Any]:
    """The fields that tell searches apart, of the search that found the architecture; {} without one."""
    return {name: v for name, v in sorted(run.search.config.items()) if name not in _SAME + _RECORDS} if run.search else {}
