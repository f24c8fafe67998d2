"""Pictures of a comparison."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from dsrna_jax import plots
from dsrna_jax.comparison.columns import NOT_ACCURACIES, RADIUS_TITLES, radius_column
from dsrna_jax.comparison.paper_tables import CLEAN
from dsrna_jax.comparison.table import Comparison


def pictures(table: Comparison) -> Iterator[tuple[str, Figure]]:
    """The pictures of a comparison with their captions: accuracies, radii, curves and staircases of the measured rows."""
    measured = [row for row in table.rows if row.runs]
    headings = dict(zip(table.columns, table.headings, strict=True))
    for caption, columns, label, is_log in (
        ("Accuracy, clean and attacked", [c for c in table.columns if c.title not in NOT_ACCURACIES], "accuracy [%]", False),
        ("Mean certified radius", [c for c in table.columns if c.title in RADIUS_TITLES], "radius [pixel units]", True),
    ):
        rows = [row for row in measured if any(column in row.cells for column in columns)]
        series = {
            ", ".join(filter(None, headings[column])): [
                (cell.value, cell.std or np.nan) if (cell := row.cells.get(column)) else (np.nan, np.nan) for row in rows
            ]
            for column in columns
        }
        if rows and any(column.title != CLEAN for column in columns):
            yield caption, plots.compared_measures([row.name for row in rows], series, label, is_log)
    for norm in ("linf", "l2"):
        if counted := {row.name: curve for row in measured if (curve := _curve(row, norm))}:
            counts = sorted({count for _, count in counted.values()})
            caption = f"Accuracy under PGD-20 ({norm}), of the first {' or '.join(f'{count}' for count in counts)} images"
            curves = {name: curve for name, (curve, _) in counted.items()}
            yield caption, plots.compared_attacks(curves, f"radius ({norm}) [pixel units]")
    for column in table.columns:
        if column.title in RADIUS_TITLES:
            stairs = {row.name: radii for row in measured if (radii := _radii(row, column)) is not None}
            if stairs:
                caption = f"Certified accuracy: {column.title}, {column.settings}"
                yield caption, plots.compared_certificates(stairs, "certified radius [pixel units]")


def _curve(row, norm):
    """((radii, accuracies) under PGD-20, number of images) of the first training with such a curve; None without any."""
    for run in row.runs:
        for result in run.attacks:
            if result["config"]["norm"] == norm and (points := result["curve"]["points"]):
                own = sorted((p["radius"], p["accuracy"]) for p in points if p["name"] in ("clean", "PGD-20"))
                curve = [radius for radius, _ in own], [accuracy for _, accuracy in own]
                return curve, result["curve"].get("examples", result["examples"])
    return None


def _radii(row, column):
    """The certified radii [image] of all trainings of a row, one after the other; None without any."""
    radii = [
        arrays["minimum"]
        for run in row.runs
        for result, arrays in zip(run.certificates, run.radii, strict=True)
        if arrays and radius_column(result, run) == column
    ]
    return np.concatenate(radii) if radii else None
