"""How well maps find what is known to be there, in numbers with intervals.

Maps are float (N, H, W), larger where there is more evidence; masks are bool (N, H, W), empty for normal images.
A flat map gets what chance would: one half, or the mask's share of the image.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import ndimage
from skimage.color import rgb2gray
from skimage.filters import sobel
from sklearn.metrics import roc_auc_score
from torch import Tensor

from adnlib.differnet import DifferNet
from adnlib.errors import AdnError
from adnlib.explain import all_cams, deviation_map, grad_cam, gradient_map, stretched
from adnlib.files import ROOT
from adnlib.images import Sample
from adnlib.plots import map_panels
from adnlib.runs import Run
from adnlib.views import View

LIMIT = 0.3  # of the false-positive rate, in AUPRO
RESAMPLES = 1000  # of the bootstrap
LEVEL = 0.95  # of every interval
GAUSSIAN, PLAIN = "centred Gaussian", "DifferNet"
BINS = 400  # of the curves that are redrawn
MEASURES = {
    "pixel_auroc": "AUROC of all pixels",
    "aupro": "AUPRO (30 %)",
    "auroc_within": "AUROC inside an image",
    "pointing_game": "pointing game",
    "energy_inside": "energy on the defect",
    "energy_on_object": "energy on the part",
}


def pixel_auroc(maps: np.ndarray, masks: np.ndarray) -> float:
    """AUROC of the pixels of all images together, as the field reports it. A map whose values differ between images
    more than inside them is paid for finding the image, not the place: see `auroc_within`."""
    return float(roc_auc_score(masks.ravel(), maps.ravel()))


def aupro(maps: np.ndarray, masks: np.ndarray, limit: float = LIMIT) -> float:
    """Area under the per-region overlap, up to a false-positive rate of `limit`, divided by it.

    Bergmann et al., "MVTec AD", IJCV 129 (2021), https://doi.org/10.1007/s11263-020-01400-4: at each threshold the
    share of each connected defect that is found, averaged over defects; so a small one counts as much as a large one.
    Pixels that touch at a corner are connected.
    """
    shares, regions = _regions(masks)
    order = np.argsort(-maps, axis=None, kind="stable")
    values = maps.ravel()[order]
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))  # a threshold falls behind equal values
    fpr = np.cumsum(~masks.ravel()[order])[ends] / (~masks).sum()
    overlap = np.cumsum(shares.ravel()[order])[ends] / regions.sum()
    return _area(fpr, overlap, limit)


def auroc_within(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """AUROC of the pixels of each image by itself: (N,), nan where there is no defect."""
    pairs = zip(maps, masks, strict=True)
    return np.array([pixel_auroc(m, k) if 0 < k.mean() < 1 else np.nan for m, k in pairs])


def pointing_game(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Whether the map's largest value lies on the defect, 1 or 0: (N,), nan where there is no defect.

    Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016, https://arxiv.org/abs/1608.00507.
    Deviations: no tolerance around the mask; equal largest values share the point.
    """
    return np.array([k[m == m.max()].mean() if k.any() else np.nan for m, k in zip(maps, masks, strict=True)])


def energy_inside(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The share of each map's sum that lies in the mask: (N,), nan where the mask is empty.

    Wang et al., "Score-CAM", CVPR workshops 2020, https://arxiv.org/abs/1910.01279, the energy-based pointing game.
    """
    totals, inside = maps.sum(axis=(1, 2), dtype=float), (maps * masks).sum(axis=(1, 2), dtype=float)
    shares = np.divide(inside, totals, out=masks.mean(axis=(1, 2)), where=totals > 0)
    return np.where(masks.any(axis=(1, 2)), shares, np.nan)


def measure(maps: np.ndarray, masks: np.ndarray, objects: np.ndarray | None = None, seed: int = 0) -> pd.DataFrame:
    """All measures of the maps: row 0 on the images given, RESAMPLES more rows on images drawn anew from them.

    Anomalous and normal images are drawn apart. The same images and seed draw the same, so two tables may be
    subtracted, and the tables of several seeds averaged; `interval` reads such a table. The curves of the redrawn
    images are taken at BINS thresholds, and shifted by what that misses on the images given. objects: masks of the part
    in each image, for "energy_on_object".
    """
    if maps.shape != masks.shape:
        raise AdnError(f"Maps {maps.shape} and masks {masks.shape} differ in shape: draw both at one size.")
    if not masks.any():
        raise AdnError("No image has a defect in its mask: there is nothing to find, name images with masks.")
    weights = _drawn(masks.any(axis=(1, 2)), seed)  # (1 + R, N)
    table = _curves(maps, masks, weights)
    for function in (pixel_auroc, aupro):  # exact for the images given; the binned curves' small error is taken off all
        table[function.__name__] += function(maps, masks) - table[function.__name__][0]
    for name, function in (("auroc_within", auroc_within), ("pointing_game", pointing_game)):
        table[name] = _means(function(maps, masks), weights)
    table["energy_inside"] = _means(energy_inside(maps, masks), weights)
    if objects is not None:
        table["energy_on_object"] = _means(energy_inside(maps, objects), weights)
    return pd.DataFrame(table)


def interval(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each measure of a table (or a difference) of `measure`: value and its 95 % percentile interval."""
    low, high = table.iloc[1:].quantile((1 - LEVEL) / 2), table.iloc[1:].quantile((1 + LEVEL) / 2)
    return pd.DataFrame({"value": table.iloc[0], "low": low, "high": high})


def centred_gaussian(count: int, size: int) -> np.ndarray:
    """The first baseline, blind to the image: a hill in its middle, as photographers put things there, (N, S, S)."""
    line = np.exp(-0.5 * ((np.arange(size) + 0.5) / size - 0.5) ** 2 / 0.25**2)
    return np.repeat(np.outer(line, line)[None], count, axis=0).astype(np.float32)


def edge_map(images: np.ndarray, smoothing: float = 3.0) -> np.ndarray:
    """The second baseline, blind to what is normal: smoothed Sobel edges, uint8 (N, 3, H, W) -> (N, H, W)."""
    grey = rgb2gray(images, channel_axis=1)
    return np.stack([ndimage.gaussian_filter(sobel(g), smoothing) for g in grey]).astype(np.float32)


def all_maps(
    model: DifferNet,
    images: Tensor,
    normal: Tensor,
    layers: tuple[str, ...] = ("pool2", "conv3", "conv4", "conv5", "pool5"),
    views: tuple[View, ...] | None = None,
) -> dict[str, np.ndarray]:
    """Every map of adnlib.explain by a name, not stretched: images (N, 3, H, W) -> (N, H, W) each."""
    maps = {}
    for (layer, per_place), values in all_cams(model, images, layers, views).items():
        if not (per_place and layer == "pool5"):  # there both rules are one
            maps[f"{'HiResCAM' if per_place else 'Grad-CAM'} {layer}"] = values
    maps["gradient map"] = gradient_map(model, images, views, stretch=False)
    for layer in ("conv3", "conv5"):
        maps[f"deviation {layer}"] = deviation_map(model, images, normal, layer, stretch=False)
    return {name: values.numpy() for name, values in maps.items()}


def blind_maps(images: Tensor) -> dict[str, np.ndarray]:
    """The baselines that a map must beat, by name: images (N, 3, S, S) -> (N, S, S) each."""
    return {GAUSSIAN: centred_gaussian(len(images), images.shape[-1]), "edges": edge_map(images.numpy())}


def compare(measured: dict[str, list[dict[str, pd.DataFrame]]]) -> pd.DataFrame:
    """A row for each variant, map and measure. measured: variant -> for each seed {map: table of `measure`}; the
    baselines, which know no variant, under the variant "".

    value, low, high: mean over seeds, 95 % interval over images; sd: over seeds. The same three for the difference to
    the centred Gaussian (gaussian_*) and to the plain DifferNet with the same map and seeds (plain_*).
    """
    rows, gaussian = [], measured[""][0][GAUSSIAN]
    for variant, seeds in measured.items():
        for name in seeds[0]:
            mean = sum(tables[name] for tables in seeds) / len(seeds)
            parts = {"": interval(mean), "gaussian_": interval(mean - gaussian)}
            if variant and PLAIN in measured and variant != PLAIN:
                paired = zip(seeds, measured[PLAIN], strict=True)
                parts["plain_"] = interval(sum(a[name] - b[name] for a, b in paired) / len(seeds))
            row = pd.concat([part.add_prefix(prefix) for prefix, part in parts.items()], axis=1)
            spread = np.std([tables[name].iloc[0] for tables in seeds], axis=0, ddof=1) if len(seeds) > 1 else np.nan
            row = row.assign(variant=variant, map=name, seeds=len(seeds), sd=spread)
            rows.append(row.rename_axis("measure").reset_index())
    return pd.concat(rows, ignore_index=True)


def verdict(low: float, high: float) -> str:
    """ "yes", "no" or "not shown": whether an interval of a difference (smallest to largest) lies above zero."""
    return "yes" if low > 0 else "no" if high < 0 else "not shown"


def chosen_map(table: pd.DataFrame, categories: list[str], measure: str = "auroc_within") -> str:
    """The map of the plain DifferNet with the largest mean of a measure over `categories`, which choose and so may not
    report: on the others it is an honest number."""
    rows = table[(table["variant"] == PLAIN) & (table["measure"] == measure) & table["category"].isin(categories)]
    return str(rows.groupby("map", sort=False)["value"].mean().idxmax())


def claim_in_words(table: pd.DataFrame, measure: str, categories: list[str], where: str, control: str) -> list[str]:
    """The paper's claim that attention moves the maps, judged: a sentence for each variant and one for all.

    Counted are comparisons with the plain DifferNet, one for each category and gradient-based map (a deviation map
    owes nothing to the flow), whose interval leaves out zero. The maps of one model are alike, so that their number is
    no evidence by itself: a claim must hold for most maps of every category. `control` attends to nothing.
    """
    rows = table[(table["measure"] == measure) & table["category"].isin(categories) & table["plain_value"].notna()]
    rows = rows[~rows["map"].str.startswith("deviation")]
    sentences, share, everywhere = [], {}, {}
    for variant, group in rows.groupby("variant", sort=False):
        towards, away, n = (group["plain_low"] > 0).sum(), (group["plain_high"] < 0).sum(), len(group)
        share[variant] = (towards - away) / n
        gains = (group["plain_low"] > 0) * 1.0 - (group["plain_high"] < 0)
        everywhere[variant] = gains.groupby(group["category"]).mean().min() > 0.5
        sentences.append(
            f"{variant}: {MEASURES[measure]} rises in {towards} of {n} comparisons, falls in {away}, and in "
            f"{n - towards - away} no change is shown; on average {100 * group['plain_value'].mean():+.1f} points."
        )
    if not share.keys() - {control}:
        return sentences
    holds = [v for v in share if v != control and everywhere[v] and share[v] > share.get(control, 0)]
    starts = f"{rows['seeds'].min()} random starts" if rows["seeds"].min() > 1 else "one random start"
    sentences.append(
        f"That attention moves the maps onto {where} is "
        + (
            f"shown here for {' and '.join(holds)}, with {starts} of each variant."
            if holds
            else "not shown here: no variant with attention both moves most maps of every category there and moves "
            f"more of them than the {control}, which attends to nothing."
        )
    )
    return sentences


def committed_table() -> pd.DataFrame:
    """The project's own measurements, numbers only: what benchmarks/localisation.py wrote."""
    return pd.read_csv(ROOT / "data" / "localisation.csv", keep_default_na=True).fillna({"variant": ""})


def explain_image(run: Run, sample: Sample) -> tuple[Figure, pd.DataFrame]:
    """Where a run's model looks in one image: its maps as a picture, and a row for each with what can be said of it.

    Columns: score and threshold of the run; the map's largest value at x, y (px of the image); top_tenth, the share of
    the map's sum in the tenth of the image where it is largest; with a mask also auroc_within, pointing_game and
    energy_inside. The deviation map is left out where the run's data set is not at hand.
    """
    model = run.model()
    size = model.preset.image_size
    height, width = sample.image.shape[-2:]
    x = sample.read(size)[None]
    maps = {"Grad-CAM conv5": grad_cam(model, x, stretch=False), "gradient map": gradient_map(model, x, stretch=False)}
    try:
        maps["deviation conv3"] = deviation_map(model, x, run.dataset().train[:24].images(size), stretch=False)
    except AdnError as error:
        print(f"no deviation map: {error}")
    mask = None
    if sample.mask_path:
        mask = sample.mask_at(size).numpy()[None]  # (1, S, S)
    score, threshold = model.anomaly_score(x).item(), run.facts["metrics"]["threshold"]
    table = []
    for name, values in maps.items():
        m = values.numpy()
        down, across = divmod(int(m.argmax()), size)
        row = {"score": score, "threshold": threshold, "map": name}
        row |= {"x": across * width // size, "y": down * height // size}
        row["top_tenth"] = float(np.sort(m, axis=None)[-m.size // 10 :].sum() / max(m.sum(), 1e-30))
        if mask is not None:
            row |= {f.__name__: float(f(m, mask)[0]) for f in (auroc_within, pointing_game, energy_inside)}
        table.append(row)
    found = "above" if score > threshold else "not above"
    heading = f"{run.variant}: score {score:.3g}, {found} its threshold {threshold:.3g}"
    drawn = {name: stretched(values) for name, values in maps.items()}
    return map_panels(x, mask, drawn, [sample.path.name], heading), pd.DataFrame(table)


def _regions(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel which share of its connected defect it is, (N, H, W), and the number of defects (N,)."""
    shares, counts = np.zeros(masks.shape), np.zeros(len(masks), int)
    for index, mask in enumerate(masks):
        labels, counts[index] = ndimage.label(mask, np.ones((3, 3)))
        shares[index][mask] = 1 / np.bincount(labels.ravel())[labels[mask]]
    return shares, counts


def _drawn(anomalous: np.ndarray, seed: int) -> np.ndarray:
    """(1 + RESAMPLES, N): how often each image counts; once in row 0."""
    rng, n = np.random.default_rng(seed), len(anomalous)
    weights = np.ones((1 + RESAMPLES, n))
    for group in (np.flatnonzero(anomalous), np.flatnonzero(~anomalous)):
        for row in weights[1:]:
            row[group] = (
                np.bincount(rng.integers(len(group), size=len(group)), minlength=len(group)) if len(group) else 0
            )
    return weights


def _means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of those values (N,) that are known, for each row of weights (R, N): (R,)."""
    known = ~np.isnan(values)
    return weights[:, known] @ values[known] / weights[:, known].sum(axis=1)


def _curves(maps: np.ndarray, masks: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Pixel AUROC and AUPRO for each row of weights (R, N), from histograms of each image's pixels."""
    edges = np.unique(np.quantile(maps[:, ::4, ::4], np.linspace(0, 1, BINS + 1)))[1:-1]
    shares, regions = _regions(masks)
    bins = np.searchsorted(edges, maps, side="right")

    def histograms(pixel_weights):  # (N, bins), from the highest values to the lowest
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
