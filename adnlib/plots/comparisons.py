"""Comparisons of runs: intervals, forest plots, matrices, tables."""

import html
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from adnlib.plots.style import PALETTE, STYLE, ink_numbers, short_name

ACROSS = 3  # panels of a forest plot in a row: more are too small to read in a window of 800 px


def auroc_intervals(table: pd.DataFrame, heading: str) -> Figure:
    """The AUROC in each row of a comparison table (adnlib.experiments.runs.comparison) with its interval."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7, 0.9 + 0.45 * len(table)))
        at = np.arange(len(table))[::-1]
        error = [table["AUROC"] - table["95 % from"], table["to"] - table["AUROC"]]
        axis.errorbar(table["AUROC"], at, xerr=error, fmt="o", color=PALETTE[0], capsize=4)
        axis.set_yticks(at, list(map(short_name, table["variant"])))
        axis.set_ylim(-0.6, len(table) - 0.4)
        axis.set(title=heading, xlabel="AUROC (0.5: chance, 1: every anomalous image above every normal one)")
        axis.grid(axis="x", alpha=0.3)
        figure.tight_layout()
    return figure


def forest(
    tables: pd.DataFrame | dict[str, pd.DataFrame], heading: str, baseline: str = "DifferNet", measure: str = "AUROC"
) -> Figure:
    """A forest plot: differences of a measure in points with their 95 % intervals.

    tables: one table with name, difference, low, high (adnlib.experiments.statistics), whose numbers are printed next
    to its rows; or several tables by title, drawn side by side (at most ACROSS) with the same names, each with its own
    scale: one table with large differences would hide the intervals of the others. The name "all" is drawn last.
    """
    single = isinstance(tables, pd.DataFrame)
    tables = {"": tables} if isinstance(tables, pd.DataFrame) else tables
    names = list(dict.fromkeys(name for rows in tables.values() for name in rows["name"]))
    names.sort(key="all".__eq__)  # "all" last, the others in their order
    positions = {name: len(names) - 1 - row for row, name in enumerate(names)}  # the first name is at the top
    with plt.rc_context(STYLE):
        across, down = min(len(tables), ACROSS), -(-len(tables) // ACROSS)
        size = (8.5, 1.2 + 0.32 * len(names)) if single else (2 + 2 * across, 0.8 + down * (0.7 + 0.24 * len(names)))
        figure, grid = plt.subplots(down, across, figsize=size, sharey=True, squeeze=False, layout="constrained")
        axes, unused = np.split(grid.flatten(), [len(tables)])
        for axis in unused:
            axis.remove()
        for axis, (title, rows) in zip(axes, tables.items(), strict=True):
            at = rows["name"].map(positions).to_numpy()
            middle, low, high = (100 * rows[name].to_numpy(float) for name in ("difference", "low", "high"))
            colours = [PALETTE[2] if a > 0 else PALETTE[3] if b < 0 else "grey" for a, b in zip(low, high, strict=True)]
            sizes = [36 if single else 55 if name == "all" else 16 for name in rows["name"]]
            axis.hlines(at, low, high, color=colours, linewidth=2)
            axis.scatter(middle, at, color=colours, s=sizes, marker="D", zorder=2)
            axis.axvline(0, color="black", linewidth=0.8)
            axis.set_title(title.replace(", ", ",\n", 1), fontsize=10)
            axis.set_ylim(-0.6, len(names) - 0.4)
            axis.grid(axis="x", alpha=0.3)
            if "all" in positions:
                axis.axhline(0.5, color="grey", linewidth=0.5)
            if single:
                _annotate(axis, middle, low, high, at)
        axes[0].set_yticks(list(positions.values()), list(map(short_name, positions)))
        for axis in grid[:, 0]:
            axis.tick_params(axis="y", pad=7)  # clear of an arrow at the edge
        for axis, rows in zip(axes, tables.values(), strict=True):
            middle, low, high = (100 * rows[name] for name in ("difference", "low", "high"))
            furthest = max(15 if single else 5, 1.25 * middle.abs().max())
            _cut(axis, furthest, low, high, rows["name"].map(positions).to_numpy())
        figure.suptitle(heading, fontsize=11)
        once = any(rows["low"].isna().any() for rows in tables.values())
        figure.supxlabel(
            f"{measure} minus that of {baseline} with the same seed (points), 95 % intervals\n"
            "grey: the interval contains zero; arrow: it continues beyond the axis"
            + ("; no bar: one seed" if once else "")
            + ("" if single else "\neach panel has its own scale"),
            fontsize=10,
        )
    return figure


def _annotate(axis: Axes, middle: np.ndarray, low: np.ndarray, high: np.ndarray, at: np.ndarray) -> None:
    """Prints each difference and its interval to the right of the axis."""
    for y, *row in zip(at, middle, low, high, strict=True):
        text = "{:+.1f}" if np.isnan(row[1]) else "{:+.1f} ({:+.1f} to {:+.1f})"
        axis.annotate(
            text.format(*(np.round(row, 1) + 0.0)),
            (1.03, y),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
        )


def _cut(axis: Axes, furthest: float, low: np.ndarray, high: np.ndarray, at: Sequence[float]) -> None:
    """Limits the axis to `furthest` points on each side, and marks intervals that exceed it with arrows: an interval
    over two or three seeds can be very long."""
    left, right = np.clip(axis.get_xlim(), -furthest, furthest)
    axis.set_xlim(left, right)
    for beyond, edge, arrow in ((low < left, left, "<"), (high > right, right, ">")):
        where = np.array(at)[beyond]
        axis.scatter([edge] * len(where), where, marker=arrow, color="black", s=22, clip_on=False, zorder=3)


def matrix(each: pd.DataFrame, names: dict[str, str], heading: str, baseline: str = "none") -> Figure:
    """A heat map of AUROC differences in points, from the rows of adnlib.experiments.attention_matrix.gains.

    It has one row for each detector and category, and one column for each variant (`names`: variant -> label, in
    order). Bold: the interval over seeds excludes zero; grey: not run."""
    each = each.assign(points=100 * each["difference"], sure=(each["low"] > 0) | (each["high"] < 0))
    wide = each.pivot(index=["category", "dataset"], columns="variant", values=["points", "sure"]).sort_index()
    variants = [name for name in names if name in wide["points"]]
    values, sure = wide["points"][variants].astype(float), wide["sure"][variants]
    with plt.rc_context(STYLE):
        size = (3 + 0.8 * len(variants), 1.3 + 0.45 * len(values))
        figure, axis = plt.subplots(figsize=size, layout="constrained")
        axis.set_facecolor("lightgrey")
        largest = max(1.0, np.nanmax(values.abs().to_numpy()))
        sns.heatmap(
            values,
            annot=True,
            fmt="+.1f",
            cmap="PuOr_r",
            vmin=-largest,
            vmax=largest,
            ax=axis,
            linewidths=0.5,
            cbar_kws={"label": f"AUROC difference from attention={baseline} (points)", "aspect": 30},
        )
        ink_numbers(axis)
        for text, bold in zip(axis.texts, sure.to_numpy()[values.notna().to_numpy()], strict=True):
            text.set_fontweight("bold" if bold else "normal")
            text.set_fontsize(11 if bold else 9)
        axis.set_xticklabels([names[name].replace(" ", "\n") for name in variants], rotation=0, fontsize=9)
        rows = [f"{detector}\n{short_name(category)}" for category, detector in values.index]
        axis.set_yticklabels(rows, rotation=0, fontsize=9)
        axis.set(title=heading, xlabel="grey: not run", ylabel="")
    return figure


def inflation(table: pd.DataFrame, heading: str) -> Figure:
    """The points that choosing the epoch on the test set adds to each run, with one row per variant.

    table: adnlib.experiments.statistics.inflation."""
    with plt.rc_context(STYLE):
        variants = list(dict.fromkeys(table["variant"]))
        figure, axis = plt.subplots(figsize=(8.5, 1.6 + 0.4 * len(variants)), layout="constrained")
        kinds = (
            ("over_validation", "over the epoch chosen on validation images", "o", 0.12, PALETTE[0]),
            ("over_last", "over the last epoch", "x", -0.12, PALETTE[1]),
        )
        for column, name, marker, offset, colour in kinds:
            at = [len(variants) - 1 - variants.index(v) + offset for v in table["variant"]]
            axis.scatter(100 * table[column], at, marker=marker, color=colour, label=name, alpha=0.8)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_yticks(range(len(variants))[::-1], variants)
        axis.set_ylim(-0.6, len(variants) - 0.4)
        axis.set(title=heading, xlabel="AUROC of the best epoch on the test set minus that of an honest epoch (points)")
        figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=2)
    return figure


def paper_table(ours: pd.DataFrame, theirs: pd.DataFrame) -> Styler:
    """A table as in the papers: one row per method, one column per category, image AUROC in percent.

    ours: `adnlib.experiments.statistics.over_seeds` of one data set, shown as mean and standard deviation over seeds;
    theirs: the rows of data/published.csv for that data set. Bold: the best printed value of a column; underlined: the
    best DifferNet variant. An empty field is not known or not run. The caption names the sources.
    """
    value, text = {}, {}
    sources = list(dict.fromkeys(theirs["source"]))
    for row in theirs.itertuples():
        key = (f"{row.method} [{1 + sources.index(row.source)}]", row.category)
        value[key], text[key] = float(row.auroc), f"{float(row.auroc):.2f}"
    for row in ours.itertuples():
        key = (f"{row.variant} (ours)", row.category)
        spread = f" ± {100 * row.sd:.1f}" if row.seeds > 1 else ""
        value[key], text[key] = round(100 * row.mean, 1), f"{100 * row.mean:.1f}{spread}"
    methods, columns = (list(dict.fromkeys(key[i] for key in value)) for i in (0, 1))
    frame = pd.DataFrame("", index=methods, columns=columns)
    style = frame.copy()
    for key, words in text.items():
        frame.loc[key] = words
    family = [m for m in methods if "DifferNet" in m or "(ours" in m]
    for column in columns:
        values = {method: value[method, column] for method in methods if (method, column) in value}
        for marked, mark in ((values, "font-weight: bold;"), (values.keys() & family, "text-decoration: underline;")):
            best = max((values[method] for method in marked), default=None)
            style.loc[[method for method in marked if values[method] == best], column] += mark
    left = [{"selector": "th.row_heading", "props": "text-align: left; font-weight: normal"}]
    caption = html.escape("; ".join(f"[{number}] {source}" for number, source in enumerate(sources, 1)))
    shown = frame.style.apply(lambda _: style, axis=None).set_table_styles(left).set_caption(caption)
    shown = shown.format(escape="html").format_index(escape="html", axis="index")
    return shown.format_index(escape="html", axis="columns")
