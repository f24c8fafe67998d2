"""Pictures of accuracy against certified radius."""

import os
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from dsrna_jax.confidence import wilson
from dsrna_jax.plots.canvas import blank, quiet, save


def certified_accuracy(
    curves: Mapping[str, Float[np.ndarray, " image"]],
    path: str | os.PathLike | None = None,
    *,
    label: str = "radius [pixel units]",
    title: str | None = None,
    width: int = 1500,
) -> Figure:
    """Share of images that are robust at each radius: one falling staircase a curve, with its 95 % interval.

    Args:
      curves: by name, the radius up to which each image is robust; 0 if it is misclassified, inf if robust at every radius.
      label: of the axis of radii, which is logarithmic.
    """
    dpi = 110
    figure = blank(width / dpi, 5.2, title, dpi=dpi)
    axes = figure.add_axes((0.07, 0.13, 0.9, 0.74 if title else 0.82), xlabel=label, ylabel="accuracy [%]", ylim=(-2, 102))
    known = np.concatenate([values[np.isfinite(values) & (values > 0)] for values in curves.values()] or [np.empty(0)])
    first, last = (known.min() / 3, known.max() * 3) if len(known) else (1e-3, 1.0)
    for colour, (name, values) in zip(("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#333333"), curves.items(), strict=False):
        ends = np.unique(values[np.isfinite(values) & (values > 0)])
        radii = np.concatenate([[first], ends, [last]])
        counts = np.array([(values >= radius).sum() for radius in radii])
        low, high = 100 * np.array([wilson(int(count), len(values)) for count in counts]).T
        style = {"step": "pre", "color": colour, "alpha": 0.15, "linewidth": 0}
        axes.plot(radii, 100 * counts / len(values), drawstyle="steps-pre", color=colour, linewidth=1.8, label=name)
        axes.fill_between(radii, low, high, **style)
    axes.set_xscale("log")
    axes.set_xlim(first, last)
    axes.legend(fontsize=10, frameon=False, loc="lower left")
    quiet(axes)
    if path is not None:
        save(figure, path)
    return figure
