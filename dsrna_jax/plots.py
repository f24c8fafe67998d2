"""Pictures of a search: its cells, the alphas over time, the curves.

Every picture is a function that returns a matplotlib Figure, and writes it as PNG if a path is given. Figures are made
by the object API on an Agg canvas, so nothing here touches the state of pyplot or needs a display.
"""

import os
from collections.abc import Mapping, Sequence
from itertools import combinations, islice, permutations, product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyBboxPatch, Patch, PathPatch
from matplotlib.path import Path as Curve
from matplotlib.ticker import MaxNLocator

from dsrna_jax.genotype import CELLS, PRIMITIVES, Genotype, derive, edge_mixture, edges, mixture
from dsrna_jax.interval import wilson

# One colour per primitive in every picture, after Okabe and Ito and, for the rare ones, Tol: told apart by colour-blind
# readers too. Skips are black, so that a cell that collapses to skips goes dark.
COLOURS = {
    "none": "#a0a0a0",
    "max_pool_3x3": "#e69f00",
    "avg_pool_3x3": "#d55e00",
    "skip_connect": "#1a1a1a",
    "sep_conv_3x3": "#0072b2",
    "sep_conv_5x5": "#56b4e9",
    "dil_conv_3x3": "#009e73",
    "dil_conv_5x5": "#cc79a7",
    "sep_conv_7x7": "#332288",
    "conv_7x1_1x7": "#882255",
    "conv_3x1_1x3": "#999933",
    "noise": "#ddcc77",
}
_INK = "#333333"
_FAINT = "#b8b8b8"
_PALE = "#e8e8e8"
_FROZEN = "#f0f0f0"


def save(figure: Figure, path: str | os.PathLike) -> None:
    """Writes the figure as PNG: equal figures give equal bytes. The file is replaced as a whole or not at all."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None})
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


# --- The cell. All lengths are in inches of the page, `_LANE` in rows; y points down.

_MARGIN, _HEADING, _ROW, _LANE = 0.3, 0.48, 0.92, 0.22
_INPUT, _PILL, _PILL_HEIGHT, _NODE = 0.78, 1.16, 0.27, 0.19
_FAN, _GAP, _JOIN, _TAIL, _OUTPUT = 1.5, 0.95, 0.3, 0.65, 0.36
_BLOCK = _PILL + _JOIN + 2 * _NODE
_NARROWEST = 8.5


def cell(
    genotype: Genotype,
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


def cells(genotype: Genotype, path: str | os.PathLike | None = None, *, title: str | None = None, width: int = 1500) -> Figure:
    """Drawing of the normal cell above the reduction cell, as `cell` draws them."""
    return _cells(genotype, CELLS, path, title, width)


def _cells(genotype, names, path, title, width) -> Figure:
    layouts = [_Layout(getattr(genotype, name)) for name in names]
    inches = max(_NARROWEST, *(layout.width for layout in layouts))
    heights = [_HEADING + _ROW * genotype.steps + 0.12 for _ in names]
    top = 0.45 if title else 0.0
    height = top + sum(heights) + _MARGIN / 2
    figure = _blank(inches, height, width / inches, title)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, inches), ylim=(height, 0))
    axes.set_axis_off()
    for name, layout, own in zip(names, layouts, heights, strict=True):
        _draw_cell(axes, name, layout, getattr(genotype, f"{name}_concat"), top, inches)
        top += own
    if path is not None:
        save(figure, path)
    return figure


class _Layout:
    """Where the nodes of a cell go.

    A node's column is its depth. Every node has a row of its own, and in it a lane for each of its two genes and one
    for itself: an edge changes its lane right behind its source and then runs straight, so it never meets a node. What
    is left to choose is the order of the rows, and of the two lanes in each: the one with the fewest crossings.
    """

    def __init__(self, genes):
        self.steps = len(genes) // 2
        self.genes = [(name, source, index // 2 + 2) for index, (name, source) in enumerate(genes)]
        self.columns = [0, 0]
        for node in range(2, self.steps + 2):
            self.columns.append(1 + max(self.columns[source] for _, source, target in self.genes if target == node))
        depth = max(self.columns)
        self.width = 2 * _MARGIN + _INPUT + _FAN + depth * _BLOCK + (depth - 1) * _GAP + _TAIL + _OUTPUT
        # Six nodes have 720 orders; beyond that the first thousands must do.
        orders = islice(permutations(range(self.steps)), 5040)
        rows = min(map(self._rows, orders), key=lambda rows: self._cost(rows, self._lanes(rows)))
        flips = islice(product((False, True), repeat=self.steps), 256)
        candidates = (self._lanes(rows, flip) for flip in flips)
        self.rows, self.lanes = rows, min(candidates, key=lambda lanes: self._cost(rows, lanes))

    def _rows(self, order):
        """The rows of all nodes: the inputs stand left of the intermediate ones, above and below their middle."""
        middle, apart = (self.steps - 1) / 2, max(0.32, self.steps / 5)
        return [middle - apart, middle + apart, *order]

    def _lanes(self, rows, flips=None):
        """The height of each gene, in rows: the one from the higher source lies above, unless the node is flipped."""
        lanes = []
        for node in range(2, self.steps + 2):
            first, second = (rows[source] for _, source, target in self.genes if target == node)
            side = 1 if (first <= second) != bool(flips and flips[node - 2]) else -1
            lanes += [rows[node] - side * _LANE, rows[node] + side * _LANE]
        return lanes

    def _cost(self, rows, lanes):
        edges = zip(self.genes, lanes, strict=True)
        runs = [(self.columns[source], self.columns[target], rows[source], lane) for (_, source, target), lane in edges]
        runs += [(self.columns[node], self.steps + 1, rows[node], rows[node]) for node in range(2, self.steps + 2)]
        crossings = sum(_cross(*sorted(pair, reverse=True)) for pair in combinations(runs, 2))
        return crossings + 0.1 * sum(abs(stop - start) for _, _, start, stop in runs)


def _cross(later, earlier) -> bool:
    """Whether two edges (first column, last column, row at the start, lane) cross; `earlier` starts no further on."""
    column, _, start, stop = later
    first, last, earlier_start, lane = earlier
    if first == column:
        return (start - earlier_start) * (stop - lane) < 0
    return last > column and (start - lane) * (stop - lane) < 0


def _draw_cell(axes, name, layout, concat, top, page_width):
    axes.text(_MARGIN, top + 0.32, f"{name} cell", fontsize=12, fontweight="bold", color=_INK)
    if name == "reduction":
        note = "operations that read an input of the cell have stride 2"
        axes.text(_MARGIN + 1.4, top + 0.32, note, fontsize=9, color="#666666")

    def height(row):
        return top + _HEADING + _ROW * (row + 0.5)

    # A cell that is narrower than the page gets a wider fan, up to a point.
    fan = _FAN + min(0.9, 0.5 * (page_width - layout.width))
    entries = [_MARGIN + _INPUT + fan + (column - 1) * (_BLOCK + _GAP) for column in layout.columns]
    exits = [_MARGIN + _INPUT] * 2 + [entry + _BLOCK for entry in entries[2:]]
    output = page_width - _MARGIN - _OUTPUT
    leaving = [
        [lane for (_, source, _), lane in zip(layout.genes, layout.lanes, strict=True) if source == node]
        for node in range(len(exits))
    ]
    for node in concat:
        leaving[node].append(layout.rows[node])

    def port(node, lane):
        """Where the edge towards a lane leaves its node: edges of one node do not start on top of each other."""
        rank = sum(other < lane for other in leaving[node]) - (len(leaving[node]) - 1) / 2
        return height(layout.rows[node]) + rank * min(0.085, (0.3 if node < 2 else 0.22) / len(leaving[node]))

    for node in concat:
        y = port(node, layout.rows[node])
        _draw_curve(axes, [(exits[node] - _NODE, y), (output, y)], _FAINT, 1.4, 1)
    for index, (operation, source, target) in enumerate(layout.genes):
        lane, colour = layout.lanes[index], COLOURS[operation]
        pill, y = entries[target], height(lane)
        start = exits[source] if source < 2 else exits[source] - _NODE
        turn = exits[source] + (fan if source < 2 else _GAP) - 0.12
        _draw_bend(axes, (start, port(source, lane)), (turn, y), pill, colour)
        side = np.sign(lane - layout.rows[target])
        entry = (pill + _BLOCK - 2 * _NODE + 0.03, height(layout.rows[target]) + 0.06 * side)
        _draw_bend(axes, (pill + _PILL, y), entry, entry[0] + 0.05, colour)
        _draw_box(axes, operation, pill, y, _PILL, _PILL_HEIGHT, colour, _ink_on(colour), 9, gid="gene")
    for node, x in enumerate(exits):
        y = height(layout.rows[node])
        if node < 2:
            label = f"{node}:  $c_{{k-{2 - node}}}$"
            _draw_box(axes, label, x - _INPUT, y, _INPUT, 0.42, _PALE, _INK, 11)
        else:
            axes.add_patch(Circle((x - _NODE, y), _NODE, facecolor="white", edgecolor=_INK, linewidth=1.4, zorder=4))
            axes.text(x - _NODE, y, str(node), ha="center", va="center_baseline", fontsize=11, color=_INK, zorder=5)
    low, high = (height(extreme(layout.rows[node] for node in concat)) for extreme in (min, max))
    label, rotation = ("$c_k$", 0) if len(concat) == 1 else ("concat  =  $c_k$", 90)
    _draw_box(axes, label, output, (low + high) / 2, _OUTPUT, high - low + 0.6, _PALE, _INK, 10, rotation)


def _draw_box(axes, text, x, y, width, height, fill, ink, fontsize, rotation=0, gid=None):
    """A rounded box with a label, from x to the right and centred at y."""
    style = f"round,pad=0,rounding_size={min(height / 2, 0.13)}"
    corner = (x, y - height / 2)
    axes.add_patch(FancyBboxPatch(corner, width, height, style, fc=fill, ec="none", zorder=4, gid=gid))
    axes.text(
        x + width / 2,
        y,
        text,
        ha="center",
        va="center_baseline" if not rotation else "center",
        rotation=rotation,
        fontsize=fontsize,
        color=ink,
        zorder=5,
        gid=gid,
    )


def _draw_bend(axes, start, turn, stop, colour):
    """An edge from `start` that swings into the height of `turn` and runs straight on to x = `stop`."""
    middle = (start[0] + turn[0]) / 2
    points = [start, (middle, start[1]), (middle, turn[1]), turn, (stop, turn[1])]
    _draw_curve(axes, points, colour, 1.8, 2)


def _draw_curve(axes, points, colour, linewidth, zorder):
    """A line through two points, or a cubic curve through the first four and straight on; with a white rim."""
    codes = [Curve.MOVETO] + [Curve.CURVE4] * 3 + [Curve.LINETO] * (len(points) - 4)
    curve = Curve(points, codes if len(points) > 2 else None)
    for edge, lw in (("white", linewidth + 2), (colour, linewidth)):
        axes.add_patch(PathPatch(curve, fill=False, ec=edge, lw=lw, capstyle="butt", zorder=zorder))


def _ink_on(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else "#111111"


# --- Curves over epochs.


def alphas_over_time(
    epochs: Sequence[float],
    history: Sequence[Mapping[str, Any]],
    path: str | os.PathLike | None = None,
    *,
    primitives: Sequence[str] = PRIMITIVES,
    warmup: float = 0,
    title: str | None = None,
    width: int = 1500,
) -> Figure:
    """The mixture of every edge over time: a panel for each edge, a row for each node, both cells.

    The title of a panel names the operation if the genotype derived from the last alphas keeps the edge. In the pcdarts
    space a dashed line shows the weight of the edge among those into its node, times their number over that of the
    primitives, so that it starts where the mixture does.

    Args:
      epochs: when the alphas were taken, as many as `history` has.
      history: alphas as `derive` takes them.
      primitives: what the columns of alphas stand for.
      warmup: epochs before this one, in which alphas are frozen, are shaded.
      width: of the picture, in pixels; the height follows.
    """
    genotype = derive(history[-1], primitives)
    steps = genotype.steps
    dpi, top, heading, foot, row, gap = 110, 0.5 if title else 0.1, 0.55, 0.5, 1.2, 0.14
    inches = width / dpi
    height = top + 2 * (heading + steps * row + foot)
    figure = _blank(inches, height, dpi, title)
    legend = {"bbox_to_anchor": (1 - 0.15 / inches, 1 - top / height), "ncols": 4, "fontsize": 9, "frameon": False}
    panel_width = (inches - 0.85) / (steps + 1) - gap
    mixtures = {name: np.stack([mixture(alphas[name]) for alphas in history]) for name in CELLS}
    # An equal share of a node's edges is drawn where an equal share of the operations is.
    shares = np.array([target for _, target in edges(steps)]) / len(primitives)
    weights = {
        name: shares * np.stack([edge_mixture(alphas[f"{name}_edges"]) for alphas in history])
        for name in CELLS
        if f"{name}_edges" in history[-1]
    }
    drawn = np.concatenate([values.ravel() for values in (*mixtures.values(), *weights.values())])
    margin = 0.04 * np.ptp(drawn) + 1e-3
    for name in CELLS:
        figure.text(_MARGIN / inches, 1 - (top + 0.3) / height, f"{name} cell", size=12, weight="bold", color=_INK)
        kept = {(source, index // 2 + 2): op for index, (op, source) in enumerate(getattr(genotype, name))}
        for edge, (source, target) in enumerate(edges(steps)):
            left, bottom = 0.65 + source * (panel_width + gap), height - top - heading - (target - 1) * row
            box = (left / inches, bottom / height, panel_width / inches, (row - 0.3) / height)
            axes = figure.add_axes(box, ylim=(drawn.min() - margin, drawn.max() + margin))
            _draw_mixture(axes, epochs, mixtures[name][:, edge], primitives, kept.get((source, target)))
            if name in weights:
                axes.plot(epochs, weights[name][:, edge], "--", color=_INK, lw=1)
            _mark_epochs(axes, epochs, warmup)
            axes.set_title(f"{source}\u2192{target}", fontsize=9, loc="left", pad=3, color=_INK)
            axes.tick_params(labelleft=source == 0, labelbottom=target == steps + 1)
            axes.set_ylabel("mixture" if source == 0 else "", fontsize=9, color=_INK)
            axes.set_xlabel("epoch" if target == steps + 1 else "", fontsize=9, color=_INK)
        top += heading + steps * row + foot
    handles = [Line2D([], [], color=COLOURS[name], lw=2, label=name) for name in primitives]
    handles.append(Line2D([], [], color=_INK, lw=2.6, label="bold: kept in the genotype"))
    if weights:
        label = f"weight of the edge (equal share at 1/{len(primitives)})"
        handles.append(Line2D([], [], color=_INK, lw=1, ls="--", label=label))
    if warmup > min(epochs):
        handles.append(Patch(color=_FROZEN, label="alphas frozen"))
    figure.legend(handles=handles, loc="upper right", **legend)
    if path is not None:
        save(figure, path)
    return figure


def _draw_mixture(axes, epochs, values, primitives, kept):
    for index, name in enumerate(primitives):
        axes.plot(epochs, values[:, index], color=COLOURS[name], lw=2.6 if name == kept else 1.2, **_dots(epochs))
    if kept:
        axes.set_title(kept, fontsize=9, fontweight="bold", loc="right", pad=3, color=COLOURS[kept])


def search_curves(
    rows: Sequence[Mapping[str, Any]],
    path: str | os.PathLike | None = None,
    *,
    metric: str = "R",
    warmup: float = 0,
    title: str | None = None,
    width: int = 1500,
) -> Figure:
    """Loss, accuracy, robustness and number of skip connections over the epochs of a search.

    A panel is left out if no row has a number for it; a value that is absent, None or not finite leaves a gap.

    Args:
      rows: one dict an epoch: "epoch" and any of "train_loss", "val_loss", "train_accuracy" and "val_accuracy" (in
        [0, 1]), "robustness" (R, higher is more robust), "gamma_times_robustness", "radius" and "certified_accuracy" (of
        certificates, at that radius), "radius_certifying_25", "_50" and "_75" (of the supernet), "skips_normal",
        "skips_reduction".
      metric: what R is, for the label of its axis.
      warmup: epochs before this one, in which alphas are frozen, are shaded.
      width: of the picture, in pixels; the height follows.
    """
    return _curves(rows, _panels(metric), path, warmup, title, width)


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
    return _curves(rows, _training_panels(), path, 0, title, width)


def _curves(rows, panels, path, warmup, title, width) -> Figure:
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
    figure = _blank(inches, height, dpi, title)
    if not panels:
        figure.text(0.5, 0.5, "nothing has been recorded yet", ha="center", fontsize=12, color=_INK)
    epochs = [row["epoch"] for row in rows]
    panel_width = (inches - 0.25) / columns - 0.75
    for index, (heading, label, lines) in enumerate(panels):
        left, bottom = 0.75 + index % columns * (panel_width + 0.75), height - top - row_height * (index // columns + 1)
        box = (left / inches, (bottom + 0.6) / height, panel_width / inches, (row_height - 1) / height)
        axes = figure.add_axes(box, ylabel=label, xlabel="epoch")
        axes.set_title(heading, loc="left", fontsize=11, fontweight="bold", color=_INK)
        for name, line, style in lines:
            values = [line(row) for row in rows]
            if np.isfinite(values).any():
                axes.plot(epochs, values, label=name, linewidth=1.8, **style, **_dots(epochs))
        _mark_epochs(axes, epochs, warmup, "alphas frozen" if index == 0 else None)
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
    train, val, black, green = ({"color": colour} for colour in ("#4477aa", "#cc3311", _INK, "#228833"))
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
                ("search_val $-\\ \\gamma R$: what alphas minimise", objective, val | dashed),
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
            ],
        ),
    ]


def _training_panels():
    """As `_panels`, of `training_curves`."""
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
        ("learning rate", "learning rate", [("learning rate", of("learning_rate"), {"color": _INK})]),
    ]


def certified_accuracy(
    curves: Mapping[str, np.ndarray],
    path: str | os.PathLike | None = None,
    *,
    label: str = "radius [pixel units]",
    title: str | None = None,
    width: int = 1500,
) -> Figure:
    """Share of examples that stand up to each radius, one falling staircase a curve, with the 95 % interval of each share.

    Args:
      curves: by name, the radius [examples] up to which each example stands; 0 where it is wrong already, inf for no end.
      label: of the axis of radii, which is logarithmic: what is certified and what is attacked may lie far apart.
    """
    dpi = 110
    figure = _blank(width / dpi, 5.2, dpi, title)
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
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)
    if path is not None:
        save(figure, path)
    return figure


def _blank(inches, height, dpi, title) -> Figure:
    # Half a pixel more, or rounding could cost one.
    figure = Figure(figsize=(inches + 0.5 / dpi, height + 0.5 / dpi), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    if title:
        figure.text(_MARGIN / inches, 1 - 0.35 / height, title, fontsize=14, fontweight="bold", color=_INK)
    return figure


def _mark_epochs(axes, epochs, warmup, label=None):
    """Epochs as the x axis, those of the warm-up shaded; quiet spines and a light grid."""
    first, last = (min(epochs), max(epochs)) if len(epochs) else (0, 0)
    if warmup > first:
        axes.axvspan(first - 0.5, min(warmup, last + 1) - 0.5, color=_FROZEN, zorder=0, label=label)
    axes.set_xlim(first - 0.5, last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, color=_FAINT, labelcolor=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)


def _dots(epochs):
    """A line of few points shows them; one of a single point would else show nothing."""
    return {"marker": "o", "markersize": 3} if len(epochs) < 10 else {}


def _number(value: Any) -> float:
    """`value`, or NaN where it is none."""
    return float(value) if isinstance(value, int | float | np.number) and np.isfinite(value) else float("nan")
