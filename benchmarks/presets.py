"""What the preset `fast` loses against `paper`: one category trained with both, on one machine.

    .venv/bin/python benchmarks/presets.py --dataset folder:../shared/data --category mvtec_bottle --csv FILE

`paper` represents DifferNet's published code, which takes hours without a GPU: it has the same flow, optimiser, image
size and number of views, and equal scores for equal weights (tests/detectors/test_official.py, benchmarks/official.py).
It differs in the angles: each image has 64 of its own, and the published code draws new ones in each epoch. The times
are CPU seconds for features, training and the scores of the test images, without the cache.

A killed run resumes where it stopped: the state of the training is saved beside the file of `--csv`, and rows that the
file contains are not computed again. If training was killed, its seconds are those of the last process only.
"""

import argparse
import shutil
import time
from pathlib import Path
from unittest import mock

import pandas as pd
import torch

import adnlib
from adnlib.datasets import Dataset
from adnlib.evaluation import watch_test
from adnlib.system import cache
from adnlib.system.files import write_whole


@mock.patch.object(cache, "LIMIT_GB", 0)
def measured(dataset: Dataset, preset: str, seed: int, checkpoint: Path | None) -> dict:
    """Trains one model; a row of the table."""
    start = time.process_time()
    model = adnlib.DifferNet(preset=preset, seed=seed)
    watch = watch_test(dataset, model.preset.test_every)
    history = adnlib.fit(model, dataset, seed=seed, progress=False, checkpoint=checkpoint, watch=watch)
    auroc = adnlib.evaluate(model, dataset).auroc
    evaluations = history.epochs["test_auroc"].dropna()
    return {
        "chosen_epoch": history.chosen_epoch,
        "auroc": auroc,
        "auroc_last": float(evaluations.iloc[-1]),
        "auroc_best_on_test": float(max(evaluations.max(), auroc)),
        "processor_seconds": round(time.process_time() - start),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", default="elpv")
    parser.add_argument("--category", default="mono")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of fast; paper is trained with the first one")
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    dataset = adnlib.load_dataset(arguments.dataset, arguments.category)
    rows = pd.read_csv(arguments.csv).to_dict("records") if arguments.csv and arguments.csv.exists() else []
    for preset, seed in [*(("fast", seed) for seed in range(arguments.seeds)), ("paper", 0)]:
        key = {"category": arguments.category, "preset": preset, "seed": seed}
        if any(key.items() <= row.items() for row in rows):
            continue
        checkpoint = arguments.csv.with_suffix(f".{'-'.join(map(str, key.values()))}") if arguments.csv else None
        rows.append(key | measured(dataset, preset, seed, checkpoint))
        if arguments.csv:
            write_whole(arguments.csv.resolve(), pd.DataFrame(rows).to_csv(index=False, float_format="%.6g").encode())
            shutil.rmtree(checkpoint)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}\n")
    print("| preset | seed | chosen epoch | AUROC | AUROC, last epoch | AUROC, best on test | CPU seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            "| {preset} | {seed} | {chosen_epoch} | {auroc:.4f} | {auroc_last:.4f} | {auroc_best_on_test:.4f} | "
            "{processor_seconds} |".format(**row)
        )


if __name__ == "__main__":
    main()
