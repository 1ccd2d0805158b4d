"""Figures on calibration: what a threshold promises, and scores and p-values beside those of the calibration images."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from adnlib.calibration import images_needed, percent, rule_for
from adnlib.plots.style import ANOMALOUS_COLOUR, LINE_STYLES, NORMAL_COLOUR, PALETTE, STYLE

MOST_IMAGES = 3000  # calibration images, the end of the axis
TINY = 1e-30  # instead of a score of zero, for the logarithm


def promise(images: int, rates: Sequence[float], heading: str) -> Figure:
    """The expected rate of false alarms and its 95 % interval against the number of calibration images, for each wanted
    rate; a line marks `images`."""
    counts = np.unique(np.geomspace(10, max(MOST_IMAGES, 2 * images), 80).astype(int))
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(8, 3.4), layout="constrained")
        for rate, colour, style in zip(rates, PALETTE, LINE_STYLES, strict=False):
            rules = [rule_for(np.arange(n), rate) for n in counts if n >= images_needed(rate)]
            n = [rule.images for rule in rules]
            edges = {"color": colour, "linewidth": 0.8}  # two bands as areas would mix their colours
            axis.plot(n, [(rule.low, rule.high) for rule in rules], style, **edges)
            axis.plot(n, [rule.expected for rule in rules], style, color=colour, label=f"wanted: {percent(rate)}")
        axis.axvline(images, color="black", linestyle=":", label="your calibration images")
        axis.set(xscale="log", yscale="log", xlabel="calibration images", title=heading)
        axis.set_ylabel("false alarms\n(thin: 95 % interval)")
        axis.set_xticks([10, 100, 1000], ["10", "100", "1,000"])
        ticks = [0.001, 0.01, 0.1]
        axis.set_yticks(ticks, [percent(tick) for tick in ticks])
        axis.legend(frameon=False)
    return figure


def calibrated_scores(scores: np.ndarray, calibration: np.ndarray, threshold: float, heading: str) -> Figure:
    """Histograms of scores (N,) and of calibration scores (M,), with the threshold."""
    values, known = (np.log10(np.maximum(x, TINY)) for x in (scores, calibration))
    both = np.concatenate([values, known])
    bins = np.linspace(both.min(), both.max() + 1e-9, 50)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(8, 3), layout="constrained")
        axis.hist(known, bins, density=True, color=NORMAL_COLOUR, alpha=0.45, label="calibration images (normal)")
        axis.hist(values, bins, density=True, histtype="step", color="black", label="judged images")
        axis.axvline(np.log10(max(threshold, TINY)), color=ANOMALOUS_COLOUR, linestyle="--", label="threshold")
        axis.set(xlabel="log10 of the score", ylabel="density", title=heading)
        axis.legend(frameon=False)
    return figure


def p_value_histograms(p_values: dict[str, np.ndarray], heading: str) -> Figure:
    """One histogram of p-values (N,) for each batch of images; even heights mean no drift."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, len(p_values), figsize=(4 * len(p_values), 2.8), sharey=True, squeeze=False, layout="constrained"
        )
        for axis, (name, values) in zip(axes[0], p_values.items(), strict=True):
            axis.hist(values, np.linspace(0, 1, 11), color=NORMAL_COLOUR)
            axis.axhline(len(values) / 10, color="black", linestyle=":", label="no drift")
            axis.set(title=name, xlabel="p-value")
        axes[0, 0].set_ylabel("images")
        axes[0, -1].legend(frameon=False)
        figure.suptitle(heading)
    return figure
