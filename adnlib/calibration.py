"""Calibration: what held-out normal images promise about new ones: p-values, a rule with a false-alarm rate, drift.

The calibration images are normal and were used neither for training nor for selecting the epoch. If new normal images
are exchangeable with them (the same parts, camera and light), every statement here holds for any model and any
distribution of the scores: V. Vovk, A. Gammerman, G. Shafer, "Algorithmic Learning in a Random World", 2005, ch. 2
(inductive conformal prediction); S. Bates et al., "Testing for Outliers with Conformal p-values", Annals of Statistics
51, 2023, https://arxiv.org/abs/2104.08279.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.stats import betabinom, mannwhitneyu
from torch import Tensor

from adnlib.errors import AdnError
from adnlib.intervals import LEVEL, alarm_rate

RATE = 0.01  # default false-alarm rate
APPEARANCE = ("brightness", "contrast", "sharpness")
SIGNIFICANT = 0.05  # drift is reported if it would be found in at most this share of batches without drift
FEWEST = 10  # images that can be tested for drift


@dataclass(frozen=True)
class Rule:
    """A verdict with a promise: an image is anomalous if its score exceeds `threshold`.

    rate: the wanted share of false alarms. expected, low, high: the share among new normal images, its expected value
    and its 95 % interval over draws of the calibration images. images: the number of calibration images, of which the
    k-th largest score is the threshold.
    """

    rate: float
    threshold: float
    expected: float
    low: float
    high: float
    images: int
    k: int

    @property
    def promised(self) -> bool:
        """Whether there are enough calibration images for the wanted rate."""
        return self.images >= images_needed(self.rate)

    def alarms(self, count: int) -> tuple[int, int]:
        """The 95 % interval for the number of alarms among `count` new normal images: beta-binomial, from the same
        exchangeability."""
        low, high = betabinom(count, self.k, self.images + 1 - self.k).ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return int(low), int(high)

    def __str__(self) -> str:
        outcome = (
            f"about {percent(self.expected)} of new normal images will exceed it "
            f"({100 * LEVEL:.0f} % interval: {percent(self.low)} to {percent(self.high)})"
        )
        start = f"Threshold {self.threshold:.4g}: with {self.images} calibration images, {outcome}."
        if self.promised:
            return start
        return (
            f"{start} This is the strictest threshold that they allow: a rate of {percent(self.rate)} needs "
            f"{images_needed(self.rate)} calibration images."
        )


def percent(share: float) -> str:
    """0.0123 -> "1.2 %", 0.0004 -> "0.04 %"."""
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def p_values(scores: np.ndarray, calibration: np.ndarray) -> np.ndarray:
    """Scores (...) and calibration scores (N,) -> p-values (...) from 1 / (N + 1) to 1.

        p = (1 + number of calibration scores >= score) / (N + 1)

    A new normal image has a p-value of at most t with a probability of at most t.
    """
    ordered = np.sort(calibration)
    at_least = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return (1 + at_least) / (len(ordered) + 1)


def rule_for(calibration: np.ndarray, rate: float = RATE) -> Rule:
    """The rule "p <= rate" as a threshold on scores, from calibration scores (N,).

    With k = floor(rate (N + 1)), it is the k-th largest calibration score. If k is 0, the largest score is used; the
    rule then says that the rate is not promised.
    """
    if not 0 < rate < 1:
        raise AdnError(f"rate={rate} is out of range: choose a share of false alarms between 0 and 1, such as 0.01.")
    n = len(calibration)
    if not n:
        raise AdnError("There are no calibration images: hold out some normal images.")
    k = min(max(1, math.floor(rate * (n + 1) + 1e-9)), n)
    return Rule(rate, float(np.sort(calibration)[-k]), *alarm_rate(k - 1, n), n, k)


def images_needed(rate: float) -> int:
    """The number of calibration images that a rate of false alarms needs: 1 / rate - 1, rounded up."""
    return math.ceil(1 / rate - 1e-9) - 1


def appearance(images: Tensor) -> np.ndarray:
    """uint8 (B, 3, S, S) -> (B, 3): brightness (mean), contrast (standard deviation) and sharpness (mean absolute
    difference of neighbouring pixels) of the grey image, from 0 to 255."""
    grey = images.to(torch.float32).mean(dim=1)  # (B, S, S)
    steps = [grey.diff(dim=dim).abs().mean(dim=(1, 2)) for dim in (1, 2)]
    columns = [grey.mean(dim=(1, 2)), grey.std(dim=(1, 2)), sum(steps) / 2]
    return torch.stack(columns, dim=1).double().numpy()


def drift(new: pd.DataFrame, calibration: pd.DataFrame) -> list[str]:
    """Sentences on how a batch of new images differs from the calibration images; empty if nothing is found.

    Both tables have a row per image and the columns score, brightness, contrast and sharpness (or only score). Each
    column is compared by the rank test of Mann and Whitney (1947), which holds for any distribution if the images are
    exchangeable; the p-values are multiplied by the number of columns (Bonferroni). Among batches without drift, at
    most 5 % are reported. A batch with many anomalous images differs in its scores, too.
    """
    columns = [name for name in ("score", *APPEARANCE) if name in calibration and name in new]
    if len(new) < FEWEST or len(calibration) < FEWEST:
        return []
    found = []
    for name in columns:
        a, b = new[name].to_numpy(float), calibration[name].to_numpy(float)
        p = min(1.0, len(columns) * float(mannwhitneyu(a, b).pvalue))
        if p <= SIGNIFICANT:
            found.append(
                f"The {name} of the {len(new)} images differs from that of the calibration images: median "
                f"{np.median(a):.3g} instead of {np.median(b):.3g} (p = {p:.1g})."
            )
    return found
