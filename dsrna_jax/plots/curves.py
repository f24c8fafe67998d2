"""Pictures of the metrics of a search or a training over its epochs."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dsrna_jax.plots.canvas import GREY, INK, blank, mark_epochs, markers, save


def search_curves(
    rows: Sequence[Mapping[str, Any]],
    path: str | os.PathLike | None = None,
    *,
    metric: str = "R",
    warmup: float = 0,
    marks: Mapping[float, str] | None = None,
    title: str | None = None,
    width: int = 1500,
) -> Figure:
    """Loss, accuracy, robustness and number of skip connections over the epochs of a search.

    A panel is left out if no row has a number for it; a value that is absent, None or not finite leaves a gap, except that
    eigenvalues, which are measured in some epochs alone, are joined but for epochs that are marked.

    Args:
      rows: one dict an epoch: "epoch" and any of "train_loss", "val_loss", "train_accuracy" and "val_accuracy" (in
        [0, 1]), "robustness" (R, higher is more robust), "gamma_times_robustness", "radius" and "certified_accuracy" (of
        certificates, at that radius), "radius_certifying_25", "_50" and "_75" (of the supernet), "perturbation_radius",
        "skip_dropout" (its rate), "temperature" and "operations_left" (of mixtures), "multiply_adds" and "latency_ms" (expected
        of the mixtures), "eigenvalue" (the dominant one of the alphas' Hessian), "skips_normal", "skips_reduction",
        "skips_blocks".
      metric: label of the axis of R.
      warmup: epochs before this one, in which alphas are frozen, are shaded.
      marks: words for the legend, by epochs at which every panel has a vertical line.
      width: of the picture, in pixels; the height follows.
    """
    return _curves(rows, _panels(metric), path, warmup, title, width, marks or {})


def training_curves(
    rows: Sequence[Mapping[str, Any]],
    path: str | os.PathLike | None = None,
    *,
    title: str | None = None,
    width: int = 1500,
) -> Figure:
    """Loss, accuracy and learning rate over the epochs of a training.

    Args:
      rows: one dict an epoch: "epoch" and any of "train_loss", "val_loss", "train_accuracy", "val_accuracy" and
        "val_robust_accuracy" (in [0, 1]), "learning_rate".
      width: of the picture, in pixels; the height follows.
    """
    return _curves(rows, _training_panels(), path, 0, title, width, {})


def _curves(rows, panels, path, warmup, title, width, marks) -> Figure:
    """One panel for each (heading, label of the y axis, lines) that has a number."""
    rows = [row for row in rows if np.isfinite(_number(row.get("epoch")))]
    panels = [
        (heading, label, lines)
        for heading, label, lines in panels
        if any(np.isfinite(line(row)) for _, line, _ in lines for row in rows)
    ]
    dpi, columns = 110, min(2, max(1, len(panels)))
    inches = width / dpi
    top, row_height = (0.6 if title else 0.2), 3.2
    height = top + row_height * max(1, -(-len(panels) // columns))
    figure = blank(inches, height, title, dpi=dpi)
    if not panels:
        figure.text(0.5, 0.5, "nothing has been recorded yet", ha="center", fontsize=12, color=INK)
    epochs = [row["epoch"] for row in rows]
    panel_width = (inches - 0.25) / columns - 0.75
    for index, (heading, label, lines) in enumerate(panels):
        left, bottom = 0.75 + index % columns * (panel_width + 0.75), height - top - row_height * (index // columns + 1)
        box = (left / inches, (bottom + 0.6) / height, panel_width / inches, (row_height - 1) / height)
        axes = figure.add_axes(box, ylabel=label, xlabel="epoch")
        axes.set_title(heading, loc="left", fontsize=11, fontweight="bold", color=INK)
        for name, line, style in lines:
            points = [(epoch, line(row)) for epoch, row in zip(epochs, rows, strict=True)]
            if "marker" in style:  # measured in some epochs alone, so that gaps would tear every line
                points = [(epoch, value) for epoch, value in points if np.isfinite(value) or epoch in marks]
            if np.isfinite([value for _, value in points]).any():
                axes.plot(*zip(*points, strict=True), label=name, **{"linewidth": 1.8, **markers(epochs), **style})
        mark_epochs(axes, epochs, warmup, "alphas frozen" if index == 0 else None)
        for epoch, words in marks.items():
            axes.axvline(epoch, color=GREY, linestyle=":", linewidth=1.2, label=words if index == 0 else None)
        low, high = axes.dataLim.intervaly
        if "radius" in label and 0 < 30 * low < high:
            axes.set_yscale("log")
        if heading == "skip connections":
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_ylim(-0.15, max(2.15, axes.get_ylim()[1]))
        axes.legend(fontsize=9, frameon=False)
    if path is not None:
        save(figure, path)
    return figure


def _panels(metric):
    """Heading, label of the y axis and lines (name, value of a row, style) of each panel of `search_curves`."""
    train, val, black, green = ({"color": colour} for colour in ("#4477aa", "#cc3311", INK, "#228833"))
    dashed = {"linestyle": "--"}

    def of(key, factor=1.0):
        return lambda row: factor * _number(row.get(key))

    def positive(key):
        return lambda row: _number(row.get(key)) or np.nan

    shares = ((25, green), (50, black), (75, val))

    def objective(row):
        return _number(row.get("val_loss")) - _number(row.get("gamma_times_robustness"))

    return [
        (
            "loss",
            "cross-entropy [nat]",
            [
                ("search_train", of("train_loss"), train),
                ("search_val", of("val_loss"), val),
                ("search_val \u2212 \u03b3R, which alphas minimise", objective, val | dashed),
            ],
        ),
        (
            "accuracy",
            "accuracy [%]",
            [
                ("search_train", of("train_accuracy", 100), train),
                ("search_val", of("val_accuracy", 100), val),
                ("certified at the radius", of("certified_accuracy", 100), green),
            ],
        ),
        ("robustness", metric, [("R, higher is more robust", of("robustness"), green)]),
        ("radius of the certificates", "radius", [("current", of("radius"), black)]),
        ("perturbation of the mixtures", "share of an operation", [("radius", of("perturbation_radius"), black)]),
        ("dropout of identities", "share of the pixels", [("rate", of("skip_dropout"), black)]),
        ("temperature of the mixtures", "temperature", [("current", of("temperature"), black)]),
        ("pruning", "operations on an edge", [("left, mean of all edges", of("operations_left"), black)]),
        ("multiply-adds", "multiply-adds [million]", [("expected of the mixtures", of("multiply_adds", 1e-6), black)]),
        ("latency", "time of a batch [ms]", [("expected of the mixtures", of("latency_ms"), black)]),
        (
            "dominant eigenvalue of the alphas' Hessian",
            "curvature of the loss",
            [("of the loss on a batch of search_val", of("eigenvalue"), black | {"marker": "o", "markersize": 3})],
        ),
        (
            "certified accuracy of the supernet",
            "radius in pixels",
            [(f"{share} % certified", positive(f"radius_certifying_{share}"), style) for share, style in shares],
        ),
        (
            "skip connections",
            "genes of the derived cell",
            [
                ("normal", of("skips_normal"), black),
                ("reduction", of("skips_reduction"), val | dashed),
                ("blocks", of("skips_blocks"), black),
            ],
        ),
    ]


def _training_panels():
    """The panels of `training_curves`, as those of `_panels`."""
    train, val, robust = ({"color": colour} for colour in ("#4477aa", "#cc3311", "#228833"))

    def of(key, factor=1.0):
        return lambda row: factor * _number(row.get(key))

    return [
        ("loss", "cross-entropy [nat]", [("train", of("train_loss"), train), ("held out", of("val_loss"), val)]),
        (
            "accuracy",
            "accuracy [%]",
            [
                ("train, as trained on", of("train_accuracy", 100), train),
                ("held out", of("val_accuracy", 100), val),
                ("held out, under PGD", of("val_robust_accuracy", 100), robust),
            ],
        ),
        ("learning rate", "learning rate", [("learning rate", of("learning_rate"), {"color": INK})]),
    ]


def _number(value: Any) -> float:
    """`value` as a float, or NaN if it is no finite number."""
    return float(value) if isinstance(value, int | float | np.number) and np.isfinite(value) else float("nan")
