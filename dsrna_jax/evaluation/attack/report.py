"""What an evaluation came to: attack.json for programs, tables for people; and what one would do."""

import dataclasses
import platform
from typing import Any

import jax
import numpy as np

from dsrna_jax.confidence import wilson
from dsrna_jax.evaluation.attack.budgets import MEMBERS, curve_rows, pixels, rows
from dsrna_jax.evaluation.attack.config import AttackConfig
from dsrna_jax.evaluation.attack.evaluate import Evaluation, Outcome, work
from dsrna_jax.evaluation.attack.sanity import COUNT, Check, check
from dsrna_jax.networks.multiply_adds import multiply_adds
from dsrna_jax.training.restore import TrainedNetwork


def _share(flags: np.ndarray) -> dict[str, float]:
    low, high = wilson(int(flags.sum()), len(flags))
    return {"accuracy": float(flags.mean()), "low": low, "high": high}


def _row(outcome: Outcome) -> dict[str, Any]:
    row = outcome.row
    entry = {"name": row.name, "norm": row.norm, "radius": row.radius, **_share(outcome.robust)}
    entry |= {"budget": row.budget, "seconds": round(outcome.seconds, 1)}
    if row.is_series:
        entry["after"] = outcome.after
    if outcome.distance is not None:  # of the images that are predicted rightly; none if half of them never fell
        distances = np.sort(outcome.distance[outcome.distance > 0])
        middle = float(distances[(len(distances) - 1) // 2]) if len(distances) else np.inf
        entry["median_distance"] = middle if np.isfinite(middle) else None
    return entry


def report(
    found: Evaluation, config: AttackConfig, network: TrainedNetwork, identity: dict[str, Any], device: str
) -> dict[str, Any]:
    """The content of attack.json."""
    table = [_row(outcome) for outcome in found.table]
    worst = {"name": "worst case", "norm": config.norm, "radius": config.size, **_share(found.worst)}
    table.append({**worst, "budget": "every row of this norm and radius", "seconds": round(sum(r["seconds"] for r in table), 1)})
    curve = [{"name": "clean", "radius": 0.0, **_share(found.clean[: found.probed])}]
    curve += [{"name": o.row.name, "radius": o.row.radius, **_share(o.robust)} for o in found.curve]
    training = {name: getattr(network.config, name) for name in ("adversarial", "norm", "radius", "dataset", "epochs", "seed")}
    return {
        "experiment": "attack",
        "config": {**dataclasses.asdict(config), "radius": config.size},
        "checkpoint": identity,
        "training": training,
        "examples": len(found.clean),
        "clean": _share(found.clean),
        "rows": table,
        "curve": {"examples": found.probed, "points": curve},
        "checks": [c._asdict() for c in (_unseen(config, network), *found.checks)],
        "weights": network.weight_count,
        "device": device,
        "versions": {"python": platform.python_version(), "jax": jax.__version__, "numpy": np.__version__},
    }


def _unseen(config: AttackConfig, network: TrainedNetwork) -> Check:
    seen = config.split.startswith("train")
    says = f"split {config.split} of {network.config.dataset}, which the network was {'' if seen else 'not '}trained on"
    return check("unseen images", not seen, None, says)


def table(report: dict[str, Any]) -> str:
    """attack.json for people: accuracies with their 95 % intervals, then the checks."""
    lines = [("attack", "norm", "radius", "accuracy", "95 % interval", "time", "budget")]
    lines.append(("clean", "", "", *_percents(report["clean"]), "", ""))
    for row in report["rows"]:
        radius, seconds = pixels(row["radius"], row["norm"]), f"{row['seconds']:.0f} s"
        budget = row["budget"]
        if row.get("median_distance"):
            budget += f"; median distance {row['median_distance']:.3g}"
        lines.append((row["name"], row["norm"], radius, *_percents(row), seconds, budget))
        for name, accuracy in row.get("after", {}).items():
            lines.append((f"  after {MEMBERS[name]}", "", "", f"{accuracy:.1%}", "", "", ""))
    marks = [f"{c['status']}  {c['name']}: {c['says']}" for c in sorted(report["checks"], key=lambda c: c["status"])]
    return "\n".join([*_aligned(lines), "", "sanity checks:", *(f"  {mark}" for mark in marks)])


def planned(config: AttackConfig, network: TrainedNetwork, examples: int) -> str:
    """What an evaluation would do, and at most take."""
    classes, probed = len(network.class_names), min(config.probe_examples, examples)
    lines = [("attack", "norm", "radius", "images", "forward passes each, at most", "budget")]
    for row in rows(config, classes):
        lines.append((row.name, row.norm, pixels(row.radius, row.norm), f"{examples}", f"{row.cost:,}", row.budget))
    curve = curve_rows(config)
    radii = sorted({row.radius for row in curve})
    cost, among = sum(row.cost for row in curve), f"{len(radii)} radii up to {pixels(radii[-1], config.norm)}"
    lines.append(("curve", config.norm, "", f"{probed}", f"{cost:,}", f"FGSM and PGD-20 at {among}"))
    total = work(config, classes, examples)
    operations = total * multiply_adds(network.network, network.image_shape)
    return "\n".join([
        f"{network.config.dataset} {config.split}: {examples} images; {network.weight_count:,} weights",
        "", *_aligned(lines), "", f"sanity checks: {COUNT + 3}, on {probed} images",
        f"at most {total:,.0f} forward passes of an image ({operations:.2g} multiply-adds), a gradient counted as three; "
        "less, the more images fall",
    ])  # fmt: skip


def _percents(entry: dict[str, Any]) -> tuple[str, str]:
    return f"{entry['accuracy']:.1%}", f"{entry['low']:.1%} to {entry['high']:.1%}"


def _aligned(lines: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
