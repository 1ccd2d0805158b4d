"""Measurements of all detectors with the same images and protocol and, for the same backbone, the same maps.

    python -m adnlib.detectors.measure grids/detectors.toml data/detectors.csv

trains and scores every point of the grid that is missing from the table. Times are processor seconds (all cores
together), which depend little on other work on the machine.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from adnlib.datasets import Dataset, Split, load_dataset
from adnlib.detectors import build_detector
from adnlib.detectors.base import Detector, Maps
from adnlib.errors import AdnError
from adnlib.evaluation import auroc
from adnlib.experiments.grid import expand, point_name, read_tables
from adnlib.explain.measures import pixel_auroc
from adnlib.intervals import auroc_interval
from adnlib.system.cache import digest, module_digest
from adnlib.system.files import write_whole

MIB = 2**20


class CachedBackbone(nn.Module):
    """A frozen backbone that computes each batch once. `saved` counts the seconds that this has saved."""

    def __init__(self, backbone: nn.Module, limit_mib: float = 6000):
        super().__init__()
        self.backbone, self.channels = backbone, backbone.channels
        self.known: dict[str, tuple[Maps, float]] = {}
        self.saved, self.room = 0.0, limit_mib * MIB

    def forward(self, images: Tensor) -> Maps:
        name = digest(images.contiguous())
        if name in self.known:
            maps, seconds = self.known[name]
            self.saved += seconds
            return maps
        start = time.process_time()
        maps = self.backbone(images)
        size = sum(y.nbytes for y in maps)
        if size < self.room:
            self.room -= size
            self.known[name] = maps, time.process_time() - start
        return maps


def measure(detector: Detector, dataset: Dataset) -> dict:
    """Fits on `dataset.train` and scores `dataset.test`. Returns a row of numbers.

    auroc with its 95 % interval over test images; pixel_auroc if there are maps and masks;
    fit_s: processor seconds; images_per_s: images scored per processor second. Neither time includes decoding, except
    for DifferNet, which reads the files itself and can find its features in the cache (ADN_CACHE_GB=0 disables it).
    memory_mib: the size of the fitted detector; parameters: the number of trained parameters. Both exclude the
    backbone.
    """
    size = detector.image_size
    train, test = dataset.train, dataset.test
    if not isinstance(detector.backbone, nn.Identity):  # DifferNet reads files itself
        train, test = train.images(size), test.images(size)
    fit_s, _ = _seconds(detector, lambda: detector.fit(train))
    score_s, (scores, maps) = _seconds(detector, lambda: detector.predict(test))
    labels, masks = dataset.test.labels, masks_of(dataset.test, size)
    normal, anomalous = scores.double().numpy()[labels == 0], scores.double().numpy()[labels == 1]
    low, high = auroc_interval(normal, anomalous)
    return {
        "auroc": float(auroc(normal, anomalous)),
        "auroc_low": low,
        "auroc_high": high,
        "pixel_auroc": None if maps is None or masks is None else pixel_auroc(maps.numpy(), masks.numpy()),
        "fit_s": fit_s,
        "images_per_s": len(labels) / score_s,
        "memory_mib": sum(x.nbytes for x in detector.learned().values()) / MIB,
        "parameters": sum(p.numel() for p in detector.parameters() if p.requires_grad and p.is_floating_point()),
    }


def _seconds(detector: Detector, work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of `work`, including those that a caching backbone saved; and its result."""
    before, start = getattr(detector.backbone, "saved", 0.0), time.process_time()
    result = work()
    return time.process_time() - start + getattr(detector.backbone, "saved", 0.0) - before, result


def masks_of(test: Split, size: int) -> Tensor | None:
    """Masks bool (N, size, size), resized by nearest pixel; None if an anomalous image has no mask."""
    masks = torch.zeros(len(test), size, size, dtype=torch.bool)
    for row, sample in zip(masks, test, strict=True):
        if sample.label:
            if (mask := sample.mask_at(size)) is None:
                return None
            row |= mask
    return masks


def run_grid(grid: Path, table: Path) -> None:
    """Measures every point of `grid` that is missing from `table` (CSV). Each row is written immediately."""
    known = pd.read_csv(table) if table.exists() else pd.DataFrame()
    done = set(known["point"]) if len(known) else set()
    backbones: dict[str, CachedBackbone] = {}
    for point in expand(read_tables(grid), grid.resolve().parent):
        name = point_name(point)
        if name in done:
            continue
        arguments = dict(point)
        given, category = arguments.pop("dataset"), arguments.pop("category")
        attention = arguments.pop("attention", "none")
        options = arguments.pop("options", {})
        if stages := arguments.pop("stages", None):
            arguments["backbone_options"] = {"stages": [int(stage) for stage in stages.split(",")]}
        few, few_test = arguments.pop("train_images", None), arguments.pop("test_images", None)
        try:
            dataset = load_dataset(given, category)
            if few:
                dataset = replace(dataset, train=evenly(dataset.train, few))
            if few_test:
                dataset = replace(dataset, test=evenly(dataset.test, few_test))
            detector = build_detector(
                arguments.pop("detector"), attention=None if attention == "none" else attention, **arguments, **options
            )
        except AdnError as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        if hasattr(detector.backbone, "channels"):
            key = digest(
                given, category, stages, module_digest(detector.backbone), point.get("image_size"), few, few_test
            )
            if key not in backbones:
                backbones.clear()  # one at a time in memory
                backbones[key] = CachedBackbone(detector.backbone)
            detector.backbone = backbones[key]
        row = {**point, "dataset": point["dataset"].split(":")[0], "attention": attention}
        row |= {key: _rounded(value) for key, value in measure(detector, dataset).items()} | {"point": name}
        row["options"] = json.dumps(options)
        known = pd.concat([known, pd.DataFrame([row])], ignore_index=True)
        write_whole(Path(table).resolve(), known.to_csv(index=False).encode())
        print({key: row[key] for key in ("detector", "backbone", "category", "seed", "auroc", "pixel_auroc", "fit_s")})


def evenly(split: Split, count: int) -> Split:
    """At most `count` images of a split, evenly spaced."""
    picked = np.linspace(0, len(split) - 1, min(count, len(split))).round().astype(int)
    return Split(tuple(split[int(i)] for i in picked))


def _rounded(value):
    """Rounds a number to five digits and leaves counts unchanged."""
    if isinstance(value, int):
        return value
    return None if value is None else float(np.format_float_positional(value, 5, fractional=False))


if __name__ == "__main__":
    run_grid(Path(sys.argv[1]), Path(sys.argv[2]))
