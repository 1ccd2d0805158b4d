"""DifferNet's published code (https://github.com/marco-rudolph/differnet) and this suite, in one run on one CPU.

    .venv/bin/python benchmarks/official.py --official PATH_OF_THE_CLONE --data ../shared/data --category mvtec_bottle

Prints the seconds of a training step and, extrapolated from a few steps, of an epoch and of a complete training; the
images scored per second at 64 views; and how closely the scores of both codes agree with identical weights.

The published code runs unchanged, with its own configuration, except for these replacements in memory:
`torch.cuda.set_device` does nothing while its configuration is read, and the device is the CPU; `alexnet`, which it
requests with an argument that torchvision has dropped, has the same tensors from `adnlib.models.weights`; the fixed
rotations of its test images have the angles of this suite's preset. Its training loop is repeated here to take times.

The training times contain no evaluation. Those of this suite also exclude the decoding of the images, which it does
once (the published code decodes in each epoch), and the first epoch, which may do work that later epochs do not need.
"""

import argparse
import importlib
import platform
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
import torchvision
from scipy.stats import spearmanr

import adnlib
from adnlib.datasets import Dataset, Split
from adnlib.detectors.official import from_official
from adnlib.evaluation import score
from adnlib.models.weights import alexnet_weights
from adnlib.system import cache
from adnlib.system.precision import best_precision

PAPER = adnlib.PRESETS["paper"]
PARTS = ["loading", "features", "flow: forward, Jacobian, backward", "AlexNet: backward (unused)", "optimiser"]


def load_official(folder: Path) -> SimpleNamespace:
    """The published code's modules, prepared for a CPU."""

    def alexnet(pretrained: bool) -> torch.nn.Module:
        net = torchvision.models.alexnet()
        net.features.load_state_dict(alexnet_weights())
        return net

    sys.path.insert(0, str(folder))
    with mock.patch.object(torch.cuda, "set_device"):
        code = SimpleNamespace(**{name: importlib.import_module(name) for name in ("config", "model", "utils")})
    code.config.device = "cpu"
    code.model.alexnet = alexnet
    return code


def official_steps(code: SimpleNamespace, loader: Iterator, steps: int) -> tuple[torch.nn.Module, np.ndarray]:
    """The published code's model after 1 + `steps` training steps, and the seconds of PARTS, (steps, 5)."""
    net = code.model.DifferNet().train()
    optimizer = torch.optim.Adam(
        net.nf.parameters(), lr=code.config.lr_init, betas=(0.8, 0.8), eps=1e-4, weight_decay=1e-5
    )
    times = []

    def mark(*_) -> None:
        times.append(time.perf_counter())

    def before_flow(flow, arguments) -> None:
        mark()
        arguments[0].register_hook(mark)  # called when the gradient has passed through the flow

    hook = net.nf.register_forward_pre_hook(before_flow)
    rows = []
    for _ in range(1 + steps):
        times.clear()
        mark()
        optimizer.zero_grad()
        inputs, _ = code.utils.preprocess_batch(next(loader))
        mark()
        z = net(inputs)
        code.utils.get_loss(z, net.nf.jacobian(run_forward=False)).backward()
        mark()
        optimizer.step()
        mark()
        rows.append(np.diff(times))
    hook.remove()
    return net, np.array(rows[1:])


def our_epoch(dataset: Dataset, attention: str | None, steps: int, **changes) -> float:
    """Seconds per image of one epoch of `fit`: two epochs less one, after a warm-up."""
    few = replace(dataset, train=dataset.train[: steps * PAPER.batch_images], validation=dataset.validation[:1])
    preset = replace(PAPER, test_views=1, **changes)

    def seconds(epochs: int) -> float:
        model = adnlib.DifferNet(attention, train_attention=attention is not None, preset=preset)
        start = time.perf_counter()
        adnlib.fit(model, few, epochs=epochs, device="cpu", progress=False)
        return time.perf_counter() - start

    seconds(1)
    return (seconds(2) - seconds(1)) / len(few.train)


@mock.patch.object(cache, "LIMIT_GB", 0)
def our_fast(dataset: Dataset) -> tuple[float, float]:
    """Seconds of a complete training run with the preset `fast`, including decoding and features, and its AUROC."""
    start = time.perf_counter()
    model = adnlib.DifferNet(preset="fast")
    adnlib.fit(model, dataset, device="cpu", progress=False)
    return time.perf_counter() - start, adnlib.evaluate(model, dataset).auroc


@torch.no_grad()
def official_scores(code: SimpleNamespace, net: torch.nn.Module, testset, test: Split, budget: float):
    """Scores of the first images of `test`, as many as `budget` seconds allow, and the seconds that they took."""
    net.eval()
    index = {Path(path).resolve(): i for i, (path, _) in enumerate(testset.samples)}
    testset.get_fixed, testset.fixed_degrees = True, [view.angle for view in PAPER.views("test")]
    scores, start = [], time.perf_counter()
    for sample in test:
        images, _ = testset[index[sample.path.resolve()]]
        scores.append((net(images) ** 2).mean().item())
        if time.perf_counter() - start > budget and len(scores) > 2:
            break
    return np.array(scores), time.perf_counter() - start


def processor() -> str:
    """The processor's name and whether it has Intel's matrix unit."""
    try:
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        name = next(line.split(":")[1].strip() for line in facts.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        return f"{platform.processor() or platform.machine()}, AMX not known"
    return f"{name}, {'with' if 'amx_tile' in facts else 'without'} AMX"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--official", type=Path, required=True, help="folder of the published code")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of categories")
    parser.add_argument("--category", default="mvtec_bottle")
    parser.add_argument("--steps", type=int, default=3, help="measured training steps, after one warm-up step")
    parser.add_argument("--seconds", type=float, default=120, help="for scoring with the published code")
    arguments = parser.parse_args()
    if not (arguments.official / "freia_funcs.py").exists():
        parser.error(
            f"{arguments.official} is not the published code: clone marco-rudolph/differnet and name its folder"
        )
    warnings.filterwarnings("ignore", category=UserWarning)  # about pinned memory without a GPU

    torch.manual_seed(0)
    code = load_official(arguments.official)
    trainset, testset = code.utils.load_datasets(str(arguments.data), arguments.category)
    dataset = adnlib.load_dataset(f"folder:{arguments.data}", arguments.category)
    batch, epochs, images = code.config.batch_size, code.config.meta_epochs * code.config.sub_epochs, len(trainset)
    steps = min(arguments.steps, images // batch - 1, len(dataset.train) // batch)
    if steps < 1:
        parser.error("choose one step or more, and a category with at least twice as many training images as a batch")
    print(f"{processor()}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()};")
    print(f"Python {platform.python_version()}, torch {torch.__version__}, torchvision {torchvision.__version__};")
    print(f"published code in float32, this suite's features and flow in {best_precision('cpu')}\n")

    net, seconds = official_steps(code, iter(code.utils.make_dataloaders(trainset, testset)[0]), steps)
    median = np.median(seconds, axis=0)
    print(f"A training step of the published code, {batch} images x {code.config.n_transforms} transforms")
    print(f"(median of {steps}):\n\n| part | seconds |\n| --- | --- |")
    for part, value in zip([*PARTS, "all"], [*median, median.sum()], strict=True):
        print(f"| {part} | {value:.2f} |")

    official = median[:-1].sum() * images / batch + median[-1] * -(-images // batch)
    rows = {"published": official}
    rows["this suite, features of 64 views precomputed"] = our_epoch(dataset, None, steps) * images
    rows["this suite, four new views of each image"] = our_epoch(dataset, None, steps, view_pool=0) * images
    rows["this suite, trained squeeze-and-excitation"] = our_epoch(dataset, "se", steps) * images
    print(f"\nTraining on {arguments.category}'s {images} images, extrapolated from {steps} step(s):\n")
    print(f"| code | seconds per epoch | hours for {epochs} epochs | published / code |\n| --- | --- | --- | --- |")
    for name, value in rows.items():
        print(f"| {name} | {value:.1f} | {value * epochs / 3600:.2f} | {official / value:.2f} |")

    whole, reached = our_fast(dataset)
    print(f"\nThis suite with preset `fast`, complete training with its features: {whole:.0f} s,")
    print(f"1/{official * epochs / whole:.0f} of the published code's {epochs} epochs; its AUROC: {reached:.4f}.")

    order = np.random.default_rng(0).permutation(len(dataset.test))
    test = Split(tuple(dataset.test[int(i)] for i in order))
    theirs, seconds = official_scores(code, net, testset, test, arguments.seconds)
    test = test[: len(theirs)]
    print(f"\nScoring {len(test)} test images at {PAPER.test_views} views, the same weights and rotations:\n")
    print("| code | images per second | code / published | rank correlation | largest relative difference of scores |")
    print("| --- | --- | --- | --- | --- |")
    print(f"| published, float32 | {len(test) / seconds:.2f} | 1.00 | 1 | 0 |")
    model = from_official(net.state_dict())
    for precision in dict.fromkeys(["float32", best_precision("cpu")]):
        model.preset = replace(PAPER, precision=precision)
        start = time.perf_counter()
        ours = score(model, test)
        rate = len(test) / (time.perf_counter() - start)
        rank, error = spearmanr(theirs, ours).statistic, np.abs(ours / theirs - 1).max()
        print(f"| this suite, {precision} | {rate:.2f} | {rate * seconds / len(test):.2f} | {rank:.4f} | {error:.1e} |")


if __name__ == "__main__":
    main()
