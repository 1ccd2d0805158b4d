"""What training and scoring reach on a GPU, beside the processor of the same machine.

    .venv/bin/python benchmarks/gpu.py --dataset folder:../shared/data --category mvtec_bottle
    .venv/bin/python benchmarks/gpu.py --device cpu --presets smoke --epochs 1 --images 6 --views 2   # to try it

For each preset, `paper` (also with new views in each epoch) and the default `fast`: seconds for one category without
the cache; images per second of scoring; the shares of the measured bfloat16 matrix rate that features and flow reach;
peak memory; and how the scores of the same weights differ from those of the processor in float32.
"""

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from unittest import mock

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import adnlib
from adnlib.datasets import Dataset, Split
from adnlib.differnet import latent_score
from adnlib.engine.extraction import chunk_size, extract, read_images, transform_views
from adnlib.evaluation import auroc
from adnlib.flow import nll
from adnlib.inspection.gpu import matrix_rate
from adnlib.presets import Preset
from adnlib.system import cache
from adnlib.system.device import pick_device
from adnlib.system.precision import autocast
from adnlib.views import View, random_turns

SCORED = 64  # images
PRESETS = {"paper, new views": replace(adnlib.PRESETS["paper"], view_pool=0)} | adnlib.PRESETS


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """The time of `work`, until the device has finished it."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def share(work: Callable[[], object], device: torch.device, rate: float) -> float:
    """The share of `rate` (FLOP/s) that `work` reaches, in its second run."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / seconds_of(work, device) / rate


def peak_gib(device: torch.device) -> float:
    """Peak memory on the GPU; on the processor, that of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@torch.inference_mode()
def scores(model: adnlib.DifferNet, images: torch.Tensor, views: tuple[View, ...]) -> np.ndarray:
    """The scores of images (N, 3, S, S), (N,)."""
    z, _ = transform_views(model, extract(model, images, views))
    return latent_score(z).double().cpu().numpy()


def parity(model: adnlib.DifferNet, images: torch.Tensor, labels: np.ndarray, device: torch.device) -> dict[str, str]:
    """How the scores of the same weights, from the preset's test views, differ from those of the processor in float32:
    the largest relative difference, and the AUROC on the processor and on the device."""
    configured = model.preset

    def on(device: torch.device, preset: Preset) -> np.ndarray:
        model.preset = preset
        return scores(model.to(device), images, preset.views("test"))

    single = replace(configured, precision="float32", flow_precision="float32")
    expected = on(torch.device("cpu"), single)
    found = {}
    for name, preset in {"float32": single, "as configured": configured}.items():
        values = on(device, preset)
        areas = [float(auroc(x[labels == 0], x[labels == 1])) for x in (expected, values)]
        largest = np.abs(values / expected - 1).max()
        found[f"scores, {name}"] = f"{largest:.1e} ({areas[0]:.4f}, {areas[1]:.4f})"
    return found


@mock.patch.object(cache, "LIMIT_GB", 0)
def measured(
    name: str, data: Dataset, device: torch.device, rate: float, epochs: int | None, views: tuple[View, ...]
) -> dict[str, str]:
    """The figures of one preset."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    preset = PRESETS[name]
    model = adnlib.DifferNet(preset=preset)
    history = adnlib.fit(model, data, epochs=epochs, device=device.type, progress=False)
    evaluation = adnlib.evaluate(model, data)
    shown = data.test[:: -(-len(data.test) // SCORED)]
    images = read_images(shown, preset.image_size)
    batch = images[: chunk_size(preset.image_size)]
    y = torch.randn(preset.batch_images * preset.train_views, 768, device=device)

    def step() -> None:
        with autocast(preset.flow_precision, device):
            loss = nll(*model.transform(y)).mean()
        loss.backward()

    scoring = min(seconds_of(lambda: scores(model, images, views), device) for _ in range(2))  # the first one warms up
    return {
        "seconds for a category": f"{history.seconds + evaluation.seconds:.1f}",
        "of these, training": f"{history.seconds:.1f}",
        "epochs": str(len(history.epochs)),
        f"images per second, {len(views)} views": f"{len(images) / scoring:.1f}",
        "features, share of the rate": f"{share(lambda: extract(model, batch, views[:1]), device, rate):.3f}",
        "flow, both passes of a training step, share of the rate": f"{share(step, device, rate):.3f}",
        "peak memory (GiB)": f"{peak_gib(device):.2f}",
        **parity(model, images, shown.labels, device),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", default="elpv")
    parser.add_argument("--category", default="mono")
    parser.add_argument("--device", default="cuda", help="cuda or cpu (default: %(default)s)")
    parser.add_argument("--presets", nargs="+", default=["paper, new views", "paper", "fast"], choices=PRESETS)
    parser.add_argument("--epochs", type=int, help="fewer than the preset's, for a test")
    parser.add_argument("--images", type=int, help="use only so many training and test images, for a test")
    parser.add_argument("--views", type=int, default=64, help="of an image that is scored, at random angles")
    arguments = parser.parse_args()
    device = pick_device(arguments.device)
    data = adnlib.load_dataset(arguments.dataset, arguments.category)
    if arguments.images:
        half = arguments.images // 2
        test = Split(data.test[:half].samples + data.test[-half:].samples)
        data = replace(data, train=data.train[: arguments.images], validation=data.validation[:2], test=test)
    rate = matrix_rate(device) if device.type == "cuda" else matrix_rate(device, 512, 2)
    what = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    print(f"torch {torch.__version__}, {what}, {rate / 1e12:.3g} TFLOP/s in bfloat16; {data}\n")
    views = random_turns(arguments.views, 0)
    columns = [measured(name, data, device, rate, arguments.epochs, views) for name in arguments.presets]
    print("| what |", " | ".join(arguments.presets), "|\n| --- |" + " ---: |" * len(columns))
    for row in zip(*(column.items() for column in columns), strict=True):
        print(f"| {row[0][0]} |", " | ".join(value for _, value in row), "|")
    print("\nScores: the largest relative difference from the processor in float32 (AUROC there, AUROC on the device).")


if __name__ == "__main__":
    main()
