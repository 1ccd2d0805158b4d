"""What limits DifferNet on magnetic tiles (MTD), where it published an AUROC of 97.7: one change at a time.

    .venv/bin/python benchmarks/mtd.py --dataset folder:../shared/data --category mtd --csv data/mtd.csv

Each row changes one thing of the preset `fast` and is trained with several seeds. "Gaussian" takes no flow at all: the
Mahalanobis distance of the same features, with Ledoit and Wolf's covariance. The table has the AUROC under the three
protocols of 08_results and, under the first, against each defect alone. Nothing is chosen by it.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.covariance import LedoitWolf

import adnlib
from adnlib.datasets import Dataset
from adnlib.differnet import Preset
from adnlib.evaluation import auroc, watch_test
from adnlib.extraction import features_of
from adnlib.files import write_whole

FAST = adnlib.PRESETS["fast"]
CHANGES = {
    "`fast`: 256 px, quarter turns": {},
    "no turns": {"view_pool": 1, "train_views": 1, "test_views": 1},
    "quarter turns and mirror images": {"view_pool": 8, "test_views": 8},
    "random turns": {"turns": "random", "view_pool": 16, "test_views": 16},
    "448 px": {"image_size": 448},
    "448 px, no turns": {"image_size": 448, "view_pool": 1, "train_views": 1, "test_views": 1},
    "four times as many epochs": {"epochs": 96, "test_every": 8},
    "published flow (3 x 2048)": {"hidden": 2048, "layers": 3, "lr": 2e-4},
}


def by_defect(data: Dataset, scores: np.ndarray) -> dict[str, float]:
    """AUROC of all normal test images against those of each defect."""
    defects = np.array([sample.defect for sample in data.test])
    normal = scores[data.test.labels == 0]
    return {name: float(auroc(normal, scores[defects == name])) for name in sorted(set(defects[data.test.labels == 1]))}


def trained(data: Dataset, preset: Preset, seed: int) -> dict:
    model = adnlib.DifferNet(preset=preset, seed=seed)
    history = adnlib.fit(model, data, seed=seed, progress=False, watch=watch_test(data, preset.test_every))
    result = adnlib.evaluate(model, data)
    looks = history.epochs["test_auroc"].dropna()
    row = {"auroc": result.auroc, "auroc_last": looks.iloc[-1], "auroc_best_on_test": max(looks.max(), result.auroc)}
    return row | by_defect(data, result.test["score"].to_numpy())


def gaussian(data: Dataset, preset: Preset) -> dict:
    """No flow: the mean over views of the Mahalanobis distance to the training features."""
    model = adnlib.DifferNet(preset=preset)
    train = features_of(model, data.train, preset.views("train")).flatten(0, 1)  # (N V, 768)
    test = features_of(model, data.test, preset.views("test"))  # (N, V, 768)
    distance = LedoitWolf().fit(train).mahalanobis(test.flatten(0, 1)).reshape(test.shape[:2]).mean(axis=1)
    normal, anomalous = distance[data.test.labels == 0], distance[data.test.labels == 1]
    return {"auroc": float(auroc(normal, anomalous))} | by_defect(data, distance)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", default="mtd")
    parser.add_argument("--category")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    data = adnlib.load_dataset(arguments.dataset, arguments.category)
    rows = []
    for name, change in CHANGES.items():
        preset = replace(FAST, **change)
        for seed in range(arguments.seeds):
            start = time.perf_counter()
            rows.append({"change": name, "seed": seed, **trained(data, preset, seed)})
            print(f"{name}, seed {seed}: {rows[-1]['auroc']:.4f}, {time.perf_counter() - start:.0f} s", flush=True)
        if "flow" not in name and "epochs" not in name:
            rows.append({"change": f"Gaussian, {name}", "seed": 0, **gaussian(data, preset)})
    table = pd.DataFrame(rows)
    print(table.groupby("change", sort=False).mean(numeric_only=True).drop(columns="seed").round(3).to_string())
    if arguments.csv:
        write_whole(arguments.csv.resolve(), table.to_csv(index=False, float_format="%.6g").encode())


if __name__ == "__main__":
    main()
