"""How well every map finds defects and parts, for every variant: writes data/localisation.csv.

    .venv/bin/python benchmarks/localisation.py --category mvtec_bottle --anomalous 63 --good 20
    .venv/bin/python benchmarks/localisation.py --category mtd --seeds 1 --anomalous 60 --good 20
    .venv/bin/python benchmarks/localisation.py --category bracket_wild clamp_wild bracket_plain clamp_plain

--runs: finished runs of `adn sweep grids/evidence.toml`. If a variant or a seed of a category is missing there, all
models of this category are trained here on `--few` images, with PRESET at a fifth of its learning rate.
--data: a folder with mvtec_bottle and mtd; missing categories are left out. A category's rows replace its older rows in
the file, which contains only numbers.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

import adnlib
from adnlib.datasets import Split
from adnlib.errors import AdnError
from adnlib.experiments.runs import read_runs
from adnlib.explain.comparison import all_maps, blind_maps, compare
from adnlib.explain.measures import measure
from adnlib.imagesets.reading import read_mask
from adnlib.system.folders import ROOT
from adnlib.views import quarter_turns

VARIANTS = {"DifferNet": None, "SE, frozen": "se", "CBAM, frozen": "cbam", "constant gate 0.5": "constant"}
PRESET = "fast-2026-11"
WILD = ("bracket_wild", "bracket_plain", "clamp_wild", "clamp_plain")
STEP = 2  # px between the pixels that are measured
COLUMNS = ["dataset", "category", "variant", "map", "measure", "images", "anomalous", "views", "trained on", "seeds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/evidence"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--category", nargs="*", default=["mvtec_bottle", *WILD, "mtd"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument(
        "--anomalous", type=int, default=24, help="anomalous test images at most, evenly spread over the defects"
    )
    parser.add_argument("--good", type=int, default=8)
    parser.add_argument("--few", type=int, default=64, help="training images if runs are missing")
    parser.add_argument("--views", type=int, default=1, help="quarter turns")
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "localisation.csv")
    options = parser.parse_args()
    for category in options.category:
        name = "wild_parts" if category in WILD else f"folder:{options.data}"
        try:
            dataset = adnlib.load_dataset(name, category)
        except AdnError as error:
            print(f"left out: {error}")
            continue
        table = one_category(dataset, options)
        table.insert(0, "dataset", name.split(":")[0])
        table.insert(1, "category", category)
        table = table[[*COLUMNS, *(c for c in table if c not in COLUMNS)]]
        if options.out.exists():
            old = pd.read_csv(options.out)
            table = pd.concat([old[old["category"] != category], table])
        table.to_csv(options.out, index=False, float_format="%.4g")
        print(f"{category}: {len(table)} rows in {options.out}", flush=True)


def one_category(dataset: adnlib.datasets.Dataset, options: argparse.Namespace) -> pd.DataFrame:
    """The rows of `adnlib.explain.comparison.compare` for one category's test images."""
    anomalous = [s for s in dataset.test if s.label and s.mask_path and s.mask.any()]
    samples = spread(anomalous, options.anomalous) + spread([s for s in dataset.test if not s.label], options.good)
    models, trained_on = the_models(dataset, options)
    size = models["DifferNet"][0].preset.image_size
    images, normal = Split(tuple(samples)).images(size), dataset.train[:24].images(size)
    masks = np.stack([at_size(s.mask.numpy() if s.label else np.zeros((1, 1), bool), size) for s in samples])
    objects = [s.path.parents[2] / "part" / "test" / s.defect / f"{s.path.stem}_part.png" for s in samples]
    objects = np.stack([at_size(read_mask(p), size) for p in objects]) if objects[0].exists() else None

    def measured(maps: dict[str, np.ndarray]) -> dict[str, pd.DataFrame]:
        return {name: measure(values[:, ::STEP, ::STEP], masks, objects) for name, values in maps.items()}

    tables = {"": [measured(blind_maps(images))]}
    for variant, seeds in models.items():
        tables[variant] = [measured(all_maps(m, images, normal, views=quarter_turns(options.views))) for m in seeds]
        print(f"{dataset.category}, {variant}", flush=True)
    facts = {"images": len(samples), "anomalous": int(masks.any(axis=(1, 2)).sum()), "views": options.views}
    return compare(tables).assign(**facts, **{"trained on": trained_on})


def the_models(dataset: adnlib.datasets.Dataset, options: argparse.Namespace) -> tuple[dict[str, list], int]:
    """Each variant's models, one per seed, and the number of normal images that they were trained on."""
    finished = [r for r in read_runs(options.runs, category=dataset.category, preset=PRESET, weights="imagenet")]
    runs = {(run.variant, run.parameters["seed"]): run for run in finished}
    wanted = [(variant, seed) for variant in VARIANTS for seed in range(options.seeds)]
    if all(key in runs for key in wanted):
        return {v: [runs[v, s].model() for s in range(options.seeds)] for v in VARIANTS}, len(dataset.train)
    few = replace(dataset, train=Split(spread(dataset.train, options.few)), validation=dataset.validation[:12])
    models = {variant: [] for variant in VARIANTS}
    slow = replace(adnlib.PRESETS[PRESET], lr=2e-4, batch_images=8)  # with few images, the preset's steps are too large
    for variant, seed in wanted:
        model = adnlib.DifferNet(VARIANTS[variant], preset=slow, seed=seed)
        adnlib.fit(model, few, seed=seed, progress=False)
        models[variant].append(model)
    return models, len(few.train)


def spread(samples: list, count: int) -> tuple:
    """At most `count` of the samples, evenly spaced in their order, which is by defect."""
    indices = np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int)
    return tuple(samples[i] for i in indices)


def at_size(mask: np.ndarray, size: int) -> np.ndarray:
    """A mask at the size of the maps, sampled every STEP px."""
    resized = Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST)
    return np.asarray(resized)[::STEP, ::STEP]


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
