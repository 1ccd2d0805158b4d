"""Measures of how well maps localise known defects and parts, with intervals.

Maps are float (N, H, W), larger where there is more evidence; masks are bool (N, H, W), empty for normal images. A flat
map is at chance level: one half, or the mask's share of the image.
"""

import numpy as np
import pandas as pd
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from adnlib.errors import AdnError

LIMIT = 0.3  # largest false-positive rate of AUPRO
RESAMPLES = 1000  # bootstrap resamples
LEVEL = 0.95  # confidence level of every interval
BINS = 400  # thresholds of the resampled curves
MEASURES = {
    "pixel_auroc": "AUROC of all pixels",
    "aupro": "AUPRO (30 %)",
    "auroc_within": "AUROC within an image",
    "pointing_game": "pointing game",
    "energy_inside": "energy on the defect",
    "energy_on_object": "energy on the part",
}


def pixel_auroc(maps: np.ndarray, masks: np.ndarray) -> float:
    """AUROC of the pixels of all images together, as usually reported.

    If the values of a map vary more between images than within them, this rewards finding the image and not the
    position: see `auroc_within`.
    """
    return float(roc_auc_score(masks.ravel(), maps.ravel()))


def aupro(maps: np.ndarray, masks: np.ndarray, limit: float = LIMIT) -> float:
    """Area under the per-region overlap curve, up to a false-positive rate of `limit`, divided by `limit`.

    Bergmann et al., "MVTec AD", IJCV 129 (2021), https://doi.org/10.1007/s11263-020-01400-4. The overlap at a threshold
    is the share of each connected defect that is found, averaged over defects, so a small defect counts as much as a
    large one. Pixels that touch at a corner are connected.
    """
    shares, regions = _regions(masks)
    order = np.argsort(-maps, axis=None, kind="stable")
    values = maps.ravel()[order]
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))  # a threshold never separates equal values
    fpr = np.cumsum(~masks.ravel()[order])[ends] / (~masks).sum()
    overlap = np.cumsum(shares.ravel()[order])[ends] / regions.sum()
    return _area(fpr, overlap, limit)


def auroc_within(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """AUROC of the pixels of each image separately: (N,), nan where there is no defect."""
    pairs = zip(maps, masks, strict=True)
    return np.array([pixel_auroc(m, k) if 0 < k.mean() < 1 else np.nan for m, k in pairs])


def pointing_game(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Whether each map's largest value lies on the defect, 1 or 0: (N,), nan where there is no defect.

    Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016, https://arxiv.org/abs/1608.00507.
    Deviations: the mask has no tolerance margin; tied maxima share the point.
    """
    return np.array([k[m == m.max()].mean() if k.any() else np.nan for m, k in zip(maps, masks, strict=True)])


def energy_inside(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The share of each map's sum that lies inside the mask: (N,), nan where the mask is empty.

    Wang et al., "Score-CAM", CVPR workshops 2020, https://arxiv.org/abs/1910.01279, the energy-based pointing game.
    """
    totals, inside = maps.sum(axis=(1, 2), dtype=float), (maps * masks).sum(axis=(1, 2), dtype=float)
    shares = np.divide(inside, totals, out=masks.mean(axis=(1, 2)), where=totals > 0)
    return np.where(masks.any(axis=(1, 2)), shares, np.nan)


def measure(maps: np.ndarray, masks: np.ndarray, objects: np.ndarray | None = None, seed: int = 0) -> pd.DataFrame:
    """All measures of the maps: row 0 for the given images, RESAMPLES more rows for images resampled from them.

    Anomalous and normal images are resampled separately. The same images and seed give the same resamples, so two
    tables can be subtracted and the tables of several seeds averaged; `interval` summarises the result. The curves of
    resampled images use BINS thresholds and are corrected by the binning error on the given images. objects: masks of
    the part in each image, for "energy_on_object".
    """
    if maps.shape != masks.shape:
        raise AdnError(f"Maps {maps.shape} and masks {masks.shape} differ in shape: resize one of them.")
    if not masks.any():
        raise AdnError("No image has a defect in its mask, so there is nothing to find: pass images with masks.")
    weights = _drawn(np.asarray(masks.any(axis=(1, 2))), seed)  # (1 + R, N)
    table = _curves(maps, masks, weights)
    for function in (pixel_auroc, aupro):  # exact in row 0; the small binning error is subtracted from all rows
        table[function.__name__] += function(maps, masks) - table[function.__name__][0]
    for name, function in (("auroc_within", auroc_within), ("pointing_game", pointing_game)):
        table[name] = _means(function(maps, masks), weights)
    table["energy_inside"] = _means(energy_inside(maps, masks), weights)
    if objects is not None:
        table["energy_on_object"] = _means(energy_inside(maps, objects), weights)
    return pd.DataFrame(table)


def interval(table: pd.DataFrame) -> pd.DataFrame:
    """For each measure in a table of `measure` (or a difference of two): its value and 95 % percentile interval."""
    low, high = table.iloc[1:].quantile((1 - LEVEL) / 2), table.iloc[1:].quantile((1 + LEVEL) / 2)
    return pd.DataFrame({"value": table.iloc[0], "low": low, "high": high})


def _regions(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel's share of its connected defect, (N, H, W), and the number of defects in each image, (N,)."""
    shares, counts = np.zeros(masks.shape), np.zeros(len(masks), int)
    for index, mask in enumerate(masks):
        labels, counts[index] = ndimage.label(mask, np.ones((3, 3)))
        shares[index][mask] = 1 / np.bincount(labels.ravel())[labels[mask]]
    return shares, counts


def _drawn(anomalous: np.ndarray, seed: int) -> np.ndarray:
    """How often each resample contains each image, (1 + RESAMPLES, N); row 0 contains each image once."""
    rng, n = np.random.default_rng(seed), len(anomalous)
    weights = np.ones((1 + RESAMPLES, n))
    for group in (np.flatnonzero(anomalous), np.flatnonzero(~anomalous)):
        for row in weights[1:]:
            row[group] = (
                np.bincount(rng.integers(len(group), size=len(group)), minlength=len(group)) if len(group) else 0
            )
    return weights


def _means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of the values (N,) that are not nan, for each row of weights (R, N): (R,)."""
    known = ~np.isnan(values)
    return weights[:, known] @ values[known] / weights[:, known].sum(axis=1)


def _curves(maps: np.ndarray, masks: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Pixel AUROC and AUPRO for each row of weights (R, N), from one histogram of pixel values per image."""
    edges = np.unique(np.quantile(maps[:, ::4, ::4], np.linspace(0, 1, BINS + 1)))[1:-1]
    shares, regions = _regions(masks)
    bins = np.searchsorted(edges, maps, side="right")

    def histograms(pixel_weights):  # (N, bins), from the largest values to the smallest
        pairs = zip(bins, pixel_weights, strict=True)
        return np.stack([np.bincount(b.ravel(), w.ravel(), len(edges) + 1)[::-1] for b, w in pairs])

    def curve(counts):
        summed = np.cumsum(weights @ counts, axis=1)
        return summed / summed[:, -1:]

    fpr, tpr, overlap = curve(histograms(~masks)), curve(histograms(masks)), curve(histograms(shares))
    return {
        "pixel_auroc": np.array([_area(*row, 1.0) for row in zip(fpr, tpr, strict=True)]),
        "aupro": np.array([_area(*row, LIMIT) for row in zip(fpr, overlap, strict=True)]),
    }


def _area(x: np.ndarray, y: np.ndarray, limit: float) -> float:
    """The area under the curve from (0, 0) through x, y (K,) up to x = limit, divided by limit."""
    x, y = np.concatenate([[0], x]), np.concatenate([[0], y])
    inside = x <= limit
    x, y = np.append(x[inside], limit), np.append(y[inside], np.interp(limit, x, y))
    return float(np.trapezoid(y, x) / limit)
