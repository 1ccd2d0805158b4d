"""Is the promised rate of false alarms kept? Random splits of normal images; no anomalous image is used.

    .venv/bin/python benchmarks/false_alarms.py [--splits 20] [--csv data/false_alarms.csv] DATASET/CATEGORY …

Each split divides all normal images of a category at random: a third are new images, and the rest is divided as
`adnlib.load_dataset` does without a test set. A plain DifferNet (preset fast-2026-11) is trained, the rule of each rate
taken from the calibration images, and the alarms among the new images are counted. A split counts as kept if the count
lies in the rule's 95 % interval for that many normal images. Rows that are in the file already are not computed again.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from adnlib import PRESETS, DifferNet, evaluation, fit, load_dataset
from adnlib.calibration import rule_for
from adnlib.datasets import CALIBRATION, Dataset, Split
from adnlib.engine import feature_sources
from adnlib.engine.extraction import features_of

RATES = (0.01, 0.05)
NEW = 1 / 3
VALIDATION = 0.15 * (1 - CALIBRATION)
PRESET = PRESETS["fast-2026-11"]


def resplit(dataset: Dataset, seed: int) -> Dataset:
    """All normal images, divided at random; the new ones are in `test`."""
    samples = [*dataset.train, *dataset.validation, *(sample for sample in dataset.test if not sample.label)]
    order = np.random.default_rng(seed).permutation(len(samples))
    ends = np.cumsum(
        [round(NEW * len(samples)), *(round(x * (1 - NEW) * len(samples)) for x in (CALIBRATION, VALIDATION))]
    )
    new, calibration, validation, train = (Split(tuple(samples[i] for i in part)) for part in np.split(order, ends))
    return replace(dataset, train=train, validation=validation, calibration=calibration, test=new)


def remember_features(dataset: Dataset) -> None:
    """Computes the features of every normal image once; from then on, every split reads them."""
    images = resplit(dataset, 0)
    whole = Split((*images.train, *images.validation, *images.calibration, *images.test))
    model = DifferNet(preset=PRESET)
    views = model.preset.views("test")
    assert views == model.preset.views("train")
    y, row = features_of(model, whole, views), {sample.path: number for number, sample in enumerate(whole)}
    for module in (feature_sources, evaluation):
        module.features_of = lambda model, split, views, **_: y[[row[sample.path] for sample in split]]


def measure(dataset: Dataset, split: int) -> list[dict]:
    """A row for each rate."""
    data = resplit(dataset, split)
    model = DifferNet(preset=PRESET, seed=split)
    fit(model, data, seed=split, progress=False)
    known, new = evaluation.score(model, data.calibration), evaluation.score(model, data.test)
    rows = []
    for rate in RATES:
        rule = rule_for(known, rate)
        low, high = rule.alarms(len(new))
        alarms = int((new > rule.threshold).sum())
        row = {"category": dataset.category, "rate": rate, "split": split, "calibration": len(known), "new": len(new)}
        rows.append({**row, "alarms": alarms, "low": low, "high": high, "kept": low <= alarms <= high})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="DATASET/CATEGORY")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--csv", type=Path, default=Path("data/false_alarms.csv"))
    options = parser.parse_args()
    table = pd.read_csv(options.csv) if options.csv.exists() else pd.DataFrame(columns=["category", "split"])
    for name in options.names:
        source, _, category = name.rpartition("/")
        dataset = load_dataset(source, category)
        remember_features(dataset)
        for split in range(options.splits):
            if ((table["category"] == category) & (table["split"] == split)).any():
                continue
            table = pd.concat([table, pd.DataFrame(measure(dataset, split))], ignore_index=True)
            numbers = ["split", "calibration", "new", "alarms", "low", "high"]
            table = table.sort_values(["category", "rate", "split"]).astype(dict.fromkeys(numbers, int))
            table.to_csv(options.csv, index=False)
    columns = {"calibration": "first", "new": "first", "alarms": "sum", "kept": "mean"}
    summary = table.groupby(["category", "rate"]).agg(columns)
    summary["realised"] = summary["alarms"] / (summary["new"] * options.splits)
    print(summary.drop(columns="alarms").round(4).to_string())


if __name__ == "__main__":
    main()
