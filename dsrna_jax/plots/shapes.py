"""Boxes and lines of drawings, on axes in inches."""

from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve


def box(axes, text, x, y, width, height, fill, ink, fontsize, rotation=0, gid=None) -> None:
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


def curve(axes, points, colour, linewidth, zorder) -> None:
    """A line through two points, or a cubic curve through the first four and straight on; with a white rim."""
    codes = [Curve.MOVETO] + [Curve.CURVE4] * 3 + [Curve.LINETO] * (len(points) - 4)
    shape = Curve(points, codes if len(points) > 2 else None)
    for edge, lw in (("white", linewidth + 2), (colour, linewidth)):
        axes.add_patch(PathPatch(shape, fill=False, ec=edge, lw=lw, capstyle="butt", zorder=zorder))


def ink_on(colour: str) -> str:
    """White or nearly black, for text that is read on a colour "#rrggbb"."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else "#111111"
