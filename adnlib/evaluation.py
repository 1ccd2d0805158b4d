"""Evaluation: scores of test images, AUROC with an interval, and a threshold from normal images only."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata

from adnlib.calibration import APPEARANCE, appearance
from adnlib.datasets import Dataset, Split
from adnlib.differnet import DifferNet, latent_score
from adnlib.engine.extraction import extract, features_of, read_images, transform_views
from adnlib.errors import AdnError
from adnlib.imagesets.reading import ANOMALOUS, NORMAL
from adnlib.intervals import LEVEL, alarm_rate, auroc_difference, auroc_interval
from adnlib.system.device import resident


@dataclass(frozen=True)
class Evaluation:
    """A model's results. `scores` has a row for each validation, calibration and test image: part, image, defect,
    label, score. `calibration` has the columns score, brightness, contrast and sharpness (adnlib.calibration) of the
    calibration images or, if there are none, of the validation images."""

    scores: pd.DataFrame
    auroc: float  # nan without test images
    interval: tuple[float, float]  # 95 %, over test images; does not cover other seeds
    threshold: float  # from the normal images in `calibration`, at false_positive_rate
    false_positive_rate: float
    seconds: float
    calibration: pd.DataFrame

    @property
    def test(self) -> pd.DataFrame:
        """The rows of the test images."""
        return self.scores[self.scores["part"] == "test"]


def auroc(normal: np.ndarray, anomalous: np.ndarray) -> np.ndarray | float:
    """AUROC from ranks: the probability that an anomalous image scores above a normal one, with ties counted as half.

    normal (..., N), anomalous (..., M) -> (...). Infinite scores are allowed. (Mann and Whitney, 1947.)
    """
    n, m = normal.shape[-1], anomalous.shape[-1]
    ranks = rankdata(np.concatenate([normal, anomalous], axis=-1), axis=-1)
    return (ranks[..., n:].sum(axis=-1) - m * (m + 1) / 2) / (n * m)


def paired_difference(a: pd.DataFrame, b: pd.DataFrame) -> tuple[float, float, float]:
    """AUROC of `a` minus AUROC of `b`, with its 95 % interval, from two models' scores of the same test images."""
    if list(a["image"]) != list(b["image"]):
        raise AdnError("The score tables are for different test images: compare runs of one data set and category.")
    label = a["label"].to_numpy()
    both = np.stack([a["score"], b["score"]])  # (2, N + M)
    return auroc_difference(both[:, label == NORMAL], both[:, label == ANOMALOUS])


def threshold_at(normal_scores: np.ndarray, false_positive_rate: float) -> float:
    """The score exceeded by at most this share of `normal_scores` (N,), from normal images not used in training."""
    return float(np.quantile(normal_scores, 1 - false_positive_rate, method="inverted_cdf"))


def threshold_in_words(
    normal_scores: np.ndarray, threshold: float, false_positive_rate: float, part: str = "validation"
) -> str:
    """One sentence on how many new normal images exceed a threshold set on `normal_scores` (N,), from `alarm_rate`."""
    rates = alarm_rate(int((normal_scores > threshold).sum()), len(normal_scores))
    expected, low, high = (f"{100 * rate:.1f} %" for rate in rates)
    return (
        f"Threshold {threshold:.3g} for a false-positive rate of {100 * false_positive_rate:.0f} %: with "
        f"{len(normal_scores)} {part} images, about {expected} of new normal images will exceed it "
        f"({100 * LEVEL:.0f} % interval: {low} to {high})."
    )


@torch.inference_mode()
def score(model: DifferNet, split: Split) -> np.ndarray:
    """Anomaly scores (N,) float64 of a split's images: `DifferNet.anomaly_score` with the preset's precision."""
    return _score(model, features_of(model, split, model.preset.views("test")))


@torch.inference_mode()
def _score(model: DifferNet, y: torch.Tensor) -> np.ndarray:
    """Features (N, V, 768) -> scores (N,)."""
    z, _ = transform_views(model, y)  # (N, V, 768)
    return latent_score(z).double().cpu().numpy()


def watch_test(dataset: Dataset, every: int = 1) -> Callable[[DifferNet, int], dict]:
    """A callback for `fit(watch=...)`: the AUROC on the test images after every `every` epochs and after the last one.

    08_results uses it to compare three protocols. Selecting an epoch by these values, as public code does, gives an
    optimistic AUROC. Use a new callback for each training run: it stores the features of a frozen network, or the
    decoded images if attention is being trained.
    """
    labels, stored = dataset.test.labels, []

    def watch(model: DifferNet, epoch: int) -> dict:
        if not len(labels) or epoch > 0 and epoch % every:
            return {}
        views, size = model.preset.views("test"), model.preset.image_size
        if model.trains_jointly:
            stored[:] = stored or [resident(read_images(dataset.test, size), model.device)]
            y = extract(model, stored[0], views)
        else:
            stored[:] = stored or [features_of(model, dataset.test, views)]
            y = stored[0]
        scores = _score(model, y)
        return {"test_auroc": float(auroc(scores[labels == NORMAL], scores[labels == ANOMALOUS]))}

    return watch


def evaluate(model: DifferNet, dataset: Dataset, *, false_positive_rate: float = 0.05) -> Evaluation:
    """Scores the validation, calibration and test images of `dataset`. Without test images, the AUROC is nan."""
    start = time.perf_counter()
    parts = []
    for name in ("validation", "calibration", "test"):
        if not (split := getattr(dataset, name)):
            continue
        rows = {
            "part": name,
            "image": [f"{sample.path.parent.name}/{sample.path.name}" for sample in split],
            "defect": [sample.defect for sample in split],
            "label": split.labels,
            "score": score(model, split),
        }
        parts.append(pd.DataFrame(rows))
    scores = pd.concat(parts, ignore_index=True)
    broken = scores[scores["score"].isna()]
    if len(broken):
        raise AdnError(
            f"{len(broken)} images have no finite score ({broken['image'].iloc[0]}, …): train again with a lower lr."
        )
    by_part = dict(tuple(scores.groupby("part")))
    part = "calibration" if dataset.calibration else "validation"
    held_out = by_part[part]["score"].to_numpy()
    threshold = threshold_at(held_out, false_positive_rate)
    if not np.isfinite(threshold):
        raise AdnError(f"The scores of normal {part} images are infinite: train again with a lower lr.")
    value, interval = np.nan, (np.nan, np.nan)
    if dataset.test:
        label, values = (by_part["test"][name].to_numpy() for name in ("label", "score"))
        normal, anomalous = values[label == NORMAL], values[label == ANOMALOUS]
        value, interval = float(auroc(normal, anomalous)), auroc_interval(normal, anomalous)
    images = read_images(getattr(dataset, part), model.preset.image_size)
    looks = pd.DataFrame(np.concatenate([appearance(x) for x in images.split(64)]), columns=list(APPEARANCE))
    return Evaluation(
        scores=scores,
        auroc=value,
        interval=interval,
        threshold=threshold,
        false_positive_rate=false_positive_rate,
        seconds=time.perf_counter() - start,
        calibration=looks.assign(score=held_out)[["score", *APPEARANCE]],
    )


def verdict(low: float, high: float) -> str:
    """The verdict on a difference from its interval: "better" if it is above zero, "worse" if it is below."""
    if np.isnan(low):
        return "not known: one seed has no interval"
    return "better" if low > 0 else "worse" if high < 0 else "no difference shown"


def difference_in_words(name: str, test: pd.DataFrame, baseline: str, baseline_test: pd.DataFrame) -> str:
    """One sentence on two models' scores of the same test images, from `paired_difference`."""
    difference, low, high = (100 * value for value in paired_difference(test, baseline_test))
    return (
        f"{name} against {baseline}: {difference:+.1f} AUROC points, 95 % interval over test images {low:+.1f} to "
        f"{high:+.1f}: {verdict(low, high)}, with one seed."
    )
