"""Parts of all pictures: colours, blank figures, quiet axes, and writing them as PNG."""

import contextlib
import os
import warnings
from collections.abc import Iterator, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from dsrna_jax.files import replacing

INK = "#333333"
GREY = "#666666"
FAINT = "#b8b8b8"
PALE = "#e8e8e8"
FROZEN = "#f0f0f0"
MARGIN = 0.3  # of a page, in inches


def save(figure: Figure, path: str | os.PathLike) -> None:
    """Writes the figure as PNG; equal figures give equal bytes. The file is replaced as a whole or not at all."""
    with replacing(path) as temporary, literal(figure):
        FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None})


@contextlib.contextmanager
def literal(figure: Figure) -> Iterator[None]:
    """Within the block, the figure is written with its texts as they are: names of runs and classes may hold any character.

    A dollar sign begins no formula, except in labels of ticks that matplotlib itself writes as one (powers of ten). A character
    that the font lacks is a box, without a warning.
    """
    axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    ticks = {label for axis in axes for label in axis.get_ticklabels(which="both") if "\\math" in label.get_text()}
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text not in ticks:
            text.set_parse_math(False)
            text.set_text(text.get_text().encode("utf-8", "replace").decode("utf-8"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def blank(width: float, height: float, title: str | None = None, *, dpi: float = 110) -> Figure:
    """A white page, in inches, with its title."""
    # Half a pixel more, because rounding down could lose one.
    figure = Figure(figsize=(width + 0.5 / dpi, height + 0.5 / dpi), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    if title:
        figure.text(MARGIN / width, 1 - 0.35 / height, title, fontsize=14, fontweight="bold", color=INK)
    return figure


def quiet(axes, labelsize: float = 9) -> None:
    """Gives axes a light grid and a frame of two faint lines, left and below."""
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=labelsize, color=FAINT, labelcolor=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)


def mark_epochs(axes, epochs: Sequence[float], warmup: float, label: str | None = None) -> None:
    """Gives axes the epochs as their x axis, with those of the warm-up shaded."""
    first, last = (min(epochs), max(epochs)) if len(epochs) else (0, 0)
    if warmup > first:
        axes.axvspan(first - 0.5, min(warmup, last + 1) - 0.5, color=FROZEN, zorder=0, label=label)
    axes.set_xlim(first - 0.5, last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    quiet(axes, labelsize=8)


def markers(epochs: Sequence[float]) -> dict:
    """Style of a line: with markers if it has fewer than ten points, since a single point draws no line."""
    return {"marker": "o", "markersize": 3} if len(epochs) < 10 else {}
