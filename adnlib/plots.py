"""Figures. Each function returns a matplotlib figure with a title and units; `show` displays it with a text for those
who cannot see it. Two colours that colour-blind readers can tell apart: blue is normal, orange anomalous."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler
from skimage.color import rgb2gray
from sklearn.metrics import roc_curve
from torch import Tensor

from adnlib.datasets import Dataset, Sample, Split
from adnlib.errors import AdnError

PALETTE = sns.color_palette("colorblind")
NORMAL_COLOUR, ANOMALOUS_COLOUR = PALETTE[0], PALETTE[1]
LINE_STYLES = ("-", "--", ":", "-.")
STYLE = {**sns.axes_style("ticks"), "figure.dpi": 100, "axes.spines.top": False, "axes.spines.right": False}


def show(figure: Figure, alt: str, weights: str = "imagenet") -> None:
    """Displays a figure in a notebook with its alternative text; says on the figure that its weights are random."""
    warning = mark_weights(figure, weights)
    display(figure, metadata={"image/png": {"alt": f"{alt} {warning}".strip()}})
    plt.close(figure)


def mark_weights(figure: Figure, weights: str) -> str:
    """Writes under a figure that its AlexNet is not ImageNet's, and gives that sentence; "" where it is."""
    if weights == "imagenet":
        return ""
    warning = f"AlexNet with {weights} weights, not ImageNet's."
    figure.text(0.5, 0, warning, ha="center", va="top", color="firebrick", weight="bold")
    return warning


def image_grid(samples: list[Sample], titles: list[str], heading: str, columns: int = 6) -> Figure:
    """Images in rows of `columns`, each under its title; a frame in the colour of its label."""
    if not samples:
        raise AdnError("There are no images to show: name at least one.")
    rows = -(-len(samples) // columns)
    height = 1.65 * rows + 0.18 * rows * (1 + max(title.count("\n") + 1 for title in titles)) + 0.3
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, columns, figsize=(1.65 * columns, height), squeeze=False, layout="constrained"
        )
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, sample, title in zip(axes.flat, samples, titles, strict=False):
            axis.imshow(sample.read(160).permute(1, 2, 0).numpy())
            axis.set_title(title, fontsize=9)
            axis.set_axis_on()
            axis.set(xticks=[], yticks=[])
            for spine in axis.spines.values():
                spine.set(visible=True, linewidth=2.5, color=ANOMALOUS_COLOUR if sample.label else NORMAL_COLOUR)
        figure.suptitle(heading, fontsize=12)
    return figure


def tour(datasets: Sequence[Dataset], each: int = 3) -> Figure:
    """A row for each category: `each` normal training images, then as many anomalous ones of different kinds."""
    shown, titles = [], []
    for dataset in datasets:
        anomalous = [sample for sample in dataset.test if sample.label]
        row = [*dataset.train[:each], *(anomalous[i * len(anomalous) // each] for i in range(each))]
        shown += row
        titles += [f"{dataset.category}\n{sample.defect.replace('_', ' ')}" for sample in row]
    return image_grid(shown, titles, "Normal training images (blue), anomalous test images (orange)", columns=2 * each)


def scored_images(split: Split, test: pd.DataFrame, indices: Sequence[int], heading: str) -> Figure:
    """The test images at `indices`, each under its score (`test`: their table, Evaluation.test or Run.test)."""
    scores = test["score"].to_numpy()
    return image_grid([split[i] for i in indices], [f"score {scores[i]:.3g}" for i in indices], heading)


def anomaly_maps(samples: Sequence[Sample], maps: dict[str, np.ndarray], heading: str) -> Figure:
    """Images in the first row, their defects outlined where a mask is known; a row below for each method's maps.

    maps: name -> (N, S, S). Each row has its own colours, from its lowest to its highest value over the images shown.
    """
    with plt.rc_context(STYLE):
        shape = (1 + len(maps), len(samples))
        figure, axes = plt.subplots(
            *shape, figsize=(1.5 * shape[1] + 1.3, 1.5 * shape[0] + 0.5), squeeze=False, layout="constrained"
        )
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        for axis, sample in zip(axes[0], samples, strict=True):
            axis.imshow(sample.image.permute(1, 2, 0).numpy())
            axis.set_title(sample.defect.replace("_", " "), fontsize=9)
            if sample.label and sample.mask is not None:
                axis.contour(sample.mask.numpy(), [0.5], colors=[ANOMALOUS_COLOUR], linewidths=1.2)
        for row, values in zip(axes[1:], maps.values(), strict=True):
            values = np.asarray(values)
            for axis, value in zip(row, values, strict=True):
                axis.imshow(value, cmap="magma", vmin=values.min(), vmax=values.max())
        for axis, name in zip(axes[:, 0], ["image", *maps], strict=True):
            axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        figure.suptitle(heading, fontsize=12)
    return figure


def disagreements(split: Split, tests: dict[str, pd.DataFrame], count: int = 4) -> Figure:
    """The anomalous and the normal test images whose place among the scores differs most between models."""
    places = pd.DataFrame({name: test["score"].rank(pct=True).to_numpy() for name, test in tests.items()})
    widest = (places.max(axis=1) - places.min(axis=1)).sort_values(ascending=False).index
    chosen = [i for label in (1, 0) for i in [i for i in widest if split[i].label == label][:count]]
    titles = ["\n".join(f"{name}: {places[name][i]:.0%}" for name in tests) for i in chosen]
    return image_grid([split[i] for i in chosen], titles, "Share of test images with a lower score", columns=count)


def table(frame: pd.DataFrame, precision: int = 3) -> Styler:
    """A table for readers: no index, numbers to the right with `precision` digits, words to the left."""
    words = list(frame.select_dtypes(exclude="number").columns)
    style = frame.style.format(precision=precision, thousands=",", na_rep="–").hide(axis="index")
    left = [{"selector": "th, td", "props": "text-align: left"}]
    return style.set_table_styles({name: left for name in words}, overwrite=False)


def score_histogram(test: pd.DataFrame, threshold: float, heading: str) -> Figure:
    """How the scores of normal and anomalous test images lie to each other and to the threshold (log axis)."""
    scores = np.log10(test["score"].clip(1e-6, 1e30))
    low, high = scores.min(), min(scores.max(), np.quantile(scores, 0.98) + 1)  # a flow's tail may be endless
    bins = np.linspace(low, high, 40)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7, 3.4))
        kinds = ((0, "normal", NORMAL_COLOUR, "//"), (1, "anomalous", ANOMALOUS_COLOUR, ".."))
        for label, name, colour, hatch in kinds:
            values = scores[test["label"] == label].clip(upper=high)
            axis.hist(values, bins, color=colour, hatch=hatch, alpha=0.6, label=f"{name} ({len(values)})")
        axis.axvline(np.log10(threshold), color="black", linestyle="--", label="threshold")
        axis.set(title=heading, xlabel=r"$\log_{10}$ anomaly score (mean of $z^2$)", ylabel="test images (count)")
        axis.legend(frameon=False)
        figure.tight_layout()
    return figure


def roc_curves(tests: dict[str, pd.DataFrame], heading: str) -> Figure:
    """A ROC curve for each named table of test scores."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(4.8, 4.4))
        for index, (name, test) in enumerate(tests.items()):
            fpr, tpr, _ = roc_curve(
                test["label"], test["score"].rank()
            )  # ranks: the same curve, also for infinite scores
            style = {"color": PALETTE[index % 10], "linestyle": LINE_STYLES[index % 4]}
            axis.plot(fpr, tpr, label=name, **style)
        axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8, label="a coin")
        axis.set(
            title=heading,
            xlabel="false-positive rate (share of normal images)",
            ylabel="true-positive rate (share of anomalous images)",
            aspect="equal",
        )
        axis.legend(frameon=False, loc="lower right")
        figure.tight_layout()
    return figure


def learning_curves(histories: dict[str, tuple[pd.DataFrame, int]], heading: str) -> Figure:
    """Training and validation NLL by epoch, name -> (history, chosen epoch); a dot marks the chosen one."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(9, 3.4))
        for index, (name, (history, chosen)) in enumerate(histories.items()):
            colour = PALETTE[index % 10]
            axis.plot(history["epoch"], history["train_nll"], "--", color=colour, label=f"{name}, training (mean)")
            axis.plot(history["epoch"], history["validation_nll"], color=colour, label=f"{name}, validation (median)")
            at = history[history["epoch"] == chosen]
            axis.plot(at["epoch"], at["validation_nll"], "o", color=colour)
        low = min(history["train_nll"].min() for history, _ in histories.values())
        axis.set_ylim(low - 0.2, max(low + 4, 0.5))  # the first epochs are far off the scale and say little
        axis.set(title=heading, xlabel="epoch", ylabel="NLL (nats per dimension)")
        axis.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
        figure.tight_layout()
    return figure


def auroc_intervals(table: pd.DataFrame, heading: str) -> Figure:
    """AUROC of each row of a comparison table (adnlib.runs.comparison) with its interval."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7, 0.9 + 0.45 * len(table)))
        at = np.arange(len(table))[::-1]
        error = [table["AUROC"] - table["95 % from"], table["to"] - table["AUROC"]]
        axis.errorbar(table["AUROC"], at, xerr=error, fmt="o", color=PALETTE[0], capsize=4)
        axis.set_yticks(at, table["variant"])
        axis.set_ylim(-0.6, len(table) - 0.4)
        axis.set(title=heading, xlabel="AUROC (0.5: a coin, 1: all anomalous above all normal)")
        axis.grid(axis="x", alpha=0.3)
        figure.tight_layout()
    return figure


def forest(table: pd.DataFrame, names: Sequence[str], heading: str, baseline: str = "DifferNet") -> Figure:
    """Differences of AUROC in points with their intervals, a row each of adnlib.evidence: difference, low, high."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(8.5, 1.2 + 0.32 * len(table)))
        at = np.arange(len(table))[::-1]
        middle, low, high = (100 * table[name].to_numpy(float) for name in ("difference", "low", "high"))
        colours = [PALETTE[2] if a > 0 else PALETTE[3] if b < 0 else "grey" for a, b in zip(low, high, strict=True)]
        axis.hlines(at, low, high, color=colours, linewidth=2)
        axis.scatter(middle, at, color=colours, marker="D", zorder=2)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_yticks(at, names)
        axis.set_ylim(-0.6, len(table) - 0.4)
        _cut(axis, middle, low, high, at)
        for y, *row in zip(at, middle, low, high, strict=True):
            said = "{:+.1f}" if np.isnan(row[1]) else "{:+.1f} ({:+.1f} to {:+.1f})"
            axis.annotate(said.format(*row), (1.03, y), xycoords=("axes fraction", "data"), va="center", fontsize=9)
        axis.set(title=heading, xlabel=f"AUROC minus that of {baseline} with the same seed (points)")
        axis.grid(axis="x", alpha=0.3)
        figure.tight_layout()
    return figure


def forests(tables: dict[str, pd.DataFrame], heading: str, baseline: str = "DifferNet") -> Figure:
    """`forest` of several variants side by side: rows name, difference, low, high; one axis of names for all."""
    names = list(dict.fromkeys(name for rows in tables.values() for name in rows["name"] if name != "all"))
    names = ["all", *names[::-1]]  # from below
    with plt.rc_context(STYLE):
        size = (2.2 + 1.75 * len(tables), 1.3 + 0.27 * len(names))
        figure, axes = plt.subplots(
            1, len(tables), figsize=size, sharey=True, sharex=True, squeeze=False, layout="constrained"
        )
        for axis, (variant, rows) in zip(axes[0], tables.items(), strict=True):
            middle, low, high = (100 * rows[name].to_numpy(float) for name in ("difference", "low", "high"))
            at = [names.index(name) for name in rows["name"]]
            colours = [PALETTE[2] if a > 0 else PALETTE[3] if b < 0 else "grey" for a, b in zip(low, high, strict=True)]
            axis.hlines(at, low, high, color=colours, linewidth=2)
            axis.scatter(middle, at, color=colours, s=[55 if name == "all" else 16 for name in rows["name"]],
                         marker="D", zorder=2)  # fmt: skip
            axis.axvline(0, color="black", linewidth=0.8)
            axis.axhline(0.5, color="grey", linewidth=0.5)
            axis.set_title(variant.replace(", ", ",\n", 1), fontsize=10)
            axis.grid(axis="x", alpha=0.3)
        axes[0, 0].set_yticks(range(len(names)), names)
        every = 100 * pd.concat(tables.values())["difference"]
        for axis, rows in zip(axes[0], tables.values(), strict=True):
            low, high = 100 * rows["low"], 100 * rows["high"]
            _cut(axis, every, low, high, [names.index(name) for name in rows["name"]])
        figure.suptitle(heading, fontsize=11)
        figure.supxlabel(f"AUROC minus that of {baseline} with the same seed (points); 95 % intervals over\n"
                         "seeds, of 'all' over categories; grey where they hold zero, an arrow where they go on",
                         fontsize=10)  # fmt: skip
    return figure


def _cut(axis: Axes, middle: np.ndarray, low: np.ndarray, high: np.ndarray, at: Sequence[float]) -> None:
    """End the axis where all middles are seen, at 15 points at least, with an arrow where an interval goes on: one of
    few seeds may be endless."""
    furthest = max(15, 1.05 * np.abs(middle).max())
    left, right = np.clip(axis.get_xlim(), -furthest, furthest)
    axis.set_xlim(left, right)
    for beyond, edge, arrow in ((low < left, left, "<"), (high > right, right, ">")):
        where = np.array(at)[beyond]
        axis.scatter([edge] * len(where), where, marker=arrow, color="black", s=22, clip_on=False, zorder=3)


def matrix(each: pd.DataFrame, names: dict[str, str], heading: str, baseline: str = "none") -> Figure:
    """Differences of AUROC in points, a row a variant (`names`: what it is called, in order), a column a detector and
    category, of adnlib.everywhere.gains; bold where the interval over seeds leaves zero out, empty where not run."""
    each = each.assign(points=100 * each["difference"], sure=(each["low"] > 0) | (each["high"] < 0))
    wide = each.pivot(index="variant", columns=["dataset", "category"], values=["points", "sure"])
    wide = wide.reindex([name for name in names if name in wide.index]).sort_index(axis=1, level="category")
    values, sure = wide["points"].astype(float), wide["sure"]
    columns = [f"{category} {detector.replace(',', '')}" for detector, category in values.columns]
    columns = [column.replace(" ", "\n").replace("_", "_\n") for column in columns]
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(2.6 + 0.85 * len(columns), 2.2 + 0.4 * len(values)))
        largest = max(1.0, np.nanmax(values.abs().to_numpy()))
        sns.heatmap(values, annot=True, fmt="+.1f", cmap="PuOr_r", vmin=-largest, vmax=largest, ax=axis, linewidths=0.5,
                    cbar_kws={"label": f"AUROC minus that of {baseline} (points)"})  # fmt: skip
        for text, bold in zip(axis.texts, sure.to_numpy()[values.notna().to_numpy()], strict=True):
            text.set_weight("bold" if bold else "normal")
            text.set_fontsize(11 if bold else 8)
        axis.set_xticklabels(columns, rotation=0, fontsize=8)
        axis.set_yticklabels([names[name] for name in values.index], rotation=0)
        axis.set(title=heading, xlabel="", ylabel="")
        figure.tight_layout()
    return figure


def gate_maps(image: Sample, maps: dict[str, np.ndarray], heading: str, columns: int = 5) -> Figure:
    """An image, then for each named map (h, w) what its attention multiplies a place by, on one scale from 0 to 2."""
    rows = -(-(len(maps) + 1) // columns)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=(2.1 * columns, 2.35 * rows + 0.3), layout="constrained")
        for axis in axes.flat:
            axis.set_axis_off()
        axes.flat[0].imshow(image.read(224).permute(1, 2, 0).numpy())
        axes.flat[0].set_title(f"image ({image.defect})", fontsize=9)
        for axis, (name, values) in zip(axes.flat[1:], maps.items(), strict=False):
            drawn = axis.imshow(values, vmin=0, vmax=2, cmap="viridis")
            axis.set_title(f"{name}\n{values.min():.2f} to {values.max():.2f}", fontsize=9)
        figure.colorbar(drawn, ax=axes, label="multiplied by", shrink=0.6)
        figure.suptitle(heading, fontsize=12)
    return figure


def inflation(table: pd.DataFrame, heading: str) -> Figure:
    """Points that choosing the epoch on the test set adds to each run (adnlib.evidence.inflation), a row a variant."""
    with plt.rc_context(STYLE):
        variants = list(dict.fromkeys(table["variant"]))
        figure, axis = plt.subplots(figsize=(9.5, 1.3 + 0.45 * len(variants)))
        kinds = (("over_validation", "over the epoch of normal validation images", "o", 0.12, PALETTE[0]),
                 ("over_last", "over the last epoch", "x", -0.12, PALETTE[1]))  # fmt: skip
        for column, name, marker, offset, colour in kinds:
            at = [len(variants) - 1 - variants.index(v) + offset for v in table["variant"]]
            axis.scatter(100 * table[column], at, marker=marker, color=colour, label=name, alpha=0.8)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_yticks(range(len(variants))[::-1], variants)
        axis.set_ylim(-0.6, len(variants) - 0.4)
        axis.set(title=heading, xlabel="AUROC, best epoch on the test set minus an honest one (points)")
        axis.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
        figure.tight_layout()
    return figure


def paper_table(ours: pd.DataFrame, theirs: pd.DataFrame) -> Styler:
    """The papers' table: a row a method, a column a category, image AUROC in percent.

    ours: `adnlib.evidence.over_seeds` of one data set, shown as mean and standard deviation, of one seed as the value;
    theirs: the rows of data/published.csv of that data set. Bold: the best of a column as printed; underlined: its best
    DifferNet variant. An empty field is "not known" or not run; the caption names the sources.
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
        found = {method: value[method, column] for method in methods if (method, column) in value}
        for marked, mark in ((found, "font-weight: bold;"), (found.keys() & family, "text-decoration: underline;")):
            best = max((found[method] for method in marked), default=None)
            style.loc[[method for method in marked if found[method] == best], column] += mark
    left = [{"selector": "th.row_heading", "props": "text-align: left; font-weight: normal"}]
    said = "; ".join(f"[{number}] {source}" for number, source in enumerate(sources, 1))
    return frame.style.apply(lambda _: style, axis=None).set_table_styles(left).set_caption(said)


def map_panels(
    images: Tensor,
    masks: np.ndarray | None,
    maps: dict[str, Tensor],
    names: Sequence[str],
    heading: str,
    difference: tuple[str, str] | None = None,
) -> Figure:
    """A row for each image: the image with its mask's outline, the mask, each map over the grey image.

    images: uint8 (B, 3, H, W); masks: bool (B, H, W); maps: name -> (B, H, W) in [0, 1]; names: one a row.
    difference: two names of maps; the last column is the first of them minus the second.
    """
    titles = [*(["image", "mask"] if masks is not None else ["image"]), *maps]
    titles += ["{}\nminus {}".format(*difference)] if difference else []
    maps = {name: np.asarray(values) for name, values in maps.items()}
    grey, first = rgb2gray(images.numpy(), channel_axis=1), len(titles) - len(maps) - bool(difference)
    with plt.rc_context(STYLE):
        size = (1.6 * len(titles) + 0.8, 1.6 * len(images) + 0.7)
        figure, axes = plt.subplots(len(images), len(titles), figsize=size, squeeze=False, layout="constrained")
        for row, name in enumerate(names):
            axes[row, 0].imshow(images[row].permute(1, 2, 0).numpy())
            axes[row, 0].set_ylabel(name, fontsize=9)
            if masks is not None:
                axes[row, 1].imshow(masks[row], cmap="gray", vmin=0, vmax=1)
                if masks[row].any() and not masks[row].all():
                    axes[row, 0].contour(masks[row], [0.5], colors=[ANOMALOUS_COLOUR], linewidths=1.5)
            for axis, values in zip(axes[row, first:], maps.values(), strict=False):
                axis.imshow(grey[row], cmap="gray", vmin=0, vmax=1)
                seen = axis.imshow(values[row], cmap="magma", vmin=0, vmax=1, alpha=0.65)
            if difference:
                change = maps[difference[0]][row] - maps[difference[1]][row]
                changed = axes[row, -1].imshow(change, cmap="PuOr_r", vmin=-1, vmax=1)
        for axis, title in zip(axes[0], titles, strict=True):
            axis.set_title(title, fontsize=9)
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[])
            sns.despine(ax=axis, left=True, bottom=True)
        figure.colorbar(seen, ax=axes[:, : first + len(maps)], shrink=0.7, aspect=25, label="map, stretched")
        if difference:
            figure.colorbar(changed, ax=axes[:, -1], shrink=0.7, aspect=25, label="difference")
        figure.suptitle(heading, fontsize=12)
    return figure


def localisation_chart(table: pd.DataFrame, baseline: pd.DataFrame, heading: str, label: str) -> Figure:
    """One measure of every map (adnlib.localisation.compare): a row a map, a mark a variant, lines for the blind maps.

    table: map, variant, value, low, high; baseline: map, value.
    """
    maps, variants = list(dict.fromkeys(table["map"]))[::-1], list(dict.fromkeys(table["variant"]))
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(8, 1.4 + 0.36 * len(maps)))
        for index, (variant, marker) in enumerate(zip(variants, "osD^vP", strict=False)):
            rows = table[table["variant"] == variant]
            at = np.array([maps.index(name) for name in rows["map"]]) + 0.3 * (0.5 - index / max(1, len(variants) - 1))
            axis.hlines(at, rows["low"], rows["high"], color=PALETTE[index], linewidth=1.2)
            axis.plot(rows["value"], at, marker, color=PALETTE[index], markersize=5, label=variant)
        for row, style in zip(baseline.itertuples(), ("--", ":"), strict=False):
            axis.axvline(row.value, color="black", linestyle=style, linewidth=1, label=f"{row.map} (blind)")
        axis.set_yticks(range(len(maps)), maps)
        axis.set(title=heading, xlabel=label)
        axis.grid(axis="x", alpha=0.3)
        axis.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
        figure.tight_layout()
    return figure
