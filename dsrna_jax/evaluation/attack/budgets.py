"""The attacks of a configuration, each with its whole budget: the rows of the table of results."""

import inspect
from collections.abc import Sequence
from typing import NamedTuple

from dsrna_jax.attacks import CW_PRESETS, attack, cw, ddn
from dsrna_jax.attacks.autoattack import stages
from dsrna_jax.attacks.losses import dlr_or_margin
from dsrna_jax.attacks.series import AttackStage
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.attack.config import AttackConfig
from dsrna_jax.evaluation.attack.stages import fgsm_stage, pgd_stage

SMOKE_CW = {"steps": 20, "searches": 4, "rate": 0.1, "constant": 0.1, "confidence": 0.0}
SMOKE_SERIES = {"steps": 20, "queries": 200, "members": ("apgd-ce", "square")}
CURVE_RADII = (0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)  # in radii of the configuration
GRADIENT = 3  # cost of a gradient, in forward passes


class AttackRow(NamedTuple):
    """An attack and its budget.

    stages: run one after the other, each on the examples that are still robust.
    radius: in pixel units.
    budget: in words.
    cost: upper bound of the forward passes for an example.
    is_nearest: whether it looks for the smallest perturbation, of any size; a success if that is at most `radius`.
    is_series: whether the table shows the accuracy after each stage.
    """

    name: str
    stages: tuple[AttackStage, ...]
    radius: float
    norm: str
    budget: str
    cost: int
    is_nearest: bool = False
    is_series: bool = False

    @property
    def key(self) -> str:
        """The name of the row in records, different from that of every other row."""
        return f"{self.name} {self.norm} {self.radius:.9g}"


def fgsm_row(radius: float, norm: str) -> AttackRow:
    """FGSM from the image."""
    name = f"FGSM {pixels(radius, norm)}"
    return AttackRow(name, (fgsm_stage(),), radius, norm, "1 step of the radius", GRADIENT)


def pgd_row(steps: int, radius: float, norm: str, restarts: int = 1) -> AttackRow:
    """PGD from random starts, in steps of a quarter of the radius."""
    budget = f"{steps} steps of a quarter of the radius, {restarts} random start{'s' if restarts > 1 else ''}"
    return AttackRow(f"PGD-{steps}", (pgd_stage(steps, restarts),), radius, norm, budget, GRADIENT * steps * restarts)


def last_iterate_row(steps: int, radius: float, norm: str) -> AttackRow:
    """PGD from one random start whose last point alone counts, as most papers count: at most as strong as `pgd_row`."""
    stages = (pgd_stage(steps, is_last=True),)
    budget = f"{steps} steps of a quarter of the radius, 1 random start, the last iterate alone counts"
    return AttackRow(f"PGD-{steps}, last iterate", stages, radius, norm, budget, GRADIENT * steps)


def cw_row(radius: float, steps: int, searches: int, rate: float, constant: float, confidence: float) -> AttackRow:
    """The l2 attack of Carlini and Wagner; options as in `attacks.cw`."""
    options = (("steps", steps), ("searches", searches), ("rate", rate), ("constant", constant), ("confidence", confidence))
    budget = f"{searches} searches of c from {constant:g}, {steps} steps of Adam each at rate {rate:g}, kappa {confidence:g}"
    return AttackRow(
        "C&W-l2", (AttackStage("cw", cw, options),), radius, "l2", budget, GRADIENT * steps * searches, is_nearest=True
    )


def ddn_row(radius: float, steps: int = 100) -> AttackRow:
    """DDN under l2."""
    stage = AttackStage("ddn", ddn, (("steps", steps),))
    return AttackRow(f"DDN-{steps}", (stage,), radius, "l2", f"{steps} steps", GRADIENT * steps, is_nearest=True)


MEMBERS = {"apgd-ce": "APGD-CE", "apgd-t": "APGD-T", "fab-t": "FAB-T", "square": "Square"}
"""The stages of AutoAttack, and their names in tables."""


def series_row(
    radius: float, norm: str, classes: int, *, steps: int = 100, queries: int = 5000, members: Sequence[str] = tuple(MEMBERS)
) -> AttackRow:
    """Members of AutoAttack one after the other; called AutoAttack only if all of them run as published."""
    published, own = (stages("standard", classes=n, steps=steps, queries=queries) for n in (10, classes))
    chosen = tuple(stage for stage in own if stage.name in members)
    is_whole = (steps, queries, chosen) == (100, 5000, published)
    targets = min(9, classes - 1)
    costs = {"apgd-ce": GRADIENT * steps, "apgd-t": GRADIENT * steps * targets, "fab-t": (GRADIENT + 1) * steps * targets}
    names = {"apgd-ce": "APGD-CE", "apgd-t": f"APGD-T by {dlr_or_margin(classes, is_targeted=True)}", "fab-t": "FAB-T"}
    parts = [f"{names[s.name]} {steps}{f' x {targets} targets' if s.is_targeted else ''}" for s in chosen if s.name in names]
    budget = "; ".join([*parts, f"Square {queries}"])
    name = "AutoAttack" if is_whole else "+".join(MEMBERS[stage.name] for stage in chosen)
    cost = sum(costs.get(stage.name, queries) for stage in chosen)
    return AttackRow(name, chosen, radius, norm, budget, cost, is_series=True)


def default_row(name: str, config: AttackConfig, classes: int) -> AttackRow:
    """An attack of `dsrna_jax.attacks` with its default options, under the configuration's norm if it has that, else under l2.

    An attack whose radius has a default is one that looks for the smallest perturbation. Raises: InputError for an unknown name.
    """
    function = attack(name)
    if name == "autoattack":
        raise InputError("attacks=autoattack: expected attacks that can be jitted as one stage; AutoAttack has tier=standard")
    defaults = {p.name: p.default for p in inspect.signature(function).parameters.values()}
    norm = config.norm if defaults["norm"] == "linf" else "l2"
    cost = GRADIENT
    for factor in ("steps", "searches", "targets", "restarts"):
        cost *= defaults.get(factor) or 1
    is_nearest = defaults["radius"] is not inspect.Parameter.empty
    radius = config.size if norm == config.norm else config.cw_radius
    loss = f", by {dlr_or_margin(classes, is_targeted=True)}" if name == "apgd_t" else ""
    return AttackRow(name, (AttackStage(name, function),), radius, norm, f"default options{loss}", cost, is_nearest)


def attack_rows(config: AttackConfig, classes: int) -> tuple[AttackRow, ...]:
    """The rows of a configuration for a network of that many classes: those of its tier, weakest first, then `attacks`."""
    return *_tier_rows(config, classes), *(default_row(name, config, classes) for name in config.attacks.split(",") if name)


def _tier_rows(config, classes):
    radius, norm, restarts = config.size, config.norm, config.restarts
    if config.tier == "standard":
        return (series_row(radius, norm, classes),)
    quick = (fgsm_row(radius / 4, norm), fgsm_row(radius, norm), *(pgd_row(n, radius, norm, restarts) for n in (10, 20)))
    if config.last_iterate:
        quick += tuple(last_iterate_row(n, radius, norm) for n in ((10, 20) if config.tier == "smoke" else (10, 20, 100)))
    if config.tier == "smoke":
        return *quick, cw_row(config.cw_radius, **SMOKE_CW), series_row(radius, norm, classes, **SMOKE_SERIES)
    nearest = (cw_row(config.cw_radius, **CW_PRESETS["paper60"]), ddn_row(config.cw_radius))
    return *quick, pgd_row(100, radius, norm, restarts), *nearest, series_row(radius, norm, classes)


def curve_rows(config: AttackConfig) -> tuple[AttackRow, ...]:
    """The rows behind the picture of accuracy against radius: FGSM and PGD-20 at several radii."""
    largest = 1.0 if config.norm == "linf" else float("inf")
    radii = [radius for factor in CURVE_RADII if (radius := factor * config.size) <= largest]
    of_fgsm = (fgsm_row(radius, config.norm)._replace(name="FGSM") for radius in radii)
    return *of_fgsm, *(pgd_row(20, radius, config.norm) for radius in radii)


def pixels(radius: float, norm: str) -> str:
    """A radius as text: "8/255" if it is a whole number of grey levels in linf, else four digits."""
    levels = radius * 255
    if norm == "linf" and abs(levels - round(levels)) < 1e-6 and radius:
        return f"{round(levels)}/255"
    return f"{radius:.4g}"
