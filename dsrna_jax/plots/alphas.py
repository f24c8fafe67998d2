"""Pictures of alphas over the epochs of a search."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dsrna_jax.genotypes.architecture import Searched
from dsrna_jax.genotypes.block_genotype import BlockGenotype
from dsrna_jax.genotypes.dense_genotype import DenseGenotype
from dsrna_jax.genotypes.derivation import derive, edge_mixture, mixture
from dsrna_jax.genotypes.genotype import Genotype, called, edges
from dsrna_jax.genotypes.operations import OPERATIONS, PRIMITIVES
from dsrna_jax.plots.canvas import FROZEN, INK, MARGIN, blank, mark_epochs, markers, save


def alphas_over_time(
    epochs: Sequence[float],
    history: Sequence[Mapping[str, Any]],
    path: str | os.PathLike | None = None,
    *,
    primitives: Sequence[str] = PRIMITIVES,
    genotype: Searched | None = None,
    warmup: float = 0,
    title: str | None = None,
    width: int = 1500,
) -> Figure:
    """The mixture of every edge or block over the epochs: a panel for each edge, a row for each node, both cells.

    The title of a panel names the operation if the genotype keeps the edge. In the pcdarts
    space a dashed line shows the weight of the edge among those into its node, times their number over that of the
    primitives, so that it starts where the mixture does.

    Args:
      epochs: of the alphas in `history`.
      history: alphas, each as `derive` takes them.
      primitives: names of the columns of alphas.
      genotype: the one that was found; by default that derived from the last alphas.
      warmup: epochs before this one, in which alphas are frozen, are shaded.
      width: of the picture, in pixels; the height follows.
    """
    genotype = genotype or derive(history[-1], primitives)
    panels = {group: PANELS[type(genotype)](genotype, group) for group in genotype.groups}
    columns, rows = (1 + max(place[i] for of in panels.values() for place, *_ in of) for i in (0, 1))
    dpi, top, heading, foot, row, gap = 110, 0.5 if title else 0.1, 0.55, 0.5, 1.2, 0.14
    inches = width / dpi
    height = top + len(panels) * (heading + rows * row + foot)
    figure = blank(inches, height, title, dpi=dpi)
    legend = {"bbox_to_anchor": (1 - 0.15 / inches, 1 - top / height), "ncols": 4, "fontsize": 9, "frameon": False}
    panel_width = (inches - 0.85) / columns - gap
    mixtures = {group: np.stack([mixture(alphas[group]) for alphas in history]) for group in panels}
    weights = _edge_weights(genotype, history, len(primitives))
    drawn = np.concatenate([values.ravel() for values in (*mixtures.values(), *weights.values())])
    margin = 0.04 * np.ptp(drawn) + 1e-3
    for group, of in panels.items():
        figure.text(MARGIN / inches, 1 - (top + 0.3) / height, called(group), size=12, weight="bold", color=INK)
        lowest = max(line for (_, line), *_ in of)
        for number, ((column, line), label, kept) in enumerate(of):
            left, bottom = 0.65 + column * (panel_width + gap), height - top - heading - (line + 1) * row
            box = (left / inches, bottom / height, panel_width / inches, (row - 0.3) / height)
            axes = figure.add_axes(box, ylim=(drawn.min() - margin, drawn.max() + margin))
            _draw_mixture(axes, epochs, mixtures[group][:, number], primitives, kept)
            if group in weights:
                axes.plot(epochs, weights[group][:, number], "--", color=INK, lw=1)
            mark_epochs(axes, epochs, warmup)
            axes.set_title(label, fontsize=9, loc="left", pad=3, color=INK)
            axes.tick_params(labelleft=column == 0, labelbottom=line == lowest)
            axes.set_ylabel("mixture" if column == 0 else "", fontsize=9, color=INK)
            axes.set_xlabel("epoch" if line == lowest else "", fontsize=9, color=INK)
        top += heading + rows * row + foot
    handles = _legend(primitives, has_weights=bool(weights), is_frozen=warmup > min(epochs))
    figure.legend(handles=handles, loc="upper right", **legend)
    if path is not None:
        save(figure, path)
    return figure


def _edge_weights(genotype: Searched, history: Sequence[Mapping[str, Any]], count: int) -> dict[str, np.ndarray]:
    """The weights [epoch, edge] of the edges of each group that has them: equal ones at the height of equal operations."""
    return {
        group: np.array([target for _, target in edges(genotype.nodes)])
        / count
        * np.stack([edge_mixture(alphas[f"{group}_edges"]) for alphas in history])
        for group in genotype.groups
        if f"{group}_edges" in history[-1]
    }


def _legend(primitives: Sequence[str], *, has_weights: bool, is_frozen: bool) -> list[Artist]:
    handles: list[Artist] = [Line2D([], [], color=OPERATIONS[name].colour, lw=2, label=name) for name in primitives]
    handles.append(Line2D([], [], color=INK, lw=2.6, label="bold: kept in the genotype"))
    if has_weights:
        label = f"weight of the edge (equal share at 1/{len(primitives)})"
        handles.append(Line2D([], [], color=INK, lw=1, ls="--", label=label))
    if is_frozen:
        handles.append(Patch(color=FROZEN, label="alphas frozen"))
    return handles


Panel = tuple[tuple[int, int], str, str | None]  # (column, line), label, operation that the genotype keeps


def _of_cell(genotype: Any, cell: str) -> list[Panel]:
    """A panel for each edge: a line for each target, a column for each source."""
    kept = {(source, target): name for name, source, target in genotype.genes(cell)}
    every = edges(genotype.nodes)
    return [((source, target - 2), f"{source}\u2192{target}", kept.get((source, target))) for source, target in every]


def _of_blocks(genotype: BlockGenotype, group: str) -> list[Panel]:
    """A panel for each block, five in a line."""
    return [((index % 5, index // 5), f"block {index}", name) for index, name in enumerate(genotype.blocks)]


# By the kind of genotype: (genotype, group) -> the panels of the rows of its alphas.
PANELS: dict[type, Callable[[Any, str], list[Panel]]] = {
    Genotype: _of_cell,
    DenseGenotype: _of_cell,
    BlockGenotype: _of_blocks,
}


def _draw_mixture(axes, epochs, values, primitives, kept):
    for index, name in enumerate(primitives):
        axes.plot(epochs, values[:, index], color=OPERATIONS[name].colour, lw=2.6 if name == kept else 1.2, **markers(epochs))
    if kept:
        axes.set_title(kept, fontsize=9, fontweight="bold", loc="right", pad=3, color=OPERATIONS[kept].colour)
