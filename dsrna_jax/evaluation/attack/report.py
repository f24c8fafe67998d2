"""Reports of an evaluation under attack: attack.json, a table as text, and the plan of an evaluation before it runs."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from dsrna_jax.evaluation import page
from dsrna_jax.evaluation.attack.budgets import MEMBERS, attack_rows, curve_rows, pixels
from dsrna_jax.evaluation.attack.config import AttackConfig
from dsrna_jax.evaluation.attack.evaluate import work
from dsrna_jax.evaluation.attack.outcomes import AttackOutcome, Evaluation
from dsrna_jax.evaluation.attack.sanity import COUNT, Check, check
from dsrna_jax.evaluation.attack.sanity.remedies import advice
from dsrna_jax.evaluation.report import accuracy_entry, origins
from dsrna_jax.evaluation.setup import EvaluationSetup
from dsrna_jax.networks.multiplications import multiply_adds
from dsrna_jax.runtime.options import in_effect
from dsrna_jax.runtime.sharding import described
from dsrna_jax.training.restore import TrainedNetwork


def _row_entry(outcome: AttackOutcome) -> dict[str, Any]:
    row = outcome.row
    entry = {"name": row.name, "norm": row.norm, "radius": row.radius, **accuracy_entry(outcome.robust)}
    entry |= {"budget": row.budget, "seconds": round(outcome.seconds, 1)}
    if row.is_series:
        entry["after"] = outcome.after
    if outcome.distance is not None:  # median over correctly classified images; None if it is infinite
        distances = np.sort(outcome.distance[outcome.distance > 0])
        middle = float(distances[(len(distances) - 1) // 2]) if len(distances) else np.inf
        entry["median_distance"] = middle if np.isfinite(middle) else None
    return entry


def report(evaluation: Evaluation, config: AttackConfig, setup: EvaluationSetup) -> dict[str, Any]:
    """The content of attack.json."""
    network = setup.network
    rows = [_row_entry(outcome) for outcome in evaluation.table]
    worst = {"name": "worst case", "norm": config.norm, "radius": config.size, **accuracy_entry(evaluation.worst)}
    seconds = sum(row["seconds"] for row in rows if (row["norm"], row["radius"]) == (config.norm, config.size))
    rows.append({**worst, "budget": "every row of this norm and radius", "seconds": round(seconds, 1)})
    curve = [{"name": "clean", "radius": 0.0, **accuracy_entry(evaluation.clean[: evaluation.probed])}]
    curve += [{"name": o.row.name, "radius": o.row.radius, **accuracy_entry(o.robust)} for o in evaluation.curve]
    training = {name: getattr(network.config, name) for name in ("adversarial", "norm", "radius", "dataset", "epochs", "seed")}
    return {
        "experiment": "attack",
        "config": {**dataclasses.asdict(config), "radius": config.size},
        "checkpoint": setup.identity,
        "training": training,
        "examples": len(evaluation.clean),
        "clean": accuracy_entry(evaluation.clean),
        "rows": rows,
        "curve": {"examples": evaluation.probed, "points": curve},
        "checks": [c._asdict() for c in (_unseen_images(config, network), *evaluation.checks)],
        "weights": network.weight_count,
        "device": described(setup.mesh),
        **origins(setup.mesh),
    }


def _unseen_images(config: AttackConfig, network: TrainedNetwork) -> Check:
    seen = config.split.startswith("train")
    says = f"split {config.split} of {network.config.dataset}, which the network was {'' if seen else 'not '}trained on"
    return check("unseen images", not seen, None, says)


def table(report: dict[str, Any]) -> str:
    """attack.json as text: accuracies with their 95 % intervals, then the checks."""
    return "\n".join([*_aligned(_lines(report)), "", "sanity checks:", *(f"  {mark}" for mark in _marks(report))])


def _lines(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """The headings and the rows of the table."""
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
    return lines


def _marks(report: dict[str, Any]) -> list[str]:
    """The sanity checks in words, with advice where one warns."""
    return [
        f"{c['status']}  {c['name']}: {c['says']}{advice(c['name']) if c['status'] == 'WARN' else ''}"
        for c in sorted(report["checks"], key=lambda c: c["status"])
    ]


def write_page(out: Path, report: dict[str, Any]) -> None:
    """Writes index.html, the page of an attack, whose pictures are drawn already."""
    fooled = "Rows of clean images, of these under PGD-20, and of the differences, each with the class that is predicted"
    page.write_page(
        out,
        "attack on",
        report | {"config": in_effect(AttackConfig, report["config"])},
        _lines(report),
        f"Accuracy of {report['examples']:,} {report['config']['split']} images under each attack, with its 95 % interval.",
        _marks(report),
        {
            "accuracy_against_radius.png": ("Accuracy against the radius of the perturbations", _curves(report)),
            "attacked_images.png": ("Attacked images, their perturbations and predictions", fooled),
        },
    )


def _curves(report: dict[str, Any]) -> str:
    """The curves of accuracy against the radius, for those who do not see them."""
    points: dict[str, list[str]] = {}
    for point in report["curve"]["points"]:
        points.setdefault(point["name"], []).append(f"{point['accuracy']:.1%} at {point['radius']:.3g}")
    return f"Accuracy of the first {report['curve']['examples']} images. " + "; ".join(
        f"{name}: {', '.join(values)}" for name, values in points.items()
    )


def planned(config: AttackConfig, setup: EvaluationSetup) -> str:
    """The attacks of an evaluation and upper bounds of their costs, as text."""
    network, examples = setup.network, setup.count
    classes, probed = len(network.class_names), min(config.probe_examples, examples)
    lines = [("attack", "norm", "radius", "images", "forward passes each, at most", "budget")]
    for row in attack_rows(config, classes):
        lines.append((row.name, row.norm, pixels(row.radius, row.norm), f"{examples}", f"{row.cost:,}", row.budget))
    curve = curve_rows(config)
    radii = sorted({row.radius for row in curve})
    cost, budget = sum(row.cost for row in curve), f"{len(radii)} radii up to {pixels(radii[-1], config.norm)}"
    lines.append(("curve", config.norm, "", f"{probed}", f"{cost:,}", f"FGSM and PGD-20 at {budget}"))
    total = work(config, classes, examples)
    operations = total * multiply_adds(network.network, network.image_shape)
    return "\n".join([
        f"{setup.heading}; {network.weight_count:,} weights",
        "", *_aligned(lines), "", f"sanity checks: {COUNT + 3}, on {probed} images",
        f"at most {total:,.0f} forward passes of an image ({operations:.2g} multiply-adds), a gradient counted as three; "
        "less, the more images fall",
    ])  # fmt: skip


def _percents(entry: dict[str, Any]) -> tuple[str, str]:
    return f"{entry['accuracy']:.1%}", f"{entry['low']:.1%} to {entry['high']:.1%}"


def _aligned(lines: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
