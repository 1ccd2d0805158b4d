"""Score histograms, ROC curves and learning curves."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from adnlib.plots.style import ANOMALOUS_COLOUR, LINE_STYLES, NORMAL_COLOUR, PALETTE, STYLE, short_name


def score_histogram(test: pd.DataFrame, threshold: float, heading: str) -> Figure:
    """A histogram of the scores of normal and anomalous test images, with the threshold (log axis)."""
    scores = np.log10(test["score"].clip(1e-6, 1e30))
    low, high = scores.min(), min(scores.max(), np.quantile(scores, 0.98) + 1)  # a flow's tail can be very long
    bins = np.linspace(low, high, 40)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7, 3.4))
        normal, anomalous = (scores[test["label"] == label].clip(upper=high) for label in (0, 1))
        axis.hist(normal, bins, color=NORMAL_COLOUR, alpha=0.6, label=f"normal ({len(normal)})")
        outline = {"histtype": "step", "color": ANOMALOUS_COLOUR, "linewidth": 2}  # no third colour where both overlap
        axis.hist(anomalous, bins, label=f"anomalous ({len(anomalous)})", **outline)
        axis.axvline(np.log10(threshold), color="black", linestyle="--", label="threshold")
        axis.set(title=heading, xlabel="log₁₀ anomaly score (mean of z²)", ylabel="test images (count)")
        axis.legend(frameon=False)
        figure.tight_layout()
    return figure


def roc_curves(tests: dict[str, pd.DataFrame], heading: str, point: tuple[float, float, str] | None = None) -> Figure:
    """A ROC curve for each named table of test scores, and a point (false-positive rate, recall, label)."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(4.8, 4.4))
        for index, (name, test) in enumerate(tests.items()):
            fpr, tpr, _ = roc_curve(
                test["label"], test["score"].rank()
            )  # ranks give the same curve and allow infinite scores
            style = {"color": PALETTE[index % 10], "linestyle": LINE_STYLES[index % 4]}
            axis.plot(fpr, tpr, label=short_name(name), **style)
        axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8, label="chance")
        if point:
            axis.plot(*point[:2], "ko", label=point[2])
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
    """Training and validation NLL by epoch, from name -> (history, selected epoch). A dot marks the selected epoch."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(9, 3.4))
        for index, (name, (history, chosen)) in enumerate(histories.items()):
            name, colour = short_name(name), PALETTE[index % 10]
            axis.plot(history["epoch"], history["train_nll"], "--", color=colour, label=f"{name}, training (mean)")
            axis.plot(history["epoch"], history["validation_nll"], color=colour, label=f"{name}, validation (median)")
            at = history[history["epoch"] == chosen]
            axis.plot(at["epoch"], at["validation_nll"], "o", color=colour)
        low = min(history["train_nll"].min() for history, _ in histories.values())
        axis.set_ylim(low - 0.2, max(low + 4, 0.5))  # the first epochs are far off the scale and not informative
        axis.set(title=heading, xlabel="epoch", ylabel="NLL (nats per dimension)")
        axis.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
        figure.tight_layout()
    return figure
