"""How time and memory of the features grow with images, views and pixels, and how much of the machine's rate they use.

    .venv/bin/python benchmarks/scaling.py            # writes benchmarks/scaling.png

Images are drawn into a temporary folder. Each point is measured in a separate process, which decodes the images,
computes the features of the views, and reports its time and peak memory. The exponent is the slope of a straight line
fitted to log(seconds) over log(quantity).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

import adnlib
from adnlib.datasets import Split
from adnlib.engine.extraction import chunk_size, extract, features_of
from adnlib.flow import nll
from adnlib.imagesets.reading import Sample
from adnlib.system import cache
from adnlib.system.precision import autocast, resolve

SIZE = 448  # px, DifferNet's
BASE = {"images": 125, "views": 1, "pixels": SIZE**2}
GRID = {
    "images": [125, 250, 500, 1000],
    "views": [1, 2, 4, 8],
    "pixels": [256**2, 320**2, SIZE**2, 640**2],
}


def draw_images(folder: Path, count: int) -> None:
    """`count` JPEG images of noise with some structure, 700 px per side."""
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8))
        coarse.resize((700, 700), Image.Resampling.BICUBIC).save(folder / f"{i:04d}.jpg")


def model_of(views: int, size: int) -> adnlib.DifferNet:
    preset = replace(adnlib.PRESETS["fast"], image_size=size, view_pool=views, train_views=min(4, views))
    return adnlib.DifferNet(preset=preset)


def one_point(folder: Path, images: int, views: int, pixels: int) -> dict:
    """Seconds and peak memory (MiB) of the features of some images in this process."""
    model = model_of(views, round(pixels**0.5))
    split = Split(tuple(Sample(path, 0, "good", None) for path in sorted(folder.glob("*.jpg"))[:images]))
    one_chunk = split[: chunk_size(model.preset.image_size)]
    features_of(model, one_chunk, model.preset.views("train"), keep=False)  # a first pass allocates the memory
    start = time.perf_counter()
    features_of(model, split, model.preset.views("train"), keep=False)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def in_a_process(folder: Path, point: dict) -> dict:
    command = [sys.executable, __file__, "--point", json.dumps({"folder": str(folder), **point})]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def seconds_of(function, repeats: int) -> float:
    """The shortest time of some calls, after one warm-up call."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def flop_of(function) -> int:
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def rates() -> None:
    """What share of a large matrix product's rate the features and the flow reach, in the precision that they use."""
    device = torch.device("cpu")
    rows = []
    for name in ("fast", "paper"):
        preset = replace(adnlib.PRESETS[name], test_views=1)
        model = adnlib.DifferNet(preset=preset)
        images = torch.randint(256, (16, 3, preset.image_size, preset.image_size), dtype=torch.uint8)
        views = preset.views("train")[:1]
        y = torch.randn(preset.batch_images * preset.train_views, 768)

        def step(model=model, y=y, precision=preset.flow_precision):
            with autocast(precision, device):
                loss = nll(*model.transform(y)).mean()
            loss.backward()

        for part, work, precision in (
            (
                f"features, {preset.image_size} px",
                lambda m=model, x=images, v=views: extract(m, x, v),
                preset.precision,
            ),
            (f"flow of `{name}`, forward and backward", step, preset.flow_precision),
        ):
            precision = resolve(precision, device)
            a = torch.randn(4096, 4096, dtype=getattr(torch, precision))
            peak = 2 * 4096**3 / seconds_of(lambda a=a: a @ a, 3)
            rate = flop_of(work) / seconds_of(work, 5)
            rows.append((part, precision, rate / 1e9, peak / 1e9, rate / peak))
    print("| part | precision | GFLOP/s | matrix product, GFLOP/s | share of it |\n| --- | --- | --- | --- | --- |")
    for part, precision, rate, peak, share in rows:
        print(f"| {part} | {precision} | {rate:.0f} | {peak:.0f} | {share:.2f} |", flush=True)


def growth(folder: Path, picture: Path) -> None:
    """Prints exponents and peak memory, and saves the figure."""
    figure, axes = plt.subplots(1, len(GRID), figsize=(10, 3.2), sharey=True, layout="constrained")
    print("| quantity | from | to | seconds | exponent | peak memory (MiB) |\n| --- | --- | --- | --- | --- | --- |")
    for axis, (name, values) in zip(axes, GRID.items(), strict=True):
        points = [in_a_process(folder, {**BASE, name: value}) for value in values]
        seconds = [point["seconds"] for point in points]
        exponent, offset = np.polyfit(np.log(values), np.log(seconds), 1)
        axis.loglog(values, seconds, "o", color="tab:blue")
        axis.loglog(values, np.exp(offset) * np.array(values, float) ** exponent, color="tab:orange")
        axis.set(xlabel=name, title=f"exponent {exponent:.2f}", xticks=values)
        axis.xaxis.set_major_formatter("{x:.0f}")
        axis.yaxis.set_major_formatter("{x:.0f}")
        axis.minorticks_off()
        print(
            f"| {name} | {values[0]} | {values[-1]} | {seconds[0]:.1f} to {seconds[-1]:.1f} | {exponent:.2f} "
            f"| {points[0]['MiB']:.0f} to {points[-1]['MiB']:.0f} |",
            flush=True,
        )
    axes[0].set_ylabel("seconds")
    figure.savefig(picture, dpi=110)


def whole_training(folder: Path, images: int) -> dict:
    """`fit` of two epochs in this process: 1,000 images at DifferNet's size, and the flow of `fast`."""
    model = model_of(1, SIZE)
    split = Split(tuple(Sample(path, 0, "good", None) for path in sorted(folder.glob("*.jpg"))[:images]))
    rest = split[: images // 10]
    data = adnlib.datasets.Dataset("folder:drawn", "drawn", split, rest, rest, "none", "none", {})
    start = time.perf_counter()
    with mock.patch.object(cache, "LIMIT_GB", 0):  # cached features of an earlier run would reduce the memory
        adnlib.fit(model, data, epochs=2, progress=False)
    return {"seconds": time.perf_counter() - start, "MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--picture", type=Path, default=Path(__file__).with_name("scaling.png"))
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)  # what a separate process computes
    arguments = parser.parse_args()
    if arguments.point:
        point = arguments.point
        folder, training = Path(point.pop("folder")), point.pop("training", False)
        print(json.dumps(whole_training(folder, **point) if training else one_point(folder, **point)))
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_images(folder, max(GRID["images"]))
        growth(folder, arguments.picture)
        training = in_a_process(folder, {"images": 1000, "training": True})
    print(f"\n`fit` on 1,000 images at {SIZE} px: peak memory {training['MiB']:.0f} MiB\n")
    rates()  # last: Linux counts a process's memory at the start of its children as theirs


if __name__ == "__main__":
    main()
