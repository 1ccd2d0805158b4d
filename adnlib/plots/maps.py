"""Maps drawn over images, and charts of map measures."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from skimage.color import rgb2gray
from torch import Tensor

from adnlib.imagesets.reading import Sample
from adnlib.plots.style import ANOMALOUS_COLOUR, PALETTE, STYLE, ink_numbers, short_name


def anomaly_maps(samples: Sequence[Sample], maps: dict[str, np.ndarray], heading: str) -> Figure:
    """Images in the first row, with outlined defects where a mask exists, and below it one row of maps per method.

    maps: name -> (N, S, S), a score for each position. Each row has its own colour scale, from its lowest to its
    highest score in the images.
    """
    with plt.rc_context(STYLE):
        shape = (1 + len(maps), len(samples))
        figure, axes = plt.subplots(
            *shape, figsize=(1.6 * shape[1] + 1.1, 1.6 * shape[0] + 0.6), squeeze=False, layout="constrained"
        )
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        for axis, sample in zip(axes[0], samples, strict=True):
            axis.imshow(sample.image.permute(1, 2, 0).numpy())
            axis.set_title(short_name(sample.defect.replace("_", " "), 32), fontsize=9)
            if sample.label and sample.mask is not None:
                axis.contour(sample.mask.numpy(), [0.5], colors=[ANOMALOUS_COLOUR], linewidths=1.2)
        for row, values in zip(axes[1:], maps.values(), strict=True):
            values = np.asarray(values)
            for axis, value in zip(row, values, strict=True):
                drawn = axis.imshow(value, cmap="magma", vmin=values.min(), vmax=values.max())
            bar = figure.colorbar(drawn, ax=row, aspect=12, label="score")
            ends = (values.min(), values.max())
            bar.set_ticks(ends, labels=[f"{end:,.0f}" if abs(end) >= 10 else f"{end:.2g}" for end in ends])
        for axis, name in zip(axes[:, 0], ["image", *maps], strict=True):
            axis.set_ylabel(name, fontsize=10)
        figure.suptitle(heading, fontsize=12)
    return figure


def gate_maps(
    image: Sample,
    maps: dict[str, np.ndarray],
    heading: str,
    *,
    columns: int = 4,
    limits: tuple[float, float] = (0, 1),
    label: str = "gate",
) -> Figure:
    """An image, then the named maps (h, w), with their lowest and highest values, on one colour scale."""
    rows, lines = -(-(len(maps) + 1) // columns), 2 + max(name.count("\n") for name in maps)  # lines of the titles
    size = (2 * columns, (2 + 0.17 * lines) * rows + 1)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained")
        for axis in axes.flat:
            axis.set_axis_off()
        axes.flat[0].imshow(image.read(224).permute(1, 2, 0).numpy())
        axes.flat[0].set_title(f"image ({short_name(image.defect, 32)})", fontsize=9)
        for axis, (name, values) in zip(axes.flat[1:], maps.items(), strict=False):
            drawn = axis.imshow(values, vmin=limits[0], vmax=limits[1], cmap="viridis")
            axis.set_title(f"{name}\n{values.min():.2f} to {values.max():.2f}", fontsize=9)
        figure.colorbar(drawn, ax=axes, label=label, location="bottom", shrink=0.5, aspect=40)
        figure.suptitle(heading, fontsize=12)
    return figure


def map_panels(
    images: Tensor,
    masks: np.ndarray | None,
    maps: Mapping[str, Tensor | np.ndarray],
    names: Sequence[str],
    heading: str,
    difference: tuple[str, str] | None = None,
) -> Figure:
    """A row for each image: the image with the outline of its mask, the mask, and each map over the grey image.

    images: uint8 (B, 3, H, W); masks: bool (B, H, W); maps: name -> (B, H, W) in [0, 1]; names: one per row.
    difference: two names of maps; the last column shows the first minus the second.
    """
    titles = [*(["image", "mask"] if masks is not None else ["image"]), *maps]
    titles += ["{}\nminus {}".format(*difference)] if difference else []
    maps = {name: np.asarray(values) for name, values in maps.items()}
    grey, first = rgb2gray(images.numpy(), channel_axis=1), len(titles) - len(maps) - bool(difference)
    with plt.rc_context(STYLE):
        size = (1.6 * len(titles) + 0.3, 1.6 * len(images) + 1.3 + 0.17 * max(title.count("\n") for title in titles))
        figure = plt.figure(figsize=size, layout="constrained")
        shape = (len(images), len(titles))
        grid = figure.add_gridspec(shape[0] + 1, shape[1], height_ratios=[*[1] * shape[0], 0.08])  # last: colour bars
        axes = np.array([figure.add_subplot(grid[cell]) for cell in np.ndindex(shape)]).reshape(shape)
        for row, name in enumerate(names):
            axes[row, 0].imshow(images[row].permute(1, 2, 0).numpy())
            axes[row, 0].set_ylabel(short_name(name, 32), fontsize=9)
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
        bar = figure.add_subplot(grid[-1, first : first + len(maps)])  # at the side, it would make the pictures smaller
        figure.colorbar(seen, cax=bar, orientation="horizontal", label="map (scaled to 0 to 1)")
        if difference:
            bar = figure.add_subplot(grid[-1, -1])
            figure.colorbar(changed, cax=bar, orientation="horizontal", label="difference", ticks=[-1, 0, 1])
        figure.suptitle(heading, fontsize=12)
    return figure


def localisation_chart(
    table: pd.DataFrame,
    baseline: pd.DataFrame,
    heading: str,
    label: str,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """One measure of every map (adnlib.explain.comparison.compare): a row per map, a marker per variant, and lines for
    the model-blind maps.

    table: map, variant, value, low, high; baseline: map, value; limits: of the axis, None for those of the values.
    """
    maps, variants = list(dict.fromkeys(table["map"]))[::-1], list(dict.fromkeys(table["variant"]))
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(8.5, 1.8 + 0.4 * len(maps)), layout="constrained")
        for index, (variant, marker) in enumerate(zip(variants, "osD^vP", strict=False)):
            rows = table[table["variant"] == variant]
            at = np.array([maps.index(name) for name in rows["map"]]) + 0.55 * (0.5 - index / max(1, len(variants) - 1))
            axis.hlines(at, rows["low"], rows["high"], color=PALETTE[index], linewidth=1.2)
            axis.plot(rows["value"], at, marker, color=PALETTE[index], markersize=4.5, label=variant)
        for row, style in zip(baseline.itertuples(), ("--", ":"), strict=False):
            axis.axvline(row.value, color="black", linestyle=style, linewidth=1, label=f"{row.map} (model-blind)")
        axis.set_yticks(range(len(maps)), maps)
        axis.set(title=heading, xlabel=label, xlim=limits)
        axis.grid(axis="x", alpha=0.3)
        figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    return figure


def localisation_matrix(table: pd.DataFrame, heading: str, label: str) -> Figure:
    """One measure of every map as a heat map for each variant, a column for each category, with marks for its verdict.

    table: variant, map, category, value, verdict (adnlib.explain.comparison.against_blind).
    """
    marks = {"better": " ▲", "worse": " ▼"}
    variants = list(dict.fromkeys(table["variant"]))
    table = table.assign(text=[f"{row.value:.2f}{marks.get(row.verdict, '')}" for row in table.itertuples()])
    with plt.rc_context(STYLE):
        rows = -(-len(variants) // 2)
        size = (8.5, 0.7 + rows * (0.8 + 0.25 * table["map"].nunique()))
        figure, axes = plt.subplots(rows, 2, figsize=size, layout="constrained", squeeze=False, sharey=True)
        for axis in axes.flat[len(variants) :]:
            axis.set_axis_off()
        for axis, variant in zip(axes.flat, variants, strict=False):
            wide = (
                table[table["variant"] == variant].set_index(["map", "category"])[["value", "text"]].unstack(sort=False)
            )
            sns.heatmap(
                wide["value"],
                annot=wide["text"],
                fmt="",
                cmap="PuOr_r",
                vmin=0,
                vmax=1,
                ax=axis,
                cbar=False,
                annot_kws={"fontsize": 8},
                linewidths=0.5,
            )
            ink_numbers(axis)
            axis.set(title=variant, xlabel="", ylabel="")
            names = [name.replace("_", "_\n") for name in wide["value"].columns]
            axis.set_xticklabels(names, rotation=0, fontsize=8)
            axis.set_yticklabels(wide.index, rotation=0, fontsize=8)
            axis.tick_params(left=False)
        bar = {"location": "bottom", "shrink": 0.5, "aspect": 40}
        figure.colorbar(axes[0, 0].collections[0], ax=axes, label=label, **bar)
        figure.suptitle(heading)
    return figure
