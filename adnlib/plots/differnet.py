"""Figures of the lessons on DifferNet and AttentDifferNet: the way from an image to a score, and what changes it."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from adnlib.features import SCALES
from adnlib.plots.style import LINE_STYLES, NORMAL_COLOUR, PALETTE, STYLE


def pipeline(views: Tensor, y: Tensor, z: Tensor, heading: str, step: float = 2.0) -> Figure:
    """From an image to its score: a row for each view, with the view at three scales, its features and its latents.

    views: uint8 (V, 3, H, W); y: (V, D) the features, those of one scale after the other; z: (V, D). The title of each
    plot of z is the mean of z^2; the mean of these over all views is the score. step: how many times smaller each scale
    is than the one before.
    """
    count, part = len(views), y.shape[1] // SCALES
    sizes = [int(views.shape[-1] / step**scale + 1e-6) for scale in range(SCALES)]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            count,
            5,
            figsize=(10.5, 1.35 * count + 0.9),
            squeeze=False,
            layout="constrained",
            gridspec_kw={"width_ratios": (*(2.2 / step**scale for scale in range(SCALES)), 5.5, 5.5)},
        )
        for row, view in zip(axes, views, strict=True):
            for scale, axis in enumerate(row[:3]):
                axis.imshow(F.interpolate(view[None], size=sizes[scale])[0].permute(1, 2, 0).numpy())  # nearest pixels
                axis.set(xticks=[], yticks=[])
        for row, features, latents in zip(axes, y, z, strict=True):
            for scale, colour in enumerate(PALETTE[:SCALES]):
                at = np.arange(scale * part, (scale + 1) * part)
                row[3].plot(at, features[at].numpy(), color=colour, linewidth=0.6)
            row[4].plot(latents.numpy(), color="black", linewidth=0.6)
            row[4].set_title(f"mean z² = {latents.square().mean():.3g}", fontsize=9, loc="right")
        limits = (y.numpy(), z.numpy())
        for column, values in zip((3, 4), limits, strict=True):
            for axis in axes[:, column]:
                axis.set(ylim=(values.min(), values.max()), xticks=[0, y.shape[1]])
        titles = [*(f"{size} px" for size in sizes), "features y", "latent z"]
        for axis, title in zip(axes[0], titles, strict=True):
            axis.set_title(title, fontsize=9, loc="left")
        for axis in axes[-1, 3:]:
            axis.set_xlabel("dimension (index)", fontsize=9)
        for number, row in enumerate(axes, 1):
            row[0].set_ylabel(f"view {number}", fontsize=9)
        figure.suptitle(heading, fontsize=12)
    return figure


def view_counts(
    aurocs: Sequence[float], bands: Sequence[tuple[float, float]], moves: Sequence[float], trained: int
) -> Figure:
    """The AUROC with 1, 2, … views and its intervals, and how much each further view changes the ranks (percent). A
    line separates the `trained` views from those that were not used in training."""
    counts = range(1, len(aurocs) + 1)
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained")
        left.plot(counts, aurocs, "o-", label="AUROC")
        left.fill_between(counts, *zip(*bands, strict=True), alpha=0.2, label="95 % interval")
        left.set(title="AUROC by number of views", ylabel="AUROC (0.5: chance, 1: perfect)")
        right.bar(counts[1:], moves, hatch="//", edgecolor="white")
        right.set(title="Effect of one more view", ylabel="mean change of rank (% of images)")
        for axis in (left, right):
            axis.set(xlabel="views per image (count)", xlim=(0.5, len(aurocs) + 0.5), xticks=counts)
            axis.axvline(trained + 0.5, color="black", linestyle="--", label="end of trained views")
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def collapse(histories: dict[str, pd.DataFrame], heading: str) -> Figure:
    """NLL, spread of the features (share of its initial value) and AUROC by epoch, for each named history.

    histories: tables with epoch, NLL, spread, AUROC. Dotted: the NLL without what shrinking features gain,
    NLL(a y) = NLL(y) + log a.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.6), layout="constrained")
        for index, (name, h) in enumerate(histories.items()):
            style = {"color": PALETTE[index], "marker": "os^D"[index], "markersize": 5}
            share = h["spread"] / h["spread"][0]
            for axis, values in zip(axes, (h["NLL"], share, h["AUROC"]), strict=True):
                axis.plot(h["epoch"], values, linestyle=LINE_STYLES[0], label=name, **style)
            if share.iloc[-1] < 0.99:
                axes[0].plot(h["epoch"], h["NLL"] - np.log(share), ":", color=PALETTE[index])
        axes[0].plot([], [], ":", color="black", label="without shrinkage")
        axes[0].set(title="Loss", ylabel="NLL (nats per dimension)")
        axes[1].set(title="Spread of the features", ylabel="share of the initial spread", ylim=(0, None))
        axes[2].set(title="Monitored images", ylabel="AUROC", ylim=(0, 1.05))
        for axis in axes:
            axis.set(xlabel="epoch")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
        figure.suptitle(heading)
    return figure


def gated_features(plain: Tensor, gated: Tensor, heading: str) -> Figure:
    """Standardised features with gates against those without; points on the diagonal have not changed."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(5, 4.2), layout="constrained")
        axis.plot(plain.flatten(), gated.flatten(), ".", color=NORMAL_COLOUR, alpha=0.5)
        axis.axline((0, 0), slope=1, color="black", linestyle="--", label="no change")
        axis.set(title=heading, xlim=(-1, 10), ylim=(-1, 10))
        axis.set(xlabel="feature without gates (standard deviations)")
        axis.set(ylabel="feature with gates (standard deviations)")
        axis.legend(frameon=False)
    return figure
