"""Scoring with the ONNX file of a run (`adnlib.inspection.onnx_export`) against PyTorch, both in float32 on one CPU.

    .venv/bin/python benchmarks/onnx_export.py --data ../shared/data --category mvtec_bottle

Trains a run with the preset `fast` in a temporary folder, exports it, and prints how closely scores and maps of the
test images agree and the milliseconds per image. The file computes the map along with the score, from the same
features; the library computes the features of the map a second time, and only if the map is asked for. Both engines are
timed alternately, and the median is shown; reading and resizing of images is not included. The rows for two threads
need two idle cores: beside another program, PyTorch's threads wait for each other and these rows mean nothing.
"""

import argparse
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import torch

import adnlib
from adnlib.explain.maps import deviation_map
from adnlib.inspection.onnx_export import export_onnx
from adnlib.inspection.scoring import Scorer

BATCHES, THREADS = (1, 16), (1, 2)
TESTED = 32  # test images, for the agreement of scores and maps


def opened(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def milliseconds(tasks: dict[str, Callable], images: int, repeats: int) -> dict[str, float]:
    """The median time of each task per image; the tasks take turns, after one warm-up of each."""
    times = {name: [] for name in tasks}
    for _ in range(1 + repeats):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            times[name].append(time.perf_counter() - start)
    return {name: 1000 * float(np.median(values[1:])) / images for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of categories")
    parser.add_argument("--category", default="mvtec_bottle")
    parser.add_argument("--attention", choices=["se", "cbam"])
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    config = adnlib.RunConfig(f"folder:{arguments.data}", arguments.category, arguments.attention, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        scorer = Scorer(adnlib.train_run(folder, config, progress=False).folder)
        scorer.model.preset = replace(scorer.model.preset, precision="float32")
        normal, _ = scorer.normal, scorer.usual  # read from the folder
        start = time.perf_counter()
        path = export_onnx(scorer, Path(folder) / "run.onnx")
        exported = time.perf_counter() - start
        start = time.perf_counter()
        sessions = {threads: opened(path, threads) for threads in THREADS}
        loaded = (time.perf_counter() - start) / len(sessions)
        size = path.stat().st_size / 2**20

    test = scorer.run.dataset().test
    chosen = np.linspace(0, len(test) - 1, min(TESTED, len(test))).astype(int)
    images = torch.cat([test[int(i) : int(i) + 1].images(scorer.model.preset.image_size) for i in chosen])
    print(f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, Python {platform.python_version()},")
    print(f"{platform.machine()} with {torch.backends.cpu.get_cpu_capability()}; float32; {arguments.category},")
    print(
        f"attention: {arguments.attention}; file: {size:.1f} MiB, written in {exported:.1f} s, opened in {loaded:.1f} s"
    )

    values = np.array([score.value for score in scorer.judge(images)])
    maps = deviation_map(scorer.model, images, normal, stretch=False).numpy()
    scores, other = sessions[1].run(None, {"image": images.numpy()})
    print(f"\nLargest difference over {len(images)} test images: {np.abs(scores / values - 1).max():.1e} of a score,")
    print(f"{(np.abs(other - maps).max(axis=(1, 2)) / maps.max(axis=(1, 2))).max():.1e} of a map's maximum.\n")

    print("Milliseconds per image:\n")
    print("| batch | threads | PyTorch, score | PyTorch, score and map | ONNX, score and map | PyTorch / ONNX |")
    print("| --- | --- | --- | --- | --- | --- |")
    for batch in BATCHES:
        x = images[:batch]
        for threads, session in sessions.items():
            torch.set_num_threads(threads)
            tasks = {
                "score": partial(scorer.judge, x),
                "map": partial(deviation_map, scorer.model, x, normal, stretch=False),
                "onnx": partial(session.run, None, {"image": x.numpy()}),
            }
            ms = milliseconds(tasks, batch, arguments.repeats)
            both = ms["score"] + ms["map"]
            print(
                f"| {batch} | {threads} | {ms['score']:.1f} | {both:.1f} | {ms['onnx']:.1f} | {both / ms['onnx']:.2f} |"
            )


if __name__ == "__main__":
    main()
