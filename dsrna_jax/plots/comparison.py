"""Pictures of a comparison: measures side by side, and accuracy against radius."""

import colorsys
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from dsrna_jax.plots.canvas import INK, blank, quiet

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#1a1a1a", "#e69f00", "#56b4e9", "#882255", "#999933", "#332288")
_MARKERS = "os^Dvph*Xd"
_GOLDEN = (5**0.5 - 1) / 2


def colour(index: int) -> str:
    """The colour of the row or measure of that number, as #rrggbb: ten that colour-blind people tell apart, then further ones."""
    if index < len(_COLOURS):
        return _COLOURS[index]
    hue, lightness = (index * _GOLDEN) % 1.0, (0.33, 0.52, 0.42)[index % 3]
    return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue, lightness, 0.8))


def compared_measures(
    names: Sequence[str], series: Mapping[str, Sequence[tuple[float, float]]], label: str, is_log: bool = False
) -> Figure:
    """A line for each row of the comparison, with a mark for each measure and its standard deviation over seeds.

    Args:
      names: of the rows.
      series: by measure, (value, std) of every row; NaN where there is none.
      label: of the axis.
    """
    names = [_wrapped(name) for name in names]
    lines = max(name.count("\n") for name in names) + 1
    legend = sum(_wrapped(name).count("\n") + 1.5 for name in series)
    height = max(2.2, max(0.6, 0.17 * lines) * len(names) + 1.1, 0.17 * legend + 1.1)
    figure, axes = _axes(height, left=0.3, bottom=0.55)
    for index, (name, points) in enumerate(series.items()):
        values, stds = np.array(points, float).reshape(-1, 2).T
        rows = np.arange(len(names)) + 0.5 * ((index + 0.5) / len(series) - 0.5)
        style = {"color": colour(index), "marker": _MARKERS[index % len(_MARKERS)], "ls": "none", "ms": 6}
        axes.plot(values, rows, label=_wrapped(name), **style)
        several = np.isfinite(stds)
        axes.errorbar(values[several], rows[several], xerr=stds[several], capsize=2, ls="none", color=style["color"])
    axes.set_yticks(range(len(names)), names, fontsize=8.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(label, color=INK)
    if is_log:
        _scale_by_powers(axes, [value for points in series.values() for value, _ in points])
    axes.legend(fontsize=8.5, frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.03))
    return figure


Interval = tuple[float, float, float]
"""A figure with the ends of its interval: (value, low, high); NaN for ends that are not known."""


def compared_points(points: Mapping[str, tuple[Interval, Interval]], x: str, y: str, is_log: bool = False) -> Figure:
    """One measure against another: a mark for each row of the comparison, with the intervals of both.

    Args:
      points: by row, (figure of the x axis, figure of the y axis).
      x: label of the x axis.
      y: label of the y axis.
    """
    legend = sum(_wrapped(name).count("\n") + 1.5 for name in points)
    figure, axes = _axes(max(3.6, 0.17 * legend + 1.1))
    for index, (name, (along, up)) in enumerate(points.items()):
        style = {"color": colour(index), "marker": _MARKERS[index % len(_MARKERS)], "ls": "none", "ms": 7, "capsize": 2, "lw": 1}
        errors = {axis: np.nan_to_num([[value - low], [high - value]]) for axis, (value, low, high) in (("x", along), ("y", up))}
        axes.errorbar(along[0], up[0], xerr=errors["x"], yerr=errors["y"], label=_wrapped(name), **style)
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    if is_log:
        _scale_by_powers(axes, [along[0] for along, _ in points.values()])
    axes.legend(fontsize=8.5, frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.03))
    return figure


def compared_attacks(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], label: str) -> Figure:
    """Accuracy against radius, one curve for each row.

    Args:
      curves: by row, (radii, accuracies in [0, 1]).
      label: of the axis of radii.
    """
    figure, axes = _axes(3.6)
    for index, (name, (radii, accuracies)) in enumerate(curves.items()):
        style = {"color": colour(index), "marker": _MARKERS[index % len(_MARKERS)], "ms": 4, "lw": 1.8}
        axes.plot(radii, 100 * np.asarray(accuracies), label=_wrapped(name), **style)
    return _labelled(figure, axes, label)


def compared_certificates(curves: Mapping[str, Float[np.ndarray, " image"]], label: str) -> Figure:
    """Share of images certified at each radius, one staircase for each row.

    Args:
      curves: by row, the certified radius of each image; 0 for none.
      label: of the axis of radii.
    """
    figure, axes = _axes(3.6)
    known = np.concatenate([values[values > 0] for values in curves.values()])
    first, last = (known.min() / 2, known.max() * 2) if len(known) else (1e-3, 1.0)
    for index, (name, values) in enumerate(curves.items()):
        radii = np.concatenate([[first], np.unique(values[values > 0]), [last]])
        shares = [100 * np.mean(values >= radius) for radius in radii]
        axes.plot(radii, shares, drawstyle="steps-pre", color=colour(index), lw=1.8, label=_wrapped(name))
    axes.set_xscale("log")
    return _labelled(figure, axes, label)


def _scale_by_powers(axes, values):
    """A logarithmic axis; where there are zeros, with a linear part below the least positive value that keeps them in view."""
    known = np.asarray(values, float)[np.isfinite(values)]
    positive = known[known > 0]
    if len(positive) == len(known):
        axes.set_xscale("log")
    elif len(positive):
        axes.set_xscale("symlog", linthresh=positive.min())


def _wrapped(name):
    return textwrap.fill(name, 34)


def _labelled(figure, axes, label):
    axes.set_xlabel(label, color=INK)
    axes.set_ylabel("accuracy [%]", color=INK)
    axes.set_ylim(-2, 102)
    axes.legend(fontsize=8.5, frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.03))
    return figure


def _axes(height, left=0.075, bottom=0.6):
    figure = blank(10, height, dpi=150)
    axes = figure.add_axes((left, bottom / height, 0.72 - left, 1 - (bottom + 0.15) / height))
    quiet(axes)
    return figure, axes
