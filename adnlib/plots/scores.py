"""Figures of scores: pairs under the ROC curve, contours of distances, the effect of a threshold."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from adnlib.plots.charts import draw_histograms
from adnlib.plots.style import ANOMALOUS_COLOUR, NORMAL_COLOUR, PALETTE, STYLE, ink


def roc_staircase(normal: np.ndarray, anomalous: np.ndarray) -> Figure:
    """All pairs of two short lists of scores: the pairs that the anomalous image wins lie under the ROC curve."""
    n, m = len(normal), len(anomalous)
    pairs = (anomalous[:, None] > normal) + 0.5 * (anomalous[:, None] == normal)  # (M, N)
    fpr, tpr, _ = roc_curve([0] * n + [1] * m, np.r_[normal, anomalous], drop_intermediate=False)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
        drawn = axis.imshow(pairs[::-1, ::-1], cmap="cividis", origin="lower", extent=(0, n, 0, m))
        for j, i in np.ndindex(pairs.shape):
            text = f"{anomalous[j]:g} vs {normal[i]:g}\n{pairs[j, i]:g}"
            aside = 0.22 * (pairs[j, i] == 0.5)  # the curve crosses such a pair
            look = {"color": ink(drawn.to_rgba(pairs[j, i])), "fontsize": 8, "ha": "center", "va": "center"}
            axis.text(n - 0.5 - i + aside, m - 0.5 - j - aside, text, **look)
        axis.plot(n * fpr, m * tpr, color=PALETTE[3], linewidth=3, label="ROC curve", clip_on=False)
        axis.set(title="Pairs won (yellow) lie under the ROC curve", xticks=range(n + 1), yticks=range(m + 1))
        axis.set(xlabel="normal images above the threshold (count)")
        axis.set_ylabel("anomalous images above\nthe threshold (count)")
        axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def distance_contours(distances: Mapping[str, np.ndarray], ticks: np.ndarray, normal: np.ndarray, test) -> Figure:
    """Contour lines of distances (T, T) over the plane of two features, with normal points and two test points."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(distances), figsize=(9.5, 4), sharey=True, layout="constrained")
        for axis, (name, d) in zip(axes, distances.items(), strict=True):
            axis.clabel(axis.contour(ticks, ticks, d, levels=range(1, 7), colors="0.4", linewidths=1), fontsize=9)
            axis.plot(*normal.T, "o", color=NORMAL_COLOUR, label="normal")
            axis.plot(*test[0], "s", color="black", label="test, along the cloud", markersize=8)
            axis.plot(*test[1], "^", color=ANOMALOUS_COLOUR, label="test, across it", markersize=9)
            axis.set(title=f"{name} distance d", xlabel="feature 1 (no unit)", aspect="equal")
        axes[0].set_ylabel("feature 2 (no unit)")
        axes[-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def threshold_effect(groups: Mapping[str, np.ndarray], threshold: float, xlabel: str) -> Figure:
    """What a threshold does to two groups, normal and anomalous: histograms, the ROC curve, the confusion matrix."""
    normal, anomalous = groups.values()
    sizes = np.array([[len(normal)], [len(anomalous)]])
    above = np.array([[int((normal > threshold).sum())], [int((anomalous > threshold).sum())]])
    table = np.hstack([sizes - above, above])  # rows: true labels
    share = table / sizes
    every = np.concatenate([normal, anomalous])
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(9.5, 3.7), layout="constrained")
        draw_histograms(axes[0], groups, np.linspace(every.min(), every.max(), 40), {"threshold": threshold})
        axes[0].set(title="Test images", xlabel=xlabel)
        fpr, tpr, _ = roc_curve([0] * len(normal) + [1] * len(anomalous), every)
        axes[1].plot(fpr, tpr, color="grey")
        axes[1].plot(share[0, 1], share[1, 1], "o", color="black", markersize=9)
        axes[1].set(title="ROC curve", xlabel="false-positive rate (share of normal)", aspect="equal")
        axes[1].set_ylabel("recall (share of anomalous)")
        drawn = axes[2].imshow(share, cmap="cividis", vmin=0, vmax=1)
        for i, j in np.ndindex(2, 2):
            look = {"color": ink(drawn.to_rgba(share[i, j])), "ha": "center", "va": "center"}
            axes[2].text(j, i, f"{table[i, j]}\n({share[i, j]:.0%})", **look)
        axes[2].set(title="Confusion matrix", xlabel="predicted (count, share of row)", ylabel="true")
        axes[2].set(xticks=[0, 1], xticklabels=list(groups), yticks=[0, 1])
        axes[2].set_yticklabels(list(groups), rotation=90, va="center")
        figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=3)
    return figure
