"""Attention in the pooling: is a mean over space improved by weights, and by an image's own ones?

    .venv/bin/python benchmarks/pooling.py [--seeds 3] [--csv FILE] DATASET/CATEGORY …

The flow of the preset fast-2026-11 is trained on four kinds of features of the same AlexNet maps:
    mean              DifferNet's spatial mean
    mean, light       with brightness drawn for each image and view (up to 15 %)
    surprise, light   weights from adnlib.pooling, as in the preset surprise
    borrowed, light   the control: each image gets the weights of a normal training image, chosen by its own pixels
The epoch is chosen on normal validation images, and no choice is made on the test set. Categories that are in the file
already are not computed again.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from adnlib import PRESETS, DifferNet, load_dataset
from adnlib.datasets import Dataset, Split
from adnlib.differnet import latent_score
from adnlib.engine.extraction import as_pool, chunk_size, read_images, transform_views
from adnlib.engine.feature_sources import set_rescaling
from adnlib.evaluation import auroc
from adnlib.pooling import MeanPooling, SurprisePooling
from adnlib.system.precision import autocast
from adnlib.training import TrainingLoop

# The first edition's scales, on which this form of attention was found. grids/evidence.toml repeats it on finer ones.
PRESET = replace(PRESETS["fast-2026-11"], pooling="surprise", own_views=True, view_pool=8, brightness=0.15)
Maps = list[Tensor]  # a tensor (N, V, 256, P) in float16 for each scale


class Borrowed(SurprisePooling):
    """SurprisePooling with the weights of another, normal image."""

    def fit(self, maps: list[Tensor]) -> None:
        super().fit(maps)
        self.normal = [SurprisePooling.weights(self, scale, x.float().flatten(2)) for scale, x in enumerate(maps)]

    def weights(self, scale: int, x: Tensor) -> Tensor:
        chosen = (x.double().abs().sum(dim=(1, 2)) * 1000).long() % len(self.normal[0])
        return self.normal[scale][chosen]


@torch.inference_mode()
def maps_of(model: DifferNet, split: Split, views) -> Maps:
    pool, size = as_pool(views), model.preset.image_size
    parts = []
    for start in range(0, len(split), chunk_size(size)):
        images = read_images(split[start : start + chunk_size(size)], size)
        rows = torch.arange(start, start + len(images))
        with autocast("auto", torch.device("cpu")):
            seen = [model.features.maps(view(images)) for view in pool.of(rows)]  # V lists of scales
        parts.append([torch.stack([maps[s].flatten(2) for maps in seen], dim=1).half() for s in range(3)])
    return [torch.cat(scale) for scale in zip(*parts, strict=True)]


@torch.inference_mode()
def pooled(pooling: torch.nn.Module, maps: Maps) -> Tensor:
    """Maps of N images in V views -> features (N, V, 768)."""
    chunks = zip(*(scale.split(64) for scale in maps), strict=True)
    y = [pooling([x.flatten(0, 1)[..., None] for x in chunk]) for chunk in chunks]
    return torch.cat(y).unflatten(0, maps[0].shape[:2])


class Source:
    def __init__(self, y: Tensor, y_validation: Tensor):
        self.y, self.y_validation = y, y_validation

    def begin_epoch(self, epoch: int) -> None:
        pass

    def batch(self, rows: Tensor, views: Tensor) -> Tensor:
        return self.y[rows[:, None], views]

    def validation(self) -> Tensor:
        return self.y_validation


def trained_auroc(features: dict[str, Tensor], labels: np.ndarray, seed: int) -> float:
    preset = replace(PRESET, view_pool=features["train"].shape[1])
    model = DifferNet(preset=preset, weights="random", seed=seed)
    set_rescaling(model, features["train"])
    source = Source(features["train"], features["validation"])
    loop = TrainingLoop(model.train(), source, len(features["train"]), seed, preset.epochs)
    while loop.epoch < preset.epochs:
        if loop.step():
            loop.end_epoch()
    model.load_state_dict(model.state_dict() | loop.best_weights)
    scores = latent_score(transform_views(model.eval(), features["test"])[0]).numpy()
    return float(auroc(scores[labels == 0], scores[labels == 1]))


def measure(dataset: Dataset, seeds: int) -> list[dict]:
    model = DifferNet(preset=PRESET)
    turns = model.preset.views("test")
    maps = {part: maps_of(model, getattr(dataset, part), turns) for part in ("train", "validation", "test")}
    lit = {**maps, "train": maps_of(model, dataset.train, PRESET.training_pool(len(dataset.train)))}
    normal = [scale[:, 0, :, :, None] for scale in maps["train"]]
    kinds = {"mean": (MeanPooling(), maps), "mean, light": (MeanPooling(), lit)}
    for name, kind in (("surprise, light", SurprisePooling), ("borrowed, light", Borrowed)):
        pooling = kind(256, 3)
        pooling.fit(normal)
        kinds[name] = (pooling, lit)
    rows = []
    for name, (pooling, source) in kinds.items():
        features = {part: pooled(pooling, source[part]) for part in source}
        for seed in range(seeds):
            value = trained_auroc(features, dataset.test.labels, seed)
            rows.append({"category": dataset.category, "features": name, "seed": seed, "auroc": round(value, 4)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="DATASET/CATEGORY")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--csv", type=Path, default=Path("pooling.csv"))
    options = parser.parse_args()
    table = pd.read_csv(options.csv) if options.csv.exists() else pd.DataFrame({"category": []})
    for name in options.names:
        source, _, category = name.rpartition("/")
        if (table["category"] == category).any():
            continue
        table = pd.concat([table, pd.DataFrame(measure(load_dataset(source, category), options.seeds))])
        table.to_csv(options.csv, index=False)
    wide = table.groupby(["category", "features"], sort=False)["auroc"].mean().unstack(sort=False)
    wide.loc["mean"] = wide.mean()
    print(wide.round(3).to_string())


if __name__ == "__main__":
    main()
