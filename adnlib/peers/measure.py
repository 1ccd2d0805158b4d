"""Detectors measured alike: the same images and protocol, and for those that share a backbone the same maps.

    python -m adnlib.peers.measure grids/peers.toml data/peers.csv

trains and scores every point of the grid that the table has not got yet. Times are processor seconds (of all cores
together), which other work on the machine disturbs little.
"""

import itertools
import json
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from adnlib.cache import digest, module_digest
from adnlib.datasets import Dataset, Split, load_dataset
from adnlib.errors import AdnError
from adnlib.evaluation import auroc, auroc_interval
from adnlib.files import write_whole
from adnlib.localisation import pixel_auroc
from adnlib.peers import build_peer
from adnlib.peers.base import Maps, Peer

MIB = 2**20


class Remembering(nn.Module):
    """A frozen backbone that computes each batch once; `saved` counts the seconds that it would have taken again."""

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


def measure(peer: Peer, dataset: Dataset, seed: int = 0) -> dict:
    """Fits on `dataset.train`, scores `dataset.test`: a row of numbers.

    auroc with its 95 % interval over test images (`seed`: the bootstrap's); pixel_auroc where there are a map and
    masks; fit_s and images_per_s in processor seconds, decoding left out, but for DifferNet, which reads files itself
    (and whose features may lie in the cache: ADN_CACHE_GB=0 leaves it out); memory_mib: what the fitted detector holds,
    and parameters: how many of it were trained, both without the backbone.
    """
    size = peer.image_size
    train, test = dataset.train, dataset.test
    if not isinstance(peer.backbone, nn.Identity):  # DifferNet reads files itself
        train, test = train.images(size), test.images(size)
    fit_s, _ = _seconds(peer, lambda: peer.fit(train))
    score_s, (scores, maps) = _seconds(peer, lambda: peer.predict(test))
    labels, masks = dataset.test.labels, masks_of(dataset.test, size)
    normal, anomalous = scores.double().numpy()[labels == 0], scores.double().numpy()[labels == 1]
    low, high = auroc_interval(normal, anomalous, seed)
    return {
        "auroc": float(auroc(normal, anomalous)),
        "auroc_low": low,
        "auroc_high": high,
        "pixel_auroc": None if maps is None or masks is None else pixel_auroc(maps.numpy(), masks.numpy()),
        "fit_s": fit_s,
        "images_per_s": len(labels) / score_s,
        "memory_mib": sum(x.nbytes for x in peer.learned().values()) / MIB,
        "parameters": sum(p.numel() for p in peer.parameters() if p.requires_grad and p.is_floating_point()),
    }


def _seconds(peer: Peer, work) -> tuple[float, object]:
    """Processor seconds of `work`, with those that a remembering backbone saved; and its result."""
    before, start = getattr(peer.backbone, "saved", 0.0), time.process_time()
    result = work()
    return time.process_time() - start + getattr(peer.backbone, "saved", 0.0) - before, result


def masks_of(test: Split, size: int) -> Tensor | None:
    """bool (N, size, size), at the nearest pixels; None where an anomalous image has no mask."""
    masks = torch.zeros(len(test), size, size, dtype=torch.bool)
    for row, sample in zip(masks, test, strict=True):
        if sample.label:
            if (found := sample.mask_at(size)) is None:
                return None
            row |= found
    return masks


def points(grid: dict) -> Iterator[dict]:
    """Every combination of the lists in every [[grid]] table; a table [grid.options] holds the method's options."""
    for table in grid["grid"]:
        lists = {key: value if isinstance(value, list) else [value] for key, value in table.items()}
        for values in itertools.product(*lists.values()):
            yield dict(zip(lists, values, strict=True))


def point_name(point: dict) -> str:
    """What a table calls a point of a grid: its values, but for the path of a folder."""
    return json.dumps({**point, "dataset": point["dataset"].split(":")[0]}, sort_keys=True)


def run_grid(grid: Path, table: Path) -> None:
    """Measures every point of `grid` that `table` (CSV) does not hold; a row is written as soon as it is there."""
    known = pd.read_csv(table) if table.exists() else pd.DataFrame()
    done = set(known["point"]) if len(known) else set()
    backbones: dict[str, Remembering] = {}
    for point in points(tomllib.loads(grid.read_text(encoding="utf-8"))):
        name = point_name(point)
        if name in done:
            continue
        arguments = dict(point)
        given, category = arguments.pop("dataset"), arguments.pop("category")
        if given.startswith("folder:"):
            given = f"folder:{(grid.resolve().parent / given.removeprefix('folder:')).resolve()}"
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
            peer = build_peer(
                arguments.pop("peer"), attention=None if attention == "none" else attention, **arguments, **options
            )
        except AdnError as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        if hasattr(peer.backbone, "channels"):
            key = digest(given, category, stages, module_digest(peer.backbone), point.get("image_size"), few, few_test)
            if key not in backbones:
                backbones.clear()  # one at a time in memory
                backbones[key] = Remembering(peer.backbone)
            peer.backbone = backbones[key]
        row = {**point, "dataset": point["dataset"].split(":")[0], "attention": attention}
        row |= {key: _rounded(value) for key, value in measure(peer, dataset).items()} | {"point": name}
        row["options"] = json.dumps(options)
        known = pd.concat([known, pd.DataFrame([row])], ignore_index=True)
        write_whole(Path(table).resolve(), known.to_csv(index=False).encode())
        print({key: row[key] for key in ("peer", "backbone", "category", "seed", "auroc", "pixel_auroc", "fit_s")})


def evenly(split: Split, count: int) -> Split:
    """At most `count` images of a split, evenly spaced."""
    picked = np.linspace(0, len(split) - 1, min(count, len(split))).round().astype(int)
    return Split(tuple(split[int(i)] for i in picked))


def _rounded(value):
    """Numbers to five digits; counts as they are."""
    if isinstance(value, int):
        return value
    return None if value is None else float(np.format_float_positional(value, 5, fractional=False))


if __name__ == "__main__":
    run_grid(Path(sys.argv[1]), Path(sys.argv[2]))
