"""Comparison of the maps of several models, and the sentences that state the result."""

import numpy as np
import pandas as pd
from scipy import ndimage
from skimage.color import rgb2gray
from skimage.filters import sobel
from torch import Tensor

from adnlib.differnet import DifferNet
from adnlib.explain.maps import all_cams, deviation_map, gradient_map
from adnlib.explain.measures import MEASURES, interval
from adnlib.system.folders import DATA
from adnlib.views import View

GAUSSIAN, PLAIN = "centred Gaussian", "DifferNet"


def centred_gaussian(count: int, size: int) -> np.ndarray:
    """The image-independent baseline: a Gaussian at the centre, where photographers put things, (N, S, S)."""
    line = np.exp(-0.5 * ((np.arange(size) + 0.5) / size - 0.5) ** 2 / 0.25**2)
    return np.repeat(np.outer(line, line)[None], count, axis=0).astype(np.float32)


def edge_map(images: np.ndarray, smoothing: float = 3.0) -> np.ndarray:
    """The baseline that uses only the image: smoothed Sobel edges, uint8 (N, 3, H, W) -> (N, H, W)."""
    grey = rgb2gray(images, channel_axis=1)
    return np.stack([ndimage.gaussian_filter(sobel(g), smoothing) for g in grey]).astype(np.float32)


def all_maps(
    model: DifferNet,
    images: Tensor,
    normal: Tensor,
    layers: tuple[str, ...] = ("pool2", "conv3", "conv4", "conv5", "pool5"),
    views: tuple[View, ...] | None = None,
) -> dict[str, np.ndarray]:
    """Every map of adnlib.explain.maps, by name, unstretched: images (N, 3, H, W) -> (N, H, W) each."""
    maps = {}
    for (layer, per_place), values in all_cams(model, images, layers, views).items():
        if not (per_place and layer == "pool5"):  # where it equals Grad-CAM
            maps[f"{'HiResCAM' if per_place else 'Grad-CAM'} {layer}"] = values
    maps["gradient map"] = gradient_map(model, images, views, stretch=False)
    for layer in ("conv3", "conv5"):
        maps[f"deviation {layer}"] = deviation_map(model, images, normal, layer, stretch=False)
    return {name: values.numpy() for name, values in maps.items()}


def blind_maps(images: Tensor) -> dict[str, np.ndarray]:
    """The model-blind baselines, which a map must beat, by name: images (N, 3, S, S) -> (N, S, S) each."""
    return {GAUSSIAN: centred_gaussian(len(images), images.shape[-1]), "edges": edge_map(images.numpy())}


def compare(measured: dict[str, list[dict[str, pd.DataFrame]]]) -> pd.DataFrame:
    """A row for each variant, map and measure.

    measured: for each variant a list over seeds of {map: table of `measure`}; the model-blind baselines are the
    variant "". Columns: value, low and high are the mean over seeds and its 95 % interval over images; sd is the
    standard deviation over seeds. gaussian_* and plain_* are the same three numbers for the difference from the centred
    Gaussian, and from the plain DifferNet with the same map and seeds.
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


def against_blind(table: pd.DataFrame) -> pd.Series:
    """The verdict on each row of `compare`: "better", "worse" or "no difference shown"; "" for the blind maps.

    "better": better than the stronger model-blind map of the same category and measure, and for an AUROC also better
    than chance (0.5); "worse": worse than that blind map. The table has the paired difference from the Gaussian. The
    interval of the difference from the edges is combined from the two intervals as if they were independent (Newcombe,
    Statistics in Medicine 17, 1998); the maps share their images, so it is rather too wide than too narrow.
    """
    verdicts = pd.Series("", table.index)
    keys = [name for name in ("dataset", "category", "measure") if name in table]
    for key, rows in table.groupby(keys, sort=False):
        blind = rows[rows["variant"] == ""]
        strongest, chance = blind.loc[blind["value"].idxmax()], 0.5 if "auroc" in key[-1] else -np.inf
        others = rows[rows["variant"] != ""]
        if strongest["map"] == GAUSSIAN:
            low, high = others["gaussian_low"], others["gaussian_high"]
        else:
            value, gap = others["value"], others["value"] - strongest["value"]
            low = gap - np.hypot(value - others["low"], strongest["high"] - strongest["value"])
            high = gap + np.hypot(others["high"] - value, strongest["value"] - strongest["low"])
        better = (low > 0) & (others["low"] > chance)
        verdicts[others.index] = np.select([better, high < 0], ["better", "worse"], "no difference shown")
    return verdicts


def chosen_map(table: pd.DataFrame, categories: list[str], measure: str = "auroc_within") -> str:
    """The kind of map with the largest mean of a measure over `categories`, for the plain DifferNet.

    These categories select the map, so its numbers are unbiased only on the other categories.
    """
    rows = table[(table["variant"] == PLAIN) & (table["measure"] == measure) & table["category"].isin(categories)]
    return str(rows.groupby("map", sort=False)["value"].mean().idxmax())


def claim_in_words(table: pd.DataFrame, measure: str, categories: list[str], where: str, control: str) -> list[str]:
    """A verdict on the paper's claim that attention moves the maps: a sentence for each variant and one for all.

    Each variant is compared with the plain DifferNet, once for each category and gradient-based map (a deviation map
    does not use the flow). A comparison counts if its interval excludes zero. The maps of one model resemble each
    other, so their number alone is no evidence: the claim must hold for most maps of every category. `control` is the
    variant that attends to nothing.
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
            f"{variant}: {MEASURES[measure]} rises in {towards} of {n} comparisons, falls in {away}, and "
            f"no change is shown in {n - towards - away}. On average it changes by "
            f"{100 * group['plain_value'].mean():+.1f} points."
        )
    if not share.keys() - {control}:
        return sentences
    holds = [v for v in share if v != control and everywhere[v] and share[v] > share.get(control, 0)]
    starts = f"{rows['seeds'].min()} seeds" if rows["seeds"].min() > 1 else "one seed"
    sentences.append(
        f"That attention moves the maps onto {where} is "
        + (
            f"shown here for {' and '.join(holds)}, with {starts} per variant."
            if holds
            else "not shown here: no variant with attention moves most maps of every category there and also "
            f"moves more maps than the {control}, which attends to nothing."
        )
    )
    return sentences


def committed_table() -> pd.DataFrame:
    """The project's own measurements, numbers only, as written by benchmarks/localisation.py."""
    return pd.read_csv(DATA / "localisation.csv", keep_default_na=True).fillna({"variant": ""})
