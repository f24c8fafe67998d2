"""Accuracy against the radius of attacks, and attacked images."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from dsrna_jax.plots.canvas import FAINT, GREY, INK, blank, quiet, save

_RIGHT, _WRONG = "#228833", "#cc3311"
_COLOURS = {"FGSM": "#4477aa", "PGD-20": "#cc3311", "C&W-l2": "#aa3377", "DDN-100": "#ccbb44"}


def accuracy_against_radius(
    report: Mapping[str, Any],
    distances: Mapping[str, Float[np.ndarray, " image"]],
    path: str | os.PathLike | None = None,
    *,
    title: str,
) -> Figure:
    """Accuracy under FGSM and PGD-20 at several radii, with 95 % intervals, and under the series at its own radius.

    Under l2 also the accuracy that C&W and DDN leave at each radius.

    Args:
      report: the content of attack.json.
      distances: smallest l2 perturbation of each image, by the name of the row.
    """
    figure = blank(9.5, 4.9, title)
    axes = figure.add_axes((0.085, 0.13, 0.64, 0.75), ylim=(-2, 102))
    points, norm = report["curve"]["points"], report["config"]["norm"]
    unit = 255 if norm == "linf" else 1
    for name in ("FGSM", "PGD-20"):
        own = [point for point in points if point["name"] in ("clean", name)]
        radii = [unit * point["radius"] for point in own]
        low, high, middle = ([100 * point[part] for point in own] for part in ("low", "high", "accuracy"))
        axes.fill_between(radii, low, high, color=_COLOURS[name], alpha=0.13, linewidth=0)
        axes.plot(radii, middle, "o-", color=_COLOURS[name], ms=4, lw=1.8, label=name)
    largest = max(radii)
    if norm == "l2":
        for name, distance in distances.items():
            grid = np.linspace(0, largest, 200)
            share = [100 * np.mean(distance > radius) for radius in grid]
            axes.plot(grid, share, "--", color=_COLOURS.get(name, INK), lw=1.6, label=name)
    for row in report["rows"]:
        if row.get("after") and row["norm"] == norm:
            accuracy, low, high = (100 * row[part] for part in ("accuracy", "low", "high"))
            bars = [[max(accuracy - low, 0)], [max(high - accuracy, 0)]]
            style = {"color": INK, "ms": 8, "capsize": 3, "lw": 1.2, "zorder": 5, "clip_on": False}
            axes.errorbar([unit * row["radius"]], [accuracy], bars, fmt="D", label=row["name"], **style)
    clean = report["clean"]["accuracy"]
    axes.plot([0], [100 * clean], "D", color=_RIGHT, ms=8, zorder=5, clip_on=False, label="clean")
    axes.axvline(unit * report["config"]["radius"], color=FAINT, lw=1, ls=":", zorder=0)
    axes.set_xlim(-0.01 * largest, 1.01 * largest)
    axes.set_xlabel("radius (l-infinity) [1/255]" if norm == "linf" else "radius (l2) [pixel units]", color=INK)
    axes.set_ylabel("accuracy [%]", color=INK)
    quiet(axes)
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.02), frameon=False, fontsize=9.5, labelspacing=0.8)
    probed, examples = report["curve"]["examples"], report["examples"]
    images = f"{examples} images" if probed == examples else f"lines on {probed}, diamonds on {examples} images"
    note = f"{images};\nbands and bars: 95 % intervals"
    axes.text(1.035, 0.02, note, transform=axes.transAxes, fontsize=8.5, color=GREY, va="bottom")
    if path is not None:
        save(figure, path)
    return figure


def attacked_images(
    images: Float[np.ndarray, "image height width channel"],
    x_adv: Float[np.ndarray, "image height width channel"],
    labels: Sequence[str],
    predictions: Sequence[str],
    path: str | os.PathLike | None = None,
    *,
    title: str,
    note: str = "",
) -> Figure:
    """A sheet of clean images, attacked images, and their amplified difference: red is brighter than before, blue darker.

    Args:
      images, x_adv: clean and attacked, in [0, 1].
      labels: names of the true classes.
      predictions: names of the classes predicted for the attacked images.
    """
    difference = x_adv - images
    factor = 0.5 / max(np.abs(difference).max(), 1e-6)
    side, pitch, left, top = 1.02, 1.12, 0.95, 0.98
    tops = (top, top + pitch + 0.26, top + 2 * pitch + 0.36)  # the last line has no names above it
    width, height = left + max(len(images), 5) * pitch + 0.2, tops[-1] + side + 0.2
    figure = blank(width, height, title)
    figure.text(0.3 / width, 1 - 0.62 / height, note, fontsize=9.5, color=GREY)
    is_grey = images.shape[-1] == 1
    shades: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 1}
    signs: dict[str, Any] = shades | {"cmap": "RdBu_r"}
    lines = (
        ("clean", images, labels, shades),
        ("attacked", x_adv, predictions, shades),
        (f"difference\n\u00d7{factor:.3g}", 0.5 + factor * difference, None, signs),
    )
    for from_top, (name, pictures, names, options) in zip(tops, lines, strict=True):
        bottom = height - from_top - side
        figure.text((left - 0.1) / width, (bottom + side / 2) / height, name, ha="right", va="center", fontsize=9.5, color=INK)
        for column, image in enumerate(np.clip(pictures, 0, 1)):
            axes = figure.add_axes(((left + column * pitch) / width, bottom / height, side / width, side / height))
            axes.imshow(image[..., 0] if is_grey else image, interpolation="nearest", **(options if is_grey else {}))
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(color=FAINT, linewidth=0.6)
            if names is not None:
                colour = _RIGHT if names[column] == labels[column] else _WRONG
                axes.set_title(_short(names[column]), fontsize=9.5, color=colour, pad=3)
    if path is not None:
        save(figure, path)
    return figure


def _short(text: str) -> str:
    return text if len(text) <= 13 else text[:12] + "\u2026"
