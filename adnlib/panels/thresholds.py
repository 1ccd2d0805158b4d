"""Thresholds on a run's test images: the decisions at each, one after another, and in words."""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from adnlib.imagesets.reading import ANOMALOUS
from adnlib.intervals import alarm_rate


def confusion(label: np.ndarray, score: np.ndarray, threshold: float) -> dict[str, float]:
    """Counts and rates if every image with a score above the threshold is called anomalous; 0 / 0 is NaN.

    label, score: (N,).
    """
    called, anomalous = score > threshold, label == ANOMALOUS
    tp, fp = int((called & anomalous).sum()), int((called & ~anomalous).sum())
    fn, tn = int((~called & anomalous).sum()), int((~called & ~anomalous).sum())

    def share(part: int, whole: int) -> float:
        return part / whole if whole else float("nan")

    return {
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": tn,
        "precision": share(tp, tp + fp),
        "recall": share(tp, tp + fn),
        "false-positive rate": share(fp, fp + tn),
    }


def cuts(score: np.ndarray) -> np.ndarray:
    """Scores (N,) -> thresholds (U + 1,), one for each way to divide the images; U is the number of different scores.

    Each is between two neighbouring scores, with four digits if that many tell the scores apart. The first calls all
    images anomalous, the last none.
    """
    levels = np.unique(score)
    pairs = zip(np.r_[0.9 * levels[0], levels[:-1]], levels, strict=True)
    found = [_between(low, high) for low, high in pairs] + [levels[-1]]
    return np.nan_to_num(found)  # infinite scores are above the largest number


def _between(low: float, high: float) -> float:
    """A threshold t with low <= t < high, with as few digits as possible, but four at least."""
    middle = math.sqrt(low) * math.sqrt(high)
    found = (float(f"{middle:.{digits}g}") for digits in range(4, 18))
    return next((t for t in found if low <= t < high), low)


def cut_at(score: np.ndarray, threshold: float) -> int:
    """The index of the cut in `cuts` that decides as the threshold does."""
    return int(np.searchsorted(np.unique(score), threshold, side="right"))


def rates_by_cut(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The false-positive rate and the recall (U + 1,) of each of the `cuts`; NaN without images of that kind."""
    levels, which = np.unique(score, return_inverse=True)
    rates = []
    for kind in (label != ANOMALOUS, label == ANOMALOUS):
        counts = np.bincount(which[kind], minlength=len(levels))
        above = np.r_[counts[::-1].cumsum()[::-1], 0]
        rates.append(above / kind.sum() if kind.any() else np.full(len(above), np.nan))
    return rates[0], rates[1]


def nearest_cut(label: np.ndarray, score: np.ndarray, false_alarms: float, recall: float) -> int:
    """The cut whose point on the ROC curve is nearest to a point."""
    found, wanted = rates_by_cut(label, score), (false_alarms, recall)
    return int(np.nan_to_num(sum((rate - at) ** 2 for rate, at in zip(found, wanted, strict=True))).argmin())


Rate = TypeVar("Rate", float, np.ndarray)


@dataclass(frozen=True)
class Costs:
    """What mistakes cost: euros for a missed anomalous part, euros for a false alarm, anomalous parts per 1000."""

    miss: float
    alarm: float
    defects: float

    def per_1000(self, false_alarms: Rate, recall: Rate) -> Rate:
        """The expected euros per 1000 parts at a false-positive rate and a recall.

        defects (1 - recall) miss + (1000 - defects) false-positive rate alarm
        """
        return self.defects * (1 - recall) * self.miss + (1000 - self.defects) * false_alarms * self.alarm


def cheapest_cut(label: np.ndarray, score: np.ndarray, costs: Costs) -> int:
    """The index of the cheapest of the `cuts`; of several, the highest threshold."""
    euros = costs.per_1000(*rates_by_cut(label, score))
    return int(np.flatnonzero(euros <= euros.min() + 1e-9)[-1])


def price_of_miss(label: np.ndarray, score: np.ndarray, one: float, costs: Costs) -> float:
    """The euros for a miss above which the cheapest cut detects an anomalous image with the score `one`.

    With c and c' for a cut that detects it and one that does not, the first is cheaper above
    (alarms_c - alarms_c') / (misses_c' - misses_c), where both are per 1000 parts, alarms in euros. Infinite if no
    part is anomalous.
    """
    false_alarms, recall = rates_by_cut(label, score)
    alarms = (1000 - costs.defects) * false_alarms * costs.alarm
    misses = costs.defects * (1 - recall)
    last = cut_at(score, np.nextafter(one, -np.inf))  # the highest cut that detects it
    if not costs.defects:
        return math.inf
    more_alarms = alarms[: last + 1, None] - alarms[last + 1 :]  # (detecting, others)
    fewer_misses = misses[last + 1 :] - misses[: last + 1, None]
    return float((more_alarms / fewer_misses).max(axis=1).min())


def short(threshold: float, *scores: np.ndarray) -> float:
    """A threshold that divides the scores alike, with as few digits as possible, but four at least."""
    near = np.concatenate(scores)
    low, high = near[near <= threshold].max(initial=0.0), near[near > threshold].min(initial=math.inf)
    found = (float(f"{threshold:.{digits}g}") for digits in range(4, 18))
    return next(value for value in found if low <= value < high)


def promised(calibration: np.ndarray, threshold: float) -> tuple[float, float, float]:
    """The share of new normal images above a threshold, from calibration scores (N,): its expected value and its 95 %
    interval (adnlib.intervals.alarm_rate). Above all of them, no higher threshold promises less; below all, all."""
    above = int((calibration > threshold).sum())
    return alarm_rate(min(above, len(calibration) - 1), len(calibration))


def spoken(label: np.ndarray, score: np.ndarray, threshold: float) -> str:
    """The decisions at a threshold as a person would say them."""
    c = confusion(label, score, threshold)
    return (
        f"{c['fp']} of {c['fp'] + c['tn']} normal images are false alarms{_share(c['false-positive rate'])}, "
        f"{c['tp']} of {c['tp'] + c['fn']} anomalous images are found{_share(c['recall'])}"
    )


def _share(rate: float) -> str:
    return "" if math.isnan(rate) else f" ({100 * rate:.3g} %)"


def plain(number: float) -> str:
    """A positive number with three digits, without an exponent from 0.0001 to a million: 12,300 or 4.56."""
    if not 1e-4 <= number < 1e6:
        return f"{number:.3g}"
    digits = 2 - math.floor(math.log10(number))
    return f"{round(number, digits):,.{max(digits, 0)}f}"
