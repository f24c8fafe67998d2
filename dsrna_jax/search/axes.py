"""The axes of methods: the fields of a search configuration in which one method differs from another.

All other fields are data, size, rates, computation or records.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from dsrna_jax.search.config import SearchConfig

ALWAYS = ("space", "metric", "order")
OTHERS = (
    "strategy",
    "reward",
    "supernet_attack_steps",
    "fine_tune_steps",
    "candidates",
    "cell_free",
    "objectives",
    "metric_unit",
    "metric_network",
    "gamma_schedule",
    "perturbation",
    "mixture",
    "prune_below",
    "levels",
    "keep",
    "resource_weight",
    "resource",
    "stages",
    "weight_decays",
    "adapt_factor",
    "operations",
    "most_skips",
    "skip_dropout",
    "stop_skips",
    "stop_stable",
    "stop_eigenvalue",
)


def plain(axis: str) -> Any:
    """The value of one of `OTHERS` in a search without it: that of DARTS."""
    (field,) = [field for field in dataclasses.fields(SearchConfig) if field.name == axis]
    return field.metadata["before"]


def method_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The axes of a search configuration: those that every search has, and those others that are not plain.

    Args:
      config: fields by name, also of an earlier version, whose searches had fewer axes.
    """
    others = {axis: config[axis] for axis in OTHERS if axis in config and config[axis] != plain(axis)}
    return {axis: config.get(axis, "?") for axis in ALWAYS} | others
