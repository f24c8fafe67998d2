"""Options of the robustness measure R: which one, its own options, and how it enters the objective of the alphas."""

import dataclasses
from typing import Any, ClassVar

from dsrna_jax.bounds import METHODS, NORMS
from dsrna_jax.errors import InputError
from dsrna_jax.measures import CERTIFICATES, ESTIMABLE, MEASURES, RADIUS_SCHEDULES, UNITS
from dsrna_jax.runtime.options import option

NETWORKS = ("supernet", "derived")
GAMMA_SCHEDULES = ("constant", "linear")


@dataclasses.dataclass(frozen=True)
class RobustnessOptions:
    """R as the paper has it (the defaults), or by what could keep it from helping."""

    section: ClassVar[str] = "robustness measure"

    metric: str = option("jacobian", "robustness measure R", MEASURES)
    jacobian_norm: str = option(
        "row_l2",
        "Jacobian norm: row_l2 against l2, row_l1 against l-infinity",
        ESTIMABLE["exact"],
        formerly="norm",
        renamed={"l1": "row_l1", "fro2": "fro_squared"},
    )
    jacobian_method: str = option("rows", "how the Jacobian norm is estimated", ESTIMABLE, formerly="method")
    n_proj: int = option(1, "projections of an estimate", "[1, 1000]")
    certificate: str = option("cell", "certificate of every cell, of the margin, or of the largest radius", CERTIFICATES)
    certificate_method: str = option("ibp", "method of its bounds", METHODS)
    certificate_norm: str = option("linf", "norm of the ball that is certified", NORMS)
    entries: int = option(4, "output entries of a cell that are bounded, by methods other than ibp", "[1, 4096]")
    radius: float = option(0.03, "radius of certificates at the start", "[1e-30, 1e4]")
    radius_schedule: str = option("controller", "radius: by the slack of certificates, fixed, or growing", RADIUS_SCHEDULES)
    metric_unit: str = option(
        "one",
        "unit of the logits in R: one, the batch's mean clean margin, or the standard deviation of an image's logits",
        UNITS,
        renamed={"deviation": "std"},
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
    estimable = ESTIMABLE[config.jacobian_method]
    if config.jacobian_norm not in estimable:
        raise InputError(
            f"jacobian_method={config.jacobian_method!r} cannot estimate jacobian_norm={config.jacobian_norm!r}: "
            f"expected one of {', '.join(estimable)}"
        )
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
