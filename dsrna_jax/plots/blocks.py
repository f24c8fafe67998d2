"""Drawings of networks of blocks. All lengths are in inches of the page; y points down."""

import os

from matplotlib.figure import Figure

from dsrna_jax.genotypes.block_genotype import BlockGenotype, has_shortcut
from dsrna_jax.genotypes.genotype import reduction_positions
from dsrna_jax.genotypes.operations import OPERATIONS
from dsrna_jax.plots.canvas import GREY, INK, MARGIN, PALE, blank, save
from dsrna_jax.plots.shapes import box, curve, ink_on

_WIDTH, _HEIGHT, _GAP, _ROW, _A_ROW = 1.3, 0.3, 0.3, 0.95, 5


def blocks(
    genotype: BlockGenotype, path: str | os.PathLike | None = None, *, title: str | None = None, width: int = 1500
) -> Figure:
    """Drawing of the blocks from the stem to the head, with a curve for each shortcut; five in a row.

    Args:
      width: of the picture, in pixels; the height follows.
    """
    labels = ["stem", *genotype.blocks, "head"]
    rows = -(-len(labels) // _A_ROW)
    inches = 2 * MARGIN + _A_ROW * (_WIDTH + _GAP)
    top = 0.45 if title else 0.0
    figure = blank(inches, top + rows * _ROW + MARGIN / 2, title, dpi=width / inches)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, inches), ylim=(top + rows * _ROW + MARGIN / 2, 0))
    axes.set_axis_off()
    for position, label in enumerate(labels):
        column, row, index = position % _A_ROW, position // _A_ROW, position - 1
        x, y = MARGIN + column * (_WIDTH + _GAP), top + (row + 0.6) * _ROW
        is_block = label in OPERATIONS
        colour = OPERATIONS[label].colour if is_block else PALE
        curve(axes, [(x - _GAP, y), (x, y)], INK, 1.4, 1)
        box(axes, label, x, y, _WIDTH, _HEIGHT, colour, ink_on(colour), 9, gid="gene" if is_block else None)
        if not is_block:
            continue
        halves = "  side / 2" if index in reduction_positions(len(genotype.blocks)) else ""
        axes.text(x + _WIDTH / 2, y + 0.28, f"{index}{halves}", ha="center", fontsize=8, color=GREY)
        if has_shortcut(index, len(genotype.blocks)) and label != "skip_connect":
            left, right = x - _GAP / 2, x + _WIDTH + _GAP / 2
            curve(axes, [(left, y), (left + 0.1, y - 0.5), (right - 0.1, y - 0.5), (right, y)], GREY, 1.2, 1)
    if path is not None:
        save(figure, path)
    return figure
