"""Figures of normalizing flows: a coupling block, and densities over the plane."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from adnlib.plots.style import ANOMALOUS_COLOUR, PALETTE, STYLE

WHITE = {"color": "white", "markeredgecolor": "black", "markeredgewidth": 0.8, "linestyle": "none"}
CROSS = {"color": ANOMALOUS_COLOUR, "markeredgecolor": "black", "markeredgewidth": 0.5, "linestyle": "none"}


def coupling_block() -> Figure:
    """A coupling block: x1 is changed by numbers from x2, then x2 by numbers from the new y1."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(8.5, 3.0), layout="constrained")
        axis.set(xlim=(0, 17), ylim=(0, 6))
        axis.axis("off")
        boxes = {
            "x₁": (0.5, 4.5, 1.2, PALETTE[0]),
            "x₂": (0.5, 0.5, 1.2, PALETTE[1]),
            "subnet2\n→ s₂, t₂": (3.2, 2.3, 2.2, "lightgrey"),
            "× exp(s₂) + t₂": (5.7, 4.5, 2.9, "white"),
            "subnet1\n→ s₁, t₁": (9.6, 2.3, 2.2, "lightgrey"),
            "× exp(s₁) + t₁": (11.7, 0.5, 2.9, "white"),
            "y₁": (15.3, 4.5, 1.2, PALETTE[0]),
            "y₂": (15.3, 0.5, 1.2, PALETTE[1]),
        }
        for text, (x, y, width, colour) in boxes.items():
            shape = FancyBboxPatch(
                (x, y), width, 1.1, boxstyle="round,pad=0.08", facecolor=colour, edgecolor="grey", alpha=0.6
            )
            axis.add_patch(shape)
            axis.text(x + width / 2, y + 0.55, text, ha="center", va="center", fontsize=10)
        arrows = [((1.9, 5.05), (5.6, 5.05)), ((8.7, 5.05), (15.2, 5.05)), ((1.9, 1.05), (11.6, 1.05))]
        arrows += [((14.7, 1.05), (15.2, 1.05)), ((4.3, 1.05), (4.3, 2.2)), ((5.0, 3.5), (6.6, 4.4))]
        arrows += [((10.7, 5.05), (10.7, 3.5)), ((11.4, 2.2), (12.6, 1.7))]
        for start, end in arrows:
            axis.annotate("", end, start, arrowprops={"arrowstyle": "->", "linewidth": 1.3, "color": "black"})
        axis.set_title("A coupling block: nothing is inverted inside the sub-networks")
    return figure


def draw_lines(axis: Axes, circles: Sequence, rays: Sequence, limit: float) -> None:
    """Warped circles and rays on a square from -limit to limit."""
    for name, lines, colour, style in (("rays", rays, "black", "--"), ("circles", circles, PALETTE[0], "-")):
        for line in lines:
            (drawn,) = axis.plot(*np.asarray(line).T, style, color=colour, linewidth=1.1)
        drawn.set_label(name)  # once for all in a legend
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")


def plane_maps(
    maps: Mapping[str, np.ndarray],
    heading: str,
    labels: Sequence[str],
    *,
    limits: tuple[float, float],
    extent: Sequence[float],
    window: Sequence[float] | None = None,
    points: Mapping[str, np.ndarray] | None = None,
    axes_labels: tuple[str, str] = ("first value (std. dev.)", "second value (std. dev.)"),
) -> Figure:
    """Maps (H, W) over a plane, side by side, each with a colour bar; named points (N, 2) are drawn over each.

    extent: left, right, bottom, top of the maps; window: the part that is shown, all of it by default.

    Names of points that begin with "anomalous" get crosses, "z = 0" a star, all others dots.
    """
    window = window or extent
    with plt.rc_context(STYLE):
        size = (4.9 * len(maps) if len(maps) > 1 else 7.5, 4.4)
        figure, axes = plt.subplots(1, len(maps), figsize=size, squeeze=False, layout="constrained")
        for axis, (name, values), label in zip(axes[0], maps.items(), labels, strict=True):
            drawn = axis.imshow(
                values, origin="lower", extent=extent, cmap="cividis", vmin=limits[0], vmax=limits[1], aspect="auto"
            )
            figure.colorbar(drawn, ax=axis, label=label, shrink=0.8)
            for kind, place in (points or {}).items():
                marker, look = ("X", CROSS) if kind.startswith("anomalous") else ("o", WHITE)
                marker, size = ("*", 16) if kind == "z = 0" else (marker, 7 if marker == "X" else 4)
                axis.plot(*np.asarray(place).T, marker=marker, markersize=size, label=kind, **look)
            axis.set(title=name, xlabel=axes_labels[0], ylabel=axes_labels[1], xlim=window[:2], ylim=window[2:])
        if points:
            figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(points))
        figure.suptitle(heading, fontsize=12)
    return figure
