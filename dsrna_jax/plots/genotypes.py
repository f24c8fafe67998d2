"""Drawings of cells. All lengths are in inches of the page; y points down."""

import os

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from dsrna_jax.genotypes.architecture import Searched
from dsrna_jax.genotypes.block_genotype import BlockGenotype
from dsrna_jax.genotypes.dense_genotype import DenseGenotype
from dsrna_jax.genotypes.genotype import CELL_TYPES, Genotype
from dsrna_jax.genotypes.operations import OPERATIONS
from dsrna_jax.plots.blocks import blocks
from dsrna_jax.plots.canvas import FAINT, GREY, INK, MARGIN, PALE, blank, save
from dsrna_jax.plots.layout import CellLayout
from dsrna_jax.plots.shapes import box, curve, ink_on

_HEADING, _ROW = 0.48, 0.92
_INPUT, _PILL, _PILL_HEIGHT, _NODE = 0.78, 1.16, 0.27, 0.19
_FAN, _GAP, _JOIN, _TAIL, _OUTPUT = 1.5, 0.95, 0.3, 0.65, 0.36
_BLOCK = _PILL + _JOIN + 2 * _NODE
_NARROWEST = 8.5
_INPUTS, _RESULT = ("c\u2096\u208b\u2082", "c\u2096\u208b\u2081"), "c\u2096"  # c with subscripts k-2, k-1 and k


def cell(
    genotype: Genotype | DenseGenotype,
    name: str,
    path: str | os.PathLike | None = None,
    *,
    title: str | None = None,
    width: int = 1500,
) -> Figure:
    """Drawing of the "normal" or the "reduction" cell: nodes as in the genotype, each edge with its operation.

    Args:
      width: of the picture, in pixels; the height follows.
    """
    return _cells(genotype, (name,), path, title, width)


def cells(
    genotype: Searched,
    path: str | os.PathLike | None = None,
    *,
    title: str | None = None,
    width: int = 1500,
) -> Figure:
    """Drawing of the normal cell above the reduction cell, as `cell` draws them, or of the blocks."""
    if isinstance(genotype, BlockGenotype):
        return blocks(genotype, path, title=title, width=width)
    return _cells(genotype, CELL_TYPES, path, title, width)


def _cells(genotype, names, path, title, width) -> Figure:
    layouts = [CellLayout(genotype.genes(name)) for name in names]
    inches = max(_NARROWEST, *map(_width, layouts))
    heights = [_HEADING + _row(layout) * genotype.nodes + 0.12 for layout in layouts]
    top = 0.45 if title else 0.0
    height = top + sum(heights) + MARGIN / 2
    figure = blank(inches, height, title, dpi=width / inches)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, inches), ylim=(height, 0))
    axes.set_axis_off()
    for name, layout, own in zip(names, layouts, heights, strict=True):
        _draw_cell(axes, name, layout, genotype.concat(name), top, inches)
        top += own
    if path is not None:
        save(figure, path)
    return figure


def _row(layout):
    """The height of a node's row, in which its operations lie one below the other."""
    return _ROW * layout.most / 2


def _width(layout):
    """The width that a cell needs, with the margins of the page."""
    blocks = layout.depth * _BLOCK + (layout.depth - 1) * _GAP
    return 2 * MARGIN + _INPUT + _FAN + blocks + _TAIL + _OUTPUT


def _draw_cell(axes, name, layout, concat, top, page_width):
    axes.text(MARGIN, top + 0.32, f"{name} cell", fontsize=12, fontweight="bold", color=INK)
    if name == "reduction":
        note = "operations that read an input of the cell have stride 2"
        axes.text(MARGIN + 1.4, top + 0.32, note, fontsize=9, color=GREY)

    def height(row):
        return top + _HEADING + _row(layout) * (row + 0.5)

    # A cell that is narrower than the page gets a wider fan, up to a point.
    fan = _FAN + min(0.9, 0.5 * (page_width - _width(layout)))
    entries = [MARGIN + _INPUT + fan + (column - 1) * (_BLOCK + _GAP) for column in layout.columns]
    exits = [MARGIN + _INPUT] * 2 + [entry + _BLOCK for entry in entries[2:]]
    output = page_width - MARGIN - _OUTPUT
    leaving = [
        [lane for (_, source, _), lane in zip(layout.genes, layout.lanes, strict=True) if source == node]
        for node in range(len(exits))
    ]
    for node in concat:
        leaving[node].append(layout.rows[node])

    def port(node, lane):
        """The height at which the edge towards a lane leaves its node, different for each edge of the node."""
        rank = sum(other < lane for other in leaving[node]) - (len(leaving[node]) - 1) / 2
        return height(layout.rows[node]) + rank * min(0.085, (0.3 if node < 2 else 0.22) / len(leaving[node]))

    for node in concat:
        y = port(node, layout.rows[node])
        curve(axes, [(exits[node] - _NODE, y), (output, y)], FAINT, 1.4, 1)
    for index, (operation, source, target) in enumerate(layout.genes):
        lane, colour = layout.lanes[index], OPERATIONS[operation].colour
        pill, y = entries[target], height(lane)
        start = exits[source] if source < 2 else exits[source] - _NODE
        turn = exits[source] + (fan if source < 2 else _GAP) - 0.12
        _draw_bend(axes, (start, port(source, lane)), (turn, y), pill, colour)
        side = np.sign(lane - layout.rows[target])
        entry = (pill + _BLOCK - 2 * _NODE + 0.03, height(layout.rows[target]) + 0.06 * side)
        _draw_bend(axes, (pill + _PILL, y), entry, entry[0] + 0.05, colour)
        box(axes, operation, pill, y, _PILL, _PILL_HEIGHT, colour, ink_on(colour), 9, gid="gene")
    for node, x in enumerate(exits):
        y = height(layout.rows[node])
        if node < 2:
            label = f"{node}:  {_INPUTS[node]}"
            box(axes, label, x - _INPUT, y, _INPUT, 0.42, PALE, INK, 11)
        else:
            axes.add_patch(Circle((x - _NODE, y), _NODE, facecolor="white", edgecolor=INK, linewidth=1.4, zorder=4))
            axes.text(x - _NODE, y, str(node), ha="center", va="center_baseline", fontsize=11, color=INK, zorder=5)
    low, high = (height(extreme(layout.rows[node] for node in concat)) for extreme in (min, max))
    label, rotation = (_RESULT, 0) if len(concat) == 1 else (f"concat  =  {_RESULT}", 90)
    box(axes, label, output, (low + high) / 2, _OUTPUT, high - low + 0.6, PALE, INK, 10, rotation)


def _draw_bend(axes, start, turn, stop, colour):
    """An edge from `start` that swings into the height of `turn` and runs straight on to x = `stop`."""
    middle = (start[0] + turn[0]) / 2
    points = [start, (middle, start[1]), (middle, turn[1]), turn, (stop, turn[1])]
    curve(axes, points, colour, 1.8, 2)
