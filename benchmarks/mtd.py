"""What limits DifferNet on magnetic tiles (MTD), with a published AUROC of 97.7: one change at a time.

    .venv/bin/python benchmarks/mtd.py --dataset folder:../shared/data --category mtd --csv data/mtd.csv

Each row changes one setting of the preset `fast-2026-11` and is trained with several seeds. Two rows take long and have
one seed: the published flow, and the last row, which is the published configuration with a quarter of its epochs and
without random rotations. "Gaussian" rows use no flow, but the Mahalanobis distance of the same features with Ledoit and
Wolf's covariance. The detectors of 11_peers, on two backbones and without rotated views, are other methods on the same
images. The table has the AUROC under the three protocols of 08_results and, under the first, for each defect alone. It
decides nothing. The file is written after every row, and rows that it contains are not computed again.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.covariance import LedoitWolf

import adnlib
from adnlib.datasets import Dataset
from adnlib.detectors import build_detector
from adnlib.engine.extraction import features_of
from adnlib.evaluation import auroc, watch_test
from adnlib.presets import Preset
from adnlib.system.files import write_whole

FAST = adnlib.PRESETS["fast-2026-11"]
FLOW = "published flow (3 x 2048)"
ALL = "448 px, published flow, features and schedule, a quarter of the epochs"
CHANGES = {
    "fast: 256 px, quarter turns": {},
    "no turns": {"view_pool": 1, "train_views": 1, "test_views": 1},
    "quarter turns and mirror images": {"view_pool": 8, "test_views": 8},
    "random turns": {"turns": "random", "view_pool": 16, "test_views": 16},
    "light and contrast, 15 % each": {"brightness": 0.15, "contrast": 0.15},
    "448 px": {"image_size": 448},
    "448 px, no turns": {"image_size": 448, "view_pool": 1, "train_views": 1, "test_views": 1},
    "four times as many epochs": {"epochs": 96, "test_every": 8},
    FLOW: {"hidden": 2048, "layers": 3, "lr": 2e-4, "max_norm": None},
    ALL: {
        "image_size": 448,
        "rescale": False,
        "hidden": 2048,
        "layers": 3,
        "lr": 2e-4,
        "lr_decay": False,
        "max_norm": None,
        "epochs": 48,
        "test_every": 8,
    },
}
DETECTORS = {"PaDiM": "padim", "nearest patches": "nearest_patches"}


def by_defect(data: Dataset, scores: np.ndarray) -> dict[str, float]:
    """AUROC of all normal test images against those of each defect."""
    defects = np.array([sample.defect for sample in data.test])
    normal = scores[data.test.labels == 0]
    return {name: float(auroc(normal, scores[defects == name])) for name in sorted(set(defects[data.test.labels == 1]))}


def trained(data: Dataset, preset: Preset, seed: int) -> dict:
    model = adnlib.DifferNet(preset=preset, seed=seed)
    history = adnlib.fit(model, data, seed=seed, progress=False, watch=watch_test(data, preset.test_every))
    result = adnlib.evaluate(model, data)
    evaluations = history.epochs["test_auroc"].dropna()
    row = {
        "auroc": result.auroc,
        "auroc_last": evaluations.iloc[-1],
        "auroc_best_on_test": max(evaluations.max(), result.auroc),
    }
    return row | by_defect(data, result.test["score"].to_numpy())


def gaussian(data: Dataset, preset: Preset) -> dict:
    """Without a flow: the mean over views of the Mahalanobis distance to the training features."""
    model = adnlib.DifferNet(preset=preset)
    train = features_of(model, data.train, preset.views("train")).flatten(0, 1)  # (N V, 768)
    test = features_of(model, data.test, preset.views("test"))  # (N, V, 768)
    distance = LedoitWolf().fit(train).mahalanobis(test.flatten(0, 1)).reshape(test.shape[:2]).mean(axis=1)
    normal, anomalous = distance[data.test.labels == 0], distance[data.test.labels == 1]
    return {"auroc": float(auroc(normal, anomalous))} | by_defect(data, distance)


def detector(data: Dataset, name: str, backbone: str) -> dict:
    """A detector of 11_peers, without rotated views."""
    scores = build_detector(name, backbone).fit(data.train).score(data.test).cpu().numpy()
    normal, anomalous = scores[data.test.labels == 0], scores[data.test.labels == 1]
    return {"auroc": float(auroc(normal, anomalous))} | by_defect(data, scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", default="mtd")
    parser.add_argument("--category")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    data = adnlib.load_dataset(arguments.dataset, arguments.category)
    rows = pd.read_csv(arguments.csv).to_dict("records") if arguments.csv and arguments.csv.exists() else []

    def add(change: str, seed: int, measure: Callable[[], dict]) -> None:
        if any((row["change"], row["seed"]) == (change, seed) for row in rows):
            return
        start = time.process_time()
        rows.append({"change": change, "seed": seed, **measure()})
        print(f"{change}, seed {seed}: {rows[-1]['auroc']:.4f}, {time.process_time() - start:.0f} s", flush=True)
        if arguments.csv:
            table = pd.DataFrame(rows).to_csv(index=False, float_format="%.6g")
            write_whole(arguments.csv.resolve(), table.encode())

    for name, change in CHANGES.items():
        preset = replace(FAST, **change)
        for seed in range(1 if name in (FLOW, ALL) else arguments.seeds):
            add(name, seed, partial(trained, data, preset, seed))
        if not {"layers", "epochs"} & set(change):
            add(f"Gaussian, {name}", 0, partial(gaussian, data, preset))
    for backbone in ("alexnet", "efficientnet_lite0"):
        for title, name in DETECTORS.items():
            add(f"{title}, {backbone}", 0, partial(detector, data, name, backbone))
    table = pd.DataFrame(rows)
    print(table.groupby("change", sort=False).mean(numeric_only=True).drop(columns="seed").round(3).to_string())


if __name__ == "__main__":
    main()
