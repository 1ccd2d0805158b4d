"""The effect of bfloat16 on the AUROC: in scoring alone, and in both training and scoring.

    .venv/bin/python benchmarks/precision.py --dataset wild_parts --category clamp_wild

Training amplifies the smallest differences, so "trained in bfloat16" needs a control: float32 training with features
that are perturbed by about a millionth of their value, roughly the rounding error of float32. All results of a seed
share its split and initial weights.
"""

import argparse
from dataclasses import replace
from unittest import mock

import pandas as pd
import torch
from torch import Tensor

import adnlib
from adnlib.datasets import Dataset
from adnlib.engine import extraction, feature_sources
from adnlib.system.precision import best_precision

FAST = adnlib.PRESETS["fast"]


def perturbed(*arguments, **options) -> Tensor:
    """`features_of`, with each value multiplied by one plus or minus about a millionth."""
    y = extraction.features_of(*arguments, **options)
    return y * (1 + 1e-6 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0)).to(y.device))


def trained(data: Dataset, seed: int, precision: str = "float32") -> adnlib.DifferNet:
    model = adnlib.DifferNet(preset=replace(FAST, precision=precision), seed=seed)
    adnlib.fit(model, data, seed=seed, progress=False)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", default="elpv")
    parser.add_argument("--category", default="mono")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    data = adnlib.load_dataset(arguments.dataset, arguments.category)
    print(
        f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, faster here: {best_precision('cpu')};"
    )
    print(f"{arguments.category}: AUROC, preset fast\n")
    rows = []
    for seed in range(arguments.seeds):
        model = trained(data, seed)
        row = {"float32": adnlib.evaluate(model, data).auroc}
        model.preset = replace(FAST, precision="bfloat16")
        row["same weights, scored in bfloat16"] = adnlib.evaluate(model, data).auroc
        row["trained and scored in bfloat16"] = adnlib.evaluate(trained(data, seed, "bfloat16"), data).auroc
        with mock.patch.object(feature_sources, "features_of", perturbed):
            model = trained(data, seed)
        row["float32, training features perturbed"] = adnlib.evaluate(model, data).auroc
        rows.append(row)
    table = pd.DataFrame(rows).rename_axis("seed")
    differences = table.drop(columns="float32").sub(table["float32"], axis=0)
    print("| seed |", " | ".join(table.columns), "|\n|" + " --- |" * (table.shape[1] + 1))
    for seed, row in table.iterrows():
        print(f"| {seed} |", " | ".join(f"{value:.4f}" for value in row), "|")
    for what, row in (("mean difference", differences.mean()), ("largest difference", differences.abs().max())):
        print(f"| {what} | |", " | ".join(f"{value:.4f}" for value in row), "|")


if __name__ == "__main__":
    main()
