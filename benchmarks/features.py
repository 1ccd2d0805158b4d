"""Which features should the default preset have? Chosen by artificial defects, compared with the test set afterwards.

    .venv/bin/python benchmarks/features.py [--seeds 2] [--steps 2 1.4142] [--csv FILE] DATASET/CATEGORY …

For each category, AlexNet's maps at several image sizes, and with several steps between the three scales, are reduced
to statistics over the positions, of all scales, of the two larger ones or of the full scale only. The flow of the
preset fast is trained on each choice, with light drawn for each image and view, and the epoch is chosen on normal
validation images. The table has

    nll       of validation images, in the epoch in which it is lowest
    made      the AUROC of validation images against copies with an artificial defect: cut-and-paste, scar or blot
    auroc     that of the test images, in the epoch of the lowest nll
    by_made   the same in the epoch of the highest `made`
    last      the same in the last epoch
    best      the same in the best epoch on the test set

Only `nll` and `made` may be used to choose, because they need no anomalous image. The last table says how well: their
rank correlation with the test AUROC over the configurations of a category, and what choosing the epoch by them loses
against the best epoch on the test set. Rows in the file are not computed again.
"""

import argparse
import itertools
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from adnlib import PRESETS, DifferNet, load_dataset
from adnlib.datasets import Dataset, Split
from adnlib.differnet import latent_score
from adnlib.engine.extraction import as_pool, chunk_size, read_images
from adnlib.engine.pretext import cut_paste
from adnlib.evaluation import auroc
from adnlib.experiments.strength import over_independent
from adnlib.features import SCALES
from adnlib.flow import build_flow
from adnlib.pooling import SurprisePooling
from adnlib.system.precision import autocast
from adnlib.training import TrainingLoop
from adnlib.views import OwnViews

PRESET = replace(PRESETS["fast-2026-11"], own_views=True, brightness=0.15)
CHANNELS = 256
CONFIGURATION = ["category", "size", "step", "features"]
CHOICES = {  # statistic, number of scales from the largest one
    "mean": (("mean",), 3),
    "std": (("std",), 3),
    "surprise": (("surprise",), 3),
    "mean and std": (("mean", "std"), 3),
    "surprise and std": (("surprise", "std"), 3),
    "mean, two scales": (("mean",), 2),
    "std, two scales": (("std",), 2),
    "mean, full scale": (("mean",), 1),
    "std, full scale": (("std",), 1),
    "surprise, full scale": (("surprise",), 1),
}


def scar(images: Tensor, generator: torch.Generator) -> Tensor:
    """A thin patch of each image (B, 3, S, S), brighter or darker and sometimes turned, at another position."""
    size, scarred = images.shape[-1], images.clone()
    for image in scarred:
        thin, long, turn, *at, light = torch.rand(8, generator=generator).tolist()
        sides = [2 + int(size * (0.01 + 0.03 * thin)), int(size * (0.08 + 0.2 * long))]
        height, width = sides if turn < 0.5 else reversed(sides)
        y, x, to_y, to_x = (int(p * (size - side)) for p, side in zip(at, [height, width] * 2, strict=True))
        patch = image[:, y : y + height, x : x + width].float().rot90(2, (1, 2)) * (0.6 + 0.8 * light)
        image[:, to_y : to_y + height, to_x : to_x + width] = patch.clamp(0, 255).to(image.dtype)
    return scarred


def blot(images: Tensor, generator: torch.Generator) -> Tensor:
    """A soft bright or dark ellipse in each image (B, 3, S, S), up to a seventh of its side."""
    size, blotted = images.shape[-1], images.clone()
    axis = torch.arange(size)
    for image in blotted:
        y, x, high, wide, light = torch.rand(5, generator=generator).tolist()
        down = ((axis - y * size) / (size * (0.02 + 0.05 * high))).square()[:, None]
        across = ((axis - x * size) / (size * (0.02 + 0.05 * wide))).square()
        image.copy_((image * (1 + 1.2 * (light - 0.5) * torch.exp(-((down + across) ** 2)))).clamp(0, 255))
    return blotted


MADE = {"cut": cut_paste, "scar": scar, "blot": blot}
Features = dict[str, Tensor]  # for each statistic: (N, V, SCALES * CHANNELS)


def statistics(maps: list[Tensor], surprise: SurprisePooling) -> Features:
    """The maps (B, C, h, w) of all scales -> each statistic over their positions, (B, SCALES * C)."""
    flat = [x.float().flatten(2) for x in maps]
    return {
        "mean": torch.cat([x.mean(dim=2) for x in flat], dim=1),
        "std": torch.cat([x.std(dim=2, correction=0) for x in flat], dim=1),
        "surprise": surprise(maps),
    }


@torch.inference_mode()
def measured(model: DifferNet, surprise: SurprisePooling, split: Split, views, change=None) -> Features:
    """The statistics of all images of a split in all views; `change` adds defects."""
    pool, size, found = as_pool(views), model.preset.image_size, {}
    for start in range(0, len(split), chunk_size(size)):
        images = read_images(split[start : start + chunk_size(size)], size)
        images = change(images) if change else images
        rows = torch.arange(start, start + len(images))
        with autocast("auto", torch.device("cpu")):
            seen = [statistics(model.features.maps(view(images)), surprise) for view in pool.of(rows)]
        for name in seen[0]:
            found.setdefault(name, []).append(torch.stack([one[name] for one in seen], dim=1))
    return {name: torch.cat(parts) for name, parts in found.items()}


def all_parts(dataset: Dataset, size: int, step: float) -> dict[str, Features]:
    """The statistics of all parts of a data set, and of validation images with each kind of artificial defect."""
    model = DifferNet(preset=replace(PRESET, image_size=size, scale_step=step)).eval()
    some = dataset.train[:: -(-len(dataset.train) // 200)]
    surprise, turns = SurprisePooling(CHANNELS, SCALES), PRESET.views("test")
    with torch.inference_mode(), autocast("auto", torch.device("cpu")):
        chunks = [some[start : start + chunk_size(size)] for start in range(0, len(some), chunk_size(size))]
        maps = [model.features.maps(read_images(chunk, size)) for chunk in chunks]
    surprise.fit([torch.cat(scale) for scale in zip(*maps, strict=True)])
    lit = OwnViews(len(dataset.train), PRESET.train_views, "quarter", (PRESET.brightness, 0.0, 0.0), seed=(1, 0))
    parts = {"train": measured(model, surprise, dataset.train, lit)}
    parts |= {name: measured(model, surprise, getattr(dataset, name), turns) for name in ("validation", "test")}
    for name, make in MADE.items():
        generator = torch.Generator().manual_seed(7)
        change = lambda images, make=make, generator=generator: make(images, generator)  # noqa: E731
        parts[name] = measured(model, surprise, dataset.validation, turns[:1], change)
    return parts


class Flow(nn.Module):
    """A flow on features of any dimension, with the interface that TrainingLoop needs."""

    train_attention, device = False, torch.device("cpu")

    def __init__(self, dims: int, seed: int):
        super().__init__()
        self.preset = PRESET
        self.flow = build_flow(dims, blocks=PRESET.blocks, hidden=PRESET.hidden, layers=PRESET.layers, seed=seed)

    def transform(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.flow(y)

    @torch.inference_mode()
    def scores(self, y: Tensor) -> np.ndarray:
        z = torch.cat([self.flow(rows)[0] for rows in y.flatten(0, 1).split(4096)])
        return latent_score(z.view(y.shape)).numpy()


class Source:
    def __init__(self, parts: dict[str, Tensor]):
        self.parts = parts

    def begin_epoch(self, epoch: int) -> None:
        pass

    def batch(self, rows: Tensor, views: Tensor) -> Tensor:
        return self.parts["train"][rows[:, None], views]

    def validation(self) -> Tensor:
        return self.parts["validation"]


def trained(parts: dict[str, Tensor], labels: np.ndarray, seed: int) -> dict:
    """Trains one flow; a row of the table."""
    start, flow = time.perf_counter(), Flow(parts["train"].shape[2], seed)
    loop = TrainingLoop(flow, Source(parts), len(parts["train"]), seed, PRESET.epochs)  # type: ignore
    rows = []
    while loop.epoch < PRESET.epochs:
        if not loop.step():
            continue
        loop.end_epoch()
        if loop.epoch % PRESET.test_every and loop.chosen_epoch != loop.epoch:
            continue
        scores = flow.scores(parts["test"])
        intact = flow.scores(parts["validation"][:, :1])
        made = [float(auroc(intact, flow.scores(parts[name]))) for name in MADE]
        tested = float(auroc(scores[labels == 0], scores[labels == 1]))
        rows.append((loop.epoch, loop.rows[-1]["validation_nll"], np.mean(made), tested))
    table = pd.DataFrame(rows, columns=["epoch", "nll", "made", "auroc"]).set_index("epoch")
    values = {
        **table.loc[loop.chosen_epoch],
        "by_made": table["auroc"][table["made"].idxmax()],
        "last": table["auroc"].iloc[-1],
        "best": table["auroc"].max(),
    }
    return {**{k: round(v, 4) for k, v in values.items()}, "seconds": round(time.perf_counter() - start, 1)}


def chosen_features(parts: dict[str, Features], names: tuple[str, ...], scales: int) -> dict[str, Tensor]:
    """The features of one of CHOICES, each statistic standardised by the training images' common mean and deviation."""
    found = {part: [] for part in parts}
    for name in names:
        columns = slice(0, scales * CHANNELS)
        train = parts["train"][name][..., columns]
        for part, values in parts.items():
            found[part].append((values[name][..., columns] - train.mean()) / train.std())
    return {part: torch.cat(values, dim=2) for part, values in found.items()}


def criteria(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each criterion: the means over categories, with intervals, of its rank correlation (Spearman's) with
    the test AUROC over configurations, and of the points that the epoch it chooses is below the best one."""
    each = table.groupby(CONFIGURATION, sort=False).mean(numeric_only=True).reset_index("category")
    rows = []
    for name, better, chosen in (("likelihood", -each["nll"], "auroc"), ("made defects", each["made"], "by_made")):
        groups = each.assign(better=better, regret=100 * (each["best"] - each[chosen])).groupby("category")
        ranks = groups[["better", "auroc"]].apply(lambda one: one["better"].corr(one["auroc"], method="spearman"))
        rows.append((name, *over_independent(ranks), *over_independent(groups["regret"].mean())))
    columns = ["criterion", "rank correlation", "low", "high", "regret (points)", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def main() -> None:
    parser = argparse.ArgumentParser(description="Which features should the default preset have?")
    parser.add_argument("names", nargs="+", metavar="DATASET/CATEGORY")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256], metavar="PX")
    parser.add_argument("--steps", type=float, nargs="+", default=[2.0], metavar="FACTOR", help="between scales")
    parser.add_argument("--only", nargs="+", default=list(CHOICES), choices=list(CHOICES), metavar="FEATURES")
    parser.add_argument("--csv", type=Path, default=Path("features.csv"))
    options = parser.parse_args()
    key = [*CONFIGURATION, "seed"]
    table = pd.read_csv(options.csv) if options.csv.exists() else pd.DataFrame(columns=key)
    known = set(table[key].itertuples(index=False, name=None))
    for name in options.names:
        source, _, category = name.rpartition("/")
        for size, step in itertools.product(options.sizes, options.steps):
            jobs = [(f, s) for s in range(options.seeds) for f in options.only]
            jobs = [(f, s) for f, s in jobs if (category, size, step, f, s) not in known]
            if not jobs:
                continue
            dataset = load_dataset(source, category)
            parts = all_parts(dataset, size, step)
            for features, seed in jobs:
                row = trained(chosen_features(parts, *CHOICES[features]), dataset.test.labels, seed)
                row = {"category": category, "size": size, "step": step, "features": features, "seed": seed, **row}
                table = pd.concat([table, pd.DataFrame([row])], ignore_index=True)
                table.to_csv(options.csv, index=False)
    means = table.groupby(CONFIGURATION, sort=False)[["made", "auroc", "last", "best"]].mean()
    wide = 100 * means.unstack("category")
    for column in ("made", "auroc"):
        print(f"{column}\n{wide[column].assign(mean=wide[column].mean(axis=1)).round(1).to_string()}\n")
    print(criteria(table).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
