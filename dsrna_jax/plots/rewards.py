"""Pictures of the children of a sampled search: their rewards, and the front of several objectives."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dsrna_jax.plots.canvas import GREY, INK, blank, quiet, save


def rewards(
    children: Sequence[Mapping[str, Any]],
    path: str | os.PathLike | None = None,
    *,
    reward: str = "reward",
    best: int | None = None,
    title: str | None = None,
    width: int = 1000,
) -> Figure:
    """The reward of every child in the order in which they were tried, and the best so far.

    Args:
      children: one dict a child: "child", its number, and "reward".
      reward: label of the axis.
      best: number of the child whose cells are the result, which gets a line.
      width: of the picture, in pixels; the height follows.
    """
    inches, dpi = width / 110, 110
    height = 0.5 * inches
    figure = blank(inches, height, title, dpi=dpi)
    axes = figure.add_axes((0.09, 0.13, 0.88, 0.74), xlabel="child", ylabel=reward)
    quiet(axes)
    if children:
        numbers, values = (np.array([child[name] for child in children], float) for name in ("child", "reward"))
        axes.plot(numbers, values, linestyle="none", marker="o", markersize=4, color="#4477aa", alpha=0.7, label="a child")
        axes.step(numbers, np.maximum.accumulate(values), where="post", color="#cc3311", linewidth=1.8, label="the best so far")
        if best is not None:
            axes.axvline(best, color=GREY, linestyle=":", linewidth=1.2, label="the cells found")
        axes.legend(fontsize=9, frameon=False, loc="lower right")
    else:
        figure.text(0.5, 0.5, "no child has been tried yet", ha="center", fontsize=12, color=INK)
    if path is not None:
        save(figure, path)
    return figure


def pareto_front(
    children: Sequence[Mapping[str, Any]],
    members: Sequence[Mapping[str, Any]],
    objectives: Sequence[str],
    path: str | os.PathLike | None = None,
    *,
    title: str | None = None,
    width: int = 1000,
) -> Figure:
    """The first objective of all children against each of the others, and the members of the Pareto front.

    Args:
      children: one dict a child, with its objectives.
      members: those of the front.
      width: of the picture, in pixels; the height follows.
    """
    inches, panels = width / 110, len(objectives) - 1
    height = 0.45 * inches
    figure = blank(inches, height, title, dpi=110)
    for index, other in enumerate(objectives[1:]):
        left = 0.09 + index * 0.91 / panels
        axes = figure.add_axes((left, 0.13, 0.91 / panels - 0.07, 0.74), xlabel=other, ylabel=objectives[0])
        quiet(axes)
        for rows, colour, label in ((children, "#b8b8b8", "a child"), (members, "#cc3311", "the front")):
            points = np.array([[row[other], row[objectives[0]]] for row in rows], float).reshape(-1, 2)
            axes.plot(points[:, 0], points[:, 1], linestyle="none", marker="o", markersize=4, color=colour, label=label)
        axes.legend(fontsize=9, frameon=False)
    if path is not None:
        save(figure, path)
    return figure
