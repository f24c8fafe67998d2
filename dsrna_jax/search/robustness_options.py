"""Options of a search that say how R enters the objective of the alphas: its unit, its network and the weight gamma."""

import dataclasses
from typing import Any

from dsrna_jax.errors import InputError
from dsrna_jax.measures import MEASURES, UNITS
from dsrna_jax.runtime.options import option

NETWORKS = ("supernet", "derived")
GAMMA_SCHEDULES = ("constant", "linear")


@dataclasses.dataclass(frozen=True)
class RobustnessOptions:
    """R as the paper has it (the defaults), or by what could keep it from helping."""

    metric_unit: str = option(
        "one",
        "unit of the logits in R: one, the batch's mean clean margin, or the standard deviation of an image's logits",
        UNITS,
        before="one",
    )
    metric_network: str = option(
        "supernet",
        "network of R: the supernet, or the cells derived of it, from which the gradient passes straight to the alphas",
        NETWORKS,
        before="supernet",
        of="strategy=gradient",
    )
    gamma: float = option(0.01, "weight of R in the objective of the alphas (Eq. 16)", "[0, 1e9]")
    gamma_schedule: str = option(
        "constant", "gamma: constant, or growing in equal steps over the epochs in which alphas move", GAMMA_SCHEDULES,
        before="constant", of="strategy=gradient",
    )  # fmt: skip


def check_robustness(config: Any) -> None:
    """Raises: InputError if these options of a search configuration do not go together, or with others."""
    if MEASURES[config.metric].bounds_stages and config.certificate == "radius" and config.metric_unit != "one":
        raise InputError(
            f"metric_unit={config.metric_unit!r} changes no radius: expected metric_unit=one with certificate=radius"
        )
    if config.metric_network == "supernet":
        return
    for name, value in {"keep": "two", "most_skips": 64, "operations": "", "stages": ""}.items():
        if (given := getattr(config, name)) != value:
            raise InputError(
                f"{name}={given!r} with metric_network=derived: expected {name}={value!r}, since R is of cells that keep the two "
                "strongest edges into each node"
            )
