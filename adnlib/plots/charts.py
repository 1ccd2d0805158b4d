"""Charts of the lessons: histograms, curves, a marker per run, rows of maps."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from adnlib.plots.style import ANOMALOUS_COLOUR, LINE_STYLES, NORMAL_COLOUR, PALETTE, STYLE, ink, short_name

MARKERS = "os^Dv"


def draw_histograms(axis: Axes, groups: Mapping[str, ArrayLike], bins: ArrayLike, marks: Mapping[str, float]) -> None:
    """Histograms in percent of each group, the first filled and the others as outlines, so that colours never mix.
    marks: name -> position of a vertical line."""
    for index, (name, values) in enumerate(groups.items()):
        values = np.asarray(values, dtype=float).ravel()
        kind = {"color": _colour(name, index), "label": f"{short_name(name)} ({len(values)})"}
        kind |= (
            {"alpha": 0.5} if index == 0 else {"histtype": "step", "linewidth": 2, "linestyle": LINE_STYLES[index - 1]}
        )
        axis.hist(values, np.asarray(bins).tolist(), weights=np.full(len(values), 100 / max(1, len(values))), **kind)
    for index, (name, at) in enumerate(marks.items()):
        axis.axvline(at, color="black", linestyle=LINE_STYLES[index + 1], linewidth=1.2, label=short_name(name))
    axis.set_ylabel("share of the group (%)")


def _colour(name: str, index: int) -> tuple:
    """Orange is kept for anomalous images."""
    if "anomalous" in name:
        return ANOMALOUS_COLOUR
    return NORMAL_COLOUR if index == 0 else PALETTE[index + 1]


def histograms(
    groups: Mapping[str, ArrayLike] | Sequence[Mapping[str, ArrayLike]],
    heading: str,
    xlabel: str,
    *,
    bins: int | ArrayLike = 40,
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """Histograms of named groups of values; several tables of groups are drawn below each other on one scale."""
    tables = [groups] if isinstance(groups, Mapping) else list(groups)
    if isinstance(bins, int):
        every = np.concatenate([np.asarray(v, dtype=float).ravel() for table in tables for v in table.values()])
        bins = np.linspace(every.min(), every.max() + 1e-9, bins + 1)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            len(tables), 1, figsize=(8.5, 0.7 + 2.2 * len(tables)), sharex=True, squeeze=False, layout="constrained"
        )
        for axis, table in zip(axes[:, 0], tables, strict=True):
            draw_histograms(axis, table, bins, marks or {})
            axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        axes[-1, 0].set_xlabel(xlabel)
        axes[0, 0].set_title(heading)
    return figure


def lines(
    curves: Mapping[str, tuple],
    heading: str,
    xlabel: str,
    ylabel: str,
    *,
    points: Mapping[str, tuple] | None = None,
    levels: Mapping[str, float] | None = None,
    marks: Mapping[str, float] | None = None,
    ticks: Sequence | None = None,
    log: str = "",
    ylim: tuple | None = None,
) -> Figure:
    """Named curves (x, y), or (x, y, low, high) with a band, whose edges are thin lines except for the first curve;
    named points (x, y); horizontal and vertical lines.

    log: the logarithmic axes, "", "x", "y" or "xy".
    """
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(8.5, 3.4), layout="constrained")
        for index, (name, (x, y, *band)) in enumerate(curves.items()):
            colour, style = PALETTE[index % 10], LINE_STYLES[index % 4]
            few = MARKERS[index % 5] if len(x) <= 16 else None
            axis.plot(x, y, style, marker=few, color=colour, label=short_name(name))
            if band and index == 0:
                axis.fill_between(x, *band, color=colour, alpha=0.2, linewidth=0)
            elif band:  # only its edges, so that colours never mix
                axis.plot(x, np.array(band).T, style, color=colour, linewidth=0.8)
        for index, (name, (x, y)) in enumerate((points or {}).items()):
            axis.plot(x, y, "sD*X"[index % 4], color="black", markersize=7, label=short_name(name))
        for index, (name, level) in enumerate((levels or {}).items()):
            axis.axhline(level, color="black", linestyle=LINE_STYLES[(index + 1) % 4], linewidth=1, label=name)
        for index, (name, at) in enumerate((marks or {}).items()):
            axis.axvline(at, color="grey", linestyle=LINE_STYLES[index % 4], linewidth=1, label=name)
        axis.set(title=heading, xlabel=xlabel, ylabel=ylabel)
        axis.set(xscale="log" if "x" in log else "linear", yscale="log" if "y" in log else "linear")
        if ylim:
            axis.set_ylim(*ylim)
        if ticks is not None:
            axis.minorticks_off()  # a logarithmic axis labels its minor ticks, which collide with these
            axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def bars(
    groups: Mapping[str, Mapping[str, float]], heading: str, xlabel: str, ylabel: str, *, ylim: tuple | None = None
) -> Figure:
    """Bars next to each other: name -> {place: height}."""
    places = list(next(iter(groups.values())))
    width = 0.8 / len(groups)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(8.5, 3.2), layout="constrained")
        for index, (name, heights) in enumerate(groups.items()):
            at = np.arange(len(places)) - 0.4 + width * (index + 0.5)
            style = {"color": PALETTE[index], "hatch": ("", "//", "..", "xx")[index % 4], "edgecolor": "white"}
            axis.bar(at, list(heights.values()), 0.95 * width, label=short_name(name), **style)
        axis.set_xticks(range(len(places)), places)
        axis.set(title=heading, xlabel=xlabel, ylabel=ylabel)
        if ylim:
            axis.set_ylim(*ylim)
        axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def dots(
    rows: Mapping[str, Sequence[float]],
    heading: str,
    xlabel: str,
    *,
    limits: tuple[float, float],
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """A row for each name, with a marker for each of its values; marks: name -> position of a vertical line."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(8.5, 1.1 + 0.5 * len(rows)), layout="constrained")
        for row, values in enumerate(rows.values()):
            height = row + np.linspace(-0.25, 0.25, len(values)) if len(values) > 1 else [row]
            axis.scatter(values, height, s=22, marker=MARKERS[row % 5], color=PALETTE[row % 10])
        for index, (name, at) in enumerate((marks or {}).items()):
            axis.axvline(at, color="black", linestyle=LINE_STYLES[index], linewidth=0.9, label=name)
        axis.set_yticks(range(len(rows)), list(map(short_name, rows)))
        axis.set(title=heading, xlabel=xlabel, xlim=limits, ylim=(len(rows) - 0.5, -0.5))
        if any(marks or {}):
            axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def map_grid(
    rows: Mapping[str, Sequence],
    titles: Sequence[str] | Sequence[Sequence[str]],
    heading: str,
    label: str,
    *,
    limits: tuple[float, float] | None = None,
    zeros: bool = False,
) -> Figure:
    """Rows of images (H, W, 3) and maps (H, W). The maps share one colour scale, `limits` or their own range.

    titles: one per column, or for each row one per column. zeros: writes 0 into the cells of a map that are zero.
    """
    maps = [np.asarray(m) for row in rows.values() for m in row if np.ndim(m) == 2]
    low, high = limits or (min(m.min() for m in maps), max(m.max() for m in maps))
    columns = max(map(len, rows.values()))
    each = [titles] * len(rows) if isinstance(titles[0], str) else titles
    lines = max(title.count("\n") for names in each for title in names)  # more than one in a title
    with plt.rc_context(STYLE):
        size = (min(10.0, 1.9 * columns + 0.3), (min(1.9, 9.7 / columns) + 0.17 * lines) * len(rows) + 1.3)
        figure, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False, layout="constrained")
        for number, (line, (name, row), names) in enumerate(zip(axes, rows.items(), each, strict=True)):
            for axis, shown, title in zip(line, row, names, strict=True):
                shown = np.asarray(shown)
                scale = {"cmap": "cividis", "vmin": low, "vmax": high} if shown.ndim == 2 else {}
                drawn = axis.imshow(shown, **scale)
                axis.set(xticks=[], yticks=[])
                if number == 0 or not isinstance(titles[0], str):
                    axis.set_title(title, fontsize=9)
                if zeros:
                    for i, j in np.argwhere(shown == 0):
                        axis.text(j, i, "0", color=ink(drawn.to_rgba(0)), ha="center", va="center")
            line[0].set_ylabel(name)
        figure.colorbar(drawn, ax=axes, label=label, location="bottom", shrink=0.6, aspect=40)
        figure.suptitle(heading, fontsize=12)
    return figure
