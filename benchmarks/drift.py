"""Is a change of light noticed, and how often is one invented? Draws of 50 normal images, unchanged and dimmed by 20 %.

    .venv/bin/python benchmarks/drift.py DATASET/CATEGORY …

A plain DifferNet (preset fast) is trained on part of the normal images. The others are scored twice, as they are and
dimmed. In each of 100 draws, 50 of them are the new images and the rest, at most as many as `adnlib.load_dataset` would
hold out, is for calibration. Printed is the number of draws in which `adnlib.calibration.drift` reports something.
"""

import argparse

import numpy as np
import pandas as pd
import torch
from false_alarms import resplit

from adnlib import DifferNet, fit, load_dataset
from adnlib.calibration import APPEARANCE, appearance, drift
from adnlib.datasets import CALIBRATION
from adnlib.differnet import latent_score
from adnlib.engine.extraction import extract, read_images, transform_views

DRAWS = 100
NEW = 50


def table(model: DifferNet, images: torch.Tensor) -> pd.DataFrame:
    y = extract(model, images, model.preset.views("test"))
    values = latent_score(transform_views(model, y)[0]).double().numpy()
    return pd.DataFrame(appearance(images), columns=list(APPEARANCE)).assign(score=values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="DATASET/CATEGORY")
    print("| category | calibration images | unchanged | dimmed by 20 % |\n| --- | --- | --- | --- |")
    for name in parser.parse_args().names:
        source, _, category = name.rpartition("/")
        dataset = resplit(load_dataset(source, category), 0)
        count = len(dataset.train) + len(dataset.validation) + len(dataset.calibration)
        model = DifferNet()
        fit(model, dataset, progress=False)
        images = torch.cat([read_images(part, 256) for part in (dataset.calibration, dataset.test)])
        tables = [table(model, x) for x in (images, (images.float() * 0.8).round().to(torch.uint8))]
        rng, reported = np.random.default_rng(0), [0, 0]
        for _ in range(DRAWS):
            order = rng.permutation(len(images))
            known = tables[0].iloc[order[NEW:][: round(CALIBRATION * count)]]
            for number, new in enumerate(tables):
                reported[number] += bool(drift(new.iloc[order[:NEW]], known))
        print(f"| {dataset.category} | {len(known)} | {reported[0]} | {reported[1]} |", flush=True)


if __name__ == "__main__":
    main()
