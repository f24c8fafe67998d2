"""Reports of a certification: certify.json, radii.npz for every image, a summary as text, and a picture."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float

from dsrna_jax.evaluation import page
from dsrna_jax.evaluation.certify.attack_radii import check_not_refuted
from dsrna_jax.evaluation.certify.config import VERIFY, CertificationConfig, is_exact, upper_bound
from dsrna_jax.evaluation.certify.radii import MINIMUM
from dsrna_jax.evaluation.folder import write_arrays
from dsrna_jax.evaluation.report import accuracy_entry, origins
from dsrna_jax.evaluation.setup import EvaluationSetup
from dsrna_jax.files import write_whole
from dsrna_jax.runtime.options import in_effect


def write(out: Path, config: CertificationConfig, setup: EvaluationSetup, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Writes certify.json, radii.npz and certified_accuracy.png from the records of all batches; returns certify.json.

    Raises: RefutedError, after all is written, if an attack refutes a certificate.
    """
    arrays, (indices, _, labels) = gathered(rows), setup.images
    correct, certified, attacked = arrays["prediction"] == labels, arrays[MINIMUM], arrays.get("attacked")
    # Smoothing certifies the smoothed network, while the clean accuracy is that of the network itself.
    stands = arrays["smoothed"] == labels if "smoothed" in arrays else correct
    report = {
        "experiment": "certify",
        "config": dataclasses.asdict(config),
        "checkpoint": setup.identity,
        "dataset": setup.network.config.dataset,
        "examples": len(correct),
        "clean": accuracy_entry(correct),
        "norm": config.norm,
        "method": config.method,
        "radius": summary(certified, stands),
        "certified_accuracy": [
            {
                "radius": radius,
                **accuracy_entry(stands & (certified >= radius)),
                "attacked": None if attacked is None else float((correct & (attacked >= radius)).mean()),
            }
            for radius in round_radii(certified, attacked)
        ],
        "attack_radius": None if attacked is None else summary(attacked, correct, rounded="higher"),
        "gap": None if attacked is None else _gap(certified[correct], attacked[correct]),
        "per_target": {target: summary(arrays[target], stands) for target in rows[0]["radius"] if target != MINIMUM},
        "abstained": float((arrays["smoothed"] < 0).mean()) if "smoothed" in arrays else None,
        "refuted": 0 if attacked is None else int((certified > attacked).sum()),
        "seconds_per_example": float(np.median([row["seconds"] / len(row["predictions"]) for row in rows])),
        "weights": setup.network.weight_count,
        **origins(setup.mesh),
    }
    write_whole(out / "certify.json", json.dumps(report, indent=2, allow_nan=False) + "\n")
    write_arrays(out / "radii.npz", index=indices, label=labels, **arrays)
    _draw(out / "certified_accuracy.png", report, certified, attacked)
    _write_page(out, report)
    if attacked is not None:
        check_not_refuted(certified, attacked)
    return report


def gathered(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The records of all batches as arrays [examples]: "prediction", a radius by target, and "attacked" and "smoothed" if any."""
    arrays = {"prediction": np.concatenate([np.array(row["predictions"], int) for row in rows])}
    if "smoothed" in rows[0]:
        arrays["smoothed"] = np.concatenate([np.array(row["smoothed"], int) for row in rows])
    for target in rows[0]["radius"]:
        arrays[target] = np.concatenate([np.array(row["radius"][target], float) for row in rows])
    if rows[0]["attack_radius"] is not None:
        sizes = np.concatenate([np.array(row["attack_radius"], float) for row in rows])
        arrays["attacked"] = np.where(np.isnan(sizes), np.inf, sizes)  # JSON has no infinity
    return arrays


def summary(
    radii: Float[np.ndarray, " examples"], correct: Bool[np.ndarray, " examples"], rounded: Literal["lower", "higher"] = "lower"
) -> dict[str, float | None]:
    """Mean radius, mean over the correct examples alone, and percentiles (`percentile_radius`); None for infinity.

    `rounded` is "higher" for attacks, which bound from above.
    """
    values = {"mean": radii.mean(), "mean_correct": radii[correct].mean() if correct.any() else 0.0}
    for name, percent in (("median", 50), ("p5", 5), ("p25", 25), ("p75", 75), ("p95", 95)):
        values[name] = percentile_radius(radii, percent, rounded)
    return {name: float(value) if np.isfinite(value) else None for name, value in values.items()}


def percentile_radius(
    radii: Float[np.ndarray, " examples"], percent: float, rounded: Literal["lower", "higher"] = "lower"
) -> float:
    """The percentile of radii that is the radius of an image: between two the lower one, by default, or the higher."""
    return float(np.percentile(radii, percent, method=rounded))


def round_radii(certified: np.ndarray, attacked: np.ndarray | None) -> list[float]:
    """Radii for a table: 0, and those of 1, 2, 5, 10, 20 ... (times powers of ten) that span certified and attacked radii."""
    known = certified if attacked is None else np.concatenate([certified, attacked])
    known = known[np.isfinite(known) & (known > 0)]
    if not len(known):
        return [0.0]
    powers = range(int(np.floor(np.log10(known.min()))), int(np.ceil(np.log10(known.max()))) + 1)
    series = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    below = [radius for radius in series if radius <= known.min()][-1:]
    return [0.0, *below, *(r for r in series if known.min() < r <= known.max()), *[r for r in series if r > known.max()][:1]]


def lines(report: dict[str, Any]) -> str:
    """certify.json as text."""
    clean, radius, attacked = report["clean"], report["radius"], report["attack_radius"]
    how = report["method"] + (" in exact arithmetic" if is_exact(report) else "")
    text = [
        f"{report['examples']} images, {clean['accuracy']:.1%} of them classified correctly "
        f"(95 %: {clean['low']:.1%} to {clean['high']:.1%})",
        f"certified {report['norm']} radius by {how}: mean {radius['mean']:.3g}, median {radius['median']:.3g}, "
        f"5 to 95 %: {radius['p5']:.3g} to {radius['p95']:.3g}",
    ]
    if report["abstained"] is not None:
        right = report["certified_accuracy"][0]["accuracy"]
        text.append(
            f"radii are of the smoothed network, which classifies {right:.1%} correctly and abstains on {report['abstained']:.1%}"
        )
    text += [f"  {name.replace('_', ' ')} target: mean {row['mean']:.3g}" for name, row in report["per_target"].items()]
    if attacked is not None:
        mean = "infinite" if attacked["mean"] is None else f"{attacked['mean']:.3g}"
        ratio = "nothing to compare it with" if report["gap"] is None else f"{report['gap']:.3g} times the certified radius"
        what = "nearest counterexample" if report["method"] == VERIFY else "smallest perturbation"
        text.append(f"{what} found by {upper_bound(report)}: mean {mean}; in the median {ratio}")
        text.append("PASS  none is smaller than the certified radius of its image")
    return "\n".join(text)


def _write_page(out: Path, report: dict[str, Any]) -> None:
    attack = "without a counterexample" if report["method"] == VERIFY else "withstands the attack"
    rows = [("radius", "certified accuracy", "95 % interval", attack)]
    for row in report["certified_accuracy"]:
        attacked = "" if row["attacked"] is None else f"{row['attacked']:.1%}"
        rows.append((f"{row['radius']:g}", f"{row['accuracy']:.1%}", f"{row['low']:.1%} to {row['high']:.1%}", attacked))
    images = f"{report['examples']} {report['config']['split']} images"
    caption = f"Share of {images} certified within each {report['norm']} radius, in pixel units."
    shares = "; ".join(f"{row['accuracy']:.1%} at {row['radius']:g}" for row in report["certified_accuracy"])
    page.write_page(
        out,
        "certificates of",
        report | {"config": in_effect(CertificationConfig, report["config"])},
        rows,
        caption,
        [line.strip() for line in lines(report).splitlines()],
        {"certified_accuracy.png": ("Certified accuracy against the radius", f"A falling staircase: {shares} are certified")},
    )


def _gap(certified, attacked):
    """Median over images of attack radius over certified radius, infinite where that is 0; None if it is infinite."""
    if not len(certified):
        return None
    ratios = np.divide(attacked, certified, out=np.full(len(certified), np.inf), where=certified > 0)
    middle = np.median(ratios)
    return float(middle) if np.isfinite(middle) else None


def _draw(path, report, certified, attacked):
    from dsrna_jax import plots

    curves = {f"certified by {report['method']}": certified}
    if attacked is not None:
        what = "no counterexample of" if report["method"] == VERIFY else "withstands"
        curves[f"{what} {upper_bound(report)}: at most this could be certified"] = attacked
    name = Path(report["checkpoint"]["path"]).resolve().name
    label = f"radius ({report['norm'].replace('inf', '-infinity')}) [pixel units]"
    title = f"{name}: certified accuracy, {report['examples']} images"
    plots.certified_accuracy(curves, path, label=label, title=title)
