"""What makes trainings one kind, whose seeds and searches are merged."""

from dataclasses import asdict
from typing import Any

from dsrna_jax import genotypes
from dsrna_jax.comparison.runs import FinishedTraining

_SAME = ("seed", "data_dir", "genotype")  # settings in which trainings of one row may differ
_OF_ADVERSARIES = ("radius", "norm", "attack_steps", "attack_step", "attack_statistics", "radius_warmup_epochs", "replays",
                   "beta", "val_attack_steps", "collapse")  # and those if none is adversarial  # fmt: skip


def kind(run: FinishedTraining) -> str:
    """Equal for trainings with the same settings of one architecture, or of what one kind of search found by any seed."""
    return repr((settings(run), search_settings(run) if run.search else genotypes.to_json(run.architecture)))


def origin(run: FinishedTraining) -> str:
    """The search of a run and the architecture that it found: the same for retrainings of one cell."""
    return repr((run.search and run.search.config.get("seed"), genotypes.to_json(run.architecture)))


def settings(run: FinishedTraining) -> dict[str, Any]:
    """The configuration, as far as it makes this training another."""
    unused = _SAME if run.config.is_adversarial else _SAME + _OF_ADVERSARIES
    return {name: value for name, value in asdict(run.config).items() if name not in unused}


def search_settings(run: FinishedTraining) -> dict[str, Any]:
    """The same of the search that found the architecture."""
    return {name: v for name, v in sorted(run.search.config.items()) if name not in _SAME} if run.search else {}
